//! One rendition: what its encoder pushed, brought into the order of one playlist.
//!
//! The encoder's numbers are moved by `shift`, which changes when an encoder starts anew, so that
//! published numbers go on. A segment that is not listed yet is published when the one before it is
//! and its decode times go on; otherwise it waits for its entry, which tells its date.
//!
//! **Invariants**: numbers of kept segments are consecutive; what was published before it was
//! listed keeps its values; a name that is written again takes out its older namesake and all
//! before it.

use super::Policy;
use super::series::Series;
use super::target::Seen;
use super::window::{Slot, State, Text, Window};
use crate::limits;
use crate::media::boxes::Fragment;
use crate::media::hls::Position;

/// Why a playlist was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It has parts or skipped segments: whoever wrote it makes low latency itself.
    LowLatencyAlready,
    /// It lists single frames.
    IFrames,
    /// It ends before a playlist that was taken earlier.
    Older,
    /// A name or map in it is longer than what is kept.
    TooLong,
}

/// One rendition of a channel. It is large (some 35 KiB): keep it behind a pointer.
#[derive(Clone, Copy)]
pub struct Rendition {
    pub(super) policy: Policy,
    pub(super) window: Window,
    /// PART-TARGET in microseconds, or why there is none; not known before the first segment ends.
    pub(super) target: Option<Result<u64, &'static str>>,
    pub(super) seen: Seen,
    pub(super) series: Option<Series>,
    pub(super) maps: [Text; 2],
    pub(super) map: u8,
    /// Added to the encoder's numbers.
    pub(super) shift: i64,
    /// The encoder's number of the last segment that it listed.
    pub(super) last_in: Option<u64>,
    /// The published number of the first segment since the encoder started.
    pub(super) base: u64,
    /// Whether that segment follows one of an earlier start.
    pub(super) is_restarted: bool,
    /// The discontinuity sequence number of that segment.
    pub(super) base_discontinuity: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE of the encoder when that segment has left its list.
    pub(super) base_discontinuity_in: u64,
    pub(super) last_discontinuity: u64,
    /// The first segment of an earlier start that is still listed; `base` when there is none.
    pub(super) tail: u64,
    /// The first segment that may be listed: those before it were removed, or have lost their bytes
    /// to others of the same name.
    pub(super) first: u64,
    /// Segments in a row that could not be cut into parts.
    silent: u32,
    pub(super) has_dates: bool,
    pub(super) target_duration_us: u64,
    pub(super) ended: bool,
}

impl Rendition {
    /// A rendition of which nothing is known.
    pub fn new(policy: Policy) -> Self {
        let part_target_us = policy.part_target_us.max(limits::LL_PART_TARGET_US_MIN);
        Self {
            policy: Policy { part_target_us },
            window: Window::new(),
            target: None,
            seen: Seen::default(),
            series: None,
            maps: [Text::EMPTY; 2],
            map: 0,
            shift: 0,
            last_in: None,
            base: 0,
            is_restarted: false,
            base_discontinuity: 0,
            base_discontinuity_in: 0,
            last_discontinuity: 0,
            tail: 0,
            first: 0,
            silent: 0,
            has_dates: false,
            target_duration_us: 0,
            ended: false,
        }
    }

    /// Whether a low-latency playlist can be written; until then the encoder's own is served.
    pub fn is_ready(&self) -> bool {
        self.last_in.is_some() && matches!(self.target, Some(Ok(_)))
    }

    /// Why no parts can be made of this encoder's fragments, once that is known.
    pub fn unsuited(&self) -> Option<&'static str> {
        self.target.and_then(Result::err)
    }

    /// The last segment and part that are published.
    pub fn position(&self) -> Option<Position> {
        let open = self.open().filter(|slot| slot.parts > 0);
        let shown = || self.window.iter().rev().find(|slot| self.is_out(slot));
        let slot = open.or_else(shown)?;
        let parts = if slot.state == State::Broken { 0 } else { slot.parts };
        Some(Position { msn: slot.msn, part: parts.checked_sub(1) })
    }

    /// Whether a segment stands in the playlist.
    pub(super) fn is_out(&self, slot: &Slot) -> bool {
        let last = self.last_in.map_or(0, |last| last.saturating_add_signed(self.shift));
        slot.msn >= self.first && slot.is_shown() && (slot.listed || slot.msn > last)
    }

    /// The segment that is arriving and published.
    pub(super) fn open(&self) -> Option<&Slot> {
        let is_open = |slot: &&Slot| {
            let is_growing = slot.state == State::Growing && !slot.listed;
            slot.public && is_growing && slot.msn >= self.first
        };
        // Of those that are published only the last can be without an end.
        self.window.iter().rev().find(is_open)
    }

    /// Whether this name belongs to the series of the rendition's segments.
    pub fn expects(&self, uri: &[u8]) -> bool {
        let last = self.window.iter().rev().find(|slot| !slot.uri.as_bytes().is_empty());
        last.is_some_and(|last| self.series.unwrap_or_default().is_same(last.uri.as_bytes(), uri))
    }

    /// Hands out the name that the segment behind the newest ought to have, in pieces; says whether
    /// there is one.
    pub fn write_expected(&self, out: &mut dyn FnMut(&[u8])) -> bool {
        let newest = self.window.newest().filter(|newest| newest.listed);
        let series = self.series.unwrap_or(Series::ASSUMED);
        newest.is_some_and(|newest| series.write_next(newest.uri.as_bytes(), out))
    }

    /// How many bytes of this segment may be sent: those of complete parts. `None`: all there are.
    pub fn released(&self, uri: &[u8]) -> Option<u64> {
        let slot = self.window.at(self.window.find(uri)?);
        let is_bound = slot.state == State::Growing && !slot.group.is_over() && self.is_ready();
        is_bound.then(|| slot.group.from())
    }

    /// Notes that an upload of a segment has begun. Uploads that only repeat what is stored are not
    /// to be told. Answers whether the segment is followed from here on.
    pub fn start(&mut self, uri: &[u8]) -> bool {
        let older = self.growing(uri).filter(|at| at + 1 < self.window.len());
        if let Some(at) = older {
            // Its bytes are those of another upload now.
            self.break_off(at);
        }
        let Some(text) = Text::new(uri).filter(|_| self.expects(uri)) else { return false };
        let Some(newest) = self.window.newest() else { return false };
        if newest.uri.as_bytes() == uri {
            return self.resume();
        }
        let series = self.series.unwrap_or(Series::ASSUMED);
        let step = series.step(newest.uri.as_bytes(), uri);
        if step.is_none() {
            self.forget_hidden();
        }
        let Some(mut msn) = self.window.newest().map(|slot| slot.msn + 1) else { return false };
        // Segments that were missed have numbers too; the playlist will tell of them.
        let is_gap = |step: &u64| series.is_counting() && *step <= limits::LL_MISSING_MAX;
        let missing = step.filter(is_gap).map_or(0, |step| step - 1);
        let waiting = self.window.iter().rev().take_while(|slot| !slot.listed).count() as u64;
        if waiting + missing >= limits::LL_WAITING_MAX {
            return false;
        }
        if let Some(at) = self.window.find(uri) {
            self.first = self.first.max(self.window.at(at).msn + 1);
        }
        for _ in 0..missing {
            self.window.push(Slot::new(msn));
            msn += 1;
        }
        let mut slot = Slot { uri: text, state: State::Growing, map: self.map, ..Slot::new(msn) };
        if !matches!(self.target, Some(Ok(_))) {
            slot.group.stop();
        }
        self.seen = Seen::default();
        self.window.push(slot);
        true
    }

    /// An encoder that starts anew: what an earlier one left unpublished never will be.
    fn forget_hidden(&mut self) {
        while self.window.newest().is_some_and(|slot| !slot.public && !slot.listed) {
            self.window.pop();
        }
    }

    /// The newest segment is uploaded once more: it counts if nothing of it was published.
    fn resume(&mut self) -> bool {
        let at = self.window.len() - 1;
        let slot = self.window.at_mut(at);
        if slot.state == State::Growing && slot.parts > 0 {
            // Its first upload broke off without a word.
            self.break_off(at);
            return false;
        }
        if slot.state != State::Growing {
            // To learn from a segment that was listed before it was told of.
            let has_target = matches!(self.target, Some(Ok(_)));
            let is_lesson = slot.listed && !slot.has_fragment && !has_target;
            if is_lesson {
                slot.state = State::Growing;
                slot.group.stop();
                self.seen = Seen::default();
            }
            return is_lesson;
        }
        slot.group = super::parts::Group::NEW;
        slot.has_fragment = false;
        true
    }

    /// Notes a fragment of a segment that is arriving. Answers whether a part was published.
    pub fn fragment(&mut self, uri: &[u8], fragment: &Fragment) -> bool {
        let Some(at) = self.growing(uri) else { return false };
        self.seen.note(fragment);
        let before = at.checked_sub(1).and_then(|before| self.window.at(before).decode_end);
        let slot = self.window.at_mut(at);
        if !slot.has_fragment {
            slot.has_fragment = true;
            slot.discontinuity |= !slot.listed && jumps(before, fragment);
        }
        slot.decode_end = fragment
            .decode_time
            .map(|time| (time.saturating_add(fragment.duration), fragment.timescale));
        let Some(Ok(target_us)) = self.target else {
            slot.group.take(fragment, 0);
            return false;
        };
        let mut parts = 0;
        if slot.parts >= limits::LL_SEGMENT_PARTS_MAX {
            slot.group.stop();
        }
        for part in slot.group.take(fragment, target_us).into_iter().flatten() {
            self.window.push_part(at, part);
            parts += 1;
        }
        self.publish();
        parts > 0 && self.window.at(at).public
    }

    /// Notes that a segment's upload has ended, `whole` or not. Answers whether the playlist
    /// changed.
    pub fn end(&mut self, uri: &[u8], whole: bool) -> bool {
        let Some(at) = self.growing(uri) else { return false };
        if !whole {
            return self.break_off(at);
        }
        self.learn(at);
        let slot = self.window.at_mut(at);
        slot.state = State::Whole;
        if !slot.listed {
            slot.duration_us = slot.group.total_us();
        }
        if let Some(Ok(target_us)) = self.target
            && let Some(part) = slot.group.finish(target_us)
        {
            self.window.push_part(at, part);
        }
        self.publish();
        self.window.at(at).public
    }

    /// Decides the target by a whole segment, or once more when two in a row did not suit it.
    fn learn(&mut self, at: usize) {
        let slot = self.window.at(at);
        let found = self.seen.target_us(self.policy.part_target_us);
        if !matches!(self.target, Some(Ok(_))) {
            if slot.has_fragment {
                self.target = Some(found);
            }
            return;
        }
        self.silent = if slot.group.is_over() { self.silent + 1 } else { 0 };
        if self.silent < 2 || found.is_err() {
            return;
        }
        // Parts of the old target may break the rule of the new one.
        self.silent = 0;
        self.target = Some(found);
        for place in 0..=at {
            let slot = self.window.at(place);
            if place < at && slot.public && slot.parts > 0 && !slot.is_closed() {
                // Its parts are out and cannot be taken back while it goes on.
                self.break_off(place);
            }
            self.window.at_mut(place).parts = 0;
        }
    }

    fn growing(&self, uri: &[u8]) -> Option<usize> {
        self.window.find(uri).filter(|at| self.window.at(*at).state == State::Growing)
    }

    /// A segment ends before its time: what was published of it becomes a gap.
    fn break_off(&mut self, at: usize) -> bool {
        let is_newest = at + 1 == self.window.len();
        let slot = self.window.at_mut(at);
        if slot.listed {
            slot.state = State::Whole;
            return false;
        }
        let was_shown = slot.public && slot.parts > 0;
        if is_newest && !was_shown {
            self.window.pop();
            return false;
        }
        slot.break_off();
        was_shown
    }

    /// The encoder's playlist has ended: what was published of a segment that it does not list
    /// stays as a gap, since nothing leaves a playlist at its end.
    pub(super) fn close(&mut self) {
        for at in 0..self.window.len() {
            let slot = self.window.at_mut(at);
            if !slot.public || slot.listed || slot.is_closed() {
                continue;
            }
            match slot.parts {
                0 => slot.public = false,
                _ => slot.break_off(),
            }
        }
    }

    /// Decides which segments that are not listed yet are published.
    pub(super) fn publish(&mut self) {
        for at in 1..self.window.len() {
            let before = *self.window.at(at - 1);
            let has_dates = self.has_dates;
            let slot = self.window.at_mut(at);
            let goes_on = before.public && before.is_closed();
            let is_ready = slot.has_fragment && !slot.discontinuity && slot.state != State::Missing;
            if slot.public
                || self.ended
                || !goes_on
                || !is_ready
                || (has_dates && before.date.is_none())
            {
                continue;
            }
            (slot.public, slot.own) = (true, true);
            slot.date = before.date.map(|date| date.after(before.duration_us));
        }
    }
}

/// Whether a fragment does not go on where the segment before it ended.
fn jumps(before: Option<(u64, u32)>, fragment: &Fragment) -> bool {
    let Some(((end, timescale), start)) = before.zip(fragment.decode_time) else { return false };
    // A tenth of a second: encoders round, but do not lose that much.
    timescale != fragment.timescale || start.abs_diff(end) > u64::from(timescale / 10)
}
