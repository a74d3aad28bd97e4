//! A tree of files that is served as it lies.

use super::support::{Origin, Scratch, pattern};
use super::{kill, start};

#[test]
fn files_are_served_with_type_tag_and_ranges() {
    let scratch = Scratch::new("disk-library");
    let root = scratch.path("tree");
    std::fs::create_dir_all(format!("{root}/films/one")).unwrap();
    let body = pattern(1, 600_000);
    std::fs::write(format!("{root}/films/one/a.mp4"), &body).unwrap();
    std::fs::write(format!("{root}/films/one/list.m3u8"), "#EXTM3U\n").unwrap();
    std::fs::write(scratch.path("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(scratch.path("secret"), format!("{root}/link")).unwrap();
    std::os::unix::fs::symlink("films", format!("{root}/folder")).unwrap();
    assert!(super::support::run("mkfifo", &[&format!("{root}/pipe")]).0.success());
    let origin = Origin::start(&["--shards", "4", "--library", &root]);
    let whole = origin.get("/films/one/a.mp4");
    assert!(whole.status == 200 && whole.body == body);
    assert_eq!(whole.header("Content-Type"), Some("video/mp4"));
    let etag = whole.header("ETag").unwrap().to_owned();
    let part = origin.request("GET", "/films/one/a.mp4", &["Range: bytes=-5"], b"");
    assert!(part.status == 206 && part.body == body[599_995..]);
    let same = format!("If-None-Match: {etag}");
    assert_eq!(origin.request("GET", "/films/one/a.mp4", &[&same], b"").status, 304);
    let list = origin.get("/films/one/list.m3u8");
    assert_eq!(list.header("Content-Type"), Some("application/vnd.apple.mpegurl"));
    for target in ["/link", "/folder/one/a.mp4", "/pipe", "/films", "/films/one/a.mp4/x"] {
        assert_eq!(origin.get(target).status, 404, "{target}");
    }
    origin.stop();
}

#[test]
fn a_library_that_is_missing_ends_the_start() {
    let words = ["serve", "--library", "/nonexistent/tree", "--listen", "127.0.0.1:0"];
    let (status, said) = super::support::run(env!("CARGO_BIN_EXE_headwater"), &words);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("/nonexistent/tree cannot be used"), "{said}");
}

/// Larger files are read past the page cache in whole blocks, and their odd ends through it.
#[test]
fn cold_files_of_every_size_come_with_their_bytes() {
    let scratch = Scratch::new("disk-sizes");
    let library = scratch.path("library");
    std::fs::create_dir_all(&library).unwrap();
    let sizes =
        [65_535, 65_536, 65_537, 66_047, 1 << 20, (1 << 20) + 1, (1 << 20) + 511, 5_000_001];
    let origin = start(&scratch, &["--library", &library]);
    for size in sizes {
        std::fs::write(format!("{library}/plain-{size}.mp4"), pattern(1, size)).unwrap();
        origin.put(&format!("/kept-{size}.mp4"), &pattern(2, size));
    }
    kill(origin);
    let origin = start(&scratch, &["--library", &library]);
    for size in sizes {
        assert!(origin.get(&format!("/plain-{size}.mp4")).body == pattern(1, size), "{size}");
        assert!(origin.get(&format!("/kept-{size}.mp4")).body == pattern(2, size), "{size}");
    }
    origin.stop();
}

/// What brought a file into memory, and noted that, counted as a read of it beside that of its
/// reader. So each file of a scan moved to where what is read often is, and pushed that out.
#[test]
fn a_scan_of_the_library_leaves_what_is_read_often() {
    let scratch = Scratch::new("disk-scan");
    let library = scratch.path("library");
    std::fs::create_dir_all(&library).unwrap();
    let name = |number: usize| format!("film-{number}-x.mp4");
    let body = pattern(1, 1_000_000);
    (0..160).for_each(|number| {
        std::fs::write(format!("{library}/{}", name(number)), &body).unwrap();
    });
    let flags = ["--library", &library, "--shards", "1", "--memory", "32MiB"];
    let origin = Origin::start(&flags);
    let read = |number: usize| assert_eq!(origin.get(&format!("/{}", name(number))).status, 200);
    (0..4).for_each(|_| (0..8).for_each(read));
    (8..160).for_each(read);
    (0..8).for_each(|number| std::fs::remove_file(format!("{library}/{}", name(number))).unwrap());
    (0..8).for_each(read);
    origin.stop();
}
