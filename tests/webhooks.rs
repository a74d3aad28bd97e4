//! Webhooks end to end: signed, in order, tried again, given up, and never in anybody's way.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "webhooks/receiver.rs"]
mod receiver;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use receiver::{Act, Receiver};
use support::{Origin, PATIENCE};

const SECRET: &[u8] = b"a-secret-of-this-test";
const OLD_SECRET: &[u8] = b"0123456789abcdef";

/// A folder with the secrets' file.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("headwater-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("hook.key");
    let text = [SECRET, b"\nwhsec_MDEyMzQ1Njc4OWFiY2RlZg==\n"].concat();
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

/// An origin whose topics `hook/*` are sent to `receiver`.
fn origin(name: &str, receiver: &Receiver, keys: &str) -> Origin {
    let folder = folder(name);
    let config = folder.join("headwater.toml");
    let url = receiver.url("/in?from=origin");
    let rule = format!(
        "[[topic]]\npattern = \"hook/*\"\nwebhook_url = \"{url}\"\n\
         webhook_secret_file = \"hook.key\"\n{keys}"
    );
    std::fs::write(&config, rule).unwrap();
    Origin::start(&["--shards", "2", "--config", config.to_str().unwrap()])
}

#[track_caller]
fn publish(origin: &Origin, topic: &str, text: &str) {
    let answer = origin.request("POST", &format!("/topics/{topic}"), &[], text.as_bytes());
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// Waits until the metric has this value.
#[track_caller]
fn await_metric(origin: &Origin, name: &str, labels: &str, value: f64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = origin.metric(&format!("headwater_webhook_{name}"), labels);
        if found == value {
            return;
        }
        assert!(Instant::now() < deadline, "{name} {labels}: {found}, {value} expected");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_message_of_the_rule_is_delivered_signed_and_in_order() {
    let receiver = Receiver::start(&[Act::Answer(204)]);
    let origin = origin("hook-plain", &receiver, "");
    for number in 0..20 {
        publish(&origin, "hook/a", &format!("text \"{number}\""));
        publish(&origin, "other/a", "nobody hears this");
    }
    let deliveries = receiver.wait(20);
    let texts: Vec<String> = deliveries.iter().map(receiver::Delivery::text).collect();
    assert_eq!(texts, (0..20).map(|n| format!("text \"{n}\"")).collect::<Vec<_>>());
    for delivery in &deliveries {
        assert_eq!(delivery.path, "/in?from=origin");
        assert_eq!(delivery.header("content-type"), "application/json");
        assert_eq!(delivery.json()["topic"], "hook/a");
        assert!(delivery.is_signed_with(SECRET, 0) && delivery.is_signed_with(OLD_SECRET, 1));
        assert!(!delivery.is_signed_with(b"another-secret-here", 0));
        let mut forged = delivery.clone();
        forged.body = forged.body.replace("text", "teXt");
        assert!(!forged.is_signed_with(SECRET, 0), "the body is signed");
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let sent_s: u64 = delivery.header("webhook-timestamp").parse().unwrap();
        assert!(sent_s <= now_s && sent_s + 60 > now_s, "{sent_s} {now_s}");
    }
    let ids: BTreeSet<&str> = deliveries.iter().map(|d| d.header("webhook-id")).collect();
    assert_eq!(ids.len(), 20);
    await_metric(&origin, "messages_total", "rule=\"hook/*\",outcome=\"delivered\"", 20.0);
    await_metric(&origin, "messages_total", "outcome=\"dead_letter\"", 0.0);
    await_metric(&origin, "queue_messages", "", 0.0);
    origin.stop();
}

#[test]
fn what_fails_is_tried_again_and_what_follows_waits() {
    let script = [Act::Answer(503), Act::Close, Act::Hang, Act::Answer(200)];
    let receiver = Receiver::start(&script);
    let origin = origin("hook-retry", &receiver, "webhook_timeout_ms = 300\n");
    publish(&origin, "hook/a", "first");
    publish(&origin, "hook/a", "second");
    let deliveries = receiver.wait(5);
    let texts: Vec<String> = deliveries.iter().map(receiver::Delivery::text).collect();
    assert_eq!(texts, ["first", "first", "first", "first", "second"]);
    let ids: BTreeSet<&str> = deliveries.iter().map(|d| d.header("webhook-id")).collect();
    assert_eq!(ids.len(), 2, "attempts at one message have one id");
    assert!(deliveries.iter().all(|delivery| delivery.is_signed_with(SECRET, 0)));
    let pauses: Vec<Duration> =
        deliveries.windows(2).take(3).map(|pair| pair[1].at - pair[0].at).collect();
    // 0.5 s, 1 s and 2 s, three quarters of each at least; the last one behind a timeout.
    for (pause, least_ms) in pauses.iter().zip([375, 750, 1800]) {
        assert!(*pause >= Duration::from_millis(least_ms - 20), "{pauses:?}");
    }
    await_metric(&origin, "messages_total", "outcome=\"delivered\"", 2.0);
    await_metric(&origin, "failed_attempts_total", "", 3.0);
    await_metric(&origin, "messages_total", "outcome=\"dead_letter\"", 0.0);
    origin.stop();
}

#[test]
fn what_the_receiver_refuses_is_a_dead_letter_at_once() {
    let receiver = Receiver::start(&[Act::Answer(400), Act::Answer(302), Act::Answer(200)]);
    let origin = origin("hook-refuse", &receiver, "");
    ["one", "two", "three"].iter().for_each(|text| publish(&origin, "hook/a", text));
    let texts: Vec<String> = receiver.wait(3).iter().map(receiver::Delivery::text).collect();
    assert_eq!(texts, ["one", "two", "three"], "one attempt each");
    await_metric(&origin, "messages_total", "outcome=\"dead_letter\"", 2.0);
    await_metric(&origin, "messages_total", "outcome=\"delivered\"", 1.0);
    origin.wait_for_log("takes messages again");
    let log = origin.log();
    assert_eq!(log.matches("does not take messages").count(), 1, "told once: {log}");
    assert!(!log.contains("a-secret"), "{log}");
    origin.stop();
}

#[test]
fn a_receiver_that_hangs_delays_no_publisher_and_its_queue_is_bounded() {
    let receiver = Receiver::start(&[Act::Hang]);
    let origin = origin("hook-hang", &receiver, "webhook_timeout_ms = 30000\n");
    let mut client = origin.client();
    let began = Instant::now();
    for _ in 0..1100 {
        let answer = client.request("POST", "/topics/hook/a", &[], b"x").unwrap();
        assert_eq!(answer.status, 204);
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    // One is under way, 1024 wait, and the order in which these happen is open.
    let dead = 1100.0 - 1025.0;
    await_metric(&origin, "messages_total", "outcome=\"dead_letter\"", dead);
    await_metric(&origin, "queue_messages", "", 1025.0);
    receiver.change(Act::Answer(200));
    let began = Instant::now();
    origin.stop();
    assert!(began.elapsed() < PATIENCE, "the end does not wait for the receiver");
}

#[test]
fn the_end_of_the_process_empties_the_queue() {
    let receiver = Receiver::start(&[Act::Answer(503)]);
    let mut origin = origin("hook-end", &receiver, "");
    (0..5).for_each(|number| publish(&origin, "hook/a", &number.to_string()));
    receiver.wait(1);
    receiver.change(Act::Answer(200));
    origin.terminate();
    assert_eq!(origin.wait().code(), Some(0), "{}", origin.log());
    let deliveries = receiver.wait(6);
    let texts: Vec<String> = deliveries[1..].iter().map(receiver::Delivery::text).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let folder = folder("hook-mistakes");
    std::fs::write(folder.join("short.key"), "short\n").unwrap();
    let check = |keys: &str| {
        let config = folder.join("headwater.toml");
        std::fs::write(&config, format!("[[topic]]\npattern = \"a/*\"\n{keys}\n")).unwrap();
        let program = env!("CARGO_BIN_EXE_headwater");
        support::run(program, &["check", config.to_str().unwrap()])
    };
    let url = "webhook_url = \"http://127.0.0.1:1/\"\n";
    let file = "webhook_secret_file = \"hook.key\"\n";
    let (status, said) = check(&format!("{url}{file}webhook_timeout_ms = 1000"));
    assert!(status.success(), "{said}");
    for (keys, key, reason) in [
        (url.to_owned(), "webhook_secret_file", "is missing"),
        (file.to_owned(), "webhook_secret_file", "without webhook_url"),
        (format!("{file}webhook_url = \"https://a/\""), "webhook_url", "https"),
        (format!("{url}webhook_secret_file = \"none\""), "webhook_secret_file", "cannot open"),
        (format!("{url}webhook_secret_file = \"short.key\""), "webhook_secret_file", "5 bytes"),
        (format!("{url}{file}webhook_timeout_ms = 1"), "webhook_timeout_ms", "100"),
        ("webhook_timeout_ms = 1000".to_owned(), "webhook_timeout_ms", "without webhook_url"),
    ] {
        let (status, said) = check(&keys);
        let named = said.contains(&format!("topic[0].{key}")) && said.contains(reason);
        assert!(!status.success() && named, "{keys}: {said}");
    }
}
