//! The collecting side: turns the intervals of all threads into the series, and feeds the view.
//!
//! Runs on the thread that started the run, away from the CPUs of the load. Gives histograms back
//! empty, so that the loading threads allocate nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::clock::Clock;
use super::record::{Interval, Live, Recorder};
use super::worker::{Times, Usage};
use crate::report::latency::Latency;
use crate::report::model::Second;
use crate::report::progress::{CONNECT, DRAIN, MEASURE, Snapshot, WARM_UP};
use crate::report::series;

/// What a loading thread says.
pub enum Message {
    /// Connected, and the bare clock loop is over.
    Ready(Option<Latency>),
    /// An interval is over.
    Interval(Interval),
    /// The thread is done; its second bare clock loop.
    Done(Box<Recorder>, Usage, Option<Latency>),
    /// The thread cannot go on, in words.
    Failed(String),
}

/// Intervals of all threads, merged by their number.
pub struct Series {
    names: Vec<String>,
    open: bool,
    length_s: f64,
    pending: BTreeMap<u64, Interval>,
    /// Last interval of each thread that came.
    seen: VecDeque<u64>,
    threads: usize,
    done: Vec<Second>,
}

impl Series {
    /// A series for operations called `names`, of `length_s` seconds.
    pub fn new(names: &[String], open: bool, threads: usize, length_s: f64) -> Self {
        Self {
            names: names.to_vec(),
            open,
            length_s,
            pending: BTreeMap::new(),
            seen: VecDeque::new(),
            threads,
            done: Vec::new(),
        }
    }

    /// Takes an interval in; its histograms come back empty. The latest whole second goes to
    /// `board`.
    pub fn add(&mut self, mut interval: Interval, board: &Board) -> Vec<Latency> {
        let number = interval.number;
        match self.pending.get_mut(&number) {
            Some(sum) => add(sum, &interval),
            None => {
                let latency = interval.latency.clone();
                let mine = Interval { latency, ..counts_of(&interval) };
                self.pending.insert(number, mine);
            }
        }
        self.seen.push_back(number);
        if self.seen.len() > self.threads {
            self.seen.pop_front();
        }
        // Threads roll at the same time: what is two seconds older than the newest is complete.
        while let Some((oldest, _)) = self.pending.first_key_value()
            && *oldest + 1 < self.seen.iter().copied().min().unwrap_or(0)
            && let Some((_, over)) = self.pending.pop_first()
        {
            board.show(&over);
            self.push(over);
        }
        interval.latency.iter_mut().for_each(Latency::clear);
        interval.latency
    }

    /// The whole series.
    pub fn finish(mut self) -> Vec<Second> {
        while let Some((_, over)) = self.pending.pop_first() {
            self.push(over);
        }
        self.done
    }

    fn push(&mut self, over: Interval) {
        let at_s = over.number as f64;
        let latency = self.names.iter().cloned().zip(over.latency.iter().map(Latency::pack));
        self.done.push(Second {
            at_s,
            width_s: (self.length_s - at_s).clamp(0.001, 1.0),
            offered: if self.open { over.offered } else { over.achieved + over.failed },
            achieved: over.achieved,
            failed: over.failed,
            shed: over.shed,
            bytes: over.bytes,
            in_flight: over.in_flight,
            lateness_max_ns: self.open.then_some(over.lateness_max),
            latency: latency.collect(),
            ..Second::default()
        });
        series::coalesce(&mut self.done, series::SECONDS_MAX);
    }
}

fn counts_of(interval: &Interval) -> Interval {
    Interval { latency: Vec::new(), ..*interval }
}

fn add(sum: &mut Interval, more: &Interval) {
    sum.offered += more.offered;
    sum.achieved += more.achieved;
    sum.failed += more.failed;
    sum.shed += more.shed;
    sum.bytes += more.bytes;
    sum.in_flight += more.in_flight;
    sum.lateness_max = sum.lateness_max.max(more.lateness_max);
    sum.latency.iter_mut().zip(&more.latency).for_each(|(sum, more)| sum.add(more));
}

/// What the view shows.
pub struct Board {
    clock: Clock,
    open: bool,
    label: String,
    live: Vec<Arc<Live>>,
    times: Mutex<Option<Times>>,
    recent: Mutex<Latency>,
}

impl Board {
    /// A board for so many threads; `label` names a run that is one of several.
    pub fn new(clock: Clock, open: bool, threads: usize, label: &str) -> Self {
        let live = (0..threads).map(|_| Arc::new(Live::default())).collect();
        let (label, times) = (label.to_owned(), Mutex::new(None));
        Self { clock, open, label, live, times, recent: Mutex::new(Latency::new()) }
    }

    /// The counts of one thread.
    pub fn live(&self, thread: usize) -> Arc<Live> {
        Arc::clone(&self.live[thread])
    }

    /// The load begins.
    pub fn begin(&self, times: Times) {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = Some(times);
    }

    fn show(&self, interval: &Interval) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.clear();
        interval.latency.iter().for_each(|latency| recent.add(latency));
    }

    /// The state of the run at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let sum = |of: fn(&Live) -> u64| self.live.iter().map(|live| of(live)).sum::<u64>();
        let offered = sum(|live| live.offered.load(Ordering::Relaxed));
        let now = self.clock.now();
        let times = *self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let (phase, elapsed, total) = match times {
            None => (CONNECT, 0, 1),
            Some(times) => {
                let phase = match now {
                    now if now < times.measure => WARM_UP,
                    now if now < times.end => MEASURE,
                    _ => DRAIN,
                };
                (phase, now.saturating_sub(times.start), times.end - times.start)
            }
        };
        Snapshot {
            phase,
            label: self.label.clone(),
            elapsed_s: elapsed as f64 / 1e9,
            total_s: total as f64 / 1e9,
            offered: self.open.then_some(offered),
            achieved: sum(|live| live.achieved.load(Ordering::Relaxed)),
            failed: sum(|live| live.failed.load(Ordering::Relaxed)),
            in_flight: sum(|live| live.in_flight.load(Ordering::Relaxed)),
            viewers: sum(|live| live.viewers.load(Ordering::Relaxed)),
            stalled: sum(|live| live.stalled.load(Ordering::Relaxed)),
            recent: self.recent.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
