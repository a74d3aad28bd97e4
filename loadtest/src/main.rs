//! The load generator: tail latency that one can believe, and how many viewers an origin holds.
//!
//! Shares no code with the origin: a fault in both would cancel out. Each way of loading is a
//! subcommand; each ends in one report (`report::model`) and an exit code.

fn main() -> std::process::ExitCode {
    loadtest::cli::run()
}
