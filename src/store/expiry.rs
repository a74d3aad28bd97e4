//! Objects whose time is over, and room.
//!
//! An expired object is absent on every shard at its very millisecond, since everybody looks at
//! the instant. The sweep only gives the memory back: it takes the entry away and recalls the
//! leases, without anybody waiting, so that holders that never look again let go as well.
//!
//! Invariants: a sweep's work is bounded by its budget; nothing unexpired gives way to anything,
//! except what the disk has too, and what its path lets go.

use crate::limits;
use crate::sys::extent::Extent;

use super::event::Kind;
use super::object::Millis;
use super::owner::Store;

impl Store {
    /// Takes at most `budget` expired objects away; returns how many. Zero does not mean that none
    /// is left: [`Store::next_deadline`] tells.
    pub fn sweep_expired(&mut self, now_ms: Millis, budget: usize) -> usize {
        let swept = self.sweep(now_ms, budget);
        self.prune_watches(now_ms);
        self.settle(now_ms);
        swept
    }

    /// When [`Store::sweep_expired`] should run next.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.wheel.next_deadline()
    }

    /// Like [`Store::sweep_expired`], within another step.
    pub(super) fn sweep(&mut self, now_ms: Millis, budget: usize) -> usize {
        let mut swept = 0;
        while swept < budget {
            let Some(place) = self.wheel.pop_expired(now_ms) else { break };
            self.versions.at_mut(place).expect("a retired version has no timer").timer = None;
            self.expire(place);
            swept += 1;
        }
        swept
    }

    /// Takes an expired or cut version away. The upload of a growing one goes on and will be
    /// acknowledged: its object was there and its time was over.
    pub(super) fn expire(&mut self, place: u32) {
        if let Some(version) = self.versions.at(place) {
            let is_looked_at_again = version.record.is_in_chunks();
            self.statistics.expired_total += u64::from(!is_looked_at_again);
            self.events.note(Kind::Expired, &version.record);
        }
        self.retire(place);
    }

    /// Room for `bytes` bytes, if need be by sweeping what has expired.
    pub(super) fn allot(&mut self, bytes: u64, now_ms: Millis) -> Option<Vec<Extent>> {
        // Free memory comes in pieces: more may have to go than is asked for, but not everything.
        let mut evictable = 4 * bytes + u64::from(self.space.slot_bytes());
        loop {
            if let Some(extents) = self.space.allot(bytes) {
                return Some(extents);
            }
            let swept = self.sweep(now_ms, limits::SWEEP_PER_TURN);
            self.work_off_released();
            if swept > 0 {
                continue;
            }
            let evicted = self.evict(bytes.min(evictable));
            self.work_off_released();
            evictable = evictable.saturating_sub(evicted);
            if evicted > 0 {
                continue;
            }
            if self.wheel.next_deadline().is_none_or(|next_ms| next_ms > now_ms) {
                self.statistics.full_total += 1;
                return None;
            }
        }
    }
}
