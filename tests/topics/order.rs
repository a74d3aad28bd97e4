//! One order for everybody: publishers and subscribers on all shards, subscribers come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::client::{Socket, Stream};
use crate::support::Origin;
use crate::{origin, position};

const TOPIC: &str = "/topics/order/a";
const PUBLISHERS: usize = 8;

/// What a subscriber saw: number and text of consecutive messages.
type Seen = Vec<(u64, String)>;

fn sizes() -> (usize, usize) {
    match std::env::var("HEADWATER_TOPICS").as_deref() {
        Ok("long") => (2500, 60),
        _ => (250, 24),
    }
}

#[test]
fn every_subscriber_sees_the_same_messages_in_the_same_order() {
    let rules = "[[topic]]\npattern = \"order/*\"\nmessages_max = 100_000\nbytes_max = \"64MiB\"\n";
    let origin = origin("topics-order", "4", rules);
    let (messages, subscribers) = sizes();
    let total = (messages * PUBLISHERS) as u64;
    let done = AtomicBool::new(false);
    let origin = &origin;
    let seen: Vec<Seen> = thread::scope(|scope| {
        let mut readers = Vec::new();
        for number in 0..subscribers {
            readers.push(scope.spawn(move || match number % 3 {
                0 => by_stream(origin, total),
                1 => by_socket(origin, total),
                _ => by_restarts(origin, total, number as u64),
            }));
        }
        let churn = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let streams: Vec<_> = (0..8).map(|_| Stream::open(origin, TOPIC, &[])).collect();
                drop(streams);
            }
        });
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                scope.spawn(move || {
                    let mut client = origin.client();
                    let mut before = 0;
                    for message in 0..messages {
                        let text = format!("{publisher} {message}");
                        let answer = client.request("POST", TOPIC, &[], text.as_bytes()).unwrap();
                        let (_, number) = position(&answer);
                        assert!(number > before, "a publisher's messages keep their order");
                        before = number;
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        let seen = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        churn.join().unwrap();
        seen
    });
    for one in &seen {
        assert_eq!(one.len() as u64, total, "no gap");
        assert!(one.iter().zip(1..).all(|(message, number)| message.0 == number), "no duplicate");
        assert!(one == &seen[0], "the same order");
    }
    let deliveries = seen.iter().map(Vec::len).sum::<usize>();
    println!("{deliveries} deliveries to {subscribers} subscribers that were compared");
}

fn entry(item: &serde_json::Value) -> (u64, String) {
    let number = item["topic_sequence_number"].as_u64().unwrap();
    (number, item["value"]["text"].as_str().unwrap().to_owned())
}

fn by_stream(origin: &Origin, total: u64) -> Seen {
    let (mut stream, _) = Stream::open(origin, &format!("{TOPIC}?from=earliest"), &[]);
    (0..total)
        .map(|_| {
            let event = stream.next().unwrap();
            assert_eq!(event.kind, "");
            entry(&event.json())
        })
        .collect()
}

fn by_socket(origin: &Origin, total: u64) -> Seen {
    let mut socket = Socket::open(origin, &format!("{TOPIC}?from=earliest"));
    assert_eq!(socket.next()["subscribed"], "order/a");
    (0..total).map(|_| entry(&socket.next()["item"])).collect()
}

/// A stream that is cut again and again, and resumes by the id of its last event.
fn by_restarts(origin: &Origin, total: u64, seed: u64) -> Seen {
    let mut seen = Seen::new();
    let mut last: Option<String> = None;
    while (seen.len() as u64) < total {
        let line = last.as_ref().map(|id| format!("Last-Event-ID: {id}"));
        let lines: Vec<&str> = line.iter().map(String::as_str).collect();
        let (mut stream, _) = Stream::open(origin, &format!("{TOPIC}?from=earliest"), &lines);
        let until = (seen.len() as u64 + 40 + seed * 7).min(total);
        while (seen.len() as u64) < until {
            let event = stream.next().unwrap();
            assert_eq!(event.kind, "");
            seen.push(entry(&event.json()));
            last = Some(event.id);
        }
    }
    seen
}
