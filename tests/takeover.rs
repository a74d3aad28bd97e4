//! One encoder of two breaks off: its readers go on with the other's copy, also where that has a
//! Content-Length and where the origin makes low-latency playlists. And whose copy is far too
//! short or too long loses.
#![allow(clippy::unwrap_used)]

mod support;

use std::thread;
use std::time::Duration;

use support::access::{Guarded, wait_for};
use support::wire::Client;
use support::{Origin, pattern};

const RULES: &str = r#"
[[path]]
pattern = "c/**"
ll = true
part_target_ms = 700
[[path]]
pattern = "**"
redundant = "first"
failover_ms = 60000
"#;

/// Begins an upload, in chunks or with its length, and sends the first bytes.
fn begin(origin: &Origin, target: &str, first: &[u8], length: Option<usize>) -> Client {
    let before = origin.metric("headwater_uploads_total", "begun");
    let mut writer = origin.client();
    match length {
        None => writer.begin_chunked(target, &[]).unwrap(),
        Some(length) => writer
            .send(
                format!("PUT {target} HTTP/1.1\r\nHost: o\r\nContent-Length: {length}\r\n\r\n")
                    .as_bytes(),
            )
            .unwrap(),
    }
    send(&mut writer, first, length);
    wait_for("upload", || {
        (origin.metric("headwater_uploads_total", "begun") > before).then_some(())
    });
    writer
}

fn send(writer: &mut Client, bytes: &[u8], length: Option<usize>) {
    match length {
        None => writer.chunk(bytes).unwrap(),
        Some(_) => writer.send(bytes).unwrap(),
    }
}

/// Waits until so many bytes are kept aside.
fn wait_for_aside(origin: &Origin, bytes: usize) {
    wait_for("bytes aside", || {
        (origin.metric("headwater_pipeline_aside_bytes", "") >= bytes as f64).then_some(())
    });
    // What is aside has been received before the next thing happens.
    thread::sleep(Duration::from_millis(50));
}

fn ask(origin: &Origin, target: &str, line: &str) -> Client {
    let mut reader = origin.client();
    reader.send(format!("GET {target} HTTP/1.1\r\nHost: o\r\n{line}\r\n").as_bytes()).unwrap();
    reader
}

/// A copy that had a Content-Length was not kept for readers: they were cut.
#[test]
fn a_copy_with_a_length_takes_over() {
    for shards in ["1", "4"] {
        let guarded = Guarded::start(&format!("takeover-length-{shards}"), shards, RULES);
        let origin = &guarded.origin;
        for folder in 0..4 {
            let target = |pipeline: &str| format!("/s/{folder}/1.m4s?pipeline={pipeline}");
            let body = pattern(folder, 700_000);
            let main = begin(origin, &target("a"), &body[..400_000], None);
            let mut reader = ask(origin, &target("x"), "");
            assert_eq!(reader.head().unwrap().status, 200);
            assert!(reader.chunks_of(400_000) == body[..400_000]);
            // Some are complete when the first one breaks off, some are not.
            let there = if folder % 2 == 0 { 500_000 } else { 700_000 };
            let mut spare = begin(origin, &target("b"), &body[..there], Some(body.len()));
            wait_for_aside(origin, there);
            assert!(reader.is_silent(Duration::from_millis(50)));
            drop(main);
            if there < body.len() {
                assert!(reader.chunks_of(there - 400_000) == body[400_000..there]);
                spare.send(&body[there..]).unwrap();
            }
            assert_eq!(spare.answer(false).unwrap().status, 200);
            let mut rest = Vec::new();
            while let Some(chunk) = reader.next_chunk().unwrap() {
                rest.extend_from_slice(&chunk);
            }
            assert!(body.ends_with(&rest) && rest.len() >= body.len() - there);
            assert!(origin.get(&target("x")).body == body);
        }
        wait_for("take-overs", || {
            (origin.metric("headwater_pipeline_takeovers_total", "") == 4.0).then_some(())
        });
        // One that comes alone is atomic, as ever.
        let body = pattern(9, 100_000);
        let mut alone = begin(origin, "/s/9.m4s?pipeline=b", &body[..50_000], Some(body.len()));
        assert_eq!(origin.get("/s/9.m4s").status, 404);
        alone.send(&body[50_000..]).unwrap();
        assert_eq!(alone.answer(false).unwrap().status, 200);
        assert!(origin.get("/s/9.m4s").body == body);
        guarded.stop();
    }
}

/// A segment of fragments of a fifth of a second, and its name.
fn segment(folder: &support::Scratch, number: usize) -> (String, Vec<u8>) {
    let name = format!("chunk-stream0-{number:05}.m4s");
    let body = std::fs::read(folder.path(&name)).unwrap();
    (name, body)
}

/// An encoder's playlist of the first `count` segments.
fn plain(count: usize) -> String {
    let head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:1\n\
        #EXT-X-MAP:URI=\"init-stream0.m4s\"\n";
    let entries =
        (1..=count).map(|number| format!("#EXTINF:1.0,\nchunk-stream0-{number:05}.m4s\n"));
    entries.fold(head.to_owned(), |text, entry| text + &entry)
}

/// Where the fragments of a segment begin.
fn fragments(body: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (0, Vec::new());
    while at + 8 <= body.len() {
        if &body[at + 4..at + 8] == b"moof" {
            found.push(at);
        }
        at += u32::from_be_bytes(body[at..at + 4].try_into().unwrap()) as usize;
    }
    found
}

/// Durations of the listed parts of a segment, summed up.
fn parts(playlist: &str, name: &str) -> f64 {
    playlist
        .lines()
        .filter(|line| line.starts_with("#EXT-X-PART:") && line.contains(name))
        .map(|line| line["#EXT-X-PART:DURATION=".len()..].split(',').next().unwrap())
        .map(|duration| duration.parse::<f64>().unwrap())
        .sum()
}

/// Where low-latency playlists are made the copy was not kept at all.
#[test]
fn parts_go_on_with_the_other_encoder() {
    let folder = support::made_segments("takeover-made", 7);
    for shards in ["1", "4"] {
        let guarded = Guarded::start(&format!("takeover-parts-{shards}"), shards, RULES);
        let origin = &guarded.origin;
        let init = std::fs::read(folder.path("init-stream0.m4s")).unwrap();
        origin.put("/c/init-stream0.m4s?pipeline=a", &init);
        let list = |count| origin.put("/c/v.m3u8?pipeline=a", plain(count).as_bytes());
        for number in 1..=3 {
            let (name, body) = segment(&folder, number);
            origin.put(&format!("/c/{name}?pipeline=a"), &body);
            list(number);
        }
        for (number, has_length) in [(4, false), (5, true), (6, false)] {
            let (name, body) = segment(&folder, number);
            let target = |pipeline: &str| format!("/c/{name}?pipeline={pipeline}");
            let starts = fragments(&body);
            let main = begin(origin, &target("a"), &body[..starts[2]], None);
            let mut reader = ask(origin, &target("x"), "");
            assert_eq!(reader.head().unwrap().status, 200);
            assert!(reader.chunks_of(starts[2]) == body[..starts[2]]);
            // The first part has three fragments: it is waited for.
            let mut part = ask(origin, &target("x"), "Range: bytes=0-\r\n");
            let length = has_length.then_some(body.len());
            let mut spare = begin(origin, &target("b"), &body[..starts[4]], length);
            wait_for_aside(origin, starts[4]);
            assert!(part.is_silent(Duration::from_millis(50)));
            drop(main);
            let answer = part.answer(false).unwrap();
            assert_eq!(answer.status, 206);
            assert!(answer.body == body[..starts[3]], "{} bytes", answer.body.len());
            let hinted = starts[3];
            let mut last = ask(origin, &target("x"), &format!("Range: bytes={hinted}-\r\n"));
            assert!(last.is_silent(Duration::from_millis(50)));
            send(&mut spare, &body[starts[4]..], length);
            if !has_length {
                spare.chunk(b"").unwrap();
            }
            assert_eq!(spare.answer(false).unwrap().status, 200);
            assert!(last.answer(false).unwrap().body == body[hinted..]);
            let mut rest = Vec::new();
            while let Some(chunk) = reader.next_chunk().unwrap() {
                rest.extend_from_slice(&chunk);
            }
            assert!(rest == body[starts[2]..], "{} bytes", rest.len());
            list(number);
            let made = origin.get(&format!("/c/v.m3u8?_HLS_msn={number}")).text().into_owned();
            assert!((parts(&made, &name) - 1.0).abs() < 0.001, "{made}");
        }
        guarded.stop();
    }
}

/// A segment of one fragment whose samples last so many units.
fn lasting(units: u32, filling: u8) -> Vec<u8> {
    let boxed = |name: &[u8; 4], body: &[u8]| {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes()[..], name, body].concat()
    };
    let words =
        |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_be_bytes()).collect() };
    // A default duration of samples, and one sample.
    let tfhd = boxed(b"tfhd", &words(&[0x8, 1, units]));
    let trun = boxed(b"trun", &words(&[0, 1]));
    let moof = boxed(b"moof", &boxed(b"traf", &[tfhd, trun].concat()));
    [moof, boxed(b"mdat", &[filling; 8])].concat()
}

#[test]
fn a_segment_whose_duration_is_far_off_loses_to_one_whose_is_not() {
    for shards in ["1", "4"] {
        let guarded = Guarded::start(&format!("takeover-duration-{shards}"), shards, RULES);
        let origin = &guarded.origin;
        let put = |name: &str, pipeline: &str, body: &[u8]| {
            let answer = origin.put(&format!("/s/{name}?pipeline={pipeline}"), body);
            assert_eq!(answer.status, 200, "{name}");
        };
        for (padded, name) in [(true, "p"), (false, "n")] {
            let name = |number: usize| match padded {
                true => format!("{name}{number:05}.m4s"),
                false => format!("{name}{number}.m4s"),
            };
            let good = lasting(90_000, 1);
            // The first of all has nothing to be compared with: the policy decides.
            put(&name(8), "a", &lasting(20_000, 0));
            put(&name(8), "b", &good);
            assert!(origin.get(&format!("/s/{}", name(8))).body == lasting(20_000, 0));
            origin.request("DELETE", &format!("/s/{}", name(8)), &[], b"");
            for number in 8..=10 {
                put(&name(number), "a", &good);
            }
            for (number, first, second, stays) in [
                (11, 20_000, 90_000, 90_000),
                (12, 90_000, 20_000, 90_000),
                (13, 200_000, 90_000, 90_000),
                // Not far off: the first one stays. So it does where both are.
                (14, 60_000, 90_000, 60_000),
                (15, 1_000, 2_000, 1_000),
            ] {
                put(&name(number), "a", &lasting(first, 2));
                put(&name(number), "b", &lasting(second, 3));
                let filling = if stays == first { 2 } else { 3 };
                let read = origin.get(&format!("/s/{}", name(number))).body;
                assert!(read == lasting(stays, filling), "{} {first} {second}", name(number));
            }
        }
        // What arrived in chunks is judged at its end.
        let body = lasting(20_000, 4);
        let mut writer = begin(origin, "/s/p00016.m4s?pipeline=a", &body, None);
        writer.chunk(b"").unwrap();
        assert_eq!(writer.answer(false).unwrap().status, 200);
        put("p00016.m4s", "b", &lasting(90_000, 5));
        assert!(origin.get("/s/p00016.m4s").body == lasting(90_000, 5));
        guarded.stop();
    }
}
