//! Folders on disk: made on the way to a file, synced once for all who changed them meanwhile.
//!
//! Invariants: a name counts as durable only after a sync that began after it was made; one sync of
//! a folder is under way at a time; a folder that this shard takes for existing had all folders
//! around it synced.

use std::io;
use std::os::fd::RawFd;
use std::task::Poll;

use super::{Disk, Key, Shard};
use crate::limits;
use crate::sys::folder::DataFolder;
use crate::sys::reactor::Open;
use crate::sys::task::TaskId;
use crate::tier::disk::path;

/// Syncs of one folder.
#[derive(Default)]
pub(super) struct FolderSync {
    running: bool,
    /// Syncs that have begun.
    begun: u64,
    /// The last one that ended, all before it included, and how.
    ended: u64,
    failed: bool,
    /// Tasks that need a sync that has not begun, or not ended.
    users: usize,
    waiting: Vec<TaskId>,
}

impl Shard {
    /// Opens a folder, which is made when it is missing.
    pub(super) async fn make_folder(
        &self,
        disk: &Disk,
        data: &DataFolder,
        folder: &[u8],
    ) -> io::Result<RawFd> {
        let mut tried = 0;
        loop {
            let known = disk.folders.borrow().get(folder).copied();
            if folder.is_empty() || known.is_some() {
                match self.open_folder(data, folder).await {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        disk.folders.borrow_mut().remove(folder);
                    }
                    // Another one may have been made in its place, and not be synced yet. Once it
                    // is open its name can be synced, whoever else removes folders meanwhile.
                    Ok(fd) if !folder.is_empty() && data.removals(folder) != known => {
                        match self.sync_opened(disk, data, folder, fd).await {
                            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                            synced => return synced,
                        }
                    }
                    opened => return opened,
                }
            }
            tried += 1;
            match self.make_ancestors(disk, data, folder).await {
                Ok(()) => {}
                // Somebody takes emptied folders away at the same time.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && tried < limits::DISK_FOLDER_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
            if tried > limits::DISK_FOLDER_ATTEMPTS {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
    }

    async fn sync_opened(
        &self,
        disk: &Disk,
        data: &DataFolder,
        folder: &[u8],
        fd: RawFd,
    ) -> io::Result<RawFd> {
        let synced = self.make_ancestors(disk, data, folder).await;
        if synced.is_err() {
            self.reactor.close_file(fd);
        }
        synced.map(|()| fd)
    }

    pub(super) async fn open_folder(&self, data: &DataFolder, folder: &[u8]) -> io::Result<RawFd> {
        let path = if folder.is_empty() { b"." } else { folder };
        self.reactor.open(data.root(), path, Open::Folder).await
    }

    async fn make_ancestors(
        &self,
        disk: &Disk,
        data: &DataFolder,
        folder: &[u8],
    ) -> io::Result<()> {
        let removals = data.removals(folder);
        let mut around: Vec<u8> = Vec::new();
        for made in path::ancestors(folder) {
            let fd = self.open_folder(data, &around).await?;
            let done = self.make_and_sync(disk, fd, &around, path::split(made).1).await;
            self.reactor.close_file(fd);
            done?;
            around = made.to_vec();
        }
        let mut known = disk.folders.borrow_mut();
        if known.len() >= limits::DISK_FOLDERS_MAX {
            known.clear();
        }
        // While one is under way there is no number: the next save syncs again.
        known.insert(folder.into(), removals.unwrap_or(u32::MAX));
        Ok(())
    }

    async fn make_and_sync(
        &self,
        disk: &Disk,
        fd: RawFd,
        around: &[u8],
        name: &[u8],
    ) -> io::Result<()> {
        match self.reactor.make_folder(fd, name).await {
            Ok(()) => {}
            // Whoever made it may not have synced it yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        self.sync_folder(disk, fd, around).await
    }

    /// Waits until what was changed in the folder before this call is on the medium.
    pub(super) async fn sync_folder(
        &self,
        disk: &Disk,
        fd: RawFd,
        folder: &[u8],
    ) -> io::Result<()> {
        let wanted = {
            let mut syncs = disk.syncs.borrow_mut();
            let sync = syncs.entry(folder.into()).or_default();
            sync.users += 1;
            sync.begun + 1
        };
        let done = loop {
            if self.take_sync(disk, folder, wanted).await {
                let done = self.sync(disk, "syncing a folder", fd).await;
                self.end_sync(disk, folder, done.is_err());
            }
            let syncs = disk.syncs.borrow();
            let sync = &syncs[folder];
            if sync.ended >= wanted {
                break if sync.failed { Err(io::ErrorKind::Other.into()) } else { Ok(()) };
            }
        };
        let key: Key = folder.into();
        let mut syncs = disk.syncs.borrow_mut();
        let sync = syncs.get_mut(&key).expect("it has a user");
        sync.users -= 1;
        // A folder's failure is forgotten with its last user: the tier stays read-only.
        if sync.users == 0 {
            syncs.remove(&key);
        }
        done
    }

    /// Waits until the wanted sync has ended, or is this task's to run: `true`.
    async fn take_sync(&self, disk: &Disk, folder: &[u8], wanted: u64) -> bool {
        std::future::poll_fn(|_| {
            let mut syncs = disk.syncs.borrow_mut();
            let sync = syncs.get_mut(folder).expect("it has a user");
            if sync.ended >= wanted {
                return Poll::Ready(false);
            }
            if sync.running {
                sync.waiting.push(self.reactor.tasks.current());
                return Poll::Pending;
            }
            sync.running = true;
            sync.begun += 1;
            Poll::Ready(true)
        })
        .await
    }

    fn end_sync(&self, disk: &Disk, folder: &[u8], failed: bool) {
        let mut syncs = disk.syncs.borrow_mut();
        let sync = syncs.get_mut(folder).expect("it has a user");
        sync.running = false;
        sync.ended = sync.begun;
        sync.failed |= failed;
        self.accounts.meters.disk_folder_syncs.bump();
        for task in std::mem::take(&mut sync.waiting) {
            self.reactor.tasks.wake(task);
        }
    }

    /// Takes a folder away if nothing is in it, and those around it.
    pub(super) async fn prune_folder(&self, disk: &Disk, data: &DataFolder, folder: &[u8]) {
        let mut rest = folder;
        while !rest.is_empty() {
            disk.folders.borrow_mut().remove(rest);
            let (around, name) = path::split(rest);
            let Ok(fd) = self.open_folder(data, around).await else { return };
            data.begin_removal(rest);
            let removed = self.reactor.unlink(fd, name, true).await;
            data.end_removal(rest, removed.is_ok());
            self.reactor.close_file(fd);
            if removed.is_err() {
                return;
            }
            rest = around;
        }
    }
}
