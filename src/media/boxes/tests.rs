//! The reader on what ffmpeg wrote, on boxes made by hand, and on hostile ones, cut at every byte.

use std::process::Command;

use super::{Fault, Fragment, Reader, Tracks};
use crate::limits;

const VIDEO_INIT: &[u8] = include_bytes!("../../../tests/samples/dash/init-stream0.m4s");
const VIDEO: &[u8] = include_bytes!("../../../tests/samples/dash/chunk-stream0-00001.m4s");
const AUDIO_INIT: &[u8] = include_bytes!("../../../tests/samples/dash/init-stream1.m4s");
const AUDIO: &[u8] = include_bytes!("../../../tests/samples/dash/chunk-stream1-00001.m4s");

fn tracks(init: &[u8]) -> Tracks {
    let mut reader = Reader::new(Tracks::default());
    reader.feed(init, &mut |_| panic!("a fragment")).unwrap();
    reader.finish(&mut |_| panic!("a fragment")).unwrap();
    *reader.tracks()
}

/// The fragments of a file that arrives in these pieces, and how the reading ends.
fn read<'a>(
    tracks: Tracks,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Fragment>, Result<(), Fault>) {
    let mut fragments = Vec::new();
    let mut reader = Reader::new(tracks);
    for piece in pieces {
        let before = fragments.len();
        if let Err(fault) = reader.feed(piece, &mut |fragment| fragments.push(fragment)) {
            return (fragments, Err(fault));
        }
        assert!(fragments[before..].iter().all(|fragment| fragment.end <= reader.position()));
    }
    let end = reader.finish(&mut |fragment| fragments.push(fragment));
    (fragments, end)
}

fn whole(bytes: &[u8]) -> (Vec<Fragment>, Result<(), Fault>) {
    read(Tracks::default(), [bytes])
}

/// However the bytes are cut in two or in pieces of one size, the outcome is the same.
fn assert_cuts(tracks: Tracks, bytes: &[u8]) {
    let expected = read(tracks, [bytes]);
    for cut in 0..bytes.len() {
        let (front, back) = bytes.split_at(cut);
        assert_eq!(read(tracks, [front, back]), expected, "cut at {cut}");
    }
    for size in [1, 2, 3, 7, 16, 1316] {
        assert_eq!(read(tracks, bytes.chunks(size)), expected, "pieces of {size}");
    }
}

#[test]
fn the_state_is_small() {
    assert!(size_of::<Reader>() <= 640, "{} bytes", size_of::<Reader>());
}

#[test]
fn ffmpeg_video_has_five_fragments_the_first_of_them_independent() {
    let tracks = tracks(VIDEO_INIT);
    assert_eq!(tracks.as_slice().len(), 1);
    assert_eq!(tracks.as_slice()[0].timescale, 12_800);
    let (fragments, end) = read(tracks, [VIDEO]);
    assert_eq!(end, Ok(()));
    assert_eq!(fragments.len(), 5);
    for (at, fragment) in fragments.iter().enumerate() {
        assert_eq!(fragment.duration_us(), Some(200_000));
        assert_eq!((fragment.samples, fragment.independent), (5, at == 0));
        assert_eq!(fragment.decode_time, Some(at as u64 * 2560));
        assert_eq!(&VIDEO[usize::try_from(fragment.moof).unwrap() + 4..][..4], b"moof");
    }
    assert_eq!((fragments[0].start, fragments[4].end), (0, VIDEO.len() as u64));
    assert!(fragments.windows(2).all(|pair| pair[0].end == pair[1].start));
    assert_cuts(tracks, VIDEO);
    assert_cuts(Tracks::default(), VIDEO_INIT);
}

#[test]
fn ffmpeg_audio_is_independent_throughout() {
    let tracks = tracks(AUDIO_INIT);
    assert_eq!(tracks.as_slice()[0].timescale, 48_000);
    let (fragments, end) = read(tracks, [AUDIO]);
    assert_eq!(end, Ok(()));
    assert!(fragments.len() >= 4 && fragments.iter().all(|fragment| fragment.independent));
    let samples: u64 = fragments.iter().map(|fragment| fragment.samples).sum();
    let duration: u64 = fragments.iter().map(|fragment| fragment.duration).sum();
    assert_eq!(duration, samples * 1024);
    assert_cuts(tracks, AUDIO);
}

#[test]
fn without_an_initialization_section_there_is_no_timescale() {
    let (fragments, end) = whole(VIDEO);
    assert_eq!((fragments.len(), end), (5, Ok(())));
    assert!(fragments.iter().all(|fragment| fragment.duration_us().is_none()));
}

#[test]
fn a_file_that_breaks_off_is_noticed() {
    let tracks = tracks(VIDEO_INIT);
    let (all, _) = read(tracks, [VIDEO]);
    for end in 1..VIDEO.len() {
        let (fragments, outcome) = read(tracks, [&VIDEO[..end]]);
        let complete = all.iter().filter(|fragment| fragment.end <= end as u64).count();
        assert_eq!(fragments, all[..complete], "cut at {end}");
        // Between boxes a file may end, except between a moof and its media data.
        let at_boundary = end == 24 || all.iter().any(|fragment| fragment.end == end as u64);
        if at_boundary {
            assert_eq!(outcome, Ok(()), "cut at {end}");
        }
        let in_moof = all.iter().any(|one| (one.moof + 1..one.end).contains(&(end as u64)));
        assert!(!in_moof || outcome.is_err(), "cut at {end}");
    }
}

/// A box.
fn made(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], name, body].concat()
}

/// A box with version, flags and words.
fn full(name: &[u8; 4], flags: u32, words: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = [flags].iter().chain(words).flat_map(|word| word.to_be_bytes()).collect();
    made(name, &body)
}

fn moof(children: &[Vec<u8>]) -> Vec<u8> {
    made(b"moof", &made(b"traf", &children.concat()))
}

fn init() -> Vec<u8> {
    let mdhd = made(b"mdia", &full(b"mdhd", 0, &[0, 0, 1000, 0, 0]));
    let trak = made(b"trak", &[full(b"tkhd", 0, &[0, 0, 7, 0]), mdhd].concat());
    let trex = full(b"trex", 0, &[7, 1, 40, 0, 0x0101_0000]);
    made(b"moov", &[trak, made(b"mvex", &trex)].concat())
}

#[test]
fn defaults_come_from_the_sample_then_the_fragment_then_the_track() {
    let with = |tfhd: Vec<u8>, trun: Vec<u8>| {
        let file = [init(), moof(&[tfhd, trun]), made(b"mdat", b"x")].concat();
        assert_cuts(Tracks::default(), &file);
        let (fragments, end) = whole(&file);
        assert_eq!(end, Ok(()));
        (fragments[0].duration, fragments[0].samples, fragments[0].independent)
    };
    let plain = || full(b"tfhd", 0, &[7]);
    assert_eq!(with(plain(), full(b"trun", 0, &[3])), (120, 3, false));
    assert_eq!(with(plain(), full(b"trun", 0x5, &[3, 0, 0x0200_0000])), (120, 3, true));
    assert_eq!(with(full(b"tfhd", 0x8, &[7, 50]), full(b"trun", 0, &[2])), (100, 2, false));
    assert_eq!(with(full(b"tfhd", 0x28, &[7, 50, 0]), full(b"trun", 0, &[2])), (100, 2, true));
    let all = full(b"tfhd", 0x3b, &[7, 0, 0, 1, 50, 9, 0x0001_0000]);
    assert_eq!(with(all, full(b"trun", 0, &[2])), (100, 2, false));
    let own = full(b"trun", 0xf00, &[2, 10, 1, 0x0001_0000, 0, 30, 1, 0, 0]);
    assert_eq!(with(plain(), own), (40, 2, true));
    assert_eq!(with(plain(), full(b"trun", 0x100, &[0])), (0, 0, false));
    let most = full(b"trun", 0, &[u32::MAX]);
    assert_eq!(with(plain(), most), (40 * u64::from(u32::MAX), u32::MAX.into(), false));
}

#[test]
fn a_fragment_of_two_tracks_is_independent_when_both_are() {
    let traf = |id, flags| {
        made(b"traf", &[full(b"tfhd", 0x28, &[id, 10, flags]), full(b"trun", 0, &[1])].concat())
    };
    for (first, second, independent) in
        [(0, 0, true), (0, 0x0001_0000, false), (0x0001_0000, 0, false)]
    {
        let moof = made(b"moof", &[traf(1, first), traf(2, second)].concat());
        let (fragments, _) = whole(&[moof, made(b"mdat", b"")].concat());
        assert_eq!(fragments[0].independent, independent);
        assert_eq!((fragments[0].samples, fragments[0].duration), (1, 10));
    }
}

#[test]
fn sizes_of_64_bits_and_media_data_up_to_the_end_are_read() {
    let moof = moof(&[full(b"tfhd", 0, &[7]), full(b"trun", 0, &[3])]);
    let long = [&1_u32.to_be_bytes()[..], b"mdat", &20_u64.to_be_bytes(), b"1234"].concat();
    let file = [made(b"styp", b"cmfs"), moof.clone(), long].concat();
    let (fragments, end) = whole(&file);
    assert_eq!((fragments[0].end, end), (file.len() as u64, Ok(())));
    assert_cuts(Tracks::default(), &file);
    let endless = [moof, [&0_u32.to_be_bytes()[..], b"mdat1234"].concat()].concat();
    let (fragments, end) = whole(&endless);
    assert_eq!((fragments[0].end, end), (endless.len() as u64, Ok(())));
    assert_cuts(Tracks::default(), &endless);
}

#[test]
fn hostile_boxes_are_refused_with_a_sentence() {
    let long =
        |name: &[u8; 4], size: u64| [&1_u32.to_be_bytes()[..], name, &size.to_be_bytes()].concat();
    let short = |name: &[u8; 4], size: u32| [&size.to_be_bytes()[..], name].concat();
    let in_traf = |child: Vec<u8>| moof(&[full(b"tfhd", 0, &[7]), child]);
    for (file, reason) in [
        (long(b"mdat", 1 << 63), "a box that ends beyond 2^63"),
        (long(b"mdat", u64::MAX), "a box that ends beyond 2^63"),
        (long(b"mdat", 15), "a box that is shorter than its header"),
        (short(b"free", 7), "a box that is shorter than its header"),
        (short(b"moof", 0), "only media data may go on to the end of the file"),
        (long(b"moof", 1 << 40), "a moov or moof of more bytes than it may have"),
        (made(b"moof", &short(b"traf", 9)), "a box that ends behind the one around it"),
        (made(b"moof", &long(b"traf", 1 << 62)), "a box that ends behind the one around it"),
        (made(b"moof", &short(b"mfhd", 0)), "a box without an end inside of another"),
        (made(b"moof", b"1234567"), "bytes behind the last box of another"),
        (made(b"moof", &short(b"free", 1)), "bytes behind the last box of another"),
        (in_traf(made(b"trun", b"")), "a box that is too short for its fields"),
        (in_traf(made(b"trun", b"12")), "a box that is too short for its fields"),
        (in_traf(full(b"tfdt", 0, &[])), "a box that is too short for its fields"),
        (in_traf(full(b"trun", 0x100, &[2, 1])), "a trun of more samples than it holds"),
        (in_traf(full(b"trun", 0xf00, &[u32::MAX, 1])), "a trun of more samples than it holds"),
    ] {
        let (fragments, end) = whole(&file);
        let fault = end.unwrap_err();
        assert_eq!((fault.reason, fragments.len()), (reason, 0));
        assert!(fault.to_string().starts_with("media file, byte "), "{fault}");
        assert!(fault.at <= file.len() as u64);
        assert_cuts_fail(&file, reason);
    }
}

/// The fault is the same however the bytes are cut; only its place may lie within a piece.
fn assert_cuts_fail(file: &[u8], reason: &str) {
    for size in [1, 2, 3, 5] {
        let (_, end) = read(Tracks::default(), file.chunks(size));
        assert_eq!(end.unwrap_err().reason, reason, "pieces of {size}");
    }
}

#[test]
fn many_boxes_and_deep_nests_cost_no_memory_and_no_depth() {
    let many = made(b"free", b"").repeat(1_000_000);
    assert_eq!(whole(&many), (vec![], Ok(())));
    let mut deep = Vec::new();
    for _ in 0..100 {
        deep = made(b"traf", &made(b"moof", &deep));
    }
    let (fragments, end) = whole(&made(b"moof", &deep));
    let reason = "the file ends before the media data of its last moof";
    assert_eq!((fragments.len(), end.unwrap_err().reason), (0, reason));
    let tracks: Vec<u8> = (1..1000).flat_map(|id| full(b"trex", 0, &[id, 1, 40, 0, 0])).collect();
    let mut reader = Reader::new(Tracks::default());
    reader.feed(&made(b"moov", &made(b"mvex", &tracks)), &mut |_| {}).unwrap();
    assert_eq!(reader.tracks().as_slice().len(), limits::TRACKS_MAX);
}

#[test]
fn a_fault_stays() {
    let mut reader = Reader::new(Tracks::default());
    let fault = reader.feed(&[0, 0, 0, 2, 0, 0, 0, 0, 0], &mut |_| {}).unwrap_err();
    assert_eq!(reader.feed(b"x", &mut |_| {}), Err(fault));
    assert_eq!(reader.finish(&mut |_| {}), Err(fault));
}

#[test]
fn the_installed_ffmpeg_is_read_too() {
    let folder = std::env::temp_dir().join(format!("headwater-boxes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let arguments = "-v error -y -f lavfi -i testsrc2=s=64x36:r=30 -t 2 -c:v libx264 -g 30 \
        -sc_threshold 0 -bf 2 -movflags frag_every_frame+empty_moov+default_base_moof -f mp4 a.mp4";
    let status =
        Command::new("ffmpeg").args(arguments.split_whitespace()).current_dir(&folder).status();
    if !status.is_ok_and(|status| status.success()) {
        println!("no ffmpeg with libx264 here; the stored samples stand for it");
        return;
    }
    let file = std::fs::read(folder.join("a.mp4")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let body = &file[..file.windows(4).position(|four| four == b"mfra").unwrap() - 4];
    let (fragments, end) = whole(body);
    assert_eq!((fragments.len(), end), (60, Ok(())));
    let independent: Vec<usize> = (0..60).filter(|at| fragments[*at].independent).collect();
    assert_eq!(independent, [0, 30]);
    let total: u64 = fragments.iter().map(|fragment| fragment.duration_us().unwrap()).sum();
    assert!(total.abs_diff(2_000_000) < 1000, "{total} us");
    assert_cuts(Tracks::default(), &body[..body.len().min(6000)]);
}
