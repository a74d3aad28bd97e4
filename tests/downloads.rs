//! Everyday download tools take up a broken download where it stopped.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Origin, Scratch, pattern, run};

/// Lets a tool complete a file of which the beginning is already there, and compares.
#[track_caller]
fn resume(program: &str, arguments: impl Fn(&Scratch, &str) -> Vec<String>) {
    let origin = Origin::start(&["--shards", "2"]);
    let body = pattern(7, 5_000_000);
    origin.put("/vod/film.mp4", &body);
    let scratch = Scratch::new(program);
    std::fs::write(scratch.path("film.mp4"), &body[..1_234_567]).unwrap();
    let arguments = arguments(&scratch, &origin.url("/vod/film.mp4"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (status, said) = run(program, &arguments);
    assert!(status.success(), "{said}");
    assert!(std::fs::read(scratch.path("film.mp4")).unwrap() == body, "other bytes: {said}");
    origin.stop();
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn curl_resumes() {
    resume("curl", |scratch, url| {
        let file = scratch.path("film.mp4");
        owned(&["--silent", "--show-error", "--fail", "--continue-at", "-", "--output", &file, url])
    });
}

#[test]
fn wget_resumes() {
    resume("wget", |scratch, url| {
        let file = scratch.path("film.mp4");
        owned(&["--no-verbose", "--tries=1", "--continue", "--output-document", &file, url])
    });
}

#[test]
fn aria2_resumes_over_several_connections() {
    resume("aria2c", |scratch, url| {
        let folder = scratch.0.to_str().unwrap();
        owned(&[
            "--no-conf",
            "--continue=true",
            "--split=4",
            "--max-connection-per-server=4",
            "--min-split-size=1M",
            "--dir",
            folder,
            "--out",
            "film.mp4",
            url,
        ])
    });
}

#[test]
fn curl_uploads_with_and_without_a_known_size() {
    let origin = Origin::start(&["--shards", "2"]);
    let body = pattern(8, 3_000_000);
    let scratch = Scratch::new("curl-upload");
    let file = scratch.path("body");
    std::fs::write(&file, &body).unwrap();
    for (key, lines) in [("/up/known.ts", "X-Plain: 1"), ("/up/chunked.ts", CHUNKED)] {
        let url = origin.url(key);
        let arguments =
            ["--silent", "--show-error", "--fail", "--header", lines, "--upload-file", &file, &url];
        let (status, said) = run("curl", &arguments);
        assert!(status.success(), "{said}");
        assert!(origin.get(key).body == body, "{key}: other bytes");
    }
    origin.stop();
}

const CHUNKED: &str = "Transfer-Encoding: chunked";
