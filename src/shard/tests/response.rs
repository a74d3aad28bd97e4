//! Reads answers as a client does; shares nothing with the product.

use std::collections::VecDeque;

/// A complete answer.
#[derive(Default)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub chunked: bool,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}, {} bytes", self.status, self.fields, self.body.len())
    }
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
    }

    /// Whether the server says that it ends the connection.
    pub fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name).map(|value| value.parse().expect("a number"))
    }
}

/// What the reader expects next.
#[derive(Debug, Default)]
enum Part {
    #[default]
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    LastLine,
    UntilEnd,
}

/// Reads one answer after another.
#[derive(Debug, Default)]
pub struct Reader {
    unread: VecDeque<u8>,
    part: Part,
    response: Response,
}

impl Reader {
    pub fn add(&mut self, bytes: &[u8]) {
        self.unread.extend(bytes);
    }

    /// Whether an answer has begun and is not complete.
    pub fn is_within(&self) -> bool {
        !self.unread.is_empty() || !matches!(self.part, Part::Head)
    }

    /// Whether the answer under way is one of an object that grows.
    pub fn is_growing(&self) -> bool {
        self.response.chunked || matches!(self.part, Part::UntilEnd)
    }

    /// The body of a 200 under way.
    pub fn fragment(&self) -> Option<&[u8]> {
        (self.response.status == 200).then_some(&self.response.body)
    }

    /// The next answer, when it is complete; `bodiless` when its request was a HEAD.
    pub fn next(&mut self, bodiless: bool) -> Option<Response> {
        loop {
            match self.part {
                Part::Head => self.head(bodiless)?,
                Part::Body(0) => return Some(self.done()),
                Part::Body(ref mut left) => {
                    let count = take(&mut self.unread, *left, &mut self.response.body)?;
                    *left -= count;
                }
                Part::ChunkSize => {
                    let line = line(&mut self.unread)?;
                    let size = u64::from_str_radix(&line, 16).expect("a chunk's size");
                    self.part = if size == 0 { Part::LastLine } else { Part::ChunkData(size) };
                }
                Part::ChunkData(0) => self.part = Part::ChunkEnd,
                Part::ChunkData(ref mut left) => {
                    let count = take(&mut self.unread, *left, &mut self.response.body)?;
                    *left -= count;
                }
                Part::ChunkEnd => {
                    assert_eq!(line(&mut self.unread)?, "", "a chunk ends with its line");
                    self.part = Part::ChunkSize;
                }
                Part::LastLine => {
                    assert_eq!(line(&mut self.unread)?, "", "no trailers");
                    return Some(self.done());
                }
                Part::UntilEnd => {
                    self.response.body.extend(self.unread.drain(..));
                    return None;
                }
            }
        }
    }

    /// The answer that the end of the connection ends.
    pub fn end(&mut self) -> Option<Response> {
        matches!(self.part, Part::UntilEnd).then(|| self.done())
    }

    fn done(&mut self) -> Response {
        self.part = Part::Head;
        std::mem::take(&mut self.response)
    }

    fn head(&mut self, bodiless: bool) -> Option<()> {
        let unread = self.unread.make_contiguous();
        let end = unread.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("heads are ASCII");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap();
        let status = status.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{status:?}"));
        self.response.status = status[..3].parse().expect("a status");
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
            self.response.fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        if self.response.status == 100 {
            self.response = Response::default();
            return Some(());
        }
        let chunked = self.response.field("transfer-encoding").is_some();
        let length = self.response.number("content-length");
        self.response.chunked = chunked;
        let empty = bodiless || matches!(self.response.status, 204 | 304);
        self.part = match length {
            _ if empty => Part::Body(0),
            _ if chunked => Part::ChunkSize,
            Some(length) => Part::Body(length),
            None => Part::UntilEnd,
        };
        Some(())
    }
}

fn line(unread: &mut VecDeque<u8>) -> Option<String> {
    let end = unread.iter().position(|&byte| byte == b'\n')?;
    let line: Vec<u8> = unread.drain(..=end).collect();
    let line = String::from_utf8(line).expect("framing is ASCII");
    Some(line.strip_suffix("\r\n").expect("lines end in CR LF").to_owned())
}

/// Moves up to `most` bytes; none when there are none.
fn take(unread: &mut VecDeque<u8>, most: u64, into: &mut Vec<u8>) -> Option<u64> {
    let count = unread.len().min(usize::try_from(most).unwrap());
    into.extend(unread.drain(..count));
    (count > 0).then_some(count as u64)
}
