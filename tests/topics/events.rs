//! What happens to objects, as the topics of their folders tell it.

use serde_json::Value;

use crate::client::Stream;
use crate::origin;

fn next(stream: &mut Stream) -> (String, String, Value) {
    let event = stream.next().unwrap().json();
    let told: Value = serde_json::from_str(event["value"]["text"].as_str().unwrap()).unwrap();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("event"), text("key"), told.clone())
}

#[test]
fn folders_tell_what_happens_to_the_objects_below_them() {
    let rules = "[[path]]\npattern = \"live/**\"\nstale_after_ms = 300\n";
    let origin = origin("topics-events", "4", rules);
    let (mut all, _) = Stream::open(&origin, "/topics/objects/live", &[]);
    let (mut one, _) = Stream::open(&origin, "/topics/objects/live/ch1", &[]);
    // Every shard has to know that somebody listens.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let etag = origin.put("/live/ch1/720p/1.m4s", b"abc").header("ETag").unwrap().to_owned();
    origin.put("/live/ch2/1.m4s", b"x");
    origin.put("/elsewhere/1.m4s", b"x");
    origin.put("/live/ch1/720p/1.m4s", b"other");
    assert_eq!(origin.request("DELETE", "/live/ch1/720p/1.m4s", &[], b"").status, 200);
    let live = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n";
    origin.put("/live/ch1/a.m3u8?ttl_seconds=2", live.as_bytes());
    while origin.get("/live/ch1/a.m3u8").status != 503 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let key = "live/ch1/720p/1.m4s";
    let (event, told, published) = next(&mut one);
    assert_eq!((event.as_str(), told.as_str()), ("published", key));
    assert_eq!((&published["bytes"], &published["etag"]), (&3.into(), &etag.as_str().into()));
    for (event, key) in [
        ("replaced", key),
        ("deleted", key),
        ("published", "live/ch1/a.m3u8"),
        ("stale", "live/ch1/a.m3u8"),
        ("expired", "live/ch1/a.m3u8"),
    ] {
        let (told_event, told_key, _) = next(&mut one);
        assert_eq!((told_event.as_str(), told_key.as_str()), (event, key));
    }
    let mut keys: Vec<_> = (0..7).map(|_| next(&mut all).1).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys, [key, "live/ch1/a.m3u8", "live/ch2/1.m4s"]);
    origin.stop();
}

#[test]
fn a_playlist_that_is_renewed_after_it_was_stale_is_told_of() {
    let rules = "[[path]]\npattern = \"live/**\"\nstale_after_ms = 300\n";
    let origin = origin("topics-recovered", "2", rules);
    let (mut stream, _) = Stream::open(&origin, "/topics/objects/live", &[]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let playlist = |number: u32| {
        format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{number}\n#EXTINF:1,\na.ts\n"
        )
    };
    origin.put("/live/a.m3u8", playlist(1).as_bytes());
    while origin.get("/live/a.m3u8").status != 503 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let first: Vec<_> = (0..2).map(|_| next(&mut stream).0).collect();
    assert_eq!(first, ["published", "stale"]);
    origin.put("/live/a.m3u8", playlist(2).as_bytes());
    assert_eq!(origin.get("/live/a.m3u8").status, 200);
    let mut then: Vec<_> = (0..2).map(|_| next(&mut stream).0).collect();
    then.sort();
    assert_eq!(then, ["recovered", "replaced"]);
    origin.stop();
}

/// Players publish a heartbeat each with a token of their own; the topic tells how many there are.
/// A shard without connections slept and told nothing of the topics that it owns.
#[test]
fn presence_counts_subscribers_and_whoever_published_by_token() {
    let names = ["ann", "bob", "eve"];
    let secret = |name: &str| format!("secret-of-the-player-{name}");
    let rules: String = names
        .map(|name| {
            let secret = secret(name);
            format!("[[token]]\nname = \"{name}\"\ntoken = \"{secret}\"\ntopic_publish = \"**\"\n")
        })
        .concat();
    let origin = origin("topics-presence", "4", &rules);
    let _others = [(); 3].map(|()| Stream::open(&origin, "/topics/show/beat", &[]).0);
    let (mut stream, _) = Stream::open(&origin, "/topics/presence/show/beat", &[]);
    let begun = std::time::Instant::now();
    let mut told = Value::Null;
    while told["active"] != 3 || told["subscribers"] != 3 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{told}");
        for name in names {
            let line = format!("Authorization: Bearer {}", secret(name));
            let answer = origin.request("POST", "/topics/show/beat", &[&line], b"beat");
            assert_eq!(answer.status, 204);
        }
        let event = stream.next().unwrap().json();
        told = serde_json::from_str(event["value"]["text"].as_str().unwrap()).unwrap();
        assert_eq!((&told["topic"], &told["window_ms"]), (&"show/beat".into(), &10_000.into()));
    }
    origin.stop();
}
