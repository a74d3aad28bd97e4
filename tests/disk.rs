//! The disk tier, end to end: what was acknowledged is there after the process was killed.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "disk/filling.rs"]
mod filling;
#[path = "disk/kills.rs"]
mod kills;
#[path = "disk/library.rs"]
mod library;
#[path = "disk/listing.rs"]
mod listing;
#[path = "disk/trouble.rs"]
mod trouble;

use std::time::{Duration, Instant};

use support::{Origin, PATIENCE, Scratch, pattern, signal};

/// An origin of four shards on a folder that outlives it.
fn start(scratch: &Scratch, flags: &[&str]) -> Origin {
    let data = scratch.path("data");
    Origin::start(&[&["--shards", "4", "--data", data.as_str()], flags].concat())
}

/// Ends the process without a word.
fn kill(mut origin: Origin) {
    signal(origin.pid(), "KILL");
    origin.wait();
}

#[test]
fn uploads_survive_a_kill_with_all_that_was_said_of_them() {
    let scratch = Scratch::new("disk-survive");
    let origin = start(&scratch, &[]);
    let sizes = [0, 1, 1023, 1025, 300_000, 5_000_000];
    let mut before = Vec::new();
    for (number, size) in sizes.into_iter().enumerate() {
        let target = format!("/vod/{number}/film {number}.mp4").replace(' ', "%20");
        let lines = ["Content-Type: video/x-own", "Cache-Control: max-age=77"];
        let body = pattern(number as u64, size);
        assert_eq!(origin.request("PUT", &target, &lines, &body).status, 200);
        before.push((target.clone(), origin.get(&target)));
        assert!(before.last().unwrap().1.body == body);
    }
    let mut client = origin.client();
    client.begin_chunked("/vod/arriving.m4s", &[]).unwrap();
    for part in pattern(9, 400_000).chunks(100_000) {
        client.chunk(part).unwrap();
    }
    client.chunk(b"").unwrap();
    assert_eq!(client.answer(false).unwrap().status, 200);
    before.push(("/vod/arriving.m4s".to_owned(), origin.get("/vod/arriving.m4s")));
    kill(origin);

    let origin = start(&scratch, &[]);
    for (target, before) in before {
        let after = origin.get(&target);
        assert_eq!(after.status, 200, "{target}: {}", after.text());
        assert!(after.body == before.body, "{target}: other bytes");
        for name in ["ETag", "Content-Type", "Cache-Control", "Last-Modified", "Content-Length"] {
            assert_eq!(after.header(name), before.header(name), "{target}: {name}");
        }
    }
    assert_eq!(origin.get("/vod/nothing.mp4").status, 404);
    assert_eq!(std::fs::read_dir(scratch.path("data/.headwater")).unwrap().count(), 0);
    origin.stop();
}

#[test]
fn what_was_deleted_stays_away() {
    let scratch = Scratch::new("disk-delete");
    let origin = start(&scratch, &[]);
    for name in ["hot", "cold", "kept"] {
        origin.put(&format!("/a/b/{name}"), name.as_bytes());
    }
    assert_eq!(origin.request("DELETE", "/a/b/hot", &[], b"").status, 200);
    kill(origin);
    let origin = start(&scratch, &[]);
    assert_eq!(origin.get("/a/b/hot").status, 404);
    assert_eq!(origin.request("DELETE", "/a/b/cold", &[], b"").status, 200);
    assert_eq!(origin.request("DELETE", "/a/b/cold", &[], b"").status, 404);
    kill(origin);
    let origin = start(&scratch, &[]);
    assert_eq!(origin.get("/a/b/cold").status, 404);
    assert_eq!(origin.get("/a/b/kept").body, b"kept");
    assert_eq!(origin.request("DELETE", "/a/b/kept", &[], b"").status, 200);
    // The emptied folders are gone, so that their names are free.
    origin.put("/a", b"an object now");
    assert_eq!(origin.request("PUT", "/a/b", &[], b"x").status, 409);
    origin.stop();
}

#[test]
fn conditions_are_judged_by_what_is_on_disk() {
    let scratch = Scratch::new("disk-conditions");
    let origin = start(&scratch, &[]);
    let etag = origin.put("/k/one", b"first").header("ETag").unwrap().to_owned();
    kill(origin);
    let origin = start(&scratch, &[]);
    let put = |lines: &[&str]| origin.request("PUT", "/k/one", lines, b"second").status;
    assert_eq!(put(&["If-None-Match: *"]), 412);
    assert_eq!(put(&["If-Match: \"other\""]), 412);
    assert_eq!(origin.get("/k/one").body, b"first");
    assert_eq!(put(&[&format!("If-Match: {etag}")]), 200);
    assert_eq!(origin.get("/k/one").body, b"second");
    origin.stop();
}

#[test]
fn a_range_and_a_condition_of_a_cold_object_are_answered() {
    let scratch = Scratch::new("disk-range");
    let origin = start(&scratch, &[]);
    let body = pattern(3, 700_000);
    let etag = origin.put("/r/a.mp4", &body).header("ETag").unwrap().to_owned();
    kill(origin);
    let conditional = format!("If-None-Match: {etag}");
    for (line, status) in [("Range: bytes=600000-600009", 206), (conditional.as_str(), 304)] {
        // Each in a process of its own, so that the object is cold.
        let origin = start(&scratch, &[]);
        let answer = origin.request("GET", "/r/a.mp4", &[line], b"");
        assert_eq!(answer.status, status);
        assert!(status != 206 || answer.body == body[600_000..600_010]);
        origin.stop();
    }
}

#[test]
fn what_lives_for_a_time_stays_in_memory_unless_the_rules_say_otherwise() {
    let scratch = Scratch::new("disk-policy");
    let config = scratch.path("config.toml");
    let rules = "[[path]]\npattern = \"live/**\"\nttl_seconds = 3600\n\
                 [[path]]\npattern = \"shift/**\"\nttl_seconds = 3600\ndurability = \"disk\"\n\
                 [[path]]\npattern = \"probe/**\"\ndurability = \"memory\"\n";
    std::fs::write(&config, rules).unwrap();
    let flags = ["--config", config.as_str()];
    let origin = start(&scratch, &flags);
    let kept = ["/vod/a", "/shift/a"];
    let lost = ["/live/a", "/probe/a", "/vod/b?ttl_seconds=3600"];
    for target in kept.iter().chain(&lost) {
        origin.put(target, b"x");
        assert_eq!(origin.get(target).status, 200, "{target}");
    }
    kill(origin);
    let origin = start(&scratch, &flags);
    for target in kept {
        assert_eq!(origin.get(target).status, 200, "{target}");
    }
    for target in lost {
        assert_eq!(origin.get(target).status, 404, "{target}");
    }
    origin.stop();
}

/// Where an upload that only memory got had replaced what the disk had, the older version was
/// served again when the newer one's time was over, and after a restart.
#[test]
fn an_older_version_never_comes_back() {
    let scratch = Scratch::new("disk-older");
    let config = scratch.path("config.toml");
    std::fs::write(&config, "[[path]]\npattern = \"m/**\"\ndurability = \"memory\"\n").unwrap();
    let rules = ["--config", config.as_str()];
    let origin = start(&scratch, &[]);
    for name in ["m/hot", "v/cold", "v/hot", "v/kept"] {
        origin.put(&format!("/{name}"), b"older");
    }
    kill(origin);
    let origin = start(&scratch, &rules);
    assert_eq!(origin.get("/v/hot").body, b"older");
    let put = |target: &str, lines: &[&str]| origin.request("PUT", target, lines, b"newer").status;
    assert_eq!(put("/v/kept?ttl_seconds=1", &["If-None-Match: *"]), 412);
    for target in ["/m/hot", "/v/cold?ttl_seconds=1", "/v/hot?ttl_seconds=1"] {
        assert_eq!(put(target, &[]), 200);
        assert_eq!(origin.get(target.split('?').next().unwrap()).body, b"newer");
    }
    std::thread::sleep(Duration::from_millis(1100));
    for target in ["/v/cold", "/v/hot"] {
        assert_eq!(origin.get(target).status, 404, "{target}");
    }
    assert_eq!(origin.get("/m/hot").body, b"newer");
    kill(origin);
    let origin = start(&scratch, &[]);
    for target in ["/m/hot", "/v/cold", "/v/hot"] {
        assert_eq!(origin.get(target).status, 404, "{target}");
    }
    assert_eq!(origin.get("/v/kept").body, b"older");
    origin.stop();
}

#[test]
fn many_readers_cost_one_read_of_the_disk() {
    let scratch = Scratch::new("disk-readers");
    let origin = start(&scratch, &[]);
    let body = pattern(5, 3_000_000);
    origin.put("/v/film.mp4", &body);
    kill(origin);
    let origin = start(&scratch, &[]);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert!(origin.get("/v/film.mp4").body == body));
        }
    });
    let loaded = || origin.metric("headwater_disk_loads_total", "outcome=\"loaded\"");
    let deadline = Instant::now() + PATIENCE;
    while loaded() < 1.0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(loaded(), 1.0);
    origin.stop();
}

#[test]
fn a_library_larger_than_memory_is_written_and_read() {
    let scratch = Scratch::new("disk-larger");
    let origin = start(&scratch, &["--memory", "32MiB"]);
    let body = |number: u64| pattern(number, 1_000_000);
    let target = |number: u64| format!("/large/{}/{number}.mp4", number % 7);
    (0..48).for_each(|number| drop(origin.put(&target(number), &body(number))));
    for number in (0..48).chain((0..48).rev()) {
        let answer = origin.get(&target(number));
        assert!(answer.status == 200, "{number}: {}", answer.text());
        assert!(answer.body == body(number), "{number}: other bytes");
    }
    assert!(origin.metric("headwater_evictions_total", "") >= 16.0);
    origin.stop();
}

#[test]
fn what_only_memory_has_does_not_give_way() {
    let scratch = Scratch::new("disk-memory-only");
    let origin = start(&scratch, &["--memory", "32MiB"]);
    let body = |number: u64| pattern(number, 1_000_000);
    for number in 0..8 {
        origin.put(&format!("/t/{number}?ttl_seconds=3600"), &body(number));
    }
    (100..160).for_each(|number| drop(origin.put(&format!("/d/{number}"), &body(number))));
    for number in 0..8 {
        assert!(origin.get(&format!("/t/{number}")).body == body(number), "{number}");
    }
    origin.stop();
}
