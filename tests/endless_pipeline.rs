//! A client that never stops pipelining.
//!
//! Requests that are spread over two receive buffers are put together on the heap, and the room
//! was given up only when it was used to its end. A client whose requests never ended where a
//! buffer ended had all the bytes it ever sent kept: 64 MiB of requests cost 64 MiB of memory.
//! Later a turn waited for as many receptions as the turn before had seen, and a pipeline alone
//! made that number grow until 34 MiB of receive buffers were in use.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::thread;

use support::Origin;

const REQUESTS: usize = 50_000;
/// The number of bytes is no divisor of a buffer's, so that some request is always incomplete.
const REQUEST_BYTES: usize = 1_003;

#[test]
fn requests_that_were_answered_leave_nothing_behind() {
    let origin = Origin::start(&["--shards", "1"]);
    let client = origin.client();
    let mut writer = client.writer();
    let mut reader = client.writer();
    let line = "HEAD /absent HTTP/1.1\r\nHost: origin\r\nCookie: ";
    let request = format!("{line}{}\r\n\r\n", "x".repeat(REQUEST_BYTES - line.len() - 4));
    assert_eq!(request.len(), REQUEST_BYTES);
    let before = origin.anonymous_bytes();
    let answers = thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        // An answer without a body ends in an empty line, which may be cut anywhere.
        let (mut answers, mut end) = (0, 0);
        while answers < REQUESTS {
            let len = reader.read(&mut bytes).unwrap();
            assert!(len > 0, "the connection ended after {answers} answers");
            for &byte in &bytes[..len] {
                end = if byte == b"\r\n\r\n"[end] { end + 1 } else { usize::from(byte == b'\r') };
                answers += end / 4;
                end %= 4;
            }
        }
    });
    // No piece ends where a request ends.
    let (half, rest) = request.split_at(REQUEST_BYTES / 2);
    let piece = format!("{rest}{}{half}", request.repeat(99));
    writer.write_all(half.as_bytes()).unwrap();
    (1..REQUESTS / 100).for_each(|_| writer.write_all(piece.as_bytes()).unwrap());
    writer.write_all(format!("{rest}{}", request.repeat(99)).as_bytes()).unwrap();
    answers.join().unwrap();
    let grown = origin.anonymous_bytes().saturating_sub(before);
    println!("{} bytes sent, {grown} bytes of memory", REQUESTS * REQUEST_BYTES);
    assert!(grown < 4 << 20, "{grown} bytes stayed behind");
    drop((client, writer));
    origin.stop();
}
