//! The program as a client, as a user meets it: trees up, listings, files down, deletion, and what
//! it says when something is wrong.
#![allow(clippy::unwrap_used)]

#[path = "client/faults.rs"]
mod faults;
mod support;

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use support::access::{Guarded, bearer, write_secret};
use support::{Origin, Scratch, pattern};

fn headwater(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(arguments).env_remove("HEADWATER_TOKEN").stdin(Stdio::null());
    command
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs it; it must end well and say nothing on standard error, not even of progress.
#[track_caller]
fn good(arguments: &[&str]) -> String {
    let output = headwater(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", err(&output));
    assert_eq!(err(&output), "", "{arguments:?}");
    out(&output)
}

/// Runs it; it must end with this code and say this in one line on standard error.
#[track_caller]
fn bad(arguments: &[&str], code: i32, words: &str) {
    let output = headwater(arguments);
    let said = err(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words) && said.lines().count() == 1, "{arguments:?}: {said}");
}

/// A film as a packager leaves it, with names that need care.
fn film() -> Scratch {
    let folder = Scratch::new("client-film");
    for rendition in ["high", "low"] {
        fs::create_dir_all(folder.path(rendition)).unwrap();
        for (number, len) in [(0, 0), (1, 100_000), (2, 200_000)] {
            let bytes = pattern(number, len);
            fs::write(folder.path(&format!("{rendition}/seg {number}#%.m4s")), bytes).unwrap();
        }
    }
    fs::write(folder.path("master.m3u8"), "#EXTM3U\n").unwrap();
    fs::write(folder.path("caf\u{e9}.vtt"), "WEBVTT\n").unwrap();
    std::os::unix::fs::symlink("master.m3u8", folder.path("link.m3u8")).unwrap();
    folder
}

#[test]
fn a_tree_goes_up_is_seen_comes_down_and_goes_away() {
    let origin = Origin::start(&["--shards", "2"]);
    let film = film();
    let (contents, base) = (film.path(""), origin.url("/vod/"));
    let put = headwater(&["put", "--recursive", &contents, &origin.url("/vod/film/")]);
    assert_eq!(out(&put), "8 objects, 600015 bytes\n", "{}", err(&put));
    assert!(err(&put).contains("link.m3u8: passed over"), "{}", err(&put));
    assert_eq!(origin.get("/vod/film/high/seg%202%23%25.m4s").body, pattern(2, 200_000));

    let listed = good(&["ls", &base]);
    let keys: Vec<&str> = listed.lines().filter_map(|line| line.split("vod/").nth(1)).collect();
    let high = ["film/high/seg 0#%.m4s", "film/high/seg 1#%.m4s", "film/high/seg 2#%.m4s"];
    let low = high.map(|key| key.replace("high", "low"));
    let first = ["film/caf\u{e9}.vtt"];
    let wanted = first.iter().copied().chain(high).chain(low.iter().map(String::as_str));
    assert_eq!(keys, wanted.chain(["film/master.m3u8"]).collect::<Vec<_>>());
    let line = listed.lines().find(|line| line.ends_with("high/seg 2#%.m4s")).unwrap();
    let words: Vec<&str> = line.split_whitespace().take(3).collect();
    assert_eq!(words, ["200000", "-", "video/iso.segment"], "{line}");
    let part = good(&["ls", &origin.url("/vod/film/h")]);
    assert_eq!(part.lines().count(), 3, "{part}");
    assert_eq!(good(&["du", &base]), "8 objects, 600015 bytes\n");
    let verified = good(&["verify", &origin.url("/")]);
    assert_eq!(verified, "8 objects, 600015 bytes: 0 damaged, 0 without a sum\n");

    let into = Scratch::new("client-into");
    let url = origin.url("/vod/film/high/seg%202%23%25.m4s");
    assert_eq!(good(&["get", &url, &into.path("")]), "");
    assert_eq!(fs::read(into.path("seg 2#%.m4s")).unwrap(), pattern(2, 200_000));
    assert_eq!(fs::read_dir(&into.0).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(headwater(&["get", &url, "-"]).stdout, pattern(2, 200_000));
    good(&["get", &url, "/dev/null"]);
    assert!(!fs::metadata("/dev/null").unwrap().is_file());

    assert_eq!(good(&["rm", &origin.url("/vod/film/master.m3u8")]), "");
    bad(&["rm", &base], 2, "--recursive");
    bad(&["rm", "--recursive", &base], 2, "--yes");
    assert_eq!(good(&["rm", "--recursive", "--yes", &base]), "7 objects deleted\n");
    bad(&["ls", &base], 1, "nothing is listed there (404)");
    assert_eq!(good(&["du", &origin.url("/")]), "0 objects, 0 bytes\n");
    origin.stop();
}

#[test]
fn a_folder_of_several_pages_is_listed_and_deleted_whole() {
    const COUNT: usize = 2_500;
    let origin = Origin::start(&["--shards", "2"]);
    let mut client = origin.client();
    for number in 0..COUNT {
        let target = format!("/many/{number:04}.txt");
        assert_eq!(client.request("PUT", &target, &[], b"x").unwrap().status, 200);
    }
    origin.put("/other.txt", b"stays");
    let url = origin.url("/many/");
    let listed = good(&["ls", &url]);
    let keys: Vec<String> =
        listed.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
    let wanted: Vec<String> = (0..COUNT).map(|number| format!("many/{number:04}.txt")).collect();
    assert!(keys == wanted, "{} of {COUNT}", keys.len());
    assert_eq!(good(&["du", &url]), "2500 objects, 2500 bytes\n");
    assert_eq!(good(&["rm", "-r", "--yes", &url]), "2500 objects deleted\n");
    assert_eq!(good(&["ls", &origin.url("/")]).lines().count(), 1);
    origin.stop();
}

#[test]
fn an_upload_says_how_it_is_to_be_kept() {
    let origin = Origin::start(&["--shards", "1"]);
    let scratch = Scratch::new("client-put");
    fs::write(scratch.path("a.bin"), pattern(7, 3_000_000)).unwrap();
    let file = scratch.path("a.bin");
    let url = origin.url("/kept");
    good(&["put", &file, &url, "--content-type", "video/x-own", "--if-none-match"]);
    let answer = origin.get("/kept");
    assert_eq!(answer.body, pattern(7, 3_000_000));
    assert_eq!(answer.header("content-type"), Some("video/x-own"));
    bad(&["put", &file, &url, "--if-none-match"], 1, "already (412)");
    good(&["put", &file, &origin.url("/long"), "--ttl", "1h"]);
    let line = good(&["ls", &origin.url("/long")]);
    let left = line.split_whitespace().nth(1).unwrap().strip_suffix('s').unwrap();
    assert!((3_500..=3_600).contains(&left.parse::<u32>().unwrap()), "{line}");
    good(&["rm", &origin.url("/long")]);
    good(&["put", &file, &origin.url("/brief/"), "--ttl", "1s"]);
    assert_eq!(origin.get("/brief/a.bin").status, 200);
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert_eq!(origin.get("/brief/a.bin").status, 404);

    let mut child =
        command(&["put", "-", &origin.url("/piped.txt")]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for word in ["from ", "standard ", "input"] {
        input.write_all(word.as_bytes()).unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    assert_eq!(origin.get("/piped.txt").text(), "from standard input");
    // A segment that arrives in chunks can be read meanwhile: its tag comes before its sum.
    let piped = command(&["put", "-", &origin.url("/piped.m4s")])
        .stdin(fs::File::open(&file).unwrap())
        .status();
    assert!(piped.unwrap().success());
    let verified = good(&["verify", &origin.url("/")]);
    assert_eq!(verified, "3 objects, 6000019 bytes: 0 damaged, 1 without a sum\n");

    bad(&["put", &scratch.path(""), &url], 2, "--recursive");
    bad(&["put", &file, &file, &url], 2, "slash");
    bad(&["put", &scratch.path("none"), &url], 1, "No such file");
    origin.stop();
}

#[test]
fn of_several_files_those_that_can_be_are_stored() {
    let origin = Origin::start(&["--shards", "1"]);
    let scratch = Scratch::new("client-some");
    fs::write(scratch.path("a"), "a").unwrap();
    fs::write(scratch.path("c"), "c").unwrap();
    let files = ["a", "b", "c"].map(|name| scratch.path(name));
    let output = headwater(&["put", &files[0], &files[1], &files[2], &origin.url("/x/")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output), "2 objects, 2 bytes, 1 not stored\n");
    assert!(err(&output).contains("/b: No such file"), "{}", err(&output));
    assert_eq!(origin.get("/x/c").text(), "c");
    origin.stop();
}

/// Runs it on a terminal of its own, typing `typed`; its exit code and what the terminal showed.
fn on_a_terminal(line: &str, typed: &str) -> (Option<i32>, String) {
    let line = format!("{} {line}", env!("CARGO_BIN_EXE_headwater"));
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), out(&output))
}

#[test]
fn a_terminal_gets_bars_and_questions() {
    let origin = Origin::start(&["--shards", "1"]);
    origin.put("/films/a.mp4", &pattern(1, 20_000_000));
    let (code, shown) = on_a_terminal(&format!("verify {}", origin.url("/")), "");
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("MiB/s") && shown.contains("\x1b["), "{shown}");
    let last = shown.lines().last().unwrap();
    assert!(last.ends_with("1 objects, 20000000 bytes: 0 damaged, 0 without a sum"), "{shown}");

    let remove = format!("rm --recursive {}", origin.url("/films/"));
    let (code, shown) = on_a_terminal(&remove, "n\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("delete everything below http://"), "{shown}");
    assert_eq!(origin.request("HEAD", "/films/a.mp4", &[], b"").status, 200);
    let (code, shown) = on_a_terminal(&remove, "y\n");
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(origin.request("HEAD", "/films/a.mp4", &[], b"").status, 404);
    origin.stop();
}

#[test]
fn tokens_come_from_a_flag_a_file_or_the_environment() {
    const TOKEN: &str = "a-token-for-this-test-only";
    const READER: &str = "a-token-that-may-only-read";
    let config = format!(
        "[publish]\ntokens = [\"{TOKEN}\"]\n[read]\nwho = \"token\"\ntokens = [\"{READER}\"]\n"
    );
    let guarded = Guarded::start("client-token", "1", &config);
    let url = guarded.origin.url("/a.txt");
    let file = guarded.scratch.path("a.txt");
    fs::write(&file, "text").unwrap();
    let secret = guarded.scratch.path("token");
    write_secret(&secret, &format!("# of this test\nencoder:{TOKEN}\n"));
    bad(&["put", &file, &url], 1, "a token is asked for");
    bad(&["put", &file, &url, "--token", "another-token-altogether"], 1, "(401)");
    bad(&["put", &file, &url, "--token", "two words"], 2, "one word");
    bad(&["put", &file, &url, "--token-file", &guarded.scratch.path("none")], 2, "No such file");
    good(&["put", &file, &url, "--token-file", &secret]);
    let lines = [bearer(TOKEN)];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(guarded.origin.request("HEAD", "/a.txt", &lines, b"").status, 403);
    let output = command(&["rm", &url]).env("HEADWATER_TOKEN", TOKEN).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    bad(&["ls", &guarded.origin.url("/")], 1, "(401)");
    bad(&["ls", &guarded.origin.url("/"), "--token", TOKEN], 1, "(403)");
    good(&["ls", &guarded.origin.url("/"), "--token", READER]);
    assert!(!guarded.stop().contains(TOKEN));
}

#[test]
fn a_download_goes_on_where_it_stopped_only_in_the_same_object() {
    let origin = Origin::start(&["--shards", "1"]);
    let body = pattern(3, 2_000_000);
    origin.put("/film.mp4", &body);
    let scratch = Scratch::new("client-resume");
    let (url, file) = (origin.url("/film.mp4"), scratch.path("film.mp4"));
    // A proxy that gives up within the body leaves what a broken network would.
    let cut = faults::Cutting::start(origin.http, 700_000);
    let output = headwater(&["get", &cut.url("/film.mp4"), &file]);
    assert_eq!(output.status.code(), Some(1));
    let said = err(&output);
    assert!(said.contains("missing") && said.contains("--resume"), "{said}");
    assert!(fs::metadata(&file).is_err(), "half a file has no name");
    let part = faults::only_file(&scratch);
    let had = fs::read(&part).unwrap();
    assert!(had.len() > 100_000 && body.starts_with(&had), "{} bytes", had.len());

    // So few bytes pass that only the rest of it can have been asked for.
    let cut = faults::Cutting::start(origin.http, 1_400_000);
    good(&["get", "--resume", &cut.url("/film.mp4"), &file]);
    assert_eq!(fs::read(&file).unwrap(), body);
    assert!(!part.exists());

    // What is there of another version is not gone on with.
    fs::rename(&file, &part).unwrap();
    fs::OpenOptions::new().write(true).open(&part).unwrap().set_len(500_000).unwrap();
    let other = pattern(4, 2_000_000);
    origin.put("/film.mp4", &other);
    good(&["get", "--resume", &url, &file]);
    assert_eq!(fs::read(&file).unwrap(), other);

    // What was changed here since is noticed by the sum, and thrown away.
    origin.put("/film.mp4", &body);
    fs::write(&part, &other[..500_000]).unwrap();
    bad(&["get", "--resume", &url, &file], 1, "not those of its entity tag");
    assert!(!part.exists());
    assert_eq!(fs::read(&file).unwrap(), other, "the earlier file stays");
    origin.stop();
}
