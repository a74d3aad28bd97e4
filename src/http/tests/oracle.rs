//! The parser against `httparse`: what we accept it accepts, and reads the same.
//!
//! Heads that we accept and `httparse` refuses: none. The list is empty, and this test keeps it so.

use super::Random;
use super::vectors;
use crate::http::framing::Chunked;
use crate::http::known::Known;
use crate::http::request::{Head, Version, parse};
use crate::limits;

/// Fails if we accept `bytes` and `httparse` does not, or reads anything else.
fn compare(bytes: &[u8]) -> bool {
    let Ok(Some(head)) = parse(bytes) else { return false };
    let mut lines = [httparse::EMPTY_HEADER; limits::HEADERS_MAX];
    let mut request = httparse::Request::new(&mut lines);
    let shown = || String::from_utf8_lossy(bytes).into_owned();
    let parsed = request.parse(bytes);
    assert_eq!(parsed, Ok(httparse::Status::Complete(head.head_len)), "{}", shown());
    let target = str::from_utf8(head.target.of(bytes)).expect("a target is ASCII");
    assert_eq!(request.path, Some(target), "{}", shown());
    let minor = u8::from(head.version == Version::Http11);
    assert_eq!(request.version, Some(minor), "{}", shown());
    let theirs = request.headers.iter().map(|line| (line.name.as_bytes(), line.value));
    assert!(head.lines(bytes).eq(theirs), "{}", shown());
    check_known(bytes, &head, request.headers);
    true
}

/// Our known headers are the first, and all, of that name.
fn check_known(bytes: &[u8], head: &Head, lines: &[httparse::Header<'_>]) {
    const SOME: [Known; 5] =
        [Known::Host, Known::Range, Known::IfNoneMatch, Known::Connection, Known::Accept];
    for known in SOME {
        let named =
            |line: &&httparse::Header<'_>| line.name.as_bytes().eq_ignore_ascii_case(known.name());
        let values: Vec<&[u8]> = lines.iter().filter(named).map(|line| line.value).collect();
        assert_eq!(head.header(bytes, known), values.first().copied(), "{known:?}");
        assert_eq!(head.all(bytes, known).collect::<Vec<_>>(), values, "{known:?}");
    }
}

#[test]
fn all_vectors() {
    for theme in ["request-line", "headers", "host", "length", "issues"] {
        for vector in vectors::read(theme) {
            compare(&vector.bytes);
        }
    }
}

/// Requests put together from parts that are mostly right, then damaged in up to three places.
#[test]
fn mutated_requests() {
    let mut random = Random::seeded("mutated_requests");
    let mut accepted = 0;
    for _ in 0..60_000 {
        let mut bytes = request(&mut random);
        for _ in 0..random.below(4) {
            damage(&mut random, &mut bytes);
        }
        accepted += usize::from(compare(&bytes));
    }
    assert!(accepted > 10_000, "only {accepted} of the requests were good: the test is too weak");
}

fn request(random: &mut Random) -> Vec<u8> {
    const LINES: &[&[u8]] = &[
        b"Host: a",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"connection:keep-alive , x",
        b"Range: bytes=0-1",
        b"If-None-Match: \"a\", W/\"b\"",
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
        b"Accept: */*",
        b"accept:  \t text/html \t ",
        b"X-Empty:",
        b"X: \xe9\xff\tz",
        b"!#$: %",
        b"Range:",
        b"X-Forwarded-For: 10.0.0.1, 10.0.0.2",
        b"Expect: 100-continue",
    ];
    let mut bytes = Vec::new();
    if random.below(8) == 0 {
        bytes.extend(b"\r\n");
    }
    bytes.extend(*random.pick(&[&b"GET "[..], b"HEAD ", b"PUT ", b"DELETE ", b"X-Y "]));
    bytes.extend(*random.pick(&[&b"/"[..], b"/a/b.m4s?c=d", b"http://a/b", b"/~!$&'()*+,;=:@%7e"]));
    bytes.extend(*random.pick(&[&b" HTTP/1.1\r\nHost: a\r\n"[..], b" HTTP/1.0\r\n"]));
    for _ in 0..random.below(7) {
        bytes.extend(*random.pick(LINES));
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(*random.pick(&[&b""[..], b"hello", b"GET / HTTP/1.1\r\n"]));
    bytes
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    const TELLING: &[u8] = b"\r\n\t :\0\x0b\x7f\x80\xff#?/,;=-_0A";
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes[at] = random.byte(),
        1 => bytes[at] = *random.pick(TELLING),
        2 => bytes.insert(at, *random.pick(TELLING)),
        3 => {
            bytes.remove(at);
        }
        _ => bytes[at] ^= 1 << random.below(8),
    }
}

/// A chunk's size line that we accept is one that `httparse` accepts, with the same size and end.
#[test]
fn chunk_size_lines() {
    const TELLING: &[u8] = b"0123456789abcdefABCDEF\r\n;x \t\0\xff";
    let mut random = Random::seeded("chunk_size_lines");
    let mut accepted = 0;
    for _ in 0..60_000 {
        let mut line: Vec<u8> = (0..random.below(5)).map(|_| *random.pick(TELLING)).collect();
        line.splice(0..0, b"1".iter().copied());
        line.extend(*random.pick(&[&b"\r\n"[..], b";a=b\r\n", b"\n"]));
        let mut decoder = Chunked::new();
        // The size is known only where the whole line was taken and no data yet.
        let Ok(chunk) = decoder.decode(&line) else { continue };
        if !chunk.data.is_empty() || decoder.chunk_remaining() == 0 {
            continue;
        }
        let theirs = httparse::parse_chunk_size(&line);
        let ours = httparse::Status::Complete((line.len(), decoder.chunk_remaining()));
        assert_eq!(theirs, Ok(ours), "{}", String::from_utf8_lossy(&line));
        accepted += 1;
    }
    assert!(accepted > 1000, "only {accepted} of the lines were good: the test is too weak");
}
