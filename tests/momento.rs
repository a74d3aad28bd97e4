//! The dialect of Momento's Object Store and Cache over the wire: every call, every form of a key,
//! every error, by one and by four shards.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "momento/terms.rs"]
mod terms;

use serde_json::Value;
use support::access::Guarded;
use support::wire::Answer;
use support::{Origin, Scratch};

const KEY: &str = "encoder-secret-0123456789abcdef";

fn start(name: &str, shards: &str, more: &str) -> Guarded {
    Guarded::start(&format!("momento-{name}-{shards}"), shards, &format!("[momento]\n{more}"))
}

/// Asserts that every answer is named, and by another name than all before.
#[track_caller]
fn expect(answer: &Answer, status: u16, seen: &mut Vec<String>) {
    assert_eq!(answer.status, status, "{answer:?}");
    let id = answer.header("mo-request-id").unwrap().to_owned();
    assert_eq!((id.len(), &id[14..15]), (36, "7"), "{id}");
    assert!(!seen.contains(&id), "{id} twice");
    seen.push(id);
    if status == 204 {
        assert!(answer.body.is_empty() && answer.header("Content-Length").is_none());
    }
}

#[track_caller]
fn expect_error(answer: &Answer, status: u16, message: &str) {
    expect(answer, status, &mut Vec::new());
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    let said = json["message"].as_str().unwrap();
    assert!(said.contains(message), "{said}");
    assert_eq!(json.as_object().unwrap().len(), 1);
}

#[test]
fn every_call_on_one_shard() {
    every_call("1");
}

#[test]
fn every_call_on_four_shards() {
    every_call("4");
}

fn every_call(shards: &str) {
    let guarded = start("calls", shards, "");
    let origin = &guarded.origin;
    let mut seen = Vec::new();
    for folder in 0..6 {
        let path = format!("/objectstore/live/{folder}/a%20b.ts");
        for method in ["PUT", "POST"] {
            let put = origin.request(method, &format!("{path}?ttl_seconds=60"), &[], b"segment");
            expect(&put, 204, &mut seen);
        }
        let get = origin.get(&path);
        expect(&get, 200, &mut seen);
        assert_eq!(
            (&get.body[..], get.header("Content-Type")),
            (&b"segment"[..], Some("video/mp2t"))
        );
        expect(&origin.request("HEAD", &path, &[], b""), 200, &mut seen);
        let part = origin.request("GET", &path, &["Range: bytes=1-2"], b"");
        expect(&part, 206, &mut seen);
        let tag = format!("If-None-Match: {}", get.header("ETag").unwrap());
        expect(&origin.request("GET", &path, &[&tag], b""), 304, &mut seen);
        for _ in 0..2 {
            expect(&origin.request("DELETE", &path, &[], b""), 204, &mut seen);
            expect_error(&origin.get(&path), 404, "Object not found.");
        }
        // The forms of a key name one object.
        let forms = [
            format!("/cache/c?key=k/{folder}.m3u8&role=origin"),
            format!("/cache/c?role=origin&key=k%2F{folder}%2em3u8"),
            format!("/cache/c/k/{folder}.m3u8?role=origin"),
        ];
        for (index, form) in forms.iter().enumerate() {
            let body = format!("#EXTM3U\n#{index}\n");
            let target = format!("{form}&ttl_seconds=60");
            expect(&origin.request("PUT", &target, &[], body.as_bytes()), 204, &mut seen);
            for form in &forms {
                let get = origin.get(form);
                expect(&get, 200, &mut seen);
                assert_eq!(get.text(), body, "{form}");
            }
        }
        expect(&origin.request("DELETE", &forms[1], &[], b""), 204, &mut seen);
        for form in &forms {
            expect_error(&origin.get(form), 404, "Key Not Found");
        }
    }
    let put = origin.request("PUT", "/cache/c?key_base64=YS9i&ttl_seconds=5", &[], b"x");
    expect(&put, 204, &mut seen);
    assert_eq!(origin.get("/cache/c/a/b").text(), "x");
    expect(&origin.request("OPTIONS", "/objectstore", &[], b""), 204, &mut seen);
    // Requests on one connection are each read to their end, however long the renamed head is.
    let mut client = origin.client();
    let long = format!("/cache/c?ttl_seconds=9&key={}", "%c3%a4/".repeat(60) + "a");
    let put = format!("PUT {long} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let get = format!("GET {long} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(format!("{put}{get}{get}").as_bytes()).unwrap();
    assert_eq!(client.answer(false).unwrap().status, 204);
    for _ in 0..2 {
        assert_eq!(client.answer(false).unwrap().text(), "hi");
    }
    // Elsewhere the origin speaks its own terms.
    assert!(origin.put("/live/a.ts", b"x").header("mo-request-id").is_none());
    guarded.origin.stop();
}

#[test]
fn metadata_comes_back_without_its_prefix() {
    for shards in ["1", "4"] {
        let guarded = start("metadata", shards, "");
        let origin = &guarded.origin;
        let lines = [
            "Content-Type: text/plain",
            "mo-meta-content-type: video/mp4",
            "mo-meta-cache-control: max-age=7",
            "mo-meta-x-title: A b",
            "mo-meta-set-cookie: a=b",
            "mo-meta-access-control-allow-origin: https://x.example",
            "mo-tag-team: sports",
            "mo-persistence: durable",
            "read-concern: consistent",
        ];
        let target = "/objectstore/s/a.bin";
        for chunked in [false, true] {
            let status = if chunked {
                let mut client = origin.client();
                client.begin_chunked(target, &lines).unwrap();
                client.chunk(b"body").unwrap();
                client.chunk(b"").unwrap();
                client.answer(false).unwrap().status
            } else {
                origin.request("PUT", target, &lines, b"body").status
            };
            assert_eq!(status, 204);
            let get = origin.get(target);
            let tag = format!("If-None-Match: {}", get.header("ETag").unwrap());
            let answers = [
                origin.request("GET", target, &["Range: bytes=0-1"], b""),
                origin.request("GET", target, &[&tag], b""),
                origin.request("HEAD", target, &[], b""),
                get,
            ];
            assert_eq!(answers.each_ref().map(|answer| answer.status), [206, 304, 200, 200]);
            for answer in &answers {
                assert_eq!(answer.header("x-title"), Some("A b"), "{answer:?}");
                assert_eq!(answer.header("Cache-Control"), Some("max-age=7"));
                assert_eq!(answer.header("Set-Cookie"), None);
                assert_eq!(answer.header("mo-tag-team"), None);
                let cors = answer.header("Access-Control-Allow-Origin");
                assert_ne!(cors, Some("https://x.example"));
            }
            assert_eq!(answers[3].header("Content-Type"), Some("video/mp4"));
        }
        guarded.origin.stop();
    }
}

#[test]
fn what_is_not_valid_is_refused_with_a_message() {
    let guarded = start("errors", "2", "stores = ['s']\ncaches = ['c']\n");
    let origin = &guarded.origin;
    let put = |target: &str, lines: &[&str]| origin.request("PUT", target, lines, b"x");
    for (target, message) in [
        ("/objectstore/s", "names a store"),
        ("/objectstore/s/", "names a store"),
        ("/objectstore/s/a?ttl_seconds=0", "ttl_seconds"),
        ("/objectstore/s/a//b", "empty part"),
        ("/cache/c?ttl_seconds=5", "names no key"),
        ("/cache/c?key=a&key_base64=YQ==&ttl_seconds=5", "both given"),
        ("/cache/c?key_base64=%25&ttl_seconds=5", "not base64"),
        ("/cache/c?key=a/../b&ttl_seconds=5", "'.' or '..'"),
        ("/cache/c?key=a", "ttl_seconds is missing"),
    ] {
        expect_error(&put(target, &[]), 400, message);
    }
    for (line, message) in
        [("mo-persistence: sometimes", "durable nor ephemeral"), ("mo-tag-a: \u{22}", "mo-tag-")]
    {
        expect_error(&put("/objectstore/s/a", &[line]), 400, message);
    }
    let ephemeral = ["mo-persistence: ephemeral"];
    expect_error(&put("/objectstore/s/a?ttl_seconds=601", &ephemeral), 400, "more than 600");
    for method in ["PUT", "DELETE"] {
        let other = origin.request(method, "/objectstore/t/a", &[], b"x");
        expect_error(&other, 404, "Store Not Found");
    }
    expect_error(&origin.get("/objectstore/t/a"), 404, "Store Not Found");
    expect_error(&origin.get("/cache/d?key=a"), 404, "Cache Not Found");
    expect_error(&origin.get("/objectstore/s/a"), 404, "Object not found.");
    let head = origin.request("HEAD", "/objectstore/t/a", &[], b"");
    assert_eq!((head.status, head.body.len()), (404, 0));
    guarded.origin.stop();
}

#[test]
fn keys_are_sent_as_they_are_or_in_the_query() {
    let config = format!(
        "[[token]]\nname = 'encoder'\ntoken = '{KEY}'\nread = ['cache/**']\n\
         publish = ['objectstore/s/**', 'cache/c/**', 'plain/**']\n[read]\nwho = 'token'\n"
    );
    let guarded = start("keys", "4", &config);
    let origin = &guarded.origin;
    let raw = format!("Authorization: {KEY}");
    let bearer = format!("Authorization: Bearer {KEY}");
    let put = |target: &str, lines: &[&str]| origin.request("PUT", target, lines, b"x");
    let item = format!("/cache/c?key=a&ttl_seconds=60&token={KEY}");
    for answer in [
        put("/objectstore/s/a", &[&raw]),
        put("/objectstore/s/a", &[&bearer]),
        put(&item, &[]),
        put(&item, &[&raw]),
    ] {
        expect(&answer, 204, &mut Vec::new());
    }
    assert_eq!(origin.get(&format!("/cache/c?key=a&token={KEY}")).text(), "x");
    expect_error(&put("/objectstore/s/a", &[]), 401, "");
    expect_error(&put("/objectstore/s/a", &["Authorization: other-key-0123456789"]), 401, "");
    expect_error(&put("/objectstore/t/a", &[&raw]), 403, "");
    expect_error(&put("/cache/d?key=a&ttl_seconds=5", &[&raw]), 403, "");
    expect_error(&origin.get("/cache/c?key=a"), 401, "");
    // What lies beside the dialect's paths takes a key in the origin's own forms only.
    assert_eq!(put("/plain/a", &[&raw]).status, 401);
    assert_eq!(put("/plain/a", &[&bearer]).status, 200);
    assert_eq!(origin.request("GET", "/plain/a", &[&raw], b"").status, 401);
    // A key in the query is judged, not the path that stands before it.
    expect_error(&put("/cache/d?key=c/a&ttl_seconds=5", &[&raw]), 403, "");
    let log = guarded.stop();
    assert!(!log.contains(KEY), "{log}");
}

#[test]
fn what_is_durable_survives_with_its_metadata() {
    let scratch = Scratch::new("momento-disk");
    let (file, data) = (scratch.path("headwater.toml"), scratch.path("data"));
    std::fs::create_dir(&data).unwrap();
    std::fs::write(&file, "[momento]\n").unwrap();
    let flags = ["--config", &file, "--data", &data, "--shards", "2"];
    let origin = Origin::start(&flags);
    let put = |target: &str, line: &str| {
        origin.request("PUT", target, &["mo-meta-x-title: A", line], b"body").status
    };
    assert_eq!(put("/objectstore/s/lasting", "mo-persistence: durable"), 204);
    assert_eq!(put("/objectstore/s/short", "mo-persistence: ephemeral"), 204);
    assert_eq!(origin.get("/objectstore/s/short").status, 200);
    origin.stop();
    let origin = Origin::start(&flags);
    let lasting = origin.get("/objectstore/s/lasting");
    assert_eq!((lasting.text().as_ref(), lasting.header("x-title")), ("body", Some("A")));
    assert_eq!(origin.get("/objectstore/s/short").status, 404);
    origin.stop();
}
