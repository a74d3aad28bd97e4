//! What clients see of TCP: no answer waits for a delayed acknowledgement, and what they send
//! behind an error is drained, within bounds.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::{Origin, PATIENCE};

/// Encoders write a head and a body apart without TCP_NODELAY: their kernel holds the second write
/// back until the first is acknowledged, which a kernel that delays acknowledgements does after
/// 40 ms. Once a connection has carried answers that is its habit.
#[test]
fn a_body_that_waits_for_an_acknowledgement_gets_it_at_once() {
    let origin = Origin::start(&["--shards", "1"]);
    let mut stream = TcpStream::connect(origin.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut times = Vec::new();
    for _ in 0..60 {
        let begun = Instant::now();
        stream
            .write_all(b"PUT /live/1.ts HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
            .unwrap();
        ["one", "two", "six"].iter().for_each(|part| stream.write_all(part.as_bytes()).unwrap());
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
        times.push(begun.elapsed());
    }
    // The best of many: a busy machine delays some, a delayed acknowledgement all of them.
    let best = times[20..].iter().min().unwrap();
    assert!(*best < Duration::from_millis(30), "{times:?}");
    origin.stop();
}

/// Behind an error that ends a connection the client is read for a while, so that it gets to see
/// the answer; not for ever, however much it sends, and however slowly.
#[test]
fn what_is_sent_behind_an_error_is_drained_within_bounds() {
    let origin = Origin::start(&["--shards", "1"]);
    for (piece, pause) in [(1 << 18, Duration::ZERO), (1, Duration::from_millis(20))] {
        let mut client = origin.client();
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n").unwrap();
        assert_eq!(client.answer(false).unwrap().status, 400);
        let (begun, bytes) = (Instant::now(), vec![b'x'; piece]);
        let mut sent = 0;
        while client.send(&bytes).is_ok() {
            sent += bytes.len();
            assert!(begun.elapsed() < PATIENCE, "still read after {sent} bytes");
            std::thread::sleep(pause);
        }
        // 16 MiB are drained, and the sockets hold some more.
        assert!(sent < 32 << 20, "{sent} bytes were taken");
    }
    assert_eq!(origin.request("GET", "/a", &[], b"").status, 404);
    origin.stop();
}
