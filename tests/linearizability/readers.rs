//! Slow readers in the middle of an old version delay no writer, and get that version to its end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{Origin, PATIENCE, pattern};

const OBJECT_BYTES: usize = 16 << 20;
const READERS: usize = 12;
const REPLACEMENTS: u64 = 24;
/// A write that waited for a reader would wait for seconds.
const WRITE_MS_MAX: u128 = 250;

#[test]
fn slow_readers_in_an_old_version_delay_no_writer() {
    let origin = Origin::start(&["--shards", "4", "--memory", "512MiB"]);
    let target = "/live/large.bin";
    let old = pattern(1, OBJECT_BYTES);
    origin.put(target, &old);
    let mut readers: Vec<_> = (0..READERS).map(|_| begin(origin.http, target)).collect();
    let mut slowest_ms = 0;
    let mut writer = origin.client();
    for round in 2..2 + REPLACEMENTS {
        let body = pattern(round, 200_000);
        let begun = Instant::now();
        let answer = writer.request("PUT", target, &[], &body).unwrap();
        slowest_ms = slowest_ms.max(begun.elapsed().as_millis());
        assert_eq!(answer.status, 200, "{}", answer.text());
        // On whatever shard the next connection lands: the new version.
        assert!(origin.get(target).body == body, "a read after write {round} got something else");
    }
    println!("slowest of {REPLACEMENTS} writes: {slowest_ms} ms");
    assert!(slowest_ms < WRITE_MS_MAX, "a write took {slowest_ms} ms");
    let pinned = origin.metric("headwater_arena_pinned_bytes", "");
    assert!(pinned >= OBJECT_BYTES as f64, "{pinned} bytes are pinned: nobody was in the middle");
    for (stream, got) in &mut readers {
        let have = got.len();
        got.resize(OBJECT_BYTES, 0);
        stream.read_exact(&mut got[have..]).unwrap();
        assert!(*got == old, "a slow reader got other bytes");
    }
    // Its memory comes back once the last of them is done.
    let deadline = Instant::now() + PATIENCE;
    while origin.metric("headwater_arena_pinned_bytes", "") > 0.0 {
        assert!(Instant::now() < deadline, "the old version is never freed");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop((readers, writer));
    origin.stop();
}

/// A reader with a small window that has read the head and a little of the body.
fn begin(address: SocketAddr, target: &str) -> (TcpStream, Vec<u8>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Not smaller: over loopback the kernel copies zero-copy sends into pages that it charges to
    // the reader whole, and a small window then moves a few hundred bytes at a time.
    socket.set_recv_buffer_size(1024 * 1024).unwrap();
    socket.connect(&SockAddr::from(address)).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: origin\r\n\r\n").unwrap();
    let mut got = vec![0; 100_000];
    stream.read_exact(&mut got).unwrap();
    let head_len = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(got.drain(..head_len).collect()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {OBJECT_BYTES}\r\n")), "{head}");
    (stream, got)
}
