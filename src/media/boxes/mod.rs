//! ISO base media files (ISO/IEC 14496-12) as they arrive: where fragments lie and what they last.
//!
//! A [`Reader`] takes the bytes of an initialization section or of a segment in pieces of any size,
//! goes through the boxes that matter and reports each fragment (whatever lies before its `moof`,
//! the `moof`, its `mdat`) as soon as its last byte is there. `walk` holds the place in the boxes,
//! `leaf` reads the boxes that have values, `track` keeps what an initialization section says.
//!
//! **Invariants**: the state has a fixed size and media data is never kept; sizes are checked
//! against the enclosing box and against 2^63; work is linear in the bytes that arrive, whatever
//! counts they claim; a [`Fault`] ends the reading, and nothing panics.

use std::fmt;

pub use self::reader::Reader;
pub use self::track::{Track, Tracks};

mod leaf;
mod reader;
mod track;
mod walk;

#[cfg(test)]
mod tests;

/// A fragment that is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Its first byte: the one behind the last fragment's.
    pub start: u64,
    /// The byte behind its last one.
    pub end: u64,
    /// Where its `moof` begins.
    pub moof: u64,
    /// Decode time of its first sample, in units of `timescale`, when it is said.
    pub decode_time: Option<u64>,
    /// Duration of its samples, in units of `timescale`.
    pub duration: u64,
    /// Units in a second, zero when no initialization section said.
    pub timescale: u32,
    /// Samples of the track that the other values are of.
    pub samples: u64,
    /// Whether every track has a sample that can be decoded without others.
    pub independent: bool,
}

impl Fragment {
    /// Its duration in microseconds, rounded; `None` without a timescale.
    pub fn duration_us(&self) -> Option<u64> {
        to_us(self.duration, self.timescale)
    }
}

/// Units of a timescale in microseconds, rounded.
pub fn to_us(units: u64, timescale: u32) -> Option<u64> {
    let scale = u128::from(timescale);
    let us = (u128::from(units) * 1_000_000 + scale / 2).checked_div(scale)?;
    u64::try_from(us).ok()
}

/// Why a file cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The byte at which it was noticed.
    pub at: u64,
    /// What is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "media file, byte {}: {}", self.at, self.reason)
    }
}

impl std::error::Error for Fault {}
