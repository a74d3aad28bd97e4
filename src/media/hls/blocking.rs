//! What a reload directive gets (draft section 6.2.5): the playlist, a wait, or a refusal.
//!
//! `Directives::read` takes the three parameters from a query, `decide` holds them against a
//! playlist. A held request asks `Media::contains` again for every version that is published, and
//! gives up after `hold_us`. `cache_age` says how long a CDN may keep what it got (appendix B.1).
//!
//! **Invariants**: no clock; a playlist that does not offer blocking reloads, or that has ended, is
//! always served; whatever the draft lets wait is bounded by three target durations.

use super::playlist::Media;
use super::{Fault, number};
use crate::limits;
use crate::media::CacheAge;

/// The reload directives of a request; parameters that are no directives are not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Directives {
    /// `_HLS_msn`.
    pub msn: Option<Number>,
    /// `_HLS_part`.
    pub part: Option<Number>,
    /// `_HLS_skip`.
    pub skip: Skip,
}

/// A directive's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// A whole number.
    Of(u64),
    /// Something else.
    Malformed,
}

/// `_HLS_skip`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Skip {
    /// The whole playlist is wanted.
    #[default]
    No,
    /// Older segments are not wanted.
    Segments,
    /// Older segments and date ranges are not wanted.
    DateRanges,
}

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The playlist as it is, now.
    Serve,
    /// A version for which `Media::contains` says yes to this segment and part.
    Hold {
        /// Media sequence number.
        msn: u64,
        /// Part index, when a part was asked for.
        part: Option<u64>,
    },
    /// 400, with the reason.
    BadRequest(&'static str),
}

/// What was answered, for its cache age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A playlist for a request that named a segment.
    Blocking,
    /// A playlist for any other request.
    Plain,
    /// A playlist that is missing, for a request that named a segment.
    BlockingMissing,
    /// A playlist that is missing, for any other request.
    PlainMissing,
    /// A segment or part that was waited for and is missing. One that came has the age of its
    /// class, which is more than the draft's six target durations.
    SegmentMissing,
    /// 400 or 503: the next request may succeed.
    Refused,
}

impl Directives {
    /// Reads the directives of a query (`a=b&c=d`, not decoded: they are digits and letters).
    pub fn read(query: &[u8]) -> Self {
        let mut directives = Self::default();
        for pair in query.split(|&byte| byte == b'&') {
            let Some(directive) = pair.strip_prefix(b"_HLS_") else { continue };
            if let Some(value) = directive.strip_prefix(b"msn=") {
                directives.msn = Some(Number::read(value));
            } else if let Some(value) = directive.strip_prefix(b"part=") {
                directives.part = Some(Number::read(value));
            } else if let Some(value) = directive.strip_prefix(b"skip=") {
                directives.skip = match value {
                    b"YES" => Skip::Segments,
                    b"v2" => Skip::DateRanges,
                    _ => Skip::No,
                };
            }
        }
        directives
    }

    /// Whether there is any directive.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// What a request with these directives gets while the playlist is `media`.
    pub fn decide(&self, media: &Media) -> Decision {
        //= draft section 6.2.5.2: MUST ignore _HLS_msn and _HLS_part if the Playlist contains an
        //= EXT-X-ENDLIST tag
        if media.ended {
            return Decision::Serve;
        }
        //= draft section 6.2.5.2: an _HLS_part directive but no _HLS_msn directive: MUST return Bad
        //= Request
        let (msn, part) = match (self.msn, self.part) {
            (None, None) => return Decision::Serve,
            (None, Some(_)) => return Decision::BadRequest("_HLS_part needs _HLS_msn"),
            (Some(msn), part) => (msn, part),
        };
        // Without the offer the parameters mean nothing, like any unknown one.
        if !media.control.can_block_reload {
            return Decision::Serve;
        }
        let Number::Of(msn) = msn else {
            return Decision::BadRequest("_HLS_msn must be a whole number");
        };
        let part = match part {
            None => None,
            Some(Number::Of(part)) => Some(part),
            Some(Number::Malformed) => {
                return Decision::BadRequest("_HLS_part must be a whole number");
            }
        };
        if media.contains(msn, part) {
            return Decision::Serve;
        }
        match too_far(media, msn, part) {
            Some(reason) => Decision::BadRequest(reason),
            None => Decision::Hold { msn, part },
        }
    }

    /// What they get when the playlist cannot be read: it as it is, unless that breaks a rule.
    pub fn decide_unread(&self, _fault: Fault) -> Decision {
        match (self.msn, self.part) {
            (None, Some(_)) => Decision::BadRequest("_HLS_part needs _HLS_msn"),
            _ => Decision::Serve,
        }
    }
}

impl Number {
    fn read(value: &[u8]) -> Self {
        number::integer(value).map_or(Self::Malformed, Self::Of)
    }
}

/// Why a request is for too much of the future, if it is.
//= draft section 6.2.5.2: greater than the last Media Sequence Number plus two, or beyond the last
//= Partial Segment by the Advance Part Limit: SHOULD immediately return Bad Request
fn too_far(media: &Media, msn: u64, part: Option<u64>) -> Option<&'static str> {
    let next = media.next_msn();
    if msn > next.saturating_add(1) {
        return Some("_HLS_msn is more than two segments ahead");
    }
    // The number of parts ahead of the last one, which is number -1 in an empty segment.
    let listed = if msn == next { u64::from(media.open_parts) } else { 0 };
    let ahead = part?.saturating_add(1).saturating_sub(listed);
    let target_us = media.part_target_us.unwrap_or(PART_LONG_US);
    let is_beyond = if target_us < PART_LONG_US {
        u128::from(ahead) * u128::from(target_us) > u128::from(ADVANCE_US)
    } else {
        ahead > ADVANCE_PARTS
    };
    (msn >= next && is_beyond).then_some("_HLS_part is too many parts ahead")
}

/// How long a request may be held, in microseconds; then it is 503 (draft section 6.2.5.2).
pub fn hold_us(media: &Media) -> u64 {
    media.target_duration_us.saturating_mul(3).min(limits::HLS_HOLD_US_MAX)
}

/// The cache age of an answer (appendix B.1), rounded down to whole seconds, at least one.
pub fn cache_age(answer: Answer, target_duration_us: u64) -> CacheAge {
    let halves = match answer {
        Answer::Blocking => 12,
        Answer::BlockingMissing => 8,
        Answer::PlainMissing | Answer::SegmentMissing => 2,
        Answer::Plain => 1,
        Answer::Refused => return CacheAge::of_seconds(limits::CACHE_ERROR_S),
    };
    let seconds = target_duration_us.saturating_mul(halves) / 2_000_000;
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    CacheAge::of_seconds(seconds.clamp(limits::CACHE_LIVE_S_MIN, limits::CACHE_BLOCKING_S_MAX))
}

/// From this PART-TARGET on the limit is a number of parts.
const PART_LONG_US: u64 = 1_000_000;
/// The Advance Part Limit of shorter parts, as time: 3 / PART-TARGET parts of PART-TARGET each.
const ADVANCE_US: u64 = 3_000_000;
/// The Advance Part Limit of longer parts.
const ADVANCE_PARTS: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments 10 and 11, the latter with four parts, and two parts of segment 12.
    const OPEN: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:10\n\
        #EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
        #EXTINF:2,\na\n#EXT-X-PART:DURATION=.5,URI=\"b\"\n#EXT-X-PART:DURATION=.5,URI=\"b\"\n\
        #EXT-X-PART:DURATION=.5,URI=\"b\"\n#EXT-X-PART:DURATION=.5,URI=\"b\"\n#EXTINF:2,\nb\n";
    const PARTS: &str = "#EXT-X-PART:DURATION=.5,URI=\"c\"\n#EXT-X-PART:DURATION=.5,URI=\"c\"\n";

    fn decide(playlist: &str, query: &str) -> Decision {
        let media = Media::read(playlist.as_bytes()).unwrap();
        Directives::read(query.as_bytes()).decide(&media)
    }

    fn hold(msn: u64, part: impl Into<Option<u64>>) -> Decision {
        Decision::Hold { msn, part: part.into() }
    }

    #[test]
    fn what_is_there_is_served_and_what_comes_is_held() {
        let open = [OPEN, PARTS].concat();
        for (query, expected) in [
            ("", Decision::Serve),
            ("x=1&_HLS_skip=YES", Decision::Serve),
            ("_HLS_msn=0", Decision::Serve),
            ("_HLS_msn=11", Decision::Serve),
            ("_HLS_msn=12", hold(12, None)),
            ("_HLS_msn=13", hold(13, None)),
            ("_HLS_msn=12&_HLS_part=0", Decision::Serve),
            ("_HLS_part=1&_HLS_msn=12", Decision::Serve),
            ("_HLS_msn=12&_HLS_part=2", hold(12, 2)),
            ("_HLS_msn=13&_HLS_part=0", hold(13, 0)),
            ("_HLS_msn=11&_HLS_part=3", Decision::Serve),
            ("_HLS_msn=3&_HLS_part=99", Decision::Serve),
        ] {
            assert_eq!(decide(&open, query), expected, "{query}");
        }
    }

    #[test]
    fn a_part_behind_the_last_of_its_segment_is_the_first_of_the_next() {
        assert_eq!(decide(OPEN, "_HLS_msn=11&_HLS_part=4"), hold(11, 4));
        assert_eq!(decide(OPEN, "_HLS_msn=11&_HLS_part=3"), Decision::Serve);
        let open = [OPEN, PARTS].concat();
        assert_eq!(decide(&open, "_HLS_msn=11&_HLS_part=4"), Decision::Serve);
        assert_eq!(decide(&open, "_HLS_msn=10&_HLS_part=4"), Decision::Serve);
    }

    #[test]
    fn requests_too_far_ahead_are_refused() {
        let open = [OPEN, PARTS].concat();
        let refused = |query| matches!(decide(&open, query), Decision::BadRequest(_));
        assert!(refused("_HLS_msn=14"));
        assert!(refused("_HLS_msn=18446744073709551615"));
        assert!(refused("_HLS_msn=14&_HLS_part=0"));
        // The last part is number 1; six of half a second are the limit.
        assert_eq!(decide(&open, "_HLS_msn=12&_HLS_part=7"), hold(12, 7));
        assert!(refused("_HLS_msn=12&_HLS_part=8"));
        assert_eq!(decide(&open, "_HLS_msn=13&_HLS_part=5"), hold(13, 5));
        assert!(refused("_HLS_msn=13&_HLS_part=6"));
        assert!(refused("_HLS_msn=12&_HLS_part=18446744073709551615"));
        let long = open.replace("PART-TARGET=0.5", "PART-TARGET=1.0");
        assert_eq!(decide(&long, "_HLS_msn=12&_HLS_part=4"), hold(12, 4));
        assert!(matches!(decide(&long, "_HLS_msn=12&_HLS_part=5"), Decision::BadRequest(_)));
    }

    #[test]
    fn malformed_directives_are_refused_where_they_count() {
        for query in ["_HLS_part=0", "_HLS_msn=", "_HLS_msn=-1", "_HLS_msn=1&_HLS_part=x"] {
            assert!(matches!(decide(OPEN, query), Decision::BadRequest(_)), "{query}");
            assert_eq!(decide(&[OPEN, "#EXT-X-ENDLIST\n"].concat(), query), Decision::Serve);
        }
        let plain = OPEN.replace("CAN-BLOCK-RELOAD=YES", "HOLD-BACK=6");
        assert_eq!(decide(&plain, "_HLS_msn=99999"), Decision::Serve);
        assert!(matches!(decide(&plain, "_HLS_part=1"), Decision::BadRequest(_)));
    }

    #[test]
    fn directives_are_read_from_any_query() {
        let read = |query: &str| Directives::read(query.as_bytes());
        assert!(!read("").any() && !read("_HLS_=1&hls_msn=3&a_HLS_msn=3&_HLS_msn").any());
        let all = read("token=x&_HLS_msn=3&_HLS_part=4&_HLS_skip=v2");
        assert_eq!(all.msn, Some(Number::Of(3)));
        assert_eq!(all.part, Some(Number::Of(4)));
        assert_eq!(all.skip, Skip::DateRanges);
        assert_eq!(read("_HLS_skip=YES").skip, Skip::Segments);
        assert_eq!(read("_HLS_skip=NO").skip, Skip::No);
    }

    #[test]
    fn ages_and_bounds_follow_the_target_duration() {
        let age = |answer| cache_age(answer, 4_000_000).seconds();
        assert_eq!(age(Answer::Blocking), 24);
        assert_eq!(age(Answer::BlockingMissing), 16);
        assert_eq!(age(Answer::Plain), 2);
        assert_eq!(age(Answer::PlainMissing), 4);
        assert_eq!(age(Answer::SegmentMissing), 4);
        assert_eq!(age(Answer::Refused), 1);
        assert_eq!(cache_age(Answer::Plain, 1_000_000).seconds(), 1);
        assert_eq!(cache_age(Answer::Blocking, u64::MAX).seconds(), limits::CACHE_BLOCKING_S_MAX);
        let media = Media::read(OPEN.as_bytes()).unwrap();
        assert_eq!(hold_us(&media), 6_000_000);
    }
}
