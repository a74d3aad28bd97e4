//! Redundant ingest: two encoders bring the same names, and readers notice nothing of it.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::access::{Guarded, bearer, wait_for};
use support::wire::{Answer, Client};
use support::{Origin, PATIENCE, pattern};

const RULES: &str = r#"
[[path]]
pattern = "first/**"
redundant = "first"
failover_ms = 1500
[[path]]
pattern = "last/**"
redundant = "last"
[[path]]
pattern = "ranked/**"
redundant = "priority"
pipelines = ["main", "spare"]
failover_ms = 60000
[[path]]
pattern = "slow/**"
redundant = "first"
failover_ms = 60000
"#;

fn start(name: &str, shards: &str) -> Guarded {
    Guarded::start(&format!("redundant-{name}-{shards}"), shards, RULES)
}

#[track_caller]
fn put(origin: &Origin, target: &str, body: &[u8]) -> String {
    origin.put(target, body).header("ETag").unwrap().to_owned()
}

/// Begins a chunked upload, and waits until its bytes so far have arrived.
#[track_caller]
fn begin(origin: &Origin, target: &str, first: &[u8]) -> Client {
    let before = origin.metric("headwater_uploads_total", "begun");
    let mut writer = origin.client();
    writer.begin_chunked(target, &[]).unwrap();
    writer.chunk(first).unwrap();
    wait_for("upload", || {
        (origin.metric("headwater_uploads_total", "begun") > before).then_some(())
    });
    writer
}

#[track_caller]
fn end(mut writer: Client) -> Answer {
    writer.chunk(b"").unwrap();
    writer.answer(false).unwrap()
}

/// A reader of an object that is arriving.
#[track_caller]
fn follow(origin: &Origin, target: &str) -> Client {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut reader = origin.client();
        reader.send(format!("GET {target} HTTP/1.1\r\nHost: o\r\n\r\n").as_bytes()).unwrap();
        if reader.head().unwrap().status == 200 {
            return reader;
        }
        assert!(Instant::now() < deadline, "{target} does not come");
    }
}

#[track_caller]
fn rest(reader: &mut Client) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

#[track_caller]
fn count(origin: &Origin, name: &str, labels: &str, wanted: f64) {
    wait_for(name, || (origin.metric(name, labels) == wanted).then_some(()));
}

#[test]
fn equal_bytes_change_nothing() {
    for shards in ["1", "4"] {
        let guarded = start("equal", shards);
        let origin = &guarded.origin;
        let mut copies = 0.0;
        for folder in 0..4 {
            let target = |pipeline: &str| format!("/last/{folder}/1.m4s?pipeline={pipeline}");
            let body = pattern(folder, 300_000);
            let tag = put(origin, &target("a"), &body);
            assert_eq!(put(origin, &target("b"), &body), tag);
            copies += 1.0;
            // What could be read while it arrived has a tag that does not name its bytes.
            let name = |pipeline: &str| format!("/last/{folder}/2.m4s?pipeline={pipeline}");
            let writer = begin(origin, &name("a"), &body);
            let stored = end(writer);
            let tag = stored.header("ETag").unwrap();
            assert_eq!(put(origin, &name("b"), &body), tag);
            let again = end(begin(origin, &name("b"), &body));
            assert_eq!(again.header("ETag").unwrap(), tag);
            copies += 2.0;
            let read = origin.get(&name("x"));
            assert!(read.body == body && read.header("ETag") == Some(tag));
        }
        count(origin, "headwater_pipeline_uploads_total", "same", copies);
        guarded.stop();
    }
}

#[test]
fn other_bytes_follow_the_policy() {
    for shards in ["1", "4"] {
        let guarded = start("policy", shards);
        let origin = &guarded.origin;
        for (folder, first, second, stays) in [
            ("first", "a", "b", "one"),
            ("last", "a", "b", "two"),
            ("ranked", "main", "spare", "one"),
            ("ranked", "spare", "main", "two"),
            ("ranked", "other", "spare", "two"),
            // The same encoder, or one that says nothing, replaces as ever.
            ("first", "a", "a", "two"),
        ] {
            let name = format!("/{folder}/{first}-{second}/1.m4s");
            let tag = put(origin, &format!("{name}?pipeline={first}"), b"one");
            let answer = origin.put(&format!("{name}?pipeline={second}"), b"two");
            let read = origin.get(&name);
            assert_eq!(read.text(), stays, "{name}");
            assert_eq!(answer.header("ETag"), read.header("ETag"), "{name}");
            assert_eq!(answer.header("ETag") == Some(&tag), stays == "one", "{name}");
            let kept = (stays == "one").then_some("other");
            assert_eq!(answer.header("Headwater-Kept"), kept, "{name}");
        }
        count(origin, "headwater_pipeline_uploads_total", "other", 2.0);
        let bad = origin.request("PUT", "/first/x.m4s?pipeline=a%20b", &[], b"x");
        assert_eq!(bad.status, 400);
        assert!(bad.text().contains("pipeline"), "{}", bad.text());
        guarded.stop();
    }
}

#[test]
fn a_segment_whose_boxes_do_not_parse_loses_to_one_whose_boxes_do() {
    let sound = b"\0\0\0\x10free12345678".as_slice();
    let cut = &sound[..12];
    let guarded = start("sound", "4");
    let origin = &guarded.origin;
    for (name, first, second) in
        [("/first/1.m4s", cut, sound), ("/last/1.m4s", sound, cut), ("/last/2.m4s", cut, sound)]
    {
        put(origin, &format!("{name}?pipeline=a"), first);
        put(origin, &format!("{name}?pipeline=b"), second);
        assert_eq!(origin.get(name).body, sound, "{name}");
    }
    // What is no MP4 is not looked into.
    put(origin, "/last/1.ts?pipeline=a", sound);
    put(origin, "/last/1.ts?pipeline=b", cut);
    assert_eq!(origin.get("/last/1.ts").body, cut);
    // What arrived in chunks, readable meanwhile, is judged at its end.
    let mut writer = begin(origin, "/first/3.m4s?pipeline=a", cut);
    writer.chunk(b"34").unwrap();
    assert_eq!(end(writer).status, 200);
    put(origin, "/first/3.m4s?pipeline=b", sound);
    assert_eq!(origin.get("/first/3.m4s").body, sound);
    guarded.stop();
}

#[test]
fn tokens_tell_encoders_apart() {
    let tokens = r#"
[[token]]
name = "studio-a"
token = "studio-a-0123456789abcdef"
publish = "**"
pipeline = "a"
[[token]]
name = "studio-b"
token = "studio-b-0123456789abcdef"
publish = "**"
pipeline = "b"
"#;
    let guarded = Guarded::start("redundant-tokens", "4", &format!("{tokens}{RULES}"));
    let origin = &guarded.origin;
    let put = |studio: &str, query: &str, body: &[u8]| {
        let line = bearer(&format!("studio-{studio}-0123456789abcdef"));
        let target = format!("/first/1.m4s{query}");
        assert_eq!(origin.request("PUT", &target, &[&line], body).status, 200);
        origin.get("/first/1.m4s").text().into_owned()
    };
    assert_eq!(put("a", "", b"one"), "one");
    assert_eq!(put("b", "", b"two"), "one");
    // The token's word goes before the query's.
    assert_eq!(put("b", "?pipeline=a", b"three"), "one");
    assert_eq!(put("a", "", b"four"), "four");
    guarded.stop();
}

#[test]
fn readers_go_on_with_an_upload_that_is_still_arriving() {
    for shards in ["1", "4"] {
        let guarded = start("takeover", shards);
        let origin = &guarded.origin;
        for folder in 0..4 {
            let target = |pipeline: &str| format!("/slow/{folder}/1.m4s?pipeline={pipeline}");
            let body = pattern(folder, 700_000);
            let main = begin(origin, &target("a"), &body[..400_000]);
            let mut reader = follow(origin, &target("x"));
            assert!(reader.chunks_of(400_000) == body[..400_000]);
            let mut spare = begin(origin, &target("b"), &body[..500_000]);
            wait_for("bytes aside", || {
                (origin.metric("headwater_pipeline_aside_bytes", "") >= 500_000.0).then_some(())
            });
            // What is aside has been received before the next thing happens.
            assert!(reader.is_silent(Duration::from_millis(50)));
            drop(main);
            assert!(reader.chunks_of(100_000) == body[400_000..500_000]);
            let mut late = follow(origin, &target("x"));
            assert!(late.chunks_of(500_000) == body[..500_000]);
            spare.chunk(&body[500_000..]).unwrap();
            let stored = end(spare);
            assert_eq!(stored.status, 200);
            assert!(rest(&mut reader) == body[500_000..] && rest(&mut late) == body[500_000..]);
            let read = origin.get(&target("x"));
            assert!(read.body == body, "{} bytes", read.body.len());
            assert_eq!(read.header("ETag"), stored.header("ETag"));
        }
        count(origin, "headwater_pipeline_takeovers_total", "", 4.0);
        count(origin, "headwater_pipeline_aside_bytes", "", 0.0);
        guarded.stop();
    }
}

#[test]
fn readers_go_on_with_an_upload_that_is_complete_or_behind() {
    for shards in ["1", "4"] {
        let guarded = start("complete", shards);
        let origin = &guarded.origin;
        for (folder, is_early) in [(0, true), (1, false), (2, true), (3, false)] {
            let target = |pipeline: &str| format!("/slow/{folder}/1.m4s?pipeline={pipeline}");
            let body = pattern(folder, 700_000);
            let main = begin(origin, &target("a"), &body[..400_000]);
            let mut reader = follow(origin, &target("x"));
            assert!(reader.chunks_of(400_000) == body[..400_000]);
            let mut spare = begin(origin, &target("b"), &body[..1000]);
            if is_early {
                spare.chunk(&body[1000..]).unwrap();
                spare.chunk(b"").unwrap();
                // It is complete, and not answered before the other one has ended.
                assert!(spare.is_silent(Duration::from_millis(100)));
                drop(main);
            } else {
                drop(main);
                assert!(reader.is_silent(Duration::from_millis(100)));
                spare.chunk(&body[1000..]).unwrap();
                spare.chunk(b"").unwrap();
            }
            assert_eq!(spare.answer(false).unwrap().status, 200);
            assert!(rest(&mut reader) == body[400_000..]);
            assert!(origin.get(&target("x")).body == body);
        }
        guarded.stop();
    }
}

#[test]
fn no_reader_gets_bytes_of_two_encoders_that_differ() {
    for shards in ["1", "4"] {
        let guarded = start("differ", shards);
        let origin = &guarded.origin;
        for folder in 0..4 {
            let target = |pipeline: &str| format!("/slow/{folder}/1.m4s?pipeline={pipeline}");
            let (ours, theirs) = (pattern(folder, 300_000), pattern(folder + 9, 300_000));
            let main = begin(origin, &target("a"), &ours[..200_000]);
            let mut reader = follow(origin, &target("x"));
            assert!(reader.chunks_of(200_000) == ours[..200_000]);
            let mut spare = begin(origin, &target("b"), &theirs[..250_000]);
            assert!(reader.is_silent(Duration::from_millis(50)));
            drop(main);
            assert!(reader.next_chunk().is_err(), "another encoder's bytes are not the rest");
            spare.chunk(&theirs[250_000..]).unwrap();
            assert_eq!(end(spare).status, 200);
            assert!(origin.get(&target("x")).body == theirs);
        }
        count(origin, "headwater_pipeline_takeovers_total", "", 0.0);
        guarded.stop();
    }
}

#[test]
fn what_is_aside_goes_when_the_first_is_complete_or_both_break_off() {
    let guarded = start("aside", "4");
    let origin = &guarded.origin;
    let body = pattern(1, 300_000);
    let mut main = begin(origin, "/slow/1.m4s?pipeline=a", &body[..200_000]);
    let spare = begin(origin, "/slow/1.m4s?pipeline=b", &body);
    main.chunk(&body[200_000..]).unwrap();
    let tag = end(main).header("ETag").unwrap().to_owned();
    assert_eq!(end(spare).header("ETag"), Some(tag.as_str()));
    let main = begin(origin, "/slow/2.m4s?pipeline=a", &body[..200_000]);
    let mut reader = follow(origin, "/slow/2.m4s");
    assert_eq!(reader.chunks_of(200_000).len(), 200_000);
    let spare = begin(origin, "/slow/2.m4s?pipeline=b", &body[..100]);
    drop(main);
    assert!(reader.is_silent(Duration::from_millis(100)));
    drop(spare);
    assert!(reader.next_chunk().is_err());
    wait_for("absence", || (origin.get("/slow/2.m4s").status == 404).then_some(()));
    count(origin, "headwater_pipeline_aside_bytes", "", 0.0);
    guarded.stop();
}

#[test]
fn an_encoder_that_hangs_is_broken_off() {
    let guarded = start("hang", "4");
    let origin = &guarded.origin;
    let body = pattern(1, 300_000);
    let _hanging = begin(origin, "/first/1.m4s?pipeline=a", &body[..100]);
    let mut reader = follow(origin, "/first/1.m4s");
    let answer = origin.put("/first/1.m4s?pipeline=b", &body);
    assert_eq!(answer.status, 200);
    assert!(reader.chunks_of(100) == body[..100] && rest(&mut reader) == body[100..]);
    assert!(origin.get("/first/1.m4s").body == body);
    guarded.stop();
}

#[test]
fn playlists_follow_the_leader_until_it_is_silent() {
    for shards in ["1", "4"] {
        let guarded = start("leader", shards);
        let origin = &guarded.origin;
        let show = |pipeline: &str, text: &str| {
            put(origin, &format!("/first/ch/v.m3u8?pipeline={pipeline}"), text.as_bytes());
            origin.get("/first/ch/v.m3u8").text().into_owned()
        };
        assert_eq!(show("a", "#EXTM3U\n#a1\n"), "#EXTM3U\n#a1\n");
        assert_eq!(show("b", "#EXTM3U\n#b1\n"), "#EXTM3U\n#a1\n");
        assert_eq!(show("a", "#EXTM3U\n#a2\n"), "#EXTM3U\n#a2\n");
        // Segments of the other one fill gaps all the same.
        put(origin, "/first/ch/1.m4s?pipeline=a", b"one");
        put(origin, "/first/ch/2.m4s?pipeline=b", b"two");
        assert_eq!(origin.get("/first/ch/2.m4s").text(), "two");
        wait_for("switch", || (show("b", "#EXTM3U\n#b2\n") == "#EXTM3U\n#b2\n").then_some(()));
        assert_eq!(show("a", "#EXTM3U\n#a3\n"), "#EXTM3U\n#b2\n");
        count(origin, "headwater_pipeline_switches_total", "", 1.0);
        // Where encoders have a rank, the first one leads whenever it is there.
        let target = |pipeline: &str| format!("/ranked/v.m3u8?pipeline={pipeline}");
        put(origin, &target("spare"), b"#EXTM3U\n#s\n");
        put(origin, &target("main"), b"#EXTM3U\n#m\n");
        put(origin, &target("spare"), b"#EXTM3U\n#s\n");
        assert_eq!(origin.get("/ranked/v.m3u8").text(), "#EXTM3U\n#m\n");
        guarded.stop();
    }
}
