//! Every vector of `tests/vectors` over a real connection, with another request behind it.
//!
//! Each is sent whole, byte by byte, and cut in pieces with pauses between. A refused one gets one
//! answer with the wanted status, then the connection ends, and what was sent behind it is never
//! answered and never obeyed. An accepted one ends where the vector says: the request behind it
//! gets its own answer, or none when the connection was to close.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

#[path = "strictness/vectors.rs"]
mod vectors;

mod support;

use std::io;
use std::thread;
use std::time::Duration;

use support::wire::{Answer, Client};
use support::{Origin, Scratch, pattern};
use vectors::{Vector, read, unescape};

/// Waits that make a vector that is not complete cost little.
const CONFIG: &str = "[timeouts]\nhead_ms = 700\nidle_ms = 900\nbody_idle_ms = 700\n";

/// Sent behind every vector: a write that must not happen unless its turn comes, and a read whose
/// answer nobody can mistake.
const PROBE: &[u8] = b"PUT /smuggled/behind HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\
    GET /probe HTTP/1.1\r\nHost: a\r\n\r\n";

/// A body that would be a request to a reader who does not see the body's end.
const BODY: &[u8] = b"GET /probe HTTP/1.1\r\nHost: a\r\n\r\n";

/// How the bytes travel.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Bytes,
    At(usize),
}

/// The ways to send `len` bytes; the places of the cuts differ from vector to vector.
fn cuts(name: &str, len: usize) -> Vec<Cut> {
    let mut cuts = vec![Cut::Whole, Cut::Bytes];
    let places = pattern(name.bytes().map(u64::from).sum(), 8);
    cuts.extend(
        places
            .chunks(2)
            .map(|two| Cut::At(usize::from(u16::from_le_bytes([two[0], two[1]])) % len.max(1))),
    );
    cuts
}

/// An origin with the probe's object.
struct Stage {
    origin: Origin,
    probe: Vec<u8>,
    _folder: Scratch,
}

impl Stage {
    fn new(name: &str) -> Self {
        let folder = Scratch::new(&format!("strictness-{name}"));
        let path = folder.path("headwater.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let origin = Origin::start(&["--config", &path, "--shards", "2"]);
        let probe = pattern(1, 321);
        origin.put("/probe", &probe);
        Self { origin, probe, _folder: folder }
    }

    /// Sends `bytes` in the manner of `cut`, then `behind`. The peer may close before all is sent.
    fn send(&self, bytes: &[u8], cut: Cut, behind: &[u8]) -> Client {
        let mut client = self.origin.client();
        let pieces: Vec<&[u8]> = match cut {
            Cut::Whole => vec![],
            Cut::Bytes => bytes.chunks(1).collect(),
            Cut::At(at) => vec![&bytes[..at], &bytes[at..]],
        };
        for piece in &pieces {
            if client.send(piece).is_err() {
                return client;
            }
            if matches!(cut, Cut::At(_)) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        // Whole means one write together with what follows.
        let last = if pieces.is_empty() { [bytes, behind].concat() } else { behind.to_vec() };
        let _ = client.send(&last);
        client
    }

    /// One refusal, then the end, and nothing behind it was obeyed.
    fn refused(&self, client: &mut Client, status: u16) -> Result<(), String> {
        let answer = next(client, "GET").map_err(|error| format!("no answer: {error}"))?;
        if answer.status != status {
            return Err(format!("status {} instead of {status}", answer.status));
        }
        check_refusal(&answer)?;
        ended(client)
    }

    /// The vector's request is answered, and the requests of [`PROBE`] get answers of their own if
    /// the connection goes on.
    fn accepted(&self, client: &mut Client, request: &Request) -> Result<(), String> {
        for count in 0..request.extra {
            let answer = next(client, &request.method).map_err(|error| error.to_string())?;
            self.is_not_the_probe(&answer).map_err(|error| format!("answer {count}: {error}"))?;
        }
        let answer = next(client, &request.method).map_err(|error| error.to_string())?;
        self.is_not_the_probe(&answer)?;
        if matches!(answer.status, 408 | 414 | 417 | 431 | 501 | 505) {
            return Err(format!("accepted means not {}", answer.status));
        }
        let closes = answer.header("Connection").is_some_and(|value| value == "close");
        if closes {
            return match request.may_close {
                true => ended(client),
                false => Err(format!("{} closes the connection", answer.status)),
            };
        }
        if !request.keep {
            return Err(format!("{} does not close the connection", answer.status));
        }
        let stored = next(client, "PUT").map_err(|error| format!("behind it: {error}"))?;
        let probe = next(client, "GET").map_err(|error| format!("behind it: {error}"))?;
        self.origin.request("DELETE", "/smuggled/behind", &[], b"");
        match (stored.status, probe.status, probe.body == self.probe) {
            (200, 200, true) => Ok(()),
            other => Err(format!("behind it: {other:?}")),
        }
    }

    fn is_not_the_probe(&self, answer: &Answer) -> Result<(), String> {
        match answer.body == self.probe {
            true => Err("the body was read as a request".to_owned()),
            false => Ok(()),
        }
    }

    /// Everything about one vector, in every cut; says what went wrong.
    fn hold(&self, vector: &Vector, check: impl Fn(&Self, Cut) -> Result<(), String>) {
        for cut in cuts(&vector.name, vector.bytes.len()) {
            if let Err(reason) = check(self, cut) {
                panic!("{}, {cut:?}: {reason}", vector.name);
            }
        }
        let behind = self.origin.get("/smuggled/behind");
        assert_eq!(behind.status, 404, "{}: the write behind it was obeyed", vector.name);
    }
}

/// The next final answer.
fn next(client: &mut Client, method: &str) -> io::Result<Answer> {
    loop {
        let answer = client.answer(method == "HEAD")?;
        if answer.status != 100 {
            return Ok(answer);
        }
    }
}

fn check_refusal(answer: &Answer) -> Result<(), String> {
    let json = answer.header("Content-Type") == Some("application/json");
    let closes = answer.header("Connection") == Some("close");
    let names_itself = answer.text().contains(&answer.status.to_string());
    match json && closes && names_itself && answer.header("Cache-Control").is_some() {
        true => Ok(()),
        false => Err(format!("not a proper refusal: {answer:?}")),
    }
}

fn ended(client: &mut Client) -> Result<(), String> {
    match client.rest() {
        Ok(rest) if rest.is_empty() => Ok(()),
        Ok(rest) => Err(format!("sent behind the end: {}", String::from_utf8_lossy(&rest))),
        // The peer of a byte-by-byte sender may have closed before its last bytes.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(format!("the connection does not end: {error}")),
    }
}

/// What an accepted vector is on the wire.
struct Request {
    method: String,
    bytes: Vec<u8>,
    keep: bool,
    may_close: bool,
    /// Whole requests that the vector has in front of its last one.
    extra: usize,
}

impl Request {
    fn of(vector: &Vector) -> Self {
        let mut bytes = vector.bytes.clone();
        let found = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = vector.word("head").map_or(found, |word| word.parse().unwrap());
        let has = bytes.len() - head;
        let mut extra = 0;
        let mut large = false;
        match vector.word("body") {
            None | Some("none") => {
                let rest = &vector.bytes[head..];
                extra = rest.windows(4).filter(|four| *four == b"\r\n\r\n").count();
            }
            Some("chunked") => {
                bytes.extend(format!("{:x}\r\n", BODY.len()).into_bytes());
                bytes.extend_from_slice(BODY);
                bytes.extend_from_slice(b"\r\n0\r\n\r\n");
            }
            Some(length) => {
                // Longer than five digits is longer than an object may be.
                large = length.len() > 5;
                if !large {
                    let length: usize = length.parse().unwrap();
                    let body = BODY.iter().copied().cycle().take(length);
                    bytes.extend(body.skip(has));
                }
            }
        }
        let start = String::from_utf8_lossy(vector.bytes.trim_ascii_start()).into_owned();
        let method = start.split(' ').next().unwrap().to_owned();
        let is_old = start.contains(" HTTP/1.0\r\n") && vector.word("keep") != Some("yes");
        let keep = vector.word("keep") != Some("no") && !is_old && !large;
        // A refused upload that waited for 100 leaves its framing in doubt.
        let expects = start.to_ascii_lowercase().contains("expect: 100-continue");
        Self { method, bytes, keep, may_close: !keep || expects, extra }
    }
}

/// Holds the vectors of one file of requests.
fn hold_requests(theme: &str) {
    let stage = Stage::new(theme);
    for vector in read(theme) {
        if let Some(status) = vector.refusal() {
            stage.hold(&vector, |stage, cut| {
                stage.refused(&mut stage.send(&vector.bytes, cut, PROBE), status)
            });
        } else if vector.verdict == "more" {
            // What follows would complete it: it is left to its timeout.
            let client = &mut stage.send(&vector.bytes, Cut::Whole, b"");
            let outcome = match vector.bytes.is_empty() {
                true => ended(client),
                false => stage.refused(client, 408),
            };
            assert_eq!(outcome, Ok(()), "{}", vector.name);
        } else {
            let request = Request::of(&vector);
            stage.hold(&vector, |stage, cut| {
                stage.accepted(&mut stage.send(&request.bytes, cut, PROBE), &request)
            });
        }
    }
    assert_eq!(stage.origin.get("/probe").body, stage.probe);
    stage.origin.stop();
}

#[test]
fn request_lines() {
    hold_requests("request-line");
}

#[test]
fn headers() {
    hold_requests("headers");
}

#[test]
fn hosts() {
    hold_requests("host");
}

#[test]
fn lengths() {
    hold_requests("length");
}

#[test]
fn issues() {
    hold_requests("issues");
}

/// Chunked bodies, of objects that are readable while they arrive (`.m4s`) and of others: a broken
/// one is refused and leaves nothing behind.
#[test]
fn chunked_bodies() {
    let stage = Stage::new("chunked");
    for (number, vector) in read("chunked").into_iter().enumerate() {
        for extension in ["m4s", "bin"] {
            let key = format!("/chunked/{number}.{extension}");
            let head =
                format!("PUT {key} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            let bytes = [head.as_bytes(), &vector.bytes].concat();
            if vector.verdict == "more" {
                let outcome = stage.refused(&mut stage.send(&bytes, Cut::Whole, b""), 408);
                assert_eq!(outcome, Ok(()), "{}", vector.name);
                assert_eq!(stage.origin.get(&key).status, 404, "{}", vector.name);
                continue;
            }
            stage.hold(&vector, |stage, cut| hold_chunked(stage, &vector, &key, &bytes, cut));
        }
    }
    stage.origin.stop();
}

fn hold_chunked(
    stage: &Stage,
    vector: &Vector,
    key: &str,
    bytes: &[u8],
    cut: Cut,
) -> Result<(), String> {
    let expected = |status: u16, body: &[u8]| match stage.origin.get(key) {
        answer if answer.status == status && (status != 200 || answer.body == body) => Ok(()),
        answer => Err(format!("afterwards {}: {}", answer.status, answer.text())),
    };
    if let Some(status) = vector.refusal() {
        stage.refused(&mut stage.send(bytes, cut, PROBE), status)?;
        return expected(404, b"").and_then(|()| hold_delete(stage, vector, status, cut));
    }
    let wanted = vector.verdict.strip_prefix("accept data=").unwrap();
    let (data, rest) = wanted.split_once(" rest=").unwrap();
    let behind = if rest.is_empty() { PROBE } else { b"" };
    let client = &mut stage.send(bytes, cut, behind);
    if rest.is_empty() {
        let method = "PUT".to_owned();
        let request = Request { method, bytes: vec![], keep: true, may_close: false, extra: 0 };
        stage.accepted(client, &request)?;
    } else {
        let answer = next(client, "PUT").map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("status {}", answer.status));
        }
    }
    expected(200, &unescape(data))?;
    stage.origin.request("DELETE", key, &[], b"");
    Ok(())
}

/// A DELETE whose body is broken deletes nothing.
fn hold_delete(stage: &Stage, vector: &Vector, status: u16, cut: Cut) -> Result<(), String> {
    let head = b"DELETE /probe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bytes = [head, &vector.bytes[..]].concat();
    stage.refused(&mut stage.send(&bytes, cut, PROBE), status)?;
    match stage.origin.get("/probe").body == stage.probe {
        true => Ok(()),
        false => Err("a broken DELETE was obeyed".to_owned()),
    }
}

/// Ranges as the object's bytes show them.
#[test]
fn ranges() {
    let stage = Stage::new("range");
    let body = pattern(7, 1000);
    stage.origin.put("/range/1000", &body);
    stage.origin.put("/range/0", b"");
    for vector in read("range") {
        let space = vector.bytes.iter().position(|byte| *byte == b' ').unwrap();
        let (length, value) = vector.bytes.split_at(space);
        let key = format!("/range/{}", String::from_utf8_lossy(length));
        let whole = if length == b"0" { &[] } else { &body[..] };
        let head = format!("GET {key} HTTP/1.1\r\nHost: a\r\nRange:");
        let bytes = [head.as_bytes(), value, b"\r\n\r\n"].concat();
        stage.hold(&vector, |stage, cut| {
            let client = &mut stage.send(&bytes, cut, PROBE);
            let answer = next(client, "GET").map_err(|error| error.to_string())?;
            check_range(&answer, &vector.verdict, whole)?;
            let behind = next(client, "PUT").map_err(|error| error.to_string())?;
            stage.origin.request("DELETE", "/smuggled/behind", &[], b"");
            if behind.status == 200 { Ok(()) } else { Err(format!("behind it: {behind:?}")) }
        });
    }
    stage.origin.stop();
}

fn check_range(answer: &Answer, verdict: &str, whole: &[u8]) -> Result<(), String> {
    let content_range = answer.header("Content-Range");
    let total = whole.len();
    let fits = match verdict {
        "ignore" => answer.status == 200 && answer.body == whole,
        "416" => answer.status == 416 && content_range == Some(&format!("bytes */{total}")),
        list if !list.contains(',') => {
            let (first, last) = ends(list);
            answer.status == 206
                && content_range == Some(&format!("bytes {list}/{total}"))
                && answer.body == whole[first..=last]
        }
        list => answer.status == 206 && parts_fit(answer, list, whole),
    };
    if fits { Ok(()) } else { Err(format!("{verdict}: {answer:?}")) }
}

fn ends(range: &str) -> (usize, usize) {
    let (first, last) = range.split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap())
}

/// Takes a multipart body apart from its front; every byte of it must be accounted for.
fn parts_fit(answer: &Answer, list: &str, whole: &[u8]) -> bool {
    let content_type = answer.header("Content-Type").unwrap_or_default();
    let Some((_, boundary)) = content_type.split_once("boundary=") else { return false };
    let mut rest = &answer.body[..];
    for range in list.split(',') {
        let opening = format!("--{boundary}\r\n");
        let Some(start) = rest.windows(opening.len()).position(|part| part == opening.as_bytes())
        else {
            return false;
        };
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        let head = String::from_utf8_lossy(&rest[start..end]).into_owned();
        let (first, last) = ends(range);
        let Some(data) = rest.get(end + 4..end + 4 + last - first + 1) else { return false };
        let names = head.contains(&format!("Content-Range: bytes {range}/{}", whole.len()));
        if start > 2 || !names || data != &whole[first..=last] {
            return false;
        }
        rest = &rest[end + 4 + data.len()..];
    }
    rest.trim_ascii() == format!("--{boundary}--").as_bytes()
}

/// Conditions; those that speak of the vectors' date are left to the unit tests, because nobody can
/// store an object in the past.
#[test]
fn conditions() {
    let stage = Stage::new("conditional");
    let body = pattern(9, 100);
    let etag = stage.origin.put("/cond", &body).header("ETag").unwrap().to_owned();
    let mut held = 0;
    for vector in read("conditional") {
        let text = String::from_utf8_lossy(&vector.bytes).into_owned();
        if text.contains("1994") || text.contains("-94") {
            continue;
        }
        held += 1;
        let mut lines = text.replace("v1", etag.trim_matches('"'));
        if matches!(vector.verdict.as_str(), "part" | "whole") && !text.contains("Range: b") {
            lines.push_str("Range: bytes=0-0\r\n");
        }
        let bytes = format!("GET /cond HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes();
        stage.hold(&vector, |stage, cut| {
            let client = &mut stage.send(&bytes, cut, PROBE);
            let answer = next(client, "GET").map_err(|error| error.to_string())?;
            let behind = next(client, "PUT").map_err(|error| error.to_string())?;
            stage.origin.request("DELETE", "/smuggled/behind", &[], b"");
            let status = match vector.verdict.as_str() {
                "proceed" | "whole" => 200,
                "part" => 206,
                other => other.parse().unwrap(),
            };
            match answer.status == status && behind.status == 200 {
                true => Ok(()),
                false => Err(format!("{answer:?}, behind it {}", behind.status)),
            }
        });
    }
    assert!(held >= 25, "only {held} vectors were held");
    stage.origin.stop();
}
