//! Media playlists as origins write them: what a player must understand, and what it must refuse.

use super::*;

const PLAIN: &str = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n\
    #EXT-X-MEDIA-SEQUENCE:100\n#EXT-X-MAP:URI=\"init.mp4\"\n\
    #EXTINF:4.0,\ns100.m4s\n#EXT-X-PROGRAM-DATE-TIME:2026-10-01T12:00:04Z\n#EXTINF:3.5,\n\
    s101.m4s\n#EXT-X-GAP\n#EXTINF:4,\ns102.m4s\n";

#[test]
fn a_plain_live_window_is_read() {
    let list = read(PLAIN, "/ch/video/index.m3u8").unwrap();
    assert_eq!((list.first, list.target, list.ended), (100, 4.0, false));
    assert_eq!((list.next_segment(), list.newest()), (103, (102, None)));
    let offsets: Vec<f64> = list.segments.iter().map(|segment| segment.offset).collect();
    assert_eq!(offsets, [0.0, 4.0, 7.5]);
    assert_eq!(list.span(), 11.5);
    assert_eq!(&*list.segment(101).unwrap().uri, "/ch/video/s101.m4s");
    let dates: Vec<f64> = list.segments.iter().map(|segment| segment.date.unwrap()).collect();
    let noon = 1_790_856_000.0;
    assert_eq!(dates, [noon, noon + 4.0, noon + 7.5]);
    assert_eq!(list.maps.len(), 1);
    assert!(list.segment(102).unwrap().gap);
    assert!(list.segment(99).is_none() && list.segment(103).is_none());
    assert_eq!(list.target_latency(true), 12.0);
}

const LOW_LATENCY: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,PART-HOLD-BACK=1.5,HOLD-BACK=6\n\
    #EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2,\n7.m4s\n\
    #EXT-X-PART:DURATION=0.5,URI=\"8.m4s\",INDEPENDENT=YES,BYTERANGE=\"100@0\"\n\
    #EXT-X-PART:DURATION=0.5,URI=\"8.m4s\",BYTERANGE=\"50\"\n\
    #EXT-X-PART:DURATION=0.5,URI=\"8.2.m4s\"\n#EXT-X-PART:DURATION=0.5,URI=\"8.3.m4s\"\n\
    #EXTINF:2,\n8.m4s\n#EXT-X-PART:DURATION=0.5,URI=\"9.0.m4s\",INDEPENDENT=YES\n\
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.1.m4s\"\n\
    #EXT-X-RENDITION-REPORT:URI=\"../low/i.m3u8\",LAST-MSN=9,LAST-PART=0\n";

#[test]
fn parts_hints_and_reports_are_read() {
    let list = read(LOW_LATENCY, "/ch/high/i.m3u8").unwrap();
    assert!(list.can_block);
    assert_eq!((list.part_target, list.can_skip_until), (Some(0.5), Some(12.0)));
    assert_eq!((list.target_latency(true), list.target_latency(false)), (1.5, 6.0));
    let eight = list.segment(8).unwrap();
    let bytes: Vec<_> = eight.parts.iter().map(|part| part.bytes).collect();
    assert_eq!(bytes, [Some((0, 100)), Some((100, 50)), None, None]);
    let nine = list.incomplete().unwrap();
    assert_eq!((nine.duration, nine.offset), (0.5, 4.0));
    assert!(nine.parts[0].independent);
    assert_eq!((list.next_segment(), list.newest()), (9, (9, Some(0))));
    assert_eq!(list.hint.as_deref(), Some("/ch/high/9.1.m4s"));
    let report = &list.reports[0];
    assert_eq!((&*report.uri, report.msn, report.part), ("/ch/low/i.m3u8", 9, Some(0)));
}

#[test]
fn a_delta_update_is_completed_by_the_one_before() {
    let before = read(PLAIN, "/a").unwrap();
    let delta = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:101\n\
        #EXT-X-SKIP:SKIPPED-SEGMENTS=2\n#EXTINF:4,\ns103.m4s\n";
    let delta = read(delta, "/a").unwrap();
    assert_eq!((delta.skipped, delta.next_segment()), (2, 104));
    let whole = delta.clone().merged(&before).unwrap();
    assert_eq!((whole.first, whole.skipped, whole.segments.len()), (101, 0, 3));
    assert_eq!(&*whole.segment(103).unwrap().uri, "/s103.m4s");
    assert_eq!(whole.segment(103).unwrap().offset, 7.5);
    assert_eq!(whole.segment(103).unwrap().map, Some(0));
    let far = MediaPlaylist { first: 200, ..before.clone() };
    assert!(delta.clone().merged(&far).is_none());
    let short = MediaPlaylist { segments: before.segments[..2].to_vec(), ..before };
    assert!(delta.merged(&short).is_none());
}

#[test]
fn mistakes_are_named_with_their_line() {
    let wrong = |body: &str| {
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{body}\n");
        read(&text, "/a").unwrap_err().to_string()
    };
    for (body, expected) in [
        ("s.ts", "playlist, line 3: a URI without #EXTINF before it"),
        ("#EXTINF:x,\ns.ts", "playlist, line 3: `x` of #EXTINF is no number of seconds"),
        ("#EXTINF:inf,\ns.ts", "playlist, line 3: `inf` of #EXTINF is no number of seconds"),
        (
            "#EXT-X-MEDIA-SEQUENCE:-1",
            "playlist, line 3: `-1` of #EXT-X-MEDIA-SEQUENCE is no whole number",
        ),
        (
            "#EXT-X-MEDIA-SEQUENCE:18446744073709551615",
            "playlist: its sequence numbers are too large",
        ),
        ("#EXT-X-BYTERANGE:5@x", "playlist, line 3: `5@x` is no byte range"),
        ("#EXT-X-PART:DURATION=1", "playlist, line 3: a part without URI"),
        ("#EXT-X-PROGRAM-DATE-TIME:now", "playlist, line 3: `now` is no ISO 8601 date"),
    ] {
        assert_eq!(wrong(body), expected);
    }
    assert_eq!(
        read("#EXTM3U\n", "/a").unwrap_err().to_string(),
        "playlist: no #EXT-X-TARGETDURATION"
    );
}

/// Bytes of a good playlist, changed at random: reading ends, in a value or in a sentence.
#[test]
fn damaged_playlists_never_panic() {
    let mut random = crate::report::random::Random::new(7);
    for _ in 0..20_000 {
        let mut bytes = LOW_LATENCY.as_bytes().to_vec();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = b"0123456789@:,=\"#\n-."[random.below(19)],
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(8)),
            }
        }
        if let Ok(list) = read(&String::from_utf8_lossy(&bytes), "/x/y") {
            let _ = (list.newest(), list.progress(), list.span());
        }
    }
}
