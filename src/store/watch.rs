//! Who waits for the next version of an own key: at most one entry a shard, however many readers
//! wait there.
//!
//! A watch names the version that the watcher knows. When the key's current version is another
//! one, now or by a later publication, the watcher is told once and the watch ends; a deletion is
//! nothing to wait for and tells nobody. A watch that nobody renews ends by its time, or when the
//! watcher says that nobody waits there any more.
//!
//! Invariants: a publication after the watch was sent is never missed; a shard bounds the watches
//! that it sends ([`limits::WATCHES_MAX`]), so the entries here are bounded too.

use hashbrown::HashMap;

use crate::limits;
use crate::sys::extent::ShardId;

use super::message::{LeaseId, Message};
use super::object::Millis;
use super::owner::Store;

/// Watches by key: who, and until when.
#[derive(Default)]
pub(super) struct Watches {
    watched: HashMap<Box<[u8]>, Vec<(ShardId, Millis)>>,
    pruned_ms: Millis,
}

impl Store {
    /// Shard `from` waits for a version of `key` other than `seen`.
    pub(super) fn watch(
        &mut self,
        from: ShardId,
        key: Box<[u8]>,
        seen: Option<LeaseId>,
        until_ms: Millis,
        now_ms: Millis,
    ) {
        let hash = self.hash.key(&key);
        let current = self.find_current(hash, &key, now_ms);
        if current.is_some() && current != seen {
            self.outbox.push_back((from, Message::Changed { key }));
            return;
        }
        let watchers = self.watches.watched.entry(key).or_default();
        match watchers.iter_mut().find(|(shard, _)| *shard == from) {
            Some(watcher) => watcher.1 = watcher.1.max(until_ms),
            None => watchers.push((from, until_ms)),
        }
    }

    /// Nobody waits for `key` on shard `from` any more.
    pub(super) fn unwatch(&mut self, from: ShardId, key: &[u8]) {
        let Some(watchers) = self.watches.watched.get_mut(key) else { return };
        watchers.retain(|&(shard, _)| shard != from);
        if watchers.is_empty() {
            self.watches.watched.remove(key);
        }
    }

    /// A new version of `key` is current: whoever waits for it is told.
    pub(super) fn tell_watchers(&mut self, key: &[u8]) {
        if self.watches.watched.is_empty() {
            return;
        }
        for (shard, _) in self.watches.watched.remove(key).into_iter().flatten() {
            self.outbox.push_back((shard, Message::Changed { key: key.into() }));
        }
    }

    /// Forgets watches whose time is over, now and then.
    pub(super) fn prune_watches(&mut self, now_ms: Millis) {
        let watches = &mut self.watches;
        if watches.watched.is_empty() || now_ms < watches.pruned_ms + limits::WATCHES_PRUNE_MS {
            return;
        }
        watches.pruned_ms = now_ms;
        watches.watched.retain(|_, watchers| {
            watchers.retain(|&(_, until_ms)| until_ms > now_ms);
            !watchers.is_empty()
        });
    }

    /// Keys that are watched.
    pub(super) fn watched(&self) -> usize {
        self.watches.watched.len()
    }
}
