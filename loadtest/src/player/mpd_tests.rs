//! MPDs as packagers write them, and the segments that they imply.

use super::*;

const LIVE: &str = r#"<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic"
  availabilityStartTime="2026-10-01T12:00:00Z" minimumUpdatePeriod="PT10S"
  timeShiftBufferDepth="PT12S" suggestedPresentationDelay="PT6S">
 <Period id="0" start="PT2S">
  <AdaptationSet mimeType="audio/mp4">
   <SegmentTemplate timescale="1000" duration="2000" startNumber="5"
     initialization="$RepresentationID$/i.mp4" media="$RepresentationID$/$Number%05d$.m4s"/>
   <Representation id="a" bandwidth="64000"/>
  </AdaptationSet>
  <AdaptationSet contentType="video">
   <SegmentTemplate timescale="1000" duration="2000" startNumber="5"
     initialization="i-$Bandwidth$.mp4" media="v/$RepresentationID$/$Number$.m4s?a&amp;b"/>
   <Representation id="hi" bandwidth="2000000"/>
   <Representation id="lo" bandwidth="400000"/>
  </AdaptationSet>
 </Period>
</MPD>"#;

#[test]
fn a_live_template_implies_segments_by_the_clock() {
    let mpd = read(LIVE, "/ch/manifest.mpd").unwrap();
    assert_eq!(mpd.update, Some(10.0));
    let ladder = mpd.ladder();
    let brief: Vec<_> = ladder.variants.iter().map(|v| (v.bandwidth, &*v.uri, v.audio)).collect();
    assert_eq!(brief, [(400_000, "#0", Some(0)), (2_000_000, "#1", Some(0))]);
    assert_eq!(ladder.audio, ["#2".into()]);
    // The period began at 12:00:02; 21 s later ten segments are whole, six lie in the window.
    let start = date::seconds("2026-10-01T12:00:02Z").unwrap();
    let Implied { list, next_at } = mpd.implied("#0", start + 21.0).unwrap();
    assert_eq!((list.first, list.segments.len(), list.target, list.ended), (9, 6, 2.0, false));
    assert_eq!(&*list.segments[5].uri, "/ch/v/lo/14.m4s?a&b");
    assert_eq!(list.segments[0].date, Some(start + 8.0));
    assert_eq!(&*list.maps[0].uri, "/ch/i-400000.mp4");
    assert_eq!(list.target_latency(true), 6.0);
    assert_eq!(next_at, Some(start + 22.0));
    let audio = mpd.implied("#2", start + 21.0).unwrap().list;
    assert_eq!(&*audio.segments[5].uri, "/ch/a/00014.m4s");
    let early = mpd.implied("#0", start - 5.0).unwrap().list;
    assert!(early.segments.is_empty());
}

#[test]
fn a_whole_presentation_ends_and_a_timeline_is_followed() {
    let text = r#"<MPD type="static" mediaPresentationDuration="PT1M1.5S"><Period><AdaptationSet>
        <SegmentTemplate duration="10" media="$Number$.m4s"/><Representation id="v" bandwidth="1"/>
        </AdaptationSet></Period></MPD>"#;
    let list = read(text, "/m.mpd").unwrap().implied("#0", 0.0).unwrap().list;
    assert_eq!((list.first, list.segments.len(), list.ended), (1, 7, true));
    assert_eq!(list.segments[6].duration, 1.5);
    let text = r#"<MPD type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z"><Period>
        <AdaptationSet><SegmentTemplate timescale="10" media="$Time$.m4s"><SegmentTimeline>
        <S t="200" d="20" r="2"/><S d="10"/></SegmentTimeline></SegmentTemplate>
        <Representation id="v" bandwidth="1"><BaseURL>x/</BaseURL></Representation>
        </AdaptationSet></Period></MPD>"#;
    let Implied { list, next_at } = read(text, "/m.mpd").unwrap().implied("#0", 0.0).unwrap();
    let uris: Vec<&str> = list.segments.iter().map(|segment| &*segment.uri).collect();
    assert_eq!(uris, ["/x/200.m4s", "/x/220.m4s", "/x/240.m4s", "/x/260.m4s"]);
    assert_eq!((list.first, list.target, next_at), (10, 2.0, None));
}

#[test]
fn mistakes_are_named() {
    let wrong = |text: &str| read(text, "/m").unwrap_err().to_string();
    assert_eq!(wrong("<MPD></MPD>"), "playlist: the MPD names no Representation");
    assert!(wrong("<MPD type=\"dynamic\"></MPD>").contains("no availabilityStartTime"));
    assert!(wrong("<MPD minimumUpdatePeriod=\"5\"/>").contains("no ISO 8601 duration"));
    assert!(wrong("<MPD><Period></MPD>").contains("no XML"));
    let text = "<MPD><Period><AdaptationSet><Representation id=\"v\" bandwidth=\"1\"/>\
        </AdaptationSet></Period></MPD>";
    assert!(wrong(text).contains("`v` has no SegmentTemplate"));
    assert_eq!(duration("P1DT2H3M4.5S"), Some(93_784.5));
    assert_eq!((duration("PT"), duration("5S"), duration("PT5X")), (Some(0.0), None, None));
    assert!(is_mpd("<?xml version=\"1.0\"?>\n<MPD/>") && !is_mpd("#EXTM3U"));
}
