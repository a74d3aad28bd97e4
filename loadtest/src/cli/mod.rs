//! The command line: one subcommand for each way of loading, and the exit codes.
//!
//! To add a subcommand: a `mod` line and a line in `commands!`; its module has `Args` and
//! `run(&Args) -> anyhow::Result<Ending>`.

pub mod audience;
pub mod capacity;
pub mod closed;
pub mod compare;
pub mod exit;
pub mod finish;
pub mod live;
pub mod load;
pub mod merge;
pub mod pace;
pub mod preflight;
pub mod prepare;
pub mod rate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{publish, topics};

pub use exit::{Ending, Failure};

const ABOUT: &str = "Loads HTTP servers and media origins, and says whether its numbers hold";

#[derive(Debug, Parser)]
#[command(name = "loadtest", version, about = ABOUT, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Declares the subcommands: the name in the enum, its module, its help.
macro_rules! commands {
    ($($(#[$help:meta])* $name:ident($module:ident)),* $(,)?) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$help])* #[command(after_help = exit::HELP)] $name($module::Args)),*
        }

        impl Command {
            fn run(&self) -> anyhow::Result<Ending> {
                match self {
                    $(Self::$name(args) => $module::run(args)),*
                }
            }
        }
    };
}

commands! {
    /// Open loop: requests by a schedule that the server cannot move
    Rate(rate),
    /// Closed loop: as fast as the server answers
    Closed(closed),
    /// The largest load that keeps every gate
    Capacity(capacity),
    /// Which of two targets is faster, or that nobody can tell
    Compare(compare),
    /// One report of several generators that loaded the same target at the same time
    Merge(merge),
    /// Uploads seeded objects that `rate` and `closed` compare with --verify
    Prepare(prepare),
    /// A synthetic encoder: PUTs live ladders in real time
    Publish(publish),
    /// Virtual viewers of a live stream: players with a media clock, and what they experience
    Live(live),
    /// Subscribers of real-time topics, and how long messages take to each and to the last
    Topics(topics),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // A usage error, --help and --version end the process here, with 2, 0 and 0.
    let cli = Cli::parse();
    exit::code(cli.command.run())
}
