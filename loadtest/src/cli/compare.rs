//! `compare A B`: pairs of runs in random ABBA order, the same seed within a pair.
//!
//! The statistics are in `report::compare`; A is what B is held against, so that B being slower
//! is a regression and has the exit code of a broken gate. "Not distinguishable" is a good end.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::finish::{Output, finish};
use super::load::{Load, time};
use super::pace::Pace;
use super::preflight;
use super::rate::measure;
use super::{Ending, Failure};
use crate::environment;
use crate::limits::PAIRS_MAX;
use crate::report::compare::{PAIRS_MIN, Pair, Side, compare, order};
use crate::report::latency::Latency;
use crate::report::model::{Conclusion, Operation, Report, Verdict};
use crate::report::{summary, units};
use crate::sys::thread;

/// Flags of `compare`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Requests per second, the same for both
    #[arg(long, short, value_name = "RATE", value_parser = rate, help_heading = "Schedule")]
    rate: f64,
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Comparison")]
    pairs: usize,
    /// Pause before each run
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = time)]
    #[arg(help_heading = "Comparison")]
    settle: Duration,
    /// Shell command before each run, with SIDE=A or SIDE=B in its environment: for a fresh server
    #[arg(long, value_name = "COMMAND", help_heading = "Comparison")]
    before: Option<String>,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    output: Output,
}

/// A rate with a unit, for clap.
pub fn rate(text: &str) -> Result<f64, String> {
    let digits = text.trim_end_matches(['k', 'M']);
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        _ => f64::NAN,
    };
    match digits.parse::<f64>() {
        Ok(number) if number * factor > 0.0 && number * factor <= 1e8 => Ok(number * factor),
        _ => Err(format!("`{text}` is no rate; write for example `20000` or `20k`")),
    }
}

/// What one side's runs amount to.
struct Sum {
    operation: Operation,
    runs: Vec<Report>,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    args.output.check()?;
    let [a, b] = args.load.urls.as_slice() else {
        return Err(Failure::Usage(format!(
            "{} URLs: `compare` takes two, the one to compare with first",
            args.load.urls.len()
        ))
        .into());
    };
    if !(PAIRS_MIN..=PAIRS_MAX).contains(&args.pairs) {
        return Err(Failure::Usage(format!(
            "--pairs {}: {PAIRS_MIN} to {PAIRS_MAX}; fewer than {PAIRS_MIN} cannot tell anything",
            args.pairs
        ))
        .into());
    }
    thread::catch_stop();
    let mut sums = [a, b].map(|url| Sum { operation: Operation::new(url), runs: Vec::new() });
    sums[0].operation.name = "A".to_owned();
    sums[1].operation.name = "B".to_owned();
    let mut pairs = Vec::new();
    for (index, sides) in order(args.pairs, args.load.seed).into_iter().enumerate() {
        let mut found = [None, None];
        for side in sides {
            let report = one(args, side, index)?;
            let position = usize::from(side == Side::B);
            found[position] = Some((summary::all_headlines(&report), report.verdict.valid));
            sums[position].add(report);
        }
        if thread::stopped() {
            break;
        }
        if let [Some((a, valid_a)), Some((b, valid_b))] = found {
            eprintln!("{}", line(index, &a, &b, valid_a && valid_b));
            pairs.push(Pair { a, b, valid: valid_a && valid_b });
        }
    }
    let report = conclude(a, b, &pairs, sums);
    let conclusion = report.comparison.as_ref().map(|comparison| comparison.conclusion);
    let ending = finish(report, &args.output)?;
    Ok(match (ending, conclusion) {
        (Ending::Good, Some(Conclusion::AFaster | Conclusion::Mixed)) => Ending::Failed,
        (ending, _) => ending,
    })
}

/// One run of one side; both runs of a pair have the same seed.
fn one(args: &Args, side: Side, pair: usize) -> anyhow::Result<Report> {
    let (name, url) = match side {
        Side::A => ("A", &args.load.urls[0]),
        Side::B => ("B", &args.load.urls[1]),
    };
    if let Some(command) = &args.before {
        let status = Command::new("sh").args(["-c", command]).env("SIDE", name).status()?;
        if !status.success() {
            return Err(Failure::Usage(format!("--before: the command ended with {status}")).into());
        }
    }
    sleep(args.settle);
    let mut load = args.load.clone();
    load.urls = vec![url.clone()];
    load.seed = args.load.seed.wrapping_add(pair as u64);
    let mut plan = args.pace.at(&load, args.rate)?;
    plan.label = format!("{name} of pair {} of {}", pair + 1, args.pairs);
    preflight::ask(&mut plan)?;
    measure(&plan, "rate", url)
}

/// A pair as one line for those who wait.
fn line(index: usize, a: &Latency, b: &Latency, valid: bool) -> String {
    let p50 = |latency: &Latency| units::time(latency.value_at(0.5) as f64);
    let rest = if valid { "" } else { ", left out: a run was invalid" };
    format!("pair {}: p50 A {}, B {}{rest}", index + 1, p50(a), p50(b))
}

impl Sum {
    fn add(&mut self, report: Report) {
        let sum = &mut self.operation;
        for part in &report.operations {
            sum.completed += part.completed;
            sum.shed += part.shed;
            sum.bytes += part.bytes;
            sum.verified += part.verified;
            for (class, count) in &part.errors {
                *sum.errors.entry(class.clone()).or_default() += count;
            }
            for (slot, latency) in [
                (&mut sum.lateness, &part.lateness),
                (&mut sum.wait, &part.wait),
                (&mut sum.first_byte, &part.first_byte),
                (&mut sum.service, &part.service),
                (&mut sum.response, &part.response),
            ] {
                if let Some(latency) = latency {
                    slot.get_or_insert_with(Latency::new).add(latency);
                }
            }
        }
        // What a run holds in detail is not needed again.
        self.runs.push(Report {
            operations: Vec::new(),
            series: Vec::new(),
            samples: Vec::new(),
            ..report
        });
    }
}

/// The report of all runs.
fn conclude(a: &str, b: &str, pairs: &[Pair], sums: [Sum; 2]) -> Report {
    let mut report = Report::new("compare", &format!("{a} and {b}"));
    let comparison = compare(a, b, pairs);
    let [first, second] = sums;
    let runs = || first.runs.iter().chain(&second.runs);
    if let Some(run) = runs().min_by_key(|run| run.started_unix_ms) {
        report.started_unix_ms = run.started_unix_ms;
        report.load = run.load.clone();
        report.generators.clone_from(&run.generators);
    }
    for generator in &mut report.generators {
        environment::add_up(generator, runs().flat_map(|run| &run.generators));
    }
    let add = |of: fn(&Report) -> f64| runs().map(of).sum::<f64>();
    let count = |of: fn(&Report) -> u64| runs().map(of).sum::<u64>();
    report.load.duration_s = add(|run| run.load.duration_s);
    report.load.offered = Some(count(|run| run.load.offered.unwrap_or(0)));
    report.load.achieved = count(|run| run.load.achieved);
    report.load.failed = count(|run| run.load.failed);
    report.load.shed = count(|run| run.load.shed);
    report.load.bytes = count(|run| run.load.bytes);
    report.load.generator_cpu_s = Some(add(|run| run.load.generator_cpu_s.unwrap_or(0.0)));
    report.load.server_cpu_s = None;
    let mut reasons = Vec::new();
    if comparison.conclusion == Conclusion::TooFewPairs {
        reasons.push(format!(
            "Only {} pairs were valid ({} left out), at least {PAIRS_MIN} are needed with enough \
             samples each.",
            comparison.pairs, comparison.left_out
        ));
        // One example is enough to know why.
        let invalid = runs().find(|run| !run.verdict.valid);
        reasons.extend(invalid.and_then(|run| run.verdict.reasons.first()).cloned());
    }
    report.verdict = Verdict::from_reasons(reasons);
    report.verdict.interrupted = thread::stopped();
    let notes = runs().flat_map(|run| &run.verdict.notes);
    report.verdict.notes.extend(notes.filter(|note| note.starts_with("A flag")).take(1).cloned());
    report.operations = vec![first.operation, second.operation];
    report.comparison = Some(comparison);
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::terminal;

    #[test]
    fn rates_have_units() {
        assert_eq!((rate("20k"), rate("1.5M"), rate("7")), (Ok(20e3), Ok(1.5e6), Ok(7.0)));
        for bad in ["", "k", "0", "-1", "1kk", "1G", "nan"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn runs_add_and_too_few_pairs_are_invalid() {
        let mut run = Report::new("rate", "x");
        let mut operation = Operation::new("GET");
        operation.completed = 5;
        operation.errors.insert("timeout".to_owned(), 1);
        operation.response = Some(Latency::new());
        run.operations.push(operation);
        run.load.achieved = 5;
        run.verdict = Verdict::from_reasons(vec!["The generator was late.".to_owned()]);
        let mut environment = environment::describe(1);
        environment.facts.insert("tcp.retransmits".to_owned(), "3".to_owned());
        environment.facts.insert("run_queue.delay_ms".to_owned(), "1.250".to_owned());
        run.generators.push(environment);
        let sums = ["A", "B"].map(|name| {
            let mut sum = Sum { operation: Operation::new(name), runs: Vec::new() };
            sum.add(run.clone());
            sum.add(run.clone());
            sum
        });
        let report = conclude("http://a", "http://b", &[], sums);
        assert_eq!((report.operations[0].completed, report.operations[1].failed()), (10, 2));
        assert_eq!(report.load.achieved, 20);
        // One run's counters stood for all.
        let facts = &report.generators[0].facts;
        assert_eq!((&*facts["tcp.retransmits"], &*facts["run_queue.delay_ms"]), ("12", "5.000"));
        assert_eq!(report.verdict.reasons.len(), 2, "{:?}", report.verdict);
        assert!(terminal::write(&report).contains("late"));
    }
}
