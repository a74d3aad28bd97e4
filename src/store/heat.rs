//! How often a version was read lately, by all shards together.
//!
//! Invariants: a version that has its full heat costs a reader one load and no store; counts are
//! rough, since two shards may warm at once.

use std::sync::atomic::{AtomicU8, Ordering};

/// A small count that readers raise and the eviction lowers.
#[derive(Debug, Default)]
pub struct Heat(AtomicU8);

impl Heat {
    /// The largest count.
    pub const MOST: u8 = 3;

    /// Counts a read.
    #[inline]
    pub fn warm(&self) {
        let heat = self.0.load(Ordering::Relaxed);
        if heat < Self::MOST {
            self.0.store(heat + 1, Ordering::Relaxed);
        }
    }

    /// Whether the count is the largest.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::MOST
    }

    /// Takes one from the count; `false` when there was nothing.
    pub fn cool(&self) -> bool {
        let heat = self.0.load(Ordering::Relaxed);
        self.0.store(heat.saturating_sub(1), Ordering::Relaxed);
        heat > 0
    }

    /// The count, which starts again at nothing.
    pub fn reset(&self) -> u8 {
        self.0.swap(0, Ordering::Relaxed)
    }
}
