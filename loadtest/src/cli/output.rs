//! What every command does with its report: gates, summary, files, exit code.
//!
//! Files are written beside their place and renamed, so that a full disk leaves no half report.

use std::fs;
use std::path::Path;

use super::{Ending, Failure};
use crate::report::model::Report;
use crate::report::{self, terminal, threshold, verdict};

/// Flags of the report.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Output {
    /// Write a report; its ending names the form: .json, .ndjson, .html, .hgrm, .hlog, .csv, .txt
    #[arg(long = "report", value_name = "FILE", help_heading = "Report")]
    pub files: Vec<String>,
    /// A gate for the exit code: `p99<5ms`, `errors<0.01%`, `segment.p99.9<=80ms`
    #[arg(long = "threshold", value_name = "GATE", help_heading = "Report")]
    pub thresholds: Vec<String>,
}

impl Output {
    /// Finds wrong flags before a run, not behind it.
    pub fn check(&self) -> Result<(), Failure> {
        for expression in &self.thresholds {
            threshold::parse(expression).map_err(Failure::Usage)?;
        }
        for file in &self.files {
            report::render(&Report::new("", ""), file).map_err(Failure::Usage)?;
            let folder = Path::new(file).parent().filter(|path| !path.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(Failure::Usage(format!("report `{file}`: its folder does not exist")));
            }
        }
        Ok(())
    }

    /// Holds the gates against the report, prints the summary and writes the files.
    pub fn finish(&self, mut report: Report) -> anyhow::Result<Ending> {
        report.thresholds.extend(threshold::evaluate(&self.thresholds, &report));
        print!("{}", terminal::write(&report));
        for file in &self.files {
            write(&report, file).map_err(Failure::Report)?;
        }
        if report.verdict.interrupted {
            return Ok(Ending::Interrupted);
        }
        Ok(verdict::ending(&report).into())
    }
}

fn write(report: &Report, file: &str) -> Result<(), String> {
    let text = report::render(report, file)?;
    let beside = format!("{file}.partial");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, file));
    written.map_err(|error| {
        // What is left of it says nothing; a failure to remove it changes nothing.
        let _ = fs::remove_file(&beside);
        format!("report `{file}` could not be written: {error}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_flags_are_found_before_the_run() {
        let check = |file: &str, gate: &str| {
            let output = Output { files: vec![file.to_owned()], thresholds: vec![gate.to_owned()] };
            output.check().map_err(|failure| failure.to_string())
        };
        assert!(check("r.json", "p99<5ms").is_ok());
        assert!(check("r.doc", "p99<5ms").unwrap_err().contains("must end in"));
        assert!(check("r.json", "p99=5ms").unwrap_err().contains("no `<`"));
        assert!(check("/no/where/r.json", "p99<5ms").unwrap_err().contains("folder"));
    }

    #[test]
    fn a_full_disk_is_a_sentence_and_leaves_nothing() {
        let error = write(&Report::new("rate", "x"), "/dev/full/r.json").unwrap_err();
        assert!(error.contains("could not be written"), "{error}");
        let folder = std::env::temp_dir().join(format!("loadtest-output-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("r.json");
        write(&Report::new("rate", "x"), file.to_str().unwrap()).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
