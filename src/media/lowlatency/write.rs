//! Writes the low-latency playlist: the encoder's own lines where they still hold, with numbers,
//! parts, hints and reports of the rendition.
//!
//! **Invariants**: only whole parts are listed; there is one hint at most; tags that apply to a
//! segment stand before its first part; work is linear in the encoder's playlist.

use super::rendition::Rendition;
use super::series::Series;
use super::window::{Slot, State};
use crate::media::hls::line::Lines;
use crate::media::hls::number::Digits;
use crate::media::hls::tag::{self, Name, Scope, Tag};
use crate::media::hls::{Media, Position, Segment};

/// How far another rendition is.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The URI of its playlist, relative to this one's.
    pub uri: &'a [u8],
    /// Its last segment and part.
    pub position: Position,
}

/// Receives the text in pieces.
type Out<'a> = &'a mut dyn FnMut(&[u8]);

impl Rendition {
    /// Writes the playlist; `media` is the encoder's playlist that was taken last.
    pub fn write(&self, media: &Media, reports: &[Report], out: Out) {
        let total_us = self.total_us(media);
        let mut text = Writer { rendition: self, total_us, at_us: 0, map: None, out };
        text.head(media);
        text.tail();
        text.listed(media);
        text.pending();
        text.end(reports);
    }

    /// The duration of all that is listed, in microseconds.
    fn total_us(&self, media: &Media) -> u64 {
        let tail = self.tail_slots().map(|slot| slot.duration_us).sum::<u64>();
        let listed = self.visible_segments(media).map(|(segment, slot)| length(&segment, slot));
        let pending = self.pending_slots().map(|slot| slot.duration_us);
        let open = self
            .open()
            .map_or(0, |slot| self.window.parts_of(slot).map(|part| part.duration_us).sum::<u64>());
        tail + listed.sum::<u64>() + pending.sum::<u64>() + open
    }

    fn tail_slots(&self) -> impl Iterator<Item = &Slot> {
        let from = self.tail.max(self.first);
        let tail = if self.is_restarted { from..self.base } else { 0..0 };
        self.window.iter().filter(move |slot| tail.contains(&slot.msn))
    }

    /// The encoder's segments that are listed, with what is known of them.
    fn visible_segments<'a>(
        &self,
        media: &Media<'a>,
    ) -> impl Iterator<Item = (Segment<'a>, Option<&Slot>)> + use<'a, '_> {
        let first = self.base.max(self.first);
        let numbered = media.segments().map(|segment| Segment {
            msn: segment.msn.saturating_add_signed(self.shift),
            ..segment
        });
        numbered.filter(move |segment| segment.msn >= first).map(|segment| {
            let slot = self.window.place_of(segment.msn).map(|at| self.window.at(at));
            (segment, slot.filter(|slot| slot.uri.as_bytes() == segment.uri))
        })
    }

    /// Segments that are whole and published but not listed by the encoder.
    fn pending_slots(&self) -> impl Iterator<Item = &Slot> {
        self.window.iter().filter(|slot| !slot.listed && self.is_out(slot))
    }
}

/// The duration under which a segment is published.
fn length(segment: &Segment, slot: Option<&Slot>) -> u64 {
    slot.filter(|slot| slot.own).map_or(segment.duration_us, |slot| slot.duration_us)
}

struct Writer<'a> {
    rendition: &'a Rendition,
    total_us: u64,
    /// The duration of what has been written.
    at_us: u64,
    /// Which map is in effect.
    map: Option<Map<'a>>,
    out: Out<'a>,
}

/// The attributes of EXT-X-MAP.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Map<'a>(&'a [u8]);

impl<'a> Writer<'a> {
    fn put(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            (self.out)(piece);
        }
    }

    fn head(&mut self, media: &Media) {
        let rendition = self.rendition;
        self.put(&[b"#EXTM3U\n#EXT-X-VERSION:", Digits::whole(media.version.max(9)).as_bytes()]);
        let longest =
            rendition.pending_slots().map(|slot| (slot.duration_us + 500_000) / 1_000_000);
        let target = media.target_duration_us.div_ceil(1_000_000).max(longest.max().unwrap_or(0));
        self.put(&[b"\n#EXT-X-TARGETDURATION:", Digits::whole(target).as_bytes(), b"\n"]);
        if let Some(Ok(part_target_us)) = rendition.target {
            let hold_us = rendition.policy.part_target_us.saturating_mul(3);
            let target_us = target.saturating_mul(1_000_000);
            self.put(&[
                b"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=",
                Digits::seconds(target_us.saturating_mul(6)).as_bytes(),
                b",HOLD-BACK=",
                Digits::seconds(target_us.saturating_mul(3)).as_bytes(),
                b",PART-HOLD-BACK=",
                Digits::seconds(hold_us).as_bytes(),
                b"\n#EXT-X-PART-INF:PART-TARGET=",
                Digits::seconds(part_target_us).as_bytes(),
                b"\n",
            ]);
        }
        let first = rendition.visible(media);
        self.put(&[b"#EXT-X-MEDIA-SEQUENCE:", Digits::whole(first).as_bytes(), b"\n"]);
        let discontinuities = self.discontinuities_before(media);
        if discontinuities > 0 {
            let number = Digits::whole(discontinuities);
            self.put(&[b"#EXT-X-DISCONTINUITY-SEQUENCE:", number.as_bytes(), b"\n"]);
        }
        let end = media.segments().next().map_or(media.bytes.len(), |segment| segment.start);
        self.metadata(&media.bytes[..end]);
    }

    /// The discontinuity sequence number of the first segment, its own tag not counted.
    fn discontinuities_before(&self, media: &Media) -> u64 {
        let rendition = self.rendition;
        let base_is_listed = rendition
            .visible_segments(media)
            .next()
            .is_some_and(|(segment, _)| segment.msn == rendition.base);
        if rendition.is_restarted && base_is_listed {
            let tags = rendition.tail_slots().filter(|slot| slot.discontinuity).count() as u64 + 1;
            return rendition.base_discontinuity.saturating_sub(tags);
        }
        let left = media.discontinuity_sequence.saturating_sub(rendition.base_discontinuity_in);
        let first = rendition.base.max(rendition.first);
        let hidden = media.segments().filter(|segment| {
            let msn = segment.msn.saturating_add_signed(rendition.shift);
            segment.discontinuity && msn < first && msn > rendition.base
        });
        rendition.base_discontinuity + left + hidden.count() as u64
    }

    /// Lines between segments: whatever is not the rendition's own to say.
    fn metadata(&mut self, text: &[u8]) {
        for line in Lines::new(text) {
            let is_kept = match tag::of(line.text) {
                Tag::Known(name, _) => is_kept(name),
                Tag::Other => !line.text.is_empty() && line.text != b"#EXTM3U",
                Tag::Uri(_) => false,
            };
            if is_kept {
                self.put(&[line.text, b"\n"]);
            }
        }
    }

    /// Segments of an earlier start.
    fn tail(&mut self) {
        let rendition = self.rendition;
        for slot in rendition.tail_slots() {
            self.slot(slot);
        }
    }

    /// The encoder's segments.
    fn listed(&mut self, media: &Media<'a>) {
        let rendition = self.rendition;
        let mut from = None;
        for (segment, slot) in rendition.visible_segments(media) {
            if let Some(from) = from {
                self.metadata(&media.bytes[from..segment.start]);
            }
            self.segment(&segment, slot, &media.bytes[segment.start..segment.end]);
            from = Some(segment.end);
        }
        if let Some(from) = from {
            self.metadata(&media.bytes[from..]);
        }
    }

    /// Segments that are published before the encoder lists them, and the one that is arriving.
    fn pending(&mut self) {
        let rendition = self.rendition;
        for slot in rendition.pending_slots() {
            self.slot(slot);
        }
        if let Some(slot) = rendition.open().filter(|slot| slot.parts > 0) {
            self.opening(slot);
            self.parts(slot, u64::MAX);
        }
    }

    /// A segment of which only the rendition knows.
    fn slot(&mut self, slot: &'a Slot) {
        self.opening(slot);
        if slot.state == State::Broken {
            self.put(&[b"#EXT-X-GAP\n"]);
        } else {
            self.parts(slot, slot.duration_us);
        }
        self.put(&[b"#EXTINF:", Digits::seconds(slot.duration_us).as_bytes(), b",\n"]);
        self.put(&[slot.uri.as_bytes(), b"\n"]);
        self.at_us += slot.duration_us;
    }

    /// The tags that apply to a segment of which only the rendition knows.
    fn opening(&mut self, slot: &'a Slot) {
        if slot.discontinuity {
            self.put(&[b"#EXT-X-DISCONTINUITY\n"]);
        }
        self.map(self.rendition.maps[usize::from(slot.map)].as_bytes());
        self.date(slot);
    }

    fn map(&mut self, attributes: &'a [u8]) {
        if !attributes.is_empty() && self.map != Some(Map(attributes)) {
            self.map = Some(Map(attributes));
            self.put(&[b"#EXT-X-MAP:", attributes, b"\n"]);
        }
    }

    fn date(&mut self, slot: &Slot) {
        if let Some(date) = slot.date {
            let (text, len) = date.text();
            self.put(&[b"#EXT-X-PROGRAM-DATE-TIME:", &text[..len], b"\n"]);
        }
    }

    /// A segment that the encoder lists.
    fn segment(&mut self, segment: &Segment<'a>, slot: Option<&'a Slot>, text: &[u8]) {
        if segment.discontinuity || slot.is_some_and(|slot| slot.discontinuity) {
            self.put(&[b"#EXT-X-DISCONTINUITY\n"]);
        }
        self.map(segment.map.unwrap_or_default());
        let own = slot.filter(|slot| slot.own);
        if let Some(slot) = own {
            self.date(slot);
        }
        for line in Lines::new(text) {
            let is_kept = match tag::of(line.text) {
                Tag::Known(Name::ProgramDateTime, _) => own.is_none(),
                Tag::Known(Name::Key | Name::Gap | Name::BitRate, _) => true,
                Tag::Known(name, _) => name.scope() != Scope::Segment && is_kept(name),
                Tag::Other => !line.text.is_empty(),
                Tag::Uri(_) => false,
            };
            if is_kept {
                self.put(&[line.text, b"\n"]);
            }
        }
        let duration_us = length(segment, slot);
        if let Some(slot) = slot.filter(|_| !segment.gap) {
            self.parts(slot, duration_us);
        }
        for line in Lines::new(text) {
            match tag::of(line.text) {
                Tag::Known(Name::Inf, _) if own.is_some() => {
                    self.put(&[b"#EXTINF:", Digits::seconds(duration_us).as_bytes(), b",\n"]);
                }
                Tag::Known(Name::Inf | Name::ByteRange, _) | Tag::Uri(_) => {
                    self.put(&[line.text, b"\n"]);
                }
                _ => {}
            }
        }
        self.at_us += duration_us;
    }

    /// The parts of a segment of this duration, unless it ends too far from the end.
    //= draft section 6.2.2: EXT-X-PART tags SHOULD be removed after they are greater than three
    //= target durations from the end of the Playlist
    fn parts(&mut self, slot: &'a Slot, duration_us: u64) {
        let rendition = self.rendition;
        let behind_us = self.total_us.saturating_sub(self.at_us.saturating_add(duration_us));
        if !slot.public || behind_us > rendition.target_duration_us.saturating_mul(3) {
            return;
        }
        for part in rendition.window.parts_of(slot) {
            self.put(&[
                b"#EXT-X-PART:DURATION=",
                Digits::seconds(part.duration_us).as_bytes(),
                b",URI=\"",
                slot.uri.as_bytes(),
                b"\",BYTERANGE=\"",
                Digits::whole(part.length).as_bytes(),
                b"@",
                Digits::whole(part.offset).as_bytes(),
                b"\"",
                if part.independent { b",INDEPENDENT=YES" } else { b"" },
                b"\n",
            ]);
        }
    }

    fn end(&mut self, reports: &[Report]) {
        if self.rendition.ended {
            self.put(&[b"#EXT-X-ENDLIST\n"]);
            return;
        }
        self.hint();
        for report in reports {
            let msn = Digits::whole(report.position.msn);
            self.put(&[b"#EXT-X-RENDITION-REPORT:URI=\"", report.uri, b"\",LAST-MSN="]);
            self.put(&[msn.as_bytes()]);
            if let Some(part) = report.position.part {
                self.put(&[b",LAST-PART=", Digits::whole(part.into()).as_bytes()]);
            }
            self.put(&[b"\n"]);
        }
    }

    /// The part that comes next, where its name is known.
    fn hint(&mut self) {
        let rendition = self.rendition;
        let Some(newest) = rendition.open().or(rendition.window.newest()) else { return };
        // An encoder that broke off may start anew with any name.
        if newest.state == State::Broken {
            return;
        }
        let before = newest.msn.checked_sub(1).and_then(|msn| rendition.window.place_of(msn));
        let before = before.map(|at| rendition.window.at(at));
        let is_open = rendition.open().is_some();
        // A segment that has just begun was hinted by its name, if that was the next one.
        let is_next = |before: &Slot| {
            let series = rendition.series.unwrap_or_default();
            series.step(before.uri.as_bytes(), newest.uri.as_bytes()) == Some(1)
        };
        let has_begun = newest.state == State::Growing && !newest.has_fragment && !newest.listed;
        let is_expected = has_begun && before.is_some_and(|one| one.is_shown() && is_next(one));
        if is_expected || (is_open && !newest.group.is_over() && !self.is_full(newest, before)) {
            let from = Digits::whole(newest.group.from());
            self.put(&[b"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"", newest.uri.as_bytes()]);
            self.put(&[b"\",BYTERANGE-START=", from.as_bytes(), b"\n"]);
        } else if is_open || newest.is_shown() {
            let has_next = |series: &Series| series.write_next(newest.uri.as_bytes(), &mut |_| {});
            if let Some(series) = rendition.series.filter(has_next) {
                self.put(&[b"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\""]);
                series.write_next(newest.uri.as_bytes(), self.out);
                self.put(&[b"\",BYTERANGE-START=0\n"]);
            }
        }
    }

    /// Whether a segment's parts already last as long as the segment before it, so that its end is
    /// more likely than another part.
    fn is_full(&self, slot: &Slot, before: Option<&Slot>) -> bool {
        let parts_us: u64 = self.rendition.window.parts_of(slot).map(|part| part.duration_us).sum();
        before.is_some_and(|before| parts_us + FULL_SLACK_US >= before.duration_us)
    }
}

/// Whether a line of the encoder stays as it is.
fn is_kept(name: Name) -> bool {
    matches!(
        name,
        Name::IndependentSegments
            | Name::Start
            | Name::Define
            | Name::PlaylistType
            | Name::DateRange
    )
}

/// A segment is full when less than this is missing.
const FULL_SLACK_US: u64 = 10_000;
