//! Which of two targets is faster: paired differences of log-quantiles over ABBA pairs.
//!
//! Both runs of a pair have the same seed and schedule, one after the other in random order, so
//! slow drift of the machine cancels out. For each quantile the difference ln(B) - ln(A) of every
//! pair goes into a signed-rank test (Wilcoxon 1945): exact, without assumptions on the shape. Its
//! error is split over the quantiles (Bonferroni), so the whole conclusion is wrong in at most one
//! comparison of a hundred. "Not distinguishable" is a result. Never does: run anything.

use super::latency::Latency;
use super::model::{Comparison, Conclusion, QuantileDifference};
use super::random::Random;
use super::stats;

/// Chance that two equal targets are told apart, over all quantiles.
const ERROR: f64 = 0.01;
/// Quantiles compared, where both runs of enough pairs have samples for them.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
/// Pairs that an interval over all quantiles needs: 2 / 2^10 is below 0.01 / 4.
pub const PAIRS_MIN: usize = 10;

/// One of the two targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first target.
    A,
    /// The second target.
    B,
}

/// Both runs of one pair: headline latencies.
pub struct Pair {
    /// Latency of A.
    pub a: Latency,
    /// Latency of B.
    pub b: Latency,
    /// False when one of the runs was invalid: the pair is left out.
    pub valid: bool,
}

/// Order of the runs of `pairs` pairs: blocks of ABBA or BAAB, drawn by `seed`.
pub fn order(pairs: usize, seed: u64) -> Vec<[Side; 2]> {
    let mut random = Random::new(seed);
    let mut order = Vec::with_capacity(pairs + 1);
    while order.len() < pairs {
        let (first, second) =
            if random.below(2) == 0 { (Side::A, Side::B) } else { (Side::B, Side::A) };
        order.extend([[first, second], [second, first]]);
    }
    order.truncate(pairs);
    order
}

/// Compares two targets by their pairs of runs.
pub fn compare(a: &str, b: &str, pairs: &[Pair]) -> Comparison {
    let valid: Vec<&Pair> = pairs.iter().filter(|pair| pair.valid).collect();
    let usable: Vec<f64> = QUANTILES
        .into_iter()
        .filter(|q| {
            let needed = stats::samples_needed(*q);
            valid.iter().all(|pair| pair.a.count() >= needed && pair.b.count() >= needed)
        })
        .collect();
    let error = ERROR / usable.len().max(1) as f64;
    let quantiles: Vec<QuantileDifference> = if valid.is_empty() {
        Vec::new()
    } else {
        usable.iter().map(|q| difference(&valid, *q, error)).collect()
    };
    let conclusion = conclude(&quantiles);
    Comparison {
        a: a.to_owned(),
        b: b.to_owned(),
        pairs: valid.len() as u64,
        left_out: (pairs.len() - valid.len()) as u64,
        method: format!(
            "signed-rank interval of ln(B / A) over pairs, {:.0} % over all {} quantiles together",
            (1.0 - ERROR) * 100.0,
            usable.len()
        ),
        quantiles,
        conclusion,
    }
}

/// One quantile over all pairs, with an interval that errs with chance `error`.
fn difference(pairs: &[&Pair], quantile: f64, error: f64) -> QuantileDifference {
    // A value of 0 has no logarithm; the histogram's least step stands for it.
    let at = |latency: &Latency| latency.value_at(quantile).max(1) as f64;
    let differences: Vec<f64> =
        pairs.iter().map(|pair| at(&pair.b).ln() - at(&pair.a).ln()).collect();
    let (estimate, interval) = hodges_lehmann(&differences, error);
    let conclusion = match interval {
        None => Conclusion::TooFewPairs,
        Some((low, _)) if low > 0.0 => Conclusion::AFaster,
        Some((_, high)) if high < 0.0 => Conclusion::BFaster,
        Some(_) => Conclusion::NotDistinguishable,
    };
    let (low, high) = interval.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
    QuantileDifference {
        quantile,
        a_ns: median(pairs.iter().map(|pair| at(&pair.a)).collect()),
        b_ns: median(pairs.iter().map(|pair| at(&pair.b)).collect()),
        ratio: estimate.exp(),
        ratio_low: low.exp(),
        // JSON has no infinity; a ratio of f64::MAX says the same.
        ratio_high: high.exp().min(f64::MAX),
        conclusion,
    }
}

fn conclude(quantiles: &[QuantileDifference]) -> Conclusion {
    let says = |wanted| quantiles.iter().any(|row| row.conclusion == wanted);
    match (says(Conclusion::AFaster), says(Conclusion::BFaster)) {
        (true, true) => Conclusion::Mixed,
        (true, false) => Conclusion::AFaster,
        (false, true) => Conclusion::BFaster,
        (false, false) if quantiles.is_empty() || says(Conclusion::TooFewPairs) => {
            Conclusion::TooFewPairs
        }
        (false, false) => Conclusion::NotDistinguishable,
    }
}

/// Median of all pairwise means (Hodges and Lehmann 1963) and the signed-rank interval around it:
/// the c-th smallest and largest of those means. No interval when there are too few pairs.
fn hodges_lehmann(differences: &[f64], error: f64) -> (f64, Option<(f64, f64)>) {
    let mut means = Vec::with_capacity(differences.len() * (differences.len() + 1) / 2);
    for (i, x) in differences.iter().enumerate() {
        means.extend(differences[i..].iter().map(|y| (x + y) / 2.0));
    }
    means.sort_by(f64::total_cmp);
    let interval = critical_rank(differences.len(), error)
        .map(|rank| (means[rank], means[means.len() - 1 - rank]));
    (median(means), interval)
}

/// Largest `c` with P(W <= c) <= error / 2 for the signed-rank sum W of `n` pairs; `None` when
/// even P(W <= 0) is larger. The exact distribution, by adding one rank at a time.
fn critical_rank(n: usize, error: f64) -> Option<usize> {
    let mut chance = vec![1.0f64];
    for rank in 1..=n {
        let mut next = vec![0.0; chance.len() + rank];
        for (sum, p) in chance.iter().enumerate() {
            next[sum] += p / 2.0;
            next[sum + rank] += p / 2.0;
        }
        chance = next;
    }
    let mut below = 0.0;
    let within = chance.iter().take_while(|p| {
        below += **p;
        below <= error / 2.0
    });
    within.count().checked_sub(1)
}

/// Median; 0 for no values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => 0.0,
        _ if n % 2 == 1 => values[n / 2],
        _ => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    /// Pairs of runs around 200 us with a tail, a level of each run of its own, and drift.
    fn pairs(count: usize, samples: usize, shift_ns: f64, random: &mut Random) -> Vec<Pair> {
        let mut drift = 1.0;
        let mut run = |shift: f64, drift: f64| {
            let level = 200_000.0 * drift * (0.02 * random.normal()).exp();
            let mut latency = Latency::new();
            for _ in 0..samples {
                let noise = 30_000.0 * -(1.0 - random.unit()).ln();
                latency.record((level + noise + shift) as u64);
            }
            latency
        };
        (0..count)
            .map(|_| {
                drift *= 1.005;
                Pair { a: run(0.0, drift), b: run(shift_ns, drift), valid: true }
            })
            .collect()
    }

    #[test]
    fn a_against_a_is_not_distinguishable() {
        let seed = 20;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let alike = (0..100)
            .filter(|_| {
                let comparison = compare("A", "A", &pairs(12, 1000, 0.0, &mut random));
                assert_eq!(comparison.quantiles.len(), 3, "p99.9 needs 10,000 samples");
                comparison.conclusion == Conclusion::NotDistinguishable
            })
            .count();
        assert!(alike >= 97, "{alike} of 100");
    }

    #[test]
    fn twenty_microseconds_are_found() {
        let seed = 21;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let found = (0..30)
            .filter(|_| {
                let comparison = compare("A", "B", &pairs(12, 1000, 20_000.0, &mut random));
                let p50 = &comparison.quantiles[0];
                assert!((1.05..1.13).contains(&p50.ratio), "{p50:?}");
                comparison.conclusion == Conclusion::AFaster
            })
            .count();
        assert!(found >= 29, "{found} of 30");
    }

    #[test]
    fn the_other_way_round_says_the_other() {
        let mut random = Random::new(22);
        let comparison = compare("A", "B", &pairs(12, 500, -30_000.0, &mut random));
        assert_eq!(comparison.conclusion, Conclusion::BFaster);
        assert!(comparison.quantiles[0].ratio_high < 1.0);
    }

    #[test]
    fn few_or_invalid_pairs_conclude_nothing() {
        let mut random = Random::new(23);
        assert_eq!(compare("A", "B", &[]).conclusion, Conclusion::TooFewPairs);
        let few = compare("A", "B", &pairs(5, 500, 90_000.0, &mut random));
        assert_eq!(few.conclusion, Conclusion::TooFewPairs);
        let text = serde_json::to_string(&few).unwrap();
        assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), few);
        let mut half = pairs(12, 500, 90_000.0, &mut random);
        half.iter_mut().skip(6).for_each(|pair| pair.valid = false);
        let half = compare("A", "B", &half);
        assert_eq!((half.pairs, half.left_out), (6, 6));
        assert_eq!(half.conclusion, Conclusion::TooFewPairs);
    }

    #[test]
    fn critical_ranks_match_the_tables() {
        // Tables of the signed-rank test, two-sided: n = 10 at 0.05 is 8, n = 20 at 0.01 is 37.
        assert_eq!(critical_rank(10, 0.05), Some(8));
        assert_eq!(critical_rank(20, 0.01), Some(37));
        assert_eq!(critical_rank(5, 0.05), None);
        assert!(critical_rank(PAIRS_MIN, ERROR / QUANTILES.len() as f64).is_some());
    }

    #[test]
    fn order_is_abba_and_seeded() {
        let order_7 = order(7, 5);
        assert_eq!(order_7.len(), 7);
        assert_eq!(order_7, order(7, 5));
        for block in order_7.chunks_exact(2) {
            assert_eq!(block[0][0], block[1][1]);
            assert_eq!(block[0][1], block[1][0]);
            assert_ne!(block[0][0], block[0][1]);
        }
        let starts: Vec<Side> = (0..40).map(|seed| order(1, seed)[0][0]).collect();
        assert!(starts.contains(&Side::A) && starts.contains(&Side::B));
    }
}
