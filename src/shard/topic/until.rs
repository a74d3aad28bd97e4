//! When a subscription ends by itself, because what it was let in by is no longer good.
//!
//! Four bytes a subscription and no timer: streams are looked at by a pass over their topic, which
//! a tick begins once one of them is due; WebSockets and long-polls wait until then at most.
//!
//! Invariants: a subscription gets nothing from the second on in which its credential ends, and it
//! ends within a second of it, whatever a reload has made of the credential since.

use crate::limits;
use crate::origin::auth::NEVER;
use crate::sys::clock::Clock;

/// Unix time in seconds; the largest is no end at all, so the year 2106 is none either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::shard) struct Until(u32);

/// What an open subscription is told whose time is over.
pub(super) const EXPIRED: &str = "the credential has expired";

impl Until {
    /// No end.
    pub(super) const FOREVER: Self = Self(u32::MAX);

    /// From Unix time in seconds.
    pub(in crate::shard) fn of(until_s: u64) -> Self {
        debug_assert!(NEVER > u64::from(u32::MAX));
        u32::try_from(until_s).map_or(Self::FOREVER, Self)
    }

    /// Whether the time is over at this second of Unix time.
    pub(super) fn is_over(self, now_s: u64) -> bool {
        self != Self::FOREVER && now_s >= self.0.into()
    }

    /// The time on a shard's monotonic clock, in milliseconds, at which it will be seen to be over.
    pub(super) fn due_ms(self, clock: &Clock) -> u64 {
        if self == Self::FOREVER {
            return u64::MAX;
        }
        let left_ms = (u64::from(self.0) * 1000).saturating_sub(Clock::wall_ms());
        clock.now_ms() + left_ms + limits::WALL_CLOCK_AGE_MS_MAX + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_the_end_is_over_and_what_has_no_end_never_is() {
        let until = Until::of(1_800_000_000);
        assert!(!until.is_over(1_799_999_999) && until.is_over(1_800_000_000));
        assert!(Until::of(0).is_over(0));
        for endless in [NEVER, u64::from(u32::MAX), u64::from(u32::MAX) + 1] {
            assert_eq!(Until::of(endless), Until::FOREVER);
            assert!(!Until::of(endless).is_over(NEVER));
        }
        assert!(until < Until::FOREVER);
    }

    #[test]
    fn a_wait_ends_no_sooner_than_the_time_is_seen_to_be_over() {
        let clock = Clock::default();
        let wall_ms = Clock::wall_ms();
        let due_ms = Until::of(wall_ms / 1000 + 10).due_ms(&clock);
        let left_ms = due_ms - clock.now_ms();
        let late_ms = limits::WALL_CLOCK_AGE_MS_MAX + 1;
        assert!((9_000..=10_000 + late_ms).contains(&left_ms), "{left_ms}");
        assert_eq!(Until::of(1).due_ms(&clock), clock.now_ms() + late_ms);
        assert_eq!(Until::FOREVER.due_ms(&clock), u64::MAX);
    }
}
