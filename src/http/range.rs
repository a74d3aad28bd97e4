//! Which parts of an object a Range header asks for, and the framing of several parts.
//!
//! **Invariants**: a header that is not exactly a list of byte ranges is ignored (the whole object
//! is sent), as is one with more than `limits::RANGES_MAX` entries; ranges that overlap or touch
//! are joined, so no byte of an object is sent twice and an answer is never larger than the object
//! and its part heads.

use super::response::{Writer, decimal_len};
use crate::limits;

/// An inclusive run of bytes of an object: `first <= last < length`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl ByteRange {
    /// Bytes in it, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether the two overlap or leave no byte between them.
    const fn touches(&self, other: &Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }

    fn joined(&self, other: &Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// What a Range header means for an object.
#[expect(clippy::large_enum_variant, reason = "no allocation: the list lives on the stack")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Send the whole object (200).
    Ignore,
    /// No part of what was asked for exists (416).
    Unsatisfiable,
    /// Send these parts (206), in this order.
    Satisfiable(RangeList),
}

/// One to `limits::RANGES_MAX` ranges that neither overlap nor touch, in the order asked for.
#[derive(Clone, Copy, Debug)]
pub struct RangeList {
    ranges: [ByteRange; limits::RANGES_MAX],
    /// How many of them count; the rest is left over.
    count: usize,
}

impl RangeList {
    /// The ranges.
    #[must_use]
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.ranges[..self.count]
    }

    /// The range, if there is only one: the answer then is not multipart.
    #[must_use]
    pub fn single(&self) -> Option<ByteRange> {
        if let [range] = self.as_slice() { Some(*range) } else { None }
    }

    /// Adds `range`, joined with all that it touches, at the place of the first of them. The
    /// list has room: it never holds more ranges than were added.
    fn add(&mut self, range: ByteRange) {
        let mut joined = range;
        let mut place = self.count;
        // What has grown may touch others: go on until nothing touches.
        while let Some(next) = self.as_slice().iter().position(|other| other.touches(&joined)) {
            joined = joined.joined(&self.ranges[next]);
            self.ranges.copy_within(next + 1..self.count, next);
            self.count -= 1;
            place = place.min(next);
        }
        self.ranges.copy_within(place..self.count, place + 1);
        self.ranges[place] = joined;
        self.count += 1;
    }
}

impl PartialEq for RangeList {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for RangeList {}

/// What the Range header `value` means for an object of `length` bytes.
///
/// A unit other than bytes, bad syntax, too many entries and a suffix of an empty object are
/// [`Ranges::Ignore`].
//= RFC 9110 section 14.2
#[must_use]
pub fn parse(value: &[u8], length: u64) -> Ranges {
    let Some((unit, set)) = value.split_at_checked(UNIT.len()) else { return Ranges::Ignore };
    if !unit.eq_ignore_ascii_case(UNIT) {
        return Ranges::Ignore;
    }
    let mut list = RangeList { ranges: [ByteRange::default(); limits::RANGES_MAX], count: 0 };
    let mut entries = 0;
    // Each empty entry counts as one: a list of commas is bounded like a list of ranges.
    for entry in set.split(|byte| *byte == b',') {
        entries += 1;
        if entries > limits::RANGES_MAX {
            return Ranges::Ignore;
        }
        match one(trim(entry), length) {
            Entry::Empty | Entry::Outside => {}
            Entry::Wrong => return Ranges::Ignore,
            Entry::Within(range) => list.add(range),
        }
    }
    let asked = set.iter().any(u8::is_ascii_digit);
    match list.count {
        0 if asked => Ranges::Unsatisfiable,
        0 => Ranges::Ignore,
        _ => Ranges::Satisfiable(list),
    }
}

/// The unit with its sign.
const UNIT: &[u8] = b"bytes=";

/// What one entry of a range set is.
enum Entry {
    Empty,
    /// Not a range at all, which spoils the whole header.
    Wrong,
    /// A range of which the object has no byte.
    Outside,
    Within(ByteRange),
}

//= RFC 9110 section 14.1.2
fn one(entry: &[u8], length: u64) -> Entry {
    let Some(dash) = entry.iter().position(|byte| *byte == b'-') else {
        return if entry.is_empty() { Entry::Empty } else { Entry::Wrong };
    };
    let (first, last) = (&entry[..dash], &entry[dash + 1..]);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Entry::Wrong,
        (Some(first), Some(_)) if first >= length => Entry::Outside,
        (Some(first), Some(last)) => Entry::Within(ByteRange { first, last: last.min(length - 1) }),
        (Some(first), None) if last.is_empty() && first >= length => Entry::Outside,
        (Some(first), None) if last.is_empty() => {
            Entry::Within(ByteRange { first, last: length - 1 })
        }
        (None, Some(0)) if first.is_empty() => Entry::Outside,
        // No Content-Range can describe the end of nothing: send the nothing whole.
        (None, Some(_)) if first.is_empty() && length == 0 => Entry::Wrong,
        (None, Some(suffix)) if first.is_empty() => {
            Entry::Within(ByteRange { first: length.saturating_sub(suffix), last: length - 1 })
        }
        _ => Entry::Wrong,
    }
}

/// A number of digits only; one beyond 2^64 is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.saturating_mul(10).saturating_add(u64::from(digit));
    }
    Some(number)
}

/// Without the spaces and tabs around it; a header's value holds no other white space.
fn trim(entry: &[u8]) -> &[u8] {
    entry.trim_ascii()
}

/// Writes the value `bytes 0-499/1234`, or `bytes 0-499/*` while the length is not known.
//= RFC 9110 section 14.4
pub fn content_range(range: ByteRange, length: Option<u64>, out: &mut Writer<'_>) {
    out.raw(b"bytes ");
    out.number(range.first);
    out.raw(b"-");
    out.number(range.last);
    out.raw(b"/");
    match length {
        Some(length) => out.number(length),
        None => out.raw(b"*"),
    }
}

/// Writes the value `bytes */1234` of a 416.
pub fn content_range_unsatisfied(length: u64, out: &mut Writer<'_>) {
    out.raw(b"bytes */");
    out.number(length);
}

const fn content_range_len(range: ByteRange, length: u64) -> u64 {
    let digits = decimal_len(range.first) + decimal_len(range.last) + decimal_len(length);
    (b"bytes -/".len() + digits) as u64
}

/// The framing of an answer of several parts.
///
/// The body is, for each range, a part head and the bytes, and then the end.
//= RFC 9110 section 14.6
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    /// Separates the parts: 1 to 70 letters and digits that occur in no part.
    pub boundary: &'a [u8],
    /// The object's own type, repeated in each part.
    pub content_type: &'a [u8],
    /// Bytes of the whole object.
    pub length: u64,
}

impl Multipart<'_> {
    /// Writes the value of the answer's Content-Type.
    pub fn answer_type(&self, out: &mut Writer<'_>) {
        out.raw(b"multipart/byteranges; boundary=");
        out.raw(self.boundary);
    }

    /// Writes what stands before the bytes of `range`.
    pub fn part_head(&self, range: ByteRange, out: &mut Writer<'_>) {
        out.raw(b"\r\n--");
        out.raw(self.boundary);
        out.raw(b"\r\n");
        if !self.content_type.is_empty() {
            out.header(b"Content-Type", self.content_type);
        }
        out.raw(b"Content-Range: ");
        content_range(range, Some(self.length), out);
        out.raw(b"\r\n\r\n");
    }

    /// Bytes that [`Multipart::part_head`] writes for `range`.
    #[must_use]
    pub fn part_head_len(&self, range: ByteRange) -> u64 {
        let of_type = match self.content_type.len() {
            0 => 0,
            len => b"Content-Type: \r\n".len() + len,
        };
        let fixed = b"\r\n--\r\nContent-Range: \r\n\r\n".len() + self.boundary.len() + of_type;
        fixed as u64 + content_range_len(range, self.length)
    }

    /// Writes what stands after the last part.
    pub fn end(&self, out: &mut Writer<'_>) {
        out.raw(b"\r\n--");
        out.raw(self.boundary);
        out.raw(b"--\r\n");
    }

    /// Bytes that [`Multipart::end`] writes.
    #[must_use]
    pub fn end_len(&self) -> u64 {
        (b"\r\n----\r\n".len() + self.boundary.len()) as u64
    }

    /// Content-Length of the whole answer. Ranges are disjoint, so the sum cannot overflow for
    /// any object that exists.
    #[must_use]
    pub fn body_len(&self, list: &RangeList) -> u64 {
        let parts = list.as_slice().iter().map(|range| self.part_head_len(*range) + range.len());
        parts.sum::<u64>() + self.end_len()
    }
}
