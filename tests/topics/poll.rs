//! Publishing, and long-polls in the shapes of the manual.

use serde_json::{Value, json};

use crate::support::Origin;
use crate::{origin, position, publish};

fn poll(origin: &Origin, target: &str) -> Value {
    let answer = origin.get(target);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn messages_are_answered_from_the_position_that_is_asked_for() {
    let origin = origin("topics-poll", "2", "[[topic]]\npattern = \"a/short\"\nmessages_max = 2\n");
    let (page, first) = publish(&origin, "/topics/a/b?media_sequence=4", "one \u{20ac}");
    assert_eq!(first, 1);
    let lines = ["Content-Type: application/octet-stream"];
    assert_eq!(position(&origin.request("POST", "/topics/a/b", &lines, &[0, 255])), (page, 2));
    let all = poll(&origin, "/topics/a/b?from=earliest");
    let one = &all["items"][0]["item"];
    assert_eq!(one["value"], json!({"text": "one \u{20ac}"}));
    assert_eq!((&one["sequence_page"], &one["topic_sequence_number"]), (&json!(page), &json!(1)));
    assert_eq!(one["media_sequence"], 4);
    assert!(one["publish_timestamp"].as_u64() >= Some(page));
    assert_eq!(all["items"][1]["item"]["value"], json!({"binary": "AP8="}));
    assert_eq!(
        (&all["next_sequence_page"], &all["next_sequence_number"]),
        (&json!(page), &json!(3))
    );
    let rest = poll(&origin, &format!("/topics/a/b?sequence_page={page}&sequence_number=2"));
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    // Nothing new: the position to come back with.
    let none = poll(&origin, "/topics/a/b?wait_ms=0");
    let expected = json!({"items": [], "next_sequence_page": page, "next_sequence_number": 3});
    assert_eq!(none, expected);
    // Another life of the topic, and one that the log has overrun.
    let other = poll(&origin, "/topics/a/b?sequence_page=1&sequence_number=7");
    let gap = json!({
        "last_topic_sequence": 6, "new_topic_sequence": 1, "new_sequence_page": page
    });
    assert_eq!(other["items"][0]["discontinuity"], gap);
    assert_eq!(other["items"][1]["item"]["topic_sequence_number"], 1);
    for text in ["1", "2", "3", "4"] {
        publish(&origin, "/topics/a/short", text);
    }
    let (page, _) = publish(&origin, "/topics/a/short", "5");
    let overrun = poll(&origin, &format!("/topics/a/short?sequence_page={page}&sequence_number=2"));
    assert_eq!(overrun["items"][0]["discontinuity"]["new_topic_sequence"], 4);
    assert_eq!(overrun["items"][2]["item"]["value"]["text"], "5");
    origin.stop();
}

#[test]
fn a_poll_waits_for_the_next_message_and_the_connection_goes_on() {
    let origin = origin("topics-wait", "4", "");
    let mut waiting: Vec<_> = (0..16).map(|_| origin.client()).collect();
    let request = b"GET /topics/a/b HTTP/1.1\r\nHost: h\r\n\r\n";
    waiting.iter_mut().for_each(|client| client.send(request).unwrap());
    while origin.metric("headwater_topic_subscribers", "poll") < 16.0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    publish(&origin, "/topics/a/b", "now");
    for client in &mut waiting {
        let answer = client.answer(false).unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["items"][0]["item"]["value"]["text"], "now");
        assert_eq!(client.request("GET", "/time", &[], b"").unwrap().status, 200);
    }
    origin.stop();
}

#[test]
fn mistakes_are_answered_clearly() {
    let rules = "[[topic]]\npattern = \"small/*\"\nmessage_bytes_max = 10\n\
        [[topic]]\npattern = \"calm/*\"\nmessages_per_second = 1\n";
    let origin = origin("topics-mistakes", "2", rules);
    let post = |target: &str, lines: &[&str], body: &[u8]| {
        origin.request("POST", target, lines, body).status
    };
    assert_eq!(post("/topics/a", &[], b"x"), 400);
    assert_eq!(post("/topics/a/b//c", &[], b"x"), 400);
    assert_eq!(post(&format!("/topics/a/{}", "x".repeat(255)), &[], b"x"), 400);
    assert_eq!(post("/topics/a/b", &[], b"\xff"), 400);
    assert_eq!(post("/topics/a/b?program_date_time=now", &[], b"x"), 400);
    assert_eq!(post("/topics/objects/a", &[], b"x"), 403);
    assert_eq!(post("/topics/presence/a/b", &[], b"x"), 403);
    assert_eq!(post("/topics/small/a", &[], b"12345678901"), 413);
    assert_eq!(post("/topics/small/a", &[], b"1234567890"), 204);
    assert_eq!(post("/topics/a/b", &["Origin: http://page"], b"x"), 403);
    let mut refused = 0;
    for _ in 0..20 {
        let answer = origin.request("POST", "/topics/calm/a", &[], b"x");
        assert!(answer.status == 204 || answer.status == 429, "{}", answer.text());
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 0);
    let get = |target: &str| origin.get(target).status;
    for bad in ["/topics/a/b?from=now", "/topics/a/b?wait_ms=60001", "/topics/a", "/topics/"] {
        assert_eq!(get(bad), 400, "{bad}");
    }
    assert_eq!(origin.request("HEAD", "/topics/a/b", &[], b"").status, 405);
    assert_eq!(origin.request("PUT", "/topics/a/b", &[], b"x").status, 409);
    origin.stop();
}
