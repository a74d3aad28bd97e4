//! Provided buffers: what connections receive into, so that an idle one owns no memory.
//!
//! The kernel takes a buffer when bytes arrive and names it in the completion; giving the token
//! back is the only way to the kernel again.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::limits::RING_BUFFER_BYTES;

/// Alignment that the kernel asks of the ring of buffers.
const PAGE: usize = 4096;

/// Bytes that arrived, in a buffer to be given back.
#[derive(Debug)]
pub struct Received {
    id: u16,
    len: usize,
}

/// The buffers of one ring. Never freed: the kernel may hold them until the ring is gone.
pub struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    tail: u16,
}

impl Buffers {
    /// Registers `count` buffers (a power of two) as group `group`.
    pub fn new(ring: &IoUring, count: u16, group: u16) -> io::Result<Self> {
        let entries = pages(usize::from(count) * size_of::<BufRingEntry>()).cast();
        let memory = pages(usize::from(count) * RING_BUFFER_BYTES);
        // SAFETY: the memory holds `count` entries, is page aligned and is never freed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, count, group, 0)
        }?;
        let mut buffers = Self { entries, memory, count, tail: 0 };
        (0..count).for_each(|id| buffers.provide(id));
        Ok(buffers)
    }

    /// The token for the buffer that a completion names.
    pub(super) fn received(&self, id: u16, len: usize) -> Received {
        assert!(id < self.count && len <= RING_BUFFER_BYTES, "not a provided buffer");
        Received { id, len }
    }

    /// The bytes that arrived.
    pub fn bytes(&self, received: &Received) -> &[u8] {
        // SAFETY: `received` checked the bounds.
        let start =
            unsafe { self.memory.as_ptr().add(usize::from(received.id) * RING_BUFFER_BYTES) };
        // SAFETY: while the token exists the kernel does not own the buffer and nobody writes it.
        unsafe { std::slice::from_raw_parts(start, received.len) }
    }

    /// Gives a buffer back to the kernel.
    pub fn give_back(&mut self, received: Received) {
        self.provide(received.id);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the size of a buffer is a small constant")]
    fn provide(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is below the count of entries.
        let entry = unsafe { self.entries.as_ptr().add(slot) };
        // SAFETY: the entry is ours until the tail below says that it is the kernel's.
        let entry = unsafe { &mut *entry };
        // SAFETY: `id` is below the count of buffers.
        let start = unsafe { self.memory.as_ptr().add(usize::from(id) * RING_BUFFER_BYTES) };
        entry.set_addr(start as u64);
        entry.set_len(RING_BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the first entry of the ring holds the tail that the kernel reads.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is aligned, lives as long as the ring, and is shared with the kernel.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// Zeroed memory, aligned to a page, never freed; touched, so that its first use within a run takes
/// no page fault.
fn pages(bytes: usize) -> NonNull<u8> {
    let Ok(layout) = Layout::from_size_align(bytes.max(PAGE), PAGE) else {
        unreachable!("the bounds are constants")
    };
    // SAFETY: the layout is not empty.
    let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
    // SAFETY: all of it was just allocated.
    unsafe { start.as_ptr().write_bytes(0, layout.size()) };
    start
}
