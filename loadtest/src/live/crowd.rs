//! One thread of viewers: seats, timers, and the turn of the loop.
//!
//! Order of a turn: arrivals and departures that are due, timers that are due, completions,
//! bookkeeping once a second. Each seat has one timer at most in the heap that counts; older
//! entries find nothing due. What viewers do with an answer is carried out before the next one.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::arrivals::Schedule;
use super::connection::{Connection, Exchange, State};
use super::deliveries::Deliveries;
use super::experience::{self, Experience};
use super::lists::Lists;
use super::plan::Plan;
use crate::engine::clock::Clock;
use crate::engine::record::Recorder;
use crate::engine::worker::{Times, Usage};
use crate::player::link::Link;
use crate::player::mpd::Mpd;
use crate::player::viewer::{Action, Ending, Settings, Viewer};
use crate::sys::ring::Ring;
use crate::sys::thread;

/// Longest wait of a turn, in nanoseconds.
const WAIT_MAX_NS: u64 = 20_000_000;
/// Connections of a thread with bytes to look at, at once: media is thrown away in the kernel, so
/// that few buffers serve many viewers.
const RECEIVING_AT_ONCE: usize = 256;
/// Completions between two looks at the timers.
const EVENTS_PER_LOOK: u32 = 16;
/// Deliveries are handed over every so many seconds.
const HAND_OVER_S: u64 = 5;

/// A place for a viewer.
pub struct Seat {
    /// Who sits there; `None` when it is free.
    pub viewer: Option<Box<Viewer>>,
    /// The viewer's number, for its session and its choices.
    pub number: u64,
    /// Its number in the schedule of arrivals, which stays when it goes on to another stream.
    arrival: u64,
    /// How it plays: the crowd's settings, or those of a level of a cache.
    settings: Settings,
    /// Which manifest.
    pub channel: u32,
    /// Joins another stream afterwards.
    zaps: bool,
    /// Goes back in the window then, in seconds; infinite when it does not.
    seeks_at: f64,
    /// Its access link.
    pub link: Link,
    /// Its connections, by their place.
    pub connections: Vec<u32>,
    /// Requests that wait for a connection.
    pub waiting: VecDeque<Box<Exchange>>,
    /// Its timer in the heap, in nanoseconds of the clock.
    armed: u64,
    /// Stalls when it last asked: for CMCD.
    pub stalls: u32,
    /// Its DASH manifest, and when it came.
    pub mpd: Option<(Rc<Mpd>, u64)>,
}

/// Viewers of one second, for the series.
#[derive(Clone, Copy, Debug, Default)]
pub struct Present {
    /// Watching.
    pub viewers: u64,
    /// Of them, stalled.
    pub stalled: u64,
}

/// One thread of viewers.
pub struct Crowd<'a> {
    pub(super) plan: &'a Plan,
    pub(super) clock: Clock,
    /// Nanoseconds since 1970 at the clock's zero.
    pub(super) epoch: u64,
    pub(super) ring: Ring,
    pub(super) address: usize,
    pub(super) seats: Vec<Seat>,
    free_seats: Vec<u32>,
    /// Taken seats behind the number of their arrival: exactly those with a viewer.
    taken: BTreeSet<(u64, u32)>,
    pub(super) connections: Vec<Connection>,
    pub(super) free_connections: Vec<u32>,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    pub(super) work: VecDeque<(u32, Action, u64)>,
    pub(super) lists: Lists,
    pub(super) recorder: Recorder,
    pub(super) deliveries: Deliveries,
    all_deliveries: Arc<Mutex<Deliveries>>,
    /// What viewers who left experienced.
    pub experience: Experience,
    /// Viewers by second of the measured phase.
    pub present: Vec<Present>,
    pub(super) times: Times,
    pub(super) in_flight: u64,
    pub(super) asked: u64,
    /// Connections open, most at once.
    pub connections_max: usize,
    thread: u64,
    /// First playlist that could not be read, as a sentence.
    pub complaint: Option<String>,
    usage: Usage,
    before: Option<(u64, u64, u64)>,
}

impl<'a> Crowd<'a> {
    /// Thread `thread` of the plan; it runs in `times`.
    pub fn new(
        plan: &'a Plan,
        thread: usize,
        clock: Clock,
        epoch: u64,
        mut recorder: Recorder,
        times: Times,
        all_deliveries: Arc<Mutex<Deliveries>>,
    ) -> io::Result<Self> {
        recorder.phases(times.measure, times.end);
        let share = usize::try_from(plan.viewers).unwrap_or(usize::MAX) / plan.threads.max(1);
        let mut ring = Ring::new(share.min(RECEIVING_AT_ONCE))?;
        let address = ring.address(plan.address);
        Ok(Self {
            plan,
            clock,
            epoch,
            ring,
            address,
            seats: Vec::new(),
            free_seats: Vec::new(),
            taken: BTreeSet::new(),
            connections: Vec::new(),
            free_connections: Vec::new(),
            timers: BinaryHeap::new(),
            work: VecDeque::new(),
            lists: Lists::new(&plan.authority),
            recorder,
            deliveries: Deliveries::default(),
            all_deliveries,
            experience: Experience::default(),
            present: Vec::new(),
            times,
            in_flight: 0,
            asked: 0,
            connections_max: 0,
            thread: thread as u64,
            complaint: None,
            usage: Usage::default(),
            before: None,
        })
    }

    /// Lives through this thread's share of `schedule`.
    pub fn run(&mut self, schedule: &Schedule) -> io::Result<()> {
        let threads = self.plan.threads as u64;
        let thread = self.thread;
        let mine = |due: &&(f64, u64)| due.1 % threads == thread;
        let mut joins = schedule.joins.iter().filter(mine).copied().peekable();
        let mut leaves = schedule.leaves.iter().filter(mine).copied().peekable();
        let mut drops = schedule.drops.iter().copied().peekable();
        let start = self.times.start;
        let at = move |seconds: f64| start + nanos(seconds);
        let mut second = 0;
        loop {
            let now = self.clock.now();
            if now >= self.times.end || crate::sys::thread::stopped() {
                break;
            }
            while let Some((due, number)) = joins.next_if(|join| at(join.0) <= now) {
                self.join(number, at(due));
                self.carry_out()?;
            }
            while let Some((_, number)) = leaves.next_if(|leave| at(leave.0) <= now) {
                self.dismiss(number)?;
            }
            while drops.next_if(|drop| at(*drop) <= now).is_some() {
                self.drop_all()?;
            }
            self.tick_due()?;
            let mut events = 0u32;
            while let Some(event) = self.ring.take() {
                self.take(event)?;
                self.carry_out()?;
                events += 1;
                if events.is_multiple_of(EVENTS_PER_LOOK) {
                    self.tick_due()?;
                }
            }
            second = self.keep_books(second);
            self.recorder.watching(self.taken.len() as u64);
            let next_join = joins.peek().map_or(u64::MAX, |join| at(join.0));
            let next_leave = leaves.peek().map_or(u64::MAX, |leave| at(leave.0));
            let timer = self.timers.peek().map_or(u64::MAX, |timer| timer.0.0);
            let next = timer.min(next_join).min(next_leave);
            let wait = next.saturating_sub(self.clock.now()).min(WAIT_MAX_NS);
            self.ring.wait(Duration::from_nanos(wait))?;
        }
        self.end();
        Ok(())
    }

    /// A viewer comes, or several levels of a cache do.
    fn join(&mut self, number: u64, due: u64) {
        let Some(levels) = self.plan.edge else {
            return self.sit_down((number, number), due, self.plan.settings);
        };
        for level in 0..levels {
            let patient =
                Settings { level: Some(level), patience: f64::INFINITY, ..self.plan.settings };
            self.sit_down((number, number), due, patient);
        }
    }

    /// The viewer with a number, and with that of its arrival, takes a place.
    fn sit_down(&mut self, (number, arrival): (u64, u64), due: u64, settings: Settings) {
        let person = self.plan.sessions.person(self.plan.seed, number);
        let now = seconds(due);
        let mut viewer = Box::new(Viewer::new(settings, now, now + person.stay));
        let mut actions = Vec::new();
        viewer.join(&mut actions);
        let streams = self.plan.manifests.len();
        #[expect(clippy::cast_possible_truncation, reason = "below the number of manifests")]
        let channel = (person.taste * streams as f64) as u32;
        let seat = Seat {
            viewer: Some(viewer),
            number,
            arrival,
            settings,
            channel: channel.min(u32::try_from(streams - 1).unwrap_or(0)),
            zaps: person.zaps && streams > 1,
            seeks_at: now + person.seeks_at,
            link: Link::new(person.link, now),
            connections: Vec::new(),
            waiting: VecDeque::new(),
            armed: u64::MAX,
            stalls: 0,
            mpd: None,
        };
        let index = match self.free_seats.pop() {
            Some(index) => {
                let armed = self.seats[index as usize].armed;
                self.seats[index as usize] = Seat { armed, ..seat };
                index
            }
            None => {
                self.seats.push(seat);
                u32::try_from(self.seats.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.taken.insert((arrival, index));
        self.work.extend(actions.into_iter().map(|action| (index, action, due)));
        self.arm(index);
    }

    /// Carries out what viewers decided, and what follows from it.
    pub(super) fn carry_out(&mut self) -> io::Result<()> {
        while let Some((seat, action, intended)) = self.work.pop_front() {
            match action {
                Action::Fetch(fetch) => self.fetch(seat, fetch, intended)?,
                Action::Abort(slot) => self.abort(seat, slot)?,
                Action::Leave(ending) => self.leave(seat, Some(ending)),
            }
        }
        Ok(())
    }

    /// Gives an event to the viewer of a seat; its actions are due at `intended`.
    pub(super) fn tell(
        &mut self,
        seat: u32,
        intended: u64,
        event: impl FnOnce(&mut Viewer, &mut Vec<Action>),
    ) {
        let mut actions = Vec::new();
        if let Some(viewer) = &mut self.seats[seat as usize].viewer {
            event(viewer, &mut actions);
        }
        self.work.extend(actions.into_iter().map(|action| (seat, action, intended)));
        self.arm(seat);
    }

    /// Sees to it that the seat is looked at when something is due.
    pub(super) fn arm(&mut self, index: u32) {
        let seat = &self.seats[index as usize];
        let Some(viewer) = &seat.viewer else { return };
        let mut wake = nanos_up(viewer.wake_at().min(seat.seeks_at));
        for connection in &seat.connections {
            let connection = &self.connections[*connection as usize];
            wake = wake.min(connection.deadline());
            if connection.paused {
                wake = wake.min(nanos_up(seat.link.ready_at()));
            }
        }
        if wake < seat.armed {
            self.seats[index as usize].armed = wake;
            self.timers.push(Reverse((wake, index)));
        }
    }

    fn tick_due(&mut self) -> io::Result<()> {
        while let Some(Reverse((due, _))) = self.timers.peek()
            && *due <= self.clock.now()
        {
            let Some(Reverse((due, index))) = self.timers.pop() else { break };
            let seat = &mut self.seats[index as usize];
            // An entry that a nearer one replaced, or of a viewer who left.
            if seat.armed != due || seat.viewer.is_none() {
                if seat.armed == due {
                    seat.armed = u64::MAX;
                }
                continue;
            }
            seat.armed = u64::MAX;
            self.look_after_connections(index)?;
            let now = seconds(self.clock.now());
            let seat = &mut self.seats[index as usize];
            if seat.seeks_at <= now {
                seat.seeks_at = f64::INFINITY;
                self.tell(index, due, |viewer, actions| viewer.seek_back(now, 60.0, actions));
            }
            self.tell(index, due, |viewer, actions| viewer.tick(now, actions));
            self.carry_out()?;
        }
        Ok(())
    }

    /// A viewer is gone: counts what it experienced and frees its place.
    pub(super) fn leave(&mut self, index: u32, ending: Option<Ending>) {
        let now = self.clock.now();
        let seat = &mut self.seats[index as usize];
        let Some(mut viewer) = seat.viewer.take() else { return };
        self.experience.left(&mut viewer, seconds(now), ending);
        self.in_flight -= seat.waiting.len() as u64;
        self.asked -= seat.waiting.len() as u64;
        seat.waiting.clear();
        let (number, arrival, settings) = (seat.number, seat.arrival, seat.settings);
        let again = seat.zaps && ending == Some(Ending::Finished);
        for connection in std::mem::take(&mut seat.connections) {
            self.close(connection);
        }
        self.taken.remove(&(arrival, index));
        self.free_seats.push(index);
        if again {
            // Another person's choices, so that the stream and the time differ.
            let number = number.wrapping_add(self.plan.viewers.max(1));
            self.sit_down((number, arrival), now, settings);
        }
    }

    /// Whoever arrived with this number leaves now: a viewer, or all levels of a cache.
    fn dismiss(&mut self, arrival: u64) -> io::Result<()> {
        let seats = self.taken.range((arrival, 0)..=(arrival, u32::MAX));
        let seats: Vec<u32> = seats.map(|(_, seat)| *seat).collect();
        seats.into_iter().for_each(|seat| self.leave(seat, None));
        self.carry_out()
    }

    /// All connections drop, and everybody joins again, as who they were.
    fn drop_all(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let who = |taken: &(u64, u32)| {
            let seat = &self.seats[taken.1 as usize];
            (taken.1, (seat.number, seat.arrival), seat.settings)
        };
        // Places are given anew: who sat where is noted before anybody leaves.
        let everybody: Vec<_> = self.taken.iter().map(who).collect();
        everybody.iter().for_each(|(seat, ..)| self.leave(*seat, None));
        for (_, numbers, settings) in everybody {
            self.sit_down(numbers, now, settings);
        }
        self.carry_out()
    }

    /// Once a second: the interval, the number of viewers, deliveries; the second that is under
    /// way.
    fn keep_books(&mut self, second: u64) -> u64 {
        let now = self.clock.now();
        if now < self.times.measure {
            return 0;
        }
        if self.before.is_none() {
            let (cpu, delay) = thread::schedule();
            self.before = Some((now, cpu, delay));
        }
        let number = (now - self.times.measure) / 1_000_000_000;
        if number == second {
            return second;
        }
        self.count_present();
        self.recorder.roll(number, self.in_flight);
        if number.is_multiple_of(HAND_OVER_S) {
            self.deliveries.hand_over(&self.all_deliveries, self.epoch + now);
        }
        number
    }

    fn count_present(&mut self) {
        let now = seconds(self.clock.now());
        let viewers = self.seats.iter_mut().filter_map(|seat| seat.viewer.as_deref_mut());
        let stalled = viewers.filter_map(|v| experience::is_stalled(v, now).then_some(())).count();
        self.recorder.stalled(stalled as u64);
        self.present.push(Present { viewers: self.taken.len() as u64, stalled: stalled as u64 });
    }

    /// The run is over: everybody leaves.
    fn end(&mut self) {
        let now = self.clock.now();
        if let Some((at, cpu, delay)) = self.before {
            let (cpu_now, delay_now) = thread::schedule();
            self.usage = Usage {
                cpu: cpu_now - cpu,
                delay: delay_now - delay,
                wall: now - at,
                overflows: self.ring.overflows(),
                ..Usage::default()
            };
        }
        self.count_present();
        for index in 0..self.seats.len() {
            self.seats[index].zaps = false;
            self.leave(u32::try_from(index).unwrap_or(u32::MAX), None);
        }
        self.work.clear();
        self.deliveries.hand_over(&self.all_deliveries, self.epoch + now);
    }

    /// Requests of the measured phase that were not given up.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// What the thread found, when it is over.
    pub fn into_parts(self) -> (Recorder, Usage, Experience, Vec<Present>, Option<String>) {
        (self.recorder, self.usage, self.experience, self.present, self.complaint)
    }

    /// A free place for a connection.
    pub(super) fn new_connection(&mut self, seat: u32) -> u32 {
        let index = self.free_connections.pop().unwrap_or_else(|| {
            self.connections.push(Connection::default());
            u32::try_from(self.connections.len() - 1).unwrap_or(u32::MAX)
        });
        self.connections[index as usize].renew(seat, State::Connecting);
        self.seats[seat as usize].connections.push(index);
        let open = self.connections.len() - self.free_connections.len();
        self.connections_max = self.connections_max.max(open);
        index
    }
}

/// Seconds of the clock.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Nanoseconds of the clock.
#[expect(clippy::cast_possible_truncation, reason = "saturates; infinity is never")]
pub(super) fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Rounded up, so that a timer never rings just before its instant.
fn nanos_up(seconds: f64) -> u64 {
    if seconds.is_finite() { nanos(seconds).saturating_add(1000) } else { u64::MAX }
}
