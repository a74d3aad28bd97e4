//! How often a version was read lately, by all shards together.
//!
//! Invariants: a version that has its full heat costs a reader one load and no store; counts are
//! rough, since two shards may warm at once.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::limits;

/// A small count that readers raise and the eviction lowers.
#[derive(Debug, Default)]
pub struct Heat(AtomicU8);

/// In the count's place: memory got the version ahead of its readers, and none has come. It is no
/// count below [`Heat::MOST`], so that whoever looks at it does not warm it.
const AHEAD: u8 = 0x80;
/// Where the count is.
const COUNT: u8 = 0b0000_0011;
/// Where the copies are counted, and one of them.
const COPIES: u8 = 0b0111_1100;
const COPY: u8 = 0b0000_0100;
const _: () = assert!(limits::COPIES_MAX == COPIES / COPY);

impl Heat {
    /// The largest count.
    pub const MOST: u8 = 3;

    /// Makes it that of a version that nobody has asked for yet, unless it was read.
    pub fn set_ahead(&self) {
        let _ = self.0.compare_exchange(0, AHEAD, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether nobody has asked yet for what came ahead.
    #[inline]
    pub fn is_ahead(&self) -> bool {
        self.0.load(Ordering::Relaxed) == AHEAD
    }

    /// Counts the first read of what came ahead; `true` to one caller only.
    pub fn take_ahead(&self) -> bool {
        self.0.compare_exchange(AHEAD, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Counts a read.
    #[inline]
    pub fn warm(&self) {
        let heat = self.0.load(Ordering::Relaxed);
        if heat & (AHEAD | COUNT) < Self::MOST {
            self.0.store(heat + 1, Ordering::Relaxed);
        }
    }

    /// Whether the count is the largest.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (AHEAD | COUNT) == Self::MOST
    }

    /// Takes one from the count; `false` when there was nothing.
    pub fn cool(&self) -> bool {
        let heat = self.0.load(Ordering::Relaxed);
        let cools = heat & AHEAD == 0 && heat & COUNT > 0;
        if cools {
            self.0.store(heat - 1, Ordering::Relaxed);
        }
        cools
    }

    /// The count, which starts again at nothing.
    pub fn reset(&self) -> u8 {
        if self.is_ahead() { 0 } else { self.0.fetch_and(!COUNT, Ordering::Relaxed) & COUNT }
    }

    /// Counts a large send by copy, unless there were `enough` of them, at most
    /// [`limits::COPIES_MAX`]: whether it may as well leave by reference.
    #[inline]
    pub fn copied_enough(&self, enough: u8) -> bool {
        let heat = self.0.load(Ordering::Relaxed);
        let is_worth = (heat & COPIES) / COPY >= enough;
        if !is_worth {
            self.0.store(heat + COPY, Ordering::Relaxed);
        }
        is_worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_ahead_is_cold_until_it_is_asked_for() {
        let heat = Heat::default();
        heat.set_ahead();
        heat.warm();
        assert!(heat.is_ahead() && !heat.is_full() && !heat.cool());
        assert_eq!((heat.reset(), heat.is_ahead()), (0, true));
        assert!(heat.take_ahead() && !heat.take_ahead() && !heat.is_ahead());
        assert_eq!(heat.reset(), 1);
    }

    #[test]
    fn copies_are_counted_beside_the_reads_up_to_their_bound() {
        let heat = Heat::default();
        let copies = (0..100).take_while(|_| !heat.copied_enough(COPIES / COPY)).count();
        assert_eq!(copies, usize::from(limits::COPIES_MAX));
        assert!(!heat.cool() && !heat.is_full());
        (0..10).for_each(|_| heat.warm());
        assert!(heat.is_full() && heat.copied_enough(1));
        assert_eq!((heat.reset(), heat.reset()), (Heat::MOST, 0));
        assert!(heat.copied_enough(1) && !heat.is_ahead());
        assert!(Heat::default().copied_enough(0));
    }

    #[test]
    fn what_was_read_did_not_come_ahead() {
        let heat = Heat::default();
        heat.set_ahead();
        assert!(heat.take_ahead());
        heat.set_ahead();
        assert!(!heat.is_ahead() && heat.cool() && !heat.cool());
    }
}
