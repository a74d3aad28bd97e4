//! Signed URLs, made by the program's own command, let in for their time, path and methods only.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;

use support::access::{Guarded, wait_for, write_secret};
use support::{Origin, Scratch};

const OLD_KEY: &str = "old-key-0123456789abcdef0123456789";
const NEW_KEY: &str = "new-key-0123456789abcdef0123456789";

const CONFIG: &str = r#"
[[url_key]]
key_file = "k1.key"
[[url_key]]
name = "k2"
key_file = "k2.key"
[[url_key]]
name = "up"
key = "upload-key-0123456789abcdef0123"
methods = "PUT"
paths = "live/in/**"
[[path]]
pattern = "live/**"
read = "token"
"#;

struct Rig {
    guarded: Guarded,
}

impl Rig {
    fn new(shards: &str) -> Self {
        let files = [
            ("k1.key", OLD_KEY),
            ("k2.key", NEW_KEY),
            ("up.key", "upload-key-0123456789abcdef0123"),
        ];
        let name = format!("signed-{shards}");
        Self { guarded: Guarded::start_with(&name, shards, CONFIG, &files) }
    }

    fn origin(&self) -> &Origin {
        &self.guarded.origin
    }

    /// What `headwater sign` prints.
    #[track_caller]
    fn sign(&self, key: &str, url: &str, flags: &[&str]) -> String {
        let key = self.guarded.scratch.path(&format!("{key}.key"));
        let output = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(["sign", url, "--key", &key])
            .args(flags)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// What of a signed URL stands behind the question mark.
fn query(url: &str) -> &str {
    url.split_once('?').unwrap().1
}

#[test]
fn signed_urls_let_in_on_two_shards() {
    lets_in("2");
}

#[test]
fn signed_urls_let_in_on_four_shards() {
    lets_in("4");
}

fn lets_in(shards: &str) {
    let rig = Rig::new(shards);
    let origin = rig.origin();
    let put = |target: &str| origin.request("PUT", target, &[], b"x").status;
    let get = |target: &str| origin.get(target).status;
    // A key that signs uploads closes writing to everybody else.
    assert_eq!(put("/live/in/0/a.ts"), 401);
    for folder in 0..8 {
        let target = format!("/live/in/{folder}/a.ts");
        let upload = rig.sign("up", &target, &["--expires", "1h", "--methods", "PUT"]);
        assert_eq!(put(&upload), 200, "{upload}");
        assert_eq!(get(&upload), 403);
        assert_eq!(get(&target), 401);
    }
    let one = rig.sign("k1", "/live/in/0/a.ts", &["--expires", "2h"]);
    assert_eq!(get(&one), 200);
    assert_eq!(origin.client().request("HEAD", &one, &[], b"").unwrap().status, 200);
    assert_eq!(origin.request("DELETE", &one, &[], b"").status, 403);
    assert_eq!(get(&format!("/live/in/1/a.ts?{}", query(&one))), 403);
    // A prefix is good for everything below it, whatever else is in the query.
    let flags = ["--expires", "2h", "--prefix", "/live/in/", "--key-name", "k2"];
    let all = rig.sign("k2", &origin.url("/live/in/0/a.ts?CMCD=bl%3D1"), &flags);
    let target = all.strip_prefix(&origin.url("")).unwrap();
    assert_eq!(get(target), 200, "{target}");
    for folder in 0..8 {
        let target = format!("/live/in/{folder}/a.ts?{}", query(&all));
        assert_eq!(get(&target), 200);
        assert_eq!(get(&target.replace("hw_key=k2", "hw_key=k1")), 401);
        assert_eq!(get(&target.replace("hw_path=/live/in/", "hw_path=/live/")), 401);
        assert_eq!(get(&target.replace("hw_expires=1", "hw_expires=2")), 401);
        assert_eq!(get(&target.replace("hw_methods=GET,HEAD", "hw_methods=GET")), 401);
    }
    assert_eq!(get(&format!("/live/other/a.ts?{}", query(&all))), 403);
    assert_eq!(get(&format!("/?Path=live/in/0&{}", query(&all))), 403);
    // An upload key grants uploads, and only where it may.
    let wide = rig.sign("up", "/live/b.ts", &["--expires", "1h", "--methods", "PUT,DELETE"]);
    assert_eq!(put(&wide), 403);
    // Expired: the URL is good for a second.
    let short = rig.sign("k1", "/live/in/0/a.ts", &["--expires", "1s"]);
    wait_for("end of the signed URL", || (get(&short) == 401).then_some(()));
    assert!(origin.get(&short).text().contains("expired"));
    let log = rig.guarded.access_log_with("- url:k2 [");
    assert!(log.contains("- url:up [") && log.contains("- url:k1 ["), "{log}");
    assert!(log.contains("hw_sig=-") && !log.contains("hw_sig=k"), "{log}");
    let signature = all.split_once("hw_sig=").unwrap().1.to_owned();
    let said = rig.guarded.stop();
    for secret in [OLD_KEY, NEW_KEY, "upload-key", &signature] {
        assert!(!said.contains(secret), "{secret} in\n{said}");
    }
}

#[test]
fn the_command_explains_what_is_wrong() {
    let scratch = Scratch::new("sign-command");
    write_secret(scratch.path("good.key"), OLD_KEY);
    write_secret(scratch.path("short.key"), "short");
    let sign = |words: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_headwater")).arg("sign").args(words).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains(OLD_KEY), "{said}");
        (output.status.code().unwrap(), said)
    };
    let (good, short) = (scratch.path("good.key"), scratch.path("short.key"));
    for (words, expected) in [
        (&["/a", "--key", "/no/such", "--expires", "1h"][..], "/no/such"),
        (&["/a", "--key", &short, "--expires", "1h"], "16 to 512"),
        (&["/a", "--key", &good, "--expires", "soon"], "30m"),
        (&["a", "--key", &good, "--expires", "1h"], "a path"),
        (&["/a", "--key", &good, "--expires", "1h", "--prefix", "live"], "slash"),
        (&["/a", "--key", &good, "--expires", "1h", "--methods", "get"], "GET,HEAD"),
        (&["/a", "--key", &good], "--expires"),
    ] {
        let (code, said) = sign(words);
        assert_eq!(code, 2, "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
    }
}
