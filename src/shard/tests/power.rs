//! Power cuts and failing syncs: the disk tier on a simulated disk that keeps what was synced, and
//! of the rest what it likes.
//!
//! Clients write and delete, the power fails in the middle of it, new shards start on what is
//! left, and one order must explain what was acknowledged before and what is read after. Whoever
//! reads what is not acknowledged yet may be disappointed, so that only the new shards are read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::book::{Book, KEYS};
use super::client::Pace;
use super::request::{Request, What};
use super::seeds::{Outcomes, for_each_seed};
use super::world::{Plan, World};
use crate::sys::random::Random;
use crate::sys::sim::{Disk, Faults, SyncFate};

/// Each has some of the keys.
const WRITERS: usize = 3;

fn write_some(world: &mut World, random: &mut Random) {
    for writer in 0..WRITERS {
        let mut requests = Vec::new();
        for _ in 0..2 + random.index(6) {
            let key = writer + WRITERS * random.index(KEYS.len() / WRITERS);
            let most = 1 << random.below(16);
            let length = 1 + random.below(most);
            requests.push(match random.once_in(4) {
                true => Request::new(What::Delete, key),
                // One in five lives in memory only, and so ends with the power at the latest.
                false => world.put(key, length, u64::from(random.once_in(5))),
            });
        }
        let shard = random.index(world.shards.len());
        let client = world.client(shard);
        client.pace = Pace::FAST;
        requests.into_iter().for_each(|request| client.plan(request));
    }
}

/// Three lives of one disk, each ended by a power cut, and a last look.
fn cuts(plan: &Plan, random: &mut Random) -> Outcomes {
    let (mut disk, mut book) = (Disk::default(), Book::default());
    for _ in 0..3 {
        let mut world = World::new(&Plan { disk: Some(disk), ..plan.clone() });
        world.book = book;
        world.audit();
        write_some(&mut world, random);
        let most_ms = 1 << random.below(8);
        world.run_ms(random.below(most_ms));
        (disk, book) = world.lose_power(random);
        world.run_clients();
        world.run_quiet();
    }
    last_look(plan, disk, book)
}

/// Everything is read, and one order explains it; no upload was refused.
fn last_look(plan: &Plan, disk: Disk, book: Book) -> Outcomes {
    let mut world = World::new(&Plan { disk: Some(disk), ..plan.clone() });
    world.book = book;
    world.audit();
    world.book.check();
    let outcomes = std::mem::take(&mut world.book.outcomes);
    assert!(!outcomes.contains_key("busy") && !outcomes.contains_key("read-only"), "{outcomes:?}");
    outcomes
}

fn slow_disk(plan: &mut Plan, random: &mut Random) {
    plan.faults = Faults::some(random);
    plan.faults.accept_fails_once_in = 0;
    plan.faults.delay_us_max = 1 << random.below(13);
}

#[test]
fn what_was_acknowledged_survives_power_cuts_and_nothing_is_half_there() {
    let outcomes = for_each_seed(60, slow_disk, cuts);
    println!("{outcomes:?}");
    if std::env::var("HEADWATER_SEEDS").is_err() {
        for name in ["read", "stored", "deleted", "absent"] {
            assert!(outcomes.contains_key(name), "{name} never happened");
        }
    }
}

/// Two keys of one folder come and go, so that the folder does, too: it was taken away between
/// opening it and naming a file in it, which ended all writing to the disk.
#[test]
fn folders_that_come_and_go_take_nothing_along() {
    let outcomes = for_each_seed(60, slow_disk, |plan, random| {
        let (mut disk, mut book) = (Disk::default(), Book::default());
        let plan = Plan { shards: 4, ..plan.clone() };
        for _ in 0..2 {
            let mut world = World::new(&Plan { disk: Some(disk), ..plan.clone() });
            world.book = book;
            world.audit();
            for key in [3, 4, 6, 7] {
                let mut requests = Vec::new();
                for step in 0..12 {
                    requests.push(match step % 2 {
                        0 => world.put(key, 1 + random.below(600), 0),
                        _ => Request::new(What::Delete, key),
                    });
                }
                let client = world.client(key % 4);
                requests.into_iter().for_each(|request| client.plan(request));
            }
            world.run_ms(random.below(60));
            (disk, book) = world.lose_power(random);
            world.run_clients();
            world.run_quiet();
            assert!(!world.book.outcomes.contains_key("read-only"), "{:?}", world.book.outcomes);
        }
        last_look(&plan, disk, book)
    });
    println!("{outcomes:?}");
}

/// How many of so many seeds the check finds something in.
fn found(seeds: u64, plant: fn(&mut Faults)) -> usize {
    let finds = |seed: &u64| {
        let mut random = Random::new(*seed);
        let mut plan = Plan::some(*seed, &mut random);
        slow_disk(&mut plan, &mut random);
        plant(&mut plan.faults);
        let run = AssertUnwindSafe(move || cuts(&plan, &mut random));
        catch_unwind(run).is_err()
    };
    (0..seeds).filter(finds).count()
}

/// As if uploads were acknowledged without a sync of their folder, or of their file.
#[test]
fn acknowledging_before_a_sync_is_found() {
    assert!(found(10, |faults| faults.folder_syncs = SyncFate::Lies) > 5);
    assert!(found(10, |faults| faults.file_syncs = SyncFate::Lies) > 5);
    assert_eq!(found(10, |_| {}), 0);
}

/// A failed sync ends all writing to disk, is not tried again, and takes nothing else away.
#[test]
fn after_a_failed_sync_the_disk_is_only_read() {
    let failures = [(SyncFate::Fails, SyncFate::Works), (SyncFate::Works, SyncFate::Fails)];
    for (files, folders) in failures {
        let (mut plan, mut random) = (Plan::new(1, 2), Random::new(1));
        plan.disk = Some(Disk::default());
        let mut world = World::new(&plan);
        let cold = world.put(6, 9_000, 0);
        world.client(0).plan(cold);
        world.run_clients();
        let (disk, book) = world.lose_power(&mut random);
        drop(world);
        plan.disk = Some(disk);
        let mut world = World::new(&plan);
        world.book = book;
        world.sim.set_syncs(files, folders);
        let refused = world.put(7, 5_000, 0);
        world.client(1).plan(refused);
        world.run_clients();
        assert_eq!(world.book.outcomes["read-only"], 1);
        let syncs = world.sim.syncs();
        world.sim.set_syncs(SyncFate::Works, SyncFate::Works);
        for shard in 0..2 {
            let (again, in_memory) = (world.put(8, 700, 0), world.put(5, 700, 60));
            let client = world.client(shard);
            client.plan(again);
            client.plan(in_memory);
            [5, 6, 7].into_iter().for_each(|key| client.plan(Request::new(What::Get, key)));
            world.run_clients();
        }
        let outcomes = &world.book.outcomes;
        // The refused upload is not there; memory and disk are read, and memory is written to.
        let counts = ["read-only", "stored", "read", "absent"].map(|name| outcomes[name]);
        assert_eq!(counts, [3, 3, 4, 2], "{outcomes:?}");
        assert_eq!(world.sim.syncs(), syncs, "a sync was tried again");
        let folder = world.shards[0].settings.data.as_ref().unwrap();
        assert!(folder.is_broken() && !folder.is_away());
        world.book.check();
    }
}
