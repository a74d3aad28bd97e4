//! Live DASH end to end: a channel with a number template, published to the real origin and watched
//! there.
#![allow(clippy::unwrap_used)]

#[path = "support/command.rs"]
mod command;
#[path = "topics/origin.rs"]
mod origin;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command::loadtest;
use loadtest::report::model::{Report, distribution};
use origin::Origin;

/// Publishes segments of a second, in two qualities and audio, for half a minute.
fn publisher(origin: &Origin) -> Child {
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["publish", &origin.url("/dash"), "--segment", "1s", "--duration", "30s", "--quiet"])
        .args(["--tracks", "v:300k,v:1200k,a:64k", "--window", "8", "--kept", "30"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the origin has `path`.
fn await_object(origin: &Origin, path: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let address = origin.url("").replace("http://", "");
    let is_there = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        status.ends_with(b"200")
    };
    while !is_there() {
        assert!(Instant::now() < deadline, "no {path} came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn completed(report: &Report, name: &str) -> u64 {
    let found = report.operations.iter().find(|operation| operation.name == name);
    found.map_or(0, |operation| operation.completed)
}

#[test]
fn viewers_follow_a_number_template_by_the_clock() {
    let origin = Origin::start("dash", 1, "");
    let mut publisher = publisher(&origin);
    await_object(&origin, "/dash/c0/v0/seg-4.m4s");
    let flags = "-n 8 --ramp 1s -d 6s --verify 1 --seed 5";
    let ended = loadtest(&format!("live {} {flags}", origin.url("/dash/c0/manifest.mpd")));
    publisher.kill().unwrap();
    publisher.wait().unwrap();
    let report = ended.report();
    let qoe = report.qoe.as_ref().unwrap();
    let counts = &qoe.counts;
    assert_eq!((counts.viewers, counts.started), (8, 8), "{}", ended.text);
    // The manifest says by its clock what there is: it is fetched once a viewer, and nothing else
    // tells of segments.
    assert_eq!((completed(report, "master"), completed(report, "playlist")), (8, 0));
    assert!(completed(report, "init") >= 16, "of video and of audio: {}", ended.text);
    // Five seconds at the least, of two tracks, eight viewers; the publisher may be slow.
    assert!(completed(report, "segment") >= 5 * 2 * 8 * 3 / 4, "{}", ended.text);
    assert!(counts.played_s > 8.0 * 5.0 * 3.0 / 4.0, "{counts:?}");
    assert!(counts.switches >= 8, "all go up: {counts:?}");
    // Every segment is what was published, and says when that was.
    assert!(counts.verified > 40 && counts.content_errors == 0, "{counts:?}");
    let seen = qoe.distributions.iter().find(|one| one.name == distribution::PUBLISH_TO_VIEW);
    assert!(seen.is_some_and(|one| one.values.count() > 0), "{}", ended.text);
    origin.stop();
}
