//! What the store is to be told after the answer: keys, and what is wished for each.
//!
//! A key is queued once however often it changes; its turn makes the store agree with what is here
//! by then. While the store fails one key at a time is tried, with longer and longer pauses, and
//! none is forgotten; a drain tries each once more.
//!
//! Invariants: the queue is bounded; a wish stays known until the store has fulfilled it; what is
//! not in the store does not give way in memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::{Key, RemoteTier, Shard};
use crate::limits;
use crate::store::message::Refusal;
use crate::sys::clock::Clock;
use crate::tier::remote::Only;

/// What is wished for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Send what is here.
    Save,
    /// Take it away.
    Erase,
    /// Take it away if its time is over.
    Expire,
}

struct Entry {
    wish: Wish,
    /// Tells this wish from earlier ones for the key.
    stamp: u64,
    is_queued: bool,
}

/// The wishes of one shard.
#[derive(Default)]
pub(super) struct Queue {
    order: VecDeque<Key>,
    wishes: HashMap<Key, Entry>,
    stamp: u64,
    running: usize,
    /// Failures in a row.
    failures: u32,
    expiries: BinaryHeap<Reverse<(u64, Key)>>,
}

impl Queue {
    fn note(&mut self, key: Key, wish: Wish) -> Result<(), Refusal> {
        let is_known = self.wishes.contains_key(&key);
        if !is_known && self.wishes.len() >= limits::REMOTE_PENDING_MAX {
            return Err(Refusal::RemoteBehind);
        }
        self.stamp += 1;
        let stamp = self.stamp;
        let entry =
            self.wishes.entry(key.clone()).or_insert(Entry { wish, stamp, is_queued: false });
        (entry.wish, entry.stamp) = (wish, stamp);
        if !std::mem::replace(&mut entry.is_queued, true) {
            self.order.push_back(key);
        }
        Ok(())
    }

    /// The next key whose turn may begin.
    fn next(&mut self) -> Option<(Key, Wish, u64)> {
        let running_max = if self.failures > 0 { 1 } else { limits::REMOTE_SENDERS_MAX };
        if self.running >= running_max {
            return None;
        }
        loop {
            let key = self.order.pop_front()?;
            let Some(entry) = self.wishes.get_mut(&key) else { continue };
            if std::mem::replace(&mut entry.is_queued, false) {
                self.running += 1;
                return Some((key, entry.wish, entry.stamp));
            }
        }
    }

    /// A turn has ended; one that failed has another later unless the wish is dropped.
    fn end(&mut self, key: &[u8], stamp: u64, is_over: bool) {
        self.running -= 1;
        let Some(entry) = self.wishes.get_mut(key).filter(|entry| entry.stamp == stamp) else {
            return;
        };
        if is_over {
            self.wishes.remove(key);
        } else {
            entry.is_queued = true;
            self.order.push_back(key.into());
        }
    }

    /// What was wished for the key no longer counts.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.wishes.remove(key);
    }

    /// Whether the key is to be taken away.
    pub(super) fn erases(&self, key: &[u8]) -> bool {
        self.wishes.get(key).is_some_and(|entry| entry.wish == Wish::Erase)
    }

    /// Remembers to end a lifetime in the store.
    pub(super) fn expire_at(&mut self, at_ms: u64, key: &[u8]) {
        if self.expiries.len() < limits::REMOTE_EXPIRIES_MAX {
            self.expiries.push(Reverse((at_ms, key.into())));
        }
    }

    fn pop_expired(&mut self, now_ms: u64) -> Option<Key> {
        let due = self.expiries.peek().is_some_and(|Reverse((at_ms, _))| *at_ms <= now_ms);
        due.then(|| self.expiries.pop()).flatten().map(|Reverse((_, key))| key)
    }
}

/// The pause behind so many failures in a row, in milliseconds.
fn pause_ms(failures: u32) -> u32 {
    let doubled = limits::REMOTE_PAUSE_MS << failures.saturating_sub(1).min(16);
    doubled.min(limits::REMOTE_PAUSE_MS_MAX)
}

impl Shard {
    /// Queues a wish for a key of this shard.
    pub(super) fn note_wish(&self, tier: &RemoteTier, key: Key, wish: Wish) -> Result<(), Refusal> {
        let noted = tier.queue.borrow_mut().note(key, wish);
        self.pump_remote(tier);
        noted
    }

    /// Begins what may begin.
    fn pump_remote(&self, tier: &RemoteTier) {
        let Some(shard) = self.me.upgrade() else { return };
        loop {
            let next = tier.queue.borrow_mut().next();
            let Some((key, wish, stamp)) = next else { break };
            let shard = shard.clone();
            self.reactor.tasks.spawn(async move {
                let tier = shard.remote.as_deref().expect("its queue had a key");
                shard.fulfil(tier, &key, wish, stamp).await;
                shard.pump_remote(tier);
            });
        }
        let pending = tier.queue.borrow().wishes.len();
        self.accounts.meters.remote_pending.set(pending as u64);
    }

    async fn fulfil(&self, tier: &RemoteTier, key: &[u8], wish: Wish, stamp: u64) {
        tier.turns.enter(&self.reactor.tasks, key, || false).await;
        let done = match wish {
            Wish::Save => self.send_version(tier, key).await,
            Wish::Erase => self.erase_version(tier, key, None).await.map(drop),
            Wish::Expire => self
                .erase_version(tier, key, Some(Only::ExpiredBy(Clock::wall_ms())))
                .await
                .map(drop),
        };
        tier.turns.leave(&self.reactor.tasks, key);
        let failures = {
            let mut queue = tier.queue.borrow_mut();
            queue.failures = if done.is_ok() { 0 } else { queue.failures.saturating_add(1) };
            queue.failures
        };
        if failures > 0 {
            self.pause_remote(pause_ms(failures)).await;
            if self.is_draining() {
                let name = String::from_utf8_lossy(key);
                tracing::warn!(key = %name, ?wish, "the remote store was not told before the end");
            }
        }
        tier.queue.borrow_mut().end(key, stamp, failures == 0 || self.is_draining());
    }

    /// A pause that a drain ends.
    async fn pause_remote(&self, ms: u32) {
        let mut left_ms = ms;
        while left_ms > 0 && !self.is_draining() {
            let slice_ms = left_ms.min(limits::REMOTE_PAUSE_MS);
            self.reactor.pause(slice_ms).await;
            left_ms -= slice_ms;
        }
    }

    /// Ends lifetimes that are over, in the store too.
    pub(in crate::shard) fn turn_remote(&self, now_ms: u64) {
        let Some(tier) = self.remote.as_deref() else { return };
        loop {
            let due = tier.queue.borrow_mut().pop_expired(now_ms);
            let Some(key) = due else { return };
            let has_wish = tier.queue.borrow().wishes.contains_key(&key);
            // A full queue leaves it to the next read; whatever else is wished goes first.
            if !has_wish {
                let _ = self.note_wish(tier, key, Wish::Expire);
            }
        }
    }

    /// The next lifetime's end, in milliseconds of the shard's clock.
    pub(in crate::shard) fn remote_deadline(&self) -> Option<u64> {
        let queue = self.remote.as_deref()?.queue.borrow();
        queue.expiries.peek().map(|Reverse((at_ms, _))| *at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        name.as_bytes().into()
    }

    #[test]
    fn a_key_waits_once_and_its_last_wish_counts() {
        let mut queue = Queue::default();
        queue.note(key("a"), Wish::Save).unwrap();
        queue.note(key("b"), Wish::Save).unwrap();
        queue.note(key("a"), Wish::Erase).unwrap();
        assert!(queue.erases(b"a"));
        let (first, wish, stamp) = queue.next().unwrap();
        assert_eq!((&*first, wish), (b"a".as_slice(), Wish::Erase));
        assert!(queue.erases(b"a"), "known until it is done");
        queue.note(key("a"), Wish::Save).unwrap();
        queue.end(b"a", stamp, true);
        assert_eq!(queue.next().unwrap().0, key("b"));
        assert_eq!(queue.next().map(|(key, wish, _)| (key, wish)), Some((key("a"), Wish::Save)));
        assert!(queue.next().is_none());
    }

    #[test]
    fn what_failed_has_another_turn_and_others_wait() {
        let mut queue = Queue::default();
        queue.note(key("a"), Wish::Save).unwrap();
        queue.note(key("b"), Wish::Save).unwrap();
        let (_, _, stamp) = queue.next().unwrap();
        queue.failures = 1;
        assert!(queue.next().is_none(), "one at a time");
        queue.end(b"a", stamp, false);
        assert_eq!(queue.next().unwrap().0, key("b"));
        queue.forget(b"a");
        queue.failures = 0;
        assert!(queue.next().is_none());
        let pauses = [1, 2, 3, 99].map(pause_ms);
        assert_eq!(pauses, [250, 500, 1000, limits::REMOTE_PAUSE_MS_MAX]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut queue = Queue::default();
        for number in 0..limits::REMOTE_PENDING_MAX {
            queue.note(key(&number.to_string()), Wish::Save).unwrap();
        }
        assert_eq!(queue.note(key("x"), Wish::Save), Err(Refusal::RemoteBehind));
        assert_eq!(queue.note(key("0"), Wish::Erase), Ok(()));
    }
}
