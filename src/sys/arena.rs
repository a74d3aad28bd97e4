//! The arena: the pinned memory in which bodies live, cut into slots that shards draw and return.
//!
//! One mapping for the process, shared by all shards. The store says who may write which extent;
//! this file only checks that an extent lies inside the arena and copies bytes.
//!
//! Invariants: the memory is never unmapped or remapped; an extent is written by one shard only,
//! and read by nobody before the store has published it (or its writer has published progress).
//!
//! Who upholds what: the store's protocol (`store::owner`) hands an extent to one upload at a time
//! and takes it back only when no hold names it; `store::space` never hands out overlapping runs,
//! and none that was spliced before its pages are renewed: sockets may still refer to the old ones.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::extent::{Extent, SlotSource};
use super::memory::{HUGE_PAGE, Mapping};
use crate::limits;

/// Smallest slot.
const SLOT_BYTES_MIN: u64 = 4 << 20;
/// Bytes of what is marked at once, and of the least that is renewed.
const PAGE_BYTES: usize = 4096;

/// The process's arena.
pub struct Arena {
    memory: Mapping,
    slot_bytes: u32,
    slots: u32,
    states: Box<[SlotState]>,
    /// A bit for each page, slot by slot: sockets may refer to it.
    spliced: Box<[AtomicU64]>,
    /// Counts renewals in all slots.
    renewals: AtomicU32,
    free: Mutex<Vec<u32>>,
}

/// What all shards have to know of a slot.
#[derive(Default)]
struct SlotState {
    /// Counts renewals: a registration of an earlier generation names pages that are gone.
    generation: AtomicU32,
}

// SAFETY: the mapping is plain memory; who may write which part is decided by the store (above).
unsafe impl Send for Arena {}
// SAFETY: as for Send; the free list is behind a mutex.
unsafe impl Sync for Arena {}

impl Arena {
    /// Reserves address space for `bytes` of bodies, rounded up to whole slots. Memory is taken
    /// from the host slot by slot, as it is used.
    ///
    /// # Errors
    /// ENOMEM when the address space is limited.
    pub fn new(bytes: u64) -> io::Result<Arc<Self>> {
        let share = bytes.div_ceil(u64::from(limits::ARENA_SLOTS_MAX)).next_power_of_two();
        let slot_bytes = share.max(SLOT_BYTES_MIN);
        let slots = bytes.div_ceil(slot_bytes).max(1);
        let too_large = |_| io::Error::from_raw_os_error(libc::ENOMEM);
        let len = usize::try_from(slots * slot_bytes).map_err(too_large)?;
        let slot_bytes = u32::try_from(slot_bytes).map_err(too_large)?;
        let slots = u32::try_from(slots).map_err(too_large)?;
        let spliced = (0..len / PAGE_BYTES / 64).map(|_| AtomicU64::new(0)).collect();
        let memory = Mapping::new(len, HUGE_PAGE)?;
        memory.prefer_huge_pages();
        let free = Mutex::new((0..slots).rev().collect());
        let states = (0..slots).map(|_| SlotState::default()).collect();
        let renewals = AtomicU32::new(0);
        Ok(Arc::new(Self { memory, slot_bytes, slots, states, spliced, renewals, free }))
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Bytes in the whole arena.
    pub fn bytes(&self) -> u64 {
        u64::from(self.slots) * u64::from(self.slot_bytes)
    }

    /// Writes `bytes` into `extent`, from its byte `at` on.
    ///
    /// # Panics
    /// When the bytes do not fit the extent: a bug of the caller that must not reach a neighbour.
    #[inline]
    pub fn write(&self, extent: Extent, at: u32, bytes: &[u8]) {
        let to = self.place(extent, at, bytes.len());
        // SAFETY: `place` checked the range; the store gave this extent to this upload alone.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Copies bytes of `extent`, from its byte `at` on, into `into`.
    ///
    /// # Panics
    /// When the range lies outside the extent.
    #[inline]
    pub fn read(&self, extent: Extent, at: u32, into: &mut [u8]) {
        let from = self.place(extent, at, into.len());
        // SAFETY: `place` checked the range; published bytes are no longer written.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
    }

    /// Looks at bytes of `extent`, from its byte `at` on, where they lie.
    ///
    /// # Panics
    /// When the range lies outside the extent.
    #[inline]
    pub fn look_at(&self, extent: Extent, at: u32, len: u32, look: impl FnOnce(&[u8])) {
        let from = self.place(extent, at, len as usize);
        // SAFETY: `place` checked the range; the one shard that writes the extent calls this, and
        // does not write meanwhile.
        look(unsafe { std::slice::from_raw_parts(from, len as usize) });
    }

    /// Address of byte `at` of an extent of which `len` bytes are wanted.
    #[inline]
    pub(super) fn place(&self, extent: Extent, at: u32, len: usize) -> *mut u8 {
        assert!(extent.slot < self.slots, "slot outside the arena");
        assert!(at as usize + len <= extent.len as usize, "bytes outside the extent");
        assert!(u64::from(extent.offset) + u64::from(extent.len) <= u64::from(self.slot_bytes));
        let offset =
            extent.slot as usize * self.slot_bytes as usize + extent.offset as usize + at as usize;
        // SAFETY: the asserts place offset + len inside the mapping.
        unsafe { self.memory.start.as_ptr().add(offset) }
    }

    /// One slot's memory, for registration.
    pub(super) fn slot_memory(&self, slot: u32) -> libc::iovec {
        let whole = Extent { slot, offset: 0, len: self.slot_bytes };
        let len = self.slot_bytes as usize;
        libc::iovec { iov_base: self.place(whole, 0, len).cast(), iov_len: len }
    }

    /// A part of an extent, for the kernel to read.
    pub(super) fn run(&self, extent: Extent, at: u32, len: u32) -> libc::iovec {
        let iov_len = len as usize;
        libc::iovec { iov_base: self.place(extent, at, iov_len).cast(), iov_len }
    }

    /// Notes, before it happens, that sockets will refer to pages of a part of an extent.
    #[inline]
    pub(super) fn mark_spliced(&self, extent: Extent, at: u32, len: u32) {
        let part = Extent { offset: extent.offset + at, len, ..extent };
        self.marks(part).for_each(|(marks, mask)| {
            if marks.load(Ordering::Relaxed) & mask != mask {
                // The owner learns of it with the release of the extent, by message.
                marks.fetch_or(mask, Ordering::Release);
            }
        });
    }

    /// The marks of an extent's pages, with which of each word's bits are theirs.
    fn marks(&self, extent: Extent) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let slot_start = extent.slot as usize * self.slot_bytes as usize;
        let start = slot_start + extent.offset as usize;
        let first = start / PAGE_BYTES;
        let end = (start + extent.len as usize).div_ceil(PAGE_BYTES);
        (first / 64..end.div_ceil(64)).map(move |word| {
            let from = first.saturating_sub(word * 64);
            let to = (end - word * 64).min(64);
            let mask = (u64::MAX << from) & (u64::MAX >> (64 - to));
            (&self.spliced[word], mask)
        })
    }

    /// How often pages of the slot were renewed.
    #[inline]
    pub(super) fn generation(&self, slot: u32) -> u32 {
        self.states[slot as usize].generation.load(Ordering::Acquire)
    }

    /// How often pages of any slot were renewed.
    #[inline]
    pub(super) fn renewals(&self) -> u32 {
        self.renewals.load(Ordering::Acquire)
    }

    /// Notes that the run's pages are others from now on, to which no socket refers.
    pub(super) fn note_renewed(&self, extent: Extent) {
        let state = &self.states[extent.slot as usize];
        self.marks(extent).for_each(|(marks, mask)| {
            marks.fetch_and(!mask, Ordering::Release);
        });
        state.generation.fetch_add(1, Ordering::AcqRel);
        self.renewals.fetch_add(1, Ordering::AcqRel);
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Slots that no shard holds.
    pub fn slots_free(&self) -> usize {
        self.free().len()
    }
}

impl SlotSource for Arc<Arena> {
    fn slot_bytes(&self) -> u32 {
        self.slot_bytes
    }

    fn draw(&self) -> Option<u32> {
        self.free().pop()
    }

    fn is_scarce(&self) -> bool {
        self.free().len() <= (self.slots as usize / 8).max(2)
    }

    fn give_back(&self, slot: u32) {
        let mut free = self.free();
        debug_assert!(!free.contains(&slot), "slot returned twice");
        free.push(slot);
    }

    fn are_same(&self, one: &[Extent], other: &[Extent], length: u64) -> bool {
        let mut runs = (one.iter().copied(), other.iter().copied());
        let mut now = (runs.0.next(), 0, runs.1.next(), 0);
        let (mut left, mut pieces) =
            (length, ([0; COMPARED_PIECE as usize], [0; COMPARED_PIECE as usize]));
        while left > 0 {
            let (Some(a), at_a, Some(b), at_b) = now else { return false };
            let room = (a.len - at_a).min(b.len - at_b);
            let most = u32::try_from(left).unwrap_or(u32::MAX).min(room);
            let len = most.min(COMPARED_PIECE);
            let (ours, theirs) = (&mut pieces.0[..len as usize], &mut pieces.1[..len as usize]);
            self.read(a, at_a, ours);
            self.read(b, at_b, theirs);
            if ours != theirs {
                return false;
            }
            left -= u64::from(len);
            now = (Some(a), at_a + len, Some(b), at_b + len);
            if at_a + len == a.len {
                (now.0, now.1) = (runs.0.next(), 0);
            }
            if at_b + len == b.len {
                (now.2, now.3) = (runs.1.next(), 0);
            }
        }
        true
    }

    fn is_spliced(&self, extent: Extent) -> bool {
        self.marks(extent).any(|(marks, mask)| marks.load(Ordering::Acquire) & mask != 0)
    }

    fn renew(&self, extent: Extent) {
        self.memory.renew(self.run(extent, 0, extent.len));
        self.note_renewed(extent);
    }
}

/// Bytes of two bodies that are compared at a time.
const COMPARED_PIECE: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_drawn_once_and_bytes_come_back() {
        let arena = Arena::new(9 << 20).unwrap();
        assert_eq!(arena.slots(), 3);
        let slots: Vec<_> = std::iter::from_fn(|| arena.draw()).collect();
        assert_eq!(slots.len(), 3);
        let extent = Extent { slot: slots[2], offset: arena.slot_bytes() - 1024, len: 1024 };
        arena.write(extent, 1020, b"last");
        let mut back = [0; 4];
        arena.read(extent, 1020, &mut back);
        assert_eq!(&back, b"last");
        arena.give_back(slots[0]);
        assert_eq!(arena.draw(), Some(slots[0]));
    }

    #[test]
    fn pages_are_marked_where_they_were_shared_and_no_longer_when_they_are_renewed() {
        let arena = Arena::new(9 << 20).unwrap();
        let extent = |slot, offset, len| Extent { slot, offset, len };
        let shared = extent(1, 500_000, 700_000);
        arena.mark_spliced(shared, 0, 1);
        assert!(arena.is_spliced(shared) && !arena.is_spliced(extent(1, 503_808, 600_000)));
        arena.mark_spliced(shared, 300_000, 400_000);
        for at in [0, 300_000, 350_000, 699_999] {
            assert!(arena.is_spliced(extent(1, 500_000 + at, 1)), "{at}");
        }
        let slot_bytes = arena.slot_bytes();
        for other in [extent(0, 0, slot_bytes), extent(2, 0, slot_bytes)] {
            assert!(!arena.is_spliced(other));
        }
        // All but the last page that has some of it.
        arena.renew(extent(1, 499_712, 700_416));
        assert!(!arena.is_spliced(extent(1, 0, 1_200_000 / 4096 * 4096)));
        assert!(!arena.is_spliced(extent(1, 1_200_128, slot_bytes - 1_200_128)));
        arena.mark_spliced(extent(2, slot_bytes - 1, 1), 0, 1);
        assert!(arena.is_spliced(extent(2, 0, slot_bytes)));
        assert!(!arena.is_spliced(extent(2, 0, 0)));
    }

    #[test]
    fn bodies_are_compared_across_their_extents() {
        let arena = Arena::new(9 << 20).unwrap();
        let extent = |offset, len| Extent { slot: 0, offset, len };
        let (one, other) =
            ([extent(0, 5000), extent(8192, 5000)], [extent(20_480, 100), extent(24_576, 9900)]);
        let body: Vec<u8> = (0..10_000).map(|at| u8::try_from(at / 7 % 256).unwrap()).collect();
        arena.write(one[0], 0, &body[..5000]);
        arena.write(one[1], 0, &body[5000..]);
        arena.write(other[0], 0, &body[..100]);
        arena.write(other[1], 0, &body[100..]);
        assert!(arena.are_same(&one, &other, 10_000) && arena.are_same(&one, &[], 0));
        assert!(!arena.are_same(&one, &other, 10_001), "there is no more");
        arena.write(other[1], 9800, b"!");
        assert!(arena.are_same(&one, &other, 9900) && !arena.are_same(&one, &other, 9901));
    }

    #[test]
    #[should_panic(expected = "bytes outside the extent")]
    fn a_write_past_the_extent_stops() {
        let arena = Arena::new(1).unwrap();
        arena.write(Extent { slot: 0, offset: 0, len: 8 }, 6, b"abc");
    }
}
