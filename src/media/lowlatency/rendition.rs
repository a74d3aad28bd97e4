//! One rendition: what its encoder pushed, brought into the order of one playlist.
//!
//! The encoder's numbers are moved by `shift`, which changes when an encoder starts anew, so that
//! published numbers go on. A segment that is not listed yet is published when the one before it is
//! and its decode times go on; otherwise it waits for its entry, which tells its date.
//!
//! **Invariants**: numbers of kept segments are consecutive; what was published before it was listed
//! keeps its values; a name that is written again takes its older namesake, and all before it, out.

use super::Policy;
use super::date::Date;
use super::series::Series;
use super::target::Seen;
use super::window::{Slot, State, Text, Window};
use crate::limits;
use crate::media::boxes::Fragment;
use crate::media::hls::tag::Name;
use crate::media::hls::{Item, Media, Position, Segment};

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
    last_in: Option<u64>,
    /// The published number of the first segment since the encoder started.
    pub(super) base: u64,
    /// Whether that segment follows one of an earlier start.
    pub(super) is_restarted: bool,
    /// The discontinuity sequence number of that segment.
    pub(super) base_discontinuity: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE of the encoder when that segment has left its list.
    pub(super) base_discontinuity_in: u64,
    last_discontinuity: u64,
    /// The first segment of an earlier start that is still listed; `base` when there is none.
    pub(super) tail: u64,
    /// The first segment that was listed last.
    pub(super) first: u64,
    /// Segments in a row that could not be cut into parts.
    silent: u32,
    /// Segments below this number have lost their bytes to others of the same name.
    pub(super) floor: u64,
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
            floor: 0,
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
        let shown = || self.window.iter().rev().find(|slot| slot.is_shown());
        let slot = open.or_else(shown)?;
        let parts = if slot.state == State::Broken { 0 } else { slot.parts };
        Some(Position { msn: slot.msn, part: parts.checked_sub(1) })
    }

    /// The segment that is arriving and published.
    pub(super) fn open(&self) -> Option<&Slot> {
        self.window
            .newest()
            .filter(|slot| slot.public && slot.state == State::Growing && !slot.listed)
    }

    /// Whether this name belongs to the series of the rendition's segments.
    pub fn expects(&self, uri: &[u8]) -> bool {
        let last = self.window.iter().rev().find(|slot| !slot.uri.as_bytes().is_empty());
        last.is_some_and(|last| self.series.unwrap_or_default().is_same(last.uri.as_bytes(), uri))
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
        let Some(text) = Text::new(uri).filter(|_| self.expects(uri)) else { return false };
        let Some(newest) = self.window.newest() else { return false };
        let (before, mut msn) = (newest.uri, newest.msn + 1);
        if before.as_bytes() == uri {
            return self.resume();
        }
        if let Some(at) = self.window.find(uri) {
            self.floor = self.window.at(at).msn + 1;
        }
        let series = self.series.filter(|series| series.is_counting());
        let step = series.and_then(|series| series.step(before.as_bytes(), uri)).unwrap_or(1);
        // Segments that were missed have numbers too; the playlist will tell of them.
        if step <= limits::LL_MISSING_MAX {
            for _ in 1..step {
                self.window.push(Slot::new(msn));
                msn += 1;
            }
        }
        let mut slot = Slot { uri: text, state: State::Growing, map: self.map, ..Slot::new(msn) };
        if !matches!(self.target, Some(Ok(_))) {
            slot.group.stop();
        }
        self.seen = Seen::default();
        self.window.push(slot);
        true
    }

    /// The newest segment is uploaded once more: it counts if nothing of it was published.
    fn resume(&mut self) -> bool {
        let at = self.window.len() - 1;
        let slot = self.window.at_mut(at);
        if slot.state != State::Growing || slot.parts > 0 {
            // To learn from a segment that was listed before it was told of.
            let is_lesson =
                slot.listed && !slot.has_fragment && !matches!(self.target, Some(Ok(_)));
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
        for part in slot.group.take(fragment, target_us).into_iter().flatten() {
            self.window.push_part(at, part);
            parts += 1;
        }
        self.publish();
        parts > 0 && self.window.at(at).public
    }

    /// Notes that a segment's upload has ended, `whole` or not. Answers whether the playlist changed.
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
        slot.state = State::Broken;
        slot.duration_us = slot.group.total_us().max(1000);
        slot.group.stop();
        was_shown
    }

    /// Decides which segments that are not listed yet are published.
    fn publish(&mut self) {
        for at in 1..self.window.len() {
            let before = *self.window.at(at - 1);
            let has_dates = self.has_dates;
            let slot = self.window.at_mut(at);
            let goes_on = before.public && before.is_closed();
            let is_ready = slot.has_fragment && !slot.discontinuity && slot.state != State::Missing;
            if slot.public || !goes_on || !is_ready || (has_dates && before.date.is_none()) {
                continue;
            }
            (slot.public, slot.own) = (true, true);
            slot.date = before.date.map(|date| date.after(before.duration_us));
        }
    }

    /// Notes a playlist of the encoder. Answers whether the low-latency playlist changed.
    ///
    /// # Errors
    /// Why it was not taken; the state is as before.
    pub fn playlist(&mut self, media: &Media) -> Result<bool, Refusal> {
        if media.part_target_us.is_some() || media.skipped > 0 || media.parts().next().is_some() {
            return Err(Refusal::LowLatencyAlready);
        }
        let is_frames = |item| matches!(item, Ok(Item::Tag(Name::IFramesOnly, _)));
        if media.items().any(is_frames) {
            return Err(Refusal::IFrames);
        }
        let Some(last) = media.segments().last() else { return Ok(false) };
        let is_long = |text: &[u8]| Text::new(text).is_none();
        if is_long(last.map.unwrap_or_default()) || newest_of(media).any(|one| is_long(one.uri)) {
            return Err(Refusal::TooLong);
        }
        let mut before = None;
        for segment in newest_of(media) {
            let series = before.and_then(|before| Series::of(before, segment.uri));
            self.series = series.or(self.series);
            before = Some(segment.uri);
        }
        self.place(media)?;
        self.note_map(last.map.unwrap_or_default());
        for segment in newest_of(media) {
            self.list(&segment);
        }
        self.last_in = Some(last.msn);
        self.target_duration_us = media.target_duration_us;
        self.ended = media.ended;
        self.note_discontinuities(media);
        self.trim_tail(media);
        self.first = self.visible(media);
        self.publish();
        Ok(true)
    }

    /// Finds out how the encoder's numbers stand to the published ones.
    fn place(&mut self, media: &Media) -> Result<(), Refusal> {
        let Some(last_in) = self.last_in else {
            self.begin(media, 0, false);
            return Ok(());
        };
        let found = newest_of(media).filter_map(|segment| {
            let slot = self.window.at(self.window.find(segment.uri)?);
            Some(distance(slot.msn, segment.msn))
        });
        let next = self.window.newest().map_or(0, |slot| slot.msn + 1);
        let last = media.next_msn() - 1;
        match found.last() {
            Some(shift) if shift == self.shift => {
                if last < last_in {
                    Err(Refusal::Older)
                } else {
                    Ok(())
                }
            }
            Some(shift) => {
                self.begin(media, shift, true);
                Ok(())
            }
            // A window that moved on by more than its length.
            None if media.media_sequence > last_in && self.goes_on(media) => Ok(()),
            None => {
                self.begin(media, distance(next, media.media_sequence), true);
                Ok(())
            }
        }
    }

    fn goes_on(&self, media: &Media) -> bool {
        let first = media.segments().next();
        let step = |before: &Slot, uri| self.series?.step(before.uri.as_bytes(), uri);
        let newest = self.window.newest();
        newest.zip(first).is_some_and(|(newest, first)| step(newest, first.uri).is_some())
    }

    /// The encoder has started, for the first time or anew.
    fn begin(&mut self, media: &Media, shift: i64, is_restarted: bool) {
        self.shift = shift;
        let is_new = |segment: &Segment| {
            let msn = segment.msn.saturating_add_signed(shift);
            match self.window.place_of(msn) {
                Some(at) => {
                    let slot = self.window.at(at);
                    !slot.listed && slot.uri.as_bytes() == segment.uri
                }
                None => self.window.newest().is_none_or(|newest| msn > newest.msn),
            }
        };
        let first = newest_of(media).find(is_new);
        let first_msn = first.map_or(media.media_sequence, |segment| segment.msn);
        let first_msn = if is_restarted { first_msn } else { media.media_sequence };
        self.base = first_msn.saturating_add_signed(shift);
        self.is_restarted = is_restarted;
        if !is_restarted {
            self.base_discontinuity = media.discontinuity_sequence;
            self.base_discontinuity_in = media.discontinuity_sequence;
            return;
        }
        let own = first.is_some_and(|segment| segment.discontinuity);
        self.base_discontinuity = self.last_discontinuity + 1;
        self.base_discontinuity_in = media.discontinuity_sequence + u64::from(own);
        let kept = if self.window.len() > 0 { self.window.at(0).msn } else { self.base };
        self.tail = self.first.max(kept).max(self.floor).min(self.base);
        for at in 0..self.window.len() {
            let base = self.base;
            let slot = self.window.at_mut(at);
            if slot.msn < base && slot.state == State::Growing {
                slot.state = State::Broken;
                slot.duration_us = slot.group.total_us().max(1000);
            }
        }
    }

    fn note_map(&mut self, map: &[u8]) {
        if self.maps[usize::from(self.map)].as_bytes() != map
            && let Some(text) = Text::new(map)
        {
            self.map = 1 - self.map;
            self.maps[usize::from(self.map)] = text;
        }
    }

    /// Notes the entry of a segment.
    fn list(&mut self, segment: &Segment) {
        let msn = segment.msn.saturating_add_signed(self.shift);
        let newest = self.window.newest().map(|slot| slot.msn);
        if msn < self.base {
            return;
        }
        if newest.is_some_and(|newest| msn > newest + 1) {
            self.window.clear();
            self.tail = self.base;
        }
        let is_known = self.window.place_of(msn).is_some();
        if !is_known {
            if self.window.newest().is_some_and(|newest| msn <= newest.msn) {
                return;
            }
            self.window.push(Slot { state: State::Whole, map: self.map, ..Slot::new(msn) });
        }
        let Some(at) = self.window.place_of(msn) else { return };
        let (map, is_base) = (self.map, self.is_restarted && msn == self.base);
        let date = segment.program_date_time.and_then(Date::read);
        self.has_dates = date.is_some();
        let slot = self.window.at_mut(at);
        if slot.listed {
            return;
        }
        (slot.listed, slot.public) = (true, true);
        slot.uri = Text::new(segment.uri).unwrap_or(Text::EMPTY);
        if slot.state == State::Growing {
            // Listed before its end was noticed: it is whole, but what else came is not known.
            slot.group.stop();
            slot.decode_end = None;
            slot.duration_us = segment.duration_us;
        }
        slot.state = State::Whole;
        slot.discontinuity = segment.discontinuity || is_base;
        if !slot.own {
            slot.duration_us = segment.duration_us;
            (slot.date, slot.map) = (date, map);
        }
    }

    fn note_discontinuities(&mut self, media: &Media) {
        let base = self.base;
        let tags = media.segments().filter(|segment| {
            let msn = segment.msn.saturating_add_signed(self.shift);
            segment.discontinuity && (msn > base || !self.is_restarted)
        });
        let left = media.discontinuity_sequence.saturating_sub(self.base_discontinuity_in);
        self.last_discontinuity = self.base_discontinuity + left + tags.count() as u64;
    }

    /// Lets go of segments of an earlier start that are not needed any more.
    //= RFC 8216 section 6.2.2: MUST NOT remove a Media Segment if that would produce a Playlist
    //= whose duration is less than three times the target duration
    fn trim_tail(&mut self, media: &Media) {
        if !self.is_restarted {
            return;
        }
        let first = media.media_sequence.saturating_add_signed(self.shift);
        if first > self.base {
            self.tail = self.base;
        }
        self.tail = self.tail.max(self.floor).min(self.base);
        let hidden = |slot: &&Slot| slot.msn < self.base && !slot.is_shown();
        if let Some(slot) = self.window.iter().rev().find(hidden) {
            self.tail = self.tail.max(slot.msn + 1);
        }
        let shown = |slot: &&Slot| slot.msn >= self.tail && slot.is_shown();
        let mut held_us: u64 = self.window.iter().filter(shown).map(|slot| slot.duration_us).sum();
        for at in 0..self.window.len() {
            let slot = self.window.at(at);
            if !(self.tail..self.base).contains(&slot.msn) {
                continue;
            }
            held_us = held_us.saturating_sub(slot.duration_us);
            if held_us < self.target_duration_us.saturating_mul(3) {
                break;
            }
            self.tail = slot.msn + 1;
        }
    }
}

impl Rendition {
    /// The number of the first segment that is listed.
    pub(super) fn visible(&self, media: &Media) -> u64 {
        if self.is_restarted && self.tail < self.base {
            return self.tail;
        }
        let first = media.media_sequence.saturating_add_signed(self.shift);
        first.max(self.base).max(self.floor)
    }
}

/// The segments of a playlist that a rendition can keep: its newest.
fn newest_of<'a>(media: &Media<'a>) -> impl Iterator<Item = Segment<'a>> + use<'a> {
    let kept = u32::try_from(limits::LL_SEGMENTS_MAX).unwrap_or(u32::MAX);
    media.segments().skip(media.segments.saturating_sub(kept) as usize)
}

/// What has to be added to `from` to get `to`.
fn distance(to: u64, from: u64) -> i64 {
    i64::try_from(i128::from(to) - i128::from(from)).unwrap_or_default()
}

/// Whether a fragment does not go on where the segment before it ended.
fn jumps(before: Option<(u64, u32)>, fragment: &Fragment) -> bool {
    let Some(((end, timescale), start)) = before.zip(fragment.decode_time) else { return false };
    // A tenth of a second: encoders round, but do not lose that much.
    timescale != fragment.timescale || start.abs_diff(end) > u64::from(timescale / 10)
}
