//! A recorded session of the real hls.js (`scripts/player-agreement` records it), and the virtual
//! viewer in simulated time against the same script: a ladder of three, a link that narrows and
//! widens again, one segment that comes late.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]

use std::collections::HashMap;

use serde::Deserialize;

use super::sim::{Origin, Reply, Sim};
use super::viewer::{Fetch, Kind, Settings};

/// What hls.js asked for, and what the scripted origin was.
#[derive(Deserialize)]
struct Trace {
    segment_s: f64,
    window: u64,
    seconds: f64,
    /// Bits per second until an instant.
    link: Vec<(f64, f64)>,
    late_from_s: f64,
    late_s: f64,
    ladder: Vec<f64>,
    stalls: u32,
    stalled_s: f64,
    requests: Vec<Request>,
}

/// Instant, level, file, bytes, and the instant of the last byte.
type Request = (f64, Option<u16>, String, Option<u64>, Option<f64>);

/// One request: instant, level, segment.
type Asked = (f64, u16, u64);

/// From a request to the first byte of its answer where the script does not delay it, in seconds.
const LATENCY_S: f64 = 0.01;

/// The scripted origin, as `tests/players/agree.mjs` has it.
struct Script {
    trace: Trace,
    sizes: HashMap<(u16, String), u64>,
    late: bool,
}

impl Script {
    fn new() -> Self {
        let trace: Trace = serde_json::from_str(include_str!("agreement_trace.json")).unwrap();
        let sized = trace.requests.iter().filter_map(|(_, level, file, bytes, _)| {
            Some(((level.as_ref().copied()?, file.clone()), (*bytes)?))
        });
        let sizes = sized.collect();
        Self { trace, sizes, late: false }
    }

    fn master(&self) -> String {
        let variants = self.trace.ladder.iter().enumerate();
        let lines = variants.map(|(level, bandwidth)| {
            format!("#EXT-X-STREAM-INF:BANDWIDTH={bandwidth}\n{level}/index.m3u8\n")
        });
        format!("#EXTM3U\n{}", lines.collect::<String>())
    }

    fn list(&self, now: f64) -> String {
        let Trace { segment_s, window, .. } = self.trace;
        let first = (now / segment_s) as u64;
        let entries =
            (first..first + window).map(|n| format!("#EXTINF:{segment_s}.000,\n{n}.m4s\n"));
        format!(
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{segment_s}\n\
             #EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n{}",
            entries.collect::<String>()
        )
    }

    /// Bytes of a file; what hls.js never asked for is as long as its level's others.
    fn bytes(&self, level: u16, file: &str) -> u64 {
        let known = self.sizes.get(&(level, file.to_owned())).copied();
        known.unwrap_or_else(|| {
            let of_level = |one: &&(u16, String)| one.0 == level && one.1 != "init.mp4";
            let others: Vec<u64> =
                self.sizes.keys().filter(of_level).map(|one| self.sizes[one]).collect();
            match others.len() as u64 {
                0 => (self.trace.ladder[usize::from(level)] * self.trace.segment_s / 8.0) as u64,
                count => others.iter().sum::<u64>() / count,
            }
        })
    }

    /// When the last of `bytes` bytes is through the link. Media come one after the other, and what
    /// is given up leaves the link at once.
    fn through(&self, from: f64, bytes: u64) -> f64 {
        let mut at = from;
        for start in (0..bytes).step_by(4096) {
            let piece = (bytes - start).min(4096) as f64;
            let link = self.trace.link.iter().find(|(until, _)| at < *until);
            let rate = link.or(self.trace.link.last()).unwrap().1;
            at += piece * 8.0 / rate;
        }
        at
    }
}

impl Origin for Script {
    fn answer(&mut self, now: f64, fetch: &Fetch) -> (f64, f64, Reply) {
        let soon = now + LATENCY_S;
        match fetch.kind {
            Kind::Master => return (soon, soon, Reply::Text(self.master())),
            _ if fetch.slot.playlist => return (soon, soon, Reply::Text(self.list(now))),
            _ => {}
        }
        let file = fetch.uri.rsplit('/').next().unwrap();
        let bytes = self.bytes(fetch.level, file);
        let mut first = soon;
        if file != "init.mp4" && !self.late && now > self.trace.late_from_s {
            self.late = true;
            first += self.trace.late_s;
        }
        (first, self.through(first, bytes), Reply::Bytes(bytes))
    }
}

/// What requests say of their player.
#[derive(Debug)]
struct Facts {
    behind: i64,
    reload_s: f64,
    /// When it goes down after the link has narrowed, and is up again after it has widened.
    lowered: f64,
    raised: f64,
    segments: Vec<Asked>,
}

impl Facts {
    fn of(trace: &Trace, lists: &[f64], segments: Vec<Asked>) -> Self {
        let begun = segments[0].0;
        let seen = lists.iter().copied().rfind(|at| *at <= begun).unwrap();
        let newest = (seen / trace.segment_s) as i64 + trace.window as i64 - 1;
        let mut gaps: Vec<f64> = lists.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.retain(|gap| *gap > 0.2);
        gaps.sort_by(f64::total_cmp);
        let after = |instant: f64, is_up: bool| {
            let at = segments.iter().find(|one| one.0 > instant && (one.1 == 2) == is_up);
            at.expect("it goes down and up again").0
        };
        Self {
            behind: newest - segments[0].2 as i64,
            reload_s: gaps[gaps.len() / 2],
            lowered: after(trace.link[0].0, false),
            raised: after(trace.link[1].0, true),
            segments,
        }
    }
}

fn recorded(trace: &Trace) -> Facts {
    let lists = trace.requests.iter().filter(|one| one.2 == "index.m3u8").map(|one| one.0);
    let lists: Vec<f64> = lists.collect();
    let segments = trace.requests.iter().filter_map(|(at, level, file, ..)| {
        Some((*at, (*level)?, file.strip_suffix(".m4s")?.parse().ok()?))
    });
    Facts::of(trace, &lists, segments.collect())
}

fn played(sim: &Sim<Script>) -> Facts {
    let is_list = |kind| matches!(kind, Kind::Playlist | Kind::Blocking);
    let lists = sim.made.iter().filter(|made| is_list(made.fetch.kind)).map(|made| made.at);
    let lists: Vec<f64> = lists.collect();
    let segments = sim.of(Kind::Segment).into_iter().map(|made| {
        let file = made.fetch.uri.rsplit('/').next().unwrap();
        (made.at, made.fetch.level, file.trim_end_matches(".m4s").parse().unwrap())
    });
    Facts::of(&sim.origin.trace, &lists, segments.collect())
}

/// Level, reload time, start position and stalls agree with what the real player did.
#[test]
fn the_viewer_decides_as_the_recorded_player_did() {
    let script = Script::new();
    let seconds = script.trace.seconds;
    let settings = Settings { patience: 60.0, ..Settings::default() };
    let mut sim = Sim::new(settings, script, 0.0, seconds);
    sim.run_until(f64::INFINITY);
    let trace = &sim.origin.trace;
    let (real, ours) = (recorded(trace), played(&sim));
    println!("hls.js {real:?}\nviewer {ours:?}");
    assert_eq!(ours.behind, real.behind, "the start, in segments behind the newest");
    assert_eq!(ours.segments[0].1, real.segments[0].1, "the first level");
    assert!((ours.reload_s - real.reload_s).abs() < 0.2, "reloads");
    assert!((ours.lowered - real.lowered).abs() <= 2.0 * trace.segment_s, "the way down");
    assert!((ours.raised - real.raised).abs() <= 5.0 * trace.segment_s, "the way up");
    assert!(ours.segments.len().abs_diff(real.segments.len()) <= 3, "segments");
    let theirs: HashMap<u64, u16> = real.segments.iter().map(|one| (one.2, one.1)).collect();
    let mine: HashMap<u64, u16> = ours.segments.iter().map(|one| (one.2, one.1)).collect();
    let both: Vec<bool> =
        mine.iter().filter_map(|(msn, level)| Some(theirs.get(msn)? == level)).collect();
    let same = both.iter().filter(|same| **same).count();
    assert!(same * 10 >= both.len() * 8, "{same} of {} segments of the same level", both.len());
    let buffer = sim.viewer.buffer_at(sim.now).unwrap();
    assert!(buffer.stalls().abs_diff(trace.stalls) <= 1, "{} stalls", buffer.stalls());
    let stalled = (buffer.stalled() - trace.stalled_s).abs();
    assert!(stalled <= 2.0, "stalled for {} s, hls.js for {}", buffer.stalled(), trace.stalled_s);
}
