//! File operations between submission and completion.
//!
//! Descriptors are looked up at submission, as the kernel does; everything else happens as late as
//! it may, except that a sync is for what was changed before it was submitted.

use std::os::fd::RawFd;

use super::faults::{SyncFate, happens};
use super::files::{Disk, Inode, Outcome};
use super::memory;
use super::operations::Kind;
use super::ring::{Due, Pending};
use super::state::{Object, State};
use super::{Sim, memory::Run};
use crate::sys::random::Random;
use crate::sys::ring::{Completion, FileOperation};

/// A file operation that the kernel has.
#[derive(Clone, Copy)]
pub(super) struct FileWork {
    operation: FileOperation,
    /// The file or folder, and the second one of a renaming.
    on: Inode,
    to: Inode,
    /// Changes before the submission.
    begun: u64,
}

impl State {
    /// Takes a file operation over from the submission queue.
    pub fn issue_file(&mut self, ring: usize, operation: FileOperation, user_data: u64) {
        let (fd, to_fd) = match operation {
            FileOperation::Pause { time } => return self.pause(ring, time, user_data),
            FileOperation::Close { fd } => {
                let object = self.descriptors.remove(&fd);
                assert!(matches!(object, Some(Object::File(_))), "an open file is closed");
                return self.post_later(ring, Completion::new(user_data, 0, 0));
            }
            FileOperation::Rename { from_folder, to_folder, .. } => (from_folder, to_folder),
            FileOperation::Open { folder: fd, .. }
            | FileOperation::Unlink { folder: fd, .. }
            | FileOperation::MakeFolder { folder: fd, .. }
            | FileOperation::Read { fd, .. }
            | FileOperation::Write { fd, .. }
            | FileOperation::Sync { fd }
            | FileOperation::SetAttribute { fd, .. }
            | FileOperation::ReadAttribute { fd, .. }
            | FileOperation::Status { fd, .. } => (fd, fd),
        };
        let (on, to) = (self.inode(fd), self.inode(to_fd));
        let begun = self.disk.changes();
        self.begin(ring, Kind::File(FileWork { operation, on, to, begun }), user_data);
    }

    fn inode(&self, fd: RawFd) -> Inode {
        let Some(Object::File(inode)) = self.object(fd) else {
            panic!("descriptor {fd} is not a file");
        };
        inode
    }

    fn pause(&mut self, ring: usize, time: *const [i64; 2], user_data: u64) {
        let [seconds, nanoseconds] = memory::value(time);
        let us = u64::try_from(seconds * 1_000_000 + nanoseconds / 1000).expect("a wait");
        let what = Due::Completion(Completion::new(user_data, -libc::ETIME, 0));
        let due_us = self.now_us + us;
        self.rings[ring].pending.push(Pending { due_us, seen: false, what });
    }

    /// Does the work, and says what its completion says.
    pub fn work(&mut self, work: FileWork) -> i32 {
        self.try_work(work).unwrap_or_else(|errno| -errno)
    }

    fn try_work(&mut self, work: FileWork) -> Outcome<i32> {
        let FileWork { operation, on, to, begun } = work;
        let disk = &mut self.disk;
        match operation {
            FileOperation::Open { path, how, .. } => {
                let flags = memory::value(how)[0];
                let wants = |flag: i32| flags & u64::from(flag.unsigned_abs()) != 0;
                let inode = disk.open(on, &memory::text(path), wants(libc::O_CREAT))?;
                if wants(libc::O_DIRECTORY) && !disk.is_folder(inode) {
                    return Err(libc::ENOTDIR);
                }
                return Ok(self.open(Object::File(inode)));
            }
            FileOperation::Read { start, len, at, .. } => {
                let bytes = disk.read(on, at, some(&mut self.random, len as usize))?;
                memory::write(start, bytes);
                return Ok(i32::try_from(bytes.len()).expect("below a piece"));
            }
            FileOperation::Write { start, len, at, .. } => {
                let len = some(&mut self.random, len as usize);
                disk.write(on, at, &Run { start, len }.read())?;
                return Ok(i32::try_from(len).expect("below a piece"));
            }
            FileOperation::Sync { .. } => return self.sync(on, begun),
            FileOperation::Rename { from, to: name, .. } => {
                disk.rename((on, &memory::text(from)), (to, &memory::text(name)))?;
            }
            FileOperation::Unlink { path, flags, .. } => {
                disk.unlink(on, &memory::text(path), flags == libc::AT_REMOVEDIR)?;
            }
            FileOperation::MakeFolder { path, .. } => disk.make_folder(on, &memory::text(path))?,
            FileOperation::SetAttribute { value, len, .. } => {
                disk.set_attribute(on, Run { start: value, len: len as usize }.read())?;
            }
            FileOperation::ReadAttribute { value, len, .. } => {
                let bytes = disk.attribute(on)?;
                assert!(bytes.len() <= len as usize, "ERANGE");
                memory::write(value, bytes);
                return Ok(i32::try_from(bytes.len()).expect("attributes are small"));
            }
            FileOperation::Status { into, .. } => {
                let kind = if disk.is_folder(on) { libc::S_IFDIR } else { libc::S_IFREG };
                memory::describe(into, kind, disk.bytes(on));
            }
            FileOperation::Close { .. } | FileOperation::Pause { .. } => {
                unreachable!("done when they were submitted")
            }
        }
        Ok(0)
    }

    fn sync(&mut self, inode: Inode, begun: u64) -> Outcome<i32> {
        self.syncs += 1;
        let faults = &self.faults;
        let is_folder = self.disk.is_folder(inode);
        match if is_folder { faults.folder_syncs } else { faults.file_syncs } {
            SyncFate::Works => self.disk.sync(inode, begun, true),
            SyncFate::Lies => {}
            SyncFate::Fails => {
                self.disk.sync(inode, begun, false);
                return Err(libc::EIO);
            }
        }
        Ok(0)
    }
}

/// How much of a read or write is done at once.
fn some(random: &mut Random, len: usize) -> usize {
    if len > 1 && happens(random, 8) { 1 + random.index(len) } else { len }
}

impl Sim {
    /// Puts a disk in: the descriptors of its root and of the tier's own folder.
    pub fn insert(&self, disk: Disk) -> [RawFd; 2] {
        let mut state = self.0.borrow_mut();
        state.disk = disk;
        [Disk::ROOT, Disk::OWN].map(|inode| state.open(Object::File(inode)))
    }

    /// What is left on the disk when the power fails now.
    pub fn cut(&self, random: &mut Random) -> Disk {
        self.0.borrow().disk.cut(random)
    }

    /// What becomes of syncs from now on: of files, and of folders.
    pub fn set_syncs(&self, files: SyncFate, folders: SyncFate) {
        let faults = &mut self.0.borrow_mut().faults;
        (faults.file_syncs, faults.folder_syncs) = (files, folders);
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.0.borrow().syncs
    }
}
