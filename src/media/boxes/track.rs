//! What an initialization section says of its tracks: timescale and defaults of samples.
//!
//! **Invariants**: at most [`limits::TRACKS_MAX`] tracks; further ones are not kept.

use crate::limits;

/// One track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// Its number (`tkhd`, `trex`); never zero.
    pub id: u32,
    /// Units in a second (`mdhd`), zero when it was not said.
    pub timescale: u32,
    /// Duration of a sample that says none (`trex`).
    pub sample_duration: u32,
    /// Flags of a sample that says none (`trex`).
    pub sample_flags: u32,
}

/// The tracks of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    list: [Track; limits::TRACKS_MAX],
    len: usize,
}

impl Tracks {
    /// The tracks, in the order in which they were said.
    pub fn as_slice(&self) -> &[Track] {
        &self.list[..self.len]
    }

    /// The track of this number.
    pub fn find(&self, id: u32) -> Option<&Track> {
        self.as_slice().iter().find(|track| track.id == id)
    }

    /// The track of this number, made where there is none yet and there is room.
    pub(super) fn entry(&mut self, id: u32) -> Option<&mut Track> {
        let known = self.as_slice().iter().position(|track| track.id == id);
        let at = known.unwrap_or(self.len);
        let track = self.list.get_mut(at)?;
        if known.is_none() {
            *track = Track { id, ..Track::default() };
            self.len += 1;
        }
        Some(track)
    }
}
