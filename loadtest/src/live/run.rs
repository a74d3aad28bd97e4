//! One live run: starts the threads, gathers what they found, writes the report.

use std::sync::mpsc::{self, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use super::arrivals::{self, Schedule};
use super::crowd::{Crowd, Present};
use super::deliveries::Deliveries;
use super::experience::Experience;
use super::plan::{OPERATIONS, Plan};
use super::report;
use crate::engine::clock::{Clock, nanos};
use crate::engine::collect::{Board, Message, Series};
use crate::engine::record::{Inside, Recorder, Totals};
use crate::engine::worker::{Times, Usage};
use crate::environment::Counters;
use crate::environment::counters::Change;
use crate::limits::{INTERVALS_SPARE, START_AHEAD};
use crate::report::latency::Latency;
use crate::report::model::{Qoe, Report, Second};
use crate::report::progress::View;
use crate::sys::thread;

/// Time between two looks for threads that are done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a run found.
pub struct Outcome {
    /// Start, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Its times.
    pub times: Times,
    /// By operation, as in [`OPERATIONS`].
    pub totals: Vec<Totals>,
    /// Requests asked for in the measured phase, without those under way at its end.
    pub asked: u64,
    /// Requests that ended within it.
    pub inside: Inside,
    /// By second.
    pub series: Vec<Second>,
    /// What each thread used.
    pub usage: Vec<Usage>,
    /// Connections open, most at once.
    pub connections: usize,
    /// Counters of the machine over the measured phase.
    pub change: Option<Change>,
    /// What viewers experienced.
    pub qoe: Qoe,
    /// First playlist that could not be read.
    pub complaint: Option<String>,
    /// Whether the run was stopped early.
    pub interrupted: bool,
}

/// What a thread says at its end.
struct Part {
    recorder: Box<Recorder>,
    usage: Usage,
    experience: Experience,
    present: Vec<Present>,
    complaint: Option<String>,
    asked: u64,
    connections: usize,
}

/// Everything threads share.
struct Common {
    clock: Clock,
    epoch: u64,
    times: Times,
    schedule: Schedule,
    deliveries: Arc<Mutex<Deliveries>>,
}

/// Runs a plan to its end, or until SIGINT; the report of it.
pub fn run(plan: &Plan, target: &str) -> anyhow::Result<Report> {
    thread::catch_stop();
    let clock = Clock::start();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = clock.now() + nanos(START_AHEAD);
    let measure = start + nanos(plan.warm_up);
    let times = Times { start, measure, end: measure + nanos(plan.duration) };
    let schedule =
        arrivals::schedule(&plan.arrivals, plan.viewers, plan.ramp.as_secs_f64(), plan.seed);
    let deliveries = Arc::new(Mutex::new(Deliveries::default()));
    let common = Common { clock, epoch: nanos(unix), times, schedule, deliveries };
    let board = Arc::new(Board::new(clock, true, plan.threads, &plan.label));
    board.begin(times);
    let mut outcome = std::thread::scope(|scope| threads(scope, plan, &common, &board))?;
    outcome.started_unix_ms = u64::try_from(unix.as_millis()).unwrap_or(0);
    Ok(report::report(plan, outcome, target))
}

fn threads<'scope>(
    scope: &'scope Scope<'scope, '_>,
    plan: &'scope Plan,
    common: &'scope Common,
    board: &Arc<Board>,
) -> anyhow::Result<Outcome> {
    let (messages, incoming) = mpsc::channel();
    let (parts_to, parts) = mpsc::channel();
    let mut empties = Vec::new();
    for index in 0..plan.threads {
        let (empty_to, empty) = mpsc::channel();
        for _ in 0..INTERVALS_SPARE {
            // The receiver is right here.
            let _ = empty_to.send(vec![Latency::new(); OPERATIONS.len()]);
        }
        empties.push(empty_to);
        let live = board.live(index);
        let (messages, parts_to) = (messages.clone(), parts_to.clone());
        let work = move || {
            let recorder = Recorder::new(index, OPERATIONS.len(), true, 0, live, messages, empty);
            // The receiver lives as long as the scope.
            let _ = parts_to.send(live_thread(plan, common, index, recorder));
        };
        std::thread::Builder::new()
            .name(format!("live-{index}"))
            .spawn_scoped(scope, work)
            .context("starting a thread")?;
    }
    drop((messages, parts_to));
    let shown = Arc::clone(board);
    let view = View::start(move || shown.snapshot());
    let names: Vec<String> = OPERATIONS.iter().map(|name| (*name).to_owned()).collect();
    let mut series = Series::new(&names, true, plan.threads, plan.duration.as_secs_f64());
    let mut counting = Counting::new(plan.server, common);
    let mut gathered = Gathered::default();
    // Recorders hold ends of the channel of intervals: threads are counted by their parts.
    while gathered.usage.len() < plan.threads {
        intervals(&incoming, &empties, &mut series, board, &mut counting)?;
        match parts.try_recv() {
            Ok(part) => gathered.add(part?, &mut series, board),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
    }
    drop(view);
    if gathered.usage.len() < plan.threads {
        bail!("a thread of viewers came to an unexpected end");
    }
    Ok(gathered.finish(common, counting.finish(), series))
}

/// Takes in the intervals that come within a moment.
fn intervals(
    incoming: &mpsc::Receiver<Message>,
    empties: &[Sender<Vec<Latency>>],
    series: &mut Series,
    board: &Board,
    counting: &mut Counting,
) -> anyhow::Result<()> {
    match incoming.recv_timeout(counting.look().min(LOOK_EVERY)) {
        Ok(Message::Interval(interval)) => {
            let to = &empties[interval.thread];
            // A thread that is done needs none.
            let _ = to.send(series.add(interval, board));
        }
        Ok(_) => bail!("a thread spoke out of turn"),
        Err(RecvTimeoutError::Timeout) => {}
        // All threads are gone; what they found is in the other channel.
        Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_EVERY),
    }
    Ok(())
}

fn live_thread(
    plan: &Plan,
    common: &Common,
    index: usize,
    recorder: Recorder,
) -> anyhow::Result<Part> {
    if let Some(cpu) = plan.cpus.get(index % plan.cpus.len().max(1)) {
        thread::pin(&[*cpu]).with_context(|| format!("pinning to CPU {cpu}"))?;
    }
    thread::exact_timers();
    let all = Arc::clone(&common.deliveries);
    let mut crowd =
        Crowd::new(plan, index, common.clock, common.epoch, recorder, common.times, all)
            .context("setting up io_uring")?;
    crowd.run(&common.schedule).with_context(|| format!("thread {index} of viewers"))?;
    let (asked, connections) = (crowd.asked(), crowd.connections_max);
    let (recorder, usage, experience, present, complaint) = crowd.into_parts();
    let recorder = Box::new(recorder);
    Ok(Part { recorder, usage, experience, present, complaint, asked, connections })
}

/// What threads found, added up.
#[derive(Default)]
struct Gathered {
    totals: Vec<Totals>,
    usage: Vec<Usage>,
    experience: Experience,
    present: Vec<Present>,
    complaint: Option<String>,
    asked: u64,
    inside: Inside,
    connections: usize,
}

impl Gathered {
    fn add(&mut self, mut part: Part, series: &mut Series, board: &Board) {
        series.add(part.recorder.last_interval(), board);
        self.totals.resize_with(OPERATIONS.len(), Totals::default);
        self.totals.iter_mut().zip(&part.recorder.totals).for_each(|(sum, more)| sum.add(more));
        self.inside.add(part.recorder.inside);
        self.usage.push(part.usage);
        self.experience.add(&part.experience);
        self.asked += part.asked;
        self.connections += part.connections;
        self.complaint = self.complaint.take().or(part.complaint);
        if self.present.len() < part.present.len() {
            self.present.resize_with(part.present.len(), Present::default);
        }
        for (sum, more) in self.present.iter_mut().zip(&part.present) {
            sum.viewers += more.viewers;
            sum.stalled += more.stalled;
        }
    }

    fn finish(self, common: &Common, change: Option<Change>, series: Series) -> Outcome {
        let mut series = series.finish();
        for second in &mut series {
            #[expect(clippy::cast_possible_truncation, reason = "seconds of a run")]
            let at = (second.at_s + second.width_s) as usize;
            let found = self.present.get(at.saturating_sub(1)).or(self.present.last());
            if let Some(found) = found {
                (second.viewers, second.stalled) = (found.viewers, found.stalled);
            }
        }
        let mut all = common.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let deliveries = std::mem::take(&mut *all).finish();
        Outcome {
            started_unix_ms: 0,
            times: common.times,
            totals: self.totals,
            asked: self.asked,
            inside: self.inside,
            series,
            usage: self.usage,
            connections: self.connections,
            change,
            qoe: self.experience.finish(deliveries),
            complaint: self.complaint,
            interrupted: thread::stopped(),
        }
    }
}

/// Reads the counters of the machine at the start and the end of the measured phase.
struct Counting<'a> {
    server: Option<u32>,
    common: &'a Common,
    before: Option<Counters>,
    change: Option<Change>,
}

impl<'a> Counting<'a> {
    fn new(server: Option<u32>, common: &'a Common) -> Self {
        Self { server, common, before: None, change: None }
    }

    /// Reads what is due; how long until the next look.
    fn look(&mut self) -> Duration {
        let (now, times) = (self.common.clock.now(), self.common.times);
        if now >= times.measure && self.before.is_none() {
            self.before = Some(Counters::read(self.server));
        }
        if now >= times.end && self.change.is_none() {
            self.read_end();
        }
        let next = if self.before.is_none() { times.measure } else { times.end };
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
