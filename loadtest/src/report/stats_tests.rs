//! Statistics against known answers and against simulation.

#![allow(clippy::cast_possible_truncation)]

use super::*;

fn of(values: impl IntoIterator<Item = u64>) -> Latency {
    let mut latency = Latency::new();
    values.into_iter().for_each(|value| latency.record(value));
    latency
}

#[test]
fn percentiles_need_ten_samples_above() {
    for (q, needed) in [(0.5, 20), (0.9, 100), (0.99, 1000), (0.999, 10_000), (0.9999, 100_000)] {
        assert_eq!(samples_needed(q), needed, "{q}");
    }
    let latency = of((1..=999).map(|i| i * 1000));
    assert_eq!(percentile(&latency, 0.99), Err(TooFew { n: 999, needed: 1000 }));
    let latency = of((1..=1000).map(|i| i * 1000));
    let p99 = percentile(&latency, 0.99).unwrap();
    // Ranks 990 +- 6.2: between the 983rd and the 998th of a thousand.
    assert!((983_000..=985_000).contains(&p99.low), "{p99:?}");
    assert!((990_000..=991_000).contains(&p99.value), "{p99:?}");
    assert!((997_000..=998_500).contains(&p99.high), "{p99:?}");
}

#[test]
fn binomial_intervals_cover_the_truth() {
    let seed = 7;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let truth = -(0.1f64.ln()) * 200_000.0;
    let runs = 400;
    let mut covered = 0;
    for _ in 0..runs {
        let samples = (0..2000).map(|_| (-(1.0 - random.unit()).ln() * 200_000.0) as u64);
        let p90 = percentile(&of(samples.collect::<Vec<_>>()), 0.9).unwrap();
        covered += u64::from((p90.low as f64) <= truth && truth <= p90.high as f64);
    }
    // 95 % of 400 is 380; the histogram's step only widens.
    assert!((368..=400).contains(&covered), "{covered} of {runs}");
}

/// Seconds that differ from each other: samples within a second are all alike, so that binomial
/// intervals are far too narrow and only the bootstrap over seconds covers.
#[test]
fn block_intervals_cover_where_seconds_differ() {
    let seed = 11;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let (mut binomial, mut block) = (0, 0);
    let runs = 40;
    for run in 0..runs {
        let seconds: Vec<Latency> = (0..40)
            .map(|_| {
                let level = 200_000.0 * (0.2 * random.normal()).exp();
                of((0..200).map(|_| (level * (1.0 + 0.01 * random.normal())) as u64))
            })
            .collect();
        let mut all = Latency::new();
        seconds.iter().for_each(|second| all.add(second));
        let p50 = percentile(&all, 0.5).unwrap();
        binomial += u64::from(p50.low <= 200_000 && 200_000 <= p50.high);
        let blocks = Blocks::new(&seconds, run);
        let wide = percentile_with_blocks(&all, 0.5, Some(&blocks)).unwrap();
        block += u64::from(wide.low <= 200_000 && 200_000 <= wide.high);
    }
    assert!(binomial < 20, "{binomial}: dependence must show");
    assert!(block >= 34, "{block} of {runs}");
}

#[test]
fn few_blocks_say_nothing() {
    let blocks = Blocks::new(&vec![of([1000, 2000]); 9], 1);
    assert_eq!(blocks.interval(0.5), None);
    assert_eq!(blocks.lag_one(), None);
}

#[test]
fn long_runs_are_resampled_in_longer_blocks() {
    let seconds: Vec<Latency> = (0..600u64).map(|i| of([200_000 + i % 7 * 10_000])).collect();
    let blocks = Blocks::new(&seconds, 1);
    assert_eq!(blocks.medians.len(), 600);
    let (low, high) = blocks.interval(0.5).unwrap();
    assert!(low >= 210_000 && high <= 250_500, "{low} {high}");
}

#[test]
fn dependence_is_noted_and_independence_is_not() {
    let ramp: Vec<Latency> = (1..40).map(|i| of([i * 10_000])).collect();
    let blocks = Blocks::new(&ramp, 1);
    assert!(blocks.lag_one().unwrap() > 0.99);
    assert!(blocks.dependence_note().unwrap().contains("resemble"));
    let mut random = Random::new(3);
    let free: Vec<Latency> = (0..200).map(|_| of([random.bits() % 1_000_000])).collect();
    assert_eq!(Blocks::new(&free, 1).dependence_note(), None);
}

#[test]
fn wilson_matches_the_published_figures() {
    // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662, 0 of 20 gives 0 to 0.1611.
    let close = |(low, high): (f64, f64), l: f64, h: f64| {
        assert!((low - l).abs() < 5e-4 && (high - h).abs() < 5e-4, "{low} {high}");
    };
    close(wilson(81, 263), 0.2553, 0.3662);
    close(wilson(0, 20), 0.0, 0.1611);
    assert_eq!(wilson(0, 0), (0.0, 1.0));
}
