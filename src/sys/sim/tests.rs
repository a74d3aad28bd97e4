//! The double itself: what it must allow, and what it must catch.

use std::time::Duration;

use super::{Faults, Peer, Sim};
use crate::sys::arena::Arena;
use crate::sys::extent::Extent;
use crate::sys::net;
use crate::sys::ring::{Completion, Effort, Operation, Ring, RingSize};

const SIZE: RingSize = RingSize { submissions: 8, completions: 16 };
const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 1], 80);

/// A ring, a connection and its descriptor.
fn connected(sim: &Sim) -> (Ring, Peer, i32) {
    let mut ring = Ring::new(SIZE).unwrap();
    let listener = sim.listen();
    let peer = sim.connect(0, ADDRESS.into());
    ring.push(Operation::AcceptMulti { fd: listener }, 1);
    let accepted = completions(sim, &mut ring);
    assert_eq!((accepted[0].user_data, accepted[0].more()), (1, true));
    (ring, peer, accepted[0].result)
}

fn completions(sim: &Sim, ring: &mut Ring) -> Vec<Completion> {
    ring.enter(Some(Duration::ZERO)).unwrap();
    sim.resume(0);
    let mut found = Vec::with_capacity(16);
    ring.reap(&mut found);
    found
}

fn zero_copy(sim: &Sim, ring: &mut Ring, fd: i32, len: u32) -> (std::sync::Arc<Arena>, Extent) {
    let arena = Arena::new(1).unwrap();
    let extent = Extent { slot: 0, offset: 0, len };
    ring.register_table(1).unwrap();
    net::register_slot(ring, 0, &arena).unwrap();
    let start = arena.place(extent, 0, len as usize).cast_const();
    ring.push(Operation::SendZc { fd, start, len, slot: 0 }, 2);
    let sent = completions(sim, ring);
    assert_eq!((sent[0].user_data, sent[0].more()), (2, true));
    (arena, extent)
}

/// Bytes of a zero-copy send are those of the moment of transmission, as on a real network card.
#[test]
fn zero_copy_bytes_are_read_late() {
    let sim = Sim::install(1, Faults::default());
    let (mut ring, peer, fd) = connected(&sim);
    let (arena, extent) = zero_copy(&sim, &mut ring, fd, 100);
    arena.write(extent, 0, b"changed");
    sim.move_bytes(true);
    let mut read = Vec::new();
    sim.receive(peer, 100, &mut read);
    assert!(read.starts_with(b"changed"), "{read:?}");
}

#[test]
#[should_panic(expected = "law 2: memory of a zero-copy send changed before its notification")]
fn memory_that_changes_before_the_notification_is_found() {
    let sim = Sim::install(1, Faults::default());
    let (mut ring, _, fd) = connected(&sim);
    let (arena, extent) = zero_copy(&sim, &mut ring, fd, 100);
    while sim.move_bytes(true) {}
    arena.write(extent, 50, b"changed");
    completions(&sim, &mut ring);
}

/// A peer that reads nothing keeps the notification back until the connection is reset.
#[test]
fn a_stalled_peer_withholds_the_notification_until_a_reset() {
    let sim = Sim::install(1, Faults { inbox_room: 10, ..Faults::default() });
    let (mut ring, _, fd) = connected(&sim);
    let _memory = zero_copy(&sim, &mut ring, fd, 100);
    while sim.move_bytes(true) {}
    assert!(completions(&sim, &mut ring).is_empty());
    net::shutdown_write(fd);
    assert!(completions(&sim, &mut ring).is_empty(), "a shutdown releases nothing");
    net::reset_on_close(fd);
    net::close(fd);
    let notified = completions(&sim, &mut ring);
    assert!(notified[0].is_notification() && notified[0].user_data == 2);
    assert_eq!(sim.pinned(), 0);
}

/// A send that is stuck half-way and cancelled says how much has gone, not that it was cancelled.
#[test]
fn a_cancelled_send_tells_what_has_gone() {
    let sim = Sim::install(1, Faults { send_room: 60, inbox_room: 1, ..Faults::default() });
    let (mut ring, _, fd) = connected(&sim);
    let bytes = [7u8; 100];
    ring.push(Operation::Send { fd, start: bytes.as_ptr(), len: 100, effort: Effort::Whole }, 3);
    assert!(completions(&sim, &mut ring).is_empty());
    ring.push(Operation::Cancel { target: 3 }, 4);
    let found = completions(&sim, &mut ring);
    let result = |name| found.iter().find(|one| one.user_data == name).map(|one| one.result);
    assert_eq!((result(3), result(4)), (Some(60), Some(0)), "{found:?}");
}

#[test]
#[should_panic(expected = "law 7: two sends, or receptions, on one socket")]
fn two_sends_on_one_socket_are_found() {
    let sim = Sim::install(1, Faults { send_room: 1, ..Faults::default() });
    let (mut ring, _, fd) = connected(&sim);
    let bytes = [7u8; 100];
    for name in 5..7 {
        ring.push(
            Operation::Send { fd, start: bytes.as_ptr(), len: 100, effort: Effort::Whole },
            name,
        );
    }
    completions(&sim, &mut ring);
}

#[test]
#[should_panic(expected = "closed under an operation")]
fn a_close_under_an_operation_is_found() {
    let sim = Sim::install(1, Faults { send_room: 1, ..Faults::default() });
    let (mut ring, _, fd) = connected(&sim);
    let bytes = [7u8; 100];
    ring.push(Operation::Send { fd, start: bytes.as_ptr(), len: 100, effort: Effort::Whole }, 5);
    completions(&sim, &mut ring);
    net::close(fd);
}

/// What does not fit the completion queue comes later, in order, and ends what would go on.
#[test]
fn an_overflow_ends_a_multishot_and_is_flushed() {
    let sim = Sim::install(1, Faults { completions_max: 1, ..Faults::default() });
    let mut ring = Ring::new(SIZE).unwrap();
    let listener = sim.listen();
    for _ in 0..3 {
        sim.connect(0, ADDRESS.into());
    }
    ring.push(Operation::AcceptMulti { fd: listener }, 1);
    let mut found = Vec::new();
    for _ in 0..4 {
        found.extend(completions(&sim, &mut ring));
    }
    assert!(found.iter().any(|one| !one.more()), "{found:?}");
    assert!(ring.overflows() > 0);
    assert_eq!(sim.operations(0), 0, "the accept is dead");
}

/// Closing with unread bytes is a reset, which takes what was not transmitted.
#[test]
fn a_close_with_unread_bytes_is_a_reset() {
    let sim = Sim::install(1, Faults::default());
    let (_ring, peer, fd) = connected(&sim);
    assert_eq!(sim.send(peer, b"unread"), 6);
    sim.move_bytes(true);
    net::close(fd);
    assert!(sim.was_reset(peer) && sim.was_released(peer));
}
