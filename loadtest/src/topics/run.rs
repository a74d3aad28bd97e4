//! A run: subscribers are all there before the first message, publishers follow the schedule, and
//! the end waits until everybody has everything.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use super::Job;
use super::publisher::{self, Sent};
use super::report;
use super::thread::{self, Ends, Share};
use crate::engine::clock::{Clock, nanos};
use crate::engine::worker::Times;
use crate::environment::Counters;
use crate::environment::counters::Change;
use crate::limits::{START_AHEAD, TOPIC_MESSAGES_MAX};
use crate::rate::schedule::{Schedule, bits};
use crate::report::model::Report;

/// What a run found.
pub struct Outcome {
    /// Start, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Length of the set-up.
    pub set_up: Duration,
    /// Its times.
    pub times: Times,
    /// Publications intended in the measured phase.
    pub offered: u64,
    /// When the last thread was done, in nanoseconds of the same clock.
    pub drained_at: u64,
    /// What threads of subscribers found.
    pub shares: Vec<Share>,
    /// What publishers did.
    pub sent: Vec<Sent>,
    /// Counters of the machine over the run.
    pub change: Change,
}

/// One thread that was started.
struct Started<'scope, T> {
    begin: Sender<Times>,
    handle: ScopedJoinHandle<'scope, anyhow::Result<T>>,
}

/// Runs it; the error is of the set-up.
pub fn run(job: &Arc<Job>) -> anyhow::Result<Report> {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock = Clock::start();
    let run = bits(job.seed, nanos(unix));
    let limit = usize::try_from(TOPIC_MESSAGES_MAX).unwrap_or(usize::MAX);
    let schedule = Schedule::new(job.arrivals.clone(), &job.profile(), job.seed, 0, 1);
    let dues: Vec<u64> = schedule.map(|due| due.at).take(limit).collect();
    let ends = Ends::new();
    let mut outcome = std::thread::scope(|scope| threads(scope, job, (clock, run), &dues, &ends))?;
    outcome.started_unix_ms = u64::try_from(unix.as_millis()).unwrap_or(0);
    Ok(report::report(job, outcome))
}

fn threads<'scope>(
    scope: &'scope Scope<'scope, '_>,
    job: &'scope Arc<Job>,
    run: (Clock, u64),
    dues: &'scope [u64],
    ends: &'scope Ends,
) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let clock = run.0;
    let (ready, readiness) = mpsc::channel();
    let mut subscribers = Vec::new();
    for index in 0..job.threads {
        let ready = ready.clone();
        subscribers.push(start(scope, format!("topics-{index}"), move |times| {
            thread::run(job, index, run, &ready, &times, ends)
        })?);
    }
    let mut publishers = Vec::new();
    for index in 0..job.publishers {
        let ready = ready.clone();
        publishers.push(start(scope, format!("publish-{index}"), move |times| {
            publisher::run(job, index, run, dues, &ready, &times)
        })?);
    }
    drop(ready);
    let all = subscribers.len() + publishers.len();
    let mut is_ready = 0;
    for outcome in readiness.iter().take(all) {
        outcome?;
        is_ready += 1;
    }
    if is_ready < all {
        bail!("a thread came to an unexpected end");
    }
    let before = Counters::read(job.server);
    let start = clock.now() + nanos(START_AHEAD);
    let measure = start + nanos(job.warm_up);
    let times = Times { start, measure, end: measure + nanos(job.duration) };
    let begins = subscribers.iter().map(|one| &one.begin);
    for begin in begins.chain(publishers.iter().map(|one| &one.begin)) {
        // A thread that is gone is noticed when it is joined.
        let _ = begin.send(times);
    }
    let sent = publishers.into_iter().map(join).collect::<Vec<_>>();
    let sent = sent.into_iter().collect::<anyhow::Result<Vec<_>>>();
    // Also when a publisher failed: subscribers wait for it.
    let _ = ends.set(last_places(job, sent.as_deref().unwrap_or_default()));
    let shares = subscribers.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Outcome {
        started_unix_ms: 0,
        set_up: began.elapsed().saturating_sub(Duration::from_nanos(clock.now() - start)),
        times,
        offered: dues.iter().filter(|due| start + **due >= measure).count() as u64,
        drained_at: clock.now(),
        shares,
        sent: sent?,
        change: Counters::read(job.server).since(&before),
    })
}

fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    work: impl FnOnce(mpsc::Receiver<Times>) -> anyhow::Result<T> + Send + 'scope,
) -> anyhow::Result<Started<'scope, T>> {
    let (begin, begins) = mpsc::channel();
    let handle = std::thread::Builder::new()
        .name(name)
        .spawn_scoped(scope, move || work(begins))
        .context("starting a thread")?;
    Ok(Started { begin, handle })
}

fn join<T>(started: Started<'_, T>) -> anyhow::Result<T> {
    match started.handle.join() {
        Ok(result) => result,
        Err(_) => bail!("a thread ended in a panic"),
    }
}

/// The last message of each topic; number 0 where none was published.
fn last_places(job: &Job, sent: &[Sent]) -> Vec<(u64, u64)> {
    let mut last = vec![(0, 0); job.paths.len()];
    for placed in sent.iter().flat_map(|sent| &sent.placed) {
        last[placed.topic] = placed.place.max(last[placed.topic]);
    }
    last
}
