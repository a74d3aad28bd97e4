//! The data plane of MediaStore, by requests as its SDKs make them: calls, errors, pages,
//! signatures.
#![allow(clippy::unwrap_used)]

#[path = "mediastore/signer.rs"]
mod signer;
mod support;

use serde_json::Value;
use sha2::{Digest, Sha256};

use signer::Signer;
use support::access::Guarded;
use support::wire::Answer;
use support::{Origin, pattern};

/// What an SDK sends with credentials that nobody checks.
const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AKID/20261126/eu/mediastore/\
                      aws4_request, SignedHeaders=host;x-amz-date, Signature=0123";

#[track_caller]
fn json(answer: &Answer) -> Value {
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn sha256(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asserts the shape of an error.
#[track_caller]
fn expect_error(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("x-amzn-ErrorType"), Some(name), "{answer:?}");
    assert_eq!(json(answer)["code"], name);
    assert!(!json(answer)["message"].as_str().unwrap().is_empty());
}

fn start(name: &str, shards: &str, more: &str) -> Guarded {
    Guarded::start(&format!("mediastore-{name}-{shards}"), shards, &format!("[mediastore]\n{more}"))
}

#[test]
fn every_call_and_error_on_one_shard() {
    every_call_and_error("1");
}

#[test]
fn every_call_and_error_on_four_shards() {
    every_call_and_error("4");
}

fn every_call_and_error(shards: &str) {
    let guarded = start("calls", shards, "");
    let origin = &guarded.origin;
    let body = pattern(7, 3000);
    for folder in 0..6 {
        let path = format!("/live/{folder}/a~b=1.ts");
        let lines = [SIGNED, "x-amz-storage-class: TEMPORAL", "Cache-Control: max-age=6"];
        let put = origin.request("PUT", &path, &lines, &body);
        let stored = json(&put);
        assert_eq!((put.status, &stored["StorageClass"]), (200, &"TEMPORAL".into()));
        assert_eq!(stored["ContentSHA256"], sha256(&body));
        let tag = stored["ETag"].as_str().unwrap();
        assert!((1..=64).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_hexdigit()));
        let tag = format!("\"{tag}\"");
        let id = put.header("x-amzn-RequestId").unwrap().to_owned();
        let get = origin.request("GET", &path, &[SIGNED], b"");
        assert_eq!((get.status, &get.body), (200, &body));
        assert_ne!(get.header("x-amzn-RequestId").unwrap(), id);
        let described = origin.request("HEAD", &path, &[SIGNED], b"");
        for answer in [&get, &described] {
            assert_eq!(answer.header("ETag"), Some(tag.as_str()));
            assert_eq!(answer.header("Content-Type"), Some("video/mp2t"));
            assert_eq!(answer.header("Content-Length"), Some("3000"));
            assert_eq!(answer.header("Cache-Control"), Some("max-age=6"));
            assert!(answer.header("Last-Modified").is_some());
        }
        for (range, first, last) in
            [("bytes=10-19", 10, 20), ("bytes=2990-", 2990, 3000), ("bytes=-5", 2995, 3000)]
        {
            let lines = [SIGNED, &format!("Range: {range}")];
            let part = origin.request("GET", &path, &lines, b"");
            assert_eq!((part.status, &part.body[..]), (206, &body[first..last]), "{range}");
        }
        let beyond = origin.request("GET", &path, &[SIGNED, "Range: bytes=3000-"], b"");
        expect_error(&beyond, 416, "RequestedRangeNotSatisfiableException");
        // Unlike the model's service, a condition that holds is worth a 304.
        let lines = [SIGNED, &format!("If-None-Match: {tag}")];
        assert_eq!(origin.request("GET", &path, &lines, b"").status, 304);
        let deleted = origin.request("DELETE", &path, &[SIGNED], b"");
        assert_eq!((deleted.status, deleted.body.len()), (200, 0));
        for method in ["GET", "DELETE"] {
            let absent = origin.request(method, &path, &[SIGNED], b"");
            expect_error(&absent, 404, "ObjectNotFoundException");
        }
        let absent = origin.request("HEAD", &path, &[SIGNED], b"");
        let name = absent.header("x-amzn-ErrorType");
        assert_eq!((absent.status, name), (404, Some("ObjectNotFoundException")));
    }
    refuses_what_is_not_valid(origin);
    guarded.origin.stop();
}

fn refuses_what_is_not_valid(origin: &Origin) {
    for line in [
        "x-amz-storage-class: GLACIER",
        "x-amz-upload-availability: LATER",
        "x-amz-content-sha256: not-a-digest",
    ] {
        let answer = origin.request("PUT", "/a/b", &[SIGNED, line], b"x");
        expect_error(&answer, 400, "ValidationException");
    }
    let digest = format!("x-amz-content-sha256: {}", sha256(b"something else"));
    let answer = origin.request("PUT", "/a/b", &[SIGNED, &digest], b"x");
    expect_error(&answer, 400, "ValidationException");
    expect_error(&origin.request("GET", "/a//b", &[SIGNED], b""), 400, "ValidationException");
    let lists = |query: &str| origin.request("GET", query, &[SIGNED], b"");
    expect_error(&lists("/?MaxResults=1001"), 400, "ValidationException");
    assert_eq!(origin.get("/a/b").status, 404, "a refused upload left something");
    let digest = format!("x-amz-content-sha256: {}", sha256(b"x"));
    assert_eq!(origin.request("PUT", "/a/b", &[&digest], b"x").status, 200);
    // An object cannot be where a folder is.
    let answer = origin.request("PUT", "/a", &[SIGNED], b"x");
    expect_error(&answer, 409, "ConflictException");
}

#[test]
fn listings_have_pages_and_hide_what_is_transient_on_one_shard() {
    listings("1");
}

#[test]
fn listings_have_pages_and_hide_what_is_transient_on_four_shards() {
    listings("4");
}

/// A page's names, and the token of the next one.
#[track_caller]
fn page(origin: &Origin, query: &str) -> (Vec<String>, Option<String>) {
    let answer = origin.request("GET", query, &[SIGNED], b"");
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    let listing = json(&answer);
    let items = listing["Items"].as_array().unwrap();
    let names = items.iter().map(|item| item["Name"].as_str().unwrap().to_owned()).collect();
    (names, listing["NextToken"].as_str().map(str::to_owned))
}

fn listings(shards: &str) {
    let rule = "[[path]]\npattern = \"show/*.m3u8\"\nttl_seconds = 60\n";
    let guarded = start("lists", shards, rule);
    let origin = &guarded.origin;
    for name in ["a.ts", "b.ts", "b1.m3u8", "c.ts", "d/x.ts", "e.ts", "z.m3u8", "z1.m3u8"] {
        origin.put(&format!("/show/{name}"), name.as_bytes());
    }
    let all = ["a.ts", "b.ts", "c.ts", "d", "e.ts"];
    assert_eq!(page(origin, "/?Path=show"), (all.map(String::from).to_vec(), None));
    assert_eq!(page(origin, "/?Path=/show/&MaxResults=5").1, None, "what is hidden is no page");
    let mut walked = Vec::new();
    let mut query = "/?Path=show&MaxResults=2".to_owned();
    loop {
        let (names, next) = page(origin, &query);
        walked.push(names);
        let Some(next) = next else { break };
        query = format!("/?Path=show&MaxResults=2&NextToken={next}");
    }
    assert_eq!(walked, [vec!["a.ts", "b.ts"], vec!["c.ts", "d"], vec!["e.ts"]]);
    assert_eq!(page(origin, "/"), (vec!["show".to_owned()], None));
    assert_eq!(page(origin, "/?Path=nothing/here"), (vec![], None));
    let listing = json(&origin.request("GET", "/?Path=show", &[SIGNED], b""));
    let item = &listing["Items"][0];
    assert_eq!((&item["Type"], &item["ContentLength"]), (&"OBJECT".into(), &4.into()));
    assert_eq!(item["ContentType"], "video/mp2t");
    let now_s = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(item["LastModified"].as_u64().unwrap().abs_diff(now_s) < 60);
    assert_eq!(listing["Items"][3]["Type"], "FOLDER");
    // In the origin's own terms everything is told.
    let plain: Value = serde_json::from_slice(&origin.get("/?Path=show").body).unwrap();
    assert_eq!(plain["Items"].as_array().unwrap().len(), 8);
    // Folders vanish with their last object.
    assert_eq!(origin.request("DELETE", "/show/d/x.ts", &[SIGNED], b"").status, 200);
    assert!(!page(origin, "/?Path=show").0.contains(&"d".to_owned()));
    guarded.origin.stop();
}

#[test]
fn an_upload_is_readable_early_only_where_it_says_streaming() {
    let guarded = start("streaming", "2", "");
    let origin = &guarded.origin;
    for (availability, early) in [("STREAMING", 200), ("STANDARD", 404)] {
        let path = format!("/live/{availability}.m4s");
        let mut encoder = origin.client();
        let line = format!("x-amz-upload-availability: {availability}");
        encoder.begin_chunked(&path, &[SIGNED, &line]).unwrap();
        encoder.chunk(b"first ").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let mut reader = origin.client();
        reader.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(reader.head().unwrap().status, early, "{availability}");
        encoder.chunk(b"second").unwrap();
        encoder.chunk(b"").unwrap();
        let stored = json(&encoder.answer(false).unwrap());
        assert_eq!(stored["ContentSHA256"], sha256(b"first second"));
        assert_eq!(origin.get(&path).body, b"first second");
    }
    guarded.origin.stop();
}

#[test]
fn without_the_section_nothing_of_it_is_spoken() {
    let guarded = Guarded::start("mediastore-off", "1", "");
    let origin = &guarded.origin;
    let put = origin.request("PUT", "/a", &[SIGNED, "x-amz-storage-class: GLACIER"], b"x");
    assert_eq!((put.status, put.body.len()), (200, 0));
    assert_eq!(put.header("x-amzn-RequestId"), None);
    let absent = origin.request("GET", "/b", &[SIGNED], b"");
    assert_eq!((absent.status, absent.header("x-amzn-ErrorType")), (404, None));
    guarded.origin.stop();
}

const KEYS: &str = r#"
[[aws_key]]
id = "AKIDEXAMPLE"
secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
[[aws_key]]
id = "READER"
secret_file = "reader.key"
read = "live/**"
[read]
who = "anyone"
[[token]]
name = "native"
token = "0123456789abcdef"
publish = "**"
"#;

#[test]
fn signatures_are_checked_against_the_keys() {
    for shards in ["1", "4"] {
        let files = [("reader.key", "reader-secret-0123456789abcdef\n")];
        let config = format!("[mediastore]\nclock_skew_s = 60\n{KEYS}");
        let name = format!("mediastore-keys-{shards}");
        let guarded = Guarded::start_with(&name, shards, &config, &files);
        let owner = Signer::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let reader = Signer::new("READER", "reader-secret-0123456789abcdef");
        judges(&guarded.origin, &owner, &reader);
        let said = guarded.stop();
        assert!(!said.contains("wJalr") && !said.contains("reader-secret"), "{said}");
        assert!(said.contains("aws:AKIDEXAMPLE"), "the key's name is missing: {said}");
    }
}

fn judges(origin: &Origin, owner: &Signer, reader: &Signer) {
    let send = |signer: &Signer, method: &str, target: &str, payload: &str, body: &[u8]| {
        let lines = signer.lines(method, target, payload, 0);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        origin.request(method, target, &lines, body)
    };
    let unsigned = "UNSIGNED-PAYLOAD";
    for target in ["/live/a.ts", "/live/b%20c~d.ts", "/live/e=f:g.ts?ttl_seconds=60&a=b%2Fc"] {
        let put = send(owner, "PUT", target, unsigned, b"body");
        assert_eq!(put.status, 200, "{target}: {put:?}");
        assert_eq!(send(reader, "GET", target, "", b"").body, b"body", "{target}");
        assert_eq!(send(reader, "HEAD", target, "", b"").status, 200);
    }
    assert_eq!(send(owner, "GET", "/?Path=live&MaxResults=7", "", b"").status, 200);
    assert_eq!(send(owner, "PUT", "/live/h.ts", &sha256(b"body"), b"body").status, 200);
    let other = send(owner, "PUT", "/live/i.ts", &sha256(b"body"), b"else");
    expect_error(&other, 400, "ValidationException");
    // A key does only what it may.
    let put = send(reader, "PUT", "/live/a.ts", unsigned, b"other");
    expect_error(&put, 403, "AccessDeniedException");
    let stranger = Signer::new("NOBODY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let get = send(&stranger, "GET", "/live/a.ts", "", b"");
    expect_error(&get, 403, "UnrecognizedClientException");
    let forger = Signer::new("AKIDEXAMPLE", "another-secret-0123456789");
    for (method, body) in [("GET", &b""[..]), ("PUT", b"forged"), ("DELETE", b"")] {
        let answer = send(&forger, method, "/live/a.ts", "", body);
        expect_error(&answer, 403, "InvalidSignatureException");
    }
    for skew_s in [-120, 120] {
        let lines = owner.lines("GET", "/live/a.ts", "", skew_s);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = origin.request("GET", "/live/a.ts", &lines, b"");
        expect_error(&answer, 403, "RequestTimeTooSkewed");
    }
    // Nobody who signs nothing writes; who has a token still does, in the origin's own terms.
    assert_eq!(origin.request("PUT", "/live/a.ts", &[], b"x").status, 401);
    let bearer = "Authorization: Bearer 0123456789abcdef";
    assert_eq!(origin.request("PUT", "/live/t.ts", &[bearer], b"x").status, 200);
    assert_eq!(origin.get("/live/a.ts").body, b"body", "reads are open");
    assert_eq!(send(owner, "DELETE", "/live/a.ts", "", b"").status, 200);
}

/// The example of Amazon's documentation, whose pieces have no signatures that anybody could check
/// here; those that a key has made are in the unit tests.
#[test]
fn bodies_in_pieces_are_stored_without_their_framing() {
    let guarded = start("pieces", "2", "");
    let origin = &guarded.origin;
    let signature = "0".repeat(64);
    let mut body = Vec::new();
    for piece in [&b"first "[..], b"second", b""] {
        let line = format!("{:x};chunk-signature={signature}\r\n", piece.len());
        body.extend_from_slice(line.as_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    let said = "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let lines = [SIGNED, said, "Content-Encoding: aws-chunked", "x-amz-decoded-content-length: 12"];
    let put = origin.request("PUT", "/live/a.m4s", &lines, &body);
    assert_eq!(json(&put)["ContentSHA256"], sha256(b"first second"));
    let get = origin.get("/live/a.m4s");
    assert_eq!(
        (get.body.as_slice(), get.header("Content-Length")),
        (&b"first second"[..], Some("12"))
    );
    for (length, end) in [("11", body.len()), ("12", body.len() - 2), ("12", 20)] {
        let length = format!("x-amz-decoded-content-length: {length}");
        let answer = origin.request("PUT", "/live/b.m4s", &[SIGNED, said, &length], &body[..end]);
        expect_error(&answer, 400, "ValidationException");
        assert_eq!(origin.get("/live/b.m4s").status, 404);
    }
    guarded.origin.stop();
}
