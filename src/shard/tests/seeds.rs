//! Many small worlds, each from a seed: clients of all kinds, and a kernel that does whatever a
//! kernel may do.
//!
//! `HEADWATER_SEEDS` says how many seeds (or, as `from..to`, which).

use std::collections::BTreeMap;

use super::book::KEYS;
use super::client::{Fate, Pace};
use super::request::{Request, What};
use super::world::{Plan, World};
use crate::shard::Ending;
use crate::sys::random::Random;
use crate::sys::sim::Faults;

pub type Outcomes = BTreeMap<&'static str, u64>;

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
    change: fn(&mut Plan, &mut Random),
    scenario: fn(&Plan, &mut Random) -> Outcomes,
) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for seed in seeds(usual) {
        let found = std::panic::catch_unwind(|| {
            let mut random = Random::new(seed);
            let mut plan = Plan::some(seed, &mut random);
            change(&mut plan, &mut random);
            println!("HEADWATER_SEEDS={seed}..{}: {:?}", seed + 1, plan.faults);
            scenario(&plan, &mut random)
        });
        let found = found.unwrap_or_else(|panic| {
            println!("HEADWATER_SEEDS={seed}..{}", seed + 1);
            std::panic::resume_unwind(panic)
        });
        found.into_iter().for_each(|(name, count)| *outcomes.entry(name).or_default() += count);
    }
    outcomes
}

fn some_faults(plan: &mut Plan, random: &mut Random) {
    plan.faults = Faults::some(random);
}

/// What kind of clients come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of all kinds; those that behave lose no answer.
    Strict,
    /// Of all kinds; answers may be lost.
    Lenient,
    /// Two that behave and wait for each answer.
    Few,
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

pub fn populate(world: &mut World, random: &mut Random, kind: Kind) {
    let count = if kind == Kind::Few { 2 } else { 2 + random.index(8) };
    for _ in 0..count {
        let shard = random.index(world.shards.len());
        let mut pace = Pace::some(random);
        let fate = if kind == Kind::Few { Fate::Behaves } else { fate(random) };
        if kind == Kind::Few {
            pace.depth = 1;
        }
        let mut requests = Vec::new();
        for _ in 0..1 + random.index(10) {
            requests.extend(Request::some(&mut world.book, random, pace.length_max()));
        }
        let client = world.client(shard);
        (client.pace, client.fate) = (pace, fate);
        client.lenient |= kind == Kind::Lenient;
        requests.into_iter().for_each(|request| client.plan(request));
    }
}

/// Clients come, do what they want and leave; in the end nothing of them is left.
pub fn traffic(plan: &Plan, random: &mut Random, kind: Kind) -> Outcomes {
    let mut world = World::new(plan);
    for _ in 0..1 + random.below(2) {
        populate(&mut world, random, kind);
        world.run_clients();
    }
    world.wind_down();
    world.run_drain();
    assert!(world.endings.iter().all(|ending| *ending == Some(Ending::Drained)));
    std::mem::take(&mut world.book.outcomes)
}

#[test]
fn whatever_happens_every_answer_is_right() {
    let outcomes =
        for_each_seed(120, some_faults, |plan, random| traffic(plan, random, Kind::Strict));
    println!("{outcomes:?}");
    if std::env::var("HEADWATER_SEEDS").is_err() {
        for name in ["read", "read growing", "read a part", "read parts", "stored", "deleted"] {
            assert!(outcomes.contains_key(name), "{name} never happened");
        }
    }
}

/// Every completion comes one step later than it could, so that every path has to wait.
#[test]
fn everything_comes_one_step_late() {
    let late = |plan: &mut Plan, _: &mut Random| {
        plan.faults = Faults { late: true, ..Faults::default() };
    };
    for_each_seed(30, late, |plan, random| traffic(plan, random, Kind::Strict));
}

/// Connections fail by themselves, in both directions, while they are used.
#[test]
fn connections_may_fail_at_any_time() {
    let failing = |plan: &mut Plan, random: &mut Random| {
        some_faults(plan, random);
        plan.faults.error_once_in = 5 + random.below(100);
    };
    let outcomes = for_each_seed(40, failing, |plan, random| traffic(plan, random, Kind::Lenient));
    println!("{outcomes:?}");
}

/// A shard has a handful of receive buffers, and whoever gets none is served later.
#[test]
fn receive_buffers_run_out() {
    let starving = |plan: &mut Plan, random: &mut Random| {
        some_faults(plan, random);
        let start = 1 + u16::try_from(random.below(4)).unwrap();
        plan.faults.recv_buffers = (start, start + u16::try_from(random.below(8)).unwrap());
    };
    for_each_seed(30, starving, |plan, random| traffic(plan, random, Kind::Few));
}

/// Connections and descriptors are few: some clients are turned away, none breaks anything.
#[test]
fn places_run_out() {
    let crowded = |plan: &mut Plan, random: &mut Random| {
        some_faults(plan, random);
        plan.settings.connections_max = 1 + random.index(4);
        plan.faults.descriptors_max = 1 + random.index(8);
    };
    let outcomes = for_each_seed(30, crowded, |plan, random| traffic(plan, random, Kind::Lenient));
    println!("{outcomes:?}");
}

/// Everybody wants one key, on every shard at once, and messages between shards are slow: who was
/// answered is seen by whoever asks later.
#[test]
fn a_write_that_was_answered_is_seen_on_every_shard() {
    let hot = |plan: &mut Plan, random: &mut Random| {
        plan.shards = 2 + random.index(3);
        plan.faults.message_us_max = 1 << random.below(15);
    };
    let outcomes = for_each_seed(60, hot, |plan, random| {
        let mut world = World::new(plan);
        let key = random.index(KEYS.len());
        for shard in 0..world.shards.len() {
            let writes = random.once_in(2);
            for _ in 0..2 {
                let mut requests = Vec::new();
                for _ in 0..10 {
                    let length = 1 + random.below(3_000);
                    let what = match random.below(8) {
                        0..=3 if writes => {
                            let version = world.book.version(key, length);
                            let (chunked, if_absent) = (random.once_in(2), random.once_in(8));
                            let (patient, ttl_s) = (false, 0);
                            What::Put { version, length, chunked, if_absent, patient, ttl_s }
                        }
                        4 if writes => What::Delete,
                        _ => What::Get,
                    };
                    requests.push(Request::new(what, key));
                }
                let client = world.client(shard);
                requests.into_iter().for_each(|request| client.plan(request));
            }
        }
        let begun_us = world.sim.now_us();
        world.run_clients();
        // Nobody waits for a timer: that would be a wake-up lost.
        let taken_ms = (world.sim.now_us() - begun_us) / 1000;
        assert!(taken_ms < plan.settings.head_ms, "it took {taken_ms} ms");
        world.audit();
        world.book.check();
        world.take_all_away();
        world.check_quiet();
        world.check_empty();
        std::mem::take(&mut world.book.outcomes)
    });
    println!("{outcomes:?}");
}

/// A drain begins in the middle of it all.
#[test]
fn a_drain_ends_every_shard() {
    let outcomes = for_each_seed(40, some_faults, |plan, random| {
        let mut world = World::new(plan);
        world.lenient = true;
        let kind = if random.once_in(2) { Kind::Few } else { Kind::Lenient };
        populate(&mut world, random, kind);
        world.run_ms(random.below(30));
        let begun_ms = world.sim.now_us() / 1000;
        world.drain();
        world.run_clients();
        world.run_drain();
        let taken_ms = world.sim.now_us() / 1000 - begun_ms;
        assert!(taken_ms < plan.settings.drain_ms + 1_000, "a drain took {taken_ms} ms");
        world.book.check();
        // Nobody stalls, so nobody has to be cut off.
        assert!(kind == Kind::Lenient || taken_ms < 10_000, "a drain took {taken_ms} ms");
        let ended = world.endings.iter().all(|ending| *ending == Some(Ending::Drained));
        assert!(kind == Kind::Lenient || ended, "answers were cut off");
        world.book.count(if ended { "drained" } else { "cut off" });
        std::mem::take(&mut world.book.outcomes)
    });
    println!("{outcomes:?}");
}

/// The seed is all there is: the same seed gives the same run to the last byte.
#[test]
fn a_seed_says_everything() {
    for seed in 0..5 {
        let run = || {
            let mut random = Random::new(seed);
            let mut plan = Plan::some(seed, &mut random);
            some_faults(&mut plan, &mut random);
            let mut world = World::new(&plan);
            populate(&mut world, &mut random, Kind::Strict);
            world.run_clients();
            world.run_quiet();
            (world.sim.trace(), world.sim.now_us(), world.steps)
        };
        assert_eq!(run(), run(), "seed {seed}");
    }
}
