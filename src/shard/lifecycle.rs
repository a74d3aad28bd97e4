//! What is due for a key's file, done by its owner: expiry by age, moves to the remote store.
//!
//! A proposal may be old: each step looks at what lies there now. A file goes by a move only after
//! the store has answered with the metadata that the file has, and only if the file still has it
//! when its turn comes.
//!
//! **Invariants**: a version that was stored after the proposal's time stays; without the store's
//! answer no file goes by a move.

use super::remote::RemoteTier;
use super::{Envelope, Shard};
use crate::store::message::{Job, Refusal, RemoteJob, Reply};
use crate::tier::disk::attributes::Attributes;
use crate::tier::lifecycle::{Deed, Due};

impl Shard {
    /// Something may be due; whichever shard hears of it tells the owner.
    pub(super) fn on_due(&self, due: Due) {
        let Some(shard) = self.me.upgrade().filter(|_| !self.is_draining()) else { return };
        let owner = self.store.borrow().owner_of(&due.key);
        if owner != self.id {
            return self.mailbox.send(owner, Envelope::Due(due), &self.reactor);
        }
        self.reactor.tasks.spawn(async move { shard.do_what_is_due(&due).await });
    }

    async fn do_what_is_due(&self, due: &Due) {
        let meters = &self.accounts.meters;
        let done = match due.deed {
            Deed::Expire => self.expire(&due.key, due.until_s).await,
            Deed::Move => self.move_away(&due.key, due.until_s).await,
        };
        match (done, due.deed) {
            (Ok(true), Deed::Expire) => meters.lifecycle_expired.bump(),
            (Ok(true), Deed::Move) => meters.lifecycle_moved.bump(),
            (Ok(false), _) => {}
            (Err(_), _) => meters.lifecycle_failed.bump(),
        }
    }

    /// Takes a key away everywhere; `false` when it is not due.
    async fn expire(&self, key: &[u8], until_s: u64) -> Result<bool, Refusal> {
        match self.tier(self.id, key.into(), Job::Expire { until_s }).await {
            Reply::Deleted => {}
            Reply::Refused(refusal) => return Err(refusal),
            _ => return Ok(false),
        }
        if self.reads_remote(key) {
            let job = RemoteJob::Expire { until_s };
            if let Reply::Refused(refusal) = self.remote_job(self.id, key.into(), job).await {
                return Err(refusal);
            }
        }
        Ok(true)
    }

    /// Takes a file away that the store has, or gets now; `false` when it is not due.
    async fn move_away(&self, key: &[u8], until_s: u64) -> Result<bool, Refusal> {
        let (Some(disk), Some(tier)) = (self.disk.as_deref(), self.remote.as_deref()) else {
            return Ok(false);
        };
        if !self.reads_remote(key) {
            return Ok(false);
        }
        let Some(attributes) = self.describe(disk, key).await? else { return Ok(false) };
        if attributes.modified_s > until_s {
            return Ok(false);
        }
        if !self.is_kept_remote(tier, key, &attributes).await? {
            let reply = self.remote_job(self.id, key.into(), RemoteJob::Save).await;
            if let Reply::Refused(refusal) = reply {
                return Err(refusal);
            }
            if !self.is_kept_remote(tier, key, &attributes).await? {
                return Err(Refusal::RemoteBehind);
            }
        }
        let described = attributes.encode().ok_or(Refusal::Unkeepable)?.into();
        match self.tier(self.id, key.into(), Job::Release { described }).await {
            Reply::Deleted => Ok(true),
            Reply::Refused(refusal) => Err(refusal),
            _ => Ok(false),
        }
    }

    /// Whether the store says of the key what the file says.
    async fn is_kept_remote(
        &self,
        tier: &RemoteTier,
        key: &[u8],
        file: &Attributes,
    ) -> Result<bool, Refusal> {
        let Some(stored) = self.look_remote(tier, key).await? else { return Ok(false) };
        // Each computes the end of a lifetime by itself, milliseconds apart.
        let ends_alike = stored.expires_ms.is_some() == file.expires_ms.is_some();
        // A file that was laid down by hand has no sum; its tag is made of its time and size.
        let sum = if file.sum == 0 { 0 } else { stored.sum };
        // The store has no room for sums of chunks.
        let (expires_ms, chunks) = (file.expires_ms, file.chunks.clone());
        let stored = Attributes { sum, chunks, expires_ms, ..stored };
        Ok(ends_alike && stored == *file)
    }
}
