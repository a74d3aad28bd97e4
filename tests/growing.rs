//! Segments that are read while they arrive: what every reader sees, and what nobody may see.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::wire::{Answer, Client};
use support::{Origin, PATIENCE, pattern};

const FLAGS: &[&str] = &["--shards", "4"];

/// Begins a chunked upload and sends its first bytes.
#[track_caller]
fn begin(origin: &Origin, target: &str, first: &[u8]) -> Client {
    let mut writer = origin.client();
    writer.begin_chunked(target, &[]).unwrap();
    writer.chunk(first).unwrap();
    writer
}

/// Begins to read an object that has begun to arrive; polls until it is there.
#[track_caller]
fn follow(origin: &Origin, target: &str, version: &str) -> (Client, Answer) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut reader = origin.client();
        reader.send(format!("GET {target} HTTP/{version}\r\nHost: o\r\n\r\n").as_bytes()).unwrap();
        let head = reader.head().unwrap();
        if head.status == 200 {
            return (reader, head);
        }
        assert_eq!(head.status, 404);
        assert!(Instant::now() < deadline, "{target} does not come");
    }
}

/// Polls until a plain GET has this status.
#[track_caller]
fn wait_for_status(origin: &Origin, target: &str, status: u16) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = origin.get(target);
        if answer.status == status {
            return answer;
        }
        assert!(Instant::now() < deadline, "{target} stays {}", answer.status);
    }
}

#[test]
fn bytes_arrive_before_the_upload_ends() {
    let origin = Origin::start(FLAGS);
    let mut writer = begin(&origin, "/a/1.m4s", b"first ");
    let (mut early, head) = follow(&origin, "/a/1.m4s", "1.1");
    assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(head.header("Content-Type"), Some("video/iso.segment"));
    let tag = head.header("ETag").unwrap().to_owned();
    assert_eq!(early.chunks_of(6), b"first ");
    assert!(early.is_silent(Duration::from_millis(50)));
    writer.chunk(b"second ").unwrap();
    assert_eq!(early.chunks_of(7), b"second ");
    let (mut late, _) = follow(&origin, "/a/1.m4s", "1.1");
    assert_eq!(late.chunks_of(13), b"first second ");
    writer.chunk(b"third").unwrap();
    writer.chunk(b"").unwrap();
    let stored = writer.answer(false).unwrap();
    assert_eq!((stored.status, stored.header("ETag")), (200, Some(tag.as_str())));
    for reader in [&mut early, &mut late] {
        assert_eq!(reader.chunks_of(5), b"third");
        assert_eq!(reader.next_chunk().unwrap(), None);
        // The connection goes on.
        let answer = reader.request("GET", "/a/1.m4s", &[], b"").unwrap();
        assert_eq!(answer.body, b"first second third");
        assert_eq!(answer.header("Content-Length"), Some("18"));
        assert_eq!(answer.header("ETag"), Some(tag.as_str()));
    }
    origin.stop();
}

#[test]
fn an_http_1_0_reader_gets_the_bytes_up_to_the_close() {
    let origin = Origin::start(FLAGS);
    let mut writer = begin(&origin, "/a/1.ts", b"first ");
    let (mut reader, head) = follow(&origin, "/a/1.ts", "1.0");
    assert_eq!(head.header("Transfer-Encoding"), None);
    assert_eq!(head.header("Content-Length"), None);
    assert_eq!(head.header("Connection"), Some("close"));
    assert_eq!(reader.take(6).unwrap(), b"first ");
    writer.chunk(b"second").unwrap();
    writer.chunk(b"").unwrap();
    assert_eq!(writer.answer(false).unwrap().status, 200);
    assert_eq!(reader.rest().unwrap(), b"second");
    origin.stop();
}

#[test]
fn a_broken_upload_cuts_its_readers_and_leaves_nothing() {
    let origin = Origin::start(FLAGS);
    let writer = begin(&origin, "/a/1.ts", b"first");
    let (mut reader, _) = follow(&origin, "/a/1.ts", "1.1");
    assert_eq!(reader.chunks_of(5), b"first");
    drop(writer);
    assert!(reader.next_chunk().is_err(), "a last chunk would make half a segment look whole");
    wait_for_status(&origin, "/a/1.ts", 404);
    origin.put("/a/1.ts", b"again");
    assert_eq!(origin.get("/a/1.ts").body, b"again");
    origin.stop();
}

#[test]
fn malformed_chunks_cut_the_readers_too() {
    let origin = Origin::start(FLAGS);
    let mut writer = begin(&origin, "/a/1.ts", b"first");
    let (mut reader, _) = follow(&origin, "/a/1.ts", "1.1");
    assert_eq!(reader.chunks_of(5), b"first");
    writer.send(b"no size\r\n").unwrap();
    assert_eq!(writer.answer(false).unwrap().status, 400);
    assert!(reader.next_chunk().is_err());
    wait_for_status(&origin, "/a/1.ts", 404);
    origin.stop();
}

#[test]
fn a_second_upload_supersedes_the_first() {
    let origin = Origin::start(FLAGS);
    let mut first = begin(&origin, "/a/1.ts", b"old");
    let (mut reader, _) = follow(&origin, "/a/1.ts", "1.1");
    assert_eq!(reader.chunks_of(3), b"old");
    origin.put("/a/1.ts", b"new");
    assert!(reader.next_chunk().is_err());
    assert_eq!(origin.get("/a/1.ts").body, b"new");
    // The first upload may be answered or cut, but it is not stored.
    let _ = first.chunk(b"more").and_then(|()| first.chunk(b""));
    if let Ok(answer) = first.answer(false) {
        assert_eq!(answer.status, 409);
    }
    assert_eq!(origin.get("/a/1.ts").body, b"new");
    origin.stop();
}

#[test]
fn a_growing_upload_supersedes_a_growing_upload() {
    let origin = Origin::start(FLAGS);
    let first = begin(&origin, "/a/1.ts", b"old");
    let (mut reader, _) = follow(&origin, "/a/1.ts", "1.1");
    assert_eq!(reader.chunks_of(3), b"old");
    let mut second = begin(&origin, "/a/1.ts", b"new ");
    assert!(reader.next_chunk().is_err());
    second.chunk(b"one").unwrap();
    second.chunk(b"").unwrap();
    assert_eq!(second.answer(false).unwrap().status, 200);
    assert_eq!(origin.get("/a/1.ts").body, b"new one");
    drop(first);
    origin.stop();
}

#[test]
fn a_delete_cuts_a_growing_object() {
    let origin = Origin::start(FLAGS);
    let writer = begin(&origin, "/a/1.ts", b"old");
    let (mut reader, _) = follow(&origin, "/a/1.ts", "1.1");
    assert_eq!(reader.chunks_of(3), b"old");
    assert_eq!(origin.request("DELETE", "/a/1.ts", &[], b"").status, 200);
    assert!(reader.next_chunk().is_err());
    assert_eq!(origin.get("/a/1.ts").status, 404);
    drop(writer);
    origin.stop();
}

#[test]
fn manifests_and_replacements_are_atomic() {
    let origin = Origin::start(FLAGS);
    let mut absent = begin(&origin, "/a/i.m3u8", b"#EXTM3U\n");
    origin.put("/a/old.mpd", b"<MPD old/>");
    let mut manifest = begin(&origin, "/a/old.mpd", b"<MPD ");
    origin.put("/a/old.ts", b"old bytes");
    let mut segment = begin(&origin, "/a/old.ts", b"new ");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(origin.get("/a/i.m3u8").status, 404);
    assert_eq!(origin.get("/a/old.mpd").body, b"<MPD old/>");
    assert_eq!(origin.get("/a/old.ts").body, b"old bytes");
    for (writer, rest) in
        [(&mut absent, &b"#end"[..]), (&mut manifest, b"new/>"), (&mut segment, b"bytes")]
    {
        writer.chunk(rest).unwrap();
        writer.chunk(b"").unwrap();
        assert_eq!(writer.answer(false).unwrap().status, 200);
    }
    assert_eq!(origin.get("/a/i.m3u8").body, b"#EXTM3U\n#end");
    assert_eq!(origin.get("/a/old.mpd").body, b"<MPD new/>");
    assert_eq!(origin.get("/a/old.ts").body, b"new bytes");
    origin.stop();
}

#[test]
fn an_empty_probe_counts_as_absent() {
    let origin = Origin::start(FLAGS);
    origin.put("/a/1.m4s", b"");
    assert_eq!(origin.get("/a/1.m4s").body, b"");
    let mut writer = begin(&origin, "/a/1.m4s", b"first");
    let deadline = Instant::now() + PATIENCE;
    let mut reader = loop {
        let mut reader = origin.client();
        reader.send(b"GET /a/1.m4s HTTP/1.1\r\nHost: o\r\n\r\n").unwrap();
        if reader.head().unwrap().header("Transfer-Encoding").is_some() {
            break reader;
        }
        assert!(Instant::now() < deadline, "the probe hides the upload");
    };
    assert_eq!(reader.chunks_of(5), b"first");
    writer.chunk(b"").unwrap();
    assert_eq!(writer.answer(false).unwrap().status, 200);
    assert_eq!(reader.next_chunk().unwrap(), None);
    origin.stop();
}

#[test]
fn other_reads_of_a_growing_object() {
    let origin = Origin::start(FLAGS);
    let mut writer = begin(&origin, "/a/1.ts", b"first");
    let (_reader, head) = follow(&origin, "/a/1.ts", "1.1");
    let tag = head.header("ETag").unwrap();
    let answer = origin.request("HEAD", "/a/1.ts", &[], b"");
    assert_eq!((answer.status, answer.header("Content-Length")), (200, None));
    let known = format!("If-None-Match: {tag}");
    assert_eq!(origin.request("GET", "/a/1.ts", &[&known], b"").status, 304);
    let mut ranged = origin.client();
    ranged.send(b"GET /a/1.ts HTTP/1.1\r\nHost: o\r\nRange: bytes=0-1\r\n\r\n").unwrap();
    let head = ranged.head().unwrap();
    assert_eq!((head.status, head.header("Transfer-Encoding")), (200, Some("chunked")));
    writer.chunk(b"").unwrap();
    assert_eq!(writer.answer(false).unwrap().status, 200);
    let answer = origin.request("GET", "/a/1.ts", &["Range: bytes=0-1"], b"");
    assert_eq!((answer.status, answer.body.as_slice()), (206, &b"fi"[..]));
    origin.stop();
}

#[test]
fn many_readers_of_a_large_upload_get_the_same_bytes() {
    let origin = Origin::start(FLAGS);
    let body = pattern(3, 6_000_000);
    let pieces: Vec<&[u8]> = body.chunks(77_777).collect();
    let mut writer = begin(&origin, "/a/1.m4s", pieces[0]);
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for (index, piece) in pieces.iter().enumerate().skip(1) {
            if index % 3 == 1 {
                let (mut reader, _) = follow(&origin, "/a/1.m4s", "1.1");
                readers.push(scope.spawn(move || {
                    let mut bytes = Vec::new();
                    while let Some(chunk) = reader.next_chunk().unwrap() {
                        bytes.extend_from_slice(&chunk);
                    }
                    bytes
                }));
            }
            writer.chunk(piece).unwrap();
        }
        writer.chunk(b"").unwrap();
        assert_eq!(writer.answer(false).unwrap().status, 200);
        assert!(readers.len() > 20);
        for reader in readers {
            assert!(reader.join().unwrap() == body);
        }
    });
    assert!(origin.get("/a/1.m4s").body == body);
    assert_eq!(origin.metric("headwater_objects_growing", ""), 0.0);
    origin.stop();
}
