//! Subscriptions end when the credential does that let them in. They went on for as long as the
//! connection did: a token of an hour followed a topic for a day.

use std::io::ErrorKind;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::client::{Socket, Stream};
use crate::position;
use crate::support::access::{Guarded, bearer, reload};

const STUDIO: &str = "studio-secret-0123456789abcdef";
const SHORT: &str = "short-secret-0123456789abcdef0";
const KEY: &str = "url-key-0123456789abcdef0123456789";
const CONFIG: &str = r#"
[[token]]
name = "studio"
token = "studio-secret-0123456789abcdef"
topic_publish = "**"
topic_subscribe = "**"
[[url_key]]
key_file = "k1.key"
"#;
/// What an ended subscription is told.
const EXPIRED: &str = "the credential has expired";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Waits for a second of Unix time.
fn wait_until(second: u64) {
    while now_s() < second {
        thread::sleep(Duration::from_millis(20));
    }
}

/// An end was in its second or soon after it, never before.
#[track_caller]
fn expect_in_time(ends_s: u64) {
    let late_s = now_s().checked_sub(ends_s).expect("it ended too early");
    assert!(late_s <= 3, "it ended {late_s} s late");
}

/// A stream that is told nothing ends with its last chunk, and in time.
#[track_caller]
fn expect_last_chunk(mut stream: Stream, ends_s: u64) {
    assert_eq!(stream.next().unwrap_err().kind(), ErrorKind::UnexpectedEof, "the last chunk");
    expect_in_time(ends_s);
}

struct Rig {
    guarded: Guarded,
}

impl Rig {
    fn new(name: &str) -> Self {
        let files = [("k1.key", KEY)];
        Self { guarded: Guarded::start_with(name, "2", CONFIG, &files) }
    }

    /// Has a token for `show/**`, and to read `live/**`, that is good for three seconds; its end.
    fn short(&self) -> u64 {
        let ends_s = now_s() + 3;
        let date = Command::new("date")
            .args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("@{ends_s}")])
            .output()
            .unwrap();
        let date = String::from_utf8(date.stdout).unwrap();
        let token = format!(
            "[[token]]\nname = \"short\"\ntoken = \"{SHORT}\"\ntopic_publish = \"show/**\"\n\
             topic_subscribe = \"show/**\"\nread = \"live/**\"\nexpires = {}\n",
            date.trim()
        );
        self.guarded.write(&format!("{CONFIG}{token}"));
        let answer = reload(self.guarded.origin.admin, &[]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        ends_s
    }

    /// A query that grants reads below a path for so many seconds, and its end.
    fn sign(&self, path: &str, seconds: u64) -> (String, u64) {
        let key = self.guarded.scratch.path("k1.key");
        let lasts = format!("{seconds}s");
        let output = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(["sign", &format!("http://h{path}"), "--key", &key])
            .args(["--expires", &lasts, "--prefix", path])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let url = String::from_utf8(output.stdout).unwrap();
        let query = url.trim().split_once('?').unwrap().1.to_owned();
        let ends = query.split_once("hw_expires=").unwrap().1.split('&').next().unwrap();
        let ends_s = ends.parse().unwrap();
        (query, ends_s)
    }

    #[track_caller]
    fn publish(&self, topic: &str, text: &str) {
        let (target, line) = (format!("/topics/{topic}"), bearer(STUDIO));
        position(&self.guarded.origin.request("POST", &target, &[&line], text.as_bytes()));
    }
}

/// Says something on a socket; the answer.
fn ask(socket: &mut Socket, text: &str) -> Value {
    socket.say(text);
    socket.next()
}

#[test]
fn every_way_to_subscribe_ends_with_its_token() {
    let rig = Rig::new("topics-expiry");
    let origin = &rig.guarded.origin;
    let ends_s = rig.short();
    let (line, query) = (bearer(SHORT), format!("token={SHORT}"));
    let mut chunked = Stream::begin(origin, "HTTP/1.1", "/topics/show/a", &[&line]);
    let mut plain = Stream::begin(origin, "HTTP/1.0", "/topics/show/silent", &[&line]);
    let mut socket = Socket::open(origin, &format!("/topics/show/a?{query}"));
    let mut values = Socket::open(origin, &format!("/topics/show/a?messages=values&{query}"));
    let mut bare = Socket::open(origin, &format!("/topics?{query}"));
    assert_eq!(socket.next()["subscribed"], "show/a");
    rig.publish("show/a", "in time");
    assert_eq!(chunked.next().unwrap().json()["value"]["text"], "in time");
    assert_eq!(socket.next()["item"]["value"]["text"], "in time");
    assert_eq!(values.frame().payload, b"in time");
    let say = "{\"publish\":\"show/b\",\"value\":{\"text\":\"x\"},\"id\":7}";
    assert_eq!(ask(&mut bare, say)["published"], "show/b");
    thread::scope(|scope| {
        let polls = scope.spawn(|| {
            let mut client = origin.client();
            let target = "/topics/show/silent?wait_ms=15000";
            let ended = client.request("GET", target, &[&line], b"").unwrap();
            expect_in_time(ends_s);
            // The connection goes on; with another credential it is as good as new.
            let again = client.request("GET", target, &[&line], b"").unwrap();
            let studio = bearer(STUDIO);
            let target = "/topics/show/silent?wait_ms=0";
            let other = client.request("GET", target, &[&studio], b"").unwrap();
            (ended, again, other)
        });
        for stream in [&mut chunked, &mut plain] {
            let rest = stream.rest();
            expect_in_time(ends_s);
            assert!(rest.contains(&format!(": {EXPIRED}\n\n")), "{rest:?}");
        }
        for socket in [&mut socket, &mut values] {
            assert_eq!(socket.close(), (1008, EXPIRED.to_owned()));
            expect_in_time(ends_s);
        }
        let (ended, again, other) = polls.join().unwrap();
        for answer in [ended, again] {
            assert_eq!(answer.status, 401, "{}", answer.text());
            assert!(answer.text().contains(EXPIRED), "{}", answer.text());
            assert_eq!(answer.header("Cache-Control"), Some("no-store"));
            assert!(answer.headers.iter().any(|(_, value)| value.contains("invalid_token")));
        }
        assert_eq!(other.status, 200);
    });
    // A socket without subscriptions stays, and may do nothing any more.
    for say in [say, "{\"subscribe\":\"show/b\",\"id\":7}"] {
        let refused = ask(&mut bare, say);
        assert_eq!((&refused["error"]["status"], &refused["id"]), (&401.into(), &7.into()));
        assert_eq!(refused["error"]["message"], EXPIRED);
    }
    assert_eq!(origin.metric("headwater_topic_expired_total", ""), 5.0);
    let told = origin.request("GET", "/topics/show/b?from=earliest", &[&bearer(STUDIO)], b"");
    let told = told.text();
    assert!(told.contains("\"token_id\":\"short\""), "{told}");
    assert!(told.contains("\"next_sequence_number\":2}"), "one message: {told}");
    rig.guarded.stop();
}

#[test]
fn a_stream_ends_with_its_last_chunk() {
    let rig = Rig::new("topics-expiry-chunk");
    let (query, ends_s) = rig.sign("/topics/show/", 3);
    let target = format!("/topics/show/a?{query}");
    let (stream, _) = Stream::open(&rig.guarded.origin, &target, &[]);
    expect_last_chunk(stream, ends_s);
    rig.guarded.stop();
}

/// Whoever may follow for ever what happens to objects that he may read for a time.
#[test]
fn object_events_end_with_the_right_to_read() {
    let rig = Rig::new("topics-expiry-objects");
    let ends_s = rig.short();
    let target = format!("/topics/objects/live?token={SHORT}");
    let (stream, _) = Stream::open(&rig.guarded.origin, &target, &[&bearer(STUDIO)]);
    expect_last_chunk(stream, ends_s);
    rig.guarded.stop();
}

/// One socket, two credentials: a topic each, and one for which both are good.
#[test]
fn a_socket_ends_with_the_first_of_its_subscriptions() {
    let rig = Rig::new("topics-expiry-socket");
    let origin = &rig.guarded.origin;
    let (signed, _) = rig.sign("/topics/", 60);
    let ends_s = rig.short();
    let target = format!("/topics?token={SHORT}&{signed}");
    let subscribe = |topic: &str| {
        let mut socket = Socket::open(origin, &target);
        let answer = ask(&mut socket, &format!("{{\"subscribe\":\"{topic}\"}}"));
        assert_eq!(answer["subscribed"], topic, "{answer}");
        socket
    };
    // The signed URL is good for every topic, so neither topic ends with the token.
    let (mut shown, mut other) = (subscribe("show/a"), subscribe("other/a"));
    // Here the token alone counts, also beside a topic for which there is another.
    let (narrow, _) = rig.sign("/topics/other/", 60);
    let target = format!("/topics?token={SHORT}&{narrow}");
    let mixed = || {
        let mut socket = Socket::open(origin, &target);
        for topic in ["other/a", "show/a"] {
            let answer = ask(&mut socket, &format!("{{\"subscribe\":\"{topic}\"}}"));
            assert_eq!(answer["subscribed"], topic, "{answer}");
        }
        socket
    };
    let (mut both, mut left) = (mixed(), mixed());
    let answer = ask(&mut left, "{\"unsubscribe\":\"show/a\"}");
    assert_eq!(answer["unsubscribed"], "show/a");
    assert_eq!(both.close(), (1008, EXPIRED.to_owned()));
    expect_in_time(ends_s);
    wait_until(ends_s + 1);
    rig.publish("show/a", "late");
    assert_eq!(shown.next()["item"]["value"]["text"], "late");
    rig.publish("other/a", "late");
    for socket in [&mut other, &mut left] {
        assert_eq!(socket.next()["item"]["value"]["text"], "late");
    }
    rig.guarded.stop();
}

/// More streams than a turn looks at, of two lengths and in turns, while messages come.
#[test]
fn streams_that_end_among_others_disturb_nobody() {
    let rig = Rig::new("topics-expiry-many");
    let origin = &rig.guarded.origin;
    let (long, _) = rig.sign("/topics/show/", 60);
    let (short, ends_s) = rig.sign("/topics/show/", 4);
    let open = |query: &str| Stream::open(origin, &format!("/topics/show/a?{query}"), &[]).0;
    let mut streams: Vec<_> = (0..160).map(|_| (open(&short), open(&long))).collect();
    assert!(now_s() < ends_s, "opening took too long for this test");
    let mut sent = 0;
    while now_s() < ends_s + 1 {
        sent += 1;
        rig.publish("show/a", "x");
        thread::sleep(Duration::from_millis(50));
    }
    for (short, long) in &mut streams {
        let mut next = 1;
        while let Ok(event) = short.next() {
            assert_eq!(event.number(), next);
            next += 1;
        }
        assert!(next <= sent, "a stream had all {sent} messages, also those behind its end");
        assert!((1..=sent).all(|number| long.next().unwrap().number() == number));
    }
    assert_eq!(origin.metric("headwater_topic_expired_total", ""), 160.0);
    assert_eq!(origin.metric("headwater_topic_subscribers", "sse"), 160.0);
    rig.guarded.stop();
}
