//! How full the disk may be, and how long files stay on it, end to end.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::{Origin, PATIENCE, Scratch, eventually, pattern, run};

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

/// An origin with a data folder and a folder as the remote store.
fn start(scratch: &Scratch, config: &str) -> Origin {
    let path = scratch.path("config.toml");
    std::fs::write(&path, config).unwrap();
    let (data, store) = (scratch.path("data"), format!("file://{}", scratch.path("store")));
    Origin::start(&["--shards", "4", "--data", &data, "--remote", &store, "--config", &path])
}

#[test]
fn what_is_old_is_taken_away_everywhere_and_what_is_stored_again_stays() {
    let scratch = Scratch::new("lifecycle-expire");
    let config = "[[path]]\npattern = \"old/**\"\nexpire_after_s = 3\n";
    let origin = start(&scratch, config);
    for number in 0..20 {
        origin.put(&format!("/old/{number}"), &pattern(number, 10_000));
        origin.put(&format!("/kept/{number}"), &pattern(number, 10_000));
    }
    let deadline = Instant::now() + Duration::from_secs(6);
    while Instant::now() < deadline {
        // The same bytes under the same tag: their age begins anew.
        origin.put("/old/again", b"again");
        assert_eq!(origin.get("/old/again").body, b"again");
        std::thread::sleep(Duration::from_millis(100));
    }
    for place in ["data", "store"] {
        eventually("an old file stays", || {
            (0..20).all(|n| !std::fs::exists(scratch.path(&format!("{place}/old/{n}"))).unwrap())
        });
    }
    for number in 0..20 {
        assert_eq!(origin.get(&format!("/old/{number}")).status, 404, "{number}");
        assert!(origin.get(&format!("/kept/{number}")).body == pattern(number, 10_000), "{number}");
    }
    eventually("it is not counted", || {
        origin.metric("headwater_lifecycle_total", "outcome=\"expired\"") >= 20.0
    });
    origin.stop();
}

#[test]
fn a_file_moves_once_the_store_has_it_and_is_read_from_there() {
    let scratch = Scratch::new("lifecycle-move");
    // Laid down by hand: the store does not have it.
    std::fs::create_dir_all(scratch.path("data/vod")).unwrap();
    std::fs::write(scratch.path("data/vod/hand"), "by hand").unwrap();
    let origin = start(&scratch, "[[path]]\npattern = \"vod/**\"\nremote_after_s = 1\n");
    let sizes = [0, 1, 5000, 9_000_000];
    for (number, size) in (0..).zip(sizes) {
        origin.put(&format!("/vod/{number}"), &pattern(number, size));
        origin.put(&format!("/stays/{number}"), &pattern(number, size));
    }
    for name in ["0", "1", "2", "3", "hand"] {
        let file = scratch.path(&format!("data/vod/{name}"));
        eventually(name, || !std::fs::exists(&file).unwrap());
        assert!(std::fs::exists(scratch.path(&format!("store/vod/{name}"))).unwrap(), "{name}");
    }
    assert!(std::fs::exists(scratch.path("data/stays/3")).unwrap());
    origin.stop();
    let origin = start(&scratch, "[[path]]\npattern = \"vod/**\"\nremote_after_s = 1\n");
    for (number, size) in (0..).zip(sizes) {
        assert!(origin.get(&format!("/vod/{number}")).body == pattern(number, size), "{number}");
    }
    assert_eq!(origin.get("/vod/hand").body, b"by hand");
    assert_eq!(origin.request("DELETE", "/vod/2", &[], b"").status, 200);
    assert_eq!(origin.get("/vod/2").status, 404);
    origin.stop();
}

#[test]
fn without_the_store_no_file_moves() {
    let scratch = Scratch::new("lifecycle-broken");
    let origin = start(&scratch, "[[path]]\npattern = \"**\"\nremote_after_s = 1\n");
    std::fs::remove_dir_all(scratch.path("store")).unwrap();
    std::fs::write(scratch.path("store"), "no folder").unwrap();
    origin.put("/vod/a", b"a");
    eventually("nothing is tried", || {
        origin.metric("headwater_lifecycle_total", "outcome=\"failed\"") >= 2.0
    });
    assert!(std::fs::exists(scratch.path("data/vod/a")).unwrap());
    assert_eq!(origin.get("/vod/a").body, b"a");
    std::fs::remove_file(scratch.path("store")).unwrap();
    std::fs::create_dir_all(scratch.path("store")).unwrap();
    eventually("it does not recover", || !std::fs::exists(scratch.path("data/vod/a")).unwrap());
    assert_eq!(origin.get("/vod/a").body, b"a");
    origin.stop();
}

#[test]
fn above_the_high_mark_files_move_until_the_low_one() {
    let scratch = Scratch::new("lifecycle-low");
    let config = "[disk]\nhigh_water = \"50%\"\nlow_water = \"25%\"\n";
    let store = format!("file://{}", scratch.path("store"));
    let Some(origin) = start_on_small_disk(&scratch, config, &["--remote", &store]) else { return };
    // Three times what the disk may hold.
    for number in 0..24 {
        let deadline = Instant::now() + PATIENCE;
        let target = format!("/v/{number}");
        while origin.request("PUT", &target, &[], &pattern(number, 1_000_000)).status != 200 {
            assert!(Instant::now() < deadline, "{target}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    for number in 0..24 {
        assert!(origin.get(&format!("/v/{number}")).body == pattern(number, 1_000_000), "{number}");
    }
    let moved = || origin.metric("headwater_lifecycle_total", "outcome=\"moved\"");
    eventually("nothing moves", || moved() >= 8.0);
    origin.stop();
}
