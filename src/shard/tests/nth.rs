//! One fixed scenario, again and again: the first completion fails, then the second, until none is
//! left that could.

use super::client::{Client, Pace};
use super::request::{Request, What};
use super::world::{Plan, World};
use crate::shard::{Ending, Tx};
use crate::sys::sim::Faults;

fn put(world: &mut World, key: usize, length: u64, chunked: bool) -> Request {
    let version = world.book.version(key, length);
    let (if_absent, patient, ttl_s) = (false, chunked, 0);
    Request::new(What::Put { version, length, chunked, if_absent, patient, ttl_s }, key)
}

/// A packager and two players on two shards: every kind of operation there is.
fn scenario(nth: u64, tx: Tx) -> Option<String> {
    let mut plan = Plan::new(3, 2);
    plan.settings.tx = tx;
    plan.settings.zero_copy_bytes_min = 4096;
    plan.settings.splice_bytes_min = 4096;
    plan.faults = Faults {
        fail_nth: Some(nth),
        send_room: 6_000,
        inbox_room: 9_000,
        window: 5_000,
        notification_us_max: 500,
        inline_once_in: 2,
        ..Faults::default()
    };
    let mut world = World::new(&plan);
    world.lenient = true;
    let requests = [
        put(&mut world, 0, 30_000, true),
        put(&mut world, 2, 900, false),
        put(&mut world, 7, 20_000, false),
    ];
    let packager: &mut Client = world.client(0);
    requests.into_iter().for_each(|request| packager.plan(request));
    for shard in 0..2 {
        let player = world.client(shard);
        player.pace = Pace { depth: 3, piece_max: 100, read_max: 4_000, pause_us: 50 };
        for what in [What::Get, What::Head, What::Range { first: 10, last: 9_000 }, What::Get] {
            player.plan(Request::new(what.clone(), 0));
            player.plan(Request::new(what, 7));
        }
        player.plan(Request { last: true, ..Request::new(What::Get, 2) });
    }
    world.run_clients();
    let failed = world.sim.completions().1;
    world.wind_down();
    world.run_drain();
    assert!(world.endings.iter().all(|ending| *ending == Some(Ending::Drained)));
    failed
}

/// What failed, one after the other.
fn failures(tx: Tx) -> Vec<String> {
    let mut failures = Vec::new();
    for nth in 1.. {
        println!("completion {nth} fails");
        let Some(failed) = scenario(nth, tx) else { break };
        failures.push(failed);
    }
    println!("{} completions failed", failures.len());
    assert!(failures.len() > 40, "the scenario is worth failing: {}", failures.len());
    failures
}

#[test]
fn whichever_completion_fails_nothing_is_lost_or_left() {
    let failures = failures(Tx::Auto);
    for what in ["accept", "receive", "send"] {
        assert!(failures.iter().any(|failed| failed == what), "no {what} ever failed");
    }
}

/// The same where bodies leave by reference, so that tasks wait for room by polls.
#[test]
fn whichever_completion_fails_while_pages_are_shared_nothing_is_lost_or_left() {
    let failures = failures(Tx::Splice);
    for what in ["accept", "receive", "send", "poll"] {
        assert!(failures.iter().any(|failed| failed == what), "no {what} ever failed");
    }
}
