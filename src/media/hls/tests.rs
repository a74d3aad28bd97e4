//! Playlists as real packagers write them, hostile ones, and delta updates of random ones.

use super::playlist::{Hint, Range, Report};
use super::tag::Name;
use super::{Fault, Item, Media, Part, Position, Segment, delta};
use crate::limits;

/// In the manner of the draft's appendix, with every tag that is read.
const LOW_LATENCY: &str = "#EXTM3U\r\n\
    #EXT-X-VERSION:9\n\
    #EXT-X-TARGETDURATION:4\n\
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0,CAN-SKIP-UNTIL=24.0\n\
    #EXT-X-PART-INF:PART-TARGET=0.33334\n\
    #EXT-X-MEDIA-SEQUENCE:266\n\
    #EXT-X-DISCONTINUITY-SEQUENCE:7\n\
    #EXT-X-MAP:URI=\"init.mp4\"\n\
    #EXT-X-PROGRAM-DATE-TIME:2019-02-14T02:13:36.106Z\n\
    #EXTINF:4.00008,title, and more\n\
    fileSequence266.mp4\n\
    # a comment\n\
    #EXT-X-DISCONTINUITY\n\
    #EXT-X-GAP\n\
    #EXTINF:4,\n\
    #EXT-X-BYTERANGE:100@50\n\
    big.mp4\n\
    #EXTINF:4,\n\
    #EXT-X-BYTERANGE:20\n\
    big.mp4\n\
    #EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2019-02-14T02:13:36Z\"\n\
    #EXT-X-MAP:URI=\"init2.mp4\",BYTERANGE=\"10@0\"\n\
    #EXT-X-PART:DURATION=0.33334,URI=\"p.mp4\",BYTERANGE=\"10@100\",INDEPENDENT=YES\n\
    #EXT-X-PART:DURATION=0.33334,URI=\"p.mp4\",BYTERANGE=\"5\",GAP=YES\n\
    #EXTINF:0.66668,\n\
    p.mp4\n\
    #EXT-X-PART:DURATION=0.33334,URI=\"q.0.mp4\"\n\
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"q.1.mp4\",BYTERANGE-START=9,BYTERANGE-LENGTH=8\n\
    #EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init3.mp4\"\n\
    #EXT-X-RENDITION-REPORT:URI=\"../1M/a.m3u8\",LAST-MSN=270,LAST-PART=2\n";

fn read(text: &str) -> Result<Media<'_>, Fault> {
    Media::read(text.as_bytes())
}

#[test]
fn every_fact_of_a_playlist_is_read() {
    let media = read(LOW_LATENCY).unwrap();
    assert_eq!((media.version, media.target_duration_us), (9, 4_000_000));
    assert_eq!((media.media_sequence, media.discontinuity_sequence), (266, 7));
    assert_eq!(media.part_target_us, Some(333_340));
    assert!(media.control.can_block_reload && !media.ended);
    assert_eq!(media.control.part_hold_back_us, Some(1_000_000));
    assert_eq!(media.control.can_skip_until_us, Some(24_000_000));
    assert_eq!((media.segments, media.open_parts, media.last_segment_parts), (4, 1, 2));
    assert_eq!((media.duration_us, media.open_duration_us), (12_666_760, 333_340));
    assert_eq!(media.last(), Some(Position { msn: 270, part: Some(0) }));
    let items: Vec<Item> = media.items().map(Result::unwrap).collect();
    assert!(items.contains(&Item::Hint(Hint {
        part: true,
        uri: b"q.1.mp4",
        start: 9,
        length: Some(8)
    })));
    assert!(items.contains(&Item::Report(Report {
        uri: b"../1M/a.m3u8",
        last_msn: Some(270),
        last_part: Some(2)
    })));
    assert!(items.iter().any(|item| matches!(item, Item::Tag(Name::DateRange, _))));
}

#[test]
fn segments_have_what_applies_to_them() {
    let media = read(LOW_LATENCY).unwrap();
    let segments: Vec<Segment> = media.segments().collect();
    assert_eq!(segments[0].uri, b"fileSequence266.mp4");
    assert_eq!(segments[0].duration_us, 4_000_080);
    assert_eq!(segments[0].program_date_time, Some(&b"2019-02-14T02:13:36.106Z"[..]));
    assert_eq!(segments[1].range, Some(Range { offset: 50, length: 100 }));
    assert_eq!(segments[2].range, Some(Range { offset: 150, length: 20 }));
    assert!(segments[1].discontinuity && segments[1].gap && !segments[2].gap);
    assert_eq!(segments[2].map, Some(&b"URI=\"init.mp4\""[..]));
    assert_eq!(segments[3].map, Some(&b"URI=\"init2.mp4\",BYTERANGE=\"10@0\""[..]));
    let lines = &LOW_LATENCY[segments[1].start..segments[1].end];
    assert!(lines.starts_with("#EXT-X-DISCONTINUITY\n") && lines.ends_with("\nbig.mp4\n"));
    let msns: Vec<u64> = segments.iter().map(|segment| segment.msn).collect();
    assert_eq!(msns, [266, 267, 268, 269]);
    let parts: Vec<Part> = media.parts().collect();
    assert_eq!(parts[0].range, Some(Range { offset: 100, length: 10 }));
    assert_eq!(parts[1].range, Some(Range { offset: 110, length: 5 }));
    assert!(parts[0].independent && !parts[0].gap && parts[1].gap && !parts[1].independent);
    let places: Vec<(u64, u32)> = parts.iter().map(|part| (part.msn, part.index)).collect();
    assert_eq!(places, [(269, 0), (269, 1), (270, 0)]);
}

#[test]
fn what_a_playlist_contains_is_a_question_of_segment_and_part() {
    let media = read(LOW_LATENCY).unwrap();
    for (msn, part, contained) in [
        (0, None, true),
        (269, None, true),
        (270, None, false),
        (269, Some(1), true),
        (269, Some(2), true),
        (270, Some(0), true),
        (270, Some(1), false),
        (271, Some(0), false),
        (u64::MAX, Some(u64::MAX), false),
        (u64::MAX, None, false),
    ] {
        assert_eq!(media.contains(msn, part), contained, "{msn} {part:?}");
    }
    let none = read("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:5\n").unwrap();
    assert_eq!((none.last(), none.next_msn()), (None, 5));
    assert!(none.contains(4, None) && !none.contains(5, None) && !none.contains(5, Some(0)));
}

#[test]
fn mistakes_are_named_with_their_line() {
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";
    for (behind, line) in [
        ("a.ts\n", 3),
        ("#EXTINF:x,\na.ts\n", 3),
        ("#EXTINF:-1,\na.ts\n", 3),
        ("#EXTINF:9223372036854775808,\na.ts\n", 3),
        ("#EXTINF:2,\n", 3),
        ("#EXTINF:2,\n#EXT-X-BYTERANGE:5\na.ts\n", 5),
        ("#EXTINF:2,\n#EXT-X-BYTERANGE:18446744073709551615@1\na.ts\n", 4),
        ("#EXTINF:2,\na.ts\n#EXT-X-MEDIA-SEQUENCE:4\n", 5),
        ("#EXT-X-MEDIA-SEQUENCE:9223372036854775808\n", 3),
        ("#EXT-X-TARGETDURATION:0\n", 3),
        ("#EXT-X-PART-INF:PART-TARGET=0\n", 3),
        ("#EXT-X-PART-INF:A=1\n", 3),
        ("#EXT-X-PART:URI=\"a\"\n", 3),
        ("#EXT-X-PART:DURATION=1\n", 3),
        ("#EXT-X-PART:DURATION=1,URI=\"a\n", 3),
        ("#EXT-X-PART:DURATION=1,URI=\"a\",BYTERANGE=\"5\"\n", 3),
        ("#EXT-X-SKIP:A=1\n", 3),
        ("#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n", 4),
        ("#EXT-X-SKIP:SKIPPED-SEGMENTS=9223372036854775808\n", 3),
        ("#EXT-X-PRELOAD-HINT:TYPE=PART\n", 3),
        ("#EXT-X-RENDITION-REPORT:LAST-MSN=1\n", 3),
        ("#EXT-X-STREAM-INF:BANDWIDTH=1\n", 3),
    ] {
        let fault = read(&format!("{head}{behind}")).unwrap_err();
        assert_eq!(fault.line, line, "{behind}: {fault}");
        assert!(fault.to_string().starts_with(&format!("playlist, line {line}: ")), "{fault}");
    }
    for whole in ["", "x", "#EXTM3", "\n#EXTM3U\n", "#EXTM3U\n"] {
        assert_eq!(read(whole).unwrap_err().line, 0, "{whole}");
    }
}

#[test]
fn every_prefix_is_read_or_refused() {
    for end in 0..LOW_LATENCY.len() {
        if let Ok(media) = read(&LOW_LATENCY[..end]) {
            assert!(media.items().all(|item| item.is_ok()), "cut at {end}");
            assert!(media.next_msn() <= 270);
        }
    }
}

#[test]
fn a_million_tags_are_bounded() {
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";
    let lines = [head, &"#EXT-X-GAP\n".repeat(300_000)].concat();
    assert_eq!(read(&lines).unwrap_err().reason, "more lines than a playlist may have");
    let bytes = [head, &"#EXTINF:2,\na\n".repeat(1_000_000)].concat();
    assert_eq!(read(&bytes).unwrap_err().reason, "more bytes than a playlist may have");
    let most = [head, &"#EXTINF:864000,\na\n".repeat(99_000)].concat();
    let media = read(&most).unwrap();
    assert_eq!(media.segments, 99_000);
    assert_eq!(media.duration_us, 99_000 * limits::PLAYLIST_DURATION_US_MAX);
    let one = [head, "#EXT-X-PART:", &"A=1,".repeat(1_000_000), "\n"].concat();
    assert_eq!(read(&one).unwrap_err().reason, "more attributes than a tag may have");
}

fn delta_of(text: &str) -> Option<String> {
    let media = read(text).unwrap();
    let mut out = Vec::new();
    let made = delta::write(&media, &mut |bytes| out.extend_from_slice(bytes));
    assert_eq!(made, delta::skippable(&media) > 0);
    assert!(made || out.is_empty());
    made.then(|| String::from_utf8(out).unwrap())
}

#[test]
fn a_delta_update_has_one_skip_and_all_other_lines() {
    let segment = |number: u32| format!("#EXTINF:2,\ns{number}\n");
    let head = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:3\n\
        #EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12\n#EXT-X-MAP:URI=\"i\"\n";
    let segments: String = (0..5).map(segment).collect();
    let tail: String = (5..9).map(segment).collect();
    let text = [head, &segments, "#EXT-X-DATERANGE:ID=\"a\"\n", &tail].concat();
    let expected = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-MEDIA-SEQUENCE:3\n#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12\n\
        #EXT-X-SKIP:SKIPPED-SEGMENTS=2\n";
    let kept: String = (2..5).map(segment).collect();
    let expected = [expected, &kept, "#EXT-X-DATERANGE:ID=\"a\"\n", &tail].concat();
    assert_eq!(delta_of(&text).unwrap(), expected);
}

#[test]
fn no_delta_where_none_is_offered() {
    let text = |control: &str, behind: &str| {
        let segments = "#EXTINF:2,\ns\n".repeat(20);
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{control}{segments}{behind}")
    };
    let offer = "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12\n";
    assert!(delta_of(&text(offer, "")).is_some());
    assert_eq!(delta_of(&text("", "")), None);
    assert_eq!(delta_of(&text(offer, "#EXT-X-ENDLIST\n")), None);
    assert_eq!(delta_of(&text("#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=40\n", "")), None);
    let skipped = "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n";
    assert_eq!(delta_of(&text(&[offer, skipped].concat(), "")), None);
}

/// A range without an offset begins where the one before it ends. Players take the first segment
/// of an update for the first of its resource, so the cut lies before one that says where it is.
#[test]
fn a_delta_update_begins_with_a_segment_that_names_its_range() {
    let text = |ranges: &[&str]| {
        let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12\n";
        let one = |range: &&str| format!("#EXTINF:2,\n#EXT-X-BYTERANGE:{range}\na\n");
        head.to_owned() + &ranges.iter().map(one).collect::<String>()
    };
    let mut ranges = ["10"; 10];
    (ranges[0], ranges[2]) = ("10@0", "10@20");
    let update = delta_of(&text(&ranges)).unwrap();
    assert!(update.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n#EXTINF:2,\n#EXT-X-BYTERANGE:10@20"));
    ranges[2] = "10";
    assert_eq!(delta_of(&text(&ranges)), None);
}

#[test]
fn the_number_of_the_first_segment_stands_before_what_is_skipped() {
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";
    let skip = "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n";
    let number = "#EXT-X-MEDIA-SEQUENCE:2\n";
    assert_eq!(read(&[head, number, skip, "#EXTINF:2,\na\n"].concat()).unwrap().next_msn(), 6);
    assert!(read(&[head, skip, number, "#EXTINF:2,\na\n"].concat()).is_err());
}

/// A seeded source of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}

/// The lines of one segment of a channel, with whatever may apply to it.
fn random_segment(random: &mut Random, number: u64) -> String {
    let mut text = String::new();
    for (line, odds) in [
        ("#EXT-X-DISCONTINUITY\n", 9),
        ("#EXT-X-MAP:URI=\"i\"\n", 9),
        ("#EXT-X-PROGRAM-DATE-TIME:2026-11-22T10:00:00Z\n", 2),
        ("#EXT-X-GAP\n", 15),
        ("#EXT-X-KEY:METHOD=NONE\n", 20),
        ("#EXT-X-BITRATE:100\n", 20),
        ("# comment\n", 20),
    ] {
        if random.below(odds) == 0 {
            text.push_str(line);
        }
    }
    for _ in 0..random.below(4) {
        text.push_str("#EXT-X-PART:DURATION=0.5,URI=\"p\"\n");
    }
    text + &format!("#EXTINF:{}.{:03},\ns{number}\n", random.below(4), random.below(1000))
}

/// What a player knows of a segment, whether from this playlist or from an earlier one.
fn lines_of<'a>(text: &'a str, segment: &Segment) -> Vec<&'a str> {
    let lines = text[segment.start..segment.end].lines();
    lines.filter(|line| !line.starts_with("# ") && !line.starts_with("#EXT-X-DATE")).collect()
}

#[test]
fn a_delta_update_and_the_version_before_make_the_whole() {
    let seed = std::env::var("HEADWATER_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(0x4845_4144);
    println!("a_delta_update_and_the_version_before_make_the_whole: HEADWATER_SEED={seed}");
    let mut random = Random(seed);
    let mut deltas = 0;
    for _ in 0..500 {
        let channel: Vec<String> =
            (0..30).map(|number| random_segment(&mut random, number)).collect();
        let head = |sequence| {
            format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n\
                 #EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=24\n"
            )
        };
        let first = random.below(5);
        let size = 15 + random.below(8);
        let version = |from: u64, to: u64| {
            let list = &channel[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
            head(from) + &list.concat()
        };
        let before = version(first, first + size);
        let after = version(first + random.below(2), first + size + random.below(2));
        let Some(delta) = delta_of(&after) else { continue };
        deltas += 1;
        let (old, new, update) =
            (read(&before).unwrap(), read(&after).unwrap(), read(&delta).unwrap());
        assert_eq!(update.next_msn(), new.next_msn());
        assert_eq!(update.last(), new.last());
        let whole: Vec<Vec<&str>> = new.segments().map(|one| lines_of(&after, &one)).collect();
        let known = update.media_sequence..update.media_sequence + update.skipped;
        let joined = old.segments().filter(|one| known.contains(&one.msn));
        let joined: Vec<Vec<&str>> = joined
            .map(|one| lines_of(&before, &one))
            .chain(update.segments().map(|one| lines_of(&delta, &one)))
            .collect();
        assert_eq!(joined, whole, "{after}\nas delta:\n{delta}");
    }
    assert!(deltas > 100, "{deltas} deltas");
}
