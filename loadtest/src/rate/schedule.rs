//! The schedule: when each request is due, and which one it is.
//!
//! One global sequence, a pure function of the seed: each thread walks all of it and takes every
//! n-th request, so the number of threads changes nothing in the whole, and nothing that happens
//! during the run can move it.

use std::sync::Arc;

use super::profile::{Profile, Walk};
use super::trace::Trace;

/// How the gaps between requests are distributed.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Exponential gaps: independent users.
    Poisson,
    /// Equal gaps.
    Constant,
    /// As recorded.
    Trace(Arc<Trace>),
}

/// One request of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Nanoseconds since the start of the schedule.
    pub at: u64,
    /// Its place in the global sequence.
    pub index: u64,
    /// The URL that a trace named.
    pub url: Option<u32>,
}

/// The share of one thread; an iterator.
#[derive(Clone, Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    walk: Walk,
    seed: u64,
    count: f64,
    index: u64,
    thread: u64,
    threads: u64,
}

impl Schedule {
    /// The share of thread `thread` of `threads`.
    pub fn new(
        arrivals: Arrivals,
        profile: &Profile,
        seed: u64,
        thread: usize,
        threads: usize,
    ) -> Self {
        let (thread, threads) = (thread as u64, threads.max(1) as u64);
        Self { arrivals, walk: profile.walk(), seed, count: 0.0, index: 0, thread, threads }
    }

    #[expect(clippy::cast_possible_truncation, reason = "times are bounded to a year")]
    fn global(&mut self) -> Option<Due> {
        let index = self.index;
        self.index += 1;
        if let Arrivals::Trace(trace) = &self.arrivals {
            let (at, url) = *trace.get(usize::try_from(index).ok()?)?;
            return Some(Due { at, index, url });
        }
        if self.arrivals == Arrivals::Poisson {
            self.count += -(1.0 - unit(bits(self.seed, index))).ln();
        } else {
            self.count = index as f64;
        }
        let seconds = self.walk.time_of(self.count)?;
        Some(Due { at: (seconds * 1e9) as u64, index, url: None })
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            let due = self.global()?;
            if due.index % self.threads == self.thread {
                return Some(due);
            }
        }
    }
}

/// 64 random bits for place `index` of the stream `seed` (SplitMix64 of a counter).
pub fn bits(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from 0 to just under 1.
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 42;

    fn whole(arrivals: Arrivals, profile: &Profile) -> Vec<Due> {
        Schedule::new(arrivals, profile, SEED, 0, 1).collect()
    }

    #[test]
    fn poisson_has_its_rate_and_exponential_gaps() {
        println!("seed {SEED}");
        let all = whole(Arrivals::Poisson, &Profile::constant(20_000.0, 10.0));
        let n = all.len() as f64;
        // Four standard deviations of the count.
        assert!((n - 200_000.0).abs() < 4.0 * 200_000f64.sqrt(), "{n}");
        let gaps: Vec<f64> =
            all.windows(2).map(|pair| (pair[1].at - pair[0].at) as f64 / 50_000.0).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 1.0).abs() < 0.01 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        // Kolmogorov and Smirnov against 1 - exp(-x); 1.95 / sqrt(n) is exceeded once in 1000.
        let mut sorted = gaps.clone();
        sorted.sort_by(f64::total_cmp);
        let distance = sorted
            .iter()
            .enumerate()
            .map(|(i, gap)| ((i as f64 + 0.5) / n - (1.0 - (-gap).exp())).abs())
            .fold(0.0, f64::max);
        assert!(distance < 1.95 / n.sqrt(), "{distance}");
    }

    #[test]
    fn threads_share_one_schedule() {
        let profile = Profile::parse("1k..5k over 2s", 1.0).unwrap();
        let all = whole(Arrivals::Poisson, &profile);
        let mut merged: Vec<Due> = (0..3)
            .flat_map(|thread| Schedule::new(Arrivals::Poisson, &profile, SEED, thread, 3))
            .collect();
        merged.sort_by_key(|due| due.index);
        assert_eq!(merged, all);
        assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert_ne!(all, Schedule::new(Arrivals::Poisson, &profile, 43, 0, 1).collect::<Vec<_>>());
    }

    #[test]
    fn constant_gaps_are_equal_to_the_nanosecond() {
        let all = whole(Arrivals::Constant, &Profile::constant(30_000.0, 1.0));
        assert_eq!(all.len(), 30_000);
        for (index, due) in all.iter().enumerate() {
            let exact = index as f64 * 1e9 / 30_000.0;
            assert!((due.at as f64 - exact).abs() < 2.0, "{due:?}");
        }
    }

    #[test]
    fn a_ramp_has_its_area() {
        let all = whole(Arrivals::Constant, &Profile::parse("0..1000 over 10s", 1.0).unwrap());
        assert_eq!(all.len(), 5000);
        let first_half = all.iter().filter(|due| due.at < 5_000_000_000).count();
        assert_eq!(first_half, 1250);
    }

    #[test]
    fn a_trace_is_itself() {
        let trace = Arc::new(vec![(5, None), (7, Some(1)), (9, None)]);
        let share = |thread| {
            let schedule = Schedule::new(
                Arrivals::Trace(Arc::clone(&trace)),
                &Profile::constant(1.0, 1.0),
                SEED,
                thread,
                2,
            );
            schedule.map(|due| due.at).collect::<Vec<_>>()
        };
        assert_eq!((share(0), share(1)), (vec![5, 9], vec![7]));
    }
}
