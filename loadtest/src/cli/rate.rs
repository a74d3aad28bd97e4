//! `rate`: requests by a schedule that the server cannot move.

use std::sync::Arc;
use std::time::Duration;

use super::Ending;
use super::exit::Failure;
use super::finish::{Output, finish};
use super::load::Load;
use super::pace::Pace;
use super::preflight;
use crate::engine::describe;
use crate::engine::{Mode, Plan, run as run_engine};
use crate::rate::{Arrivals, Profile, trace};
use crate::report::model::Report;
use crate::sys::thread;

/// Flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Requests per second: 20000, `10k..80k over 60s`, `10k for 10s, 20k for 10s`
    #[arg(long, short, value_name = "RATE", required_unless_present = "trace")]
    #[arg(help_heading = "Schedule")]
    rate: Option<String>,
    /// File with the time of each request in seconds, ascending, one a line, each optionally with
    /// the number of its URL
    #[arg(long, value_name = "FILE", conflicts_with = "rate", help_heading = "Schedule")]
    trace: Option<String>,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    args.output.check()?;
    let plan = plan(args)?;
    let target = args.load.target(&plan);
    let report = execute(plan, "rate", &target)?;
    finish(report, &args.output)
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    let length = args.load.duration.as_secs_f64();
    let mut plan = args.load.plan(Mode::Closed)?;
    let (arrivals, profile) = match (&args.trace, &args.rate) {
        (Some(path), _) => {
            let wrong = |why: String| Failure::Usage(format!("trace `{path}`: {why}"));
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            let trace = trace::parse(&text, plan.sources.len()).map_err(wrong)?;
            let last = trace.last().map_or(0.0, |(at, _)| (*at + 1) as f64 / 1e9);
            let rate = trace.len() as f64 / last;
            plan.warm_up = Duration::ZERO;
            (Arrivals::Trace(Arc::new(trace)), Profile::constant(rate, last))
        }
        (None, Some(rate)) => {
            let profile = Profile::parse(rate, length).map_err(Failure::Usage)?;
            (args.pace.arrivals.arrivals(), profile)
        }
        (None, None) => return Err(Failure::Usage("--rate or --trace is needed".to_owned())),
    };
    args.pace.schedule(plan, arrivals, profile)
}

/// Asks the targets once, runs the plan, and describes what it found.
pub fn execute(mut plan: Plan, command: &str, target: &str) -> anyhow::Result<Report> {
    thread::catch_stop();
    preflight::ask(&mut plan)?;
    let report = measure(&plan, command, target)?;
    let load = &report.load;
    if load.achieved == 0 && load.failed > 0 && !report.verdict.interrupted {
        let classes: Vec<&str> = report
            .operations
            .iter()
            .flat_map(|operation| operation.errors.keys().map(String::as_str))
            .collect();
        return Err(Failure::Unusable(format!(
            "{target}: all {} requests failed ({})",
            load.failed,
            classes.join(", ")
        ))
        .into());
    }
    Ok(report)
}

/// Runs the plan and describes what it found, however bad.
pub fn measure(plan: &Plan, command: &str, target: &str) -> anyhow::Result<Report> {
    let outcome = run_engine(plan)?;
    Ok(describe::report(plan, &outcome, command, target))
}
