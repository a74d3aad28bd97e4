//! Topics end to end: positions, shapes, the three ways to subscribe, order under churn, bounds.
//!
//! `HEADWATER_TOPICS=long` makes the tests of order and of floods larger.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "topics/bounds.rs"]
mod bounds;
#[path = "topics/client.rs"]
mod client;
#[path = "topics/events.rs"]
mod events;
#[path = "topics/expiry.rs"]
mod expiry;
#[path = "topics/large.rs"]
mod large;
#[path = "topics/measured.rs"]
mod measured;
#[path = "topics/moment.rs"]
mod moment;
#[path = "topics/order.rs"]
mod order;
#[path = "topics/poll.rs"]
mod poll;
#[path = "topics/silent.rs"]
mod silent;
#[path = "topics/socket.rs"]
mod socket;
#[path = "topics/stream.rs"]
mod stream;

use support::Origin;
use support::wire::Answer;

/// An origin with rules for topics.
fn origin(name: &str, shards: &str, rules: &str) -> Origin {
    let folder = std::env::temp_dir().join(format!("headwater-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("headwater.toml");
    std::fs::write(&config, rules).unwrap();
    Origin::start(&["--shards", shards, "--config", config.to_str().unwrap()])
}

/// Publishes text; the page and number that it got.
#[track_caller]
fn publish(origin: &Origin, target: &str, text: &str) -> (u64, u64) {
    position(&origin.request("POST", target, &[], text.as_bytes()))
}

#[track_caller]
fn position(answer: &Answer) -> (u64, u64) {
    assert_eq!(answer.status, 204, "{}", answer.text());
    let (page, number) = answer.header("Topic-Position").unwrap().split_once(':').unwrap();
    (page.parse().unwrap(), number.parse().unwrap())
}
