//! The final summary for a terminal or a log: plain ASCII, aligned, the verdict last, where the
//! eye ends up.

use std::fmt::Write;

use super::model::{Capacity, Comparison, Conclusion, Distribution, Outcome, Qoe, Report};
use super::stats;
use super::summary::{self, Row};
use super::topics::Topics;
use super::units;

/// Width to which sentences are wrapped.
const COLUMNS: usize = 100;

/// The whole summary; ends with the verdict line.
pub fn write(report: &Report) -> String {
    let mut text = title(report);
    if let Some(capacity) = &report.capacity {
        text.push_str(&tries(capacity));
    }
    if let Some(comparison) = &report.comparison {
        text.push_str(&quantiles(comparison));
    }
    text.push_str(&latencies(report));
    if let Some(qoe) = &report.qoe {
        text.push_str(&viewers(qoe));
    }
    if let Some(topics) = &report.topics {
        text.push_str(&subscribers(topics));
    }
    text.push_str(&load(report));
    text.push_str(&thresholds(report));
    text.push_str(&verdict(report));
    text
}

/// Rows with their columns aligned: the first `left` to the left, the others to the right.
fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max())
        .map(|width| width.unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column < left {
                write!(line, "  {cell:<width$}")
            } else {
                write!(line, "  {cell:>width$}")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A sentence in lines of at most [`COLUMNS`], each after `indent`.
fn wrapped(indent: &str, sentence: &str) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for word in sentence.split(' ') {
        if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > COLUMNS {
            let _ = writeln!(text, "{indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(text, "{indent}{line}");
    text
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn title(report: &Report) -> String {
    let load = &report.load;
    let mut facts = Vec::new();
    if !load.model.is_empty() {
        facts.push(load.model.clone());
    }
    if load.duration_s > 0.0 {
        facts.push(format!("{} s", units::axis(load.duration_s)));
    }
    if load.connections > 0 {
        facts.push(format!("{} connections", units::count(load.connections)));
    }
    if report.generators.len() > 1 {
        facts.push(format!("{} generators merged", report.generators.len()));
    }
    format!("\n{} {}\n{}\n\n", report.command, report.target, facts.join(", "))
}

/// Every histogram; below each headline the bounds of its 95 % intervals.
fn latencies(report: &Report) -> String {
    let rows = summary::rows(report);
    if rows.is_empty() {
        return String::new();
    }
    let shown: Vec<usize> = (0..summary::QUANTILES.len())
        .filter(|index| rows.iter().any(|row| row.percentiles[*index].1.is_ok()))
        .collect();
    let mut head = cells(["request", "time", "n"]);
    head.extend(shown.iter().map(|index| units::quantile(summary::QUANTILES[*index])));
    head.push("max".to_owned());
    let mut table = vec![head];
    let mut too_small = None;
    for row in &rows {
        let headline = summary::is_headline(row, report);
        let name = if headline { row.operation } else { "" };
        let mut line = cells([name, row.quantity, &units::count(row.latency.count())]);
        for index in &shown {
            line.push(match &row.percentiles[*index].1 {
                Ok(p) => units::time(p.value as f64),
                Err(few) => {
                    too_small = Some(*few);
                    "n too small".to_owned()
                }
            });
        }
        line.push(units::time(row.latency.max() as f64));
        table.push(line);
        if headline {
            table.push(bounds("low", row, &shown));
            table.push(bounds("high", row, &shown));
        }
    }
    let mut text = aligned(&table, 2);
    if let Some(few) = too_small {
        let _ = writeln!(text, "  n too small: the percentile needs {} samples", few.needed);
    }
    for row in &rows {
        if let Some(note) = &row.note {
            text.push_str(&wrapped("  ", &format!("{}: {note}", row.operation)));
        }
    }
    text.push('\n');
    text
}

fn bounds(which: &str, row: &Row<'_>, shown: &[usize]) -> Vec<String> {
    let mut line = cells(["", &format!("  95 % {which}"), ""]);
    for index in shown {
        line.push(match &row.percentiles[*index].1 {
            Ok(p) => units::time(if which == "low" { p.low } else { p.high } as f64),
            Err(_) => String::new(),
        });
    }
    line
}

/// A row for each distribution, under `title`.
fn distributions(title: &str, all: &[Distribution]) -> String {
    let mut table = vec![cells([title, "n", "p5", "p50", "p95", "p99", "max"])];
    for distribution in all {
        let value = |integer: u64| {
            let value = integer as f64 / distribution.per_unit;
            match distribution.unit.as_str() {
                "s" => units::time(value * 1e9),
                "" => units::percent(value),
                unit => units::si(value, unit),
            }
        };
        let mut line = cells([&distribution.name, &units::count(distribution.values.count())]);
        for q in [0.05, 0.5, 0.95, 0.99] {
            line.push(match stats::percentile(&distribution.values, q) {
                Ok(p) => value(p.value),
                Err(_) => "n too small".to_owned(),
            });
        }
        line.push(value(distribution.values.max()));
        table.push(line);
    }
    aligned(&table, 1)
}

/// Distributions of topics, and every count that is not 0 or would be a fault.
fn subscribers(topics: &Topics) -> String {
    let is_fault = |words: &str| ["lost", "duplicates", "violations of order"].contains(&words);
    let rows = topics.counts.rows().into_iter();
    let rows: Vec<Vec<String>> = rows
        .filter(|(words, count)| *count > 0 || is_fault(words))
        .map(|(words, count)| vec![words.to_owned(), units::count(count)])
        .collect();
    let table = distributions("subscribers", &topics.distributions);
    format!("{table}\n{}\n", aligned(&rows, 1))
}

fn viewers(qoe: &Qoe) -> String {
    let counts = &qoe.counts;
    let total = (counts.played_s + counts.stalled_s).max(f64::MIN_POSITIVE);
    let share = |name: &str, hits: u64, of: u64| {
        let (low, high) = stats::wilson(hits, of);
        vec![
            name.to_owned(),
            units::percent(hits as f64 / of.max(1) as f64),
            format!("{} of {}", units::count(hits), units::count(of)),
            format!("95 %: {} to {}", units::percent(low), units::percent(high)),
        ]
    };
    let stalls = format!("{} stalls", units::count(counts.stalls));
    let shares = [
        share("stalled at least once", counts.stalled_viewers, counts.started),
        share("start failures", counts.start_failures, counts.viewers),
        vec!["rebuffer ratio".to_owned(), units::percent(counts.stalled_s / total), stalls],
    ];
    let table = distributions("viewers", &qoe.distributions);
    format!("{table}\n{}\n", aligned(&shares, 1))
}

fn load(report: &Report) -> String {
    let load = &report.load;
    if load.duration_s <= 0.0 {
        return String::new();
    }
    let rate = |count: u64| units::rate(count as f64 / load.duration_s);
    let mut rows = Vec::new();
    if let Some(offered) = load.offered {
        rows.push(vec!["offered".to_owned(), rate(offered), units::count(offered)]);
    }
    rows.push(vec!["achieved".to_owned(), rate(load.achieved), units::count(load.achieved)]);
    let bits = units::si(load.bytes as f64 * 8.0 / load.duration_s, "bit/s");
    rows.push(vec!["bodies".to_owned(), bits, units::bytes(load.bytes as f64)]);
    let ended = (load.achieved + load.failed).max(1);
    let failed = units::percent(load.failed as f64 / ended as f64);
    rows.push(vec!["errors".to_owned(), failed, units::count(load.failed)]);
    for operation in &report.operations {
        for (class, count) in &operation.errors {
            rows.push(vec![
                format!("  {} {class}", operation.name),
                units::percent(*count as f64 / ended as f64),
                units::count(*count),
            ]);
        }
    }
    if load.shed > 0 {
        rows.push(vec!["shed".to_owned(), rate(load.shed), units::count(load.shed)]);
    }
    for (name, seconds) in
        [("generator CPU", load.generator_cpu_s), ("server CPU", load.server_cpu_s)]
    {
        if let Some(seconds) = seconds {
            let each = format!("{} a request", units::time(seconds / ended as f64 * 1e9));
            rows.push(vec![name.to_owned(), format!("{seconds:.1} s"), each]);
        }
    }
    aligned(&rows, 1) + "\n"
}

fn tries(capacity: &Capacity) -> String {
    let mut table = vec![cells([
        "outcome",
        "offered",
        "achieved",
        "p50",
        "p99",
        "server CPU",
        "generator CPU",
    ])];
    let time = |ns: Option<u64>| ns.map_or("-".to_owned(), |ns| units::time(ns as f64));
    let share = |share: Option<f64>| share.map_or("-".to_owned(), units::percent);
    for one in &capacity.tries {
        table.push(vec![
            outcome(one.outcome).to_owned(),
            units::count_of(one.load),
            units::count_of(one.achieved),
            time(one.p50_ns),
            time(one.p99_ns),
            share(one.server_cpu),
            share(one.generator_cpu),
        ]);
    }
    let number = |load: Option<f64>| load.map_or("none".to_owned(), units::count_of);
    format!(
        "{}\n  capacity   {} {}\n  broken at  {}\n  knee       {}\n  limited by {}\n  gates      \
         {}\n\n",
        aligned(&table, 1),
        number(capacity.largest),
        capacity.unit,
        number(capacity.broken_at),
        number(capacity.knee),
        capacity.limiter,
        capacity.gates.join(", ")
    )
}

fn quantiles(comparison: &Comparison) -> String {
    let (a, b) = (comparison.a.as_str(), comparison.b.as_str());
    let mut table = vec![cells(["quantile", a, b, "difference", "from", "to", "conclusion"])];
    let says = |conclusion| match conclusion {
        Conclusion::AFaster => format!("{a} faster"),
        Conclusion::BFaster => format!("{b} faster"),
        Conclusion::Mixed => "mixed".to_owned(),
        Conclusion::NotDistinguishable => "not distinguishable".to_owned(),
        Conclusion::TooFewPairs => "too few pairs".to_owned(),
    };
    for row in &comparison.quantiles {
        let percent = |ratio: f64| match ratio {
            r if r < f64::MAX && r > 0.0 => format!("{:+.2} %", (r - 1.0) * 100.0),
            _ => "-".to_owned(),
        };
        table.push(vec![
            units::quantile(row.quantile),
            units::time(row.a_ns),
            units::time(row.b_ns),
            percent(row.ratio),
            percent(row.ratio_low),
            percent(row.ratio_high),
            says(row.conclusion),
        ]);
    }
    format!(
        "{}  {} pairs, {} left out; {}\n\n  {}\n\n",
        aligned(&table, 1),
        comparison.pairs,
        comparison.left_out,
        comparison.method,
        says(comparison.conclusion)
    )
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "FAILED",
        Outcome::Invalid => "says nothing",
        Outcome::NotEvaluated => "not evaluated",
    }
}

fn thresholds(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .thresholds
        .iter()
        .map(|t| vec![outcome(t.outcome).to_owned(), t.expression.clone(), t.measured.clone()])
        .collect();
    if rows.is_empty() { String::new() } else { aligned(&rows, 3) + "\n" }
}

fn verdict(report: &Report) -> String {
    let verdict = &report.verdict;
    let mut text = String::new();
    if report.load.closed {
        text.push_str("closed loop: a stall of the server hides the requests it delayed\n");
    }
    if verdict.interrupted {
        text.push_str("interrupted: partial numbers, thresholds not evaluated\n");
    }
    for note in &verdict.notes {
        text.push_str(&wrapped("  ", &format!("note: {note}")));
    }
    if verdict.valid {
        text.push_str("VALID\n");
    } else {
        text.push_str("INVALID: do not use these numbers\n");
        for reason in &verdict.reasons {
            text.push_str(&wrapped("    ", &format!("- {reason}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn columns_are_aligned_and_plain() {
        let text = write(&fixture::rate());
        assert!(text.is_ascii());
        let head = text.lines().find(|line| line.contains("p99.9")).unwrap();
        let row = text.lines().find(|line| line.contains("response")).unwrap();
        assert_eq!(head.len(), row.len(), "\n{head}\n{row}");
        assert_eq!(row.split_whitespace().next(), Some("GET"));
        assert!(text.contains("95 % low") && text.contains("95 % high"));
        assert!(!text.contains("p99.999"), "no column without samples");
        assert!(text.ends_with("VALID\n"));
        assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
    }

    #[test]
    fn the_reasons_come_last() {
        let text = write(&fixture::invalid());
        let (_, end) = text.split_once("INVALID: do not use these numbers\n").unwrap();
        assert_eq!(end.matches("    - ").count(), 2);
        assert!(end.lines().all(|line| line.starts_with("    ") && line.len() <= COLUMNS));
        assert!(text.contains("GET timeout"));
        assert!(text.contains("FAILED  errors<=0.01%"));
    }

    #[test]
    fn results_of_the_other_commands_are_shown() {
        let text = write(&fixture::live());
        assert!(text.contains("stalled at least once") && text.contains("publish to view"));
        let text = write(&fixture::topics());
        assert!(text.contains("publish to last subscriber") && text.contains("lost"), "{text}");
        assert!(!text.contains("subscriptions cut"), "{text}");
        let text = write(&fixture::capacity());
        assert!(text.contains("limited by server CPU"), "{text}");
        let text = write(&fixture::comparison());
        assert!(text.contains("headwater faster") && text.contains("not distinguishable"));
    }
}
