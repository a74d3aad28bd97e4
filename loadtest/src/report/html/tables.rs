//! The tables of the page.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::super::model::{Capacity, Comparison, Conclusion, Distribution, Outcome, Qoe, Report};
use super::super::stats;
use super::super::summary::{self, Row};
use super::super::topics::Topics;
use super::super::units;
use super::{escape, forest, interval, prose, section, time};

/// A table from its heads and rows, all HTML; a head that begins with `<` names a left column.
fn table(heads: &[&str], rows: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heads: String = heads
        .iter()
        .map(|head| match head.strip_prefix('<') {
            Some(head) => format!("<th class=\"l\">{head}</th>"),
            None => format!("<th>{head}</th>"),
        })
        .collect();
    format!(
        "<div class=\"table\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n"
    )
}

fn pill(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "<span class=\"pill good\">passed</span>",
        Outcome::Failed => "<span class=\"pill bad\">failed</span>",
        Outcome::Invalid => "<span class=\"pill dim\">says nothing</span>",
        Outcome::NotEvaluated => "<span class=\"pill dim\">not evaluated</span>",
    }
}

/// Gates with their outcome.
pub fn thresholds(report: &Report) -> String {
    let mut rows = String::new();
    for threshold in &report.thresholds {
        let _ = writeln!(
            rows,
            "<tr><td class=\"l\"><code>{}</code></td><td class=\"l wrap\">{}</td><td>{}</td></tr>",
            escape(&threshold.expression),
            prose(&threshold.measured),
            pill(threshold.outcome)
        );
    }
    section("Thresholds", &table(&["<Threshold", "<Measured", "Outcome"], &rows))
}

/// Every histogram of the run: n, percentiles with intervals, maximum.
pub fn latencies(rows: &[Row<'_>], report: &Report) -> String {
    // A column stands only where one row at least has the samples for it.
    let shown: Vec<usize> = (0..summary::QUANTILES.len())
        .filter(|index| rows.iter().any(|row| row.percentiles[*index].1.is_ok()))
        .collect();
    let mut text = String::new();
    let mut notes = String::new();
    for row in rows {
        let headline = summary::is_headline(row, report);
        let (class, strong) = if headline { ("head", " strong") } else { ("", "") };
        let _ = write!(
            text,
            "<tr class=\"{class}\"><td class=\"l strong\">{}</td><td class=\"l{strong}\">{}</td>\
             <td>{}</td>",
            if headline { escape(row.operation) } else { String::new() },
            row.quantity,
            units::count(row.latency.count())
        );
        for index in &shown {
            match &row.percentiles[*index].1 {
                Ok(p) => {
                    let _ = write!(
                        text,
                        "<td class=\"{strong}\">{}<small>{}</small></td>",
                        time(p.value as f64),
                        interval(p.low, p.high)
                    );
                }
                Err(few) => {
                    let _ = write!(
                        text,
                        "<td>&ndash;<small>n too small (need {})</small></td>",
                        units::count(few.needed)
                    );
                }
            }
        }
        let _ =
            writeln!(text, "<td class=\"{strong}\">{}</td></tr>", time(row.latency.max() as f64));
        if let Some(note) = &row.note {
            let _ = writeln!(
                notes,
                "<p class=\"note\">{}: {}</p>",
                escape(row.operation),
                escape(note)
            );
        }
    }
    let quantiles: Vec<String> =
        shown.iter().map(|index| units::quantile(summary::QUANTILES[*index])).collect();
    let mut heads = vec!["<Request", "<Time", "n"];
    heads.extend(quantiles.iter().map(String::as_str));
    heads.push("max");
    let table = table(&heads, &text);
    if table.is_empty() { table } else { section("Latencies", &(table + &notes)) }
}

/// Counts and errors of every kind of request.
pub fn operations(report: &Report) -> String {
    let mut rows = String::new();
    for operation in &report.operations {
        let errors: Vec<String> = operation
            .errors
            .iter()
            .map(|(class, count)| format!("{} {}", units::count(*count), escape(class)))
            .collect();
        let errors = if errors.is_empty() { "none".to_owned() } else { errors.join(", ") };
        let _ = writeln!(
            rows,
            "<tr><td class=\"l\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"l wrap\">{errors}</td></tr>",
            escape(&operation.name),
            units::count(operation.completed),
            units::bytes(operation.bytes as f64),
            units::count(operation.verified),
            units::count(operation.shed),
        );
    }
    let heads = ["<Request", "completed", "bodies", "bodies verified", "shed", "<Errors by class"];
    section("Requests", &table(&heads, &rows))
}

/// The phases of the run.
pub fn phases(report: &Report) -> String {
    let mut rows = String::new();
    for phase in &report.phases {
        let percentile = |q: f64| {
            let found = phase.response.as_ref().map(|latency| stats::percentile(latency, q));
            match found {
                Some(Ok(p)) => time(p.value as f64),
                _ => "&ndash;".to_owned(),
            }
        };
        let max = phase.response.as_ref().filter(|latency| !latency.is_empty());
        let _ = writeln!(
            rows,
            "<tr><td class=\"l\">{}</td><td>{:.1} s</td><td>{:.1} s</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&phase.name),
            phase.start_s,
            phase.duration_s,
            units::count(phase.completed),
            units::count(phase.failed),
            percentile(0.5),
            percentile(0.99),
            max.map_or("&ndash;".to_owned(), |latency| time(latency.max() as f64)),
        );
    }
    let heads = ["<Phase", "from", "length", "completed", "failed", "p50", "p99", "max"];
    section("Phases", &table(&heads, &rows))
}

/// Distributions and counts over viewers.
pub fn viewers(qoe: &Qoe) -> String {
    distributions("<Over viewers", &qoe.distributions) + &counts(qoe)
}

/// Distributions and counts over subscribers of topics.
pub fn subscribers(topics: &Topics) -> String {
    let mut rows = String::new();
    for (words, count) in topics.counts.rows() {
        let count = units::count(count);
        let _ = writeln!(rows, "<tr><td class=\"l\">{words}</td><td>{count}</td></tr>");
    }
    distributions("<Over subscribers", &topics.distributions)
        + &table(&["<What happened", "count"], &rows)
}

/// A row for each distribution.
fn distributions(title: &str, all: &[Distribution]) -> String {
    let mut rows = String::new();
    for distribution in all {
        let value = |integer: u64| {
            let value = integer as f64 / distribution.per_unit;
            match distribution.unit.as_str() {
                "s" => time(value * 1e9),
                "" => units::percent(value),
                unit => units::si(value, &escape(unit)),
            }
        };
        let _ = write!(
            rows,
            "<tr><td class=\"l\">{}</td><td>{}</td>",
            escape(&distribution.name),
            units::count(distribution.values.count())
        );
        for q in [0.05, 0.5, 0.95, 0.99] {
            let _ = match stats::percentile(&distribution.values, q) {
                Ok(p) => write!(
                    rows,
                    "<td>{}<small>{} &ndash; {}</small></td>",
                    value(p.value),
                    value(p.low),
                    value(p.high)
                ),
                Err(few) => {
                    write!(rows, "<td>&ndash;<small>{}</small></td>", summary::too_few(&few))
                }
            };
        }
        let _ = writeln!(rows, "<td>{}</td></tr>", value(distribution.values.max()));
    }
    table(&[title, "n", "p5", "p50", "p95", "p99", "max"], &rows)
}

fn counts(qoe: &Qoe) -> String {
    let c = &qoe.counts;
    let mut rows = String::new();
    for (name, hits, of, whole) in [
        ("Never got a picture", c.start_failures, c.viewers, "viewers"),
        ("Left before the first picture", c.left_before_start, c.viewers, "viewers"),
        ("Stalled at least once", c.stalled_viewers, c.started, "viewers that began to play"),
        ("Took longer to arrive than to play", c.deadline_misses, c.segments, "segments and parts"),
        ("Not found (404)", c.not_found, c.segments, "segments and parts"),
        ("Blocking reload answered too early", c.early_playlists, c.blocking_reloads, "reloads"),
        ("Body differed", c.content_errors, c.verified, "bodies verified"),
    ] {
        if of == 0 {
            continue;
        }
        let (low, high) = stats::wilson(hits, of);
        let _ = writeln!(
            rows,
            "<tr><td class=\"l\">{name}</td><td>{}</td><td class=\"l\">of {} {whole}</td><td>{}\
             <small>{} &ndash; {}</small></td></tr>",
            units::count(hits),
            units::count(of),
            units::percent(hits as f64 / of as f64),
            units::percent(low),
            units::percent(high)
        );
    }
    for (name, count) in [
        ("Level switches", c.switches),
        ("Downloads given up", c.abandoned),
        ("Playlists older than before", c.stale_playlists),
    ] {
        let _ = writeln!(
            rows,
            "<tr><td class=\"l\">{name}</td><td>{}</td><td></td><td></td></tr>",
            units::count(count)
        );
    }
    let _ = writeln!(
        rows,
        "<tr><td class=\"l\">Received and not played</td><td>{}</td><td></td><td></td></tr>",
        units::bytes(c.wasted_bytes as f64)
    );
    table(&["<What happened", "count", "<", "share (95 %)"], &rows)
}

/// Columns of the table of tries beside those of figures.
const FIXED_COLUMNS: usize = 8;

/// Every try of a capacity search, with its reasons in a row below it, and with a column for each
/// figure that some try has.
pub fn tries(capacity: &Capacity) -> String {
    let mut rows = String::new();
    let maybe = |ns: Option<u64>| ns.map_or("&ndash;".to_owned(), |ns| time(ns as f64));
    let share = |s: Option<f64>| s.map_or("&ndash;".to_owned(), units::percent);
    let figures: BTreeSet<&String> = capacity.tries.iter().flat_map(|t| t.figures.keys()).collect();
    for (index, one) in capacity.tries.iter().enumerate() {
        let mut cells = vec![
            (index + 1).to_string(),
            pill(one.outcome).to_owned(),
            units::count_of(one.load),
            units::count_of(one.achieved),
            maybe(one.p50_ns),
            maybe(one.p99_ns),
        ];
        for name in &figures {
            let figure = one.figures.get(*name);
            cells.push(figure.map_or("&ndash;".to_owned(), |value| units::figure(name, *value)));
        }
        cells.extend([share(one.server_cpu), share(one.generator_cpu)]);
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = writeln!(rows, "<tr>{cells}</tr>");
        if !one.reasons.is_empty() {
            // A column of their own would be squeezed to a word's width by the others.
            let why = prose(&one.reasons.join("; "));
            let columns = FIXED_COLUMNS + figures.len();
            let _ = writeln!(
                rows,
                "<tr class=\"why\"><td></td><td class=\"l wrap\" colspan=\"{}\">{why}</td></tr>",
                columns - 1
            );
        }
    }
    let mut heads = vec![
        "try".to_owned(),
        "outcome".to_owned(),
        format!("offered, {}", escape(&capacity.unit)),
    ];
    heads.extend(["achieved", "p50", "p99"].map(str::to_owned));
    heads.extend(figures.iter().map(|name| escape(name)));
    heads.extend(["server CPU", "generator CPU"].map(str::to_owned));
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    section("Every try", &table(&heads, &rows))
}

/// The quantiles of a comparison.
pub fn quantiles(comparison: &Comparison) -> String {
    let mut rows = String::new();
    let (a, b, _) = forest::sides(comparison);
    let (a, b) = (escape(a), escape(b));
    for row in &comparison.quantiles {
        let says = match row.conclusion {
            Conclusion::AFaster => format!("{a} faster"),
            Conclusion::BFaster => format!("{b} faster"),
            Conclusion::TooFewPairs => "too few pairs".to_owned(),
            _ => "not distinguishable".to_owned(),
        };
        let percent = |ratio: f64| format!("{:+.2} %", (ratio - 1.0) * 100.0);
        let interval = if row.ratio_high < f64::MAX {
            format!("{} to {}", percent(row.ratio_low), percent(row.ratio_high))
        } else {
            "&ndash;".to_owned()
        };
        let _ = writeln!(
            rows,
            "<tr><td class=\"l\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{interval}</td>\
             <td>{}</td><td class=\"l\">{says}</td></tr>",
            units::quantile(row.quantile),
            time(row.a_ns),
            time(row.b_ns),
            percent(row.ratio),
            format_args!("{:+.1} &micro;s", (row.b_ns - row.a_ns) / 1e3),
        );
    }
    let heads =
        ["<Quantile", &a, &b, "difference", "interval", "difference of medians", "<Conclusion"];
    section("Quantiles", &table(&heads, &rows))
}

/// Where and how it ran; one block for each generator.
pub fn environment(report: &Report) -> String {
    let mut text = String::new();
    for (index, generator) in report.generators.iter().enumerate() {
        let mut rows = String::new();
        let mut row = |key: &str, value: &str| {
            let _ = writeln!(
                rows,
                "<tr><td class=\"l key\">{}</td><td class=\"l wrap\">{value}</td></tr>",
                escape(key)
            );
        };
        let command: Vec<String> = generator.command_line.iter().map(|a| quoted(a)).collect();
        row("command line", &format!("<code>{}</code>", escape(&command.join(" "))));
        row("seed", &generator.seed.to_string());
        for (key, value) in &generator.facts {
            row(key, &escape(value));
        }
        if index == 0 {
            let cpu = |seconds: f64| {
                let requests = (report.load.achieved + report.load.failed).max(1) as f64;
                format!("{seconds:.1} s, {} a request", time(seconds / requests * 1e9))
            };
            if let Some(seconds) = report.load.generator_cpu_s {
                row("CPU time, generator", &cpu(seconds));
            }
            if let Some(seconds) = report.load.server_cpu_s {
                row("CPU time, server", &cpu(seconds));
            }
        }
        let head = format!("<Generator {}", index + 1);
        let heads: [&str; 2] =
            if report.generators.len() > 1 { [&head, "<"] } else { ["<Fact", "<Value"] };
        text.push_str(&table(&heads, &rows));
    }
    section("Environment", &text)
}

/// An argument as a shell would take it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}
