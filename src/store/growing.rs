//! An object whose upload is still arriving, shared between its writer, its owner and its readers.
//!
//! The owner appends extents, the writer publishes how many bytes are there, readers on any shard
//! send up to that mark and ask to be nudged about more. The record that names a growing object
//! stays valid when it is complete: `finished` then says where the whole body lies.
//!
//! Invariants: `progress` never shrinks; an extent once appended never changes; `finished` and
//! `cut` exclude each other; a watch bit is cleared exactly once per nudge that is owed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::limits;
use crate::sys::extent::{Extent, ShardId};

use super::object::Whole;

const WATCH_WORDS: usize = limits::SHARDS_MAX / 64;

/// The shared state of one growing object.
#[derive(Debug)]
pub struct Growing {
    /// Process-wide unique number, the name used in nudges.
    pub id: u64,
    extents: Box<[OnceLock<Extent>]>,
    progress: AtomicU64,
    cut: AtomicBool,
    watch: [AtomicU64; WATCH_WORDS],
    finished: OnceLock<Whole>,
}

impl Growing {
    /// A growing object without bytes yet.
    pub fn new(id: u64) -> Self {
        let extents = (0..limits::GROWING_EXTENTS_MAX).map(|_| OnceLock::new()).collect();
        Self {
            id,
            extents,
            progress: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            watch: [const { AtomicU64::new(0) }; WATCH_WORDS],
            finished: OnceLock::new(),
        }
    }

    /// Owner: adds the next extent; `false` when the table is full.
    pub fn append(&self, extent: Extent) -> bool {
        for place in &self.extents {
            match place.set(extent) {
                Ok(()) => return true,
                Err(_) => continue,
            }
        }
        false
    }

    /// The extent at `index` in body order, if it has been allotted.
    pub fn extent(&self, index: usize) -> Option<Extent> {
        self.extents.get(index)?.get().copied()
    }

    /// The contiguous run at byte `at` of the body: extent, offset within it, bytes up to `end`
    /// and at most `bytes_max`; `None` when there is nothing.
    pub fn run(&self, at: u64, end: u64, bytes_max: u64) -> Option<(Extent, u32, u32)> {
        let mut skipped = 0u64;
        for index in 0..self.extents.len() {
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

    /// Owner: the upload is complete and acknowledged or about to be.
    pub fn finish(&self, whole: Whole) {
        debug_assert!(!self.is_cut());
        let _ = self.finished.set(whole);
    }

    /// The whole body, once the upload is complete.
    pub fn finished(&self) -> Option<&Whole> {
        self.finished.get()
    }

    /// Owner: the upload broke off or was superseded; readers end without a last chunk.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
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
