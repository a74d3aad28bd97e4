//! The walk over a media playlist: every line in turn, with what earlier lines say of it.
//!
//! **Invariants**: the walk keeps a fixed number of values, whatever it passes; it ends behind the
//! first fault.

use super::attribute::Attributes;
use super::line::{Line, Lines};
use super::playlist::{Hint, Item, Part, Range, Report, Segment};
use super::tag::{self, Name, Scope, Tag};
use super::{Fault, number};
use crate::limits;

/// The walk over a playlist; ends behind the first fault.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    lines: Lines<'a>,
    line: u32,
    pub(super) media_sequence: u64,
    msn: u64,
    is_started: bool,
    has_skip: bool,
    is_over: bool,
    draft: Draft<'a>,
    map: Option<&'a [u8]>,
    last_range: Option<(&'a [u8], Range)>,
    last_part_range: Option<(&'a [u8], Range)>,
}

/// What is known about the next segment.
#[derive(Clone, Copy, Debug, Default)]
struct Draft<'a> {
    start: Option<usize>,
    duration_us: Option<u64>,
    range: Option<(u64, Option<u64>)>,
    program_date_time: Option<&'a [u8]>,
    discontinuity: bool,
    gap: bool,
    parts: u32,
}

type Step<'a> = Result<Option<Item<'a>>, &'static str>;

impl<'a> Items<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            lines: Lines::new(bytes),
            line: 0,
            media_sequence: 0,
            msn: 0,
            is_started: false,
            has_skip: false,
            is_over: false,
            draft: Draft::default(),
            map: None,
            last_range: None,
            last_part_range: None,
        }
    }

    pub(super) fn fault(&self, reason: &'static str) -> Fault {
        Fault { line: self.line, reason }
    }

    fn step(&mut self, line: Line<'a>) -> Step<'a> {
        if line.number > limits::PLAYLIST_LINES_MAX {
            return Err("more lines than a playlist may have");
        }
        match tag::of(line.text) {
            Tag::Other => Ok(None),
            Tag::Uri(uri) => self.segment(uri, line).map(Some),
            Tag::Known(name, value) if name.scope() == Scope::Segment => {
                self.draft.start.get_or_insert(line.start);
                self.is_started = true;
                self.segment_tag(name, value)
            }
            Tag::Known(Name::MediaSequence, value) => {
                let number = number::integer(value)
                    .filter(|number| *number <= limits::PLAYLIST_SEQUENCE_MAX)
                    .ok_or("EXT-X-MEDIA-SEQUENCE is no whole number in bounds")?;
                if self.is_started || self.has_skip {
                    return Err("EXT-X-MEDIA-SEQUENCE stands behind a segment");
                }
                (self.media_sequence, self.msn) = (number, number);
                Ok(Some(Item::Tag(Name::MediaSequence, value)))
            }
            Tag::Known(Name::Skip, value) => self.skip(value).map(Some),
            Tag::Known(Name::PreloadHint, value) => hint(value).map(Some),
            Tag::Known(Name::RenditionReport, value) => report(value).map(Some),
            Tag::Known(name, value) => Ok(Some(Item::Tag(name, value))),
        }
    }

    fn segment_tag(&mut self, name: Name, value: &'a [u8]) -> Step<'a> {
        match name {
            Name::Inf => {
                let end = value.iter().position(|&byte| byte == b',').unwrap_or(value.len());
                let duration_us = number::seconds_us(value[..end].trim_ascii());
                self.draft.duration_us =
                    Some(duration_us.ok_or("EXTINF is no number of seconds in bounds")?);
            }
            Name::ByteRange => {
                let range = number::byte_range(value);
                self.draft.range = Some(range.ok_or("EXT-X-BYTERANGE is no range")?);
            }
            Name::Discontinuity => self.draft.discontinuity = true,
            Name::Gap => self.draft.gap = true,
            Name::Map => self.map = Some(value),
            Name::ProgramDateTime => self.draft.program_date_time = Some(value),
            Name::Part => return self.part(value).map(|part| Some(Item::Part(part))),
            _ => {}
        }
        Ok(None)
    }

    fn part(&mut self, list: &'a [u8]) -> Result<Part<'a>, &'static str> {
        let (mut uri, mut duration_us, mut range) = (None, None, None);
        let (mut independent, mut gap) = (false, false);
        for attribute in Attributes::new(list) {
            let attribute = attribute?;
            match attribute.name {
                b"URI" => uri = Some(attribute.value),
                b"DURATION" => duration_us = Some(attribute.seconds_us()?),
                b"BYTERANGE" => {
                    let read = number::byte_range(attribute.value);
                    range = Some(read.ok_or("the BYTERANGE of a part is no range")?);
                }
                b"INDEPENDENT" => independent = attribute.yes(),
                b"GAP" => gap = attribute.yes(),
                _ => {}
            }
        }
        let uri = uri.ok_or("EXT-X-PART without a URI")?;
        let duration_us = duration_us.ok_or("EXT-X-PART without a DURATION")?;
        let range = resolve(range, uri, &mut self.last_part_range)?;
        let index = self.draft.parts;
        self.draft.parts += 1;
        Ok(Part { msn: self.msn, index, uri, duration_us, range, independent, gap })
    }

    fn segment(&mut self, uri: &'a [u8], line: Line<'a>) -> Result<Item<'a>, &'static str> {
        let draft = std::mem::take(&mut self.draft);
        let duration_us = draft.duration_us.ok_or("a URI without EXTINF")?;
        let range = resolve(draft.range, uri, &mut self.last_range)?;
        let continues = matches!(draft.range, Some((_, None)));
        self.last_part_range = None;
        let msn = self.msn;
        self.msn += 1;
        Ok(Item::Segment(Segment {
            msn,
            uri,
            duration_us,
            range,
            continues,
            program_date_time: draft.program_date_time,
            discontinuity: draft.discontinuity,
            gap: draft.gap,
            map: self.map,
            parts: draft.parts,
            start: draft.start.unwrap_or(line.start),
            end: line.end,
        }))
    }

    fn skip(&mut self, list: &'a [u8]) -> Result<Item<'a>, &'static str> {
        if self.has_skip || self.is_started {
            return Err("EXT-X-SKIP stands twice or behind a segment");
        }
        self.has_skip = true;
        for attribute in Attributes::new(list) {
            let attribute = attribute?;
            if attribute.name == b"SKIPPED-SEGMENTS" {
                let count = attribute.integer()?;
                if count > limits::PLAYLIST_SEQUENCE_MAX {
                    return Err("SKIPPED-SEGMENTS is out of bounds");
                }
                self.msn += count;
                return Ok(Item::Skip(count));
            }
        }
        Err("EXT-X-SKIP without SKIPPED-SEGMENTS")
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let Some(line) = self.lines.next() else {
                self.is_over = true;
                // Cut off in the middle: a segment that has everything but its URI.
                let cut = self.draft.duration_us.is_some();
                return cut.then(|| Err(self.fault("EXTINF without a URI at the end")));
            };
            self.line = line.number;
            match self.step(line) {
                Ok(None) => {}
                Ok(Some(item)) => return Some(Ok(item)),
                Err(reason) => {
                    self.is_over = true;
                    return Some(Err(self.fault(reason)));
                }
            }
        }
        None
    }
}

/// Fills in the offset of a range that continues the one before it.
fn resolve<'a>(
    range: Option<(u64, Option<u64>)>,
    uri: &'a [u8],
    last: &mut Option<(&'a [u8], Range)>,
) -> Result<Option<Range>, &'static str> {
    let Some((length, offset)) = range else {
        *last = None;
        return Ok(None);
    };
    let before = last.filter(|(name, _)| *name == uri).map(|(_, range)| range);
    let offset = match (offset, before) {
        (Some(offset), _) => offset,
        (None, Some(before)) => before.offset + before.length,
        (None, None) => return Err("a byte range without an offset continues nothing"),
    };
    if offset.checked_add(length).is_none() {
        return Err("a byte range that ends beyond 2^64");
    }
    let range = Range { offset, length };
    *last = Some((uri, range));
    Ok(Some(range))
}

fn hint(list: &[u8]) -> Result<Item<'_>, &'static str> {
    let (mut kind, mut uri, mut start, mut length) = (None, None, 0, None);
    for attribute in Attributes::new(list) {
        let attribute = attribute?;
        match attribute.name {
            b"TYPE" => kind = Some(attribute.value),
            b"URI" => uri = Some(attribute.value),
            b"BYTERANGE-START" => start = attribute.integer()?,
            b"BYTERANGE-LENGTH" => length = Some(attribute.integer()?),
            _ => {}
        }
    }
    let uri = uri.ok_or("EXT-X-PRELOAD-HINT without a URI")?;
    let part = kind.ok_or("EXT-X-PRELOAD-HINT without a TYPE")? == b"PART";
    Ok(Item::Hint(Hint { part, uri, start, length }))
}

fn report(list: &[u8]) -> Result<Item<'_>, &'static str> {
    let (mut uri, mut last_msn, mut last_part) = (None, None, None);
    for attribute in Attributes::new(list) {
        let attribute = attribute?;
        match attribute.name {
            b"URI" => uri = Some(attribute.value),
            b"LAST-MSN" => last_msn = Some(attribute.integer()?),
            b"LAST-PART" => last_part = Some(attribute.integer()?),
            _ => {}
        }
    }
    let uri = uri.ok_or("EXT-X-RENDITION-REPORT without a URI")?;
    Ok(Item::Report(Report { uri, last_msn, last_part }))
}
