//! One shard's memory: runs of granules inside slots drawn from the process-wide pool.
//!
//! Every slot held has a bitmap outside of the arena, one bit a granule, and an upper bound of its
//! longest free run, so that a search skips slots without room. A request becomes one extent
//! wherever a run is found; only when none is found, and no slot is left in the pool, is it
//! scattered over the longest runs there are.
//!
//! Invariants: no granule belongs to two extents; a request fails whole or succeeds whole; a wholly
//! free slot goes back to the pool, all but one, and that one too when nothing is in use.

use std::rc::Rc;

use crate::limits;
use crate::sys::extent::{Extent, GRANULE_BYTES, SlotSource};

/// The memory that one shard has drawn and what of it is in use.
pub struct Space {
    source: Rc<dyn SlotSource>,
    slot_bytes: u32,
    slots: Vec<Slot>,
    /// Place in `slots` by slot number; [`ABSENT`] for slots of others.
    places: Vec<u32>,
    /// Bitmaps of slots given back, for the next ones drawn.
    spare: Vec<Box<[u64]>>,
    used_granules: u64,
    slots_free: usize,
}

struct Slot {
    number: u32,
    /// A set bit is a granule in use.
    used: Box<[u64]>,
    used_count: u32,
    /// No free run is longer than this.
    longest_max: u32,
}

/// A free run within a slot, in granules.
#[derive(Clone, Copy)]
struct Run {
    start: u32,
    len: u32,
}

impl Space {
    /// No memory yet; slots come from `source` on demand.
    pub fn new(source: Rc<dyn SlotSource>) -> Self {
        let slot_bytes = source.slot_bytes();
        assert!(slot_bytes.is_power_of_two() && slot_bytes >= 64 * GRANULE_BYTES);
        Self {
            source,
            slot_bytes,
            slots: Vec::new(),
            places: Vec::new(),
            spare: Vec::new(),
            used_granules: 0,
            slots_free: 0,
        }
    }

    /// Bytes in every slot.
    pub fn slot_bytes(&self) -> u32 {
        self.slot_bytes
    }

    /// Bytes in use, in whole granules.
    pub fn used_bytes(&self) -> u64 {
        self.used_granules * u64::from(GRANULE_BYTES)
    }

    /// Slots drawn from the pool.
    pub fn slots_held(&self) -> usize {
        self.slots.len()
    }

    /// Room for `bytes` bytes as extents whose lengths add up to exactly `bytes`, or `None` when
    /// the memory is full. Extents of at least [`ALIGNED_BYTES_MIN`] start on a page where one can
    /// be found.
    pub fn allot(&mut self, bytes: u64) -> Option<Vec<Extent>> {
        let mut extents = Vec::with_capacity(1);
        let mut left = bytes;
        while left > 0 {
            let piece = u32::try_from(left.min(u64::from(self.slot_bytes))).ok()?;
            let found = self.one(piece).or_else(|| self.scrap(piece));
            let fits = extents.len() < limits::EXTENTS_MAX;
            let Some(extent) = found.filter(|_| fits) else {
                found.into_iter().chain(extents).for_each(|extent| self.free(extent));
                return None;
            };
            left -= u64::from(extent.len);
            extents.push(extent);
        }
        Some(extents)
    }

    /// Takes an extent's granules back.
    pub fn free(&mut self, extent: Extent) {
        self.clear(extent.slot, extent.offset / GRANULE_BYTES, granules(extent.len));
    }

    /// Takes back what lies behind the extent's first `len` bytes; returns the shorter extent.
    pub fn trim(&mut self, extent: Extent, len: u32) -> Extent {
        debug_assert!(len <= extent.len);
        let keep = granules(len);
        let first = extent.offset / GRANULE_BYTES;
        self.clear(extent.slot, first + keep, granules(extent.len) - keep);
        Extent { len, ..extent }
    }

    /// One run of `bytes`, in the slots held or else in a new one.
    fn one(&mut self, bytes: u32) -> Option<Extent> {
        let need = granules(bytes);
        let align = if bytes >= ALIGNED_BYTES_MIN { ALIGNED_GRANULES } else { 1 };
        let place = self.find(need, align);
        let (place, start) = match place.or_else(|| Some((self.draw()?, 0))) {
            Some(found) => found,
            None => self.find(need, 1)?,
        };
        Some(self.take(place, start, bytes))
    }

    /// The longest run there is, for a part of `bytes`.
    fn scrap(&mut self, bytes: u32) -> Option<Extent> {
        for slot in &mut self.slots {
            slot.longest_max = slot.longest();
        }
        let longest = self.slots.iter().enumerate().max_by_key(|(_, slot)| slot.longest_max);
        let (place, slot) = longest.filter(|(_, slot)| slot.longest_max > 0)?;
        let run = slot.runs().max_by_key(|run| run.len)?;
        Some(self.take(place, run.start, bytes.min(run.len * GRANULE_BYTES)))
    }

    /// First slot and granule with `need` free granules from a multiple of `align`.
    fn find(&mut self, need: u32, align: u32) -> Option<(usize, u32)> {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if slot.longest_max < need {
                continue;
            }
            let mut longest = 0;
            for run in slot.runs() {
                let start = run.start.next_multiple_of(align);
                if start + need <= run.start + run.len {
                    return Some((place, start));
                }
                longest = longest.max(run.len);
            }
            slot.longest_max = longest;
        }
        None
    }

    fn take(&mut self, place: usize, start: u32, bytes: u32) -> Extent {
        let slot = &mut self.slots[place];
        let count = granules(bytes);
        if slot.used_count == 0 {
            self.slots_free -= 1;
        }
        slot.mark(start, count, true);
        slot.used_count += count;
        self.used_granules += u64::from(count);
        Extent { slot: slot.number, offset: start * GRANULE_BYTES, len: bytes }
    }

    fn clear(&mut self, number: u32, start: u32, count: u32) {
        if count == 0 {
            return;
        }
        let place = self.places[number as usize] as usize;
        let slot = &mut self.slots[place];
        slot.mark(start, count, false);
        let (offset, len) = (start * GRANULE_BYTES, count * GRANULE_BYTES);
        self.source.freed(Extent { slot: number, offset, len });
        slot.used_count -= count;
        slot.longest_max = slot.longest_max.max(slot.run_around(start, count));
        self.used_granules -= u64::from(count);
        if slot.used_count == 0 {
            self.slots_free += 1;
            self.give_back(place);
        }
    }

    fn draw(&mut self) -> Option<usize> {
        let number = self.source.draw()?;
        let granules = self.slot_bytes / GRANULE_BYTES;
        let used =
            self.spare.pop().unwrap_or_else(|| vec![0; granules as usize / 64].into_boxed_slice());
        let index = number as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, ABSENT);
        }
        debug_assert_eq!(self.places[index], ABSENT, "the pool hands a slot to one shard");
        self.places[index] = u32::try_from(self.slots.len()).expect("slots are numbered in u32");
        self.slots.push(Slot { number, used, used_count: 0, longest_max: granules });
        self.slots_free += 1;
        Some(self.slots.len() - 1)
    }

    /// Gives the slot at `place` back unless it is the only free one while others are in use.
    fn give_back(&mut self, place: usize) {
        if self.slots_free > 1 {
            self.surrender(place);
        }
        if self.used_granules == 0 {
            while !self.slots.is_empty() {
                self.surrender(self.slots.len() - 1);
            }
        }
    }

    fn surrender(&mut self, place: usize) {
        let slot = self.slots.swap_remove(place);
        debug_assert!(slot.used_count == 0 && slot.used.iter().all(|&word| word == 0));
        self.places[slot.number as usize] = ABSENT;
        if let Some(moved) = self.slots.get(place) {
            self.places[moved.number as usize] =
                u32::try_from(place).expect("slots are numbered in u32");
        }
        self.slots_free -= 1;
        if self.spare.len() < SPARE_BITMAPS_MAX {
            self.spare.push(slot.used);
        }
        self.source.give_back(slot.number);
    }
}

impl Slot {
    /// Sets or clears `count` bits, each of which must change.
    fn mark(&mut self, start: u32, count: u32, used: bool) {
        let (mut bit, end) = (start, start + count);
        while bit < end {
            let word = &mut self.used[bit as usize / 64];
            let within = bit % 64;
            let len = (64 - within).min(end - bit);
            let mask = (u64::MAX >> (64 - len)) << within;
            assert!(*word & mask == if used { 0 } else { mask }, "an extent is used once");
            *word ^= mask;
            bit += len;
        }
    }

    /// The free runs in order.
    fn runs(&self) -> impl Iterator<Item = Run> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next(from, false)?;
            let end = self.next(start, true).unwrap_or(self.granules());
            from = end;
            Some(Run { start, len: end - start })
        })
    }

    fn longest(&self) -> u32 {
        self.runs().map(|run| run.len).max().unwrap_or(0)
    }

    /// Length of the free run that contains the free granules from `start`.
    fn run_around(&self, start: u32, count: u32) -> u32 {
        let end = self.next(start + count, true).unwrap_or(self.granules());
        end - self.used_before(start)
    }

    /// The end of the last used granule before `from`, or zero.
    fn used_before(&self, from: u32) -> u32 {
        let mut bit = from;
        while bit > 0 {
            let within = (bit - 1) % 64;
            let word = self.used[(bit - 1) as usize / 64] << (63 - within);
            if word != 0 {
                return bit - word.leading_zeros();
            }
            bit -= within + 1;
        }
        0
    }

    /// The first granule from `from` that is used, or that is free.
    fn next(&self, from: u32, used: bool) -> Option<u32> {
        let mut bit = from;
        while bit < self.granules() {
            let word = self.used[bit as usize / 64];
            let word = if used { word } else { !word } >> (bit % 64);
            if word != 0 {
                return Some(bit + word.trailing_zeros());
            }
            bit = (bit / 64 + 1) * 64;
        }
        None
    }

    fn granules(&self) -> u32 {
        u32::try_from(self.used.len() * 64).expect("a slot has fewer than 2^32 granules")
    }
}

fn granules(bytes: u32) -> u32 {
    bytes.div_ceil(GRANULE_BYTES)
}

/// Extents of at least this many bytes start on a page where possible.
pub const ALIGNED_BYTES_MIN: u32 = 64 * 1024;
const ALIGNED_GRANULES: u32 = 4096 / GRANULE_BYTES;
const SPARE_BITMAPS_MAX: usize = 16;
const ABSENT: u32 = u32::MAX;

#[cfg(test)]
pub(super) mod tests;
