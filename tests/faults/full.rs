//! A memory that is full, and uploads that are too large.

use std::thread;
use std::time::Duration;

use crate::stage::{Stage, wait_for};
use crate::support::pattern;
use crate::support::wire::{Answer, Client};

/// A chunked upload in one write. A refusal may come before all is sent.
fn put_chunked(client: &mut Client, target: &str, body: &[u8]) -> std::io::Result<Answer> {
    client.begin_chunked(target, &[])?;
    for piece in body.chunks(60_000) {
        if client.chunk(piece).is_err() {
            return client.answer(false);
        }
    }
    let _ = client.send(b"0\r\n\r\n");
    client.answer(false)
}

fn check_full(answer: &Answer) {
    assert_eq!(answer.status, 507, "{}", answer.text());
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert!(answer.text().contains("the memory is full"), "{}", answer.text());
    assert!(answer.header("Cache-Control").is_some());
}

/// A full memory answers 507 and evicts nothing; a replacement that does not fit leaves the old
/// version; what a DELETE gives back can be used again, all of it.
#[test]
fn a_full_memory_refuses_and_keeps_what_it_has() {
    let stage = Stage::with("full", "", 16, &[]);
    let mut client = stage.origin.client();
    let mut stored = 0;
    loop {
        let target = format!("/folder{}/{stored}", stored % 3);
        let answer = client.request("PUT", &target, &[], &pattern(stored, 700_000)).unwrap();
        if answer.status != 200 {
            check_full(&answer);
            break;
        }
        stored += 1;
    }
    // Sixteen MiB hold 23 of these; two shards may leave a part of a slot each.
    assert!((14..24).contains(&stored), "{stored} objects fitted");
    let refused = stage.origin.request("PUT", "/folder0/0", &[], &pattern(99, 9_000_000));
    check_full(&refused);
    for extension in ["m4s", "bin"] {
        let target = format!("/other/growing.{extension}");
        let answer = put_chunked(&mut stage.origin.client(), &target, &pattern(9, 9_000_000));
        check_full(&answer.unwrap());
        assert_eq!(stage.origin.get(&target).status, 404);
    }
    for round in 0..3 {
        for number in 0..stored {
            let target = format!("/folder{}/{number}", number % 3);
            let seed = number + round * 100;
            assert!(stage.origin.get(&target).body == pattern(seed, 700_000), "{target}");
            assert_eq!(stage.origin.request("DELETE", &target, &[], b"").status, 200);
        }
        for number in 0..stored {
            let target = format!("/folder{}/{number}", number % 3);
            stage.origin.put(&target, &pattern(number + round * 100 + 100, 700_000));
        }
    }
    stage.end();
}

/// A memory filled with objects that expire is usable again once they have.
#[test]
fn expired_objects_make_room() {
    let stage = Stage::with("full-ttl", "", 16, &[]);
    let mut client = stage.origin.client();
    for round in 0..2 {
        let body = pattern(round, 500_000);
        let mut stored = 0;
        let refused = loop {
            let target = format!("/t{}/{stored}?ttl_seconds=2", stored % 3);
            let answer = client.request("PUT", &target, &[], &body).unwrap();
            if answer.status != 200 || stored == 40 {
                break answer;
            }
            stored += 1;
        };
        check_full(&refused);
        assert!(stored > 15, "{stored} objects fitted in round {round}");
        assert!(stage.origin.get("/t0/0").body == body);
        thread::sleep(Duration::from_millis(2050));
        let used = || stage.origin.metric("headwater_arena_used_bytes", "");
        wait_for("room", || used() < 65_536.0, || format!("{} bytes", used()));
        assert_eq!(stage.origin.get("/t0/0").status, 404);
    }
    stage.end();
}

/// Readers that stop pin the versions they read. When these and the new ones fill the memory, a
/// writer is told so; what is stored stays, and the pins' room comes back.
#[test]
fn pinned_memory_counts_as_full() {
    let stage = Stage::with("full-pinned", "", 32, &[]);
    let mut readers = Vec::new();
    let mut last = Vec::new();
    let refused = loop {
        let body = pattern(readers.len() as u64, 6 << 20);
        let answer = stage.origin.request("PUT", "/vod/large", &[], &body);
        if answer.status != 200 {
            break answer;
        }
        last = body;
        let mut reader = crate::slow::narrow(stage.origin.http);
        reader.send(b"GET /vod/large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(reader.head().unwrap().status, 200);
        readers.push(reader);
        assert!(readers.len() < 12, "pinned memory is not bounded");
    };
    check_full(&refused);
    assert!(stage.origin.get("/vod/large").body == last);
    wait_for("pins", || stage.pinned() == 0.0, || format!("{} bytes", stage.pinned()));
    let body = pattern(77, 6 << 20);
    stage.origin.put("/vod/large", &body);
    assert!(stage.origin.get("/vod/large").body == body);
    stage.end();
}

/// An upload larger than an object may be: declared, chunked, and with 100-continue.
#[test]
fn too_large_uploads_are_refused() {
    let stage = Stage::with("too-large", "object_bytes_max = \"1MiB\"", 64, &[]);
    let old = pattern(1, 1 << 20);
    let body = pattern(2, (1 << 20) + 1);
    for target in ["/a/large", "/a/large.m4s", "/a/large.mpd"] {
        stage.origin.put(target, &old);
        let mut client = stage.origin.client();
        let declared = client.request("PUT", target, &[], &body).unwrap();
        assert_eq!((declared.status, client.is_closed()), (413, true));
        let mut client = stage.origin.client();
        let chunked = put_chunked(&mut client, target, &body).unwrap();
        assert_eq!((chunked.status, client.is_closed()), (413, true));
        let fresh = format!("{target}.new.m4s");
        let chunked = put_chunked(&mut stage.origin.client(), &fresh, &body).unwrap();
        assert_eq!(chunked.status, 413);
        assert_eq!(stage.origin.get(&fresh).status, 404);
        assert!(stage.origin.get(target).body == old, "the old version is intact");
        // At the limit is within it.
        let exact = put_chunked(&mut stage.origin.client(), &fresh, &old).unwrap();
        assert_eq!(exact.status, 200);
        assert!(stage.origin.get(&fresh).body == old);
    }
    let mut client = stage.origin.client();
    let head = "PUT /a/large HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\
        Expect: 100-continue\r\n\r\n";
    client.send(head.as_bytes()).unwrap();
    let answer = client.answer(false).unwrap();
    assert_eq!(answer.status, 413, "no 100 before it");
    assert!(client.is_closed());
    stage.end();
}
