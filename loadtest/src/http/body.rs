//! Where a body ends: by length, by chunks (RFC 9112 section 7.1), by the end of the connection.
//!
//! Pure: bytes go in as they arrive, ranges of body bytes come out. Never copies, never waits.

use std::ops::Range;

use super::error::Error;
use super::head::Framing;
use crate::limits::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

/// What the next bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Body bytes, as a range of the input.
    Data(Range<usize>),
    /// The input is used up and the body goes on.
    More,
    /// The body is over; the bytes after `used` belong to something else.
    End {
        /// Bytes of the input that were the body's.
        used: usize,
    },
}

/// One body under way.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    received: u64,
    announced: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes are still to come.
    Plain(u64),
    UntilClose,
    /// Within a line with the size of a chunk.
    Size {
        value: u64,
        digits: u8,
    },
    /// Behind the size, up to the end of the line.
    Extension {
        value: u64,
        seen: u16,
    },
    SizeEnd(u64),
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    /// Within the trailer; `line` counts the bytes of the current line without its end.
    Trailer {
        line: u16,
        seen: u16,
    },
    Over,
}

impl Body {
    /// The body that a head announced.
    pub fn new(framing: Framing) -> Self {
        let (state, announced) = match framing {
            Framing::Length(length) => (State::Plain(length), Some(length)),
            Framing::Chunked => (State::Size { value: 0, digits: 0 }, None),
            Framing::UntilClose => (State::UntilClose, None),
        };
        Self { state, received: 0, announced }
    }

    /// Body bytes that arrived so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that certainly belong to the body and are still to come; 0 when unknown.
    pub fn remaining(&self) -> u64 {
        match self.state {
            State::Plain(left) | State::Chunk(left) => left,
            _ => 0,
        }
    }

    /// Whether the end was seen.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over | State::Plain(0))
    }

    /// What stands at `at` in `input`; the second value is where to go on.
    pub fn next(&mut self, input: &[u8], at: usize) -> Result<(Piece, usize), Error> {
        let mut at = at;
        loop {
            if self.is_over() {
                return Ok((Piece::End { used: at }, at));
            }
            if at == input.len() {
                return Ok((Piece::More, at));
            }
            let take = match self.state {
                State::Plain(left) | State::Chunk(left) => {
                    usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at)
                }
                State::UntilClose => input.len() - at,
                _ => 0,
            };
            if take > 0 {
                self.advance(take as u64);
                return Ok((Piece::Data(at..at + take), at + take));
            }
            self.state = self.framing_byte(input[at])?;
            at += 1;
        }
    }

    /// The connection ended: was that the end of the body?
    pub fn closed(&self) -> Result<(), Error> {
        if self.is_over() || self.state == State::UntilClose {
            return Ok(());
        }
        Err(Error::Truncated { got: self.received, expected: self.announced })
    }

    /// Counts `bytes` of body that were taken off elsewhere; at most [`Body::remaining`].
    pub fn advance(&mut self, bytes: u64) {
        self.received += bytes;
        self.state = match self.state {
            State::Plain(left) => State::Plain(left.saturating_sub(bytes)),
            State::Chunk(left) if left <= bytes => State::ChunkCr,
            State::Chunk(left) => State::Chunk(left - bytes),
            other => other,
        };
    }

    fn framing_byte(&self, byte: u8) -> Result<State, Error> {
        let bad = Err(Error::BadResponse("its chunks are broken"));
        Ok(match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                // 15 digits stay below 2^60.
                if digits == 15 {
                    return bad;
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return bad,
            (State::Size { value, .. }, b'\r') => State::SizeEnd(value),
            (State::Size { value, .. }, b';' | b' ' | b'\t') => State::Extension { value, seen: 0 },
            (State::Extension { value, .. }, b'\r') => State::SizeEnd(value),
            (State::Extension { value, seen }, _) if seen < CHUNK_LINE_BYTES_MAX => {
                State::Extension { value, seen: seen + 1 }
            }
            (State::SizeEnd(0), b'\n') => State::Trailer { line: 0, seen: 0 },
            (State::SizeEnd(value), b'\n') => State::Chunk(value),
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::ChunkLf, b'\n') => State::Size { value: 0, digits: 0 },
            (State::Trailer { line: 0, .. }, b'\n') => State::Over,
            (State::Trailer { seen, .. }, b'\n') => State::Trailer { line: 0, seen },
            (State::Trailer { .. }, b'\r') => self.state,
            (State::Trailer { line, seen }, _) if seen < TRAILER_BYTES_MAX => {
                State::Trailer { line: line + 1, seen: seen + 1 }
            }
            _ => return bad,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `parts` one after the other; the body, and the bytes behind its end.
    fn feed(framing: Framing, parts: &[&[u8]]) -> Result<(Vec<u8>, Option<usize>), Error> {
        let (mut body, mut data, mut behind) = (Body::new(framing), Vec::new(), None);
        for part in parts {
            let mut at = 0;
            loop {
                let (piece, next) = body.next(part, at)?;
                at = next;
                match piece {
                    Piece::Data(range) => data.extend_from_slice(&part[range]),
                    Piece::More => break,
                    Piece::End { used } => {
                        behind = Some(behind.unwrap_or(0) + part.len() - used);
                        break;
                    }
                }
            }
        }
        assert_eq!(body.received(), data.len() as u64);
        if behind.is_none() {
            body.closed()?;
        }
        Ok((data, behind))
    }

    #[test]
    fn every_split_gives_the_same_body() {
        let chunked = b"5;a=b\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\nHTTP";
        for cut in 0..=chunked.len() {
            for second in cut..=chunked.len() {
                let parts = [&chunked[..cut], &chunked[cut..second], &chunked[second..]];
                let (data, behind) = feed(Framing::Chunked, &parts).unwrap();
                assert_eq!((data.as_slice(), behind), (&b"hello 0123456789"[..], Some(4)));
            }
        }
        let plain = b"helloHTTP";
        for cut in 0..=plain.len() {
            let parts = [&plain[..cut], &plain[cut..]];
            let (data, behind) = feed(Framing::Length(5), &parts).unwrap();
            assert_eq!((data.as_slice(), behind), (&b"hello"[..], Some(4)));
        }
        assert_eq!(feed(Framing::UntilClose, &[b"ab", b"c"]).unwrap(), (b"abc".to_vec(), None));
    }

    #[test]
    fn an_early_end_is_an_error() {
        let error = feed(Framing::Length(5), &[b"hel"]).unwrap_err();
        assert_eq!(error, Error::Truncated { got: 3, expected: Some(5) });
        let whole = b"5\r\nhello\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            let error = feed(Framing::Chunked, &[&whole[..end]]).unwrap_err();
            assert_eq!(error.class(), "truncated", "{end}");
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        for text in ["x\r\n", "\r\n", "5\rx", "1\r\nab", "1\r\na\rb", "1234567890abcdef0\r\n"] {
            let error = feed(Framing::Chunked, &[text.as_bytes()]).unwrap_err();
            assert_eq!(error.class(), "bad response", "{text}");
        }
        let long = format!("1;{}\r\n", "x".repeat(usize::from(CHUNK_LINE_BYTES_MAX) + 1));
        assert!(feed(Framing::Chunked, &[long.as_bytes()]).is_err());
    }
}
