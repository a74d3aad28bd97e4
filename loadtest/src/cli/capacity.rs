//! `capacity`: the largest load that keeps every gate, and what keeps it from being larger.
//!
//! The search itself is `report::search`; here each try becomes a run and each run an outcome. A
//! run in which less was achieved than offered, failed answers included, while the generator was on
//! time counts against the server; a run with any other reason of invalidity says nothing and is
//! repeated.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use super::audience;
use super::compare::rate;
use super::finish::{Output, finish};
use super::load::{Load, time};
use super::pace::Pace;
use super::preflight;
use super::rate::measure;
use super::{Ending, Failure};
use crate::environment::counters;
use crate::limits::TRIES_MAX;
use crate::report::latency::Latency;
use crate::report::model::{Capacity, Outcome, Report, Try};
use crate::report::search::{Plan, Search, Step, TOO_FEW};
use crate::report::{stats, summary, threshold, units, verdict};
use crate::sys::thread;

/// Flags of `capacity`.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    over: Option<Over>,
    /// A gate that must hold; repeatable [default: p99<=10ms, errors<=0.01%]
    #[arg(long, value_name = "GATE", help_heading = "Search")]
    gate: Vec<String>,
    /// First load to try, in requests per second
    #[arg(long, value_name = "RATE", default_value = "1000", value_parser = rate)]
    #[arg(help_heading = "Search")]
    start: f64,
    /// Load never exceeded
    #[arg(long, value_name = "RATE", default_value = "1M", value_parser = rate)]
    #[arg(help_heading = "Search")]
    most: f64,
    /// Width of the final gap, as a share of the load
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, help_heading = "Search")]
    precision: f64,
    /// Runs that confirm the result; a majority of as many decides each step
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Search")]
    repeats: u32,
    /// Runs repeated at one load because they said nothing, before the generator is the limit
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Search")]
    retries: u32,
    /// Pause before each run; longer behind a run that said nothing
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    #[arg(help_heading = "Search")]
    settle: Duration,
    /// Bits per second of the link to the server, to tell when it is the limit: 10G has 10000M
    #[arg(long, value_name = "BITS", value_parser = bits, help_heading = "Search")]
    link: Option<f64>,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    output: Output,
}

/// What else than requests per second is searched for.
#[derive(Clone, Debug, clap::Subcommand)]
enum Over {
    /// The largest crowd of viewers of a live stream, by what they experience
    Viewers(Box<audience::Args>),
}

fn bits(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.strip_suffix('G') {
        Some(digits) => (digits, 1e9),
        None => (text.strip_suffix('M').unwrap_or(text), 1e6),
    };
    let number = digits.parse::<f64>().ok().filter(|number| *number > 0.0);
    number
        .filter(|_| text.ends_with(['G', 'M']))
        .map(|number| number * factor)
        .ok_or(format!("`{text}` is no speed; write for example `10G` or `100M`"))
}

/// What outcomes are judged by, beside the report.
pub(super) struct Bench {
    pub(super) gates: Vec<String>,
    /// The load is a number of viewers, otherwise requests per second.
    pub(super) over_viewers: bool,
    pub(super) server_cores: Option<usize>,
    pub(super) threads: usize,
    pub(super) busy: bool,
    pub(super) link: Option<f64>,
    /// A tenth of the shortest latency that a gate asks for: more lateness could decide it.
    pub(super) lateness_allowed: Option<Duration>,
}

/// Whether flags ask for a search that can be; the error says which is wrong.
pub(super) fn check(plan: &Plan) -> Result<(), Failure> {
    let Plan { precision, repeats, retries, .. } = *plan;
    if !(0.001..=0.5).contains(&precision) {
        return Err(Failure::Usage(format!("--precision {precision}: 0.001 to 0.5")));
    }
    if !(1..=20).contains(&repeats) || retries > 20 {
        return Err(Failure::Usage(format!(
            "--repeats {repeats} --retries {retries}: 1 to 20, and at most 20"
        )));
    }
    Ok(())
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    if let Some(Over::Viewers(args)) = &args.over {
        return audience::run(args);
    }
    args.output.check()?;
    let bench = bench(args)?;
    let plan = Plan {
        precision: args.precision,
        repeats: args.repeats,
        retries: args.retries,
        ..Plan::new(args.start, args.most)
    };
    check(&plan)?;
    thread::catch_stop();
    let mut first = args.pace.at(&args.load, args.start)?;
    let target = args.load.target(&first);
    preflight::ask(&mut first)?;
    let mut seed = args.load.seed;
    let report = search(plan, &bench, |load, again| {
        sleep(args.settle * (1 + 4 * again));
        let load_flags = Load { seed, ..args.load.clone() };
        seed = seed.wrapping_add(1);
        let mut plan = args.pace.at(&load_flags, load)?;
        plan.label = format!("a try of {}", units::rate(load));
        plan.targets.clone_from(&first.targets);
        plan.lateness_allowed = plan.lateness_allowed.or(bench.lateness_allowed);
        measure(&plan, "capacity", &target)
    })?;
    end(report, &args.output)
}

/// Writes the report; a search that found no load has failed.
pub(super) fn end(report: Report, output: &Output) -> anyhow::Result<Ending> {
    let found = report.capacity.as_ref().is_some_and(|capacity| capacity.largest.is_some());
    let ending = finish(report, output)?;
    Ok(if ending == Ending::Good && !found { Ending::Failed } else { ending })
}

fn bench(args: &Args) -> Result<Bench, Failure> {
    let wrong = |text: String| Err(Failure::Usage(text));
    let defaults = || threshold::RATE_GATES.map(str::to_owned).to_vec();
    let gates = if args.gate.is_empty() { defaults() } else { args.gate.clone() };
    let mut shortest = f64::INFINITY;
    for gate in &gates {
        let gate = threshold::parse(gate).map_err(Failure::Usage)?;
        shortest = gate.latency_bound().unwrap_or(shortest).min(shortest);
    }
    let tenth = Duration::from_secs_f64((shortest / 10.0 / 1e9).min(LATENESS_S_MAX));
    if args.start > args.most {
        return wrong(format!("--start {} is above --most {}", args.start, args.most));
    }
    Ok(Bench {
        gates,
        over_viewers: false,
        lateness_allowed: shortest.is_finite().then_some(tenth.max(LATENESS_MIN)),
        server_cores: args.load.server_pid.map(counters::server_cores),
        threads: args.load.threads,
        busy: args.pace.busy_poll,
        link: args.link,
    })
}

/// No gate allows less than the usual bound, nor more than this.
const LATENESS_MIN: Duration = Duration::from_micros(50);
const LATENESS_S_MAX: f64 = 0.01;

/// Searches by `run`, which loads once at the load it is given, and hears how many runs before it
/// said nothing. The report is that of the last run that passed, or of the last of all.
pub(super) fn search(
    plan: Plan,
    bench: &Bench,
    mut run: impl FnMut(f64, u32) -> anyhow::Result<Report>,
) -> anyhow::Result<Report> {
    let mut search = Search::new(plan);
    let mut best: Option<(f64, Report)> = None;
    let mut last = None;
    let (mut count, mut again) = (0, 0);
    while let Step::Try(load) = search.next() {
        if count == TRIES_MAX {
            break;
        }
        count += 1;
        let report = run(load, again)?;
        let result = bench.judge(load, &report);
        again = if result.outcome == Outcome::Invalid { again + 1 } else { 0 };
        eprintln!("{}", bench.line(count, &result));
        if result.outcome == Outcome::Passed && best.as_ref().is_none_or(|(at, _)| load >= *at) {
            best = Some((load, report));
        } else {
            last = Some(report);
        }
        search.observe(result);
    }
    let unit = if bench.over_viewers { "viewers" } else { "requests/s" };
    let capacity = search.result(unit, bench.gates.clone());
    let mut report = match (best, last) {
        (Some((_, report)), _) | (None, Some(report)) => report,
        (None, None) => Report::new("capacity", ""),
    };
    "capacity".clone_into(&mut report.command);
    report.verdict.interrupted = thread::stopped();
    note(&mut report, &capacity);
    report.capacity = Some(capacity);
    Ok(report)
}

/// What a reader of the report must know about it.
fn note(report: &mut Report, capacity: &Capacity) {
    let of = match capacity.largest {
        Some(_) => "Latencies are of the last run that kept every gate.",
        None => "Latencies are of a run that did not keep every gate: none did.",
    };
    report.verdict.notes.insert(0, of.to_owned());
    if capacity.limiter == "generator" {
        report.verdict.notes.push(
            "The generator was the limit: the server is capable of more. Give it more threads, \
             or a core of its own."
                .to_owned(),
        );
    }
}

impl Bench {
    /// A try as one line for those who wait.
    fn line(&self, count: usize, result: &Try) -> String {
        let outcome = match result.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Invalid => "invalid",
            Outcome::NotEvaluated => "interrupted",
        };
        let p99 =
            result.p99_ns.map_or(String::new(), |p99| format!(", p99 {}", units::time(p99 as f64)));
        let why = result.reasons.first().map_or(String::new(), |reason| format!(": {reason}"));
        let load = match self.over_viewers {
            true => format!("{} viewers", units::count(audience::viewers(result.load))),
            false => units::rate(result.load),
        };
        format!("try {count}: {load}, {outcome}{p99}{why}")
    }

    /// What a run at `load` says.
    fn judge(&self, load: f64, report: &Report) -> Try {
        let headline = summary::all_headlines(report);
        let at = |q| stats::percentile(&headline, q).ok().map(|percentile| percentile.value);
        let duration_s = report.load.duration_s.max(f64::MIN_POSITIVE);
        let (outcome, reasons) = self.outcome(report);
        let server_cpu = report.load.server_cpu_s.zip(self.server_cores);
        let generator_cpu = report.load.generator_cpu_s.filter(|_| !self.busy);
        Try {
            load,
            achieved: match report.qoe.as_ref().filter(|_| self.over_viewers) {
                Some(qoe) => qoe.counts.started as f64,
                None => report.load.achieved as f64 / duration_s,
            },
            outcome,
            reasons,
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            server_cpu: server_cpu.map(|(cpu, cores)| cpu / duration_s / cores.max(1) as f64),
            generator_cpu: generator_cpu.map(|cpu| cpu / duration_s / self.threads.max(1) as f64),
            figures: self.figures(report, &headline, duration_s),
        }
    }

    /// Broken gates outweigh a shortfall, which is the server's; anything else that makes the run
    /// invalid makes it worthless.
    fn outcome(&self, report: &Report) -> (Outcome, Vec<String>) {
        if report.verdict.interrupted || thread::stopped() {
            return (Outcome::NotEvaluated, Vec::new());
        }
        let (shortfall, other): (Vec<&String>, Vec<&String>) =
            report.verdict.reasons.iter().partition(|reason| verdict::is_shortfall(reason));
        if !other.is_empty() {
            return (Outcome::Invalid, other.into_iter().cloned().collect());
        }
        let gates = threshold::evaluate(&self.gates, report);
        let broken = gates.iter().filter(|gate| gate.outcome == Outcome::Failed);
        let mut reasons: Vec<String> =
            broken.map(|gate| format!("{}: {}", gate.expression, gate.measured)).collect();
        reasons.extend(shortfall.into_iter().cloned());
        if !reasons.is_empty() {
            return (Outcome::Failed, reasons);
        }
        let unclear: Vec<String> = gates
            .iter()
            .filter(|gate| gate.outcome == Outcome::Invalid)
            .map(|gate| {
                let more = if self.over_viewers { "begin with more viewers, or " } else { "" };
                let (gate, measured) = (&gate.expression, &gate.measured);
                format!("{TOO_FEW}: {gate}: {measured}; {more}make the runs longer")
            })
            .collect();
        match unclear.is_empty() {
            true => (Outcome::Passed, Vec::new()),
            false => (Outcome::Invalid, unclear),
        }
    }

    fn figures(&self, report: &Report, headline: &Latency, s: f64) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        let mut wait = Latency::new();
        for operation in &report.operations {
            operation.wait.iter().for_each(|other| wait.add(other));
        }
        if headline.mean() > 0.0 {
            let share = wait.mean() / headline.mean();
            figures.insert("connection wait share".to_owned(), share.min(1.0));
        }
        let bits = report.load.bytes as f64 * 8.0 / s;
        if let Some(link) = self.link {
            figures.insert("link share".to_owned(), bits / link);
        }
        figures.insert("bit/s".to_owned(), bits);
        if let Some(qoe) = report.qoe.as_ref().filter(|qoe| qoe.counts.started > 0) {
            let counts = &qoe.counts;
            let (stalled, played) = (counts.stalled_s, counts.played_s);
            let share = counts.stalled_viewers as f64 / counts.started as f64;
            figures.insert("rebuffer ratio".to_owned(), stalled / (stalled + played).max(1e-9));
            figures.insert("stalled share".to_owned(), share);
        }
        if let Some(cpu) = report.load.server_cpu_s {
            let each = cpu / report.load.achieved.max(1) as f64;
            figures.insert("server us/request".to_owned(), each * 1e6);
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{Operation, Qoe, QoeCounts, Verdict};

    const BENCH: Bench = Bench {
        gates: Vec::new(),
        over_viewers: false,
        server_cores: Some(1),
        threads: 1,
        busy: false,
        link: None,
        lateness_allowed: None,
    };

    /// A run against a server that answers `limit` requests a second.
    fn run(load: f64, limit: f64) -> Report {
        let mut report = Report::new("capacity", "x");
        let mut operation = Operation::new("GET");
        let mut response = Latency::new();
        let slow = if load > limit { 50_000_000 } else { 1_000_000 };
        (0..5000).for_each(|_| response.record(slow));
        operation.response = Some(response);
        operation.completed = 5000;
        report.operations.push(operation);
        report.load.duration_s = 1.0;
        report.load.achieved = 5000;
        report.load.server_cpu_s = Some(load.min(limit) / limit);
        report.load.generator_cpu_s = Some(0.1);
        report
    }

    #[test]
    fn the_limit_is_found_and_named() {
        let bench = Bench { gates: vec!["p99<=10ms".to_owned()], ..BENCH };
        let plan = Plan::new(1000.0, 1e6);
        let report = search(plan, &bench, |load, _| Ok(run(load, 7000.0))).unwrap();
        let capacity = report.capacity.unwrap();
        let largest = capacity.largest.unwrap();
        assert!((6860.0..=7000.0).contains(&largest), "{largest}");
        assert_eq!(capacity.limiter, "server CPU");
        assert!(report.verdict.notes[0].contains("last run that kept"), "{:?}", report.verdict);
        assert_eq!(report.operations[0].response.as_ref().unwrap().max() / 1_000_000, 1);
    }

    #[test]
    fn a_late_generator_is_named_as_the_limit() {
        let bench = Bench { gates: vec!["p99<=10ms".to_owned()], ..BENCH };
        let report = search(Plan::new(1000.0, 1e6), &bench, |load, _| {
            let mut report = run(load, 1e9);
            if load > 3000.0 {
                report.verdict = Verdict::from_reasons(vec!["The generator was late.".to_owned()]);
            }
            Ok(report)
        });
        let report = report.unwrap();
        assert_eq!(report.capacity.unwrap().limiter, "generator");
        assert!(report.verdict.notes.last().unwrap().contains("capable of more"));
    }

    #[test]
    fn a_shortfall_is_the_server_s() {
        let mut report = run(1.0, 2.0);
        let shortfall = verdict::judge(&verdict::Evidence {
            offered: Some(100),
            achieved: 50,
            failed: 50,
            ..verdict::Evidence::default()
        });
        report.verdict = shortfall;
        let (outcome, reasons) = BENCH.outcome(&report);
        assert_eq!(outcome, Outcome::Failed);
        assert!(reasons[0].contains("50.00 % failed"), "{reasons:?}");
        report.verdict.reasons.push("The generator was late: 1 s.".to_owned());
        assert_eq!(BENCH.outcome(&report).0, Outcome::Invalid);
        let few = Bench { gates: vec!["p99.99<=1s".to_owned()], ..BENCH };
        let (outcome, reasons) = few.outcome(&run(1.0, 2.0));
        assert_eq!(outcome, Outcome::Invalid);
        assert!(reasons[0].contains("longer"), "{reasons:?}");
        let plan = Plan { retries: 0, ..Plan::new(1000.0, 1e6) };
        let report = search(plan, &few, |load, _| Ok(run(load, 1e9))).unwrap();
        let limiter = report.capacity.unwrap().limiter;
        assert!(limiter.starts_with("too few samples: p99.99<=1s: "), "no generator's: {limiter}");
    }

    /// Of a crowd above `limit` everybody stalls for a tenth of the time.
    fn crowd(viewers: f64, limit: f64) -> Report {
        let mut report = run(viewers, f64::MAX);
        let counts = QoeCounts {
            viewers: audience::viewers(viewers),
            started: audience::viewers(viewers),
            stalled_viewers: if viewers > limit { audience::viewers(viewers) } else { 0 },
            played_s: viewers * 54.0,
            stalled_s: if viewers > limit { viewers * 6.0 } else { 0.0 },
            ..QoeCounts::default()
        };
        report.qoe = Some(Qoe { counts, distributions: Vec::new() });
        report
    }

    #[test]
    fn the_largest_crowd_is_found_by_what_viewers_experience() {
        let gates = ["rebuffer<=0.5%", "stalled<=1%"].map(str::to_owned).to_vec();
        let bench = Bench { gates, over_viewers: true, ..BENCH };
        let report = search(Plan::new(100.0, 1e5), &bench, |load, _| Ok(crowd(load, 7000.0)));
        let report = report.unwrap();
        let capacity = report.capacity.unwrap();
        let largest = capacity.largest.unwrap();
        assert!((6860.0..=7000.0).contains(&largest), "{largest}");
        assert_eq!(capacity.unit, "viewers");
        assert!(capacity.limiter.starts_with("rebuffer<=0.5%"), "{}", capacity.limiter);
        let broken = capacity.tries.iter().find(|t| t.outcome == Outcome::Failed).unwrap();
        assert!((broken.figures["rebuffer ratio"] - 0.1).abs() < 1e-9);
        assert!(bench.line(1, broken).contains(" viewers, failed"), "{}", bench.line(1, broken));
    }

    #[test]
    fn speeds_have_units() {
        assert_eq!((bits("10G"), bits("2.5M")), (Ok(10e9), Ok(2.5e6)));
        assert!(bits("10").is_err() && bits("G").is_err() && bits("-1G").is_err());
    }
}
