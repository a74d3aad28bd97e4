//! Each key behaves like one register, on every shard and connection at once.
//!
//! Clients write, delete and read a few keys over many connections to four shards; each operation
//! is noted with the instants of its request and its answer. A history is right when some order of
//! the operations within those instants explains every answer. The seed is printed;
//! `HEADWATER_SEED` repeats a run's choices.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Instant;

use support::{Origin, pattern};

const CLIENTS: u64 = 12;
const KEYS: u64 = 6;
const OPERATIONS: u64 = 150;

/// What an operation did to its key, as far as the client was told; values are never written twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Write(u64),
    /// Whether something was there.
    Delete(bool),
    Read(Option<u64>),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    key: u64,
    act: Act,
    asked: Instant,
    answered: Instant,
}

/// A small generator, so that a seed names a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

#[test]
fn four_shards_are_one_register_per_key() {
    let seed = std::env::var("HEADWATER_SEED").map_or_else(
        |_| u64::from(std::process::id()) * 7919 + 1,
        |seed| seed.parse().expect("HEADWATER_SEED is a number"),
    );
    println!("HEADWATER_SEED={seed}");
    let origin = Origin::start(&["--shards", "4"]);
    let history = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (origin, history) = (&origin, &history);
            scope.spawn(move || {
                let own = run_client(origin, client, Dice(seed.wrapping_add(client) | 1 << 40));
                history.lock().unwrap().extend(own);
            });
        }
    });
    let history = history.into_inner().unwrap();
    for key in 0..KEYS {
        let mut of_key: Vec<Operation> =
            history.iter().filter(|operation| operation.key == key).copied().collect();
        of_key.sort_by_key(|operation| operation.asked);
        assert!(is_linearizable(&of_key), "seed {seed}, key {key}: {of_key:#?}");
    }
    origin.stop();
}

/// The body of a value: its number, then bytes that depend on it.
fn body_of(value: u64) -> Vec<u8> {
    let mut body = value.to_le_bytes().to_vec();
    body.extend(pattern(value, (value * 7919 % 40_000) as usize));
    body
}

fn value_of(body: &[u8]) -> u64 {
    let value = u64::from_le_bytes(body[..8].try_into().unwrap());
    assert!(body == body_of(value), "a mixture of versions");
    value
}

fn run_client(origin: &Origin, client: u64, mut dice: Dice) -> Vec<Operation> {
    let mut connection = origin.client();
    let mut own = Vec::new();
    for number in 0..OPERATIONS {
        if dice.roll(20) == 0 {
            connection = origin.client();
        }
        let key = dice.roll(KEYS);
        // Folders are what owners are chosen by.
        let target = format!("/register/{key}/value.mp4");
        let choice = dice.roll(10);
        let asked = Instant::now();
        let act = if choice < 6 {
            let answer = connection.request("GET", &target, &[], b"").unwrap();
            match answer.status {
                200 => Act::Read(Some(value_of(&answer.body))),
                404 => Act::Read(None),
                other => panic!("GET: {other}"),
            }
        } else if choice < 9 {
            let value = 1 + client * OPERATIONS + number;
            let answer = connection.request("PUT", &target, &[], &body_of(value)).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            Act::Write(value)
        } else {
            let answer = connection.request("DELETE", &target, &[], b"").unwrap();
            assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
            Act::Delete(answer.status == 200)
        };
        own.push(Operation { key, act, asked, answered: Instant::now() });
    }
    own
}

/// What the register holds after an operation, or `None` when it cannot have come next.
fn apply(act: Act, held: Option<u64>) -> Option<Option<u64>> {
    match act {
        Act::Write(value) => Some(Some(value)),
        Act::Delete(found) if found == held.is_some() => Some(None),
        Act::Read(value) if value == held => Some(held),
        Act::Delete(_) | Act::Read(_) => None,
    }
}

/// Searches an order that explains a history sorted by `asked`: depth first, remembering the sets
/// of placed operations and register values from which there is no way on.
fn is_linearizable(history: &[Operation]) -> bool {
    let mut placed = vec![false; history.len()];
    let mut order: Vec<(usize, Option<u64>)> = Vec::new();
    let mut seen = HashSet::new();
    let mut held = None;
    let mut from = 0;
    loop {
        if order.len() == history.len() {
            return true;
        }
        match next_candidate(history, &placed, held, from) {
            Some((index, after)) => {
                placed[index] = true;
                if seen.insert((placed.clone(), after)) {
                    order.push((index, held));
                    held = after;
                    from = 0;
                } else {
                    placed[index] = false;
                    from = index + 1;
                }
            }
            None => {
                let Some((index, before)) = order.pop() else { return false };
                placed[index] = false;
                held = before;
                from = index + 1;
            }
        }
    }
}

/// The first operation from `from` on that may come next: nothing unplaced was answered before it
/// was asked for.
fn next_candidate(
    history: &[Operation],
    placed: &[bool],
    held: Option<u64>,
    from: usize,
) -> Option<(usize, Option<u64>)> {
    let unplaced = || (0..history.len()).filter(|&index| !placed[index]);
    let first_answer = unplaced().map(|index| history[index].answered).min()?;
    unplaced()
        .skip_while(|&index| index < from)
        .take_while(|&index| history[index].asked <= first_answer)
        .find_map(|index| Some((index, apply(history[index].act, held)?)))
}

#[test]
fn the_checker_knows_right_from_wrong() {
    let base = Instant::now();
    let at = |ms: u64| base + std::time::Duration::from_millis(ms);
    let history = |steps: &[(Act, u64, u64)]| -> Vec<Operation> {
        let operation = |&(act, from, to): &(Act, u64, u64)| Operation {
            key: 0,
            act,
            asked: at(from),
            answered: at(to),
        };
        steps.iter().map(operation).collect()
    };
    use Act::{Delete, Read, Write};
    let right =
        [(Write(1), 0, 10), (Read(None), 1, 2), (Read(Some(1)), 3, 4), (Delete(true), 5, 6)];
    assert!(is_linearizable(&history(&right)));
    let stale = [(Write(1), 0, 1), (Write(2), 2, 3), (Read(Some(1)), 4, 5)];
    assert!(!is_linearizable(&history(&stale)));
    let back = [(Write(1), 0, 10), (Read(Some(1)), 1, 2), (Read(None), 3, 4)];
    assert!(!is_linearizable(&history(&back)));
    assert!(!is_linearizable(&history(&[(Delete(true), 0, 1)])));
}
