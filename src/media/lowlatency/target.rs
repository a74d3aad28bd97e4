//! Which PART-TARGET suits the fragments of an encoder.
//!
//! The draft wants every part to last at most the target and at least 85 % of it. Fragments cannot
//! be cut, so the target follows from them: it is a multiple of their duration, if they are even or
//! so fine that it does not matter. Of the multiples that the policy allows the longest counts that
//! leaves no short last part: players pass over what is left of a segment when it is less than a
//! quarter of a second (hls.js, `maxFragLookUpTolerance`) and then have a hole.
//!
//! **Invariants**: a target is never longer than the policy's; with fragments like those that were
//! seen, no part breaks the rule.

use crate::media::boxes::Fragment;

/// What was seen of a segment's fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    count: u64,
    timescale: u32,
    longest: u64,
    total: u64,
    /// Of all but the last, which may be a rest.
    shortest: u64,
    last: u64,
}

impl Seen {
    /// Notes a fragment.
    pub fn note(&mut self, fragment: &Fragment) {
        if self.count > 0 {
            self.shortest = self.shortest.min(self.last);
        } else {
            self.shortest = u64::MAX;
        }
        self.count += 1;
        self.timescale = fragment.timescale;
        self.longest = self.longest.max(fragment.duration);
        self.last = fragment.duration;
        self.total = self.total.saturating_add(fragment.duration);
    }

    /// The target in microseconds.
    ///
    /// # Errors
    /// Why these fragments suit none.
    pub fn target_us(&self, wished_us: u64) -> Result<u64, &'static str> {
        let scale = u128::from(self.timescale);
        if self.count == 0 || self.longest == 0 || scale == 0 {
            return Err("its segments have no fragments of a known duration");
        }
        if self.count == 1 {
            return Err("its segments arrive as one fragment: let the encoder write several");
        }
        let (longest, wished_us) = (u128::from(self.longest) * 1_000_000, u128::from(wished_us));
        let wished = wished_us * scale;
        if longest > wished {
            return Err("its fragments are longer than the part target: shorten them or raise it");
        }
        // Fragments of less than 15 % of the target may differ: there is room for one more.
        let is_fine = longest * 100 <= wished * (100 - FILL_PERCENT);
        let shortest = u128::from(self.shortest) * 1_000_000;
        if !is_fine && shortest * 100 < longest * FILL_PERCENT {
            return Err("its fragments differ by more than 15 %: let the encoder write even ones");
        }
        let multiple = longest * self.fragments_of_a_part(wished / longest);
        Ok(narrow(multiple.div_ceil(scale)))
    }

    /// How many fragments make a part, at most so many.
    fn fragments_of_a_part(&self, most: u128) -> u128 {
        let least = u128::from(LAST_PART_MS_MIN) * u128::from(self.timescale) / 1000;
        let leaves_enough = |count: &u128| {
            let part = count * u128::from(self.longest);
            let rest = u128::from(self.total) % part;
            (if rest == 0 { part } else { rest }) >= least
        };
        let fewest = most.div_ceil(2).max(1);
        (fewest..=most).rev().take(CHOICES_MAX).find(leaves_enough).unwrap_or(most)
    }
}

fn narrow(us: u128) -> u64 {
    u64::try_from(us).unwrap_or(u64::MAX)
}

/// A part lasts at least this share of the target (draft section 4.4.4.9).
pub const FILL_PERCENT: u128 = 85;

/// The last part of a segment is no shorter where that can be had, in milliseconds.
const LAST_PART_MS_MIN: u64 = 260;

/// Multiples that are tried.
const CHOICES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn target(timescale: u32, durations: &[u64]) -> Result<u64, &'static str> {
        let mut seen = Seen::default();
        for &duration in durations {
            seen.note(&Fragment { duration, timescale, ..Fragment::default() });
        }
        seen.target_us(500_000)
    }

    #[test]
    fn even_fragments_fill_a_multiple() {
        assert_eq!(target(12_800, &[2560, 2560, 2560]), Ok(400_000));
        assert_eq!(target(12_800, &[2560, 2560, 512]), Ok(400_000));
        assert_eq!(target(48_000, &[10_240, 9216, 10_240, 1024]), Ok(426_667));
        assert_eq!(target(1000, &[500, 500]), Ok(500_000));
        assert_eq!(target(1000, &[300, 300]), Ok(300_000));
    }

    #[test]
    fn fine_fragments_need_not_be_even() {
        assert_eq!(target(1000, &[40; 50]), Ok(400_000));
        assert_eq!(target(1000, &[40, 40, 40]), Ok(480_000));
        assert_eq!(target(1000, &[75, 1, 20]), Ok(450_000));
    }

    /// hls.js went on with the next segment when 0.2 s of one were left, and stalled at the hole.
    #[test]
    fn the_last_part_is_not_short_where_that_can_be_had() {
        let at = |wished_us: u64, durations: &[u64]| {
            let mut seen = Seen::default();
            for &duration in durations {
                seen.note(&Fragment { duration, timescale: 1000, ..Fragment::default() });
            }
            seen.target_us(wished_us)
        };
        assert_eq!(at(700_000, &[200; 5]), Ok(600_000));
        assert_eq!(at(700_000, &[200; 10]), Ok(400_000));
        assert_eq!(at(500_000, &[200; 10]), Ok(400_000));
        assert_eq!(at(500_000, &[200; 5]), Ok(400_000), "nothing better");
        assert_eq!(at(500_000, &[40; 25]), Ok(360_000));
    }

    #[test]
    fn other_fragments_suit_none() {
        for (timescale, durations) in [
            (1000, &[][..]),
            (1000, &[400]),
            (1000, &[0, 0]),
            (0, &[5, 5]),
            (1000, &[501, 501]),
            (1000, &[200, 100, 200]),
            (1, &[u64::MAX, u64::MAX]),
        ] {
            assert!(target(timescale, durations).is_err(), "{durations:?}");
        }
    }
}
