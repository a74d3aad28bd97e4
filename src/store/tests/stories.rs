//! One story for each rule of the store.

use super::world::{World, begun, publication};
use crate::store::message::{Ask, Reply};
use crate::store::object::NEVER;

/// A key of the folder `f` plus a number that `shard` owns.
fn key_of(world: &World, shard: u16) -> String {
    (0..)
        .map(|number| format!("f{number}/key"))
        .find(|key| world.stores[0].owner_of(key.as_bytes()) == shard)
        .unwrap()
}

#[test]
fn a_put_is_seen_on_every_shard_and_a_delete_too() {
    let mut world = World::new(3, 8, 1);
    let key = key_of(&world, 1);
    for tag in ["\"a\"", "\"b\"", "\"c\""] {
        assert!(matches!(world.put(0, &key, tag, 5000), Reply::Committed { .. }));
        for shard in 0..3 {
            assert_eq!(world.tag(shard, &key).as_deref(), Some(tag));
        }
    }
    assert!(matches!(world.delete(2, &key), Reply::Deleted));
    assert!(matches!(world.delete(2, &key), Reply::Absent));
    for shard in 0..3 {
        assert_eq!(world.tag(shard, &key), None);
    }
    world.run();
    world.assert_empty();
}

#[test]
fn a_stream_is_readable_while_it_arrives() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 1);
    let (upload, extents, growing) = begun(world.stream(0, &key, "\"s\""));
    let growing = growing.unwrap();
    assert_eq!(extents[0].len, 256 * 1024);
    growing.advance(1000);
    growing.watch(0);
    for shard in 0..2 {
        let held = world.read(shard, &key).unwrap();
        assert!(held.record.whole().is_none());
    }
    let commit = Ask::Commit { upload, publication: publication("", 1000, NEVER) };
    assert!(matches!(world.ask_of(0, 1, commit), Reply::Committed { created: true }));
    assert_eq!(world.nudges, [(0, growing.id)]);
    let held = world.read(0, &key).unwrap();
    assert_eq!(held.record.whole().unwrap().length, 1000);
    assert_eq!(world.store(1).statistics().used_bytes, 1024);
    drop(held);
    assert!(matches!(world.delete(1, &key), Reply::Deleted));
    world.run();
    world.assert_empty();
}
