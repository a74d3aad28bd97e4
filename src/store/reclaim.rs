//! Memory given back by versions that the disk has too, and then by those whose path lets them go.
//!
//! A victim that no other shard holds goes at once; one that is leased waits, as a change of its
//! key, until every holder has confirmed: otherwise a shard could go on answering from it after
//! the key's next version was acknowledged.
//!
//! Invariants: what only memory has is evicted only where its path says so, the oldest first, and
//! after everything that the disk has; one call evicts a bounded number of bytes.

use crate::limits;

use super::change::Change;
use super::event::Kind;
use super::eviction::Entry;
use super::index::KeyHash;
use super::message::LeaseId;
use super::object::Millis;
use super::owner::Store;
use super::version::{Version, held_bytes};

impl Store {
    /// Notes that the disk has the version too: it may be evicted from now on.
    pub fn note_backed(&mut self, lease: LeaseId) {
        let Some(version) = self.versions.find(lease.version, lease.generation) else { return };
        if version.standing.back() || !version.standing.is_current() {
            return;
        }
        let entry = Self::entry(self.hash, lease, version);
        self.prune_queues();
        self.eviction.admit(entry);
    }

    /// Notes that the path of a current version lets it go when memory is full.
    pub(super) fn note_gives_way(&mut self, place: u32) {
        let lease = LeaseId { version: place, generation: self.versions.generation(place) };
        let Some(version) = self.versions.at(place) else { return };
        let entry = Self::entry(self.hash, lease, version);
        self.prune_queues();
        self.eviction.admit_yielding(entry);
    }

    fn entry(hash: KeyHash, lease: LeaseId, version: &Version) -> Entry {
        let record = &version.record;
        Entry { lease, hash: hash.key(record.key()), bytes: held_bytes(record) }
    }

    /// Forgets versions that are gone, when they are the most.
    fn prune_queues(&mut self) {
        if self.eviction.len() > 3 * self.versions.len() + EVICTION_SLACK {
            let versions = &self.versions;
            self.eviction.prune(|lease| {
                versions.at(lease.version).is_some_and(|version| version.standing.is_current())
                    && versions.generation(lease.version) == lease.generation
            });
        }
    }

    /// Whether the disk has the version too.
    pub fn is_backed(&self, lease: LeaseId) -> bool {
        let version = self.versions.at(lease.version);
        version.is_some_and(|version| version.standing.is_backed())
            && self.versions.generation(lease.version) == lease.generation
    }

    /// Evicts, for another shard that finds no memory, so much that a slot may come free.
    pub fn reclaim(&mut self, now_ms: Millis) {
        self.evict(2 * u64::from(self.space.slot_bytes()));
        self.settle(now_ms);
    }

    /// Begins to evict `bytes` bytes; returns how many of them are on their way out.
    pub(super) fn evict(&mut self, bytes: u64) -> u64 {
        let mut evicted = 0;
        for _ in 0..limits::EVICTIONS_MAX {
            if evicted >= bytes {
                break;
            }
            let versions = &self.versions;
            let heat = |lease: LeaseId| {
                let version = versions.at(lease.version)?;
                let lives = versions.generation(lease.version) == lease.generation;
                (lives && version.standing.is_current()).then_some(&version.record.heat)
            };
            let backed = self.eviction.next(heat).map(|entry| (entry, false));
            let oldest = || {
                let lives = |lease| heat(lease).is_some();
                self.eviction.oldest(lives).map(|entry| (entry, true))
            };
            let Some((entry, yields)) = backed.or_else(oldest) else { break };
            if self.evict_version(entry, yields) {
                evicted += entry.bytes;
                self.statistics.evicted_total += 1;
                self.statistics.evicted_bytes_total += entry.bytes;
            }
        }
        evicted
    }

    /// Notes the end of an object that only memory had.
    pub(super) fn note_evicted(&mut self, place: u32) {
        let Some(version) = self.versions.at(place) else { return };
        if !version.standing.is_backed() {
            self.events.note(Kind::Expired, &version.record);
        }
    }

    /// Has a version that the disk has too leave memory now, since the disk may have another.
    pub fn forget(&mut self, lease: LeaseId, now_ms: Millis) {
        let Some(version) = self.versions.find(lease.version, lease.generation) else { return };
        if !version.standing.is_current() || !version.standing.is_backed() {
            return;
        }
        let record = version.record.clone();
        let work = self.folders.begin_work(record.key());
        work.changes.push(Change::Evict { lease }, &mut self.spare_queues);
        self.stir(record.key());
        self.settle(now_ms);
    }

    fn evict_version(&mut self, entry: Entry, yields: bool) -> bool {
        let version = self.versions.at(entry.lease.version).expect("the queue saw it alive");
        let (record, is_leased) = (version.record.clone(), !version.holders().is_empty());
        let work = self.folders.work(record.key());
        if work.is_some_and(|work| !work.changes.is_empty()) {
            match yields {
                true => self.eviction.admit_yielding(entry),
                false => self.eviction.put_back(entry),
            }
            return false;
        }
        if is_leased {
            let work = self.folders.begin_work(record.key());
            work.changes.push(Change::Evict { lease: entry.lease }, &mut self.spare_queues);
            self.stir(record.key());
        } else {
            self.note_evicted(entry.lease.version);
            self.retire(entry.lease.version);
        }
        true
    }
}

const EVICTION_SLACK: usize = 64;
