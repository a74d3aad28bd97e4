//! Slow, greedy and broken peers: each gets a clear answer or the end, and nobody else notices.
//!
//! Every case ends with a probe on a connection that was open all the time, a clean stop, and no
//! error line in the log.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Read;
use std::time::{Duration, Instant};

use support::wire::Client;
use support::{Origin, PATIENCE, Scratch, pattern};

/// Short patience, so that the tests need little of it.
const HASTY: &str = "object_bytes_max = '4MiB'\n[timeouts]\nhead_ms = 600\nbody_idle_ms = 600\n\
    send_rate_window_ms = 1000\nsend_rate_min_bytes_per_s = 100_000\nlinger_ms = 300\n";

/// An origin with a configuration of its own, and a connection that must stay well.
struct Case {
    origin: Origin,
    probe: Client,
    _scratch: Scratch,
}

impl Case {
    fn new(name: &str, config: &str, flags: &[&str]) -> Self {
        let scratch = Scratch::new(name);
        let file = scratch.path("headwater.toml");
        std::fs::write(&file, config).unwrap();
        let origin = Origin::start(&[&["--config", &file], flags].concat());
        origin.put("/probe/a.ts", b"well");
        let probe = origin.client();
        Self { origin, probe, _scratch: scratch }
    }

    /// The probe is answered quickly.
    #[track_caller]
    fn probe(&mut self) {
        let started = Instant::now();
        let answer = self.probe.request("GET", "/probe/a.ts", &[], b"").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"well"[..]));
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[track_caller]
    fn end(mut self) {
        self.probe();
        drop(self.probe);
        self.origin.stop();
    }
}

#[test]
fn a_slow_head_is_408() {
    let mut case = Case::new("slow-head", HASTY, &[]);
    let mut slow = case.origin.client();
    let started = Instant::now();
    slow.send(b"GET /a HTTP/1.1\r\nHost: o\r\n").unwrap();
    // Drop by drop does not buy more time.
    let mut writer = slow.writer();
    let dripping = std::thread::spawn(move || {
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(50));
            if std::io::Write::write_all(&mut writer, b"X: y\r\n").is_err() {
                break;
            }
        }
    });
    case.probe();
    let answer = slow.answer(false).unwrap();
    assert_eq!(answer.status, 408);
    assert_eq!(answer.header("Connection"), Some("close"));
    assert!(started.elapsed() < Duration::from_millis(1800), "{:?}", started.elapsed());
    dripping.join().unwrap();
    case.end();
}

#[test]
fn a_body_that_stops_is_408_and_leaves_nothing() {
    let mut case = Case::new("slow-body", HASTY, &[]);
    for lines in [&["Content-Length: 100"][..], &["Transfer-Encoding: chunked"]] {
        let mut slow = case.origin.client();
        let head = format!("PUT /a/1.ts HTTP/1.1\r\nHost: o\r\n{}\r\n\r\n", lines[0]);
        slow.send(head.as_bytes()).unwrap();
        slow.send(b"3\r\nabc\r\n").unwrap();
        case.probe();
        let answer = slow.answer(false).unwrap();
        assert_eq!(answer.status, 408, "{lines:?}");
        assert!(slow.is_closed());
        assert_eq!(case.origin.get("/a/1.ts").status, 404);
    }
    case.end();
}

#[test]
fn an_upload_above_the_limit_is_413_and_leaves_nothing() {
    let mut case = Case::new("too-large", HASTY, &[]);
    let mut greedy = case.origin.client();
    greedy.begin_chunked("/a/1.ts", &[]).unwrap();
    let piece = pattern(1, 500_000);
    let mut sent = 0;
    while sent < 12 && greedy.chunk(&piece).is_ok() {
        sent += 1;
    }
    assert!(sent >= 8, "{sent} pieces");
    // The answer may be lost to a reset when the client goes on writing.
    if let Ok(answer) = greedy.answer(false) {
        assert_eq!(answer.status, 413);
    }
    assert_eq!(case.origin.get("/a/1.ts").status, 404);
    case.probe();
    let exact = pattern(2, 4 << 20);
    case.origin.put("/a/2.ts", &exact);
    assert!(case.origin.get("/a/2.ts").body == exact);
    case.end();
}

/// Asks for an object and reads only its first bytes.
fn stalled_reader(origin: &Origin, target: &str) -> Client {
    let mut reader = origin.client();
    reader.send(format!("GET {target} HTTP/1.1\r\nHost: o\r\n\r\n").as_bytes()).unwrap();
    reader.stream().read_exact(&mut [0; 64]).unwrap();
    reader
}

#[test]
fn readers_that_stall_delay_no_writer_and_are_cut_off() {
    let config = HASTY.replace("4MiB", "32MiB");
    let mut case = Case::new("slow-read", &config, &["--shards", "4"]);
    let (old, new) = (pattern(1, 24 << 20), pattern(2, 24 << 20));
    case.origin.put("/a/1.mp4", &old);
    let readers: Vec<Client> = (0..8).map(|_| stalled_reader(&case.origin, "/a/1.mp4")).collect();
    let started = Instant::now();
    case.origin.put("/a/1.mp4", &new);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(case.origin.get("/a/1.mp4").body == new);
    case.probe();
    // The minimum rate ends them; with them goes the old version's memory.
    let deadline = Instant::now() + PATIENCE;
    let used = |case: &Case| case.origin.metric("headwater_arena_used_bytes", "");
    while used(&case) > 26.0 * f64::from(1 << 20) {
        assert!(Instant::now() < deadline, "{} bytes stay in use", used(&case));
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(readers);
    case.end();
}

#[test]
fn a_full_memory_is_507_and_recovers() {
    let mut case = Case::new("full", "", &["--memory", "32MiB", "--shards", "2"]);
    let body = pattern(1, 3_000_000);
    let mut stored = 0;
    let refusal = loop {
        let target = format!("/a/{stored}.mp4");
        let answer = case.origin.request("PUT", &target, &[], &body);
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored < 20, "the memory never fills");
    };
    assert_eq!(refusal.status, 507, "{}", refusal.text());
    assert_eq!(refusal.header("Cache-Control"), Some("max-age=1"));
    assert!(stored >= 5, "{stored} objects of 3 MB fit into 32 MiB");
    // A chunked upload, whose size nobody knows beforehand, fails as clearly.
    let mut chunked = case.origin.client();
    chunked.begin_chunked("/b/1.ts", &[]).unwrap();
    let mut writer = chunked.writer();
    let pushing = std::thread::spawn(move || {
        let _ = std::io::Write::write_all(&mut writer, b"989680\r\n");
        let _ = std::io::Write::write_all(&mut writer, &pattern(3, 10_000_000));
        let _ = std::io::Write::write_all(&mut writer, b"\r\n0\r\n\r\n");
    });
    match chunked.answer(false) {
        Ok(answer) => assert_eq!(answer.status, 507),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    pushing.join().unwrap();
    assert_eq!(case.origin.get("/b/1.ts").status, 404);
    // Nothing that was acknowledged is lost.
    for number in 0..stored {
        assert!(case.origin.get(&format!("/a/{number}.mp4")).body == body, "{number}");
    }
    case.probe();
    assert_eq!(case.origin.request("DELETE", "/a/0.mp4", &[], b"").status, 200);
    case.origin.put("/a/0.mp4", &body);
    case.end();
}

#[test]
fn a_flood_of_connections_is_bounded() {
    let mut case = Case::new("flood", "connections_max = 100\n", &["--shards", "2"]);
    let mut flood = Vec::new();
    for _ in 0..400 {
        if let Ok(client) = Client::connect(case.origin.http) {
            flood.push(client);
        }
    }
    // The longest idle connections give way, the probe's among them; a new one is served, or told
    // at once that there is no room.
    case.probe = case.origin.client();
    let answer = case.probe.request("GET", "/probe/a.ts", &[], b"").unwrap();
    assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    // Per shard, some more may be open while those that gave way still close.
    let open = case.origin.metric("headwater_connections_open", "");
    assert!(open <= 100.0 + 2.0 * 64.0, "{open} connections are open");
    drop(flood);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = Client::connect(case.origin.http)
            .and_then(|mut client| client.request("GET", "/probe/a.ts", &[], b""));
        if answer.is_ok_and(|answer| answer.status == 200) {
            case.probe = case.origin.client();
            break;
        }
        assert!(Instant::now() < deadline, "no new connection is served");
        std::thread::sleep(Duration::from_millis(50));
    }
    case.end();
}

#[test]
fn thousands_of_requests_in_a_row_are_answered_in_order() {
    const COUNT: usize = 5000;
    let mut case = Case::new("pipeline", "", &["--shards", "2"]);
    let sizes = [1, 3000, 70_000];
    for (index, &size) in sizes.iter().enumerate() {
        case.origin.put(&format!("/p/{index}.ts"), &pattern(index as u64, size));
    }
    let mut greedy = case.origin.client();
    let mut writer = greedy.writer();
    let asking = std::thread::spawn(move || {
        for number in 0..COUNT {
            let request = format!("GET /p/{}.ts HTTP/1.1\r\nHost: o\r\n\r\n", number % 3);
            std::io::Write::write_all(&mut writer, request.as_bytes()).unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    case.probe();
    for number in 0..COUNT {
        let answer = greedy.answer(false).unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, sizes[number % 3]), "{number}");
    }
    asking.join().unwrap();
    case.end();
}

#[test]
fn only_the_bearer_of_a_token_writes() {
    let config = "[publish]\ntokens = ['0123456789abcdef-encoder']\n";
    let scratch = Scratch::new("publish");
    let file = scratch.path("headwater.toml");
    std::fs::write(&file, config).unwrap();
    let origin = Origin::start(&["--config", &file]);
    let right = "Authorization: Bearer 0123456789abcdef-encoder";
    let wrong = "Authorization: Bearer 0123456789abcdef-encodes";
    let answer = origin.request("PUT", "/a.ts", &[], b"x");
    assert_eq!(answer.status, 401);
    assert!(answer.header("WWW-Authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(origin.request("PUT", "/a.ts", &[wrong], b"x").status, 403);
    assert_eq!(origin.request("PUT", "/a.ts", &[right], b"x").status, 200);
    assert_eq!(origin.request("DELETE", "/a.ts", &[], b"").status, 401);
    let page = "Origin: http://studio.example";
    assert_eq!(origin.request("PUT", "/a.ts", &[right, page], b"y").status, 200);
    assert_eq!(origin.get("/a.ts").body, b"y");
    origin.stop();
}

/// A shard without connections once ended at the signal, and with it the owner of a key whose
/// upload was still arriving on another shard: the upload got no answer. All shards now end
/// together.
#[test]
fn a_drain_finishes_the_answers_under_way() {
    let mut origin = Origin::start(&["--shards", "2"]);
    let body = pattern(1, 20_000_000);
    origin.put("/a/1.mp4", &body);
    let mut idle = origin.client();
    assert_eq!(idle.request("GET", "/none", &[], b"").unwrap().status, 404);
    let mut reader = origin.client();
    reader.send(b"GET /a/1.mp4 HTTP/1.1\r\nHost: o\r\n\r\n").unwrap();
    let mut writer = origin.client();
    // 100 says that the upload is under way: one that is still in the socket may be cut.
    let head =
        b"PUT /a/2.ts HTTP/1.1\r\nHost: o\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    writer.send(head).unwrap();
    assert_eq!(writer.head().unwrap().status, 100);
    writer.send(b"ha").unwrap();
    let head = reader.head().unwrap();
    assert_eq!(head.status, 200);
    origin.terminate();
    assert!(idle.is_closed());
    std::thread::sleep(Duration::from_millis(200));
    writer.send(b"lf").unwrap();
    assert_eq!(writer.answer(false).unwrap().status, 200);
    assert!(reader.take(body.len()).unwrap() == body);
    drop(reader);
    drop(writer);
    assert_eq!(origin.wait().code(), Some(0), "{}", origin.log());
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut origin = Origin::start(&[]);
    let mut writer = origin.client();
    writer.send(b"PUT /a/2.ts HTTP/1.1\r\nHost: o\r\nContent-Length: 4\r\n\r\nha").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    origin.terminate();
    std::thread::sleep(Duration::from_millis(200));
    origin.terminate();
    assert_eq!(origin.wait().code(), Some(143), "{}", origin.log());
    assert!(started.elapsed() < Duration::from_secs(3));
}
