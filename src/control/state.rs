//! What the process is doing, what it was asked for, and a place to wait for both.
//!
//! Shards hold a [`Running`] each, the control thread files wishes, the main thread waits. The
//! lock is taken at start, stop and by admin requests only.
//!
//! **Invariants**: phases only go forward (starting, ready, draining); a drain once wished for
//! is never taken back; every `Running` that was handed out is counted back, panics included.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Stages of the process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not yet listening.
    Starting,
    /// Serving.
    Ready,
    /// Finishing what is under way.
    Draining,
}

/// Why a drain began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A signal with this number.
    Signal(u8),
    /// `POST /drain`.
    Request,
}

/// What ends the main thread's wait while the process serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Stop accepting, finish, end.
    Drain(Cause),
    /// A shard ended that nobody had asked to: its thread died.
    ShardLost,
}

/// What ends the main thread's wait while the process drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every shard is done.
    All,
    /// Some are not, and the time is over.
    Deadline,
    /// A second signal, with this number.
    Signal(u8),
}

/// Shared between the main thread, the control thread and the shards.
#[derive(Debug)]
pub struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    cause: Option<Cause>,
    signals: u32,
    last_signal: u8,
    running: usize,
    lost: bool,
}

/// Held by a shard's thread while it lives.
#[derive(Debug)]
pub struct Running(Arc<State>);

impl State {
    /// A process that is starting.
    pub fn new() -> Arc<Self> {
        let inner = Inner {
            phase: Phase::Starting,
            cause: None,
            signals: 0,
            last_signal: 0,
            running: 0,
            lost: false,
        };
        Arc::new(Self { inner: Mutex::new(inner), changed: Condvar::new() })
    }

    /// The process listens now. A drain that was wished for before stays in force.
    pub fn ready(&self) {
        let mut inner = self.lock();
        if inner.phase == Phase::Starting {
            inner.phase = Phase::Ready;
        }
    }

    /// The stage now.
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Whether a drain was wished for.
    pub fn drain_requested(&self) -> bool {
        self.phase() == Phase::Draining
    }

    /// Wishes for a drain; `false` when one is under way already.
    pub fn request_drain(&self, cause: Cause) -> bool {
        let mut inner = self.lock();
        if inner.phase == Phase::Draining {
            return false;
        }
        inner.phase = Phase::Draining;
        inner.cause = Some(cause);
        drop(inner);
        self.changed.notify_all();
        true
    }

    /// A signal that ends processes: the first one drains (or joins a drain that was requested),
    /// the second one ends the drain.
    pub fn signal(&self, number: u8) {
        let mut inner = self.lock();
        inner.signals += 1;
        inner.last_signal = number;
        drop(inner);
        self.request_drain(Cause::Signal(number));
        self.changed.notify_all();
    }

    /// To be held by one shard's thread from before it starts until it ends.
    pub fn running(self: &Arc<Self>) -> Running {
        self.lock().running += 1;
        Running(Arc::clone(self))
    }

    /// Main thread, while serving: waits for a reason to stop.
    pub fn wait(&self) -> Wish {
        let mut inner = self.lock();
        loop {
            if let Some(cause) = inner.cause {
                return Wish::Drain(cause);
            }
            if inner.lost {
                return Wish::ShardLost;
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Main thread, while draining: waits until every shard is done, at most until `deadline`.
    pub fn wait_stopped(&self, deadline: Instant) -> Stopped {
        let mut inner = self.lock();
        loop {
            if inner.running == 0 {
                return Stopped::All;
            }
            if inner.signals > 1 {
                return Stopped::Signal(inner.last_signal);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Stopped::Deadline;
            }
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A thread that panicked cannot have left the state half-written: each change is one store.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.running -= 1;
        inner.lost |= inner.phase != Phase::Draining;
        drop(inner);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn phases_only_go_forward() {
        let state = State::new();
        assert_eq!(state.phase(), Phase::Starting);
        state.ready();
        assert_eq!(state.phase(), Phase::Ready);
        assert!(state.request_drain(Cause::Request));
        assert!(!state.request_drain(Cause::Signal(15)));
        state.ready();
        assert!(state.drain_requested());
        assert_eq!(state.wait(), Wish::Drain(Cause::Request));
    }

    #[test]
    fn a_drain_wished_for_during_the_start_is_kept() {
        let state = State::new();
        state.signal(15);
        state.ready();
        assert_eq!(state.wait(), Wish::Drain(Cause::Signal(15)));
    }

    #[test]
    fn the_waiter_wakes_for_a_drain() {
        let state = State::new();
        state.ready();
        let waiter = thread::spawn({
            let state = Arc::clone(&state);
            move || state.wait()
        });
        state.request_drain(Cause::Request);
        assert_eq!(waiter.join().unwrap(), Wish::Drain(Cause::Request));
    }

    #[test]
    fn the_drain_ends_with_the_last_shard() {
        let state = State::new();
        let shards = [state.running(), state.running()];
        state.request_drain(Cause::Request);
        assert_eq!(state.wait_stopped(soon()), Stopped::Deadline);
        let ends = thread::spawn(move || drop(shards));
        assert_eq!(state.wait_stopped(late()), Stopped::All);
        ends.join().unwrap();
    }

    #[test]
    fn only_the_second_signal_ends_a_drain() {
        let state = State::new();
        let _shard = state.running();
        state.request_drain(Cause::Request);
        state.signal(15);
        assert_eq!(state.wait_stopped(soon()), Stopped::Deadline);
        state.signal(2);
        assert_eq!(state.wait_stopped(late()), Stopped::Signal(2));
    }

    #[test]
    fn a_shard_that_dies_is_noticed() {
        let state = State::new();
        state.ready();
        let running = state.running();
        let shard = thread::spawn(move || {
            let _running = running;
            std::panic::resume_unwind(Box::new("the shard died"));
        });
        assert_eq!(state.wait(), Wish::ShardLost);
        assert!(shard.join().is_err());
    }
}
