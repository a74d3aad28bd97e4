//! Playlists as gzip: who gets them, and that they say the same.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::io::Read;

use flate2::read::GzDecoder;
use support::wire::Answer;
use support::{Origin, Scratch};

const GZIP: &str = "Accept-Encoding: br, gzip";

fn start(name: &str, shards: &str) -> (Scratch, Origin) {
    let scratch = Scratch::new(name);
    let file = scratch.path("headwater.toml");
    let rules = "[[path]]\npattern = 'live/**'\ngzip = true\n\
                 [[path]]\npattern = 'own/**'\ngzip = true\ncors_origins = 'https://p.example'\n";
    std::fs::write(&file, rules).unwrap();
    let origin = Origin::start(&["--config", &file, "--shards", shards]);
    (scratch, origin)
}

/// A playlist with blocking reload and skipping whose last segment is `last`.
fn playlist(last: u64) -> String {
    let mut text = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,PART-HOLD-BACK=1.5\n\
        #EXT-X-PART-INF:PART-TARGET=0.5\n"
        .to_owned();
    let _ = writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{}", last - 30);
    for number in last - 30..=last {
        let _ = writeln!(text, "#EXTINF:2,\nsegment-{number}.m4s");
    }
    text
}

#[track_caller]
fn unzipped(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("Content-Encoding"), Some("gzip"));
    assert!(vary(answer).contains(&"Accept-Encoding"), "{:?}", answer.headers);
    assert!(answer.header("ETag").unwrap().ends_with("-gzip\""));
    let mut text = String::new();
    GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
fn plain(answer: &Answer) -> String {
    assert_eq!(answer.header("Content-Encoding"), None);
    assert!(!answer.header("ETag").unwrap().ends_with("-gzip\""));
    answer.text().into_owned()
}

fn vary(answer: &Answer) -> Vec<&str> {
    let lines = answer.headers.iter().filter(|line| line.0.eq_ignore_ascii_case("Vary"));
    lines.map(|line| line.1.as_str()).collect()
}

#[test]
fn a_playlist_goes_compressed_to_who_takes_it() {
    for shards in ["1", "4"] {
        let (_scratch, origin) = start(&format!("gzip-{shards}"), shards);
        let with = |target: &str, line: &str| origin.request("GET", target, &[line], b"");
        for last in [100, 101] {
            let text = playlist(last);
            for folder in ["live/a", "live/b", "own/c"] {
                let target = format!("/{folder}/v.m3u8");
                origin.put(&target, text.as_bytes());
                for _ in 0..3 {
                    let short = with(&target, GZIP);
                    assert_eq!(unzipped(&short), text);
                    assert!(short.body.len() * 2 < text.len());
                    let whole = origin.get(&target);
                    assert_eq!(
                        (plain(&whole), vary(&whole).contains(&"Accept-Encoding")),
                        (text.clone(), true)
                    );
                }
                assert_eq!(plain(&with(&target, "Accept-Encoding: gzip;q=0, *")), text);
                let short = with(&target, GZIP);
                let head = origin.request("HEAD", &target, &[GZIP], b"");
                assert_eq!(head.header("ETag"), short.header("ETag"));
                let length = short.body.len().to_string();
                assert_eq!(head.header("Content-Length"), Some(length.as_str()));
                let closing = origin.request("GET", &target, &[GZIP, "Connection: close"], b"");
                assert_eq!(unzipped(&closing), text);
                let tag = format!("If-None-Match: {}", short.header("ETag").unwrap());
                let known = origin.request("GET", &target, &[GZIP, &tag], b"");
                assert_eq!((known.status, known.header("ETag")), (304, short.header("ETag")));
                let lists = known_by_a_list(&origin, &target, short.header("ETag").unwrap());
                assert_eq!(lists, [304, 304, 304, 304, 200, 200], "{target}");
                let part = origin.request("GET", &target, &[GZIP, "Range: bytes=0-6"], b"");
                assert_eq!((part.status, plain(&part).as_str()), (206, "#EXTM3U"));
            }
        }
        origin.stop();
    }
}

/// Caches ask with every tag that they hold; only a lone, strong one was recognised.
fn known_by_a_list(origin: &Origin, target: &str, tag: &str) -> [u16; 6] {
    let stored = tag.replace("-gzip", "");
    let lists: [&[&str]; 6] = [
        &[&format!("If-None-Match: \"a\", {tag} , \"b\"")],
        &[&format!("If-None-Match: \"a\",W/{tag}")],
        &["If-None-Match: *"],
        &["If-None-Match: \"a\"", &format!("If-None-Match: {tag}")],
        // The tag of the plain form is not that of the one that would be sent.
        &[&format!("If-None-Match: {stored}, \"b\"")],
        &["If-None-Match: \"a\", \"b\""],
    ];
    lists.map(|lines| origin.request("GET", target, &[&[GZIP], lines].concat(), b"").status)
}

/// Only answers with a whole playlist said that it has two forms, so that a cache which took a 304
/// or a range took it for the only one.
#[test]
fn answers_without_the_whole_body_name_both_forms_too() {
    for shards in ["1", "4"] {
        let (_scratch, origin) = start(&format!("gzip-vary-{shards}"), shards);
        for (folder, offered) in [("live/a", true), ("live/b", true), ("other", false)] {
            let target = format!("/{folder}/v.m3u8");
            origin.put(&target, playlist(100).as_bytes());
            let whole = origin.get(&target);
            let short = origin.request("GET", &target, &[GZIP], b"");
            let tag =
                |answer: &Answer| format!("If-None-Match: {}", answer.header("ETag").unwrap());
            let since = format!("If-Modified-Since: {}", whole.header("Last-Modified").unwrap());
            let expected: &[&str] = if offered { &["Accept-Encoding"] } else { &[] };
            for (lines, status) in [
                (vec![tag(&whole)], 304),
                (vec![GZIP.to_owned(), tag(&short)], 304),
                (vec![since], 304),
                (vec!["Range: bytes=0-6".to_owned()], 206),
                (vec!["Range: bytes=0-6,20-26".to_owned()], 206),
            ] {
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let answer = origin.request("GET", &target, &lines, b"");
                assert_eq!((answer.status, &vary(&answer)[..]), (status, expected), "{lines:?}");
            }
        }
        origin.stop();
    }
}

#[test]
fn reloads_and_delta_updates_are_compressed_too() {
    let (_scratch, origin) = start("gzip-reload", "2");
    origin.put("/live/v.m3u8", playlist(50).as_bytes());
    for query in ["_HLS_msn=50", "_HLS_skip=YES", "_HLS_msn=50&_HLS_skip=YES"] {
        let target = format!("/live/v.m3u8?{query}");
        for _ in 0..2 {
            let whole = origin.get(&target);
            let short = origin.request("GET", &target, &[GZIP], b"");
            assert_eq!(unzipped(&short), plain(&whole), "{query}");
            assert_eq!(vary(&whole), ["Accept-Encoding"], "{query}");
            assert_eq!(short.header("Cache-Control"), whole.header("Cache-Control"), "{query}");
            assert_eq!(whole.text().contains("EXT-X-SKIP"), query.contains("skip"));
            let tag = format!("If-None-Match: {}", short.header("ETag").unwrap());
            if query.contains("skip") {
                let known = origin.request("GET", &target, &[GZIP, &tag], b"");
                assert_eq!(known.status, 304, "{query}");
            }
        }
    }
    // A reload that waits gets the next version.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let target = "/live/v.m3u8?_HLS_msn=51";
            unzipped(&origin.request("GET", target, &[GZIP], b""))
        });
        std::thread::sleep(std::time::Duration::from_millis(300));
        origin.put("/live/v.m3u8", playlist(51).as_bytes());
        assert_eq!(waiting.join().unwrap(), playlist(51));
    });
    origin.stop();
}

#[test]
fn what_is_no_playlist_or_not_worth_it_stays() {
    let (_scratch, origin) = start("gzip-not", "2");
    let text = playlist(50);
    for (target, body, is_offered) in [
        ("/live/a.m4s", text.as_str(), false),
        ("/other/v.m3u8", &text, false),
        ("/live/short.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n", true),
    ] {
        origin.put(target, body.as_bytes());
        let answer = origin.request("GET", target, &[GZIP], b"");
        assert_eq!(plain(&answer), body, "{target}");
        assert_eq!(!vary(&answer).is_empty(), is_offered, "{target}");
    }
    let mpd = format!("<MPD type=\"dynamic\">{}</MPD>", "<Period></Period>".repeat(40));
    origin.put("/live/v.mpd", mpd.as_bytes());
    assert_eq!(unzipped(&origin.request("GET", "/live/v.mpd", &[GZIP], b"")), mpd);
    origin.stop();
}
