//! Topics end to end: the binary against the real origin, and against a server that makes mistakes
//! which must be counted.
#![allow(clippy::unwrap_used)]

#[path = "support/command.rs"]
mod command;
#[path = "topics/liar.rs"]
mod liar;
#[path = "topics/origin.rs"]
mod origin;

use command::{Ended, loadtest};
use liar::{Liar, Lies};
use loadtest::report::model::{Operation, Report};
use loadtest::report::topics::TopicCounts;
use origin::Origin;

/// These run beside other tests on shared cores.
const TOLERANT: &str = "--allow-lateness 1s --warmup 0s";

fn counts(ended: &Ended) -> &TopicCounts {
    &ended.report().topics.as_ref().unwrap_or_else(|| panic!("{}", ended.text)).counts
}

fn operation<'a>(report: &'a Report, name: &str) -> &'a Operation {
    report.operations.iter().find(|operation| operation.name == name).unwrap()
}

fn faults(counts: &TopicCounts) -> [u64; 4] {
    [counts.lost, counts.duplicates, counts.disordered, counts.discontinuities]
}

#[test]
fn every_subscriber_gets_every_message_once_by_each_way() {
    let origin = Origin::start("ways", 2, "");
    let flags = "--sse 30 --websocket 20 --poll 10 -r 100 --publishers 3 -t 2 -d 2s \
        --threshold lost<=0% --threshold duplicates<=0% --threshold disorder<=0% \
        --threshold errors<=0% --threshold sse.p50<1s --threshold last.p50<1s";
    let url = origin.url("/topics/load/t{0..1}");
    let ended = loadtest(&format!("topics {url} {flags} {TOLERANT}"));
    let (report, counts) = (ended.report(), counts(&ended));
    assert!(report.thresholds.iter().all(|gate| gate.measured != "0"), "{}", ended.text);
    assert!([0, 3].contains(&ended.code), "{}", ended.text);
    assert_eq!(faults(counts), [0; 4], "{}", ended.text);
    assert_eq!((counts.topics, counts.subscribers, counts.cut), (2, 60, 0));
    // 30 of 60 subscribe to each of the two topics, half of each way.
    assert!((150..250).contains(&counts.published), "{}", counts.published);
    assert_eq!(counts.deliveries, counts.published * 30);
    for (name, share) in [("sse", 15), ("websocket", 10), ("poll", 5)] {
        let operation = operation(report, name);
        assert_eq!(operation.completed, counts.published * share, "{name}");
        assert_eq!(operation.bytes, operation.completed * 200);
        let response = operation.response.as_ref().unwrap();
        assert!(response.count() == operation.completed && response.min() > 0, "{response:?}");
    }
    let publish = operation(report, "publish");
    assert_eq!(publish.completed, counts.published);
    let distributions = &report.topics.as_ref().unwrap().distributions;
    let last = distributions.iter().find(|d| d.name == "publish to last subscriber").unwrap();
    assert_eq!(last.values.count(), counts.published, "once a message");
    let slowest = ["sse", "websocket", "poll"]
        .map(|name| operation(report, name).response.as_ref().unwrap().max());
    assert_eq!(Some(last.values.max()), slowest.into_iter().max());
    assert_eq!(report.phases[0].completed, 60);
    origin.stop();
}

#[test]
fn who_leaves_and_comes_back_misses_nothing() {
    let origin = Origin::start("churn", 2, "");
    let flags = "--sse 10 --websocket 10 --poll 10 -r 200 -d 3s --churn 400ms --away 50ms";
    let url = origin.url("/topics/load/a");
    let ended = loadtest(&format!("topics {url} {flags} --drain 20s {TOLERANT}"));
    let counts = counts(&ended);
    assert_eq!(faults(counts), [0; 4], "{}", ended.text);
    assert_eq!(counts.cut, 0, "{}", ended.text);
    assert!(counts.reconnects > 60, "{}", ended.text);
    assert!(counts.resumed > 0, "{}", ended.text);
    // Away or not, everybody got every message of the measured phase.
    assert_eq!(counts.deliveries + counts.resumed, counts.published * 30, "{}", ended.text);
    origin.stop();
}

#[test]
fn slow_subscribers_are_told_what_they_missed_and_others_miss_nothing() {
    let rules = "[[topic]]\npattern = \"load/*\"\nbytes_max = \"128KiB\"\n";
    let origin = Origin::start("slow", 1, rules);
    let flags = "--sse 6 --slow 2 --slow-pause 200ms --size 15000 -r 400 -d 4s --drain 1s";
    let ended = loadtest(&format!("topics {} {flags} {TOLERANT}", origin.url("/topics/load/a")));
    let counts = counts(&ended);
    let all = ended.report().topics.as_ref().unwrap();
    assert_eq!((counts.slow, faults(counts)[..3].to_vec()), (2, vec![0; 3]), "{}", ended.text);
    assert_eq!(operation(ended.report(), "sse").completed, counts.published * 4);
    assert!(counts.subscribers_with_discontinuities <= 2, "only the slow: {}", ended.text);
    assert!(counts.slow_deliveries < counts.published, "{}", ended.text);
    assert!(all.distributions.iter().any(|d| d.name == "publish to slow subscriber"));
    origin.stop();
}

#[test]
fn what_a_server_does_wrong_is_counted() {
    for (lies, expected) in [
        (Lies { lose: 5, ..Lies::default() }, [true, false, false, false]),
        (Lies { repeat: 5, ..Lies::default() }, [false, true, false, false]),
        (Lies { swap: 5, ..Lies::default() }, [false, false, true, false]),
        (Lies { skip: 5, ..Lies::default() }, [false, false, false, true]),
        (Lies { differ: 5, ..Lies::default() }, [false, false, true, false]),
    ] {
        let liar = Liar::start(lies);
        let flags = "--sse 3 -r 99 --arrivals constant -d 1s --drain 300ms";
        let ended = loadtest(&format!(
            "topics {} {flags} {TOLERANT} --threshold lost<=0% --threshold errors<=0%",
            liar.url("/topics/a/b")
        ));
        let counts = counts(&ended);
        assert_eq!(faults(counts).map(|count| count > 0), expected, "{lies:?}\n{}", ended.text);
        assert_eq!(counts.published, 99, "{}", ended.text);
        // Every fifth of 99 messages, for one of three subscribers.
        let faults: u64 = faults(counts).into_iter().sum();
        // Who is first counts as right: the two others differ, and what the publisher was told.
        let each = if lies.differ > 0 { 3 } else { 1 };
        assert_eq!(faults, 19 * each, "{lies:?}\n{}", ended.text);
        let is_broken = expected[0] || expected[1] || expected[2];
        let errors = &ended.report().thresholds[1];
        assert_eq!(errors.measured.starts_with("0 "), !is_broken, "{}", ended.text);
    }
}

#[test]
fn wrong_targets_are_sentences() {
    let origin =
        Origin::start("wrong", 1, "[[topic]]\npattern = \"**\"\nmessage_bytes_max = 100\n");
    for (target, flags, code, sentence) in [
        (origin.url("/nothing/a"), "", 7, "answered 404"),
        (origin.url("/topics/a"), "--websocket 1", 7, "answered 400"),
        (origin.url("/topics/a/b"), "--poll 2 --size 300", 7, "status 413"),
        ("http://127.0.0.1:1/topics/a/b".to_owned(), "", 6, "refused"),
        ("http://192.0.2.1/topics/a/b".to_owned(), "", 2, "--allow-remote"),
        (origin.url("/topics/a/b"), "--report x.pdf", 2, "x.pdf"),
    ] {
        let ended = loadtest(&format!("topics {target} -d 500ms {flags} {TOLERANT}"));
        let is_right = ended.code == code && ended.text.contains(sentence);
        assert!(is_right, "{target} {flags}: {} {}", ended.code, ended.text);
    }
    origin.stop();
}

#[test]
fn a_run_that_published_less_than_it_intended_is_invalid() {
    // A publisher gets 33 of 200 through in a second.
    let liar = Liar::start(Lies { pause_ms: 30, ..Lies::default() });
    let url = liar.url("/topics/a/b");
    let ended = loadtest(&format!("topics {url} --sse 1 -r 200 -d 1s {TOLERANT}"));
    let (report, text) = (ended.report(), &ended.text);
    let publish = operation(report, "publish");
    assert!(report.verdict.reasons.iter().any(|why| why.starts_with("Only")), "{text}");
    assert_eq!(ended.code, 3, "{text}");
    assert!(publish.shed > 100 && report.load.shed == publish.shed, "{text}");
    assert_eq!(operation(report, "sse").completed, publish.completed, "{text}");
    assert!(publish.wait.as_ref().unwrap().max() > 500_000_000, "{text}");
}
