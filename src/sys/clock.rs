//! Time as a shard sees it: read once a turn, monotonic for deadlines, wall for Date.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::limits;

/// The zero of every shard's monotonic clock.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// One shard's clock; all shards count from the same zero.
pub struct Clock {
    now_us: Cell<u64>,
    wall_s: Cell<u64>,
    wall_read_us: Cell<u64>,
}

impl Default for Clock {
    fn default() -> Self {
        let clock = Self { now_us: Cell::new(0), wall_s: Cell::new(0), wall_read_us: Cell::new(0) };
        clock.read_wall();
        clock.turn();
        clock
    }
}

impl Clock {
    /// Reads the time; called once a turn.
    #[inline]
    pub fn turn(&self) {
        self.now_us.set(Self::monotonic_us());
        // Date changes by the second; a look now and then keeps it true enough.
        let age_us = self.now_us.get() - self.wall_read_us.get();
        if age_us > limits::WALL_CLOCK_AGE_MS_MAX * 1000 {
            self.read_wall();
        }
    }

    /// Microseconds since the process began, as of this turn.
    #[inline]
    pub fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Milliseconds since the process began, as of this turn.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_us.get() / 1000
    }

    /// Unix time in seconds, as of this turn.
    #[inline]
    pub fn wall_s(&self) -> u64 {
        self.wall_s.get()
    }

    /// Unix time in milliseconds, read now.
    pub fn wall_ms() -> u64 {
        #[cfg(test)]
        if let Some(now_us) = super::sim::now_us() {
            return 1_700_000_000_000 + now_us / 1000;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the process began, read now.
    pub fn monotonic_us() -> u64 {
        #[cfg(test)]
        if let Some(now_us) = super::sim::now_us() {
            return now_us;
        }
        u64::try_from(epoch().elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn read_wall(&self) {
        self.wall_s.set(Self::wall_ms() / 1000);
        self.wall_read_us.set(self.now_us.get());
    }
}
