//! Objects that are read while they arrive.

use super::{committed, key_of};
use crate::limits;
use crate::store::growing::Growing;
use crate::store::message::{Ask, Message, Refusal, Reply, UploadId};
use crate::store::object::NEVER;
use crate::store::tests::world::{World, begun, is_refused, publication};
use std::sync::Arc;

fn streamed(reply: Reply) -> (UploadId, Arc<Growing>) {
    let (upload, _, growing) = begun(reply);
    (upload, growing.expect("readable at once"))
}

fn commit(upload: UploadId, length: u64) -> Ask {
    Ask::Commit { upload, publication: publication("", length, NEVER) }
}

#[test]
fn a_stream_is_readable_while_it_arrives_and_keeps_its_record() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 1);
    let (upload, extents, growing) = begun(world.stream(0, &key, "\"s\""));
    let growing = growing.unwrap();
    assert_eq!(extents[0].len, limits::STREAM_EXTENT_BYTES);
    growing.advance(1000);
    growing.watch(0);
    let before = [world.read(0, &key).unwrap(), world.read(1, &key).unwrap()];
    assert!(before.iter().all(|held| held.record.whole().is_none()));
    assert!(matches!(world.ask_of(0, 1, commit(upload, 1000)), Reply::Committed { created: true }));
    assert_eq!(world.nudges, [(0, growing.id)]);
    let after = world.read(0, &key).unwrap();
    assert!(Arc::ptr_eq(&before[0].record, &after.record), "the lease went on");
    assert_eq!(after.record.whole().unwrap().length(), 1000);
    assert_eq!(world.stores[1].statistics().used_bytes, 1024, "the rest was given back");
    drop((before, after));
    world.delete(1, &key);
    world.assert_empty();
}

#[test]
fn a_second_stream_cuts_the_first() {
    let mut world = World::new(3, 8, 1);
    let key = key_of(&world, 1);
    let (first, one) = streamed(world.stream(0, &key, "\"1\""));
    one.watch(2);
    drop(world.read(2, &key));
    world.run();
    let (second, two) = streamed(world.stream(0, &key, "\"2\""));
    assert!(one.is_cut() && !two.is_cut());
    assert_eq!(world.nudges, [(2, one.id)]);
    assert_eq!(world.tag(2, &key).as_deref(), Some("\"2\""));
    let memory = 2 * u64::from(limits::STREAM_EXTENT_BYTES);
    assert_eq!(world.stores[1].statistics().used_bytes, memory, "the first may still write");
    assert!(is_refused(&world.ask_of(0, 1, commit(first, 10)), Refusal::Superseded));
    assert_eq!(world.stores[1].statistics().used_bytes, memory / 2);
    let reply = world.ask_of(0, 1, commit(second, 10));
    assert!(matches!(reply, Reply::Committed { created: false }));
    world.delete(1, &key);
    world.assert_empty();
}

/// The lease on a cut object is worthless from the moment of the cut, even before its recall
/// arrives.
#[test]
fn a_cut_needs_no_message() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    let (upload, _) = streamed(world.stream(0, &key, "\"s\""));
    drop(world.read(1, &key));
    world.run();
    let hash = world.stores[0].key_hash(key.as_bytes());
    let now_ms = world.now_ms;
    assert!(world.stores[1].lookup(hash, key.as_bytes(), now_ms).is_some());
    world.store(0).on_message(0, Message::Abort { upload }, now_ms);
    assert!(world.stores[1].lookup(hash, key.as_bytes(), now_ms).is_none());
    assert!(world.stores[0].lookup(hash, key.as_bytes(), now_ms).is_none());
    world.collect(0);
    world.assert_empty();
}

#[test]
fn a_delete_cuts_a_stream() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    let (upload, growing) = streamed(world.stream(1, &key, "\"s\""));
    assert!(matches!(world.delete(1, &key), Reply::Deleted));
    assert!(growing.is_cut());
    let reply = world.ask_of(1, 0, Ask::Extend { upload, bytes: 1 });
    assert!(is_refused(&reply, Refusal::Superseded));
    world.assert_empty();
}

/// An empty object is a probe and counts as absent; its leases are recalled before the stream is
/// there. Anything else is replaced when the upload is complete.
#[test]
fn a_stream_takes_an_empty_key_but_never_a_full_one() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    committed(world.put(1, &key, "\"probe\"", 0));
    assert_eq!(world.tag(1, &key).as_deref(), Some("\"probe\""));
    let (upload, _) = streamed(world.stream(1, &key, "\"s\""));
    assert_eq!(world.tag(1, &key).as_deref(), Some("\"s\""));
    committed(world.ask_of(1, 0, commit(upload, 5)));
    let (upload, _, growing) = begun(world.stream(1, &key, "\"t\""));
    assert!(growing.is_none());
    assert_eq!(world.tag(1, &key).as_deref(), Some("\"s\""));
    let publication = publication("\"t\"", 6, NEVER);
    committed(world.ask_of(1, 0, Ask::Commit { upload, publication }));
    assert_eq!(world.tag(1, &key).as_deref(), Some("\"t\""));
    world.delete(1, &key);
    world.assert_empty();
}

#[test]
fn an_atomic_put_supersedes_a_stream() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    let (upload, growing) = streamed(world.stream(1, &key, "\"s\""));
    drop(world.read(1, &key));
    committed(world.put(1, &key, "\"whole\"", 7));
    assert!(growing.is_cut());
    assert_eq!(world.tag(1, &key).as_deref(), Some("\"whole\""));
    assert!(is_refused(&world.ask_of(1, 0, commit(upload, 0)), Refusal::Superseded));
    world.delete(1, &key);
    world.assert_empty();
}

#[test]
fn a_stream_gets_growing_room_up_to_its_limits() {
    let mut world = World::new(1, 6, 1);
    let (upload, growing) = streamed(world.stream(0, "k", "\"s\""));
    let mut room = u64::from(limits::STREAM_EXTENT_BYTES);
    for doubling in 1..6 {
        let extend = Ask::Extend { upload, bytes: 1 };
        let Reply::Extended { extents } = world.ask(0, extend) else { panic!("refused") };
        let bytes: u64 = extents.iter().map(|extent| u64::from(extent.len)).sum();
        assert_eq!(
            bytes,
            ((256 << 10) << doubling).min(4 << 20),
            "twice as much each time, up to a slot"
        );
        room += bytes;
    }
    let bytes = 24 << 20;
    assert!(is_refused(&world.ask(0, Ask::Extend { upload, bytes }), Refusal::Full));
    assert!(!growing.is_cut(), "the uploader decides what a full memory means to it");
    assert!(is_refused(&world.ask(0, commit(upload, room + 1)), Refusal::TooLarge));
    assert!(growing.is_cut());
    world.assert_empty();
}

/// The time of a growing object is over: nobody starts to read it, its readers and its upload go
/// on to the end.
#[test]
fn a_stream_that_expires_is_finished_for_its_readers() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    let record = world.growing_record(&key, "\"s\"", world.now_ms + 10);
    let (upload, growing) = streamed(world.stream_record(1, &key, record));
    let reader = world.read(1, &key).unwrap();
    world.now_ms += 10;
    world.sweep();
    assert!(world.read(1, &key).is_none());
    let extend = Ask::Extend { upload, bytes: 1 };
    assert!(matches!(world.ask_of(1, 0, extend), Reply::Extended { .. }));
    committed(world.ask_of(1, 0, commit(upload, 300_000)));
    assert!(!growing.is_cut());
    assert_eq!(reader.record.whole().unwrap().length(), 300_000);
    assert_eq!(world.stores[0].statistics().pinned_bytes, 293 * 1024);
    drop(reader);
    world.assert_empty();
}
