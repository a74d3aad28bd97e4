//! How full the disk may be, end to end, on a file system of its own.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::{Origin, PATIENCE, Scratch, pattern, run};

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An origin whose data folder is a file system of 16 MiB; none where mounts are not allowed.
fn start_on_small_disk(scratch: &Scratch, config: &str, flags: &[&str]) -> Option<Origin> {
    let (data, path) = (scratch.path("data"), scratch.path("config.toml"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(&path, config).unwrap();
    let mount = format!("mount -t tmpfs -o size=16m tmpfs {data}");
    if !run("unshare", &["-m", "sh", "-c", &mount]).0.success() {
        println!("skipped: mounts need root");
        return None;
    }
    let mount = format!("{mount} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "-m", "sh", "-c", mount.as_str()];
    let own = ["--shards", "4", "--data", &data, "--config", &path];
    Some(Origin::start_under(&wrapper, &[&own, flags].concat()))
}

#[test]
fn above_the_high_mark_uploads_are_refused_and_nothing_is_deleted() {
    let scratch = Scratch::new("lifecycle-full");
    let config =
        "[disk]\nhigh_water = \"50%\"\n[[path]]\npattern = \"live/**\"\nttl_seconds = 60\n";
    let Some(origin) = start_on_small_disk(&scratch, config, &[]) else { return };
    let put = |target: &str| origin.request("PUT", target, &[], &pattern(1, 1_000_000));
    let mut stored = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    // Use is looked at once a second: so fast writers get somewhat further.
    let refused = loop {
        assert!(Instant::now() < deadline, "{} are stored", stored.len());
        let target = format!("/v/{}", stored.len());
        let answer = put(&target);
        if answer.status == 507 {
            break answer;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        stored.push(target);
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(refused.text().contains("no more of it is to be used"), "{}", refused.text());
    assert!((8..=14).contains(&stored.len()), "{}", stored.len());
    eventually("the metrics do not tell", || origin.metric("headwater_disk_full", "") == 1.0);
    assert!(origin.metric("headwater_disk_refused_total", "") >= 1.0);
    assert!(origin.metric("headwater_disk_used_bytes", "") >= 8.0e6);
    assert_eq!(origin.metric("headwater_disk_capacity_bytes", ""), f64::from(16 << 20));
    // What is for memory alone goes on, and so do reads and deletions.
    assert_eq!(put("/live/a").status, 200);
    for target in &stored {
        assert!(origin.get(target).body == pattern(1, 1_000_000), "{target}");
    }
    for target in &stored[..stored.len() - 4] {
        assert_eq!(origin.request("DELETE", target, &[], b"").status, 200);
    }
    eventually("uploads are not taken again", || put("/v/again").status == 200);
    assert_eq!(origin.metric("headwater_disk_full", ""), 0.0);
    let log = origin.stop_with_log();
    let told = log.lines().filter(|line| line.contains("up to disk.high_water")).count();
    assert_eq!(told, 1, "{log}");
}
