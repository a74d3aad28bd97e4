//! An object whose upload is still arriving, shared between its writer, its owner and its readers.
//!
//! The owner appends extents, the writer publishes how many bytes are there, readers on any shard
//! send up to that mark and ask to be nudged about more. The record that names a growing object
//! stays valid when it is complete: `finished` then says where the whole body lies.
//!
//! A slower tier's object grows, too, while it is filled; then its length is known from the start.
//!
//! Invariants: `progress` never shrinks; an extent once appended never changes; `finished` and
//! `cut` exclude each other; a watch bit is cleared exactly once per nudge that is owed.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::limits;
use crate::sys::extent::{Extent, ShardId};

use super::object::Whole;

const WATCH_WORDS: usize = limits::SHARDS_MAX / 64;
/// Extents that need no table of their own: with doubling from 256 KiB, most segments.
const NEAR_EXTENTS: usize = 6;

/// The shared state of one growing object.
#[derive(Debug)]
pub struct Growing {
    /// Process-wide unique number, the name used in nudges.
    pub id: u64,
    /// The first extents; most bodies need no more.
    extents: [OnceLock<Extent>; NEAR_EXTENTS],
    more_extents: OnceLock<Box<[OnceLock<Extent>]>>,
    /// Extents appended; only the owner looks at it.
    extent_count: AtomicUsize,
    progress: AtomicU64,
    /// Bytes that ranges may take; all that are there for objects without parts.
    released: AtomicU64,
    is_parted: bool,
    /// Bytes of the whole, where they are known before.
    length: Option<u64>,
    cut: AtomicBool,
    watch: [AtomicU64; WATCH_WORDS],
    finished: OnceLock<Whole>,
    /// Another upload that goes on where this one broke off, with all that was here before it.
    successor: OnceLock<Arc<Growing>>,
}

impl Growing {
    /// A growing object without bytes yet.
    pub fn new(id: u64) -> Self {
        Self::made(id, false, None)
    }

    /// The same for one that may be cut into parts: a range waits until [`Growing::release`] has
    /// said that its bytes belong to whole parts.
    pub fn parted(id: u64) -> Self {
        Self::made(id, true, None)
    }

    /// The same for one that a slower tier fills with so many bytes: it is read like a whole one,
    /// of which some bytes have to be waited for, and a change of its key does not cut it.
    pub fn filled(id: u64, length: u64) -> Self {
        Self::made(id, false, Some(length))
    }

    fn made(id: u64, is_parted: bool, length: Option<u64>) -> Self {
        Self {
            id,
            released: AtomicU64::new(if is_parted { 0 } else { u64::MAX }),
            is_parted,
            length,
            extents: [const { OnceLock::new() }; NEAR_EXTENTS],
            more_extents: OnceLock::new(),
            extent_count: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            watch: [const { AtomicU64::new(0) }; WATCH_WORDS],
            finished: OnceLock::new(),
            successor: OnceLock::new(),
        }
    }

    /// Owner: adds the next extent; `false` when the table is full.
    pub fn append(&self, extent: Extent) -> bool {
        let index = self.extent_count();
        let place = match index.checked_sub(NEAR_EXTENTS) {
            None => Some(&self.extents[index]),
            Some(index) => self.more_extents.get_or_init(more_extents).get(index),
        };
        let appended = place.is_some_and(|place| place.set(extent).is_ok());
        self.extent_count.fetch_add(usize::from(appended), Ordering::Relaxed);
        appended
    }

    /// Owner: how many extents were appended.
    pub fn extent_count(&self) -> usize {
        self.extent_count.load(Ordering::Relaxed)
    }

    /// The extent at `index` in body order, if it has been allotted.
    pub fn extent(&self, index: usize) -> Option<Extent> {
        let place = match index.checked_sub(NEAR_EXTENTS) {
            None => &self.extents[index],
            Some(index) => self.more_extents.get()?.get(index)?,
        };
        place.get().copied()
    }

    /// The contiguous run at byte `at` of the body: extent, offset within it, bytes up to `end`
    /// and at most `bytes_max`; `None` when there is nothing.
    pub fn run(&self, at: u64, end: u64, bytes_max: u64) -> Option<(Extent, u32, u32)> {
        let mut skipped = 0u64;
        for index in 0..limits::GROWING_EXTENTS_MAX {
            let extent = self.extent(index)?;
            let len = u64::from(extent.len);
            if at < skipped + len {
                let offset = at - skipped;
                let bytes = (len - offset).min(end.saturating_sub(at)).min(bytes_max);
                let narrow = |value: u64| u32::try_from(value).expect("within one extent");
                return (bytes > 0).then(|| (extent, narrow(offset), narrow(bytes)));
            }
            skipped += len;
        }
        None
    }

    /// Writer: publishes that the first `bytes` bytes of the body are in place.
    pub fn advance(&self, bytes: u64) {
        debug_assert!(bytes >= self.progress.load(Ordering::Relaxed));
        self.progress.store(bytes, Ordering::SeqCst);
    }

    /// Bytes that may be read now.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::SeqCst)
    }

    /// Bytes that it will have, where a slower tier fills it.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether ranges of it are served while it arrives, part by part.
    pub fn is_parted(&self) -> bool {
        self.is_parted
    }

    /// Whoever makes the parts: the first `bytes` bytes belong to whole ones; `u64::MAX` when
    /// there will be no more parts.
    pub fn release(&self, bytes: u64) {
        self.released.fetch_max(bytes, Ordering::SeqCst);
        if let Some(successor) = self.successor.get() {
            successor.release(bytes);
        }
    }

    /// Bytes that ranges may take now.
    pub fn released(&self) -> u64 {
        self.released.load(Ordering::SeqCst).min(self.progress())
    }

    /// Owner: the upload is complete and acknowledged or about to be.
    pub fn finish(&self, whole: Whole) {
        debug_assert!(!self.is_cut());
        let _ = self.finished.set(whole);
    }

    /// The whole body, once the upload, or the one that took over, is complete.
    pub fn finished(&self) -> Option<&Whole> {
        self.finished.get().or_else(|| self.successor.get()?.finished())
    }

    /// The whole body, if this upload itself brought it: then its extents are the body's.
    pub fn finished_itself(&self) -> Option<&Whole> {
        self.finished.get()
    }

    /// Owner: the upload broke off or was superseded; readers end without a last chunk.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        if let Some(successor) = self.successor.get() {
            successor.cut();
        }
    }

    /// Owner: this upload has ended early, and `heir` goes on with it. The heir's bytes are those
    /// that are here, and more.
    pub fn hand_over_to(&self, heir: Arc<Self>) {
        debug_assert!(self.finished.get().is_none() && !self.is_cut());
        heir.release(self.released.load(Ordering::SeqCst));
        let _ = self.successor.set(heir);
        // What was let free meanwhile, as far as it was not passed on.
        if let Some(heir) = self.successor.get() {
            heir.release(self.released.load(Ordering::SeqCst));
        }
    }

    /// The upload that goes on with this one.
    pub fn successor(&self) -> Option<&Arc<Self>> {
        self.successor.get()
    }

    /// The upload that is arriving now: this one, or the last that took over.
    pub fn tip(self: &Arc<Self>) -> Arc<Self> {
        let mut tip = self;
        while let Some(next) = tip.successor.get() {
            tip = next;
        }
        Arc::clone(tip)
    }

    /// How often another upload took over.
    pub fn successions(&self) -> usize {
        self.successor.get().map_or(0, |next| 1 + next.successions())
    }

    /// The extents appended so far, in body order.
    pub fn extents(&self) -> Vec<Extent> {
        (0..).map_while(|at| self.extent(at)).collect()
    }

    /// Whether the upload broke off or was superseded.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Reader: asks for one nudge to `shard` at the next change. Look at the state again after
    /// this call and before waiting, or a change in between is missed.
    pub fn watch(&self, shard: ShardId) {
        self.watch[usize::from(shard) / 64].fetch_or(1 << (shard % 64), Ordering::SeqCst);
    }

    /// Whoever changed the state: calls `nudge` for each shard that waits and clears the wishes.
    pub fn drain_watchers(&self, mut nudge: impl FnMut(ShardId)) {
        for (word, bits) in self.watch.iter().enumerate() {
            if bits.load(Ordering::SeqCst) == 0 {
                continue;
            }
            let mut waiting = bits.swap(0, Ordering::SeqCst);
            while waiting != 0 {
                let bit = waiting.trailing_zeros();
                let shard = word * 64 + bit as usize;
                nudge(ShardId::try_from(shard).expect("as many bits as shards"));
                waiting &= waiting - 1;
            }
        }
    }
}

fn more_extents() -> Box<[OnceLock<Extent>]> {
    (NEAR_EXTENTS..limits::GROWING_EXTENTS_MAX).map(|_| OnceLock::new()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_found_in_order_up_to_the_limit() {
        let growing = Growing::new(1);
        let extent = |at: usize| Extent { slot: u32::try_from(at).unwrap(), offset: 0, len: 1 };
        for at in 0..limits::GROWING_EXTENTS_MAX {
            assert_eq!(growing.extent(at), None);
            assert!(growing.append(extent(at)));
        }
        assert!(!growing.append(extent(0)));
        for at in 0..limits::GROWING_EXTENTS_MAX {
            assert_eq!(growing.extent(at), Some(extent(at)));
        }
        assert_eq!(growing.extent(limits::GROWING_EXTENTS_MAX), None);
    }

    /// Runs were looked for in the first six extents only: an object that had grown beyond some
    /// twelve megabytes ended early for whoever read it while it arrived.
    #[test]
    fn runs_are_found_in_every_extent() {
        let growing = Growing::new(1);
        for slot in 0..20 {
            assert!(growing.append(Extent { slot, offset: 0, len: 100 }));
        }
        for at in 0..2000_u64 {
            let (extent, offset, bytes) = growing.run(at, 2000, 1000).unwrap();
            assert_eq!(u64::from(extent.slot), at / 100);
            assert_eq!((u64::from(offset), u64::from(bytes)), (at % 100, 100 - at % 100));
        }
        assert_eq!(growing.run(2000, 3000, 1000), None);
    }

    #[test]
    fn ranges_take_whole_parts_only() {
        let growing = Growing::parted(1);
        growing.advance(100);
        assert_eq!(growing.released(), 0);
        growing.release(60);
        growing.release(40);
        assert_eq!(growing.released(), 60);
        growing.release(u64::MAX);
        assert_eq!(growing.released(), 100);
    }

    #[test]
    fn another_upload_goes_on() {
        let (front, heir) = (Arc::new(Growing::new(1)), Arc::new(Growing::new(2)));
        assert!(Arc::ptr_eq(&front.tip(), &front) && front.successions() == 0);
        front.advance(10);
        heir.advance(20);
        front.hand_over_to(heir.clone());
        assert!(Arc::ptr_eq(&front.tip(), &heir) && front.successions() == 1);
        assert!(front.finished().is_none());
        heir.finish(Whole::new(30, [].into_iter().collect()));
        assert_eq!(front.finished().map(Whole::length), Some(30));
        assert!(front.finished_itself().is_none() && !front.is_cut());
        let (front, heir) = (Arc::new(Growing::new(3)), Arc::new(Growing::new(4)));
        front.hand_over_to(heir.clone());
        front.cut();
        assert!(heir.is_cut(), "its writer is to notice, too");
    }

    #[test]
    fn ranges_go_on_where_they_were() {
        let (front, heir) = (Arc::new(Growing::parted(1)), Arc::new(Growing::parted(2)));
        front.advance(100);
        front.release(60);
        heir.advance(150);
        front.hand_over_to(heir.clone());
        assert_eq!(heir.released(), 60);
        front.release(120);
        assert_eq!(heir.released(), 120);
    }

    #[test]
    fn a_shard_is_nudged_once_for_each_wish() {
        let growing = Growing::new(1);
        let nudged = || {
            let mut shards = Vec::new();
            growing.drain_watchers(|shard| shards.push(shard));
            shards
        };
        for shard in [0, 63, 64, 255, 63] {
            growing.watch(shard);
        }
        assert_eq!(nudged(), [0, 63, 64, 255]);
        assert!(nudged().is_empty());
        growing.watch(7);
        assert_eq!(nudged(), [7]);
    }
}
