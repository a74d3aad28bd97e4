//! A media playlist: one pass checks all of it and keeps its facts; `items` walks it again.
//!
//! The walk is the same both times, so whatever it yields after a successful `read` has been
//! checked. Parts are numbered within the segment to which they belong, listed or still to come.
//!
//! **Invariants**: a playlist that `read` accepts walks without a fault; media sequence numbers of
//! its segments are consecutive; byte ranges have their offsets filled in.

use super::attribute::Attributes;
use super::items::Items;
use super::line::Lines;
use super::tag::{Name, Scope};
use super::{Fault, number};
use crate::limits;

/// A media playlist that has been read.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    /// The text.
    pub bytes: &'a [u8],
    /// EXT-X-VERSION, one when it is not there.
    pub version: u64,
    /// EXT-X-TARGETDURATION in microseconds.
    pub target_duration_us: u64,
    /// Number of the first segment, listed or skipped.
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// PART-TARGET in microseconds, when there is one.
    pub part_target_us: Option<u64>,
    /// What EXT-X-SERVER-CONTROL offers.
    pub control: Control,
    /// Whether EXT-X-ENDLIST stands in it.
    pub ended: bool,
    /// Segments that EXT-X-SKIP stands for.
    pub skipped: u64,
    /// Segments that are listed.
    pub segments: u32,
    /// Sum of the durations of the listed segments, in microseconds.
    pub duration_us: u64,
    /// Parts of the last listed segment.
    pub last_segment_parts: u32,
    /// Parts behind the last listed segment.
    pub open_parts: u32,
    /// Sum of the durations of the parts behind the last listed segment, in microseconds.
    pub open_duration_us: u64,
}

/// EXT-X-SERVER-CONTROL (section 4.4.3.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// CAN-BLOCK-RELOAD.
    pub can_block_reload: bool,
    /// CAN-SKIP-UNTIL, in microseconds.
    pub can_skip_until_us: Option<u64>,
    /// CAN-SKIP-DATERANGES.
    pub can_skip_dateranges: bool,
    /// HOLD-BACK, in microseconds.
    pub hold_back_us: Option<u64>,
    /// PART-HOLD-BACK, in microseconds.
    pub part_hold_back_us: Option<u64>,
}

/// How far a playlist goes: the last segment, and the last part where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Media sequence number.
    pub msn: u64,
    /// Index of the last part of that segment, when its parts are listed.
    pub part: Option<u32>,
}

/// A range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Its media sequence number.
    pub msn: u64,
    /// Its URI as written.
    pub uri: &'a [u8],
    /// Its duration in microseconds.
    pub duration_us: u64,
    /// The range of the resource that it is, if not all of it.
    pub range: Option<Range>,
    /// Whether that range is written without an offset and so needs the segment before it.
    pub continues: bool,
    /// The text of EXT-X-PROGRAM-DATE-TIME.
    pub program_date_time: Option<&'a [u8]>,
    /// Whether EXT-X-DISCONTINUITY stands before it.
    pub discontinuity: bool,
    /// Whether EXT-X-GAP stands before it.
    pub gap: bool,
    /// The attributes of the EXT-X-MAP that applies to it.
    pub map: Option<&'a [u8]>,
    /// How many of its parts are listed.
    pub parts: u32,
    /// Where its first line begins in the text.
    pub start: usize,
    /// Where the line behind its URI begins.
    pub end: usize,
}

/// A part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The media sequence number of its segment.
    pub msn: u64,
    /// Its index in the segment.
    pub index: u32,
    /// Its URI as written.
    pub uri: &'a [u8],
    /// Its duration in microseconds.
    pub duration_us: u64,
    /// The range of the resource that it is, if not all of it.
    pub range: Option<Range>,
    /// INDEPENDENT.
    pub independent: bool,
    /// GAP.
    pub gap: bool,
}

/// EXT-X-PRELOAD-HINT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint<'a> {
    /// Whether it names a part; otherwise an initialization section.
    pub part: bool,
    /// The URI as written.
    pub uri: &'a [u8],
    /// First byte.
    pub start: u64,
    /// Number of bytes, when it is known.
    pub length: Option<u64>,
}

/// EXT-X-RENDITION-REPORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// The URI of the other rendition's playlist.
    pub uri: &'a [u8],
    /// LAST-MSN.
    pub last_msn: Option<u64>,
    /// LAST-PART.
    pub last_part: Option<u64>,
}

/// One thing that a playlist lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A whole segment.
    Segment(Segment<'a>),
    /// A part; its segment follows unless it is still to come.
    Part(Part<'a>),
    /// A hint.
    Hint(Hint<'a>),
    /// A report about another rendition.
    Report(Report<'a>),
    /// EXT-X-SKIP with the number of segments that it stands for.
    Skip(u64),
    /// Any other tag that is no tag of a segment, with its value.
    Tag(Name, &'a [u8]),
}

impl<'a> Media<'a> {
    /// Reads and checks a media playlist.
    ///
    /// # Errors
    /// The first mistake; a multivariant playlist is one.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let whole = |reason| Fault { line: 0, reason };
        if bytes.len() > limits::PLAYLIST_BYTES_MAX {
            return Err(whole("more bytes than a playlist may have"));
        }
        //= RFC 8216 section 4.3.1.1: it MUST be the first line
        if Lines::new(bytes).next().is_none_or(|line| line.text != b"#EXTM3U") {
            return Err(whole("it does not begin with #EXTM3U"));
        }
        let mut media = Self::empty(bytes);
        let mut has_target = false;
        let mut items = media.items();
        while let Some(item) = items.next() {
            match item? {
                Item::Segment(segment) => {
                    media.segments += 1;
                    media.duration_us = media.duration_us.saturating_add(segment.duration_us);
                    media.last_segment_parts = segment.parts;
                    (media.open_parts, media.open_duration_us) = (0, 0);
                }
                Item::Part(part) => {
                    media.open_parts = part.index + 1;
                    media.open_duration_us =
                        media.open_duration_us.saturating_add(part.duration_us);
                }
                Item::Skip(count) => media.skipped = count,
                Item::Tag(name, value) => {
                    has_target |= name == Name::TargetDuration;
                    media.take(name, value).map_err(|reason| items.fault(reason))?;
                }
                Item::Hint(_) | Item::Report(_) => {}
            }
        }
        if !has_target {
            return Err(whole("EXT-X-TARGETDURATION is missing"));
        }
        media.media_sequence = items.media_sequence;
        Ok(media)
    }

    fn empty(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            version: 1,
            target_duration_us: 0,
            media_sequence: 0,
            discontinuity_sequence: 0,
            part_target_us: None,
            control: Control::default(),
            ended: false,
            skipped: 0,
            segments: 0,
            duration_us: 0,
            last_segment_parts: 0,
            open_parts: 0,
            open_duration_us: 0,
        }
    }

    /// Notes a tag that belongs to the playlist.
    fn take(&mut self, name: Name, value: &[u8]) -> Result<(), &'static str> {
        let whole = || number::integer(value).ok_or("the tag's value must be a whole number");
        match name {
            Name::Version => self.version = whole()?,
            Name::TargetDuration => {
                // The draft wants a whole number; some packagers write a fraction.
                self.target_duration_us = number::seconds_us(value)
                    .filter(|us| *us > 0)
                    .ok_or("EXT-X-TARGETDURATION is no number of seconds in bounds")?;
            }
            Name::DiscontinuitySequence => self.discontinuity_sequence = whole()?,
            Name::EndList => self.ended = true,
            Name::PartInf => {
                for attribute in Attributes::new(value) {
                    let attribute = attribute?;
                    if attribute.name == b"PART-TARGET" {
                        self.part_target_us = Some(attribute.seconds_us()?);
                    }
                }
                if self.part_target_us.is_none_or(|us| us == 0) {
                    return Err("EXT-X-PART-INF without a PART-TARGET above zero");
                }
            }
            Name::ServerControl => self.control = Control::read(value)?,
            _ if name.scope() == Scope::Multivariant => {
                return Err("a tag of multivariant playlists in a media playlist");
            }
            _ => {}
        }
        Ok(())
    }

    /// The same without the text: whatever needs no walk still works.
    pub fn facts(&self) -> Media<'static> {
        Media { bytes: b"", ..*self }
    }

    /// Everything that it lists, in order.
    pub fn items(&self) -> Items<'a> {
        Items::new(self.bytes)
    }

    /// The segments that it lists, in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        self.items().filter_map(|item| match item {
            Ok(Item::Segment(segment)) => Some(segment),
            _ => None,
        })
    }

    /// The parts that it lists, in order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        self.items().filter_map(|item| match item {
            Ok(Item::Part(part)) => Some(part),
            _ => None,
        })
    }

    /// The number of the segment that comes behind the last listed one.
    pub fn next_msn(&self) -> u64 {
        // Below 2^53 + 2^53 + 2^32.
        self.media_sequence + self.skipped + u64::from(self.segments)
    }

    /// The last segment and part that it contains; `None` when it contains neither.
    pub fn last(&self) -> Option<Position> {
        if let Some(part) = self.open_parts.checked_sub(1) {
            return Some(Position { msn: self.next_msn(), part: Some(part) });
        }
        let msn = self.next_msn().checked_sub(1).filter(|msn| *msn >= self.media_sequence)?;
        Some(Position { msn, part: self.last_segment_parts.checked_sub(1) })
    }

    /// Whether it contains part `part` of segment `msn`, or all of that segment, or a later one.
    ///
    //= draft section 6.2.5.2: a Part Index greater than that of the final Partial Segment is one
    //= for Part Index 0 of the following Parent Segment
    pub fn contains(&self, msn: u64, part: Option<u64>) -> bool {
        let next = self.next_msn();
        let Some(part) = part else { return msn < next };
        let parts = u64::from(self.last_segment_parts);
        let is_last = msn.checked_add(1) == Some(next);
        if is_last && parts > 0 && part >= parts && self.segments > 0 {
            return self.open_parts > 0;
        }
        msn < next || (msn == next && part < u64::from(self.open_parts))
    }
}

impl Control {
    fn read(list: &[u8]) -> Result<Self, &'static str> {
        let mut control = Self::default();
        for attribute in Attributes::new(list) {
            let attribute = attribute?;
            match attribute.name {
                b"CAN-BLOCK-RELOAD" => control.can_block_reload = attribute.yes(),
                b"CAN-SKIP-UNTIL" => control.can_skip_until_us = Some(attribute.seconds_us()?),
                b"CAN-SKIP-DATERANGES" => control.can_skip_dateranges = attribute.yes(),
                b"HOLD-BACK" => control.hold_back_us = Some(attribute.seconds_us()?),
                b"PART-HOLD-BACK" => control.part_hold_back_us = Some(attribute.seconds_us()?),
                _ => {}
            }
        }
        Ok(control)
    }
}
