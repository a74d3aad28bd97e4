//! The vector scanner and the portable one agree on every byte, position and length.

use super::Random;
use crate::http::fuzz;
use crate::http::known::Known;
use crate::http::request::parse;
use crate::http::scan::{Input, Narrow, Pattern, Set};
use crate::http::target::{HOST, NAME, PATH, QUERY};

const SETS: [&Set; 4] = [&NAME, &PATH, &QUERY, &HOST];

#[cfg(target_arch = "x86_64")]
fn compare(bytes: &[u8], starts: impl Iterator<Item = usize>) {
    use crate::http::scan::Wide;
    let narrow = Narrow { bytes };
    let Some(wide) = Wide::new(bytes) else { return };
    for from in starts {
        for set in SETS {
            assert_eq!(wide.end_of(from, set), narrow.end_of(from, set), "{from} in {bytes:?}");
        }
        assert_eq!(wide.line(from, &NAME), narrow.line(from, &NAME), "line at {from} in {bytes:?}");
        assert_eq!(wide.value_end(from), narrow.value_end(from), "value at {from} in {bytes:?}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_byte_at_every_lane() {
    for byte in 0..=255 {
        for len in [32, 33, 63, 64, 70] {
            for at in 0..len {
                let mut bytes = vec![b'a'; len];
                bytes[at] = byte;
                let near = [0, at.saturating_sub(1), at, at + 1, len];
                compare(&bytes, near.into_iter());
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn random_buffers() {
    let mut random = Random::seeded("random_buffers");
    for _ in 0..400 {
        let len = random.below(160);
        let rare = random.below(40) + 1;
        let fill = |random: &mut Random| match random.below(rare) {
            0 => random.byte(),
            _ => *random.pick(b"abcXYZ-09"),
        };
        let bytes: Vec<u8> = (0..len).map(|_| fill(&mut random)).collect();
        compare(&bytes, 0..=len);
    }
}

#[test]
fn patterns_are_exact() {
    for word in ["host", "range", "referer", "if-match", "if-none-match", "if-unmodified-since"] {
        let pattern = Pattern::new(word);
        assert!(
            pattern.matches(word.as_bytes()) && pattern.matches(word.to_uppercase().as_bytes())
        );
        assert!(!pattern.matches(&word.as_bytes()[1..]));
        for at in 0..word.len() {
            for byte in (0..=255).filter(|byte: &u8| !byte.is_ascii_control()) {
                let mut text = word.as_bytes().to_vec();
                text[at] = byte;
                let same = text.eq_ignore_ascii_case(word.as_bytes());
                assert_eq!(pattern.matches(&text), same, "{text:?} for {word}");
            }
        }
    }
}

#[test]
fn sets_are_what_the_grammar_says() {
    for byte in 0..=255u8 {
        let alphanumeric = byte.is_ascii_alphanumeric();
        assert_eq!(NAME.contains(byte), alphanumeric || b"!#$%&'*+-.^_`|~".contains(&byte));
        assert_eq!(QUERY.contains(byte), byte.is_ascii_graphic() && byte != b'#');
        assert_eq!(PATH.contains(byte), QUERY.contains(byte) && byte != b'?');
        assert_eq!(HOST.contains(byte), alphanumeric || b"-._~%!$&'()*+,;=".contains(&byte));
    }
}

/// A known header is found in any case and at any place; its neighbours by one byte are not.
#[test]
fn known_headers_are_exact() {
    const ALL: [Known; 4] =
        [Known::Accept, Known::IfModifiedSince, Known::AccessControlRequestHeaders, Known::Range];
    for known in ALL {
        for (at, upper) in known.name().iter().enumerate().map(|(at, byte)| (at, byte & !0x20)) {
            let mut name = known.name().to_vec();
            for byte in 0..=255 {
                name[at] = byte;
                let line = [b"GET / HTTP/1.1\r\nHost: a\r\n", &name[..], b": 1\r\n\r\n"].concat();
                let same = byte.eq_ignore_ascii_case(&known.name()[at]);
                let found = parse(&line).is_ok_and(|head| head.unwrap().has(known));
                assert_eq!(found, same, "{byte} for {upper} in {known:?}");
            }
        }
    }
}

/// What the fuzz targets run, on seeded input made of pieces that matter.
#[test]
fn fuzz_targets_on_seeded_input() {
    const PIECES: &[&[u8]] = &[
        b"GET ",
        b"/a",
        b"?b",
        b" HTTP/1.1",
        b"\r\n",
        b"\r",
        b"\n",
        b"Host: a",
        b"\r\n\r\n",
        b": ",
        b"Content-Length",
        b"Transfer-Encoding: chunked",
        b"5",
        b"0",
        b";x",
        b"\x00",
        b"\xff",
        b"bytes=",
        b"0-4",
        b"-",
        b",",
        b"\"a\"",
        b"W/",
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"*",
        b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"1\r\na\r\n",
        b"0\r\n\r\n",
        b"X: y\r\n",
    ];
    let mut random = Random::seeded("fuzz_targets_on_seeded_input");
    for _ in 0..20_000 {
        let count = random.below(12);
        let mut data: Vec<u8> = (0..count).flat_map(|_| random.pick(PIECES).to_vec()).collect();
        if !data.is_empty() && random.below(3) == 0 {
            let at = random.below(data.len());
            data[at] = random.byte();
        }
        fuzz::request(&data);
        fuzz::chunked(&data);
        fuzz::condition(&data);
        fuzz::range(&[&random.next().to_le_bytes(), &data[..]].concat());
        fuzz::range(&[b"\xc8\x01\0\0\0\0\0\0bytes=", &data[..]].concat());
    }
}
