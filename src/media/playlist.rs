//! HLS playlists (RFC 8216): the few tags that decide how long a playlist stays true.
//!
//! A scan over lines that start with `#EXT`; everything else is skipped unread.
//!
//! **Invariants**: bytes that do not begin with `#EXTM3U` are no playlist; a tag counts only at the
//! start of a line.

/// What a playlist is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playlist {
    /// A media playlist that will change.
    Live {
        /// EXT-X-TARGETDURATION in milliseconds; zero when the tag is missing or unreadable.
        target_duration_ms: u64,
    },
    /// A media playlist that ended, under a name at which a restarted encoder may write again.
    Ended,
    /// A media playlist that says that it never changes (RFC 8216 section 4.3.3.5).
    Vod,
    /// A list of renditions (RFC 8216 section 4.3.4).
    Multivariant,
}

/// Reads a playlist, or `None` when the bytes are none.
pub fn read(bytes: &[u8]) -> Option<Playlist> {
    //= RFC 8216 section 4.3.1.1: it MUST be the first line
    let body = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if !body.starts_with(b"#EXTM3U") {
        return None;
    }
    let mut target_duration_ms = 0;
    let mut ended = false;
    for line in body.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii_end();
        if let Some(value) = line.strip_prefix(b"#EXT-X-TARGETDURATION:") {
            target_duration_ms = decimal_ms(value).unwrap_or(0);
        } else if line.starts_with(b"#EXT-X-STREAM-INF:") || line.starts_with(b"#EXT-X-MEDIA:") {
            return Some(Playlist::Multivariant);
        } else if line == b"#EXT-X-PLAYLIST-TYPE:VOD" {
            return Some(Playlist::Vod);
        } else if line == b"#EXT-X-ENDLIST" {
            ended = true;
        }
    }
    Some(if ended { Playlist::Ended } else { Playlist::Live { target_duration_ms } })
}

/// The target duration of a media playlist in milliseconds, ended or not.
pub fn target_duration_ms(bytes: &[u8]) -> Option<u64> {
    read(bytes)?;
    let tag = b"#EXT-X-TARGETDURATION:";
    let value = bytes.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(tag))?;
    decimal_ms(value.trim_ascii_end())
}

/// Whether the bytes are a media playlist that will change.
pub fn is_live(bytes: &[u8]) -> bool {
    matches!(read(bytes), Some(Playlist::Live { .. }))
}

/// Seconds with an optional fraction, in milliseconds; more digits than fit saturate.
pub(super) fn decimal_ms(text: &[u8]) -> Option<u64> {
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next().unwrap_or_default();
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut ms = 0_u64;
    for &digit in whole {
        ms = ms.saturating_mul(10).saturating_add(value_of(digit)?);
    }
    ms = ms.saturating_mul(1000);
    let mut weight = 100;
    for &digit in fraction {
        ms = ms.saturating_add(value_of(digit)? * weight);
        weight /= 10;
    }
    Some(ms)
}

fn value_of(digit: u8) -> Option<u64> {
    digit.is_ascii_digit().then(|| u64::from(digit - b'0'))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    /// As ffmpeg's HLS muxer pushes it while the stream runs.
    const LIVE: &[u8] = b"#EXTM3U\n\
        #EXT-X-VERSION:6\n\
        #EXT-X-TARGETDURATION:2\n\
        #EXT-X-MEDIA-SEQUENCE:41\n\
        #EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXTINF:2.000000,\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:00.000+0000\n\
        seg00041.ts\n\
        #EXTINF:2.000000,\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:02.000+0000\n\
        seg00042.ts\n";

    /// As ffmpeg writes it with `-master_pl_name`.
    const MULTIVARIANT: &[u8] = b"#EXTM3U\n\
        #EXT-X-VERSION:7\n\
        #EXT-X-STREAM-INF:BANDWIDTH=140800,RESOLUTION=640x360,CODECS=\"avc1.f4001e,mp4a.40.2\"\n\
        index.m3u8\n\n";

    #[test]
    fn a_live_playlist_has_a_target_duration() {
        assert_eq!(read(LIVE), Some(Playlist::Live { target_duration_ms: 2000 }));
        assert_eq!(target_duration_ms(LIVE), Some(2000));
        assert!(is_live(LIVE));
    }

    #[test]
    fn endlist_ends_it() {
        let ended = [LIVE, b"#EXT-X-ENDLIST\n"].concat();
        assert_eq!(read(&ended), Some(Playlist::Ended));
        assert_eq!(target_duration_ms(&ended), Some(2000));
        assert!(!is_live(&ended));
    }

    #[test]
    fn a_vod_playlist_is_never_live() {
        let vod = b"#EXTM3U\r\n#EXT-X-TARGETDURATION:10\r\n#EXT-X-PLAYLIST-TYPE:VOD\r\n";
        assert_eq!(read(vod), Some(Playlist::Vod));
        assert_eq!(target_duration_ms(vod), Some(10_000));
        assert!(!is_live(vod));
        let event = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-PLAYLIST-TYPE:EVENT\n";
        assert!(is_live(event));
    }

    #[test]
    fn a_multivariant_playlist_has_no_target_duration() {
        assert_eq!(read(MULTIVARIANT), Some(Playlist::Multivariant));
        assert_eq!(target_duration_ms(MULTIVARIANT), None);
        assert!(!is_live(MULTIVARIANT));
        let audio = b"#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"a.m3u8\"\n";
        assert_eq!(read(audio), Some(Playlist::Multivariant));
    }

    #[test]
    fn what_is_no_playlist_is_not_read() {
        for bytes in [&b""[..], b"#EXT", b" #EXTM3U\n", b"<MPD/>", b"\x00\xff"] {
            assert_eq!(read(bytes), None);
            assert_eq!(target_duration_ms(bytes), None);
            assert!(!is_live(bytes));
        }
        assert!(read(b"\xef\xbb\xbf#EXTM3U\n").is_some());
    }

    #[test]
    fn unreadable_durations_are_no_durations() {
        for value in ["", "x", "-1", "1e3", "1.2.3", "."] {
            let bytes = format!("#EXTM3U\n#EXT-X-TARGETDURATION:{value}\n");
            assert_eq!(target_duration_ms(bytes.as_bytes()), None, "{value}");
            assert!(is_live(bytes.as_bytes()), "{value}");
        }
        assert_eq!(decimal_ms(b"4.0049"), Some(4004));
        assert_eq!(decimal_ms(b".5"), Some(500));
    }
}
