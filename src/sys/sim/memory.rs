//! Memory as the double sees it: read late, poisoned when it is free.

use std::sync::Arc;

use crate::sys::arena::Arena;
use crate::sys::extent::{Extent, SlotSource};

/// What freed memory holds.
const POISON: u8 = 0xDB;

/// A run of memory that an operation names.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub start: *const u8,
    pub len: usize,
}

impl Run {
    /// The bytes, read now.
    pub fn read(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        // SAFETY: whoever submitted the operation promised that the memory stays valid until the
        // terminal completion, and the double reads it before that.
        unsafe { std::ptr::copy_nonoverlapping(self.start, bytes.as_mut_ptr(), self.len) };
        bytes
    }

    /// Whether any byte is in both.
    pub fn overlaps(self, other: Self) -> bool {
        let (from, other_from) = (self.start as usize, other.start as usize);
        from < other_from + other.len && other_from < from + self.len
    }

    /// A part of the run.
    pub fn part(self, at: usize, len: usize) -> Self {
        assert!(at + len <= self.len);
        Self { start: self.start.wrapping_add(at), len }
    }
}

/// The runs of a message. The kernel copies the list early; the double reads it again each time,
/// since the list is to live as long as the bytes.
pub(super) fn runs_of(message: *const libc::msghdr) -> Vec<Run> {
    // SAFETY: as for `Run::read`: the message is valid until the terminal completion.
    let message = unsafe { message.read() };
    (0..message.msg_iovlen)
        .map(|at| {
            // SAFETY: `at` is below the number of runs, which lie one behind the other.
            let run = unsafe { message.msg_iov.add(at) };
            // SAFETY: the send's slab keeps the runs until the terminal completion.
            let run = unsafe { run.read() };
            Run { start: run.iov_base.cast(), len: run.iov_len }
        })
        .collect()
}

/// A string that an operation names, read now.
pub(super) fn text(text: *const libc::c_char) -> Vec<u8> {
    // SAFETY: as for `Run::read`; strings of operations have an end.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_bytes().to_vec()
}

/// Numbers that an operation names, read now.
pub(super) fn value<T: Copy>(value: *const T) -> T {
    // SAFETY: as for `Run::read`; the slab keeps an aligned value of the type.
    unsafe { value.read() }
}

/// What statx(2) says of a file.
pub(super) fn describe(into: *mut libc::statx, kind: libc::mode_t, bytes: u64) {
    // SAFETY: the slab keeps the structure until the terminal completion, and nobody else reads
    // it before that.
    let status = unsafe { &mut *into };
    status.stx_mode = u16::try_from(kind).expect("sixteen bits");
    status.stx_size = bytes;
}

/// Fills memory that the kernel owns.
pub(super) fn write(to: *mut u8, bytes: &[u8]) {
    // SAFETY: `to` is a provided buffer that is large enough, and the ring of buffers says that it
    // is the kernel's; or it is what a read names, which has room for what it asked for.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
}

/// Makes a buffer that was given back unlike anything that was received.
pub(super) fn poison(to: *mut u8, len: usize) {
    // SAFETY: as for `write`.
    unsafe { to.write_bytes(POISON, len) };
}

/// An arena's slots, whose freed memory is poisoned at once.
pub struct PoisonedSlots(pub Arc<Arena>);

impl SlotSource for PoisonedSlots {
    fn slot_bytes(&self) -> u32 {
        self.0.slot_bytes()
    }

    fn draw(&self) -> Option<u32> {
        self.0.draw()
    }

    fn give_back(&self, slot: u32) {
        self.0.give_back(slot);
    }

    fn are_same(&self, one: &[Extent], other: &[Extent], length: u64) -> bool {
        self.0.are_same(one, other, length)
    }

    fn is_spliced(&self, extent: Extent) -> bool {
        self.0.is_spliced(extent)
    }

    fn renew(&self, extent: Extent) {
        let pages = self.0.run(extent, 0, extent.len);
        let pages = Run { start: pages.iov_base.cast(), len: pages.iov_len };
        super::keep_pages(pages);
        self.poison(extent);
        self.0.note_renewed(extent);
    }

    fn freed(&self, extent: Extent) {
        self.poison(extent);
    }
}

impl PoisonedSlots {
    fn poison(&self, extent: Extent) {
        let poison = [POISON; 1024];
        for at in (0..extent.len).step_by(poison.len()) {
            let len = poison.len().min((extent.len - at) as usize);
            self.0.write(extent, at, &poison[..len]);
        }
    }
}
