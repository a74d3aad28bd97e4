//! Cold objects of several chunks, which are answered before the whole file was read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::support::{Origin, Scratch, pattern};
use super::{kill, start};

/// Chunks of an object of that size.
const CHUNK: usize = 64 * 1024;
const BYTES: usize = 10 * CHUNK + 100;

/// An origin that has `/c/film.mp4` on disk only, with a bit flipped at `at`.
fn damaged(scratch: &Scratch, at: usize) -> (Origin, Vec<u8>) {
    let body = pattern(5, BYTES);
    let origin = start(scratch, &[]);
    origin.put("/c/film.mp4", &body);
    kill(origin);
    let file = File::options().write(true).open(scratch.path("data/c/film.mp4")).unwrap();
    file.write_all_at(&[body[at] ^ 1], at as u64).unwrap();
    (start(scratch, &[]), body)
}

/// The chunks before the damage may leave; the connection ends before any byte of it.
#[test]
fn damage_behind_the_first_chunk_ends_the_answer_before_it() {
    let scratch = Scratch::new("disk-late-damage");
    let (origin, body) = damaged(&scratch, 7 * CHUNK + 5);
    for _ in 0..10 {
        let mut client = origin.client();
        client.send(b"GET /c/film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let head = client.head().unwrap();
        // It may have been found before anything left.
        if head.status == 500 {
            continue;
        }
        assert_eq!(head.status, 200);
        assert_eq!(head.header("Content-Length"), Some(BYTES.to_string().as_str()));
        assert_eq!(head.header("Accept-Ranges"), Some("bytes"));
        let mut found = Vec::new();
        let mut piece = vec![0; 100_000];
        while let Ok(count @ 1..) = client.read_some(&mut piece) {
            found.extend_from_slice(&piece[..count]);
        }
        assert!(found.len() >= CHUNK && found.len() <= 7 * CHUNK, "{}", found.len());
        assert!(body.starts_with(&found));
    }
    let get = |range: &str| origin.request("GET", "/c/film.mp4", &[range], b"");
    let there = get("Range: bytes=10-19");
    assert!(there.status == 500 || (there.status == 206 && there.body == body[10..20]));
    // What lies at the damage or behind it: nothing has left yet, so that it can be told.
    for first in [7 * CHUNK + 5, 9 * CHUNK] {
        let answer = get(&format!("Range: bytes={first}-{}", first + 9));
        assert_eq!(answer.status, 500, "{first}");
        assert!(answer.text().contains("not what was written"), "{}", answer.text());
    }
    assert!(origin.metric("headwater_disk_loads_total", "outcome=\"damaged\"") >= 3.0);
    origin.put("/c/film.mp4", b"new");
    assert_eq!(origin.get("/c/film.mp4").body, b"new");
    origin.stop();
}

#[test]
fn damage_in_the_first_or_the_last_chunk_is_found() {
    let scratch = Scratch::new("disk-first-damage");
    let (origin, _) = damaged(&scratch, CHUNK - 1);
    for method in ["GET", "HEAD"] {
        for line in ["Range: bytes=0-9", "Range: bytes=400000-400009", "X: y"] {
            let status = origin.request(method, "/c/film.mp4", &[line], b"").status;
            assert_eq!(status, 500, "{method} {line}");
        }
    }
    origin.stop();
    let (origin, _) = damaged(&scratch, BYTES - 1);
    let range = format!("Range: bytes={}-{}", BYTES - 1, BYTES - 1);
    assert_eq!(origin.request("GET", "/c/film.mp4", &[&range], b"").status, 500);
    origin.stop();
}

/// Whatever a cold read asks for, it is answered like a read from memory.
#[test]
fn every_kind_of_read_is_answered_as_from_memory() {
    let scratch = Scratch::new("disk-cold-kinds");
    let body = pattern(6, 40 * CHUNK + 1);
    let origin = start(&scratch, &[]);
    let etag = origin.put("/k/a.mp4", &body).header("ETag").unwrap().to_owned();
    kill(origin);
    let (same, other) = (format!("If-None-Match: {etag}"), "If-Match: \"other\"".to_owned());
    let last = body.len() - 1;
    let lines = [
        "X: y".to_owned(),
        same,
        other,
        "Range: bytes=0-0".to_owned(),
        format!("Range: bytes={}-", last - 5),
        "Range: bytes=-70000".to_owned(),
        "Range: bytes=100000-2000000".to_owned(),
        "Range: bytes=0-9,2000000-2000009".to_owned(),
        format!("Range: bytes={}-", last + 1),
        format!("If-Range: {etag}\r\nRange: bytes=5-9"),
    ];
    for line in lines {
        for method in ["GET", "HEAD"] {
            let origin = start(&scratch, &[]);
            let [cold, warm] =
                [0, 1].map(|_| origin.request(method, "/k/a.mp4", &[line.as_str()], b""));
            assert_eq!(cold.status, warm.status, "{method} {line}");
            let multipart = cold.header("Content-Type").is_some_and(|kind| kind.contains("byter"));
            assert!(multipart || cold.body == warm.body, "{method} {line}");
            for name in ["ETag", "Content-Length", "Content-Range", "Cache-Control"] {
                assert_eq!(cold.header(name), warm.header(name), "{method} {line} {name}");
            }
            origin.stop();
        }
    }
}

/// Memory has room for few of them: what is filled gives way once it is whole, and not before.
#[test]
fn more_than_memory_holds_is_read_by_many_at_once() {
    let scratch = Scratch::new("disk-cold-crowd");
    let origin = start(&scratch, &["--memory", "32MiB"]);
    let count = 60;
    for number in 0..count {
        origin.put(&format!("/m/{number}.mp4"), &pattern(number, 1_000_000));
    }
    std::thread::scope(|scope| {
        for reader in 0..8 {
            let origin = &origin;
            scope.spawn(move || {
                let mut client = origin.client();
                for step in 0..count {
                    let number = (step * 7 + reader * 11) % count;
                    let target = format!("/m/{number}.mp4");
                    let answer = client.request("GET", &target, &[], b"").unwrap();
                    assert_eq!(answer.status, 200, "{target}");
                    assert!(answer.body == pattern(number, 1_000_000), "{target}");
                }
            });
        }
    });
    assert!(origin.metric("headwater_disk_loads_total", "outcome=\"loaded\"") > count as f64);
    origin.stop();
}
