//! Reports made up for tests: drawn from a seed, in the shape that real runs have.

#![allow(clippy::cast_possible_truncation)]

use std::collections::BTreeMap;

use super::compare::{self, Pair};
use super::model::*;
use super::random::Random;
use super::search::{Plan, Search, Step};
use super::threshold;
use super::topics::{TopicCounts, Topics};

fn environment(command: &str, seed: u64) -> Environment {
    let facts = [
        ("kernel", "Linux 6.18.5-fc"),
        ("cpu.model", "AMD EPYC 9R14"),
        ("cpu.count", "2"),
        ("cpu.pinning", "generator on core 1, server on core 0"),
        ("cpu.governor", "not exposed"),
        ("cpu.steal_ms", "14"),
        ("cpu.mitigations", "retbleed: safe RET; spectre_v2: automatic IBRS"),
        ("memory", "24 GiB"),
        ("nic", "lo, MTU 65536"),
        ("run_queue.delay_ms", "3.1"),
        ("server.version", "headwater 0.1.0"),
        ("sysctl.net.core.somaxconn", "4096"),
        ("tcp.retransmits", "0"),
        ("ulimit.nofile", "1048576"),
        ("version", "loadtest 0.1.0"),
    ];
    Environment {
        command_line: command.split(' ').map(str::to_owned).collect(),
        seed,
        facts: facts.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

/// Adds `requests` of one second to an operation and returns the second's headline.
fn one_second(
    operation: &mut Operation,
    requests: u64,
    level: f64,
    random: &mut Random,
) -> Latency {
    let mut second = Latency::new();
    for _ in 0..requests {
        let lateness = 2_000.0 * (0.5 * random.normal()).exp();
        let wait = if random.unit() < 0.01 { 40_000.0 * random.unit() } else { 700.0 };
        let slow = if random.unit() < 0.004 { 6.0 + 30.0 * random.unit() } else { 1.0 };
        let first = level * slow * (0.25 * random.normal()).exp();
        let service = first + 9_000.0 * (0.3 * random.normal()).exp();
        let add = |slot: &mut Option<Latency>, value: f64| {
            slot.get_or_insert_with(Latency::new).record(value as u64);
        };
        add(&mut operation.lateness, lateness);
        add(&mut operation.wait, wait);
        add(&mut operation.first_byte, first);
        add(&mut operation.service, service);
        add(&mut operation.response, lateness + wait + service);
        second.record((lateness + wait + service) as u64);
    }
    operation.completed += requests;
    operation.bytes += requests * 1024;
    second
}

/// `rate` over `seconds` at `per_second`.
pub fn rate_of(seconds: u32, per_second: u64, seed: u64) -> Report {
    let mut random = Random::new(seed);
    let mut report = Report::new("rate", "http://127.0.0.1:8080/vod/1k");
    report.started_unix_ms = 1_790_000_000_000 + seed;
    report.generators.push(environment(
        "loadtest rate --rate 20k --duration 60s http://127.0.0.1:8080/vod/1k",
        seed,
    ));
    let mut operation = Operation::new("GET");
    for at in 0..seconds {
        let wave = 1.0 + 0.15 * (f64::from(at) / 7.0).sin();
        let requests = (per_second as f64 * (1.0 + 0.01 * random.normal())) as u64;
        let latency = one_second(&mut operation, requests, 180_000.0 * wave, &mut random);
        report.series.push(Second {
            at_s: f64::from(at),
            width_s: 1.0,
            offered: requests,
            achieved: requests,
            bytes: requests * 1024,
            in_flight: 3,
            lateness_max_ns: Some(20_000),
            latency: BTreeMap::from([("GET".to_owned(), latency.pack())]),
            ..Second::default()
        });
    }
    operation.verified = operation.completed / 128;
    report.load = Load {
        model: "open loop, Poisson".to_owned(),
        duration_s: f64::from(seconds),
        offered: Some(operation.completed),
        achieved: operation.completed,
        bytes: operation.bytes,
        connections: 64,
        generator_cpu_s: Some(f64::from(seconds) * 0.41),
        server_cpu_s: Some(f64::from(seconds) * 0.22),
        ..Load::default()
    };
    report.phases.push(Phase {
        name: "measure".to_owned(),
        start_s: 5.5,
        duration_s: f64::from(seconds),
        completed: operation.completed,
        failed: 0,
        response: operation.response.clone(),
    });
    report.operations.push(operation);
    report.thresholds = threshold::evaluate(&["p99<5ms".into(), "errors<=0.01%".into()], &report);
    report
}

/// A small `rate` report: 12 seconds, 1,000 requests each.
pub fn rate() -> Report {
    rate_of(12, 1000, 42)
}

/// A `rate` report that must not be believed, with errors.
pub fn invalid() -> Report {
    let mut report = rate_of(30, 1000, 9);
    report.verdict = Verdict::from_reasons(vec![
        "The generator was late: lateness p99.9 312 us is above 50.0 us, the larger of 50.0 us and \
         10 % of the response p50."
            .to_owned(),
        "Only 96.30 % of the 31,152 offered requests were achieved; 99 % must be."
            .to_owned(),
    ]);
    report.load.offered = Some(31_152);
    report.load.failed = 88;
    report.load.shed = 1_064;
    for (at, second) in report.series.iter_mut().enumerate().skip(18).take(6) {
        second.failed = 12 + at as u64 % 3;
        second.achieved = second.achieved * 82 / 100;
        second.shed = 177;
    }
    report.operations[0].shed = 1_064;
    report.operations[0].errors =
        BTreeMap::from([("timeout".to_owned(), 71), ("status 503".to_owned(), 17)]);
    report.thresholds = threshold::evaluate(&["p99<500us".into(), "errors<=0.01%".into()], &report);
    report
}

/// A `live` report with viewers.
pub fn live() -> Report {
    let mut random = Random::new(3);
    let mut report = rate_of(60, 400, 3);
    report.command = "live".to_owned();
    report.target = "http://127.0.0.1:8080/live/stadium/master.m3u8".to_owned();
    report.load.model = "viewers, kick-off".to_owned();
    report.operations[0].name = "segment".to_owned();
    let mut playlist = Operation::new("playlist");
    for (at, second) in report.series.iter_mut().enumerate() {
        let segment = second.latency.remove("GET");
        second.latency.extend(segment.map(|packed| ("segment".to_owned(), packed)));
        let latency = one_second(&mut playlist, 400, 90_000.0, &mut random);
        second.latency.insert("playlist".to_owned(), latency.pack());
        second.viewers = (2000.0 / (1.0 + (-(at as f64 - 20.0) / 4.0).exp())) as u64;
        second.stalled = if (30..34).contains(&at) { 9 } else { 0 };
    }
    report.operations.insert(0, playlist);
    let counts = QoeCounts {
        viewers: 2000,
        started: 1999,
        start_failures: 1,
        stalled_viewers: 11,
        stalls: 13,
        played_s: 91_000.0,
        stalled_s: 19.5,
        switches: 3100,
        segments: 24_000,
        deadline_misses: 14,
        verified: 190,
        wasted_bytes: 3_400_000,
        ..QoeCounts::default()
    };
    let mut all: Vec<Distribution> = [
        (Distribution::seconds(distribution::STARTUP), 0.18, 0.5),
        (Distribution::bits_per_second(distribution::BITRATE), 3.1e6, 0.4),
        (Distribution::per_minute(distribution::SWITCHES), 1.3, 0.4),
        (Distribution::seconds(distribution::LIVE_LATENCY), 12.2, 0.08),
        (Distribution::seconds(distribution::PUBLISH_TO_VIEW), 0.9, 0.6),
    ]
    .map(|(mut values, middle, spread)| {
        (0..2000).for_each(|_| values.record(middle * (spread * random.normal()).exp()));
        values
    })
    .into();
    let mut rebuffer = Distribution::ratio(distribution::REBUFFER);
    for viewer in 0..2000 {
        rebuffer.record(if viewer < 11 { 0.03 * random.unit() } else { 0.0 });
    }
    all.insert(1, rebuffer);
    report.qoe = Some(Qoe { counts, distributions: all });
    let gates = threshold::QOE_GATES.map(str::to_owned);
    report.thresholds = threshold::evaluate(&gates, &report);
    report
}

/// A `topics` report: two thousand subscribers, of whom three missed something.
pub fn topics() -> Report {
    let mut random = Random::new(5);
    let mut report = rate_of(30, 2000, 5);
    report.command = "topics".to_owned();
    report.target = "http://127.0.0.1:8080/topics/show/score".to_owned();
    report.load.model = "2000 subscribers of 1 topics, 1 publishers, Poisson".to_owned();
    report.operations[0].name = "sse".to_owned();
    for second in &mut report.series {
        let sse = second.latency.remove("GET");
        second.latency.extend(sse.map(|packed| ("sse".to_owned(), packed)));
    }
    let counts = TopicCounts {
        topics: 1,
        subscribers: 2000,
        published: 1000,
        deliveries: 1_999_990,
        lost: 10,
        subscribers_with_loss: 3,
        ..TopicCounts::default()
    };
    let mut last = Distribution::seconds(distribution::PUBLISH_TO_LAST_SUBSCRIBER);
    (0..1000).for_each(|_| last.record(0.04 * (0.2 * random.normal()).exp()));
    report.topics = Some(Topics { counts, distributions: vec![last] });
    report
}

/// A `capacity` report: an M/M/1 queue with a limit of 61,000 requests/s.
pub fn capacity() -> Report {
    let mut random = Random::new(5);
    let mut search = Search::new(Plan::new(4000.0, 1e6));
    while let Step::Try(load) = search.next() {
        let busy = (load / 68_000.0).min(0.995);
        let p99 = 230_000.0 + 130_000.0 / (1.0 - busy) * (1.0 + 0.1 * random.normal().abs());
        let passed = load * (1.0 + 0.008 * random.normal()) < 61_000.0;
        search.observe(Try {
            load,
            achieved: load.min(66_500.0),
            outcome: if passed { Outcome::Passed } else { Outcome::Failed },
            reasons: if passed {
                vec![]
            } else {
                vec![format!("p99 is above 1.5 ms at {load:.0}/s")]
            },
            p50_ns: Some((p99 / 4.0) as u64),
            p99_ns: Some(p99 as u64),
            server_cpu: Some((busy * 1.08).min(1.0)),
            generator_cpu: Some(busy * 0.6),
            figures: BTreeMap::new(),
        });
    }
    let mut report = Report::new("capacity", "http://127.0.0.1:8080/vod/1k");
    report.started_unix_ms = 1_790_000_000_000;
    report.generators.push(environment("loadtest capacity http://127.0.0.1:8080/vod/1k", 5));
    report.load.model = "open loop, Poisson".to_owned();
    report.capacity =
        Some(search.result("requests/s", vec!["p99<1.5ms".into(), "errors<=0.01%".into()]));
    report
}

/// A `capacity` report over viewers: stalls grow beyond 9,000 of them.
pub fn viewer_capacity() -> Report {
    let mut search = Search::new(Plan::new(1000.0, 1e5));
    while let Step::Try(load) = search.next() {
        let ratio = 0.0002 + (load / 9_400.0).powi(12) * 0.005;
        let passed = ratio <= 0.005;
        search.observe(Try {
            load,
            achieved: load,
            outcome: if passed { Outcome::Passed } else { Outcome::Failed },
            reasons: if passed { vec![] } else { vec!["rebuffer ratio is above 0.5 %".into()] },
            p50_ns: None,
            p99_ns: None,
            server_cpu: Some((load / 14_000.0).min(1.0)),
            generator_cpu: Some((load / 12_000.0).min(0.84)),
            figures: BTreeMap::from([
                ("rebuffer ratio".to_owned(), ratio.min(0.2)),
                ("stalled share".to_owned(), (ratio * 3.0).min(1.0)),
            ]),
        });
    }
    let mut report = Report::new("capacity", "http://127.0.0.1:8080/live/stadium/master.m3u8");
    report.generators.push(environment("loadtest capacity viewers http://a/master.m3u8", 5));
    let gates = threshold::QOE_GATES.map(str::to_owned).to_vec();
    report.capacity = Some(search.result("viewers", gates));
    report
}

/// A `closed` report: no schedule, hence neither lateness nor response.
pub fn closed() -> Report {
    let mut report = rate_of(20, 3000, 4);
    report.command = "closed".to_owned();
    report.load.model = "closed loop".to_owned();
    report.load.closed = true;
    report.load.offered = None;
    report.operations[0].response = None;
    report.operations[0].lateness = None;
    report.operations[0].wait = None;
    report.thresholds.clear();
    report
}

/// A `compare` report: B is 8 % slower at the median, the tails are alike.
pub fn comparison() -> Report {
    let mut random = Random::new(8);
    let mut run = |level: f64| {
        let level = level * (0.01 * random.normal()).exp();
        let mut latency = Latency::new();
        for _ in 0..1500 {
            let tail = if random.unit() < 0.02 { 900_000.0 * random.unit() } else { 0.0 };
            latency.record((level * (0.05 * random.normal()).exp() + tail) as u64);
        }
        latency
    };
    let pairs: Vec<Pair> =
        (0..12).map(|_| Pair { a: run(200e3), b: run(216e3), valid: true }).collect();
    let mut report = Report::new("compare", "headwater and nginx");
    report.started_unix_ms = 1_790_000_000_000;
    report.generators.push(environment("loadtest compare http://a:1/x http://b:2/x", 8));
    report.load.model = "open loop, Poisson, ABBA pairs".to_owned();
    report.comparison = Some(compare::compare("headwater", "nginx", &pairs));
    report
}

/// Writes every form of every made-up report into the folder `LOADTEST_EXAMPLES`, to be looked at
/// and to be read by other tools: `cargo test -p loadtest write_examples -- --ignored`.
#[test]
#[ignore = "writes files; run by hand"]
fn write_examples() {
    let folder = std::path::PathBuf::from(std::env::var_os("LOADTEST_EXAMPLES").unwrap());
    let reports = [
        ("rate", rate_of(60, 20_000, 42)),
        ("invalid", invalid()),
        ("live", live()),
        ("closed", closed()),
        ("capacity", capacity()),
        ("viewers", viewer_capacity()),
        ("compare", comparison()),
    ];
    for (name, report) in reports {
        for ending in super::ENDINGS.split(", ") {
            let path = folder.join(format!("{name}{ending}"));
            let text = super::render(&report, &path.to_string_lossy()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
}
