//! Multivariant playlists with `whole_ladder`: an error while a rendition is missing or stale.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{Origin, PATIENCE};

const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n";
const ENDED: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n";

fn origin(name: &str, shards: &str) -> Origin {
    let folder = std::env::temp_dir().join(format!("headwater-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("headwater.toml");
    let rules = "[[path]]\npattern = \"live/**\"\nwhole_ladder = true\n\
        [[path]]\npattern = \"live/fast/**\"\nstale_after_ms = 2500\n";
    std::fs::write(&config, rules).unwrap();
    Origin::start(&["--shards", shards, "--config", config.to_str().unwrap()])
}

/// A multivariant playlist of these media playlists.
fn multivariant(names: &[&str]) -> String {
    let one = |name: &&str| format!("#EXT-X-STREAM-INF:BANDWIDTH=1\n{name}\n");
    format!("#EXTM3U\n{}", names.iter().map(one).collect::<String>())
}

/// Waits for an answer with a status; further ones of the same kind must follow it.
fn wait_for_status(origin: &Origin, path: &str, wanted: u16) {
    let deadline = Instant::now() + PATIENCE;
    let mut client = origin.client();
    loop {
        let answer = client.request("GET", path, &[], b"").unwrap();
        if answer.status == wanted {
            if wanted == 503 {
                assert_eq!(answer.header("Retry-After"), Some("1"));
                assert!(answer.header("Cache-Control").is_some(), "errors have an age");
                assert!(answer.text().contains("missing or stale"), "{}", answer.text());
            }
            return;
        }
        assert!([200, 503].contains(&answer.status), "{path}: {}", answer.status);
        assert!(Instant::now() < deadline, "{path}: {wanted} does not come");
        thread::sleep(Duration::from_millis(10));
    }
}

fn wait_for_gauge(origin: &Origin, wanted: f64) {
    let deadline = Instant::now() + PATIENCE;
    while (origin.metric("headwater_incomplete_ladders", "") - wanted).abs() > 0.5 {
        assert!(Instant::now() < deadline, "{wanted} ladders do not show in the metric");
        thread::sleep(Duration::from_millis(50));
    }
}

fn delete(origin: &Origin, path: &str) {
    let answer = origin.client().request("DELETE", path, &[], b"").unwrap();
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.status);
}

/// Renditions in folders of their own, so that several shards own them.
///
/// A shard that had found one rendition missing said nothing when another took its place before it
/// looked again: the log named `audio`, long there, and never `720/i`.
#[test]
fn a_missing_rendition_fails_the_ladder_until_it_is_there() {
    let origin = origin("ladder", "4");
    let names = ["1080/i.m3u8", "720/i.m3u8?token=x", "../ch/audio.m3u8", "https://b/c.m3u8"];
    origin.put("/live/ch/master.m3u8", multivariant(&names).as_bytes());
    wait_for_status(&origin, "/live/ch/master.m3u8", 503);
    for member in ["1080/i", "720/i", "audio"] {
        let answer = origin.get("/live/ch/master.m3u8");
        assert_eq!(answer.status, 503, "before {member}");
        origin.put(&format!("/live/ch/{member}.m3u8"), LIVE.as_bytes());
    }
    for path in ["/live/ch/master.m3u8", "/live/ch/master.m3u8?_HLS_msn=1"] {
        wait_for_status(&origin, path, 200);
    }
    delete(&origin, "/live/ch/720/i.m3u8");
    wait_for_status(&origin, "/live/ch/master.m3u8", 503);
    origin.wait_for_log("misses a rendition");
    origin.wait_for_log("live/ch/720/i.m3u8");
    wait_for_status(&origin, "/live/ch/master.m3u8?_HLS_msn=1", 503);
    // Another shard may have looked up to 50 ms ago.
    let head = || origin.client().request("HEAD", "/live/ch/master.m3u8", &[], b"").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while head().status != 503 {
        assert!(Instant::now() < deadline, "HEAD does not fail");
        thread::sleep(Duration::from_millis(10));
    }
    // Its own renditions are served all the while.
    assert_eq!(origin.get("/live/ch/1080/i.m3u8").status, 200);
    assert!(origin.metric("headwater_incomplete_answers_total", "") >= 4.0);
    origin.put("/live/ch/720/i.m3u8", LIVE.as_bytes());
    // Nobody asks for it meanwhile: the gauge recovers by itself.
    wait_for_gauge(&origin, 0.0);
    origin.wait_for_log("whole again");
    // The shards' figures are not of one instant: another may have looked up to 50 ms ago.
    wait_for_status(&origin, "/live/ch/master.m3u8", 200);
    origin.stop();
}

#[test]
fn a_stale_rendition_fails_the_ladder_and_an_ended_one_does_not() {
    let origin = origin("ladder-stale", "2");
    let path = "/live/fast/master.m3u8";
    origin.put("/live/fast/vod.m3u8", ENDED.as_bytes());
    origin.put("/live/fast/a/v.m3u8", LIVE.as_bytes());
    origin.put(path, multivariant(&["vod.m3u8", "a/v.m3u8"]).as_bytes());
    wait_for_status(&origin, path, 200);
    wait_for_status(&origin, path, 503);
    origin.wait_for_log("has a stale rendition");
    let deadline = Instant::now() + PATIENCE;
    while origin.metric("headwater_incomplete_ladders", "") < 1.0 {
        assert!(Instant::now() < deadline, "it does not show in the metric");
        thread::sleep(Duration::from_millis(50));
    }
    origin.put("/live/fast/a/v.m3u8", LIVE.as_bytes());
    wait_for_status(&origin, path, 200);
    // One that goes is forgotten.
    wait_for_status(&origin, path, 503);
    delete(&origin, path);
    wait_for_gauge(&origin, 0.0);
    origin.stop();
}

#[test]
fn without_the_policy_nobody_looks() {
    let origin = origin("ladder-off", "2");
    origin.put("/other/master.m3u8", multivariant(&["v.m3u8"]).as_bytes());
    assert_eq!(origin.get("/other/master.m3u8").status, 200);
    // Media playlists, MPDs and garbage name no renditions.
    for (path, text) in [("/live/v.m3u8", LIVE), ("/live/x.m3u8", "?"), ("/live/x.mpd", "<MPD/>")] {
        origin.put(path, text.as_bytes());
        assert_eq!(origin.get(path).status, 200, "{path}");
    }
    assert!(origin.metric("headwater_incomplete_answers_total", "") < 1.0);
    origin.stop();
}

/// A stock encoder of one rendition.
fn encoder(origin: &Origin, rendition: usize) -> Child {
    let words = "-nostdin -v error -re -f lavfi -i testsrc2=s=160x90:r=25 -c:v libx264 \
        -preset ultrafast -tune zerolatency -g 25 -keyint_min 25 -sc_threshold 0 -f hls \
        -method PUT -hls_time 1 -hls_list_size 5 -http_persistent 1";
    let segments = origin.url(&format!("/live/fast/real/{rendition}/%d.ts"));
    let playlist = origin.url(&format!("/live/fast/real/{rendition}/index.m3u8"));
    Command::new("ffmpeg")
        .args(words.split_ascii_whitespace())
        .args(["-hls_segment_filename", &segments, &playlist])
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn end(mut encoder: Child) {
    encoder.kill().unwrap();
    encoder.wait().unwrap();
}

#[test]
fn one_stopped_encoder_of_three_fails_the_ladder_until_it_is_back() {
    let origin = origin("ladder-real", "2");
    let path = "/live/fast/real/master.m3u8";
    let names = ["0/index.m3u8", "1/index.m3u8", "2/index.m3u8"];
    origin.put(path, multivariant(&names).as_bytes());
    let mut encoders: Vec<Child> = (0..3).map(|rendition| encoder(&origin, rendition)).collect();
    wait_for_status(&origin, path, 200);
    end(encoders.remove(1));
    wait_for_status(&origin, path, 503);
    encoders.push(encoder(&origin, 1));
    wait_for_status(&origin, path, 200);
    encoders.into_iter().for_each(end);
    origin.stop();
}
