//! The allocator against a table of bytes in use.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::{ALIGNED_BYTES_MIN, Space};
use crate::sys::extent::{Extent, GRANULE_BYTES, SlotSource};
use crate::sys::random::Random;

const SLOT_BYTES: u32 = 4 << 20;

/// A pool that checks that nobody gives back what was not drawn.
pub struct Pool {
    slot_bytes: u32,
    free: RefCell<Vec<u32>>,
    drawn: RefCell<BTreeSet<u32>>,
    /// Pages that sockets may refer to: slot, and page within it.
    spliced: RefCell<BTreeSet<(u32, u32)>>,
    /// Granules that were spliced from, and were not renewed since.
    dirty: RefCell<BTreeSet<(u32, u32)>>,
}

impl Pool {
    pub fn new(slots: u32, slot_bytes: u32) -> Rc<Self> {
        let free = RefCell::new((0..slots).rev().collect());
        let (drawn, spliced, dirty) = Default::default();
        Rc::new(Self { slot_bytes, free, drawn, spliced, dirty })
    }

    /// Sockets look at the extent from now on.
    fn splice(&self, extent: Extent) {
        self.spliced.borrow_mut().extend(pages_of(extent));
    }

    pub fn drawn(&self) -> usize {
        self.drawn.borrow().len()
    }
}

impl SlotSource for Pool {
    fn slot_bytes(&self) -> u32 {
        self.slot_bytes
    }

    fn draw(&self) -> Option<u32> {
        let slot = self.free.borrow_mut().pop()?;
        assert!(self.drawn.borrow_mut().insert(slot));
        Some(slot)
    }

    fn is_spliced(&self, extent: Extent) -> bool {
        pages_of(extent).any(|page| self.spliced.borrow().contains(&page))
    }

    fn renew(&self, extent: Extent) {
        let is_whole = |bytes: u32| bytes.is_multiple_of(4096);
        assert!(extent.len > 0 && is_whole(extent.offset) && is_whole(extent.len));
        for granule in granules_of(extent) {
            self.dirty.borrow_mut().remove(&granule);
        }
        pages_of(extent).for_each(|page| {
            self.spliced.borrow_mut().remove(&page);
        });
    }

    fn give_back(&self, slot: u32) {
        let whole = Extent { slot, offset: 0, len: self.slot_bytes };
        assert!(!self.is_spliced(whole), "the next owner would overwrite what a reader looks at");
        assert!(self.drawn.borrow_mut().remove(&slot));
        self.free.borrow_mut().push(slot);
    }
}

fn granules_of(extent: Extent) -> impl Iterator<Item = (u32, u32)> {
    let first = extent.offset / GRANULE_BYTES;
    (first..first + extent.len.div_ceil(GRANULE_BYTES)).map(move |granule| (extent.slot, granule))
}

/// Pages that have some of an extent.
fn pages_of(extent: Extent) -> impl Iterator<Item = (u32, u32)> {
    let end = (extent.offset + extent.len).div_ceil(4096);
    (extent.offset / 4096..end).map(move |page| (extent.slot, page))
}

/// Marks an extent's granules in `model`; each must be free.
fn mark(model: &mut BTreeSet<(u32, u32)>, extent: Extent) {
    assert!(extent.len > 0 && extent.offset.is_multiple_of(GRANULE_BYTES));
    assert!(extent.offset + extent.len <= SLOT_BYTES);
    for granule in 0..extent.len.div_ceil(GRANULE_BYTES) {
        assert!(model.insert((extent.slot, extent.offset / GRANULE_BYTES + granule)), "overlap");
    }
}

fn unmark(model: &mut BTreeSet<(u32, u32)>, extent: Extent, keep: u32) {
    for granule in keep.div_ceil(GRANULE_BYTES)..extent.len.div_ceil(GRANULE_BYTES) {
        assert!(model.remove(&(extent.slot, extent.offset / GRANULE_BYTES + granule)));
    }
}

fn size(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => random.below(3 * u64::from(SLOT_BYTES)),
        1..=3 => random.below(600 * 1024),
        _ => 1 + random.below(9000),
    }
}

#[test]
fn extents_never_overlap_and_all_slots_return() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let pool = Pool::new(5, SLOT_BYTES);
        let mut space = Space::new(pool.clone());
        let mut model = BTreeSet::new();
        let mut held: Vec<Extent> = Vec::new();
        for _ in 0..800 {
            if random.below(100) < 55 {
                let bytes = size(&mut random);
                let free = 5 * u64::from(SLOT_BYTES) - space.used_bytes();
                match space.allot(bytes) {
                    Some(extents) => {
                        let sum: u64 = extents.iter().map(|extent| u64::from(extent.len)).sum();
                        assert_eq!(sum, bytes);
                        extents.iter().for_each(|&extent| mark(&mut model, extent));
                        held.extend(extents);
                    }
                    None => assert!(bytes > free || free > 0, "refused with everything free"),
                }
            } else if !held.is_empty() {
                let extent = held.swap_remove(random.index(held.len()));
                if random.once_in(3) {
                    let keep = 1 + u32::try_from(random.below(u64::from(extent.len))).unwrap();
                    unmark(&mut model, extent, keep);
                    held.push(space.trim(extent, keep));
                } else {
                    unmark(&mut model, extent, 0);
                    space.free(extent);
                }
            }
            assert_eq!(space.used_bytes(), model.len() as u64 * u64::from(GRANULE_BYTES));
            assert_eq!(space.slots_held(), pool.drawn());
        }
        held.into_iter().for_each(|extent| space.free(extent));
        assert_eq!((space.used_bytes(), space.slots_held(), pool.drawn()), (0, 0, 0));
    }
}

/// Sockets go on looking at what was spliced when it is freed: it is handed out again only after
/// its pages were renewed, and all of it can be handed out again.
#[test]
fn what_was_spliced_is_renewed_before_it_is_used_again() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let pool = Pool::new(3, SLOT_BYTES);
        let mut space = Space::new(pool.clone());
        let mut held: Vec<Extent> = Vec::new();
        for _ in 0..600 {
            match random.below(100) {
                0..50 => {
                    for extent in space.allot(size(&mut random)).into_iter().flatten() {
                        let mut granules = granules_of(extent);
                        assert!(granules.all(|granule| !pool.dirty.borrow().contains(&granule)));
                        held.push(extent);
                    }
                }
                50..60 if !held.is_empty() => {
                    let extent = held[random.index(held.len())];
                    pool.dirty.borrow_mut().extend(granules_of(extent));
                    pool.splice(extent);
                }
                _ if !held.is_empty() => space.free(held.swap_remove(random.index(held.len()))),
                _ => {}
            }
            assert_eq!(space.slots_held(), pool.drawn());
        }
        held.drain(..).for_each(|extent| space.free(extent));
        assert_eq!((space.retired_bytes(), space.slots_held(), pool.drawn()), (0, 0, 0));
    }
}

/// A body that stays does not keep the rest of its slot from being used again.
#[test]
fn retired_pages_beside_a_body_that_stays_are_renewed_when_room_is_needed() {
    let pool = Pool::new(1, SLOT_BYTES);
    let mut space = Space::new(pool.clone());
    let _stays = space.allot(100_000).unwrap();
    let goes = space.allot(3 << 20).unwrap()[0];
    pool.splice(goes);
    space.free(goes);
    assert_eq!(space.retired_bytes(), 3 << 20);
    assert_eq!(space.allot(3 << 20).unwrap().len(), 1);
    assert_eq!(space.retired_bytes(), 0);
}

/// A shard that had retired memory went on drawing slots until the pool was empty, and its
/// neighbour was told that the memory is full while megabytes lay idle beside it.
#[test]
fn retired_pages_are_renewed_before_a_scarce_slot_is_drawn() {
    let pool = Pool::new(4, SLOT_BYTES);
    let (mut space, mut neighbour) = (Space::new(pool.clone()), Space::new(pool.clone()));
    let _stays = space.allot(100_000).unwrap();
    let goes = space.allot(3 << 20).unwrap()[0];
    pool.splice(goes);
    space.free(goes);
    let _comes = space.allot(3 << 20).unwrap();
    assert_eq!((space.retired_bytes(), space.slots_held()), (0, 1));
    assert!(neighbour.allot(3 * u64::from(SLOT_BYTES)).is_some());
}

#[test]
fn a_request_of_up_to_a_slot_is_one_extent_and_loses_less_than_a_granule() {
    let pool = Pool::new(4, SLOT_BYTES);
    let mut space = Space::new(pool);
    let mut used = 0;
    for bytes in [1, 1023, 1024, 5000, 65_536, 700_001, 4 << 20] {
        let extents = space.allot(bytes).unwrap();
        assert_eq!(extents.len(), 1);
        used += bytes.div_ceil(1024) * 1024;
        if extents[0].len >= ALIGNED_BYTES_MIN {
            assert_eq!(extents[0].offset % 4096, 0);
        }
    }
    assert_eq!(space.used_bytes(), used);
    assert_eq!(space.allot(0).unwrap(), []);
}

/// A full memory in which every second run is free still serves: in pieces.
#[test]
fn scattered_room_is_used_when_the_pool_is_empty() {
    let pool = Pool::new(1, SLOT_BYTES);
    let mut space = Space::new(pool);
    let runs: Vec<_> = (0..64).map(|_| space.allot(65_536).unwrap()[0]).collect();
    assert!(space.allot(1).is_none());
    runs.iter().step_by(2).for_each(|&extent| space.free(extent));
    let extents = space.allot(200_000).unwrap();
    assert_eq!(extents.len(), 4);
    assert!(space.allot(2 << 20).is_none(), "more than is free");
    assert_eq!(space.used_bytes(), 32 * 65_536 + 200_000_u64.div_ceil(1024) * 1024);
}

#[test]
fn at_most_one_free_slot_stays_in_hand() {
    let pool = Pool::new(8, SLOT_BYTES);
    let mut space = Space::new(pool.clone());
    let slots: Vec<_> = (0..8).map(|_| space.allot(u64::from(SLOT_BYTES)).unwrap()[0]).collect();
    for (index, &extent) in slots.iter().enumerate() {
        space.free(extent);
        assert!(pool.drawn() <= 8 - index);
    }
    assert_eq!(pool.drawn(), 0);
}
