//! Arithmetic of the throughput rules, worked by hand from the rules of hls.js.
#![allow(clippy::cast_possible_truncation)]

use super::*;

fn ladder() -> Vec<Level> {
    [400e3, 800e3, 1_600e3, 3_200e3].map(|peak| Level { peak, average: peak * 0.8 }).to_vec()
}

fn playing(last: usize, buffered: f64) -> Situation {
    Situation {
        last: Some(last),
        first: 0,
        buffered,
        duration: 4.0,
        live: true,
        playlist_load: 0.0,
    }
}

/// An estimator that saw `rate` for a long time.
fn steady(rate: f64) -> Estimator {
    let mut link = Estimator::default();
    for _ in 0..100 {
        link.sample(1.0, (rate / 8.0) as u64);
    }
    link
}

#[test]
fn averages_are_weighted_by_time_and_corrected_for_their_start() {
    let mut link = Estimator::default();
    assert_eq!((link.rate(), link.knows(), link.first_byte()), (500e3, false, 0.1));
    link.sample(1.0, 125_000);
    // One sample is the estimate, whatever its weight: the correction divides its share out.
    assert!((link.rate() - 1e6).abs() < 1.0, "{}", link.rate());
    link.sample(3.0, 3 * 250_000);
    // After 1 s at 1 Mbit/s and 3 s at 2 Mbit/s: weights 0.5^(3/h) (1 - 0.5^(1/h)) and 1 -
    // 0.5^(3/h).
    let mean = |h: f64| {
        let old = 0.5f64.powf(3.0 / h) * (1.0 - 0.5f64.powf(1.0 / h));
        let new = 1.0 - 0.5f64.powf(3.0 / h);
        (old * 1e6 + new * 2e6) / (old + new)
    };
    assert!((link.rate() - mean(3.0).min(mean(9.0))).abs() < 1.0);
    // A drop shows in the fast average first, a rise in the slow one last: the smaller one counts.
    let mut link = steady(10e6);
    link.sample(3.0, 375_000);
    let fast = 5.5e6;
    assert!((link.rate() - fast).abs() < 0.01e6, "{}", link.rate());
}

#[test]
fn a_cached_download_does_not_count_as_infinitely_fast() {
    let mut link = Estimator::default();
    link.sample(0.0, 1_000_000);
    // 1 MB: at least 10 ms; beyond 5 MB at least 50 ms.
    assert!((link.rate() - 800e6).abs() < 1e3, "{}", link.rate());
}

#[test]
fn the_first_byte_is_taken_off_up_to_its_estimate() {
    let mut link = Estimator::default();
    link.downloaded(10.0, 10.5, 11.5, 125_000);
    assert!((link.first_byte() - 0.5).abs() < 1e-9);
    assert!((link.rate() - 1e6).abs() < 1.0);
}

#[test]
fn the_highest_level_that_the_estimate_carries_is_taken() {
    let levels = ladder();
    let choose = |last, rate: f64, buffered| {
        next(levels.as_slice(), &steady(rate), &playing(last, buffered))
    };
    // Up needs 0.7 of the estimate, staying 0.95; below two segments the peak counts.
    assert_eq!(choose(0, 800e3 / 0.7 + 2e3, 6.0), 1);
    assert_eq!(choose(0, 800e3 / 0.7 - 2e3, 6.0), 0);
    assert_eq!(choose(1, 800e3 / 0.95 + 2e3, 6.0), 1);
    assert_eq!(choose(1, 800e3 / 0.95 - 2e3, 6.0), 0);
    // With two segments in the buffer the mean counts: 640 kbit/s.
    assert_eq!(choose(0, 640e3 / 0.7 + 2e3, 8.0), 1);
    assert_eq!(choose(3, 100e6, 8.0), 3);
    // Nothing fits: the lowest.
    assert_eq!(choose(2, 50e3, 8.0), 0);
}

#[test]
fn the_first_level_is_what_the_default_estimate_carries() {
    let link = Estimator::default();
    assert_eq!(start(ladder().as_slice(), &link, 3), 0);
    let low = [Level { peak: 200e3, average: 200e3 }, Level { peak: 450e3, average: 450e3 }];
    assert_eq!(start(low.as_slice(), &link, 0), 1);
    let high = [Level { peak: 900e3, average: 900e3 }, Level { peak: 2e6, average: 2e6 }];
    assert_eq!(start(high.as_slice(), &link, 1), 0);
}

#[test]
fn a_download_that_would_stall_is_given_up_for_a_lower_level() {
    let levels = ladder();
    let under_way =
        Download { level: 3, duration: 4.0, loading: 2.1, first_byte: Some(0.1), bytes: 100_000 };
    let at = playing(3, 3.0);
    // 400 kbit/s arrive; 1.6 MB average is far off, so 24 s are left and 3 s are buffered. No level
    // loads in 3 s; level 0 takes 4 s and two waits.
    let mut link = steady(3e6);
    assert_eq!(abandon(levels.as_slice(), &mut link, &at, &under_way), Some(0));
    assert!(link.rate() < 3e6, "what arrived so far counts");
    // Watched only after half its duration, and never at the lowest level.
    let early = Download { loading: 1.9, ..under_way };
    assert_eq!(abandon(levels.as_slice(), &mut steady(3e6), &at, &early), None);
    let lowest = Download { level: 0, ..under_way };
    assert_eq!(abandon(levels.as_slice(), &mut steady(3e6), &at, &lowest), None);
    // Enough in the buffer.
    let full = playing(3, 30.0);
    assert_eq!(abandon(levels.as_slice(), &mut steady(3e6), &full, &under_way), None);
    // 1.5 Mbit/s arrive: 4.8 s are left; level 2 takes 4.5 s, level 1 with 2.3 s fits, in less than
    // half the time. It is cut off at once, the lowest level comes first, and no more is trusted
    // than that needs.
    let faster = Download { bytes: 375_000, ..under_way };
    let mut link = steady(3e6);
    assert_eq!(abandon(levels.as_slice(), &mut link, &at, &faster), Some(0));
    assert_eq!((link.rate(), link.knows()), (levels[0].peak, false));
    // 2 Mbit/s arrive: 3.1 s are left, level 1 takes 1.8 s. That is less than twice as fast.
    let still_faster = Download { bytes: 500_000, ..under_way };
    assert_eq!(abandon(levels.as_slice(), &mut steady(3e6), &at, &still_faster), Some(1));
}
