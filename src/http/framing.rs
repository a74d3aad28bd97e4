//! The one place that decides where a message ends, and the chunked coding of both directions.
//!
//! **Invariants**: a message has one length or is refused; the two length headers never stand
//! together; every byte of chunk framing is checked, bounded by `limits`, and none of it reaches
//! the body; trailers are checked and dropped, never merged into the headers.

use super::request::Version;
use super::response::{HEX, Refusal, Status};
use super::scan::Set;
use super::target::NAME;
use crate::limits;
use std::ops::Range;

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No length header: the request has no body.
    //= RFC 9112 section 6.3
    None,
    /// As many bytes as Content-Length says.
    Length(u64),
    /// Until the last chunk and its trailers.
    Chunked,
}

impl Framing {
    /// Whether any body byte will follow.
    #[must_use]
    pub const fn has_body(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }
}

/// Decides by a request's length headers: the single Content-Length, and all lines of
/// Transfer-Encoding.
///
/// # Errors
/// 400 for anything that two readers could understand differently, 501 for codings other than
/// chunked.
pub fn decide<'a>(
    version: Version,
    content_length: Option<&[u8]>,
    transfer_encoding: impl Iterator<Item = &'a [u8]>,
) -> Result<Framing, Refusal> {
    let mut codings = transfer_encoding.peekable();
    if codings.peek().is_none() {
        return content_length
            .map_or(Ok(Framing::None), |value| length(value).map(Framing::Length));
    }
    //= RFC 9112 section 6.1
    if content_length.is_some() {
        return Err(Refusal::bad("content-length and transfer-encoding together"));
    }
    if version == Version::Http10 {
        return Err(Refusal::bad("transfer-encoding in a request of http/1.0"));
    }
    coding(codings).map(|()| Framing::Chunked)
}

/// A Content-Length: digits only, below 2^63.
///
/// # Errors
/// 400 for a sign, a list, another base, an empty or a larger value.
//= RFC 9110 section 8.6
#[inline]
pub fn length(value: &[u8]) -> Result<u64, Refusal> {
    const WRONG: Refusal = Refusal::bad("content-length is not a number below 2^63");
    if value.is_empty() {
        return Err(WRONG);
    }
    let mut length = 0i64;
    for byte in value {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(WRONG);
        }
        length = length.checked_mul(10).ok_or(WRONG)?;
        length = length.checked_add(i64::from(digit)).ok_or(WRONG)?;
    }
    Ok(length.unsigned_abs())
}

/// Accepts exactly one coding, `chunked`.
//= RFC 9112 section 6.3
fn coding<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<(), Refusal> {
    let mut unknown = false;
    let mut chunked = false;
    for coding in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let coding = coding.trim_ascii();
        if coding.is_empty() {
            return Err(Refusal::bad("empty transfer coding"));
        }
        if chunked {
            return Err(Refusal::bad("a transfer coding after chunked"));
        }
        chunked = coding.eq_ignore_ascii_case(b"chunked");
        unknown |= !chunked;
    }
    if !chunked {
        return Err(Refusal::bad("the last transfer coding is not chunked"));
    }
    if unknown {
        return Err(Refusal::new(Status::NotImplemented, "a transfer coding besides chunked"));
    }
    Ok(())
}

/// What one call of [`Chunked::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the input that are dealt with; the rest is to be given again, with more.
    pub consumed: usize,
    /// Body bytes within the input; may be empty.
    pub data: Range<usize>,
    /// Whether the body is complete; bytes after `consumed` belong to the next request.
    pub done: bool,
}

/// Decodes a chunked body, piece by piece, without copying.
//= RFC 9112 section 7.1
#[derive(Clone, Copy, Debug)]
pub struct Chunked {
    /// Body bytes left in the current chunk; while its size is read, the size so far.
    remaining: u64,
    /// Bytes of this chunk's extension, and of all trailers, so far.
    extension_bytes: u16,
    trailer_bytes: u16,
    /// Digits of the size so far; at most 16.
    digits: u8,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

// A decoder travels in a connection's state.
const _: () = assert!(size_of::<Chunked>() <= 32);
// The two counters count beyond their limits by one byte at most.
const _: () = assert!(limits::CHUNK_EXTENSION_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(limits::TRAILER_BYTES_MAX < u16::MAX as usize);

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunked {
    /// A decoder before the first chunk.
    #[must_use]
    pub const fn new() -> Self {
        Self { remaining: 0, extension_bytes: 0, trailer_bytes: 0, digits: 0, state: State::Size }
    }

    /// Whether the last chunk and its trailers were read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of the current chunk that are still to come, when its size is known.
    #[must_use]
    pub fn chunk_remaining(&self) -> u64 {
        if self.state == State::Data { self.remaining } else { 0 }
    }

    /// Takes framing from the front of `input` until body bytes, the end of the body or the end
    /// of the input. Call again with the rest until `done`, or with more bytes when all was
    /// consumed.
    ///
    /// # Errors
    /// 400 for framing that is not exactly that of RFC 9112 section 7.1, 431 for long trailers;
    /// the decoder must not be used again.
    pub fn decode(&mut self, input: &[u8]) -> Result<Chunk, Refusal> {
        for (at, byte) in input.iter().copied().enumerate() {
            if self.state == State::Data {
                return Ok(self.data(at, input.len()));
            }
            if self.state == State::Done {
                return Ok(Chunk { consumed: at, data: at..at, done: true });
            }
            self.state = self.step(byte)?;
        }
        let end = input.len();
        Ok(Chunk { consumed: end, data: end..end, done: self.state == State::Done })
    }

    fn data(&mut self, from: usize, len: usize) -> Chunk {
        let available = len - from;
        let take = usize::try_from(self.remaining).map_or(available, |left| left.min(available));
        self.remaining -= take as u64;
        if self.remaining == 0 {
            self.state = State::DataCr;
        }
        Chunk { consumed: from + take, data: from..from + take, done: false }
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::Size => self.size(byte),
            State::Extension => self.extension(byte),
            State::SizeLf => self.size_end(byte),
            State::DataCr => expect(byte, b'\r', State::DataLf, "chunk data without its cr"),
            State::DataLf => {
                (self.digits, self.remaining, self.extension_bytes) = (0, 0, 0);
                expect(byte, b'\n', State::Size, "chunk data without its lf")
            }
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf => {
                self.trailer(byte)
            }
            State::EndLf => expect(byte, b'\n', State::Done, "bare cr after the last chunk"),
            // `decode` never steps in these.
            State::Data | State::Done => Ok(self.state),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if self.digits == 0 => return Err(Refusal::bad("chunk size is not hexadecimal")),
            b'\r' => return Ok(State::SizeLf),
            b';' => return Ok(State::Extension),
            _ => return Err(Refusal::bad("chunk size is not hexadecimal")),
        };
        self.digits += 1;
        self.remaining = self.remaining << 4 | u64::from(digit);
        if self.digits > 16 || self.remaining > i64::MAX.unsigned_abs() {
            return Err(Refusal::bad("chunk size is too large"));
        }
        Ok(State::Size)
    }

    //= RFC 9112 section 7.1.1
    fn extension(&mut self, byte: u8) -> Result<State, Refusal> {
        match byte {
            b'\r' => return Ok(State::SizeLf),
            b'\t' | b' '..=b'~' | 0x80.. => {}
            _ => return Err(Refusal::bad("control byte in a chunk extension")),
        }
        self.extension_bytes += 1;
        if usize::from(self.extension_bytes) > limits::CHUNK_EXTENSION_BYTES_MAX {
            return Err(Refusal::bad("chunk extension is too long"));
        }
        Ok(State::Extension)
    }

    fn size_end(&mut self, byte: u8) -> Result<State, Refusal> {
        let next = if self.remaining == 0 { State::TrailerStart } else { State::Data };
        expect(byte, b'\n', next, "bare cr after a chunk size")
    }

    //= RFC 9112 section 7.1.2
    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.trailer_bytes += 1;
        if usize::from(self.trailer_bytes) > limits::TRAILER_BYTES_MAX {
            return Err(Refusal::new(Status::HeadersTooLarge, "trailers are too long"));
        }
        let in_name = TRAILER_NAME.contains(byte);
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart | State::TrailerName, _) if in_name => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => Ok(State::TrailerValue),
            _ => Err(Refusal::bad("a trailer is not a header line")),
        }
    }
}

const TRAILER_NAME: &Set = &NAME;

fn expect(byte: u8, wanted: u8, next: State, reason: &'static str) -> Result<State, Refusal> {
    if byte == wanted { Ok(next) } else { Err(Refusal::bad(reason)) }
}

/// Bytes in the longest chunk head.
pub const CHUNK_HEAD_BYTES_MAX: usize = 18;
/// What follows each chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";
/// What ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes the head of a chunk of `len` bytes (size and CRLF) and says how long it is. A length of
/// zero would end the body: send [`LAST_CHUNK`] for that.
pub fn chunk_head(len: u64, out: &mut [u8; CHUNK_HEAD_BYTES_MAX]) -> usize {
    debug_assert!(len > 0, "an empty chunk would end the body");
    let digits = (u64::BITS - len.leading_zeros()).div_ceil(4).max(1) as usize;
    let mut rest = len;
    for place in out[..digits].iter_mut().rev() {
        *place = HEX[usize::from(rest.to_le_bytes()[0] & 15)];
        rest >>= 4;
    }
    out[digits..digits + 2].copy_from_slice(b"\r\n");
    digits + 2
}
