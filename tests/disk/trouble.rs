//! Disks that flip bits, are full, lose what they took, or are in use.

use std::time::{Duration, Instant};

use super::support::{Origin, PATIENCE, Scratch, pattern, run};
use super::{kill, start};

#[test]
fn a_flipped_bit_is_found_and_concerns_one_object() {
    let scratch = Scratch::new("disk-flip");
    let origin = start(&scratch, &[]);
    let body = pattern(1, 200_000);
    for name in ["whole", "flipped", "short"] {
        origin.put(&format!("/f/{name}"), &body);
    }
    kill(origin);
    let path = scratch.path("data/f/flipped");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[body[9_999] ^ 1], 9_999).unwrap();
    let file = std::fs::File::options().write(true).open(scratch.path("data/f/short")).unwrap();
    file.set_len(150_000).unwrap();
    let origin = start(&scratch, &[]);
    for name in ["flipped", "short"] {
        let answer = origin.get(&format!("/f/{name}"));
        assert_eq!(answer.status, 500, "{name}");
        assert!(answer.text().contains("not what was written"), "{}", answer.text());
    }
    assert!(origin.get("/f/whole").body == body);
    // What was mended, or replaced, is served again.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[body[9_999]], 9_999).unwrap();
    assert!(origin.get("/f/flipped").body == body);
    origin.put("/f/short", b"new");
    assert_eq!(origin.get("/f/short").body, b"new");
    origin.stop();
}

#[test]
fn a_full_disk_refuses_uploads_and_recovers() {
    let scratch = Scratch::new("disk-full");
    let data = scratch.path("data");
    std::fs::create_dir_all(&data).unwrap();
    let mount = format!("mount -t tmpfs -o size=4m tmpfs {data} && exec \"$0\" \"$@\"");
    let probe = format!("mount -t tmpfs -o size=4m tmpfs {data}");
    if !run("unshare", &["-m", "sh", "-c", &probe]).0.success() {
        println!("skipped: mounts need root");
        return;
    }
    let wrapper = ["unshare", "-m", "sh", "-c", mount.as_str()];
    let origin = Origin::start_under(&wrapper, &["--shards", "4", "--data", &data]);
    let body = pattern(2, 1_000_000);
    let mut stored = Vec::new();
    let refused = (0..8)
        .map(|number| format!("/d/{number}"))
        .find(|target| {
            let answer = origin.request("PUT", target, &[], &body);
            assert!(matches!(answer.status, 200 | 507), "{}", answer.text());
            stored.extend((answer.status == 200).then(|| target.clone()));
            answer.status == 507
        })
        .expect("8 MB do not fit 4 MiB");
    assert!(stored.len() >= 2);
    assert_eq!(origin.get(&refused).status, 404, "what was refused is not there");
    for target in &stored {
        assert!(origin.get(target).body == body, "{target}");
    }
    assert_eq!(origin.request("DELETE", &stored[0], &[], b"").status, 200);
    origin.put(&refused, &body);
    assert!(origin.get(&refused).body == body);
    origin.stop();
}

/// Has a shell do something where the origin's mounts are.
fn within(origin: &Origin, script: &str) {
    let pid = origin.pid().to_string();
    let (status, said) = run("nsenter", &["-t", &pid, "-m", "sh", "-e", "-c", script]);
    assert!(status.success(), "{script}: {said}");
}

/// Any error but those of a full disk ended all writing until a restart.
#[test]
fn a_disk_that_refuses_writes_is_written_again_once_it_takes_them() {
    let scratch = Scratch::new("disk-refuses");
    let data = scratch.path("data");
    std::fs::create_dir_all(&data).unwrap();
    let mount = format!("mount -t tmpfs -o size=4m tmpfs {data}");
    if !run("unshare", &["-m", "sh", "-c", &mount]).0.success() {
        println!("skipped: mounts need root");
        return;
    }
    let mount = format!("{mount} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "-m", "sh", "-c", mount.as_str()];
    let origin = Origin::start_under(&wrapper, &["--shards", "4", "--data", &data]);
    origin.put("/r/kept", b"kept");
    within(&origin, &format!("mount -o remount,ro {data}"));
    for target in ["/r/kept", "/r/new"] {
        let answer = origin.request("PUT", target, &[], b"refused");
        assert_eq!(answer.status, 503, "{target}: {}", answer.text());
        assert!(answer.text().contains("the disk refuses writes"), "{}", answer.text());
        assert_eq!(answer.header("Retry-After"), Some("1"));
    }
    assert_eq!(origin.request("DELETE", "/r/kept", &[], b"").status, 503);
    assert_eq!(origin.get("/r/kept").body, b"kept");
    assert_eq!(origin.get("/r/new").status, 404);
    assert_eq!(origin.metric("headwater_disk_read_only", ""), 0.0);
    within(&origin, &format!("mount -o remount,rw {data}"));
    origin.put("/r/new", b"taken");
    assert_eq!(origin.request("DELETE", "/r/kept", &[], b"").status, 200);
    assert_eq!(origin.get("/r/new").body, b"taken");
    origin.stop();
}

/// An image that is cut short under its file system: reads behind the cut fail.
#[test]
fn a_read_error_concerns_one_object_and_ends_with_its_cause() {
    let scratch = Scratch::new("disk-unreadable");
    let outer = scratch.path("outer");
    std::fs::create_dir_all(&outer).unwrap();
    let data = format!("{outer}/data");
    let mount = format!(
        "mount -t tmpfs tmpfs {outer} && truncate -s 8M {outer}/image && \
         mkfs.ext4 -q -O ^has_journal {outer}/image && mkdir {data} && \
         mount -o loop {outer}/image {data} && rmdir {data}/lost+found"
    );
    if !run("unshare", &["-m", "sh", "-c", &mount]).0.success() {
        println!("skipped: mounts of images need root, a loop device and mkfs.ext4");
        return;
    }
    let mount = format!("{mount} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "-m", "sh", "-c", mount.as_str()];
    let origin = Origin::start_under(&wrapper, &["--shards", "4", "--data", &data]);
    origin.put("/hot", b"hot");
    // Laid down by hand, so that memory does not have it, and not in the page cache either.
    within(
        &origin,
        &format!(
            "yes headwater | head -c 3000000 > {data}/cold; sync {data}/cold; \
             dd if={data}/cold iflag=nocache count=0 status=none; \
             cp {outer}/image {outer}/copy; truncate -s 512K {outer}/image"
        ),
    );
    for _ in 0..2 {
        let answer = origin.get("/cold");
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.text().contains("cannot be read"), "{}", answer.text());
    }
    assert_eq!(origin.get("/hot").body, b"hot");
    within(&origin, &format!("dd if={outer}/copy of={outer}/image conv=notrunc status=none"));
    let answer = origin.get("/cold");
    assert_eq!((answer.status, answer.body.len()), (200, 3_000_000));
    assert!(answer.body.starts_with(b"headwater\nheadwater\n"));
    origin.put("/after", b"written");
    origin.stop();
}

/// What would be written to a folder that was moved away would be missing after a restart, and
/// what is not found there is no proof that it does not exist.
#[test]
fn a_folder_that_disappears_is_used_again_once_it_is_back() {
    let scratch = Scratch::new("disk-away");
    let origin = start(&scratch, &[]);
    origin.put("/w/hot", b"hot");
    let (data, elsewhere) = (scratch.path("data"), scratch.path("elsewhere"));
    std::fs::write(scratch.path("data/w/cold"), b"cold").unwrap();
    let is_away = |expected: f64| {
        let deadline = Instant::now() + PATIENCE;
        while origin.metric("headwater_disk_away", "") != expected {
            assert!(Instant::now() < deadline, "the folder's state is not seen");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    std::fs::rename(&data, &elsewhere).unwrap();
    is_away(1.0);
    for (method, target) in [("PUT", "/w/new"), ("DELETE", "/w/hot"), ("GET", "/w/nothing")] {
        let answer = origin.request(method, target, &[], b"");
        assert_eq!(answer.status, 503, "{method}: {}", answer.text());
    }
    assert_eq!(origin.request("PUT", "/w/new?ttl_seconds=60", &[], b"").status, 200);
    // What can still be read is.
    assert_eq!(origin.get("/w/hot").body, b"hot");
    assert_eq!(origin.get("/w/cold").body, b"cold");
    // Another folder in its place is not taken for it: an empty mount point would swallow uploads.
    std::fs::create_dir(&data).unwrap();
    assert_eq!(origin.request("PUT", "/w/new", &[], b"").status, 503);
    std::fs::remove_dir(&data).unwrap();
    std::fs::rename(&elsewhere, &data).unwrap();
    is_away(0.0);
    origin.put("/w/new", b"new");
    kill(origin);
    let origin = start(&scratch, &[]);
    assert_eq!(origin.get("/w/new").body, b"new");
    assert_eq!(origin.get("/w/hot").body, b"hot");
    origin.stop();
}

/// An ext4 on a sparse image that has less room than it claims: writes succeed, syncs fail.
#[test]
fn a_failed_sync_ends_all_writes_and_no_read() {
    let scratch = Scratch::new("disk-sync");
    let outer = scratch.path("outer");
    std::fs::create_dir_all(&outer).unwrap();
    let data = format!("{outer}/data");
    let mount = format!(
        "mount -t tmpfs -o size=6m tmpfs {outer} && truncate -s 64M {outer}/image && \
         mkfs.ext4 -q -O ^has_journal {outer}/image && mkdir {data} && \
         mount -o loop {outer}/image {data}"
    );
    if !run("unshare", &["-m", "sh", "-c", &mount]).0.success() {
        println!("skipped: mounts of images need root, a loop device and mkfs.ext4");
        return;
    }
    let mount = format!("{mount} && rmdir {data}/lost+found && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "-m", "sh", "-c", mount.as_str()];
    let mut origin = Origin::start_under(&wrapper, &["--shards", "4", "--data", &data]);
    let body = pattern(3, 500_000);
    let mut stored = Vec::new();
    let failed = (0..40)
        .map(|number| format!("/s/{number}"))
        .find(|target| {
            let answer = origin.request("PUT", target, &[], &body);
            stored.extend((answer.status == 200).then(|| target.clone()));
            answer.status != 200
        })
        .expect("20 MB do not fit 6 MiB");
    assert!(!stored.is_empty());
    assert_eq!(origin.metric("headwater_disk_read_only", ""), 1.0);
    origin.wait_for_log("takes no more writes: syncing a f");
    let syncs = origin.metric("headwater_disk_folder_syncs_total", "");
    for target in [&failed, &stored[0], "/elsewhere/small"] {
        let answer = origin.request("PUT", target, &[], b"small");
        assert_eq!(answer.status, 503, "{target}");
        assert!(answer.text().contains("the log names the error"), "{}", answer.text());
    }
    assert_eq!(origin.request("DELETE", &stored[0], &[], b"").status, 503);
    assert_eq!(origin.metric("headwater_disk_folder_syncs_total", ""), syncs, "synced again");
    for target in &stored {
        assert!(origin.get(target).body == body, "{target}");
    }
    // Not stop(): that wants a log without errors.
    origin.terminate();
    assert!(origin.wait().success());
}

#[test]
fn two_origins_do_not_share_a_folder() {
    let scratch = Scratch::new("disk-shared");
    let origin = start(&scratch, &[]);
    let data = scratch.path("data");
    let words = ["serve", "--data", &data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let (status, said) = run(env!("CARGO_BIN_EXE_headwater"), &words);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("another origin uses it"), "{said}");
    origin.stop();
}

#[test]
fn the_tiers_own_files_cannot_be_reached() {
    let scratch = Scratch::new("disk-own");
    let origin = start(&scratch, &[]);
    std::fs::write(scratch.path("data/.headwater/x"), "x").unwrap();
    assert_eq!(origin.get("/.headwater/x").status, 404);
    origin.stop();
}
