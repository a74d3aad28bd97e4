//! One track of a viewer (video, or separate audio): where its playlist lies on the viewer's
//! timeline, and what to load next.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::media::{Bytes, Map, MediaPlaylist, Segment};
use super::reload::Directives;
use super::retry::Tries;
use crate::limits::INIT_SEGMENTS_MAX;

/// A position is taken for a segment's that begins at most this much later
/// (maxFragLookUpTolerance), in seconds.
const LOOK_UP_TOLERANCE_S: f64 = 0.25;

/// A request for a playlist under way.
#[derive(Clone, Copy, Debug)]
pub struct Reloading {
    /// The instant by the schedule.
    pub scheduled: f64,
    /// Whose playlist.
    pub level: u16,
    /// With what.
    pub directives: Directives,
}

/// A request for a header, a segment or a part under way.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    /// Its level.
    pub level: u16,
    /// Which header it is, when it is one.
    pub header: Option<Header>,
    /// Its segment.
    pub msn: u64,
    /// Its part; `None` for the whole segment.
    pub part: Option<u16>,
    /// Media in seconds.
    pub duration: f64,
    /// Where it ends on the viewer's timeline.
    pub end: f64,
    /// When it was asked for.
    pub requested: f64,
    /// When its first byte came.
    pub first_byte: Option<f64>,
    /// Bytes of its body so far.
    pub received: u64,
}

/// A header of a level, by a hash of where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header(u64);

impl Header {
    /// That of `map` in a playlist of `level`.
    pub fn new(level: u16, map: &Map) -> Self {
        let mut hasher = DefaultHasher::new();
        (level, &map.uri, map.bytes).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What a track wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// A header, by its index in the playlist.
    Map(u16),
    /// A segment or part.
    Media(Media),
    /// A declared gap: it ends there.
    Gap(f64),
    /// Nothing is listed yet.
    Wait,
    /// It was there once, but the window moved on.
    Gone,
    /// Nothing will follow.
    Over,
}

/// A segment or part to load.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Path and query.
    pub uri: Box<str>,
    /// Its bytes within the resource.
    pub bytes: Bytes,
    /// Its segment.
    pub msn: u64,
    /// Its part; `None` for the whole segment.
    pub part: Option<u16>,
    /// Media in seconds.
    pub duration: f64,
    /// Where it ends on the viewer's timeline.
    pub end: f64,
}

/// State of one track.
#[derive(Debug, Default)]
pub struct Track {
    /// The newest playlist.
    pub list: Option<Rc<MediaPlaylist>>,
    /// Level of `list`.
    pub level: u16,
    /// Where the first segment of `list` begins on the viewer's timeline.
    pub origin: f64,
    /// When `list` last grew, by the first byte of that answer.
    pub grown_at: f64,
    /// Next segment to load, and the part of it.
    pub next: Option<(u64, u16)>,
    /// Headers that came, at most [`INIT_SEGMENTS_MAX`], newest last: they are kept across levels.
    pub headers: Vec<Header>,
    /// End of what was loaded.
    pub end: f64,
    /// When to reload the playlist, and with what.
    pub reload: Option<(f64, Directives)>,
    /// Requests under way.
    pub reloading: Option<Reloading>,
    /// See `reloading`.
    pub loading: Option<Loading>,
    /// Level whose playlist failed to come last; `reload` says when to try again.
    pub failed_level: Option<u16>,
    /// No media is asked for before that.
    pub retry_at: f64,
    /// Failures in a row.
    pub playlist_tries: Tries,
    /// See `playlist_tries`.
    pub media_tries: Tries,
}

impl Track {
    /// The edge on the viewer's timeline: the end of what is listed.
    pub fn edge(&self) -> f64 {
        self.origin + self.list.as_ref().map_or(0.0, |list| list.span())
    }

    /// Takes `list` of `level` and lays it on the timeline by what is known of the one before.
    pub fn place(&mut self, list: Rc<MediaPlaylist>, level: u16) {
        if let Some(known) = self.list.take() {
            let switched = self.level != level;
            self.origin += shift(&known, &list, switched);
            if switched && known.segments.first().map(|s| s.date.is_some()) == Some(true) {
                // Sequence numbers of another rendition need not agree; positions do.
                self.next = None;
            }
        }
        self.list = Some(list);
        self.level = level;
    }

    /// Lays a first playlist beside the one of another track.
    pub fn place_beside(&mut self, list: Rc<MediaPlaylist>, other: &Self) {
        if let Some(known) = &other.list {
            self.origin = other.origin + shift(known, &list, true);
        }
        self.list = Some(list);
    }

    /// The segment that holds `position`, or begins shortly after it; the oldest when it is gone.
    pub fn segment_at(&self, position: f64) -> Option<(u64, &Segment)> {
        let list = self.list.as_ref()?;
        let at = position - self.origin + LOOK_UP_TOLERANCE_S;
        let after = list.segments.partition_point(|segment| segment.offset <= at);
        let index = after.saturating_sub(1);
        let segment = list.segments.get(index)?;
        if index + 1 == list.segments.len() && at >= list.span() + LOOK_UP_TOLERANCE_S {
            return None;
        }
        Some((list.first + index as u64, segment))
    }

    /// Goes on loading at `position`; with `parts`, at the last independent part before it.
    pub fn seek(&mut self, position: f64, parts: bool) {
        let Some((msn, segment)) = self.segment_at(position) else {
            // At the edge or beyond: what will be listed next.
            self.next = self.list.as_ref().map(|list| {
                (list.next_segment(), list.incomplete().map_or(0, |last| small(last.parts.len())))
            });
            self.end = position;
            return;
        };
        let mut part = 0;
        let mut start = self.origin + segment.offset;
        if parts {
            let mut at = start;
            for (index, candidate) in segment.parts.iter().enumerate() {
                if candidate.independent && at <= position + 0.001 {
                    (part, start) = (small(index), at);
                }
                at += candidate.duration;
            }
        }
        self.next = Some((msn, part));
        self.end = start;
    }

    /// What to load next; `parts` says that parts are loaded where they are listed.
    pub fn wanted(&self, parts: bool) -> Wanted {
        let (Some(list), Some((msn, part))) = (&self.list, self.next) else { return Wanted::Wait };
        if msn < list.first {
            return Wanted::Gone;
        }
        let Some(segment) = list.segment(msn) else {
            let over = list.ended && msn >= list.next_segment();
            return if over { Wanted::Over } else { Wanted::Wait };
        };
        let start = self.origin + segment.offset;
        if segment.gap {
            return Wanted::Gap(start + segment.duration);
        }
        let index = usize::from(part);
        let by_parts = parts && !segment.parts.is_empty();
        if !by_parts && segment.uri.is_empty() {
            return Wanted::Wait;
        }
        let map = segment.map.map(small);
        if let Some(map) = map
            && let Some(found) = list.maps.get(usize::from(map))
            && !self.headers.contains(&Header::new(self.level, found))
        {
            return Wanted::Map(map);
        }
        if !by_parts {
            return Wanted::Media(Media {
                uri: segment.uri.clone(),
                bytes: segment.bytes,
                msn,
                part: None,
                duration: segment.duration,
                end: start + segment.duration,
            });
        }
        let Some(found) = segment.parts.get(index) else { return Wanted::Wait };
        let before: f64 = segment.parts[..index].iter().map(|part| part.duration).sum();
        Wanted::Media(Media {
            uri: found.uri.clone(),
            bytes: found.bytes,
            msn,
            part: Some(part),
            duration: found.duration,
            end: start + before + found.duration,
        })
    }

    /// A header came.
    pub fn keep(&mut self, header: Header) {
        if self.headers.len() >= INIT_SEGMENTS_MAX {
            self.headers.remove(0);
        }
        self.headers.push(header);
    }

    /// Moves on behind a loaded (or skipped) segment or part.
    pub fn loaded(&mut self, msn: u64, part: Option<u16>, end: f64) {
        self.end = self.end.max(end);
        let last = |part: u16| {
            let list = self.list.as_ref();
            list.and_then(|list| list.segment(msn)).is_none_or(|segment| {
                !segment.uri.is_empty() && usize::from(part) + 1 >= segment.parts.len()
            })
        };
        self.next = Some(match part {
            Some(part) if !last(part) => (msn, part + 1),
            _ => (msn + 1, 0),
        });
    }

    /// When the last part of a segment was loaded before the segment was known to be complete, goes
    /// on to the next one.
    pub fn settle(&mut self) {
        let (Some(list), Some((msn, part))) = (&self.list, self.next) else { return };
        let Some(segment) = list.segment(msn) else { return };
        let complete = !segment.uri.is_empty();
        // Parts leave the playlist in time; what was loaded of the segment may have been all.
        let done = if segment.parts.is_empty() {
            part > 0
                && self.end + LOOK_UP_TOLERANCE_S > self.origin + segment.offset + segment.duration
        } else {
            usize::from(part) >= segment.parts.len()
        };
        if complete && done {
            self.next = Some((msn + 1, 0));
        }
    }
}

/// Seconds from the first segment of `known` to the first of `list`: by a common segment; for
/// another rendition by dates when both have them; without either by counting.
fn shift(known: &MediaPlaylist, list: &MediaPlaylist, switched: bool) -> f64 {
    let dates = known.segments.first().zip(list.segments.first());
    let dates = dates.and_then(|(a, b)| Some(b.date? - a.date?));
    if let (true, Some(dates)) = (switched, dates) {
        return dates;
    }
    let common = known.first.max(list.first);
    if let (Some(old), Some(new)) = (known.segment(common), list.segment(common)) {
        return old.offset - new.offset;
    }
    if let Some(dates) = dates {
        return dates;
    }
    if list.first >= known.first {
        // Nothing in common: all of `known` lies before `list`.
        let missing = (list.first - known.first).saturating_sub(known.segments.len() as u64);
        return known.span() + missing as f64 * list.target;
    }
    -((known.first - list.first) as f64) * list.target
}

/// An index as it is kept; playlists are bounded far below, an excess is clamped.
pub(super) fn small(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

#[cfg(test)]
#[path = "track_tests.rs"]
mod tests;
