//! Uploads of own keys: their room, and where they are between begin and end.
//!
//! An upload gets its memory when it begins, so that a full memory is told before a byte is read.
//! With a declared length that is all it will need; otherwise it grows by doubling. A growing
//! upload's memory belongs to the version that it writes into, any other's to the upload.
//!
//! Invariants: an upload ends exactly once, by commit, abort or a refusal with `Superseded`; until
//! then nobody else gets its memory.

use std::sync::Arc;

use crate::limits;
use crate::sys::extent::Extent;

use super::change::Change;
use super::event::Kind;
use super::growing::Growing;
use super::guard;
use super::message::{Guard, Message, Publication, Refusal, Reply, Streaming, UploadId};
use super::object::{Body, Extents, Millis, Parts, Record, Whole};
use super::owner::{Asker, Store};
use super::pipeline::Aside;
use super::version::held_bytes;

/// What a `Begin` says.
#[derive(Debug)]
pub(super) struct Opening {
    pub key: Box<[u8]>,
    pub declared: Option<u64>,
    pub guard: Guard,
    pub stream: Option<Streaming>,
}

/// An upload that has begun.
#[derive(Debug)]
pub(super) struct Upload {
    pub key: Box<[u8]>,
    pub guard: Guard,
    /// Empty when the upload is growing.
    pub extents: Vec<Extent>,
    /// What the next extension of unknown length gets.
    next_bytes: u64,
    /// The version that it writes into.
    pub growing: Option<(Arc<Growing>, u32)>,
    /// Whether the key was absent when a growing upload took it.
    pub created: bool,
    /// Another upload or a delete took the growing version away.
    pub superseded: bool,
    /// In the key's queue of changes.
    pub queued: bool,
    /// Kept for the case that another pipeline's upload of the object breaks off.
    pub aside: Option<Aside>,
}

impl Upload {
    /// Bytes that fit the extents of an upload that is not growing.
    pub fn room_bytes(&self) -> u64 {
        self.extents.iter().map(|extent| u64::from(extent.len)).sum()
    }
}

impl Store {
    /// Begins an upload of a key whose folder is linked. One that wants to be readable at once
    /// takes its turn among the key's changes first.
    pub(super) fn open(&mut self, asker: Asker, opening: Opening, now_ms: Millis) {
        let work = self.folders.begin_work(&opening.key);
        let crowded = opening.stream.is_some() && work.changes.len() >= limits::CHANGES_WAITING_MAX;
        let judged = if crowded {
            Err(Refusal::Busy)
        } else {
            self.judge_write(&opening.key, &opening.guard, now_ms)
                .and_then(|()| self.judge_length(&opening, now_ms))
        };
        let extents = judged.and_then(|()| self.room(opening.declared, now_ms));
        let (extents, bytes) = match extents {
            Ok(room) => room,
            Err(refusal) => {
                self.stir(&opening.key);
                return self.refuse(asker, refusal);
            }
        };
        let Opening { key, guard, stream, .. } = opening;
        let stream = stream.filter(|stream| {
            matches!(stream.record.body, Body::Growing(_)) && *stream.record.key() == *key
        });
        let upload = Upload {
            key,
            guard,
            extents: extents.clone(),
            next_bytes: bytes.saturating_mul(2),
            growing: None,
            created: false,
            superseded: false,
            queued: stream.is_some(),
            aside: None,
        };
        let (place, generation) = self.uploads.insert(upload);
        let upload = UploadId { place, generation };
        let key = &self.uploads.at(place).expect("just put in").key;
        let work = self.folders.begin_work(key);
        work.uploads += 1;
        match stream {
            Some(stream) => {
                let Streaming { record, aside_only } = stream;
                let change = Change::Open { asker, upload, record, aside_only };
                work.changes.push(change, &mut self.spare_queues);
                self.stirred.push(key);
            }
            None => {
                self.reply(asker, Reply::Begun { upload, extents, growing: None, heir_of: None })
            }
        }
    }

    /// Whether a write of `key` may go ahead now.
    pub(super) fn judge_write(
        &self,
        key: &[u8],
        guard: &Guard,
        now_ms: Millis,
    ) -> Result<(), Refusal> {
        if self.folders.is_folder(key) {
            return Err(Refusal::Conflict);
        }
        let current = self.current(key, now_ms).map(|place| self.version_etag(place));
        if guard::allowed(guard, current) { Ok(()) } else { Err(Refusal::Precondition) }
    }

    /// Whether an upload can bring the bytes that an immutable object has, by their number.
    fn judge_length(&self, opening: &Opening, now_ms: Millis) -> Result<(), Refusal> {
        let current = self.current(&opening.key, now_ms).filter(|_| opening.guard.immutable);
        let record = current.and_then(|place| self.versions.at(place)).map(|found| &found.record);
        let Some(whole) = record.and_then(|record| record.whole()) else { return Ok(()) };
        match opening.declared {
            Some(bytes) if whole.length() != 0 && bytes != whole.length() => {
                Err(Refusal::Immutable)
            }
            _ => Ok(()),
        }
    }

    /// First extents of an upload, and how many bytes they are.
    fn room(
        &mut self,
        declared: Option<u64>,
        now_ms: Millis,
    ) -> Result<(Vec<Extent>, u64), Refusal> {
        let bytes = declared.unwrap_or_else(|| u64::from(limits::STREAM_EXTENT_BYTES));
        if self.versions.len() + self.uploads.len() >= limits::VERSIONS_MAX {
            self.sweep(now_ms, limits::SWEEP_PER_TURN);
        }
        if self.versions.len() + self.uploads.len() >= limits::VERSIONS_MAX {
            self.statistics.full_total += 1;
            return Err(Refusal::Full);
        }
        let most = u64::from(self.space.slot_bytes()) * limits::EXTENTS_MAX as u64;
        if bytes > most {
            return Err(Refusal::TooLarge);
        }
        let extents = self.allot(bytes, now_ms).ok_or(Refusal::Full)?;
        Ok((extents, bytes))
    }

    /// Answers `Extend`.
    pub(super) fn extend(&mut self, asker: Asker, id: UploadId, bytes: u64, now_ms: Millis) {
        let Some(upload) = self.uploads.find(id.place, id.generation) else {
            return self.refuse(asker, Refusal::Superseded);
        };
        if upload.superseded {
            self.end_upload(id);
            return self.refuse(asker, Refusal::Superseded);
        }
        debug_assert!(!upload.queued, "an upload is extended after it has begun");
        let wish = upload.next_bytes.min(u64::from(self.space.slot_bytes())).max(bytes);
        let modest = bytes.max(u64::from(limits::STREAM_EXTENT_BYTES).min(wish));
        let extents = self.space.allot(wish).or_else(|| self.allot(modest, now_ms));
        let Some(extents) = extents else { return self.refuse(asker, Refusal::Full) };
        let upload = self.upload(id).expect("found above, and making room ends no upload");
        upload.next_bytes = wish.saturating_mul(2);
        let Some((growing, place)) = &upload.growing else {
            // One that is kept aside may become a growing object.
            if upload.aside.is_some()
                && upload.extents.len() + extents.len() > limits::GROWING_EXTENTS_MAX
            {
                extents.into_iter().for_each(|extent| self.space.free(extent));
                return self.refuse(asker, Refusal::TooLarge);
            }
            upload.extents.extend_from_slice(&extents);
            if upload.aside.is_some() {
                let more = extents.iter().map(|extent| u64::from(extent.len));
                self.statistics.aside_bytes += more.sum::<u64>();
            }
            return self.reply(asker, Reply::Extended { extents });
        };
        if growing.extent_count() + extents.len() > limits::GROWING_EXTENTS_MAX {
            extents.into_iter().for_each(|extent| self.space.free(extent));
            return self.refuse(asker, Refusal::TooLarge);
        }
        let (growing, place) = (Arc::clone(growing), *place);
        let before = self.pinned_part(place);
        for &extent in &extents {
            let appended = growing.append(extent);
            debug_assert!(appended, "room was checked");
        }
        self.statistics.pinned_bytes += self.pinned_part(place) - before;
        self.reply(asker, Reply::Extended { extents });
    }

    /// Answers `Commit`: at once for what is readable already, else in the key's turn.
    pub(super) fn commit(&mut self, asker: Asker, id: UploadId, publication: Publication) {
        let Some(upload) = self.uploads.find(id.place, id.generation) else {
            return self.refuse(asker, Refusal::Superseded);
        };
        debug_assert!(!upload.queued, "an upload is committed once, after it has begun");
        if upload.queued {
            return self.refuse(asker, Refusal::Superseded);
        }
        if upload.superseded {
            self.end_upload(id);
            return self.refuse(asker, Refusal::Superseded);
        }
        if upload.growing.is_some() {
            return self.finish(asker, id, publication);
        }
        if publication.bytes_here() > upload.room_bytes() {
            self.end_upload(id);
            return self.refuse(asker, Refusal::TooLarge);
        }
        upload.queued = true;
        let work = self.folders.begin_work(&upload.key);
        if work.changes.len() >= limits::CHANGES_WAITING_MAX {
            self.end_upload(id);
            return self.refuse(asker, Refusal::Busy);
        }
        let change = Change::Commit { asker, upload: id, publication };
        work.changes.push(change, &mut self.spare_queues);
        self.stirred.push(&upload.key);
    }

    /// Completes a growing object: its record stays, and so do the leases on it.
    fn finish(&mut self, asker: Asker, id: UploadId, publication: Publication) {
        let upload = self.upload(id).expect("the caller found it");
        let created = upload.created;
        let (growing, place) = upload.growing.clone().expect("the caller found it growing");
        let extents: Vec<_> = (0..).map_while(|at| growing.extent(at)).collect();
        let before = self.pinned_part(place);
        let reply = match self.fit(&extents, publication.length) {
            None => {
                self.break_off(place);
                Reply::Refused(Refusal::TooLarge)
            }
            Some(extents) => {
                let version = self.versions.at_mut(place).expect("its upload keeps it");
                let pipeline = version.pipeline().cloned();
                version.note_origin(pipeline, publication.quality);
                let record = Arc::clone(&version.record);
                let is_own =
                    matches!(&record.body, Body::Growing(own) if Arc::ptr_eq(own, &growing));
                growing.finish(Whole::new(publication.length, extents));
                self.nudge(&growing);
                self.note_finished(place, created, publication.length, publication.gives_way);
                self.statistics.pinned_bytes -= before - self.pinned_part(place);
                match is_own {
                    true => Reply::Committed { created },
                    false => Reply::Kept { etag: record.etag().into(), same: true },
                }
            }
        };
        self.end_upload(id);
        self.reply(asker, reply);
    }

    /// Counts a growing object as complete.
    pub(super) fn note_finished(
        &mut self,
        place: u32,
        created: bool,
        length: u64,
        gives_way: bool,
    ) {
        let Some(version) = self.versions.at(place).filter(|version| version.standing.is_current())
        else {
            return;
        };
        self.events.note(Kind::of(created), &version.record);
        self.statistics.growing -= 1;
        self.statistics.object_bytes += length;
        if gives_way {
            self.note_gives_way(place);
        }
    }

    /// The uploader gave up.
    pub(super) fn abort(&mut self, id: UploadId) {
        let Some(upload) = self.upload(id) else { return };
        if upload.queued {
            debug_assert!(false, "a committed upload is not aborted");
            return;
        }
        if let Some((_, place)) = upload.growing {
            self.break_off(place);
        }
        self.end_upload(id);
    }

    /// Cuts the readers of a version whose upload broke off; its key is absent again.
    fn break_off(&mut self, place: u32) {
        let version = self.versions.at(place).expect("its upload keeps it");
        if version.standing.is_current() {
            if !self.is_inherited(place) {
                self.retire_cut(place);
            }
            return;
        }
        if let Body::Growing(growing) = &version.record.body {
            let growing = Arc::clone(growing);
            growing.cut();
            self.nudge(&growing);
        }
    }

    /// Forgets an upload; memory that it still has is freed.
    pub(super) fn end_upload(&mut self, id: UploadId) {
        let aside = self.leave_aside(id);
        let Some(upload) = self.uploads.remove(id.place) else { return };
        upload.extents.into_iter().for_each(|extent| self.space.free(extent));
        if let Some((_, place)) = upload.growing {
            let version = self.versions.at_mut(place).expect("its upload keeps it");
            version.end_upload(id);
            self.reap(place);
        }
        if let Some(aside) = aside {
            self.heir_gone(id, &aside);
        }
        let work = self.folders.work_mut(&upload.key).expect("an upload is work");
        work.uploads -= 1;
        self.stir(&upload.key);
    }

    /// Cuts extents to a body of `length` bytes and frees the rest; `None`, and nothing freed, when
    /// the body is longer than they are.
    pub(super) fn fit(&mut self, extents: &[Extent], length: u64) -> Option<Extents> {
        if length > extents.iter().map(|extent| u64::from(extent.len)).sum() {
            return None;
        }
        let mut left = length;
        let kept = extents.iter().filter_map(|&extent| {
            let len = u32::try_from(left.min(u64::from(extent.len))).expect("at most an extent");
            left -= u64::from(len);
            let extent = self.space.trim(extent, len);
            (len > 0).then_some(extent)
        });
        Some(kept.collect())
    }

    /// Wakes the readers who wait for news of a growing object.
    pub(super) fn nudge(&mut self, growing: &Growing) {
        let uploads =
            std::iter::successors(Some(growing), |one| one.successor().map(|next| &**next));
        for one in uploads {
            one.drain_watchers(|shard| {
                self.outbox.push_back((shard, Message::Nudge { growing: one.id }));
            });
        }
    }

    /// Bytes of a version that count as pinned: all of them once it is superseded.
    fn pinned_part(&self, place: u32) -> u64 {
        let version = self.versions.at(place).expect("its upload keeps it");
        if version.standing.is_current() { 0 } else { held_bytes(&version.record) }
    }

    /// A record for an atomic upload that takes its turn.
    pub(super) fn record(
        key: &[u8],
        publication: Publication,
        extents: Extents,
        now_ms: Millis,
    ) -> Arc<Record> {
        Record::new(Parts {
            key,
            etag: &publication.etag,
            fields: publication.fields,
            modified_s: publication.modified_s,
            stored_ms: now_ms,
            expires_ms: publication.expires_ms,
            body: Body::Whole(Whole::new(publication.length, extents)),
        })
    }
}
