//! Every key of a real origin behaves like one register, whatever shard a client is on.
//!
//! Clients on many connections to four shards write, read and delete few keys at once, some under
//! conditions, some leaving in the middle; what they were told is checked for linearizability.
//! `HEADWATER_SEEDS` says how many seeds (or, as `from..to`, which); a seed determines what the
//! clients do, not what the kernel makes of it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

#[path = "linearizability/checker.rs"]
mod checker;
#[path = "linearizability/clients.rs"]
mod clients;
#[path = "linearizability/planted.rs"]
mod planted;
#[path = "linearizability/random.rs"]
mod random;
#[path = "linearizability/readers.rs"]
mod readers;
mod support;

use std::ops::Range;
use std::thread;
use std::time::Instant;

use checker::{Event, Operation, check};
use clients::{Diary, Writer};
use support::Origin;

const CLIENTS: u64 = 24;
const OPERATIONS: usize = 300;

fn seeds() -> Range<u64> {
    let text = std::env::var("HEADWATER_SEEDS").unwrap_or_else(|_| "3".to_owned());
    match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..text.parse().unwrap(),
    }
}

#[test]
fn what_clients_see_of_a_key_has_one_order() {
    for seed in seeds() {
        println!("HEADWATER_SEEDS={seed}..{}", seed + 1);
        let origin = Origin::start(&["--shards", "4"]);
        let keys: Vec<String> = ["live/0/a.m3u8", "vod/b.bin", "live/1/c.m4s", "d", "x/y/z/e.mpd"]
            .iter()
            .map(|name| format!("/{seed}/{name}"))
            .collect();
        let diaries = record(&origin, seed, &keys);
        for (number, key) in keys.iter().enumerate() {
            judge(key, clients::history(number, &diaries));
        }
        let recalls = origin.metric("headwater_leases_total", "event=\"recalled\"");
        assert!(recalls > 100.0, "only {recalls} leases were recalled: the test proves nothing");
        for shard in 0..4 {
            let shard = format!("shard=\"{shard}\"");
            assert!(origin.metric("headwater_requests_total", &shard) > 0.0, "{shard} idled");
        }
        origin.stop();
    }
}

/// Lets the clients loose; then one more look at each key from new connections.
fn record(origin: &Origin, seed: u64, keys: &[String]) -> Vec<Diary> {
    let begun = Instant::now();
    let writer = |number| Writer::new(origin.http, (seed, number), begun, keys);
    let mut diaries: Vec<Diary> = thread::scope(|scope| {
        let run = |number| scope.spawn(move || writer(number).run(OPERATIONS));
        let running: Vec<_> = (0..CLIENTS).map(run).collect();
        running.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let looks = (0..8 * keys.len()).map(|look| (look as u64, look % keys.len()));
    diaries.extend(looks.map(|(number, key)| writer(CLIENTS + number).look(key)));
    diaries
}

/// The history is sound, and no longer is once a stale read is planted in it.
fn judge(key: &str, mut history: Vec<Event>) {
    let count = |wanted: fn(&Operation) -> bool| {
        history.iter().filter(|event| wanted(&event.operation)).count()
    };
    let puts = count(|operation| matches!(operation, Operation::Put(..)));
    let reads = count(|operation| matches!(operation, Operation::Saw(_)));
    println!("{key}: {} operations, {puts} writes, {reads} reads found it", history.len());
    if let Err(reason) = check(&history) {
        panic!("{key}: {reason}");
    }
    let Some(stale) = stale_read(&history) else { return };
    history.push(stale);
    assert!(check(&history).is_err(), "{key}: the planted stale read {stale:?} went unnoticed");
}

/// A read at the very end of a value that certainly was replaced or deleted.
fn stale_read(history: &[Event]) -> Option<Event> {
    let end = history.iter().filter_map(|event| event.returned).max()?;
    let last_write = history
        .iter()
        .filter(|event| matches!(event.operation, Operation::Put(..) | Operation::Delete(_)));
    let last_call = last_write.map(|event| event.called).max()?;
    let replaced = history.iter().find_map(|event| match event.operation {
        Operation::Put(value, _) if event.returned? < last_call => Some(value),
        _ => None,
    })?;
    let operation = Operation::Saw(replaced);
    Some(Event { called: end + 1, returned: Some(end + 2), operation })
}
