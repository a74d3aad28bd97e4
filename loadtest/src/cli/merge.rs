//! `merge`: one report of several generators. All the work is in `report::merge`.

use std::fs;

use super::finish::{Output, finish};
use super::{Ending, Failure};
use crate::report::{json, merge};

/// Flags of `merge`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Reports in JSON, as --report FILE.json wrote them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    args.output.check()?;
    let mut parts = Vec::new();
    for file in &args.files {
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::Usage(format!("report `{file}`: {error}")))?;
        let report = json::read(file, &text).map_err(Failure::Usage)?;
        parts.push((file.clone(), report));
    }
    let merged = merge::merge(parts).map_err(Failure::Usage)?;
    // Gates of the parts are held against the whole, beside those given here.
    let mut output = args.output.clone();
    let given = merged.thresholds.iter().map(|threshold| threshold.expression.clone());
    output.threshold = given.chain(output.threshold).collect();
    finish(merged, &output)
}
