//! Faults end to end: peers that are slow, silent, many, gone or greedy, and a memory that is full.
//!
//! In every test a probe reads a known object from beginning to end and is always answered in
//! time, and afterwards the origin is as it was: see `faults/stage.rs`. `HEADWATER_FAULTS=long`
//! makes the tests larger and longer; `scripts/faults` runs them so.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "faults/cut.rs"]
mod cut;
#[path = "faults/flood.rs"]
mod flood;
#[path = "faults/full.rs"]
mod full;
#[path = "faults/greedy.rs"]
mod greedy;
#[path = "faults/leave.rs"]
mod leave;
#[path = "faults/slow.rs"]
mod slow;
#[path = "faults/stage.rs"]
mod stage;
#[path = "faults/time.rs"]
mod time;

/// `usual`, or many times that in a long run.
fn scaled(usual: usize) -> usize {
    match std::env::var("HEADWATER_FAULTS").is_ok_and(|value| value == "long") {
        true => usual * 10,
        false => usual,
    }
}
