//! Versions of own keys: their memory, who holds them, and the owner's side of the lease protocol.
//!
//! A version is current from its publication until it is retired. It stays in the table until
//! then, and for as long as anybody names its memory: holds of this shard, holds of others, its
//! upload.
//!
//! Each `Granted` is a hold of its own and is released on its own; holds of one shard on one
//! version are counted together, and that shard owes one confirmation when the version is recalled.
//!
//! Invariants: a recalled version is never granted as lasting again while it is current; a
//! version's extents are freed exactly once, when its last hold is gone.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits;
use crate::sys::extent::{Extent, GRANULE_BYTES, ShardId};
use crate::sys::wheel::TimerId;

use super::held::Held;
use super::index;
use super::message::{LeaseId, Message, Quality, Reply, UploadId};
use super::object::{Body, Millis, NEVER, Record, Whole};
use super::owner::{Asker, Store};
use super::path;
use super::pipeline::Pipeline;
use super::standing::Standing;

/// One version of an own key. There may be millions, of which most are not read: what only few
/// have is apart.
#[derive(Debug)]
pub(super) struct Version {
    pub record: Arc<Record>,
    /// This shard's hold for the answers that it gives, once there was one.
    pub held: OnceCell<Rc<Held>>,
    busy: Option<Box<Busy>>,
    pub timer: Option<TimerId>,
    /// See [`index::short_hash`].
    pub hash: u32,
    pub standing: Standing,
}

/// What a version has that is leased, that is arriving, or that one of several encoders brought.
#[derive(Debug)]
pub(super) struct Busy {
    pub holders: Vec<Holder>,
    /// Holders that have not confirmed the recall yet.
    pub owed: u32,
    /// The upload that still writes into it.
    pub upload: Option<UploadId>,
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

impl Version {
    fn current(record: Arc<Record>, hash: u64) -> Self {
        Self {
            record,
            held: OnceCell::new(),
            busy: None,
            timer: None,
            hash: index::short_hash(hash),
            standing: Standing::current(),
        }
    }

    /// What only few versions have, to be changed.
    pub fn busy(&mut self) -> &mut Busy {
        self.busy.get_or_insert_default()
    }

    /// Forgets what is as it is with most versions.
    fn calm(&mut self) {
        self.busy.take_if(|busy| busy.is_idle());
    }

    /// Other shards that have holds.
    pub fn holders(&self) -> &[Holder] {
        self.busy.as_ref().map_or(&[], |busy| &busy.holders)
    }

    /// See [`Busy::owed`].
    pub fn owed(&self) -> u32 {
        self.busy.as_ref().map_or(0, |busy| busy.owed)
    }

    /// See [`Busy::upload`].
    pub fn upload(&self) -> Option<UploadId> {
        self.busy.as_ref()?.upload
    }

    /// See [`Busy::pipeline`].
    pub fn pipeline(&self) -> Option<&Arc<Pipeline>> {
        self.busy.as_ref()?.pipeline.as_ref()
    }

    /// See [`Busy::quality`].
    pub fn quality(&self) -> Quality {
        self.busy.as_ref().map_or(Quality::UNKNOWN, |busy| busy.quality)
    }

    /// See [`Busy::heirs`].
    pub fn heirs(&self) -> &[UploadId] {
        self.busy.as_ref().map_or(&[], |busy| &busy.heirs)
    }

    /// Notes who brought it, and how good it is.
    pub fn note_origin(&mut self, pipeline: Option<Arc<Pipeline>>, quality: Quality) {
        if pipeline.is_some() || quality != Quality::UNKNOWN || self.busy.is_some() {
            let busy = self.busy();
            (busy.pipeline, busy.quality) = (pipeline, quality);
        }
    }

    /// Its upload has ended, or is no more than the one that is told.
    pub fn end_upload(&mut self, id: UploadId) {
        if let Some(busy) = &mut self.busy {
            busy.upload.take_if(|upload| *upload == id);
        }
        self.calm();
    }

    /// An upload is no heir any more.
    pub fn remove_heir(&mut self, id: UploadId) {
        if let Some(busy) = &mut self.busy {
            busy.heirs.retain(|heir| *heir != id);
        }
        self.calm();
    }
}

impl Default for Busy {
    fn default() -> Self {
        Self {
            holders: Vec::new(),
            owed: 0,
            upload: None,
            pipeline: None,
            quality: Quality::UNKNOWN,
            heirs: Vec::new(),
        }
    }
}

impl Busy {
    fn is_idle(&self) -> bool {
        self.holders.is_empty()
            && self.upload.is_none()
            && self.pipeline.is_none()
            && self.quality == Quality::UNKNOWN
            && self.heirs.is_empty()
    }

    fn holder(&mut self, shard: ShardId) -> Option<&mut Holder> {
        self.holders.iter_mut().find(|holder| holder.shard == shard)
    }
}

impl Store {
    /// Answers `Fetch`: a hold on the current version. While a change waits for confirmations the
    /// old version is given for the answers that wait for it, and no longer.
    pub(super) fn fetch(&mut self, asker: Asker, key: &[u8], now_ms: Millis) {
        let hash = self.hash.key(key);
        let Some(lease) = self.find_current(hash, key, now_ms) else {
            return self.reply(asker, Reply::Absent);
        };
        let own = asker.shard == self.id;
        let version = self.versions.at_mut(lease.version).expect("the table holds versions alive");
        version.record.heat.warm();
        if own {
            version.standing.hold();
        } else if let Some(holder) = version.busy().holder(asker.shard) {
            holder.holds += 1;
        } else {
            version.busy().holders.push(Holder { shard: asker.shard, holds: 1, owes: false });
            self.statistics.leases_granted += 1;
        }
        let (record, lasting) =
            (Arc::clone(&version.record), !version.standing.is_recalled() && !own);
        self.statistics.grants_total += 1;
        self.reply(asker, Reply::Granted { lease, record, lasting });
    }

    /// Makes `record` the current version of its key, which has none at the moment.
    pub(super) fn publish(&mut self, record: Arc<Record>, upload: Option<UploadId>) -> u32 {
        let hash = self.hash.key(record.key());
        let expires_ms = record.expires_ms;
        let mut version = Version::current(Arc::clone(&record), hash);
        if upload.is_some() {
            version.busy().upload = upload;
        }
        let (place, _) = self.versions.insert(version);
        if expires_ms != NEVER {
            let timer = self.wheel.insert(expires_ms, place);
            self.versions.at_mut(place).expect("just let in").timer = Some(timer);
        }
        let is_internal = path::is_internal(record.key());
        if !is_internal
            && let Some(gap_ms) = self.folders.note_publication(record.key(), record.stored_ms)
            && self.gaps_ms.len() < limits::GAPS_MAX
        {
            self.gaps_ms.push(gap_ms);
        }
        debug_assert!(!self.folders.is_folder(record.key()));
        self.folders.put_object(place, &self.versions);
        self.statistics.objects += u64::from(!is_internal);
        self.statistics.growing += u64::from(record.whole().is_none());
        self.statistics.object_bytes += record.whole().map_or(0, Whole::bytes_here);
        self.index.put_own(hash, place, &self.versions);
        self.tell_watchers(record.key());
        place
    }

    /// Takes a current version from its key. Its holders are told, so that they let go of its
    /// memory; whether that must be waited for is the caller's matter.
    pub(super) fn retire(&mut self, place: u32) {
        let generation = self.versions.generation(place);
        let lease = LeaseId { version: place, generation };
        let version = self.versions.at_mut(place).expect("a current version is in the table");
        assert!(version.standing.is_current());
        version.standing.retire();
        let (record, held) = (Arc::clone(&version.record), version.held.take());
        if held.is_none() {
            version.standing.hold();
        }
        if let Some(timer) = version.timer.take() {
            self.wheel.cancel(timer);
        }
        self.folders.remove_object(place, &self.versions);
        self.statistics.objects -= u64::from(!path::is_internal(record.key()));
        self.statistics.growing -= u64::from(record.whole().is_none());
        self.statistics.object_bytes -= record.whole().map_or(0, Whole::bytes_here);
        self.statistics.pinned_versions += 1;
        self.statistics.pinned_bytes += held_bytes(&record);
        self.statistics.unread_total += u64::from(record.heat.is_ahead());
        self.recall(place);
        self.index.remove_own(self.hash.key(record.key()), place);
        if held.is_none() {
            // What nobody here has read goes the way of what was read.
            self.index.release(self.id, lease);
        }
        self.stir(record.key());
    }

    /// Like [`Store::retire`] for a growing version that broke off or was superseded: the cut is
    /// seen on every shard at once, so that nobody has to be waited for.
    pub(super) fn retire_cut(&mut self, place: u32) {
        let version = self.versions.at(place).expect("a current version is in the table");
        let (record, upload) = (Arc::clone(&version.record), version.upload());
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
        if version.standing.recall() {
            return;
        }
        let Some(busy) = &mut version.busy else { return };
        for holder in &mut busy.holders {
            holder.owes = true;
            busy.owed += 1;
            self.statistics.recalls_total += 1;
            self.outbox.push_back((holder.shard, Message::Recall { lease }));
        }
    }

    /// A holder will give no new answer from the version.
    pub(super) fn confirmed(&mut self, from: ShardId, lease: LeaseId) {
        let Some(version) = self.versions.find(lease.version, lease.generation) else { return };
        let holder = version.busy.as_mut().and_then(|busy| busy.holder(from));
        let Some(holder) = holder else { return };
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
            version.standing.let_go();
        } else if let Some(at) = version.holders().iter().position(|other| other.shard == from) {
            let holders = &mut version.busy().holders;
            holders[at].holds -= 1;
            if holders[at].holds == 0 {
                let holder = holders.swap_remove(at);
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
        let busy = version.busy();
        busy.owed -= 1;
        let is_paid = busy.owed == 0;
        if is_paid && version.standing.is_current() {
            let record = Arc::clone(&version.record);
            self.stir(record.key());
        }
    }

    /// Frees the version's memory if nobody names it any more.
    pub(super) fn reap(&mut self, place: u32) {
        let Some(version) = self.versions.at_mut(place) else { return };
        version.calm();
        let is_held = version.standing.is_held() || !version.holders().is_empty();
        if version.standing.is_current() || is_held || version.upload().is_some() {
            return;
        }
        let version = self.versions.remove(place).expect("found above");
        self.statistics.pinned_versions -= 1;
        self.statistics.pinned_bytes -= held_bytes(&version.record);
        extents(&version.record).for_each(|extent| self.space.free(extent));
    }
}

/// The extents that a version's record names, whatever its state.
pub(super) fn extents(record: &Record) -> impl Iterator<Item = Extent> + '_ {
    let whole = record.whole().map(|whole| whole.extents().iter().copied());
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

#[cfg(test)]
mod tests {
    use super::Version;

    /// Every object has one, and a place in the table for it.
    #[test]
    fn a_version_is_small() {
        assert_eq!(size_of::<Option<Version>>(), 48);
    }
}
