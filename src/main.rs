//! The `headwater` program: arguments to command.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater::cli::run()
}
