//! What one thread measured: deliveries by way of subscribing, publications, and seconds.
//!
//! Memory does not grow with the number of messages. Never does: judge.

use crate::report::latency::Latency;
use crate::report::model::{Operation, Second};
use crate::report::series;

/// Names of operations, by [`Way`] and then publications.
pub const OPERATIONS: [&str; 4] = ["sse", "websocket", "poll", "publish"];
/// The place of publications in [`OPERATIONS`].
pub const PUBLISH: usize = 3;

const SECOND_NS: u64 = 1_000_000_000;

/// How a subscriber subscribes; its place in [`OPERATIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Server-Sent Events.
    Events = 0,
    /// WebSocket.
    Socket = 1,
    /// Long-poll.
    Poll = 2,
}

/// One publication that is over; times in nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// When the schedule had it sent.
    pub due: u64,
    /// When its publisher was free to send it.
    pub ready: u64,
    /// When it was handed to the kernel.
    pub sent: u64,
    /// When its answer was there.
    pub ended: u64,
    /// Bytes of the message.
    pub bytes: u64,
    /// The class of its error.
    pub error: Option<&'a str>,
}

/// All that one thread measured.
pub struct Recorder {
    start: u64,
    at: u64,
    second: Second,
    latency: Vec<Latency>,
    /// By [`OPERATIONS`].
    pub operations: Vec<Operation>,
    /// Whole seconds so far.
    pub series: Vec<Second>,
    /// From due to receipt, of messages that subscribers got when they had come back.
    pub resumed: Latency,
    /// From due to receipt, of slow subscribers.
    pub slow: Latency,
    /// From connect to subscribed.
    pub subscribing: Latency,
}

impl Recorder {
    /// An empty one whose first second begins at `start`.
    pub fn new(start: u64) -> Self {
        Self {
            start,
            at: 0,
            second: Second { width_s: 1.0, ..Second::default() },
            latency: vec![Latency::new(); OPERATIONS.len()],
            operations: OPERATIONS.iter().map(|name| Operation::new(name)).collect(),
            series: Vec::new(),
            resumed: Latency::new(),
            slow: Latency::new(),
            subscribing: Latency::new(),
        }
    }

    /// The measured phase begins at `start`; nothing was recorded yet but set-ups.
    pub fn begin(&mut self, start: u64) {
        self.start = start;
    }

    /// A message due at `due` reached a subscriber at `at`.
    pub fn delivered(&mut self, way: Way, due: u64, at: u64, bytes: u64) {
        self.turn(at);
        let (operation, late) = (&mut self.operations[way as usize], at.saturating_sub(due));
        operation.completed += 1;
        operation.bytes += bytes;
        operation.response.get_or_insert_with(Latency::new).record(late);
        self.latency[way as usize].record(late);
        self.second.achieved += 1;
        self.second.bytes += bytes;
    }

    /// A publication is over.
    pub fn published(&mut self, done: Published<'_>) {
        self.turn(done.ended);
        let operation = &mut self.operations[PUBLISH];
        let response = done.ended.saturating_sub(done.due);
        let late = done.sent.saturating_sub(done.due.max(done.ready));
        for (slot, time) in [
            (&mut operation.lateness, late),
            (&mut operation.wait, done.ready.saturating_sub(done.due)),
            (&mut operation.service, done.ended.saturating_sub(done.sent)),
            (&mut operation.response, response),
        ] {
            slot.get_or_insert_with(Latency::new).record(time);
        }
        self.latency[PUBLISH].record(response);
        self.second.lateness_max_ns = self.second.lateness_max_ns.max(Some(late));
        self.second.offered += 1;
        match done.error {
            Some(class) => {
                *operation.errors.entry(class.to_owned()).or_default() += 1;
                self.second.failed += 1;
            }
            None => {
                operation.completed += 1;
                operation.bytes += done.bytes;
                self.second.achieved += 1;
            }
        }
    }

    /// Publications were not sent: their publisher was too far behind when the run was over.
    pub fn shed(&mut self, count: u64) {
        self.operations[PUBLISH].shed += count;
        self.second.offered += count;
        self.second.shed += count;
    }

    /// Closes seconds that are over at `now`.
    fn turn(&mut self, now: u64) {
        let at = now.saturating_sub(self.start) / SECOND_NS;
        while self.at < at {
            self.close();
            self.at += 1;
            self.second.at_s = self.at as f64;
        }
    }

    fn close(&mut self) {
        let empty = Second { width_s: 1.0, ..Second::default() };
        let mut second = std::mem::replace(&mut self.second, empty);
        for (name, latency) in OPERATIONS.iter().zip(&mut self.latency) {
            if !latency.is_empty() {
                second.latency.insert((*name).to_owned(), latency.pack());
                latency.clear();
            }
        }
        self.series.push(second);
        series::coalesce(&mut self.series, series::SECONDS_MAX);
    }

    /// Adds what another thread measured from the same start on; both are then over.
    pub fn add(&mut self, mut other: Self) {
        other.close();
        if self.second.achieved + self.second.failed + self.second.shed > 0 {
            self.close();
        }
        series::overlay(&mut self.series, &other.series);
        for (sum, part) in self.operations.iter_mut().zip(&other.operations) {
            sum.add(part);
        }
        self.resumed.add(&other.resumed);
        self.slow.add(&other.slow);
        self.subscribing.add(&other.subscribing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn deliveries_and_publications_count_from_the_instant_that_was_intended() {
        let mut recorder = Recorder::new(0);
        recorder.begin(1000 * MS);
        let done = Published {
            due: 1100 * MS,
            ready: 1130 * MS,
            sent: 1135 * MS,
            ended: 1140 * MS,
            bytes: 200,
            error: None,
        };
        recorder.published(done);
        recorder.published(Published { error: Some("timeout"), ..done });
        recorder.shed(3);
        recorder.delivered(Way::Poll, 1100 * MS, 1145 * MS, 200);
        recorder.delivered(Way::Poll, 1100 * MS, 3145 * MS, 200);
        let mut sum = Recorder::new(1000 * MS);
        sum.add(recorder);
        let max = |latency: &Option<Latency>| latency.as_ref().unwrap().max() / MS;
        let publish = &sum.operations[PUBLISH];
        assert_eq!((publish.completed, publish.failed(), publish.shed), (1, 1, 3));
        assert_eq!((max(&publish.lateness), max(&publish.wait)), (5, 30));
        assert_eq!((max(&publish.service), max(&publish.response)), (5, 40));
        let poll = &sum.operations[Way::Poll as usize];
        assert_eq!((poll.completed, poll.bytes), (2, 400));
        assert!((2044..=2047).contains(&max(&poll.response)));
        let seconds: Vec<_> =
            sum.series.iter().map(|s| (s.at_s, s.offered, s.achieved, s.failed)).collect();
        assert_eq!(seconds, [(0.0, 5, 2, 1), (1.0, 0, 0, 0), (2.0, 0, 1, 0)]);
    }
}
