//! One connection: bytes out, heads and bodies in, with bounds on every wait.
//!
//! **Invariants**: nothing waits longer than `limits::client` says; a body ends where its framing
//! says or is an error, never early in silence; memory is one buffer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::fault::Fault;
use super::head::{self, Framing, Head};
use crate::http::framing::Chunked;
use crate::limits::client::{ANSWER_WAIT, CONNECT_WAIT, PIECE_BYTES, SEND_WAIT};

/// What is left of the body under way.
enum Left {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// A connection.
pub struct Link {
    stream: TcpStream,
    /// What was received: `start..end` is not taken yet.
    room: Box<[u8]>,
    start: usize,
    end: usize,
    left: Left,
    /// Whether another request may follow the body under way.
    keep_alive: bool,
}

/// Why no head came.
pub enum Silence {
    /// The connection ended before a byte of it, as an idle one may.
    Ended,
    /// Nothing came in time.
    Late,
    /// Anything else.
    Fault(Fault),
}

impl Link {
    /// Connects to the first address that accepts.
    pub fn connect(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(address, CONNECT_WAIT) {
                Ok(stream) => return Self::over(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.set_write_timeout(Some(SEND_WAIT))?;
        let room = vec![0; PIECE_BYTES].into();
        Ok(Self { stream, room, start: 0, end: 0, left: Left::Length(0), keep_alive: true })
    }

    /// Sends bytes, all of them.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Whether it may carry another request now.
    pub fn is_free(&self) -> bool {
        self.keep_alive && matches!(self.left, Left::Length(0))
    }

    /// Nothing more can be asked over it.
    pub fn spoil(&mut self) {
        self.keep_alive = false;
    }

    /// Reads a head, interim ones included, and gets ready for its body.
    pub fn head(&mut self, bodiless: bool, wait: Duration) -> Result<Head, Silence> {
        let failed = |error: io::Error| Silence::Fault(broken(&error));
        self.stream.set_read_timeout(Some(wait)).map_err(failed)?;
        let outcome = self.head_in_time(bodiless);
        self.stream.set_read_timeout(Some(ANSWER_WAIT)).map_err(failed)?;
        outcome
    }

    fn head_in_time(&mut self, bodiless: bool) -> Result<Head, Silence> {
        let wrong = |what: &str| Silence::Fault(Fault::Connection(format!("no answer: {what}")));
        loop {
            let received = &self.room[self.start..self.end];
            if let Some((head, len)) = head::parse(received, bodiless).map_err(wrong)? {
                self.start += len;
                self.keep_alive = head.keep_alive;
                self.left = match head.framing {
                    Framing::Length(length) => Left::Length(length),
                    Framing::Chunked => Left::Chunked(Chunked::new()),
                    Framing::UntilClose => Left::UntilClose,
                };
                return Ok(head);
            }
            let had = self.end - self.start;
            self.room.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, had);
            if had == self.room.len() {
                return Err(wrong("its head is too long"));
            }
            match self.stream.read(&mut self.room[had..]) {
                Ok(0) if had == 0 => return Err(Silence::Ended),
                Ok(0) => return Err(wrong("the connection ended within its head")),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => return Err(Silence::Late),
                Err(error) if had == 0 && is_reset(&error) => return Err(Silence::Ended),
                Err(error) => return Err(Silence::Fault(broken(&error))),
            }
        }
    }

    /// Reads some of the body; nothing at its end.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        match self.left {
            Left::Length(0) => Ok(0),
            Left::Length(left) => {
                let want = usize::try_from(left).map_or(out.len(), |left| left.min(out.len()));
                let count = self.take(&mut out[..want])?;
                if count == 0 {
                    return Err(Fault::Answer(format!("cut short, {left} bytes are missing")));
                }
                self.left = Left::Length(left - count as u64);
                Ok(count)
            }
            Left::Chunked(chunked) => self.read_chunked(chunked, out),
            Left::UntilClose => self.take(out),
        }
    }

    fn read_chunked(&mut self, mut chunked: Chunked, out: &mut [u8]) -> Result<usize, Fault> {
        loop {
            if self.start == self.end {
                (self.start, self.end) = (0, self.receive()?);
                if self.end == 0 {
                    return Err(Fault::Answer("cut short, its last chunk is missing".to_owned()));
                }
            }
            let end = self.end.min(self.start + out.len());
            let input = &self.room[self.start..end];
            let chunk = chunked
                .decode(input)
                .map_err(|refusal| Fault::Answer(format!("cut short: {}", refusal.reason)))?;
            let data = &input[chunk.data.clone()];
            out[..data.len()].copy_from_slice(data);
            self.start += chunk.consumed;
            self.left = if chunk.done { Left::Length(0) } else { Left::Chunked(chunked) };
            if chunk.done || !chunk.data.is_empty() {
                return Ok(chunk.data.len());
            }
        }
    }

    /// What was received already, or else what comes next.
    fn take(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let ready = (self.end - self.start).min(out.len());
        if ready > 0 {
            out[..ready].copy_from_slice(&self.room[self.start..self.start + ready]);
            self.start += ready;
            return Ok(ready);
        }
        read_on(&mut self.stream, out)
    }

    fn receive(&mut self) -> Result<usize, Fault> {
        read_on(&mut self.stream, &mut self.room)
    }
}

fn read_on(stream: &mut TcpStream, out: &mut [u8]) -> Result<usize, Fault> {
    loop {
        match stream.read(out) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(&error)),
            Ok(count) => return Ok(count),
        }
    }
}

/// What became of a connection.
pub fn broken(error: &io::Error) -> Fault {
    if is_late(error) {
        return Fault::Connection(format!("nothing moved for {} s", ANSWER_WAIT.as_secs()));
    }
    Fault::Connection(format!("the connection broke: {error}"))
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
