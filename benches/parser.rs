//! Instructions of the HTTP room, counted by valgrind; `httparse` beside the parser.
//!
//! Run with `cargo bench --bench parser` (needs valgrind and the gungraun-runner of the version in
//! Cargo.lock). The `httparse_*` rows do the same work as the `headwater_*` rows: the head, and
//! then one pass over its lines for host, framing, persistence, expectation, range and conditions,
//! and the target split at the query. `httparse_alone` is its parse and nothing else.

#![allow(missing_docs, reason = "the macros of the harness make public items")]

use gungraun::{library_benchmark, library_benchmark_group, main};
use headwater::http::framing::{self, Chunked, Framing};
use headwater::http::range::{self, Ranges};
use headwater::http::request::{self, Head, Version};
use headwater::http::response::{Status, Writer};
use std::hint::black_box;

/// What a CDN asks an origin for: 8 headers, about 300 bytes.
const CDN: &[u8] = b"GET /live/channel1/1080p/segment_000123456.m4s?token=abcdef HTTP/1.1\r\n\
    Host: origin.example.com\r\n\
    User-Agent: Amazon CloudFront\r\n\
    X-Amz-Cf-Id: kXb7p2xWm3qLr0vJ5nY8tQ1sZ4cD6eF9gH2iK\r\n\
    Connection: Keep-Alive\r\n\
    Via: 1.1 3f2a.cloudfront.net (CloudFront)\r\n\
    X-Forwarded-For: 203.0.113.77\r\n\
    Accept-Encoding: gzip\r\n\
    Accept: */*\r\n\r\n";

/// What a load generator asks: one header.
const PLAIN: &[u8] = b"GET /live/segment.m4s HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// What a player asks: many headers, a range and a condition.
const PLAYER: &[u8] = b"GET /vod/film/video_1080p.mp4 HTTP/1.1\r\n\
    Host: origin.example.com:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: video/webm,video/ogg,video/*;q=0.9,application/ogg;q=0.7,audio/*;q=0.6,*/*;q=0.5\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Range: bytes=1048576-2097151\r\n\
    If-Range: \"5f3c-1a2b3c4d\"\r\n\
    Connection: keep-alive\r\n\
    Referer: http://origin.example.com:8080/player.html\r\n\
    Sec-Fetch-Dest: video\r\n\
    Sec-Fetch-Mode: no-cors\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Accept-Encoding: identity\r\n\r\n";

/// Parses once with both, so that neither counts its first look at the processor's features.
fn warm(bytes: &'static [u8]) -> &'static [u8] {
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    black_box(httparse::Request::new(&mut lines).parse(bytes).is_ok());
    black_box(request::parse(bytes).is_ok());
    bytes
}

#[library_benchmark]
#[bench::cdn(warm(CDN))]
#[bench::plain(warm(PLAIN))]
#[bench::player(warm(PLAYER))]
fn headwater_parse(bytes: &[u8]) -> Option<Head> {
    black_box(request::parse(black_box(bytes)).unwrap_or(None))
}

#[library_benchmark]
#[bench::cdn(warm(CDN))]
#[bench::plain(warm(PLAIN))]
#[bench::player(warm(PLAYER))]
fn httparse_alone(bytes: &[u8]) -> bool {
    let mut lines = [std::mem::MaybeUninit::uninit(); LINES_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(black_box(bytes), &mut lines);
    black_box(&request);
    black_box(parsed.is_ok())
}

#[library_benchmark]
#[bench::cdn(warm(CDN))]
#[bench::plain(warm(PLAIN))]
#[bench::player(warm(PLAYER))]
fn httparse_same_work(bytes: &[u8]) -> bool {
    let mut lines = [std::mem::MaybeUninit::uninit(); LINES_MAX];
    let mut request = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(_)) =
        request.parse_with_uninit_headers(black_box(bytes), &mut lines)
    else {
        return false;
    };
    black_box(&request);
    black_box(meaning(&request)).is_some()
}

const LINES_MAX: usize = 32;

/// What [`Head`] knows and `httparse` leaves to its caller.
#[derive(Default)]
struct Meaning<'a> {
    path: &'a str,
    query: &'a str,
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    connection: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    range: Option<&'a [u8]>,
    if_range: Option<&'a [u8]>,
    if_match: Option<&'a [u8]>,
    if_none_match: Option<&'a [u8]>,
    if_modified_since: Option<&'a [u8]>,
    if_unmodified_since: Option<&'a [u8]>,
    keep_alive: bool,
    body: Option<Framing>,
}

fn meaning<'a>(request: &httparse::Request<'_, 'a>) -> Option<Meaning<'a>> {
    let mut meaning = Meaning::default();
    let target = request.path?;
    (meaning.path, meaning.query) = target.split_once('?').unwrap_or((target, ""));
    for line in request.headers.iter() {
        note(&mut meaning, line.name, line.value)?;
    }
    let version = if request.version? == 1 { Version::Http11 } else { Version::Http10 };
    let host = meaning.host?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:".contains(byte);
    if !host.iter().all(allowed) {
        return None;
    }
    let close = |value: &[u8]| value.eq_ignore_ascii_case(b"close");
    meaning.keep_alive = !meaning.connection.is_some_and(close);
    let codings = meaning.transfer_encoding.into_iter();
    meaning.body = Some(framing::decide(version, meaning.content_length, codings).ok()?);
    Some(meaning)
}

/// Notes a line that matters; by length first, as a careful caller would.
fn note<'a>(meaning: &mut Meaning<'a>, name: &str, value: &'a [u8]) -> Option<()> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let place = match name.len() {
        4 if is("host") => &mut meaning.host,
        5 if is("range") => &mut meaning.range,
        6 if is("expect") => &mut meaning.expect,
        8 if is("if-range") => &mut meaning.if_range,
        8 if is("if-match") => &mut meaning.if_match,
        10 if is("connection") => &mut meaning.connection,
        13 if is("if-none-match") => &mut meaning.if_none_match,
        14 if is("content-length") => &mut meaning.content_length,
        17 if is("transfer-encoding") => &mut meaning.transfer_encoding,
        17 if is("if-modified-since") => &mut meaning.if_modified_since,
        19 if is("if-unmodified-since") => &mut meaning.if_unmodified_since,
        _ => return Some(()),
    };
    // A repeated header is left to the slow path, as in `Head`.
    place.replace(value).is_none().then_some(())
}

#[library_benchmark]
#[bench::one(b"bytes=1048576-2097151")]
#[bench::several(b"bytes=0-99,1000-1999,-500")]
fn range_parse(value: &[u8]) -> Ranges {
    black_box(range::parse(black_box(value), black_box(10_000_000)))
}

#[library_benchmark]
#[bench::ok(Status::Ok)]
fn response_head(status: Status) -> usize {
    let mut memory = [0; 512];
    let mut writer = Writer::new(black_box(&mut memory));
    writer.status(black_box(status));
    writer.header(b"Content-Type", black_box(b"video/mp4"));
    writer.header_u64(b"Content-Length", black_box(1_048_576));
    writer.header(b"ETag", black_box(b"\"5f3c-1a2b3c4d\""));
    writer.header(b"Last-Modified", black_box(b"Sun, 06 Nov 1994 08:49:37 GMT"));
    writer.header(b"Date", black_box(b"Sun, 06 Nov 1994 08:49:37 GMT"));
    writer.raw(black_box(b"Accept-Ranges: bytes\r\n"));
    let len = writer.end().unwrap_or(0);
    black_box(&memory);
    black_box(len)
}

#[library_benchmark]
#[bench::chunk_of_8k(chunked_body())]
fn chunk_decode(body: Vec<u8>) -> usize {
    let mut decoder = Chunked::new();
    let mut at = 0;
    while let Ok(chunk) = decoder.decode(black_box(&body[at..])) {
        at += chunk.consumed;
        black_box(chunk.data);
        if chunk.done {
            break;
        }
    }
    black_box(at)
}

fn chunked_body() -> Vec<u8> {
    [&b"2000\r\n"[..], &[b'x'; 8192], b"\r\n0\r\n\r\n"].concat()
}

library_benchmark_group!(
    name = parser;
    benchmarks = headwater_parse, httparse_same_work, httparse_alone
);
library_benchmark_group!(
    name = values;
    benchmarks = range_parse, response_head, chunk_decode
);
main!(library_benchmark_groups = parser, values);
