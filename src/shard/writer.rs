//! Where a body's bytes go: the extents of its upload, and whatever is learnt of it on the way.
//!
//! Bytes either come by copy, from a buffer, or lie in the extents already, received there.
//!
//! Invariants: nothing is written beyond what the owner has allotted, nor beyond the longest body
//! allowed; what was published is not written any more.

use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use super::body::BodyFault;
use super::payload::Payload;
use crate::digest::Digest;
use crate::limits;
use crate::media::boxes::{self, Fragment};
use crate::media::types::{self, Class};
use crate::origin::write::Intent;
use crate::store::growing::Growing;
use crate::store::message::{Ask, Quality, Refusal, Reply, UploadId};
use crate::sys::extent::{Extent, ShardId};

/// Writes a body into the extents of its upload.
pub(super) struct Writer {
    shard: Rc<Shard>,
    owner: ShardId,
    upload: UploadId,
    extents: Vec<Extent>,
    growing: Option<Arc<Growing>>,
    /// Extent being written, and bytes of it that are written.
    place: usize,
    at: u32,
    written: u64,
    published: u64,
    bytes_max: u64,
    watcher: Watcher,
    /// What a dialect wants of the body.
    payload: Option<Box<Payload>>,
    /// The longest pause, in milliseconds, where another encoder may take over.
    pub(super) pause_ms: Option<u64>,
}

/// What is learnt of a body from its bytes, in their order.
struct Watcher {
    digest: Option<Box<Digest>>,
    manifest: Option<Vec<u8>>,
    /// Goes through the boxes where another encoder's copy may be the better one.
    boxes: Option<Box<boxes::Reader>>,
    /// Duration of the fragments so far, in units of their timescale.
    media_units: u64,
}

impl Watcher {
    fn look_at(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        if let Some(boxes) = &mut self.boxes {
            // A fault is kept, and told at the end.
            let units = &mut self.media_units;
            let _ = boxes.feed(bytes, &mut |one| *units = units.saturating_add(one.duration));
        }
        if let Some(manifest) = &mut self.manifest {
            let room = limits::MANIFEST_BYTES_MAX - manifest.len();
            manifest.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

impl Writer {
    pub(super) fn new(
        shard: Rc<Shard>,
        owner: ShardId,
        upload: UploadId,
        extents: Vec<Extent>,
        growing: Option<Arc<Growing>>,
        intent: &Intent,
    ) -> Self {
        // A growing object's tag was fixed at its start; all others are named by their content.
        let digest = growing.is_none().then(|| Box::new(Digest::new()));
        let manifest = (intent.class == Class::Manifest).then(Vec::new);
        let pipeline = intent.guard.pipeline.as_ref();
        let has_boxes = pipeline.is_some() && types::has_boxes(&intent.content_type);
        let boxes = has_boxes.then(|| Box::new(boxes::Reader::new(boxes::Tracks::default())));
        Self {
            shard,
            owner,
            upload,
            extents,
            growing,
            place: 0,
            at: 0,
            written: 0,
            published: 0,
            bytes_max: intent.bytes_max,
            watcher: Watcher { digest, manifest, boxes, media_units: 0 },
            payload: None,
            pause_ms: pipeline.map(|pipeline| pipeline.failover_ms),
        }
    }

    /// Has the body judged as a dialect wants it.
    pub(super) fn judge(&mut self, payload: Option<Box<Payload>>) {
        self.payload = payload;
    }

    /// The digest of the body, where it was judged.
    ///
    /// # Errors
    /// When it is not the body that was announced.
    pub(super) fn verdict(&mut self) -> Result<Option<[u8; 32]>, BodyFault> {
        self.payload.take().map(|payload| payload.finish()).transpose().map_err(BodyFault::Payload)
    }

    /// Writes a body that is at hand into the extents that were allotted for it.
    pub(super) fn fill_whole(shard: &Shard, extents: &[Extent], body: &[u8]) {
        let mut rest = body;
        for &extent in extents {
            let (now, later) = rest.split_at(rest.len().min(extent.len as usize));
            shard.reactor.arena().write(extent, 0, now);
            rest = later;
        }
        debug_assert!(rest.is_empty(), "room for all of it was asked for");
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// The content's 128-bit digest.
    pub(super) fn digest(&mut self) -> u128 {
        self.watcher.digest.as_ref().map_or(0, |digest| digest.finish())
    }

    /// What the body's boxes tell of it, once it is complete; nothing bad of what was not looked
    /// into.
    pub(super) fn quality(&mut self) -> Quality {
        let watcher = &mut self.watcher;
        let units = &mut watcher.media_units;
        let mut add = |one: Fragment| *units = units.saturating_add(one.duration);
        let is_sound = watcher.boxes.take().is_none_or(|mut boxes| boxes.finish(&mut add).is_ok());
        Quality { is_sound, media_units: watcher.media_units }
    }

    /// The first bytes of a manifest.
    pub(super) fn manifest(&self) -> Option<&[u8]> {
        self.watcher.manifest.as_deref()
    }

    /// Writes bytes that lie in a buffer.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), BodyFault> {
        match self.payload.take() {
            None => self.store(bytes).await,
            Some(payload) => Box::pin(self.write_judged(payload, bytes)).await,
        }
    }

    async fn write_judged(
        &mut self,
        mut payload: Box<Payload>,
        bytes: &[u8],
    ) -> Result<(), BodyFault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (used, data) = payload.step(rest).map_err(BodyFault::Payload)?;
            self.store(&rest[data]).await?;
            rest = &rest[used..];
        }
        self.payload = Some(payload);
        Ok(())
    }

    async fn store(&mut self, bytes: &[u8]) -> Result<(), BodyFault> {
        self.judge_room(bytes.len() as u64)?;
        self.watcher.look_at(bytes);
        let mut rest = bytes;
        loop {
            rest = self.fill(rest);
            if rest.is_empty() {
                return Ok(());
            }
            // What is written so far is worth reading while the owner looks for room.
            self.publish();
            self.extend(rest.len() as u64).await?;
        }
    }

    /// Whether the body is stored as it comes, so that it may be received where it is to lie.
    pub(super) fn takes_directly(&self) -> bool {
        self.payload.is_none()
    }

    /// Where the next bytes are to lie, of `left` that are to come.
    pub(super) async fn place(&mut self, left: u64) -> Result<(Extent, u32, u32), BodyFault> {
        self.judge_room(left)?;
        while self.place == self.extents.len() {
            self.extend(left).await?;
        }
        let extent = self.extents[self.place];
        let most = limits::DIRECT_BYTES_MAX.min(extent.len - self.at);
        Ok((extent, self.at, u32::try_from(left).unwrap_or(u32::MAX).min(most)))
    }

    /// Takes bytes that were received there.
    pub(super) fn take(&mut self, count: u32) {
        let extent = self.extents[self.place];
        self.shard.reactor.arena().look_at(extent, self.at, count, |bytes| {
            self.watcher.look_at(bytes);
        });
        self.advance(extent, count);
    }

    fn judge_room(&self, bytes: u64) -> Result<(), BodyFault> {
        if self.growing.as_ref().is_some_and(|growing| growing.is_cut()) {
            return Err(BodyFault::Refused(Refusal::Superseded));
        }
        match self.written + bytes > self.bytes_max {
            true => Err(BodyFault::TooLarge),
            false => Ok(()),
        }
    }

    /// Writes into the extents at hand; what did not fit is returned.
    fn fill<'a>(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        while let Some(&extent) = self.extents.get(self.place)
            && !rest.is_empty()
        {
            let room = (extent.len - self.at) as usize;
            let (now, later) = rest.split_at(rest.len().min(room));
            self.shard.reactor.arena().write(extent, self.at, now);
            self.advance(extent, u32::try_from(now.len()).expect("within one extent"));
            rest = later;
        }
        rest
    }

    fn advance(&mut self, extent: Extent, count: u32) {
        self.at += count;
        self.written += u64::from(count);
        if self.at == extent.len {
            self.place += 1;
            self.at = 0;
        }
    }

    async fn extend(&mut self, bytes: u64) -> Result<(), BodyFault> {
        let extend = || Ask::Extend { upload: self.upload, bytes };
        match self.shard.ask_for_room(self.owner, extend).await {
            Reply::Extended { extents } => {
                self.extents.extend(extents);
                Ok(())
            }
            Reply::Refused(refusal) => Err(BodyFault::Refused(refusal)),
            _ => Err(BodyFault::Gone),
        }
    }

    /// Lets readers of a growing object see what has been written.
    pub(super) fn publish(&mut self) {
        let Some(growing) = &self.growing else { return };
        if self.written > self.published {
            self.published = self.written;
            self.shard.show_growth(growing, self.written);
        }
    }
}
