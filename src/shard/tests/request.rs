//! What clients ask for, and what they may be told.

use super::book::{Book, KEYS, can_grow};
use super::content;
use super::response::Response;
use crate::store::tests::history::Operation;
use crate::sys::random::Random;

/// What kind of client asked.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// It may be turned away.
    pub lenient: bool,
    /// It ends its sending side early.
    pub breaks: bool,
}

/// One request, and when it was called.
#[derive(Clone, Debug)]
pub struct Request {
    pub what: What,
    pub key: usize,
    pub called: u64,
    pub called_us: u64,
    /// The client asks the server to close after the answer.
    pub last: bool,
    /// HTTP/1.0.
    pub old: bool,
}

#[derive(Clone, Debug)]
pub enum What {
    Get,
    Head,
    Range { first: u64, last: u64 },
    Ranges,
    Conditional,
    Put { version: u64, length: u64, chunked: bool, if_absent: bool, patient: bool, ttl_s: u64 },
    Delete,
    List,
    Options,
}

impl Request {
    pub fn new(what: What, key: usize) -> Self {
        Self { what, key, called: 0, called_us: 0, last: false, old: false }
    }

    /// A request of the kinds that a packager or a player sends.
    pub fn some(book: &mut Book, random: &mut Random, length_max: u64) -> Option<Self> {
        let key = random.index(KEYS.len());
        if !book.has_room(key) {
            return None;
        }
        let first = random.below(3000);
        let what = match random.below(20) {
            0..=6 => What::Get,
            7 => What::Head,
            8..=9 => What::Range { first, last: first + random.below(40_000) },
            10 => What::Ranges,
            11 => What::Conditional,
            12..=16 => Self::put(book, random, key, length_max),
            17 => What::Delete,
            18 => What::List,
            _ => What::Options,
        };
        Some(Self { old: random.once_in(15), ..Self::new(what, key) })
    }

    fn put(book: &mut Book, random: &mut Random, key: usize, length_max: u64) -> What {
        // An empty body counts as a probe where objects may grow, and has no bytes to tell.
        let length = 1 + match random.below(6) {
            0 => random.below(150_000),
            1..=2 => random.below(40_000),
            _ => random.below(5_000),
        };
        let length = length.min(length_max);
        let version = book.version(key, length);
        let (chunked, if_absent) = (random.once_in(2), random.once_in(10));
        let ttl_s = if random.once_in(10) { 1 + random.below(3) } else { 0 };
        What::Put { version, length, chunked, if_absent, patient: random.once_in(6), ttl_s }
    }

    /// The request's bytes.
    pub fn bytes(&self, random: &mut Random) -> Vec<u8> {
        let path = KEYS[self.key];
        let (line, lines) = match &self.what {
            What::Get => (format!("GET {path}"), String::new()),
            What::Head => (format!("HEAD {path}"), String::new()),
            What::Range { first, last } => {
                (format!("GET {path}"), format!("Range: bytes={first}-{last}\r\n"))
            }
            What::Ranges => (format!("GET {path}"), "Range: bytes=0-99,200-299\r\n".to_owned()),
            What::Conditional => (format!("GET {path}"), "If-None-Match: *\r\n".to_owned()),
            What::Delete => (format!("DELETE {path}"), String::new()),
            What::List => ("GET /".to_owned(), String::new()),
            What::Options => (format!("OPTIONS {path}"), String::new()),
            What::Put { length, chunked, if_absent, patient, ttl_s, .. } => {
                let framing = match self.is_chunked(*chunked) {
                    true => "Transfer-Encoding: chunked\r\n".to_owned(),
                    false => format!("Content-Length: {length}\r\n"),
                };
                let guard = if *if_absent { "If-None-Match: *\r\n" } else { "" };
                let expect = if *patient { "Expect: 100-continue\r\n" } else { "" };
                let query = match ttl_s {
                    0 => String::new(),
                    ttl_s => format!("?ttl_seconds={ttl_s}"),
                };
                (format!("PUT {path}{query}"), format!("{framing}{guard}{expect}"))
            }
        };
        let connection = if self.last { "Connection: close\r\n" } else { "" };
        let version = if self.old { "1.0" } else { "1.1" };
        let mut bytes =
            format!("{line} HTTP/{version}\r\nHost: h\r\n{connection}{lines}\r\n").into_bytes();
        if let What::Put { version, length, chunked, .. } = self.what {
            let body = content::bytes(self.key, version, 0, length);
            match self.is_chunked(chunked) {
                true => chunks(&body, random, &mut bytes),
                false => bytes.extend(body),
            }
        }
        bytes
    }

    /// HTTP/1.0 knows no chunks.
    fn is_chunked(&self, chunked: bool) -> bool {
        chunked && !self.old
    }

    fn called_at(&self) -> (u64, u64) {
        (self.called, self.called_us)
    }

    pub fn is_head(&self) -> bool {
        matches!(self.what, What::Head)
    }

    /// Whether the connection ends after the answer.
    pub fn ends(&self) -> bool {
        self.last || self.old
    }

    /// Checks an answer and notes what it says about the key.
    pub fn check(&self, response: &Response, client: Manners, now_us: u64, book: &mut Book) {
        let key = self.key;
        match (&self.what, response.status) {
            (_, 503) if response.body.windows(5).any(|at| at == b"takes") => {
                book.count("read-only");
            }
            (_, 503) => book.count("busy"),
            // Whoever has sent half a request gives way when the server drains or is full.
            (_, 408) if client.lenient => book.count("gave way"),
            (What::Get | What::Range { .. } | What::Ranges, 200) => {
                book.count(if response.chunked { "read growing" } else { "read" });
                book.whole(key, self.called_at(), response);
            }
            (What::Range { .. }, 206) => {
                book.count("read a part");
                let range = response.field("content-range").expect("a part says where it stands");
                let (from, length) = place(range);
                book.part(key, self.called_at(), from, length, &response.body);
            }
            (What::Ranges, 206) => self.check_parts(response, book),
            (What::Range { .. } | What::Ranges, 416) => book.count("unsatisfiable"),
            (What::Conditional, 304) => {
                book.count("not modified");
                if !can_grow(key) {
                    book.note(key, self.called, Operation::SawSomething);
                }
            }
            (What::Head, 200) => book.count("head"),
            (What::Get | What::Head | What::Range { .. } | What::Ranges, 404)
            | (What::Conditional | What::Delete, 404) => {
                book.count("absent");
                book.note(key, self.called, Operation::Read(0));
            }
            (What::Put { version, if_absent, ttl_s, .. }, 200) => {
                book.count("stored");
                let operation = match if_absent {
                    true => Operation::WriteIfAbsent(*version),
                    false => Operation::Write(*version),
                };
                book.note(key, self.called, operation);
                if *ttl_s > 0 {
                    book.expires(key, *version, self.called, now_us + ttl_s * 1_000_000);
                }
            }
            (What::Put { if_absent: true, .. }, 412) => {
                book.count("precondition");
                // What grows counts as being there, and is outside of the claim.
                if !can_grow(key) {
                    book.note(key, self.called, Operation::SawSomething);
                }
            }
            (What::Put { .. }, 409) if can_grow(key) => book.count("superseded"),
            (What::Put { .. }, 400) if client.breaks => book.count("broken off"),
            (What::Put { .. }, 507) => book.count("full"),
            // The client left in the middle of its body and still listened.
            (What::Put { .. }, 400) if response.body.windows(8).any(|at| at == b"declared") => {
                book.count("cut short");
            }
            (What::Delete, 200) => {
                book.count("deleted");
                if !can_grow(key) {
                    book.note(key, self.called, Operation::Delete);
                } else {
                    book.note(key, self.called, Operation::Vanish);
                }
            }
            (What::List, 200 | 404) => book.count("listed"),
            (What::Options, 204) => book.count("options"),
            _ => panic!("{self:?} was answered {response:?}"),
        }
    }

    fn check_parts(&self, response: &Response, book: &mut Book) {
        book.count("read parts");
        let field = response.field("content-type").expect("a multipart answer has a type");
        if !field.starts_with("multipart/byteranges") {
            let (from, length) = place(response.field("content-range").expect("one part"));
            return book.part(self.key, self.called_at(), from, length, &response.body);
        }
        let boundary = field.split_once("boundary=").expect("a boundary").1.trim_matches('"');
        let mark = format!("--{boundary}").into_bytes();
        let mut rest = &response.body[..];
        while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
            rest = &rest[at + mark.len()..];
            let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else { break };
            let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
            let range = head.split("content-range: ").nth(1).expect("a part says where it stands");
            let (from, to) = span(range);
            let length = place(range).1;
            let body = &rest[end + 4..][..usize::try_from(to - from).unwrap()];
            book.part(self.key, self.called_at(), from, length, body);
            rest = &rest[end + 4 + body.len()..];
        }
    }

    /// The connection ended before the answer. `whole` when all of the request was sent.
    pub fn give_up(&self, whole: bool, book: &mut Book) {
        match self.what {
            What::Put { version, ttl_s, .. } if whole => {
                if ttl_s > 0 {
                    book.note_open(self.key, self.called, Operation::Clear(version));
                }
                book.note_open(self.key, self.called, Operation::Write(version));
            }
            What::Delete if whole => book.note_open(self.key, self.called, Operation::Vanish),
            _ => {}
        }
    }
}

/// First byte, and length of the whole, of `bytes 0-1/9`.
fn place(range: &str) -> (u64, u64) {
    let length = range.trim().split(['/', '\r']).nth(1).expect("a length");
    (span(range).0, length.parse().expect("a number"))
}

/// First byte, and one past the last.
fn span(range: &str) -> (u64, u64) {
    let span = range.trim().strip_prefix("bytes ").expect("bytes");
    let (first, rest) = span.split_once('-').expect("a span");
    let last = rest.split('/').next().unwrap();
    (first.parse().unwrap(), last.parse::<u64>().unwrap() + 1)
}

fn chunks(body: &[u8], random: &mut Random, into: &mut Vec<u8>) {
    let mut rest = body;
    while !rest.is_empty() {
        let most = rest.len().min(1 << random.below(17));
        let (now, later) = rest.split_at(1 + random.index(most));
        into.extend(format!("{:x}\r\n", now.len()).into_bytes());
        into.extend(now);
        into.extend(b"\r\n");
        rest = later;
    }
    into.extend(b"0\r\n\r\n");
}
