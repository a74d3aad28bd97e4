//! Large objects and a store over a network: read in parts, while they come, and sent from disk.

use std::time::{Duration, Instant};

use crate::scripted::{Fault, Store};
use crate::support::wire::Answer;
use crate::support::{Origin, Scratch, pattern};
use crate::{eventually, kill, settle, start};

const MIB: usize = 1 << 20;
const LENGTH: usize = 64 * MIB;
/// Bytes of a chunk with 64 MiB of memory and more.
const CHUNK: usize = 4 * MIB;
/// What is asked for before the length is known.
const FIRST: usize = MIB;

fn ask(origin: &Origin, target: &str, first: usize, last: usize) -> Answer {
    origin.request("GET", target, &[&format!("Range: bytes={first}-{last}")], b"")
}

/// A body as far as it comes, with its head.
pub fn begin(origin: &Origin, target: &str) -> (Answer, Vec<u8>) {
    let mut client = origin.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    let head = client.head().unwrap();
    let length = head.header("Content-Length").unwrap().parse().unwrap();
    let (mut got, mut piece) = (Vec::new(), vec![0; MIB]);
    while got.len() < length
        && let Ok(count) = client.read_some(&mut piece)
    {
        got.extend_from_slice(&piece[..count]);
    }
    (head, got)
}

#[test]
fn a_range_of_a_large_object_asks_the_store_for_its_chunks_only() {
    let (store, body) = (Store::start(), pattern(1, LENGTH));
    store.lay("/films/a.mp4", &body);
    let origin = store.origin(&["--memory", "64MiB"]);
    let (first, last) = (10 * CHUNK + 5, 10 * CHUNK + 1004);
    let part = ask(&origin, "/films/a.mp4", first, last);
    assert_eq!(part.status, 206, "{}", part.text());
    assert!(part.body == body[first..=last]);
    let said = format!("bytes {first}-{last}/{LENGTH}");
    assert_eq!(part.header("Content-Range"), Some(said.as_str()));
    assert_eq!(store.asked(), (2, FIRST + CHUNK));
    // Its description and that chunk are here; the next one is not.
    let head = origin.request("HEAD", "/films/a.mp4", &[], b"");
    assert_eq!(head.header("Content-Length"), Some(LENGTH.to_string().as_str()));
    assert_eq!(head.header("Content-Type"), Some("video/mp4"));
    let line = format!("If-None-Match: {}", head.header("ETag").unwrap());
    assert_eq!(origin.request("GET", "/films/a.mp4", &[&line], b"").status, 304);
    assert_eq!(ask(&origin, "/films/a.mp4", first + 9, last).status, 206);
    assert_eq!(ask(&origin, "/films/a.mp4", LENGTH, LENGTH + 1).status, 416);
    assert_eq!(store.asked(), (2, FIRST + CHUNK));
    let across = ask(&origin, "/films/a.mp4", 11 * CHUNK - 3, 11 * CHUNK + 2);
    assert!(across.body == body[11 * CHUNK - 3..11 * CHUNK + 3]);
    assert_eq!(store.asked(), (3, FIRST + 2 * CHUNK));
    origin.stop();
}

#[test]
fn each_chunk_is_fetched_once_for_all_readers() {
    let (store, body) = (Store::start(), pattern(2, LENGTH));
    store.lay("/films/a.mp4", &body);
    let origin = store.origin(&["--memory", "256MiB"]);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert!(origin.get("/films/a.mp4").body == body));
        }
    });
    assert_eq!(store.asked(), (1 + LENGTH / CHUNK, FIRST + LENGTH));
    // Through a fraction of its size of memory.
    origin.stop();
    let origin = store.origin(&["--memory", "32MiB"]);
    assert!(origin.get("/films/a.mp4").body == body);
    origin.stop();
}

/// What the origin itself sent has sums: also of what is read in parts no wrong byte leaves.
#[test]
fn what_was_uploaded_is_checked_chunk_by_chunk() {
    let (store, body) = (Store::start(), pattern(3, 40 * MIB + 77));
    let origin = store.origin(&[]);
    let etag = origin.put("/films/b.mp4", &body).header("ETag").unwrap().to_owned();
    settle(&origin);
    kill(origin);
    assert!(store.body("/films/b.mp4").unwrap() == body);
    let origin = store.origin(&["--memory", "64MiB"]);
    store.fail(Fault::Flipped);
    let damaged = ask(&origin, "/films/b.mp4", 9 * MIB, 9 * MIB + 9);
    assert_eq!(damaged.status, 500, "{}", damaged.text());
    store.fail(Fault::None);
    let part = ask(&origin, "/films/b.mp4", 9 * MIB, 9 * MIB + 9);
    assert!(part.status == 206 && part.body == body[9 * MIB..9 * MIB + 10], "{}", part.text());
    assert_eq!(part.header("ETag"), Some(etag.as_str()));
    let put = |line: &str| origin.request("PUT", "/films/b.mp4", &[line], b"new").status;
    assert_eq!(put("If-Match: \"other\""), 412);
    assert_eq!(put(&format!("If-Match: {etag}")), 200);
    assert_eq!(origin.get("/films/b.mp4").body, b"new");
    settle(&origin);
    assert_eq!(store.body("/films/b.mp4").unwrap(), b"new");
    origin.stop();
}

/// All of it had to come before the first byte left.
#[test]
fn a_slow_store_is_read_while_it_gives() {
    let (store, body) = (Store::start(), pattern(4, 3 * MIB));
    let origin = store.origin(&[]);
    origin.put("/v/a.ts", &body);
    settle(&origin);
    kill(origin);
    store.lay("/v/b.ts", &body);
    let origin = store.origin(&[]);
    store.fail(Fault::Slow(128 * 1024, Duration::from_millis(100)));
    std::thread::scope(|scope| {
        for target in ["/v/a.ts", "/v/b.ts"] {
            let (origin, body) = (&origin, &body);
            // Two connections of many: each gets what is there.
            for _ in 0..2 {
                scope.spawn(move || {
                    let mut client = origin.client();
                    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
                    client.send(request.as_bytes()).unwrap();
                    assert_eq!(client.head().unwrap().status, 200);
                    let mut got = client.take(60_000).unwrap();
                    let begun = Instant::now();
                    got.extend(client.take(body.len() - got.len()).unwrap());
                    assert!(got == *body, "{target}: other bytes");
                    let after = begun.elapsed();
                    assert!(after > Duration::from_millis(800), "{target}: {after:?}");
                });
            }
        }
    });
    assert_eq!(store.asked().1, 2 * body.len(), "each once");
    store.fail(Fault::None);
    origin.stop();
}

#[test]
fn an_object_that_is_replaced_in_the_store_is_never_mixed() {
    let (store, old, new) = (Store::start(), pattern(5, LENGTH), pattern(6, LENGTH - 5));
    store.lay("/films/a.mp4", &old);
    let origin = store.origin(&["--memory", "64MiB"]);
    let mut client = origin.client();
    client.send(b"GET /films/a.mp4 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    let mut got = client.take(2 * CHUNK).unwrap();
    store.lay("/films/a.mp4", &new);
    let mut piece = vec![0; MIB];
    while let Ok(count) = client.read_some(&mut piece) {
        got.extend_from_slice(&piece[..count]);
    }
    assert!(got.len() < old.len(), "it went on with the version that is gone");
    assert!(got == old[..got.len()], "bytes of two versions");
    eventually("the new version does not come", || {
        let part = ask(&origin, "/films/a.mp4", 0, 999);
        assert_eq!(part.status, 206, "{}", part.text());
        let is_new = part.header("Content-Range").unwrap().ends_with(&new.len().to_string());
        assert!(part.body == if is_new { &new[..1000] } else { &old[..1000] });
        is_new
    });
    assert!(origin.get("/films/a.mp4").body == new);
    // A description whose chunks are not here is renewed before the answer's head.
    store.lay("/films/c.mp4", &old);
    assert_eq!(ask(&origin, "/films/c.mp4", 0, 9).status, 206);
    store.lay("/films/c.mp4", &new);
    let part = ask(&origin, "/films/c.mp4", 9 * CHUNK, 9 * CHUNK + 9);
    assert!(part.status == 206 && part.body == new[9 * CHUNK..9 * CHUNK + 10], "{}", part.text());
    origin.stop();
}

#[test]
fn an_answer_ends_where_the_store_fails_and_the_next_one_has_it_all() {
    let (store, body) = (Store::start(), pattern(7, LENGTH));
    store.lay("/films/a.mp4", &body);
    let origin = store.origin(&["--memory", "128MiB"]);
    store.fail(Fault::Behind(LENGTH / 2));
    let (head, got) = begin(&origin, "/films/a.mp4");
    assert_eq!(head.status, 200);
    assert!(got == body[..LENGTH / 2], "{} bytes", got.len());
    let part = ask(&origin, "/films/a.mp4", LENGTH - 10, LENGTH - 1);
    assert_eq!((part.status, part.header("Retry-After")), (503, Some("1")), "{}", part.text());
    store.fail(Fault::None);
    let part = ask(&origin, "/films/a.mp4", LENGTH - 10, LENGTH - 1);
    assert!(part.status == 206 && part.body == body[LENGTH - 10..], "{}", part.text());
    assert!(origin.get("/films/a.mp4").body == body);
    origin.stop();
}

/// Files that memory never has as a whole go to the store piece by piece, whether the disk knows
/// their sums or not; the store gives up what it had of an upload of which a part failed.
#[test]
fn large_files_on_disk_move_to_the_store_in_parts() {
    let (scratch, store) = (Scratch::new("remote-large-move"), Store::start());
    let (data, config) = (scratch.path("data"), scratch.path("config.toml"));
    let bodies = [pattern(8, 33 * MIB + 1), pattern(9, 40 * MIB)];
    let origin = Origin::start(&["--data", &data]);
    let etag = origin.put("/films/put.mp4", &bodies[0]).header("ETag").unwrap().to_owned();
    origin.stop();
    std::fs::write(format!("{data}/films/hand.mp4"), &bodies[1]).unwrap();
    std::fs::write(&config, "[[path]]\npattern = \"**\"\nremote_after_s = 1\n").unwrap();
    store.fail(Fault::Part(3));
    let origin = store.origin(&["--memory", "32MiB", "--data", &data, "--config", &config]);
    let targets = ["/films/put.mp4", "/films/hand.mp4"];
    for (target, body) in targets.iter().zip(&bodies) {
        let part = ask(&origin, target, 5, 9);
        assert!(part.status == 206 && part.body == body[5..10], "{}", part.text());
    }
    eventually("nothing is tried", || {
        origin.metric("headwater_lifecycle_total", "outcome=\"failed\"") >= 2.0
    });
    assert!(targets.iter().all(|target| store.body(target).is_none()));
    assert!(targets.iter().all(|target| std::fs::exists(format!("{data}{target}")).unwrap()));
    store.fail(Fault::None);
    for (target, body) in targets.iter().zip(&bodies) {
        let file = format!("{data}{target}");
        eventually("a file does not move", || !std::fs::exists(&file).unwrap());
        assert!(store.body(target).unwrap() == *body, "{target}: other bytes");
        // The description is that of the file; its chunks are the store's by now.
        let middle = body.len() / 2;
        let part = ask(&origin, target, middle, middle + 99);
        assert!(part.status == 206 && part.body == body[middle..middle + 100], "{}", part.text());
    }
    eventually("an upload stays open", || store.open_uploads() == 0);
    kill(origin);
    let origin = store.origin(&["--memory", "32MiB", "--data", &data, "--config", &config]);
    for (target, body) in targets.iter().zip(&bodies) {
        let answer = origin.get(target);
        assert!(answer.body == *body, "{target}: other bytes");
        assert!(*target != targets[0] || answer.header("ETag") == Some(etag.as_str()));
        assert_eq!(origin.request("DELETE", target, &[], b"").status, 200);
        assert_eq!((origin.get(target).status, store.body(target)), (404, None));
    }
    origin.stop();
}

/// A large upload that has left memory before its turn came is sent from disk.
#[test]
fn an_upload_that_is_on_disk_only_follows_when_the_store_is_back() {
    let (scratch, store) = (Scratch::new("remote-large-behind"), Store::start());
    let body = pattern(10, 40 * MIB);
    let origin = store.origin(&["--memory", "64MiB", "--data", &scratch.path("data")]);
    store.fail(Fault::SlowDown);
    origin.put("/films/a.mp4", &body);
    // These need its memory.
    (0..4).for_each(|number| drop(origin.put(&format!("/v/{number}"), &pattern(number, 9 * MIB))));
    store.fail(Fault::None);
    // So many bytes take their time on a busy machine.
    let begun = Instant::now();
    while store.body("/films/a.mp4").is_none() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
    }
    settle(&origin);
    assert!(store.body("/films/a.mp4").unwrap() == body);
    (0..4).for_each(|n| assert!(store.body(&format!("/v/{n}")).unwrap() == pattern(n, 9 * MIB)));
    origin.stop();
}

#[test]
fn a_folder_as_the_store_gives_ranges_too() {
    let scratch = Scratch::new("remote-large-folder");
    let (own, other) = (pattern(11, 40 * MIB + 3), pattern(12, LENGTH));
    let origin = start(&scratch, &[]);
    origin.put("/films/own.mp4", &own);
    settle(&origin);
    kill(origin);
    std::fs::write(scratch.path("store/films/other.mp4"), &other).unwrap();
    let origin = start(&scratch, &["--memory", "64MiB"]);
    for (target, body) in [("/films/own.mp4", &own), ("/films/other.mp4", &other)] {
        let part = ask(&origin, target, 3 * CHUNK - 9, 3 * CHUNK + 9);
        assert!(part.status == 206 && part.body == body[3 * CHUNK - 9..3 * CHUNK + 10]);
    }
    std::thread::sleep(Duration::from_millis(1200));
    let read = origin.metric("headwater_remote_bytes_total", "way=\"read\"");
    assert_eq!(read, (4 * CHUNK) as f64);
    assert!(origin.get("/films/own.mp4").body == own);
    std::fs::write(scratch.path("store/.new"), &own).unwrap();
    std::fs::rename(scratch.path("store/.new"), scratch.path("store/films/other.mp4")).unwrap();
    let part = ask(&origin, "/films/other.mp4", 9 * CHUNK, 9 * CHUNK + 9);
    assert!(part.status == 206 && part.body == own[9 * CHUNK..9 * CHUNK + 10], "{}", part.text());
    origin.stop();
}
