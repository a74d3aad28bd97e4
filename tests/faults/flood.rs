//! More connections than descriptors: idle and half-heard ones give way, new ones are answered.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use crate::scaled;
use crate::stage::{Stage, wait_for};
use crate::support::wire::Client;

/// Descriptors that the origin may have in these tests.
const DESCRIPTORS: &[&str] = &["prlimit", "--nofile=200:200"];

/// Opens many more connections than fit, sends `bytes` on each, and holds them. The probe of the
/// stage, which opens a new connection every other time, is answered throughout.
fn flood(name: &str, bytes: &[u8]) {
    let stage = Stage::with(name, "", 64, DESCRIPTORS);
    let mut held = Vec::new();
    for count in 0..scaled(600) {
        let Ok(mut client) = Client::connect(stage.origin.http) else { continue };
        let _ = client.send(bytes);
        held.push(client);
        if count % 20 == 0 {
            thread::sleep(Duration::from_millis(20));
        }
    }
    for mut client in held {
        client.stream().set_nonblocking(true).unwrap();
        match client.rest() {
            // Still open, or closed without a word while it was idle.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(rest) if rest.is_empty() => {}
            Ok(rest) => {
                let text = String::from_utf8_lossy(&rest).into_owned();
                let told = ["HTTP/1.1 503 ", "HTTP/1.1 408 ", "HTTP/1.1 404 "];
                assert!(told.iter().any(|status| text.starts_with(status)), "{text}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    let log = stage.origin.log();
    assert!(!log.contains("Too many open files"), "{log}");
    stage.end();
}

/// Connections that say nothing.
#[test]
fn idle_connections_give_way() {
    flood("flood-idle", b"");
}

/// Connections that begin a head and do not end it.
#[test]
fn half_heard_requests_give_way() {
    flood("flood-heads", b"GET /probe/object HTTP/1.1\r\nHost: ");
}

/// Connections that were answered once and are kept.
#[test]
fn kept_connections_give_way() {
    flood("flood-kept", b"GET /probe/missing HTTP/1.1\r\nHost: a\r\nConnection: x\r\n\r\n");
}

/// When every connection is busy there is nobody to give way: a new one is told 503, and to come
/// back. The busy ones end by their own timeouts, then everybody is served again.
#[test]
fn busy_connections_are_bounded_and_the_rest_is_told_503() {
    let mut stage = Stage::with("flood-busy", "", 64, DESCRIPTORS);
    // The probe opens connections, which are refused here: that is the point.
    stage.end_watch();
    let mut kept = stage.origin.client();
    assert_eq!(kept.request("GET", "/probe/object", &[], b"").unwrap().status, 200);
    let mut held = Vec::new();
    let mut refused = 0;
    for number in 0..400 {
        let Ok(mut client) = Client::connect(stage.origin.http) else { continue };
        let head =
            format!("PUT /flood/{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        let _ = client.send(head.as_bytes());
        if client.is_silent(Duration::from_millis(2)) {
            held.push(client);
            continue;
        }
        let answer = client.answer(false).unwrap();
        assert!(matches!(answer.status, 503 | 408), "{}", answer.status);
        assert_eq!(answer.header("Connection"), Some("close"));
        refused += usize::from(answer.status == 503);
    }
    assert!(refused > 0, "nobody was refused");
    wait_for(
        "room",
        || stage.origin.request("GET", "/probe/object", &[], b"").status == 200,
        String::new,
    );
    for mut client in held {
        let status = client.answer(false).map(|answer| answer.status);
        assert!(matches!(status, Ok(408 | 503)) || status.is_err(), "{status:?}");
    }
    stage.end();
}

/// Descriptors that others took: idle connections give way to new ones without delay.
///
/// An accept without a descriptor used to wait for the next scan, a quarter of a second, for each
/// connection that it could take; nobody gave way.
#[test]
fn idle_connections_give_their_descriptors() {
    let mut stage = Stage::with("flood-taken", "", 64, &["prlimit", "--nofile=64:64"]);
    stage.end_watch();
    let taken: Vec<Client> =
        (0..30).filter_map(|_| Client::connect(stage.origin.admin).ok()).collect();
    let idle: Vec<Client> = (0..24).map(|_| stage.origin.client()).collect();
    wait_for("exhaustion", || stage.descriptors() >= 64, || stage.descriptors().to_string());
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(stage.origin.get("/probe/object").status, 200);
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(1000), "a new connection waited for {took:?}");
    }
    drop((taken, idle));
    stage.end();
}

/// Descriptors that run out altogether: accepting stops, does not spin, and goes on when there are
/// descriptors again, on every shard, also on one that has no connection to wake it.
///
/// An accept that ended for lack of a descriptor was armed again by the scan of deadlines, and a
/// shard without connections had no deadlines to scan for: it was deaf for ever.
#[test]
fn no_descriptor_is_left() {
    let mut stage = Stage::with("flood-emfile", "", 64, &["prlimit", "--nofile=64:64"]);
    stage.end_watch();
    let greedy: Vec<Client> =
        (0..60).filter_map(|_| Client::connect(stage.origin.admin).ok()).collect();
    wait_for("exhaustion", || stage.descriptors() >= 64, || stage.descriptors().to_string());
    let mut waiting: Vec<Client> = (0..16).map(|_| stage.origin.client()).collect();
    for client in &mut waiting {
        client.send(b"GET /probe/object HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    let cpu_ms = stage.cpu_ms();
    thread::sleep(Duration::from_secs(1));
    let spent_ms = stage.cpu_ms() - cpu_ms;
    assert!(spent_ms < 300, "{spent_ms} ms of CPU in a second without descriptors");
    drop(greedy);
    for mut client in waiting {
        assert_eq!(client.answer(false).unwrap().status, 200);
    }
    stage.end();
}
