//! Provided buffers: what connections receive into, so that an idle one owns no memory.
//!
//! The kernel takes a buffer when bytes arrive and names it in the completion; the shard reads the
//! bytes through the [`Received`] token and gives the buffer back with it. More buffers are handed
//! to the kernel as they are needed, up to a bound.
//!
//! Invariants: a buffer is either with the kernel, in a token, or not yet in use; giving a token
//! back is the only way to the kernel.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::memory::Mapping;
use super::ring::Ring;
use crate::limits::{
    RECV_BUFFER_BYTES, RECV_BUFFERS_MAX, RECV_BUFFERS_START, ROOM_BYTES_KEPT_MAX, ROOMS_SPARE_MAX,
};

/// Bytes of a buffer as the kernel counts them.
pub(super) const BUFFER_LEN: u32 = 4096;
const _: () = assert!(BUFFER_LEN as usize == RECV_BUFFER_BYTES);

/// Bytes that arrived on a connection, in a buffer to be given back.
#[derive(Debug)]
pub struct Received {
    id: u16,
    len: u16,
}

impl Received {
    /// How many bytes arrived.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether no bytes arrived.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// One shard's provided buffers.
pub struct Buffers {
    entries: Mapping,
    memory: Mapping,
    tail: Cell<u16>,
    in_use: Cell<u16>,
    with_kernel: Cell<u16>,
    /// Room for what is spread over several buffers, used before and empty now.
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Registers a first set of buffers with `ring`.
    ///
    /// # Errors
    /// As `io_uring_register`; ENOMEM when memory is short.
    pub fn new(ring: &Ring) -> io::Result<Self> {
        let count = usize::from(RECV_BUFFERS_MAX);
        let entries = Mapping::new(count * size_of::<BufRingEntry>(), 4096)?;
        let memory = Mapping::new(count * RECV_BUFFER_BYTES, 4096)?;
        // SAFETY: the mapping holds RECV_BUFFERS_MAX entries, is page aligned, never unmapped.
        unsafe { ring.register_buffer_ring(entries.start.as_ptr() as u64, RECV_BUFFERS_MAX) }?;
        let buffers = Self {
            entries,
            memory,
            tail: Cell::new(0),
            in_use: Cell::new(0),
            with_kernel: Cell::new(0),
            spare: RefCell::default(),
        };
        buffers.grow();
        Ok(buffers)
    }

    /// Hands more buffers to the kernel; `false` when the bound is reached.
    pub fn grow(&self) -> bool {
        let (step, count_max) = bounds();
        let from = self.in_use.get();
        let to = from.saturating_add(step).min(count_max);
        self.in_use.set(to);
        (from..to).for_each(|id| self.provide(id));
        to > from
    }

    /// Buffers that are in use: with the kernel or in tokens.
    pub fn in_use(&self) -> u16 {
        self.in_use.get()
    }

    /// Buffers that the kernel can still fill.
    pub fn available(&self) -> u16 {
        self.with_kernel.get()
    }

    /// The token for a buffer named in a completion.
    pub(super) fn received(&self, id: u16, len: usize) -> Received {
        assert!(id < self.in_use.get() && len <= RECV_BUFFER_BYTES, "not a provided buffer");
        self.with_kernel.set(self.with_kernel.get() - 1);
        Received { id, len: u16::try_from(len).expect("checked against the buffer size") }
    }

    /// The bytes that arrived.
    #[inline]
    pub fn bytes<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        let start = self.address(received.id);
        // SAFETY: while the token exists the kernel does not own the buffer and nobody writes it.
        unsafe { std::slice::from_raw_parts(start, received.len()) }
    }

    /// Gives the buffer back to the kernel.
    #[inline]
    pub fn give_back(&self, received: Received) {
        self.provide(received.id);
    }

    /// Room on the heap in which bytes of several buffers are put together.
    pub fn room(&self) -> Vec<u8> {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| Vec::with_capacity(2 * RECV_BUFFER_BYTES))
    }

    /// Takes room back, for the next one that needs it.
    pub fn keep_room(&self, mut room: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < ROOMS_SPARE_MAX && room.capacity() <= ROOM_BYTES_KEPT_MAX {
            room.clear();
            spare.push(room);
        }
    }

    fn address(&self, id: u16) -> *mut u8 {
        // SAFETY: id < RECV_BUFFERS_MAX, so the address is inside the mapping.
        unsafe { self.memory.start.as_ptr().add(usize::from(id) * RECV_BUFFER_BYTES) }
    }

    #[inline]
    fn provide(&self, id: u16) {
        let tail = self.tail.get();
        let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the mask keeps the index below the number of mapped entries.
        let entry = unsafe { entries.add(usize::from(tail & (RECV_BUFFERS_MAX - 1))) };
        // SAFETY: the kernel reads an entry only once the tail has passed it.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.address(id) as u64);
        entry.set_len(BUFFER_LEN);
        entry.set_bid(id);
        let next = tail.wrapping_add(1);
        self.tail.set(next);
        // SAFETY: `entries` is the base of the registered ring.
        let shared = unsafe { BufRingEntry::tail(entries) };
        // SAFETY: the tail is an aligned u16 that the kernel reads with acquire.
        let shared = unsafe { AtomicU16::from_ptr(shared.cast_mut()) };
        shared.store(next, Ordering::Release);
        self.with_kernel.set(self.with_kernel.get() + 1);
    }
}

/// Buffers handed out at a time, and in all.
fn bounds() -> (u16, u16) {
    #[cfg(test)]
    if let Some(bounds) = super::sim::recv_buffers() {
        return bounds;
    }
    (RECV_BUFFERS_START, RECV_BUFFERS_MAX)
}
