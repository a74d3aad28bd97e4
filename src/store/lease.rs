//! The holder's side of leases: what this shard holds of other shards' versions.
//!
//! A grant becomes a hold; a lasting one also becomes the key's entry in the hot table. A recall
//! takes the entry away and is confirmed at once, whatever answers are still leaving; each hold is
//! released on its own when its last pin is gone. A recall of something that this shard no longer
//! holds is confirmed too: an ask may be under way whose (passing) grant the owner counts already.
//!
//! Invariants: after a confirmation no new answer uses the version; every grant is released once.

use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::sys::extent::ShardId;

use super::held::Held;
use super::message::{LeaseId, Message};
use super::object::{Millis, Record};
use super::owner::Store;

/// Holds on other shards' versions by owner and name.
pub(super) struct Holdings {
    held: HashMap<(ShardId, LeaseId), Holding>,
}

struct Holding {
    /// Of the version's key.
    hash: u64,
    /// Living [`Held`] of this version; at least one.
    holds: u32,
}

impl Holdings {
    pub fn new() -> Self {
        Self { held: HashMap::new() }
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }
}

impl Store {
    /// Turns a `Reply::Granted` of shard `owner` into a hold; a lasting one also answers later
    /// look-ups. To be called before the next message of that owner is handed over; whoever has no
    /// use for the hold drops it.
    pub fn granted(
        &mut self,
        owner: ShardId,
        lease: LeaseId,
        record: Arc<Record>,
        lasting: bool,
        now_ms: Millis,
    ) -> Rc<Held> {
        let hash = self.hash.key(record.key());
        if let Some(entry) = self.index.held(hash, owner, lease, &self.versions) {
            // Two of this shard's asks crossed: the entry serves both, the second grant goes back.
            self.releasing.push((owner, lease));
            if owner != self.id {
                self.holdings.held.get_mut(&(owner, lease)).expect("the entry is a hold").holds +=
                    1;
            }
            self.settle(now_ms);
            return entry;
        }
        let held = self.index.hold(hash, owner, lease, record);
        held.touch();
        if owner == self.id {
            return held;
        }
        let fresh = Holding { hash, holds: 0 };
        self.holdings.held.entry((owner, lease)).or_insert(fresh).holds += 1;
        if lasting && !held.record.is_gone(now_ms) {
            let evicted = self.index.put(&held, &self.versions);
            self.statistics.evictions_total += u64::from(evicted);
            self.settle(now_ms);
        }
        held
    }

    /// The owner wants no new answer to use the version.
    pub(super) fn recalled(&mut self, owner: ShardId, lease: LeaseId) {
        if let Some(holding) = self.holdings.held.get(&(owner, lease)) {
            // An entry without pins is dropped here and its release follows the confirmation.
            self.index.remove(holding.hash, owner, lease);
        }
        self.outbox.push_back((owner, Message::Confirm { lease }));
    }

    /// Passes on every hold that nobody uses any more.
    pub(super) fn work_off_released(&mut self) {
        let mut list = std::mem::take(&mut self.releasing);
        self.index.take_released(&mut list);
        for (owner, lease) in list.drain(..) {
            if owner == self.id {
                self.let_go(owner, lease);
                continue;
            }
            let holding = self.holdings.held.get_mut(&(owner, lease));
            let holding = holding.expect("every hold is counted until it is released");
            holding.holds -= 1;
            if holding.holds == 0 {
                self.holdings.held.remove(&(owner, lease));
            }
            self.outbox.push_back((owner, Message::Release { lease }));
        }
        self.releasing = list;
    }
}
