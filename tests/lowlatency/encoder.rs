//! An encoder in the manner of ffmpeg's DASH muxer with `-streaming 1 -hls_playlist 1`: fragments
//! of the segment that is arriving, and a plain playlist behind each segment.

use headwater::media::boxes::{Fragment, to_us};

pub struct Encoder {
    pub stream: usize,
    pub timescale: u32,
    /// Durations of the fragments of a segment, in units of the timescale; repeated.
    pub pattern: Vec<u64>,
    pub window: usize,
    pub dates: bool,
    /// What the playlist leaves out of the first segment, in units of the timescale.
    pub priming: u64,
    number: u64,
    decode_time: u64,
    /// Wall clock of the start, in milliseconds of the day.
    start_ms: u64,
    listed: Vec<(u64, u64)>,
}

impl Encoder {
    pub fn new(stream: usize, timescale: u32, pattern: &[u64]) -> Self {
        Self {
            stream,
            timescale,
            pattern: pattern.to_vec(),
            window: 6,
            dates: true,
            priming: 0,
            number: 1,
            decode_time: 0,
            start_ms: 3_600_000,
            listed: Vec::new(),
        }
    }

    /// Killed and started again so many milliseconds later: it counts from one again.
    pub fn restart(&mut self, later_ms: u64) {
        let run_ms = to_us(self.decode_time, self.timescale).unwrap() / 1000;
        self.start_ms += run_ms + later_ms;
        self.number = 1;
        self.decode_time = 0;
        self.listed.clear();
    }

    pub fn name(&self) -> String {
        format!("chunk-stream{}-{:05}.m4s", self.stream, self.number)
    }

    /// The fragments of the segment that is next.
    pub fn fragments(&mut self) -> Vec<Fragment> {
        let from = self.decode_time;
        let mut fragments = Vec::new();
        let mut start = 0;
        for (at, duration) in self.pattern.iter().enumerate() {
            let end = start + 1000 + at as u64;
            fragments.push(Fragment {
                start,
                end,
                moof: start + 24,
                decode_time: Some(self.decode_time),
                duration: *duration,
                timescale: self.timescale,
                samples: 5,
                independent: at == 0 || self.stream > 0,
            });
            start = end;
            self.decode_time += duration;
        }
        self.listed.push((self.number, self.decode_time - from));
        self.number += 1;
        fragments
    }

    /// The playlist behind the last segment.
    pub fn playlist(&self) -> String {
        let skipped = self.listed.len().saturating_sub(self.window);
        let seconds = |units| to_us(units, self.timescale).unwrap() as f64 / 1e6;
        let longest = self.listed.iter().map(|(_, units)| seconds(*units)).fold(0.0, f64::max);
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n\
             #EXT-X-MAP:URI=\"init-stream{}.m4s\"\n",
            longest.round(),
            skipped + 1,
            self.stream
        );
        let mut at = 0;
        for (place, (number, units)) in self.listed.iter().enumerate() {
            let units = units - if *number == 1 { self.priming } else { 0 };
            let ms = self.start_ms + to_us(at, self.timescale).unwrap() / 1000;
            at += units;
            if place < skipped {
                continue;
            }
            text += &format!("#EXTINF:{:.6},\n", seconds(units));
            if self.dates {
                let (s, ms) = (ms / 1000, ms % 1000);
                let clock = format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60);
                text += &format!("#EXT-X-PROGRAM-DATE-TIME:2026-11-24T{clock}+0000\n");
            }
            text += &format!("chunk-stream{}-{number:05}.m4s\n", self.stream);
        }
        text
    }
}
