//! Whole viewers in simulated time against scripted origins.
#![allow(clippy::cast_possible_truncation)]

use super::super::sim::{Origin, Reply, Sim};
use super::*;

/// A live stream: segment `n` of `segment` seconds is listed from `(n + 1) * segment` on, unless
/// the origin stalls; three levels of 400, 800 and 1,600 kbit/s at a link of `rate` bit/s.
struct Live {
    segment: f64,
    window: u64,
    rate: f64,
    /// Within `[from, to)` no answer comes before `to`.
    stalls: Vec<(f64, f64)>,
    missing: Option<u64>,
    parts: bool,
}

impl Live {
    fn new(segment: f64, rate: f64) -> Self {
        Self { segment, window: 6, rate, stalls: Vec::new(), missing: None, parts: false }
    }

    fn list(&self, now: f64) -> String {
        let done = (now / self.segment + 1e-9) as u64;
        let first = done.saturating_sub(self.window);
        let mut text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{first}\n",
            self.segment
        );
        if self.parts {
            text.push_str(
                "#EXT-X-PART-INF:PART-TARGET=0.5\n\
                 #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5\n",
            );
        }
        let part =
            |n: u64, i: u64| format!("#EXT-X-PART:DURATION=0.5,URI=\"{n}.{i}\",INDEPENDENT=YES\n");
        let per_segment = (self.segment / 0.5) as u64;
        for n in first..done {
            if self.parts && n + 2 >= done {
                (0..per_segment).for_each(|i| text.push_str(&part(n, i)));
            }
            text.push_str(&format!("#EXTINF:{},\n{n}.ts\n", self.segment));
        }
        if self.parts {
            let here = ((now - done as f64 * self.segment) / 0.5 + 1e-9) as u64;
            (0..here).for_each(|i| text.push_str(&part(done, i)));
        }
        text
    }

    fn after_stalls(&self, at: f64) -> f64 {
        self.stalls.iter().find(|(from, to)| (*from..*to).contains(&at)).map_or(at, |stall| stall.1)
    }
}

impl Origin for Live {
    fn answer(&mut self, now: f64, fetch: &Fetch) -> (f64, f64, Reply) {
        let mut first = self.after_stalls(now + 0.01);
        if let Some((_, query)) = fetch.uri.split_once("_HLS_msn=") {
            let (msn, part) = query.split_once("&_HLS_part=").unwrap();
            let part = 0.5 * (part.parse::<f64>().unwrap() + 1.0);
            first = first.max(msn.parse::<f64>().unwrap() * self.segment + part + 0.01);
        }
        if fetch.kind == Kind::Master {
            let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=400000\n0.m3u8\n\
                #EXT-X-STREAM-INF:BANDWIDTH=800000\n1.m3u8\n\
                #EXT-X-STREAM-INF:BANDWIDTH=1600000\n2.m3u8\n";
            return (first, first, Reply::Text(text.to_owned()));
        }
        if fetch.slot.playlist {
            return (first, first, Reply::Text(self.list(first)));
        }
        let number: u64 = fetch.uri[1..].split('.').next().unwrap().parse().unwrap();
        if self.missing == Some(number) {
            self.missing = None;
            return (first, first, Reply::Fail(Failure::Status(404)));
        }
        let rate = [400e3, 800e3, 1_600e3][usize::from(fetch.level)];
        let bits = rate * fetch.duration;
        (first, first + bits / self.rate, Reply::Bytes((bits / 8.0) as u64))
    }
}

fn run(origin: Live, settings: Settings, seconds: f64) -> Sim<Live> {
    let mut sim = Sim::new(settings, origin, 101.0, seconds);
    sim.run_until(f64::INFINITY);
    sim
}

#[test]
fn a_state_fits_in_memory() {
    let size = size_of::<Viewer>() + size_of::<Track>();
    assert!(size <= 1024, "{size} bytes");
}

#[test]
fn a_viewer_joins_three_target_durations_behind_and_goes_up() {
    let mut sim = run(Live::new(4.0, 20e6), Settings::default(), 120.0);
    assert_eq!(sim.ending, Some(Ending::Finished));
    let segments = sim.of(Kind::Segment);
    // At 101 s segments up to 24 are listed: the edge is 100, three of four seconds behind is 88.
    assert_eq!(segments[0].fetch.uri, "/22.ts");
    assert_eq!(segments[0].fetch.level, 0, "500 kbit/s are assumed at first");
    assert!(segments[1..].iter().all(|made| made.fetch.level == 2));
    let numbers: Vec<&str> = segments.iter().map(|made| made.fetch.uri.as_str()).collect();
    let expected: Vec<String> = (22..22 + numbers.len()).map(|n| format!("/{n}.ts")).collect();
    assert_eq!(numbers, expected, "each segment once");
    let startup = sim.viewer.startup().unwrap();
    // Three round trips of 10 ms and 1.6 Mbit at 20 Mbit/s.
    assert!((startup - 0.11).abs() < 1e-6, "{startup}");
    assert_eq!(sim.viewer.counts.switches, 1);
    let now = sim.now;
    let buffer = sim.viewer.buffer_at(now).unwrap();
    assert_eq!((buffer.stalls(), buffer.stalled()), (0, 0.0));
    assert!((buffer.played() - (120.0 - startup)).abs() < 1e-6);
    let latency = sim.viewer.counts.latency_sum / sim.viewer.counts.latency_s;
    assert!((11.9..12.3).contains(&latency), "{latency}");
}

#[test]
fn playlists_are_reloaded_once_a_target_duration() {
    let sim = run(Live::new(4.0, 20e6), Settings::default(), 120.0);
    let asked: Vec<f64> = sim.of(Kind::Playlist).iter().map(|made| made.at).collect();
    // The first of level 0, then those of level 2.
    let pauses: Vec<f64> = asked[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| (pause - 4.0).abs() < 0.02), "{pauses:?}");
    // One segment and one playlist every four seconds, besides the first ones.
    assert!((29..=31).contains(&pauses.len()), "{}", pauses.len());
}

#[test]
fn a_slow_link_stays_at_what_it_carries() {
    let sim = run(Live::new(4.0, 1e6), Settings::default(), 120.0);
    let levels: Vec<u16> = sim.of(Kind::Segment).iter().map(|made| made.fetch.level).collect();
    assert!(levels.iter().all(|level| *level == 0), "0.7 Mbit/s are less than 800 kbit/s");
    let sim = run(Live::new(4.0, 1.3e6), Settings::default(), 120.0);
    let levels: Vec<u16> = sim.of(Kind::Segment).iter().map(|made| made.fetch.level).collect();
    assert_eq!(levels[0], 0);
    assert!(levels[1..].iter().all(|level| *level == 1), "{levels:?}");
}

/// A stall of the origin that outlasts the buffer stalls the viewer for the
/// difference, and the ratio is what arithmetic says, within 5 %.
#[test]
fn a_stalling_origin_gives_the_rebuffer_ratio_that_arithmetic_predicts() {
    // Silent from 150 s to 170 s.
    let stalls = vec![(150.0, 170.0)];
    let origin = Live { stalls, window: 20, ..Live::new(4.0, 50e6) };
    let fixed = Settings { level: Some(0), ..Settings::default() };
    let mut sim = run(origin, fixed, 120.0);
    let now = sim.now;
    let startup = sim.viewer.startup().unwrap();
    let buffer = *sim.viewer.buffer_at(now).unwrap();
    // Joined at 101 s with the edge at 100: position 88 at 101 + startup. At 150 s segment 36,
    // which ends at 148, is loaded: the buffer is dry when the playhead reaches 147.9.
    let dry = 147.9 - 88.0 + 101.0 + startup;
    let back = 170.0 + 4.0 * 400e3 / 50e6 + 0.01;
    let predicted = (back - dry) / (120.0 - startup);
    let measured = buffer.stalled() / (buffer.stalled() + buffer.played());
    assert_eq!(buffer.stalls(), 1);
    assert!((measured / predicted - 1.0).abs() < 0.05, "{measured} against {predicted}");
}

/// A link that carries three quarters of the lowest level: a quarter of the time is stalled.
#[test]
fn a_link_below_the_lowest_level_stalls_for_the_share_that_it_lacks() {
    let origin = Live { window: 100_000, ..Live::new(4.0, 300e3) };
    let patient = Settings { patience: 100.0, ..Settings::default() };
    let mut sim = run(origin, patient, 1200.0);
    let now = sim.now;
    let buffer = *sim.viewer.buffer_at(now).unwrap();
    let measured = buffer.stalled() / (buffer.stalled() + buffer.played());
    assert!((measured / 0.25 - 1.0).abs() < 0.05, "{measured}");
    // Each segment takes 5.33 s to load: a stall for each.
    assert!(buffer.stalls() > 200, "{}", buffer.stalls());
}

#[test]
fn a_missing_segment_is_counted_and_asked_for_again() {
    let origin = Live { missing: Some(25), ..Live::new(4.0, 20e6) };
    let sim = run(origin, Settings::default(), 60.0);
    assert_eq!(sim.viewer.counts.not_found, 1);
    let asked: Vec<f64> = sim
        .of(Kind::Segment)
        .iter()
        .filter(|made| made.fetch.uri == "/25.ts")
        .map(|made| made.at)
        .collect();
    assert_eq!(asked.len(), 2);
    assert!((asked[1] - asked[0] - 1.01).abs() < 1e-6, "{asked:?}");
}

#[test]
fn blocking_reloads_bring_each_part_as_it_is_made() {
    let origin = Live { parts: true, ..Live::new(2.0, 20e6) };
    let fixed = Settings { level: Some(0), ..Settings::default() };
    let mut sim = run(origin, fixed, 60.0);
    let counts = sim.viewer.counts;
    assert_eq!((counts.early_playlists, counts.stale_playlists, counts.not_found), (0, 0, 0));
    // Two parts a second.
    assert!((116..=120).contains(&counts.blocking_reloads), "{counts:?}");
    let parts = sim.of(Kind::Part).len();
    assert!((116..=124).contains(&parts), "{parts}");
    let latency = counts.latency_sum / counts.latency_s;
    assert!((1.4..2.2).contains(&latency), "{latency}");
    let now = sim.now;
    assert_eq!(sim.viewer.buffer_at(now).unwrap().stalls(), 0);
}

/// An origin that never answers: the viewer leaves tired; one that refuses: start failure.
#[test]
fn viewers_who_get_nothing_leave() {
    struct Refuses;
    impl Origin for Refuses {
        fn answer(&mut self, now: f64, _: &Fetch) -> (f64, f64, Reply) {
            (now, now, Reply::Fail(Failure::Status(503)))
        }
    }
    let mut sim = Sim::new(Settings::default(), Refuses, 0.0, 100.0);
    sim.run_until(f64::INFINITY);
    assert_eq!((sim.ending, sim.now, sim.made.len()), (Some(Ending::StartFailed), 1.0, 2));
    let origin = Live { stalls: vec![(0.0, 1e9)], ..Live::new(4.0, 1e6) };
    let sim = run(origin, Settings::default(), 60.0);
    assert_eq!((sim.ending, sim.now), (Some(Ending::Tired), 111.0));
}
