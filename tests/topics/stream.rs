//! Server-Sent Events: live, resumed, overrun, cut.

use std::io::{ErrorKind, Write};

use crate::client::Stream;
use crate::support::Origin;
use crate::{origin, publish};

#[test]
fn a_stream_tells_what_is_published_and_resumes_after_the_last_id() {
    let origin = origin("topics-stream", "4", "");
    let (mut stream, first) = Stream::open(&origin, "/topics/a/b", &[]);
    assert!(stream.head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{}", stream.head);
    let (page, number) = publish(&origin, "/topics/a/b", "one\ntwo");
    assert_eq!((first.id, number), (format!("{page}:0"), 1));
    let event = stream.next().unwrap();
    assert_eq!((event.id.as_str(), event.kind.as_str()), (format!("{page}:1").as_str(), ""));
    assert_eq!(event.json()["value"]["text"], "one\ntwo");
    for text in ["2", "3", "4"] {
        publish(&origin, "/topics/a/b", text);
    }
    let numbers: Vec<u64> = (0..3).map(|_| stream.next().unwrap().number()).collect();
    assert_eq!(numbers, [2, 3, 4]);
    let last = format!("Last-Event-ID: {page}:2");
    let query = format!("/topics/a/b?last_event_id={page}%3A2");
    for (target, lines) in [("/topics/a/b", vec![last.as_str()]), (query.as_str(), vec![])] {
        let (mut resumed, first) = Stream::open(&origin, target, &lines);
        assert_eq!(first.id, format!("{page}:2"));
        assert_eq!(resumed.next().unwrap().number(), 3);
        assert_eq!(resumed.next().unwrap().number(), 4);
    }
    let (mut all, _) = Stream::open(&origin, "/topics/a/b?from=earliest", &[]);
    assert_eq!(all.next().unwrap().number(), 1);
    let (mut lost, _) = Stream::open(&origin, "/topics/a/b", &["Last-Event-ID: 17:9"]);
    let gap = lost.next().unwrap();
    assert_eq!((gap.kind.as_str(), &gap.id), ("discontinuity", &format!("{page}:0")));
    assert_eq!(gap.json()["last_topic_sequence"], 9);
    assert_eq!(lost.next().unwrap().number(), 1);
    origin.stop();
}

#[test]
fn a_stream_to_an_old_client_is_plain_and_a_drain_ends_streams() {
    let mut origin = origin("topics-drain", "2", "");
    let mut old = Stream::begin(&origin, "HTTP/1.0", "/topics/a/b", &[]);
    let (mut new, _) = Stream::open(&origin, "/topics/a/b", &[]);
    publish(&origin, "/topics/a/b", "x");
    assert_eq!(old.next().unwrap().number(), 1);
    assert_eq!(new.next().unwrap().number(), 1);
    origin.terminate();
    assert_eq!(new.next().unwrap_err().kind(), ErrorKind::UnexpectedEof, "the last chunk");
    assert_eq!(old.next().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(origin.wait().code(), Some(0), "{}", origin.log());
}

#[test]
fn a_subscriber_that_says_something_or_leaves_disturbs_nobody() {
    let origin = origin("topics-leave", "2", "");
    let (mut stays, _) = Stream::open(&origin, "/topics/a/b", &[]);
    let (talks, _) = Stream::open(&origin, "/topics/a/b", &[]);
    talks.socket().write_all(&[b'x'; 100_000]).unwrap();
    let mut talks = talks;
    for round in 1..=20 {
        let leavers: Vec<_> = (0..5).map(|_| Stream::open(&origin, "/topics/a/b", &[]).0).collect();
        drop(leavers);
        publish(&origin, "/topics/a/b", "x");
        assert_eq!(stays.next().unwrap().number(), round);
        assert_eq!(talks.next().unwrap().number(), round);
    }
    wait_for_subscribers(&origin, 2.0);
    origin.stop();
}

fn wait_for_subscribers(origin: &Origin, count: f64) {
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while origin.metric("headwater_topic_subscribers", "sse") != count {
        assert!(std::time::Instant::now() < deadline, "subscribers that left are still counted");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
