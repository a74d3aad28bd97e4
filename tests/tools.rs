//! What can be done with a data folder from the command line, while an origin uses it.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::process::{Command, Output};

use support::{Origin, Scratch, pattern};

fn headwater(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headwater")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_data_folder_is_listed_counted_and_verified() {
    let folder = Scratch::new("tools");
    let data = folder.path("data");
    let origin = Origin::start(&["--shards", "2", "--data", &data]);
    for number in 0..5 {
        origin.put(&format!("/films/{number}.mp4"), &pattern(number, 300_000));
    }
    origin.put("/other.txt", b"text");
    let listed = headwater(&["ls", &data, "/films/"]);
    assert!(listed.status.success());
    let lines: Vec<String> = said(&listed).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[3].contains("300000") && lines[3].ends_with(" films/3.mp4"), "{lines:?}");
    assert!(lines[3].contains("video/mp4"), "{lines:?}");
    assert_eq!(said(&headwater(&["du", &data])), "6 objects, 1500004 bytes\n");
    let fine = headwater(&["verify", &data]);
    assert_eq!(fine.status.code(), Some(0));
    assert_eq!(said(&fine), "6 objects, 1500004 bytes: 0 damaged, 0 without a sum\n");

    let path = format!("{data}/films/2.mp4");
    let mut bytes = fs::read(&path).unwrap();
    bytes[200_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    fs::write(format!("{data}/by-hand"), "x").unwrap();
    let short = format!("{data}/films/4.mp4");
    fs::OpenOptions::new().write(true).open(&short).unwrap().set_len(5).unwrap();
    let found = headwater(&["verify", &data]);
    assert_eq!(found.status.code(), Some(1));
    let text = said(&found);
    assert!(text.contains("damaged: films/2.mp4: its bytes are not what was written"), "{text}");
    assert!(text.contains("damaged: films/4.mp4: 5 bytes instead of 300000"), "{text}");
    assert!(text.ends_with("2 damaged, 1 without a sum\n"), "{text}");
    assert_eq!(headwater(&["verify", &folder.path("nothing")]).status.code(), Some(1));
    origin.stop();
}
