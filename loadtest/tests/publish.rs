//! Publishing end to end: what a scripted store holds afterwards, and what the report says.
#![allow(clippy::unwrap_used)]

#[path = "support/command.rs"]
mod command;
mod support;

use std::io::{Read, Write};

use command::loadtest;
use loadtest::publish::stamp::{Arrived, Scanner};
use support::{Behaviour, Server};

fn get(server: &Server, path: &str) -> (u16, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some(head) = text.find("\r\n\r\n") else { continue };
        let length = text.split("Content-Length: ").nth(1).unwrap();
        let length: usize = length[..length.find('\r').unwrap()].parse().unwrap();
        if bytes.len() >= head + 4 + length {
            return (text[9..12].parse().unwrap(), bytes[head + 4..].to_vec());
        }
    }
}

fn chunks_of(segment: &[u8]) -> Vec<Arrived> {
    let mut chunks = Vec::new();
    let mut scanner = Scanner::new(true);
    scanner.push(segment, |arrived| chunks.push(arrived));
    assert!(scanner.is_whole());
    chunks
}

#[test]
fn a_live_window_slides() {
    let server = Server::start(Behaviour::Store);
    let flags = "--segment 500ms --duration 3s --window 2 --kept 1 --scale 0.1 --seed 7";
    let ended = loadtest(&format!("publish {} {flags}", server.url("/live")));
    let report = ended.report();
    assert_eq!(ended.code, 0, "{}", ended.text);
    let operation =
        |name: &str| report.operations.iter().find(|operation| operation.name == name).unwrap();
    assert_eq!(operation("segment").completed, 6 * 5);
    assert_eq!(operation("delete").completed, 3 * 5);
    assert_eq!(report.load.failed, 0);
    let (status, playlist) = get(&server, "/live/c0/v1/index.m3u8");
    let playlist = String::from_utf8(playlist).unwrap();
    assert_eq!(status, 200);
    assert!(playlist.contains("MEDIA-SEQUENCE:4\n"), "{playlist}");
    assert!(playlist.ends_with("seg-4.m4s\n#EXTINF:0.500,\nseg-5.m4s\n#EXT-X-ENDLIST\n"));
    assert_eq!(get(&server, "/live/c0/v1/seg-2.m4s").0, 404, "left the window");
    assert_eq!(get(&server, "/live/c0/v1/init.mp4").0, 200);
    assert_eq!(get(&server, "/live/c0/manifest.mpd").0, 200);
    let (_, segment) = get(&server, "/live/c0/v1/seg-5.m4s");
    let (_, before) = get(&server, "/live/c0/v1/seg-4.m4s");
    let (now, then) = (chunks_of(&segment)[0], chunks_of(&before)[0]);
    assert_eq!((now.right, now.stamp.sequence, now.stamp.track), (Some(true), 5, 1));
    assert_eq!(now.stamp.due_ns - then.stamp.due_ns, 500_000_000, "an absolute schedule");
    assert!(now.stamp.sent_ns >= now.stamp.due_ns);
}

#[test]
fn a_growing_segment_is_stamped_chunk_by_chunk() {
    let server = Server::start(Behaviour::Store);
    let flags = "--segment 1s --chunk 250ms --duration 2s --tracks v:400k --vary 0";
    let ended = loadtest(&format!("publish {} {flags}", server.url("/low")));
    assert_eq!(ended.code, 0, "{}", ended.text);
    let (_, segment) = get(&server, "/low/c0/v0/seg-1.m4s");
    let chunks = chunks_of(&segment);
    assert_eq!(chunks.len(), 4);
    for (number, pair) in chunks.windows(2).enumerate() {
        let apart = pair[1].stamp.due_ns - pair[0].stamp.due_ns;
        assert_eq!((apart, pair[1].right), (250_000_000, Some(true)), "chunk {number}");
        assert_eq!(pair[1].stamp.payload, 12_500);
    }
    let chunk =
        ended.report().operations.iter().find(|operation| operation.name == "chunk").unwrap();
    assert_eq!(chunk.completed, 8);
    assert_eq!(chunk.lateness.as_ref().unwrap().count(), 8);
}

#[test]
fn vod_is_whole_and_equal_in_every_run() {
    let server = Server::start(Behaviour::Store);
    let mut payloads = Vec::new();
    for folder in ["/one", "/two"] {
        let flags = "--vod 6s --tracks v:300k,a:64k --seed 3";
        let ended = loadtest(&format!("publish {} {flags}", server.url(folder)));
        assert_eq!(ended.code, 0, "{}", ended.text);
        let report = ended.report();
        assert!(report.load.closed && report.load.offered.is_none());
        let (_, playlist) = get(&server, &format!("{folder}/c0/a0/index.m3u8"));
        let playlist = String::from_utf8(playlist).unwrap();
        assert_eq!(playlist.matches("#EXTINF").count(), 3, "{playlist}");
        assert!(playlist.contains("TYPE:VOD") && playlist.contains("#EXT-X-ENDLIST"));
        let (_, segment) = get(&server, &format!("{folder}/c0/v0/seg-2.m4s"));
        let payload = usize::try_from(chunks_of(&segment)[0].stamp.payload).unwrap();
        payloads.push(segment[segment.len() - payload..].to_vec());
    }
    assert_eq!(payloads[0], payloads[1]);
}

#[test]
fn a_target_that_takes_nothing_is_a_sentence() {
    for (behaviour, part) in [
        (Behaviour::Status(405), "answered 405"),
        (Behaviour::Status(403), "--header"),
        (Behaviour::Garbage, "not HTTP"),
    ] {
        let server = Server::start(behaviour);
        let ended = loadtest(&format!("publish {}", server.url("/x")));
        assert_eq!(ended.code, 7, "{}", ended.text);
        assert!(ended.report.is_none() && ended.text.contains(part), "{}", ended.text);
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = loadtest(&format!("publish http://{free}/x"));
    assert_eq!(ended.code, 6, "{}", ended.text);
    assert!(ended.text.contains("refused"), "{}", ended.text);
}
