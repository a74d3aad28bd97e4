//! What goes wrong with a store: each has a written answer, and what works goes on.

use crate::scripted::{Fault, Store};
use crate::support::{Scratch, pattern, run};
use crate::{config, eventually, kill, settle, start};

/// Puts a file in the place of the store's folder, and takes it away again.
fn break_store(scratch: &Scratch, is_broken: bool) {
    let (store, aside) = (scratch.path("store"), scratch.path("aside"));
    if is_broken {
        std::fs::rename(&store, aside).unwrap();
        std::fs::write(store, "no folder").unwrap();
    } else {
        std::fs::remove_file(&store).unwrap();
        std::fs::rename(aside, store).unwrap();
    }
}

#[test]
fn a_store_that_fails_is_waited_for_and_nothing_acknowledged_is_lost() {
    let scratch = Scratch::new("remote-down");
    let origin = start(&scratch, &[]);
    origin.put("/v/cold", b"cold");
    settle(&origin);
    kill(origin);
    let config = config(&scratch, "");
    let rule = "[[path]]\npattern = \"through/**\"\ndurability = \"remote\"\n";
    std::fs::write(&config, rule).unwrap();
    let origin = start(&scratch, &["--config", &config]);
    break_store(&scratch, true);
    let cold = origin.get("/v/cold");
    assert_eq!(cold.status, 503, "{}", cold.text());
    assert!(cold.text().contains("the remote store does not answer"), "{}", cold.text());
    assert_eq!(cold.header("Retry-After"), Some("1"));
    for number in 0..20 {
        origin.put(&format!("/v/{number}"), &pattern(number, 50_000));
    }
    let through = origin.request("PUT", "/through/a", &[], b"a");
    assert_eq!((through.status, through.header("Retry-After")), (503, Some("1")));
    // What memory has goes on being read, acknowledged or not.
    assert!(origin.get("/v/7").body == pattern(7, 50_000));
    assert_eq!(origin.get("/through/a").body, b"a");
    let deleted = origin.request("DELETE", "/v/19", &[], b"");
    assert_eq!(deleted.status, 503, "{}", deleted.text());
    assert_eq!(origin.get("/v/19").status, 404);
    break_store(&scratch, false);
    settle(&origin);
    eventually("reads do not recover", || origin.get("/v/cold").body == b"cold");
    kill(origin);
    let origin = start(&scratch, &[]);
    for number in 0..19 {
        assert!(origin.get(&format!("/v/{number}")).body == pattern(number, 50_000), "{number}");
    }
    assert_eq!(origin.get("/v/19").status, 404);
    assert_eq!(origin.get("/through/a").body, b"a");
    origin.stop();
}

#[test]
fn a_body_that_changed_in_the_store_is_never_served_under_its_old_tag() {
    let scratch = Scratch::new("remote-changed");
    let origin = start(&scratch, &[]);
    let etag = origin.put("/v/a", b"right").header("ETag").unwrap().to_owned();
    settle(&origin);
    kill(origin);
    std::fs::write(scratch.path("store/v/a"), b"wrong").unwrap();
    let origin = start(&scratch, &[]);
    let answer = origin.get("/v/a");
    assert!(answer.status == 500 || answer.header("ETag") != Some(etag.as_str()));
    kill(origin);
}

#[test]
fn a_url_that_names_no_store_ends_the_start() {
    for (url, says) in [
        ("ftp://a/b", "expected a URL with s3://, gs://, az:// or file:///"),
        ("file://a", "expected an absolute folder"),
        ("s3://", "expected s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket", "expected s3://BUCKET/PREFIX"),
    ] {
        let words = ["serve", "--remote", url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let (status, said) = run(env!("CARGO_BIN_EXE_headwater"), &words);
        assert_eq!(status.code(), Some(2), "{url}: {said}");
        assert!(said.contains(says), "{url}: {said}");
    }
}

/// DELETE answered 404 here, as if the object were known to be gone: the answer to HEAD, by which
/// the store was asked, has no body that could name the bucket.
#[test]
fn a_missing_bucket_is_503_for_reads_and_deletions() {
    let store = Store::start();
    store.fail(Fault::NoBucket);
    let origin = store.origin(&[]);
    // A key whose deletion waits for the store is absent here: each asks for its own.
    for (method, target) in [("DELETE", "/v/gone"), ("GET", "/v/cold")] {
        let answer = origin.request(method, target, &[], b"");
        assert_eq!(answer.status, 503, "{method}: {}", answer.text());
        assert!(answer.text().contains("bucket"), "{method}: {}", answer.text());
    }
    kill(origin);
}

/// A deletion told the store behind an upload that had come after it and was acknowledged: the
/// store lost what it was to keep, and a crash would have lost it for good.
#[test]
fn a_deletion_takes_no_version_that_was_uploaded_behind_it() {
    let scratch = Scratch::new("remote-race");
    let config = config(&scratch, "durability = \"remote\"");
    let origin = start(&scratch, &["--config", &config, "--data", &scratch.path("data")]);
    let mut kept = 0;
    for number in 0..150 {
        let target = format!("/race/{number}");
        origin.put(&target, b"first");
        std::thread::scope(|scope| {
            let delete = scope.spawn(|| {
                let answer = origin.client().request("DELETE", &target, &[], b"").unwrap();
                assert!([200, 204, 404].contains(&answer.status), "{}", answer.text());
            });
            let answer = origin.client().request("PUT", &target, &[], b"second").unwrap();
            // The deletion may have come behind it while it was being kept.
            assert!([200, 409].contains(&answer.status), "{}", answer.text());
            delete.join().unwrap();
        });
        if origin.get(&target).status == 200 {
            kept += 1;
            let path = scratch.path(&format!("store{target}"));
            assert_eq!(std::fs::read(path).unwrap_or_default(), b"second", "{target}");
        }
    }
    println!("{kept} of 150 were there behind their deletion");
    origin.stop();
}
