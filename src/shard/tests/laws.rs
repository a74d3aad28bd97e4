//! The laws of the ring, one case each (`docs/ARCHITECTURE.md` says why each is a law).

use super::book::KEYS;
use super::client::{Fate, Pace};
use super::request::{Request, What};
use super::world::{Plan, World};
use crate::shard::Tx;
use crate::sys::sim::Faults;

/// A key and a body too large for send buffer and inbox together.
const LARGE: (usize, u64) = (6, 90_000);

fn world(faults: Faults, tx: Tx) -> World {
    world_of(11, faults, tx)
}

fn world_of(seed: u64, faults: Faults, tx: Tx) -> World {
    let mut plan = Plan::new(seed, 2);
    plan.faults = faults;
    plan.settings.tx = tx;
    plan.settings.zero_copy_bytes_min = 2_048;
    World::new(&plan)
}

/// A world in which large bodies leave by zero-copy.
fn zero_copy(faults: Faults) -> World {
    world(narrow(faults), Tx::ZeroCopy)
}

fn narrow(faults: Faults) -> Faults {
    Faults { send_room: 20_000, inbox_room: 10_000, ..faults }
}

fn get(world: &mut World, shard: usize, key: usize, fate: Fate) {
    let client = world.client(shard);
    client.fate = fate;
    client.plan(Request::new(What::Get, key));
}

fn used_bytes(world: &World) -> u64 {
    world.shards.iter().map(|shard| shard.store.borrow().statistics().used_bytes).sum()
}

fn sends_live(world: &World) -> usize {
    world.shards.iter().map(|shard| shard.reactor.sends_live()).sum()
}

fn finish(mut world: World) {
    world.sim.be_kind();
    world.run_quiet();
    world.take_all_away();
    world.check_quiet();
    world.check_empty();
    world.book.check();
    world.run_drain();
}

/// The connection is long gone, its place has a new tenant, and the object is deleted: the memory
/// of the send still belongs to the send.
#[test]
fn law_1_the_slab_owns_what_a_send_needs_until_its_terminal_completion() {
    let mut world = zero_copy(Faults::default());
    world.store(LARGE);
    world.sim.withhold_notifications(true);
    get(&mut world, 1, LARGE.0, Fate::Resets(15_000));
    world.run_clients();
    world.run_until("the connection is closed", |world| world.sim.held() == 0);
    world.take_all_away();
    world.run_ms(500);
    assert!(sends_live(&world) > 0 && world.sim.pinned() > 0, "the notification is withheld");
    assert!(used_bytes(&world) >= LARGE.1, "memory was freed under a send");
    world.sim.withhold_notifications(false);
    world.run_ms(500);
    assert_eq!((sends_live(&world), used_bytes(&world)), (0, 0));
    finish(world);
}

/// Results are out, answers are read, connections go on, the object is deleted: its memory waits
/// for the notifications, which come in any order and whether or not the send failed.
#[test]
fn law_2_zero_copy_memory_is_free_at_its_notification_and_not_before() {
    for copied_once_in in [0, 1, 2] {
        let mut world = zero_copy(Faults { copied_once_in, ..Faults::default() });
        world.store(LARGE);
        world.sim.withhold_notifications(true);
        for shard in [0, 1, 0, 1] {
            get(&mut world, shard, LARGE.0, Fate::Behaves);
        }
        get(&mut world, 1, LARGE.0, Fate::Closes(100));
        world.run_clients();
        world.take_all_away();
        world.run_ms(500);
        assert!(world.sim.pinned() >= 4, "{} sends are pinned", world.sim.pinned());
        assert!(used_bytes(&world) >= LARGE.1, "memory was freed before the notification");
        world.sim.withhold_notifications(false);
        world.run_ms(500);
        assert_eq!((world.sim.pinned(), sends_live(&world), used_bytes(&world)), (0, 0, 0));
        finish(world);
    }
}

/// Every other call says that nothing was submitted, and the queue has one place: nothing is freed
/// or sent twice for it.
#[test]
fn law_3_an_operation_that_was_pushed_counts_as_seen() {
    let faults = Faults { again_once_in: 2, submissions_max: 1, ..Faults::default() };
    let mut world = zero_copy(faults);
    world.store(LARGE);
    for shard in [0, 1, 0, 1] {
        get(&mut world, shard, LARGE.0, Fate::Behaves);
    }
    world.run_clients();
    let full: u64 = world.shards.iter().map(|shard| shard.reactor.ring_counts().2).sum();
    assert!(full > 0, "the submission queue was never full");
    finish(world);
}

/// A client asks for much and reads little, so that its reception is paused by a cancel again and
/// again; each cancel comes too late and the reception has taken one more buffer.
#[test]
fn law_4_a_cancelled_operation_may_have_succeeded_and_taken_a_buffer() {
    let faults = Faults { cancel_loses_once_in: 1, cancel_misses_once_in: 3, ..Faults::default() };
    let mut world = zero_copy(faults);
    world.store(LARGE);
    let client = world.client(1);
    client.pace = Pace { depth: 40, piece_max: 30, read_max: 500, pause_us: 300 };
    (0..60).for_each(|_| client.plan(Request::new(What::Get, LARGE.0)));
    world.run_clients();
    finish(world);
}

/// Receptions and accepts end after every other result, and are armed again.
#[test]
fn law_5_a_multishot_operation_without_more_is_dead_and_armed_again() {
    let mut world = zero_copy(Faults { multishot_end_once_in: 2, ..Faults::default() });
    world.store(LARGE);
    (0..20).for_each(|shard| get(&mut world, shard % 2, LARGE.0, Fate::Behaves));
    world.run_clients();
    finish(world);
}

/// There is one buffer. A client that sends half a head must not keep it (it did, so that half
/// heads on every buffer made a shard deaf until they were late); whoever finds none waits for it
/// without a turn of the loop for each moment.
#[test]
fn law_5_a_reception_without_a_buffer_waits_for_one_and_not_in_a_loop() {
    let mut plan = Plan::new(11, 1);
    plan.faults = Faults { recv_buffers: (1, 1), starve_at_once: true, ..Faults::default() };
    let mut world = World::new(&plan);
    world.store((0, 300));
    // A head of which every byte comes alone.
    let client = world.client(0);
    client.pace = Pace { piece_max: 1, pause_us: 50_000, ..Pace::FAST };
    client.plan(Request::new(What::Get, 0));
    get(&mut world, 0, 0, Fate::Behaves);
    world.run_ms(1_000);
    let before = world.shards[0].reactor.ring_counts().0;
    world.run_ms(1_000);
    let turns = world.shards[0].reactor.ring_counts().0 - before;
    assert!(turns < 400, "{turns} turns in a second in which little happens");
    assert!(world.clients[1].done, "the other client was served meanwhile");
    world.run_clients();
    finish(world);
}

/// A client stops reading in the middle of a large body. Closing would not free the memory: the
/// send is cancelled, ends, and the connection is reset. A cancel that did not find its send was
/// never repeated, and the memory stayed pinned until the kernel gave the peer up.
#[test]
fn law_6_a_stalled_reader_is_cut_off_and_its_memory_comes_back() {
    let cancels = [(0, 0), (1, 0), (0, 2), (2, 2)];
    for (seed, (loses, misses)) in (0..).zip(cancels.into_iter().cycle().take(24)) {
        let faults = Faults {
            cancel_loses_once_in: loses,
            cancel_misses_once_in: misses,
            user_timeout_us: 1_000_000_000,
            ..Faults::default()
        };
        let mut world = world_of(seed, narrow(faults), Tx::ZeroCopy);
        world.store(LARGE);
        get(&mut world, 1, LARGE.0, Fate::Stalls(5_000));
        world.run_ms(2_000);
        assert!(world.sim.pinned() > 0, "the reader stalls");
        let begun_us = world.sim.now_us();
        world.run_clients();
        world.run_quiet();
        let taken_s = (world.sim.now_us() - begun_us) / 1_000_000;
        assert!(taken_s < 30, "memory was pinned for {taken_s} s");
        finish(world);
    }
}

/// The whole body fits the send buffer, so the server believes that it was sent; nobody ever reads
/// it. The connection is closed as idle, and the kernel gives the peer up at last.
#[test]
fn law_6_bytes_that_nobody_takes_are_given_up() {
    let mut world = zero_copy(Faults::default());
    world.store((6, 25_000));
    get(&mut world, 1, 6, Fate::Stalls(0));
    world.run_ms(2_000);
    assert!(world.sim.pinned() > 0, "the reader stalls");
    let begun_us = world.sim.now_us();
    world.run_clients();
    world.run_quiet();
    let taken_s = (world.sim.now_us() - begun_us) / 1_000_000;
    assert!(taken_s < 60, "memory was pinned for {taken_s} s");
    finish(world);
}

/// Pipelined requests, and a send buffer that takes a few bytes at a time: the double refuses two
/// sends on one socket, and the client would see them mixed.
#[test]
fn law_7_one_send_at_a_time_and_short_ones_go_on() {
    for tx in [Tx::Copy, Tx::ZeroCopy] {
        let mut world = world(Faults { send_room: 700, ..Faults::default() }, tx);
        world.store(LARGE);
        world.store((2, 900));
        for shard in 0..2 {
            let client = world.client(shard);
            client.pace = Pace { depth: 6, ..Pace::FAST };
            for what in [What::Get, What::Ranges, What::Range { first: 9, last: 70_000 }] {
                client.plan(Request::new(what.clone(), LARGE.0));
                client.plan(Request::new(what, 2));
            }
        }
        world.run_clients();
        finish(world);
    }
}

/// The completion queue has one place: what does not fit is kept, counted and told later, and the
/// multishot operations that it ended are armed again.
#[test]
fn law_8_a_full_completion_queue_is_flushed_and_counted() {
    let mut world =
        zero_copy(Faults { completions_max: 1, inline_once_in: 0, ..Faults::default() });
    world.store(LARGE);
    (0..12).for_each(|shard| get(&mut world, shard % 2, LARGE.0, Fate::Behaves));
    world.run_clients();
    let overflows: u64 = world.shards.iter().map(|shard| shard.reactor.ring_counts().1).sum();
    assert!(overflows > 0, "the completion queue never overflowed");
    assert!(KEYS.len() > LARGE.0);
    finish(world);
}

/// Twelve answers are asked for at once: no turn hands over more than its share, and who is left
/// over has it in the next (every turn of every world is checked for it).
#[test]
fn a_turn_sends_no_more_than_its_bytes() {
    for tx in [Tx::Copy, Tx::ZeroCopy] {
        let rooms = Faults { send_room: 1 << 20, inbox_room: 1 << 20, ..Faults::default() };
        let mut world = world(rooms, tx);
        world.store(LARGE);
        (0..12).for_each(|_| get(&mut world, 0, LARGE.0, Fate::Behaves));
        let mut full = 0;
        while world.clients.iter().any(|client| !client.done) && world.advance_together() {
            full += usize::from(world.shards[0].reactor.budgets_left().1 <= 0);
        }
        assert!(full > 0, "no turn was full: the bound was never met");
        world.clients.clear();
        finish(world);
    }
}
