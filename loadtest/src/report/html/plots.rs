//! The plots of a report, each as one figure; an empty text when there is nothing to plot.

use std::collections::BTreeSet;

use super::super::latency::Latency;
use super::super::model::{Capacity, Distribution, Outcome, Report, Second};
use super::super::series;
use super::super::stats;
use super::super::summary;
use super::super::units;
use super::svg::{Chart, FULL, HALF, Scale};

/// Size of a chart that shares its row.
const SIZE: (f64, f64) = (HALF, 300.0);
/// Size of a chart of which three share a row.
const THIRD_SIZE: (f64, f64) = (370.0, 230.0);
/// Size of a chart that has a row to itself.
const FULL_SIZE: (f64, f64) = (FULL, 400.0);
/// Classes of the colours, in the order used.
const COLOURS: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", "c6"];

fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// A time on an axis, without needless digits.
fn axis_time(nanoseconds: f64) -> String {
    if nanoseconds == 0.0 {
        return "0".to_owned();
    }
    // What is a hair below a unit for want of bits is that unit.
    let hair = 1.000_001;
    let (value, unit) = units::time_parts(nanoseconds * hair);
    let unit = if unit == "us" { "&micro;s" } else { unit };
    let text = format!("{:.3}", value / hair);
    format!("{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Latency by percentile, the horizontal axis logarithmic in the distance to 100 %.
/// `wide` when the plot has a row to itself.
pub fn by_percentile(report: &Report, wide: bool) -> String {
    let lines: Vec<(String, &Latency)> = match report.operations.as_slice() {
        [only] => summary::quantities(only)
            .into_iter()
            .map(|(quantity, latency)| (quantity.to_owned(), latency))
            .collect(),
        several => several
            .iter()
            .filter_map(|operation| Some((operation.name.clone(), operation.headline()?)))
            .collect(),
    };
    let most = lines.iter().map(|(_, latency)| latency.count()).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let low = lines.iter().map(|(_, l)| l.value_at(0.01).max(64)).min().unwrap_or(64);
    let high = lines.iter().map(|(_, l)| l.max()).max().unwrap_or(64);
    let end = (most as f64).max(100.0);
    let mut ticks = vec![(1.0, "0 %".to_owned())];
    let mut inverse = 10.0;
    while inverse <= end {
        let name = units::quantile(1.0 - 1.0 / inverse);
        ticks.push((inverse, format!("{} %", name.trim_start_matches('p'))));
        inverse *= 10.0;
    }
    let mut chart = Chart::new(
        if wide { FULL_SIZE } else { SIZE },
        Scale::given(1.0, end, ticks),
        Scale::logarithmic(low as f64, high as f64, axis_time),
        "percentile",
    );
    // The headline is drawn last, on top.
    for (index, (_, latency)) in lines.iter().enumerate().rev() {
        let points = percentile_points(latency);
        // Up to here ten samples lie above.
        let borne = latency.count() as f64 / 10.0;
        let cut = points.iter().take_while(|(x, _)| *x <= borne).count();
        chart.line(colour(index), &points[..cut]);
        chart.line(&format!("{} thin", colour(index)), &points[cut.saturating_sub(1)..]);
    }
    for (index, (name, _)) in lines.iter().enumerate() {
        chart.named(colour(index), name);
    }
    let what = if report.operations.len() == 1 { "the parts of one request" } else { "by request" };
    chart.finish(
        &format!("Latency by percentile, {what}"),
        "Dotted where fewer than ten samples lie above.",
    )
}

/// Points (1 / (1 - q), value) from 0 % up to the maximum.
fn percentile_points(latency: &Latency) -> Vec<(f64, f64)> {
    let count = latency.count() as f64;
    let mut points = Vec::new();
    let mut inverse = 1.0;
    while inverse < count {
        points.push((inverse, latency.value_at(1.0 - 1.0 / inverse) as f64));
        inverse *= 1.09;
    }
    points.push((count.max(1.0), latency.max() as f64));
    points
}

fn duration(report: &Report) -> f64 {
    report.series.last().map_or(0.0, |second| second.at_s + second.width_s)
}

fn axis_seconds(at: f64) -> String {
    format!("{} s", units::axis(at))
}

/// Percentiles of each interval over time.
pub fn over_time(report: &Report) -> String {
    let each: Vec<Latency> =
        report.series.iter().map(|second| series::all_operations(&second.latency)).collect();
    let total: u64 = each.iter().map(Latency::count).sum();
    // Where a second holds too few samples for p99, several make one point, but not all of them.
    let wanted = (stats::samples_needed(0.99) * each.len() as u64).div_ceil(total.max(1));
    let joined = usize::try_from(wanted)
        .ok()
        .filter(|wanted| (1..=each.len() / 8).contains(wanted))
        .unwrap_or(1);
    let all: Vec<(f64, Latency)> = each
        .chunks(joined)
        .zip(report.series.chunks(joined))
        .map(|(latencies, seconds)| {
            let mut sum = Latency::new();
            latencies.iter().for_each(|latency| sum.add(latency));
            let width: f64 = seconds.iter().map(|second| second.width_s).sum();
            (seconds[0].at_s + width / 2.0, sum)
        })
        .filter(|(_, latency)| !latency.is_empty())
        .collect();
    if all.len() < 2 {
        return String::new();
    }
    let at = |q: f64| -> Vec<(f64, f64)> {
        all.iter()
            .filter_map(|(x, latency)| Some((*x, stats::percentile(latency, q).ok()?.value as f64)))
            .collect()
    };
    let max: Vec<(f64, f64)> = all.iter().map(|(x, l)| (*x, l.max() as f64)).collect();
    let low = all.iter().map(|(_, l)| l.value_at(0.5).max(64)).min().unwrap_or(64);
    let high = all.iter().map(|(_, l)| l.max()).max().unwrap_or(64);
    let mut chart = Chart::new(
        SIZE,
        Scale::exact(0.0, duration(report), axis_seconds),
        Scale::logarithmic(low as f64, high as f64, axis_time),
        "time since the start of the measured phase",
    );
    chart.line("c5 thin", &max).named("c5", "max");
    for (class, q) in [("c3", 0.999), ("c2", 0.99), ("c1", 0.5)] {
        let points = at(q);
        if points.len() > 1 {
            chart.line(class, &points).named(class, &units::quantile(q));
        }
    }
    let width = report.series[0].width_s * joined as f64;
    chart.finish("Latency over time", &format!("each point covers {}", axis_seconds(width)))
}

/// Requests a second: offered, achieved, failed.
pub fn throughput(report: &Report) -> String {
    let seconds = &report.series;
    let Some(last) = seconds.last().filter(|_| seconds.len() > 1) else {
        return String::new();
    };
    let rates = |what: &dyn Fn(&Second) -> u64| -> Vec<(f64, f64)> {
        let rate = |s: &Second| what(s) as f64 / s.width_s.max(f64::MIN_POSITIVE);
        let mut points: Vec<(f64, f64)> = seconds.iter().map(|s| (s.at_s, rate(s))).collect();
        points.push((last.at_s + last.width_s, rate(last)));
        points
    };
    let achieved = rates(&|s| s.achieved);
    let offered = rates(&|s| s.offered);
    let lost = rates(&|s| s.failed + s.shed);
    let top = achieved.iter().chain(&offered).map(|(_, y)| *y).fold(1.0, f64::max);
    let mut chart = Chart::new(
        SIZE,
        Scale::exact(0.0, duration(report), axis_seconds),
        Scale::linear(0.0, top, |rate| format!("{}/s", units::axis(rate))),
        "time since the start of the measured phase",
    );
    chart.filled_steps("c1", &achieved).named("c1", "achieved");
    if report.load.offered.is_some() {
        chart.steps("c3 thin", &offered).named("c3", "offered");
    }
    if lost.iter().any(|(_, y)| *y > 0.0) {
        chart.filled_steps("bad", &lost).named("bad", "failed or shed");
    }
    chart.finish("Throughput", "requests a second")
}

/// Viewers watching and stalled over time.
pub fn viewers(report: &Report) -> String {
    let points = |what: &dyn Fn(&Second) -> u64| -> Vec<(f64, f64)> {
        report.series.iter().map(|s| (s.at_s + s.width_s, what(s) as f64)).collect()
    };
    let watching = points(&|s| s.viewers);
    let top = watching.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    if top == 0.0 || watching.len() < 2 {
        return String::new();
    }
    let mut chart = Chart::new(
        SIZE,
        Scale::exact(0.0, duration(report), axis_seconds),
        Scale::linear(0.0, top, units::axis),
        "time since the start of the measured phase",
    );
    chart.area("c2", &watching).line("c2", &watching).named("c2", "watching");
    chart.line("bad", &points(&|s| s.stalled)).named("bad", "stalled");
    chart.finish("Viewers", "at the end of each interval")
}

fn capitalised(name: &str) -> String {
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    name
}

/// The share of viewers (or deliveries) at or below each value.
pub fn distribution(distribution: &Distribution, colour_index: usize) -> String {
    let values = &distribution.values;
    if values.count() < 2 {
        return String::new();
    }
    let scale = distribution.per_unit;
    let top = values.max() as f64 / scale;
    let low = values.min() as f64 / scale;
    // Times and shares carry their unit at each tick.
    let unit = match distribution.unit.as_str() {
        "s" => "",
        unit => unit,
    };
    let label = |value: f64| match distribution.unit.as_str() {
        "s" => axis_time(value * 1e9),
        "" => {
            let text = format!("{:.3}", value * 100.0);
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => units::axis(value),
    };
    let narrow = low > 0.0 && top / low > 20.0;
    let x = if narrow {
        Scale::logarithmic(low, top, label)
    } else {
        // Values that are all but the same are one step, not a magnified rounding error.
        let zoomed = low > top / 2.0 && top - low > top / 20.0;
        Scale::linear(if zoomed { low } else { 0.0 }, top, label)
    };
    let mut points = vec![(if narrow { low } else { 0.0 }, 0.0)];
    let count = values.count() as f64;
    let mut seen = 0;
    for (value, here) in values.recorded() {
        let value = value as f64 / scale;
        points.push((value, seen as f64 / count));
        seen += here;
        points.push((value, seen as f64 / count));
    }
    points.push((f64::MAX, 1.0));
    let y = Scale::linear(0.0, 1.0, |share| format!("{:.0} %", share * 100.0));
    let mut chart = Chart::new(THIRD_SIZE, x, y, unit);
    let class = colour(colour_index);
    chart.area(class, &points).line(class, &points);
    let title = capitalised(&distribution.name);
    chart.finish(&title, &format!("share at or below; n = {}", units::count(values.count())))
}

/// Latency against load, with every try, the knee and the capacity found.
pub fn capacity_curve(capacity: &Capacity) -> String {
    let points: Vec<(f64, f64)> =
        capacity.tries.iter().filter_map(|t| Some((t.load, t.p99_ns? as f64))).collect();
    if points.len() < 2 {
        return String::new();
    }
    let low = points.iter().map(|(_, y)| *y).fold(f64::MAX, f64::min);
    let high = points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let right = points.iter().map(|(x, _)| *x).fold(0.0, f64::max);
    let mut chart = Chart::new(
        SIZE,
        Scale::linear(0.0, right, units::axis),
        Scale::logarithmic(low, high * 1.5, axis_time),
        &format!("load offered, {}", capacity.unit),
    );
    chart.line("c1", &medians(&points));
    for one in &capacity.tries {
        if let Some(p99) = one.p99_ns {
            let class = outcome_class(one.outcome);
            let text = format!(
                "{} {}: p99 {}. {}",
                units::count_of(one.load),
                capacity.unit,
                units::time(p99 as f64),
                one.reasons.join(" ")
            );
            chart.dot(class, (one.load, p99 as f64), &text);
        }
    }
    if let Some(knee) = capacity.knee {
        chart.mark("c3", knee, &format!("knee {}", units::count_of(knee)), 1);
    }
    if let Some(largest) = capacity.largest {
        chart.mark("good", largest, &format!("capacity {}", units::count_of(largest)), 0);
    }
    chart.named("good", "kept every gate").named("bad", "broke a gate");
    if capacity.tries.iter().any(|t| t.outcome == Outcome::Invalid) {
        chart.named("dim", "invalid run");
    }
    chart.finish("Latency p99 against load", "")
}

/// Use of CPU against load, for both sides.
pub fn capacity_cpu(capacity: &Capacity) -> String {
    let points = |what: &dyn Fn(&super::super::model::Try) -> Option<f64>| -> Vec<(f64, f64)> {
        medians(&capacity.tries.iter().filter_map(|t| Some((t.load, what(t)?))).collect::<Vec<_>>())
    };
    let server = points(&|t| t.server_cpu);
    let generator = points(&|t| t.generator_cpu);
    if server.len().max(generator.len()) < 2 {
        return String::new();
    }
    let right = server.iter().chain(&generator).map(|(x, _)| *x).fold(0.0, f64::max);
    let mut chart = Chart::new(
        SIZE,
        Scale::linear(0.0, right, units::axis),
        Scale::linear(0.0, 1.0, |share| format!("{:.0} %", share * 100.0)),
        &format!("load offered, {}", capacity.unit),
    );
    chart.line("c1", &server).named("c1", "server");
    chart.line("c4", &generator).named("c4", "generator");
    chart.finish("CPU against load", "share of each side's cores")
}

/// The other figures of a capacity search against load, one plot each.
pub fn capacity_figures(capacity: &Capacity) -> String {
    let names: BTreeSet<&String> = capacity.tries.iter().flat_map(|t| t.figures.keys()).collect();
    let mut plots = String::new();
    for name in names {
        let points: Vec<(f64, f64, Outcome)> = capacity
            .tries
            .iter()
            .filter_map(|t| Some((t.load, *t.figures.get(name)?, t.outcome)))
            .collect();
        let right = points.iter().map(|point| point.0).fold(0.0, f64::max);
        let top = points.iter().map(|point| point.1).fold(0.0, f64::max);
        let label = |value: f64| units::figure(name, value);
        let mut chart = Chart::new(
            SIZE,
            Scale::linear(0.0, right, units::axis),
            Scale::linear(0.0, top, label),
            &format!("load offered, {}", capacity.unit),
        );
        let line: Vec<(f64, f64)> = points.iter().map(|point| (point.0, point.1)).collect();
        chart.line("c1", &medians(&line));
        for (load, value, outcome) in points {
            let text = format!("{} {}: {}", units::count_of(load), capacity.unit, label(value));
            chart.dot(outcome_class(outcome), (load, value), &text);
        }
        if let Some(largest) = capacity.largest {
            chart.mark("good", largest, &format!("capacity {}", units::count_of(largest)), 0);
        }
        plots.push_str(&chart.finish(&format!("{} against load", capitalised(name)), ""));
    }
    plots
}

/// Sorted by load, with the median over repeats.
fn medians(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    sorted.chunk_by(|a, b| a.0 == b.0).map(|same| same[same.len() / 2]).collect()
}

fn outcome_class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "good",
        Outcome::Failed => "bad",
        Outcome::Invalid | Outcome::NotEvaluated => "dim",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_on_an_axis_differ_where_their_ticks_do() {
        for (nanoseconds, text) in [
            (0.0, "0"),
            (3.002e9, "3.002 s"),
            (3e9, "3 s"),
            (1.05e9, "1.05 s"),
            (999_999.999_9, "1 ms"),
            (250_000.0, "250 &micro;s"),
        ] {
            assert_eq!(axis_time(nanoseconds), text);
        }
    }
}
