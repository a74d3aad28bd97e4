//! Real streams: ffmpeg pushes, ffmpeg plays, and every byte is compared with what was pushed.
//!
//! A recording proxy stands between the encoder and the origin; the player reads from the origin
//! itself while the stream runs.
#![allow(clippy::unwrap_used)]

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::recorder::Recorder;
use support::{Origin, PATIENCE, run};

/// A test picture with sound, coded in real time, one key frame a second.
const SOURCE: &[&str] = &[
    "-nostdin",
    "-v",
    "error",
    "-re",
    "-f",
    "lavfi",
    "-i",
    "testsrc2=s=320x180:r=30",
    "-f",
    "lavfi",
    "-i",
    "sine=r=48000",
];
const CODECS: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "30",
    "-keyint_min",
    "30",
    "-sc_threshold",
    "0",
    "-c:a",
    "aac",
];

/// Pushes with ffmpeg for some seconds in the background.
fn push(arguments: Vec<String>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (status, said) = run("ffmpeg", &arguments);
        assert!(status.success(), "{arguments:?}\n{said}");
    })
}

fn words(parts: &[&[&str]]) -> Vec<String> {
    parts.concat().into_iter().map(str::to_owned).collect()
}

/// Waits until an object is there and its text contains something.
#[track_caller]
fn wait_for(origin: &Origin, target: &str, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = origin.get(target);
        if answer.status == 200 && answer.text().contains(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{target} does not come: {}", answer.text());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Plays for some seconds; the player must have nothing to complain about.
#[track_caller]
fn play(origin: &Origin, target: &str, stream: &str, seconds: &str) {
    let said = try_to_play(origin, target, stream, seconds);
    assert_eq!(said, Ok(()), "{target} {stream}");
}

/// Plays DASH. ffmpeg's player asks for the segment that must begin now and never recovers when
/// the encoder, on a busy machine, is late with it: that is no fault of the origin, so try again.
#[track_caller]
fn play_dash(origin: &Origin, target: &str, stream: &str, seconds: &str) {
    let mut tries = (0..3).map(|_| try_to_play(origin, target, stream, seconds));
    assert!(tries.any(|said| said.is_ok()), "{target} {stream}: three tries failed");
}

fn try_to_play(origin: &Origin, target: &str, stream: &str, seconds: &str) -> Result<(), String> {
    let url = origin.url(target);
    let arguments = [
        "15", "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", &url, "-map", stream, "-t",
        seconds, "-f", "null", "-",
    ];
    let (status, said) = run("timeout", &arguments);
    let is_fine = status.success() && said.is_empty();
    if is_fine { Ok(()) } else { Err(format!("{status}: {said}")) }
}

/// Compares what the origin holds with what was pushed; how many objects there are and were.
#[track_caller]
fn compare(origin: &Origin, recorder: &Recorder) -> (usize, usize) {
    let (mut held, mut gone) = (0, 0);
    for (path, body) in recorder.outcome() {
        let answer = origin.get(&path);
        match body {
            Some(body) => {
                assert_eq!(answer.status, 200, "{path}");
                assert!(answer.body == body, "{path}: other bytes than were pushed");
                held += 1;
            }
            None => {
                assert_eq!(answer.status, 404, "{path} was deleted");
                gone += 1;
            }
        }
    }
    (held, gone)
}

#[test]
fn hls_with_transport_streams_and_deletes() {
    let origin = Origin::start(&["--shards", "2"]);
    let recorder = Recorder::start(origin.http);
    let url = format!("http://{}/live", recorder.address);
    let (segments, index) = (format!("{url}/seg%05d.ts"), format!("{url}/index.m3u8"));
    let output = [
        "-t",
        "9",
        "-f",
        "hls",
        "-method",
        "PUT",
        "-hls_time",
        "1",
        "-hls_list_size",
        "3",
        "-hls_flags",
        "delete_segments+independent_segments+program_date_time",
        "-http_persistent",
        "1",
        "-hls_segment_filename",
        &segments,
        &index,
    ];
    let encoder = push(words(&[SOURCE, CODECS, &output]));
    wait_for(&origin, "/live/index.m3u8", "seg00001.ts");
    play(&origin, "/live/index.m3u8", "0:v:0", "4");
    encoder.join().unwrap();
    wait_for(&origin, "/live/index.m3u8", "#EXT-X-ENDLIST");
    let (held, gone) = compare(&origin, &recorder);
    assert!(held >= 4 && gone >= 3, "{held} held, {gone} deleted");
    play(&origin, "/live/index.m3u8", "0:a:0", "2");
    origin.stop();
}

#[test]
fn hls_with_fragments_and_a_connection_per_object() {
    let origin = Origin::start(&["--shards", "2"]);
    let recorder = Recorder::start(origin.http);
    let url = format!("http://{}/l2", recorder.address);
    let (segments, index) = (format!("{url}/seg%05d.m4s"), format!("{url}/index.m3u8"));
    let output = [
        "-t",
        "7",
        "-f",
        "hls",
        "-method",
        "PUT",
        "-hls_segment_type",
        "fmp4",
        "-hls_fmp4_init_filename",
        "init.mp4",
        "-hls_time",
        "1",
        "-hls_list_size",
        "4",
        "-master_pl_name",
        "master.m3u8",
        "-hls_segment_filename",
        &segments,
        &index,
    ];
    let encoder = push(words(&[SOURCE, CODECS, &output]));
    wait_for(&origin, "/l2/index.m3u8", "seg00001.m4s");
    wait_for(&origin, "/l2/master.m3u8", "index.m3u8");
    play(&origin, "/l2/master.m3u8", "0:v:0", "3");
    encoder.join().unwrap();
    wait_for(&origin, "/l2/index.m3u8", "#EXT-X-ENDLIST");
    let (held, _) = compare(&origin, &recorder);
    assert!(held >= 8, "{held} held");
    let init = origin.get("/l2/init.mp4");
    assert_eq!(init.header("Content-Type"), Some("video/mp4"));
    assert!(!init.body.is_empty());
    origin.stop();
}

#[test]
fn low_latency_dash_is_read_while_it_arrives() {
    let origin = Origin::start(&["--shards", "2"]);
    let recorder = Recorder::start(origin.http);
    let base = format!("http://{}", recorder.address);
    let (clock, mpd) = (format!("{base}/time"), format!("{base}/d/live.mpd"));
    let output = [
        "-t",
        "9",
        "-f",
        "dash",
        "-method",
        "PUT",
        "-seg_duration",
        "2",
        "-frag_duration",
        "0.2",
        "-frag_type",
        "duration",
        "-streaming",
        "1",
        "-ldash",
        "1",
        "-use_template",
        "1",
        "-use_timeline",
        "0",
        "-window_size",
        "5",
        "-extra_window_size",
        "5",
        "-write_prft",
        "1",
        "-target_latency",
        "1",
        "-utc_timing_url",
        &clock,
        "-http_persistent",
        "1",
        "-format_options",
        "movflags=cmaf",
        "-hls_playlist",
        "1",
        &mpd,
    ];
    let encoder = push(words(&[SOURCE, CODECS, &output]));
    wait_for(&origin, "/d/live.mpd", "SegmentTemplate");
    let path = "/d/chunk-stream0-00002.m4s";
    let grown = thread::scope(|scope| {
        let reader = scope.spawn(|| read_while_growing(&origin, path));
        play_dash(&origin, "/d/live.mpd", "0:v:0", "4");
        reader.join().unwrap()
    });
    encoder.join().unwrap();
    let (held, _) = compare(&origin, &recorder);
    assert!(held >= 10, "{held} held");
    assert!(origin.get(path).body == grown, "the growing read had other bytes");
    origin.stop();
}

/// Reads a segment as soon as it begins; it must come in many pieces over most of its duration.
fn read_while_growing(origin: &Origin, path: &str) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut client = origin.client();
        let request = format!("GET {path} HTTP/1.1\r\nHost: o\r\n\r\n");
        client.send(request.as_bytes()).unwrap();
        let head = client.head().unwrap();
        if head.status == 404 {
            assert!(Instant::now() < deadline, "{path} does not come");
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        assert_eq!(head.header("Transfer-Encoding"), Some("chunked"), "{head:?}");
        assert_eq!(head.header("Content-Length"), None);
        let started = Instant::now();
        let (mut body, mut pieces) = (Vec::new(), 0);
        while let Some(piece) = client.next_chunk().unwrap() {
            body.extend_from_slice(&piece);
            pieces += 1;
        }
        let took = started.elapsed();
        assert!(pieces >= 5 && took > Duration::from_secs(1), "{pieces} pieces in {took:?}");
        return body;
    }
}

#[test]
fn three_renditions() {
    let origin = Origin::start(&["--shards", "4"]);
    let recorder = Recorder::start(origin.http);
    let url = format!("http://{}/abr", recorder.address);
    let (segments, index) = (format!("{url}/%v/seg%05d.ts"), format!("{url}/%v/index.m3u8"));
    let split = "[0:v]split=3[a][b0][c0];[b0]scale=240:136[b];[c0]scale=160:90[c]";
    let output = [
        "-filter_complex",
        split,
        "-map",
        "[a]",
        "-map",
        "[b]",
        "-map",
        "[c]",
        "-map",
        "1:a",
        "-map",
        "1:a",
        "-map",
        "1:a",
    ];
    let hls = [
        "-t",
        "8",
        "-f",
        "hls",
        "-method",
        "PUT",
        "-hls_time",
        "1",
        "-hls_list_size",
        "5",
        "-hls_flags",
        "delete_segments+independent_segments",
        "-http_persistent",
        "1",
        "-var_stream_map",
        "v:0,a:0 v:1,a:1 v:2,a:2",
        "-master_pl_name",
        "master.m3u8",
        "-hls_segment_filename",
        &segments,
        &index,
    ];
    let encoder = push(words(&[SOURCE, &output, CODECS, &hls]));
    wait_for(&origin, "/abr/2/index.m3u8", "seg00001.ts");
    wait_for(&origin, "/abr/master.m3u8", "2/index.m3u8");
    thread::scope(|scope| {
        for rendition in ["0", "1", "2"] {
            let target = format!("/abr/{rendition}/index.m3u8");
            let origin = &origin;
            scope.spawn(move || play(origin, &target, "0:v:0", "3"));
        }
    });
    encoder.join().unwrap();
    for rendition in ["0", "1", "2"] {
        wait_for(&origin, &format!("/abr/{rendition}/index.m3u8"), "#EXT-X-ENDLIST");
    }
    let (held, gone) = compare(&origin, &recorder);
    assert!(held >= 16 && gone >= 3, "{held} held, {gone} deleted");
    for (rendition, size) in [("0", "320,180"), ("1", "240,136"), ("2", "160,90")] {
        let url = origin.url(&format!("/abr/{rendition}/index.m3u8"));
        let arguments = [
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_entries",
            "stream=width,height",
            "-of",
            "csv=p=0",
            &url,
        ];
        let (status, said) = run("ffprobe", &arguments);
        assert!(status.success() && said.contains(size), "{rendition}: {said}");
    }
    origin.stop();
}
