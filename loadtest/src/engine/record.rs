//! What one thread measured: counts and histograms by operation, and the interval under way.
//!
//! Recording allocates nothing. At the end of an interval its histograms are swapped for empty
//! ones that the collector gave back; when none is there, the interval goes on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use super::collect::Message;
use crate::limits::SAMPLES_KEPT;
use crate::report::latency::Latency;

/// Counts that the live view reads while the thread runs; of the measured phase.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Live {
    /// Requests intended.
    pub offered: AtomicU64,
    /// Requests that ended well.
    pub achieved: AtomicU64,
    /// Requests that failed or were shed.
    pub failed: AtomicU64,
    /// Requests under way.
    pub in_flight: AtomicU64,
    /// Viewers watching at this moment; zero without viewers.
    pub viewers: AtomicU64,
    /// Of them, stalled when they were last counted.
    pub stalled: AtomicU64,
}

/// One request under way; times in nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Job {
    /// Its place in the schedule.
    pub index: u64,
    /// Which source.
    pub source: u32,
    /// Which operation.
    pub operation: u32,
    /// Belongs to the measured phase.
    pub measured: bool,
    /// When it was due.
    pub intended: u64,
    /// When the thread looked at it.
    pub dispatched: u64,
    /// When it was handed to the kernel; 0 before.
    pub written: u64,
    /// When the first bytes came; 0 before.
    pub first_byte: u64,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub struct End {
    /// When.
    pub at: u64,
    /// Body bytes.
    pub bytes: u64,
    /// Status code; 0 without an answer.
    pub status: u16,
    /// Class of the error; `None` when it went well.
    pub error: Option<String>,
    /// Whether the body was compared.
    pub compared: bool,
}

/// One operation, over the whole measured phase.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// See `report::model::Operation`, also for what follows.
    pub completed: u64,
    /// By class.
    pub errors: BTreeMap<String, u64>,
    /// Not sent.
    pub shed: u64,
    /// Body bytes.
    pub bytes: u64,
    /// Bodies compared.
    pub verified: u64,
    /// Dispatched minus intended.
    pub lateness: Latency,
    /// Written minus dispatched.
    pub wait: Latency,
    /// First byte minus written.
    pub first_byte: Latency,
    /// Last byte minus written.
    pub service: Latency,
    /// Last byte minus intended.
    pub response: Latency,
}

impl Totals {
    /// Writes all its memory, so that no first use within the run takes a page fault.
    fn touch(&mut self) {
        let histograms = [
            &mut self.lateness,
            &mut self.wait,
            &mut self.first_byte,
            &mut self.service,
            &mut self.response,
        ];
        histograms.into_iter().for_each(Latency::clear);
    }

    /// Adds what another thread measured.
    pub fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        for (class, count) in &other.errors {
            *self.errors.entry(class.clone()).or_default() += count;
        }
        self.shed += other.shed;
        self.bytes += other.bytes;
        self.verified += other.verified;
        self.lateness.add(&other.lateness);
        self.wait.add(&other.wait);
        self.first_byte.add(&other.first_byte);
        self.service.add(&other.service);
        self.response.add(&other.response);
    }
}

/// One interval of one thread.
#[derive(Debug, Default)]
pub struct Interval {
    /// Which thread.
    pub thread: usize,
    /// Number of the interval since the start of the measured phase.
    pub number: u64,
    /// See `report::model::Second`, also for what follows.
    pub offered: u64,
    /// Ended well.
    pub achieved: u64,
    /// Failed.
    pub failed: u64,
    /// Not sent.
    pub shed: u64,
    /// Body bytes.
    pub bytes: u64,
    /// Under way at its end.
    pub in_flight: u64,
    /// Largest lateness, in nanoseconds.
    pub lateness_max: u64,
    /// Headline latency by operation.
    pub latency: Vec<Latency>,
}

/// Warm-up and drain: counted, with one histogram.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Ended well.
    pub completed: u64,
    /// Did not.
    pub failed: u64,
    /// Response or connect times.
    pub times: Latency,
}

impl Side {
    /// Adds what another thread measured.
    pub fn add(&mut self, other: &Self) {
        self.completed += other.completed;
        self.failed += other.failed;
        self.times.add(&other.times);
    }
}

/// Requests that ended within the measured phase, whenever they were intended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inside {
    /// With a good answer.
    pub good: u64,
    /// Any other way.
    pub failed: u64,
}

impl Inside {
    fn count(&mut self, good: bool) {
        *(if good { &mut self.good } else { &mut self.failed }) += 1;
    }

    /// Adds what another thread counted.
    pub fn add(&mut self, other: Self) {
        self.good += other.good;
        self.failed += other.failed;
    }
}

/// One of the slowest requests.
#[derive(Clone, Debug)]
pub struct Slow {
    /// Headline latency.
    pub took: u64,
    /// The request.
    pub job: Job,
    /// Its end.
    pub end: End,
}

impl PartialEq for Slow {
    fn eq(&self, other: &Self) -> bool {
        self.took == other.took
    }
}

impl Eq for Slow {}

impl PartialOrd for Slow {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slow {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.took.cmp(&other.took)
    }
}

/// What one thread measured.
pub struct Recorder {
    /// By operation.
    pub totals: Vec<Totals>,
    /// Connects.
    pub connects: Side,
    /// Requests of the warm-up.
    pub warm_up: Side,
    /// Requests of the measured phase that ended behind it.
    pub drained: Side,
    /// Requests intended in the measured phase.
    pub offered: u64,
    /// Requests, of whatever phase, that ended within the measured phase.
    pub inside: Inside,
    /// The slowest requests.
    pub slow: BinaryHeap<Reverse<Slow>>,
    interval: Interval,
    live: Arc<Live>,
    empty: Receiver<Vec<Latency>>,
    messages: Sender<Message>,
    open: bool,
    timeout: u64,
    /// Start and end of the measured phase.
    measure: (u64, u64),
}

impl Recorder {
    /// A recorder for so many operations; finished intervals go to `messages`, and their
    /// histograms come back empty through `empty`.
    pub fn new(
        thread: usize,
        operations: usize,
        open: bool,
        timeout: u64,
        live: Arc<Live>,
        messages: Sender<Message>,
        empty: Receiver<Vec<Latency>>,
    ) -> Self {
        let mut totals = vec![Totals::default(); operations];
        totals.iter_mut().for_each(Totals::touch);
        Self {
            totals,
            connects: Side::default(),
            warm_up: Side::default(),
            drained: Side::default(),
            offered: 0,
            inside: Inside::default(),
            slow: BinaryHeap::with_capacity(SAMPLES_KEPT + 1),
            interval: Interval {
                thread,
                latency: vec![Latency::new(); operations],
                ..Interval::default()
            },
            live,
            empty,
            messages,
            open,
            timeout,
            measure: (u64::MAX, u64::MAX),
        }
    }

    /// Sets the measured phase.
    pub fn phases(&mut self, start: u64, end: u64) {
        self.measure = (start, end);
    }

    /// A request was looked at.
    pub fn dispatched(&mut self, job: &Job) {
        if !job.measured {
            return;
        }
        self.offered += 1;
        self.interval.offered += 1;
        self.live.offered.store(self.offered, Ordering::Relaxed);
        if self.open {
            let lateness = job.dispatched - job.intended;
            self.totals[job.operation as usize].lateness.record(lateness);
            self.interval.lateness_max = self.interval.lateness_max.max(lateness);
        }
    }

    /// A request was not sent: too many were under way.
    pub fn shed(&mut self, job: &Job) {
        if job.measured {
            self.totals[job.operation as usize].shed += 1;
            self.interval.shed += 1;
            self.live.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request is handed to the kernel.
    pub fn written(&mut self, job: &Job) {
        if job.measured && self.open {
            self.totals[job.operation as usize].wait.record(job.written - job.dispatched);
        }
    }

    /// A request ended. A failed one counts at no less than the timeout.
    pub fn ended(&mut self, job: &Job, end: End) {
        let floor = if end.error.is_some() { self.timeout } else { 0 };
        let response = (end.at - job.intended).max(floor);
        let good = end.error.is_none();
        if (self.measure.0..self.measure.1).contains(&end.at) {
            self.inside.count(good);
        } else if job.measured {
            count(&mut self.drained, good, response);
        }
        if !job.measured {
            count(&mut self.warm_up, good, response);
            return;
        }
        let totals = &mut self.totals[job.operation as usize];
        totals.bytes += end.bytes;
        totals.verified += u64::from(end.compared);
        self.interval.bytes += end.bytes;
        let mut headline = response;
        if job.written > 0 {
            let service = (end.at - job.written).max(floor);
            totals.service.record(service);
            if job.first_byte > 0 {
                totals.first_byte.record(job.first_byte - job.written);
            }
            if !self.open {
                headline = service;
            }
        }
        if self.open {
            totals.response.record(response);
        }
        self.interval.latency[job.operation as usize].record(headline);
        match &end.error {
            None => {
                totals.completed += 1;
                self.interval.achieved += 1;
                self.live.achieved.fetch_add(1, Ordering::Relaxed);
            }
            Some(class) => {
                *totals.errors.entry(class.clone()).or_default() += 1;
                self.interval.failed += 1;
                self.live.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.keep_if_slow(headline, job, end);
    }

    fn keep_if_slow(&mut self, took: u64, job: &Job, end: End) {
        let full = self.slow.len() == SAMPLES_KEPT;
        if full && self.slow.peek().is_some_and(|fastest| took <= fastest.0.took) {
            return;
        }
        if full {
            self.slow.pop();
        }
        self.slow.push(Reverse(Slow { took, job: *job, end }));
    }

    /// So many viewers watch.
    pub fn watching(&self, viewers: u64) {
        self.live.viewers.store(viewers, Ordering::Relaxed);
    }

    /// So many of them are stalled.
    pub fn stalled(&self, viewers: u64) {
        self.live.stalled.store(viewers, Ordering::Relaxed);
    }

    /// So many requests are under way.
    pub fn in_flight(&self, count: u64) {
        self.live.in_flight.store(count, Ordering::Relaxed);
    }

    /// Ends the interval under way, when it is over or at the end of the run: `number` is that of
    /// the next one.
    pub fn roll(&mut self, number: u64, in_flight: u64) {
        let Ok(latency) = self.empty.try_recv() else { return };
        let thread = self.interval.thread;
        let next = Interval { thread, number, latency, ..Interval::default() };
        let mut over = std::mem::replace(&mut self.interval, next);
        over.in_flight = in_flight;
        // The collector lives as long as the threads.
        let _ = self.messages.send(Message::Interval(over));
    }

    /// End of the measured phase: earlier than planned when the run was stopped.
    pub fn end(&self) -> u64 {
        self.measure.1
    }

    /// The interval under way, at the end of the run.
    pub fn last_interval(&mut self) -> Interval {
        std::mem::take(&mut self.interval)
    }
}

fn count(side: &mut Side, good: bool, time: u64) {
    if good {
        side.completed += 1;
    } else {
        side.failed += 1;
    }
    side.times.record(time);
}
