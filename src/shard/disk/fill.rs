//! Cold reads of larger files: an object that is read while the disk gives it back.
//!
//! The version is published before its bytes are there, with the length that they will have, and
//! grows by what was read and checked. Whoever wanted it is answered when its first chunk is right.
//! A change of the key that comes meanwhile takes the place of this version as of any other; those
//! who read it get it whole.
//!
//! Invariants: no byte of a chunk with a sum is readable before all of the chunk was read and had
//! that sum; what nobody may see as it grows (manifests, what is compressed) is not filled so.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::load::{Found, Purpose, Reading};
use super::{Disk, Shard};
use crate::limits;
use crate::media::types::{self, Class};
use crate::origin::gzip;
use crate::shard::prefetch::Place;
use crate::store::Held;
use crate::store::growing::Growing;
use crate::store::message::{Ask, Message, Publication, Refusal, Reply, Streaming, UploadId};
use crate::store::object::{Body, Parts, Record};
use crate::sys::extent::Extent;
use crate::tier::disk::attributes::Attributes;
use crate::tier::disk::sums::{ChunkSumming, Chunks};

/// A version on its way from a slower tier.
pub(in crate::shard) struct Filling {
    record: Arc<Record>,
    pub(in crate::shard) growing: Arc<Growing>,
    pub(in crate::shard) upload: UploadId,
    pub(in crate::shard) extents: Vec<Extent>,
}

impl Shard {
    /// Whether what a slower tier has becomes an object that can be read while it comes.
    pub(in crate::shard) fn is_filled(
        &self,
        key: &[u8],
        attributes: &Attributes,
        is_summed: bool,
    ) -> bool {
        let Attributes { length, content_type, lines, chunks, .. } = attributes;
        let class = types::class(key, content_type);
        let is_compressed =
            || gzip::is_offered(&self.rules.borrow().paths, key, class) && !gzip::is_coded(lines);
        *length > limits::DISK_CHUNK_BYTES_MIN
            && (chunks.is_some() || !is_summed)
            && class != Class::Manifest
            && !is_compressed()
    }

    /// Fills an object, which can be read when its first bytes are there.
    pub(super) async fn fill(
        &self,
        disk: &Disk,
        key: &[u8],
        found: &Found<'_>,
        purpose: Purpose<'_>,
    ) -> Result<(), Refusal> {
        let publication = self.loaded_publication(key, &found.attributes, None);
        let filling = self.begin_filling(key, &publication, purpose.ahead).await?;
        let Some(filling) = filling else { return Ok(()) };
        let begun = || {
            (purpose.begun)();
            disk.turns.wake(&self.reactor.tasks, key);
        };
        if let Err(error) = self.read_into(found, &filling, &begun).await {
            tracing::warn!("a file cannot be read: {error}");
            self.post(self.id, Message::Abort { upload: filling.upload });
            return Err(Refusal::Damaged);
        }
        self.accounts.meters.disk_read_bytes.add(found.attributes.length);
        self.end_filling(key, &filling, publication).await
    }

    /// Publishes a version that has no bytes yet; none where an upload was faster.
    pub(in crate::shard) async fn begin_filling(
        &self,
        key: &[u8],
        publication: &Publication,
        ahead: Option<&Place<'_>>,
    ) -> Result<Option<Filling>, Refusal> {
        let growing = Arc::new(Growing::filled(self.next_growing(), publication.length));
        let record = Record::new(Parts {
            key,
            etag: &publication.etag,
            fields: publication.fields.clone(),
            modified_s: publication.modified_s,
            stored_ms: self.reactor.clock.now_ms(),
            expires_ms: publication.expires_ms,
            body: Body::Growing(growing.clone()),
        });
        if ahead.is_some() {
            record.heat.set_ahead();
        }
        let stream = Streaming { record: record.clone(), aside_only: false };
        let begun = self.begin_loaded(key, publication.length, Some(stream), ahead).await?;
        Ok(begun.map(|(upload, extents)| Filling { record, growing, upload, extents }))
    }

    /// Reads the file, and lets readers have what was right. The last piece is left to the end of
    /// the upload, which says where all of it lies.
    async fn read_into(
        &self,
        found: &Found<'_>,
        filling: &Filling,
        begun: &dyn Fn(),
    ) -> io::Result<()> {
        let length = found.attributes.length;
        let mut file = Reading::begin(self, found);
        let mut check = found.attributes.chunks.as_ref().map(Check::new);
        // Without sums nothing is copied out.
        let mut scratch = vec![0; check.as_ref().map_or(0, |_| limits::DISK_SUM_BYTES)];
        let first = check.as_ref().map_or(limits::DISK_FIRST_BYTES, |check| check.of.bytes);
        let (mut done, mut seen) = (0, 0);
        for &extent in &filling.extents {
            let mut at = 0;
            while at < extent.len {
                let most = if done < first { first - done } else { length };
                file.is_ahead = filling.record.heat.is_ahead();
                let count = file.read(self, extent, at, most).await?;
                if let Some(check) = &mut check {
                    let piece = (extent, at, count);
                    self.each_piece(piece, &mut scratch, |bytes| check.sums.update(bytes)).await;
                    check.is_right_so_far()?;
                }
                at += count;
                done += u64::from(count);
                let right = check.as_ref().map_or(done, |check| check.right_bytes());
                if right > seen && done < length {
                    self.show_growth(&filling.growing, right);
                    if std::mem::replace(&mut seen, right) == 0 {
                        begun();
                        // A large read keeps the ring busy: what is there leaves before it.
                        for _ in 0..limits::FILL_TURNS {
                            self.give_way().await;
                        }
                    }
                }
            }
        }
        check.map_or(Ok(()), Check::ends_right)
    }

    /// Makes the version an ordinary one, which may give way to others.
    pub(in crate::shard) async fn end_filling(
        &self,
        key: &[u8],
        filling: &Filling,
        publication: Publication,
    ) -> Result<(), Refusal> {
        match self.ask_here(Ask::Commit { upload: filling.upload, publication }).await {
            Reply::Committed { .. } => {
                let is_ours = |held: &Rc<Held>| Arc::ptr_eq(&held.record, &filling.record);
                if let Some(held) = self.peek(key).filter(is_ours) {
                    self.store.borrow_mut().note_backed(held.lease());
                }
                Ok(())
            }
            Reply::Refused(Refusal::Superseded) => Ok(()),
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(Refusal::Busy),
        }
    }
}

/// Compares the chunks of a body with their sums.
pub(in crate::shard) struct Check<'a> {
    of: &'a Chunks,
    sums: ChunkSumming,
}

impl<'a> Check<'a> {
    pub(in crate::shard) fn new(of: &'a Chunks) -> Self {
        Self { of, sums: ChunkSumming::new(of.bytes) }
    }

    /// Adds the next bytes; an error when a chunk is complete that has another sum.
    pub(in crate::shard) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sums.update(bytes);
        self.is_right_so_far()
    }

    fn is_right_so_far(&self) -> io::Result<()> {
        let is_right = self.of.sums.starts_with(self.sums.complete());
        is_right.then_some(()).ok_or_else(other_bytes)
    }

    /// Bytes of the chunks that are complete; the last one, when it is shorter, never is.
    pub(in crate::shard) fn right_bytes(&self) -> u64 {
        self.sums.complete().len() as u64 * self.of.bytes
    }

    /// An error unless the chunks are these, now that the body has ended.
    pub(in crate::shard) fn ends_right(self) -> io::Result<()> {
        (self.sums.finish() == *self.of).then_some(()).ok_or_else(other_bytes)
    }
}

fn other_bytes() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not what was written")
}
