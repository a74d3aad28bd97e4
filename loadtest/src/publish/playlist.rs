//! The texts around segments: HLS playlists (RFC 8216 and its successor's EXT-X-GAP) and a DASH
//! manifest with number templates (ISO/IEC 23009-1). Pure. Never does: ask the clock.

use std::fmt::Write;

use super::boxes::{Kind, TIMESCALE};
use super::ladder::Track;

/// The multivariant playlist of a channel.
pub fn master(tracks: &[Track]) -> String {
    let mut text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n".to_owned();
    let of = |kind| tracks.iter().filter(move |track| track.kind == kind);
    let has_video = of(Kind::Video).next().is_some();
    let mut audio = 0.0f64;
    if has_video {
        for (index, track) in of(Kind::Audio).enumerate() {
            let default = if index == 0 { "YES" } else { "NO" };
            let _ = writeln!(
                text,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"{0}\",DEFAULT={default},\
                 AUTOSELECT=YES,CHANNELS=\"2\",URI=\"{0}/index.m3u8\"",
                track.name
            );
            audio = audio.max(track.bitrate);
        }
    }
    for track in of(if has_video { Kind::Video } else { Kind::Audio }) {
        let bandwidth = track.bitrate + audio;
        // The peak that `--vary` allows by default.
        let peak = bandwidth * 1.1;
        let (codecs, group) = match (has_video, audio > 0.0) {
            (true, true) => ("avc1.42c01e,mp4a.40.2", ",AUDIO=\"audio\""),
            (true, false) => ("avc1.42c01e", ""),
            (false, _) => ("mp4a.40.2", ""),
        };
        let _ = writeln!(
            text,
            "#EXT-X-STREAM-INF:BANDWIDTH={peak:.0},AVERAGE-BANDWIDTH={bandwidth:.0},\
             CODECS=\"{codecs}\"{group}\n{}/index.m3u8",
            track.name
        );
    }
    text
}

/// One segment as a media playlist lists it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Listed {
    /// Its number.
    pub sequence: u64,
    /// False when it could not be published: a gap.
    pub there: bool,
}

/// What a media playlist says besides its segments.
#[derive(Clone, Copy, Debug)]
pub struct Media {
    /// Seconds of a segment.
    pub segment_s: f64,
    /// Wall clock at the start of segment 0, milliseconds since 1970.
    pub epoch_ms: u64,
    /// Nothing more will come.
    pub ended: bool,
    /// All of it was there from the start.
    pub vod: bool,
}

/// The media playlist of a track with the segments given.
pub fn media(media: Media, segments: impl IntoIterator<Item = Listed>) -> String {
    let mut segments = segments.into_iter().peekable();
    let first = segments.peek().map_or(0, |listed| listed.sequence);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{:.0}\n#EXT-X-MEDIA-SEQUENCE:{first}\n",
        media.segment_s.ceil()
    );
    if media.vod {
        text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    }
    text.push_str("#EXT-X-MAP:URI=\"init.mp4\"\n");
    let at = media.epoch_ms as f64 + first as f64 * media.segment_s * 1e3;
    let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", date(at));
    for listed in segments {
        if !listed.there {
            text.push_str("#EXT-X-GAP\n");
        }
        let _ = writeln!(text, "#EXTINF:{:.3},\n{}", media.segment_s, segment(listed.sequence));
    }
    if media.ended {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

/// Name of a segment within its track's folder.
pub fn segment(sequence: u64) -> String {
    format!("seg-{sequence}.m4s")
}

/// The DASH manifest of a channel: number templates, so it never changes while live. `ended_s` is
/// the length of what is there when all is there; `chunk_s` makes segments available early.
pub fn dash(
    tracks: &[Track],
    media: Media,
    window_s: f64,
    chunk_s: Option<f64>,
    ended_s: Option<f64>,
) -> String {
    let start = date(media.epoch_ms as f64);
    let kind = match ended_s {
        Some(seconds) => format!("type=\"static\" mediaPresentationDuration=\"PT{seconds:.3}S\""),
        None => format!(
            "type=\"dynamic\" availabilityStartTime=\"{start}\" publishTime=\"{start}\" \
             timeShiftBufferDepth=\"PT{window_s:.3}S\" minimumUpdatePeriod=\"PT3600S\""
        ),
    };
    let early = chunk_s.filter(|_| ended_s.is_none()).map_or(String::new(), |chunk| {
        format!(
            " availabilityTimeOffset=\"{:.3}\" availabilityTimeComplete=\"false\"",
            media.segment_s - chunk
        )
    });
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" minBufferTime=\"PT{:.3}S\" {kind}>\n\
         <Period id=\"0\" start=\"PT0S\">\n",
        media.segment_s
    );
    let sets = [
        (Kind::Video, "video", "avc1.42c01e", "width=\"320\" height=\"180\""),
        (Kind::Audio, "audio", "mp4a.40.2", "audioSamplingRate=\"48000\""),
    ];
    for (kind, name, codecs, more) in sets {
        if !tracks.iter().any(|track| track.kind == kind) {
            continue;
        }
        let _ = writeln!(
            text,
            "<AdaptationSet contentType=\"{name}\" mimeType=\"{name}/mp4\" \
             segmentAlignment=\"true\" startWithSAP=\"1\">\n<SegmentTemplate \
             timescale=\"{TIMESCALE}\" duration=\"{:.0}\" startNumber=\"0\"{early} \
             initialization=\"$RepresentationID$/init.mp4\" \
             media=\"$RepresentationID$/seg-$Number$.m4s\"/>",
            media.segment_s * f64::from(TIMESCALE)
        );
        for track in tracks.iter().filter(|track| track.kind == kind) {
            let _ = writeln!(
                text,
                "<Representation id=\"{}\" codecs=\"{codecs}\" bandwidth=\"{:.0}\" {more}/>",
                track.name, track.bitrate
            );
        }
        text.push_str("</AdaptationSet>\n");
    }
    text.push_str("</Period>\n</MPD>\n");
    text
}

/// Milliseconds since 1970 as ISO 8601 in UTC (civil date by Howard Hinnant's algorithm).
#[expect(clippy::cast_possible_truncation, reason = "times of day and years are small")]
fn date(ms: f64) -> String {
    let ms = ms.round() as i64;
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let z = days + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::super::ladder;
    use super::*;

    const MEDIA: Media =
        Media { segment_s: 2.0, epoch_ms: 1_700_000_000_000, ended: false, vod: false };

    #[test]
    fn a_window_is_listed_with_its_gap() {
        let listed = (5..8).map(|sequence| Listed { sequence, there: sequence != 6 });
        let text = media(MEDIA, listed);
        assert_eq!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:5\n\
             #EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:30.000Z\n\
             #EXTINF:2.000,\nseg-5.m4s\n#EXT-X-GAP\n#EXTINF:2.000,\nseg-6.m4s\n#EXTINF:2.000,\n\
             seg-7.m4s\n"
        );
        let vod = media(Media { ended: true, vod: true, ..MEDIA }, []);
        assert!(vod.contains("TYPE:VOD") && vod.ends_with("#EXT-X-ENDLIST\n"), "{vod}");
    }

    #[test]
    fn the_master_lists_every_rendition_once() {
        let tracks = ladder::parse("v:1M,v:2M,a:100k", 1.0).unwrap();
        let text = master(&tracks);
        assert_eq!(text.matches("#EXT-X-STREAM-INF").count(), 2);
        assert!(text.contains("AVERAGE-BANDWIDTH=1100000"), "{text}");
        assert!(text.contains("URI=\"a0/index.m3u8\"") && text.contains("\nv1/index.m3u8\n"));
        let radio = master(&ladder::parse("a:100k", 1.0).unwrap());
        assert!(radio.contains("\na0/index.m3u8\n") && !radio.contains("AUDIO="), "{radio}");
        let muxed = master(&ladder::parse("v:100k", 1.0).unwrap());
        assert!(!muxed.contains("AUDIO=") && !muxed.contains("mp4a"), "{muxed}");
    }

    #[test]
    fn dash_has_templates() {
        let tracks = ladder::parse("v:1M,a:100k", 1.0).unwrap();
        let live = dash(&tracks, MEDIA, 12.0, Some(0.5), None);
        for part in [
            "type=\"dynamic\" availabilityStartTime=\"2023-11-14T22:13:20.000Z\"",
            "availabilityTimeOffset=\"1.500\"",
            "duration=\"180000\" startNumber=\"0\"",
            "media=\"$RepresentationID$/seg-$Number$.m4s\"",
            "id=\"a0\" codecs=\"mp4a.40.2\" bandwidth=\"100000\"",
        ] {
            assert!(live.contains(part), "{part} in {live}");
        }
        let vod = dash(&tracks, MEDIA, 12.0, Some(0.5), Some(60.0));
        assert!(vod.contains("type=\"static\" mediaPresentationDuration=\"PT60.000S\""));
        assert!(!vod.contains("availabilityTimeOffset"));
    }

    #[test]
    fn dates_are_right() {
        for (ms, text) in [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789.0, "2000-02-29T12:34:56.789Z"),
            (4_102_444_799_999.0, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(date(ms), text);
        }
    }
}
