//! One answer as its bytes arrive: head, body, end. Pure; tested at every split.

use crate::content::Content;
use crate::http::Error;
use crate::http::body::{Body, Piece};
use crate::http::head::{self, Framing, Head};

/// What the bytes so far amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More must come.
    More,
    /// The answer is whole.
    Done,
    /// It cannot become one.
    Broken(Error),
}

/// Compares a body with what it has to be: the object that `prepare` made for its path.
pub struct Comparison {
    seed: u64,
    path: String,
    content: Option<Content>,
    at: u64,
    equal: bool,
}

impl Comparison {
    /// A comparison with the object of `seed` at `path`.
    pub fn new(seed: u64, path: String) -> Self {
        Self { seed, path, content: None, at: 0, equal: true }
    }

    /// The head is known. Objects depend on their length; without it nothing can be compared.
    fn begin(&mut self, head: &Head) {
        if let (200, Framing::Length(length)) = (head.status, head.framing) {
            self.content = Some(Content::new(self.seed, &self.path, length));
        }
    }

    fn feed(&mut self, data: &[u8]) {
        if let Some(content) = &self.content {
            self.equal = self.equal && content.matches(self.at, data);
            self.at += data.len() as u64;
        }
    }
}

/// One answer under way; kept by its connection and used again.
#[derive(Default)]
pub struct Answer {
    /// A head of which only a part has come.
    carry: Vec<u8>,
    head: Option<Head>,
    body: Option<Body>,
    bodiless: bool,
    comparison: Option<Box<Comparison>>,
}

impl Answer {
    /// Begins the next answer; `bodiless` when the request was a HEAD.
    pub fn begin(&mut self, bodiless: bool, comparison: Option<Comparison>) {
        self.carry.clear();
        self.head = None;
        self.body = None;
        self.bodiless = bodiless;
        self.comparison = comparison.map(Box::new);
    }

    /// Status code; 0 before the head.
    pub fn status(&self) -> u16 {
        self.head.map_or(0, |head| head.status)
    }

    /// Body bytes so far.
    pub fn received(&self) -> u64 {
        self.body.as_ref().map_or(0, Body::received)
    }

    /// Whether the connection may carry another request.
    pub fn keeps_alive(&self) -> bool {
        self.head.is_some_and(|head| head.keep_alive)
    }

    /// Whether the whole body was compared, and was equal; `None` when it was not compared.
    pub fn compared(&self) -> Option<bool> {
        let comparison = self.comparison.as_ref()?;
        comparison.content.is_some().then_some(comparison.equal)
    }

    /// Body bytes that are certainly to come and that nobody needs to see.
    pub fn discardable(&self) -> u64 {
        match (&self.comparison, &self.body) {
            (None, Some(body)) => body.remaining(),
            _ => 0,
        }
    }

    /// Counts body bytes that were thrown away; at most [`Answer::discardable`].
    pub fn discarded(&mut self, count: usize) -> Progress {
        match &mut self.body {
            Some(body) => {
                body.advance(count as u64);
                if body.is_over() { Progress::Done } else { Progress::More }
            }
            None => Progress::More,
        }
    }

    /// Takes the bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) -> Progress {
        let result = if self.head.is_some() {
            self.feed_body(bytes)
        } else if self.carry.is_empty() {
            self.feed_head(bytes)
        } else {
            let mut whole = std::mem::take(&mut self.carry);
            whole.extend_from_slice(bytes);
            let result = self.feed_head(&whole);
            if self.carry.is_empty() {
                whole.clear();
                self.carry = whole;
            }
            result
        };
        result.unwrap_or_else(Progress::Broken)
    }

    /// The connection ended.
    pub fn closed(&self) -> Progress {
        match &self.body {
            None if self.carry.is_empty() => Progress::Broken(Error::Closed),
            None => Progress::Broken(Error::Truncated { got: 0, expected: None }),
            Some(body) => body.closed().map_or_else(Progress::Broken, |()| Progress::Done),
        }
    }

    fn feed_head(&mut self, bytes: &[u8]) -> Result<Progress, Error> {
        let mut start = 0;
        loop {
            let Some(head) = head::parse(&bytes[start..], self.bodiless)? else {
                self.carry.clear();
                self.carry.extend_from_slice(&bytes[start..]);
                return Ok(Progress::More);
            };
            start += head.len;
            if !head.is_interim() {
                if let Some(comparison) = &mut self.comparison {
                    comparison.begin(&head);
                }
                self.head = Some(head);
                self.body = Some(Body::new(head.framing));
                return self.feed_body(&bytes[start..]);
            }
            if start == bytes.len() {
                return Ok(Progress::More);
            }
        }
    }

    fn feed_body(&mut self, bytes: &[u8]) -> Result<Progress, Error> {
        let Some(body) = &mut self.body else { return Ok(Progress::More) };
        let mut at = 0;
        loop {
            let (piece, next) = body.next(bytes, at)?;
            at = next;
            match piece {
                Piece::Data(range) => {
                    if let Some(comparison) = &mut self.comparison {
                        comparison.feed(&bytes[range]);
                    }
                }
                Piece::More => return Ok(Progress::More),
                Piece::End { used } if used < bytes.len() => {
                    return Err(Error::BadResponse("bytes follow its end"));
                }
                Piece::End { .. } => return Ok(Progress::Done),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(parts: &[&[u8]], answer: &mut Answer) -> Progress {
        let mut progress = Progress::More;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            assert_eq!(progress, Progress::More);
            progress = answer.feed(part);
        }
        progress
    }

    #[test]
    fn every_split_gives_the_same_answer() {
        let plain =
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let mut answer = Answer::default();
        for text in [plain.as_bytes(), chunked.as_bytes()] {
            for cut in 0..=text.len() {
                answer.begin(false, None);
                let parts = [&text[..cut], &text[cut..]];
                assert_eq!(feed(&parts, &mut answer), Progress::Done, "{cut}");
                assert_eq!((answer.status(), answer.received()), (200, 5));
                assert_eq!((answer.keeps_alive(), answer.compared()), (true, None));
            }
            for end in 0..text.len() {
                answer.begin(false, None);
                assert_eq!(feed(&[&text[..end]], &mut answer), Progress::More, "{end}");
                let Progress::Broken(error) = answer.closed() else { panic!("{end}") };
                assert!(["closed", "truncated"].contains(&error.class()), "{end} {error}");
            }
        }
    }

    #[test]
    fn wrong_contents_and_wrong_ends_are_seen() {
        let mut answer = Answer::default();
        let mut body = [0; 100];
        Content::new(7, "/a", 100).fill(0, &mut body);
        let mut text = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec();
        let head = text.len();
        text.extend_from_slice(&body);
        for (seed, path, equal) in [(7, "/a", true), (8, "/a", false), (7, "/b", false)] {
            answer.begin(false, Some(Comparison::new(seed, path.to_owned())));
            assert_eq!(feed(&[&text[..50], &text[50..]], &mut answer), Progress::Done);
            assert_eq!(answer.compared(), Some(equal));
        }
        answer.begin(false, None);
        let mut long = text.to_vec();
        long.push(b'!');
        assert!(matches!(answer.feed(&long), Progress::Broken(Error::BadResponse(_))));
        answer.begin(true, None);
        assert_eq!(answer.feed(&text[..head]), Progress::Done);
        answer.begin(false, None);
        assert_eq!(answer.feed(b"HTTP/1.1 200 OK\r\n\r\nabc"), Progress::More);
        assert_eq!((answer.closed(), answer.keeps_alive()), (Progress::Done, false));
    }
}
