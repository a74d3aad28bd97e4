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
