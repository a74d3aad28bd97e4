//! Versions of own keys: their memory, who holds them, and the owner's side of the lease protocol.
//!
//! A version is current from its publication until it is retired. It stays in the table for as
//! long as anybody names its memory: this shard's holds, other shards' holds, its upload.
//!
//! Each `Granted` is a hold of its own and is released on its own; holds of one shard on one
//! version are counted together, and that shard owes one confirmation when the version is recalled.
//!
//! Invariants: a recalled version is never granted as lasting again while it is current; a
//! version's extents are freed exactly once, when its last hold is gone.

use std::sync::Arc;

use crate::limits;
use crate::sys::extent::{Extent, GRANULE_BYTES, ShardId};
use crate::sys::wheel::TimerId;

use super::message::{LeaseId, Message, Quality, Reply, UploadId};
use super::object::{Body, Millis, NEVER, Record, Whole};
use super::owner::{Asker, Store};
use super::path;
use super::pipeline::Pipeline;

/// One version of an own key.
#[derive(Debug)]
pub(super) struct Version {
    pub record: Arc<Record>,
    pub hash: u64,
    /// Whether the key's entry names it.
    pub current: bool,
    /// Holds of this shard: the table's and those of answers under way.
    pub local: u32,
    pub holders: Vec<Holder>,
    /// Holders that have not confirmed the recall yet.
    pub owed: u32,
    pub recalled: bool,
    /// The upload that still writes into it.
    pub upload: Option<UploadId>,
    pub timer: Option<TimerId>,
    /// The disk has it too.
    pub backed: bool,
    /// Which of several encoders brought it.
    pub pipeline: Option<Arc<Pipeline>>,
    /// How good it is.
    pub quality: Quality,
    /// Uploads of other pipelines that go on with it if its own breaks off.
    pub heirs: Vec<UploadId>,
}

/// Another shard's holds on a version.
#[derive(Debug)]
pub(super) struct Holder {
    shard: ShardId,
    /// At least one.
    holds: u32,
    /// Whether the shard owes a confirmation.
    owes: bool,
}

impl Store {
    /// Answers `Fetch`: a hold on the current version. While a change waits for confirmations the
    /// old version is given for the answers that wait for it, and no longer.
    pub(super) fn fetch(&mut self, asker: Asker, key: &[u8], now_ms: Millis) {
        let hash = self.hash.key(key);
        let lease = match self.index.lookup(hash, key, now_ms) {
            Some(held) if held.owner() == self.id => held.lease(),
            _ => return self.reply(asker, Reply::Absent),
        };
        let own = asker.shard == self.id;
        let version = self.versions.at_mut(lease.version).expect("the table holds versions alive");
        if own {
            version.local += 1;
        } else if let Some(holder) = find_holder(&mut version.holders, asker.shard) {
            holder.holds += 1;
        } else {
            version.holders.push(Holder { shard: asker.shard, holds: 1, owes: false });
            self.statistics.leases_granted += 1;
        }
        let (record, lasting) = (Arc::clone(&version.record), !version.recalled && !own);
        self.statistics.grants_total += 1;
        self.reply(asker, Reply::Granted { lease, record, lasting });
    }

    /// Makes `record` the current version of its key, which has none at the moment.
    pub(super) fn publish(&mut self, record: Arc<Record>, upload: Option<UploadId>) -> u32 {
        let hash = self.hash.key(&record.key);
        let expires_ms = record.expires_ms;
        let (place, generation) = self.versions.insert(Version {
            record: Arc::clone(&record),
            hash,
            current: true,
            local: 1,
            holders: Vec::new(),
            owed: 0,
            recalled: false,
            upload,
            timer: None,
            backed: false,
            pipeline: None,
            quality: Quality::UNKNOWN,
            heirs: Vec::new(),
        });
        if expires_ms != NEVER {
            let timer = self.wheel.insert(expires_ms, place);
            self.versions.at_mut(place).expect("just let in").timer = Some(timer);
        }
        let is_internal = path::is_internal(&record.key);
        if !is_internal
            && let Some(gap_ms) = self.folders.note_publication(&record.key, record.stored_ms)
            && self.gaps_ms.len() < limits::GAPS_MAX
        {
            self.gaps_ms.push(gap_ms);
        }
        let child = self.folders.child_mut(&record.key).expect("a change keeps its place");
        debug_assert!(child.object.is_none() && !child.folder);
        child.object = Some(place);
        self.statistics.objects += u64::from(!is_internal);
        self.statistics.growing += u64::from(record.whole().is_none());
        self.statistics.object_bytes += record.whole().map_or(0, Whole::bytes_here);
        let held = self.index.hold(hash, self.id, LeaseId { version: place, generation }, record);
        self.index.put(&held);
        self.tell_watchers(&held.record.key);
        place
    }

    /// Takes a current version from its key. Its holders are told, so that they let go of its
    /// memory; whether that must be waited for is the caller's matter.
    pub(super) fn retire(&mut self, place: u32) {
        let generation = self.versions.generation(place);
        let lease = LeaseId { version: place, generation };
        let version = self.versions.at_mut(place).expect("a current version is in the table");
        assert!(version.current);
        version.current = false;
        let (record, hash) = (Arc::clone(&version.record), version.hash);
        if let Some(timer) = version.timer.take() {
            self.wheel.cancel(timer);
        }
        let child = self.folders.child_mut(&record.key).expect("an object keeps its place");
        debug_assert_eq!(child.object, Some(place));
        child.object = None;
        self.statistics.objects -= u64::from(!path::is_internal(&record.key));
        self.statistics.growing -= u64::from(record.whole().is_none());
        self.statistics.object_bytes -= record.whole().map_or(0, Whole::bytes_here);
        self.statistics.pinned_versions += 1;
        self.statistics.pinned_bytes += held_bytes(&record);
        self.recall(place);
        let held = self.index.remove(hash, self.id, lease);
        debug_assert!(held.is_some(), "a current version is in the hot table");
        self.stir(&record.key);
    }

    /// Like [`Store::retire`] for a growing version that broke off or was superseded: the cut is
    /// seen on every shard at once, so that nobody has to be waited for.
    pub(super) fn retire_cut(&mut self, place: u32) {
        let version = self.versions.at(place).expect("a current version is in the table");
        let (record, upload) = (Arc::clone(&version.record), version.upload);
        self.retire(place);
        let Body::Growing(growing) = &record.body else { return };
        growing.cut();
        self.nudge(growing);
        if let Some(upload) = upload.and_then(|id| self.upload(id)) {
            upload.superseded = true;
        }
    }

    /// Stops granting the version as lasting and asks every holder to confirm, once.
    pub(super) fn recall(&mut self, place: u32) {
        let generation = self.versions.generation(place);
        let lease = LeaseId { version: place, generation };
        let version = self.versions.at_mut(place).expect("only living versions are recalled");
        if std::mem::replace(&mut version.recalled, true) {
            return;
        }
        for holder in &mut version.holders {
            holder.owes = true;
            version.owed += 1;
            self.statistics.recalls_total += 1;
            self.outbox.push_back((holder.shard, Message::Recall { lease }));
        }
    }

    /// A holder will give no new answer from the version.
    pub(super) fn confirmed(&mut self, from: ShardId, lease: LeaseId) {
        let Some(version) = self.versions.find(lease.version, lease.generation) else { return };
        let Some(holder) = find_holder(&mut version.holders, from) else { return };
        if std::mem::replace(&mut holder.owes, false) {
            self.debt_paid(lease.version);
        }
    }

    /// A hold of shard `from`, which may be this one, is gone.
    pub(super) fn let_go(&mut self, from: ShardId, lease: LeaseId) {
        let own = from == self.id;
        let Some(version) = self.versions.find(lease.version, lease.generation) else {
            debug_assert!(false, "a version outlives its holds");
            return;
        };
        if own {
            version.local -= 1;
        } else if let Some(at) = version.holders.iter().position(|holder| holder.shard == from) {
            version.holders[at].holds -= 1;
            if version.holders[at].holds == 0 {
                let holder = version.holders.swap_remove(at);
                self.statistics.leases_granted -= 1;
                if holder.owes {
                    self.debt_paid(lease.version);
                }
            }
        }
        self.reap(lease.version);
    }

    fn debt_paid(&mut self, place: u32) {
        let version = self.versions.at_mut(place).expect("the caller found it");
        version.owed -= 1;
        if version.owed == 0 && version.current {
            let record = Arc::clone(&version.record);
            self.stir(&record.key);
        }
    }

    /// Frees the version's memory if nobody names it any more.
    pub(super) fn reap(&mut self, place: u32) {
        let Some(version) = self.versions.at(place) else { return };
        if version.local > 0 || !version.holders.is_empty() || version.upload.is_some() {
            return;
        }
        assert!(!version.current, "the table holds a current version");
        let version = self.versions.remove(place).expect("found above");
        self.statistics.pinned_versions -= 1;
        self.statistics.pinned_bytes -= held_bytes(&version.record);
        extents(&version.record).for_each(|extent| self.space.free(extent));
    }
}

/// The extents that a version's record names, whatever its state.
pub(super) fn extents(record: &Record) -> impl Iterator<Item = Extent> + '_ {
    let whole = record.whole().map(|whole| whole.extents.iter().copied());
    let first = match &record.body {
        Body::Growing(growing) => Some(growing),
        Body::Whole(_) => None,
    };
    // What broke off and was gone on with stays for its readers.
    let uploads = std::iter::successors(first, |growing| growing.successor());
    let is_whole = whole.is_some();
    let arriving = uploads
        .filter(move |growing| !is_whole || growing.successor().is_some())
        .flat_map(|growing| (0..).map_while(|index| growing.extent(index)));
    whole.into_iter().flatten().chain(arriving)
}

/// Bytes of the arena that a version occupies.
pub(super) fn held_bytes(record: &Record) -> u64 {
    extents(record).map(|extent| u64::from(extent.len.next_multiple_of(GRANULE_BYTES))).sum()
}

fn find_holder(holders: &mut [Holder], shard: ShardId) -> Option<&mut Holder> {
    holders.iter_mut().find(|holder| holder.shard == shard)
}
