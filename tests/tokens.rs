//! Who may do what, over the wire: every right and its absence, every way to send a token,
//! networks, CORS by path, and no secret in any log.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use support::access::{Guarded, basic, bearer};
use support::wire::{Answer, Client};
use support::{Origin, Scratch};

const ENCODER: &str = "encoder-secret-0123456789abcdef";
const VIEWER: &str = "viewer-secret-0123456789abcdef==";
const OLD: &str = "expired-secret-0123456789abcdef";
const SECRETS: [&str; 3] = [ENCODER, VIEWER, OLD];

const CONFIG: &str = r#"
[[token]]
name = "encoder-a"
token_file = "encoder.secret"
publish = "live/**"

[[token]]
name = "viewer"
token = "viewer-secret-0123456789abcdef=="
user = "tv"
read = ["live/**", "vod/*"]

[[token]]
name = "last-year"
token = "expired-secret-0123456789abcdef"
read = "**"
publish = "**"
expires = 2020-01-01T00:00:00Z

[[path]]
pattern = "open/**"
read = "anyone"
"#;

fn start(name: &str, shards: &str) -> Guarded {
    let secret = format!("# encoder A\n{ENCODER}\n");
    Guarded::start_with(name, shards, CONFIG, &[("encoder.secret", &secret)])
}

fn challenges(answer: &Answer) -> Vec<&str> {
    let of = |line: &&(String, String)| line.0.eq_ignore_ascii_case("WWW-Authenticate");
    answer.headers.iter().filter(of).map(|line| line.1.as_str()).collect()
}

#[track_caller]
fn expect_401(answer: &Answer, words: &str) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    let found = challenges(answer);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("Bearer realm=") && found[1].starts_with("Basic realm="));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    assert!(answer.text().contains(words), "{}", answer.text());
}

#[track_caller]
fn expect_403(answer: &Answer, words: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(challenges(answer).is_empty());
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    assert!(answer.text().contains(words), "{}", answer.text());
}

#[test]
fn every_right_and_its_absence_on_two_shards() {
    rights("2");
}

#[test]
fn every_right_and_its_absence_on_four_shards() {
    rights("4");
}

fn rights(shards: &str) {
    let guarded = start(&format!("rights-{shards}"), shards);
    let origin = &guarded.origin;
    let (encoder, viewer, old) = (bearer(ENCODER), bearer(VIEWER), bearer(OLD));
    let unknown = bearer("nobody-has-this-secret");
    // Several folders, so that every shard owns some of them.
    for folder in 0..8 {
        let target = format!("/live/{folder}/a.ts");
        expect_401(&origin.request("PUT", &target, &[], b"x"), "publishing needs");
        expect_401(&origin.request("PUT", &target, &[&unknown], b"x"), "not known");
        expect_401(&origin.request("PUT", &target, &[&old], b"x"), "expired");
        expect_403(&origin.request("PUT", &target, &[&viewer], b"x"), "does not grant");
        assert_eq!(origin.request("PUT", &target, &[&encoder], b"x").status, 200);
        expect_401(&origin.request("DELETE", &target, &[], b""), "publishing needs");
        expect_401(&origin.get(&target), "reading needs");
        expect_401(&origin.request("GET", &target, &[&unknown], b""), "not known");
        expect_403(&origin.request("GET", &target, &[&encoder], b""), "does not grant");
        assert_eq!(origin.request("GET", &target, &[&viewer], b"").body, b"x");
        // What is not there is no secret either.
        expect_401(&origin.get(&format!("/live/{folder}/absent.ts")), "reading needs");
        let listing = format!("/?Path=live/{folder}");
        expect_401(&origin.get(&listing), "reading needs");
        assert_eq!(origin.request("GET", &listing, &[&viewer], b"").status, 200);
    }
    expect_403(&origin.request("PUT", "/vod/a.ts", &[&encoder], b"x"), "does not grant");
    expect_403(&origin.request("GET", "/other/a.ts", &[&viewer], b""), "does not grant");
    expect_403(&origin.request("GET", "/", &[&viewer], b""), "does not grant");
    // What is open stays open, and the time is no secret.
    assert_eq!(origin.get("/open/a.ts").status, 404);
    assert_eq!(origin.get("/time").status, 200);
    let head = origin.client().request("HEAD", "/live/0/a.ts", &[], b"");
    assert_eq!(head.unwrap().status, 401);
    assert!(origin.metric("headwater_denied_total", "no_credential") >= 40.0);
    assert!(origin.metric("headwater_denied_total", "not_granted") >= 18.0);
    let log = guarded.access_log_with("GET /open/a.ts");
    assert!(log.contains("- encoder-a [") && log.contains("- last-year ["), "{log}");
    expect_no_secret(guarded);
}

#[track_caller]
fn expect_no_secret(guarded: Guarded) {
    let metrics = Client::connect(guarded.origin.admin)
        .and_then(|mut client| client.request("GET", "/metrics", &[], b""))
        .unwrap();
    let said = format!("{}{}", guarded.stop(), metrics.text());
    for secret in SECRETS {
        // Half a secret is a secret.
        assert!(!said.contains(&secret[..12]), "{secret} in\n{said}");
    }
}

#[test]
fn a_token_is_a_password_and_a_parameter_too() {
    let guarded = start("ways", "2");
    let origin = &guarded.origin;
    let put = |target: &str, lines: &[&str]| origin.request("PUT", target, lines, b"x");
    let get = |target: &str, lines: &[&str]| origin.request("GET", target, lines, b"");
    // HTTP Basic: any user name, or the one that is configured.
    assert_eq!(put("/live/a.ts", &[&basic("anybody", ENCODER)]).status, 200);
    assert_eq!(put("/live/a.ts", &[&basic("", ENCODER)]).status, 200);
    assert_eq!(get("/live/a.ts", &[&basic("tv", VIEWER)]).status, 200);
    expect_401(&get("/live/a.ts", &[&basic("radio", VIEWER)]), "not known");
    expect_401(&put("/live/a.ts", &[&basic("anybody", "wrong-password-entirely")]), "not known");
    expect_401(&put("/live/a.ts", &["Authorization: Basic %%%"]), "not known");
    // The query, alone and beside a header: one that grants is enough.
    let target = format!("/live/a.ts?x=1&token={ENCODER}&y");
    assert_eq!(put(&target, &[]).status, 200);
    let target = format!("/live/a.ts?token={}", VIEWER.replace('=', "%3D"));
    assert_eq!(get(&target, &[]).status, 200);
    assert_eq!(get(&target, &[&bearer(ENCODER)]).status, 200);
    assert_eq!(get(&target, &[&bearer("for-the-cdn-in-front-of-it")]).status, 200);
    assert_eq!(get("/live/a.ts?token=nonsense", &[&bearer(VIEWER)]).status, 200);
    expect_401(&get("/live/a.ts?token=nonsense", &[]), "not known");
    expect_403(&get(&format!("/live/a.ts?token={ENCODER}"), &[]), "does not grant");
    // A token is no part of the key, and a page's address is logged without it.
    let referer = format!("Referer: http://player.example/?token={VIEWER}");
    let answer = get("/live/a.ts", &[&bearer(VIEWER), &referer]);
    assert_eq!(answer.status, 200);
    guarded.access_log_with("player.example/?token=-");
    expect_no_secret(guarded);
}

#[test]
fn the_decision_comes_before_the_body() {
    let guarded = start("continue", "2");
    let mut client = guarded.origin.client();
    let head = |line: &str| {
        format!(
            "PUT /live/a.ts HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\
             {line}\r\n"
        )
    };
    client.send(head("").as_bytes()).unwrap();
    // The first answer is the last: no 100 was sent.
    expect_401(&client.answer(false).unwrap(), "publishing needs");
    assert!(client.is_closed());
    let mut client = guarded.origin.client();
    client.send(head(&format!("{}\r\n", bearer(ENCODER))).as_bytes()).unwrap();
    assert_eq!(client.answer(false).unwrap().status, 100);
    client.send(b"12345").unwrap();
    assert_eq!(client.answer(false).unwrap().status, 200);
    expect_no_secret(guarded);
}

/// A request from another address of this host.
#[track_caller]
fn from(source: Ipv4Addr, origin: &Origin, method: &str, target: &str, lines: &[&str]) -> Answer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&origin.http.into()).unwrap();
    let mut client = Client::over(socket.into()).unwrap();
    client.request(method, target, lines, if method == "PUT" { b"x" } else { b"" }).unwrap()
}

#[test]
fn networks_are_let_in_or_kept_out_by_path() {
    let config = r#"
[[path]]
pattern = "inside/**"
read_allow = ["127.0.0.2/31", "2001:db8::/32"]
read_deny = ["127.0.0.3", "::ffff:127.0.0.9"]
write_allow = "127.0.0.1"

[[path]]
pattern = "public/**"
read_deny = "127.0.0.2"
"#;
    for shards in ["2", "4"] {
        let guarded = Guarded::start(&format!("networks-{shards}"), shards, config);
        let origin = &guarded.origin;
        let [one, two, three] = [1, 2, 3].map(|last| Ipv4Addr::new(127, 0, 0, last));
        for folder in 0..4 {
            let inside = format!("/inside/{folder}/a.ts");
            let public = format!("/public/{folder}/a.ts");
            assert_eq!(from(one, origin, "PUT", &inside, &[]).status, 200);
            expect_403(&from(two, origin, "PUT", &inside, &[]), "address");
            expect_403(&from(two, origin, "DELETE", &inside, &[]), "address");
            assert_eq!(from(two, origin, "GET", &inside, &[]).body, b"x");
            expect_403(&from(one, origin, "GET", &inside, &[]), "address");
            expect_403(&from(three, origin, "GET", &inside, &[]), "address");
            expect_403(&from(one, origin, "GET", &format!("/?Path=inside/{folder}"), &[]), "addr");
            assert_eq!(from(two, origin, "PUT", &public, &[]).status, 200);
            assert_eq!(from(one, origin, "GET", &public, &[]).status, 200);
            expect_403(&from(two, origin, "GET", &public, &[]), "address");
        }
        guarded.stop();
    }
}

#[test]
fn paths_have_cors_of_their_own() {
    let config = r#"
[[path]]
pattern = "studio/**"
cors_origins = ["https://studio.example", "http://localhost:3000"]
cors_methods = ["GET", "PUT"]
cors_headers = ["Authorization", "Range"]
cors_expose = ["ETag"]
cors_max_age_s = 60
[[path]]
pattern = "private/**"
cors = false
[publish]
tokens = ["encoder-a:encoder-secret-0123456789abcdef"]
"#;
    let guarded = Guarded::start("cors", "2", config);
    let origin = &guarded.origin;
    let encoder = bearer(ENCODER);
    let studio = "Origin: https://studio.example";
    for target in ["/studio/a.ts", "/private/a.ts", "/other/a.ts"] {
        assert_eq!(origin.request("PUT", target, &[&encoder], &[b'x'; 5_000]).status, 200);
    }
    let stored = origin.request("PUT", "/studio/b.ts", &[&encoder, studio], b"x");
    assert_eq!(stored.header("Access-Control-Allow-Origin"), Some("https://studio.example"));
    // Twice each: the second answer within a second may be one that was made ahead.
    for _ in 0..3 {
        let answer = origin.request("GET", "/studio/a.ts", &[studio], b"");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("https://studio.example"));
        assert_eq!(answer.header("Access-Control-Expose-Headers"), Some("ETag"));
        assert_eq!(answer.header("Vary"), Some("Origin"));
        for lines in [&["Origin: https://evil.example"][..], &[]] {
            let answer = origin.request("GET", "/studio/a.ts", lines, b"");
            assert_eq!((answer.status, answer.body.len()), (200, 5_000));
            assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
            assert_eq!(answer.header("Vary"), Some("Origin"));
        }
        let answer = origin.request("GET", "/private/a.ts", &[studio], b"");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        let answer = origin.request("GET", "/other/a.ts", &[studio], b"");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    }
    let ranged = origin.request("GET", "/studio/a.ts", &[studio, "Range: bytes=0-9"], b"");
    assert_eq!(ranged.status, 206);
    assert_eq!(ranged.header("Access-Control-Allow-Origin"), Some("https://studio.example"));
    let absent = origin.request("GET", "/studio/absent.ts", &[studio], b"");
    assert_eq!(absent.header("Access-Control-Allow-Origin"), Some("https://studio.example"));
    let wanted = "Access-Control-Request-Method: PUT";
    let answer = origin.request("OPTIONS", "/studio/a.ts", &[studio, wanted], b"");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("https://studio.example"));
    assert_eq!(answer.header("Access-Control-Allow-Methods"), Some("GET, PUT"));
    assert_eq!(answer.header("Access-Control-Allow-Headers"), Some("Authorization, Range"));
    assert_eq!(answer.header("Access-Control-Max-Age"), Some("60"));
    let evil = "Origin: https://evil.example";
    let answer = origin.request("OPTIONS", "/studio/a.ts", &[evil, wanted], b"");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    let answer = origin.request("OPTIONS", "/private/a.ts", &[studio, wanted], b"");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    let answer = origin.request("OPTIONS", "/other/a.ts", &[studio, wanted], b"");
    assert_eq!(answer.header("Access-Control-Allow-Headers"), Some("*, Authorization"));
    expect_no_secret(guarded);
}

#[test]
fn topics_have_rights_of_their_own() {
    let config = r#"
[[token]]
name = "studio"
token = "encoder-secret-0123456789abcdef"
topic_publish = "show/**"
[[token]]
name = "viewer"
token = "viewer-secret-0123456789abcdef=="
topic_subscribe = ["show/*", "objects/**"]
[[token]]
name = "last-year"
token = "expired-secret-0123456789abcdef"
read = "live/**"
topic_publish = "**"
expires = 2020-01-01T00:00:00Z
"#;
    for shards in ["2", "4"] {
        let guarded = Guarded::start(&format!("topics-{shards}"), shards, config);
        let origin = &guarded.origin;
        let (studio, viewer, old) = (bearer(ENCODER), bearer(VIEWER), bearer(OLD));
        let publish = |topic: &str, lines: &[&str]| {
            origin.request("POST", &format!("/topics/{topic}"), lines, b"2:1")
        };
        // Who may subscribe learns that HEAD is not the way.
        let follow = |topic: &str, lines: &[&str]| {
            let target = format!("/topics/{topic}");
            origin.client().request("HEAD", &target, lines, b"").unwrap().status
        };
        for topic in ["show/score", "show/polls", "show/chat", "show/1"] {
            assert_eq!(publish(topic, &[&studio]).status, 204);
            expect_401(&publish(topic, &[]), "publishing needs");
            expect_401(&publish(topic, &[&old]), "expired");
            expect_403(&publish(topic, &[&viewer]), "does not grant");
            assert_eq!(follow(topic, &[&viewer]), 405);
            assert_eq!((follow(topic, &[]), follow(topic, &[&studio])), (401, 403));
        }
        // As Momento's clients send it; every message names the token that published it.
        assert_eq!(publish("show/bare", &[&format!("Authorization: {ENCODER}")]).status, 204);
        expect_401(&publish("show/bare", &["Authorization: nobody-has-this-token"]), "not known");
        let (target, bare) =
            ("/topics/show/bare?from=earliest", format!("Authorization: {VIEWER}"));
        let told = origin.request("GET", target, &[&bare], b"");
        let told = told.text();
        assert!(told.contains("\"token_id\":\"studio\""), "{told}");
        expect_403(&publish("other/score", &[&studio]), "does not grant");
        assert_eq!(follow("other/score", &[&viewer]), 403);
        // What happens to objects takes the right to read them as well.
        assert_eq!(follow("objects/live", &[&viewer]), 403);
        expect_no_secret(guarded);
    }
}

#[test]
fn only_the_bearer_of_a_token_writes() {
    let config = "[publish]\ntokens = ['encoder-secret-0123456789abcdef']\n";
    let guarded = Guarded::start("publish", "2", config);
    let origin = &guarded.origin;
    let right = bearer(ENCODER);
    expect_401(&origin.request("PUT", "/a.ts", &[], b"x"), "publishing needs");
    assert_eq!(origin.request("PUT", "/a.ts", &[&right], b"x").status, 200);
    let page = "Origin: http://studio.example";
    assert_eq!(origin.request("PUT", "/a.ts", &[&right, page], b"y").status, 200);
    assert_eq!(origin.get("/a.ts").body, b"y");
    guarded.access_log_with("- publish-1 [");
    expect_no_secret(guarded);
}

#[test]
fn secrets_come_from_the_environment() {
    // The process inherits the variable by way of env(1).
    let scratch = Scratch::new("environment");
    let file = scratch.path("headwater.toml");
    let config = "[[token]]\nname = 'env'\ntoken_env = 'HEADWATER_TEST_TOKEN'\npublish = '**'\n";
    std::fs::write(&file, config).unwrap();
    let variable = format!("HEADWATER_TEST_TOKEN={ENCODER}");
    let origin = Origin::start_under(&["env", &variable], &["--config", &file]);
    assert_eq!(origin.request("PUT", "/a.ts", &[&bearer(ENCODER)], b"x").status, 200);
    expect_401(&origin.request("PUT", "/a.ts", &[], b"x"), "publishing needs");
    origin.stop();
}
