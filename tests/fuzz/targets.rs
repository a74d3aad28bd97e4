//! What is fuzzed: each target takes any bytes, panics when a promise breaks, and answers which of
//! its outcomes it had, so that inputs with new outcomes are kept and changed further.

use std::hash::{DefaultHasher, Hash, Hasher};

use headwater::http::{framing::Chunked, fuzz, range, request};
use headwater::limits::KEY_BYTES_MAX;
use headwater::media;
use headwater::media::types::Class;
use headwater::origin::{key, list, query};

/// One target.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]) -> u64,
    /// Longest input; some targets cut their input at every position.
    pub bytes_max: usize,
}

pub const TARGETS: &[Target] = &[
    Target { name: "request", run: request_head, bytes_max: 600 },
    Target { name: "chunked", run: chunked_body, bytes_max: 400 },
    Target { name: "range", run: range_value, bytes_max: 300 },
    Target { name: "condition", run: condition_value, bytes_max: 300 },
    Target { name: "key", run: key_path, bytes_max: 2000 },
    Target { name: "query", run: query_text, bytes_max: 600 },
    Target { name: "manifest", run: manifest, bytes_max: 4000 },
    Target { name: "playlist", run: crate::media::playlist, bytes_max: 4000 },
    Target { name: "boxes", run: crate::media::boxes, bytes_max: 4000 },
    Target { name: "frames", run: crate::frames::frames, bytes_max: 400 },
    Target { name: "lowlatency", run: crate::media::lowlatency, bytes_max: 1500 },
];

pub fn outcome(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn request_head(data: &[u8]) -> u64 {
    fuzz::request(data);
    match request::parse(data) {
        Err(refusal) => outcome(refusal.reason),
        Ok(None) => 0,
        Ok(Some(head)) => outcome((
            std::mem::discriminant(&head.method),
            std::mem::discriminant(&head.body),
            head.keep_alive,
            head.expect_continue,
            head.lines(data).count(),
        )),
    }
}

fn chunked_body(data: &[u8]) -> u64 {
    fuzz::chunked(data);
    let mut decoder = Chunked::new();
    let mut at = 0;
    while at < data.len() && !decoder.is_done() {
        match decoder.decode(&data[at..]) {
            Ok(chunk) => at += chunk.consumed,
            Err(refusal) => return outcome(refusal.reason),
        }
    }
    outcome((decoder.is_done(), data.len() - at > 0))
}

fn range_value(data: &[u8]) -> u64 {
    fuzz::range(data);
    fuzz::range(&[&2000_u64.to_le_bytes(), data].concat());
    // The vectors have a length and a space in front.
    let space = data.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
    match range::parse(&data[space..], 1000) {
        range::Ranges::Ignore => 1,
        range::Ranges::Unsatisfiable => 2,
        range::Ranges::Satisfiable(list) => outcome(list.as_slice().len()),
    }
}

fn condition_value(data: &[u8]) -> u64 {
    fuzz::condition(data);
    let strong = headwater::http::condition::matches_strong(data, b"\"v1\"");
    let weak = headwater::http::condition::matches_weak(data, b"\"v1\"");
    outcome((strong, weak, headwater::http::date::parse(data).is_some()))
}

/// A key that is accepted is one by all rules, and reads the same when it is asked for again.
fn key_path(data: &[u8]) -> u64 {
    let mut scratch = [0; KEY_BYTES_MAX];
    let key = match key::parse(data, &mut scratch) {
        Ok(key) => key,
        Err(fault) => return outcome(fault.reason()),
    };
    assert!(key.len() <= KEY_BYTES_MAX && key.iter().all(|byte| !byte.is_ascii_control()));
    assert!(key.split(|byte| *byte == b'/').all(|part| (1..=255).contains(&part.len())));
    assert!(key.split(|byte| *byte == b'/').all(|part| part != b"." && part != b".."));
    assert!(key::check(key).is_ok(), "an accepted key is a key");
    let encoded: Vec<u8> = [b"/".to_vec(), encode(key)].concat();
    let mut again = [0; KEY_BYTES_MAX];
    assert_eq!(key::parse(&encoded, &mut again), Ok(key), "encoded in another way");
    outcome((key.len() / 100, key.contains(&b'%')))
}

fn encode(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in key {
        match byte {
            b'/' => out.push(byte),
            other => out.extend(format!("%{other:02x}").into_bytes()),
        }
    }
    out
}

fn query_text(data: &[u8]) -> u64 {
    let ttl = query::value(data, b"ttl_seconds").map(|value| query::number(&value).is_some());
    match list::wanted(data) {
        Ok(_) => outcome((ttl, "listed")),
        Err(reason) => outcome((ttl, reason)),
    }
}

fn manifest(data: &[u8]) -> u64 {
    let age = media::cache_control(Class::Manifest, Some(data));
    assert!(age.as_str().starts_with("max-age="), "{}", age.as_str());
    outcome(age.seconds())
}
