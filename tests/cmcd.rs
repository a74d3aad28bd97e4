//! What players say of themselves: counted, logged, and without any effect on what they get.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use support::{Origin, PATIENCE, Scratch};

fn origin(folder: &Scratch, is_read: bool) -> Origin {
    let (config, log) = (folder.path("headwater.toml"), folder.path("access.log"));
    let text = format!("cmcd = {is_read}\n[access_log]\npath = \"{log}\"\nformat = \"json\"\n");
    fs::write(&config, text).unwrap();
    Origin::start(&["--config", &config, "--shards", "1"])
}

/// Waits until the log has so many lines of reads.
fn log(folder: &Scratch, lines: usize) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(folder.path("access.log")).unwrap_or_default();
        if text.matches("\"GET\"").count() >= lines {
            return text;
        }
        assert!(Instant::now() < deadline, "{text}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn lists_by_query_and_by_headers_are_counted_and_logged() {
    let folder = Scratch::new("cmcd");
    let origin = origin(&folder, true);
    origin.put("/c/1.m4s", b"media");
    let by_query = "/c/1.m4s?CMCD=bl%3D2100%2Cbr%3D3200%2Cbs%2Csid%3D%22one%22";
    let headers = ["CMCD-Object: br=800,d=4000", "cmcd-session: sid=\"two\"", "CMCD-Status: bs"];
    let answers = [
        origin.get(by_query),
        origin.request("GET", "/c/1.m4s", &headers, b""),
        origin.get("/c/1.m4s?CMCD=br%3Dmany"),
        origin.get(&format!("/c/1.m4s?CMCD={}", "a,".repeat(600))),
        origin.get("/c/1.m4s?other=1"),
    ];
    for answer in &answers {
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"media"[..]));
    }
    let text = log(&folder, 5);
    assert!(text.contains("\"cmcd\":\"bl=2100,br=3200,bs,sid=\\\"one\\\"\""), "{text}");
    assert!(text.contains("\"cmcd\":\"br=800,d=4000,sid=\\\"two\\\",bs\""), "{text}");
    for (name, count) in [
        ("headwater_cmcd_requests_total", 4.0),
        ("headwater_cmcd_malformed_total", 2.0),
        ("headwater_cmcd_starved_total", 2.0),
        ("headwater_cmcd_sessions", 2.0),
        ("headwater_cmcd_bitrate_bits_per_second_count", 2.0),
        ("headwater_cmcd_bitrate_bits_per_second_sum", 4_000_000.0),
    ] {
        let deadline = Instant::now() + PATIENCE;
        while origin.metric(name, "") != count {
            assert!(Instant::now() < deadline, "{name}: {}", origin.metric(name, ""));
            thread::sleep(Duration::from_millis(50));
        }
    }
    origin.stop();
}

#[test]
fn nothing_is_read_where_the_configuration_does_not_ask_for_it() {
    let folder = Scratch::new("cmcd-off");
    let origin = origin(&folder, false);
    origin.put("/c/1.m4s", b"media");
    assert_eq!(origin.get("/c/1.m4s?CMCD=bs").status, 200);
    assert!(!log(&folder, 1).contains("\"cmcd\""));
    assert_eq!(origin.metric("headwater_cmcd_requests_total", ""), 0.0);
    origin.stop();
}
