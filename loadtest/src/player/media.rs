//! A media playlist as a player sees it: a window of segments and parts on a relative timeline.

/// A range of bytes of a resource: first byte and length.
pub type Bytes = Option<(u64, u64)>;

/// A part of a segment (LL-HLS).
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Path and query.
    pub uri: Box<str>,
    /// Seconds.
    pub duration: f64,
    /// Its bytes within the resource.
    pub bytes: Bytes,
    /// A decoder may start here.
    pub independent: bool,
}

/// One segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Path and query; empty while the segment is only known by its parts.
    pub uri: Box<str>,
    /// Seconds; of an incomplete segment, of the parts so far.
    pub duration: f64,
    /// Seconds from the start of the playlist's first segment.
    pub offset: f64,
    /// Its bytes within the resource.
    pub bytes: Bytes,
    /// EXT-X-PROGRAM-DATE-TIME, given or counted on, in seconds since 1970.
    pub date: Option<f64>,
    /// Index into [`MediaPlaylist::maps`].
    pub map: Option<usize>,
    /// Its parts, while listed.
    pub parts: Vec<Part>,
    /// Declared missing (EXT-X-GAP).
    pub gap: bool,
}

/// Where a header (EXT-X-MAP) lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Path and query.
    pub uri: Box<str>,
    /// Its bytes within the resource.
    pub bytes: Bytes,
}

/// How far another rendition is (EXT-X-RENDITION-REPORT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenditionReport {
    /// Path and query of that rendition's playlist.
    pub uri: Box<str>,
    /// Its last segment, complete or not.
    pub msn: u64,
    /// Its last part.
    pub part: Option<u64>,
}

/// A media playlist.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct MediaPlaylist {
    /// EXT-X-TARGETDURATION in seconds.
    pub target: f64,
    /// PART-TARGET in seconds; `None` without parts.
    pub part_target: Option<f64>,
    /// HOLD-BACK in seconds.
    pub hold_back: Option<f64>,
    /// PART-HOLD-BACK in seconds.
    pub part_hold_back: Option<f64>,
    /// CAN-BLOCK-RELOAD.
    pub can_block: bool,
    /// CAN-SKIP-UNTIL in seconds.
    pub can_skip_until: Option<f64>,
    /// Sequence number of the first segment.
    pub first: u64,
    /// Segments, oldest first; the last may be incomplete (parts only, no URI).
    pub segments: Vec<Segment>,
    /// Segments that EXT-X-SKIP left out before `segments`; 0 in a complete playlist.
    pub skipped: u64,
    /// Headers.
    pub maps: Vec<Map>,
    /// Next part announced (EXT-X-PRELOAD-HINT TYPE=PART).
    pub hint: Option<Box<str>>,
    /// Other renditions.
    pub reports: Vec<RenditionReport>,
    /// EXT-X-ENDLIST: nothing will be added.
    pub ended: bool,
}

impl MediaPlaylist {
    /// Sequence number after the last complete segment.
    pub fn next_segment(&self) -> u64 {
        self.first + self.skipped + self.complete() as u64
    }

    /// Number of complete segments listed.
    pub fn complete(&self) -> usize {
        self.segments.len() - usize::from(self.incomplete().is_some())
    }

    /// The last segment while only its parts are known.
    pub fn incomplete(&self) -> Option<&Segment> {
        self.segments.last().filter(|segment| segment.uri.is_empty())
    }

    /// The newest thing listed: a segment's number and, when parts are listed there, the last part.
    pub fn newest(&self) -> (u64, Option<usize>) {
        let last = self.segments.last();
        let msn = (self.first + self.skipped + self.segments.len() as u64).saturating_sub(1);
        (msn, last.and_then(|segment| segment.parts.len().checked_sub(1)))
    }

    /// A number that grows whenever something was added: to tell newer from older.
    pub fn progress(&self) -> (u64, usize, bool) {
        let parts = self.incomplete().map_or(0, |segment| segment.parts.len());
        (self.next_segment(), parts, self.ended)
    }

    /// The segment `msn`, complete or not.
    pub fn segment(&self, msn: u64) -> Option<&Segment> {
        let index = msn.checked_sub(self.first + self.skipped)?;
        self.segments.get(usize::try_from(index).ok()?)
    }

    /// Seconds from the first segment's start to the end of the last.
    pub fn span(&self) -> f64 {
        self.segments.last().map_or(0.0, |segment| segment.offset + segment.duration)
    }

    /// Seconds to stay behind the edge: PART-HOLD-BACK with parts, else HOLD-BACK, else three
    /// target durations (RFC 8216bis section 6.3.3; hls.js liveSyncDurationCount).
    pub fn target_latency(&self, low_latency: bool) -> f64 {
        let plain = self.hold_back.unwrap_or(3.0 * self.target);
        match (low_latency, self.part_target) {
            (true, Some(part)) => self.part_hold_back.unwrap_or(3.0 * part),
            _ => plain,
        }
    }

    /// This delta update completed by what `previous` had; `None` when that does not reach back far
    /// enough, and the whole playlist has to be asked for.
    pub fn merged(mut self, previous: &Self) -> Option<Self> {
        if self.skipped == 0 {
            return Some(self);
        }
        let from = usize::try_from(self.first.checked_sub(previous.first)?).ok()?;
        let count = usize::try_from(self.skipped).ok()?;
        if previous.skipped > 0 || from + count > previous.complete() {
            return None;
        }
        let mut segments: Vec<Segment> = previous.segments[from..from + count].to_vec();
        // Headers named before the skipped stretch are known from the previous playlist only.
        let own = std::mem::replace(&mut self.maps, previous.maps.clone());
        let moved = self.maps.len();
        self.maps.extend(own);
        let inherited = segments.last().and_then(|segment| segment.map);
        for segment in &mut self.segments {
            segment.map = segment.map.map(|map| map + moved).or(inherited);
        }
        segments.append(&mut self.segments);
        self.segments = segments;
        self.skipped = 0;
        self.lay_out();
        Some(self)
    }

    /// Computes offsets, and dates from the last one given.
    pub(super) fn lay_out(&mut self) {
        let mut offset = 0.0;
        let mut date: Option<f64> = None;
        for segment in &mut self.segments {
            segment.offset = offset;
            segment.date = segment.date.or(date);
            offset += segment.duration;
            date = segment.date.map(|date| date + segment.duration);
        }
        self.date_backwards();
    }

    /// Segments before the first date get theirs counted back.
    fn date_backwards(&mut self) {
        let Some(known) = self.segments.iter().position(|segment| segment.date.is_some()) else {
            return;
        };
        for index in (0..known).rev() {
            let after = self.segments[index + 1].date;
            let segment = &mut self.segments[index];
            segment.date = after.map(|date| date - segment.duration);
        }
    }
}
