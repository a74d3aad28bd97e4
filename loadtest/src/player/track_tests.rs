//! How playlists are laid on a viewer's timeline, and what comes next.

use super::*;
use crate::player::read_media::read;

fn live(first: u64, count: u64, extra: &str) -> Rc<MediaPlaylist> {
    let mut text =
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n{extra}");
    for msn in first..first + count {
        text.push_str(&format!("#EXTINF:4,\n{msn}.ts\n"));
    }
    Rc::new(read(&text, "/c/i.m3u8").unwrap())
}

fn at(list: Rc<MediaPlaylist>) -> Track {
    let mut track = Track::default();
    track.place(list, 0);
    track
}

#[test]
fn a_window_that_slides_keeps_its_place() {
    let mut track = at(live(10, 5, ""));
    assert_eq!(track.edge(), 20.0);
    track.place(live(12, 5, ""), 0);
    assert_eq!((track.origin, track.edge()), (8.0, 28.0));
    // Nothing in common: 17 to 19 were missed.
    track.place(live(20, 5, ""), 0);
    assert_eq!(track.origin, 8.0 + 20.0 + 3.0 * 4.0);
    // An older one.
    track.place(live(19, 2, ""), 0);
    assert_eq!(track.origin, 36.0);
}

#[test]
fn another_rendition_is_placed_by_its_dates() {
    let mut track = at(live(10, 5, "#EXT-X-PROGRAM-DATE-TIME:2026-10-01T12:00:00Z\n"));
    track.seek(8.0, false);
    assert_eq!(track.next, Some((12, 0)));
    track.place(live(210, 5, "#EXT-X-PROGRAM-DATE-TIME:2026-10-01T12:00:04Z\n"), 1);
    assert_eq!(track.origin, 4.0);
    assert_eq!(track.next, None, "numbers of another rendition mean nothing");
    track.seek(8.0, false);
    assert_eq!(track.next, Some((211, 0)));
}

#[test]
fn positions_are_found_with_tolerance() {
    let track = at(live(10, 5, ""));
    for (position, msn) in [(0.0, 10), (3.7, 10), (3.8, 11), (8.0, 12), (-5.0, 10), (19.9, 14)] {
        assert_eq!(track.segment_at(position).map(|(msn, _)| msn), Some(msn), "{position}");
    }
    assert!(track.segment_at(20.1).is_none());
}

#[test]
fn segments_follow_each_other_to_the_end() {
    let mut track = at(live(10, 2, "#EXT-X-ENDLIST\n"));
    track.seek(4.0, false);
    let Wanted::Media(media) = track.wanted(false) else { panic!() };
    assert_eq!((&*media.uri, media.msn, media.end), ("/c/11.ts", 11, 8.0));
    track.loaded(11, None, 8.0);
    assert_eq!(track.wanted(false), Wanted::Over);
    track.next = Some((9, 0));
    assert_eq!(track.wanted(false), Wanted::Gone);
}

#[test]
fn parts_are_loaded_one_by_one_and_end_with_their_segment() {
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=1\n\
        #EXT-X-MAP:URI=\"i\"\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2,\n7\n\
        #EXT-X-PART:DURATION=1,URI=\"8.0\",INDEPENDENT=YES\n";
    let more = format!("{head}#EXT-X-PART:DURATION=1,URI=\"8.1\"\n");
    let whole = format!("{more}#EXTINF:2,\n8\n");
    let list = |text: &str| Rc::new(read(text, "/").unwrap());
    let mut track = at(list(head));
    track.seek(2.5, true);
    assert_eq!((track.next, track.end), (Some((8, 0)), 2.0));
    assert_eq!(track.wanted(true), Wanted::Map(0));
    track.keep(Header::new(0, &track.list.as_ref().unwrap().maps[0]));
    let Wanted::Media(media) = track.wanted(true) else { panic!() };
    assert_eq!((&*media.uri, media.part, media.end), ("/8.0", Some(0), 3.0));
    track.loaded(8, Some(0), 3.0);
    assert_eq!(track.wanted(true), Wanted::Wait);
    track.place(list(&more), 0);
    let Wanted::Media(media) = track.wanted(true) else { panic!() };
    assert_eq!((&*media.uri, media.end), ("/8.1", 4.0));
    track.loaded(8, Some(1), 4.0);
    assert_eq!(track.next, Some((8, 2)), "the segment may get more parts");
    track.place(list(&whole), 0);
    track.settle();
    assert_eq!(track.next, Some((9, 0)));
    // Without parts the whole segment waits until it is complete.
    let mut plain = at(list(&more));
    plain.headers = track.headers;
    plain.next = Some((8, 0));
    assert_eq!(plain.wanted(false), Wanted::Wait);
}
