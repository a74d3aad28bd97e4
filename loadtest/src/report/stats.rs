//! What may be said about a histogram: percentiles with enough samples behind them, and intervals.
//!
//! A percentile is given only when at least ten samples lie above it. Its 95 % interval is the
//! wider of two: binomial order statistics, which hold for independent samples, and a bootstrap
//! over blocks of one second, which survives dependence within a second. Never averages
//! percentiles.

use super::latency::Latency;
use super::random::Random;

/// Samples that must lie above a percentile before it is given.
const SAMPLES_ABOVE: f64 = 10.0;
/// Two-sided 95 % point of the normal distribution.
const Z95: f64 = 1.96;
/// Blocks below which a bootstrap says nothing.
const BLOCKS_MIN: usize = 10;
/// Blocks above which neighbours are joined: longer blocks are as good, and the work is bounded.
const BLOCKS_MAX: usize = 256;
/// Resamples of the bootstrap.
const RESAMPLES: usize = 300;

/// One percentile that may be printed; nanoseconds (or the integers recorded).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentile {
    /// The value.
    pub value: u64,
    /// Bounds of its 95 % interval.
    pub low: u64,
    /// See `low`.
    pub high: u64,
}

/// Why a percentile is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFew {
    /// Samples there are.
    pub n: u64,
    /// Samples there would have to be.
    pub needed: u64,
}

/// Samples needed before quantile `q` is given: ten above it (and ten below it, for low ones).
#[expect(clippy::cast_possible_truncation, reason = "q is at most a few nines")]
pub fn samples_needed(q: f64) -> u64 {
    let side = q.min(1.0 - q).max(f64::EPSILON);
    // A part in 1e9 less keeps 10 / (1 - 0.99) from becoming 1001.
    (SAMPLES_ABOVE / side * (1.0 - 1e-9)).ceil() as u64
}

/// The highest quantile, in steps of 0.0001, that ten of `n` samples stand above; with fewer than
/// twenty samples the maximum, 1.
pub fn highest_quantile(n: u64) -> f64 {
    let quantile = ((1.0 - SAMPLES_ABOVE / n.max(1) as f64) * 1e4).floor() / 1e4;
    if quantile < 0.5 { 1.0 } else { quantile }
}

/// Quantile `q` with its interval by binomial order statistics: ranks nq +- 1.96 sqrt(nq(1-q)).
pub fn percentile(latency: &Latency, q: f64) -> Result<Percentile, TooFew> {
    let (n, needed) = (latency.count(), samples_needed(q));
    if n < needed {
        return Err(TooFew { n, needed });
    }
    let count = n as f64;
    let half = Z95 * (q * (1.0 - q) / count).sqrt();
    // One rank more on the upper side: the interval between ranks l and u + 1.
    Ok(Percentile {
        value: latency.value_at(q),
        low: latency.value_at((q - half).max(0.0)),
        high: latency.value_at((q + half + 1.0 / count).min(1.0)),
    })
}

/// The same, widened to the bootstrap over `blocks` where there are enough of them.
pub fn percentile_with_blocks(
    latency: &Latency,
    q: f64,
    blocks: Option<&Blocks>,
) -> Result<Percentile, TooFew> {
    let mut percentile = percentile(latency, q)?;
    if let Some((low, high)) = blocks.and_then(|blocks| blocks.interval(q)) {
        percentile.low = percentile.low.min(low);
        percentile.high = percentile.high.max(high);
    }
    Ok(percentile)
}

/// The samples of a run in blocks of one second, resampled once for all quantiles.
pub struct Blocks {
    /// For each resample, the counts at `values`.
    resamples: Vec<Vec<u64>>,
    /// Recorded values in ascending order.
    values: Vec<u64>,
    /// Median of each block that has samples, in order of time.
    medians: Vec<u64>,
}

impl Blocks {
    /// Resamples whole blocks with replacement; equal seeds give equal intervals.
    pub fn new(blocks: &[Latency], seed: u64) -> Self {
        let medians =
            blocks.iter().filter(|block| !block.is_empty()).map(|b| b.value_at(0.5)).collect();
        let joined: Vec<Latency> =
            blocks.chunks(blocks.len().div_ceil(BLOCKS_MAX).max(1)).map(sum).collect();
        let (values, resamples) = resample(&joined, seed);
        Self { resamples, values, medians }
    }

    /// The 95 % interval of quantile `q`; `None` with fewer than ten blocks.
    pub fn interval(&self, q: f64) -> Option<(u64, u64)> {
        let mut found: Vec<u64> =
            self.resamples.iter().filter_map(|counts| quantile(&self.values, counts, q)).collect();
        if found.is_empty() {
            return None;
        }
        found.sort_unstable();
        let cut = found.len() / 40;
        Some((found[cut], found[found.len() - 1 - cut]))
    }

    /// Rank correlation of neighbouring seconds' medians; `None` with fewer than ten.
    /// Near 0: seconds are independent. Towards 1: intervals are too narrow.
    pub fn lag_one(&self) -> Option<f64> {
        (self.medians.len() > BLOCKS_MIN)
            .then(|| spearman(&self.medians[..self.medians.len() - 1], &self.medians[1..]))
            .flatten()
    }

    /// A sentence about dependence between seconds, when there is some.
    pub fn dependence_note(&self) -> Option<String> {
        let rho = self.lag_one()?;
        let n = self.medians.len() as f64;
        // Independent seconds stay below this in 19 runs of 20.
        if rho < 1.645 / n.sqrt() {
            return None;
        }
        let effective = (n * (1.0 - rho) / (1.0 + rho)).max(1.0);
        Some(format!(
            "Neighbouring seconds resemble each other (lag-1 rank correlation {rho:.2}): the \
             {n:.0} seconds count for about {effective:.0} independent ones, and the intervals \
             are too narrow. Repeat whole runs before trusting small differences."
        ))
    }
}

/// All values of the blocks in ascending order, and for each resample the counts at them.
fn resample(blocks: &[Latency], seed: u64) -> (Vec<u64>, Vec<Vec<u64>>) {
    let mut values: Vec<u64> =
        blocks.iter().flat_map(|block| block.recorded().map(|(value, _)| value)).collect();
    values.sort_unstable();
    values.dedup();
    let sparse: Vec<Vec<(usize, u64)>> =
        blocks.iter().map(|block| sparse_counts(block, &values)).collect();
    let mut random = Random::new(seed);
    let rounds = if blocks.len() < BLOCKS_MIN { 0 } else { RESAMPLES };
    let resamples = (0..rounds)
        .map(|_| {
            let mut counts = vec![0; values.len()];
            for _ in 0..sparse.len() {
                for &(index, count) in &sparse[random.below(sparse.len())] {
                    counts[index] += count;
                }
            }
            counts
        })
        .collect();
    (values, resamples)
}

fn sum(blocks: &[Latency]) -> Latency {
    let mut sum = Latency::new();
    blocks.iter().for_each(|block| sum.add(block));
    sum
}

fn sparse_counts(block: &Latency, values: &[u64]) -> Vec<(usize, u64)> {
    block
        .recorded()
        .filter_map(|(value, count)| Some((values.binary_search(&value).ok()?, count)))
        .collect()
}

/// Value whose cumulative count first reaches the share `q`.
#[expect(clippy::cast_possible_truncation, reason = "a rank is at most the count")]
fn quantile(values: &[u64], counts: &[u64], q: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    let rank = ((total as f64 * q).ceil() as u64).max(1);
    let mut seen = 0;
    for (value, count) in values.iter().zip(counts) {
        seen += count;
        if seen >= rank {
            return Some(*value);
        }
    }
    None
}

/// Spearman's rank correlation; `None` when one side is constant.
fn spearman(x: &[u64], y: &[u64]) -> Option<f64> {
    let (rank_x, rank_y) = (ranks(x), ranks(y));
    let mean = (x.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let scale = (product(&rank_x, &rank_x) * product(&rank_y, &rank_y)).sqrt();
    (scale > 0.0).then(|| product(&rank_x, &rank_y) / scale)
}

/// Ranks from 1; ties share their mean rank.
fn ranks(values: &[u64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&index| values[index]);
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let same =
            order[start..].iter().take_while(|&&i| values[i] == values[order[start]]).count();
        for &index in &order[start..start + same] {
            ranks[index] = start as f64 + (same as f64 + 1.0) / 2.0;
        }
        start += same;
    }
    ranks
}

/// Wilson's 95 % interval of a share; (0, 1) when nothing was counted.
pub fn wilson(hits: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (count, p) = (n as f64, hits as f64 / n as f64);
    let z2 = Z95 * Z95;
    let centre = p + z2 / (2.0 * count);
    let half = Z95 * (p * (1.0 - p) / count + z2 / (4.0 * count * count)).sqrt();
    let scale = 1.0 + z2 / count;
    // The ends are exact; only rounding keeps the formula from them.
    let low = if hits == 0 { 0.0 } else { (centre - half) / scale };
    let high = if hits == n { 1.0 } else { (centre + half) / scale };
    (low.max(0.0), high.min(1.0))
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
