//! How full a file system is, measured against two marks.
//!
//! **Invariants**: without a high mark nothing is ever full or tight; what is tight stays so until
//! less than the low mark is used; whoever asks costs no call, whoever measures makes one.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How much of a file system may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Bytes in use, whoever uses them.
    Bytes(u64),
    /// Percent of what may be used, as df(1) counts.
    Percent(u8),
}

impl Mark {
    fn bytes(self, capacity_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                let share = u128::from(capacity_bytes) * u128::from(percent) / 100;
                u64::try_from(share).unwrap_or(u64::MAX)
            }
        }
    }
}

/// From where on a file system is full, and how far it is to be emptied then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// From here on uploads are refused; none: never.
    pub high: Option<Mark>,
    /// Below here nothing more has to go; none: the high mark.
    pub low: Option<Mark>,
}

/// What was measured last.
#[derive(Debug, Default)]
pub struct Room {
    marks: Marks,
    used_bytes: AtomicU64,
    capacity_bytes: AtomicU64,
    is_full: AtomicBool,
    is_tight: AtomicBool,
}

impl Room {
    /// Nothing is measured yet.
    pub fn new(marks: Marks) -> Self {
        Self { marks, ..Self::default() }
    }

    /// Bytes in use when they were measured last, whoever uses them.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    /// Bytes that can be in use.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes.load(Relaxed)
    }

    /// Whether the high mark was reached when it was measured last.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }

    /// Whether the high mark has been reached, and the low one not yet again.
    pub fn is_tight(&self) -> bool {
        self.is_tight.load(Relaxed)
    }

    /// Measures the file system of an open file; says in the log when it is full, and when it no
    /// longer is.
    ///
    /// # Errors
    /// Those of fstatvfs(3).
    pub fn measure(&self, file: &File) -> io::Result<()> {
        let mut status = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: the descriptor is open, and the value is as large as the kernel expects.
        if unsafe { libc::fstatvfs(file.as_raw_fd(), status.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has filled the whole value, since it returned 0.
        let status = unsafe { status.assume_init() };
        let used_bytes = (status.f_blocks - status.f_bfree).saturating_mul(status.f_frsize);
        let left_bytes = status.f_bavail.saturating_mul(status.f_frsize);
        self.note(used_bytes, used_bytes.saturating_add(left_bytes));
        Ok(())
    }

    fn note(&self, used_bytes: u64, capacity_bytes: u64) {
        self.used_bytes.store(used_bytes, Relaxed);
        self.capacity_bytes.store(capacity_bytes, Relaxed);
        let Some(high) = self.marks.high else { return };
        let is_full = used_bytes >= high.bytes(capacity_bytes);
        let low_bytes = self.marks.low.unwrap_or(high).bytes(capacity_bytes);
        self.is_tight.store(is_full || self.is_tight() && used_bytes >= low_bytes, Relaxed);
        if self.is_full.swap(is_full, Relaxed) == is_full {
            return;
        }
        match is_full {
            true => tracing::warn!(
                used_bytes,
                capacity_bytes,
                "the disk is used up to disk.high_water: uploads to it are refused"
            ),
            false => tracing::info!(used_bytes, capacity_bytes, "the disk takes uploads again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_full_is_tight_until_the_low_mark() {
        let marks = Marks { high: Some(Mark::Percent(90)), low: Some(Mark::Bytes(500)) };
        let room = Room::new(marks);
        for (used_bytes, is_full, is_tight) in [
            (899, false, false),
            (900, true, true),
            (899, false, true),
            (500, false, true),
            (499, false, false),
            (899, false, false),
            (1000, true, true),
        ] {
            room.note(used_bytes, 1000);
            assert_eq!((room.is_full(), room.is_tight()), (is_full, is_tight), "{used_bytes}");
        }
        assert_eq!((room.used_bytes(), room.capacity_bytes()), (1000, 1000));
    }

    #[test]
    fn without_a_mark_nothing_is_full() {
        let room = Room::new(Marks::default());
        room.note(1000, 1000);
        assert!(!room.is_full() && !room.is_tight());
        room.measure(&File::open(std::env::temp_dir()).unwrap()).unwrap();
        assert!(room.capacity_bytes() > 0);
    }
}
