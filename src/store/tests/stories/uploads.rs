//! Room for uploads, preconditions, and what a full memory means.

use super::committed;
use crate::limits;
use crate::store::message::{Ask, Guard, Message, Refusal, Reply};
use crate::store::object::NEVER;
use crate::store::tests::world::{World, begin, begun, is_refused, publication};

#[test]
fn an_upload_of_declared_length_has_all_its_room_at_once() {
    let mut world = World::new(1, 8, 1);
    let (upload, extents, _) = begun(world.begin(0, "k", Some(9_000_001)));
    assert_eq!(extents.iter().map(|extent| u64::from(extent.len)).sum::<u64>(), 9_000_001);
    assert_eq!(extents.len(), 3);
    let publication = publication("\"a\"", 9_000_001, NEVER);
    committed(world.ask(0, Ask::Commit { upload, publication }));
    let held = world.read(0, "k").unwrap();
    assert_eq!(*held.record.whole().unwrap().extents(), *extents);
    drop(held);
    world.delete(0, "k");
    world.assert_empty();
}

#[test]
fn an_upload_of_unknown_length_grows_and_is_trimmed() {
    let mut world = World::new(1, 8, 1);
    let (upload, ..) = begun(world.begin(0, "k", None));
    for _ in 0..2 {
        world.ask(0, Ask::Extend { upload, bytes: 1 });
    }
    let publication = publication("\"a\"", 300_000, NEVER);
    committed(world.ask(0, Ask::Commit { upload, publication }));
    assert_eq!(world.stores[0].statistics().used_bytes, 293 * 1024);
    world.delete(0, "k");
    world.assert_empty();
}

#[test]
fn an_aborted_upload_leaves_nothing() {
    let mut world = World::new(2, 8, 1);
    let (upload, ..) = begun(world.begin(0, "a/b/k", Some(10)));
    let owner = world.stores[0].owner_of(b"a/b/k");
    world.send(0, owner, Message::Abort { upload });
    world.assert_empty();
}

/// A full memory refuses; it evicts nothing that has time left, but what has not goes first, even
/// when no sweep has come by.
#[test]
fn a_full_memory_gives_only_what_has_expired() {
    let mut world = World::new(1, 2, 1);
    committed(world.put(0, "keep", "\"k\"", 4 << 20));
    let expires_ms = world.now_ms + 50;
    for number in 0..64 {
        let key = format!("short/{number}");
        committed(world.put_until(0, &key, "\"s\"", 64 << 10, expires_ms));
    }
    assert!(is_refused(&world.begin(0, "more", Some(1)), Refusal::Full));
    assert!(is_refused(&world.begin(0, "more", None), Refusal::Full));
    world.now_ms += 50;
    committed(world.put(0, "more", "\"m\"", 4 << 20));
    assert!(is_refused(&world.begin(0, "yet", Some(1)), Refusal::Full));
    assert_eq!(world.tag(0, "keep").as_deref(), Some("\"k\""));
    assert_eq!(world.stores[0].statistics().full_total, 3);
    world.delete(0, "keep");
    world.delete(0, "more");
    world.assert_empty();
}

#[test]
fn more_than_an_object_may_have_is_too_large() {
    let mut world = World::new(1, 2, 1);
    let bytes = (4 << 20) * limits::EXTENTS_MAX as u64 + 1;
    assert!(is_refused(&world.begin(0, "k", Some(bytes)), Refusal::TooLarge));
    let (upload, ..) = begun(world.begin(0, "k", Some(10)));
    let publication = publication("\"a\"", 11, NEVER);
    let reply = world.ask(0, Ask::Commit { upload, publication });
    assert!(is_refused(&reply, Refusal::TooLarge));
    world.assert_empty();
}

/// A precondition is judged before a byte is read, and again when the upload takes effect.
#[test]
fn preconditions_are_judged_twice() {
    let mut world = World::new(2, 8, 1);
    let if_absent = || Guard { if_none_match: Some(b"*".as_slice().into()), ..Guard::default() };
    let ask = || Ask::Begin {
        key: b"k".as_slice().into(),
        declared: Some(1),
        guard: if_absent(),
        stream: None,
    };
    let owner = world.stores[0].owner_of(b"k");
    let (first, ..) = begun(world.ask(0, ask()));
    let (second, ..) = begun(world.ask(1, ask()));
    let commit = |upload, tag| Ask::Commit { upload, publication: publication(tag, 1, NEVER) };
    committed(world.ask_of(1, owner, commit(second, "\"2\"")));
    let reply = world.ask_of(0, owner, commit(first, "\"1\""));
    assert!(is_refused(&reply, Refusal::Precondition));
    assert!(is_refused(&world.ask(0, ask()), Refusal::Precondition));
    let if_match = |tag: &str| Guard { if_match: Some(tag.as_bytes().into()), ..Guard::default() };
    let delete = |tag| Ask::Delete { key: b"k".as_slice().into(), guard: if_match(tag) };
    assert!(is_refused(&world.ask(0, delete("\"1\"")), Refusal::Precondition));
    assert!(matches!(world.ask(0, delete("\"2\"")), Reply::Deleted));
    world.assert_empty();
}

#[test]
fn uploads_of_one_key_take_effect_in_the_order_of_their_commits() {
    let mut world = World::new(2, 8, 1);
    let (one, ..) = begun(world.begin(0, "k", Some(1)));
    let (two, ..) = begun(world.ask(1, begin("k", Some(1))));
    let owner = world.stores[0].owner_of(b"k");
    let commit = |upload, tag| Ask::Commit { upload, publication: publication(tag, 1, NEVER) };
    let reply = world.ask_of(1, owner, commit(two, "\"2\""));
    assert!(matches!(reply, Reply::Committed { created: true }));
    let reply = world.ask_of(0, owner, commit(one, "\"1\""));
    assert!(matches!(reply, Reply::Committed { created: false }));
    assert_eq!(world.tag(1, "k").as_deref(), Some("\"1\""));
    world.delete(0, "k");
    world.assert_empty();
}
