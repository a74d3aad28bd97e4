//! Many small worlds, each from a seed: clients of all kinds, and a kernel that does whatever a
//! kernel may do.
//!
//! `HEADWATER_SEEDS` says how many seeds (or, as `from..to`, which).

use std::collections::BTreeMap;

use super::client::{Fate, Pace};
use super::request::Request;
use super::world::{Plan, World};
use crate::shard::{Ending, Tx};
use crate::sys::random::Random;
use crate::sys::sim::Faults;

type Outcomes = BTreeMap<&'static str, u64>;

/// The seeds to run: so many when nobody says otherwise.
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    match std::env::var("HEADWATER_SEEDS") {
        Err(_) => 0..usual,
        Ok(seeds) => match seeds.split_once("..") {
            Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
            None => 0..seeds.parse().unwrap(),
        },
    }
}

/// Runs a scenario for each seed, and says which one it was when it fails.
pub fn for_each_seed(
    usual: u64,
    scenario: impl Fn(u64) -> Outcomes + std::panic::RefUnwindSafe,
) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for seed in seeds(usual) {
        let found = std::panic::catch_unwind(|| scenario(seed)).unwrap_or_else(|panic| {
            println!("HEADWATER_SEEDS={seed}..{}", seed + 1);
            println!("{:?}", plan(seed, &mut Random::new(seed)).faults);
            std::panic::resume_unwind(panic);
        });
        found.into_iter().for_each(|(name, count)| *outcomes.entry(name).or_default() += count);
    }
    outcomes
}

fn fate(random: &mut Random) -> Fate {
    let after = 1 << random.below(17);
    match random.below(12) {
        0 => Fate::Resets(after),
        1 => Fate::Closes(after),
        2 => Fate::Stalls(after),
        3 => Fate::Breaks(after),
        _ => Fate::Behaves,
    }
}

pub fn plan(seed: u64, random: &mut Random) -> Plan {
    let mut plan = Plan::new(seed, 1 + random.index(4));
    plan.faults = Faults::some(random);
    plan.settings.tx = [Tx::Auto, Tx::ZeroCopy, Tx::Copy][random.index(3)];
    plan.settings.zero_copy_bytes_min = 1 << (8 + random.below(8));
    plan.memory_bytes = 4 << (20 + random.below(3));
    plan
}

pub fn populate(world: &mut World, random: &mut Random, lenient: bool) {
    for _ in 0..2 + random.index(8) {
        let shard = random.index(world.shards.len());
        let pace = Pace::some(random);
        let mut requests = Vec::new();
        for _ in 0..1 + random.index(10) {
            requests.extend(Request::some(&mut world.book, random, pace.length_max()));
        }
        let client = world.client(shard);
        client.pace = pace;
        client.fate = fate(random);
        client.lenient = lenient;
        requests.into_iter().for_each(|request| client.plan(request));
    }
}

/// Clients come, do what they want and leave; in the end nothing of them is left.
fn traffic(seed: u64) -> Outcomes {
    let mut random = Random::new(seed);
    let mut world = World::new(&plan(seed, &mut random));
    for _ in 0..1 + random.below(2) {
        populate(&mut world, &mut random, false);
        world.run_clients();
    }
    world.audit();
    world.book.check();
    world.take_all_away();
    world.check_quiet();
    world.check_empty();
    world.run_drain();
    assert!(world.endings.iter().all(|ending| *ending == Some(Ending::Drained)));
    std::mem::take(&mut world.book.outcomes)
}

#[test]
fn whatever_happens_every_answer_is_right() {
    let outcomes = for_each_seed(200, traffic);
    println!("{outcomes:?}");
    if std::env::var("HEADWATER_SEEDS").is_err() {
        for name in ["read", "read growing", "read a part", "read parts", "stored", "deleted"] {
            assert!(outcomes.contains_key(name), "{name} never happened");
        }
    }
}
