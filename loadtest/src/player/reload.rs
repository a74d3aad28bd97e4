//! When to reload a live playlist, and with which delivery directives.
//!
//! RFC 8216bis section 6.3.4 as hls.js carries it out (base-playlist-controller): from the start of
//! the last request, one target duration; half of one when nothing was new; at once, with
//! `_HLS_msn` and `_HLS_part`, when the server blocks reloads. Pure.

use super::media::MediaPlaylist;

/// One answered request for a playlist.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When it was meant to be sent, in seconds (the schedule's instant, not the sending's).
    pub scheduled: f64,
    /// When the first byte came.
    pub first_byte: f64,
    /// When it was there.
    pub now: f64,
    /// Its Age header in seconds; 0 without.
    pub age: f64,
    /// It lists more than the one before.
    pub advanced: bool,
    /// Seconds from the playhead to the edge.
    pub from_edge: f64,
    /// The viewer loads parts.
    pub low_latency: bool,
}

/// What a request for a playlist asks for besides the playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `_HLS_msn`: answer when this segment is there.
    pub msn: Option<u64>,
    /// `_HLS_part`: answer when this part of it is there.
    pub part: Option<u64>,
    /// `_HLS_skip=YES`: a delta update will do.
    pub skip: bool,
}

/// The next request for a playlist.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Next {
    /// When, in seconds.
    pub at: f64,
    /// With what.
    pub directives: Directives,
}

/// The next reload after `list` came by `answer`; `None` when the playlist has ended.
pub fn next(list: &MediaPlaylist, answer: &Answer) -> Option<Next> {
    if list.ended {
        return None;
    }
    let skip = list.can_skip_until.is_some();
    if list.can_block && answer.advanced {
        let at = if answer.low_latency || list.part_target.is_none() {
            answer.now
        } else {
            plain(list, answer)
        };
        return Some(Next { at, directives: Directives { skip, ..wanted(list, answer) } });
    }
    Some(Next { at: plain(list, answer), directives: Directives { skip, ..Directives::default() } })
}

/// The instant by the plain rule.
fn plain(list: &MediaPlaylist, answer: &Answer) -> f64 {
    let due = answer.scheduled + interval(list, answer);
    if due < answer.now { answer.now } else { due }
}

/// Seconds between reloads (computeReloadInterval).
fn interval(list: &MediaPlaylist, answer: &Answer) -> f64 {
    if !answer.advanced {
        return list.target / 2.0;
    }
    let last = list.complete().checked_sub(1).map(|index| list.segments[index].duration);
    match last {
        Some(last) if last > 0.0 && answer.from_edge < 4.0 * list.target => last.min(list.target),
        _ => list.target,
    }
}

/// The segment and part that come next, further on when the answer is old (CDN tune-in).
fn wanted(list: &MediaPlaylist, answer: &Answer) -> Directives {
    let mut msn = list.next_segment();
    let mut part = None;
    if let Some(target) = list.part_target {
        let parts = list.incomplete().map_or(0, |segment| segment.parts.len() as u64);
        part = Some(parts);
        let goal = (answer.age - target).min(list.target * 1.5);
        if answer.age > list.target * 3.0 {
            return Directives::default();
        }
        if goal > 0.0 {
            let segments = (goal / list.target).floor();
            msn += whole(segments);
            part = Some(parts + whole(((goal % list.target) / target).round()));
        }
    }
    Directives { msn: Some(msn), part, skip: false }
}

#[expect(clippy::cast_possible_truncation, reason = "small and not negative")]
fn whole(number: f64) -> u64 {
    number.max(0.0) as u64
}

impl Directives {
    /// Whether the answer may be held back.
    pub fn blocks(&self) -> bool {
        self.msn.is_some()
    }

    /// `path` with these directives in its query, in the order of the specification.
    pub fn apply(&self, path: &str) -> String {
        let mut url = path.to_owned();
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            url = super::uri::with_query(&url, &format!("{name}={value}"));
        };
        if let Some(msn) = self.msn {
            add("_HLS_msn", &msn);
        }
        if let Some(part) = self.part {
            add("_HLS_part", &part);
        }
        if self.skip {
            add("_HLS_skip", &"YES");
        }
        url
    }

    /// Whether `list` has what was asked for; always when nothing was.
    pub fn met_by(&self, list: &MediaPlaylist) -> bool {
        let Some(msn) = self.msn else { return true };
        let done = list.next_segment();
        match self.part {
            _ if list.ended || done > msn => true,
            Some(part) if done == msn => {
                list.incomplete().is_some_and(|segment| segment.parts.len() as u64 > part)
            }
            // A part beyond the last of its segment means the next segment's first.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::read_media::read;

    fn answer(advanced: bool) -> Answer {
        Answer {
            scheduled: 100.0,
            first_byte: 100.1,
            now: 100.2,
            age: 0.0,
            advanced,
            from_edge: 12.0,
            low_latency: true,
        }
    }

    #[test]
    fn plain_reloads_follow_the_target_duration_from_the_request() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na\n#EXTINF:3,\nb\n";
        let list = read(text, "/").unwrap();
        let at = |answer: Answer| next(&list, &answer).unwrap().at;
        assert_eq!(at(answer(true)), 103.0, "the last segment is shorter, near the edge");
        assert_eq!(at(Answer { from_edge: 16.0, ..answer(true) }), 104.0);
        assert_eq!(at(answer(false)), 102.0, "half of it when nothing was new");
        assert_eq!(at(Answer { now: 110.0, ..answer(true) }), 110.0, "late: at once");
        let ended = MediaPlaylist { ended: true, ..list };
        assert_eq!(next(&ended, &answer(true)), None);
    }

    #[test]
    fn blocking_reloads_ask_for_the_next_part_at_once() {
        let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
            #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12\n\
            #EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2,\n7\n";
        let whole = read(head, "/").unwrap();
        let asked = next(&whole, &answer(true)).unwrap();
        let directives = Directives { msn: Some(8), part: Some(0), skip: true };
        assert_eq!(asked, Next { at: 100.2, directives });
        assert_eq!(directives.apply("/a?x=1"), "/a?x=1&_HLS_msn=8&_HLS_part=0&_HLS_skip=YES");
        let part = format!("{head}#EXT-X-PART:DURATION=0.5,URI=\"8.0\"\n");
        let part = read(&part, "/").unwrap();
        assert!(directives.met_by(&part) && !directives.met_by(&whole));
        let asked = next(&part, &answer(true)).unwrap().directives;
        assert_eq!((asked.msn, asked.part), (Some(8), Some(1)));
        // An early answer without it: back to the plain rule, without directives.
        let early = next(&part, &answer(false)).unwrap();
        assert_eq!((early.at, early.directives.msn), (101.0, None));
        // 3.2 s old: 2.7 s behind are one segment and one part further on.
        let old = next(&part, &Answer { age: 3.2, ..answer(true) }).unwrap().directives;
        assert_eq!((old.msn, old.part), (Some(9), Some(1 + 1)));
        let ancient = next(&part, &Answer { age: 6.5, ..answer(true) }).unwrap().directives;
        assert_eq!(ancient.msn, None);
    }

    #[test]
    fn a_server_that_blocks_without_parts_is_asked_for_the_next_segment() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
            #EXT-X-MEDIA-SEQUENCE:3\n#EXTINF:4,\na\n";
        let asked = next(&read(text, "/").unwrap(), &answer(true)).unwrap();
        let directives = Directives { msn: Some(4), part: None, skip: false };
        assert_eq!(asked, Next { at: 100.2, directives });
    }
}
