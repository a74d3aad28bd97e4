//! Entry points for fuzzing: each takes any bytes and panics if a promise of this room breaks.
//!
//! A fuzz target is one call of one of these; `tests` replays them on seeded input.
//!
//! **Invariants**: nothing in the origin calls them.

use super::framing::{Chunked, LAST_CHUNK};
use super::range::{self, ByteRange, Ranges};
use super::request::{self, Head};
use super::response::{Refusal, Writer};
use super::scan::{Narrow, Work};
use super::{condition, date};
use crate::limits;

/// A head reads the same with and without vectors, and however it is cut; its spans lie in it.
///
/// # Panics
/// When one of these does not hold.
pub fn request(data: &[u8]) {
    let whole = request::parse(data);
    assert_eq!(narrow(data), whole, "the portable twin disagrees");
    for cut in 0..data.len() {
        match (request::parse(&data[..cut]), whole) {
            (Ok(None), _) => {}
            (Ok(Some(early)), Ok(Some(head))) => {
                assert_eq!(early, head, "cut at {cut}");
                assert!(head.head_len <= cut, "complete before its end");
            }
            (early, whole) => assert_eq!(early, whole, "cut at {cut}"),
        }
    }
    if let Ok(Some(head)) = whole {
        let inside = |start: u16, end: u16| start <= end && usize::from(end) <= head.head_len;
        assert!(inside(head.target.start, head.target.end), "target outside the head");
        assert!(inside(head.path.start, head.path.end), "path outside the head");
        assert!(inside(head.query.start, head.query.end), "query outside the head");
        assert!(head.head_len <= data.len().min(limits::HEAD_BYTES_MAX), "head outside the data");
        assert!(head.lines(data).count() <= limits::HEADERS_MAX, "too many lines");
    }
}

fn narrow(data: &[u8]) -> Result<Option<Head>, Refusal> {
    let bounded = data.get(..limits::HEAD_BYTES_MAX).unwrap_or(data);
    request::Parse.run(Narrow { bytes: bounded })
}

/// What is left of a chunked body: its data, how much of the input it took, and the verdict.
type Decoded = (Vec<u8>, usize, Result<bool, Refusal>);

/// A chunked body decodes the same whole and in pieces of every size.
///
/// # Panics
/// When it does not, or when the decoder stands still.
pub fn chunked(data: &[u8]) {
    let whole = decode(data, data.len().max(1));
    for piece_bytes in 1..data.len().min(64) {
        assert_eq!(decode(data, piece_bytes), whole, "pieces of {piece_bytes}");
    }
    // Whatever decodes without an error is one body; the last chunk can end it at a boundary.
    let mut decoder = Chunked::new();
    assert!(decoder.decode(LAST_CHUNK).is_ok_and(|chunk| chunk.done), "the last chunk ends");
}

fn decode(data: &[u8], piece_bytes: usize) -> Decoded {
    let mut decoder = Chunked::new();
    let (mut body, mut consumed) = (Vec::new(), 0);
    for piece in data.chunks(piece_bytes) {
        let mut at = 0;
        while at < piece.len() {
            match decoder.decode(&piece[at..]) {
                Ok(chunk) => {
                    assert!(chunk.consumed > 0, "no progress");
                    assert!(chunk.data.end <= chunk.consumed, "data beyond what was consumed");
                    body.extend_from_slice(&piece[at..][chunk.data]);
                    at += chunk.consumed;
                    consumed += chunk.consumed;
                    if chunk.done {
                        return (body, consumed, Ok(true));
                    }
                }
                // Where an error is noticed depends on the cut; what came before it does not.
                Err(refusal) => return (body, 0, Err(refusal)),
            }
        }
    }
    (body, consumed, Ok(false))
}

/// Ranges lie in the object, never touch each other, and their multipart length adds up. The first
/// eight bytes are the object's length.
///
/// # Panics
/// When one of these does not hold.
pub fn range(data: &[u8]) {
    let Some((length, value)) = data.split_first_chunk() else { return };
    let length = u64::from_le_bytes(*length) >> 1;
    let Ranges::Satisfiable(list) = range::parse(value, length) else { return };
    let ranges = list.as_slice();
    assert!((1..=limits::RANGES_MAX).contains(&ranges.len()), "a list of {}", ranges.len());
    for (at, range) in ranges.iter().enumerate() {
        assert!(range.first <= range.last && range.last < length, "{range:?} of {length}");
        let apart = |other: &ByteRange| {
            other.last.saturating_add(1) < range.first || range.last.saturating_add(1) < other.first
        };
        assert!(ranges[..at].iter().all(apart), "{ranges:?} touch");
    }
    let multipart = range::Multipart { boundary: b"bound", content_type: b"a/b", length };
    let mut memory = [0; 256];
    for range in ranges {
        let mut writer = Writer::new(&mut memory);
        multipart.part_head(*range, &mut writer);
        assert_eq!(writer.len() as u64, multipart.part_head_len(*range), "length of a part head");
    }
}

/// Tags and dates can be anything.
///
/// # Panics
/// When a date that was read cannot be read back from its preferred form.
pub fn condition(data: &[u8]) {
    let strong = condition::matches_strong(data, b"\"a\"");
    assert!(!strong || condition::matches_weak(data, b"\"a\""), "strong but not weak");
    if let Some(unix_s) = date::parse(data) {
        assert_eq!(date::parse(&date::format(unix_s)), Some(unix_s), "a date that changes");
    }
}
