//! What publishing measured, on one thread: histograms by kind of request, and seconds.
//!
//! Every request of the live phase hangs on the schedule: *lateness* is the publisher's own fault,
//! *wait* is time during which the server still held the track's connection, *response* runs from
//! the instant at which the encoder had the bytes. Memory does not grow with the number of
//! requests. Never does: send.

use std::time::{Duration, Instant};

use crate::report::latency::Latency;
use crate::report::model::{Operation, Second};
use crate::report::series;

/// Kinds of requests; `Chunk` is a piece of a chunked upload, accepted by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PUT of a whole segment.
    Segment,
    /// One chunk of a growing segment.
    Chunk,
    /// PUT of a media playlist.
    Playlist,
    /// DELETE of a segment that has left the window.
    Delete,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Segment, "segment"),
    (Kind::Chunk, "chunk"),
    (Kind::Playlist, "playlist"),
    (Kind::Delete, "delete"),
];

/// One request that is over.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// What it was.
    pub kind: Kind,
    /// When the schedule had it sent; `None` without a schedule.
    pub due: Option<Instant>,
    /// When the track was free to send it; `None` when lateness is counted elsewhere.
    pub ready: Option<Instant>,
    /// When its bytes were handed to the kernel.
    pub sent: Instant,
    /// When its answer was complete.
    pub ended: Instant,
    /// Bytes of its body.
    pub bytes: u64,
    /// The class of its error.
    pub error: Option<&'a str>,
}

/// All that one thread measured.
pub struct Recorder {
    start: Instant,
    at: u64,
    second: Second,
    latency: Vec<Latency>,
    /// One entry for each kind.
    pub operations: Vec<Operation>,
    /// Whole seconds so far.
    pub series: Vec<Second>,
}

impl Recorder {
    /// An empty one whose first second begins at `start`.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            at: 0,
            second: Second { width_s: 1.0, ..Second::default() },
            latency: KINDS.iter().map(|_| Latency::new()).collect(),
            operations: KINDS.iter().map(|(_, name)| Operation::new(name)).collect(),
            series: Vec::new(),
        }
    }

    /// Counts one request.
    pub fn record(&mut self, done: Done<'_>) {
        self.turn(done.ended);
        let index = KINDS.iter().position(|(kind, _)| *kind == done.kind).unwrap_or(0);
        let operation = &mut self.operations[index];
        let add = |slot: &mut Option<Latency>, time: Duration| {
            slot.get_or_insert_with(Latency::new).record_duration(time);
        };
        if let (Some(due), Some(ready)) = (done.due, done.ready) {
            let late = done.sent.saturating_duration_since(due.max(ready));
            add(&mut operation.lateness, late);
            add(&mut operation.wait, ready.saturating_duration_since(due));
            let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
            self.second.lateness_max_ns = self.second.lateness_max_ns.max(Some(late));
        }
        let service = done.ended.saturating_duration_since(done.sent);
        add(&mut operation.service, service);
        let headline = match done.due {
            Some(due) => {
                let response = done.ended.saturating_duration_since(due);
                add(&mut operation.response, response);
                response
            }
            None => service,
        };
        self.latency[index].record_duration(headline);
        operation.bytes += done.bytes;
        let is_request = done.kind != Kind::Chunk;
        self.second.bytes += if is_request { done.bytes } else { 0 };
        match done.error {
            Some(class) => {
                *operation.errors.entry(class.to_owned()).or_default() += 1;
                self.second.failed += u64::from(is_request);
            }
            None => {
                operation.completed += 1;
                self.second.achieved += u64::from(is_request);
            }
        }
        self.second.offered += u64::from(is_request && done.due.is_some());
    }

    /// Counts a segment that was not sent: the track was too far behind.
    pub fn shed(&mut self) {
        self.turn(Instant::now());
        self.operations[0].shed += 1;
        self.second.shed += 1;
        self.second.offered += 1;
    }

    /// Closes seconds that are over at `now`.
    fn turn(&mut self, now: Instant) {
        let at = now.saturating_duration_since(self.start).as_secs();
        if at > self.at {
            self.close();
            // Seconds without any request are shown, but a long pause does not fill the memory.
            for quiet in self.at + 1..at.min(self.at + 3600) {
                self.second.at_s = quiet as f64;
                self.close();
            }
            self.at = at;
            self.second.at_s = at as f64;
        }
    }

    fn close(&mut self) {
        let empty = Second { width_s: 1.0, ..Second::default() };
        let mut second = std::mem::replace(&mut self.second, empty);
        for ((_, name), latency) in KINDS.iter().zip(&mut self.latency) {
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_wait_and_response_are_apart() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut recorder = Recorder::new(start);
        let done = Done {
            kind: Kind::Segment,
            due: Some(ms(100)),
            ready: Some(ms(130)),
            sent: ms(135),
            ended: ms(1250),
            bytes: 10,
            error: None,
        };
        recorder.record(done);
        recorder.record(Done { error: Some("timeout"), ready: None, ..done });
        recorder.shed();
        let mut sum = Recorder::new(start);
        sum.add(recorder);
        let segment = &sum.operations[0];
        let max_ms = |latency: &Option<Latency>| latency.as_ref().unwrap().max() / 1_000_000;
        assert_eq!((max_ms(&segment.lateness), max_ms(&segment.wait)), (5, 30));
        assert!((1115..=1116).contains(&max_ms(&segment.service)));
        assert!((1150..=1151).contains(&max_ms(&segment.response)));
        assert_eq!((segment.completed, segment.failed(), segment.shed), (1, 1, 1));
        assert_eq!(segment.lateness.as_ref().unwrap().count(), 1);
        let offered: u64 = sum.series.iter().map(|second| second.offered).sum();
        assert_eq!((sum.series.len(), offered), (2, 3));
        assert_eq!(sum.series[1].latency.len(), 1);
    }
}
