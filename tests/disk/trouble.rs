//! Disks that flip bits, are full, lose what they took, or are in use.

use super::support::{Origin, Scratch, pattern, run};
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
    std::os::unix::fs::FileExt::write_all_at(&file, &[body[99_999] ^ 1], 99_999).unwrap();
    let file = std::fs::File::options().write(true).open(scratch.path("data/f/short")).unwrap();
    file.set_len(150_000).unwrap();
    let origin = start(&scratch, &[]);
    for name in ["flipped", "short"] {
        let answer = origin.get(&format!("/f/{name}"));
        assert_eq!(answer.status, 500, "{name}");
        assert!(answer.text().contains("not what was written"), "{}", answer.text());
    }
    assert!(origin.get("/f/whole").body == body);
    // What is damaged can be replaced.
    origin.put("/f/flipped", b"new");
    assert_eq!(origin.get("/f/flipped").body, b"new");
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
