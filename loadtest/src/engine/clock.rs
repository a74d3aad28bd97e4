//! Time in nanoseconds since the start of a run, and how evenly this machine lets it be read.

use std::time::{Duration, Instant};

use crate::rate::schedule::{bits, unit};
use crate::report::latency::Latency;

/// Nanoseconds since one instant; the same for all threads of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    #[expect(clippy::cast_possible_truncation, reason = "64 bits of nanoseconds are 584 years")]
    pub fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Nanoseconds of a duration, at most 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The bare clock loop: spins for `length` on a Poisson schedule of `rate` and does nothing but
/// read the clock. How late it sees each tick is what this core does to any program: interrupts,
/// steal, other threads.
#[expect(clippy::cast_possible_truncation, reason = "gaps are far below 584 years")]
pub fn bare_loop(rate: f64, length: Duration, seed: u64) -> Latency {
    let mut lateness = Latency::new();
    let clock = Clock::start();
    let mean_gap = 1e9 / rate.clamp(1.0, 1e7);
    let (mut due, mut index, end) = (0u64, 0u64, nanos(length));
    while due < end {
        let now = clock.now();
        if now >= due {
            lateness.record(now - due);
            due += (-(1.0 - unit(bits(seed, index))).ln() * mean_gap) as u64;
            index += 1;
        }
    }
    lateness
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_loop_sees_every_tick() {
        let lateness = bare_loop(10_000.0, Duration::from_millis(100), 7);
        assert!((800..1200).contains(&lateness.count()), "{lateness:?}");
    }
}
