//! HLS playlists as values (draft-pantos-hls-rfc8216bis): what they list and what follows from it.
//!
//! `line` and `attribute` cut the text, `number` reads its numbers, `tag` gives lines a meaning,
//! `playlist` reads a media playlist and `multivariant` the list of its renditions; `blocking`
//! decides what a reload directive gets and `delta` leaves out what a player has.
//!
//! **Invariants**: values borrow the text and nothing is allocated; work is linear in the bytes,
//! which are bounded; whatever cannot be read is a [`Fault`] with its line, never a panic.

use std::fmt;

pub use self::blocking::{Decision, Directives};
pub use self::playlist::{Item, Media, Part, Position, Segment};

pub mod attribute;
pub mod blocking;
pub mod delta;
pub mod line;
pub mod multivariant;
pub mod number;
pub mod playlist;
pub mod tag;

#[cfg(test)]
mod tests;

/// Why a playlist cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The line, counted from one; zero when it is the playlist as a whole.
    pub line: u32,
    /// What is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "playlist: {}", self.reason),
            line => write!(f, "playlist, line {line}: {}", self.reason),
        }
    }
}

impl std::error::Error for Fault {}
