//! Every credential, every way to send it, and every reason to refuse it.

use super::*;
use crate::config::{Config, Host};
use crate::http::request;

const ENCODER: &str = "encoder-token-0123456789";
const VIEWER: &str = "viewer-token-0123456789ab";
const OLD: &str = "expired-token-0123456789";
const NOW_S: u64 = 1_800_000_000;

const TEXT: &str = r#"
    [[token]]
    name = "encoder"
    token = "encoder-token-0123456789"
    publish = "live/**"
    [[token]]
    name = "viewer"
    token = "viewer-token-0123456789ab"
    user = "tv"
    read = ["live/**", "vod/*"]
    topic_subscribe = "chat/**"
    [[token]]
    name = "old"
    token = "expired-token-0123456789"
    read = "**"
    expires = 2020-01-01T00:00:00Z
    [[url_key]]
    name = "k1"
    key = "0123456789abcdef0123456789abcdef"
    [[url_key]]
    name = "up"
    key = "fedcba9876543210fedcba9876543210"
    methods = "PUT,DELETE"
    paths = "live/**"
"#;

struct Case<'a> {
    method: &'a str,
    target: &'a str,
    lines: &'a str,
    right: Right,
    subject: &'a str,
    peer: &'a str,
}

const READ: Case<'static> = Case {
    method: "GET",
    target: "/live/a",
    lines: "",
    right: Right::Read,
    subject: "live/a",
    peer: "192.0.2.1",
};
const WRITE: Case<'static> = Case { method: "PUT", right: Right::Publish, ..READ };

fn config(text: &str) -> Config {
    Config::from_text(text, &Host::SMALL).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn judged_by(config: &Config, case: &Case<'_>) -> Result<String, (Denial, String)> {
    granted_by(config, case).map(|(name, _)| name)
}

/// The same, with the Unix time of the grant's end.
fn granted_by(config: &Config, case: &Case<'_>) -> Result<(String, u64), (Denial, String)> {
    let Case { method, target, lines, .. } = case;
    let raw = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    let head = request::parse(raw.as_bytes()).unwrap().unwrap();
    let path = target.split('?').next().unwrap_or_default().trim_start_matches('/');
    let asked = Asked {
        head: &head,
        bytes: raw.as_bytes(),
        right: case.right,
        subject: case.subject.as_bytes(),
        key: path.as_bytes(),
        peer: case.peer.parse().ok(),
        now_s: NOW_S,
    };
    let door = config.paths.door(case.subject.as_bytes(), case.right);
    match judge(&config.access, door, &asked) {
        Verdict::Allowed(Grant { name, until_s }) => Ok((name.to_owned(), until_s)),
        Verdict::Denied(denial, name) => Err((denial, name.to_owned())),
    }
}

#[track_caller]
fn expect(case: &Case<'_>, expected: Result<&str, (Denial, &str)>) {
    let found = judged_by(&config(TEXT), case);
    let expected = match expected {
        Ok(name) => Ok(name.to_owned()),
        Err((denial, name)) => Err((denial, name.to_owned())),
    };
    assert_eq!(found, expected, "{} {} {}", case.method, case.target, case.lines);
}

fn basic_line(text: &str) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(text);
    format!("Authorization: Basic {text}\r\n")
}

#[test]
fn a_bearer_may_do_what_its_token_grants() {
    let viewer = format!("Authorization: Bearer {VIEWER}\r\n");
    let encoder = format!("Authorization: Bearer {ENCODER}\r\n");
    expect(&Case { lines: &viewer, ..READ }, Ok("viewer"));
    expect(&Case { lines: &encoder, ..WRITE }, Ok("encoder"));
    expect(&Case { lines: &viewer, ..WRITE }, Err((Denial::NotGranted, "viewer")));
    expect(&Case { lines: &encoder, ..READ }, Err((Denial::NotGranted, "encoder")));
    let elsewhere = Case { lines: &viewer, subject: "secret/a", target: "/secret/a", ..READ };
    expect(&elsewhere, Err((Denial::NotGranted, "viewer")));
    let topic = Case { right: Right::TopicSubscribe, subject: "chat/room", ..READ };
    expect(&Case { lines: &viewer, ..topic }, Ok("viewer"));
    let topic = Case { right: Right::TopicPublish, subject: "chat/room", ..READ };
    // The key called "up" could sign it, so it needs a credential.
    expect(&Case { lines: &viewer, ..topic }, Err((Denial::NotGranted, "viewer")));
}

#[test]
fn without_a_known_credential_the_answer_is_401() {
    expect(&READ, Err((Denial::Missing, "")));
    for lines in [
        "Authorization: Bearer nobody-has-this-token\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Digest x\r\n",
        "Authorization: Basic !!!\r\n",
        "Authorization: Basic \r\n",
        "Authorization: \r\n",
    ] {
        expect(&Case { lines, ..READ }, Err((Denial::Unknown, "")));
    }
    let old = format!("Authorization: Bearer {OLD}\r\n");
    expect(&Case { lines: &old, ..READ }, Err((Denial::Expired, "old")));
    for denial in [Denial::Missing, Denial::Unknown, Denial::Expired] {
        assert_eq!(denial.status(), Status::Unauthorized);
        let lines = String::from_utf8(denial.lines().to_vec()).unwrap();
        assert!(lines.contains("Bearer realm") && lines.contains("Basic realm"), "{lines}");
    }
    for denial in [Denial::NotGranted, Denial::Network, Denial::FromWebPage, Denial::Closed] {
        assert_eq!((denial.status(), denial.lines()), (Status::Forbidden, &b""[..]));
    }
}

#[test]
fn a_password_is_a_token_and_a_user_name_counts_where_it_is_configured() {
    let sent = |text: &str| basic_line(text);
    expect(&Case { lines: &sent(&format!("x:{ENCODER}")), ..WRITE }, Ok("encoder"));
    expect(&Case { lines: &sent(&format!(":{ENCODER}")), ..WRITE }, Ok("encoder"));
    expect(&Case { lines: &sent(&format!("tv:{VIEWER}")), ..READ }, Ok("viewer"));
    let unknown = Err((Denial::Unknown, ""));
    expect(&Case { lines: &sent(&format!("pc:{VIEWER}")), ..READ }, unknown);
    expect(&Case { lines: &sent(ENCODER), ..WRITE }, unknown);
    expect(&Case { lines: &sent(&format!("x:{}", "y".repeat(2000))), ..WRITE }, unknown);
}

#[test]
fn a_token_in_the_query_counts_beside_one_in_the_header() {
    let target = format!("/live/a?x=1&token={VIEWER}");
    expect(&Case { target: &target, ..READ }, Ok("viewer"));
    let other = "Authorization: Bearer for-somebody-else-entirely\r\n";
    expect(&Case { target: &target, lines: other, ..READ }, Ok("viewer"));
    let right = format!("Authorization: Bearer {VIEWER}\r\n");
    expect(&Case { target: "/live/a?token=x", lines: &right, ..READ }, Ok("viewer"));
    let encoded = format!("/live/a?token={}", VIEWER.replace('-', "%2D"));
    expect(&Case { target: &encoded, ..READ }, Ok("viewer"));
    let long = format!("/live/a?token={}", "x".repeat(600));
    expect(&Case { target: &long, ..READ }, Err((Denial::Unknown, "")));
}

#[test]
fn a_signed_url_lets_in() {
    let key = UrlKey::new("k1", "0123456789abcdef0123456789abcdef").unwrap();
    let reads = signing::MethodSet::READS;
    let target = format!("/live/a?{}", key.sign("/live/", reads, NOW_S + 1));
    expect(&Case { target: &target, ..READ }, Ok("url:k1"));
    expect(&Case { target: &target, method: "HEAD", ..READ }, Ok("url:k1"));
    expect(&Case { target: &target, ..WRITE }, Err((Denial::NotGranted, "url:k1")));
    let publish = Case { right: Right::TopicPublish, subject: "live/a", ..READ };
    expect(&Case { target: &target, ..publish }, Err((Denial::NotGranted, "url:k1")));
    let late = format!("/live/a?{}", key.sign("/live/", reads, NOW_S));
    expect(&Case { target: &late, ..READ }, Err((Denial::Expired, "url:k1")));
    let forged = target.replace("hw_path=/live/", "hw_path=/");
    expect(&Case { target: &forged, ..READ }, Err((Denial::Unknown, "")));
    let partial = "/live/a?hw_sig=x";
    expect(&Case { target: partial, ..READ }, Err((Denial::Unknown, "")));
    let up = UrlKey::new("up", "fedcba9876543210fedcba9876543210").unwrap();
    let put = signing::MethodSet::parse(b"PUT").unwrap();
    let target = format!("/live/a?{}", up.sign("/live/a", put, NOW_S + 9));
    expect(&Case { target: &target, ..WRITE }, Ok("url:up"));
}

/// What goes on for long is ended by this time.
#[test]
fn a_grant_says_when_it_ends_and_of_several_the_longest_counts() {
    let config = config(
        r#"
        [[token]]
        name = "short"
        token = "encoder-token-0123456789"
        read = "**"
        expires = 2027-01-15T08:00:10Z
        [[token]]
        name = "endless"
        token = "viewer-token-0123456789ab"
        read = "vod/**"
        [[url_key]]
        name = "k1"
        key = "0123456789abcdef0123456789abcdef"
        "#,
    );
    let key = UrlKey::new("k1", "0123456789abcdef0123456789abcdef").unwrap();
    let signed =
        |expires_s| format!("/live/a?{}", key.sign("/live/", signing::MethodSet::READS, expires_s));
    let short = format!("Authorization: Bearer {ENCODER}\r\n");
    let granted = |case: &Case<'_>| granted_by(&config, case).unwrap();
    assert_eq!(granted(&Case { lines: &short, ..READ }), ("short".to_owned(), NOW_S + 10));
    for (expires_s, expected) in
        [(NOW_S + 9, "short"), (NOW_S + 10, "short"), (NOW_S + 11, "url:k1")]
    {
        let target = signed(expires_s);
        let alone = granted(&Case { target: &target, ..READ });
        assert_eq!(alone, ("url:k1".to_owned(), expires_s));
        let both = granted(&Case { target: &target, lines: &short, ..READ });
        assert_eq!(both, (expected.to_owned(), expires_s.max(NOW_S + 10)));
    }
    // What grants nothing here lengthens nothing.
    let target = format!("/live/a?token={VIEWER}");
    let both = Case { target: &target, lines: &short, ..READ };
    assert_eq!(granted(&both), ("short".to_owned(), NOW_S + 10));
    let target = format!("/vod/a?token={VIEWER}");
    let both = Case { target: &target, lines: &short, subject: "vod/a", ..READ };
    assert_eq!(granted(&both), ("endless".to_owned(), NEVER));
}

#[test]
fn rules_of_paths_come_first() {
    let config = config(
        r#"
        [publish]
        tokens = ["encoder-token-0123456789"]
        [[path]]
        pattern = "inside/**"
        read_allow = ["10.0.0.0/8", "2001:db8::/32"]
        read_deny = "10.9.0.0/16"
        write_allow = "127.0.0.0/8"
        [[path]]
        pattern = "archive/**"
        write = "nobody"
        [[path]]
        pattern = "lab/**"
        write = "anyone"
        write_allow = "127.0.0.0/8"
        "#,
    );
    let at = |subject, peer| Case { subject, target: "/x", peer, ..READ };
    let denied = |denial| Err((denial, String::new()));
    assert_eq!(judged_by(&config, &at("inside/a", "10.1.1.1")), Ok(String::new()));
    assert_eq!(judged_by(&config, &at("inside/a", "::ffff:10.1.1.1")), Ok(String::new()));
    for peer in ["10.9.1.1", "192.0.2.1", "::ffff:10.9.1.1", "2001:db9::1"] {
        assert_eq!(judged_by(&config, &at("inside/a", peer)), denied(Denial::Network), "{peer}");
    }
    assert_eq!(judged_by(&config, &at("elsewhere", "10.9.1.1")), Ok(String::new()));
    let encoder = format!("Authorization: Bearer {ENCODER}\r\n");
    let put = |subject, lines, peer| Case { subject, lines, peer, ..WRITE };
    let case = put("inside/a", encoder.as_str(), "127.0.0.2");
    assert_eq!(judged_by(&config, &case), Ok("publish-1".to_owned()));
    let case = put("inside/a", encoder.as_str(), "10.1.1.1");
    assert_eq!(judged_by(&config, &case), denied(Denial::Network));
    let case = put("archive/a", encoder.as_str(), "127.0.0.1");
    assert_eq!(judged_by(&config, &case), denied(Denial::Closed));
    assert_eq!(judged_by(&config, &put("lab/a", "", "127.0.0.1")), Ok(String::new()));
    let page = put("lab/a", "Origin: http://x\r\n", "127.0.0.1");
    assert_eq!(judged_by(&config, &page), denied(Denial::FromWebPage));
    let both = format!("Origin: http://x\r\n{encoder}");
    let page = put("lab/a", both.as_str(), "127.0.0.1");
    assert_eq!(judged_by(&config, &page), Ok("publish-1".to_owned()));
}

#[test]
fn loopback_needs_no_credential_but_is_closed_to_web_pages() {
    let config = config("");
    assert_eq!(judged_by(&config, &WRITE), Ok(String::new()));
    let page = Case { lines: "Origin: http://x\r\n", ..WRITE };
    assert_eq!(judged_by(&config, &page), Err((Denial::FromWebPage, String::new())));
    assert_eq!(
        judged_by(&config, &Case { lines: "Origin: http://x\r\n", ..READ }),
        Ok(String::new())
    );
}
