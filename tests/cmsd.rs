//! Answers that say what is true of each alone: how long it was held, what its connection allows.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::access::{Guarded, wait_for};
use support::wire::{Answer, Client};

const RULES: &str = "[[path]]\npattern = 'told/**'\ncmsd = true\ncmsd_dynamic = true\n\
    hold_ms = 20_000\n[[path]]\npattern = 'short/**'\ncmsd_dynamic = true\nhold_ms = 200\n";

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n\
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
    #EXT-X-MEDIA-SEQUENCE:1\n#EXTINF:10,\n1.m4s\n";

/// Estimated throughput in kbit/s, and the round trip in milliseconds.
fn dynamic(answer: &Answer) -> Option<(u64, u64)> {
    let said =
        answer.header("CMSD-Dynamic")?.strip_prefix("\"headwater\";etp=")?.split_once(";rtt=")?;
    Some((said.0.parse().unwrap(), said.1.parse().unwrap()))
}

/// What is said as CMSD-Static, by line: the stored one, and that of this answer.
fn statics(answer: &Answer) -> impl Iterator<Item = &str> {
    let lines = answer.headers.iter().filter(|line| line.0.eq_ignore_ascii_case("CMSD-Static"));
    lines.map(|line| line.1.as_str())
}

/// Milliseconds for which an answer says that it was held.
fn held_ms(answer: &Answer) -> Option<u64> {
    statics(answer).find_map(|line| line.strip_prefix("ht=")?.parse().ok())
}

/// A request that waits.
fn ask(guarded: &Guarded, target: &str) -> Client {
    let origin = &guarded.origin;
    let before = origin.metric("headwater_reads_waiting", "");
    let mut client = origin.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: o\r\n\r\n").as_bytes()).unwrap();
    wait_for("reader", || (origin.metric("headwater_reads_waiting", "") > before).then_some(()));
    client
}

#[test]
fn held_answers_say_for_how_long() {
    for shards in ["1", "4"] {
        let guarded = Guarded::start(&format!("cmsd-held-{shards}"), shards, RULES);
        let origin = &guarded.origin;
        origin.put("/told/v.m3u8", PLAYLIST.as_bytes());
        let mut reload = ask(&guarded, "/told/v.m3u8?_HLS_msn=2");
        let mut object = ask(&guarded, "/told/2.m4s");
        std::thread::sleep(Duration::from_millis(300));
        origin.put("/told/2.m4s", b"media");
        origin.put("/told/v.m3u8", [PLAYLIST, "#EXTINF:10,\n2.m4s\n"].concat().as_bytes());
        for (client, stored) in [(&mut reload, "ot=m,sf=h,st=l,n="), (&mut object, "n=")] {
            let answer = client.answer(false).unwrap();
            assert_eq!(answer.status, 200);
            let held_ms = held_ms(&answer).unwrap();
            assert!((290..20_000).contains(&held_ms), "{held_ms} ms");
            assert!(dynamic(&answer).is_some());
            assert!(statics(&answer).any(|line| line.starts_with(stored)));
        }
        // What was not held says nothing of it, also on a connection that was.
        let again = object.request("GET", "/told/2.m4s", &[], b"").unwrap();
        assert!(held_ms(&again).is_none() && dynamic(&again).is_some());
        let late = origin.get("/short/never.m4s");
        assert_eq!(late.status, 404);
        assert!(held_ms(&late).unwrap() >= 190, "{:?}", held_ms(&late));
        guarded.stop();
    }
}

#[test]
fn answers_say_what_their_connection_allows() {
    let guarded = Guarded::start("cmsd-way", "4", RULES);
    let origin = &guarded.origin;
    for folder in ["told", "plain"] {
        origin.put(&format!("/{folder}/1.m4s"), b"media");
        origin.put(&format!("/{folder}/v.m3u8"), PLAYLIST.as_bytes());
        for target in ["1.m4s", "v.m3u8", "v.m3u8?_HLS_msn=1"] {
            let target = format!("/{folder}/{target}");
            for (lines, status) in
                [(&[][..], 200), (&["Range: bytes=0-1"], 206), (&["If-None-Match: *"], 304)]
            {
                // The third answer to a target is one that would be made for many.
                for _ in 0..3 {
                    let answer = origin.request("GET", &target, lines, b"");
                    assert_eq!(answer.status, status, "{target}");
                    let said = dynamic(&answer);
                    assert_eq!(said.is_some(), folder == "told", "{target} {status}");
                    assert!(said.is_none_or(|(etp, rtt)| etp > 0 && rtt > 0), "{said:?}");
                }
            }
            let head = origin.client().request("HEAD", &target, &[], b"").unwrap();
            assert_eq!(dynamic(&head).is_some(), folder == "told", "{target}");
        }
    }
    let put = origin.put("/told/1.m4s", b"other");
    assert!(dynamic(&put).is_none(), "uploads say nothing");
    guarded.stop();
}
