//! The instant of the programme that a message belongs to: published by POST and on a socket, told
//! by every way to subscribe, and refused where it is none.
//!
//! Dates were held to their shape alone: one of the 45th day of the 13th month was told to every
//! subscriber. For a browser that is no date, so its client showed the message at once.

use serde_json::{Value, json};

use crate::client::{Socket, Stream};
use crate::support::Origin;
use crate::{origin, position, publish};

/// What is published, in turn by POST and on a socket: the date, the number of the segment.
const MOMENTS: [(Option<&str>, Option<u64>); 6] = [
    (Some("2026-01-01T00:00:11.500+00:00"), Some(431)),
    (Some("2026-02-28T23:59:59.040+01:00"), Some(0)),
    (Some("2024-02-29T12:00:00+0330"), None),
    (Some("2026-12-31T23:59:59.123456789Z"), Some(1 << 53)),
    (None, Some(7)),
    (None, None),
];

const NO_DATES: [&str; 18] = [
    "",
    "yesterday",
    "2026-01-01",
    "2026-01-01T00:00",
    "2026-01-01 00:00:00Z",
    "2026-01-01t00:00:00z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-32T00:00:00Z",
    "2025-02-29T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:60Z",
    "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00+25:00",
    "2026-01-01T00:00:00ZZ",
    "2026-01-01T00:00:00.1.2Z",
    "2026-01-01T00:00:00.0000000000000000000000000000000000Z",
];

/// Publishes moment `index`, by POST or on the socket.
fn tell(origin: &Origin, socket: &mut Socket, index: usize) {
    let (date, sequence) = MOMENTS[index];
    if index.is_multiple_of(2) {
        let mut query = String::new();
        if let Some(date) = date {
            // A plus sign stands for itself in a query, encoded or not.
            let sign = if index == 0 { "%2B" } else { "+" };
            query.push_str(&format!("program_date_time={}&", date.replace('+', sign)));
        }
        if let Some(sequence) = sequence {
            query.push_str(&format!("media_sequence={sequence}"));
        }
        publish(origin, &format!("/topics/a/b?{query}"), &index.to_string());
        return;
    }
    let mut wish = json!({"publish": "a/b", "value": {"text": index.to_string()}, "id": index});
    if let Some(date) = date {
        wish["program_date_time"] = date.into();
    }
    if let Some(sequence) = sequence {
        wish["media_sequence"] = sequence.into();
    }
    socket.say(&wish.to_string());
    let answer = socket.next();
    assert_eq!((&answer["published"], &answer["id"]), (&json!("a/b"), &json!(index)), "{answer}");
}

/// The moment of an item; a member that was not given is not there.
#[track_caller]
fn expect(item: &Value, index: usize) {
    let (date, sequence) = MOMENTS[index];
    assert_eq!(item["value"]["text"], index.to_string(), "{item}");
    assert_eq!(item.get("program_date_time").and_then(Value::as_str), date, "{item}");
    assert_eq!(item.get("media_sequence").and_then(Value::as_u64), sequence, "{item}");
    let given = usize::from(date.is_some()) + usize::from(sequence.is_some());
    assert_eq!(item.as_object().unwrap().len(), 4 + given, "{item}");
}

#[test]
fn the_moment_of_a_message_is_told_by_every_way() {
    let origin = origin("topics-moment", "2", "");
    let (mut stream, _) = Stream::open(&origin, "/topics/a/b", &[]);
    let mut socket = Socket::open(&origin, "/topics/a/b");
    assert_eq!(socket.next()["subscribed"], "a/b");
    let mut publisher = Socket::open(&origin, "/topics");
    for index in 0..MOMENTS.len() {
        tell(&origin, &mut publisher, index);
        expect(&stream.next().unwrap().json(), index);
        expect(&socket.next()["item"], index);
    }
    let answer = origin.get("/topics/a/b?from=earliest");
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    let items = told["items"].as_array().unwrap();
    assert_eq!(items.len(), MOMENTS.len());
    items.iter().enumerate().for_each(|(index, one)| expect(&one["item"], index));
    origin.stop();
}

#[test]
fn a_moment_that_is_none_is_refused_and_nothing_is_published() {
    let origin = origin("topics-no-moment", "2", "");
    let mut socket = Socket::open(&origin, "/topics");
    let mut refused = |query: String, member: &str, value: Value| {
        let answer = origin.request("POST", &format!("/topics/a/b?{query}"), &[], b"x");
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().contains(&format!("{member} is ")), "{query}: {}", answer.text());
        let mut wish = json!({"publish": "a/b", "value": {"text": "x"}, "id": "n"});
        wish[member] = value;
        socket.say(&wish.to_string());
        let said = socket.next();
        assert_eq!((&said["error"]["status"], &said["id"]), (&json!(400), &json!("n")), "{wish}");
        let sentence = said["error"]["message"].as_str().unwrap();
        assert!(sentence.starts_with(&format!("{member} is ")), "{wish}: {said}");
    };
    for date in NO_DATES {
        let query = format!("program_date_time={}", date.replace(' ', "%20"));
        refused(query, "program_date_time", date.into());
    }
    let seconds = json!(1_767_225_600);
    refused(format!("program_date_time={seconds}"), "program_date_time", seconds);
    refused("program_date_time=%FF".to_owned(), "program_date_time", Value::Null);
    let numbers = [json!(-1), json!(1.5), json!("7"), json!((1u64 << 53) + 1)];
    let texts = ["-1", "1.5", "", "9007199254740993"];
    for (value, text) in numbers.into_iter().zip(texts) {
        refused(format!("media_sequence={text}"), "media_sequence", value);
    }
    let (page, number) = position(&origin.request("POST", "/topics/a/b", &[], b"x"));
    assert_eq!(number, 1, "nothing was published before on page {page}");
    origin.stop();
}
