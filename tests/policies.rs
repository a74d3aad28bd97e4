//! Policies by path, over the wire: what several rules come to for one key.
#![allow(clippy::unwrap_used)]

mod support;

use std::thread::sleep;
use std::time::{Duration, Instant};

use support::access::{Guarded, bearer};
use support::wire::Answer;
use support::{Origin, PATIENCE, Scratch};

const TOKEN: &str = "viewer-secret-0123456789abcdef";

/// A lifetime, a cache age and a wait stand above every restriction that used to be lifted by
/// them: only the first rule that covered a key counted.
const COMBINED: &str = r#"
[[token]]
name = "viewer"
token = "viewer-secret-0123456789abcdef"
read = "**"

[read]
who = "anyone"

[[path]]
pattern = "live/**"
ttl_seconds = 3600
cache_control = "max-age=7"

[[path]]
pattern = "live/**"
hold_ms = 100

[[path]]
pattern = "live/members/**"
read = "token"

[[path]]
pattern = "live/elsewhere/**"
read_allow = "192.0.2.0/24"

[[path]]
pattern = "live/denied/**"
read_deny = "127.0.0.0/8"

[[path]]
pattern = "live/sealed/**"
write = "nobody"
cors_origins = "https://player.example"

[[path]]
pattern = "live/afar/**"
write_deny = ["127.0.0.0/8", "::1"]

[[path]]
pattern = "live/**"
ttl_seconds = 1
cache_control = "max-age=1"
read = "anyone"
cors = false
"#;

#[test]
fn no_rule_lifts_what_another_restricts_on_two_shards() {
    restrictions_hold("2");
}

#[test]
fn no_rule_lifts_what_another_restricts_on_four_shards() {
    restrictions_hold("4");
}

fn restrictions_hold(shards: &str) {
    let guarded = Guarded::start(&format!("combined-{shards}"), shards, COMBINED);
    let origin = &guarded.origin;
    let viewer = bearer(TOKEN);
    for folder in 0..4 {
        let put = |place: &str| {
            let target = format!("/live/{place}/{folder}/a.ts");
            let status = origin.request("PUT", &target, &[], b"x").status;
            (target, status)
        };
        let (target, status) = put("members");
        assert_eq!((status, origin.get(&target).status), (200, 401));
        let answer = origin.request("GET", &target, &[&viewer], b"");
        assert_eq!((answer.status, answer.header("Cache-Control")), (200, Some("max-age=7")));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        for place in ["elsewhere", "denied"] {
            let (target, status) = put(place);
            assert_eq!((status, origin.get(&target).status), (200, 403), "{place}");
            // A token does not open a door that is closed to the network.
            let answer = origin.request("GET", &target, &[&viewer], b"");
            assert_eq!(answer.status, 403, "{place}");
        }
        assert_eq!((put("sealed").1, put("afar").1), (403, 403));
        assert_eq!(origin.request("DELETE", "/live/sealed/0/a.ts", &[], b"").status, 403);
        let page = "Origin: https://player.example";
        let answer = origin.request("GET", "/live/sealed/0/a.ts", &[page], b"");
        assert_eq!(answer.status, 404);
        let allowed = answer.header("Access-Control-Allow-Origin");
        assert_eq!(allowed, Some("https://player.example"));
        let (target, status) = put("open");
        let answer = origin.get(&target);
        assert_eq!((status, answer.status), (200, 200));
        assert_eq!(answer.header("Cache-Control"), Some("max-age=7"));
    }
    // The first lifetime holds, not the second of one second.
    sleep(Duration::from_millis(1200));
    assert_eq!(origin.get("/live/open/0/a.ts").status, 200);
    guarded.stop();
}

/// An origin with this configuration on so many shards, with little memory.
fn small(name: &str, shards: &str, config: &str) -> (Scratch, Origin) {
    let scratch = Scratch::new(name);
    let file = scratch.path("headwater.toml");
    std::fs::write(&file, config).unwrap();
    let origin = Origin::start(&["--config", &file, "--shards", shards, "--memory", "32MiB"]);
    (scratch, origin)
}

/// An upload without Content-Length, in two chunks.
fn put_chunked(origin: &Origin, target: &str, halves: [&[u8]; 2]) -> Answer {
    let mut client = origin.client();
    client.begin_chunked(target, &[]).unwrap();
    halves.iter().for_each(|half| client.chunk(half).unwrap());
    client.chunk(b"").unwrap();
    client.answer(false).unwrap()
}

const STORAGE: &str = r#"
object_bytes_max = "1KiB"
[[path]]
pattern = "short/**"
ttl_ms = 1200
[[path]]
pattern = "big/**"
object_bytes_max = "4KiB"
[[path]]
pattern = "atomic/**"
streaming = false
"#;

#[test]
fn lifetimes_sizes_and_streaming_are_by_path() {
    let (_scratch, origin) = small("storage", "2", STORAGE);
    origin.put("/short/a.ts", b"x");
    origin.put("/short/b.ts?ttl_seconds=60", b"x");
    assert_eq!(origin.get("/short/a.ts").status, 200);
    let (large, half) = (vec![b'x'; 3000], vec![b'x'; 1500]);
    assert_eq!(origin.request("PUT", "/a.ts", &[], &large).status, 413);
    assert_eq!(put_chunked(&origin, "/a.ts", [&half, &half]).status, 413);
    assert_eq!(origin.request("PUT", "/big/a.ts", &[], &large).status, 200);
    assert_eq!(put_chunked(&origin, "/big/b.ts", [&half, &half]).status, 200);
    assert_eq!(put_chunked(&origin, "/big/c.ts", [&large, &large]).status, 413);
    for (target, status) in [("/atomic/a.m4s", 404), ("/plain/a.m4s", 200)] {
        let mut writer = origin.client();
        writer.begin_chunked(target, &[]).unwrap();
        writer.chunk(b"first").unwrap();
        sleep(Duration::from_millis(200));
        let mut reader = origin.client();
        reader.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(reader.head().unwrap().status, status, "{target}");
        writer.chunk(b"").unwrap();
        assert_eq!(writer.answer(false).unwrap().status, 200);
        assert_eq!(origin.get(target).body, b"first");
    }
    sleep(Duration::from_millis(1200));
    assert_eq!(origin.get("/short/a.ts").status, 404);
    assert_eq!(origin.get("/short/b.ts").status, 200);
    origin.stop();
}

#[test]
fn an_immutable_object_keeps_its_bytes() {
    let config = "[[path]]\npattern = 'kept/**'\nimmutable = true\n";
    for shards in ["1", "4"] {
        let (_scratch, origin) = small(&format!("immutable-{shards}"), shards, config);
        for folder in 0..4 {
            let path = |name: &str| format!("/kept/{folder}/{name}");
            let expect_kept = |answer: &Answer| {
                assert_eq!(answer.status, 409, "{}", answer.text());
                assert!(answer.text().contains("immutable"), "{}", answer.text());
            };
            // Atomic: the same bytes are acknowledged, others of any length are not.
            let first = origin.put(&path("a.ts"), b"one");
            let again = origin.put(&path("a.ts"), b"one");
            assert_eq!(again.header("ETag"), first.header("ETag"));
            expect_kept(&origin.request("PUT", &path("a.ts"), &[], b"two"));
            expect_kept(&origin.request("PUT", &path("a.ts"), &[], b"longer"));
            expect_kept(&put_chunked(&origin, &path("a.ts"), [b"t", b"wo"]));
            assert_eq!(origin.get(&path("a.ts")).body, b"one");
            // Readable on arrival: nobody takes its place, then or later.
            let mut writer = origin.client();
            writer.begin_chunked(&path("b.m4s"), &[]).unwrap();
            writer.chunk(b"gro").unwrap();
            sleep(Duration::from_millis(100));
            expect_kept(&put_chunked(&origin, &path("b.m4s"), [b"oth", b"er"]));
            writer.chunk(b"wn").unwrap();
            writer.chunk(b"").unwrap();
            let first = writer.answer(false).unwrap();
            assert_eq!(first.status, 200, "{}", first.text());
            let again = put_chunked(&origin, &path("b.m4s"), [b"g", b"rown"]);
            assert_eq!((again.status, again.header("ETag")), (200, first.header("ETag")));
            expect_kept(&put_chunked(&origin, &path("b.m4s"), [b"b", b"lown"]));
            assert_eq!(origin.get(&path("b.m4s")).body, b"grown");
            // A probe is no object, and what was deleted may come back otherwise.
            origin.put(&path("c.ts"), b"");
            origin.put(&path("c.ts"), b"real");
            expect_kept(&origin.request("PUT", &path("c.ts"), &[], b""));
            assert_eq!(origin.request("DELETE", &path("c.ts"), &[], b"").status, 200);
            origin.put(&path("c.ts"), b"other");
            // Preconditions are still judged first.
            let guarded = origin.request("PUT", &path("c.ts"), &["If-None-Match: *"], b"other");
            assert_eq!(guarded.status, 412);
        }
        origin.put("/free/a.ts", b"one");
        origin.put("/free/a.ts", b"two");
        origin.stop();
    }
}

const FULL: &str = r#"
[[path]]
pattern = "dvr/**"
on_full = "evict"
"#;

#[test]
fn the_oldest_give_way_where_the_path_says_so() {
    for shards in ["1", "2"] {
        let (_scratch, origin) = small(&format!("full-{shards}"), shards, FULL);
        let body = vec![b'x'; 1 << 20];
        // More than twice the memory; half of it can be read while it arrives.
        let mut newest = String::new();
        for number in 0..72 {
            let target = format!("/dvr/{}/{number}.m4s", number % 3);
            let answer = match number % 2 {
                0 => origin.request("PUT", &target, &[], &body),
                _ => put_chunked(&origin, &target, [&body[..1000], &body[1000..]]),
            };
            assert_eq!(answer.status, 200, "{number}: {}", answer.text());
            if number == 10 {
                origin.put("/keep/a.ts", &body);
            }
            newest = target;
        }
        assert_eq!(origin.get("/dvr/0/0.m4s").status, 404);
        assert_eq!(origin.get("/dvr/1/1.m4s").status, 404);
        assert_eq!(origin.get(&newest).body.len(), body.len());
        assert_eq!(origin.get("/keep/a.ts").body.len(), body.len());
        assert!(origin.metric("headwater_evictions_total", "") >= 40.0);
        // What does not give way fills the memory in the end, and then uploads are refused.
        let refused = (0..48).map(|number| format!("/keep/{number}.ts"));
        let statuses: Vec<u16> = refused
            .map(|target| origin.request("PUT", &target, &[], &body).status)
            .take_while(|&status| status == 200)
            .collect();
        assert!(statuses.len() >= 8 && statuses.len() < 32, "{}", statuses.len());
        assert_eq!(origin.get("/keep/a.ts").body.len(), body.len());
        origin.stop();
    }
}

const AGES: &str = r#"
[[path]]
pattern = "aged/**"
cache_control = "max-age=99"
cache_manifest_s = 0
cache_init_s = 5
cache_error_s = 7
[[path]]
pattern = "**"
cache_segment_s = 11
[[path]]
pattern = "live/held/**"
hold_ms = 100
"#;

#[test]
fn caches_are_told_ages_by_class_and_path() {
    let (_scratch, origin) = small("ages", "2", AGES);
    let age = |target: &str| {
        let answer = origin.get(target);
        let age = answer.header("Cache-Control").unwrap();
        (answer.status, age.strip_prefix("max-age=").unwrap().parse::<u32>().unwrap())
    };
    let live = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
                #EXTINF:4,\n1.m4s\n";
    for (target, expected) in [
        ("/aged/a.m3u8", 0),
        ("/aged/init.mp4", 5),
        ("/aged/1.m4s", 99),
        ("/aged/a.txt", 99),
        ("/live/1.m4s", 11),
        ("/live/init.mp4", 1_209_600),
    ] {
        origin.put(target, live.as_bytes());
        assert_eq!(age(target), (200, expected), "{target}");
    }
    let own = ["Cache-Control: max-age=3"];
    assert_eq!(origin.request("PUT", "/aged/own.m4s", &own, b"x").status, 200);
    assert_eq!(age("/aged/own.m4s"), (200, 3));
    assert_eq!(age("/aged/absent.m4s"), (404, 7));
    // Nothing is known of the folder: a second. Then the draft's ages.
    assert_eq!(age("/live/absent.m3u8"), (404, 1));
    origin.put("/live/held/v.m3u8", live.as_bytes());
    for _ in 0..4 {
        assert_eq!(age("/live/held/absent.m3u8"), (404, 4));
        assert_eq!(age("/live/held/absent.m3u8?_HLS_msn=3"), (404, 16));
        assert_eq!(age("/live/held/absent.m4s"), (404, 4));
        assert_eq!(age("/live/held/v.m3u8?_HLS_msn=99"), (400, 1));
        assert_eq!(age("/live/held/v.m3u8"), (200, 2));
    }
    origin.put("/live/plain/v.m3u8", live.as_bytes());
    assert_eq!(age("/live/plain/absent.m4s"), (404, 1));
    origin.stop();
}

#[test]
fn segments_far_beyond_the_live_edge_are_not_waited_for() {
    let config = "[[path]]\npattern = 'live/**'\nhold_ms = 4000\nsegment_ms = 1000\n";
    let (_scratch, origin) = small("beyond", "2", config);
    let timed = |target: &str| {
        let began = Instant::now();
        (origin.get(target).status, began.elapsed())
    };
    // Half by uploads that are readable on arrival, half by others.
    origin.put("/live/v-00007.m4s", b"x");
    assert_eq!(put_chunked(&origin, "/live/v-00008.m4s", [b"x", b"y"]).status, 200);
    for _ in 0..4 {
        let (status, took) = timed("/live/v-00015.m4s");
        assert!(status == 404 && took < Duration::from_secs(1), "{status} {took:?}");
    }
    std::thread::scope(|scope| {
        let next = scope.spawn(|| timed("/live/v-00009.m4s"));
        sleep(Duration::from_millis(500));
        origin.put("/live/v-00009.m4s", b"x");
        let (status, took) = next.join().unwrap();
        assert!(status == 200 && took >= Duration::from_millis(400), "{status} {took:?}");
    });
    // Of another series nothing is known: it is waited for.
    let (status, took) = timed("/live/a-00015.m4s");
    assert!(status == 404 && took >= Duration::from_secs(4), "{status} {took:?}");
    origin.stop();
}

#[test]
fn invented_names_keep_nobody_from_waiting() {
    let config = "[[path]]\npattern = 'live/**'\nhold_ms = 5000\n";
    let (_scratch, origin) = small("invented", "1", config);
    let wait_for = |target: &str| {
        let mut client = origin.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        client
    };
    let short = Duration::from_millis(200);
    let waiting = |count: f64| {
        let deadline = Instant::now() + PATIENCE;
        while origin.metric("headwater_watched_keys", "") != count {
            assert!(Instant::now() < deadline, "not {count} names are waited for");
            sleep(Duration::from_millis(20));
        }
    };
    let mut crowd: Vec<_> =
        (0..32).map(|number| wait_for(&format!("/live/a/{number}x.ts"))).collect();
    waiting(32.0);
    let began = Instant::now();
    assert_eq!(origin.get("/live/a/33x.ts").status, 404);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // The same names are still waited for, and so are those of other folders.
    let mut same = wait_for("/live/a/7x.ts");
    let mut other = wait_for("/live/b/7x.ts");
    assert!(same.is_silent(short) && other.is_silent(short));
    origin.put("/live/a/7x.ts", b"here");
    origin.put("/live/b/7x.ts", b"there");
    assert_eq!(same.answer(false).unwrap().body, b"here");
    assert_eq!(crowd[7].answer(false).unwrap().body, b"here");
    assert_eq!(other.answer(false).unwrap().body, b"there");
    // A place came free; all are free when the time is over, at the owner too and at once.
    let mut next = wait_for("/live/a/33x.ts");
    assert!(next.is_silent(short));
    let asked = Instant::now();
    assert_eq!(next.answer(false).unwrap().status, 404);
    waiting(0.0);
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    origin.stop();
}

#[test]
fn answers_say_what_is_known_of_an_object_where_the_path_wants_it() {
    let rules = "[[path]]\npattern = 'told/**'\ncmsd = true\nsegment_ms = 2000\ngzip = true\n";
    for shards in ["1", "4"] {
        let (_scratch, origin) = small(&format!("cmsd-{shards}"), shards, rules);
        let playlist = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n{}",
            "#EXTINF:2,\nsegment-00001.m4s\n".repeat(20)
        );
        origin.put("/told/v.m3u8", playlist.as_bytes());
        origin.put("/told/1.m4s", b"media");
        origin.put("/plain/1.m4s", b"media");
        assert_eq!(put_chunked(&origin, "/told/a-2.m4a", [b"x", b"y"]).status, 200);
        let said = |target: &str, lines: &[&str], status: u16| {
            let answer = origin.request("GET", target, lines, b"");
            assert_eq!(answer.status, status, "{target}");
            answer.header("CMSD-Static").unwrap_or_default().to_owned()
        };
        let live = "ot=m,sf=h,st=l,n=\"headwater\"";
        // The third answer to a target is one that was made for many.
        for _ in 0..3 {
            assert_eq!(said("/told/v.m3u8", &[], 200), live);
            assert_eq!(said("/told/v.m3u8", &["Accept-Encoding: gzip"], 200), live);
            assert_eq!(said("/told/v.m3u8", &["If-None-Match: *"], 304), live);
            let segment = "d=2000,n=\"headwater\"";
            assert_eq!(said("/told/1.m4s", &[], 200), segment);
            assert_eq!(said("/told/1.m4s", &["Range: bytes=1-2"], 206), segment);
            assert_eq!(said("/told/a-2.m4a", &[], 200), "d=2000,ot=a,n=\"headwater\"");
            assert_eq!(said("/plain/1.m4s", &[], 200), "");
        }
        // Another version says what it is.
        origin.put("/told/v.m3u8", [&playlist, "#EXT-X-ENDLIST\n"].concat().as_bytes());
        assert_eq!(said("/told/v.m3u8", &[], 200), "ot=m,sf=h,st=v,n=\"headwater\"");
        origin.stop();
    }
}
