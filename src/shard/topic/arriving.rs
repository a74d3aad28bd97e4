//! Memory of messages that are arriving, by POST and on WebSockets: all publishers of a shard have
//! one bound.
//!
//! A publisher has a little for itself, so that those with large messages keep none from publishing
//! small ones; what is beyond is charged to the bound.
//!
//! Invariants: what is charged is given back when the message is there or its publisher is gone.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits;

/// Bytes that are charged, on one shard.
pub(super) type Arriving = Rc<Cell<usize>>;

/// What one publisher holds.
pub(in crate::shard) struct Charge {
    all: Arriving,
    bytes: usize,
}

/// There is no room for what a publisher sends.
#[derive(Debug)]
pub(in crate::shard) struct NoRoom;

impl Charge {
    pub(super) fn new(all: &Arriving) -> Self {
        Self { all: all.clone(), bytes: 0 }
    }

    /// Whether anything is charged.
    pub(super) fn is_any(&self) -> bool {
        self.bytes > 0
    }

    /// Notes how much memory the message holds now.
    pub(in crate::shard) fn set(&mut self, held: usize) -> Result<(), NoRoom> {
        let bytes = held.saturating_sub(limits::TOPIC_ARRIVING_FREE_BYTES);
        let all = self.all.get() - self.bytes + bytes;
        let has_grown = bytes > self.bytes;
        (self.bytes, _) = (bytes, self.all.set(all));
        if has_grown && all > limits::TOPIC_ARRIVING_BYTES_MAX { Err(NoRoom) } else { Ok(()) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_charged_once_and_given_back() {
        let all = Arriving::default();
        let mut small = Charge::new(&all);
        small.set(limits::TOPIC_ARRIVING_FREE_BYTES).unwrap();
        assert!(!small.is_any() && all.get() == 0);
        let mut large = Charge::new(&all);
        large.set(limits::TOPIC_ARRIVING_BYTES_MAX).unwrap();
        let mut second = Charge::new(&all);
        second.set(limits::TOPIC_ARRIVING_FREE_BYTES * 2 + 1).unwrap_err();
        small.set(10).unwrap();
        drop(second);
        large.set(100).unwrap();
        assert_eq!(all.get(), 0);
        large.set(1 << 20).unwrap();
        drop(large);
        assert_eq!(all.get(), 0);
    }
}
