//! `capacity viewers`: the largest crowd whose experience keeps every gate.
//!
//! Each try is a run of `live` with another number of viewers and another seed; what players went
//! through decides, by the gates over viewers. How the search goes about it: `report::search`.

use std::thread::sleep;
use std::time::Duration;

use super::capacity::{Bench, check, end, search};
use super::live;
use super::load::time;
use super::{Ending, Failure};
use crate::environment::counters;
use crate::limits::VIEWERS_MAX;
use crate::report::search::Plan;
use crate::report::{threshold, units};
use crate::sys::thread;

/// Flags of `capacity viewers`. `--viewers` is the first crowd to try.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "audience")]
pub struct Args {
    /// A gate that must hold; repeatable [default: rebuffer<=0.5%, stalled<=1%,
    /// start-failures<=0.1%, startup.p95<=2s, errors<=0.01%]
    #[arg(long, value_name = "GATE", help_heading = "Search")]
    gate: Vec<String>,
    /// Crowd never exceeded
    #[arg(long, value_name = "N", default_value_t = VIEWERS_MAX, help_heading = "Search")]
    most: u64,
    /// Width of the final gap, as a share of the crowd
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, help_heading = "Search")]
    precision: f64,
    /// Runs that confirm the result; a majority of as many decides each step
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Search")]
    repeats: u32,
    /// Runs repeated with one crowd because they said nothing, before the generator is the limit
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Search")]
    retries: u32,
    /// Pause before each run; longer behind a run that said nothing
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    #[arg(help_heading = "Search")]
    settle: Duration,
    #[command(flatten)]
    live: live::Args,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    args.live.output.check()?;
    let bench = bench(args)?;
    let searched = Plan {
        least: 1.0,
        precision: args.precision,
        repeats: args.repeats,
        retries: args.retries,
        ..Plan::new(args.live.viewers as f64, args.most as f64)
    };
    check(&searched)?;
    let mut crowd = live::prepared(&args.live)?;
    thread::catch_stop();
    let target = args.live.target();
    let report = search(searched, &bench, |load, again| {
        sleep(args.settle * (1 + 4 * again));
        crowd.viewers = viewers(load);
        crowd.label = format!("a try of {} viewers", units::count(crowd.viewers));
        let report = crate::live::run(&crowd, &target);
        crowd.seed = crowd.seed.wrapping_add(1);
        report
    })?;
    end(report, &args.live.output)
}

/// A crowd has whole viewers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to VIEWERS_MAX")]
pub(super) fn viewers(load: f64) -> u64 {
    load.round().clamp(1.0, VIEWERS_MAX as f64) as u64
}

fn bench(args: &Args) -> Result<Bench, Failure> {
    let wrong = |text: String| Err(Failure::Usage(text));
    let defaults = || threshold::QOE_GATES.map(str::to_owned).to_vec();
    let gates = if args.gate.is_empty() { defaults() } else { args.gate.clone() };
    for gate in &gates {
        threshold::parse(gate).map_err(Failure::Usage)?;
    }
    if args.live.viewers > args.most || args.most > VIEWERS_MAX {
        return wrong(format!(
            "--viewers {} --most {}: the first crowd is at most the largest, and that at most \
             {VIEWERS_MAX}",
            args.live.viewers, args.most
        ));
    }
    if args.live.trace.is_some() {
        return wrong(
            "--trace fixes the crowd, and the search changes it: leave it out".to_owned(),
        );
    }
    Ok(Bench {
        gates,
        over_viewers: true,
        lateness_allowed: None,
        server_cores: args.live.server_pid.map(counters::server_cores),
        threads: args.live.threads,
        busy: false,
        link: None,
    })
}
