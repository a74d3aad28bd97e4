//! What is known of live folders without asking anybody: how long a segment takes, and how far the
//! segments have come.
//!
//! Target durations come from playlists that are uploaded and decide how long caches keep the news
//! that something is missing. The newest number of a series of segments, with a constant duration,
//! tells when a later number can be there at the earliest.
//!
//! **Invariants**: no clock and no I/O; both tables are bounded, and what nobody renews leaves them
//! first; what is not known delays and refuses nothing.

use std::collections::HashMap;

use crate::limits;
use crate::media::hls::blocking::{Answer, cache_age};
use crate::media::lowlatency::series;
use crate::media::types::Class;
use crate::media::{self, CacheAge};

/// See the module. Times are milliseconds on the process's monotonic clock.
#[derive(Debug, Default)]
pub struct Horizon {
    targets: HashMap<Box<[u8]>, Target>,
    edges: HashMap<Box<[u8]>, Edge>,
}

/// The target duration of a folder's playlists.
#[derive(Clone, Copy, Debug)]
struct Target {
    ms: u64,
    at_ms: u64,
}

/// The newest segment of a series.
#[derive(Clone, Copy, Debug)]
struct Edge {
    number: u64,
    at_ms: u64,
}

/// How a read of something that is missing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// What is missing.
    pub class: Class,
    /// The request named a segment of the playlist.
    pub is_blocking: bool,
    /// It waited for the object.
    pub has_waited: bool,
}

impl Horizon {
    /// Whether other shards do not know of this target duration, or not lately.
    pub fn is_news(&self, folder: &[u8], target_ms: u64, now_ms: u64) -> bool {
        self.targets.get(folder).is_none_or(|target| {
            target.ms != target_ms || target.at_ms + limits::HORIZON_RENEW_MS <= now_ms
        })
    }

    /// Playlists of this folder have this target duration.
    pub fn note_target(&mut self, folder: Box<[u8]>, target_ms: u64, now_ms: u64) {
        let target = Target { ms: target_ms, at_ms: now_ms };
        put(&mut self.targets, folder, target, |target| target.at_ms, now_ms);
    }

    /// How long caches may keep the news that `key` is missing. Where a playlist of its folder, or
    /// of the one above, is known, the draft's ages hold (appendix B.1), else that of errors.
    pub fn missing_age(&self, key: &[u8], miss: Miss) -> CacheAge {
        let answer = match miss.class {
            Class::Manifest if miss.is_blocking => Answer::BlockingMissing,
            Class::Manifest => Answer::PlainMissing,
            // Who did not wait may have come a moment too early.
            Class::Segment | Class::Init if miss.has_waited => Answer::SegmentMissing,
            _ => return media::cache_control_of_errors(),
        };
        let folder = folder_of(key);
        let target = self.targets.get(folder).or_else(|| self.targets.get(folder_of(folder)));
        match target {
            Some(target) => cache_age(answer, target.ms.saturating_mul(1000)),
            None => media::cache_control_of_errors(),
        }
    }

    /// A segment begins to arrive, or is there.
    pub fn note_segment(&mut self, key: &[u8], segment_ms: u64, now_ms: u64) {
        let Some((front, number, back)) = series::split(key) else { return };
        let name = [front, b"\0", back].concat();
        if let Some(edge) = self.edges.get(name.as_slice())
            && number <= edge.number
            // Lower numbers fill gaps, unless the encoder began again.
            && now_ms < edge.at_ms.saturating_add(segment_ms.saturating_mul(RESTART_SEGMENTS))
        {
            return;
        }
        let edge = Edge { number, at_ms: now_ms };
        put(&mut self.edges, name.into(), edge, |edge| edge.at_ms, now_ms);
    }

    /// Whether a segment cannot even begin to be there within `wait_ms`, by the newest of its
    /// series. One segment's time is granted to encoders that are early.
    pub fn is_beyond(&self, key: &[u8], segment_ms: u64, wait_ms: u64, now_ms: u64) -> bool {
        let mut room = [0; limits::KEY_BYTES_MAX + 1];
        let Some((front, number, back)) = series::split(key) else { return false };
        let len = front.len() + 1 + back.len();
        let Some(name) = room.get_mut(..len) else { return false };
        name[..front.len()].copy_from_slice(front);
        name[front.len() + 1..].copy_from_slice(back);
        let Some(edge) = self.edges.get(&*name) else { return false };
        let ahead = number.saturating_sub(edge.number);
        let begins_ms = edge.at_ms.saturating_add(ahead.saturating_mul(segment_ms));
        begins_ms > now_ms.saturating_add(wait_ms).saturating_add(segment_ms)
    }
}

/// Puts an entry in; when there are too many, those that nobody renewed go, or else it stays out.
fn put<T>(
    table: &mut HashMap<Box<[u8]>, T>,
    name: Box<[u8]>,
    entry: T,
    at_ms: impl Fn(&T) -> u64,
    now_ms: u64,
) {
    if table.len() >= limits::HORIZON_ENTRIES_MAX && !table.contains_key(&name) {
        table.retain(|_, entry| at_ms(entry) + 2 * limits::HORIZON_RENEW_MS > now_ms);
        if table.len() >= limits::HORIZON_ENTRIES_MAX {
            return;
        }
    }
    table.insert(name, entry);
}

/// The folder of a key, without a slash at its end.
pub fn folder_of(key: &[u8]) -> &[u8] {
    let slash = key.iter().rposition(|&byte| byte == b'/');
    &key[..slash.unwrap_or(0)]
}

/// An encoder that has sent no newer segment for so many durations has begun again.
const RESTART_SEGMENTS: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const MISS: Miss = Miss { class: Class::Segment, is_blocking: false, has_waited: false };

    #[test]
    fn missing_things_are_remembered_by_the_target_duration() {
        let mut horizon = Horizon::default();
        let age = |horizon: &Horizon, key: &str, miss| horizon.missing_age(key.as_bytes(), miss);
        let playlist = Miss { class: Class::Manifest, ..MISS };
        assert_eq!(age(&horizon, "live/a/v.m3u8", playlist).seconds(), limits::CACHE_ERROR_S);
        assert!(horizon.is_news(b"live/a", 4000, 0));
        horizon.note_target((*b"live/a").into(), 4000, 0);
        assert!(!horizon.is_news(b"live/a", 4000, 1) && horizon.is_news(b"live/a", 2000, 1));
        assert!(horizon.is_news(b"live/a", 4000, limits::HORIZON_RENEW_MS));
        assert_eq!(age(&horizon, "live/a/v.m3u8", playlist).seconds(), 4);
        let blocking = Miss { is_blocking: true, ..playlist };
        assert_eq!(age(&horizon, "live/a/v.m3u8", blocking).seconds(), 16);
        let waited = Miss { has_waited: true, ..MISS };
        for (key, seconds) in
            [("live/a/1.m4s", 4), ("live/a/720p/1.m4s", 4), ("live/a/b/c/1.m4s", 1), ("1.m4s", 1)]
        {
            assert_eq!(age(&horizon, key, waited).seconds(), seconds, "{key}");
            assert_eq!(age(&horizon, key, MISS).seconds(), 1, "{key}");
        }
        let other = Miss { class: Class::Other, ..waited };
        assert_eq!(age(&horizon, "live/a/x.txt", other).seconds(), 1);
    }

    #[test]
    fn what_cannot_begin_in_time_is_beyond() {
        let mut horizon = Horizon::default();
        let beyond = |horizon: &Horizon, number: u64, now_ms| {
            let key = format!("live/seg-{number:05}.m4s");
            horizon.is_beyond(key.as_bytes(), 2000, 5000, now_ms)
        };
        assert!(!beyond(&horizon, 99_999, 0), "nothing is known");
        horizon.note_segment(b"live/seg-00010.m4s", 2000, 1000);
        // Number 13 begins after six seconds; five are waited, and two are granted.
        assert!(!beyond(&horizon, 13, 1000));
        assert!(beyond(&horizon, 14, 1000));
        assert!(!beyond(&horizon, 14, 2000));
        assert!(!beyond(&horizon, 3, 1000) && beyond(&horizon, u64::MAX, 1000));
        assert!(!horizon.is_beyond(b"live/other-99999.m4s", 2000, 5000, 1000));
        // Numbers of folders do not count.
        horizon.note_segment(b"live/360p/v.m4s", 2000, 1000);
        assert!(!horizon.is_beyond(b"live/720p/v.m4s", 2000, 5000, 1000));
        // Gaps are filled from behind; a restart begins at a lower number.
        horizon.note_segment(b"live/seg-00009.m4s", 2000, 2000);
        assert!(!beyond(&horizon, 14, 2000));
        horizon.note_segment(b"live/seg-00001.m4s", 2000, 7000);
        assert!(beyond(&horizon, 10, 7000));
    }

    #[test]
    fn both_tables_are_bounded_and_what_is_not_renewed_leaves_first() {
        let mut horizon = Horizon::default();
        for number in 0..limits::HORIZON_ENTRIES_MAX + 10 {
            horizon.note_target(number.to_string().into_bytes().into(), 1000, 0);
            horizon.note_segment(format!("{number}x/1.ts").as_bytes(), 1000, 0);
        }
        assert_eq!(horizon.targets.len(), limits::HORIZON_ENTRIES_MAX);
        assert_eq!(horizon.edges.len(), limits::HORIZON_ENTRIES_MAX);
        let later_ms = 2 * limits::HORIZON_RENEW_MS;
        horizon.note_target((*b"new").into(), 1000, later_ms);
        assert_eq!(horizon.targets.len(), 1);
    }

    #[test]
    fn folders_have_no_slash_at_their_end() {
        assert_eq!(folder_of(b"a/b/c"), b"a/b");
        assert_eq!(folder_of(b"a"), b"");
        assert_eq!(folder_of(b""), b"");
    }
}
