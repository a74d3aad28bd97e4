//! A name is an object or a folder; a folder is there while something is in it.

use super::committed;
use crate::limits;
use crate::store::message::{Ask, Message, Refusal, Reply};
use crate::store::tests::world::{World, begin, begun, is_refused};

fn names(reply: Reply) -> (Vec<String>, bool) {
    match reply {
        Reply::Listing { items, more } => {
            let name = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
            let mark = |folder: bool| if folder { "/" } else { "" };
            let names = items.iter().map(|one| name(&one.name) + mark(one.object.is_none()));
            (names.collect(), more)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn folders_come_and_go_with_their_children() {
    let mut world = World::new(3, 8, 1);
    assert_eq!(names(world.list(0, "")), (vec![], false));
    assert!(matches!(world.list(0, "a"), Reply::Absent));
    committed(world.put(0, "a/b/c/k", "\"1\"", 1));
    committed(world.put(0, "a/z", "\"2\"", 1));
    committed(world.put(0, "top", "\"3\"", 1));
    assert_eq!(names(world.list(1, "")).0, ["a/", "top"]);
    assert_eq!(names(world.list(2, "a")).0, ["b/", "z"]);
    assert_eq!(names(world.list(2, "a/b/c")).0, ["k"]);
    world.delete(2, "a/b/c/k");
    world.run();
    assert_eq!(names(world.list(2, "a")).0, ["z"]);
    assert!(matches!(world.list(0, "a/b"), Reply::Absent));
    world.delete(2, "a/z");
    world.delete(2, "top");
    world.assert_empty();
}

#[test]
fn a_folder_never_becomes_an_object_nor_an_object_a_folder() {
    let mut world = World::new(3, 8, 1);
    committed(world.put(0, "a/b/k", "\"1\"", 1));
    for key in ["a", "a/b"] {
        assert!(is_refused(&world.begin(1, key, Some(1)), Refusal::Conflict));
        assert!(is_refused(&world.stream(1, key, "\"s\""), Refusal::Conflict));
        assert!(matches!(world.delete(1, key), Reply::Absent));
    }
    assert!(is_refused(&world.begin(1, "a/b/k/x", Some(1)), Refusal::Conflict));
    assert!(is_refused(&world.begin(1, "a/b/k/x/y", Some(1)), Refusal::Conflict));
    world.delete(0, "a/b/k");
    committed(world.put(0, "a", "\"2\"", 1));
    assert!(is_refused(&world.begin(1, "a/b/k", Some(1)), Refusal::Conflict));
    world.delete(0, "a");
    world.assert_empty();
}

/// Two uploads race for a name, one as an object, one as a folder: the later commit loses.
#[test]
fn a_conflict_is_found_again_at_the_commit() {
    let mut world = World::new(3, 8, 1);
    let (upload, ..) = begun(world.begin(0, "a", Some(1)));
    committed(world.put(1, "a/k", "\"k\"", 1));
    let owner = world.stores[0].owner_of(b"a");
    let publication = crate::store::tests::world::publication("\"a\"", 1, u64::MAX);
    let reply = world.ask_of(0, owner, Ask::Commit { upload, publication });
    assert!(is_refused(&reply, Refusal::Conflict));
    world.delete(1, "a/k");
    world.assert_empty();
}

/// Everybody who waited for the folder hears of the conflict.
#[test]
fn a_conflict_reaches_everybody_who_waited() {
    let mut world = World::new(3, 8, 1);
    committed(world.put(0, "a", "\"1\"", 1));
    let keys = ["a/x", "a/y", "a/b/x"];
    let tickets = keys.map(|key| world.post(2, begin(key, Some(1))));
    for ticket in tickets {
        assert!(is_refused(&world.answered(2, ticket), Refusal::Conflict));
    }
    world.delete(0, "a");
    world.assert_empty();
}

/// An expired object makes way for a folder of its name at once.
#[test]
fn an_expired_object_is_no_conflict() {
    let mut world = World::new(3, 8, 1);
    let expires_ms = world.now_ms + 10;
    committed(world.put_until(0, "a", "\"1\"", 1, expires_ms));
    world.now_ms = expires_ms;
    committed(world.put(0, "a/k", "\"2\"", 1));
    assert_eq!(names(world.list(1, "")).0, ["a/"]);
    world.delete(1, "a/k");
    world.assert_empty();
}

/// The folder's last child goes and a new one comes while the unlink is on its way: the newcomer
/// waits, and the folder is linked anew.
#[test]
fn a_newcomer_waits_for_the_unlink() {
    let mut world = World::new(3, 8, 1);
    let folder = (0..)
        .map(|number| format!("f{number}"))
        .find(|folder| {
            let store = &world.stores[0];
            store.folder_owner(folder.as_bytes()) != store.owner_of(folder.as_bytes())
        })
        .unwrap();
    let (old, new) = (format!("{folder}/old"), format!("{folder}/new"));
    committed(world.put(0, &old, "\"1\"", 1));
    let owner = world.stores[0].owner_of(old.as_bytes());
    let gone = world.ask_directly(owner, super::delete(&old));
    let ticket = world.ask_directly(owner, begin(&new, Some(1)));
    assert!(world.take(owner, ticket).is_none());
    assert!(matches!(world.answered(owner, gone), Reply::Deleted));
    let (upload, ..) = begun(world.answered(owner, ticket));
    assert_eq!(names(world.list(1, "")).0, [format!("{folder}/")]);
    world.send(owner, owner, Message::Abort { upload });
    world.assert_empty();
}

/// A parent's owner without room: those who wait for a link hear that they may come again, an
/// unlink is tried again.
#[test]
fn a_refused_link_or_unlink_is_survived() {
    let mut world = World::new(1, 8, 1);
    let ticket = world.ask_directly(0, begin("a/k", Some(1)));
    world.refuse_asks(0);
    assert!(is_refused(&world.answered(0, ticket), Refusal::Busy));
    world.assert_empty();

    committed(world.put(0, "a/k", "\"1\"", 1));
    let ticket = world.ask_directly(0, super::delete("a/k"));
    world.refuse_asks(0);
    assert!(matches!(world.answered(0, ticket), Reply::Deleted));
    world.assert_empty();
}

#[test]
fn waiting_for_a_folder_is_bounded() {
    let mut world = World::new(1, 8, 1);
    let tickets: Vec<_> = (0..=limits::FOLDER_WAITING_MAX)
        .map(|number| world.ask_directly(0, begin(&format!("a/{number}"), Some(1))))
        .collect();
    let mut uploads = Vec::new();
    for (number, &ticket) in tickets.iter().enumerate() {
        let reply = world.answered(0, ticket);
        if number == limits::FOLDER_WAITING_MAX {
            assert!(is_refused(&reply, Refusal::Busy));
        } else {
            uploads.push(begun(reply).0);
        }
    }
    for upload in uploads {
        world.send(0, 0, Message::Abort { upload });
    }
    world.assert_empty();
}

#[test]
fn a_listing_goes_from_name_to_name() {
    let mut world = World::new(2, 8, 1);
    for name in ["b", "a", "d", "c", "aa"] {
        committed(world.put(0, &format!("f/{name}"), "\"1\"", 1));
    }
    committed(world.put_until(0, "f/bb", "\"1\"", 1, world.now_ms + 1));
    committed(world.put(0, "f/sub/k", "\"1\"", 1));
    world.now_ms += 1;
    let mut after = String::new();
    let mut pages = Vec::new();
    loop {
        let (folder, from) = (b"f".as_slice().into(), after.as_bytes().into());
        let (found, more) = names(world.ask(1, Ask::List { folder, after: from, count_max: 2 }));
        after = found.last().unwrap().trim_end_matches('/').to_owned();
        pages.push(found);
        if !more {
            break;
        }
    }
    assert_eq!(pages, [vec!["a", "aa"], vec!["b", "c"], vec!["d", "sub/"]]);
    let (folder, after) = (b"f".as_slice().into(), b"zzz".as_slice().into());
    let last = names(world.ask(1, Ask::List { folder, after, count_max: 2 }));
    assert_eq!(last, (vec![], false), "behind the end of a folder that is there");
}
