//! Which folders' files can be described without waiting.
//!
//! With an open file a local file system has its inode in memory: its size and kind, and whether
//! it has any extended attributes. Asking for them in a call of one's own then costs a microsecond,
//! where a turn through the ring's workers costs two wake-ups. Others (network, FUSE) may have to
//! ask somebody.
//!
//! Invariants: nothing is claimed of files on another device than the folder's; once a file was
//! seen that has attributes, which may lie in a block of their own, they are no longer at hand.
#![allow(unsafe_code)]

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Numbers of the file systems (statfs(2)) that keep what is known of an open file in memory.
const LOCAL: [i64; 5] =
    [libc::EXT4_SUPER_MAGIC, libc::XFS_SUPER_MAGIC, libc::BTRFS_SUPER_MAGIC, TMPFS, F2FS];
const TMPFS: i64 = libc::TMPFS_MAGIC;
const F2FS: i64 = 0xF2F5_2010;

/// What is at hand of a folder's files.
#[derive(Debug, Default)]
pub(super) struct AtHand {
    /// Major and minor number of the device; none where its file system may have to ask.
    device: Option<(u32, u32)>,
    has_attributes: AtomicBool,
}

impl AtHand {
    /// Looks what a folder lies on; blocks as long as its file system does.
    pub(super) fn of(root: &File) -> Self {
        let mut room = MaybeUninit::<libc::statfs>::uninit();
        // SAFETY: the descriptor is open and the answer has room.
        let result = unsafe { libc::fstatfs(root.as_raw_fd(), room.as_mut_ptr()) };
        if result != 0 {
            return Self::default();
        }
        // SAFETY: the call has filled it.
        let kind = unsafe { room.assume_init() }.f_type;
        let device = root.metadata().ok().filter(|_| LOCAL.contains(&kind)).map(|metadata| {
            let device = metadata.dev();
            (libc::major(device), libc::minor(device))
        });
        Self { device, ..Self::default() }
    }

    pub(super) fn has_status(&self, device: (u32, u32)) -> bool {
        self.device == Some(device)
    }

    pub(super) fn has_no_attributes_yet(&self) -> bool {
        !self.has_attributes.load(Relaxed)
    }

    pub(super) fn note_attributes(&self) {
        self.has_attributes.store(true, Relaxed);
    }
}
