//! Dates, answers, part heads, chunk heads and write conditions, by their values.

use super::Random;
use crate::http::condition::{evaluate_write, write_allowed};
use crate::http::date::{format, parse};
use crate::http::framing::{Chunked, chunk_head};
use crate::http::range::{self, ByteRange, Multipart, Ranges};
use crate::http::request::{self, Head};
use crate::http::response::{Overflow, Status, Writer, decimal, decimal_len, error_body};

#[test]
fn heads_stay_small() {
    assert!(size_of::<Head>() <= 160, "{} bytes", size_of::<Head>());
    assert!(size_of::<Chunked>() <= 32);
}

#[test]
fn dates_of_the_standard() {
    let unix_s = 784_111_777;
    assert_eq!(&format(unix_s), b"Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(unix_s));
    assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(unix_s));
    assert_eq!(parse(b"Sun Nov  6 08:49:37 1994"), Some(unix_s));
    assert_eq!(&format(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(&format(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
    assert_eq!(&format(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
}

#[test]
fn dates_come_back_in_every_form() {
    let mut random = Random::seeded("dates_come_back_in_every_form");
    for _ in 0..20_000 {
        let unix_s = random.next() % 253_402_300_800;
        assert_eq!(parse(&format(unix_s)), Some(unix_s));
    }
    for day in 0..200_000 {
        assert_eq!(parse(&format(day * 86_400 + 86_399)), Some(day * 86_400 + 86_399));
    }
}

#[test]
fn wrong_dates() {
    for text in [
        &b""[..],
        b"0",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 31 Apr 1994 08:49:37 GMT",
        b"Sun, 29 Feb 1900 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1969 08:49:37 GMT",
        b"Sun, 06 nov 1994 08:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Xxx, 06 Nov 1994 08:49:37 GMT",
        b"Sun,  6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT ",
        b"Sun, 06 Nov 1994 08-49:37 GMT",
        b"Sunday, 06-Nov-1994 08:49:37 GMT",
        b"Someday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov 06 08:49:37 94",
        b"Sun Nov   6 08:49:37 199",
    ] {
        assert_eq!(parse(text), None, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn decimals() {
    let mut random = Random::seeded("decimals");
    let powers = (0..20).map(|power| 10u64.pow(power)).flat_map(|power| [power - 1, power]);
    let some: Vec<u64> = (0..2000).map(|_| random.next() >> random.below(64)).collect();
    for value in powers.chain([u64::MAX]).chain(some) {
        let mut out = [0; 20];
        assert_eq!(decimal(value, &mut out), value.to_string().as_bytes());
        assert_eq!(decimal_len(value), value.to_string().len());
    }
}

#[test]
fn a_head() {
    let mut memory = [0; 128];
    let mut writer = Writer::new(&mut memory);
    writer.status(Status::PartialContent);
    writer.header(b"ETag", b"\"a\"");
    writer.header_u64(b"Content-Length", 1024);
    writer.raw(b"Date: x\r\n");
    let len = writer.end().unwrap();
    assert_eq!(
        &memory[..len],
        b"HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nContent-Length: 1024\r\nDate: x\r\n\r\n"
    );
}

/// Whatever the memory's size, a head is either whole or an error, and nothing is written past it.
#[test]
fn heads_in_too_little_memory() {
    let write = |memory: &mut [u8]| {
        let mut writer = Writer::new(memory);
        writer.status(Status::Ok);
        writer.header(b"Content-Type", b"video/mp4");
        writer.header_u64(b"Content-Length", 7);
        writer.end()
    };
    let mut memory = [0; 128];
    let needed = write(&mut memory).unwrap();
    for len in 0..needed {
        assert_eq!(write(&mut memory[..len]), Err(Overflow), "{len} bytes");
    }
    assert_eq!(write(&mut memory[..needed]), Ok(needed));
}

#[test]
fn values_cannot_split_a_head() {
    let mut memory = [0; 64];
    let mut writer = Writer::new(&mut memory);
    writer.header(b"X", b"a\r\nY: b\0");
    let len = writer.finish().unwrap();
    assert_eq!(&memory[..len], b"X: a  Y: b \r\n");
}

#[test]
fn statuses_have_lines() {
    assert_eq!(Status::Ok.line(), b"HTTP/1.1 200 OK\r\n");
    for status in Status::ALL {
        let line = format!("HTTP/1.1 {} {}\r\n", status.code(), status.reason());
        assert_eq!(status.line(), line.as_bytes());
    }
}

#[test]
fn error_bodies_are_json() {
    let mut out = [0; 512];
    let message = "a \"b\" \\ \r\n\u{1} \u{e9}";
    let len = error_body(Status::NotFound, message, &mut out).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&out[..len]).unwrap();
    assert_eq!(value["code"], 404);
    assert_eq!(value["error"], "Not Found");
    assert_eq!(value["message"], message);
    assert_eq!(error_body(Status::NotFound, message, &mut out[..len - 1]), Err(Overflow));
}

#[test]
fn chunk_heads_are_read_back() {
    let mut random = Random::seeded("chunk_heads_are_read_back");
    for _ in 0..2000 {
        let len = (random.next() >> 1 >> random.below(63)).max(1);
        let mut out = [0; 18];
        let head_len = chunk_head(len, &mut out);
        assert_eq!(&out[..head_len], format!("{len:x}\r\n").as_bytes());
        let mut decoder = Chunked::new();
        assert_eq!(decoder.decode(&out[..head_len]).unwrap().consumed, head_len);
        assert_eq!(decoder.chunk_remaining(), len);
    }
}

/// An answer of several parts is as long as its Content-Length said before.
#[test]
fn multipart_adds_up() {
    let object: Vec<u8> = (0..=255).collect();
    let multipart = Multipart { boundary: b"b0undary", content_type: b"video/mp4", length: 256 };
    let Ranges::Satisfiable(list) = range::parse(b"bytes=0-9,100-109,-3", 256) else { panic!() };
    let mut memory = [0; 1024];
    let mut writer = Writer::new(&mut memory);
    for range in list.as_slice() {
        multipart.part_head(*range, &mut writer);
        let (first, last) = (usize::try_from(range.first), usize::try_from(range.last));
        writer.raw(&object[first.unwrap()..=last.unwrap()]);
    }
    multipart.end(&mut writer);
    let len = writer.finish().unwrap();
    assert_eq!(len as u64, multipart.body_len(&list));
    let first =
        b"\r\n--b0undary\r\nContent-Type: video/mp4\r\nContent-Range: bytes 0-9/256\r\n\r\n\0";
    assert_eq!(&memory[..first.len()], first);
    assert!(memory[..len].ends_with(b"\xfd\xfe\xff\r\n--b0undary--\r\n"));
}

#[test]
fn content_ranges() {
    let mut memory = [0; 64];
    let mut write = |with: &dyn Fn(&mut Writer<'_>)| {
        let mut writer = Writer::new(&mut memory);
        with(&mut writer);
        let len = writer.finish().unwrap();
        String::from_utf8(memory[..len].to_vec()).unwrap()
    };
    let part = ByteRange { first: 5, last: 9 };
    assert_eq!(write(&|out| range::content_range(part, Some(10), out)), "bytes 5-9/10");
    assert_eq!(write(&|out| range::content_range(part, None, out)), "bytes 5-9/*");
    assert_eq!(write(&|out| range::content_range_unsatisfied(10, out)), "bytes */10");
}

#[test]
fn conditions_of_writes() {
    let (tag, other, any) = (Some(&b"\"a\""[..]), Some(&b"\"b\""[..]), Some(&b"*"[..]));
    for (if_match, if_none_match, current, allowed) in [
        (None, None, None, true),
        (None, None, tag, true),
        (tag, None, tag, true),
        (tag, None, other, false),
        (tag, None, None, false),
        (any, None, tag, true),
        (any, None, None, false),
        (None, any, None, true),
        (None, any, tag, false),
        (None, tag, tag, false),
        (None, tag, other, true),
        (tag, other, tag, true),
        (Some(&b"W/\"a\""[..]), None, tag, false),
    ] {
        let found = write_allowed(if_match, if_none_match, current);
        assert_eq!(found, allowed, "{if_match:?} {if_none_match:?} {current:?}");
        let mut request = b"PUT / HTTP/1.1\r\nHost: a\r\n".to_vec();
        for (name, value) in [("If-Match: ", if_match), ("If-None-Match: ", if_none_match)] {
            if let Some(value) = value {
                // The list that decides stands on the second of two lines.
                let other = [name.as_bytes(), b"\"z\"\r\n"].concat();
                request.extend([&other, name.as_bytes(), value, b"\r\n"].concat());
            }
        }
        request.extend(b"\r\n");
        let head = request::parse(&request).unwrap().unwrap();
        assert_eq!(evaluate_write(&head, &request, current), allowed, "of a head");
    }
}
