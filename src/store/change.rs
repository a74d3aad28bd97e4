//! Changes of a key, one after another.
//!
//! A change is judged when its turn comes. When it replaces a complete object that other shards
//! may answer from, it recalls their leases and waits; meanwhile this shard still answers from the
//! old version and gives it out for single use. Only when every holder has confirmed does the
//! change take effect and is answered, within one step.
//!
//! Nobody is waited for when the old version has expired or is still growing: holders look at the
//! expiry instant and at the cut themselves, which all shards see at once.
//!
//! Invariants: at most one change of a key has leases recalled; no change overtakes another.

use std::sync::Arc;

use crate::limits;

use super::event::Kind;
use super::guard;
use super::message::{Guard, LeaseId, Publication, Refusal, Reply, UploadId};
use super::object::{Body, Extents, Millis, Record};
use super::owner::{Asker, Store};
use super::pipeline::Verdict;

/// A change that waits for its turn or for confirmations.
#[derive(Debug)]
pub(super) enum Change {
    /// A streaming upload: takes the key at once where nothing of value is there.
    Open { asker: Asker, upload: UploadId, record: Arc<Record>, aside_only: bool },
    /// A complete upload.
    Commit { asker: Asker, upload: UploadId, publication: Publication },
    /// The key is to be absent.
    Delete { asker: Asker, guard: Guard },
    /// This version gives way: the disk has it too, or its path says so.
    Evict { lease: LeaseId },
}

/// What the change at the head of a queue can do now.
enum Step {
    Refuse(Reply),
    /// Replace this version, which others may still answer from.
    Recall(u32),
    /// Take effect; the version, if any, goes.
    Apply(Option<u32>),
    /// A streaming upload that has to be atomic.
    Defer,
    /// The same while another pipeline's is arriving, which it may go on with.
    Aside(u32),
    /// A complete upload goes on with what another pipeline's left.
    Inherit(u32),
}

/// What an upload comes to where `record` stays: it is acknowledged if it brings the same bytes,
/// which its tag tells.
fn keep(change: &Change, record: &Record) -> Step {
    match change {
        Change::Open { .. } => Step::Defer,
        Change::Commit { publication, .. } if *publication.etag == *record.etag() => {
            Step::Refuse(Reply::Committed { created: false })
        }
        _ => Step::Refuse(Reply::Refused(Refusal::Immutable)),
    }
}

impl Store {
    /// Answers `Delete`, in the key's turn.
    pub(super) fn delete(&mut self, asker: Asker, key: Box<[u8]>, guard: Guard) {
        if self.object(&key).is_none() && self.folders.work(&key).is_none() {
            return self.reply(asker, Reply::Absent);
        }
        let work = self.folders.begin_work(&key);
        if work.changes.len() >= limits::CHANGES_WAITING_MAX {
            return self.refuse(asker, Refusal::Busy);
        }
        work.changes.push(Change::Delete { asker, guard }, &mut self.spare_queues);
        self.stir(&key);
    }

    /// Runs the key's changes for as long as none has to wait.
    pub(super) fn proceed(&mut self, key: &[u8], now_ms: Millis) {
        while let Some(step) = self.step(key, now_ms) {
            if let Step::Recall(place) = step {
                self.recall(place);
                if self.versions.at(place).is_some_and(|version| version.owed() > 0) {
                    return;
                }
            }
            let work = self.folders.work_mut(key).expect("a change is work");
            let change = work.changes.pop().expect("a step is that of a change");
            match step {
                Step::Refuse(reply) => self.refuse_change(change, reply),
                Step::Recall(place) => self.apply(change, Some(place), now_ms),
                Step::Apply(place) => self.apply(change, place, now_ms),
                Step::Defer => self.begun(change, None),
                Step::Aside(place) => self.begun(change, Some(place)),
                Step::Inherit(place) => {
                    if let Change::Commit { asker, upload, publication } = change {
                        self.inherit(asker, upload, publication, place);
                    }
                }
            }
        }
        self.tidy(key);
    }

    /// The current version of `key`, gone or not.
    pub(super) fn object(&self, key: &[u8]) -> Option<u32> {
        self.index.own(self.hash.key(key), key, &self.versions)
    }

    /// The version of `key` that is there at `now_ms`.
    pub(super) fn current(&self, key: &[u8], now_ms: Millis) -> Option<u32> {
        let place = self.object(key)?;
        (!self.is_gone(place, now_ms)).then_some(place)
    }

    /// Whether no new answer may use the version at `place`.
    pub(super) fn is_gone(&self, place: u32, now_ms: Millis) -> bool {
        self.versions.at(place).is_none_or(|version| version.record.is_gone(now_ms))
    }

    pub(super) fn version_etag(&self, place: u32) -> &[u8] {
        self.versions.at(place).expect("current versions are in the table").record.etag()
    }

    /// Judges the change whose turn it is, also again after every wait.
    fn step(&self, key: &[u8], now_ms: Millis) -> Option<Step> {
        let change = self.folders.work(key)?.changes.first()?;
        let (folder, object) = (self.folders.is_folder(key), self.object(key));
        let current = object.filter(|&place| {
            let version = self.versions.at(place).expect("current versions are in the table");
            !version.record.is_gone(now_ms)
        });
        let etag = current.map(|place| self.version_etag(place));
        let guard = match change {
            Change::Open { upload, .. } | Change::Commit { upload, .. } => {
                &self.uploads.at(upload.place).expect("a queued upload stays").guard
            }
            Change::Delete { guard, .. } => guard,
            Change::Evict { lease } => {
                let is_named = |&place: &u32| {
                    place == lease.version && self.versions.generation(place) == lease.generation
                };
                let victim = current.filter(is_named);
                return Some(victim.map_or(Step::Refuse(Reply::Absent), Step::Recall));
            }
        };
        let is_delete = matches!(change, Change::Delete { .. });
        if is_delete && current.is_none() {
            return Some(Step::Refuse(Reply::Absent));
        }
        if folder {
            return Some(Step::Refuse(Reply::Refused(Refusal::Conflict)));
        }
        if !guard::allowed(guard, etag) {
            return Some(Step::Refuse(Reply::Refused(Refusal::Precondition)));
        }
        if let Change::Commit { upload, publication, .. } = change {
            match self.judge_pipeline(*upload, publication, current, now_ms) {
                Verdict::Write => {}
                Verdict::Wait => return None,
                Verdict::Inherit(place) => return Some(Step::Inherit(place)),
                Verdict::Keep { same } => {
                    let etag = etag.expect("something is kept").into();
                    return Some(Step::Refuse(Reply::Kept { etag, same }));
                }
            }
        }
        // What is gone is gone on every shard, whatever leases are out: nobody is waited for.
        let aside_only = matches!(change, Change::Open { aside_only: true, .. });
        let Some(place) = current else {
            return Some(if aside_only { Step::Defer } else { Step::Apply(object) });
        };
        let record = &self.versions.at(place).expect("current versions are in the table").record;
        if guard.immutable && !is_delete && !record.is_empty_probe() {
            return Some(keep(change, record));
        }
        if record.is_arriving() {
            if let Change::Open { upload, .. } = change
                && self.finds_another(*upload, place)
            {
                return Some(Step::Aside(place));
            }
            return Some(if aside_only { Step::Defer } else { Step::Apply(object) });
        }
        if matches!(change, Change::Open { .. }) && (aside_only || !record.is_empty_probe()) {
            return Some(Step::Defer);
        }
        Some(Step::Recall(place))
    }

    fn refuse_change(&mut self, change: Change, reply: Reply) {
        if let Reply::Kept { same, .. } = reply {
            self.statistics.copies_same_total += u64::from(same);
            self.statistics.copies_other_total += u64::from(!same);
        }
        let asker = match change {
            Change::Open { asker, upload, .. } | Change::Commit { asker, upload, .. } => {
                self.end_upload(upload);
                asker
            }
            Change::Delete { asker, .. } => asker,
            Change::Evict { .. } => return,
        };
        self.reply(asker, reply);
    }

    /// Takes effect: from here on every shard answers from the new state.
    fn apply(&mut self, change: Change, old: Option<u32>, now_ms: Millis) {
        let created = old.is_none_or(|place| self.is_gone(place, now_ms));
        if let (Change::Delete { .. }, Some(place)) = (&change, old) {
            let version = self.versions.at(place).expect("current versions are in the table");
            self.events.note(Kind::Deleted, &version.record);
        }
        if let (Change::Evict { .. }, Some(place)) = (&change, old) {
            self.note_evicted(place);
        }
        if let Some(place) = old {
            self.supersede(place, now_ms);
        }
        match change {
            Change::Delete { asker, .. } => self.reply(asker, Reply::Deleted),
            Change::Evict { .. } => {}
            Change::Commit { asker, upload: id, mut publication } => {
                if let Some(aside) = self.leave_aside(id) {
                    self.heir_gone(id, &aside);
                }
                let upload = self.upload(id).expect("a queued upload stays");
                let extents = std::mem::take(&mut upload.extents);
                let key = upload.key.clone();
                let extents =
                    self.fit(&extents, publication.bytes_here()).expect("checked at the commit");
                let extents = publication
                    .in_chunks
                    .take()
                    .map_or(extents, |chunking| Extents::Chunks(Box::new(chunking)));
                let (gives_way, quality) = (publication.gives_way, publication.quality);
                self.note_leader(id, now_ms);
                let pipeline = self.upload(id).and_then(|upload| upload.guard.pipeline.clone());
                let record = Self::record(&key, publication, extents, now_ms);
                let place = self.publish(Arc::clone(&record), None);
                let version = self.versions.at_mut(place).expect("just published");
                version.note_origin(pipeline, quality);
                if gives_way {
                    self.note_gives_way(place);
                }
                self.events.note(Kind::of(created), &record);
                self.end_upload(id);
                self.reply(asker, Reply::Committed { created });
            }
            Change::Open { upload, ref record, .. } => {
                if let Body::Growing(growing) = &record.body {
                    let place = self.publish(Arc::clone(record), Some(upload));
                    let entry = self.upload(upload).expect("a queued upload stays");
                    entry.created = created;
                    entry.growing = Some((Arc::clone(growing), place));
                    let pipeline = entry.guard.pipeline.clone();
                    let version = self.versions.at_mut(place).expect("just published");
                    version.busy().pipeline = pipeline;
                }
                self.begun(change, None);
            }
        }
    }

    /// Takes the old version away, the way its state asks for.
    fn supersede(&mut self, place: u32, now_ms: Millis) {
        let version = self.versions.at(place).expect("current versions are in the table");
        let arriving = version.record.is_arriving();
        if version.record.is_expired(now_ms) {
            self.expire(place);
        } else if arriving {
            self.retire_cut(place);
        } else {
            debug_assert!(version.owed() == 0);
            self.retire(place);
        }
    }

    /// Answers a `Begin` that had to take its turn; `aside` is the version that it may go on with.
    fn begun(&mut self, change: Change, aside: Option<u32>) {
        let Change::Open { asker, upload: id, record, .. } = change else { return };
        let upload = self.upload(id).expect("a queued upload stays");
        upload.queued = false;
        let growing = upload.growing.as_ref().map(|(growing, _)| Arc::clone(growing));
        let mut extents = upload.extents.clone();
        if let Some(growing) = &growing {
            // From here on the version has the memory.
            extents = std::mem::take(&mut upload.extents);
            for &extent in &extents {
                let appended = growing.append(extent);
                debug_assert!(appended, "room for the first extents was checked");
            }
        }
        let kept = match (aside, &record.body) {
            (Some(place), Body::Growing(own)) if self.keep_aside(id, place, own) => {
                let of = &self.versions.at(place).expect("kept aside for it").record;
                Some((Arc::clone(own), Arc::clone(of)))
            }
            _ => None,
        };
        let (own, heir_of) = kept.unzip();
        self.reply(asker, Reply::Begun { upload: id, extents, growing: growing.or(own), heir_of });
    }
}
