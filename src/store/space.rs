//! One shard's memory: runs of granules inside slots drawn from the process-wide pool.
//!
//! Every slot held has a bitmap outside of the arena, one bit a granule, and an upper bound of its
//! longest free run, so that a search skips slots without room. A request becomes one extent
//! wherever a run is found; only when none is found, and no slot is left in the pool, is it
//! scattered over the longest runs there are.
//!
//! Runs from which bodies were spliced are retired when they are freed: readers may still look at
//! their pages. They are of use again when these are renewed, all of a slot at once when nothing in
//! it is in use any more, or page by page when room is needed and slots to draw are scarce.
//!
//! Invariants: no granule belongs to two extents; a request fails whole or succeeds whole; a wholly
//! free slot goes back to the pool, all but one, and that one too when nothing is in use.

mod bits;

use std::rc::Rc;

use crate::limits;
use crate::sys::extent::{Extent, GRANULE_BYTES, SlotSource};
use bits::{Run, flip};

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
    retired_granules: u64,
    slots_free: usize,
}

struct Slot {
    number: u32,
    /// A set bit is a granule in use, or retired.
    used: Box<[u64]>,
    /// A set bit is a granule that is retired; empty while none is.
    retired: Box<[u64]>,
    retired_count: u32,
    used_count: u32,
    /// No free run is longer than this.
    longest_max: u32,
}

impl Space {
    /// Whether the first `length` bytes of two bodies are the same.
    pub fn are_same(&self, one: &[Extent], other: &[Extent], length: u64) -> bool {
        self.source.are_same(one, other, length)
    }

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
            retired_granules: 0,
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

    /// Bytes that nobody uses and that cannot be used again yet, in whole granules.
    pub fn retired_bytes(&self) -> u64 {
        self.retired_granules * u64::from(GRANULE_BYTES)
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
            let found = self.own(piece).or_else(|| self.one(piece));
            let found = found.or_else(|| self.renewed(piece));
            let found = found.or_else(|| self.scrap(piece));
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
        self.clear(extent.slot, extent.offset / GRANULE_BYTES, granules(extent.len), true);
    }

    /// Takes back what lies behind the extent's first `len` bytes; returns the shorter extent.
    pub fn trim(&mut self, extent: Extent, len: u32) -> Extent {
        debug_assert!(len <= extent.len);
        let keep = granules(len);
        let first = extent.offset / GRANULE_BYTES;
        // Nobody has read what was never written.
        self.clear(extent.slot, first + keep, granules(extent.len) - keep, false);
        Extent { len, ..extent }
    }

    /// One run of `bytes` where retired pages were renewed, if slots are scarce: what is drawn
    /// without need is missing to another shard.
    fn own(&mut self, bytes: u32) -> Option<Extent> {
        let wanted = self.retired_granules > 0 && self.source.is_scarce();
        (wanted && self.find(granules(bytes), 1).is_none()).then(|| self.renewed(bytes)).flatten()
    }

    /// One run of `bytes`, in the slots held or else in a new one.
    fn one(&mut self, bytes: u32) -> Option<Extent> {
        let need = granules(bytes);
        let place = self.find(need, align(bytes));
        let (place, start) = match place.or_else(|| Some((self.draw()?, 0))) {
            Some(found) => found,
            None => self.find(need, 1)?,
        };
        Some(self.take(place, start, bytes))
    }

    /// One run of `bytes` where retired pages were renewed.
    fn renewed(&mut self, bytes: u32) -> Option<Extent> {
        while self.renew_some() {
            if let Some((place, start)) = self.find(granules(bytes), align(bytes)) {
                return Some(self.take(place, start, bytes));
            }
        }
        None
    }

    /// Renews pages that are wholly retired, as many as a turn has time for; whether any were.
    fn renew_some(&mut self) -> bool {
        let mut renewed = 0;
        for slot in self.slots.iter_mut().filter(|slot| slot.retired_count > 0) {
            renewed += slot.renew_pages(&*self.source);
            if u64::from(renewed) * u64::from(GRANULE_BYTES) >= limits::RENEW_BYTES_MAX {
                break;
            }
        }
        self.retired_granules -= u64::from(renewed);
        renewed > 0
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

    fn clear(&mut self, number: u32, start: u32, count: u32, was_readable: bool) {
        if count == 0 {
            return;
        }
        let place = self.places[number as usize] as usize;
        let slot = &mut self.slots[place];
        let (offset, len) = (start * GRANULE_BYTES, count * GRANULE_BYTES);
        slot.used_count -= count;
        self.used_granules -= u64::from(count);
        let extent = Extent { slot: number, offset, len };
        if was_readable && self.source.is_spliced(extent) {
            slot.retire(start, count);
            self.retired_granules += u64::from(count);
        } else {
            slot.mark(start, count, false);
            self.source.freed(extent);
            slot.longest_max = slot.longest_max.max(slot.run_around(start, count));
        }
        if slot.used_count == 0 {
            self.renew(place);
            self.slots_free += 1;
            self.give_back(place);
        }
    }

    /// Makes a slot in which nothing is in use like new, if it has been spliced from.
    fn renew(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        let whole = Extent { slot: slot.number, offset: 0, len: self.slot_bytes };
        // What is retired beside a marked page may have no mark itself.
        if slot.retired_count > 0 || self.source.is_spliced(whole) {
            self.retired_granules -= u64::from(slot.retired_count);
            slot.reset();
            self.source.renew(whole);
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
        let retired = Box::default();
        let slot =
            Slot { number, used, retired, retired_count: 0, used_count: 0, longest_max: granules };
        self.slots.push(slot);
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
        flip(&mut self.used, start, count, used);
    }

    /// Keeps a run that nobody uses any more from being used again.
    fn retire(&mut self, start: u32, count: u32) {
        if self.retired.is_empty() {
            self.retired = vec![0; self.used.len()].into_boxed_slice();
        }
        flip(&mut self.retired, start, count, true);
        self.retired_count += count;
    }

    /// Nothing is in use or retired any more.
    fn reset(&mut self) {
        self.used.fill(0);
        self.retired.fill(0);
        self.retired_count = 0;
        self.longest_max = self.granules();
    }

    /// Renews the pages in which every granule is retired; returns the granules that it freed.
    fn renew_pages(&mut self, source: &dyn SlotSource) -> u32 {
        let mut freed = 0;
        let mut from = 0;
        while let Some(run) = bits::run(&self.retired, from) {
            from = run.start + run.len;
            let start = run.start.next_multiple_of(PAGE_GRANULES);
            let end = from / PAGE_GRANULES * PAGE_GRANULES;
            if start >= end {
                continue;
            }
            let count = end - start;
            flip(&mut self.retired, start, count, false);
            flip(&mut self.used, start, count, false);
            let (offset, len) = (start * GRANULE_BYTES, count * GRANULE_BYTES);
            source.renew(Extent { slot: self.number, offset, len });
            self.longest_max = self.longest_max.max(self.run_around(start, count));
            freed += count;
        }
        self.retired_count -= freed;
        freed
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
        bits::next(&self.used, from, used)
    }

    fn granules(&self) -> u32 {
        bits::count(&self.used)
    }
}

/// Of which granules a run of `bytes` had better start at a multiple.
fn align(bytes: u32) -> u32 {
    if bytes >= ALIGNED_BYTES_MIN { ALIGNED_GRANULES } else { 1 }
}

fn granules(bytes: u32) -> u32 {
    bytes.div_ceil(GRANULE_BYTES)
}

/// Extents of at least this many bytes start on a page where possible.
pub const ALIGNED_BYTES_MIN: u32 = 64 * 1024;
const ALIGNED_GRANULES: u32 = PAGE_GRANULES;
const PAGE_GRANULES: u32 = 4096 / GRANULE_BYTES;
const SPARE_BITMAPS_MAX: usize = 16;
const ABSENT: u32 = u32::MAX;

#[cfg(test)]
pub(super) mod tests;
