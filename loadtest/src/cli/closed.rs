//! `closed`: every connection asks again as soon as it was answered.

use super::finish::{Output, finish};
use super::load::Load;
use super::rate::execute;
use super::{Ending, exit};
use crate::engine::Mode;

/// Flags.
#[derive(Debug, clap::Args)]
#[command(after_help = exit::HELP)]
pub struct Args {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    args.output.check()?;
    let plan = args.load.plan(Mode::Closed)?;
    let target = args.load.target(&plan);
    let report = execute(plan, "closed", &target)?;
    finish(report, &args.output)
}
