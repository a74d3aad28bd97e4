//! The end of every command: thresholds, the summary, the files, the exit code.

use std::io::Write;

use clap::Args;

use super::exit::{Ending, Failure};
use crate::report::model::Report;
use crate::report::{self, threshold, verdict};

/// What to do with the report.
#[derive(Args, Clone, Debug, Default)]
pub struct Output {
    /// Write the report to FILE, in the form of its ending (.json .ndjson .html .hgrm .hlog .csv
    /// .txt); repeatable
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub report: Vec<String>,
    /// A gate such as `p99<5ms`, `GET.p99.9<=80ms`, `errors<0.01%`, `rate>=19800`; repeatable
    #[arg(long, value_name = "GATE", help_heading = "Report")]
    pub threshold: Vec<String>,
    /// Print nothing but errors
    #[arg(long, short, help_heading = "Report")]
    pub quiet: bool,
}

impl Output {
    /// Refuses wrong names and wrong gates before a run.
    pub fn check(&self) -> Result<(), Failure> {
        for path in &self.report {
            let empty = Report::new("", "");
            report::render(&empty, path).map_err(Failure::Usage)?;
        }
        for gate in &self.threshold {
            threshold::parse(gate).map_err(Failure::Usage)?;
        }
        Ok(())
    }
}

/// Evaluates the gates, prints the summary, writes the files.
pub fn finish(mut report: Report, output: &Output) -> anyhow::Result<Ending> {
    report.thresholds = threshold::evaluate(&output.threshold, &report);
    if !output.quiet {
        let text = report::terminal::write(&report);
        // A closed pipe must not keep the files from being written.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    for path in &output.report {
        write(&report, path)?;
    }
    if report.verdict.interrupted {
        return Ok(Ending::Interrupted);
    }
    Ok(verdict::ending(&report).into())
}

fn write(report: &Report, path: &str) -> anyhow::Result<()> {
    let cannot = |why: &str| Failure::Report(format!("report file `{path}`: {why}"));
    let text = report::render(report, path).map_err(|why| cannot(&why))?;
    let written = std::fs::File::create(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        // A full disk may show only now. What is no file on a disk cannot be synchronised.
        match file.sync_all() {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
            other => other,
        }
    });
    Ok(written.map_err(|error| cannot(&format!("it could not be written: {error}")))?)
}
