//! Uploads that only memory gets, over a key of which the disk may have an older version.
//!
//! The commit is a job of the key, so that nothing is read from disk meanwhile. If there is a file,
//! it is taken away behind the commit and before the acknowledgement: else the older version would
//! be served again when the newer one's time is over, or after a restart.
//!
//! Invariants: what was acknowledged has no older version on disk, whatever happens to it later;
//! where the file cannot be taken away the upload is refused and the older version stays.

use std::io;

use super::load::unopened;
use super::{Disk, Shard};
use crate::store::message::{Ask, Job, Message, Publication, Refusal, Reply, UploadId};
use crate::sys::extent::ShardId;
use crate::sys::folder::DataFolder;
use crate::sys::reactor::Open;
use crate::tier::disk::path;

impl Shard {
    /// Whether an upload of the key that only memory gets has to be committed by a job.
    fn may_cover_file(&self, key: &[u8]) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.data.is_some()) && !path::is_reserved(key)
    }

    /// Makes an upload visible; what the disk has of the key is dealt with.
    pub(in crate::shard) async fn commit(
        &self,
        owner: ShardId,
        key: &[u8],
        upload: UploadId,
        publication: Publication,
        durable: bool,
    ) -> Reply {
        if durable || !self.may_cover_file(key) {
            return self.ask(owner, Ask::Commit { upload, publication }).await;
        }
        let publication = Box::new(publication);
        Box::pin(self.tier(owner, key.into(), Job::Commit { upload, publication })).await
    }

    /// Makes an upload visible, and takes the file of an older version away.
    pub(super) async fn commit_over(
        &self,
        disk: &Disk,
        key: &[u8],
        upload: UploadId,
        publication: Publication,
    ) -> Result<Reply, Refusal> {
        let old = match self.find_old(disk, key).await {
            Ok(old) => old,
            Err(refusal) => {
                self.post(self.id, Message::Abort { upload });
                return Err(refusal);
            }
        };
        let etag = publication.etag.clone();
        let reply = self.ask_here(Ask::Commit { upload, publication }).await;
        let Some(data) = old.filter(|_| matches!(reply, Reply::Committed { .. })) else {
            return Ok(reply);
        };
        let erased = self.erase_file(disk, data, key).await;
        if erased.is_err()
            && let Some(held) = self.here(key).filter(|held| *held.record.etag() == *etag)
        {
            self.withdraw_unsaved(key, &held).await;
        }
        erased.map(|_| reply)
    }

    /// The folder that has a file of the key; refuses where that could not be taken away.
    async fn find_old<'a>(
        &self,
        disk: &'a Disk,
        key: &[u8],
    ) -> Result<Option<&'a DataFolder>, Refusal> {
        let Some(data) = disk.data.as_deref() else { return Ok(None) };
        let has_file = !self.is_known_bare(disk, key) && self.has_file(disk, data, key).await?;
        if has_file {
            disk.writable()?;
        }
        Ok(has_file.then_some(data))
    }

    async fn has_file(&self, disk: &Disk, data: &DataFolder, key: &[u8]) -> Result<bool, Refusal> {
        let named = disk.named.get();
        match self.reactor.open(data.root(), key, Open::Read).await {
            Ok(fd) => {
                let status = self.reactor.file_status(fd).await;
                self.reactor.close_file(fd);
                let status = status.map_err(|error| Self::refusal(disk, "a look", &error))?;
                Ok(status.is_regular)
            }
            Err(error) => {
                unopened(&error)?;
                if error.kind() == io::ErrorKind::NotFound {
                    self.note_bare(disk, data, path::split(key).0, named).await;
                }
                Ok(false)
            }
        }
    }

    /// Notes a folder that is not on disk: live segments of memory lie in such ones, and
    /// a look for each of them would be in vain.
    async fn note_bare(&self, disk: &Disk, data: &DataFolder, folder: &[u8], named: u64) {
        match self.open_folder(data, folder).await {
            Ok(fd) => self.reactor.close_file(fd),
            // A save that named a file meanwhile made it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && disk.named.get() == named => {
                disk.bare.note(folder, self.reactor.clock.now_ms());
            }
            Err(_) => {}
        }
    }

    fn is_known_bare(&self, disk: &Disk, key: &[u8]) -> bool {
        disk.bare.has(path::split(key).0, self.reactor.clock.now_ms())
    }

    /// Notes that a file may have been named in a folder.
    pub(super) fn note_named(disk: &Disk, folder: &[u8]) {
        disk.named.set(disk.named.get() + 1);
        disk.bare.forget(folder);
    }
}
