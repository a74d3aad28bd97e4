//! An S3 that fails in each of its ways: the answer says which, what memory has is read, nothing
//! that was acknowledged is lost, and all is well again without a restart.

use std::time::Duration;

use crate::large::begin;
use crate::scripted::{Fault, Store};
use crate::support::wire::Answer;
use crate::support::{Origin, Scratch, pattern};
use crate::{eventually, kill, settle};

const COLD_BYTES: usize = 300_000;

/// An origin that has nothing in memory, before a store that has `/v/cold`.
fn start(scratch: &Scratch, store: &Store) -> Origin {
    let config = scratch.path("config.toml");
    let rule = "[[path]]\npattern = \"through/**\"\ndurability = \"remote\"\n";
    std::fs::write(&config, rule).unwrap();
    let origin = store.origin(&["--config", &config]);
    origin.put("/v/cold", &pattern(99, COLD_BYTES));
    settle(&origin);
    kill(origin);
    assert!(store.body("/v/cold").unwrap() == pattern(99, COLD_BYTES));
    store.origin(&["--config", &config])
}

#[track_caller]
fn expect(answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(says), "{}", answer.text());
}

/// Uploads of every kind and a deletion while nothing reaches the store, and after that.
fn refuses_and_recovers(name: &str, fault: Fault, status: u16, says: &str) {
    let (scratch, store) = (Scratch::new(name), Store::start());
    let origin = start(&scratch, &store);
    origin.put("/v/gone", b"gone");
    settle(&origin);
    // These may be on their way when it fails.
    (0..10).for_each(|number| drop(origin.put(&format!("/v/{number}"), &pattern(number, 50_000))));
    store.fail(fault);
    for number in 10..20 {
        origin.put(&format!("/v/{number}"), &pattern(number, 50_000));
    }
    // Each waits for the store until its time is over: side by side.
    std::thread::scope(|scope| {
        for (method, target) in [("GET", "/v/cold"), ("PUT", "/through/a"), ("DELETE", "/v/gone")] {
            let origin = &origin;
            scope.spawn(move || {
                let answer = origin.request(method, target, &[], b"");
                expect(&answer, status, says);
                assert_eq!(answer.header("Retry-After"), Some("1"), "{method}");
            });
        }
        for number in 0..20 {
            assert!(origin.get(&format!("/v/{number}")).body == pattern(number, 50_000));
        }
    });
    assert_eq!(origin.get("/through/a").status, 200);
    assert_eq!(origin.get("/v/gone").status, 404);
    store.fail(Fault::None);
    eventually("reads do not recover", || origin.get("/v/cold").body == pattern(99, COLD_BYTES));
    settle(&origin);
    for number in 0..20 {
        let kept = store.body(&format!("/v/{number}"));
        assert!(kept == Some(pattern(number, 50_000)), "{number} is not in the store");
    }
    assert_eq!(store.body("/through/a"), Some(Vec::new()));
    assert_eq!(store.body("/v/gone"), None);
    origin.put("/through/b", b"b");
    assert_eq!(store.body("/through/b").unwrap(), b"b");
    kill(origin);
}

#[test]
fn a_store_that_asks_for_fewer_requests_is_503() {
    let says = "the remote store does not answer";
    refuses_and_recovers("remote-slow-down", Fault::SlowDown, 503, says);
}

#[test]
fn a_store_that_denies_access_is_503_that_says_so() {
    let says = "the remote store refuses this origin";
    refuses_and_recovers("remote-denied", Fault::AccessDenied, 503, says);
}

#[test]
fn a_store_that_refuses_connections_is_503() {
    let says = "the remote store does not answer";
    refuses_and_recovers("remote-refused", Fault::Refused, 503, says);
}

#[test]
fn a_store_that_is_late_is_waited_for() {
    let (scratch, store) = (Scratch::new("remote-late"), Store::start());
    let origin = start(&scratch, &store);
    let by = Duration::from_secs(2);
    store.fail(Fault::Late(by));
    let begin = std::time::Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(origin.get("/v/cold").body == pattern(99, COLD_BYTES));
            assert!(begin.elapsed() >= by, "the store was not asked");
        });
        scope.spawn(|| {
            origin.put("/through/a", b"a");
            assert!(begin.elapsed() >= by, "acknowledged before the store answered");
        });
        origin.put("/v/hot", b"hot");
        assert_eq!(origin.get("/v/hot").body, b"hot");
    });
    assert_eq!(store.body("/through/a").unwrap(), b"a");
    settle(&origin);
    assert_eq!(store.body("/v/hot").unwrap(), b"hot");
    kill(origin);
}

#[test]
fn a_store_that_is_silent_is_504_and_what_was_acknowledged_follows() {
    let (scratch, store) = (Scratch::new("remote-silent"), Store::start());
    let origin = start(&scratch, &store);
    store.fail(Fault::Late(Duration::from_secs(600)));
    std::thread::scope(|scope| {
        for (method, target) in [("GET", "/v/cold"), ("PUT", "/through/a")] {
            let origin = &origin;
            scope.spawn(move || {
                let says = "the remote store did not answer in time";
                expect(&origin.request(method, target, &[], b""), 504, says);
            });
        }
        origin.put("/v/hot", b"hot");
        assert_eq!(origin.get("/v/hot").body, b"hot");
    });
    store.fail(Fault::None);
    eventually("reads do not recover", || origin.get("/v/cold").body == pattern(99, COLD_BYTES));
    settle(&origin);
    assert_eq!(store.body("/v/hot").unwrap(), b"hot");
    assert_eq!(store.body("/through/a"), Some(Vec::new()));
    kill(origin);
}

/// Reads what arrives broken, while uploads are none the worse; then reads it whole. What is short
/// is checked before it is answered; of what is longer no byte leaves that is not right.
fn never_serves(name: &str, fault: Fault, status: u16, says: &str) {
    let (scratch, store) = (Scratch::new(name), Store::start());
    let origin = start(&scratch, &store);
    origin.put("/v/short", &pattern(98, 60_000));
    settle(&origin);
    kill(origin);
    let origin = store.origin(&["--config", &scratch.path("config.toml")]);
    origin.put("/v/hot", b"hot");
    store.fail(fault);
    let (head, body) = begin(&origin, "/v/cold");
    // Where all of it came before a reader had its turn, the damage is told by the status.
    if head.status != status {
        assert_eq!(head.status, 200);
        assert!(!body.is_empty() && body.len() < COLD_BYTES, "{} bytes", body.len());
        assert!(body == pattern(99, COLD_BYTES)[..body.len()], "a wrong byte");
    }
    // Reads are refused at once for a while after one that the store failed.
    eventually("it is not told", || {
        let answer = origin.get("/v/short");
        answer.status == status && answer.text().contains(says)
    });
    let part = origin.request("GET", "/v/short", &["Range: bytes=0-9"], b"");
    expect(&part, status, says);
    assert_eq!(origin.get("/v/hot").body, b"hot");
    origin.put("/through/a", b"a");
    store.fail(Fault::None);
    eventually("reads do not recover", || origin.get("/v/cold").body == pattern(99, COLD_BYTES));
    eventually("reads do not recover", || origin.get("/v/short").body == pattern(98, 60_000));
    settle(&origin);
    assert_eq!(store.body("/v/hot").unwrap(), b"hot");
    assert_eq!(store.body("/through/a").unwrap(), b"a");
    kill(origin);
}

#[test]
fn a_body_that_the_store_cuts_short_is_never_served_whole() {
    never_serves("remote-cut", Fault::Cut, 503, "the remote store does not answer");
}

#[test]
fn a_body_with_a_flipped_bit_is_500_or_ends_before_it() {
    never_serves("remote-flipped", Fault::Flipped, 500, "is not what was written");
}
