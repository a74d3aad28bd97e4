//! The exit codes of the process, in one place; `--help` and the manual list the same.

use std::process::ExitCode;

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: stopped cleanly, every answer under way was finished; or all was done.
    Clean,
    /// 1: the start was refused or failed, or a thread died; a command did not do all it was asked.
    Failed,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: the drain's deadline cut connections off.
    CutOff,
    /// 128 + number: a second signal ended the process at once (130 for SIGINT, 143 for SIGTERM).
    Signal(u8),
}

impl Exit {
    /// The number that the parent process sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::CutOff => 3,
            Self::Signal(number) => 128_u8.saturating_add(number),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_follow_the_shells_habit() {
        let exits = [Exit::Clean, Exit::Failed, Exit::Usage, Exit::CutOff, Exit::Signal(2)];
        assert_eq!(exits.map(Exit::code), [0, 1, 2, 3, 130]);
        assert_eq!(Exit::Signal(15).code(), 143);
    }
}
