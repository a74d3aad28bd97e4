//! WebSockets by raw bytes: conversations, and frames that the standard forbids.

use serde_json::json;

use crate::client::{Socket, UPGRADE, framed};
use crate::{origin, publish};

#[test]
fn one_socket_publishes_and_subscribes_to_several_topics() {
    let origin = origin("topics-socket", "4", "");
    let mut socket = Socket::open(&origin, "/topics/a/b");
    let subscribed = socket.next();
    assert_eq!(
        (&subscribed["subscribed"], &subscribed["sequence_number"]),
        (&json!("a/b"), &json!(1))
    );
    socket.say("{\"subscribe\":\"a/c\",\"id\":7}");
    let second = socket.next();
    assert_eq!((&second["subscribed"], &second["id"]), (&json!("a/c"), &json!(7)));
    socket
        .say("{\"publish\":\"a/c\",\"value\":{\"text\":\"hi\"},\"media_sequence\":3,\"id\":\"p\"}");
    let mut told = [socket.next(), socket.next()];
    told.sort_by_key(|value| value.get("topic").is_some());
    let [published, message] = told;
    assert_eq!((&published["published"], &published["id"]), (&json!("a/c"), &json!("p")));
    assert_eq!(published["topic_sequence_number"], 1);
    assert_eq!((&message["topic"], &message["item"]["media_sequence"]), (&json!("a/c"), &json!(3)));
    let (page, _) = publish(&origin, "/topics/a/b", "by post");
    let message = socket.next();
    assert_eq!(
        (&message["topic"], &message["item"]["value"]["text"]),
        (&json!("a/b"), &json!("by post"))
    );
    socket.say("{\"unsubscribe\":\"a/b\"}");
    assert_eq!(socket.next(), json!({"unsubscribed": "a/b"}));
    publish(&origin, "/topics/a/b", "unheard");
    let resume =
        format!("{{\"subscribe\":\"a/b\",\"sequence_page\":{page},\"sequence_number\":2}}");
    socket.say(&resume);
    assert_eq!(socket.next()["sequence_number"], 2);
    assert_eq!(socket.next()["item"]["value"]["text"], "unheard");
    socket.say("{\"subscribe\":\"a/d\",\"sequence_page\":5,\"sequence_number\":9}");
    assert_eq!(socket.next()["subscribed"], "a/d");
    assert_eq!(socket.next()["discontinuity"]["last_topic_sequence"], 8);
    for (request, status) in [
        ("{\"subscribe\":\"a/b\",\"id\":1}", 409),
        ("{\"unsubscribe\":\"x/y\"}", 404),
        ("{\"publish\":\"objects/a\",\"value\":{\"text\":\"\"}}", 403),
        ("{\"publish\":\"a/b\"}", 400),
        ("nonsense", 400),
    ] {
        socket.say(request);
        assert_eq!(socket.next()["error"]["status"], status, "{request}");
    }
    socket.raw(&framed(0x89, b"are you there"));
    let pong = socket.frame();
    assert_eq!((pong.opcode, pong.payload.as_slice()), (10, &b"are you there"[..]));
    socket.raw(&framed(0x88, &4001u16.to_be_bytes()));
    assert_eq!(socket.closed(), 4001);
    let mut bare = Socket::open(&origin, "/topics");
    bare.say("{\"subscribe\":\"a/b\",\"from\":\"earliest\"}");
    assert_eq!(bare.next()["sequence_number"], 1);
    assert_eq!(bare.next()["item"]["topic_sequence_number"], 1);
    origin.stop();
}

/// The answer to a handshake left before the socket had joined its topic: what another client then
/// published at once never came, and a test with two sockets hung.
#[test]
fn a_socket_that_is_open_has_joined_its_topic() {
    let origin = origin("topics-joined", "4", "");
    for round in 0..50 {
        let target = format!("/topics/a/t{round}?messages=values");
        let mut listener = Socket::open(&origin, &target);
        let mut speaker = Socket::open(&origin, &target);
        speaker.raw(&framed(0x81, b"now"));
        assert_eq!(listener.frame().payload, b"now", "round {round}");
    }
    origin.stop();
}

#[test]
fn a_socket_of_values_says_what_it_hears_and_nothing_else() {
    let rules = "[[topic]]\npattern = \"few/*\"\nmessages_per_second = 1\n";
    let origin = origin("topics-values", "4", rules);
    let mut socket = Socket::open(&origin, "/topics/a/b?messages=values");
    let mut other = Socket::open(&origin, "/topics/a/b");
    assert_eq!(other.next()["subscribed"], "a/b");
    let text = "a \"quoted\" line\n\u{0}\u{1f600}";
    for (first, payload) in [(0x81, text.as_bytes()), (0x82, b"\xff\x00"), (0x81, b""), (0x82, b"")]
    {
        socket.raw(&framed(first, payload));
        let frame = socket.frame();
        assert_eq!((frame.opcode, frame.payload.as_slice()), (first & 0x0F, payload));
    }
    assert_eq!(other.next()["item"]["value"]["text"], text);
    assert_eq!(other.next()["item"]["value"]["binary"], "/wA=");
    let (page, number) = publish(&origin, "/topics/a/b", "by post");
    assert_eq!(socket.frame().payload, b"by post");
    let from = |number| {
        format!("/topics/a/b?messages=values&sequence_page={page}&sequence_number={number}")
    };
    let mut late = Socket::open(&origin, &from(number));
    assert_eq!(late.frame().payload, b"by post");
    let closed = |target: &str, bytes: &[u8]| {
        let mut socket = Socket::open(&origin, target);
        socket.raw(bytes);
        socket.close()
    };
    let large = framed(0x81, &[b'x'; 16 * 1024 + 1]);
    for (target, bytes, code, word) in [
        ("/topics/objects/a?messages=values", framed(0x81, b"a"), 1008, "the origin's own"),
        ("/topics/a/b?messages=values", large, 1009, "limit"),
        ("/topics/few/a?messages=values", framed(0x81, b"a").repeat(9), 1013, "rule"),
        (&from(number + 9), Vec::new(), 1008, "missed"),
    ] {
        let (told, reason) = closed(target, &bytes);
        assert!(told == code && reason.contains(word), "{target}: {told} {reason}");
    }
    for target in ["/topics?messages=values", "/topics/a/b?messages=xml"] {
        assert_eq!(origin.request("GET", target, UPGRADE, b"").status, 400, "{target}");
    }
    origin.stop();
}

#[test]
fn frames_that_are_forbidden_end_the_socket_with_a_code() {
    let origin = origin("topics-frames", "2", "");
    for (bytes, code) in [
        (vec![0x81, 0x01, b'a'], 1002),
        (framed(0xC1, b"a"), 1002),
        (framed(0x83, b"a"), 1002),
        (framed(0x80, b"a"), 1002),
        (framed(0x89, &[0; 126]), 1002),
        (framed(0x88, &[3]), 1002),
        (framed(0x82, b"a"), 1003),
        (framed(0x81, b"\xff"), 1007),
        (framed(0x81, &vec![b'x'; 400_000]), 1009),
        (framed(0x88, b""), 1000),
    ] {
        let mut socket = Socket::open(&origin, "/topics/a/b");
        assert_eq!(socket.next()["subscribed"], "a/b");
        socket.raw(&bytes);
        assert_eq!(socket.closed(), code, "{:?}", &bytes[..bytes.len().min(8)]);
    }
    // Cut in the middle of a frame.
    let mut socket = Socket::open(&origin, "/topics/a/b");
    socket.raw(&framed(0x81, b"abc")[..4]);
    drop(socket);
    let status = |lines: &[&str]| origin.request("GET", "/topics/a/b", lines, b"").status;
    assert_eq!(status(&[UPGRADE[0], UPGRADE[1], UPGRADE[2], "Sec-WebSocket-Version: 8"]), 426);
    assert_eq!(status(&[UPGRADE[0], UPGRADE[1], UPGRADE[3]]), 400);
    origin.stop();
}

/// One without subscriptions was not told: it noticed the drain at its next ping, up to 15 s later.
#[test]
fn a_drain_ends_every_socket_at_once() {
    let mut origin = origin("topics-socket-drain", "2", "");
    let mut sockets: Vec<_> = ["/topics", "/topics/a/b", "/topics/a/b?messages=values", "/topics"]
        .map(|target| Socket::open(&origin, target))
        .into();
    assert_eq!(sockets[1].next()["subscribed"], "a/b");
    // One that had a subscription is as bare as one that never had.
    sockets[3].say("{\"subscribe\":\"a/c\"}");
    assert_eq!(sockets[3].next()["subscribed"], "a/c");
    sockets[3].say("{\"unsubscribe\":\"a/c\"}");
    assert_eq!(sockets[3].next()["unsubscribed"], "a/c");
    let begun = std::time::Instant::now();
    origin.terminate();
    for socket in &mut sockets {
        assert_eq!(socket.close().0, 1001);
    }
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    drop(sockets);
    assert_eq!(origin.wait().code(), Some(0), "{}", origin.log());
}
