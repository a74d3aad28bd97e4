//! DASH-IF's ingest rules where a path wants them: 415 for other types, 412 without a header.
#![allow(clippy::unwrap_used)]

mod support;

use support::access::Guarded;

const RULES: &str = "[[path]]\npattern = 'strict/**'\nstrict_ingest = true\n";

#[test]
fn types_that_are_none_of_media_are_refused() {
    let guarded = Guarded::start("ingest-types", "4", RULES);
    let origin = &guarded.origin;
    for (name, line, status) in [
        ("v.m3u8", "Content-Type: text/html", 415),
        ("v.m3u8", "Content-Type: video/mp4", 415),
        ("v.m3u8", "Content-Type: application/vnd.apple.mpegurl", 200),
        ("1.ts", "Content-Type: application/dash+xml", 415),
        ("1.ts", "Content-Type: video/mp2t", 200),
        ("2.ts", "Content-Type: application/octet-stream", 200),
        ("3.ts", "X-None: 1", 200),
        ("Segments(1)", "Content-Type: image/png", 415),
    ] {
        let answer = origin.request("POST", &format!("/strict/{name}"), &[line], b"x");
        assert_eq!(answer.status, status, "{name} {line}");
        if status == 415 {
            assert!(answer.text().contains("Content-Type"), "{}", answer.text());
        }
        let elsewhere = origin.request("PUT", &format!("/other/{name}"), &[line], b"x");
        assert_eq!(elsewhere.status, 200, "{name} {line}");
    }
    guarded.stop();
}

#[test]
fn segments_without_their_header_are_refused_until_it_is_there() {
    for shards in ["1", "4"] {
        let guarded = Guarded::start(&format!("ingest-header-{shards}"), shards, RULES);
        let origin = &guarded.origin;
        let put = |name: &str, body: &[u8]| origin.request("PUT", name, &[], body);
        for folder in 0..4 {
            let path = |name: &str| format!("/strict/{folder}/{name}");
            let refused = put(&path("1.m4s"), b"x");
            assert_eq!(refused.status, 412);
            assert!(refused.text().contains("header"), "{}", refused.text());
            assert_eq!(origin.get(&path("1.m4s")).status, 404);
            // A probe, a playlist and what is no CMAF segment need none.
            for (name, body) in [("2.cmfv", &b""[..]), ("v.m3u8", b"#EXTM3U\n"), ("1.ts", b"x")] {
                assert_eq!(put(&path(name), body).status, 200, "{name}");
            }
            assert_eq!(put(&path("720p/1.cmfv"), b"x").status, 412);
            assert_eq!(put(&path("init-stream0.m4s"), b"header").status, 200);
            assert_eq!(put(&path("1.m4s"), b"x").status, 200);
            // The header may lie one folder above, and no higher.
            assert_eq!(put(&path("720p/1.cmfv"), b"x").status, 200);
            assert_eq!(put(&path("720p/a/1.cmfv"), b"x").status, 412);
            // In chunks it is the same.
            let mut writer = origin.client();
            writer.begin_chunked(&path("3.m4s"), &[]).unwrap();
            writer.chunk(b"x").unwrap();
            writer.chunk(b"").unwrap();
            assert_eq!(writer.answer(false).unwrap().status, 200);
            // Once it is gone, the encoder is to send it again.
            assert_eq!(origin.request("DELETE", &path("init-stream0.m4s"), &[], b"").status, 200);
            assert_eq!(put(&path("4.m4s"), b"x").status, 412);
        }
        guarded.stop();
    }
}
