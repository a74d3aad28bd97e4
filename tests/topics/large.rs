//! Messages of many MiB where a rule allows them, and what those cost who send, hold or want them.

use crate::client::{Socket, Stream, framed};
use crate::support::{Origin, eventually};
use crate::{origin, position, publish};

const MIB: usize = 1 << 20;
const RULES: &str = "[[topic]]\npattern = \"large/*\"\nmessage_bytes_max = \"16MiB\"\n\
    bytes_max = \"32MiB\"\n[timeouts]\nbody_idle_ms = 60_000\n";

/// The first bytes of a text frame that announces so many.
fn announced(len: usize) -> Vec<u8> {
    let mut head = vec![0x81, 0xFF];
    head.extend_from_slice(&(len as u64).to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    head
}

#[test]
fn a_rule_lets_large_messages_through_by_every_way() {
    let origin = origin("topics-large", "2", RULES);
    let mut values = Socket::open(&origin, "/topics/large/a?messages=values");
    let mut json = Socket::open(&origin, "/topics/large/a");
    assert_eq!(json.next()["subscribed"], "large/a");
    let (mut stream, _) = Stream::open(&origin, "/topics/large/a", &[]);
    let text = "\"large\" ".repeat(MIB / 8);
    assert_eq!(text.len(), MIB);
    values.raw(&framed(0x81, text.as_bytes()));
    let frame = values.frame();
    assert!(frame.opcode == 1 && frame.payload == text.as_bytes());
    assert!(json.next()["item"]["value"]["text"] == text);
    assert!(stream.next().unwrap().json()["value"]["text"] == text);
    drop((json, stream));
    let lines = ["Content-Type: application/octet-stream"];
    let posted = origin.request("POST", "/topics/large/a", &lines, &vec![7; 16 * MIB]);
    let (page, number) = position(&posted);
    assert_eq!(number, 2);
    let frame = values.frame();
    assert!(frame.opcode == 2 && frame.payload == vec![7; 16 * MIB]);
    let target = format!("/topics/large/a?sequence_page={page}&sequence_number=2");
    let polled = origin.get(&target);
    assert!(polled.status == 200 && polled.body.len() > 16 * MIB);
    // One byte more, and what is announced without being there.
    let over = origin.request("POST", "/topics/large/a", &lines, &vec![7; 16 * MIB + 1]);
    assert_eq!(over.status, 413);
    for len in [16 * MIB + 1, 1 << 40] {
        let mut socket = Socket::open(&origin, "/topics/large/a?messages=values");
        socket.raw(&announced(len));
        assert_eq!(socket.close().0, 1009);
    }
    // Topics without such a rule have the bounds that they had.
    let mut small = Socket::open(&origin, "/topics/small/a?messages=values");
    small.raw(&announced(MIB));
    assert_eq!(small.close().0, 1009);
    let mut json = Socket::open(&origin, "/topics/large/b");
    json.raw(&announced(384 * 1024 + 1));
    assert_eq!((json.frame().opcode, json.closed()), (1, 1009));
    assert_eq!(origin.request("POST", "/topics/small/a", &[], &[b'x'; 16 * 1024 + 1]).status, 413);
    origin.stop();
}

/// Begins messages of 16 MiB of which so many bytes come.
fn begun(origin: &Origin, bytes: usize, count: usize) -> Vec<Socket> {
    let part = vec![b'x'; bytes];
    let begin = |_| {
        let mut socket = Socket::open(origin, "/topics/large/a?messages=values");
        socket.raw(&announced(16 * MIB));
        socket.raw(&part);
        socket
    };
    (0..count).map(begin).collect()
}

#[test]
fn messages_that_arrive_and_never_end_have_one_bound_and_keep_nobody_out() {
    let rules = format!("{RULES}send_rate_window_ms = 60_000\n");
    let origin = origin("topics-arriving", "1", &rules);
    let arriving = || origin.metric("headwater_topic_arriving_bytes", "");
    let before = origin.anonymous_bytes();
    // Announced and hardly there: nothing is reserved.
    let announced = begun(&origin, 1000, 300);
    publish(&origin, "/topics/small/a", "x");
    let growth = origin.anonymous_bytes().saturating_sub(before);
    assert!(growth < 300 * 32 * 1024, "{growth} bytes for 300 announced messages");
    assert_eq!(arriving(), 0.0);
    let mut late = Socket::open(&origin, "/topics/large/a?messages=values");
    // Memory grows by doubling from what came first: a message of a MiB holds one to two.
    let mut held = Vec::new();
    while arriving() < 61.0 * MIB as f64 {
        let before = arriving();
        held.extend(begun(&origin, MIB, 1));
        eventually("what arrives is charged", || arriving() > before + 0.9 * MIB as f64);
    }
    assert!((30..=64).contains(&held.len()), "{}", held.len());
    let post = |bytes| origin.request("POST", "/topics/large/b", &[], &vec![b'x'; bytes]);
    // Of two lengths: what one message needs depends on its first pieces, too, and where only the
    // sockets needed more than there was left, this went on for ever.
    let is_full = (0..40).any(|at| {
        held.extend(begun(&origin, [300, 100][at % 2] * 1024, 1));
        post(300 * 1024).status == 503
    });
    assert!(is_full);
    let posted = post(MIB);
    assert_eq!((posted.status, posted.header("Retry-After")), (503, Some("1")));
    let (code, reason) = begun(&origin, MIB, 1).remove(0).close();
    assert!(code == 1013 && reason.contains("arriving"), "{code} {reason}");
    assert!(arriving() <= 64.0 * MIB as f64);
    // Small messages go on, on the same topic, too.
    publish(&origin, "/topics/large/a", &"x".repeat(30_000));
    assert_eq!(late.frame().payload.len(), 30_000);
    let growth = origin.anonymous_bytes().saturating_sub(before);
    assert!(growth < (96 << 20), "{growth}");
    // A reader that takes nothing of the next message would keep the origin from its end.
    drop((announced, late, held));
    eventually("everything is given back", || arriving() == 0.0);
    let posted = origin.request("POST", "/topics/large/a", &[], &vec![b'x'; 8 * MIB]);
    assert_eq!(posted.status, 204);
    origin.stop();
}

#[test]
fn a_message_that_arrives_no_further_ends_its_socket_in_time() {
    let rules = format!("{RULES}send_rate_window_ms = 2000\n");
    let origin = origin("topics-drips", "1", &rules);
    // As slow as an upload that stands still.
    let (code, reason) = begun(&origin, 300 * 1024, 1).remove(0).close();
    assert!(code == 1008 && reason.contains("in time"), "{code} {reason}");
    let arriving = || origin.metric("headwater_topic_arriving_bytes", "");
    eventually("everything is given back", || arriving() == 0.0);
    origin.stop();
}

/// What a stream's socket did not take of a message was copied for each of them.
#[test]
fn streams_that_do_not_read_share_what_waits_for_them() {
    let rules = format!("{RULES}send_rate_window_ms = 60_000\n");
    let origin = origin("topics-stalled", "1", &rules);
    let open = |_| Stream::open(&origin, "/topics/large/a", &[]).0;
    let stalled: Vec<_> = (0..100).map(open).collect();
    eventually("all are in the passes' care", || {
        origin.metric("headwater_topic_subscribers", "sse") == 100.0
    });
    let before = origin.anonymous_bytes();
    // More than any socket takes, in one message.
    publish(&origin, "/topics/large/a", &"x".repeat(16 * MIB));
    publish(&origin, "/topics/small/a", "x");
    let growth = origin.anonymous_bytes().saturating_sub(before);
    assert!(growth < (160 << 20), "{growth} bytes: 100 copies would be 1,600 MiB");
    drop(stalled);
    origin.stop();
}
