//! Large files: memory gets a description, and chunk by chunk what is read of the body.
//!
//! The description is the object under the file's own key: it has tag, type and length, so that
//! conditions, uploads and deletions are judged by it, and no bytes. A chunk is an object under a
//! key of its own ([`chunk`]), which other shards lease and which gives way like any other. It is
//! loaded by its owner, which opens the file anew and looks whether it is the version that was
//! asked for, before and after.
//!
//! Invariants: a chunk that has sums is served only when they are right; its name says the version,
//! and its bytes are that version's; the description of a file of the library is believed for a
//! second only.

use std::io;
use std::sync::Arc;

use super::load::{Found, Purpose, Reading, unopened};
use super::{Disk, Shard};
use crate::limits;
use crate::shard::prefetch::Place;
use crate::store::etag::Etag;
use crate::store::message::{Message, Refusal, Reply, UploadId};
use crate::store::object::{Chunking, Record};
use crate::sys::clock::Clock;
use crate::sys::extent::Extent;
use crate::sys::reactor::Open;
use crate::tier::disk::attributes::Attributes;
use crate::tier::disk::chunk;
use crate::tier::disk::sums::ChunkSumming;

/// A chunk that is to be loaded.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Key of the file.
    pub(super) of: &'a [u8],
    pub(super) tag: u64,
    pub(super) index: u64,
}

impl Shard {
    /// Whether what a slower tier has is served in chunks. Where only the sum of the whole is known
    /// and that fits into memory, it is loaded as a whole: only so can the sum be checked.
    pub(in crate::shard) fn is_large(
        &self,
        key: &[u8],
        attributes: &Attributes,
        is_summed: bool,
    ) -> bool {
        let length = attributes.length;
        let otherwise = self.settings.object_bytes_max;
        let is_too_large = length > self.rules.borrow().paths.object_bytes_max(key, otherwise);
        let may_be = attributes.chunks.is_some() || !is_summed;
        let is_large = length >= self.settings.large_bytes_min && may_be;
        length >= limits::LARGE_BYTES_MIN && (is_large || is_too_large)
    }

    /// Bytes of each of a body's chunks: as many as have sums of their own, or a multiple of that.
    fn chunk_bytes(&self, attributes: &Attributes) -> u64 {
        let summed = attributes.chunks.as_ref().map_or(0, |chunks| chunks.bytes);
        self.settings.chunk_bytes.max(summed)
    }

    /// Makes the description of a file the version in memory.
    pub(super) async fn describe_large(
        &self,
        key: &[u8],
        found: &Found<'_>,
        purpose: Purpose<'_>,
    ) -> Result<(), Refusal> {
        let mut attributes = found.attributes.clone();
        if !found.is_summed {
            let until_ms = Clock::wall_ms() + limits::LARGE_LOOK_MS;
            attributes.expires_ms = Some(until_ms);
        }
        self.load_description(key, &attributes, None, purpose.ahead).await
    }

    /// The same for a body on disk, or one that the remote store has under a tag of its own.
    pub(in crate::shard) async fn load_description(
        &self,
        key: &[u8],
        attributes: &Attributes,
        stored_as: Option<Arc<str>>,
        ahead: Option<&Place<'_>>,
    ) -> Result<(), Refusal> {
        if let Some(place) = ahead {
            place.take(0)?;
        }
        let begun = self.begin_part(key, 0, None, ahead).await?;
        let Some((upload, _)) = begun else { return Ok(()) };
        let chunking = Chunking { bytes: self.chunk_bytes(attributes), stored_as };
        self.publish_loaded(key, upload, attributes, Some(chunking), ahead).await
    }

    /// Looks at the disk again after a description turned out not to be true any more.
    pub(super) async fn renew(
        &self,
        disk: &Disk,
        key: &[u8],
        etag: &Etag,
    ) -> Result<Reply, Refusal> {
        self.forget_description(key, etag);
        self.load(disk, key, Purpose::WHOLE).await
    }

    /// Has a description leave memory that turned out not to be true any more.
    pub(in crate::shard) fn forget_description(&self, key: &[u8], etag: &Etag) {
        let held = self.peek(key);
        let is_it = |record: &Record| record.is_in_chunks() && *record.etag() == **etag;
        if let Some(held) = held.filter(|held| is_it(&held.record)) {
            let now_ms = self.reactor.clock.now_ms();
            self.store.borrow_mut().forget(held.lease(), now_ms);
            self.carry();
        }
    }

    /// Brings a chunk into memory: `Loaded`, or `Absent` when the file is not there, or is another
    /// version.
    pub(super) async fn load_chunk(
        &self,
        disk: &Disk,
        name: &[u8],
        wanted: Wanted<'_>,
    ) -> Result<Reply, Refusal> {
        if self.peek(name).is_some() {
            return Ok(Reply::Loaded);
        }
        for folder in [&disk.data, &disk.library].into_iter().flatten() {
            let fd = match self.reactor.open(folder.root(), wanted.of, Open::Read).await {
                Ok(fd) => fd,
                Err(error) => {
                    unopened(&error)?;
                    continue;
                }
            };
            let loaded = match self.describe_file(folder, fd, wanted.of).await {
                Ok(Some(found)) => self.load_part(name, &found, wanted).await,
                Ok(None) => Ok(Reply::Absent),
                Err(error) => Err(self.unread(&error)),
            };
            self.reactor.close_file(fd);
            if matches!(loaded, Err(Refusal::Damaged)) {
                self.accounts.meters.disk_damaged.bump();
            }
            return loaded;
        }
        if [&disk.data, &disk.library].into_iter().flatten().any(|folder| folder.is_away()) {
            return Err(Refusal::DiskFault);
        }
        Ok(Reply::Absent)
    }

    async fn load_part(
        &self,
        name: &[u8],
        found: &Found<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Reply, Refusal> {
        let chunk_bytes = self.chunk_bytes(&found.attributes);
        let Attributes { length, expires_ms, .. } = found.attributes;
        let first = wanted.index.saturating_mul(chunk_bytes);
        let is_over = expires_ms.is_some_and(|ms| ms <= Clock::wall_ms());
        let tag = chunk::tag_of(&found.attributes.etag, chunk_bytes);
        if tag != wanted.tag || first >= length || is_over {
            return Ok(Reply::Absent);
        }
        let bytes = chunk_bytes.min(length - first);
        let Some((upload, extents)) = self.begin_part(name, bytes, None, None).await? else {
            return Ok(Reply::Loaded);
        };
        let read = self.read_part(found, wanted.of, first, &extents).await;
        if !matches!(read, Ok(true)) {
            self.post(self.id, Message::Abort { upload });
            return read.map(|_| Reply::Absent).map_err(|error| self.unread(&error));
        }
        let meters = &self.accounts.meters;
        meters.disk_read_bytes.add(bytes);
        meters.disk_chunks.bump();
        self.publish_chunk(name, upload, &found.attributes, bytes).await
    }

    /// Makes a chunk of the version with these attributes an object.
    pub(in crate::shard) async fn publish_chunk(
        &self,
        name: &[u8],
        upload: UploadId,
        of: &Attributes,
        bytes: u64,
    ) -> Result<Reply, Refusal> {
        let attributes = Attributes {
            length: bytes,
            chunks: None,
            content_type: [].into(),
            cache_control: [].into(),
            lines: [].into(),
            ..of.clone()
        };
        let published = self.publish_loaded(name, upload, &attributes, None, None).await;
        published.map(|()| Reply::Loaded)
    }

    /// Fills the extents from byte `first` on; `false` when the file changed meanwhile.
    async fn read_part(
        &self,
        found: &Found<'_>,
        key: &[u8],
        first: u64,
        extents: &[Extent],
    ) -> io::Result<bool> {
        let mut file = Reading::begin(self, found);
        file.place = first;
        for &extent in extents {
            let mut at = 0;
            while at < extent.len {
                at += file.read(self, extent, at, u64::MAX).await?;
            }
        }
        // What is in the data folder is never written to again, only replaced.
        if found.is_summed {
            self.check_part(&found.attributes, first, extents).await?;
            return Ok(true);
        }
        let now = self.describe_file(found.folder, found.fd, key).await?;
        Ok(now.is_some_and(|now| now.attributes.etag == found.attributes.etag))
    }

    /// Compares a part with the sums that are known of it, if any.
    pub(in crate::shard) async fn check_part(
        &self,
        attributes: &Attributes,
        first: u64,
        extents: &[Extent],
    ) -> io::Result<()> {
        let Some(chunks) = &attributes.chunks else { return Ok(()) };
        let mut sums = ChunkSumming::new(chunks.bytes);
        let mut scratch = vec![0; limits::DISK_SUM_BYTES];
        for &extent in extents {
            let all = (extent, 0, extent.len);
            self.each_piece(all, &mut scratch, |bytes| sums.update(bytes)).await;
        }
        let sums = sums.finish().sums;
        let place = usize::try_from(first / chunks.bytes).unwrap_or(usize::MAX);
        let known = chunks.sums.get(place..).and_then(|known| known.get(..sums.len()));
        match known == Some(&*sums) {
            true => Ok(()),
            false => Err(io::Error::other("it is not what was written")),
        }
    }

    fn unread(&self, error: &io::Error) -> Refusal {
        tracing::warn!("a chunk of a file cannot be read: {error}");
        Refusal::Damaged
    }
}
