//! Exit codes: what a script can tell from the end of a run.

use std::fmt;
use std::process::ExitCode;

use crate::http;
use crate::report::verdict;

/// The exit codes, for `--help`.
pub const HELP: &str = "\
Exit codes:
  0  the run is valid and every threshold held
  1  another error; the sentence on standard error says which
  2  a wrong flag
  3  INVALID: the numbers are not to be believed, the report says why
  4  valid, but a threshold did not hold (compare: a regression)
  5  a report could not be written
  6  the target could not be reached: refused, no route, nobody answered
  7  the target's answers are unusable: not HTTP, truncated, every request failed
  130  stopped by SIGINT; the report covers what was measured until then";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Valid, and every threshold held.
    Good,
    /// Valid, but a threshold did not hold.
    Failed,
    /// Not to be believed.
    Invalid,
    /// Stopped early.
    Interrupted,
}

impl From<verdict::Ending> for Ending {
    fn from(ending: verdict::Ending) -> Self {
        match ending {
            verdict::Ending::Good => Self::Good,
            verdict::Ending::Failed => Self::Failed,
            verdict::Ending::Invalid => Self::Invalid,
        }
    }
}

/// An error with an exit code of its own; the text is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A wrong flag, or flags that do not fit together.
    Usage(String),
    /// A report could not be written.
    Report(String),
    /// The target could not be reached.
    Unreachable(String),
    /// The target's answers are unusable.
    Unusable(String),
}

impl Failure {
    /// The failure that stands for a request to `what` that went wrong before the run.
    pub fn of_request(what: &str, error: &http::Error) -> Self {
        let sentence = format!("{what}: {error}");
        match error {
            http::Error::Refused
            | http::Error::Connect(_)
            | http::Error::ConnectTimeout
            | http::Error::Timeout => Self::Unreachable(sentence),
            _ => Self::Unusable(sentence),
        }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Report(_) => 5,
            Self::Unreachable(_) => 6,
            Self::Unusable(_) => 7,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text)
        | Self::Report(text)
        | Self::Unreachable(text)
        | Self::Unusable(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Failure {}

/// The exit code of a command; prints the sentence of an error.
pub fn code(result: anyhow::Result<Ending>) -> ExitCode {
    match result {
        Ok(Ending::Good) => ExitCode::SUCCESS,
        Ok(Ending::Invalid) => ExitCode::from(3),
        Ok(Ending::Failed) => ExitCode::from(4),
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(error.downcast_ref::<Failure>().map_or(1, Failure::code))
        }
    }
}
