//! Cold reads: objects that are read, replaced and deleted while the disk gives them back.

use super::book::{Book, KEYS};
use super::client::Pace;
use super::request::{Request, What};
use super::seeds::{Kind, Outcomes, for_each_seed, populate};
use super::world::{Plan, World};
use crate::sys::random::Random;
use crate::sys::sim::{Disk, Faults, SyncFate};

/// An object that comes in chunks, and its bytes.
const FILM: (usize, u64) = (6, 60_000);

/// What a disk has after these were written, and what is known of them.
fn written(plan: &Plan, objects: &[(usize, u64)], random: &mut Random) -> (Disk, Book) {
    let mut world = World::new(&Plan {
        disk: Some(Disk::default()),
        faults: Faults::default(),
        ..plan.clone()
    });
    objects.iter().for_each(|&object| world.store(object));
    world.run_quiet();
    world.lose_power(random)
}

/// A world in which everything is on disk only.
pub(super) fn cold(plan: &Plan, objects: &[(usize, u64)], random: &mut Random) -> World {
    let (disk, book) = written(plan, objects, random);
    let mut world = World::new(&Plan { disk: Some(disk), ..plan.clone() });
    world.book = book;
    world
}

/// Whatever clients do with what is on disk only, every answer is right and nothing is left.
fn traffic(plan: &Plan, random: &mut Random) -> Outcomes {
    let objects: Vec<_> = (0..KEYS.len()).map(|key| (key, 1 + random.below(60_000))).collect();
    let mut world = cold(plan, &objects, random);
    populate(&mut world, random, Kind::Strict);
    world.run_clients();
    world.wind_down();
    std::mem::take(&mut world.book.outcomes)
}

#[test]
fn whatever_happens_to_cold_objects_every_answer_is_right() {
    let slow = |plan: &mut Plan, random: &mut Random| {
        plan.faults = Faults::some(random);
        plan.faults.accept_fails_once_in = 0;
        plan.faults.delay_us_max = 1 << random.below(13);
    };
    let outcomes = for_each_seed(80, slow, traffic);
    println!("{outcomes:?}");
    if std::env::var("HEADWATER_SEEDS").is_err() {
        for name in ["read", "read a part", "read parts", "stored", "deleted"] {
            assert!(outcomes.contains_key(name), "{name} never happened");
        }
    }
}

fn growing(world: &World) -> u64 {
    world.shards.iter().map(|shard| shard.store.borrow().statistics().growing).sum()
}

/// A world in which so many clients want the film.
fn watched(seed: u64, readers: usize) -> World {
    let (mut plan, mut random) = (Plan::new(seed, 2), Random::new(seed));
    plan.faults.delay_us_max = 3_000;
    let mut world = cold(&plan, &[FILM], &mut random);
    for _ in 0..readers {
        let reader = world.client(random.index(2));
        reader.pace = Pace { read_max: 4_000, ..Pace::FAST };
        reader.plan(Request::new(What::Get, FILM.0));
    }
    world
}

/// Clients that have some of it while the disk has the rest.
fn readers(world: &World) -> usize {
    let within = world.clients.iter().filter(|client| client.is_within_body());
    if growing(world) == 1 { within.count() } else { 0 }
}

/// A world in which a client has the first bytes of the film, while the disk has the last.
fn filling(seed: u64) -> World {
    let mut world = watched(seed, 1);
    world.run_until("the first bytes are there before the last", |world| readers(world) == 1);
    world
}

#[test]
fn the_first_bytes_of_a_cold_object_come_before_its_last() {
    for seed in 0..10 {
        let mut world = filling(seed);
        world.run_clients();
        world.run_quiet();
        assert_eq!(growing(&world), 0);
        assert_eq!(world.book.outcomes["read"], 1);
        world.book.check();
    }
}

/// Another version, or none, takes the object's place while it comes: who reads it gets it whole,
/// who asks later gets what took its place.
#[test]
fn a_change_meanwhile_wins_and_cuts_nobody() {
    for seed in 0..20 {
        let mut world = filling(seed);
        let change = match seed % 2 {
            0 => world.put(FILM.0, 20_000, 0),
            _ => Request::new(What::Delete, FILM.0),
        };
        world.client(1).plan(change);
        world.run_clients();
        world.audit();
        let outcomes = &world.book.outcomes;
        let wanted = if seed % 2 == 0 { ("stored", 3) } else { ("deleted", 1) };
        assert_eq!((outcomes[wanted.0] > 0, outcomes["read"]), (true, wanted.1), "{outcomes:?}");
        world.book.check();
        world.take_all_away();
        world.check_quiet();
        world.check_empty();
    }
}

/// Many want it at once: the disk is read once, and all have the first bytes early.
#[test]
fn who_comes_while_it_is_read_waits_for_its_first_bytes_only() {
    let mut early = 0;
    for seed in 0..20 {
        let mut world = watched(seed, 9);
        world.run_until("several have some of it, or all have all", |world| {
            readers(world) > 1 || world.clients.iter().all(|client| client.done)
        });
        early += usize::from(readers(&world) > 1);
        world.run_clients();
        assert_eq!(world.book.outcomes["read"], 9);
        let loads = world.shards.iter().map(|shard| shard.accounts.meters.disk_loads.value());
        assert_eq!(loads.sum::<u64>(), 1);
    }
    assert!(early > 10, "{early} of 20");
}

/// An upload that only memory gets replaces what the disk has for good: when its time was over, the
/// older version was served again.
#[test]
fn what_only_memory_had_leaves_no_older_version_behind() {
    for seed in 0..20 {
        let (mut plan, mut random) = (Plan::new(seed, 2), Random::new(seed));
        plan.faults.delay_us_max = 3_000;
        let mut world = cold(&plan, &[FILM], &mut random);
        if seed % 2 == 0 {
            world.client(0).plan(Request::new(What::Get, FILM.0));
            world.run_clients();
        }
        let put = world.put(FILM.0, 9_000, 1);
        world.client(1).plan(put);
        world.run_clients();
        if seed % 4 > 1 {
            world.run_ms(1_500);
        }
        world.audit();
        let (disk, book) = world.lose_power(&mut random);
        drop(world);
        let mut world = World::new(&Plan { disk: Some(disk), ..plan });
        world.book = book;
        world.book.outcomes.clear();
        world.audit();
        assert_eq!(world.book.outcomes.get("read"), None, "a restart has nothing of it");
        world.book.check();
    }
}

/// A disk that takes no more writes cannot take the older version away: the upload is refused, and
/// nothing was promised that the next start would not keep.
#[test]
fn what_only_memory_would_get_is_refused_over_a_file_that_has_to_stay() {
    let (plan, mut random) = (Plan::new(1, 2), Random::new(1));
    let mut world = cold(&plan, &[FILM], &mut random);
    world.sim.set_syncs(SyncFate::Fails, SyncFate::Fails);
    world.store((2, 100));
    for key in [FILM.0, 3] {
        let put = world.put(key, 9_000, 1);
        world.client(1).plan(put);
        world.run_clients();
    }
    let outcomes = &world.book.outcomes;
    assert_eq!((outcomes["read-only"], outcomes["stored"]), (2, 1 + 1), "{outcomes:?}");
    world.audit();
    world.run_ms(1_500);
    world.audit();
    world.book.check();
}
