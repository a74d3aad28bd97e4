//! One run: starts the threads, gives them a common start, gathers what they measured.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::Scope;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use super::clock::{Clock, bare_loop, nanos};
use super::collect::{Board, Message, Series};
use super::plan::{Mode, Plan};
use super::record::{Inside, Recorder, Side, Slow, Totals};
use super::worker::{Times, Usage, Worker};
use crate::environment::Counters;
use crate::environment::counters::Change;
use crate::limits::{INTERVALS_SPARE, START_AHEAD};
use crate::report::latency::Latency;
use crate::report::model::Second;
use crate::report::progress::View;
use crate::sys::thread;

/// What a run found.
pub struct Outcome {
    /// Start, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Its times.
    pub times: Times,
    /// End of the drain, in nanoseconds of the same clock.
    pub drained_at: u64,
    /// By operation.
    pub totals: Vec<Totals>,
    /// Connects, warm-up, drain.
    pub connects: Side,
    /// See `connects`.
    pub warm_up: Side,
    /// See `connects`.
    pub drained: Side,
    /// Requests intended in the measured phase.
    pub offered: u64,
    /// Requests that ended within the measured phase.
    pub inside: Inside,
    /// The slowest requests, slowest first.
    pub slow: Vec<Slow>,
    /// By second.
    pub series: Vec<Second>,
    /// What each thread used.
    pub usage: Vec<Usage>,
    /// Counters of the machine over the measured phase; `None` when it was too short to tell.
    pub change: Option<Change>,
    /// The bare clock loops.
    pub bare: Latency,
    /// Whether the run was stopped early.
    pub interrupted: bool,
}

/// One thread's ends of the channels.
struct Lines {
    thread: usize,
    clock: Clock,
    messages: Sender<Message>,
    times: Receiver<Times>,
    empty: Receiver<Vec<Latency>>,
}

/// Runs a plan to its end, or until SIGINT.
pub fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    keep_off(&plan.cpus);
    let clock = Clock::start();
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let board = Arc::new(Board::new(clock, plan.is_open(), plan.threads, &plan.label));
    std::thread::scope(|scope| {
        let (messages, incoming) = mpsc::channel();
        let mut threads = Vec::new();
        for thread in 0..plan.threads {
            let (times_to, times) = mpsc::channel();
            let (empty_to, empty) = mpsc::channel();
            for _ in 0..INTERVALS_SPARE {
                let mut spare = vec![Latency::new(); plan.operations.len()];
                // Writes all its memory: no page fault within the run.
                spare.iter_mut().for_each(Latency::clear);
                // The receiver is right here.
                let _ = empty_to.send(spare);
            }
            let lines = Lines { thread, clock, messages: messages.clone(), times, empty };
            spawn(scope, plan, lines, &board)?;
            threads.push((times_to, empty_to));
        }
        drop(messages);
        let mut outcome = gather(plan, clock, &board, &incoming, &threads)?;
        outcome.started_unix_ms = u64::try_from(started.as_millis()).unwrap_or(0);
        Ok(outcome)
    })
}

/// Moves this thread, and those of the view, away from the CPUs of the load.
fn keep_off(cpus: &[usize]) {
    let others: Vec<usize> = thread::cpus().into_iter().filter(|cpu| !cpus.contains(cpu)).collect();
    if !cpus.is_empty() && !others.is_empty() {
        // Where it is not allowed, the kernel places the thread.
        let _ = thread::pin(&others);
    }
}

fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    plan: &'scope Plan,
    lines: Lines,
    board: &Arc<Board>,
) -> anyhow::Result<()> {
    let live = board.live(lines.thread);
    let name = format!("load-{}", lines.thread);
    let work = move || {
        let messages = lines.messages.clone();
        let Lines { thread, clock, times, empty, .. } = lines;
        let recorder = Recorder::new(
            thread,
            plan.operations.len(),
            plan.is_open(),
            nanos(plan.timeout),
            live,
            messages.clone(),
            empty,
        );
        let last = match load(plan, thread, clock, recorder, &times, &messages) {
            Ok(last) => last,
            Err(error) => Message::Failed(format!("load thread {thread}: {error:#}")),
        };
        // Nobody listens when another thread has failed.
        let _ = messages.send(last);
    };
    std::thread::Builder::new()
        .name(name)
        .spawn_scoped(scope, work)
        .context("starting a thread")?;
    Ok(())
}

/// The life of one thread.
fn load(
    plan: &Plan,
    index: usize,
    clock: Clock,
    recorder: Recorder,
    times: &Receiver<Times>,
    messages: &Sender<Message>,
) -> anyhow::Result<Message> {
    if let Some(cpu) = plan.cpus.get(index % plan.cpus.len().max(1)) {
        thread::pin(&[*cpu]).with_context(|| format!("pinning to CPU {cpu}"))?;
    }
    thread::exact_timers();
    let mut worker = Worker::new(plan, index, clock, recorder).context("setting up io_uring")?;
    worker.connect_all().context("connecting")?;
    // The receiver is gone only when another thread has failed.
    let _ = messages.send(Message::Ready(bare(plan, index)));
    let Ok(times) = times.recv() else { bail!("another thread failed") };
    let (recorder, usage) = worker.run(times)?;
    Ok(Message::Done(Box::new(recorder), usage, bare(plan, index)))
}

/// Runs `work` while `cpus` are kept busy: under load the server's cores are, and cores that share
/// a package, or a host, disturb each other.
fn beside_busy<T>(cpus: &[usize], work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for &cpu in cpus {
            let is_over = &is_over;
            scope.spawn(move || {
                // Where it may not be pinned it spins wherever it is.
                let _ = thread::pin(&[cpu]);
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        result
    })
}

/// The bare clock loop at this thread's share of the rate; not without a schedule.
fn bare(plan: &Plan, thread: usize) -> Option<Latency> {
    match &plan.mode {
        Mode::Open { profile, .. } if !plan.bare.is_zero() && !thread::stopped() => {
            let rate = profile.requests() / profile.seconds() / plan.threads as f64;
            let others = if thread == 0 { plan.server_cpus() } else { Vec::new() };
            Some(beside_busy(&others, || bare_loop(rate, plan.bare, plan.seed ^ thread as u64)))
        }
        _ => None,
    }
}

fn gather(
    plan: &Plan,
    clock: Clock,
    board: &Arc<Board>,
    incoming: &Receiver<Message>,
    threads: &[(Sender<Times>, Sender<Vec<Latency>>)],
) -> anyhow::Result<Outcome> {
    let mut bare = Latency::new();
    for _ in threads {
        match incoming.recv()? {
            Message::Ready(lateness) => lateness.iter().for_each(|other| bare.add(other)),
            Message::Failed(why) => bail!(why),
            _ => bail!("a thread spoke out of turn"),
        }
    }
    let start = clock.now() + nanos(START_AHEAD);
    let measure = start + nanos(plan.warm_up);
    let times = Times { start, measure, end: measure + nanos(plan.duration) };
    board.begin(times);
    let shown = Arc::clone(board);
    let view = View::start(move || shown.snapshot());
    for (to, _) in threads {
        to.send(times).context("a thread is gone")?;
    }
    let mut outcome = Outcome::new(plan, times, bare);
    let length_s = plan.duration.as_secs_f64();
    let mut series = Series::new(&plan.operations, plan.is_open(), plan.threads, length_s);
    let mut left = threads.len();
    let mut counting = Counting::new(plan.server, times);
    while left > 0 {
        let message = match incoming.recv_timeout(counting.look(clock.now())) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(error) => return Err(error.into()),
        };
        match message {
            Message::Interval(interval) => {
                let (_, to) = &threads[interval.thread];
                // A thread that is done needs none.
                let _ = to.send(series.add(interval, board));
            }
            Message::Done(recorder, usage, lateness) => {
                left -= 1;
                outcome.add(*recorder, usage, &mut series, board);
                lateness.iter().for_each(|other| outcome.bare.add(other));
            }
            Message::Failed(why) => bail!(why),
            Message::Ready(_) => bail!("a thread spoke out of turn"),
        }
    }
    drop(view);
    outcome.change = counting.finish();
    outcome.series = series.finish();
    outcome.slow.sort_by_key(|slow| Reverse(slow.took));
    outcome.interrupted = thread::stopped();
    Ok(outcome)
}

impl Outcome {
    fn new(plan: &Plan, times: Times, bare: Latency) -> Self {
        Self {
            started_unix_ms: 0,
            times,
            drained_at: 0,
            totals: vec![Totals::default(); plan.operations.len()],
            connects: Side::default(),
            warm_up: Side::default(),
            drained: Side::default(),
            offered: 0,
            inside: Inside::default(),
            slow: Vec::new(),
            series: Vec::new(),
            usage: Vec::new(),
            change: None,
            bare,
            interrupted: false,
        }
    }

    fn add(&mut self, mut recorder: Recorder, usage: Usage, series: &mut Series, board: &Board) {
        series.add(recorder.last_interval(), board);
        self.totals.iter_mut().zip(&recorder.totals).for_each(|(sum, more)| sum.add(more));
        self.connects.add(&recorder.connects);
        self.warm_up.add(&recorder.warm_up);
        self.drained.add(&recorder.drained);
        self.offered += recorder.offered;
        self.inside.add(recorder.inside);
        self.slow.extend(recorder.slow.drain().map(|slow| slow.0));
        self.drained_at = self.drained_at.max(usage.drained_at);
        self.usage.push(usage);
        self.times.end = self.times.end.min(recorder.end());
    }
}

/// Reads the counters of the machine at the start and the end of the measured phase.
struct Counting {
    server: Option<u32>,
    times: Times,
    before: Option<Counters>,
    change: Option<Change>,
}

impl Counting {
    fn new(server: Option<u32>, times: Times) -> Self {
        Self { server, times, before: None, change: None }
    }

    /// Reads what is due; how long until the next look.
    fn look(&mut self, now: u64) -> Duration {
        if now >= self.times.measure && self.before.is_none() {
            self.before = Some(Counters::read(self.server));
        }
        if now >= self.times.end && self.change.is_none() {
            self.read_end();
        }
        let next = if self.before.is_none() { self.times.measure } else { self.times.end };
        match next.saturating_sub(now) {
            0 => Duration::from_secs(1),
            left => Duration::from_nanos(left),
        }
    }

    fn read_end(&mut self) {
        let now = Counters::read(self.server);
        self.change = self.before.as_ref().map(|before| now.since(before));
    }

    fn finish(mut self) -> Option<Change> {
        if self.change.is_none() {
            self.read_end();
        }
        self.change
    }
}
