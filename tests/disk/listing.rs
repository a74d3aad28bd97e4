//! Listings show what memory and disk have, each name once. They showed memory only, so that an
//! origin that was started again looked empty.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::support::{Origin, Scratch, pattern, run};
use super::{kill, start};

/// One page, and the name after which the next begins.
fn page(origin: &Origin, path: &str, more: &str) -> (Vec<Value>, Option<String>) {
    let answer = origin.get(&format!("/?Path={path}{more}"));
    assert_eq!(answer.status, 200, "{path}{more}: {}", answer.text());
    let mut json: Value = serde_json::from_slice(&answer.body).unwrap();
    let next = json["NextToken"].as_str().map(str::to_owned);
    let Value::Array(items) = json["Items"].take() else { panic!("no items") };
    (items, next)
}

/// All names of a folder, so many a page; something is done between pages.
fn names(origin: &Origin, path: &str, count: usize, mut between: impl FnMut(u32)) -> Vec<String> {
    let (mut names, mut more) = (Vec::new(), String::new());
    for number in 0.. {
        let (items, next) = page(origin, path, &format!("&MaxResults={count}{more}"));
        assert!(items.len() <= count);
        names.extend(items.iter().map(|item| item["Name"].as_str().unwrap().to_owned()));
        let Some(next) = next else { break };
        between(number);
        more = format!("&NextToken={next}");
    }
    names
}

fn all(origin: &Origin, path: &str) -> Vec<String> {
    names(origin, path, 1000, |_| {})
}

/// Runs the program as a client; it must end well.
#[track_caller]
fn good(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_headwater")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_was_uploaded_is_listed_after_a_restart_as_before() {
    let scratch = Scratch::new("disk-list-again");
    let origin = start(&scratch, &[]);
    for (name, size) in [("a.mp4", 5), ("b/1.m4s", 70_000), ("b/2.m4s", 0), ("c.txt", 3_000_000)] {
        let lines = ["Content-Type: video/x-own", "Cache-Control: max-age=77"];
        let body = pattern(1, size);
        assert_eq!(origin.request("PUT", &format!("/vod/{name}"), &lines, &body).status, 200);
    }
    let before = ["", "vod", "vod/b"].map(|path| page(&origin, path, ""));
    kill(origin);
    let origin = start(&scratch, &[]);
    let again = ["", "vod", "vod/b"].map(|path| page(&origin, path, ""));
    assert_eq!(again, before);
    assert_eq!(all(&origin, "vod"), ["a.mp4", "b", "c.txt"]);
    // Read ones are in memory and on disk.
    assert_eq!(origin.get("/vod/b/1.m4s").status, 200);
    assert_eq!(page(&origin, "vod/b", ""), before[2]);
    for path in ["vod/none", "vod/a.mp4", "vod/a.mp4/x", ".headwater"] {
        assert_eq!(origin.get(&format!("/?Path={path}")).status, 404, "{path}");
    }
    origin.stop();
}

#[test]
fn a_library_is_listed_as_it_is_served() {
    let scratch = Scratch::new("disk-list-library");
    let root = scratch.path("tree");
    for folder in ["films/one", "empty/within/another", ".headwater", "topics", "odd"] {
        fs::create_dir_all(format!("{root}/{folder}")).unwrap();
    }
    fs::write(format!("{root}/films/one/a.mp4"), pattern(1, 1000)).unwrap();
    fs::write(format!("{root}/films/list.m3u8"), "#EXTM3U\n").unwrap();
    for hidden in [".headwater/own", "topics/x", "odd/line\nend", "time"] {
        fs::write(format!("{root}/{hidden}"), "x").unwrap();
    }
    std::os::unix::fs::symlink("films", format!("{root}/link")).unwrap();
    assert!(run("mkfifo", &[&format!("{root}/films/pipe")]).0.success());
    let origin = Origin::start(&["--shards", "4", "--library", &root]);
    assert_eq!(all(&origin, ""), ["films"]);
    assert_eq!(all(&origin, "films"), ["list.m3u8", "one"]);
    for path in ["empty", "link", "odd", ".headwater", "films/pipe"] {
        assert_eq!(origin.get(&format!("/?Path={path}")).status, 404, "{path}");
    }
    let (items, _) = page(&origin, "films/one", "");
    let read = origin.get("/films/one/a.mp4");
    let etag = read.header("ETag").unwrap().trim_matches('"');
    assert_eq!(items[0]["ETag"].as_str(), Some(etag));
    assert_eq!(items[0]["LastModified"].as_str(), read.header("Last-Modified"));
    assert_eq!(items[0]["ContentType"], "video/mp4");
    assert_eq!(items[0]["ContentLength"], 1000);
    assert_eq!(page(&origin, "films/one", "").0, items, "now that it is in memory");
    origin.stop();
}

/// Memory, data and library have some names of one folder each, and some together.
#[test]
fn pages_are_of_one_list_whoever_has_the_names() {
    let scratch = Scratch::new("disk-list-mix");
    let library = scratch.path("library");
    fs::create_dir_all(format!("{library}/m")).unwrap();
    let flags = ["--library", library.as_str()];
    let origin = start(&scratch, &flags);
    let mut wanted = BTreeSet::new();
    for number in 0..90 {
        let name = format!("{number:03}");
        match number % 5 {
            0 | 1 => drop(origin.put(&format!("/m/{name}"), b"data")),
            2 => drop(origin.put(&format!("/m/{name}/within"), b"data")),
            _ => fs::write(format!("{library}/m/{name}"), "library").unwrap(),
        }
        wanted.insert(name);
    }
    kill(origin);
    let origin = start(&scratch, &flags);
    let mut in_memory = 0;
    for number in (0..120).step_by(3) {
        let name = format!("{number:03}");
        if number % 5 != 2 || number >= 90 {
            origin.put(&format!("/m/{name}?ttl_seconds=3600"), b"memory has this");
            wanted.insert(name);
            in_memory += 1;
        }
    }
    let wanted: Vec<String> = wanted.into_iter().collect();
    for count in [1, 7, 50, 1000] {
        assert_eq!(names(&origin, "m", count, |_| {}), wanted, "{count} a page");
    }
    let (items, _) = page(&origin, "m", "");
    let of_memory = items.iter().filter(|item| item["ContentLength"] == 15).count();
    assert_eq!(of_memory, in_memory, "memory goes before the disk");
    origin.stop();
}

#[test]
fn what_was_deleted_or_is_over_is_not_listed() {
    let scratch = Scratch::new("disk-list-gone");
    let config = scratch.path("config.toml");
    fs::write(&config, "[[path]]\npattern = \"**\"\ndurability = \"disk\"\n").unwrap();
    let flags = ["--config", config.as_str()];
    let origin = start(&scratch, &flags);
    for name in ["f/hot", "f/cold", "f/kept", "g/only"] {
        origin.put(&format!("/{name}"), b"x");
    }
    for name in ["f/brief", "h/brief"] {
        origin.put(&format!("/{name}?ttl_seconds=2"), b"x");
    }
    assert_eq!(origin.request("DELETE", "/f/hot", &[], b"").status, 200);
    assert_eq!(all(&origin, "f"), ["brief", "cold", "kept"]);
    kill(origin);
    let origin = start(&scratch, &flags);
    assert_eq!(all(&origin, "f"), ["brief", "cold", "kept"]);
    assert_eq!(all(&origin, ""), ["f", "g", "h"]);
    for name in ["f/cold", "g/only"] {
        assert_eq!(origin.request("DELETE", &format!("/{name}"), &[], b"").status, 200);
    }
    assert!(page(&origin, "f", "").0[0]["SecondsLeft"].as_u64().unwrap() < 2);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(all(&origin, "f"), ["kept"]);
    assert_eq!(all(&origin, ""), ["f"], "folders in which nothing is left");
    assert_eq!(origin.get("/?Path=h").status, 404);
    assert!(fs::exists(scratch.path("data/h/brief")).unwrap(), "nobody read it");
    origin.stop();
}

/// Pages are bounded, and a name that is there throughout is in exactly one of them, whatever
/// comes, goes and is read meanwhile.
#[test]
fn twenty_thousand_files_are_listed_once_each_and_in_order() {
    const COUNT: usize = 20_000;
    let scratch = Scratch::new("disk-list-many");
    let library = scratch.path("library");
    fs::create_dir_all(format!("{library}/many")).unwrap();
    let name = |number: usize| format!("{number:05}");
    for number in 0..COUNT {
        fs::write(format!("{library}/many/{}", name(number)), "x").unwrap();
    }
    let origin = start(&scratch, &["--library", &library]);
    let wanted: Vec<_> = (0..COUNT).map(name).collect();
    assert_eq!(all(&origin, "many"), wanted);
    let before = origin.anonymous_bytes();
    let mut passing = 0;
    let found = names(&origin, "many", 333, |number| {
        for place in [number as usize * 333, COUNT / 2, COUNT - 1] {
            let path = format!("/many/{}-passing", name(place));
            origin.put(&path, b"x");
            if number % 2 == 0 {
                assert_eq!(origin.request("DELETE", &path, &[], b"").status, 200);
            }
            assert_eq!(origin.get(&format!("/many/{}", name(place))).status, 200);
        }
        passing += 3;
    });
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "in order, and none twice");
    let lasting: Vec<_> = found.into_iter().filter(|name| name.len() == 5).collect();
    assert!(lasting == wanted && passing > 150);
    let grown = origin.anonymous_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes more");
    origin.stop();
}

#[test]
fn the_program_sees_and_deletes_what_lies_on_disk() {
    let scratch = Scratch::new("disk-list-program");
    let origin = start(&scratch, &[]);
    for number in 0..1200 {
        origin.put(&format!("/vod/film/{number}.m4s"), &pattern(number, 10));
    }
    origin.put("/vod/other/one", b"stays");
    kill(origin);
    let origin = start(&scratch, &[]);
    let url = |path: &str| origin.url(path);
    assert_eq!(good(&["ls", &url("/")]).lines().count(), 1201);
    assert_eq!(good(&["du", &url("/vod/film/")]), "1200 objects, 12000 bytes\n");
    assert!(good(&["verify", &url("/vod/")]).contains("1201 objects, 12005 bytes: 0 damaged"));
    assert!(good(&["rm", "--recursive", "--yes", &url("/vod/film/")]).contains("1200"));
    let left = good(&["ls", &url("/")]);
    assert!(left.ends_with("vod/other/one\n") && left.lines().count() == 1, "{left}");
    kill(origin);
    let origin = start(&scratch, &[]);
    assert_eq!(good(&["du", &origin.url("/")]), "1 objects, 5 bytes\n");
    assert!(!fs::exists(scratch.path("data/vod/film")).unwrap());
    origin.stop();
}

/// The header of a channel counts where it is; after a restart its segments were refused.
#[test]
fn strict_ingest_finds_a_header_on_disk() {
    let scratch = Scratch::new("disk-list-header");
    let config = scratch.path("config.toml");
    fs::write(&config, "[[path]]\npattern = \"**\"\nstrict_ingest = true\n").unwrap();
    let flags = ["--config", config.as_str()];
    let origin = start(&scratch, &flags);
    let put = |origin: &Origin, name: &str| {
        origin.request("PUT", &format!("/live/{name}"), &["Content-Type: video/mp4"], b"x").status
    };
    assert_eq!(put(&origin, "a/1.m4s"), 412);
    assert_eq!(put(&origin, "a/init.mp4"), 200);
    kill(origin);
    let origin = start(&scratch, &flags);
    assert_eq!(put(&origin, "a/1.m4s"), 200);
    assert_eq!(put(&origin, "b/1.m4s"), 412);
    origin.stop();
}

#[test]
fn a_folder_that_is_away_is_not_taken_for_empty() {
    let scratch = Scratch::new("disk-list-away");
    let origin = start(&scratch, &[]);
    origin.put("/a/one", b"x");
    fs::rename(scratch.path("data"), scratch.path("elsewhere")).unwrap();
    super::support::eventually("it is noticed", || origin.get("/?Path=a").status == 503);
    assert_eq!(origin.get("/a/one").status, 200);
    fs::rename(scratch.path("elsewhere"), scratch.path("data")).unwrap();
    super::support::eventually("it is back", || origin.get("/?Path=a").status == 200);
    origin.stop();
}
