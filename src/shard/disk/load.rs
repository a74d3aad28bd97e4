//! Cold reads: a file becomes an object in memory, once, whoever waits for it.
//!
//! A small body, or one that has a sum of the whole only, is read into the extents of an upload
//! that nobody sees until it is whole and its sum is right; larger ones are filled (`fill`). An
//! upload of the key that came first keeps its place: the load then has no effect.
//!
//! Invariants: no byte is served that was not checked against the sum written with it; only
//! regular files beneath the root are opened, through no link.

use std::io;
use std::os::fd::RawFd;

use super::reads::Turn;
use super::{Disk, Shard, errno};
use crate::digest::Digest;
use crate::limits;
use crate::media::types;
use crate::origin::gzip;
use crate::origin::write;
use crate::shard::prefetch::Place;
use crate::store::etag::Etag;
use crate::store::message::{
    Ask, Guard, Message, Publication, Quality, Refusal, Reply, Streaming, UploadId,
};
use crate::store::object::{Chunking, NEVER};
use crate::sys::clock::Clock;
use crate::sys::extent::Extent;
use crate::sys::folder::DataFolder;
use crate::sys::reactor::Open;
use crate::tier::disk::attributes::Attributes;

/// What a key is brought into memory for.
#[derive(Clone, Copy)]
pub(in crate::shard) struct Purpose<'a> {
    /// Called when it can be read, where that is before all of it is there.
    pub(in crate::shard) begun: &'a dyn Fn(),
    /// Nobody has asked for it yet.
    pub(in crate::shard) ahead: Option<&'a Place<'a>>,
}

impl Purpose<'_> {
    /// Somebody wants all of it.
    pub(in crate::shard) const WHOLE: Self = Self { begun: &|| {}, ahead: None };
}

/// A file that may become an object.
pub(super) struct Found<'a> {
    pub(super) fd: RawFd,
    pub(super) folder: &'a DataFolder,
    pub(super) attributes: Attributes,
    /// The sum is known.
    pub(super) is_summed: bool,
}

impl Shard {
    /// Brings the key into memory: `Loaded`, or `Absent`.
    pub(super) async fn load(
        &self,
        disk: &Disk,
        key: &[u8],
        purpose: Purpose<'_>,
    ) -> Result<Reply, Refusal> {
        if self.peek(key).is_some() {
            return Ok(Reply::Loaded);
        }
        for folder in [&disk.data, &disk.library].into_iter().flatten() {
            let Some(found) = self.find_file(disk, folder, key).await? else { continue };
            let Found { attributes, is_summed, .. } = &found;
            let loaded = match self.is_large(key, attributes, *is_summed) {
                true => self.describe_large(key, &found, purpose).await,
                false if self.is_filled(key, attributes, *is_summed) => {
                    self.fill(disk, key, &found, purpose).await
                }
                false => self.load_file(key, &found, purpose).await,
            };
            self.reactor.close_file(found.fd);
            match loaded {
                Ok(()) => self.accounts.meters.disk_loads.add(u64::from(purpose.ahead.is_none())),
                Err(Refusal::Damaged) => self.accounts.meters.disk_damaged.bump(),
                Err(_) => {}
            }
            return loaded.map(|()| Reply::Loaded);
        }
        // It may be in the folder that is away.
        if [&disk.data, &disk.library].into_iter().flatten().any(|folder| folder.is_away()) {
            return Err(Refusal::DiskFault);
        }
        disk.absent.note(key, self.reactor.clock.now_ms());
        self.accounts.meters.disk_absent.add(u64::from(purpose.ahead.is_none()));
        Ok(Reply::Absent)
    }

    pub(super) async fn find_file<'a>(
        &self,
        disk: &Disk,
        folder: &'a DataFolder,
        key: &[u8],
    ) -> Result<Option<Found<'a>>, Refusal> {
        let fd = match self.reactor.open(folder.root(), key, Open::Read).await {
            Ok(fd) => fd,
            Err(error) => return unopened(&error).map(|()| None),
        };
        let described = self.describe_file(folder, fd, key).await;
        let expired =
            |found: &Found| found.attributes.expires_ms.is_some_and(|ms| ms <= Clock::wall_ms());
        match described {
            Ok(Some(found)) if !expired(&found) => return Ok(Some(found)),
            Ok(Some(_)) if disk.writable().is_ok() => {
                self.reactor.close_file(fd);
                self.erase_file(disk, folder, key).await?;
                return Ok(None);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!("a file's metadata cannot be read: {error}");
                self.reactor.close_file(fd);
                return Err(Refusal::Damaged);
            }
        }
        self.reactor.close_file(fd);
        Ok(None)
    }

    /// What is known of an open file; `None` when it is no regular file.
    pub(super) async fn describe_file<'a>(
        &self,
        folder: &'a DataFolder,
        fd: RawFd,
        key: &[u8],
    ) -> io::Result<Option<Found<'a>>> {
        let now = self.reactor.status_now(fd).filter(|now| folder.has_at_hand(now.device));
        let status = match now {
            Some(status) => status,
            None => self.reactor.file_status(fd).await?,
        };
        if !status.is_regular {
            return Ok(None);
        }
        let is_plain = now.is_some() && folder.is_plain();
        let attribute = match is_plain {
            true => self.reactor.attribute_now(fd)?,
            false => self.reactor.attribute(fd).await?,
        };
        if let Some(value) = attribute {
            if is_plain {
                folder.note_attributes();
            }
            let attributes = Attributes::decode(&value);
            let attributes = attributes.filter(|attributes| attributes.length == status.bytes);
            let attributes = attributes.ok_or(io::ErrorKind::InvalidData)?;
            return Ok(Some(Found { fd, folder, attributes, is_summed: true }));
        }
        let attributes = plain_attributes(key, status.bytes, status.modified_ns);
        Ok(Some(Found { fd, folder, attributes, is_summed: false }))
    }

    async fn load_file(
        &self,
        key: &[u8],
        found: &Found<'_>,
        purpose: Purpose<'_>,
    ) -> Result<(), Refusal> {
        let length = found.attributes.length;
        let begun = self.begin_loaded(key, length, None, purpose.ahead).await?;
        let Some((upload, extents)) = begun else { return Ok(()) };
        let is_ahead = purpose.ahead.is_some();
        let sum = match self.read_body(found, &extents, is_ahead).await {
            Ok(sum) => sum,
            Err(error) => {
                tracing::warn!("a file cannot be read: {error}");
                self.post(self.id, Message::Abort { upload });
                return Err(Refusal::Damaged);
            }
        };
        if found.is_summed && sum != found.attributes.sum {
            tracing::warn!("a file on disk is not what was written to it");
            self.post(self.id, Message::Abort { upload });
            return Err(Refusal::Damaged);
        }
        self.accounts.meters.disk_read_bytes.add(length);
        self.publish_loaded(key, upload, &found.attributes, None, purpose.ahead).await
    }

    /// Fills the extents; the sum of what was read, where it will be looked at.
    async fn read_body(
        &self,
        found: &Found<'_>,
        extents: &[Extent],
        is_ahead: bool,
    ) -> io::Result<u128> {
        let mut sum = Digest::new();
        let mut scratch = vec![0; if found.is_summed { limits::DISK_SUM_BYTES } else { 0 }];
        let mut file = Reading::begin(self, found);
        file.is_ahead = is_ahead;
        for &extent in extents {
            let mut at = 0;
            while at < extent.len {
                let count = file.read(self, extent, at, u64::MAX).await?;
                if found.is_summed {
                    let piece = (extent, at, count);
                    self.each_piece(piece, &mut scratch, |bytes| sum.update(bytes)).await;
                }
                at += count;
            }
        }
        Ok(sum.finish())
    }

    /// Shows a part of an extent (from a byte on, so many) to `take`, a turn for each scratch-full.
    pub(in crate::shard) async fn each_piece(
        &self,
        (extent, at, count): (Extent, u32, u32),
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) {
        for from in (at..at + count).step_by(scratch.len()) {
            let part = scratch.len().min((at + count - from) as usize);
            self.reactor.arena().read(extent, from, &mut scratch[..part]);
            take(&scratch[..part]);
            self.give_way().await;
        }
    }

    /// Room for a version that comes from a slower tier, which is published now where there is a
    /// stream; none where an upload was faster.
    pub(in crate::shard) async fn begin_loaded(
        &self,
        key: &[u8],
        length: u64,
        stream: Option<Streaming>,
        ahead: Option<&Place<'_>>,
    ) -> Result<Option<(UploadId, Vec<Extent>)>, Refusal> {
        let otherwise = self.settings.object_bytes_max;
        if length > self.rules.borrow().paths.object_bytes_max(key, otherwise) {
            return Err(Refusal::TooLarge);
        }
        if let Some(place) = ahead {
            place.take(length)?;
        }
        self.begin_part(key, length, stream, ahead).await
    }

    /// The same for what is a part of an object only, which may be of any size.
    pub(in crate::shard) async fn begin_part(
        &self,
        key: &[u8],
        length: u64,
        stream: Option<Streaming>,
        ahead: Option<&Place<'_>>,
    ) -> Result<Option<(UploadId, Vec<Extent>)>, Refusal> {
        let begin = || {
            let guard = Guard { if_none_match: Some(b"*".as_slice().into()), ..Guard::default() };
            Ask::Begin { key: key.into(), declared: Some(length), guard, stream: stream.clone() }
        };
        let begun = match ahead {
            // What nobody has asked for has others evict nothing.
            Some(_) => self.ask_here(begin()).await,
            None => self.ask_for_room(self.id, begin).await,
        };
        match begun {
            Reply::Begun { upload, extents, .. } => Ok(Some((upload, extents))),
            Reply::Refused(Refusal::Precondition) => Ok(None),
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(Refusal::Busy),
        }
    }

    /// Makes what a slower tier had the version in memory, which may give way to others; only its
    /// description when it stays there `in_chunks`.
    pub(in crate::shard) async fn publish_loaded(
        &self,
        key: &[u8],
        upload: UploadId,
        attributes: &Attributes,
        in_chunks: Option<Chunking>,
        ahead: Option<&Place<'_>>,
    ) -> Result<(), Refusal> {
        let publication = self.loaded_publication(key, attributes, in_chunks);
        match self.ask_here(Ask::Commit { upload, publication }).await {
            Reply::Committed { .. } => {
                let loaded = self.peek(key);
                let ours = loaded.filter(|held| *held.record.etag() == *attributes.etag);
                if let Some(held) = ours {
                    if ahead.is_some() {
                        held.record.heat.set_ahead();
                    }
                    self.store.borrow_mut().note_backed(held.lease());
                }
                Ok(())
            }
            Reply::Refused(Refusal::Precondition) => Ok(()),
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(Refusal::Busy),
        }
    }

    /// What a version says of itself that comes from a slower tier.
    pub(in crate::shard) fn loaded_publication(
        &self,
        key: &[u8],
        attributes: &Attributes,
        in_chunks: Option<Chunking>,
    ) -> Publication {
        let Attributes { etag, content_type, cache_control, .. } = attributes;
        let Attributes { length, modified_s, expires_ms, .. } = *attributes;
        let class = types::class(key, content_type);
        let varies = gzip::is_offered(&self.rules.borrow().paths, key, class);
        let varies = varies && !gzip::is_coded(&attributes.lines);
        let vary: &[u8] = if varies { gzip::VARY } else { b"" };
        let lines: Box<[u8]> = [vary, &attributes.lines].concat().into();
        let left_ms = expires_ms.map(|ms| ms.saturating_sub(Clock::wall_ms()));
        let now_ms = self.reactor.clock.now_ms();
        Publication {
            length,
            etag: Etag::from(&**etag),
            fields: self.fields(content_type, cache_control, &lines),
            modified_s,
            expires_ms: left_ms.map_or(NEVER, |left_ms| now_ms.saturating_add(left_ms)),
            gives_way: false,
            quality: Quality::UNKNOWN,
            in_chunks,
        }
    }
}

/// What is said of a file that has no metadata of its own.
pub(in crate::shard) fn plain_attributes(key: &[u8], bytes: u64, modified_ns: u128) -> Attributes {
    let content_type = types::of_extension(key).unwrap_or("application/octet-stream");
    let class = types::class(key, content_type.as_bytes());
    Attributes {
        length: bytes,
        modified_s: u64::try_from(modified_ns / 1_000_000_000).unwrap_or(0),
        expires_ms: None,
        sum: 0,
        chunks: None,
        etag: format!("\"f{modified_ns:x}-{bytes:x}\"").into_bytes().into(),
        content_type: content_type.as_bytes().into(),
        cache_control: write::default_cache_control(class, None).as_bytes().into(),
        lines: [].into(),
    }
}

/// A file that is read on from a place, its beginning at first.
///
/// Larger ones are read past the page cache, straight into the arena, as far as they have whole
/// blocks: memory is the cache, and copying into it costs more than anything else of a cold read.
pub(super) struct Reading<'a> {
    fd: RawFd,
    folder: &'a DataFolder,
    pub(super) place: u64,
    /// Nobody waits for it yet.
    pub(super) is_ahead: bool,
    is_direct: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn begin(shard: &Shard, found: &Found<'a>) -> Self {
        let Found { fd, folder, .. } = *found;
        let is_large = found.attributes.length >= limits::DISK_DIRECT_BYTES_MIN;
        let is_direct = is_large && shard.reactor.read_directly(fd, true);
        Self { fd, folder, place: 0, is_ahead: false, is_direct }
    }

    /// Reads on into an extent, from `at` of it; the bytes that it got, at least one and at most
    /// `most`.
    pub(super) async fn read(
        &mut self,
        shard: &Shard,
        extent: Extent,
        at: u32,
        most: u64,
    ) -> io::Result<u32> {
        let most = u32::try_from(most).unwrap_or(u32::MAX).min(limits::DISK_READ_BYTES);
        loop {
            let wanted = (extent.len - at).min(most);
            let blocks = wanted - wanted % limits::DISK_BLOCK_BYTES;
            if self.is_direct && blocks == 0 {
                self.is_direct = shard.reactor.read_directly(self.fd, false);
            }
            let len = if self.is_direct { blocks } else { wanted };
            let count = {
                let _turn = self.turn(shard, len).await;
                shard.reactor.read_file(self.fd, self.place, (extent, at, len)).await
            };
            match count {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.place += u64::from(count);
                    return Ok(count);
                }
                // The file system, or the disk, wants larger blocks.
                Err(error) if self.is_direct && error.kind() == io::ErrorKind::InvalidInput => {
                    self.is_direct = shard.reactor.read_directly(self.fd, false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A turn for a read of so many bytes; the little that somebody waits for goes before all.
    async fn turn<'s>(&self, shard: &'s Shard, len: u32) -> Option<Turn<'s>> {
        let disk = shard.disk.as_deref().filter(|_| u64::from(len) > limits::DISK_FIRST_BYTES)?;
        Some(disk.reads(self.folder).enter(&shard.reactor.tasks, self.is_ahead).await)
    }
}

/// What a file that cannot be opened comes to.
pub(super) fn unopened(error: &io::Error) -> Result<(), Refusal> {
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::CrossesDevices => Ok(()),
        // A symbolic link.
        _ if error.raw_os_error() == Some(errno::ELOOP) => Ok(()),
        _ if matches!(error.raw_os_error(), Some(errno::EMFILE | errno::ENFILE)) => {
            Err(Refusal::Busy)
        }
        _ => {
            tracing::warn!("a file cannot be opened: {error}");
            Err(Refusal::Damaged)
        }
    }
}
