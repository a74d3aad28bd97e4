//! WebSocket frames: vectors of RFC 6455, every fault, and every way to cut.

use super::super::frame::{self, Code, Event, Reader};
use crate::limits::SOCKET_MESSAGE_BYTES_MAX;
use crate::sys::random::Random;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame.
fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => out.extend([&[0x80 | 126][..], &(len as u16).to_be_bytes()].concat()),
        len => out.extend([&[0x80 | 127][..], &(len as u64).to_be_bytes()].concat()),
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// Everything that a reader says of `bytes`, which come in pieces of `step`.
fn events(bytes: &[u8], step: usize) -> Result<Vec<Event>, Code> {
    let mut reader = Reader::of_text(SOCKET_MESSAGE_BYTES_MAX);
    let mut events = Vec::new();
    for mut piece in bytes.chunks(step) {
        while !piece.is_empty() {
            let (used, event) = reader.read(piece)?;
            assert!(used > 0);
            events.extend(event);
            piece = &piece[used..];
        }
    }
    Ok(events)
}

#[track_caller]
fn expect(bytes: &[u8], expected: Result<Vec<Event>, Code>) {
    for step in [1, 2, 3, 7, bytes.len().max(1)] {
        assert_eq!(events(bytes, step), expected, "in pieces of {step}");
    }
}

#[test]
fn the_vectors_of_the_standard_are_read() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    expect(&hello, Ok(vec![Event::Text("Hello".to_owned())]));
    let ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    expect(&ping, Ok(vec![Event::Ping(b"Hello".to_vec())]));
}

#[test]
fn fragments_and_control_frames_between_them_are_put_together() {
    let euro = "\u{20ac}".as_bytes();
    let bytes = [
        framed(0x01, &euro[..1]),
        framed(0x89, b"p"),
        framed(0x00, b""),
        framed(0x8A, b"late"),
        framed(0x80, &euro[1..]),
        framed(0x81, b""),
        framed(0x88, &[0x03, 0xE8, b'o', b'k']),
    ]
    .concat();
    let expected = vec![
        Event::Ping(b"p".to_vec()),
        Event::Pong,
        Event::Text("\u{20ac}".to_owned()),
        Event::Text(String::new()),
        Event::Close(Some(1000)),
    ];
    expect(&bytes, Ok(expected));
    for len in [125, 126, 127, 65_535, 65_536, SOCKET_MESSAGE_BYTES_MAX] {
        let text = "x".repeat(len);
        assert_eq!(events(&framed(0x81, text.as_bytes()), 4096), Ok(vec![Event::Text(text)]));
    }
}

#[test]
fn what_the_standard_forbids_is_refused() {
    let faults: &[(&str, Vec<u8>, Code)] = &[
        ("not masked", vec![0x81, 0x01, b'a'], Code::Protocol),
        ("a reserved bit", framed(0xC1, b"a"), Code::Protocol),
        ("an unknown opcode", framed(0x83, b""), Code::Protocol),
        ("an unknown control opcode", framed(0x8B, b""), Code::Protocol),
        ("a continuation of nothing", framed(0x80, b"a"), Code::Protocol),
        ("text within text", [framed(0x01, b"a"), framed(0x81, b"b")].concat(), Code::Protocol),
        ("a ping in parts", framed(0x09, b""), Code::Protocol),
        ("a long ping", framed(0x89, &[0; 126]), Code::Protocol),
        ("a length that is not the shortest", vec![0x81, 0xFE, 0, 5], Code::Protocol),
        ("a length of 2^63", [&[0x81, 0xFF, 0x80][..], &[0; 11]].concat(), Code::Protocol),
        ("a close of one byte", framed(0x88, &[3]), Code::Protocol),
        ("a close without meaning", framed(0x88, &[0x03, 0xED]), Code::Protocol),
        ("a reason that is no text", framed(0x88, &[0x03, 0xE8, 0xFF]), Code::NotUtf8),
        ("bytes", framed(0x82, b"a"), Code::Unsupported),
        ("no text", framed(0x81, b"\xff"), Code::NotUtf8),
        ("no text in a part", framed(0x01, b"a\xffb"), Code::NotUtf8),
        ("text cut in a letter", framed(0x81, b"\xe2\x82"), Code::NotUtf8),
    ];
    for (what, bytes, code) in faults {
        let padded = [bytes.as_slice(), &[0; 14]].concat();
        assert_eq!(events(&padded, 1), Err(*code), "{what}");
        assert_eq!(events(&padded, padded.len()), Err(*code), "{what}");
    }
    let mut long = framed(0x01, &vec![b'x'; SOCKET_MESSAGE_BYTES_MAX]);
    long.extend(framed(0x80, b"y"));
    assert_eq!(events(&long, 65_536), Err(Code::TooBig));
}

#[test]
fn bytes_are_read_where_they_are_welcome_and_need_be_no_text() {
    let bytes =
        [framed(0x02, b"\xff"), framed(0x89, b""), framed(0x80, b"\xfe"), framed(0x81, b"a")];
    let mut reader = Reader::of_both(SOCKET_MESSAGE_BYTES_MAX);
    let mut events = Vec::new();
    for byte in bytes.concat() {
        events.extend(reader.read(&[byte]).unwrap().1);
    }
    let expected =
        [Event::Ping(vec![]), Event::Binary(b"\xff\xfe".to_vec()), Event::Text("a".to_owned())];
    assert_eq!(events, expected);
    assert_eq!(reader.read(&framed(0x01, b"\xff")), Err(Code::NotUtf8), "text is still text");
}

#[test]
fn text_that_is_none_is_found_before_its_frame_ends() {
    let bytes = framed(0x81, b"abc\xffdefghi");
    assert_eq!(
        Reader::of_text(SOCKET_MESSAGE_BYTES_MAX).read(&bytes[..bytes.len() - 3]),
        Err(Code::NotUtf8)
    );
}

#[test]
fn a_long_reason_is_cut_at_a_letter() {
    let mut out = Vec::new();
    frame::closing(&mut out, 1008, &"\u{20ac}".repeat(60));
    assert_eq!((out[1], out.len()), (125, 127));
    frame::closing(&mut out, 1008, &format!("a{}", "\u{20ac}".repeat(60)));
    assert_eq!(out[128], 123, "a letter of three bytes does not fit");
}

#[test]
fn frames_are_written_as_short_as_can_be() {
    let mut out = Vec::new();
    frame::text(&mut out, &[b"Hel", b"lo"]);
    frame::pong(&mut out, b"");
    frame::closing(&mut out, 1000, "");
    assert_eq!(out, [0x81, 5, b'H', b'e', b'l', b'l', b'o', 0x8A, 0, 0x88, 2, 0x03, 0xE8]);
    for (len, head) in [(126, vec![126, 0, 126]), (65_536, vec![127, 0, 0, 0, 0, 0, 1, 0, 0])] {
        let mut out = Vec::new();
        frame::text(&mut out, &[&vec![b'x'; len]]);
        assert_eq!((out[1..=head.len()].to_vec(), out.len()), (head.clone(), 1 + head.len() + len));
    }
}

/// No bytes make the reader fail otherwise than by a code, and no cut changes what it says.
#[test]
fn any_bytes_are_read_alike_however_they_are_cut() {
    let mut random = Random::new(6455);
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..random.below(4) {
            let first = [0x81, 0x01, 0x80, 0x00, 0x89, 0x8A, 0x88, 0x82][random.below(8) as usize];
            let payload: Vec<u8> = (0..random.below(6))
                .map(|_| b"a\xe2\x82\xac\x03\xe8"[random.below(6) as usize])
                .collect();
            bytes.extend(framed(first, &payload));
        }
        if random.below(4) == 0 && !bytes.is_empty() {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        let whole = events(&bytes, bytes.len().max(1));
        assert_eq!(events(&bytes, 1), whole, "{bytes:?}");
        assert_eq!(events(&bytes, 3), whole, "{bytes:?}");
    }
}
