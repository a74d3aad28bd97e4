//! A synthetic HLS presentation whose segments come late, with the rebuffer ratio that follows.
//!
//! One level, `segments` segments of `segment` media each, every one answered `delay` after it was
//! asked for; with `delay` above `segment`, a player that loads one at a time and starts after the
//! first stalls for `delay - segment` before every segment but the first.

#![allow(dead_code)]

use std::time::Duration;

/// The presentation.
#[derive(Clone, Debug)]
pub struct Hls {
    /// Media in a segment.
    pub segment: Duration,
    /// From request to answer of each segment.
    pub delay: Duration,
    /// Segments in all; the playlist ends.
    pub segments: u32,
    /// Bytes of a segment.
    pub bytes: usize,
}

impl Hls {
    /// Stalled / (stalled + played) of a player that sees it all, by arithmetic.
    pub fn rebuffer_ratio(&self) -> f64 {
        let played = self.segment.as_secs_f64() * f64::from(self.segments);
        let late = self.delay.saturating_sub(self.segment).as_secs_f64();
        let stalled = late * f64::from(self.segments - 1);
        stalled / (stalled + played)
    }

    /// Delay, status and body for a path: `/master.m3u8`, `/v0/index.m3u8`, `/v0/seg-N.m4s`.
    pub fn answer(&self, path: &str) -> (Duration, u16, Vec<u8>) {
        let path = path.split('?').next().unwrap_or(path);
        let seconds = self.segment.as_secs_f64();
        let now = Duration::ZERO;
        match path {
            "/master.m3u8" => {
                let bits = self.bytes as f64 * 8.0 / seconds;
                let text = format!(
                    "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH={bits:.0},CODECS=\"avc1.42c01e\"\n\
                     v0/index.m3u8\n"
                );
                (now, 200, text.into_bytes())
            }
            "/v0/index.m3u8" => {
                let mut text = format!(
                    "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{:.0}\n\
                     #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI=\"init.mp4\"\n",
                    seconds.ceil()
                );
                for number in 0..self.segments {
                    text.push_str(&format!("#EXTINF:{seconds:.3},\nseg-{number}.m4s\n"));
                }
                text.push_str("#EXT-X-ENDLIST\n");
                (now, 200, text.into_bytes())
            }
            "/v0/init.mp4" => {
                let kind = loadtest::publish::boxes::Kind::Video;
                (now, 200, loadtest::publish::boxes::init(kind))
            }
            _ => match path.strip_prefix("/v0/seg-").and_then(|rest| rest.strip_suffix(".m4s")) {
                Some(number) if number.parse().is_ok_and(|n: u32| n < self.segments) => {
                    (self.delay, 200, vec![0; self.bytes])
                }
                _ => (now, 404, Vec::new()),
            },
        }
    }
}
