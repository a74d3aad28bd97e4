//! Manifests that nobody renews: an error within `stale_after_ms`, and good again with the next.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{Origin, PATIENCE};

const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n";
const ENDED: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n";
const MASTER: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
const DYNAMIC: &str = "<?xml version=\"1.0\"?><MPD type=\"dynamic\" minimumUpdatePeriod=\"PT1S\"/>";
const STATIC: &str = "<?xml version=\"1.0\"?><MPD type=\"static\"/>";

fn origin(name: &str) -> Origin {
    let folder = std::env::temp_dir().join(format!("headwater-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("headwater.toml");
    let rules = "[[path]]\npattern = \"auto/**\"\nstale_after_ms = \"auto\"\n\
        [[path]]\npattern = \"live/**\"\nstale_after_ms = 700\n";
    std::fs::write(&config, rules).unwrap();
    Origin::start(&["--shards", "2", "--config", config.to_str().unwrap()])
}

/// How long after its upload a manifest is first answered with an error.
fn turns_stale_after(origin: &Origin, path: &str, text: &str) -> Duration {
    origin.put(path, text.as_bytes());
    let stored = Instant::now();
    let mut client = origin.client();
    loop {
        let asked = stored.elapsed();
        let answer = client.request("GET", path, &[], b"").unwrap();
        if answer.status == 503 {
            assert_eq!(answer.header("Retry-After"), Some("1"), "{path}");
            assert!(answer.header("Cache-Control").is_some() && answer.text().contains("stopped"));
            return asked;
        }
        assert_eq!(answer.status, 200, "{path}");
        assert!(asked < Duration::from_secs(5), "{path} is never stale");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_manifest_that_is_not_renewed_turns_into_an_error_in_time() {
    let origin = origin("stale");
    for (path, text, after_ms) in [
        ("/live/a/index.m3u8", LIVE, 700),
        ("/live/b/live.mpd", DYNAMIC, 700),
        ("/auto/c/index.m3u8", LIVE, 1500),
        ("/auto/d/live.mpd", DYNAMIC, 1500),
    ] {
        let turned = turns_stale_after(&origin, path, text);
        let after = Duration::from_millis(after_ms);
        let slack = Duration::from_millis(100);
        assert!(turned + slack > after && turned < after + slack * 10, "{path}: {turned:?}");
        // The first good manifest is served again, and becomes stale again.
        let again = turns_stale_after(&origin, path, &format!("{text}\n"));
        assert!(again + slack > after, "{path}: {again:?}");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while origin.metric("headwater_stale_manifests", "") < 4.0 {
        assert!(Instant::now() < deadline, "stale manifests do not show in the metrics");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(origin.metric("headwater_stale_answers_total", "") >= 8.0);
    let reload = origin.get("/live/a/index.m3u8?_HLS_msn=1");
    assert_eq!(reload.status, 503, "{}", reload.text());
    // A reader of another shard may have found it renewed: this one hears of it a little later.
    origin.put("/live/a/index.m3u8", LIVE.as_bytes());
    origin.wait_for_log("renewed again");
    origin.wait_for_log("is stale");
    origin.stop();
}

#[test]
fn what_is_not_live_stays() {
    let origin = origin("stale-not");
    let objects = [
        ("/live/ended.m3u8", ENDED),
        ("/live/master.m3u8", MASTER),
        ("/live/static.mpd", STATIC),
        ("/live/a.ts", LIVE),
        ("/other/index.m3u8", LIVE),
    ];
    for (path, text) in objects {
        origin.put(path, text.as_bytes());
    }
    thread::sleep(Duration::from_millis(900));
    for (path, _) in objects {
        assert_eq!(origin.get(path).status, 200, "{path}");
    }
    origin.stop();
}

/// A stock encoder: segments and a playlist of one second, in real time.
fn encoder(origin: &Origin) -> Child {
    let words = "-nostdin -v error -re -f lavfi -i testsrc2=s=160x90:r=25 -c:v libx264 \
        -preset ultrafast -tune zerolatency -g 25 -keyint_min 25 -sc_threshold 0 -f hls \
        -method PUT -hls_time 1 -hls_list_size 5 -http_persistent 1";
    let (segments, playlist) = ("/auto/real/%d.ts", "/auto/real/index.m3u8");
    Command::new("ffmpeg")
        .args(words.split_ascii_whitespace())
        .args(["-hls_segment_filename", &origin.url(segments), &origin.url(playlist)])
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Waits for an answer with a status, and says which answers came before it.
fn wait_for_status(origin: &Origin, wanted: u16) -> Vec<u16> {
    let deadline = Instant::now() + PATIENCE;
    let mut client = origin.client();
    let mut before = Vec::new();
    loop {
        let status = client.request("GET", "/auto/real/index.m3u8", &[], b"").unwrap().status;
        if status == wanted {
            return before;
        }
        before.push(status);
        assert!(Instant::now() < deadline, "{wanted} does not come, but {status}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_encoder_turns_its_playlist_into_an_error_until_it_is_back() {
    let origin = origin("stale-real");
    let mut first = encoder(&origin);
    wait_for_status(&origin, 200);
    // Long enough for several renewals: an encoder at work is never called stale for long.
    thread::sleep(Duration::from_secs(4));
    first.kill().unwrap();
    first.wait().unwrap();
    let killed = Instant::now();
    let before = wait_for_status(&origin, 503);
    // From the last renewal 1.5 target durations, of a second each: not at once, and not late.
    assert!(before.iter().all(|status| *status == 200), "{before:?}");
    println!("stale {:?} after the kill", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    let mut second = encoder(&origin);
    let before = wait_for_status(&origin, 200);
    assert!(before.iter().all(|status| *status == 503), "{before:?}");
    second.kill().unwrap();
    second.wait().unwrap();
    origin.wait_for_log("renewed again");
    origin.stop();
}
