//! What leaves by reference, on a kernel that has no pipe, no memory for references, little room,
//! late and failing polls; and readers that never come back.

use super::book::KEYS;
use super::client::{Fate, Pace};
use super::request::{Request, What};
use super::world::{Plan, World};
use crate::shard::Tx;
use crate::sys::sim::Faults;

/// A key and a body too large for send buffer and inbox together.
const LARGE: (usize, u64) = (6, 90_000);

fn world(seed: u64, faults: Faults) -> World {
    let mut plan = Plan::new(seed, 2);
    plan.faults = Faults { send_room: 20_000, inbox_room: 10_000, ..faults };
    plan.settings.tx = Tx::Splice;
    plan.settings.splice_bytes_min = 2_048;
    plan.memory_bytes = 8 << 20;
    World::new(&plan)
}

fn get(world: &mut World, shard: usize, pace: Pace, fate: Fate) {
    let client = world.client(shard);
    (client.pace, client.fate) = (pace, fate);
    client.plan(Request::new(What::Get, LARGE.0));
}

/// Bytes sent by reference and by copy.
fn sent(world: &World) -> (u64, u64) {
    let counts = world.shards.iter().map(|shard| &shard.reactor.counts);
    counts.fold((0, 0), |(shared, copied), counts| {
        (shared + counts.bytes_shared.get(), copied + counts.bytes.get())
    })
}

fn unread(world: &World) -> u64 {
    world.shards.iter().map(|shard| shard.reactor.unread_bytes()).sum()
}

fn finish(mut world: World) {
    world.sim.be_kind();
    world.run_quiet();
    assert_eq!(unread(&world), 0, "readers that are gone hold nothing");
    world.take_all_away();
    world.check_quiet();
    world.check_empty();
    world.book.check();
    world.run_drain();
}

#[test]
fn without_a_pipe_bodies_leave_by_copy() {
    let mut world = world(1, Faults { pipes_refused: true, ..Faults::default() });
    world.store(LARGE);
    (0..4).for_each(|shard| get(&mut world, shard % 2, Pace::FAST, Fate::Behaves));
    world.run_clients();
    let (shared, copied) = sent(&world);
    assert!(shared == 0 && copied >= 4 * LARGE.1, "{shared} shared, {copied} copied");
    finish(world);
}

/// References are refused in the middle of bodies: the rest goes by copy, no byte twice.
#[test]
fn without_memory_for_references_the_rest_leaves_by_copy() {
    for seed in 0..8 {
        let faults = Faults { references_refused_once_in: 3, ..Faults::default() };
        let mut world = world(seed, faults);
        world.store(LARGE);
        (0..6).for_each(|shard| get(&mut world, shard % 2, Pace::FAST, Fate::Behaves));
        world.run_clients();
        let (shared, copied) = sent(&world);
        assert!(shared > 0 && copied > LARGE.1, "{shared} shared, {copied} copied");
        finish(world);
    }
}

/// Slow readers look at pages long after they were handed over, while their object is replaced a
/// hundred times in a memory that has room for few versions. Polls come late and in any order.
#[test]
fn slow_readers_see_the_version_that_they_asked_for() {
    for seed in 0..4 {
        let faults = Faults {
            delay_us_max: 3_000,
            inline_once_in: seed % 3,
            late: seed % 2 == 1,
            ..Faults::default()
        };
        let mut world = world(seed, faults);
        world.store(LARGE);
        for version in 0..100 {
            if version % 10 == 0 {
                let pace = Pace { read_max: 3_000, pause_us: 20_000, ..Pace::FAST };
                (0..2).for_each(|shard| get(&mut world, shard, pace, Fate::Behaves));
            }
            let (key, length) = LARGE;
            let name = world.book.version(key, length);
            let (chunked, if_absent, patient, ttl_s) = (false, false, true, 0);
            let what = What::Put { version: name, length, chunked, if_absent, patient, ttl_s };
            world.client(0).plan(Request::new(what, key));
            world.run_ms(15);
        }
        world.run_clients();
        assert!(sent(&world).0 > 10 * LARGE.1, "bodies left by reference");
        finish(world);
    }
    assert!(KEYS.len() > LARGE.0);
}

/// A reader stops in the middle of a shared body: it is cut by the rate rule, also when the cancel
/// of its poll misses, and what it was handed no longer counts.
#[test]
fn a_stalled_reader_is_cut_off_and_holds_nothing_afterwards() {
    for (seed, misses) in (0..).zip([0, 2, 3, 2, 0, 2]) {
        let faults = Faults {
            cancel_misses_once_in: misses,
            user_timeout_us: 1_000_000_000,
            ..Faults::default()
        };
        let mut world = world(seed, faults);
        world.store(LARGE);
        get(&mut world, 1, Pace::FAST, Fate::Stalls(5_000));
        world.run_ms(2_000);
        assert!(unread(&world) > 0, "the reader stalls");
        let begun_us = world.sim.now_us();
        world.run_clients();
        world.run_quiet();
        let taken_s = (world.sim.now_us() - begun_us) / 1_000_000;
        assert!(taken_s < 30, "the reader was there for {taken_s} s");
        let cut = world.shards.iter().map(|shard| shard.accounts.meters.slow_readers_cut.value());
        assert_eq!(cut.sum::<u64>(), 1);
        finish(world);
    }
}

/// Many readers began while nobody held anything, and then each was handed all of its body: what
/// they held together was not bounded. The bound holds for each piece.
#[test]
fn what_stalled_readers_hold_is_bounded_however_many_begin_at_once() {
    const MOST: u64 = 200_000;
    let mut world = world(1, Faults::default());
    world.store(LARGE);
    world.shards.iter().for_each(|shard| shard.reactor.bound_unread(MOST));
    (0..24).for_each(|number| get(&mut world, number % 2, Pace::FAST, Fate::Stalls(0)));
    let mut most = 0;
    for _ in 0..100 {
        world.run_ms(20);
        most = world.shards.iter().map(|shard| shard.reactor.unread_bytes()).fold(most, u64::max);
    }
    assert!((1..=MOST).contains(&most), "{most} bytes were held on one shard");
    world.run_clients();
    finish(world);
}
