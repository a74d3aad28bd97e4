//! Everything that decides what a live run does.

use std::net::SocketAddr;
use std::time::Duration;

use super::arrivals::Arrivals;
pub use super::cmcd::Cmcd;
use super::sessions::Sessions;
use crate::player::viewer::{Kind, Settings};

/// Names of the operations, by [`operation`].
pub const OPERATIONS: [&str; 6] = ["master", "playlist", "blocking", "init", "segment", "part"];

/// The place of a kind in [`OPERATIONS`].
pub fn operation(kind: Kind) -> u32 {
    match kind {
        Kind::Master => 0,
        Kind::Playlist => 1,
        Kind::Blocking => 2,
        Kind::Init => 3,
        Kind::Segment => 4,
        Kind::Part => 5,
    }
}

/// A live run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the view calls it, where it is one run of several; may be empty.
    pub label: String,
    /// Host and port, the value of the Host header.
    pub authority: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Manifests, as path and query; viewers choose among them.
    pub manifests: Vec<String>,
    /// How the players are set.
    pub settings: Settings,
    /// Caches instead of people: each takes all of so many levels, and never leaves.
    pub edge: Option<usize>,
    /// Number of viewers (or of caches).
    pub viewers: u64,
    /// How they arrive.
    pub arrivals: Arrivals,
    /// Time over which they arrive.
    pub ramp: Duration,
    /// What they are like.
    pub sessions: Sessions,
    /// Connections that one viewer may hold.
    pub connections: usize,
    /// How CMCD is sent.
    pub cmcd: Cmcd,
    /// One segment of so many is verified; 0 for none.
    pub verify_every: u64,
    /// Time before the measured phase; requests in it are not counted, experience is.
    pub warm_up: Duration,
    /// The measured phase.
    pub duration: Duration,
    /// Threads.
    pub threads: usize,
    /// CPU of each thread.
    pub cpus: Vec<usize>,
    /// Lateness at p99.9 that was allowed by a flag, instead of the usual bound.
    pub lateness_allowed: Option<Duration>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Process of the server, to report its CPU time.
    pub server: Option<u32>,
}
