//! Measures of the tiers: cold reads beside nginx, uploads beside nginx and beside the bare calls,
//! a million small objects.
//!
//! `scripts/cold-reads`, `scripts/ingest-rate` and `scripts/million` build this program and start
//! it. The server under measurement has core 0 and a control group of its own, which bounds its
//! memory and counts its CPU time; what asks it has core 1.
//!
//! **Invariants**: an answer with another status or length than expected ends the run; every
//! process and control group that was made is gone at the end; one table a command, on stdout.

mod client;
mod cold;
mod group;
mod ingest;
mod million;
mod server;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Any error ends the measurement with one sentence.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Measure the tiers.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Where the binaries are (given by the scripts).
    #[arg(long, global = true, hide = true, default_value = "target/release")]
    target: PathBuf,
    /// A folder on the disk that is measured (given by the scripts).
    #[arg(long, global = true, hide = true, default_value = "target/tiers")]
    work: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Reads of files that memory does not have, by Zipf, beside nginx.
    Cold(cold::Plan),
    /// Uploads of 256 KiB, beside nginx and beside the bare calls.
    Ingest(ingest::Plan),
    /// Objects of 1 KiB: memory for each, listings, the start.
    Million(million::Plan),
}

/// What all measures share.
pub struct Bench {
    /// Folder of the binaries.
    pub target: PathBuf,
    /// Scratch folder on the disk that is measured.
    pub work: PathBuf,
}

fn main() {
    let arguments = Arguments::parse();
    let bench = Bench { target: arguments.target, work: arguments.work };
    let done = match arguments.command {
        Command::Cold(plan) => cold::run(&bench, &plan),
        Command::Ingest(plan) => ingest::run(&bench, &plan),
        Command::Million(plan) => million::run(&bench, &plan),
    };
    if let Err(error) = done {
        eprintln!("tiers: {error}");
        std::process::exit(1);
    }
}
