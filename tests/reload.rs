//! Reads that wait: reload directives of low-latency players, and objects that are to come.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use support::wire::{Answer, Client};
use support::{Origin, Scratch};

const FLAGS: &[&str] = &["--shards", "4"];

/// Segments `first..next`, the last two with parts, then `open` parts of segment `next`.
fn playlist(first: u64, next: u64, open: u32) -> String {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n\
         #EXT-X-PART-INF:PART-TARGET=1\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,\
         PART-HOLD-BACK=3,CAN-SKIP-UNTIL=12\n"
    );
    for msn in first..next {
        let parts = if msn + 2 >= next { 2 } else { 0 };
        (0..parts).for_each(|part| {
            writeln!(text, "#EXT-X-PART:DURATION=1,URI=\"p{msn}.{part}.m4s\"").unwrap();
        });
        writeln!(text, "#EXTINF:2,\ns{msn}.m4s").unwrap();
    }
    for part in 0..open {
        writeln!(text, "#EXT-X-PART:DURATION=1,URI=\"p{next}.{part}.m4s\"").unwrap();
    }
    text
}

fn ask(origin: &Origin, target: &str) -> Client {
    let mut client = origin.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: o\r\n\r\n").as_bytes()).unwrap();
    client
}

fn body(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

/// Whoever asks for a part that is to come gets the first version that has it, on every shard; all
/// get the same bytes, and a cache may keep them for six target durations.
#[test]
fn a_reload_waits_for_its_part() {
    let origin = Origin::start(FLAGS);
    for (version, open) in [(0, 0), (1, 1), (2, 2)] {
        if version == 0 {
            origin.put("/l/v.m3u8", playlist(10, 20, open).as_bytes());
            continue;
        }
        let target = format!("/l/v.m3u8?_HLS_msn=20&_HLS_part={}", open - 1);
        let mut waiting: Vec<Client> = (0..24).map(|_| ask(&origin, &target)).collect();
        assert!(waiting[0].is_silent(Duration::from_millis(100)));
        let plain = origin.get("/l/v.m3u8");
        assert_eq!(body(&plain), playlist(10, 20, open - 1), "a plain request waits for nothing");
        let text = playlist(10, 20, open);
        origin.put("/l/v.m3u8", text.as_bytes());
        for client in &mut waiting {
            let answer = client.answer(false).unwrap();
            assert_eq!((answer.status, body(&answer)), (200, text.as_str()));
            assert_eq!(answer.header("Cache-Control"), Some("max-age=12"));
        }
        // What is there is answered at once, as often as one asks.
        let again = waiting[3].request("GET", &target, &[], b"").unwrap();
        assert_eq!(body(&again), text);
    }
    // The next segment as a whole, on a connection that asks for something else behind it.
    let mut client = ask(&origin, "/l/v.m3u8?_HLS_msn=20");
    client.send(b"GET /l/v.m3u8 HTTP/1.1\r\nHost: o\r\n\r\n").unwrap();
    assert!(client.is_silent(Duration::from_millis(100)));
    origin.put("/l/v.m3u8", playlist(11, 21, 0).as_bytes());
    for _ in 0..2 {
        assert_eq!(body(&client.answer(false).unwrap()), playlist(11, 21, 0));
    }
    origin.stop();
}

/// A version that does not have the part wakes nobody's answer; the wait is bounded by three target
/// durations and ends in 503.
#[test]
fn a_wait_is_bounded_and_only_what_was_asked_for_ends_it() {
    let origin = Origin::start(FLAGS);
    let short = |open| playlist(10, 20, open).replace("TARGETDURATION:2", "TARGETDURATION:1");
    origin.put("/l/v.m3u8", short(0).as_bytes());
    let begun = Instant::now();
    let mut client = ask(&origin, "/l/v.m3u8?_HLS_msn=20&_HLS_part=2");
    for open in 1..3 {
        thread::sleep(Duration::from_millis(100));
        origin.put("/l/v.m3u8", short(open).as_bytes());
    }
    let answer = client.answer(false).unwrap();
    let waited = begun.elapsed();
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
    assert!(waited > Duration::from_millis(2_900) && waited < Duration::from_secs(6), "{waited:?}");
    assert_eq!(client.request("GET", "/l/v.m3u8", &[], b"").unwrap().status, 200);
    origin.stop();
}

/// Requests that break the draft's rules are told so at once; playlists that offer nothing ignore
/// the directives, like any unknown parameter.
#[test]
fn what_cannot_be_waited_for_is_refused() {
    let origin = Origin::start(FLAGS);
    origin.put("/l/v.m3u8", playlist(10, 20, 1).as_bytes());
    origin.put("/l/plain.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n");
    origin.put("/l/s.m4s", b"segment");
    for (target, status) in [
        ("/l/v.m3u8?_HLS_part=1", 400),
        ("/l/v.m3u8?_HLS_msn=22", 400),
        ("/l/v.m3u8?_HLS_msn=20&_HLS_part=4", 400),
        ("/l/v.m3u8?_HLS_msn=x", 400),
        ("/l/v.m3u8?_HLS_msn=3", 200),
        ("/l/plain.m3u8?_HLS_msn=7&_HLS_part=1&_HLS_skip=YES", 200),
        ("/l/absent.m3u8?_HLS_msn=7", 404),
        ("/l/s.m4s?_HLS_msn=7", 200),
    ] {
        let answer = origin.get(target);
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
    }
    let answer = origin.request("HEAD", "/l/v.m3u8?_HLS_msn=20&_HLS_part=0", &[], b"");
    assert_eq!((answer.status, answer.header("Cache-Control")), (200, Some("max-age=12")));
    origin.stop();
}

/// `_HLS_skip` leaves out what the player has; the delta has a tag of its own.
#[test]
fn delta_updates_are_made_here() {
    let origin = Origin::start(FLAGS);
    origin.put("/l/v.m3u8", playlist(10, 40, 1).as_bytes());
    let whole = origin.get("/l/v.m3u8");
    for _ in 0..2 {
        let delta = origin.get("/l/v.m3u8?_HLS_msn=40&_HLS_part=0&_HLS_skip=YES");
        assert_eq!(delta.status, 200);
        assert!(body(&delta).contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=23\n"), "{}", body(&delta));
        assert!(!body(&delta).contains("s32.m4s") && body(&delta).contains("s33.m4s"));
        assert_ne!(delta.header("ETag"), whole.header("ETag"));
        let tag = format!("If-None-Match: {}", delta.header("ETag").unwrap());
        let target = "/l/v.m3u8?_HLS_skip=YES";
        assert_eq!(origin.request("GET", target, &[&tag], b"").status, 304);
        let list = format!("{tag}, {}", whole.header("ETag").unwrap());
        assert_eq!(origin.request("GET", target, &[&list], b"").status, 304);
        let closing = origin.request("GET", target, &["Connection: close"], b"");
        assert_eq!(body(&closing), body(&delta));
        assert_eq!(closing.header("Cache-Control"), Some("max-age=1"));
    }
    origin.stop();
}

/// A GET for an object that is to come is held where the policy says so, and only there.
#[test]
fn a_get_waits_for_its_object_where_the_policy_says_so() {
    let folder = Scratch::new("reload-hold");
    let config = folder.path("headwater.toml");
    std::fs::write(&config, "[[path]]\npattern = \"held/**\"\nhold_ms = 1500\n").unwrap();
    let origin = Origin::start(&["--shards", "4", "--config", &config]);
    assert_eq!(origin.get("/other/1.m4s").status, 404);
    let mut waiting: Vec<Client> = (0..24).map(|_| ask(&origin, "/held/1.m4s")).collect();
    assert!(waiting[0].is_silent(Duration::from_millis(100)));
    // Readers get the bytes as they arrive.
    let mut writer = origin.client();
    writer.begin_chunked("/held/1.m4s", &[]).unwrap();
    writer.chunk(b"first").unwrap();
    for client in &mut waiting {
        assert_eq!(client.head().unwrap().status, 200);
        assert_eq!(client.next_chunk().unwrap().unwrap(), b"first");
    }
    writer.chunk(b"").unwrap();
    assert_eq!(writer.answer(false).unwrap().status, 200);
    let begun = Instant::now();
    let mut late = ask(&origin, "/held/2.m4s");
    assert_eq!(late.answer(false).unwrap().status, 404);
    assert!(begun.elapsed() > Duration::from_millis(1_400), "{:?}", begun.elapsed());
    origin.stop();
}

/// A drain answers those who wait instead of waiting for what they wait for.
#[test]
fn a_drain_answers_who_waits() {
    let mut origin = Origin::start(FLAGS);
    let far = playlist(10, 20, 0).replace("TARGETDURATION:2", "TARGETDURATION:20");
    origin.put("/l/v.m3u8", far.as_bytes());
    let mut waiting: Vec<Client> =
        (0..8).map(|_| ask(&origin, "/l/v.m3u8?_HLS_msn=20&_HLS_part=0")).collect();
    assert!(waiting[7].is_silent(Duration::from_millis(100)));
    origin.terminate();
    for client in &mut waiting {
        assert_eq!(client.answer(false).unwrap().status, 503);
    }
    assert!(origin.wait().success());
}
