//! The run over time: keeps the number of intervals bounded and turns them into blocks.
//!
//! A run of any length holds at most [`SECONDS_MAX`] intervals: when there are more, neighbours are
//! joined, so that 1 s becomes 2 s, then 4 s. Counts add, gauges keep the later value, histograms
//! add exactly. Never drops anything.

use std::collections::BTreeMap;

use super::latency::{Latency, Packed};
use super::model::{Operation, Second};

/// Intervals kept in memory and in a report.
pub const SECONDS_MAX: usize = 1024;

/// Joins neighbours until at most `most` intervals are left; call after each push.
pub fn coalesce(series: &mut Vec<Second>, most: usize) {
    while series.len() > most.max(1) {
        *series = series.chunks(2).map(join_following).collect();
    }
}

fn join_following(pair: &[Second]) -> Second {
    let mut joined = pair[0].clone();
    for next in &pair[1..] {
        add_counts(&mut joined, next);
        joined.width_s = next.at_s + next.width_s - joined.at_s;
        joined.in_flight = next.in_flight;
        joined.viewers = next.viewers;
        joined.stalled = next.stalled;
    }
    joined
}

/// Adds a series of another generator that began at the same time; widths must agree, which
/// [`coalesce`] to the coarser width sees to.
pub fn overlay(series: &mut Vec<Second>, other: &[Second]) {
    for second in other {
        let found = series.iter_mut().find(|s| (s.at_s - second.at_s).abs() < s.width_s / 2.0);
        match found {
            Some(same) => {
                add_counts(same, second);
                same.in_flight += second.in_flight;
                same.viewers += second.viewers;
                same.stalled += second.stalled;
            }
            None => series.push(second.clone()),
        }
    }
    series.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
}

/// Joins the intervals of `series` until each is at least `width_s` long.
pub fn widen(series: &mut Vec<Second>, width_s: f64) {
    while series.len() > 1 && series[0].width_s < width_s * 0.75 {
        let most = series.len().div_ceil(2);
        coalesce(series, most);
    }
}

fn add_counts(to: &mut Second, from: &Second) {
    to.offered += from.offered;
    to.achieved += from.achieved;
    to.failed += from.failed;
    to.shed += from.shed;
    to.bytes += from.bytes;
    to.lateness_max_ns = to.lateness_max_ns.max(from.lateness_max_ns);
    for (name, packed) in &from.latency {
        match to.latency.get_mut(name) {
            Some(mine) => *mine = add_packed(mine, packed),
            None => {
                to.latency.insert(name.clone(), packed.clone());
            }
        }
    }
}

/// The sum of two encoded histograms; a damaged one (refused on reading) counts as empty.
fn add_packed(a: &Packed, b: &Packed) -> Packed {
    let mut sum = a.unpack().unwrap_or_default();
    sum.add(&b.unpack().unwrap_or_default());
    sum.pack()
}

/// All operations of one interval in one histogram.
pub fn all_operations(latency: &BTreeMap<String, Packed>) -> Latency {
    let mut all = Latency::new();
    for packed in latency.values() {
        all.add(&packed.unpack().unwrap_or_default());
    }
    all
}

/// The intervals of one operation as blocks for the bootstrap; empty when there are none, or when
/// they do not hold the operation's samples (a series cut short must not narrow an interval).
pub fn blocks_of(series: &[Second], operation: &Operation) -> Vec<Latency> {
    let blocks: Vec<Latency> = series
        .iter()
        .filter_map(|second| second.latency.get(&operation.name)?.unpack().ok())
        .collect();
    let held: u64 = blocks.iter().map(Latency::count).sum();
    let wanted = operation.headline().map_or(0, Latency::count);
    if held as f64 >= wanted as f64 * 0.9 { blocks } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: u64) -> Second {
        let mut latency = Latency::new();
        latency.record((at + 1) * 1000);
        Second {
            at_s: at as f64,
            width_s: 1.0,
            offered: 10,
            in_flight: at,
            lateness_max_ns: Some(at),
            latency: BTreeMap::from([("GET".to_owned(), latency.pack())]),
            ..Second::default()
        }
    }

    #[test]
    fn long_runs_keep_few_intervals_and_every_count() {
        let mut series = Vec::new();
        for at in 0..100 {
            series.push(second(at));
            coalesce(&mut series, 16);
            assert!(series.len() <= 16);
        }
        assert_eq!(series.iter().map(|s| s.offered).sum::<u64>(), 1000);
        let samples: u64 = series.iter().map(|s| all_operations(&s.latency).count()).sum();
        assert_eq!(samples, 100);
        let mut next = 0.0;
        for s in &series {
            assert_eq!(s.at_s, next, "no gap, no overlap");
            next = s.at_s + s.width_s;
        }
        assert_eq!(next, 100.0);
        assert_eq!(series.last().map(|s| (s.in_flight, s.lateness_max_ns)), Some((99, Some(99))));
    }

    #[test]
    fn two_generators_add_up() {
        let mut a: Vec<Second> = (0..4).map(second).collect();
        let b: Vec<Second> = (0..6).map(second).collect();
        overlay(&mut a, &b);
        assert_eq!(a.len(), 6);
        assert_eq!((a[3].offered, a[5].offered, a[3].in_flight), (20, 10, 6));
        assert_eq!(all_operations(&a[0].latency).count(), 2);
        widen(&mut a, 2.0);
        assert_eq!((a.len(), a[0].width_s), (3, 2.0));
    }

    #[test]
    fn a_series_cut_short_gives_no_blocks() {
        let series: Vec<Second> = (0..4).map(second).collect();
        let mut operation = Operation::new("GET");
        let mut response = Latency::new();
        (0..4).for_each(|i| response.record(i));
        operation.response = Some(response);
        assert_eq!(blocks_of(&series, &operation).len(), 4);
        assert_eq!(blocks_of(&series[..2], &operation).len(), 0);
    }
}
