//! The seam to the kernel: operations go in, completions come out, one `enter` a turn,
//! and one more where large pieces follow.
//!
//! [`Ring`] turns an [`Operation`] into a submission and hands completions back as plain numbers.
//! Nothing above this file names an io_uring type, so that in tests a seeded double
//! (`super::sim`) takes the kernel's place; the product has one variant and pays for no choice.
//!
//! Invariants: only the thread that made a ring uses it (SINGLE_ISSUER, DEFER_TASKRUN); an
//! operation that has been pushed counts as seen by the kernel, whatever `enter` says; a full
//! submission queue is submitted, never dropped.
#![allow(unsafe_code)]

mod kernel;

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::cqueue;
pub use kernel::KernelRing;

use super::reactor::FileStatus;

#[cfg(test)]
use super::sim;

/// Buffer group of the ring's provided buffers.
pub const RECV_GROUP: u16 = 0;

/// One thing the kernel is asked to do. Pointers must stay valid until the terminal completion.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// Accepts connections until cancelled; one completion each.
    AcceptMulti {
        /// The listening socket.
        fd: RawFd,
    },
    /// Receives into provided buffers until cancelled or the end of the stream.
    RecvMulti {
        /// The connection.
        fd: RawFd,
    },
    /// Receives into one provided buffer.
    RecvOnce {
        /// The connection.
        fd: RawFd,
    },
    /// Receives into memory, as much as is there.
    RecvInto {
        /// The connection.
        fd: RawFd,
        /// First byte to fill.
        start: *mut u8,
        /// At most so many bytes.
        len: u32,
    },
    /// Sends one run of bytes.
    Send {
        /// The connection.
        fd: RawFd,
        /// First byte.
        start: *const u8,
        /// Bytes.
        len: u32,
        /// How much of it.
        effort: Effort,
    },
    /// Sends several runs of bytes.
    SendMsg {
        /// The connection.
        fd: RawFd,
        /// The message with its list of runs.
        message: *const libc::msghdr,
        /// How much of it.
        effort: Effort,
    },
    /// Sends from a registered slot without copying where the route allows.
    SendZc {
        /// The connection.
        fd: RawFd,
        /// First byte, inside the slot.
        start: *const u8,
        /// Bytes.
        len: u32,
        /// Index of the registered slot.
        slot: u16,
    },
    /// Cancels the operation with this user data.
    Cancel {
        /// Its user data.
        target: u64,
    },
    /// Posts a completion with `user_data` on another ring.
    Wake {
        /// The other ring.
        ring_fd: RawFd,
        /// What its completion says.
        user_data: u64,
    },
    /// Waits until the connection has room for bytes to send, has failed, or the peer has ended
    /// its side. Once, or for every change until cancelled.
    PollOut {
        /// The connection.
        fd: RawFd,
        /// Whether every change is told.
        multi: bool,
    },
    /// Waits until the event descriptor becomes readable, again and again.
    PollEvent {
        /// The event descriptor.
        fd: RawFd,
    },
    /// Something with a file, or a pause.
    File(FileOperation),
}

/// What can be done with files.
#[derive(Clone, Copy, Debug)]
pub enum FileOperation {
    /// Opens a path beneath a folder; the result is a descriptor.
    Open {
        /// The folder.
        folder: RawFd,
        /// Relative, with its end.
        path: *const libc::c_char,
        /// Flags, mode and how the path is resolved, as openat2(2) has them.
        how: *const [u64; 3],
    },
    /// Closes a descriptor.
    Close {
        /// The descriptor.
        fd: RawFd,
    },
    /// Reads into memory.
    Read {
        /// The file.
        fd: RawFd,
        /// First byte to fill.
        start: *mut u8,
        /// At most so many bytes.
        len: u32,
        /// Place in the file.
        at: u64,
    },
    /// Writes from memory.
    Write {
        /// The file.
        fd: RawFd,
        /// First byte.
        start: *const u8,
        /// Bytes.
        len: u32,
        /// Place in the file.
        at: u64,
    },
    /// Waits until a file's bytes, or a folder's names, are on the medium.
    Sync {
        /// File or folder.
        fd: RawFd,
    },
    /// Moves a name, replacing what had it.
    Rename {
        /// The folder of the old name.
        from_folder: RawFd,
        /// The old name.
        from: *const libc::c_char,
        /// The folder of the new name.
        to_folder: RawFd,
        /// The new name.
        to: *const libc::c_char,
    },
    /// Takes a name away.
    Unlink {
        /// The folder of the name.
        folder: RawFd,
        /// The name.
        path: *const libc::c_char,
        /// AT_REMOVEDIR, or nothing.
        flags: i32,
    },
    /// Makes a folder.
    MakeFolder {
        /// The folder around it.
        folder: RawFd,
        /// Its name.
        path: *const libc::c_char,
    },
    /// Sets an extended attribute.
    SetAttribute {
        /// The file.
        fd: RawFd,
        /// Name, with its end.
        name: *const libc::c_char,
        /// Value.
        value: *const u8,
        /// Bytes of it.
        len: u32,
    },
    /// Reads an extended attribute; the result is its length.
    ReadAttribute {
        /// The file.
        fd: RawFd,
        /// Name, with its end.
        name: *const libc::c_char,
        /// Where the value goes.
        value: *mut u8,
        /// Room for it.
        len: u32,
    },
    /// Size, kind and times of an open file.
    Status {
        /// The file.
        fd: RawFd,
        /// Where they go.
        into: *mut libc::statx,
    },
    /// Completes after a time, with ETIME.
    Pause {
        /// Seconds and nanoseconds.
        time: *const [i64; 2],
    },
}

/// How much of a send has to leave before it completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// All of it. Short all the same when the connection fails, when it is cancelled, and by the
    /// kernel's whim once the peer has ended its side.
    Whole,
    /// What there is room for at once.
    Now,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// As given with the operation.
    pub user_data: u64,
    /// Bytes or a descriptor; negative: an errno.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// A completion as the double makes it.
    pub fn new(user_data: u64, result: i32, flags: u32) -> Self {
        Self { user_data, result, flags }
    }

    /// Whether the operation goes on (multishot) or a notification is still to come (SEND_ZC).
    #[inline]
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// Whether this is the notification that zero-copy memory is free.
    #[inline]
    pub fn is_notification(&self) -> bool {
        cqueue::notif(self.flags)
    }

    /// The provided buffer that was taken, if any. Look even when the result is an error.
    #[inline]
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// On a notification: whether the kernel copied after all.
    #[inline]
    pub fn was_copied(&self) -> bool {
        self.result as u32 & ZC_COPIED != 0
    }
}

/// IORING_NOTIF_USAGE_ZC_COPIED.
const ZC_COPIED: u32 = 1 << 31;
/// IORING_SEND_ZC_REPORT_USAGE.
const ZC_REPORT_USAGE: u16 = 1 << 3;

/// Sizes of a ring's queues.
#[derive(Clone, Copy, Debug)]
pub struct RingSize {
    /// Submission entries.
    pub submissions: u32,
    /// Completion entries.
    pub completions: u32,
}

/// One shard's ring.
#[cfg_attr(test, expect(clippy::large_enum_variant, reason = "one ring a shard"))]
pub enum Ring {
    /// The kernel's.
    Kernel(KernelRing),
    /// The seeded double of a simulation.
    #[cfg(test)]
    Double(sim::Ring),
}

/// Passes a call on to whichever ring there is.
macro_rules! pass {
    ($ring:expr, $to:ident => $call:expr) => {
        match $ring {
            Ring::Kernel($to) => $call,
            #[cfg(test)]
            Ring::Double($to) => $call,
        }
    };
}

impl Ring {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    /// As `io_uring_setup`: EPERM (forbidden), ENOSYS (no io_uring), ENOMEM (memory or memlock).
    pub fn new(size: RingSize) -> io::Result<Self> {
        #[cfg(test)]
        if let Some(double) = sim::ring(size) {
            return Ok(Self::Double(double));
        }
        KernelRing::new(size).map(Self::Kernel)
    }

    /// The ring's descriptor, to which other rings post wake-ups.
    pub fn fd(&self) -> RawFd {
        pass!(self, ring => ring.fd())
    }

    /// Calls to `enter` so far.
    pub fn enters(&self) -> u64 {
        pass!(self, ring => ring.enters)
    }

    /// Times the submission queue was full.
    pub fn full(&self) -> u64 {
        pass!(self, ring => ring.full)
    }

    /// Times that completions had no room; they are kept and flushed by `enter`.
    pub fn overflows(&mut self) -> u32 {
        pass!(self, ring => ring.overflows())
    }

    /// Queues an operation; it reaches the kernel at the next [`Ring::enter`] at the latest.
    #[inline]
    pub fn push(&mut self, operation: Operation, user_data: u64) {
        pass!(self, ring => ring.push(operation, user_data));
    }

    /// Has reads of an open file pass the page cache by, or not; `false` where that is not so
    /// afterwards. Does not block. Reads then have to be of whole blocks.
    pub fn read_directly(&self, fd: RawFd, wanted: bool) -> bool {
        match self {
            Self::Kernel(_) => kernel::read_directly(fd, wanted),
            #[cfg(test)]
            Self::Double(_) => false,
        }
    }

    /// Size and kind of an open file, as far as the kernel has them in memory. Does not block.
    pub fn status_now(&self, fd: RawFd) -> Option<FileStatus> {
        match self {
            Self::Kernel(_) => kernel::status_now(fd),
            #[cfg(test)]
            Self::Double(_) => None,
        }
    }

    /// Lets the next `enter` wait for several completions at once, for a moment at most.
    #[inline]
    pub fn gather(&mut self, count: usize) {
        match self {
            Self::Kernel(ring) => ring.gather(count),
            #[cfg(test)]
            Self::Double(_) => {}
        }
    }

    /// Submits what is queued and waits for nothing.
    pub fn submit(&mut self) {
        pass!(self, ring => ring.submit());
    }

    /// Submits what is queued and waits for a completion: at most `timeout`, for ever when none.
    /// A zero timeout only lets the kernel run what is ready.
    ///
    /// # Errors
    /// EINTR, EBUSY, EAGAIN and ETIME are part of the day and not reported; others are bugs or
    /// an exhausted kernel.
    #[inline]
    pub fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        pass!(self, ring => ring.enter(timeout))
    }

    /// Takes up to `into`'s spare capacity of completions at once.
    #[inline]
    pub fn reap(&mut self, into: &mut Vec<Completion>) {
        pass!(self, ring => ring.reap(into));
    }

    /// Registers the memory of provided buffers.
    ///
    /// # Safety
    /// `entries` points to `count` page-aligned buffer entries that outlive the ring.
    pub(super) unsafe fn register_buffer_ring(&self, entries: u64, count: u16) -> io::Result<()> {
        // SAFETY: promised by the caller.
        pass!(self, ring => unsafe { ring.register_buffer_ring(entries, count) })
    }

    /// Makes an empty table of `slots` registered buffers.
    pub(super) fn register_table(&self, slots: u32) -> io::Result<()> {
        pass!(self, ring => ring.register_table(slots))
    }

    /// Puts one slot's memory into the table of registered buffers.
    ///
    /// # Safety
    /// The memory stays mapped until the ring is gone.
    pub(super) unsafe fn register_slot(&self, slot: u32, memory: libc::iovec) -> io::Result<()> {
        // SAFETY: promised by the caller.
        pass!(self, ring => unsafe { ring.register_slot(slot, memory) })
    }

    /// Takes a slot out of the table again; sends under way keep its memory.
    pub(super) fn withdraw_slot(&self, slot: u32) -> io::Result<()> {
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: an empty place names no memory.
        pass!(self, ring => unsafe { ring.register_slot(slot, nothing) })
    }
}
