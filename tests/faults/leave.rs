//! Readers that go in the middle, talk behind the end, or come back at once.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::cut::reset;
use crate::scaled;
use crate::slow::with_window;
use crate::stage::Stage;
use crate::support::pattern;
use crate::support::wire::Client;

/// Readers that reset, or close, in the middle of a large answer: nothing stays behind.
#[test]
fn readers_that_vanish_leave_nothing_pinned() {
    let stage = Stage::with("vanish", "", 64, &[]);
    let body = pattern(1, 20 << 20);
    stage.origin.put("/v/o", &body);
    for round in 0..scaled(40) {
        let mut client = match round % 4 {
            0 => with_window(stage.origin.http, 128 * 1024),
            _ => stage.origin.client(),
        };
        client.send(&b"GET /v/o HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1 + round % 3)).unwrap();
        client.head().unwrap();
        client.take(round * 10_000).unwrap();
        if round % 2 == 0 { reset(client) } else { drop(client) }
    }
    assert!(stage.origin.get("/v/o").body == body);
    stage.end();
}

/// Bytes behind `Connection: close`, few or many, are not answered and take nothing away from the
/// answer before them.
#[test]
fn garbage_behind_the_last_request_is_ignored() {
    let stage = Stage::new("garbage");
    let body = pattern(2, 300_000);
    stage.origin.put("/g/o", &body);
    let garbage: [Vec<u8>; 4] = [
        b"x".to_vec(),
        b"GET /g/o HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        pattern(3, 2_000_000),
        b"\x16\x03\x01".repeat(1000),
    ];
    for (number, garbage) in garbage.iter().enumerate() {
        for is_old in [false, true] {
            let mut client = stage.origin.client();
            let head: &[u8] = match is_old {
                true => b"GET /g/o HTTP/1.0\r\n\r\n",
                false => b"GET /g/o HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            };
            let mut writer = client.writer();
            let bytes = [head, garbage].concat();
            let sender = thread::spawn(move || writer.write_all(&bytes));
            let answer = client.answer(false).unwrap();
            assert!(answer.status == 200 && answer.body == body, "garbage {number}, {is_old}");
            assert!(client.rest().unwrap_or_default().is_empty(), "garbage {number} is answered");
            let _ = sender.join().unwrap();
        }
    }
    stage.end();
}

/// Requests that are given up before they are answered, as fast as they can be made.
#[test]
fn a_storm_of_given_up_requests_passes() {
    let stage = Stage::new("storm");
    let body = pattern(4, 100_000);
    stage.origin.put("/s/o", &body);
    let address = stage.origin.http;
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            thread::spawn(move || {
                for number in 0..scaled(300) {
                    let Ok(mut client) = Client::connect(address) else { continue };
                    let method = ["GET", "PUT", "DELETE", "HEAD"][(number + thread) % 4];
                    let head = format!(
                        "{method} /s/x{thread}{number} HTTP/1.1\r\n\
                        Host: a\r\nContent-Length: 5\r\n\r\nab"
                    );
                    let _ = client.send(&head.as_bytes()[..head.len() - number % 7]);
                    let _ = client.send(b"GET /s/o HTTP/1.1\r\nHost: a\r\n\r\n");
                    if number % 2 == 0 { reset(client) } else { drop(client) }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    thread::sleep(Duration::from_millis(100));
    assert!(stage.origin.get("/s/o").body == body);
    stage.end();
}
