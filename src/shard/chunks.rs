//! Answers from large files: chunk after chunk, each an object of its own in memory.
//!
//! The first chunk that an answer needs is at hand before its head is made, so that a file that
//! cannot be read, or is another one by now, is told by a status. From the second chunk in a row on
//! the next ones are read while this one leaves. Nothing but the chunk that leaves is held: what
//! was read ahead may give way, so that answers never wait for each other's memory.
//!
//! Invariants: an answer's bytes are those of one version: when the file is replaced in the middle
//! and a chunk of the old one is not in memory, the connection is cut.

use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use super::answer::{Cursor, Front, not_found};
use super::conn::{Conn, Gone, Then};
use super::live::Judged;
use super::read::{Obtained, Rare};
use crate::http::request::{Head, Method};
use crate::limits;
use crate::origin::read::{self, Plan};
use crate::store::Held;
use crate::store::message::{Job, Refusal, RemoteJob, Reply};
use crate::store::object::Record;
use crate::sys::extent::ShardId;
use crate::tier::disk::chunk::{self, Chunk};

/// Why a chunk is not to be had.
pub(super) enum Missing {
    /// The file is gone, or another one.
    Replaced,
    /// It cannot be read.
    Damaged,
    /// There is no room.
    Busy,
    /// Only the remote store has it, and does not give it.
    Unreachable(Refusal),
}

impl Conn {
    /// Answers with an object whose body lies on disk, or in the remote store.
    pub(super) async fn answer_in_chunks(
        &mut self,
        head: &Head,
        mut held: Rc<Held>,
    ) -> Result<Then, Gone> {
        for _ in 0..limits::LARGE_ATTEMPTS {
            let Some(length) = held.record.whole().map(|whole| whole.length()) else { break };
            match self.first_chunk(head, &held.record, length).await {
                Ok(()) => {
                    self.read_named_ahead(head, &held.record);
                    return self.answer_planned(head, held, length).await;
                }
                Err(Missing::Busy) => break,
                Err(Missing::Damaged) => {
                    let ready = self.ready_damaged(head);
                    return self.deliver(ready).await;
                }
                Err(Missing::Unreachable(refusal)) => {
                    let ready = self.ready_unreachable(head, refusal);
                    return self.deliver(ready).await;
                }
                Err(Missing::Replaced) => {}
            }
            let obtained = self.shard.clone().obtain_renewed(&held.record).await;
            match obtained {
                // The lease on the old description lives until its recall is read here.
                Obtained::Held(now) if Arc::ptr_eq(&now.record, &held.record) => {
                    self.shard.reactor.pause(limits::CHUNK_PAUSE_MS).await;
                    held = now;
                }
                Obtained::Held(now) if now.record.is_in_chunks() => held = now,
                other => return self.answer_otherwise(head, other).await,
            }
        }
        let ready = self.ready_busy(head);
        self.deliver(ready).await
    }

    async fn answer_planned(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        length: u64,
    ) -> Result<Then, Gone> {
        match self.ready_planned(head, held, Some(length)) {
            Ok(ready) => self.deliver(ready).await,
            Err(Rare::Parts(held, list, length)) => {
                self.answer_parts(head, held, &list, length).await
            }
            Err(_) => Err(Gone),
        }
    }

    /// Answers with what took the file's place.
    async fn answer_otherwise(&mut self, head: &Head, obtained: Obtained) -> Result<Then, Gone> {
        let ready = match self.judge(head, obtained, &None) {
            Judged::Ready(ready) => ready,
            Judged::Rare(Rare::Parts(held, list, length)) => {
                return self.answer_parts(head, held, &list, length).await;
            }
            Judged::Rare(Rare::Growing(held)) => return self.answer_growing(head, held).await,
            Judged::Rare(rare @ (Rare::Awaited(..) | Rare::Filling(..))) => {
                return Box::pin(self.answer_rare(head, rare)).await;
            }
            Judged::Rare(_) => self.ready_busy(head),
            _ => self.ready_bare(head, &not_found(head), Then::Next),
        };
        self.deliver(ready).await
    }

    /// Brings the first chunk into memory that an answer to the request needs, if any.
    async fn first_chunk(
        &self,
        head: &Head,
        record: &Arc<Record>,
        length: u64,
    ) -> Result<(), Missing> {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let first = match read::plan(head, bytes, record, Some(length)) {
            Plan::Whole if head.method == Method::Get => 0,
            Plan::Part(part) => part.first,
            Plan::Parts(list) => list.as_slice()[0].first,
            _ => return Ok(()),
        };
        let chunking = record.chunking().ok_or(Missing::Replaced)?;
        self.shard.clone().obtain_chunk(record, first / chunking.bytes).await.map(drop)
    }

    /// Sends a part of a large file's body behind `front`.
    pub(super) async fn transmit_chunks(
        &mut self,
        mut front: Option<Front>,
        body: Option<Cursor>,
    ) -> Result<(), Gone> {
        let Some(body) = body else { return Ok(()) };
        let (shard, record) = (self.shard.clone(), body.held.record.clone());
        let chunk_bytes = record.chunking().ok_or(Gone)?.bytes;
        let last = (body.end - 1) / chunk_bytes;
        let (mut in_row, mut ahead) = (0, 0);
        let mut at = body.at;
        while at < body.end {
            let index = at / chunk_bytes;
            let held = match shard.obtain_chunk(&record, index).await {
                Ok(held) => held,
                Err(missing) => {
                    if let Some(Front::Assembled(buffer)) = front {
                        shard.reactor.recycle(buffer);
                    }
                    shard.note_missed(&record, &missing);
                    return Err(Gone);
                }
            };
            in_row += 1;
            if in_row >= limits::CHUNKS_IN_ROW {
                let from = ahead.max(index + 1);
                ahead = (index + 1 + limits::CHUNKS_AHEAD).min(last + 1);
                (from..ahead).for_each(|index| shard.read_ahead(&record, index));
            }
            let start = index * chunk_bytes;
            let end = body.end.min(start + chunk_bytes);
            let cursor = Cursor { held, at: at - start, end: end - start };
            self.transmit_next(front.take(), Some(cursor)).await?;
            at = end;
        }
        Ok(())
    }
}

impl Shard {
    /// A hold on a chunk of the file that `record` describes.
    pub(super) async fn obtain_chunk(
        &self,
        record: &Arc<Record>,
        index: u64,
    ) -> Result<Rc<Held>, Missing> {
        let name = chunk_of(record, index).ok_or(Missing::Replaced)?;
        let owner = self.store.borrow().owner_of(&name);
        let mut missing = Missing::Busy;
        for attempt in 0..limits::CHUNK_ATTEMPTS {
            if let Some(held) = self.here(&name) {
                return Ok(held);
            }
            if owner != self.id
                && let Obtained::Held(held) = self.obtain_from(owner, name.clone()).await
            {
                return Ok(held);
            }
            missing = match self.load_chunk_anywhere(owner, &name, record).await {
                // It may give way before it is held.
                Reply::Loaded => continue,
                Reply::Refused(Refusal::Damaged) => return Err(Missing::Damaged),
                Reply::Refused(Refusal::Full | Refusal::Busy | Refusal::DiskFault) => Missing::Busy,
                Reply::Refused(
                    refusal @ (Refusal::RemoteDown | Refusal::RemoteSlow | Refusal::RemoteDenied),
                ) => return Err(Missing::Unreachable(refusal)),
                _ => return Err(Missing::Replaced),
            };
            if attempt + 1 < limits::CHUNK_ATTEMPTS {
                self.reactor.pause(limits::CHUNK_PAUSE_MS).await;
            }
        }
        Err(missing)
    }

    /// Has a chunk's owner bring it into memory from where the body lies.
    async fn load_chunk_anywhere(&self, owner: ShardId, name: &[u8], record: &Record) -> Reply {
        let Some(chunking) = record.chunking() else { return Reply::Absent };
        if chunking.stored_as.is_none() {
            let reply = self.tier(owner, name.into(), Job::Load).await;
            // The file may have been moved to the remote store meanwhile.
            if !matches!(reply, Reply::Absent) || !self.reads_remote(record.key()) {
                return reply;
            }
        }
        self.remote_job(owner, name.into(), RemoteJob::LoadChunk(chunking.clone())).await
    }

    /// Has a chunk read that will be needed soon.
    pub(super) fn read_ahead(self: &Rc<Self>, record: &Arc<Record>, index: u64) {
        let Some(name) = chunk_of(record, index) else { return };
        let ahead = self.chunks_ahead.get();
        if self.peek(&name).is_some() || ahead >= limits::CHUNKS_AHEAD_MAX {
            return;
        }
        self.chunks_ahead.set(ahead + 1);
        self.accounts.meters.disk_chunks_ahead.bump();
        let (shard, record) = (self.clone(), record.clone());
        self.reactor.tasks.spawn(async move {
            let owner = shard.store.borrow().owner_of(&name);
            shard.load_chunk_anywhere(owner, &name, &record).await;
            shard.chunks_ahead.set(shard.chunks_ahead.get() - 1);
        });
    }

    /// An answer that was begun ends for want of a chunk. A description that is not true any more
    /// is let go, so that the next answer does not begin with what memory still has of it.
    fn note_missed(self: &Rc<Self>, record: &Arc<Record>, missing: &Missing) {
        self.accounts.meters.disk_chunks_missed.bump();
        if matches!(missing, Missing::Replaced) {
            let (shard, record) = (self.clone(), record.clone());
            self.reactor.tasks.spawn(async move { drop(shard.obtain_renewed(&record).await) });
        }
    }

    /// What is under a key after a chunk of the version that `record` describes was not there.
    async fn obtain_renewed(&self, record: &Arc<Record>) -> Obtained {
        let owner = self.store.borrow().owner_of(record.key());
        let (key, etag) = (record.key().into(), record.etag().into());
        match record.chunking().is_some_and(|chunking| chunking.stored_as.is_some()) {
            true => self.remote_job(owner, key, RemoteJob::Renew { etag }).await,
            false => self.tier(owner, key, Job::Renew { etag }).await,
        };
        self.obtain_anywhere(record.key().into()).await
    }
}

fn chunk_of(record: &Record, index: u64) -> Option<Box<[u8]>> {
    let tag = chunk::tag_of(record.etag(), record.chunking()?.bytes);
    Some(Chunk { key: record.key(), tag, index }.name())
}
