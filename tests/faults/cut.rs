//! Uploads that end in the middle, and clients that go before their answers.

use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::scaled;
use crate::slow::narrow;
use crate::stage::{Stage, wait_for};
use crate::support::pattern;
use crate::support::wire::Client;

/// How a client goes.
#[derive(Clone, Copy, Debug)]
pub enum Leave {
    /// Closes in good order.
    Close,
    /// Ends its sending side and waits for what comes.
    HalfClose,
    /// By a reset.
    Reset,
}

/// Ends a connection with a reset.
pub fn reset(client: Client) {
    let stream: TcpStream = client.writer();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop((client, stream));
}

/// An upload that breaks off is as if it had never begun: the key is absent, or its old version is
/// there; its memory is free; who reads it while it arrives is cut without a last chunk.
#[test]
fn broken_uploads_leave_nothing_behind() {
    let stage = Stage::new("broken");
    let old = pattern(1, 3000);
    stage.origin.put("/cut/old.m4s", &old);
    stage.origin.put("/cut/old", &old);
    // Meters are brought up to date now and then.
    thread::sleep(Duration::from_millis(100));
    let used = stage.origin.metric("headwater_arena_used_bytes", "");
    let framings = ["Content-Length: 900000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nf000\r\n"];
    for leave in [Leave::Close, Leave::HalfClose, Leave::Reset] {
        for framing in framings {
            for key in ["/cut/old.m4s", "/cut/old", "/cut/new.m4s", "/cut/new.mpd", "/cut/x/new"] {
                let head = format!("PUT {key} HTTP/1.1\r\nHost: a\r\n{framing}");
                let mut client = stage.origin.client();
                client.send(&[head.as_bytes(), &pattern(2, 50_000)].concat()).unwrap();
                leave_in_the_middle(client, leave);
                if key.contains("old") {
                    assert!(stage.origin.get(key).body == old, "{key}, {leave:?}: the old version");
                    continue;
                }
                // Until the origin has seen the end, a growing one may be read, and cut.
                let get = || stage.origin.client().request("GET", key, &[], b"");
                let is_absent = || get().is_ok_and(|answer| answer.status == 404);
                wait_for(key, is_absent, || format!("{leave:?}: {:?}", get()));
            }
        }
    }
    let now = || stage.origin.metric("headwater_arena_used_bytes", "");
    wait_for("memory", || now() <= used, || format!("{} of {used}", now()));
    let names = || stage.origin.get("/?Path=/cut").text().matches("\"Name\"").count();
    wait_for("names", || names() == 2, || stage.origin.get("/?Path=/cut").text().into_owned());
    stage.end();
}

fn leave_in_the_middle(mut client: Client, leave: Leave) {
    match leave {
        Leave::Close => drop(client),
        Leave::Reset => reset(client),
        Leave::HalfClose => {
            client.stream().shutdown(Shutdown::Write).unwrap();
            let answer = client.answer(false).expect("half a body is answered");
            assert_eq!(answer.status, 400, "{}", answer.text());
            assert!(client.is_closed());
        }
    }
}

/// Readers of a growing segment whose encoder dies get what had come and no last chunk.
#[test]
fn readers_of_a_broken_segment_are_cut() {
    let stage = Stage::new("broken-growing");
    for round in 0..scaled(4) {
        let mut writer = stage.origin.client();
        let key = format!("/live{round}/seg.m4s");
        writer.begin_chunked(&key, &[]).unwrap();
        writer.chunk(&pattern(1, 100_000)).unwrap();
        wait_for("growing", || is_readable(&stage, &key), String::new);
        let mut readers: Vec<Client> = (0..8).map(|_| stage.origin.client()).collect();
        for (number, reader) in readers.iter_mut().enumerate() {
            let version = if number % 4 == 3 { "1.0" } else { "1.1" };
            let head = format!("GET {key} HTTP/{version}\r\nHost: a\r\n\r\n");
            reader.send(head.as_bytes()).unwrap();
            assert_eq!(reader.head().unwrap().status, 200);
        }
        thread::sleep(Duration::from_millis(50));
        if round % 2 == 0 {
            drop(writer)
        } else {
            reset(writer)
        }
        for (number, mut reader) in readers.into_iter().enumerate() {
            // A close-delimited reader can tell only by a reset.
            let end = match number % 4 {
                3 => reader.rest().map(drop),
                _ => every_chunk(&mut reader),
            };
            assert!(end.is_err(), "reader {number} thinks that it has everything");
        }
        wait_for("absent", || stage.origin.get(&key).status == 404, String::new);
    }
    stage.end();
}

/// Whether an object that is still arriving is found.
pub fn is_readable(stage: &Stage, key: &str) -> bool {
    let mut client = stage.origin.client();
    client.send(format!("GET {key} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    client.head().unwrap().status == 200
}

fn every_chunk(reader: &mut Client) -> std::io::Result<()> {
    while reader.next_chunk()?.is_some() {}
    Ok(())
}

/// A packager pipelines its uploads and leaves without reading one answer: every upload that
/// reached this machine is stored.
#[test]
fn pipelined_uploads_of_a_client_that_left_are_stored() {
    let stage = Stage::new("left");
    for (round, leave) in [Leave::Close, Leave::Reset, Leave::Close].into_iter().enumerate() {
        let mut client = stage.origin.client();
        let count = 60;
        let mut bytes = Vec::new();
        for number in 0..count {
            let body = pattern(number, 900);
            let key = format!("/left{round}/{number}.m4s");
            if number % 2 == 0 {
                bytes.extend(format!("PUT {key} HTTP/1.1\r\nHost: a\r\n").into_bytes());
                bytes.extend_from_slice(b"Content-Length: 900\r\n\r\n");
                bytes.extend_from_slice(&body);
            } else {
                bytes.extend(format!("PUT {key} HTTP/1.1\r\nHost: a\r\n").into_bytes());
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n384\r\n");
                bytes.extend_from_slice(&body);
                bytes.extend_from_slice(b"\r\n0\r\n\r\n");
            }
        }
        client.send(&bytes).unwrap();
        // Everything has to be on the other side, where only the origin can lose it.
        wait_for("delivery", || unacknowledged(&client) == 0, String::new);
        match leave {
            Leave::Reset => reset(client),
            _ => drop(client),
        }
        for number in 0..count {
            let key = format!("/left{round}/{number}.m4s");
            let stored = || stage.origin.get(&key).body == pattern(number, 900);
            wait_for(&key, stored, || stage.origin.get(&key).text().into_owned());
        }
    }
    stage.end();
}

/// Bytes that the peer's kernel has not acknowledged.
fn unacknowledged(client: &Client) -> i32 {
    use std::os::fd::AsRawFd;
    let stream = client.writer();
    let mut count = 0;
    // SAFETY: the descriptor is open and `count` is an int, as TIOCOUTQ wants.
    let failed = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut count) };
    assert_eq!(failed, 0);
    count
}

/// A client that ends its sending side behind its requests gets all its answers.
#[test]
fn half_closed_clients_are_answered() {
    let stage = Stage::new("half-closed");
    let body = pattern(6, 5 << 20);
    let mut client = stage.origin.client();
    let head = "PUT /half/large HTTP/1.1\r\nHost: a\r\nContent-Length: 5242880\r\n\r\n";
    client.send(&[head.as_bytes(), &body].concat()).unwrap();
    client.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer(false).unwrap().status, 200);
    assert!(client.is_closed());
    let mut client = stage.origin.client();
    client.send(&b"GET /half/large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5)).unwrap();
    client.stream().shutdown(Shutdown::Write).unwrap();
    for _ in 0..5 {
        assert!(client.answer(false).unwrap().body == body);
    }
    assert!(client.is_closed());
    stage.end();
}

/// Clients that ended their sending side read slowly. The kernel takes a peer's end for a reason to
/// try a waiting send again: answers by copy came to an end in the middle, once the kernel had
/// tried 128 times in a row, and a wait for room to share pages ended at once, for ever.
#[test]
fn slow_half_closed_clients_get_everything_and_cost_no_time() {
    let stage = Stage::with("half-slow", "[timeouts]\nsend_rate_window_ms = 20000", 64, &[]);
    let body = pattern(8, 5 << 20);
    stage.origin.put("/half/large", &body);
    let mut clients: Vec<Client> = (0..10)
        .map(|_| {
            let mut client = narrow(stage.origin.http);
            client.send(&b"GET /half/large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)).unwrap();
            client.stream().shutdown(Shutdown::Write).unwrap();
            client
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    let before_ms = stage.cpu_ms();
    thread::sleep(Duration::from_millis(500));
    let used_ms = stage.cpu_ms() - before_ms;
    assert!(used_ms <= 200, "{used_ms} ms of two cores' time while nobody read");
    for client in &mut clients {
        // By zero-copy the kernel may open so small a window by 512 bytes at a time, five times a
        // second: that took hours.
        socket2::SockRef::from(&*client.stream()).set_recv_buffer_size(4 << 20).unwrap();
        for _ in 0..2 {
            assert!(client.answer(false).unwrap().body == body);
        }
        assert!(client.is_closed());
    }
    drop(clients);
    stage.end();
}
