//! Order, bounds, positions and shapes of topics.

use std::borrow::Cow;
use std::sync::Arc;

use super::client::{self, Wish};
use super::handshake::{Handshake, Offer};
use super::item::{Draft, Item, Value};
use super::log::{Gap, Joined, Log, Start};
use super::message::{Message, NO_TICKET, Refusal};
use super::owner::Owner;
use super::presence::Distinct;
use super::wire::{self, Format};
use super::{Policy, name, query};
use crate::limits;

mod frames;

fn draft(text: &str) -> Draft {
    Draft::text(text.to_owned())
}

fn item(number: u64, published_ms: u64) -> Arc<Item> {
    Arc::new(Item::new(9, number, published_ms, &draft("x")))
}

fn owner(policy: Policy) -> Owner {
    Owner::new(Arc::new(move |_| policy), 2)
}

#[test]
fn names_have_two_parts_and_bounds() {
    assert_eq!(name::of_key(b"topics/shop/bids"), Some(&b"shop/bids"[..]));
    for bad in
        [&b"topics/shop"[..], b"shop/bids", b"topics/a/../b", b"topics/a//b", b"topics/\xff/a"]
    {
        assert_eq!(name::of_key(bad), None, "{bad:?}");
    }
    assert!(!name::check(&[b"a/".as_slice(), &[b'x'; limits::TOPIC_NAME_BYTES_MAX]].concat()));
    assert!(name::is_own(b"objects/live") && !name::is_own(b"objections/live"));
    assert_eq!(name::place(b"presence/shop/bids"), b"shop/bids");
    assert_eq!(name::place(b"presence/shop"), b"presence/shop");
}

#[test]
fn a_log_is_bounded_by_count_bytes_and_age() {
    let mut log = Log::new(9, 1);
    let policy = Policy { messages_max: 3, age_ms: 100, ..Policy::default() };
    (1..=5).for_each(|number| log.push(item(number, number), &policy));
    assert_eq!((log.first(), log.next()), (3, 6));
    log.push(item(6, 104), &policy);
    log.push(item(7, 105), &policy);
    assert_eq!(log.first(), 5, "by count");
    log.push(item(8, 205), &policy);
    assert_eq!(log.first(), 7, "by age");
    let weight = log.bytes() / 2;
    let tight = Policy { bytes_max: weight + 1, ..policy };
    log.push(item(9, 206), &tight);
    assert_eq!((log.first(), log.next()), (9, 10), "by bytes");
    log.push(item(10, 207), &Policy { bytes_max: 1, ..policy });
    assert_eq!((log.first(), log.next()), (10, 11), "the newest stays");
    log.forget_aged(&policy, 1000);
    assert!(log.is_empty() && log.bytes() == 0 && log.next() == 11);
}

#[test]
fn positions_resume_or_are_answered_by_a_gap() {
    let mut log = Log::new(9, 1);
    let policy = Policy { messages_max: 3, ..Policy::default() };
    (1..=5).for_each(|number| log.push(item(number, 1), &policy));
    let at = |page, next| log.join(Start::At { page, next });
    let gap = |last| Joined { next: 3, gap: Some(Gap { last, new: 3, page: 9 }) };
    assert_eq!(log.join(Start::Latest), Joined { next: 6, gap: None });
    assert_eq!(log.join(Start::Earliest), Joined { next: 3, gap: None });
    assert_eq!(at(9, 3), Joined { next: 3, gap: None });
    assert_eq!(at(9, 6), Joined { next: 6, gap: None });
    assert_eq!(at(9, 2), gap(1), "dropped");
    assert_eq!(at(9, 7), gap(6), "never published");
    assert_eq!(at(8, 4), gap(3), "another life of the topic");
    assert_eq!(log.go_on(2), gap(1));
    assert_eq!(log.go_on(4), Joined { next: 4, gap: None });
    let held: Vec<u64> = log.since(4).map(|item| item.number).collect();
    assert_eq!(held, [4, 5]);
}

#[test]
fn a_message_is_one_line_of_json() {
    let full = Draft {
        value: Value::Text("a\n\"b\"".into()),
        token_id: Some("me".into()),
        program_date_time: Some("2026-01-01T00:00:00Z".into()),
        media_sequence: Some(4),
    };
    let json: serde_json::Value = serde_json::from_slice(&Item::new(9, 7, 5, &full).json).unwrap();
    let expected = serde_json::json!({
        "topic_sequence_number": 7, "sequence_page": 9, "publish_timestamp": 5,
        "value": {"text": "a\n\"b\""}, "token_id": "me",
        "program_date_time": "2026-01-01T00:00:00Z", "media_sequence": 4,
    });
    assert_eq!(json, expected);
    let bytes = Draft { value: Value::Bytes([0, 255].as_slice().into()), ..draft("") };
    let bytes = String::from_utf8(Item::new(9, 1, 5, &bytes).json.into()).unwrap();
    assert!(bytes.ends_with("\"value\":{\"binary\":\"AP8=\"}}"), "{bytes}");
    assert!(!Item::new(9, 7, 5, &full).json.contains(&b'\n'));
}

#[test]
fn shapes_are_those_of_the_manual() {
    let (gap, items) = (Gap { last: 3, new: 5, page: 9 }, [item(5, 1), item(6, 1)]);
    let mut sse = Vec::new();
    wire::hello(&mut sse, Format::Plain, 9, 5);
    wire::gap(&mut sse, Format::Plain, "", &gap);
    wire::messages(&mut sse, Format::Plain, "", 9, items[..1].iter());
    let json = String::from_utf8(items[0].json.to_vec()).unwrap();
    let told = "{\"last_topic_sequence\":3,\"new_topic_sequence\":5,\"new_sequence_page\":9}";
    let expected = format!(
        "retry: 2000\nid: 9:4\n\nevent: discontinuity\nid: 9:4\ndata: {told}\n\n\
         id: 9:5\ndata: {json}\n\n"
    );
    assert_eq!(String::from_utf8(sse).unwrap(), expected);
    let mut chunk = Vec::new();
    wire::hello(&mut chunk, Format::Chunked, 9, 5);
    assert_eq!(chunk, b"00000015\r\nretry: 2000\nid: 9:4\n\n\r\n");
    let body = wire::poll(9, 5, Some(&gap), items.iter());
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["items"][0]["discontinuity"]["new_topic_sequence"], 5);
    assert_eq!(body["items"][2]["item"]["topic_sequence_number"], 6);
    assert_eq!(
        (&body["next_sequence_page"], &body["next_sequence_number"]),
        (&9.into(), &7.into())
    );
    let empty = wire::poll(9, 5, None, [].iter());
    let expected = b"{\"items\":[],\"next_sequence_page\":9,\"next_sequence_number\":5}";
    assert_eq!(empty, expected);
}

#[test]
fn an_owner_numbers_once_and_sends_once_to_each_shard() {
    let mut owner = owner(Policy::default());
    owner.publish(0, 4, b"a/b", &draft("before"), 50);
    owner.follow(1, b"a/b", 60);
    owner.follow(1, b"a/b", 60);
    owner.publish(0, NO_TICKET, b"a/b", &draft("after"), 70);
    owner.unfollow(1, b"a/b");
    owner.publish(0, NO_TICKET, b"a/b", &draft("unheard"), 80);
    let mut sent = owner.outbox.drain(..);
    let Some((0, Message::Published { ticket: 4, outcome: Ok(position) })) = sent.next() else {
        panic!("the outcome comes first")
    };
    assert_eq!((position.page, position.number), (50, 1));
    for _ in 0..2 {
        let Some((1, Message::Followed { log: Some(log), .. })) = sent.next() else {
            panic!("a follower gets the log")
        };
        assert_eq!((log.page, log.first, log.items.len()), (50, 1, 1));
    }
    let Some((1, Message::Next { item, .. })) = sent.next() else { panic!("the next message") };
    assert_eq!(item.number, 2);
    assert!(sent.next().is_none());
}

#[test]
fn a_flood_of_names_pushes_out_what_nobody_follows() {
    let mut owner = owner(Policy::default());
    owner.follow(1, b"kept/followed", 1);
    for number in 0..2 * limits::TOPICS_MAX {
        let name = format!("flood/{number}");
        owner.publish(0, NO_TICKET, name.as_bytes(), &draft("x"), 2);
        assert!(owner.len() <= limits::TOPICS_MAX);
    }
    owner.outbox.clear();
    owner.follow(0, b"kept/followed", 3);
    let Some((0, Message::Followed { log: Some(log), .. })) = owner.outbox.pop_front() else {
        panic!("it is there")
    };
    assert_eq!(log.page, 1, "the same life of the topic");
    // Made again, a topic has another page.
    owner.publish(0, 1, b"flood/0", &draft("x"), 2);
    let Some((_, Message::Published { outcome: Ok(position), .. })) = owner.outbox.pop_front()
    else {
        panic!("it is published")
    };
    assert!(position.page > 2 && position.number == 1);
}

#[test]
fn topics_that_are_followed_refuse_new_ones() {
    let mut owner = owner(Policy::default());
    for number in 0..limits::TOPICS_MAX {
        owner.follow(1, format!("a/{number}").as_bytes(), 1);
    }
    owner.outbox.clear();
    owner.publish(0, 1, b"one/more", &draft("x"), 2);
    owner.follow(1, b"one/more", 2);
    let sent: Vec<_> = owner.outbox.drain(..).collect();
    assert!(matches!(
        sent.as_slice(),
        [
            (0, Message::Published { outcome: Err(Refusal::Full), .. }),
            (1, Message::Followed { log: None, .. })
        ]
    ));
}

#[test]
fn the_logs_of_an_owner_have_a_common_bound() {
    let policy = Policy { bytes_max: 64 << 20, messages_max: 100_000, ..Policy::default() };
    let mut owner = owner(policy);
    let text = "x".repeat(250 << 10);
    owner.follow(1, b"a/heard", 1);
    for number in 0..560 {
        let name = format!("a/{}", number % 7);
        owner.publish(0, NO_TICKET, name.as_bytes(), &draft(&text), 2);
        owner.publish(0, NO_TICKET, b"a/heard", &draft(&text), 2);
        owner.outbox.clear();
        assert!(owner.bytes() <= limits::TOPIC_LOGS_BYTES_MAX, "{number}: {}", owner.bytes());
    }
}

#[test]
fn old_messages_and_idle_topics_are_forgotten() {
    let mut owner = owner(Policy { age_ms: 100, ..Policy::default() });
    owner.publish(0, NO_TICKET, b"a/b", &draft("x"), 50);
    owner.tick(100);
    assert_eq!(owner.len(), 1);
    owner.tick(200);
    assert_eq!((owner.len(), owner.bytes()), (0, 0));
}

#[test]
fn the_rate_of_a_rule_is_held() {
    let mut owner = owner(Policy { rate_max: Some(2), ..Policy::default() });
    for ticket in 0..3 {
        owner.publish(0, ticket, b"a/b", &draft("x"), 1500);
    }
    owner.publish(0, 3, b"a/b", &draft("x"), 2000);
    let outcomes: Vec<bool> = owner
        .outbox
        .drain(..)
        .map(|(_, message)| match message {
            Message::Published { outcome, .. } => outcome.is_ok(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(outcomes, [true, true, false, true]);
}

#[test]
fn presence_tells_subscribers_and_distinct_publishers() {
    let mut distinct = Distinct::default();
    for (id, now_ms) in [("a", 10_000), ("b", 10_001), ("a", 19_999)] {
        distinct.note(id, now_ms);
    }
    assert_eq!((distinct.count(19_999), distinct.count(20_000)), (0, 2));
    assert_eq!(distinct.count(30_000), 0);
    let mut owner = owner(Policy::default());
    owner.follow(1, b"a/b", 1);
    owner.count(1, b"a/b", 7);
    owner.follow(0, b"presence/a/b", 2);
    owner.tick(10_000);
    let told = owner.outbox.drain(..).filter_map(|(_, message)| match message {
        Message::Next { item, .. } => Some(String::from_utf8(item.json.to_vec()).unwrap()),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    let wanted = "\\\"topic\\\":\\\"a/b\\\",\\\"subscribers\\\":7,\\\"active\\\":0";
    assert!(!told.is_empty() && told.iter().all(|json| json.contains(wanted)), "{told:?}");
}

#[test]
fn queries_are_read_strictly() {
    let read = |text: &'static str| {
        let value = move |name: &[u8]| {
            let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
            let mut found = pairs.filter(|pair| pair.0.as_bytes() == name);
            found.next().map(|pair| Cow::Borrowed(pair.1.as_bytes()))
        };
        (query::start(&value), query::wait_ms(&value), query::moment(&value))
    };
    assert_eq!(read("").0, Ok(Start::Latest));
    assert_eq!(read("from=earliest").0, Ok(Start::Earliest));
    assert_eq!(read("sequence_page=0&sequence_number=0").0, Ok(Start::Latest));
    let at = Start::At { page: 9, next: 4 };
    assert_eq!(read("sequence_page=9&sequence_number=4").0, Ok(at));
    for bad in
        ["from=now", "sequence_page=-1", "sequence_number=x", "sequence_page=9007199254740993"]
    {
        assert!(read(bad).0.is_err(), "{bad}");
    }
    assert_eq!((read("").1, read("wait_ms=0").1), (Ok(20_000), Ok(0)));
    assert!(read("wait_ms=60001").1.is_err());
    assert!(read("program_date_time=yesterday").2.is_err());
    let moment = read("program_date_time=2026-01-01T00:00:00.5Z&media_sequence=3").2;
    assert_eq!(moment, Ok((Some("2026-01-01T00:00:00.5Z".into()), Some(3))));
    for zone in ["", "Z", "+00:00", "-23:59", "+0530", ".0", ".123456789Z", ".5-0330"] {
        assert!(query::date(&format!("2024-02-29T23:59:59{zone}")).is_some(), "{zone}");
    }
    for zone in ["z", "+24:00", "+00:60", "+1:00", "+01", "+010", ".", ".Z", ".1.2", "Z+00:00"] {
        assert_eq!(query::date(&format!("2024-02-29T23:59:59{zone}")), None, "{zone}");
    }
    for day in ["2000-02-29", "2026-01-31", "2026-12-31", "2026-04-30", "0000-01-01"] {
        assert!(query::date(&format!("{day}T00:00:00Z")).is_some(), "{day}");
    }
    for day in ["2100-02-29", "2026-02-29", "2026-04-31", "2026-00-01", "2026-01-00", "2026-13-01"]
    {
        assert_eq!(query::date(&format!("{day}T00:00:00Z")), None, "{day}");
    }
    let at_most = format!("2026-01-01T00:00:00.{}Z", "0".repeat(19));
    assert!(at_most.len() == 40 && query::date(&at_most).is_some());
    assert_eq!(query::date(&at_most.replace('Z', "0Z")), None);
    assert_eq!(query::date("2026-01-01T00:00:0\u{20ac}"), None);
    assert_eq!(query::after(b"9:4"), Start::At { page: 9, next: 5 });
    assert_eq!(query::after(b"nonsense"), Start::At { page: 0, next: 1 });
}

#[test]
fn requests_on_a_socket_are_read_strictly() {
    let wish = |text: &str| client::read(text).wish;
    let at = Start::At { page: 9, next: 4 };
    assert_eq!(
        wish("{\"subscribe\":\"a/b\",\"sequence_page\":9,\"sequence_number\":4}"),
        Ok(Wish::Subscribe(b"a/b".as_slice().into(), at))
    );
    assert_eq!(wish("{\"unsubscribe\":\"a/b\"}"), Ok(Wish::Unsubscribe(b"a/b".as_slice().into())));
    let publish =
        wish("{\"publish\":\"a/b\",\"value\":{\"binary\":\"AP8=\"},\"media_sequence\":3}");
    let value = Value::Bytes([0, 255].as_slice().into());
    let sent = Draft { value, media_sequence: Some(3), ..draft("") };
    assert_eq!(publish, Ok(Wish::Publish(b"a/b".as_slice().into(), sent)));
    for bad in [
        "",
        "[]",
        "{}",
        "{\"subscribe\":\"a\"}",
        "{\"subscribe\":\"a/b\",\"publish\":\"a/b\"}",
        "{\"subscribe\":\"a/b\",\"from\":5}",
        "{\"publish\":\"a/b\"}",
        "{\"publish\":\"a/b\",\"value\":{\"text\":5}}",
        "{\"publish\":\"a/b\",\"value\":{\"binary\":\"A\"}}",
    ] {
        assert!(wish(bad).is_err(), "{bad}");
    }
    assert_eq!(client::read("{\"id\":\"x\"}").id.as_deref(), Some("\"x\""));
    assert_eq!(client::read("{\"id\":[1]}").id, None);
}

#[test]
fn the_handshake_is_that_of_the_standard() {
    let judge = |lines: &[(&'static str, &'static str)], is_http11| {
        let bytes = lines.iter().map(|line| (line.0.as_bytes(), line.1.as_bytes()));
        Offer::read(bytes).judge(is_http11)
    };
    // RFC 6455 section 1.3.
    let good = [
        ("Upgrade", "websocket"),
        ("Connection", "keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let accept = Handshake::Accept("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned());
    assert_eq!(judge(&good, true), accept);
    assert!(matches!(judge(&good, false), Handshake::Bad(_)));
    assert_eq!(judge(&good[1..], true), Handshake::None);
    assert_eq!(judge(&good[..3], true), Handshake::Version);
    assert!(matches!(judge(&[good[0], good[1], good[3]], true), Handshake::Bad(_)));
    let twice = [good[0], good[1], good[2], good[2], good[3]];
    assert!(matches!(judge(&twice, true), Handshake::Bad(_)));
}

/// Their places go by the order in which they came into being, and end when they are forgotten.
#[test]
fn topics_whose_rules_ask_for_it_are_measured_while_they_are_known() {
    let policy_of = |name: &[u8]| Policy {
        metrics: name.starts_with(b"show/"),
        age_ms: 1000,
        ..Policy::default()
    };
    let mut owner = Owner::new(Arc::new(policy_of), 2);
    let names = |owner: &Owner| -> Vec<String> {
        owner.measured().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    };
    owner.publish(0, NO_TICKET, b"show/b", &draft("x"), 1);
    owner.publish(0, NO_TICKET, b"other/a", &draft("x"), 2);
    owner.follow(1, b"show/a", 3);
    owner.publish(0, NO_TICKET, b"show/a", &draft("x"), 4);
    assert_eq!(names(&owner), ["show/b", "show/a"]);
    owner.count(1, b"show/a", 7);
    owner.follow(0, b"show/a", 5);
    owner.count(0, b"show/a", 2);
    assert_eq!(owner.counts(b"show/a", 10_000), (9, 0));
    for name in ["ann", "bob", "ann"] {
        let draft = Draft { token_id: Some(name.into()), ..draft("beat") };
        owner.publish(0, NO_TICKET, b"show/a", &draft, 11_000);
    }
    // Whoever follows its presence and leaves takes nothing away from it.
    owner.follow(0, b"presence/show/a", 12_000);
    owner.unfollow(0, b"presence/show/a");
    assert_eq!(owner.counts(b"show/a", 20_000), (9, 2));
    assert_eq!(owner.counts(b"show/none", 20_000), (0, 0));
    owner.tick(20_000);
    assert_eq!(names(&owner), ["show/a"], "nobody follows the other, and its log is empty");
    owner.publish(0, NO_TICKET, b"show/b", &draft("x"), 20_001);
    assert_eq!(names(&owner), ["show/a", "show/b"]);
    for shard in [0, 1] {
        owner.unfollow(shard, b"show/a");
    }
    owner.tick(30_000);
    assert_eq!((names(&owner).len(), owner.len()), (0, 0));
}
