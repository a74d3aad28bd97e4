//! `rate`: requests by a schedule that the server cannot move.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::Ending;
use super::exit::Failure;
use super::finish::{Output, finish};
use super::load::{Load, time};
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
    /// Distribution of the gaps between requests
    #[arg(long, value_enum, default_value = "poisson", help_heading = "Schedule")]
    arrivals: Gaps,
    /// File with the time of each request in seconds, ascending, one a line, each optionally with
    /// the number of its URL
    #[arg(long, value_name = "FILE", conflicts_with = "rate", help_heading = "Schedule")]
    trace: Option<String>,
    /// Requests under way or waiting at once; more are shed, and counted
    #[arg(long, value_name = "N", default_value_t = 100_000, help_heading = "Schedule")]
    max_in_flight: usize,
    /// Spin until the next request is due instead of sleeping; takes one whole CPU a thread
    #[arg(long, help_heading = "Generator")]
    busy_poll: bool,
    /// Length of the bare clock loop before and after the load, which shows what this machine
    /// does to any program's timing
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    #[arg(help_heading = "Generator")]
    clock_check: Duration,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Gaps {
    /// Exponential gaps: independent users
    Poisson,
    /// Equal gaps
    Constant,
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
            let arrivals = match args.arrivals {
                Gaps::Poisson => Arrivals::Poisson,
                Gaps::Constant => Arrivals::Constant,
            };
            (arrivals, profile)
        }
        (None, None) => return Err(Failure::Usage("--rate or --trace is needed".to_owned())),
    };
    plan.duration = Duration::from_secs_f64(profile.seconds());
    if args.max_in_flight == 0 {
        return Err(Failure::Usage("--max-in-flight 0: at least 1".to_owned()));
    }
    let profile = profile.after_warm_up(plan.warm_up.as_secs_f64());
    plan.mode = Mode::Open { arrivals, profile, busy: args.busy_poll };
    plan.in_flight_max = args.max_in_flight;
    plan.bare = args.clock_check;
    Ok(plan)
}

/// Asks the targets once, runs the plan, and describes what it found.
pub fn execute(mut plan: Plan, command: &str, target: &str) -> anyhow::Result<Report> {
    thread::catch_stop();
    preflight::ask(&mut plan)?;
    let outcome = run_engine(&plan)?;
    let report = describe::report(&plan, &outcome, command, target);
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
