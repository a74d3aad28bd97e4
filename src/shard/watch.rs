//! Readers that wait for a key's next version: one watch at the owner for all of this shard's.
//!
//! Anybody can ask for names that will never be there. Such names are bounded for each folder, and
//! take at most half of all, so that they keep nobody from waiting for the next version of a
//! playlist or for what comes in another folder.
//!
//! Invariants: a reader looks again after every change of its key, so a wake-up for nothing costs
//! a look and no more; a watch is out for as long as anybody waits under it, and the readers of a
//! key are woken all together.

use std::task::Poll;

use hashbrown::HashMap;

use super::Shard;
use crate::limits;
use crate::origin::horizon::folder_of;
use crate::store::message::{LeaseId, Message};
use crate::sys::reactor::Interrupt;
use crate::sys::socket::SocketId;
use crate::sys::task::TaskId;

/// Readers by the key that they wait for.
#[derive(Default)]
pub(super) struct Watches {
    by_key: HashMap<Box<[u8]>, Watch>,
    /// Names that were not there when the wait for them began, by folder.
    absent: HashMap<Box<[u8]>, usize>,
    absent_count: usize,
    next: u64,
}

struct Watch {
    /// Tells this watch of the key from later ones.
    number: u64,
    /// Counted among the names that are not there.
    is_absent: bool,
    /// The version that the owner was told of.
    seen: Option<LeaseId>,
    /// Until when the owner was told to watch.
    until_ms: u64,
    readers: Vec<TaskId>,
}

/// How a wait for a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The key may have another version.
    Changed,
    /// The time is over, or the shard is draining.
    Late,
    /// Too many keys are waited for.
    Busy,
    /// Too many names that are not there are waited for.
    Crowded,
    /// The peer has gone.
    Gone,
}

impl Watches {
    /// A new watch of a key; the error says why there can be none.
    fn open(&mut self, task: TaskId, key: &[u8], seen: Option<LeaseId>) -> Result<u64, Waited> {
        let is_absent = seen.is_none();
        let folder = folder_of(key);
        if is_absent {
            let here = self.absent.get(folder).copied().unwrap_or(0);
            let is_crowded = here >= limits::WATCHES_FOLDER_MAX;
            if is_crowded || self.absent_count >= limits::WATCHES_ABSENT_MAX {
                return Err(Waited::Crowded);
            }
        }
        if self.by_key.len() >= limits::WATCHES_MAX {
            return Err(Waited::Busy);
        }
        if is_absent {
            *self.absent.entry(folder.into()).or_default() += 1;
            self.absent_count += 1;
        }
        self.next += 1;
        let number = self.next;
        let watch = Watch { number, is_absent, seen, until_ms: 0, readers: vec![task] };
        self.by_key.insert(key.into(), watch);
        Ok(number)
    }

    fn close(&mut self, key: &[u8]) -> Option<Watch> {
        let watch = self.by_key.remove(key)?;
        if watch.is_absent {
            self.absent_count -= 1;
            let folder = folder_of(key);
            let here = self.absent.get_mut(folder).expect("it was counted");
            *here -= 1;
            if *here == 0 {
                self.absent.remove(folder);
            }
        }
        Some(watch)
    }
}

impl Shard {
    /// Waits until `key` may have another version than `seen`, at most until `until_ms`.
    pub(super) async fn wait_for_change(
        &self,
        socket: SocketId,
        key: &[u8],
        seen: Option<LeaseId>,
        until_ms: u64,
    ) -> Waited {
        let task = self.reactor.tasks.current();
        let number = match self.enlist(task, key, seen, until_ms) {
            Ok(number) => number,
            Err(waited) => return waited,
        };
        self.reactor.set_deadline(socket, until_ms);
        let waited = std::future::poll_fn(|_| {
            let watches = self.watches.borrow();
            if watches.by_key.get(key).is_none_or(|watch| watch.number != number) {
                return Poll::Ready(Waited::Changed);
            }
            match self.reactor.interrupted(socket) {
                Some(Interrupt::Ended(_)) => Poll::Ready(Waited::Gone),
                Some(Interrupt::Late) if self.reactor.clock.now_ms() >= until_ms => {
                    Poll::Ready(Waited::Late)
                }
                _ if self.is_draining() => Poll::Ready(Waited::Late),
                Some(Interrupt::Late) => {
                    self.reactor.set_deadline(socket, until_ms);
                    Poll::Pending
                }
                None => Poll::Pending,
            }
        })
        .await;
        if waited != Waited::Changed {
            self.strike_off(task, key);
        }
        waited
    }

    /// Puts the reader on the key's list and sees to a watch at the owner, unless there are too
    /// many.
    fn enlist(
        &self,
        task: TaskId,
        key: &[u8],
        seen: Option<LeaseId>,
        until_ms: u64,
    ) -> Result<u64, Waited> {
        let mut watches = self.watches.borrow_mut();
        let number = match watches.by_key.get_mut(key) {
            Some(watch) => {
                watch.readers.push(task);
                if watch.seen == seen && watch.until_ms >= until_ms {
                    return Ok(watch.number);
                }
                watch.number
            }
            None => watches.open(task, key, seen)?,
        };
        let until_ms = until_ms + limits::WATCH_SLACK_MS;
        let watch = watches.by_key.get_mut(key).expect("looked at above");
        (watch.seen, watch.until_ms) = (seen, until_ms);
        drop(watches);
        let owner = self.store.borrow().owner_of(key);
        self.post(owner, Message::Watch { key: key.into(), seen, until_ms });
        self.carry();
        Ok(number)
    }

    fn strike_off(&self, task: TaskId, key: &[u8]) {
        let mut watches = self.watches.borrow_mut();
        let Some(watch) = watches.by_key.get_mut(key) else { return };
        if let Some(at) = watch.readers.iter().position(|&reader| reader == task) {
            watch.readers.swap_remove(at);
        }
        if watch.readers.is_empty() {
            watches.close(key);
            drop(watches);
            let owner = self.store.borrow().owner_of(key);
            self.post(owner, Message::Unwatch { key: key.into() });
        }
    }

    /// A key has another version: whoever waits for it looks again.
    pub(super) fn on_changed(&self, key: &[u8]) {
        let watch = self.watches.borrow_mut().close(key);
        let readers = watch.into_iter().flat_map(|watch| watch.readers);
        readers.for_each(|task| self.reactor.tasks.wake(task));
    }

    /// Lets everybody look whether the shard is draining.
    pub(super) fn wake_all_watching(&self) {
        for watch in self.watches.borrow().by_key.values() {
            watch.readers.iter().for_each(|&task| self.reactor.tasks.wake(task));
        }
    }

    /// Readers that wait.
    pub(super) fn watching(&self) -> usize {
        self.watches.borrow().by_key.values().map(|watch| watch.readers.len()).sum()
    }
}
