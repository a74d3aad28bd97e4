//! What is likely to be asked for next is in memory before it is: its file may be gone by then.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::path::Path;

use support::{Origin, Scratch, eventually, pattern, signal};

/// An origin before a library.
struct Stage {
    origin: Origin,
    scratch: Scratch,
}

impl Stage {
    /// With these files, each with bytes of its own, so many.
    fn start(name: &str, flags: &[&str], config: &str, files: &[(&str, usize)]) -> Self {
        let scratch = Scratch::new(name);
        let (root, file) = (scratch.path("library"), scratch.path("headwater.toml"));
        files.iter().for_each(|(key, size)| lay(&root, key, *size));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(&file, config).unwrap();
        let flags = [&["--config", file.as_str(), "--library", root.as_str()], flags].concat();
        Self { origin: Origin::start(&flags), scratch }
    }

    fn count(&self, outcome: &str) -> u64 {
        let labels = format!("outcome=\"{outcome}\"");
        self.origin.metric("headwater_prefetches_total", &labels) as u64
    }

    /// Waits until so many had that outcome.
    #[track_caller]
    fn expect(&self, outcome: &str, count: u64) {
        eventually(&format!("not {count} were {outcome}"), || self.count(outcome) == count);
    }

    /// Waits until so many bytes were read from disk.
    #[track_caller]
    fn expect_read(&self, bytes: usize) {
        let read = || self.origin.metric("headwater_disk_bytes_total", "way=\"read\"");
        eventually("the bytes are not read", || read() == bytes as f64);
    }

    fn remove(&self, key: &str) {
        std::fs::remove_file(self.scratch.path(&format!("library/{key}"))).unwrap();
    }

    #[track_caller]
    fn expect_body(&self, target: &str, key: &str, size: usize) {
        let answer = self.origin.get(target);
        assert!(answer.status == 200, "{target}: {}", answer.text());
        assert!(answer.body == body(key, size), "{target}: other bytes");
    }
}

fn body(key: &str, size: usize) -> Vec<u8> {
    pattern(key.bytes().map(u64::from).sum(), size)
}

fn lay(root: &str, key: &str, size: usize) {
    let path = Path::new(root).join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, body(key, size)).unwrap();
}

#[test]
fn whoever_goes_through_a_title_waits_for_its_first_segment_only() {
    for (shards, size) in [("1", 20_000), ("4", 300_000)] {
        let key = |number: usize| format!("vod/a/chunk-stream0-{number:05}.m4s");
        let keys: Vec<_> = (8..12).map(key).collect();
        let files: Vec<_> = keys.iter().map(|key| (key.as_str(), size)).collect();
        let stage = Stage::start("prefetch-title", &["--shards", shards], "", &files);
        for (step, key) in keys.iter().enumerate() {
            stage.expect_body(&format!("/{key}"), key, size);
            let ahead = (step + 2).min(keys.len());
            stage.expect_read(ahead * size);
            stage.expect("used", step as u64);
            stage.expect("begun", ahead as u64 - 1);
            if let Some(next) = keys.get(step + 1) {
                stage.remove(next);
            }
        }
        // Behind the last one there is none, and that is remembered.
        stage.expect("absent", 1);
        stage.expect_body(&format!("/{}", keys[1]), &keys[1], size);
        let loads = stage.origin.metric("headwater_disk_loads_total", "outcome=\"loaded\"");
        assert_eq!((loads, stage.count("used"), stage.count("wasted")), (1.0, 3, 0));
        stage.origin.stop();
    }
}

/// HEAD leads to nothing, nor do a hit, what has no number, and what is no segment.
#[test]
fn nothing_is_guessed_where_there_is_no_reason_to() {
    let files =
        [("a/1.m4s", 9), ("a/2.m4s", 9), ("b/film.mp4", 9), ("c/1.m3u8", 9), ("c/2.m3u8", 9)];
    let stage = Stage::start("prefetch-none", &[], "", &files);
    assert_eq!(stage.origin.request("HEAD", "/a/1.m4s", &[], b"").status, 200);
    for key in ["a/1.m4s", "b/film.mp4", "c/1.m3u8"] {
        stage.expect_body(&format!("/{key}"), key, 9);
    }
    stage.expect_read(9 * 3);
    assert_eq!((stage.count("begun"), stage.count("absent")), (0, 0));
    stage.origin.stop();
    let stage = Stage::start("prefetch-off", &[], "[disk]\nprefetch = 0\n", &files);
    stage.expect_body("/a/1.m4s?CMCD=nor%3D%222.m4s%22", "a/1.m4s", 9);
    stage.expect_read(9);
    assert_eq!((stage.count("begun"), stage.count("absent")), (0, 0));
    stage.origin.stop();
}

#[test]
fn several_segments_ahead_where_that_is_configured() {
    let keys: Vec<_> = (1..6).map(|number| format!("v/{number}.ts")).collect();
    let files: Vec<_> = keys.iter().map(|key| (key.as_str(), 9)).collect();
    let stage = Stage::start("prefetch-several", &[], "[disk]\nprefetch = 3\n", &files);
    stage.expect_body("/v/1.ts", "v/1.ts", 9);
    stage.expect("begun", 3);
    stage.expect_body("/v/2.ts", "v/2.ts", 9);
    stage.expect("begun", 4);
    stage.origin.stop();
}

/// What players name, in the query and in a header, and what is fetched for it.
#[test]
fn what_a_player_names_is_fetched_instead_of_a_guess() {
    let named: [(&str, &str, &[&str]); 7] = [
        ("?CMCD=nor%3D%22..%252Fhigh%252F2.m4s%22", "", &["high/2.m4s"]),
        ("?CMCD=bl%3D9%2Cnor%3D%22b%2520c.mp4%22%2Csu", "", &["low/b c.mp4"]),
        ("", "CMCD-Request: bl=100,nor=\"..%2Fhigh%2F3.m4s\"", &["high/3.m4s"]),
        ("", "cmcd-request: nor=\"%2Fhigh%2F4.m4s%3Fx%3D1\"", &["high/4.m4s"]),
        ("", "CMCD-Request: nor=(\"d.m4s\" \"..%2Fe.m4s\";r=\"0-99\")", &["low/d.m4s", "e.m4s"]),
        ("?CMCD=nor%3D%22..%2Fhigh%2F5.m4s%22", "", &["high/5.m4s"]),
        ("", "CMCD-Request: nor=\".%2Fx%2F..%2Ff.m4s\"", &["low/f.m4s"]),
    ];
    for (number, (query, line, keys)) in named.into_iter().enumerate() {
        let all = [keys, &["low/1.m4s", "low/2.m4s"]].concat();
        let files: Vec<_> = all.iter().map(|key| (*key, 500)).collect();
        let name = format!("prefetch-named-{number}");
        let stage = Stage::start(&name, &["--shards", "2"], "", &files);
        let target = format!("/low/1.m4s{query}");
        let lines: &[&str] = if line.is_empty() { &[] } else { &[line] };
        assert_eq!(stage.origin.request("GET", &target, lines, b"").status, 200);
        stage.expect("begun", keys.len() as u64);
        stage.expect_read(500 * (1 + keys.len()));
        for key in keys {
            stage.remove(key);
            stage.expect_body(&format!("/{}", key.replace(' ', "%20")), key, 500);
        }
        stage.expect("used", keys.len() as u64);
        stage.origin.stop();
    }
}

#[test]
fn names_that_lead_away_are_passed_over() {
    let named = [
        "nor=\"https%3A%2F%2Felse.example%2Fb%2Fother.mp4\"",
        "nor=\"%2F%2Felse.example%2Fb%2Fother.mp4\"",
        "nor=\"..%2F..%2Fb%2Fother.mp4\"",
        "nor=\"..%2F..%2F..%2Fetc%2Fpasswd\"",
        "nor=\"..%2F.headwater%2Fx\"",
        "nor=\"..%2Ftopics%2Fx\"",
        // Itself.
        "nor=\"g.mp4\"",
        "nor=\"%00\"",
        "nor=..%2Fb%2Fother.mp4",
        "nor=\"..%2Fb%2Fother.mp4",
        "nor=\"\"",
        "nor",
    ];
    let keys: Vec<_> = ('a'..='z').take(named.len()).map(|name| format!("a/{name}.mp4")).collect();
    let files: Vec<_> = keys.iter().map(|key| (key.as_str(), 9)).collect();
    let files = [&files[..], &[("b/other.mp4", 9), ("topics/x", 9)]].concat();
    let stage = Stage::start("prefetch-away", &[], "", &files);
    for (key, nor) in keys.iter().zip(named) {
        let line = format!("CMCD-Request: {nor}");
        let answer = stage.origin.request("GET", &format!("/{key}"), &[&line], b"");
        assert_eq!((answer.status, answer.body.len()), (200, 9), "{nor}");
    }
    stage.expect_read(9 * keys.len());
    std::thread::sleep(std::time::Duration::from_millis(1200));
    for outcome in ["begun", "absent", "failed"] {
        assert_eq!(stage.count(outcome), 0, "{outcome}");
    }
    stage.origin.stop();
}

/// Whoever may not read an object does not get it into memory either, by token and by signed URL.
#[test]
fn what_the_request_might_not_read_is_not_fetched_for_it() {
    let config = "[read]\nwho = \"token\"\n[[token]]\nname = \"viewer\"\n\
        token = \"viewer-secret-0123456789abcdef\"\nread = [\"a/**\"]\n";
    let files = [("a/one.mp4", 9), ("a/two.mp4", 9), ("b/other.mp4", 9)];
    let stage = Stage::start("prefetch-token", &["--shards", "2"], config, &files);
    let token = "Authorization: Bearer viewer-secret-0123456789abcdef";
    let named = "CMCD-Request: nor=(\"..%2Fb%2Fother.mp4\" \"two.mp4\")";
    assert_eq!(stage.origin.request("GET", "/a/one.mp4", &[named], b"").status, 401);
    assert_eq!(stage.origin.request("GET", "/a/one.mp4", &[named, token], b"").status, 200);
    stage.expect("begun", 1);
    stage.expect_read(18);
    assert_eq!(stage.origin.metric("headwater_denied_total", ""), 1.0);
    stage.origin.stop();
}

/// Random reads of numbered names: a shard soon guesses next to nothing.
#[test]
fn guesses_that_are_wrong_come_to_an_end() {
    let keys: Vec<_> = (0..400).map(|number| format!("r/{number}.m4s")).collect();
    let files: Vec<_> = keys.iter().map(|key| (key.as_str(), 9)).collect();
    let stage = Stage::start("prefetch-wrong", &["--shards", "1"], "", &files);
    let began = std::time::Instant::now();
    let mut client = stage.origin.client();
    for key in keys.iter().step_by(2) {
        assert_eq!(client.request("GET", &format!("/{key}"), &[], b"").unwrap().status, 200);
    }
    let most = 33 + began.elapsed().as_secs();
    eventually("nothing was guessed", || stage.count("begun") >= 32);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert!(stage.count("begun") <= most, "{} of {most}", stage.count("begun"));
    stage.origin.stop();
}

/// A segment that is larger than the share of memory for prefetch is left to its reader.
#[test]
fn what_is_too_large_is_not_fetched_ahead() {
    let files = [("v/1.mp4", 3_000_000), ("v/2.mp4", 3_000_000)];
    let stage = Stage::start("prefetch-large", &["--memory", "32MiB"], "", &files);
    stage.expect_body("/v/1.mp4", "v/1.mp4", 3_000_000);
    stage.expect("failed", 1);
    stage.expect_read(3_000_000);
    stage.expect_body("/v/2.mp4", "v/2.mp4", 3_000_000);
    assert_eq!(stage.count("begun"), 0);
    stage.origin.stop();
}

/// What nobody comes for is the first to give way, and what is read often stays.
#[test]
fn what_was_fetched_in_vain_gives_way_first() {
    let others: Vec<_> = (0..60).map(|number| format!("o/{number}/film.mp4")).collect();
    let mut files = vec![("v/1.ts", 500_000), ("v/2.ts", 500_000)];
    files.extend(others.iter().map(|key| (key.as_str(), 1_000_000)));
    let flags = ["--memory", "32MiB", "--shards", "1"];
    let stage = Stage::start("prefetch-wasted", &flags, "", &files);
    (0..4).for_each(|_| stage.expect_body("/v/1.ts", "v/1.ts", 500_000));
    stage.expect("begun", 1);
    for key in &others {
        stage.expect_body(&format!("/{key}"), key, 1_000_000);
    }
    stage.expect("wasted", 1);
    stage.remove("v/1.ts");
    stage.expect_body("/v/1.ts", "v/1.ts", 500_000);
    stage.expect("used", 0);
    stage.origin.stop();
}

/// From the remote store, behind an empty disk.
#[test]
fn the_next_segment_comes_from_the_remote_store_too() {
    let scratch = Scratch::new("prefetch-remote");
    let url = format!("file://{}", scratch.path("store"));
    for disk in [false, true] {
        let data = scratch.path(&format!("data-{disk}"));
        let mut flags = vec!["--remote", &url, "--shards", "2"];
        if disk {
            flags.extend(["--data", &data]);
        }
        let mut origin = Origin::start(&flags);
        let keys = ["v/01.m4s", "v/02.m4s"];
        keys.iter().for_each(|key| drop(origin.put(&format!("/{key}"), &body(key, 200_000))));
        eventually("not sent", || {
            origin.metric("headwater_remote_orders_total", "outcome=\"saved\"") == 2.0
        });
        signal(origin.pid(), "KILL");
        origin.wait();
        if disk {
            std::fs::remove_dir_all(format!("{data}/v")).unwrap();
        }
        let origin = Origin::start(&flags);
        assert!(origin.get("/v/01.m4s").body == body(keys[0], 200_000));
        let read = || origin.metric("headwater_remote_bytes_total", "way=\"read\"");
        eventually("the next one does not come", || read() == 400_000.0);
        std::fs::remove_file(scratch.path("store/v/02.m4s")).unwrap();
        assert!(origin.get("/v/02.m4s").body == body(keys[1], 200_000));
        let used = || origin.metric("headwater_prefetches_total", "outcome=\"used\"");
        eventually("it is not used", || used() == 1.0);
        origin.stop();
    }
}

/// A range that is named of a large file is read before it is asked for.
#[test]
fn the_next_range_of_a_large_file_is_read_ahead() {
    let size = 40 << 20;
    let stage = Stage::start(
        "prefetch-range",
        &["--memory", "64MiB", "--shards", "1"],
        "",
        &[("v/film.mp4", size)],
    );
    let ahead = || stage.origin.metric("headwater_disk_chunks_total", "outcome=\"ahead\"");
    let ask = |named: &str| {
        let lines = ["Range: bytes=0-99", named];
        stage.origin.request("GET", "/v/film.mp4", &lines, b"").status
    };
    assert_eq!(ask("CMCD-Request: nrr=\"99999999-\""), 206);
    assert_eq!(ask("CMCD-Request: nor=\"film.mp4\",nrr=\"20971520-20971619\""), 206);
    eventually("it is not read ahead", || ahead() == 1.0);
    stage.expect_read(2 * (4 << 20));
    assert_eq!(ask("CMCD-Request: nrr=\"20971520-20971619\""), 206);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert_eq!(ahead(), 1.0);
    stage.origin.stop();
}
