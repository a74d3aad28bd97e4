//! What the formats mean: media types, playlists and how long a CDN may keep an answer.
//!
//! `types` reads a key's name, `playlist` (HLS) and `mpd` (DASH) read the few facts of a manifest
//! that decide its cache age; `cache_control` turns them into the default header value.
//!
//! **Invariants**: no I/O, no clock, no allocation; input is any bytes and never a panic; a live
//! manifest is never cached for longer than half of the time in which it must change.

use crate::limits;

use self::playlist::Playlist;
use self::types::Class;

pub mod boxes;
pub mod cmcd;
pub mod hls;
pub mod lowlatency;
pub mod mpd;
pub mod playlist;
pub mod types;

/// A default value of Cache-Control, rendered once: `max-age=` and whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheAge {
    seconds: u32,
    text: [u8; CACHE_AGE_BYTES_MAX],
    len: u8,
}

/// The default cache age of an object of `class`; `body` is looked at for manifests only.
///
/// A manifest whose body is not at hand, or says nothing of use, gets one second.
pub fn cache_control(class: Class, body: Option<&[u8]>) -> CacheAge {
    let seconds = match class {
        Class::Segment | Class::Init => limits::CACHE_SEGMENT_S,
        Class::Other => limits::CACHE_OTHER_S,
        Class::Manifest => body.map_or(limits::CACHE_LIVE_S_MIN, manifest_seconds),
    };
    CacheAge::of_seconds(seconds)
}

/// The cache age of an error answer.
pub fn cache_control_of_errors() -> CacheAge {
    CacheAge::of_seconds(limits::CACHE_ERROR_S)
}

fn manifest_seconds(body: &[u8]) -> u32 {
    match playlist::read(body) {
        Some(Playlist::Live { target_duration_ms }) => half_in_seconds(target_duration_ms),
        Some(Playlist::Ended) => limits::CACHE_ENDED_S,
        Some(Playlist::Vod) => limits::CACHE_VOD_MANIFEST_S,
        Some(Playlist::Multivariant) => limits::CACHE_MULTIVARIANT_S,
        None if mpd::is_static(body) => limits::CACHE_VOD_MANIFEST_S,
        None => half_in_seconds(mpd::update_interval_ms(body).unwrap_or(0)),
    }
}

/// Half of an interval in whole seconds, rounded down, within what suits a live manifest.
fn half_in_seconds(interval_ms: u64) -> u32 {
    let seconds = u32::try_from(interval_ms / 2000).unwrap_or(u32::MAX);
    seconds.clamp(limits::CACHE_LIVE_S_MIN, limits::CACHE_LIVE_S_MAX)
}

impl CacheAge {
    /// `max-age=` with `seconds`.
    pub fn of_seconds(seconds: u32) -> Self {
        let mut text = [0; CACHE_AGE_BYTES_MAX];
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        let digits = seconds.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut rest = seconds;
        for place in (PREFIX.len()..PREFIX.len() + digits).rev() {
            text[place] = b"0123456789"[(rest % 10) as usize];
            rest /= 10;
        }
        let len = u8::try_from(PREFIX.len() + digits).expect("the array is shorter than 256");
        Self { seconds, text, len }
    }

    /// The age in seconds.
    pub fn seconds(&self) -> u32 {
        self.seconds
    }

    /// The header value as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    /// The header value as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("written from ASCII only")
    }
}

const PREFIX: &[u8] = b"max-age=";
/// The prefix and the ten digits of the largest age.
const CACHE_AGE_BYTES_MAX: usize = PREFIX.len() + 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn age_of(body: &str) -> u32 {
        cache_control(Class::Manifest, Some(body.as_bytes())).seconds()
    }

    #[test]
    fn ages_are_rendered() {
        for (seconds, text) in [
            (0, "max-age=0"),
            (1, "max-age=1"),
            (10, "max-age=10"),
            (1_209_600, "max-age=1209600"),
            (u32::MAX, "max-age=4294967295"),
        ] {
            assert_eq!(CacheAge::of_seconds(seconds).as_str(), text);
            assert_eq!(CacheAge::of_seconds(seconds).seconds(), seconds);
        }
    }

    #[test]
    fn classes_have_ages() {
        assert_eq!(cache_control(Class::Segment, None).as_str(), "max-age=1209600");
        assert_eq!(cache_control(Class::Init, None).as_str(), "max-age=1209600");
        assert_eq!(cache_control(Class::Other, None).as_str(), "max-age=60");
        assert_eq!(cache_control(Class::Manifest, None).as_str(), "max-age=1");
        assert_eq!(cache_control_of_errors().as_str(), "max-age=1");
    }

    #[test]
    fn a_live_playlist_lives_half_a_target_duration_but_at_least_a_second() {
        assert_eq!(age_of("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\na.ts\n"), 3);
        assert_eq!(age_of("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\na.ts\n"), 2);
        assert_eq!(age_of("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n"), 1);
        assert_eq!(age_of("#EXTM3U\n#EXT-X-TARGETDURATION:99999999999999999999999\n"), 30);
        assert_eq!(age_of("#EXTM3U\n"), 1);
    }

    #[test]
    fn what_no_longer_changes_lives_longer() {
        let ended = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\na.ts\n#EXT-X-ENDLIST\n";
        assert_eq!(age_of(ended), 60);
        let vod = "#EXTM3U\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:6\n#EXT-X-ENDLIST\n";
        assert_eq!(age_of(vod), 3600);
        assert_eq!(age_of("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n"), 4);
        assert_eq!(age_of("<MPD type=\"static\"></MPD>"), 3600);
    }

    #[test]
    fn an_mpd_lives_half_its_update_period_but_never_half_a_segment_longer() {
        assert_eq!(age_of("<MPD type=\"dynamic\" minimumUpdatePeriod=\"PT8S\">"), 4);
        assert_eq!(age_of("<MPD type=\"dynamic\" minimumUpdatePeriod=\"PT0.5S\">"), 1);
        let far = "<MPD type='dynamic' minimumUpdatePeriod='PT500S' maxSegmentDuration='PT4.0S'>";
        assert_eq!(age_of(far), 2);
        assert_eq!(age_of("no manifest at all"), 1);
        assert_eq!(age_of(""), 1);
    }
}
