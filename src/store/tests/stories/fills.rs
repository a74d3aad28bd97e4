//! Objects that a slower tier fills while they are read.

use std::sync::Arc;

use super::{committed, key_of};
use crate::store::growing::Growing;
use crate::store::message::{Ask, Guard, Message, Refusal, Reply, Streaming, UploadId};
use crate::store::object::{Body, NEVER};
use crate::store::tests::world::{World, begun, is_refused, publication};

const LENGTH: u64 = 300_000;

/// Begins to fill a key as its owner does.
fn fill(world: &mut World, key: &str) -> Reply {
    let record = world.filled_record(key, "\"f\"", LENGTH);
    let stream = Some(Streaming { aside_only: false, record });
    let guard = Guard { if_none_match: Some(b"*".as_slice().into()), ..Guard::default() };
    world.ask(1, Ask::Begin { key: key.as_bytes().into(), declared: Some(LENGTH), guard, stream })
}

fn filling(world: &mut World, key: &str) -> (UploadId, Arc<Growing>) {
    let (upload, extents, growing) = begun(fill(world, key));
    assert_eq!(extents.iter().map(|extent| u64::from(extent.len)).sum::<u64>(), LENGTH);
    (upload, growing.expect("readable at once"))
}

fn commit(world: &mut World, upload: UploadId) -> Reply {
    world.ask_of(1, 1, Ask::Commit { upload, publication: publication("", LENGTH, NEVER) })
}

#[test]
fn a_fill_becomes_an_ordinary_object() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 1);
    let (upload, growing) = filling(&mut world, &key);
    let held = world.read(0, &key).unwrap();
    assert_eq!((held.record.length(), held.record.is_arriving()), (Some(LENGTH), false));
    growing.advance(100_000);
    assert!(matches!(commit(&mut world, upload), Reply::Committed { created: true }));
    assert_eq!(held.record.whole().unwrap().length(), LENGTH);
    assert_eq!(world.stores[1].statistics().growing, 0);
    drop(held);
    world.delete(0, &key);
    world.assert_empty();
}

/// What is on its way from disk is an object like any other: who reads it is not cut.
#[test]
fn a_change_takes_the_place_of_a_fill_and_leaves_its_readers() {
    for replaced in [true, false] {
        let mut world = World::new(3, 8, 1);
        let key = key_of(&world, 1);
        let (upload, growing) = filling(&mut world, &key);
        let readers = [world.read(0, &key).unwrap(), world.read(2, &key).unwrap()];
        match replaced {
            true => committed(world.put(0, &key, "\"new\"", 1000)),
            false => assert!(matches!(world.delete(0, &key), Reply::Deleted)),
        };
        let now = replaced.then_some("\"new\"");
        assert!((0..3).all(|shard| world.tag(shard, &key).as_deref() == now));
        assert!(!growing.is_cut(), "it goes on for its readers");
        assert!(matches!(commit(&mut world, upload), Reply::Committed { .. }));
        assert!(readers.iter().all(|held| held.record.whole().is_some()));
        assert!((0..3).all(|shard| world.tag(shard, &key).as_deref() == now));
        drop(readers);
        world.delete(0, &key);
        world.assert_empty();
    }
}

#[test]
fn a_fill_that_breaks_off_leaves_nothing() {
    for replaced in [true, false] {
        let mut world = World::new(2, 8, 1);
        let key = key_of(&world, 1);
        let (upload, growing) = filling(&mut world, &key);
        let held = world.read(0, &key).unwrap();
        if replaced {
            committed(world.put(0, &key, "\"new\"", 1000));
        }
        growing.watch(0);
        let now_ms = world.now_ms;
        world.store(1).on_message(1, Message::Abort { upload }, now_ms);
        world.run();
        assert!(growing.is_cut() && world.nudges == [(0, growing.id)]);
        assert_eq!(world.tag(0, &key).is_some(), replaced);
        drop(held);
        world.delete(0, &key);
        world.assert_empty();
    }
}

/// An upload that could be read at once takes the place of an upload, not of what is stored.
#[test]
fn a_stream_waits_for_its_end_where_a_fill_is() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 1);
    let (upload, growing) = filling(&mut world, &key);
    let (stream, _, own) = begun(world.stream(0, &key, "\"s\""));
    assert!(own.is_none() && !growing.is_cut());
    assert!(is_refused(&fill(&mut world, &key), Refusal::Precondition));
    assert!(matches!(commit(&mut world, upload), Reply::Committed { .. }));
    committed(world.ask_of(
        0,
        1,
        Ask::Commit { upload: stream, publication: publication("\"s\"", 10, NEVER) },
    ));
    let held = world.read(0, &key).unwrap();
    assert!(matches!(held.record.body, Body::Whole(_)));
    drop(held);
    world.delete(0, &key);
    world.assert_empty();
}
