//! The kernel's ring.
//!
//! Invariants: as [`super`] says them; this is the only file that names io_uring's types besides
//! the layout of provided buffers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};

use crate::limits;
use crate::sys::buffers::BUFFER_LEN;
use crate::sys::reactor::FileStatus;

use super::{Completion, Effort, FileOperation, Operation, RECV_GROUP, RingSize, ZC_REPORT_USAGE};

/// A ring of the kernel's.
pub struct KernelRing {
    inner: IoUring,
    usage_reported: bool,
    overflows: u32,
    can_gather: bool,
    /// Completions the next `enter` waits for.
    want: usize,
    /// Calls to `enter` so far.
    pub enters: u64,
    /// Times the submission queue was full.
    pub full: u64,
}

impl KernelRing {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    /// As `io_uring_setup`: EPERM (forbidden), ENOSYS (no io_uring), ENOMEM (memory or memlock).
    pub fn new(size: RingSize) -> io::Result<Self> {
        let build = |without_array: bool| {
            let mut builder = IoUring::builder();
            builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all();
            builder.setup_cqsize(size.completions);
            if without_array {
                builder.setup_no_sqarray();
            }
            builder.build(size.submissions)
        };
        // NO_SQARRAY came with 6.6; without it the ring works the same.
        let inner = match build(true) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => build(false)?,
            other => other?,
        };
        let can_gather = inner.params().is_feature_min_timeout();
        Ok(Self {
            inner,
            usage_reported: usage_is_reported(),
            overflows: 0,
            can_gather,
            want: 1,
            enters: 0,
            full: 0,
        })
    }

    /// The ring's descriptor, to which other rings post wake-ups.
    pub fn fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// Queues an operation; it reaches the kernel at the next [`KernelRing::enter`] at the latest.
    #[inline]
    pub fn push(&mut self, operation: Operation, user_data: u64) {
        let entry = self.entry(operation).user_data(user_data);
        // SAFETY: the caller keeps every pointer in the operation valid until its terminal
        // completion (the op slab owns buffers and holds).
        while unsafe { self.inner.submission().push(&entry) }.is_err() {
            self.full += 1;
            self.submit();
        }
    }

    /// Submits what is queued and waits for nothing.
    pub fn submit(&mut self) {
        self.enters += 1;
        // An error here is either EAGAIN/EBUSY, cured by reaping, or repeats at `enter`.
        let _ = self.inner.submit();
    }

    /// Lets the next [`KernelRing::enter`] with a timeout wait for `count` completions, though not
    /// for long: after [`limits::GATHER_US`] one is enough. Kernels before 6.12 cannot.
    pub fn gather(&mut self, count: usize) {
        if self.can_gather {
            self.want = count.max(1);
        }
    }

    /// Submits what is queued and waits for a completion: at most `timeout`, for ever when none.
    /// A zero timeout only lets the kernel run what is ready.
    ///
    /// # Errors
    /// EINTR, EBUSY, EAGAIN and ETIME are part of the day and not reported; others are bugs or
    /// an exhausted kernel.
    pub fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enters += 1;
        self.overflows += u32::from(self.inner.submission().cq_overflow());
        let want = std::mem::replace(&mut self.want, 1);
        let entered = match timeout {
            Some(timeout) if want > 1 && !timeout.is_zero() => {
                let time = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&time).min_wait_usec(limits::GATHER_US);
                self.inner.submitter().submit_with_args(want, &args)
            }
            None => self.inner.submit_and_wait(1),
            Some(Duration::ZERO) => self.look(),
            Some(timeout) => {
                let time = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&time);
                self.inner.submitter().submit_with_args(1, &args)
            }
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Submits, and has the kernel run what is ready. Waiting for no completion rather than for one
    /// and no time: for that the kernel sets a timer, which takes a virtual machine some 10 us.
    fn look(&mut self) -> io::Result<usize> {
        let queued = self.inner.submission().len();
        let to_submit = u32::try_from(queued).expect("RING_SUBMISSIONS fits");
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: the entries are queued as `push` says, and there is no argument.
        unsafe { self.inner.submitter().enter::<libc::sigset_t>(to_submit, 0, flags, None) }
    }

    /// Takes up to `into`'s spare capacity of completions at once.
    #[inline]
    pub fn reap(&mut self, into: &mut Vec<Completion>) {
        let room = into.capacity() - into.len();
        for cqe in self.inner.completion().take(room) {
            into.push(Completion {
                user_data: cqe.user_data(),
                result: cqe.result(),
                flags: cqe.flags(),
            });
        }
    }

    /// Times that the completion queue had been too small: what did not fit is kept by the kernel
    /// and flushed by `enter`. Whatever it had no memory to keep is counted too.
    pub fn overflows(&mut self) -> u32 {
        self.overflows + self.inner.completion().overflow()
    }

    /// Registers the memory of provided buffers.
    ///
    /// # Safety
    /// `ring` points to `entries` page-aligned buffer entries that outlive the ring.
    pub(in crate::sys) unsafe fn register_buffer_ring(
        &self,
        ring: u64,
        entries: u16,
    ) -> io::Result<()> {
        // SAFETY: promised by the caller.
        unsafe { self.inner.submitter().register_buf_ring_with_flags(ring, entries, RECV_GROUP, 0) }
    }

    /// Makes an empty table of `slots` registered buffers.
    pub(in crate::sys) fn register_table(&self, slots: u32) -> io::Result<()> {
        self.inner.submitter().register_buffers_sparse(slots)
    }

    /// Puts one slot's memory into the table of registered buffers.
    ///
    /// # Safety
    /// The memory stays mapped until the ring is gone.
    pub(in crate::sys) unsafe fn register_slot(
        &self,
        slot: u32,
        memory: libc::iovec,
    ) -> io::Result<()> {
        // SAFETY: promised by the caller.
        unsafe { self.inner.submitter().register_buffers_update(slot, &[memory], None) }?;
        Ok(())
    }

    fn entry(&self, operation: Operation) -> squeue::Entry {
        match operation {
            Operation::AcceptMulti { fd } => {
                // Splices must not block; the ring's own operations wait all the same.
                let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
                opcode::AcceptMulti::new(Fd(fd)).flags(flags).build()
            }
            Operation::RecvMulti { fd } => opcode::RecvMulti::new(Fd(fd), RECV_GROUP).build(),
            Operation::RecvOnce { fd } => {
                let recv = opcode::Recv::new(Fd(fd), std::ptr::null_mut(), BUFFER_LEN);
                recv.buf_group(RECV_GROUP).build().flags(squeue::Flags::BUFFER_SELECT)
            }
            Operation::RecvInto { fd, start, len } => opcode::Recv::new(Fd(fd), start, len).build(),
            Operation::Send { fd, start, len, effort } => {
                opcode::Send::new(Fd(fd), start, len).flags(flags_of(effort)).build()
            }
            Operation::SendMsg { fd, message, effort } => {
                opcode::SendMsg::new(Fd(fd), message).flags(flags_of(effort) as u32).build()
            }
            Operation::SendZc { fd, start, len, slot } => opcode::SendZc::new(Fd(fd), start, len)
                .buf_index(Some(slot))
                .flags(flags_of(Effort::Whole))
                .zc_flags(if self.usage_reported { ZC_REPORT_USAGE } else { 0 })
                .build(),
            Operation::Cancel { target } => opcode::AsyncCancel::new(target).build(),
            Operation::Wake { ring_fd, user_data } => {
                opcode::MsgRingData::new(Fd(ring_fd), 0, user_data, None).build()
            }
            Operation::PollOut { fd, multi } => {
                opcode::PollAdd::new(Fd(fd), libc::POLLOUT as u32).multi(multi).build()
            }
            Operation::PollEvent { fd } => {
                opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build()
            }
            Operation::File(operation) => file_entry(operation),
        }
    }
}

fn file_entry(operation: FileOperation) -> squeue::Entry {
    match operation {
        FileOperation::Open { folder, path, how } => {
            opcode::OpenAt2::new(Fd(folder), path, how.cast()).build()
        }
        FileOperation::Close { fd } => opcode::Close::new(Fd(fd)).build(),
        FileOperation::Read { fd, start, len, at } => {
            opcode::Read::new(Fd(fd), start, len).offset(at).build()
        }
        FileOperation::Write { fd, start, len, at } => {
            opcode::Write::new(Fd(fd), start, len).offset(at).build()
        }
        FileOperation::Sync { fd } => opcode::Fsync::new(Fd(fd)).build(),
        FileOperation::Rename { from_folder, from, to_folder, to } => {
            opcode::RenameAt::new(Fd(from_folder), from, Fd(to_folder), to).build()
        }
        FileOperation::Unlink { folder, path, flags } => {
            opcode::UnlinkAt::new(Fd(folder), path).flags(flags).build()
        }
        FileOperation::MakeFolder { folder, path } => {
            opcode::MkDirAt::new(Fd(folder), path).mode(0o755).build()
        }
        FileOperation::SetAttribute { fd, name, value, len } => {
            opcode::FSetXattr::new(Fd(fd), name, value.cast(), len).build()
        }
        FileOperation::ReadAttribute { fd, name, value, len } => {
            opcode::FGetXattr::new(Fd(fd), name, value.cast(), len).build()
        }
        FileOperation::Status { fd, into } => opcode::Statx::new(Fd(fd), c"".as_ptr(), into.cast())
            .flags(libc::AT_EMPTY_PATH)
            .mask(libc::STATX_BASIC_STATS)
            .build(),
        FileOperation::Pause { time } => opcode::Timeout::new(time.cast()).build(),
    }
}

fn flags_of(effort: Effort) -> i32 {
    match effort {
        Effort::Whole => libc::MSG_WAITALL | libc::MSG_NOSIGNAL,
        Effort::Now => libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
    }
}

/// Whether the kernel says of a zero-copy send that it was copied (6.2 and newer). Kernels before
/// refuse the flag, and that before they look at the descriptor.
fn usage_is_reported() -> bool {
    let Ok(mut ring) = IoUring::new(2) else { return false };
    let nobody = opcode::SendZc::new(Fd(-1), std::ptr::null(), 0).zc_flags(ZC_REPORT_USAGE);
    // SAFETY: no bytes are named, and the descriptor is none.
    let pushed = unsafe { ring.submission().push(&nobody.build()) };
    let answered = pushed.is_ok() && ring.submit_and_wait(1).is_ok();
    answered && ring.completion().next().is_some_and(|cqe| cqe.result() == -libc::EBADF)
}

/// Sets O_DIRECT on a descriptor or takes it off; whether it is set afterwards.
pub(super) fn read_directly(fd: RawFd, wanted: bool) -> bool {
    // SAFETY: the call has no pointers; a descriptor that is not open is an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return false;
    }
    let flags = if wanted { flags | libc::O_DIRECT } else { flags & !libc::O_DIRECT };
    // SAFETY: as above.
    let set = unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
    wanted && set == 0
}

/// What statx(2) knows of a descriptor without asking whoever has the file.
pub(super) fn status_now(fd: RawFd) -> Option<FileStatus> {
    // SAFETY: zeros are a valid value of a structure of numbers.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let (path, mask, into) = (c"".as_ptr(), libc::STATX_BASIC_STATS, &raw mut status);
    // SAFETY: the path and the place of the answer outlive the call.
    let result = unsafe { libc::statx(fd, path, flags, mask, into) };
    (result == 0).then(|| FileStatus::of(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_since_6_2_reports_how_zero_copy_went() {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        assert_eq!(usage_is_reported(), version >= (6, 2), "kernel {release}");
    }

    /// The kernel keeps what does not fit, and its own counter of lost completions stays at zero:
    /// the overflow was counted nowhere.
    #[test]
    fn an_overflow_is_flushed_and_counted() {
        let mut ring = KernelRing::new(RingSize { submissions: 1, completions: 2 }).unwrap();
        let ring_fd = ring.fd();
        for number in 0..8 {
            ring.push(Operation::Wake { ring_fd, user_data: 100 + number }, number);
        }
        let mut seen = Vec::with_capacity(100);
        while seen.len() < 16 {
            ring.enter(Some(Duration::from_secs(5))).unwrap();
            ring.reap(&mut seen);
        }
        let mut names: Vec<_> = seen.iter().map(|completion| completion.user_data).collect();
        names.sort_unstable();
        assert_eq!(names, (0..8).chain(100..108).collect::<Vec<_>>());
        assert!(ring.overflows() > 0);
    }
}
