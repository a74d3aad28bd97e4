//! Peers that are slower than patience allows: heads, bodies and readers.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::cut::is_readable;
use crate::scaled;
use crate::stage::{Stage, wait_for};
use crate::support::pattern;
use crate::support::wire::Client;

/// A connection with a receive buffer so small that a large answer cannot hide in it.
pub fn narrow(address: SocketAddr) -> Client {
    with_window(address, 16 * 1024)
}

/// A connection with a receive buffer of that many bytes. Very small ones make loopback drop and
/// send again what is sent by zero-copy: they are for readers that read little.
pub fn with_window(address: SocketAddr, bytes: usize) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
    socket.connect(&address.into()).unwrap();
    Client::over(TcpStream::from(socket)).unwrap()
}

/// Connections that send a head a byte at a time are told 408 when the head's time is over, however
/// steadily the bytes come.
#[test]
fn slow_heads_are_given_up() {
    let stage = Stage::new("slow-heads");
    let begun = Instant::now();
    let mut clients: Vec<Client> = (0..scaled(60)).map(|_| stage.origin.client()).collect();
    let head = b"GET /probe/object HTTP/1.1\r\nHost: a\r\nX: ";
    for client in &mut clients {
        client.send(head).unwrap();
    }
    while begun.elapsed() < Duration::from_millis(1500) {
        for client in &mut clients {
            let _ = client.send(b"x");
        }
        thread::sleep(Duration::from_millis(100));
    }
    for mut client in clients {
        let answer = client.answer(false).unwrap();
        assert_eq!(answer.status, 408, "{}", answer.text());
        assert_eq!(answer.header("Connection"), Some("close"));
        assert!(client.is_closed());
    }
    stage.end();
}

/// A connection on which nothing was ever sent is closed without a word, after its time.
#[test]
fn silent_connections_are_closed() {
    let stage = Stage::new("silent");
    let begun = Instant::now();
    let clients: Vec<Client> = (0..scaled(60)).map(|_| stage.origin.client()).collect();
    for mut client in clients {
        assert_eq!(client.rest().unwrap(), b"");
    }
    assert!(begun.elapsed() > Duration::from_millis(4900), "closed early: {:?}", begun.elapsed());
    stage.end();
}

/// A body that drips, declared or chunked, gets 408; a body that pauses for too long as well. What
/// was there before is still there.
#[test]
fn slow_bodies_are_refused_and_change_nothing() {
    let stage = Stage::new("slow-bodies");
    let old = pattern(3, 5000);
    let framings =
        ["Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n"];
    let mut peers = Vec::new();
    for (number, framing) in framings.iter().enumerate() {
        for drips in [true, false] {
            let key = format!("/slow/{number}-{drips}");
            stage.origin.put(&key, &old);
            let mut client = stage.origin.client();
            let head = format!("PUT {key} HTTP/1.1\r\nHost: a\r\n{framing}");
            client.send(&[head.as_bytes(), &[b'x'; 100]].concat()).unwrap();
            peers.push((key, drips, client));
        }
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2600) {
        for (_, _, client) in peers.iter_mut().filter(|peer| peer.1) {
            let _ = client.send(b"drip");
        }
        thread::sleep(Duration::from_millis(50));
    }
    for (key, drips, mut client) in peers {
        let answer = client.answer(false).unwrap();
        assert_eq!(answer.status, 408, "{key}: {}", answer.text());
        assert!(client.is_closed(), "{key}, {drips}");
        assert_eq!(stage.origin.get(&key).body, old, "{key}: the old version is intact");
    }
    stage.end();
}

/// A segment that is read while it arrives, slower and slower: its readers are cut without a last
/// chunk, and the key is absent again.
#[test]
fn readers_of_a_dripping_segment_are_cut() {
    let stage = Stage::new("drip-growing");
    let mut writer = stage.origin.client();
    writer.begin_chunked("/live/slow.m4s", &[]).unwrap();
    writer.chunk(&pattern(4, 3000)).unwrap();
    wait_for("growing", || is_readable(&stage, "/live/slow.m4s"), String::new);
    let mut readers: Vec<Client> = (0..4).map(|_| stage.origin.client()).collect();
    for reader in &mut readers {
        reader.send(b"GET /live/slow.m4s HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(reader.head().unwrap().status, 200);
        assert_eq!(reader.next_chunk().unwrap().unwrap(), pattern(4, 3000));
    }
    assert_eq!(writer.answer(false).unwrap().status, 408);
    for mut reader in readers {
        assert!(reader.next_chunk().is_err(), "no chunk, and no last one");
    }
    assert_eq!(stage.origin.get("/live/slow.m4s").status, 404);
    stage.end();
}

/// Readers that stop in the middle of a large body: they pin what they hold, no more than the
/// arena; a writer that replaces the object does not wait for them; and they are cut off.
#[test]
fn stuck_readers_delay_no_writer_and_are_cut_off() {
    let stage = Stage::with("stuck", "[timeouts]\nsend_rate_window_ms = 3000", 128, &[]);
    let versions: Vec<Vec<u8>> = (0..3).map(|seed| pattern(seed, 24 << 20)).collect();
    stage.origin.put("/vod/large", &versions[0]);
    let mut readers: Vec<Client> = (0..scaled(12)).map(|_| narrow(stage.origin.http)).collect();
    for reader in &mut readers {
        reader.send(b"GET /vod/large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let head = reader.head().unwrap();
        assert_eq!(head.header("Content-Length").unwrap(), (24 << 20).to_string());
    }
    let mut pinned: f64 = 0.0;
    for version in &versions[1..] {
        let begun = Instant::now();
        stage.origin.put("/vod/large", version);
        assert!(begun.elapsed() < Duration::from_secs(2), "a writer took {:?}", begun.elapsed());
        pinned = pinned.max(stage.pinned());
        assert!(stage.origin.get("/vod/large").body == *version);
    }
    assert!((24.0..=128.0).contains(&(pinned / 1_048_576.0)), "{pinned} bytes were pinned");
    wait_for("pins", || stage.pinned() == 0.0, || format!("{} bytes", stage.pinned()));
    for mut reader in readers {
        // What was on its way may still arrive, but not the whole body.
        let read = reader.rest().map_or(0, |bytes| bytes.len());
        assert!(read < 24 << 20, "a stuck reader got {read} bytes");
    }
    assert!(stage.origin.get("/vod/large").body == versions[2]);
    stage.end();
}

/// A thousand readers stop for ever in the middle of bodies that are replaced meanwhile: what they
/// pin is bounded, each is cut by the rate rule, and nothing is left of them: no memory, no byte in
/// a pipe, no slot, no notification that has not come.
#[test]
fn a_thousand_readers_that_stop_for_ever_leave_nothing_behind() {
    let memory_mib: u32 = 128;
    let config = "splice_after_copies = 0\n[timeouts]\nsend_rate_window_ms = 3000";
    let mut stage = Stage::with("stopped", config, memory_mib.into(), &[]);
    stage.origin.put("/stopped/o", &pattern(1, 6 << 20));
    let readers: Vec<Client> = (0..scaled(1_000))
        .map(|_| {
            let mut reader = narrow(stage.origin.http);
            reader.send(b"GET /stopped/o HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            reader
        })
        .collect();
    let bytes = |name| stage.origin.metric(name, "");
    for version in 2..10 {
        stage.origin.put("/stopped/o", &pattern(version, 6 << 20));
        assert!(stage.pinned() <= f64::from(memory_mib * 1024 * 1024));
        let unread = bytes("headwater_spliced_unread_bytes");
        assert!(unread <= UNREAD_MAX, "{unread} bytes are shared with readers that stopped");
    }
    // Each of them by the rate rule; the last ones may be some moments later than the others.
    let cut = || bytes("headwater_slow_readers_cut_total");
    let all = readers.len() as f64;
    wait_for("readers", || cut() >= all, || format!("{} are cut", cut()));
    let open = || stage.origin.metric("headwater_connections_open", "");
    wait_for("connections", || open() <= 8.0, || format!("{} are open", open()));
    assert_eq!(cut(), all, "nobody else is too slow");
    stage.check();
    let log = stage.end_with_log();
    let left = log.lines().find(|line| line.contains("left behind")).expect("it is said at exit");
    for name in LEFT {
        assert!(left.contains(&format!("\"{name}\":0")), "{name}: {left}");
    }
    drop(readers);
}

/// A reader that stops and asks on was taken for one that had come back: what it had been handed by
/// reference counted no more, although it was still there.
#[test]
fn a_reader_that_asks_on_without_reading_still_counts() {
    let config = "splice_after_copies = 0\n[timeouts]\nsend_rate_window_ms = 3000";
    let stage = Stage::with("asks-on", config, 64, &[]);
    stage.origin.put("/asks/o", &pattern(1, 6 << 20));
    let unread = || stage.origin.metric("headwater_spliced_unread_bytes", "");
    let mut reader = narrow(stage.origin.http);
    reader.send(b"GET /asks/o HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    if !matches!(std::env::var("HEADWATER_TX").as_deref(), Ok("zc" | "copy")) {
        wait_for("unread bytes", || unread() > 0.0, || "none".to_owned());
    }
    let before = unread();
    reader.send(b"GET /asks/o HTTP/1.1\r\nHost: ").unwrap();
    thread::sleep(Duration::from_millis(500));
    assert!(unread() >= before, "{} of {before} bytes are left", unread());
    drop(reader);
    stage.end();
}

/// What two shards share at most with readers that have not come back: as much as the arena has.
const UNREAD_MAX: f64 = 128.0 * 1_048_576.0;

/// What is counted at exit.
const LEFT: [&str; 8] = [
    "connections",
    "notifications_due",
    "receive_buffers",
    "pipe_bytes",
    "unread_bytes",
    "pinned_bytes",
    "uploads",
    "slots_lost",
];

/// A reader that is slow, but not too slow, gets every byte.
#[test]
fn a_patient_reader_gets_every_byte() {
    let stage = Stage::new("patient");
    let body = pattern(8, 16 << 20);
    stage.origin.put("/vod/large", &body);
    let mut reader = with_window(stage.origin.http, 128 * 1024);
    reader.send(b"GET /vod/large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    reader.head().unwrap();
    let mut read = Vec::new();
    // Much slower than a send is long, and several times as fast as has to be.
    for _ in 0..40 {
        read.extend(reader.take(26_000).unwrap());
        thread::sleep(Duration::from_millis(100));
    }
    read.extend(reader.take(body.len() - read.len()).unwrap());
    assert!(read == body);
    drop(reader);
    stage.end();
}
