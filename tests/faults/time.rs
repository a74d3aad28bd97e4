//! Ends in time: of objects by their TTL, of the process by signals.

use std::thread;
use std::time::{Duration, Instant};

use crate::scaled;
use crate::slow::with_window;
use crate::stage::{Stage, wait_for};
use crate::support::wire::Client;
use crate::support::{pattern, signal};

/// Clocks are read once a turn, and a shard that holds a lease reads its own.
const SLACK: Duration = Duration::from_millis(3);

/// An object is there until its last millisecond and not one longer, on every shard.
#[test]
fn objects_expire_to_the_millisecond() {
    let stage = Stage::new("expiry");
    let ttl = Duration::from_secs(1);
    let mut readers: Vec<Client> = (0..6).map(|_| stage.origin.client()).collect();
    for round in 0..scaled(2) {
        let target = format!("/ttl{round}/o");
        let asked = Instant::now();
        stage.origin.put(&format!("{target}?ttl_seconds=1"), &pattern(1, 500));
        let stored = Instant::now();
        let (mut found, mut absent) = (0, 0);
        while stored.elapsed() < ttl + Duration::from_millis(150) {
            // Rest, but not around the end.
            if stored.elapsed() + Duration::from_millis(40) < ttl {
                thread::sleep(Duration::from_millis(5));
            }
            for reader in &mut readers {
                let begun = Instant::now();
                let answer = reader.request("GET", &target, &[], b"").unwrap();
                match answer.status {
                    200 => assert!(begun < stored + ttl + SLACK, "alive after its end"),
                    404 => assert!(asked.elapsed() + SLACK > ttl, "gone before its end"),
                    other => panic!("{other}"),
                }
                found += usize::from(answer.status == 200);
                absent += usize::from(answer.status == 404);
            }
        }
        assert!(found > 30 && absent > 0, "{found} found, {absent} absent");
    }
    drop(readers);
    stage.end();
}

/// A reader under way.
fn begin_reading(stage: &Stage, length: usize) -> Client {
    stage.origin.put("/drain/o", &pattern(5, length));
    let mut reader = with_window(stage.origin.http, 128 * 1024);
    reader.send(b"GET /drain/o HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    reader.head().unwrap();
    reader
}

fn no_error_in(log: &str) {
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

/// SIGTERM: answers and uploads under way are finished, idle connections are closed, new ones are
/// refused, and the process ends by itself with 0.
///
/// A shard without connections used to end at once. Uploads on others whose keys it owned then
/// waited for its word until the drain's deadline, and clients that connected to its listening
/// socket, which was never closed, waited in vain.
#[test]
fn a_drain_finishes_what_is_under_way() {
    let mut stage = Stage::new("drain");
    let body = pattern(5, 16 << 20);
    let mut reader = begin_reading(&stage, body.len());
    let mut idle = stage.origin.client();
    // Many folders, so that some keys belong to the other shard.
    let mut writers: Vec<Client> = (0..12).map(|_| stage.origin.client()).collect();
    for (number, writer) in writers.iter_mut().enumerate() {
        let line = format!("PUT /drain{number}/up HTTP/1.1\r\n");
        let rest = b"Host: a\r\nContent-Length: 6\r\n\r\nabc";
        writer.send(&[line.as_bytes(), rest].concat()).unwrap();
    }
    thread::sleep(Duration::from_millis(50));
    stage.end_watch();
    stage.origin.terminate();
    assert!(idle.is_closed(), "an idle connection is closed at once");
    wait_for("closed listeners", || refuses(&stage), String::new);
    thread::sleep(Duration::from_millis(100));
    for mut writer in writers {
        writer.send(b"def").unwrap();
        let stored = writer.answer(false).unwrap();
        assert_eq!((stored.status, stored.header("Connection")), (200, Some("close")));
        assert!(writer.is_closed());
    }
    assert!(reader.take(body.len()).unwrap() == body);
    // The head was sent before the drain began and promised to go on; the end comes all the same.
    assert!(reader.is_closed());
    drop(reader);
    let status = stage.origin.wait();
    no_error_in(&stage.origin.log());
    assert_eq!(status.code(), Some(0), "{}", stage.origin.log());
}

/// Whether a new connection gets nothing any more.
fn refuses(stage: &Stage) -> bool {
    let Ok(mut client) = Client::connect(stage.origin.http) else { return true };
    let answer = client.request("GET", "/probe/object", &[], b"");
    answer.map_or(true, |answer| answer.status == 503)
}

/// SIGTERM with a reader that has stopped: the drain's time is over, it is cut off, and the exit
/// code says so.
#[test]
fn a_stuck_reader_is_cut_off_by_the_drain() {
    let mut stage = Stage::with("drain-stuck", "[timeouts]\ndrain_ms = 1000", 64, &[]);
    let reader = begin_reading(&stage, 16 << 20);
    stage.end_watch();
    let begun = Instant::now();
    stage.origin.terminate();
    let status = stage.origin.wait();
    let took = begun.elapsed();
    no_error_in(&stage.origin.log());
    assert_eq!(status.code(), Some(3), "{}", stage.origin.log());
    assert!(took > Duration::from_millis(700) && took < Duration::from_secs(4), "{took:?}");
    drop(reader);
}

/// A second signal ends the process at once, and the exit code names it.
#[test]
fn a_second_signal_ends_the_process() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let mut stage = Stage::with("drain-second", "[timeouts]\ndrain_ms = 60000", 64, &[]);
        let reader = begin_reading(&stage, 16 << 20);
        stage.end_watch();
        stage.origin.terminate();
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        signal(stage.origin.pid(), name);
        let status = stage.origin.wait();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(status.code(), Some(code), "{}", stage.origin.log());
        drop(reader);
    }
}
