//! Prefetch: segments that are uploaded, deleted and read while they are brought ahead.

use super::client::Pace;
use super::cold::cold;
use super::request::{Request, What};
use super::seeds::{Outcomes, for_each_seed};
use super::world::{Plan, World};
use crate::meters::ShardMeters;
use crate::sys::meter::Counter;
use crate::sys::random::Random;
use crate::sys::sim::Faults;

/// Places among the keys of a segment and of the one behind it.
const SEGMENTS: [usize; 2] = [0, 1];

fn sum(world: &World, of: fn(&ShardMeters) -> &Counter) -> u64 {
    world.shards.iter().map(|shard| of(&shard.accounts.meters).value()).sum()
}

fn under_way(world: &World) -> bool {
    world.shards.iter().any(|shard| shard.ahead.is_busy())
}

/// A world in which the second segment is being brought ahead, by a read of the first.
fn fetching(plan: &Plan, random: &mut Random) -> World {
    let objects = SEGMENTS.map(|key| (key, 1 + random.below(60_000)));
    let mut world = cold(plan, &objects, random);
    let shard = random.index(world.shards.len());
    world.client(shard).plan(Request::new(What::Get, SEGMENTS[0]));
    world.run_until("the next segment is on its way", under_way);
    world
}

fn slow(plan: &mut Plan, random: &mut Random) {
    plan.faults = Faults { delay_us_max: 1 << (6 + random.below(8)), ..Faults::default() };
    plan.faults.message_us_max = 1 << random.below(10);
}

/// Whoever changes or reads the next segment meanwhile is answered as if it were not brought.
#[test]
fn a_change_of_what_is_brought_ahead_wins() {
    let outcomes = for_each_seed(40, slow, |plan, random| -> Outcomes {
        let mut world = fetching(plan, random);
        for _ in 0..1 + random.below(4) {
            let length = 1 + random.below(40_000);
            let request = match random.below(4) {
                0 | 1 => world.put(SEGMENTS[1], length, 0),
                2 => Request::new(What::Delete, SEGMENTS[1]),
                _ => Request::new(What::Get, SEGMENTS[1]),
            };
            let shard = random.index(world.shards.len());
            let client = world.client(shard);
            client.pace = Pace::some(random);
            client.plan(request);
            client.plan(Request::new(What::Get, SEGMENTS[1]));
        }
        world.run_clients();
        world.wind_down();
        assert!(!under_way(&world));
        std::mem::take(&mut world.book.outcomes)
    });
    println!("{outcomes:?}");
    if std::env::var("HEADWATER_SEEDS").is_err() {
        for name in ["read", "stored", "deleted"] {
            assert!(outcomes.contains_key(name), "{name} never happened");
        }
    }
}

/// Many read the segment that came ahead, on every shard: it is used once, and leads on once.
#[test]
fn what_came_ahead_is_used_once() {
    for_each_seed(20, slow, |plan, random| {
        let mut world = fetching(plan, random);
        for _ in 0..6 {
            let shard = random.index(world.shards.len());
            world.client(shard).plan(Request::new(What::Get, SEGMENTS[1]));
        }
        world.run_clients();
        world.run_quiet();
        assert_eq!(sum(&world, |meters| &meters.prefetches_begun), 1);
        assert_eq!(sum(&world, |meters| &meters.prefetches_used), 1);
        assert_eq!(sum(&world, |meters| &meters.prefetches_wasted), 0);
        world.wind_down();
        std::mem::take(&mut world.book.outcomes)
    });
}
