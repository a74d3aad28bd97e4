//! Publish tokens: who may write when the configuration names bearers.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Origin, Scratch};

#[test]
fn only_the_bearer_of_a_token_writes() {
    let config = "[publish]\ntokens = ['0123456789abcdef-encoder']\n";
    let scratch = Scratch::new("publish");
    let file = scratch.path("headwater.toml");
    std::fs::write(&file, config).unwrap();
    let origin = Origin::start(&["--config", &file]);
    let right = "Authorization: Bearer 0123456789abcdef-encoder";
    let wrong = "Authorization: Bearer 0123456789abcdef-encodes";
    let answer = origin.request("PUT", "/a.ts", &[], b"x");
    assert_eq!(answer.status, 401);
    assert!(answer.header("WWW-Authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(origin.request("PUT", "/a.ts", &[wrong], b"x").status, 403);
    assert_eq!(origin.request("PUT", "/a.ts", &[right], b"x").status, 200);
    assert_eq!(origin.request("DELETE", "/a.ts", &[], b"").status, 401);
    let page = "Origin: http://studio.example";
    assert_eq!(origin.request("PUT", "/a.ts", &[right, page], b"y").status, 200);
    assert_eq!(origin.get("/a.ts").body, b"y");
    origin.stop();
}
