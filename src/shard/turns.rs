//! What the tiers below memory have in common: jobs of one key run one after the other, and what
//! a tier does not have is believed for a while.
//!
//! Invariants: a key has one job at a time; whoever waits for its turn is woken at the end of the
//! one before; what is remembered is bounded, and forgotten all at once where it is too much.

use std::cell::RefCell;
use std::collections::HashMap;
use std::task::Poll;

use super::Shard;
use super::read::Obtained;
use crate::limits;
use crate::store::message::{Refusal, Reply};
use crate::sys::task::{TaskId, Tasks};

impl Shard {
    /// Has a key loaded until it can be held; `load` is told whether it is the first attempt.
    pub(super) async fn obtain_by(
        &self,
        key: &[u8],
        load: impl AsyncFn(bool) -> Reply,
    ) -> Obtained {
        for attempt in 0..limits::DISK_LOAD_ATTEMPTS {
            // What was gone at once may have broken off: then the end tells why.
            match load(attempt == 0).await {
                Reply::Loaded => {}
                Reply::Refused(Refusal::Damaged) => return Obtained::Damaged,
                Reply::Refused(
                    refusal @ (Refusal::RemoteDown | Refusal::RemoteSlow | Refusal::RemoteDenied),
                ) => return Obtained::Unreachable(refusal),
                Reply::Refused(_) => return Obtained::Busy,
                _ => return Obtained::Absent,
            }
            match self.obtain(key.into()).await {
                // It may have been replaced, deleted or evicted in between.
                Obtained::Absent => {}
                obtained => return obtained,
            }
        }
        Obtained::Busy
    }
}

/// Keys with a job under way, and the tasks that wait for its end.
#[derive(Default)]
pub(super) struct Turns {
    waiting: RefCell<HashMap<Box<[u8]>, Vec<TaskId>>>,
}

impl Turns {
    /// Waits until no other job works on the key; `false` when nothing is to be done any more,
    /// which `is_done` tells whenever the task would wait.
    pub(super) async fn enter(
        &self,
        tasks: &Tasks,
        key: &[u8],
        is_done: impl Fn() -> bool,
    ) -> bool {
        std::future::poll_fn(|_| {
            let mut keys = self.waiting.borrow_mut();
            match keys.get_mut(key) {
                None => {
                    keys.insert(key.into(), Vec::new());
                    Poll::Ready(true)
                }
                Some(_) if is_done() => Poll::Ready(false),
                Some(waiting) => {
                    waiting.push(tasks.current());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The job is done, and the next one has its turn.
    pub(super) fn leave(&self, tasks: &Tasks, key: &[u8]) {
        let waiting = self.waiting.borrow_mut().remove(key).unwrap_or_default();
        waiting.into_iter().for_each(|task| tasks.wake(task));
    }

    /// Wakes who waits for the key, although the job that works on it goes on.
    pub(super) fn wake(&self, tasks: &Tasks, key: &[u8]) {
        let waiting = self.waiting.borrow_mut().get_mut(key).map(std::mem::take);
        waiting.into_iter().flatten().for_each(|task| tasks.wake(task));
    }

    /// Whether a job works on the key.
    pub(super) fn is_taken(&self, key: &[u8]) -> bool {
        self.waiting.borrow().contains_key(key)
    }
}

/// Names that are not there, and until when that is believed.
pub(super) struct Absences {
    until_ms: RefCell<HashMap<Box<[u8]>, u64>>,
    count_max: usize,
    for_ms: u64,
}

impl Absences {
    /// Of at most so many names, each for so many milliseconds.
    pub(super) fn new(count_max: usize, for_ms: u64) -> Self {
        Self { until_ms: RefCell::default(), count_max, for_ms }
    }

    /// Whether the name is believed not to be there.
    pub(super) fn has(&self, name: &[u8], now_ms: u64) -> bool {
        self.until_ms.borrow().get(name).is_some_and(|&until_ms| now_ms < until_ms)
    }

    /// It was not there a moment ago.
    pub(super) fn note(&self, name: &[u8], now_ms: u64) {
        let mut until_ms = self.until_ms.borrow_mut();
        if until_ms.len() >= self.count_max {
            until_ms.clear();
        }
        until_ms.insert(name.into(), now_ms + self.for_ms);
    }

    /// It is there now.
    pub(super) fn forget(&self, name: &[u8]) {
        self.until_ms.borrow_mut().remove(name);
    }
}
