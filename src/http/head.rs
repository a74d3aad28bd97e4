//! What a request's head says, as offsets into the buffer that held it.
//!
//! **Invariants**: small, copyable and without a lifetime, so that the bytes can move while the
//! head is kept; only `request` makes one, and only for a head that it accepted.

use super::framing::Framing;
use super::known::{KNOWN_COUNT, Known};
use crate::limits;

/// A request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other token.
    Other,
}

/// A request's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

/// A run of bytes in the buffer that held the head: `start <= end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u16,
    /// Offset after the last byte.
    pub end: u16,
}

// Every offset in a head fits a span.
const _: () = assert!(limits::HEAD_BYTES_MAX <= u16::MAX as usize);

impl Span {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a head is shorter than 2^16 bytes")]
    pub(super) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u16, end: end as u16 }
    }

    /// Its bytes in `buf`, the buffer that was parsed; none if `buf` is another, shorter one.
    #[inline]
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }

    /// Bytes in it.
    #[inline]
    #[must_use]
    pub const fn len(self) -> usize {
        self.end as usize - self.start as usize
    }

    /// Whether it holds no byte.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A request's head, as offsets into the buffer it was parsed from (which may since have moved).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The version.
    pub version: Version,
    /// Whether the client means to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub expect_continue: bool,
    /// How the end of the body is found.
    pub body: Framing,
    /// The whole target.
    pub target: Span,
    /// The target's path, percent-encoded. Empty in absolute form without a path: it means `/`.
    /// For `OPTIONS *` it is `*`.
    pub path: Span,
    /// What follows the first `?`, possibly nothing.
    pub query: Span,
    /// Bytes of the head, the empty line included, and any empty line before the request line.
    pub head_len: usize,
    /// Offset of the first header line.
    pub(super) headers_start: u16,
    /// Which known headers are present, and which of them on several lines.
    pub(super) present: u32,
    pub(super) repeated: u32,
    /// The first value of each known header; meaningful where `present` says so.
    pub(super) values: [Span; KNOWN_COUNT],
}

impl Head {
    /// The first value of a known header, without the white space around it.
    #[inline]
    #[must_use]
    pub fn header<'a>(&self, buf: &'a [u8], known: Known) -> Option<&'a [u8]> {
        self.has(known).then(|| self.values[known as usize].of(buf))
    }

    /// Whether a known header is present.
    #[inline]
    #[must_use]
    pub const fn has(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// Whether any header of a set of [`Known::bit`]s is present.
    #[inline]
    #[must_use]
    pub const fn has_any(&self, bits: u32) -> bool {
        self.present & bits != 0
    }

    /// Whether a known header is present on more than one line.
    #[inline]
    #[must_use]
    pub const fn is_repeated(&self, known: Known) -> bool {
        self.repeated & known.bit() != 0
    }

    /// The values of all lines of a known header, in order.
    pub fn all<'a>(&self, buf: &'a [u8], known: Known) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // One line needs no second scan.
        let first = if self.is_repeated(known) { None } else { self.header(buf, known) };
        let lines = if self.is_repeated(known) { Some(self.lines(buf)) } else { None };
        let named = move |(name, value): (&'a [u8], &'a [u8])| {
            name.eq_ignore_ascii_case(known.name()).then_some(value)
        };
        first.into_iter().chain(lines.into_iter().flatten().filter_map(named))
    }

    /// Every header line, known or not: name, and value without the white space around it.
    #[must_use]
    pub fn lines<'a>(&self, buf: &'a [u8]) -> Lines<'a> {
        Lines { rest: buf.get(usize::from(self.headers_start)..self.head_len).unwrap_or_default() }
    }
}

/// The header lines of a head that was accepted.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let colon = self.rest.iter().position(|byte| *byte == b':')?;
        let end = self.rest.iter().position(|byte| *byte == b'\r')?;
        let line = self.rest.get(..end)?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        self.rest = self.rest.get(end + 2..)?;
        Some((name, value.trim_ascii()))
    }
}
