//! Reads a media playlist line by line.

use super::attributes::Attributes;
use super::date;
use super::media::{Bytes, Map, MediaPlaylist, Part, RenditionReport, Segment};
use super::playlist::Error;
use super::uri;

/// Segments or parts of one playlist, at most; a window of a day at 2 s has 43,200.
const ENTRIES_MAX: usize = 200_000;

/// Reads the media playlist `text` that was fetched from `base`.
pub fn read(text: &str, base: &str) -> Result<MediaPlaylist, Error> {
    let mut reader = Reader::new(base);
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
        reader.line(line).map_err(|wrong| Error::new(number, wrong))?;
        if reader.entries > ENTRIES_MAX {
            return Err(Error::new(number, format!("more than {ENTRIES_MAX} segments and parts")));
        }
    }
    reader.finish()
}

struct Reader<'a> {
    base: &'a str,
    list: MediaPlaylist,
    has_target: bool,
    entries: usize,
    /// What the next URI line will have.
    duration: Option<f64>,
    date: Option<f64>,
    gap: bool,
    bytes: Bytes,
    parts: Vec<Part>,
    /// Where the last byte range ended, for ranges without a start, and in which resource.
    range_end: u64,
    part_range_end: u64,
}

impl<'a> Reader<'a> {
    fn new(base: &'a str) -> Self {
        Self {
            base,
            list: MediaPlaylist::default(),
            has_target: false,
            entries: 0,
            duration: None,
            date: None,
            gap: false,
            bytes: None,
            parts: Vec::new(),
            range_end: 0,
            part_range_end: 0,
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if !line.starts_with('#') {
            return if line.is_empty() { Ok(()) } else { self.segment(line) };
        }
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXTINF" => {
                let seconds = value.split_once(',').map_or(value, |(seconds, _)| seconds);
                self.duration = Some(seconds_of(seconds, tag)?);
            }
            "#EXT-X-TARGETDURATION" => {
                self.list.target = seconds_of(value, tag)?;
                self.has_target = true;
            }
            "#EXT-X-MEDIA-SEQUENCE" => self.list.first = whole(value, tag)?,
            "#EXT-X-PROGRAM-DATE-TIME" => {
                let date = date::seconds(value);
                self.date = Some(date.ok_or_else(|| format!("`{value}` is no ISO 8601 date"))?);
            }
            "#EXT-X-GAP" => self.gap = true,
            "#EXT-X-ENDLIST" => self.list.ended = true,
            "#EXT-X-BYTERANGE" => {
                self.bytes = Some(range(value, self.range_end)?);
                self.range_end = self.bytes.map_or(0, |(from, length)| from + length);
            }
            "#EXT-X-MAP" => self.map(Attributes::new(value))?,
            "#EXT-X-PART-INF" => {
                self.list.part_target = Attributes::new(value).seconds("PART-TARGET");
                self.list.part_target.ok_or("no PART-TARGET, or it is no number")?;
            }
            "#EXT-X-PART" => self.part(Attributes::new(value))?,
            "#EXT-X-SERVER-CONTROL" => self.server_control(Attributes::new(value)),
            "#EXT-X-PRELOAD-HINT" => {
                let hint = Attributes::new(value);
                if let (Some("PART"), Some(target)) = (hint.value("TYPE"), hint.value("URI")) {
                    self.list.hint = Some(uri::resolve(self.base, target)?);
                }
            }
            "#EXT-X-SKIP" => self.skip(Attributes::new(value))?,
            "#EXT-X-RENDITION-REPORT" => self.report(Attributes::new(value))?,
            _ => {}
        }
        Ok(())
    }

    fn segment(&mut self, line: &str) -> Result<(), String> {
        let duration = self.duration.take().ok_or("a URI without #EXTINF before it")?;
        self.entries += 1;
        self.list.segments.push(Segment {
            uri: uri::resolve(self.base, line)?,
            duration,
            offset: 0.0,
            bytes: self.bytes.take(),
            date: self.date.take(),
            map: self.list.maps.len().checked_sub(1),
            parts: std::mem::take(&mut self.parts),
            gap: std::mem::take(&mut self.gap),
        });
        Ok(())
    }

    fn part(&mut self, attributes: Attributes) -> Result<(), String> {
        let target = attributes.value("URI").ok_or("a part without URI")?;
        let target = uri::resolve(self.base, target)?;
        let duration = attributes.seconds("DURATION").ok_or("a part without DURATION")?;
        let same = self.parts.last().is_some_and(|part| part.uri == target);
        let from = if same { self.part_range_end } else { 0 };
        let bytes = attributes.value("BYTERANGE").map(|text| range(text, from)).transpose()?;
        self.part_range_end = bytes.map_or(0, |(from, length)| from + length);
        let independent = attributes.yes("INDEPENDENT");
        self.entries += 1;
        self.parts.push(Part { uri: target, duration, bytes, independent });
        Ok(())
    }

    fn map(&mut self, attributes: Attributes) -> Result<(), String> {
        let target = attributes.value("URI").ok_or("#EXT-X-MAP without URI")?;
        let bytes = attributes.value("BYTERANGE").map(|text| range(text, 0)).transpose()?;
        let map = Map { uri: uri::resolve(self.base, target)?, bytes };
        if self.list.maps.last() != Some(&map) {
            self.list.maps.push(map);
        }
        Ok(())
    }

    fn server_control(&mut self, attributes: Attributes) {
        self.list.can_block = attributes.yes("CAN-BLOCK-RELOAD");
        self.list.can_skip_until = attributes.seconds("CAN-SKIP-UNTIL");
        self.list.hold_back = attributes.seconds("HOLD-BACK");
        self.list.part_hold_back = attributes.seconds("PART-HOLD-BACK");
    }

    fn skip(&mut self, attributes: Attributes) -> Result<(), String> {
        if !self.list.segments.is_empty() {
            return Err("#EXT-X-SKIP behind a segment".to_owned());
        }
        let skipped = attributes.number("SKIPPED-SEGMENTS");
        self.list.skipped = skipped.ok_or("no SKIPPED-SEGMENTS, or it is no number")?;
        Ok(())
    }

    fn report(&mut self, attributes: Attributes) -> Result<(), String> {
        let target = attributes.value("URI").ok_or("#EXT-X-RENDITION-REPORT without URI")?;
        if let Some(msn) = attributes.number("LAST-MSN") {
            let uri = uri::resolve(self.base, target)?;
            self.list.reports.push(RenditionReport {
                uri,
                msn,
                part: attributes.number("LAST-PART"),
            });
        }
        Ok(())
    }

    fn finish(mut self) -> Result<MediaPlaylist, Error> {
        if !self.has_target {
            return Err(Error::new(0, "no #EXT-X-TARGETDURATION"));
        }
        let room = u64::MAX - 2 * ENTRIES_MAX as u64;
        if self.list.first.checked_add(self.list.skipped).is_none_or(|next| next > room) {
            return Err(Error::new(0, "its sequence numbers are too large"));
        }
        if !self.parts.is_empty() {
            let parts = std::mem::take(&mut self.parts);
            self.list.segments.push(Segment {
                uri: "".into(),
                duration: parts.iter().map(|part| part.duration).sum(),
                offset: 0.0,
                bytes: None,
                date: self.date.take(),
                map: self.list.maps.len().checked_sub(1),
                parts,
                gap: false,
            });
        }
        self.list.lay_out();
        Ok(self.list)
    }
}

fn seconds_of(text: &str, tag: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|n: &f64| (0.0..1e6).contains(n));
    number.ok_or_else(|| format!("`{text}` of {tag} is no number of seconds"))
}

fn whole(text: &str, tag: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("`{text}` of {tag} is no whole number"))
}

/// `length[@start]`; without a start it goes on where the last range ended.
fn range(text: &str, from: u64) -> Result<(u64, u64), String> {
    let bad = || format!("`{text}` is no byte range");
    let (length, start) = match text.split_once('@') {
        Some((length, start)) => (length, start.parse().map_err(|_| bad())?),
        None => (text, from),
    };
    let length: u64 = length.trim().parse().map_err(|_| bad())?;
    start.checked_add(length).filter(|_| length > 0).ok_or_else(bad)?;
    Ok((start, length))
}

#[cfg(test)]
#[path = "read_media_tests.rs"]
mod tests;
