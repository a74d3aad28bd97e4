//! The end of an object's time.

use super::{committed, key_of};
use crate::store::tests::world::World;

/// Owner and holder both stop at the very millisecond, without a message or a sweep.
#[test]
fn an_expired_object_is_absent_everywhere_at_once() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    let hash = world.stores[0].key_hash(key.as_bytes());
    let expires_ms = world.now_ms + 100;
    committed(world.put_until(0, &key, "\"a\"", 10, expires_ms));
    drop(world.read(1, &key));
    for store in &world.stores {
        assert!(store.lookup(hash, key.as_bytes(), expires_ms - 1).is_some());
        assert!(store.lookup(hash, key.as_bytes(), expires_ms).is_none());
    }
    world.now_ms = expires_ms;
    assert!(world.read(1, &key).is_none());
    assert_eq!(world.stores[0].statistics().used_bytes, 1024, "nothing was swept");
    assert!(world.stores[0].next_deadline().is_some_and(|next_ms| next_ms <= expires_ms));
    world.sweep();
    assert_eq!(world.stores[0].statistics().expired_total, 1);
    world.assert_empty();
}

/// A holder that never looks again gives the memory back all the same, but not under an answer.
#[test]
fn the_sweep_waits_for_pins() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    let expires_ms = world.now_ms + 100;
    committed(world.put_until(0, &key, "\"a\"", 10, expires_ms));
    let pin = world.read(1, &key).unwrap();
    world.now_ms = expires_ms;
    world.sweep();
    assert_eq!(world.stores[0].statistics().pinned_versions, 1);
    drop(pin);
    world.assert_empty();
}

/// Leases on an expired version bother nobody who writes the key anew.
#[test]
fn a_put_over_an_expired_version_waits_for_nobody() {
    let mut world = World::new(2, 8, 1);
    let key = key_of(&world, 0);
    let expires_ms = world.now_ms + 100;
    committed(world.put_until(0, &key, "\"a\"", 10, expires_ms));
    let pin = world.read(1, &key).unwrap();
    world.now_ms = expires_ms;
    committed(world.put(0, &key, "\"b\"", 10));
    assert_eq!(world.tag(1, &key).as_deref(), Some("\"b\""));
    drop(pin);
    world.delete(1, &key);
    world.assert_empty();
}

#[test]
fn a_sweep_keeps_to_its_budget() {
    let mut world = World::new(1, 8, 1);
    let expires_ms = world.now_ms + 100;
    for number in 0..10 {
        committed(world.put_until(0, &format!("f/{number}"), "\"a\"", 10, expires_ms));
    }
    assert_eq!(world.store(0).sweep_expired(expires_ms - 1, 64), 0);
    assert_eq!(world.store(0).sweep_expired(expires_ms, 4), 4);
    assert_eq!(world.stores[0].statistics().objects, 6);
    assert_eq!(world.store(0).sweep_expired(expires_ms, 64), 6);
    world.now_ms = expires_ms;
    world.assert_empty();
}
