//! Saving and erasing: temporary file, sync, rename, sync of the folder.
//!
//! Invariants: a file under a key's name is whole and synced before it gets the name; what could
//! not be saved is withdrawn from memory, so that nobody goes on reading what a restart would lose.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::load::Purpose;
use super::{Disk, Shard};
use crate::limits;
use crate::origin::gzip;
use crate::store::Held;
use crate::store::message::{Ask, Guard, Refusal, Reply};
use crate::store::object::{NEVER, Whole};
use crate::sys::clock::Clock;
use crate::sys::folder::DataFolder;
use crate::sys::reactor::Open;
use crate::tier::disk::attributes::Attributes;
use crate::tier::disk::path;
use crate::tier::disk::sums::{self, Summing};

impl Shard {
    /// Writes what memory has of the key, unless the disk has it.
    pub(super) async fn save(&self, disk: &Disk, key: &[u8], etag: &[u8]) -> Result<(), Refusal> {
        let Some(held) = self.peek(key) else { return self.find_saved(disk, key, etag).await };
        if held.record.whole().is_none_or(Whole::is_in_chunks)
            || self.store.borrow().is_backed(held.lease())
        {
            return Ok(());
        }
        let saved = self.save_version(disk, key, &held).await;
        let lease = held.lease();
        match saved {
            Ok(()) => {
                self.accounts.meters.disk_saved.bump();
                self.store.borrow_mut().note_backed(lease);
                disk.absent.forget(key);
            }
            Err(_) => {
                self.accounts.meters.disk_unsaved.bump();
                self.withdraw_unsaved(key, &held).await;
            }
        }
        saved
    }

    /// Memory has no version: another job may have saved it, a delete or a failure taken it away.
    async fn find_saved(&self, disk: &Disk, key: &[u8], etag: &[u8]) -> Result<(), Refusal> {
        let (data, _) = disk.writable()?;
        let found = self.find_file(disk, data, key).await?;
        let found = found.ok_or(Refusal::Superseded)?;
        self.reactor.close_file(found.fd);
        if *found.attributes.etag == *etag { Ok(()) } else { Err(Refusal::Superseded) }
    }

    pub(super) async fn withdraw_unsaved(&self, key: &[u8], held: &Rc<Held>) {
        let guard = Guard { if_match: Some(held.record.etag().into()), ..Guard::default() };
        self.ask_here(Ask::Delete { key: key.into(), guard }).await;
    }

    async fn save_version(&self, disk: &Disk, key: &[u8], held: &Rc<Held>) -> Result<(), Refusal> {
        let (data, temporary) = disk.writable()?;
        let whole = held.record.whole().expect("the caller looked");
        let summing = Summing::with_chunks(sums::chunk_bytes(whole.length()));
        let attributes = self.attributes(held, whole, summing).await;
        let attributes = attributes.encode().ok_or(Refusal::Unkeepable)?;
        let number = disk.number.replace(disk.number.get() + 1);
        let name = format!("{}-{number}", self.id).into_bytes();
        let opened = self.reactor.open(temporary, &name, Open::Create).await;
        let fd = opened.map_err(|error| Self::refusal(disk, "making a file", &error))?;
        let written = self.fill_file(disk, fd, held, whole, attributes).await;
        self.reactor.close_file(fd);
        let named = match written {
            Ok(()) => self.give_name(disk, data, (temporary, &name), key).await,
            Err(refusal) => Err(refusal),
        };
        if named.is_err() {
            // Gone already when only the sync of its folder failed.
            let _ = self.reactor.unlink(temporary, &name, false).await;
        }
        named
    }

    /// What is kept beside a body, with the sums that are begun.
    pub(in crate::shard) async fn attributes(
        &self,
        held: &Rc<Held>,
        whole: &Whole,
        mut sums: Summing,
    ) -> Attributes {
        let record = &held.record;
        let mut scratch = vec![0; limits::DISK_SUM_BYTES];
        for &extent in whole.extents() {
            let all = (extent, 0, extent.len);
            self.each_piece(all, &mut scratch, |bytes| sums.update(bytes)).await;
        }
        let left_ms = record.expires_ms.saturating_sub(self.reactor.clock.now_ms());
        let (sum, chunks) = sums.finish();
        Attributes {
            length: whole.length(),
            modified_s: record.modified_s(),
            expires_ms: (record.expires_ms != NEVER).then(|| Clock::wall_ms() + left_ms),
            sum,
            chunks,
            etag: record.etag().into(),
            content_type: record.fields.content_type.clone(),
            cache_control: record.fields.cache_control.clone(),
            lines: gzip::lines_without(&record.fields.lines).into(),
        }
    }

    async fn fill_file(
        &self,
        disk: &Disk,
        fd: RawFd,
        held: &Rc<Held>,
        whole: &Whole,
        attributes: Vec<u8>,
    ) -> Result<(), Refusal> {
        let fault = |what: &'static str| move |error: io::Error| Self::refusal(disk, what, &error);
        let mut place = 0;
        for &extent in whole.extents() {
            let mut at = 0;
            while at < extent.len {
                let piece = (extent, at, (extent.len - at).min(limits::DISK_PIECE_BYTES));
                let keep: Rc<dyn std::any::Any> = held.clone();
                let written = self.reactor.write_file(fd, place, piece, Some(keep)).await;
                let count = written.map_err(fault("writing a file"))?;
                if count == 0 {
                    return Err(Refusal::DiskFull);
                }
                at += count;
                place += u64::from(count);
            }
        }
        let set = self.reactor.set_attribute(fd, attributes).await;
        set.map_err(fault("writing an attribute"))?;
        self.accounts.meters.disk_written_bytes.add(place);
        self.sync(disk, "syncing a file", fd).await
    }

    /// Syncs a file or folder, once: the kernel takes pages that a failed sync lost for written,
    /// so that a second one would succeed and prove nothing. Hence none after a failure anywhere
    /// in the tier, and no success for one that was under way then.
    pub(super) async fn sync(&self, disk: &Disk, what: &str, fd: RawFd) -> Result<(), Refusal> {
        disk.writable()?;
        match self.reactor.sync_file(fd).await {
            Ok(()) => disk.writable().map(drop),
            Err(error) => {
                Self::give_up(disk, what, &error);
                Err(Refusal::ReadOnly)
            }
        }
    }

    async fn give_name(
        &self,
        disk: &Disk,
        data: &DataFolder,
        from: (RawFd, &[u8]),
        key: &[u8],
    ) -> Result<(), Refusal> {
        let (folder, name) = path::split(key);
        let mut tried = 0;
        loop {
            tried += 1;
            let made = self.make_folder(disk, data, folder).await;
            let fd = made.map_err(|error| Self::refusal(disk, "making a folder", &error))?;
            let renamed = self.reactor.rename(from, (fd, name)).await;
            Self::note_named(disk, folder);
            let done = match renamed {
                Ok(()) => self.sync_folder(disk, fd, folder).await.map_err(|_| Refusal::ReadOnly),
                // The folder was empty, and somebody took it away.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && tried < limits::DISK_FOLDER_ATTEMPTS =>
                {
                    self.reactor.close_file(fd);
                    continue;
                }
                Err(error) => Err(Self::refusal(disk, "naming a file", &error)),
            };
            self.reactor.close_file(fd);
            return done;
        }
    }

    /// Takes the key away from memory and disk.
    pub(super) async fn erase(
        &self,
        disk: &Disk,
        key: &[u8],
        guard: Guard,
    ) -> Result<Reply, Refusal> {
        if guard.if_match.is_some() || guard.if_none_match.is_some() {
            // The conditions are judged by what is on disk too.
            self.load(disk, key, Purpose::WHOLE).await?;
        }
        if disk.data.is_none() {
            return Ok(self.ask_here(Ask::Delete { key: key.into(), guard }).await);
        }
        let (data, _) = disk.writable()?;
        let reply = self.ask_here(Ask::Delete { key: key.into(), guard }).await;
        if matches!(reply, Reply::Refused(_)) {
            return Ok(reply);
        }
        match self.erase_file(disk, data, key).await? {
            true => Ok(Reply::Deleted),
            false => Ok(reply),
        }
    }

    /// Takes a key's file away; `false` when there was none.
    pub(super) async fn erase_file(
        &self,
        disk: &Disk,
        data: &DataFolder,
        key: &[u8],
    ) -> Result<bool, Refusal> {
        let (folder, name) = path::split(key);
        let is_missing = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        };
        let fd = match self.open_folder(data, folder).await {
            Err(error) if is_missing(&error) => return Ok(false),
            Err(error) => return Err(Self::refusal(disk, "opening a folder", &error)),
            Ok(fd) => fd,
        };
        let done = match self.reactor.unlink(fd, name, false).await {
            Ok(()) => match self.sync_folder(disk, fd, folder).await {
                Ok(()) => Ok(true),
                Err(_) => Err(Refusal::ReadOnly),
            },
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(Self::refusal(disk, "removing a file", &error)),
        };
        self.reactor.close_file(fd);
        if done == Ok(true) {
            self.prune_folder(disk, data, folder).await;
        }
        done
    }

    /// Lets other tasks run: hashing a large body takes milliseconds.
    pub(in crate::shard) async fn give_way(&self) {
        let mut is_back = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut is_back, true) {
                return std::task::Poll::Ready(());
            }
            self.reactor.tasks.wake(self.reactor.tasks.current());
            std::task::Poll::Pending
        })
        .await;
    }
}
