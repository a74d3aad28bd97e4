//! A viewer's connection and the request on it: bytes in, progress out. Pure but for the socket.

use std::hash::{DefaultHasher, Hasher};

use socket2::Socket;

use crate::engine::record::Job;
use crate::http::Error;
use crate::http::body::{Body, Piece};
use crate::http::head;
use crate::limits::PLAYLIST_BYTES_MAX;
use crate::player::viewer::Fetch;
use crate::publish::stamp::{Scanner, Stamp};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No socket.
    #[default]
    Closed,
    /// Its connect is under way.
    Connecting,
    /// Free.
    Idle,
    /// A request is under way.
    Busy,
}

/// A request under way; lives only as long as that.
pub struct Exchange {
    /// What was asked for.
    pub fetch: Fetch,
    /// Its stamps.
    pub job: Job,
    /// Nanoseconds of the clock by which the first byte, then the last one must come.
    pub first_by: u64,
    /// See `first_by`.
    pub last_by: u64,
    /// Status code; 0 before the head.
    pub status: u16,
    /// Age header in seconds.
    pub age: f64,
    /// The body, of playlists.
    pub body: Vec<u8>,
    /// Reads the stamps of media.
    pub scanner: Option<Box<Scanner>>,
    /// Hashes the body, of a sample.
    pub hasher: Option<DefaultHasher>,
    /// The newest stamp.
    pub stamp: Option<Stamp>,
    /// Chunks verified, and chunks that differed.
    pub verified: u32,
    /// See `verified`.
    pub wrong: u32,
}

impl Exchange {
    /// A request that has not been sent; `verify` compares its media.
    pub fn new(fetch: Fetch, job: Job, verify: bool) -> Self {
        let media = fetch.duration > 0.0;
        Self {
            first_by: u64::MAX,
            last_by: u64::MAX,
            status: 0,
            age: 0.0,
            body: Vec::new(),
            scanner: media.then(|| Box::new(Scanner::new(verify))),
            hasher: (media && verify).then(DefaultHasher::new),
            stamp: None,
            verified: 0,
            wrong: 0,
            fetch,
            job,
        }
    }

    /// Whether the status is one that media or a playlist comes with.
    pub fn is_good(&self) -> bool {
        self.status == 200 || self.status == 206 && self.fetch.bytes.is_some()
    }

    fn take(&mut self, data: &[u8]) -> Result<(), Error> {
        if !self.is_good() {
            return Ok(());
        }
        if self.fetch.slot.playlist {
            if self.body.len() + data.len() > PLAYLIST_BYTES_MAX {
                return Err(Error::TooLarge(PLAYLIST_BYTES_MAX as u64));
            }
            self.body.extend_from_slice(data);
            return Ok(());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.write(data);
        }
        let (stamp, verified, wrong) = (&mut self.stamp, &mut self.verified, &mut self.wrong);
        if let Some(scanner) = &mut self.scanner {
            scanner.push(data, |arrived| {
                *stamp = Some(arrived.stamp);
                *verified += u32::from(arrived.right.is_some());
                *wrong += u32::from(arrived.right == Some(false));
            });
            let known = scanner.stamp().filter(|stamp| stamp.chunks <= 1 && self.hasher.is_none());
            if let Some(only) = known {
                // The one chunk's stamp is known: it arrives with the body's last byte.
                self.stamp = Some(*only);
                self.scanner = None;
            } else if !scanner.understands() {
                self.scanner = None;
            }
        }
        Ok(())
    }
}

/// One connection.
#[derive(Default)]
pub struct Connection {
    /// The viewer's seat.
    pub seat: u32,
    /// Counts the sockets of this place.
    pub generation: u16,
    /// What it is doing.
    pub state: State,
    /// It has carried a request before: its end between two requests is no error.
    pub used: bool,
    /// Bytes are waiting for the access link.
    pub paused: bool,
    /// A receive is armed.
    pub armed: bool,
    /// It may carry another request.
    keep_alive: bool,
    /// Its socket, when it has one.
    pub socket: Option<Socket>,
    /// A head of which only a part has come.
    carry: Vec<u8>,
    body: Option<Body>,
    /// Its request.
    pub exchange: Option<Box<Exchange>>,
}

impl Connection {
    /// A place with another socket, whose events are told from those of the one before.
    pub fn renew(&mut self, seat: u32, state: State) {
        let generation = self.generation.wrapping_add(1);
        *self = Self { seat, generation, state, ..Self::default() };
    }

    /// Ready for the answer to another request.
    pub fn expect(&mut self) {
        self.carry = Vec::new();
        self.body = None;
        self.keep_alive = false;
    }

    /// Whether another request may follow.
    pub fn reusable(&self) -> bool {
        self.keep_alive
    }

    /// Body bytes so far.
    pub fn received(&self) -> u64 {
        self.body.as_ref().map_or(0, Body::received)
    }

    /// Body bytes that are certainly to come and that nobody needs to see: the rest of media whose
    /// only stamp is known, or that has none.
    pub fn discardable(&self) -> u64 {
        let unseen = |exchange: &Exchange| {
            !exchange.fetch.slot.playlist && exchange.hasher.is_none() && exchange.scanner.is_none()
        };
        match (&self.exchange, &self.body) {
            (Some(exchange), Some(body)) if unseen(exchange) => body.remaining(),
            _ => 0,
        }
    }

    /// Counts body bytes that were thrown away; true when the answer is whole.
    pub fn discarded(&mut self, count: usize) -> bool {
        let Some(body) = &mut self.body else { return false };
        body.advance(count as u64);
        body.is_over()
    }

    /// Takes bytes in; true when the answer is whole.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        if self.body.is_some() {
            return self.feed_body(bytes);
        }
        if self.carry.is_empty() {
            return self.feed_head(bytes);
        }
        let mut whole = std::mem::take(&mut self.carry);
        whole.extend_from_slice(bytes);
        self.feed_head(&whole)
    }

    fn feed_head(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let mut start = 0;
        loop {
            let Some(head) = head::parse(&bytes[start..], false)? else {
                self.carry = bytes[start..].to_vec();
                return Ok(false);
            };
            let raw = &bytes[start..start + head.len];
            start += head.len;
            if head.is_interim() {
                continue;
            }
            let Some(exchange) = &mut self.exchange else {
                return Err(Error::BadResponse("an answer to no request"));
            };
            exchange.status = head.status;
            let age = head::header(raw, "age").and_then(|age| std::str::from_utf8(age).ok());
            exchange.age = age.and_then(|age| age.parse::<u32>().ok()).map_or(0.0, f64::from);
            self.keep_alive = head.keep_alive;
            self.body = Some(Body::new(head.framing));
            return self.feed_body(&bytes[start..]);
        }
    }

    fn feed_body(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let (Some(body), Some(exchange)) = (&mut self.body, &mut self.exchange) else {
            return Err(Error::BadResponse("an answer to no request"));
        };
        let mut at = 0;
        loop {
            let (piece, next) = body.next(bytes, at)?;
            at = next;
            match piece {
                Piece::Data(range) => exchange.take(&bytes[range])?,
                Piece::More => return Ok(body.is_over()),
                Piece::End { used } if used < bytes.len() => {
                    return Err(Error::BadResponse("bytes follow its end"));
                }
                Piece::End { .. } => return Ok(true),
            }
        }
    }

    /// The other side closed: true when that was the answer's end.
    pub fn closed(&self) -> Result<bool, Error> {
        match &self.body {
            None if self.carry.is_empty() => Err(Error::Closed),
            None => Err(Error::Truncated { got: 0, expected: None }),
            Some(body) => body.closed().map(|()| true),
        }
    }

    /// When a request on it is late, in nanoseconds of the clock.
    pub fn deadline(&self) -> u64 {
        match &self.exchange {
            Some(exchange) if exchange.job.first_byte == 0 => exchange.first_by,
            Some(exchange) => exchange.last_by,
            None => u64::MAX,
        }
    }
}
