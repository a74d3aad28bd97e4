//! Policies by path, over the wire: what several rules come to for one key.
#![allow(clippy::unwrap_used)]

mod support;

use std::thread::sleep;
use std::time::Duration;

use support::access::{Guarded, bearer};

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
