//! Runs the binary under test and reads the report that it wrote.

#![allow(dead_code, clippy::unwrap_used)]

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use loadtest::report::json;
use loadtest::report::model::Report;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// What one run of the binary left.
pub struct Ended {
    /// Exit code.
    pub code: i32,
    /// The report, when one was written.
    pub report: Option<Report>,
    /// Both outputs.
    pub text: String,
}

impl Ended {
    /// The report; ends the test with what was printed when there is none.
    #[track_caller]
    pub fn report(&self) -> &Report {
        self.report.as_ref().unwrap_or_else(|| panic!("no report: {}", self.text))
    }
}

/// Runs `loadtest` with `words`, divided at spaces.
pub fn loadtest(words: &str) -> Ended {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("loadtest-{}-{count}.json", std::process::id());
    let file = std::env::temp_dir().join(name);
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(words.split(' ').filter(|word| !word.is_empty()))
        .args(["--report", file.to_str().unwrap()])
        .output()
        .unwrap();
    let report = std::fs::read_to_string(&file).ok();
    let _ = std::fs::remove_file(&file);
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let report = report.map(|text| json::read("report", &text).unwrap());
    Ended { code: output.status.code().unwrap_or(-1), report, text }
}
