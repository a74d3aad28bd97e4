//! Bugs that simulation found, one story each.

use super::client::{Fate, Pace};
use super::request::{Request, What};
use super::world::{Plan, World};
use crate::sys::sim::Faults;

fn put(world: &mut World, key: usize, length: u64, chunked: bool) -> Request {
    let version = world.book.version(key, length);
    let (if_absent, patient, ttl_s) = (false, false, 0);
    Request::new(What::Put { version, length, chunked, if_absent, patient, ttl_s }, key)
}

/// An accept failed (the process was out of descriptors) on a shard that had no connection. The
/// shard slept until something woke it, and nothing did: only connections bounded its sleep.
#[test]
fn a_shard_without_connections_accepts_again_after_a_failure() {
    let mut plan = Plan::new(1, 1);
    plan.faults = Faults { accept_fails_once_in: 2, ..Faults::default() };
    for seed in 0..10 {
        plan.seed = seed;
        let mut world = World::new(&plan);
        for _ in 0..5 {
            world.client(0).plan(Request::new(What::Get, 0));
            let begun_us = world.sim.now_us();
            world.run_clients();
            world.run_quiet();
            let taken_ms = (world.sim.now_us() - begun_us) / 1000;
            assert!(taken_ms < 10_000, "nobody accepted for {taken_ms} ms");
        }
    }
}

/// A cancel did not find the reception that it was for, although that went on. The connection
/// waited for the reception's end, which came only when the peer did something.
#[test]
fn a_cancel_that_misses_is_repeated() {
    let mut plan = Plan::new(1, 1);
    plan.faults = Faults { cancel_misses_once_in: 2, ..Faults::default() };
    let mut world = World::new(&plan);
    for _ in 0..12 {
        let client = world.client(0);
        client.fate = Fate::Stalls(0);
        client.plan(Request::new(What::Get, 0));
    }
    // Idle connections are closed after 20 s.
    world.run_clients();
    world.run_quiet();
    assert!(world.sim.now_us() < 40_000_000, "at {} us", world.sim.now_us());
}

/// A client asked for an object and then for one that was still arriving. The upload of the second
/// broke off; the reader was reset, and the reset threw away the end of the first answer, which
/// was complete and still on its way.
#[test]
fn an_upload_that_breaks_off_takes_no_earlier_answer_away() {
    let mut plan = Plan::new(1, 1);
    plan.faults = Faults { send_room: 50_000, inbox_room: 1_000, ..Faults::default() };
    let mut world = World::new(&plan);
    let whole = put(&mut world, 7, 40_000, false);
    world.client(0).plan(whole);
    world.run_clients();
    let broken = put(&mut world, 0, 20_000, true);
    let packager = world.client(0);
    packager.pace = Pace { piece_max: 500, pause_us: 20_000, ..Pace::FAST };
    packager.fate = Fate::Breaks(10_000);
    packager.plan(broken);
    world.run_until("the object can be read", |world| {
        world.shards[0].store.borrow().statistics().growing == 1
    });
    let reader = world.client(0);
    reader.pace = Pace { depth: 2, read_max: 300, pause_us: 20_000, ..Pace::FAST };
    reader.plan(Request::new(What::Get, 7));
    reader.plan(Request::new(What::Get, 0));
    world.run_until("the upload broke off", |world| {
        world.shards[0].store.borrow().statistics().uploads == 0
    });
    assert_eq!(world.clients[1].answers, 0, "the first answer is still on its way");
    // The reader checks that it gets the first answer whole.
    world.run_until("the first answer is there", |world| world.clients[1].answers == 1);
    world.run_clients();
    world.run_quiet();
    assert!(!world.book.outcomes.contains_key("absent"), "the second answer had begun");
}

/// A drain began while a client was in the middle of a head. The connection was answered with 408
/// at once, although its time was not over: it is heard out, answered, and then closed.
#[test]
fn a_drain_hears_a_head_out_that_has_begun() {
    for seed in 0..10 {
        let mut world = World::new(&Plan::new(seed, 2));
        let whole = put(&mut world, 3, 700, false);
        world.client(1).plan(whole);
        world.run_clients();
        let client = world.client(0);
        client.pace = Pace { piece_max: 5, pause_us: 20_000, ..Pace::FAST };
        client.plan(Request::new(What::Get, 3));
        world.run_ms(60);
        world.run_drain();
        assert_eq!(world.clients[0].answers, 1, "seed {seed}");
    }
}

/// Everybody connects to one of three shards. It hands connections over, and whoever was handed
/// over is served as well as the others.
#[test]
fn connections_that_are_handed_over_are_served() {
    for seed in 0..5 {
        let mut world = World::new(&Plan::new(seed, 3));
        let whole = put(&mut world, 2, 900, false);
        world.client(0).plan(whole);
        world.run_clients();
        for _ in 0..60 {
            let client = world.client(0);
            client.pace = Pace { piece_max: 40, pause_us: 100_000, ..Pace::FAST };
            (0..3).for_each(|_| client.plan(Request::new(What::Get, 2)));
        }
        world.run_until("connections are handed over", |world| {
            world.shards.iter().all(|shard| shard.reactor.connections() > 0)
        });
        world.run_until("all have their answers", |world| {
            world.clients.iter().all(|client| client.done)
        });
        assert!(world.clients.iter().all(|client| client.answers == 3), "seed {seed}");
        world.clients.clear();
        world.check_quiet();
    }
}
