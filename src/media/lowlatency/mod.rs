//! Low-latency HLS made from what an ordinary encoder pushes: a plain playlist and the fragments of
//! the segment that is arriving.
//!
//! A [`Rendition`] is told of plain playlists, of segments that begin and end, and of fragments. It
//! numbers segments (`window`), groups fragments into parts (`parts`) of a target that the first
//! segment decides (`target`), reads the encoder's lists (`listing`), guesses the next name
//! (`series`), continues program date times (`date`), and writes the playlist (`write`).
//!
//! **Invariants**: the state has a fixed size; what was published keeps its number, duration and
//! date; a part that would break a rule of the draft is not published, and its segment gets no
//! further ones; media sequence numbers never go back, whatever an encoder does when it restarts.

pub use self::parts::Part;
pub use self::rendition::{Refusal, Rendition};
pub use self::write::Report;

pub mod date;
mod listing;
mod parts;
mod rendition;
pub mod series;
mod target;
mod window;
mod write;

/// What the operator wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// No part is longer than this, in microseconds.
    pub part_target_us: u64,
}
