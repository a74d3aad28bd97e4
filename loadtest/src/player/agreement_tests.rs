//! Recorded sessions of the real hls.js in Chromium (`scripts/player-agreement` records them), and
//! the virtual viewer in simulated time against the same scripts: a ladder of three, and a mishap
//! by scenario. Stalls of the real player begin and end with `waiting` and `playing` of its media
//! element.
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]

use std::collections::HashMap;

use serde::Deserialize;

use super::sim::{Origin, Reply, Sim};
use super::viewer::{Fetch, Kind, Settings};

/// How far the viewer may be from hls.js.
struct Bounds {
    /// Between the instants of a change of level, in segments.
    turn: f64,
    /// Segments of one level, in percent of those that both loaded.
    same: usize,
    /// Between the beginnings of a stall, and between its lengths, in seconds.
    stall_s: f64,
}

/// Where little is left to chance: one segment, nine of ten, and half a second.
const CLOSE: Bounds = Bounds { turn: 1.0, same: 90, stall_s: 0.5 };

/// The way up hangs on the milliseconds that small segments take: two segments.
const CLIMB: Bounds = Bounds { turn: 2.0, ..CLOSE };

/// One recorded session a row.
const SESSIONS: [(&str, &str, Bounds); 7] = [
    ("a plain start", include_str!("agreement/start.json"), CLOSE),
    ("the link widens: up", include_str!("agreement/up.json"), CLIMB),
    ("the link narrows: down", include_str!("agreement/down.json"), CLOSE),
    ("down, up, a late segment", include_str!("agreement/there_and_back.json"), CLIMB),
    ("no segment comes for 9 s: a stall", include_str!("agreement/silence.json"), CLOSE),
    ("a link below the lowest level", include_str!("agreement/starved.json"), CLOSE),
    ("old playlists for 10 s: a stall", include_str!("agreement/old_playlists.json"), CLOSE),
];

/// What hls.js asked for, when it stalled, and what the scripted origin was.
#[derive(Deserialize)]
struct Trace {
    segment_s: f64,
    window: u64,
    seconds: f64,
    /// Bits per second until an instant.
    link: Vec<(f64, f64)>,
    /// The first segment asked for after an instant waits so long.
    late: Option<(f64, f64)>,
    /// No segment's answer begins within.
    silent: Option<(f64, f64)>,
    /// Playlists list what they did at its begin.
    frozen: Option<(f64, f64)>,
    ladder: Vec<f64>,
    /// Begin and end of each stall.
    stalls: Vec<(f64, f64)>,
    requests: Vec<Request>,
}

/// Instant, level, file, bytes, and the instant of the last byte.
type Request = (f64, Option<u16>, String, Option<u64>, Option<f64>);

/// One request: instant, level, segment.
type Asked = (f64, u16, u64);

/// From a request to the first byte of its answer where the script does not delay it, in seconds.
const LATENCY_S: f64 = 0.01;

/// Shorter waits of the media element are hiccups of the browser: it had media to play.
const GLITCH_S: f64 = 0.1;

/// The script sends so many bytes at a time.
const PIECE: u64 = 4096;

/// The scripted origin, as `tests/players/agree.mjs` has it.
struct Script {
    trace: Trace,
    sizes: HashMap<(u16, String), u64>,
    late: bool,
}

impl Script {
    fn new(trace: &str) -> Self {
        let trace: Trace = serde_json::from_str(trace).unwrap();
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
        let first = self.trace.first_listed(now);
        let entries =
            (first..first + window).map(|n| format!("#EXTINF:{segment_s}.000,\n{n}.m4s\n"));
        format!(
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{segment_s}\n\
             #EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n{}",
            entries.collect::<String>()
        )
    }

    /// Seconds that a segment's answer waits.
    fn pause(&mut self, now: f64) -> f64 {
        if let Some((from, to)) = self.trace.silent
            && (from..to).contains(&now)
        {
            return to - now;
        }
        match self.trace.late {
            Some((from, pause)) if now > from && !self.late => {
                self.late = true;
                pause
            }
            _ => 0.0,
        }
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

    /// When the last of `bytes` bytes is sent. Media come one after the other, what is given up
    /// leaves the link at once, and the script does not sleep for less than 10 ms.
    fn through(&self, from: f64, bytes: u64) -> f64 {
        let (mut at, mut free) = (from, from);
        for start in (0..bytes).step_by(PIECE as usize) {
            let piece = (bytes - start).min(PIECE) as f64;
            let link = self.trace.link.iter().find(|(until, _)| at < *until);
            let rate = link.or(self.trace.link.last()).unwrap().1;
            free = free.max(at) + piece * 8.0 / rate;
            if free > at + 0.01 {
                at = free;
            }
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
        let from = if file == "init.mp4" { soon } else { soon + self.pause(now) };
        (self.through(from, bytes.min(PIECE)), self.through(from, bytes), Reply::Bytes(bytes))
    }
}

impl Trace {
    /// The first segment in the window.
    fn first_listed(&self, now: f64) -> u64 {
        let frozen = self.frozen.filter(|(from, to)| (*from..*to).contains(&now));
        (frozen.map_or(now, |frozen| frozen.0) / self.segment_s) as u64
    }
}

/// What requests say of their player.
#[derive(Debug)]
struct Facts {
    behind: i64,
    reload_s: f64,
    /// When it asked for another level first, after each change of the link.
    turns: Vec<Option<f64>>,
    /// How often it asked for a header.
    headers: usize,
    segments: Vec<Asked>,
    stalls: Vec<(f64, f64)>,
}

impl Facts {
    fn of(
        trace: &Trace,
        lists: &[f64],
        headers: usize,
        segments: Vec<Asked>,
        stalls: Vec<(f64, f64)>,
    ) -> Self {
        let begun = segments[0].0;
        let seen = lists.iter().copied().rfind(|at| *at <= begun).unwrap();
        let newest = (trace.first_listed(seen) + trace.window) as i64 - 1;
        let mut gaps: Vec<f64> = lists.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.retain(|gap| *gap > 0.2);
        gaps.sort_by(f64::total_cmp);
        let turn = |(instant, _): &(f64, f64)| {
            let before = segments.iter().rfind(|one| one.0 <= *instant)?;
            let other = segments.iter().find(|one| one.0 > *instant && one.1 != before.1);
            other.map(|one| one.0)
        };
        let changes = trace.link.iter().filter(|(until, _)| *until < trace.seconds);
        Self {
            behind: newest - segments[0].2 as i64,
            reload_s: gaps[gaps.len() / 2],
            turns: changes.map(turn).collect(),
            headers,
            segments,
            stalls,
        }
    }
}

fn recorded(trace: &Trace) -> Facts {
    let lists = trace.requests.iter().filter(|one| one.2 == "index.m3u8").map(|one| one.0);
    let lists: Vec<f64> = lists.collect();
    let segments = trace.requests.iter().filter_map(|(at, level, file, ..)| {
        Some((*at, (*level)?, file.strip_suffix(".m4s")?.parse().ok()?))
    });
    let headers = trace.requests.iter().filter(|one| one.2 == "init.mp4").count();
    let stalls = trace.stalls.iter().copied().filter(|(from, to)| to - from >= GLITCH_S);
    Facts::of(trace, &lists, headers, segments.collect(), stalls.collect())
}

fn played(sim: &Sim<Script>) -> Facts {
    let is_list = |kind| matches!(kind, Kind::Playlist | Kind::Blocking);
    let lists = sim.made.iter().filter(|made| is_list(made.fetch.kind)).map(|made| made.at);
    let lists: Vec<f64> = lists.collect();
    let segments = sim.of(Kind::Segment).into_iter().map(|made| {
        let file = made.fetch.uri.rsplit('/').next().unwrap();
        (made.at, made.fetch.level, file.trim_end_matches(".m4s").parse().unwrap())
    });
    let trace = &sim.origin.trace;
    let until = |(from, to): &(f64, f64)| (*from, to.min(trace.seconds));
    let stalls = sim.stalls.iter().map(until).collect();
    let headers = sim.of(Kind::Init).len();
    Facts::of(trace, &lists, headers, segments.collect(), stalls)
}

/// In what the viewer is further from hls.js than `bounds` allow.
fn differences(trace: &Trace, real: &Facts, ours: &Facts, bounds: &Bounds) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            found.push(what);
        }
    };
    check(ours.behind == real.behind, "the start, in segments behind the newest".to_owned());
    check(ours.segments[0].1 == real.segments[0].1, "the first level".to_owned());
    let headers = (ours.headers, real.headers);
    check(headers.0 == headers.1, format!("headers: {headers:?}"));
    let reloads = (ours.reload_s - real.reload_s).abs();
    check(reloads < 0.2, format!("reloads: {} s and {} s", ours.reload_s, real.reload_s));
    for (mine, theirs) in ours.turns.iter().zip(&real.turns) {
        let near = match (mine, theirs) {
            (Some(a), Some(b)) => (a - b).abs() <= bounds.turn * trace.segment_s,
            (a, b) => a == b,
        };
        check(near, format!("another level at {mine:?}, hls.js at {theirs:?}"));
    }
    let counts = (ours.segments.len(), real.segments.len());
    check(counts.0.abs_diff(counts.1) <= 3, format!("segments: {counts:?}"));
    let by_number = |facts: &Facts| -> HashMap<u64, u16> {
        facts.segments.iter().map(|one| (one.2, one.1)).collect()
    };
    let (mine, theirs) = (by_number(ours), by_number(real));
    let both = mine.iter().filter_map(|(number, level)| Some(theirs.get(number)? == level));
    let both: Vec<bool> = both.collect();
    let same = both.iter().filter(|same| **same).count();
    check(
        same * 100 >= both.len() * bounds.same,
        format!("{same} of {} segments of the same level", both.len()),
    );
    let stalls = format!("stalls {:?}, hls.js {:?}", ours.stalls, real.stalls);
    check(ours.stalls.len() == real.stalls.len(), stalls.clone());
    for (mine, theirs) in ours.stalls.iter().zip(&real.stalls) {
        let begins = (mine.0 - theirs.0).abs();
        let lengths = ((mine.1 - mine.0) - (theirs.1 - theirs.0)).abs();
        check(begins <= bounds.stall_s && lengths <= bounds.stall_s, stalls.clone());
    }
    found
}

/// Level, reload time, start position and stalls agree with what the real player did.
#[test]
fn the_viewer_decides_as_the_recorded_player_did() {
    let mut all = Vec::new();
    for (name, trace, bounds) in SESSIONS {
        let script = Script::new(trace);
        let seconds = script.trace.seconds;
        let settings = Settings { patience: 60.0, ..Settings::default() };
        let mut sim = Sim::new(settings, script, 0.0, seconds);
        sim.run_until(f64::INFINITY);
        let trace = &sim.origin.trace;
        let (real, ours) = (recorded(trace), played(&sim));
        println!("{name}\nhls.js {real:?}\nviewer {ours:?}");
        let found = differences(trace, &real, &ours, &bounds);
        all.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(all.is_empty(), "{all:#?}");
}

/// Recordings without a stall would prove nothing about stalls.
#[test]
fn the_recorded_player_stalled_where_its_origin_made_it() {
    let stalls = |trace: &str| recorded(&Script::new(trace).trace).stalls.len();
    let counts: Vec<usize> = SESSIONS.iter().map(|session| stalls(session.1)).collect();
    assert!(counts[..4].iter().all(|count| *count == 0), "{counts:?}");
    assert!(counts[4..].iter().all(|count| *count > 0), "{counts:?}");
}
