//! What a run is to do, decided before it starts and the same for all threads.

use std::net::SocketAddr;
use std::time::Duration;

use super::source::Source;
use crate::rate::{Arrivals, Profile};
use crate::sys::thread;

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host and port as given.
    pub authority: String,
    /// Its address.
    pub address: SocketAddr,
    /// Its bodies are large: they are thrown away inside the kernel.
    pub bulk: bool,
}

/// Comparing bodies with what `prepare` uploaded.
#[derive(Clone, Copy, Debug)]
pub struct Verification {
    /// One request of so many is compared.
    pub every: u64,
    /// Seed of the objects.
    pub seed: u64,
}

/// When requests are sent.
#[derive(Clone, Debug)]
pub enum Mode {
    /// By a schedule.
    Open {
        /// Distribution of the gaps.
        arrivals: Arrivals,
        /// Rate over time, warm-up included.
        profile: Profile,
        /// Spin instead of sleeping until the next request is due.
        busy: bool,
    },
    /// Whenever a connection is free.
    Closed,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the view calls it, where it is one run of several; may be empty.
    pub label: String,
    /// Where to.
    pub targets: Vec<Target>,
    /// What to ask for.
    pub sources: Vec<Source>,
    /// Names of the operations.
    pub operations: Vec<String>,
    /// When.
    pub mode: Mode,
    /// Connections of all threads.
    pub connections: usize,
    /// Threads; each holds its share of the connections.
    pub threads: usize,
    /// CPU of each thread; empty: wherever the kernel puts them.
    pub cpus: Vec<usize>,
    /// Seed of the schedule and of every choice.
    pub seed: u64,
    /// Time for one request, from the moment it was looked at.
    pub timeout: Duration,
    /// Requests under way or waiting at once, of all threads; more are shed.
    pub in_flight_max: usize,
    /// Length of the warm-up.
    pub warm_up: Duration,
    /// Length of the measured phase.
    pub duration: Duration,
    /// Longest wait for what is under way at the end.
    pub drain: Duration,
    /// Length of the bare clock loop before the load, and again behind it.
    pub bare: Duration,
    /// Lateness at p99.9 that was allowed by a flag, instead of the usual bound.
    pub lateness_allowed: Option<Duration>,
    /// Process of the server, when it runs on this machine.
    pub server: Option<u32>,
    /// Which bodies are compared.
    pub verification: Option<Verification>,
}

impl Plan {
    /// Whether requests follow a schedule.
    pub fn is_open(&self) -> bool {
        matches!(self.mode, Mode::Open { .. })
    }

    /// Whether threads spin.
    pub fn is_busy(&self) -> bool {
        matches!(self.mode, Mode::Open { busy: true, .. })
    }

    /// The CPUs on which servers of this machine may run: those that pinned threads leave free.
    pub fn server_cpus(&self) -> Vec<usize> {
        let is_local = self.targets.iter().any(|target| target.address.ip().is_loopback());
        let free = thread::cpus().into_iter().filter(|cpu| !self.cpus.contains(cpu));
        if is_local && !self.cpus.is_empty() { free.collect() } else { Vec::new() }
    }

    /// The share of `whole` that falls to `thread`.
    pub fn share(&self, whole: usize, thread: usize) -> usize {
        whole / self.threads + usize::from(thread < whole % self.threads)
    }
}
