//! The configuration is read again: by SIGHUP and by the admin listener, as a whole or not at all,
//! on every shard at once.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::access::{Guarded, bearer, reload, wait_for};
use support::signal;

const FIRST: &str = "first-secret-0123456789abcdef";
const SECOND: &str = "second-secret-0123456789abcdef";

fn with_token(name: &str, secret: &str, rest: &str) -> String {
    format!("[[token]]\nname = '{name}'\ntoken = '{secret}'\npublish = '**'\n{rest}")
}

#[test]
fn sighup_exchanges_tokens_and_rules_or_nothing() {
    for shards in ["2", "4"] {
        let guarded = Guarded::start(
            &format!("reload-{shards}"),
            shards,
            &with_token("first", FIRST, "[[path]]\npattern = 'a/**'\ncache_control = 'no-cache'\n"),
        );
        let origin = &guarded.origin;
        let put = |secret: &str| origin.request("PUT", "/a/b.ts", &[&bearer(secret)], b"x").status;
        let reloads = |outcome: &str| origin.metric("headwater_reloads_total", outcome);
        assert_eq!((put(FIRST), put(SECOND)), (200, 401));
        assert_eq!(origin.get("/a/b.ts").header("Cache-Control"), Some("no-cache"));
        // Three mistakes: each is named, nothing changes, also not what is right.
        let bad = "[[path]]\npattern = '/x'\nread = 'maybe'\ncors_origins = ['x']\n";
        guarded.write(&with_token("second", SECOND, bad));
        signal(origin.pid(), "HUP");
        wait_for("failed reload", || (reloads("failed") == 1.0).then_some(()));
        for words in [
            "headwater.toml:6: path[0].pattern: ",
            "headwater.toml:7: path[0].read: expected one of anyone, token, nobody",
            "path[0].cors_origins[0]: has no scheme",
            "nothing has changed",
        ] {
            origin.wait_for_log(words);
        }
        assert_eq!((put(FIRST), put(SECOND)), (200, 401));
        // Good: new tokens, new rules.
        let good = "[[path]]\npattern = 'a/**'\nread = 'nobody'\n";
        guarded.write(&with_token("second", SECOND, good));
        signal(origin.pid(), "HUP");
        wait_for("reload", || (reloads("done") == 1.0).then_some(()));
        // On every shard: connections are spread over them.
        for _ in 0..8 * shards.parse::<usize>().unwrap() {
            assert_eq!((put(FIRST), put(SECOND)), (401, 200));
            assert_eq!(origin.get("/a/b.ts").status, 403);
        }
        // A connection that was there before sees the new set as well.
        let said = guarded.stop();
        assert!(!said.contains(FIRST) && !said.contains(SECOND), "{said}");
    }
}

#[test]
fn the_admin_listener_reloads_and_names_what_waits() {
    let guarded = Guarded::start("reload-admin", "2", &with_token("first", FIRST, ""));
    let origin = &guarded.origin;
    let mut old_connection = origin.client();
    let mut put = |secret: &str| {
        old_connection.request("PUT", "/a.ts", &[&bearer(secret)], b"").unwrap().status
    };
    assert_eq!(put(FIRST), 200);
    // Listeners and shards came by flags, which still hold; memory, timeouts and log are new.
    let config = with_token("second", SECOND, "cors = false\n");
    guarded.write(&format!(
        "cors = false\nconnections_max = 77\n[timeouts]\nidle_ms = 5000\n{}",
        with_token("second", SECOND, "")
    ));
    let answer = reload(origin.admin, &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text().into_owned();
    assert!(text.contains("\"waiting_for_restart\":[\"connections_max\",\"timeouts\"]"), "{text}");
    origin.wait_for_log("connections_max, timeouts");
    assert_eq!(origin.get("/a.ts").header("Access-Control-Allow-Origin"), None);
    let put = |secret: &str| origin.request("PUT", "/a.ts", &[&bearer(secret)], b"x").status;
    assert_eq!((put(FIRST), put(SECOND)), (401, 200));
    // `cors` behind a table is a key of that table: a mistake, named in the answer.
    guarded.write(&config);
    let answer = reload(origin.admin, &[]);
    assert_eq!(answer.status, 422);
    let text = answer.text().into_owned();
    assert!(text.contains("token[0].cors: is not a key") && text.contains("nothing"), "{text}");
    assert_eq!((put(FIRST), put(SECOND)), (401, 200));
    assert_eq!(reload(origin.admin, &["Origin: http://evil.example"]).status, 403);
    // A file that is gone changes nothing either.
    std::fs::remove_file(guarded.scratch.path("headwater.toml")).unwrap();
    assert_eq!(reload(origin.admin, &[]).status, 422);
    assert_eq!((put(FIRST), put(SECOND)), (401, 200));
    guarded.stop();
}

/// While two sets are exchanged over and over, a client that has seen the new one never sees the
/// old one again, whatever shard it asks.
#[test]
fn all_shards_change_at_once() {
    const ROUNDS: usize = 12;
    let version = |number: usize| {
        format!("[[path]]\npattern = 'v/{number}'\nread = 'nobody'\ncache_control = 'no-cache'\n")
    };
    let guarded = Guarded::start("reload-atomic", "4", &version(0));
    let origin = &guarded.origin;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = || {
            // Several connections: the kernel spreads them over the shards.
            let mut clients: Vec<_> = (0..8).map(|_| origin.client()).collect();
            let mut newest = 0;
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                for client in &mut clients {
                    let mut status = |number: usize| {
                        let target = format!("/v/{number}");
                        client.request("GET", &target, &[], b"").unwrap().status
                    };
                    if newest < ROUNDS && status(newest + 1) == 403 {
                        newest += 1;
                    }
                    // By a set at least as new, an older version is closed nowhere.
                    let older = newest.checked_sub(1).map(&mut status);
                    assert_ne!(
                        older,
                        Some(403),
                        "version {newest} was seen, and then an older one"
                    );
                    looks += 1;
                }
            }
            (newest, looks)
        };
        let watchers = [scope.spawn(watch), scope.spawn(watch)];
        for number in 1..=ROUNDS {
            guarded.write(&version(number));
            assert_eq!(reload(origin.admin, &[]).status, 200);
            // The answer is a promise: from here on the new set holds.
            for _ in 0..8 {
                assert_eq!(origin.get(&format!("/v/{number}")).status, 403);
                assert_eq!(origin.get(&format!("/v/{}", number - 1)).status, 404);
            }
        }
        done.store(true, Ordering::Relaxed);
        for watcher in watchers {
            let (_, looks) = watcher.join().unwrap();
            assert!(looks > 0);
        }
    });
    guarded.stop();
}
