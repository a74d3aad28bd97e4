//! Files larger than memory: described at once, and read chunk by chunk.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "large/readers.rs"]
mod readers;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use support::{Origin, Scratch, pattern};

const MIB: usize = 1 << 20;
/// Bytes of the film: an odd end, and far more than the memory of the origin.
const LENGTH: usize = 300 * MIB + 12_345;
/// Bytes in a chunk with 64 MiB of memory.
const CHUNK: usize = 4 * MIB;

/// A library with one film, and an origin that serves it from 64 MiB.
struct Film {
    origin: Origin,
    body: Vec<u8>,
    root: String,
    _scratch: Scratch,
}

/// Bytes that repeat nowhere near, made faster than `pattern` makes so many.
fn film(seed: u64, length: usize) -> Vec<u8> {
    let block = pattern(seed, MIB);
    let mut body = Vec::with_capacity(length);
    let mut number = 0u64;
    while body.len() < length {
        let at = body.len();
        let end = block.len().min(length - at);
        body.extend_from_slice(&block[..end]);
        for byte in body[at..].iter_mut().step_by(4096) {
            *byte = byte.wrapping_add(1 + (number % 251) as u8);
        }
        number += 1;
    }
    body
}

impl Film {
    fn start(name: &str, shards: &str) -> Self {
        Self::of(name, shards, LENGTH)
    }

    fn of(name: &str, shards: &str, length: usize) -> Self {
        let scratch = Scratch::new(name);
        let root = scratch.path("tree");
        std::fs::create_dir_all(format!("{root}/films")).unwrap();
        let body = film(1, length);
        lay(Path::new(&root), &body);
        let flags = ["--shards", shards, "--memory", "64MiB", "--library", &root];
        Self { origin: Origin::start(&flags), body, root, _scratch: scratch }
    }

    fn range(&self, range: &str) -> support::wire::Answer {
        self.origin.request("GET", "/films/a.mp4", &[&format!("Range: bytes={range}")], b"")
    }

    /// Bytes read from disk so far.
    fn read_bytes(&self) -> f64 {
        // Meters are published about every second.
        std::thread::sleep(std::time::Duration::from_millis(1200));
        self.origin.metric("headwater_disk_bytes_total", "way=\"read\"")
    }
}

/// Puts the film into its place at once, as a tool would.
fn lay(root: &Path, body: &[u8]) {
    let beside = root.join("films/.new");
    let mut file = File::create(&beside).unwrap();
    file.write_all(body).unwrap();
    drop(file);
    std::fs::rename(beside, root.join("films/a.mp4")).unwrap();
}

#[test]
fn ranges_of_a_large_file_come_with_their_bytes() {
    for shards in ["2", "4"] {
        let film = Film::start("large-ranges", shards);
        let body = &film.body;
        let ranges = [
            (0, 0),
            (0, 99),
            (CHUNK - 1, CHUNK),
            (CHUNK - 1000, 3 * CHUNK + 999),
            (7 * CHUNK, 8 * CHUNK - 1),
            (LENGTH - 1, LENGTH - 1),
            (200 * MIB, 260 * MIB),
        ];
        for (first, last) in ranges {
            let answer = film.range(&format!("{first}-{last}"));
            assert_eq!(answer.status, 206, "{first}-{last}: {}", answer.text());
            assert!(answer.body == body[first..=last], "{first}-{last}: other bytes");
            let said = format!("bytes {first}-{last}/{LENGTH}");
            assert_eq!(answer.header("Content-Range"), Some(said.as_str()));
        }
        let suffix = film.range("-70000");
        assert!(suffix.status == 206 && suffix.body == body[LENGTH - 70_000..]);
        let open = film.range(&format!("{}-", LENGTH - 5 * MIB));
        assert!(open.status == 206 && open.body == body[LENGTH - 5 * MIB..]);
        assert_eq!(film.range(&format!("{LENGTH}-")).status, 416);
        several(&film);
        film.origin.stop();
    }
}

/// Several ranges of one answer, across chunks and out of order.
fn several(film: &Film) {
    let ranges = [(250 * MIB, 250 * MIB + 9), (2 * CHUNK - 5, 2 * CHUNK + 4), (3, 7)];
    let asked: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let answer = film.range(&asked.join(","));
    assert_eq!(answer.status, 206);
    let kind = answer.header("Content-Type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for (first, last) in ranges {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: video/mp4\r\n\
             Content-Range: bytes {first}-{last}/{LENGTH}\r\n\r\n"
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&film.body[first..=last]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expected, "other bytes in the parts");
}

/// HEAD and conditions are answered from the description, a short range from one chunk.
#[test]
fn little_is_read_for_what_asks_for_little() {
    let film = Film::start("large-little", "2");
    let head = film.origin.request("HEAD", "/films/a.mp4", &[], b"");
    assert_eq!(head.status, 200);
    assert_eq!(head.header("Content-Length"), Some(LENGTH.to_string().as_str()));
    assert_eq!(head.header("Content-Type"), Some("video/mp4"));
    let etag = head.header("ETag").unwrap().to_owned();
    let ask = |line: &str| film.origin.request("GET", "/films/a.mp4", &[line], b"");
    assert_eq!(ask(&format!("If-None-Match: {etag}")).status, 304);
    assert_eq!(ask("If-Match: \"other\"").status, 412);
    assert_eq!(film.read_bytes(), 0.0);
    assert_eq!(film.range("123456789-123456800").status, 206);
    assert_eq!(film.read_bytes(), CHUNK as f64);
    let lines = ["Range: bytes=0-9", &format!("If-Range: {etag}")];
    let held = film.origin.request("GET", "/films/a.mp4", &lines, b"");
    assert!(held.status == 206 && held.body == film.body[..10]);
    // It is not among the objects of a listing by the names of its chunks.
    let listing = film.origin.get("/films/").text().into_owned() + &film.origin.get("/").text();
    assert!(!listing.contains("\\u0000") && !listing.contains('\0'), "{listing}");
    assert!(film.origin.metric("headwater_objects", "") <= 1.0);
    film.origin.stop();
}

#[test]
fn a_part_that_was_broken_off_is_resumed_by_curl() {
    let film = Film::of("large-curl", "2", 40 * MIB + 7);
    let into = format!("{}/curl.part", film.root);
    std::fs::write(&into, &film.body[..17 * MIB + 3]).unwrap();
    let url = film.origin.url("/films/a.mp4");
    let (status, said) = support::run("curl", &["-sS", "-f", "-C", "-", "-o", &into, &url]);
    assert!(status.success(), "{said}");
    assert!(std::fs::read(&into).unwrap() == film.body);
    film.origin.stop();
}

/// What was uploaded has sums of its chunks: damage costs what lies near it, and no wrong byte
/// leaves.
#[test]
fn uploaded_files_are_read_and_checked_chunk_by_chunk() {
    let scratch = Scratch::new("large-data");
    let data = scratch.path("data");
    let start = || Origin::start(&["--shards", "2", "--memory", "64MiB", "--data", &data]);
    let (origin, body) = (start(), film(3, 40 * MIB + 77));
    let etag = origin.put("/films/b.mp4", &body).header("ETag").unwrap().to_owned();
    origin.stop();
    let file = File::options().write(true).open(format!("{data}/films/b.mp4")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[!body[22 * MIB]], 22 * MIB as u64).unwrap();
    let origin = start();
    let ask = |range: &str| {
        origin.request("GET", "/films/b.mp4", &[&format!("Range: bytes={range}")], b"")
    };
    let near = ask("0-99999");
    assert!(near.status == 206 && near.body == body[..100_000]);
    assert_eq!(near.header("ETag"), Some(etag.as_str()));
    let end = ask("-100000");
    assert!(end.status == 206 && end.body == body[body.len() - 100_000..]);
    assert_eq!(ask(&format!("{}-{}", 21 * MIB, 21 * MIB + 9)).status, 500);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let read = origin.metric("headwater_disk_bytes_total", "way=\"read\"");
    assert!(read <= (2 * CHUNK + 77) as f64, "{read}");
    // Conditions of uploads are judged by the description; what is uploaded is there at once.
    let put = |lines: &[&str]| origin.request("PUT", "/films/b.mp4", lines, b"new").status;
    assert_eq!(put(&["If-None-Match: *"]), 412);
    assert_eq!(put(&["If-Match: \"other\""]), 412);
    assert_eq!(put(&[&format!("If-Match: {etag}")]), 200);
    assert_eq!(origin.get("/films/b.mp4").body, b"new");
    assert_eq!(origin.request("DELETE", "/films/b.mp4", &[], b"").status, 200);
    assert_eq!(ask("0-9").status, 404);
    // No chunk keeps the folder's name.
    origin.put("/films", b"an object now");
    let log = origin.stop_with_log();
    assert!(log.contains("it is not what was written"), "{log}");
}

/// An upload takes the file's place at once, and a delete gives it back.
#[test]
fn uploads_go_before_the_file() {
    let film = Film::of("large-put", "4", 40 * MIB);
    assert_eq!(film.range("0-9").status, 206);
    assert_eq!(film.origin.put("/films/a.mp4", b"new").status, 200);
    assert_eq!(film.origin.get("/films/a.mp4").body, b"new");
    assert_eq!(film.origin.request("DELETE", "/films/a.mp4", &[], b"").status, 200);
    let again = film.range("5-9");
    assert!(again.status == 206 && again.body == film.body[5..10]);
    film.origin.stop();
}
