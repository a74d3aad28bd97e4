//! Stamps survive, and a scanner finds them however the bytes are cut.

use super::*;
use crate::publish::boxes;
use crate::report::random::Random;

fn stamp(chunk: u32, payload: u64) -> Stamp {
    Stamp {
        due_ns: 1_700_000_000_000_000_000,
        sent_ns: 1_700_000_000_000_123_456,
        seed: 7,
        sequence: 41,
        length: 0,
        payload,
        channel: 3,
        track: 2,
        chunk,
        chunks: 3,
    }
}

/// A segment of three chunks as the publisher makes it, with the stamps in it.
fn segment() -> (Vec<u8>, Vec<Stamp>) {
    let mut bytes = boxes::styp();
    let mut stamps = Vec::new();
    for (chunk, payload) in [(0, 1000), (1, 0), (2, 333)] {
        stamps.push(boxes::chunk(&mut bytes, stamp(chunk, payload), 90_000, 180_000));
    }
    (bytes, stamps)
}

#[test]
fn a_stamp_survives() {
    let stamp = Stamp { length: 5000, ..stamp(2, 4000) };
    assert_eq!(Stamp::parse(&stamp.encode()), Some(stamp));
    let mut other = stamp.encode();
    other[10] ^= 1;
    assert_eq!(Stamp::parse(&other), None, "another uuid box");
    let lying = Stamp { payload: 4950, ..stamp };
    assert_eq!(Stamp::parse(&lying.encode()), None, "more payload than chunk");
}

#[test]
fn every_cut_finds_the_same_chunks() {
    let (bytes, stamps) = segment();
    let expected: Vec<Arrived> =
        stamps.iter().map(|stamp| Arrived { stamp: *stamp, right: Some(true) }).collect();
    for cut in 0..=bytes.len() {
        let mut scanner = Scanner::new(true);
        let mut found = Vec::new();
        scanner.push(&bytes[..cut], |arrived| found.push(arrived));
        scanner.push(&bytes[cut..], |arrived| found.push(arrived));
        assert_eq!(found, expected, "cut at {cut}");
        assert!(scanner.is_whole() && scanner.understands());
    }
    let mut scanner = Scanner::new(false);
    let mut found = Vec::new();
    bytes.iter().for_each(|byte| scanner.push(&[*byte], |arrived| found.push(arrived)));
    assert!(found.iter().all(|arrived| arrived.right.is_none()));
    assert_eq!(found.len(), 3);
}

#[test]
fn a_wrong_payload_byte_is_seen_and_placed() {
    let (mut bytes, _) = segment();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let mut right = Vec::new();
    Scanner::new(true).push(&bytes, |arrived| right.push(arrived.right));
    assert_eq!(right, [Some(true), Some(true), Some(false)]);
}

#[test]
fn foreign_bytes_are_left_alone() {
    let seed = 12;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..2000 {
        let noise: Vec<u8> =
            (0..random.below(300)).map(|_| random.bits().to_be_bytes()[0]).collect();
        let mut scanner = Scanner::new(true);
        scanner.push(&noise, |arrived| panic!("{arrived:?} in noise"));
    }
    let mut scanner = Scanner::new(true);
    scanner.push(&[0; 64], |_| panic!("nothing"));
    assert!(!scanner.understands());
    // MPEG-TS begins with its sync byte: read as a box of about a gigabyte, never complete.
    let mut scanner = Scanner::new(true);
    scanner.push(&[0x47; 188], |_| panic!("nothing"));
    assert!(!scanner.is_whole());
}

#[test]
fn a_scanner_is_small() {
    let size = std::mem::size_of::<Scanner>();
    assert!(size <= 256, "{size} bytes for each viewer");
}
