//! DASH manifests with number or time templates (ISO/IEC 23009-1 section 5.3.9.4): read once, and
//! turned into the media playlists that they imply at an instant.
//!
//! The first period, the first video set (or whatever there is) as levels, the first audio set
//! beside it. Never does: segment lists, several periods, events, encryption.

use std::rc::Rc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::date;
use super::media::{Map, MediaPlaylist, Segment};
use super::playlist::{Error, Multivariant, Variant};
use super::uri;

/// Segments of one list at most: what a player looks at of a long window.
const SEGMENTS_MAX: u64 = 2000;

/// One entry of a SegmentTimeline: start, duration and further repeats, in units of the timescale.
type Entry = (Option<u64>, u64, i64);

/// How a representation's segments are named and timed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Template {
    media: String,
    init: Option<String>,
    timescale: f64,
    duration: f64,
    first: u64,
    early: f64,
    timeline: Vec<Entry>,
}

/// One quality.
#[derive(Clone, Debug, PartialEq)]
struct Representation {
    id: String,
    bandwidth: u64,
    audio: bool,
    base: String,
    template: Template,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Mpd {
    path: String,
    live: bool,
    /// Start of the period, in seconds since 1970 (live) or 0.
    start: f64,
    /// minimumUpdatePeriod in seconds.
    pub update: Option<f64>,
    delay: Option<f64>,
    window: f64,
    whole: f64,
    /// Video first, each in ascending bit rate.
    representations: Vec<Representation>,
}

/// A list at an instant, and when it will be longer.
#[derive(Clone, Debug, PartialEq)]
pub struct Implied {
    /// What a player may ask for.
    pub list: Rc<MediaPlaylist>,
    /// When the next segment is there, in seconds since 1970; `None` when only a new manifest says.
    pub next_at: Option<f64>,
}

/// Whether `text` is an MPD rather than an HLS playlist.
pub fn is_mpd(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('<') && text.contains("<MPD")
}

/// Reads the manifest `text` that was fetched from `path`.
pub fn read(text: &str, path: &str) -> Result<Mpd, Error> {
    let mut reader = Reader::from_str(text);
    let mut building = Building::new(path);
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(0).min(text.len());
        let line = || text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let event = reader.read_event();
        let event = event.map_err(|error| Error::new(line(), format!("no XML: {error}")))?;
        let wrong = |wrong: String| Error::new(line(), wrong);
        match event {
            Event::Start(tag) => building.open(&tag, false).map_err(wrong)?,
            Event::Empty(tag) => building.open(&tag, true).map_err(wrong)?,
            Event::Text(text) => building.text(&text),
            Event::End(tag) => building.close(tag.local_name().as_ref()),
            Event::Eof => return building.finish(),
            _ => {}
        }
    }
}

/// The manifest as far as it was read.
struct Building {
    mpd: Mpd,
    periods: u32,
    period_start: f64,
    audio: bool,
    /// Templates and base URLs of the period, the set and the representation.
    templates: Vec<Template>,
    bases: Vec<String>,
    open: Option<Representation>,
    in_base: bool,
    sets: (u32, u32),
}

impl Building {
    fn new(path: &str) -> Self {
        let mpd = Mpd {
            path: path.to_owned(),
            live: false,
            start: 0.0,
            update: None,
            delay: None,
            window: f64::INFINITY,
            whole: 0.0,
            representations: Vec::new(),
        };
        Self {
            mpd,
            periods: 0,
            period_start: 0.0,
            audio: false,
            templates: vec![Template { timescale: 1.0, first: 1, ..Template::default() }],
            bases: vec![path.to_owned()],
            open: None,
            in_base: false,
            sets: (0, 0),
        }
    }

    fn open(&mut self, tag: &BytesStart, empty: bool) -> Result<(), String> {
        let name = tag.local_name();
        let name = name.as_ref();
        if self.periods > 1 && name != "MPD" {
            return Ok(());
        }
        match name {
            "MPD" => self.manifest(tag)?,
            "Period" => {
                self.periods += 1;
                self.period_start = duration_of(tag, "start")?.unwrap_or(0.0);
                self.deeper();
            }
            "AdaptationSet" => {
                let kind = value(tag, "contentType").or_else(|| value(tag, "mimeType"));
                self.audio = kind.as_deref().unwrap_or("").starts_with("audio");
                *(if self.audio { &mut self.sets.1 } else { &mut self.sets.0 }) += 1;
                self.deeper();
            }
            "Representation" => {
                self.deeper();
                let bandwidth =
                    number(tag, "bandwidth")?.ok_or("a Representation without bandwidth")?;
                self.open = Some(Representation {
                    id: value(tag, "id").unwrap_or_default(),
                    bandwidth,
                    audio: self.audio,
                    base: String::new(),
                    template: Template::default(),
                });
                if empty {
                    self.close("Representation");
                }
            }
            "SegmentTemplate" => self.template(tag)?,
            "S" => {
                let length =
                    number(tag, "d")?.filter(|d| *d > 0).ok_or("an S without a duration")?;
                let repeats = value(tag, "r").map_or(Ok(0), |r| r.parse::<i64>());
                let repeats = repeats.map_err(|_| "r of an S is no number".to_owned())?;
                let start = number(tag, "t")?;
                if let Some(template) = self.templates.last_mut() {
                    template.timeline.push((start, length, repeats));
                }
            }
            "BaseURL" => self.in_base = !empty,
            _ => {}
        }
        Ok(())
    }

    fn manifest(&mut self, tag: &BytesStart) -> Result<(), String> {
        self.mpd.live = value(tag, "type").as_deref() == Some("dynamic");
        self.mpd.update = duration_of(tag, "minimumUpdatePeriod")?;
        self.mpd.delay = duration_of(tag, "suggestedPresentationDelay")?;
        self.mpd.whole = duration_of(tag, "mediaPresentationDuration")?.unwrap_or(0.0);
        self.mpd.window = duration_of(tag, "timeShiftBufferDepth")?.unwrap_or(f64::INFINITY);
        if self.mpd.live {
            let text = value(tag, "availabilityStartTime").ok_or("no availabilityStartTime")?;
            let start = date::seconds(&text);
            self.mpd.start = start.ok_or_else(|| format!("`{text}` is no ISO 8601 date"))?;
        }
        Ok(())
    }

    fn deeper(&mut self) {
        self.templates.push(self.templates.last().cloned().unwrap_or_default());
        self.bases.push(self.bases.last().cloned().unwrap_or_default());
    }

    fn template(&mut self, tag: &BytesStart) -> Result<(), String> {
        let Some(template) = self.templates.last_mut() else { return Ok(()) };
        if let Some(media) = value(tag, "media") {
            template.media = media;
        }
        template.init = value(tag, "initialization").or(template.init.take());
        if let Some(scale) = number(tag, "timescale")? {
            template.timescale = scale.max(1) as f64;
        }
        if let Some(duration) = number(tag, "duration")? {
            template.duration = duration as f64;
        }
        template.first = number(tag, "startNumber")?.unwrap_or(template.first);
        let early = value(tag, "availabilityTimeOffset").and_then(|text| text.parse::<f64>().ok());
        template.early = early.filter(|early| early.is_finite()).unwrap_or(template.early);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let (true, Some(base)) = (std::mem::take(&mut self.in_base), self.bases.last_mut())
            && let Ok(joined) = uri::resolve(base, text.trim())
        {
            *base = joined.into_string();
        }
    }

    fn close(&mut self, name: &str) {
        if self.periods > 1 || !matches!(name, "Period" | "AdaptationSet" | "Representation") {
            return;
        }
        let (template, base) = (self.templates.pop(), self.bases.pop());
        if name != "Representation" {
            return;
        }
        let first_set = if self.audio { self.sets.1 == 1 } else { self.sets.0 == 1 };
        if let (Some(mut open), Some(template), Some(base)) = (self.open.take(), template, base)
            && first_set
        {
            (open.template, open.base) = (template, base);
            self.mpd.representations.push(open);
        }
    }

    fn finish(mut self) -> Result<Mpd, Error> {
        let mpd = &mut self.mpd;
        mpd.start += self.period_start;
        if mpd.representations.is_empty() {
            return Err(Error::new(0, "the MPD names no Representation"));
        }
        for representation in &mpd.representations {
            let template = &representation.template;
            let timed = template.duration > 0.0 || !template.timeline.is_empty();
            if template.media.is_empty() || !timed {
                let id = &representation.id;
                let wrong = "has no SegmentTemplate with media and duration or SegmentTimeline";
                return Err(Error::new(0, format!("Representation `{id}` {wrong}")));
            }
        }
        mpd.representations.sort_by_key(|one| (one.audio, one.bandwidth));
        Ok(self.mpd)
    }
}

impl Mpd {
    /// The qualities; the URIs of their lists are `#0`, `#1`, ...: see [`Mpd::implied`].
    pub fn ladder(&self) -> Multivariant {
        let uri = |index: usize| format!("#{index}").into_boxed_str();
        let videos = self.representations.iter().filter(|one| !one.audio).count();
        // A stream of audio only has audio levels and no separate audio.
        let levels = if videos == 0 { self.representations.len() } else { videos };
        let audio =
            if levels < self.representations.len() { vec![uri(levels)] } else { Vec::new() };
        let variants = (0..levels).map(|index| Variant {
            bandwidth: self.representations[index].bandwidth,
            average: self.representations[index].bandwidth,
            uri: uri(index),
            audio: (!audio.is_empty()).then_some(0),
        });
        Multivariant { variants: variants.collect(), audio, first: 0 }
    }

    /// Whether the clock alone says which segments there are.
    pub fn is_counted(&self) -> bool {
        self.representations.iter().all(|one| one.template.timeline.is_empty())
    }

    /// What the representation behind `uri` lists at `now`, in seconds since 1970.
    pub fn implied(&self, uri: &str, now: f64) -> Option<Implied> {
        let index: usize = uri.strip_prefix('#')?.split('?').next()?.parse().ok()?;
        let one = self.representations.get(index)?;
        let template = &one.template;
        let timeline = !template.timeline.is_empty();
        let (first, times) = if timeline { timed(template) } else { self.counted(template, now) };
        let longest = times.iter().map(|(_, length)| *length).fold(0.0, f64::max);
        let init = template.init.as_ref().map(|init| one.name(init, 0, 0)).transpose().ok()?;
        let mut list = MediaPlaylist {
            target: if longest > 0.0 { longest } else { template.duration / template.timescale },
            hold_back: self.delay.filter(|_| self.live),
            first,
            ended: !self.live,
            maps: init.into_iter().map(|uri| Map { uri, bytes: None }).collect(),
            ..MediaPlaylist::default()
        };
        for ((start, length), number) in times.into_iter().zip(first..) {
            #[expect(clippy::cast_possible_truncation, reason = "a media time is not negative")]
            let ticks = (start * template.timescale).round() as u64;
            list.segments.push(Segment {
                uri: one.name(&template.media, number, ticks).ok()?,
                duration: length,
                offset: 0.0,
                bytes: None,
                date: self.live.then_some(self.start + start),
                map: (!list.maps.is_empty()).then_some(0),
                parts: Vec::new(),
                gap: false,
            });
        }
        list.lay_out();
        let next = (list.next_segment() + 1).saturating_sub(template.first) as f64;
        let length = template.duration / template.timescale;
        let next_at =
            (self.live && !timeline).then_some(self.start + next * length - template.early);
        Some(Implied { list: Rc::new(list), next_at })
    }

    /// Segments of a template with a duration: first number, and start and length of each.
    #[expect(clippy::cast_possible_truncation, reason = "counts of segments are not negative")]
    fn counted(&self, template: &Template, now: f64) -> (u64, Vec<(f64, f64)>) {
        let length = template.duration / template.timescale;
        let (from, to) = if self.live {
            let there =
                ((now - self.start + template.early) / length + 1e-6).floor().max(0.0) as u64;
            let window = (self.window / length).min(SEGMENTS_MAX as f64) as u64;
            (there.saturating_sub(window.max(1)), there)
        } else {
            (0, ((self.whole / length - 1e-6).ceil().max(0.0) as u64).min(SEGMENTS_MAX))
        };
        let times = (from..to).map(|index| {
            let start = index as f64 * length;
            // The last segment of a whole presentation may be short.
            let end = if self.live { f64::INFINITY } else { self.whole };
            (start, length.min(end - start))
        });
        (template.first + from, times.collect())
    }
}

/// Segments of a timeline: first number, and start and length of each.
fn timed(template: &Template) -> (u64, Vec<(f64, f64)>) {
    let mut times = Vec::new();
    let mut at = 0;
    for (start, length, repeats) in &template.timeline {
        at = start.unwrap_or(at);
        // A negative repeat means "until the next entry", which only open-ended manifests have.
        for _ in 0..=u64::try_from(*repeats).unwrap_or(0).min(SEGMENTS_MAX) {
            times.push((at as f64 / template.timescale, *length as f64 / template.timescale));
            at = at.saturating_add(*length);
        }
    }
    // With `$Time$` the number only orders segments; the time itself does that across updates.
    let by_time = template.media.contains("$Time$");
    let start = template.timeline.first().and_then(|entry| entry.0).unwrap_or(0);
    let length = template.timeline.first().map_or(1, |entry| entry.1);
    (if by_time { start / length } else { template.first }, times)
}

impl Representation {
    fn name(&self, template: &str, number: u64, time: u64) -> Result<Box<str>, String> {
        let mut name = String::new();
        for (index, piece) in template.split('$').enumerate() {
            // Between an odd and an even `$` stands an identifier.
            if index % 2 == 0 {
                name.push_str(piece);
                continue;
            }
            let (identifier, format) = piece.split_once('%').unwrap_or((piece, ""));
            let width: usize =
                format.trim_end_matches('d').trim_start_matches('0').parse().unwrap_or(0);
            match identifier {
                "" => name.push('$'),
                "RepresentationID" => name.push_str(&self.id),
                "Number" => name.push_str(&format!("{number:0width$}", width = width.min(20))),
                "Bandwidth" => name.push_str(&self.bandwidth.to_string()),
                "Time" => name.push_str(&time.to_string()),
                other => return Err(format!("`${other}$` is no identifier")),
            }
        }
        uri::resolve(&self.base, &name)
    }
}

fn value(tag: &BytesStart, name: &str) -> Option<String> {
    let found = tag.attributes().flatten().find(|one| one.key.as_ref() == name)?;
    Some(found.value.replace("&amp;", "&"))
}

fn number(tag: &BytesStart, name: &str) -> Result<Option<u64>, String> {
    let wrong = |text: &String| format!("`{text}` of {name} is no whole number");
    value(tag, name).map(|text| text.parse().map_err(|_| wrong(&text))).transpose()
}

fn duration_of(tag: &BytesStart, name: &str) -> Result<Option<f64>, String> {
    let wrong = |text: &str| format!("`{text}` of {name} is no ISO 8601 duration");
    value(tag, name).map(|text| duration(&text).ok_or_else(|| wrong(&text))).transpose()
}

/// Seconds of `P1DT2H3M4.5S`; months and years are not used for media.
fn duration(text: &str) -> Option<f64> {
    let (days, clock) = text.strip_prefix('P')?.split_once('T').unwrap_or((&text[1..], ""));
    let mut seconds = 0.0;
    for (part, units) in [
        (days, [('D', 86_400.0), ('D', 0.0), ('D', 0.0)]),
        (clock, [('H', 3600.0), ('M', 60.0), ('S', 1.0)]),
    ] {
        let mut rest = part;
        for (unit, factor) in units {
            if let Some((count, behind)) = rest.split_once(unit) {
                seconds += count.parse::<f64>().ok().filter(|n| (0.0..1e9).contains(n))? * factor;
                rest = behind;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Some(seconds)
}

#[cfg(test)]
#[path = "mpd_tests.rs"]
mod tests;
