//! One story for each rule of the store.

mod expiry;
mod fills;
mod folders;
mod leases;
mod streams;
mod uploads;

use super::world::World;
use crate::store::message::{Ask, Guard, Reply};

/// A key in a folder of its own that `shard` owns.
fn key_of(world: &World, shard: u16) -> String {
    let mut keys = (0..).map(|number| format!("f{number}/key"));
    keys.find(|key| world.stores[0].owner_of(key.as_bytes()) == shard).unwrap()
}

fn fetch(key: &str) -> Ask {
    Ask::Fetch { key: key.as_bytes().into() }
}

fn delete(key: &str) -> Ask {
    Ask::Delete { key: key.as_bytes().into(), guard: Guard::default() }
}

fn committed(reply: Reply) {
    assert!(matches!(reply, Reply::Committed { .. }), "{reply:?}");
}
