//! Who may answer from which version, and when memory comes back.

use std::sync::Arc;

use super::{committed, delete, fetch, key_of};
use crate::limits;
use crate::store::message::{Ask, Message, Refusal, Reply};
use crate::store::object::NEVER;
use crate::store::tests::world::{Answer, World, begun, is_refused, publication};

#[test]
fn a_put_is_seen_on_every_shard_and_a_delete_too() {
    let mut world = World::new(3, 8, 1);
    let key = key_of(&world, 1);
    for tag in ["\"a\"", "\"b\"", "\"c\""] {
        committed(world.put(0, &key, tag, 5000));
        for shard in 0..3 {
            assert_eq!(world.tag(shard, &key).as_deref(), Some(tag));
        }
    }
    assert!(matches!(world.delete(2, &key), Reply::Deleted));
    assert!(matches!(world.delete(2, &key), Reply::Absent));
    for shard in 0..3 {
        assert_eq!(world.tag(shard, &key), None);
    }
    world.assert_empty();
}

/// A second read on the same shard asks nobody.
#[test]
fn a_lease_answers_later_reads() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 1);
    committed(world.put(0, &key, "\"a\"", 10));
    drop(world.read(0, &key));
    world.run();
    let hash = world.stores[0].key_hash(key.as_bytes());
    assert!(world.stores[0].lookup(hash, key.as_bytes(), world.now_ms).is_some());
    assert_eq!(world.stores[1].statistics().leases_granted, 1);
    assert_eq!(world.stores[0].statistics().leases_held, 1);
}

/// Until the last holder has confirmed, the old version is what everybody sees, and the writer has
/// no answer. Whoever asks in between gets the old version for once only.
#[test]
fn a_replacement_waits_for_every_confirmation() {
    let mut world = World::new(3, 8, 1);
    let key = key_of(&world, 0);
    let hash = world.stores[0].key_hash(key.as_bytes());
    committed(world.put(0, &key, "\"old\"", 10));
    drop(world.read(1, &key));
    world.run();
    let (upload, ..) = begun(world.begin(0, &key, Some(10)));
    let publication = publication("\"new\"", 10, NEVER);
    let commit = world.ask_directly(0, Ask::Commit { upload, publication });
    assert_eq!(world.busy_lanes(), [1], "only the recall is under way");
    let held = world.stores[0].lookup(hash, key.as_bytes(), world.now_ms).unwrap();
    assert_eq!(*held.record.etag(), *b"\"old\"");
    let ticket = world.post(2, fetch(&key));
    world.deliver(2 * 3);
    world.deliver(2);
    let Some(Answer::Held(held)) = world.take(2, ticket) else { panic!("no hold") };
    assert_eq!(*held.record.etag(), *b"\"old\"");
    assert!(world.stores[2].lookup(hash, key.as_bytes(), world.now_ms).is_none(), "for once");
    committed(world.answered(0, commit));
    for shard in 0..3 {
        assert_eq!(world.tag(shard, &key).as_deref(), Some("\"new\""));
    }
}

/// A reader in the middle of an old version holds its memory, and nothing else.
#[test]
fn a_slow_reader_delays_no_writer() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    committed(world.put(0, &key, "\"0\"", 10_000));
    let slow = [world.read(0, &key).unwrap(), world.read(1, &key).unwrap()];
    for tag in ["\"1\"", "\"2\"", "\"3\""] {
        committed(world.put(1, &key, tag, 2048));
        assert_eq!(world.tag(1, &key).as_deref(), Some(tag));
    }
    let found = world.stores[0].statistics();
    assert_eq!((found.pinned_versions, found.pinned_bytes), (1, 10 * 1024));
    assert_eq!(found.used_bytes, 12 * 1024);
    let [own, foreign] = slow;
    drop(own);
    world.run();
    assert_eq!(world.stores[0].statistics().pinned_versions, 1, "the other shard still reads");
    drop(foreign);
    world.run();
    let found = world.stores[0].statistics();
    assert_eq!((found.pinned_versions, found.pinned_bytes, found.used_bytes), (0, 0, 2048));
    world.delete(0, &key);
    world.assert_empty();
}

/// A shard has released its lease and asks again while the recall is on its way to it. The answer
/// counts as a hold that the recall seems to be about; a slow reader must not keep the writer
/// waiting with it.
#[test]
fn a_fetch_that_crosses_the_recall_delays_no_writer() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    world.store(1).index.limit(0);
    committed(world.put(0, &key, "\"old\"", 10));
    let first = world.read(1, &key).unwrap();
    let (upload, ..) = begun(world.begin(0, &key, Some(10)));
    let publication = publication("\"new\"", 10, NEVER);
    let commit = world.ask_directly(0, Ask::Commit { upload, publication });
    // Still before the recall arrives: ask again, then let go of the first hold.
    let again = world.post(1, fetch(&key));
    drop(first);
    let now_ms = world.now_ms;
    world.store(1).collect_released(now_ms);
    world.collect(1);
    world.run();
    let Some(Answer::Held(slow)) = world.take(1, again) else { panic!("no hold") };
    assert_eq!(*slow.record.etag(), *b"\"old\"");
    committed(world.answered(0, commit));
    drop(slow);
    world.delete(0, &key);
    world.assert_empty();
}

/// The owner may ask itself as well: its hold is the table's, and never lasting.
#[test]
fn a_shard_that_asks_itself_gets_its_own_entry() {
    let mut world = World::new(1, 8, 1);
    committed(world.put(0, "k", "\"a\"", 10));
    let ticket = world.ask_directly(0, fetch("k"));
    let other = world.ask_directly(0, fetch("k"));
    world.delete(0, "k");
    for ticket in [ticket, other] {
        let Some(Answer::Held(held)) = world.take(0, ticket) else { panic!("no hold") };
        assert_eq!(*held.record.etag(), *b"\"a\"");
        assert_eq!(world.stores[0].statistics().pinned_bytes, 1024);
    }
    assert_eq!(world.tag(0, "k"), None);
    world.assert_empty();
}

/// Two requests of one shard may ask for the same key before the first answer is there.
#[test]
fn crossing_fetches_of_a_shard_share_one_entry() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    committed(world.put(0, &key, "\"a\"", 10));
    let tickets = [world.post(1, fetch(&key)), world.post(1, fetch(&key))];
    world.run();
    let holds = tickets.map(|ticket| match world.take(1, ticket) {
        Some(Answer::Held(held)) => held,
        other => panic!("{other:?}"),
    });
    assert!(Arc::ptr_eq(&holds[0].record, &holds[1].record));
    assert_eq!(world.stores[1].statistics().leases_held, 1);
    assert_eq!(world.stores[0].statistics().leases_granted, 1);
    committed(world.put(0, &key, "\"b\"", 10));
    assert_eq!(world.stores[0].statistics().pinned_versions, 1);
    drop(holds);
    world.run();
    assert_eq!(world.stores[0].statistics().pinned_versions, 0);
    world.delete(0, &key);
    world.assert_empty();
}

#[test]
fn an_unused_lease_gives_way_and_a_used_one_does_not() {
    let mut world = World::new(2, 8, 1);
    let folder = key_of(&world, 0).replace("/key", "");
    world.store(1).index.limit(2);
    let keys: Vec<_> = (0..6).map(|number| format!("{folder}/{number}")).collect();
    for key in &keys {
        committed(world.put(0, key, "\"a\"", 10));
    }
    let pinned = world.read(1, &keys[0]).unwrap();
    for key in &keys[1..] {
        drop(world.read(1, key));
        world.run();
    }
    let found = world.stores[1].statistics();
    assert_eq!((found.leases_held, found.evictions_total), (2, 4));
    assert_eq!(world.stores[0].statistics().leases_granted, 2);
    let hash = pinned.lease();
    let again = world.read(1, &keys[0]).unwrap();
    assert_eq!(again.lease(), hash, "the pinned lease kept its place");
    drop((pinned, again));
    for key in &keys {
        world.delete(1, key);
    }
    world.assert_empty();
}

/// With room for two leases, the one used since the last search stays.
#[test]
fn a_lease_used_lately_outlives_one_that_was_not() {
    let mut world = World::new(2, 8, 1);
    let folder = key_of(&world, 0).replace("/key", "");
    world.store(1).index.limit(2);
    for name in ["a", "b", "c", "d"] {
        let key = format!("{folder}/{name}");
        committed(world.put(0, &key, "\"a\"", 10));
        drop(world.read(1, &key));
        world.run();
    }
    let now_ms = world.now_ms;
    for name in ["c", "d"] {
        let key = format!("{folder}/{name}");
        let hash = world.stores[1].key_hash(key.as_bytes());
        assert!(world.stores[1].lookup(hash, key.as_bytes(), now_ms).is_some());
    }
    for name in ["a", "b", "c", "d"] {
        world.delete(0, &format!("{folder}/{name}"));
    }
    world.assert_empty();
}

#[test]
fn changes_of_a_key_wait_in_a_bounded_queue() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    committed(world.put(0, &key, "\"a\"", 10));
    drop(world.read(1, &key));
    world.run();
    let tickets: Vec<_> =
        (0..=limits::CHANGES_WAITING_MAX).map(|_| world.ask_directly(0, delete(&key))).collect();
    let replies: Vec<_> = tickets.into_iter().map(|ticket| world.answered(0, ticket)).collect();
    let (last, first) = (&replies[limits::CHANGES_WAITING_MAX], &replies[0]);
    assert!(matches!(first, Reply::Deleted));
    assert!(replies[1..limits::CHANGES_WAITING_MAX].iter().all(|one| matches!(one, Reply::Absent)));
    assert!(is_refused(last, Refusal::Busy));
    world.assert_empty();
}

/// Names of holds and uploads that have ended find nothing, whoever sends them.
#[test]
fn stale_names_are_harmless() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    committed(world.put(0, &key, "\"a\"", 10));
    let lease = world.read(1, &key).unwrap().lease();
    let (upload, ..) = begun(world.begin(1, &key, Some(10)));
    world.send(1, 0, Message::Abort { upload });
    world.delete(0, &key);
    world.send(1, 0, Message::Confirm { lease });
    world.send(1, 0, Message::Abort { upload });
    world.send(0, 1, Message::Recall { lease });
    let publication = publication("\"b\"", 10, NEVER);
    let reply = world.ask_of(1, 0, Ask::Commit { upload, publication });
    assert!(is_refused(&reply, Refusal::Superseded));
    let reply = world.ask_of(1, 0, Ask::Extend { upload, bytes: 1 });
    assert!(is_refused(&reply, Refusal::Superseded));
    world.assert_empty();
}
