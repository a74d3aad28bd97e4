//! Subscribers that do not read, floods of names and of messages: bounded, and others go on.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::Stream;
use crate::support::PATIENCE;
use crate::{origin, publish};

const RULES: &str = "[[topic]]\npattern = \"skip/*\"\nbytes_max = \"256KiB\"\n\
    [[topic]]\npattern = \"close/*\"\nbytes_max = \"256KiB\"\nlag = \"close\"\n\
    [timeouts]\nsend_rate_window_ms = 60_000\n";

/// Whether 1,000,000 names are wanted.
fn is_long() -> bool {
    std::env::var("HEADWATER_TOPICS").as_deref() == Ok("long")
}

/// Publishes until a subscriber that does not read must have fallen out of the log.
fn overrun(origin: &crate::support::Origin, target: &str) -> u64 {
    let text = "x".repeat(15_000);
    let mut client = origin.client();
    let (mut fast, _) = Stream::open(origin, target, &[]);
    let mut last = 0;
    for _ in 0..1000 {
        let answer = client.request("POST", target, &[], text.as_bytes()).unwrap();
        last = crate::position(&answer).1;
        assert_eq!(fast.next().unwrap().number(), last, "a fast subscriber misses nothing");
    }
    last
}

#[test]
fn a_slow_subscriber_skips_ahead_with_a_discontinuity() {
    let origin = origin("topics-slow", "2", RULES);
    let (mut slow, _) = Stream::open(&origin, "/topics/skip/a", &[]);
    let last = overrun(&origin, "/topics/skip/a");
    let mut expected = 1;
    let mut gaps = 0;
    while expected <= last {
        let event = slow.next().unwrap();
        if event.kind == "discontinuity" {
            assert_eq!(event.json()["last_topic_sequence"], expected - 1);
            expected = event.json()["new_topic_sequence"].as_u64().unwrap();
            gaps += 1;
        } else {
            assert_eq!(event.number(), expected);
            expected += 1;
        }
    }
    assert!(gaps > 0, "15 MB fit no socket");
    origin.stop();
}

#[test]
fn a_slow_subscriber_is_closed_where_the_rule_says_so() {
    let origin = origin("topics-close", "2", RULES);
    let (mut slow, _) = Stream::open(&origin, "/topics/close/a", &[]);
    let last = overrun(&origin, "/topics/close/a");
    let mut expected = 1;
    while let Ok(event) = slow.next() {
        assert_eq!((event.kind.as_str(), event.number()), ("", expected));
        expected += 1;
    }
    assert!(expected <= last, "it was closed");
    origin.stop();
}

#[test]
fn a_flood_of_names_is_bounded_and_takes_nothing_from_those_who_listen() {
    let origin = origin("topics-flood", "2", "");
    let (mut stream, _) = Stream::open(&origin, "/topics/kept/a", &[]);
    publish(&origin, "/topics/kept/a", "before");
    let mut client = origin.client();
    let flood: Vec<u8> = (0..200)
        .flat_map(|_| {
            b"POST /topics/flood/NNNNNNNN HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
                .to_vec()
        })
        .collect();
    let length = flood.len() / 200;
    let rounds = if is_long() { 5000 } else { 250 };
    for round in 0..rounds {
        let mut batch = flood.clone();
        for (index, request) in batch.chunks_mut(length).enumerate() {
            let name = format!("{:08}", round * 200 + index);
            request[19..27].copy_from_slice(name.as_bytes());
        }
        client.send(&batch).unwrap();
        for _ in 0..200 {
            assert_eq!(client.answer(false).unwrap().status, 204);
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while origin.metric("headwater_topics", "") < 16_385.0 {
        assert!(Instant::now() < deadline, "so many names fill one owner at least");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(origin.metric("headwater_topics", "") <= 32_768.0);
    publish(&origin, "/topics/kept/a", "after");
    assert_eq!(stream.next().unwrap().number(), 1);
    assert_eq!(stream.next().unwrap().number(), 2);
    origin.stop();
}
