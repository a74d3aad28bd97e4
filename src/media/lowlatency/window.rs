//! The segments at the end of a rendition, numbered without a gap, and their parts.
//!
//! **Invariants**: the sizes are fixed: the oldest segments and parts give way; parts of a segment
//! are handed out all or not at all.

use super::date::Date;
use super::parts::{Group, Part};
use crate::limits;

/// A short text, kept in place.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; limits::LL_TEXT_BYTES_MAX],
    len: u8,
}

impl Text {
    /// No text.
    pub const EMPTY: Self = Self { bytes: [0; limits::LL_TEXT_BYTES_MAX], len: 0 };

    /// Keeps a text; `None` when it is too long.
    pub fn new(text: &[u8]) -> Option<Self> {
        let mut kept = Self::EMPTY;
        kept.bytes.get_mut(..text.len())?.copy_from_slice(text);
        kept.len = u8::try_from(text.len()).ok()?;
        Some(kept)
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// How far a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its number is taken, but nothing was seen of it.
    Missing,
    /// It is arriving.
    Growing,
    /// All of it is there.
    Whole,
    /// It broke off after parts of it were published.
    Broken,
}

/// One segment.
#[derive(Clone, Copy)]
pub struct Slot {
    /// Its URI; empty while it is missing.
    pub uri: Text,
    /// The number under which it is published.
    pub msn: u64,
    /// How far it is.
    pub state: State,
    /// Its duration in microseconds, once it is whole or listed.
    pub duration_us: u64,
    /// Its program date time.
    pub date: Option<Date>,
    /// Whether it does not continue the one before.
    pub discontinuity: bool,
    /// Whether the encoder's playlist lists it.
    pub listed: bool,
    /// Whether it was published, or may be as soon as there is something to show.
    pub public: bool,
    /// Whether it was published before it was listed, so that its values stay.
    pub own: bool,
    /// Which of the rendition's maps applies.
    pub map: u8,
    /// Its fragments.
    pub group: Group,
    /// Whether a fragment was seen.
    pub has_fragment: bool,
    /// Decode time at its end, with its timescale.
    pub decode_end: Option<(u64, u32)>,
    /// The number of its first part among all that were added.
    pub parts_from: u64,
    /// How many parts it has.
    pub parts: u32,
}

impl Slot {
    /// A segment of which nothing is known but its number.
    pub const fn new(msn: u64) -> Self {
        Self {
            uri: Text::EMPTY,
            msn,
            state: State::Missing,
            duration_us: 0,
            date: None,
            discontinuity: false,
            listed: false,
            public: false,
            own: false,
            map: 0,
            group: Group::NEW,
            has_fragment: false,
            decode_end: None,
            parts_from: 0,
            parts: 0,
        }
    }

    /// Whether it has an end: nothing will be added to it.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Whole | State::Broken)
    }

    /// It ends before its time: what was published of it is a gap.
    pub fn break_off(&mut self) {
        self.state = State::Broken;
        self.duration_us = self.group.total_us().max(1000);
        self.group.stop();
    }

    /// Whether it stands in the playlist as a segment.
    pub fn is_shown(&self) -> bool {
        self.listed || (self.public && self.is_closed())
    }
}

/// The segments, oldest first, and their parts.
#[derive(Clone, Copy)]
pub struct Window {
    slots: [Slot; limits::LL_SEGMENTS_MAX],
    /// Segments that were ever added.
    head: u64,
    len: usize,
    parts: [Part; limits::LL_PARTS_MAX],
    /// Parts that were ever added.
    parts_head: u64,
}

impl Window {
    /// No segments.
    pub const fn new() -> Self {
        const NONE: Part = Part { offset: 0, length: 0, duration_us: 0, independent: false };
        Self {
            slots: [Slot::new(0); limits::LL_SEGMENTS_MAX],
            head: 0,
            len: 0,
            parts: [NONE; limits::LL_PARTS_MAX],
            parts_head: 0,
        }
    }

    /// How many segments there are.
    pub fn len(&self) -> usize {
        self.len
    }

    fn place(&self, at: usize) -> usize {
        let index = self.head - self.len as u64 + at as u64;
        usize::try_from(index % limits::LL_SEGMENTS_MAX as u64).unwrap_or_default()
    }

    /// The segment at this place, counted from the oldest; it must be below `len`.
    pub fn at(&self, at: usize) -> &Slot {
        &self.slots[self.place(at)]
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, at: usize) -> &mut Slot {
        let place = self.place(at);
        &mut self.slots[place]
    }

    /// The segments, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        (0..self.len).map(|at| self.at(at))
    }

    /// The newest segment.
    pub fn newest(&self) -> Option<&Slot> {
        self.len.checked_sub(1).map(|at| self.at(at))
    }

    /// Adds a segment behind the newest.
    pub fn push(&mut self, slot: Slot) {
        self.head += 1;
        self.len = (self.len + 1).min(limits::LL_SEGMENTS_MAX);
        let place = self.place(self.len - 1);
        self.slots[place] = Slot { parts_from: self.parts_head, ..slot };
    }

    /// Forgets the newest segment, whose number is free again.
    pub fn pop(&mut self) {
        if self.len > 0 {
            self.len -= 1;
            self.head -= 1;
        }
    }

    /// Forgets all segments.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The place of the newest segment of this name.
    pub fn find(&self, uri: &[u8]) -> Option<usize> {
        (0..self.len).rev().find(|at| self.at(*at).uri.as_bytes() == uri)
    }

    /// The place of the segment of this number.
    pub fn place_of(&self, msn: u64) -> Option<usize> {
        let first = self.iter().next()?.msn;
        let at = usize::try_from(msn.checked_sub(first)?).ok()?;
        (at < self.len).then_some(at)
    }

    /// Adds a part to the segment at this place, which must be the last that has parts.
    pub fn push_part(&mut self, at: usize, part: Part) {
        let head = self.parts_head;
        let slot = self.at_mut(at);
        if slot.parts == 0 {
            slot.parts_from = head;
        }
        slot.parts += 1;
        let place = usize::try_from(head % limits::LL_PARTS_MAX as u64).unwrap_or_default();
        self.parts[place] = part;
        self.parts_head += 1;
    }

    /// Takes from a segment's first part what its parts last longer than the segment does: samples
    /// that an edit list leaves out, such as the priming of AAC. At most a tenth of the part.
    pub fn trim_first(&mut self, at: usize, duration_us: u64) {
        let slot = self.at(at);
        let total_us: u64 = self.parts_of(slot).map(|part| part.duration_us).sum();
        let excess_us = total_us.saturating_sub(duration_us);
        if excess_us > TRIM_US_MIN {
            let place = slot.parts_from % limits::LL_PARTS_MAX as u64;
            let part = &mut self.parts[usize::try_from(place).unwrap_or_default()];
            part.duration_us -= excess_us.min(part.duration_us / 10);
        }
    }

    /// The parts of a segment; none when some of them had to give way.
    pub fn parts_of(&self, slot: &Slot) -> impl Iterator<Item = &Part> {
        let is_kept = self.parts_head - slot.parts_from <= limits::LL_PARTS_MAX as u64;
        let count = if is_kept { u64::from(slot.parts) } else { 0 };
        let from = slot.parts_from;
        (from..from + count).map(|index| {
            let place = index % limits::LL_PARTS_MAX as u64;
            &self.parts[usize::try_from(place).unwrap_or_default()]
        })
    }
}

/// Parts may last longer than their segment by so much, for all that is rounded.
const TRIM_US_MIN: u64 = 1000;
