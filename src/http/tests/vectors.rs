//! Every vector of `tests/vectors`, fed whole, byte by byte and cut at every position.

use crate::http::condition::{Outcome, Validators, evaluate_read, if_range_holds};
use crate::http::framing::{Chunked, Framing};
use crate::http::fuzz;
use crate::http::known::Known;
use crate::http::range::{self, Ranges};
use crate::http::request::{Head, parse};
use crate::http::response::Refusal;

pub struct Vector {
    pub name: String,
    pub bytes: Vec<u8>,
    pub verdict: String,
}

/// The vectors of one file; a malformed one fails the test that asks.
pub fn read(theme: &str) -> Vec<Vector> {
    let path = format!("{}/tests/vectors/{theme}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the vectors are in the tree");
    let mut vectors = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let lines: Vec<&str> = block.trim_matches('\n').split('\n').collect();
        let [name, bytes, verdict, reason] = lines[..] else { panic!("{theme}: {block}") };
        let field = |line: &'_ str, mark: char| {
            let rest = line.strip_prefix(mark).unwrap_or_else(|| panic!("{theme}: {line}"));
            rest.strip_prefix(' ').unwrap_or(rest).to_owned()
        };
        assert!(field(reason, '#').ends_with('.'), "{theme}: a reason is a sentence: {reason}");
        vectors.push(Vector {
            name: format!("{theme}: {}", field(name, '=')),
            bytes: unescape(&field(bytes, '<')),
            verdict: field(verdict, '>'),
        });
    }
    assert!(vectors.len() >= 20, "{theme} has too few vectors");
    vectors
}

/// Bytes of a text with `\r`, `\n`, `\t`, `\\`, `\xNN` and `\{text*N}`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first != '\\' {
            bytes.extend(first.to_string().as_bytes());
            continue;
        }
        let kind = rest.chars().next().expect("an escape has a letter");
        rest = &rest[1..];
        match kind {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).expect("two hexadecimal digits"));
                rest = &rest[2..];
            }
            '{' => {
                let (inside, after) = rest.split_once('}').expect("a closing brace");
                let (text, times) = inside.rsplit_once('*').expect("a number of times");
                bytes.extend(unescape(text).repeat(times.parse().expect("a number")));
                rest = after;
            }
            other => panic!("unknown escape {other} in {text}"),
        }
    }
    bytes
}

/// Positions to cut at: all of them, but for long input all near the ends and some between.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..=len).filter(move |at| len < 1024 || *at < 300 || len - *at < 300 || at % 211 == 0)
}

type Verdict = Result<Option<Head>, Refusal>;

/// What a connection that receives `pieces` one after the other learns: the first answer that is
/// not "more".
fn feed(bytes: &[u8], ends: impl Iterator<Item = usize>) -> Verdict {
    let mut last = Ok(None);
    for end in ends {
        last = parse(&bytes[..end]);
        if last != Ok(None) {
            break;
        }
    }
    last
}

fn check_request(vector: &Vector) {
    let Vector { name, bytes, verdict } = vector;
    let whole = parse(bytes);
    assert_eq!(feed(bytes, cuts(bytes.len())), whole, "{name}: byte by byte");
    for cut in cuts(bytes.len()) {
        let parts = [cut, bytes.len()].into_iter();
        assert_eq!(feed(bytes, parts), whole, "{name}: cut at {cut}");
    }
    if bytes.len() < 1024 {
        fuzz::request(bytes);
    }
    match whole {
        Ok(None) => assert_eq!(verdict, "more", "{name}"),
        Err(refusal) => {
            assert_eq!(*verdict, refusal.status.code().to_string(), "{name}: {}", refusal.reason);
        }
        Ok(Some(head)) => check_head(name, verdict, bytes, &head),
    }
}

fn check_head(name: &str, verdict: &str, bytes: &[u8], head: &Head) {
    let mut words = verdict.split(' ');
    assert_eq!(words.next(), Some("accept"), "{name}: accepted: {head:?}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    for word in words {
        let (key, wanted) = word.split_once('=').expect("a key and a value");
        let found = match key {
            "method" => format!("{:?}", head.method),
            "path" => text(head.path.of(bytes)),
            "query" => text(head.query.of(bytes)),
            "keep" => yes_no(head.keep_alive),
            "continue" => yes_no(head.expect_continue),
            "head" => head.head_len.to_string(),
            "body" => match head.body {
                Framing::None => "none".to_owned(),
                Framing::Chunked => "chunked".to_owned(),
                Framing::Length(length) => length.to_string(),
            },
            other => panic!("{name}: unknown key {other}"),
        };
        assert_eq!(found, text(&unescape(wanted)), "{name}: {key}");
    }
}

#[test]
fn request_lines() {
    read("request-line").iter().for_each(check_request);
}

#[test]
fn headers() {
    read("headers").iter().for_each(check_request);
}

#[test]
fn hosts() {
    read("host").iter().for_each(check_request);
}

#[test]
fn lengths() {
    read("length").iter().for_each(check_request);
}

#[test]
fn issues() {
    read("issues").iter().for_each(check_request);
}

/// Decodes `pieces`; the body so far, bytes consumed, and the verdict.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, usize, Result<bool, Refusal>) {
    let mut decoder = Chunked::new();
    let (mut body, mut consumed) = (Vec::new(), 0);
    for mut piece in pieces {
        while !piece.is_empty() && !decoder.is_done() {
            match decoder.decode(piece) {
                Ok(chunk) => {
                    body.extend_from_slice(&piece[chunk.data]);
                    consumed += chunk.consumed;
                    piece = &piece[chunk.consumed..];
                    assert_eq!(chunk.done, decoder.is_done());
                }
                Err(refusal) => return (Vec::new(), 0, Err(refusal)),
            }
        }
    }
    (body, consumed, Ok(decoder.is_done()))
}

#[test]
fn chunked_bodies() {
    for Vector { name, bytes, verdict } in read("chunked") {
        let whole = decode([&bytes[..]].into_iter());
        assert_eq!(decode(bytes.chunks(1)), whole, "{name}: byte by byte");
        for cut in cuts(bytes.len()) {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(decode([front, back].into_iter()), whole, "{name}: cut at {cut}");
        }
        let (body, consumed, end) = whole;
        match end {
            Ok(false) => assert_eq!(verdict, "more", "{name}"),
            Err(refusal) => {
                let code = refusal.status.code().to_string();
                assert_eq!(verdict, code, "{name}: {}", refusal.reason);
            }
            Ok(true) => {
                let Some(wanted) = verdict.strip_prefix("accept data=") else {
                    panic!("{name}: accepted")
                };
                let (data, rest) = wanted.split_once(" rest=").expect("data and a rest");
                assert_eq!(body, unescape(data), "{name}: data");
                assert_eq!(bytes[consumed..], unescape(rest), "{name}: rest");
            }
        }
    }
}

#[test]
fn ranges() {
    for Vector { name, bytes, verdict } in read("range") {
        let space = bytes.iter().position(|byte| *byte == b' ').expect("a length and a space");
        let length = str::from_utf8(&bytes[..space]).unwrap().parse().expect("a length");
        let found = match range::parse(&bytes[space + 1..], length) {
            Ranges::Ignore => "ignore".to_owned(),
            Ranges::Unsatisfiable => "416".to_owned(),
            Ranges::Satisfiable(list) => {
                let ranges = list.as_slice().iter();
                ranges.map(|r| format!("{}-{}", r.first, r.last)).collect::<Vec<_>>().join(",")
            }
        };
        assert_eq!(found, verdict, "{name}");
    }
}

#[test]
fn conditions() {
    let validators =
        Validators { etag: b"\"v1\"", modified_s: 784_111_777, modified_is_strong: true };
    for Vector { name, bytes, verdict } in read("conditional") {
        let request = [b"GET / HTTP/1.1\r\nHost: a\r\n", &bytes[..], b"\r\n"].concat();
        let head = parse(&request).expect("a request").expect("a whole one");
        let found = if head.has(Known::IfRange) || verdict == "part" {
            if if_range_holds(&head, &request, validators) { "part" } else { "whole" }
        } else {
            match evaluate_read(&head, &request, validators) {
                Outcome::Proceed => "proceed",
                Outcome::NotModified => "304",
                Outcome::PreconditionFailed => "412",
            }
        };
        assert_eq!(found, verdict, "{name}");
    }
}
