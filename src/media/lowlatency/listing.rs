//! What a rendition learns from its encoder's playlists: numbers, names, dates, and fresh starts.
//!
//! **Invariants**: a playlist that is refused changes nothing; segments that were listed leave only
//! at the front, and of an earlier start no more than three target durations are needed.

use super::date::Date;
use super::rendition::{Refusal, Rendition};
use super::series::Series;
use super::window::{Slot, State, Text};
use crate::limits;
use crate::media::hls::tag::Name;
use crate::media::hls::{Item, Media, Segment};

impl Rendition {
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
        if self.ended {
            self.close();
        }
        self.note_discontinuities(media);
        self.trim_tail(media);
        self.first = self.visible(media);
        self.publish();
        Ok(true)
    }

    /// Finds out how the encoder's numbers stand to the published ones.
    fn place(&mut self, media: &Media) -> Result<(), Refusal> {
        let Some(last_in) = self.last_in else {
            self.begin(media);
            return Ok(());
        };
        let found = newest_of(media).filter_map(|segment| {
            let slot = self.window.at(self.window.find(segment.uri)?);
            Some(distance(slot.msn, segment.msn))
        });
        let next = self.window.newest().map_or(0, |slot| slot.msn + 1);
        let last = media.next_msn() - 1;
        let shift = match found.last() {
            Some(shift) if shift == self.shift => {
                return if last < last_in { Err(Refusal::Older) } else { Ok(()) };
            }
            Some(shift) => shift,
            // A window that moved on by more than its length.
            None if media.media_sequence > last_in && self.goes_on(media) => return Ok(()),
            None => distance(next, media.media_sequence),
        };
        if self.is_ready() {
            return self.begin_anew(media, shift);
        }
        // Nothing was published under numbers of its own.
        *self = Self::new(self.policy);
        self.begin(media);
        Ok(())
    }

    fn goes_on(&self, media: &Media) -> bool {
        let first = media.segments().next();
        let step = |before: &Slot, uri| self.series?.step(before.uri.as_bytes(), uri);
        let newest = self.window.newest();
        newest.zip(first).is_some_and(|(newest, first)| step(newest, first.uri).is_some())
    }

    /// The encoder is seen for the first time.
    fn begin(&mut self, media: &Media) {
        self.base = media.media_sequence;
        self.base_discontinuity = media.discontinuity_sequence;
        self.base_discontinuity_in = media.discontinuity_sequence;
    }

    /// The encoder has started anew, and its numbers with it.
    fn begin_anew(&mut self, media: &Media, shift: i64) -> Result<(), Refusal> {
        let listed = self.window.iter().rev().find(|slot| slot.listed).map(|slot| slot.msn);
        let is_new = |segment: &Segment| {
            let msn = segment.msn.saturating_add_signed(shift);
            let is_same = |at| self.window.at(at).uri.as_bytes() == segment.uri;
            if msn < self.first {
                return false;
            }
            match self.window.place_of(msn) {
                Some(at) => listed.is_none_or(|listed| msn > listed) && is_same(at),
                None => self.window.newest().is_none_or(|newest| msn > newest.msn),
            }
        };
        let Some(first) = newest_of(media).find(is_new) else { return Err(Refusal::Older) };
        self.shift = shift;
        self.base = first.msn.saturating_add_signed(shift);
        self.is_restarted = true;
        self.base_discontinuity = self.last_discontinuity + 1;
        self.base_discontinuity_in =
            media.discontinuity_sequence.saturating_add(u64::from(first.discontinuity));
        let kept = self.window.iter().next().map_or(self.base, |slot| slot.msn);
        self.tail = self.first.max(kept).min(self.base);
        for at in 0..self.window.len() {
            let base = self.base;
            let slot = self.window.at_mut(at);
            if slot.msn < base && slot.state == State::Growing {
                slot.break_off();
            }
        }
        Ok(())
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
        if slot.listed && slot.uri.as_bytes() == segment.uri {
            return;
        }
        if slot.listed {
            // The encoder gives a number to another segment: nothing is known of that one.
            (slot.parts, slot.own) = (0, false);
        }
        (slot.listed, slot.public) = (true, true);
        slot.uri = Text::new(segment.uri).unwrap_or(Text::EMPTY);
        if slot.state == State::Growing {
            // Listed before its end was noticed: it is whole, but what else came is not known.
            slot.group.stop();
            slot.decode_end = None;
            slot.duration_us = segment.duration_us;
        }
        if segment.gap {
            slot.parts = 0;
        }
        slot.state = State::Whole;
        slot.discontinuity = segment.discontinuity || is_base;
        if !slot.own {
            slot.duration_us = segment.duration_us;
            (slot.date, slot.map) = (date, map);
            self.window.trim_first(at, segment.duration_us);
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
        self.tail = self.tail.max(self.first).min(self.base);
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

    /// The number of the first segment that is listed.
    pub(super) fn visible(&self, media: &Media) -> u64 {
        let tail = self.tail.max(self.first);
        if self.is_restarted && tail < self.base {
            return tail;
        }
        let first = media.media_sequence.saturating_add_signed(self.shift);
        //= RFC 8216 section 6.2.2: the value MUST NOT decrease
        first.max(self.base).max(self.first)
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
