//! One thread of load: sends what is due, takes in what came, and otherwise waits.
//!
//! Order of every turn: requests that are due first, then completions one at a time with a look at
//! the schedule between them, then bookkeeping. Never does: wait for the collector, allocate for
//! a plain request, or move the schedule.

mod exchange;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::clock::{Clock, nanos};
use super::plan::{Mode, Plan};
use super::pool::{Pool, State};
use super::record::{End, Job, Recorder};
use super::source::{Choice, Renderer};
use crate::http::Error;
use crate::limits::{CONNECT_TIMEOUT, CONNECTS_AT_ONCE, SPIN_BEFORE, WAIT_MAX};
use crate::rate::schedule::{Due, Schedule, bits, unit};
use crate::sys::ring::Ring;
use crate::sys::thread;

/// Stream of random bits that chooses the source.
const STREAM_SOURCE: u64 = 0x736f_7572_6365;

/// What a thread used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time within the measured phase, in nanoseconds.
    pub cpu: u64,
    /// Time waited for a CPU within it, in nanoseconds.
    pub delay: u64,
    /// Time in which the thread had something to do within it, in nanoseconds.
    pub used: u64,
    /// Its real length, in nanoseconds.
    pub wall: u64,
    /// End of the drain.
    pub drained_at: u64,
    /// Times that completions did not fit.
    pub overflows: u64,
}

/// Times of a run, in nanoseconds of its clock.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The schedule's zero.
    pub start: u64,
    /// The measured phase.
    pub measure: u64,
    /// Its end, and that of the schedule.
    pub end: u64,
}

/// One thread of load.
pub struct Worker<'a> {
    plan: &'a Plan,
    clock: Clock,
    ring: Ring,
    pool: Pool,
    renderers: Vec<Renderer>,
    choice: Choice,
    waiting: Vec<VecDeque<Job>>,
    waiting_count: usize,
    in_flight_max: usize,
    schedule: Option<Schedule>,
    next: Option<Due>,
    /// Next place of a closed loop.
    index: u64,
    /// Distance between places of a closed loop: the number of threads.
    stride: u64,
    times: Times,
    recorder: Recorder,
    usage: Usage,
    /// When the bookkeeping is due again.
    look_at: u64,
    second: u64,
    before: Option<(u64, u64, u64)>,
    stopping: bool,
}

impl<'a> Worker<'a> {
    /// Thread `thread` of the plan.
    pub fn new(
        plan: &'a Plan,
        thread: usize,
        clock: Clock,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let connections = plan.share(plan.connections, thread).max(plan.targets.len());
        let mut ring = Ring::new(connections)?;
        for target in &plan.targets {
            ring.address(target.address);
        }
        let schedule = match &plan.mode {
            Mode::Open { arrivals, profile, .. } => {
                Some(Schedule::new(arrivals.clone(), profile, plan.seed, thread, plan.threads))
            }
            Mode::Closed => None,
        };
        Ok(Self {
            plan,
            clock,
            ring,
            pool: Pool::new(connections, plan.targets.len()),
            renderers: plan.sources.iter().map(Renderer::new).collect(),
            choice: Choice::new(&plan.sources),
            waiting: vec![VecDeque::new(); plan.targets.len()],
            waiting_count: 0,
            in_flight_max: plan.share(plan.in_flight_max, thread).max(1),
            schedule,
            next: None,
            index: thread as u64,
            stride: plan.threads as u64,
            times: Times { start: u64::MAX, measure: u64::MAX, end: u64::MAX },
            recorder,
            usage: Usage::default(),
            look_at: 0,
            second: 0,
            before: None,
            stopping: false,
        })
    }

    /// Connects all connections, a bounded number at once.
    pub fn connect_all(&mut self) -> io::Result<()> {
        let mut left: Vec<u32> = Vec::new();
        for target in 0..self.plan.targets.len() {
            left.extend(std::iter::from_fn(|| self.pool.take_down(target)));
        }
        while !left.is_empty() || self.pool.under_way() > 0 {
            while self.pool.under_way() < CONNECTS_AT_ONCE
                && let Some(index) = left.pop()
            {
                self.connect(index)?;
            }
            self.ring.wait(WAIT_MAX)?;
            while let Some(event) = self.ring.take() {
                self.take(event)?;
            }
            self.expire(self.clock.now())?;
            if thread::stopped() {
                break;
            }
        }
        left.into_iter().for_each(|index| self.pool.put_down(index));
        Ok(())
    }

    /// Runs the load and the drain; returns what was measured.
    pub fn run(mut self, times: Times) -> io::Result<(Recorder, Usage)> {
        self.times = times;
        self.recorder.phases(times.measure, times.end);
        self.next = self.schedule.as_mut().and_then(Iterator::next);
        self.look_at = times.start;
        if self.schedule.is_some() {
            self.run_open()?
        } else {
            self.run_closed()?
        }
        self.give_up();
        self.usage.drained_at = self.clock.now();
        self.usage.overflows = self.ring.overflows();
        Ok((self.recorder, self.usage))
    }

    fn run_open(&mut self) -> io::Result<()> {
        let busy = self.plan.is_busy();
        loop {
            let now = self.clock.now();
            if now >= self.look_at && !self.keep_books(now)? {
                return Ok(());
            }
            let mut worked = self.send_due(now)?;
            self.ring.poll()?;
            while let Some(event) = self.ring.take() {
                worked = true;
                self.take(event)?;
                self.send_due(self.clock.now())?;
            }
            if worked {
                self.note_used(now);
            } else if !busy {
                self.sleep(now)?;
            }
        }
    }

    fn run_closed(&mut self) -> io::Result<()> {
        while self.clock.now() < self.times.start {
            self.ring.wait(Duration::from_micros(100))?;
        }
        let mut idle = Vec::new();
        for target in 0..self.plan.targets.len() {
            idle.extend(std::iter::from_fn(|| self.pool.take_idle(target)));
        }
        for index in idle {
            self.pool.put_idle(index);
            self.next_closed()?;
        }
        loop {
            self.ring.wait(WAIT_MAX)?;
            while let Some(event) = self.ring.take() {
                self.take(event)?;
            }
            let now = self.clock.now();
            if now >= self.look_at && !self.keep_books(now)? {
                return Ok(());
            }
        }
    }

    /// Waits for a completion until just short of what is due next.
    fn sleep(&mut self, now: u64) -> io::Result<()> {
        let due = self.next.map_or(u64::MAX, |due| self.times.start + due.at);
        let until = due.min(self.look_at).saturating_sub(nanos(SPIN_BEFORE));
        if until > now { self.ring.wait(Duration::from_nanos(until - now)) } else { Ok(()) }
    }

    fn note_used(&mut self, since: u64) {
        if since >= self.times.measure && since < self.times.end {
            self.usage.used += self.clock.now() - since;
        }
    }

    /// Sends everything that is due; whether there was anything.
    fn send_due(&mut self, now: u64) -> io::Result<bool> {
        let mut now = now;
        let mut any = false;
        while let Some(due) = self.next {
            let intended = self.times.start + due.at;
            if intended > now {
                break;
            }
            self.next = self.schedule.as_mut().and_then(Iterator::next);
            let source = match due.url {
                Some(url) => url as usize,
                None => self.choice.of(unit(bits(self.plan.seed ^ STREAM_SOURCE, due.index))),
            };
            self.dispatch(self.job(due.index, source, intended, now))?;
            any = true;
            now = self.clock.now();
        }
        Ok(any)
    }

    #[expect(clippy::cast_possible_truncation, reason = "sources and operations are few")]
    fn job(&self, index: u64, source: usize, intended: u64, now: u64) -> Job {
        Job {
            index,
            source: source as u32,
            operation: self.plan.sources[source].operation as u32,
            measured: (self.times.measure..self.times.end).contains(&intended),
            intended,
            dispatched: now,
            written: 0,
            first_byte: 0,
        }
    }

    /// Finds a connection for a request that is due: a free one, a new one, or the next to be free.
    fn dispatch(&mut self, job: Job) -> io::Result<()> {
        self.recorder.dispatched(&job);
        if self.pool.under_way() + self.waiting_count >= self.in_flight_max {
            self.recorder.shed(&job);
            return Ok(());
        }
        let target = self.plan.sources[job.source as usize].target;
        if let Some(index) = self.pool.take_idle(target) {
            self.send(index, job)?;
        } else if let Some(index) = self.pool.take_down(target) {
            self.pool.at(index).job = Some(job);
            self.connect(index)?;
        } else {
            self.waiting[target].push_back(job);
            self.waiting_count += 1;
            return Ok(());
        }
        if self.schedule.is_some() { self.ring.submit() } else { Ok(()) }
    }

    /// The next request of a closed loop, on whichever connection is free.
    fn next_closed(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        if self.stopping || now >= self.times.end {
            return Ok(());
        }
        let index = self.index;
        self.index += self.stride;
        let source = self.choice.of(unit(bits(self.plan.seed ^ STREAM_SOURCE, index)));
        self.dispatch(self.job(index, source, now, now))
    }

    /// Ends what took too long.
    fn expire(&mut self, now: u64) -> io::Result<()> {
        let (timeout, connect) = (nanos(self.plan.timeout), nanos(CONNECT_TIMEOUT));
        while let Some(index) = self.pool.oldest() {
            let connection = self.pool.at(index);
            let connecting = connection.state == State::Connecting;
            let allowed = if connecting { connect.min(timeout) } else { timeout };
            if now.saturating_sub(connection.since) < allowed {
                break;
            }
            let error = if connecting { Error::ConnectTimeout } else { Error::Timeout };
            let job = connection.job.take();
            self.pool.end(index);
            self.recorder.connects.failed += u64::from(connecting);
            self.close_ended(index)?;
            if let Some(job) = job {
                self.failed(&job, &error, now)?;
            }
            self.refill(index)?;
        }
        for target in 0..self.waiting.len() {
            while let Some(job) = self.waiting[target].front().copied()
                && now.saturating_sub(job.dispatched) >= timeout
            {
                self.waiting[target].pop_front();
                self.waiting_count -= 1;
                self.failed(&job, &Error::Timeout, now)?;
            }
        }
        Ok(())
    }

    /// Timeouts, seconds, phases; false when the run is over.
    fn keep_books(&mut self, now: u64) -> io::Result<bool> {
        self.expire(now)?;
        if thread::stopped() && !self.stopping {
            self.stop(now);
        }
        let in_flight = (self.pool.under_way() + self.waiting_count) as u64;
        self.recorder.in_flight(in_flight);
        if now >= self.times.measure {
            self.measure_usage(now);
            let second = (now.min(self.times.end) - self.times.measure) / 1_000_000_000;
            if second > self.second && now < self.times.end {
                self.second = second;
                self.recorder.roll(second, in_flight);
            }
        }
        // The next look is at the next boundary, so that each second holds its own requests.
        let second_end = self.times.measure + (self.second + 1) * 1_000_000_000;
        let boundary = second_end.min(self.times.end);
        self.look_at = now + nanos(WAIT_MAX);
        if boundary > now {
            self.look_at = self.look_at.min(boundary);
        }
        let sending = self.schedule.is_some() && self.next.is_some();
        if now < self.times.end || sending {
            if self.schedule.is_none() && now >= self.times.start {
                self.restart_closed()?;
            }
            return Ok(true);
        }
        let limit = if self.stopping { Duration::from_secs(1) } else { self.plan.drain };
        let over = self.pool.under_way() + self.waiting_count == 0;
        Ok(!over && now < self.times.end + nanos(limit))
    }

    /// Connections that lost their target try again, one each time.
    fn restart_closed(&mut self) -> io::Result<()> {
        if self.pool.under_way() < self.pool.len() { self.next_closed() } else { Ok(()) }
    }

    /// Ends the schedule here: what is under way may still end.
    fn stop(&mut self, now: u64) {
        self.stopping = true;
        self.next = None;
        self.times.end = now;
        self.times.measure = self.times.measure.min(now);
        self.recorder.phases(self.times.measure, now);
    }

    fn measure_usage(&mut self, now: u64) {
        match self.before {
            None => {
                let (cpu, delay) = thread::schedule();
                self.before = Some((cpu, delay, now));
            }
            Some((cpu, delay, since)) if now >= self.times.end && self.usage.wall == 0 => {
                let (cpu_now, delay_now) = thread::schedule();
                self.usage.cpu = cpu_now.saturating_sub(cpu);
                self.usage.delay = delay_now.saturating_sub(delay);
                self.usage.wall = now - since;
            }
            Some(_) => {}
        }
    }

    /// What has not ended by now counts as timed out, unless the run was stopped.
    fn give_up(&mut self) {
        let now = self.clock.now();
        let mut left: Vec<Job> = self.waiting.iter_mut().flat_map(std::mem::take).collect();
        while let Some(index) = self.pool.oldest() {
            self.pool.end(index);
            left.extend(self.pool.at(index).job.take());
            if let Some(socket) = self.pool.at(index).socket.take() {
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        }
        if !self.stopping {
            let error = Some(Error::Timeout.class().to_owned());
            for job in left {
                let end =
                    End { at: now, bytes: 0, status: 0, error: error.clone(), compared: false };
                self.recorder.ended(&job, end);
            }
        }
    }
}
