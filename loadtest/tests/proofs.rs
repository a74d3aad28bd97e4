//! What is reported, held against arithmetic, in short runs; `scripts/loadtest-proof` has long
//! ones.
//!
//! These run beside other tests on shared cores, so that lateness of the generator is allowed by
//! flag and the scripted effects are large against it.
#![allow(clippy::unwrap_used)]

#[path = "support/command.rs"]
mod command;
mod support;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use command::loadtest;
use loadtest::report::model::Conclusion;
use support::{Behaviour, Server};

/// Timing tests run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

const TOLERANT: &str = "--warmup 0s --clock-check 0s --allow-lateness 50ms";
const MS: f64 = 1e6;

/// All of a stall is in the tail of an open loop. A second of which the server sleeps `s` delays
/// a share `s` of the requests, by 0 to `s`: p99 is `s - 0.01 s`. A closed loop asks nobody while
/// the server sleeps, so that its p99 does not know.
#[test]
fn a_stall_is_seen_by_rate_and_missed_by_closed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(Behaviour::Stall(100, Duration::from_millis(100)));
    let url = server.url("/");
    let open = loadtest(&format!("rate {url} -r 500 -d 4s --timeout 2s {TOLERANT}"));
    let response = open.report().operations[0].response.as_ref().unwrap();
    let p99 = response.value_at(0.99) as f64 / MS;
    assert!((81.0..=99.0).contains(&p99), "p99 {p99} ms, 90 ms in theory\n{}", open.text);
    let closed = loadtest(&format!("closed {url} -d 3s -c 2 --warmup 0s"));
    let report = closed.report();
    assert!(report.load.closed && report.operations[0].response.is_none());
    let service = report.operations[0].service.as_ref().unwrap();
    let p99 = service.value_at(0.99) as f64 / MS;
    assert!(p99 < 20.0, "p99 {p99} ms: the omission is gone?\n{}", closed.text);
    assert!(service.max() as f64 / MS > 80.0, "the stall itself happened");
}

#[test]
fn capacity_finds_a_true_limit() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = 1900.0;
    let server = Server::start(Behaviour::Limit(100, limit));
    let ended = loadtest(&format!(
        "capacity {} --start 1000 --most 16k --arrivals constant --gate p50<=20ms -d 2s \
         --precision 0.04 --settle 50ms --retries 8 {TOLERANT}",
        server.url("/")
    ));
    let capacity = ended.report().capacity.as_ref().unwrap();
    let largest = capacity.largest.unwrap_or(0.0);
    assert!((0.95..=1.05).contains(&(largest / limit)), "{largest}\n{}", ended.text);
    assert_eq!(ended.code, 0, "{}", ended.text);
    // Just above the limit the backlog of two seconds breaks no gate yet, but answers are missing.
    let by_server =
        ["p50<=20ms", "answers missing"].iter().any(|why| capacity.limiter.starts_with(why));
    assert!(by_server, "{}", capacity.limiter);
}

#[test]
fn a_server_is_like_itself_and_unlike_its_slower_twin() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(Behaviour::Fixed(100));
    let twin = Server::start(Behaviour::Slower(100, Duration::from_micros(400)));
    let flags = format!("-r 400 -d 300ms --pairs 15 --settle 5ms {TOLERANT}");
    let (a, b) = (server.url("/"), twin.url("/"));
    let same = loadtest(&format!("compare {a} {a} {flags}"));
    let conclusion = same.report().comparison.as_ref().unwrap().conclusion;
    assert_eq!(conclusion, Conclusion::NotDistinguishable, "{}", same.text);
    assert_eq!(same.code, 0, "{}", same.text);
    let slower = loadtest(&format!("compare {a} {b} {flags}"));
    let comparison = slower.report().comparison.as_ref().unwrap();
    assert_eq!(comparison.conclusion, Conclusion::AFaster, "{}", slower.text);
    assert_eq!(slower.code, 4, "a regression");
    let p50 = &comparison.quantiles[0];
    let added = (p50.b_ns - p50.a_ns) / 1e3;
    assert!((300.0..=700.0).contains(&added), "400 us were added, {added} us measured");
}

#[test]
fn merged_reports_add_up() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(Behaviour::Fixed(10));
    let folder = std::env::temp_dir();
    let file = |name: &str| {
        let path = folder.join(format!("loadtest-merge-{}-{name}.json", std::process::id()));
        path.to_str().unwrap().to_owned()
    };
    let (one, two) = (file("one"), file("two"));
    let rate = |report: &str, seed: u32| {
        let url = server.url("/");
        let words = format!("rate {url} -r 200 -d 1s --arrivals constant --seed {seed} {TOLERANT}");
        loadtest(&format!("{words} --threshold errors<=0% --report {report}"))
    };
    let ended = [rate(&one, 1), rate(&two, 2)];
    let merged = loadtest(&format!("merge {one} {two}"));
    for path in [&one, &two] {
        std::fs::remove_file(path).unwrap();
    }
    let report = merged.report();
    assert_eq!(merged.code, 0, "{}", merged.text);
    assert_eq!(report.load.offered, Some(400));
    assert_eq!(report.generators.len(), 2);
    assert_eq!(report.thresholds.len(), 1, "the gate of the parts is held against the whole");
    let max =
        |ended: &command::Ended| ended.report().operations[0].response.as_ref().unwrap().max();
    let merged_max = report.operations[0].response.as_ref().unwrap().max();
    assert_eq!(merged_max, ended.iter().map(max).max().unwrap());
    let missing = loadtest("merge /no/where.json");
    assert_eq!(missing.code, 2);
    assert!(missing.text.contains("/no/where.json"), "{}", missing.text);
}

#[test]
fn prepared_objects_verify_and_others_do_not() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(Behaviour::Store);
    let url = server.url("/o-{0..49}");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["prepare", &url, "--size", "10,1k,40k", "--seed", "5"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let rate = |seed: u32| {
        loadtest(&format!("rate {url} -r 300 -d 1s --verify 3 --seed {seed} {TOLERANT}"))
    };
    let good = rate(5);
    let operation = &good.report().operations[0];
    assert_eq!((good.code, operation.failed()), (0, 0), "{}", good.text);
    let share = operation.verified as f64 / operation.completed as f64;
    assert!((0.2..0.5).contains(&share), "a third is compared: {share}");
    let other = rate(6);
    let operation = &other.report().operations[0];
    assert!(operation.errors["content"] > 0, "{}", other.text);
}
