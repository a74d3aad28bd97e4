//! Reads of the store: an object, or the description of a large one and a chunk of it, become
//! objects in memory, once, whoever waits for them.
//!
//! As on disk, a small body, and one that has a sum of the whole only, is in an upload that nobody
//! sees until it is whole and its sum is right; larger ones are filled (`fill`), and of those from
//! `disk.large_bytes_min` on only what is read comes. A chunk is asked for under the store's tag of
//! the version that was described, or else compared with what its answer says of the version.
//!
//! Invariants: no byte is served that differs from a sum that is known of it; a chunk's bytes are
//! those of the version that its name says.

use super::transfer::{Line, refusal};
use super::{RemoteTier, Shard};
use crate::digest::Digest;
use crate::limits;
use crate::media::types;
use crate::origin::write;
use crate::shard::disk::load::Purpose;
use crate::shard::prefetch::Place;
use crate::store::message::{Message, Refusal, Reply};
use crate::store::object::Chunking;
use crate::sys::clock::Clock;
use crate::sys::extent::Extent;
use crate::tier::disk::attributes::Attributes;
use crate::tier::disk::chunk;
use crate::tier::remote::{Event, Found, Only, Work};

impl Shard {
    /// Brings the key into memory: `Loaded`, or `Absent`. Where it can be read before all of it is
    /// there, `begun` is called then.
    pub(super) async fn load_remote(
        &self,
        tier: &RemoteTier,
        key: &[u8],
        purpose: Purpose<'_>,
    ) -> Result<Reply, Refusal> {
        if self.peek(key).is_some() {
            return Ok(Reply::Loaded);
        }
        if self.is_known_absent_remote(tier, key) {
            return Ok(Reply::Absent);
        }
        let now_ms = self.reactor.clock.now_ms();
        let (until_ms, failed_by) = tier.failed.get();
        if now_ms < until_ms {
            return Err(failed_by);
        }
        let loaded = self.load_new(tier, key, purpose).await;
        match &loaded {
            Ok(Reply::Loaded) => self.accounts.meters.remote_loads.bump(),
            Ok(_) => {
                tier.absent.note(key, self.reactor.clock.now_ms());
                self.accounts.meters.remote_absent.bump();
            }
            Err(refusal) => self.note_failed_remote(tier, *refusal),
        }
        loaded
    }

    fn note_failed_remote(&self, tier: &RemoteTier, refusal: Refusal) {
        self.accounts.meters.remote_failed.bump();
        let is_of_store =
            matches!(refusal, Refusal::RemoteDown | Refusal::RemoteSlow | Refusal::RemoteDenied);
        if is_of_store {
            let until_ms = self.reactor.clock.now_ms() + limits::REMOTE_FAILED_MS;
            tier.failed.set((until_ms, refusal));
        }
    }

    async fn load_new(
        &self,
        tier: &RemoteTier,
        key: &[u8],
        purpose: Purpose<'_>,
    ) -> Result<Reply, Refusal> {
        let mut line = self.order(tier, Work::Get { key: key.into() })?;
        let Some(mut found) = line.found().await? else { return Ok(Reply::Absent) };
        if let Some(over) = self.is_over(key, &found.attributes) {
            drop(line);
            self.erase_version(tier, key, Some(over)).await?;
            return Ok(Reply::Absent);
        }
        fill_in(key, &mut found.attributes);
        let Found { attributes, is_summed, tag } = *found;
        let loaded = if self.is_large(key, &attributes, is_summed) && tag.is_some() {
            drop(line);
            self.load_description(key, &attributes, tag, purpose.ahead).await
        } else if self.is_filled(key, &attributes, is_summed) {
            self.fill_remote(tier, key, &attributes, &mut line, purpose).await
        } else {
            self.load_whole_remote(key, (&attributes, is_summed), &mut line, purpose.ahead).await
        };
        loaded.map(|()| Reply::Loaded)
    }

    /// Under which condition an object is to go whose time is over, if it is.
    fn is_over(&self, key: &[u8], attributes: &Attributes) -> Option<Only> {
        let wall_ms = Clock::wall_ms();
        if attributes.expires_ms.is_some_and(|ms| ms <= wall_ms) {
            return Some(Only::ExpiredBy(wall_ms));
        }
        let after_s = self.rules.borrow().paths.expire_after_s(key)?;
        let until_s = (wall_ms / 1000).checked_sub(after_s)?;
        (attributes.modified_s <= until_s).then_some(Only::StoredBy(until_s))
    }

    async fn load_whole_remote(
        &self,
        key: &[u8],
        (attributes, is_summed): (&Attributes, bool),
        line: &mut Line,
        ahead: Option<&Place<'_>>,
    ) -> Result<(), Refusal> {
        let length = attributes.length;
        let begun = self.begin_loaded(key, length, None, ahead).await?;
        let Some((upload, extents)) = begun else { return Ok(()) };
        match self.receive_pieces(line, &extents, length).await {
            Ok(sum) if !is_summed || sum == attributes.sum => {}
            other => {
                self.post(self.id, Message::Abort { upload });
                tracing::warn!("an object of the remote store did not arrive as it was sent");
                return Err(other.err().unwrap_or(Refusal::Damaged));
            }
        }
        self.accounts.meters.remote_read_bytes.add(length);
        self.publish_loaded(key, upload, attributes, None, ahead).await
    }

    /// Brings a chunk into memory: `Loaded`, or `Absent` when the store has another version.
    pub(super) async fn load_chunk_remote(
        &self,
        tier: &RemoteTier,
        name: &[u8],
        chunking: Chunking,
    ) -> Result<Reply, Refusal> {
        if self.peek(name).is_some() {
            return Ok(Reply::Loaded);
        }
        let loaded = self.load_part_remote(tier, name, chunking).await;
        if let Err(refusal) = &loaded {
            self.note_failed_remote(tier, *refusal);
        }
        loaded
    }

    async fn load_part_remote(
        &self,
        tier: &RemoteTier,
        name: &[u8],
        Chunking { bytes, stored_as }: Chunking,
    ) -> Result<Reply, Refusal> {
        let Some((key, wanted, index)) = chunk::parse(name) else { return Ok(Reply::Absent) };
        let first = index.saturating_mul(bytes);
        let range = first..first.saturating_add(bytes);
        let work = Work::Part { key: key.into(), range, tag: stored_as };
        let mut line = self.order(tier, work)?;
        let Some(found) = line.found().await? else { return Ok(Reply::Absent) };
        let attributes = &found.attributes;
        let is_over = attributes.expires_ms.is_some_and(|ms| ms <= Clock::wall_ms());
        let is_other = chunk::tag_of(&attributes.etag, bytes) != wanted;
        if is_other || is_over || first >= attributes.length {
            return Ok(Reply::Absent);
        }
        let here = bytes.min(attributes.length - first);
        let Some((upload, extents)) = self.begin_part(name, here, None, None).await? else {
            return Ok(Reply::Loaded);
        };
        let received = self.receive_pieces(&mut line, &extents, here).await;
        let checked = match received {
            Ok(_) => self.check_part(attributes, first, &extents).await.map_err(|error| {
                tracing::warn!("a chunk of the remote store cannot be used: {error}");
                Refusal::Damaged
            }),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = checked {
            self.post(self.id, Message::Abort { upload });
            return Err(refusal);
        }
        self.accounts.meters.remote_read_bytes.add(here);
        self.accounts.meters.remote_chunks.bump();
        self.publish_chunk(name, upload, attributes, here).await
    }

    /// Fills the extents; the sum of what came.
    async fn receive_pieces(
        &self,
        line: &mut Line,
        extents: &[Extent],
        length: u64,
    ) -> Result<u128, Refusal> {
        let mut sum = Digest::new();
        let (mut left, mut place) = (length, Spot::of(extents));
        while let Some(piece) = line.piece(left).await? {
            left -= piece.len() as u64;
            sum.update(&piece);
            self.put_down(&mut place, &piece)?;
        }
        Ok(sum.finish())
    }

    /// Copies a piece into the extents.
    pub(super) fn put_down(&self, place: &mut Spot<'_>, piece: &[u8]) -> Result<(), Refusal> {
        let mut bytes = piece;
        while !bytes.is_empty() {
            if place.at == place.extent.len {
                let (&extent, rest) = place.rest.split_first().ok_or(Refusal::Damaged)?;
                *place = Spot { extent, at: 0, rest };
            }
            let count = bytes.len().min((place.extent.len - place.at) as usize);
            self.reactor.arena().write(place.extent, place.at, &bytes[..count]);
            place.at += u32::try_from(count).expect("within one extent");
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

/// Where the next bytes of a body go.
pub(super) struct Spot<'a> {
    extent: Extent,
    at: u32,
    rest: &'a [Extent],
}

impl<'a> Spot<'a> {
    /// The beginning of these extents.
    pub(super) fn of(extents: &'a [Extent]) -> Self {
        Self { extent: Extent { slot: 0, offset: 0, len: 0 }, at: 0, rest: extents }
    }
}

impl Line {
    /// What the store has; none where there is nothing.
    async fn found(&mut self) -> Result<Option<Box<Found>>, Refusal> {
        match self.next().await {
            Event::Found(found) => Ok(Some(found)),
            Event::Failed(fault) => Err(refusal(fault)),
            _ => Ok(None),
        }
    }

    /// The next bytes of a body of which so many are `left`; none behind the last.
    pub(super) async fn piece(&mut self, left: u64) -> Result<Option<Vec<u8>>, Refusal> {
        match self.next().await {
            Event::Piece(piece) if piece.len() as u64 <= left => Ok(Some(piece)),
            Event::Done if left == 0 => Ok(None),
            Event::Failed(fault) => Err(refusal(fault)),
            // It was replaced in the store meanwhile: the next read finds the new version.
            Event::Absent => Err(Refusal::Busy),
            _ => Err(Refusal::Damaged),
        }
    }
}

/// What the store does not say of an object is said by its name.
fn fill_in(key: &[u8], attributes: &mut Attributes) {
    if attributes.content_type.is_empty() {
        let of_name = types::of_extension(key).unwrap_or("application/octet-stream");
        attributes.content_type = of_name.as_bytes().into();
    }
    if attributes.cache_control.is_empty() {
        let class = types::class(key, &attributes.content_type);
        attributes.cache_control = write::default_cache_control(class, None).as_bytes().into();
    }
}
