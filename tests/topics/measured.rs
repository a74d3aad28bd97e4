//! Counts of single topics in the metrics: over all shards, by every way, bounded, and honest about
//! what found no place.

use std::collections::BTreeMap;

use crate::client::{Socket, Stream};
use crate::support::wire::Client;
use crate::support::{Origin, PATIENCE, eventually};
use crate::{origin, position};

/// Topics that have counts of their own (`limits::TOPIC_SERIES_MAX`).
const SERIES_MAX: usize = 256;

/// The samples of a family of topics, by label.
fn by_topic(origin: &Origin, family: &str) -> BTreeMap<String, u64> {
    let mut admin = Client::connect(origin.admin).unwrap();
    let answer = admin.request("GET", "/metrics", &[], b"").unwrap();
    let text = answer.text();
    let samples =
        text.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix("{topic=\""));
    samples
        .map(|sample| {
            let (name, value) = sample.rsplit_once("\"} ").unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn subscribers(origin: &Origin) -> BTreeMap<String, u64> {
    by_topic(origin, "headwater_topic_subscribers_by_topic")
}

#[test]
fn subscribers_are_counted_by_topic_over_all_shards_and_ways() {
    let rules = "[[topic]]\npattern = \"show/*\"\nmetrics = true\nage_ms = 500\n";
    let origin = origin("topics-measured", "4", rules);
    assert_eq!(subscribers(&origin), BTreeMap::new());
    let streams: Vec<_> =
        (0..12).map(|_| Stream::open(&origin, "/topics/show/a?from=earliest", &[]).0).collect();
    let mut sockets: Vec<_> = (0..3).map(|_| Socket::open(&origin, "/topics/show/a")).collect();
    for socket in &mut sockets {
        assert_eq!(socket.next()["subscribed"], "show/a");
        socket.say("{\"subscribe\":\"show/b\"}");
        assert_eq!(socket.next()["subscribed"], "show/b");
    }
    let odd = Stream::open(&origin, "/topics/show/%22%5C,%7D%E2%82%AC", &[]).0;
    let others: Vec<_> = (0..5).map(|_| Stream::open(&origin, "/topics/other/a", &[]).0).collect();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| origin.get("/topics/show/b?wait_ms=5000").status);
        let expected = [("show/a", 15), ("show/b", 4), ("show/\\\"\\\\,}\u{20ac}", 1)];
        let expected = BTreeMap::from(expected.map(|(name, count)| (name.to_owned(), count)));
        eventually("not everybody is counted, or others are", || subscribers(&origin) == expected);
        assert_eq!(poll.join().unwrap(), 200);
    });
    drop((sockets, odd, others));
    let left = || subscribers(&origin).get("show/a").copied();
    eventually("those that left are still counted", || left() == Some(12));
    drop(streams);
    eventually("the topic is forgotten and has a series", || subscribers(&origin).is_empty());
    origin.stop();
}

#[test]
fn publishers_are_counted_by_topic_though_nobody_subscribes() {
    let names = ["ann", "bob", "eve"];
    let secret = |name: &str| format!("secret-of-the-player-{name}");
    let tokens = names.map(|name| {
        let secret = secret(name);
        format!("[[token]]\nname = \"{name}\"\ntoken = \"{secret}\"\ntopic_publish = \"**\"\n")
    });
    let rules = format!("[[topic]]\npattern = \"show/**\"\nmetrics = true\n{}", tokens.concat());
    let origin = origin("topics-measured-publishers", "2", &rules);
    let begun = std::time::Instant::now();
    let counted =
        || by_topic(&origin, "headwater_topic_publishers_by_topic").get("show/beat").copied();
    while counted() != Some(3) {
        assert!(begun.elapsed() < PATIENCE + PATIENCE, "{:?}", counted());
        for name in names {
            let line = format!("Authorization: Bearer {}", secret(name));
            position(&origin.request("POST", "/topics/show/beat", &[&line], b"beat"));
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(subscribers(&origin).get("show/beat"), Some(&0));
    origin.stop();
}

#[test]
fn series_are_bounded_and_what_finds_no_place_is_counted_until_it_gets_one() {
    let rules = "[[topic]]\npattern = \"show/*\"\nmetrics = true\n\
        [[topic]]\npattern = \"brief/*\"\nmetrics = true\nage_ms = 8000\n";
    let origin = origin("topics-measured-many", "4", rules);
    let (_first, _) = Stream::open(&origin, "/topics/show/first", &[]);
    eventually("the first topic has no series", || subscribers(&origin).len() == 1);
    let mut client = origin.client();
    for number in 1..SERIES_MAX + 20 {
        let target = format!("/topics/brief/{number}");
        position(&client.request("POST", &target, &[], b"x").unwrap());
    }
    let unmeasured = || origin.metric("headwater_topics_unmeasured", "");
    eventually("topics without a place are not counted", || unmeasured() == 20.0);
    let (_late, _) = Stream::open(&origin, "/topics/show/late", &[]);
    eventually("a late topic without a place is not counted", || unmeasured() == 21.0);
    let full = subscribers(&origin);
    assert_eq!((full.len(), full.get("show/first")), (SERIES_MAX, Some(&1)));
    assert_eq!(full.get("show/late"), None);
    // When others are forgotten those that waited have their places.
    let both = [("show/first".to_owned(), 1), ("show/late".to_owned(), 1)].into();
    eventually("the late topic has got no place", || subscribers(&origin) == both);
    assert_eq!(unmeasured(), 0.0);
    origin.stop();
}
