//! What holds of every answer, whatever it is made of: its id, who may look at it, how long the
//! object stays, and that its coding is told once.

use super::support::access::Guarded;
use super::support::{Origin, Scratch};
use super::{KEY, expect, expect_error, start};

/// Answers with several ranges, of growing objects and of gzip playlists had no id.
#[test]
fn every_answer_names_its_request() {
    for shards in ["1", "4"] {
        let guarded = start("ids", shards, "[[path]]\npattern = '**'\ngzip = true\n");
        let origin = &guarded.origin;
        let mut seen = Vec::new();
        let playlist = format!("#EXTM3U\n{}", "#EXTINF:2,\na.ts\n".repeat(60));
        for folder in 0..4 {
            let path = format!("/objectstore/s/{folder}/a.m3u8");
            let put = origin.request("PUT", &path, &["mo-meta-x-a: b"], playlist.as_bytes());
            expect(&put, 204, &mut seen);
            for (line, status) in [
                ("Range: bytes=0-1,9-10", 206),
                ("Range: bytes=0-1", 206),
                ("Range: bytes=9999-", 416),
                ("Accept-Encoding: gzip", 200),
                ("If-Match: \"other\"", 412),
            ] {
                for _ in 0..2 {
                    let answer = origin.request("GET", &path, &[line], b"");
                    expect(&answer, status, &mut seen);
                }
            }
            let short = origin.request("GET", &path, &["Accept-Encoding: gzip"], b"");
            assert_eq!(short.header("Content-Encoding"), Some("gzip"));
            assert_eq!(short.header("x-a"), Some("b"));
            let tag = format!("If-None-Match: {}", short.header("ETag").unwrap());
            let known = origin.request("GET", &path, &["Accept-Encoding: gzip", &tag], b"");
            expect(&known, 304, &mut seen);
        }
        let mut encoder = origin.client();
        encoder.begin_chunked("/objectstore/s/1.m4s", &[]).unwrap();
        encoder.chunk(b"first").unwrap();
        let mut reader = origin.client();
        loop {
            let request = b"GET /objectstore/s/1.m4s HTTP/1.1\r\nHost: a\r\n\r\n";
            reader.send(request).unwrap();
            let head = reader.head().unwrap();
            if head.status == 200 {
                expect(&head, 200, &mut seen);
                break;
            }
            reader = origin.client();
        }
        encoder.chunk(b"").unwrap();
        expect(&encoder.answer(false).unwrap(), 204, &mut seen);
        guarded.origin.stop();
    }
}

/// What an upload said to be compressed was compressed again for whoever takes gzip.
#[test]
fn what_has_a_coding_is_not_coded_again() {
    for shards in ["1", "4"] {
        let guarded = start("coded", shards, "[[path]]\npattern = '**'\ngzip = true\n");
        let origin = &guarded.origin;
        let body = "#EXTM3U said to be compressed\n".repeat(30);
        let (path, line) = ("/objectstore/s/a.m3u8", "Mo-Meta-Content-Encoding: gzip");
        assert_eq!(origin.request("PUT", path, &[line], body.as_bytes()).status, 204);
        for accept in ["Accept-Encoding: gzip", "Accept-Encoding: identity"] {
            let answer = origin.request("GET", path, &[accept], b"");
            assert_eq!(answer.text(), body, "{accept}");
            let is_coding =
                |line: &&(String, String)| line.0.eq_ignore_ascii_case("content-encoding");
            assert_eq!(answer.headers.iter().filter(is_coding).count(), 1, "{accept}");
            assert_eq!(answer.header("Vary"), None);
        }
        guarded.origin.stop();
    }
}

#[test]
fn pages_may_do_what_their_token_grants() {
    let tokens =
        format!("[[token]]\nname = 'page'\ntoken = '{KEY}'\npublish = '**'\nread = '**'\n");
    for shards in ["1", "4"] {
        let guarded = start("pages", shards, &tokens);
        let origin = &guarded.origin;
        let page = "Origin: https://a.example";
        let wish = [page, "Access-Control-Request-Method: PUT"];
        for target in ["/objectstore/live/a", "/cache/c", "/cache/c?key=a"] {
            let preflight = origin.request("OPTIONS", target, &wish, b"");
            expect(&preflight, 204, &mut Vec::new());
            let methods = preflight.header("Access-Control-Allow-Methods");
            assert_eq!(methods, Some("GET, PUT, DELETE, OPTIONS, HEAD"));
            assert_eq!(preflight.header("Access-Control-Allow-Origin"), Some("*"));
            assert_eq!(preflight.header("Access-Control-Max-Age"), Some("86400"));
        }
        let raw = format!("Authorization: {KEY}");
        for (method, status) in [("PUT", 204), ("GET", 200), ("DELETE", 204)] {
            for (lines, status) in [(&[page, &raw][..], status), (&[page], 401)] {
                let answer = origin.request(method, "/objectstore/live/a", lines, b"");
                let allowed = answer.header("Access-Control-Allow-Origin");
                assert_eq!((answer.status, allowed), (status, Some("*")), "{method}");
            }
        }
        guarded.origin.stop();
    }
    // Without a token nobody's page writes, and an operator may close reads to pages.
    let guarded = Guarded::start("momento-no-pages", "1", "cors = false\n[momento]\n");
    let origin = &guarded.origin;
    let refused = origin.request("PUT", "/objectstore/s/a", &["Origin: https://a.example"], b"x");
    expect_error(&refused, 403, "publish token");
    assert_eq!(refused.header("Access-Control-Allow-Origin"), None);
    guarded.origin.stop();
}

#[test]
fn what_is_durable_is_kept_with_a_lifetime_too() {
    let scratch = Scratch::new("momento-durable");
    let (file, data) = (scratch.path("headwater.toml"), scratch.path("data"));
    let rule = "[momento]\n[[path]]\npattern = 'objectstore/s/memory/**'\ndurability = 'memory'\n";
    std::fs::write(&file, rule).unwrap();
    let begin = || Origin::start(&["--config", &file, "--data", &data, "--shards", "4"]);
    let origin = begin();
    let durable = ["mo-persistence: durable"];
    for (path, lines) in [("kept", &durable[..]), ("unsaid", &[]), ("memory/a", &durable)] {
        let target = format!("/objectstore/s/{path}?ttl_seconds=600");
        assert_eq!(origin.request("PUT", &target, lines, b"body").status, 204, "{path}");
    }
    origin.stop();
    let origin = begin();
    for (path, status) in [("kept", 200), ("unsaid", 404), ("memory/a", 404)] {
        assert_eq!(origin.get(&format!("/objectstore/s/{path}")).status, status, "{path}");
    }
    origin.stop();
}

#[test]
fn what_has_a_lifetime_is_gone_when_it_is_over() {
    let guarded = start("ttl", "4", "");
    let origin = &guarded.origin;
    for target in ["/cache/c?key=a&ttl_seconds=1", "/objectstore/s/a?ttl_seconds=1"] {
        expect(&origin.request("PUT", target, &[], b"x"), 204, &mut Vec::new());
    }
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    expect_error(&origin.get("/cache/c?key=a"), 404, "Key Not Found");
    expect_error(&origin.get("/objectstore/s/a"), 404, "Object not found.");
    guarded.origin.stop();
}
