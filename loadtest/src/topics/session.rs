//! One subscription of a subscriber, from its connect to its end: its instants and its faults.

use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::time::sleep;

use super::link::Link;
use super::order::Position;
use super::subscriber::Who;
use super::thread::Thread;
use crate::cli::Failure;
use crate::http::Error;
use crate::limits::{SLOW_READ_BYTES, TOPIC_SILENCE_MAX};

/// Why a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its subscriber left, to come back.
    Left,
    /// The server ended it in good form.
    Ended,
    /// The connection, or the answer, failed.
    Http(Error),
    /// The server refused.
    Status(u16),
    /// The server broke the protocol.
    Broken(&'static str),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Http(error)
    }
}

impl Fault {
    /// The class under which reports count it.
    pub fn class(&self) -> String {
        match self {
            Self::Left | Self::Ended => "ended".to_owned(),
            Self::Http(error) => error.class().to_owned(),
            Self::Status(status) => format!("status {status}"),
            Self::Broken(_) => "protocol".to_owned(),
        }
    }

    /// The failure of a run that could not begin because of it.
    pub fn failure(&self, what: &str) -> Failure {
        match self {
            Self::Http(error) => Failure::of_request(what, error),
            Self::Status(status @ (401 | 403)) => Failure::Unusable(format!(
                "{what}: answered {status}; give its credential with --header"
            )),
            Self::Status(status) => Failure::Unusable(format!(
                "{what}: answered {status}; does the target have topics there?"
            )),
            Self::Broken(why) => Failure::Unusable(format!("{what}: {why}")),
            Self::Left | Self::Ended => Failure::Unusable(format!("{what}: it ended at once")),
        }
    }
}

/// One subscription.
pub struct Session {
    /// The thread it lives on.
    pub thread: Rc<Thread>,
    /// Whose it is.
    pub who: Who,
    connected: Instant,
    /// When its subscriber leaves, once the run has begun.
    stay: Option<Duration>,
    leaves: Option<Instant>,
    /// When the server had confirmed it, in nanoseconds of the run's clock.
    began: Option<u64>,
}

impl Session {
    /// A subscription that has not begun; its subscriber leaves after `stay`.
    pub fn new(thread: Rc<Thread>, who: Who, stay: Option<Duration>) -> Self {
        Self { thread, who, connected: Instant::now(), stay, leaves: None, began: None }
    }

    /// Whether the server has confirmed it.
    pub fn is_established(&self) -> bool {
        self.began.is_some()
    }

    /// The server has confirmed it: what is due from now on arrives live.
    pub fn established(&mut self) {
        if self.began.is_some() {
            return;
        }
        self.began = Some(self.thread.clock.now());
        self.leaves = self.stay.map(|stay| Instant::now() + stay);
        self.thread.established(self.who.place, self.connected.elapsed());
    }

    /// Whether a message due at `due` found this subscription in place.
    pub fn is_live(&self, due: u64) -> bool {
        self.began.is_some_and(|began| due >= began)
    }

    /// Notes how it ended.
    pub fn failed(&self, fault: &Fault) {
        let mut counts = self.thread.counts.borrow_mut();
        counts.cut += u64::from(self.is_established());
        *counts.errors.entry(fault.class()).or_default() += 1;
        drop(counts);
        let what = || format!("GET http://{}{}", self.thread.job.authority, self.path());
        self.thread.set_up_failed(|| fault.failure(&what()));
    }

    /// Where its subscriber goes on.
    pub fn position(&self) -> Position {
        self.thread.followers.borrow()[self.who.place].position()
    }

    /// The topic's path.
    pub fn path(&self) -> String {
        self.thread.job.paths[self.who.topic].clone()
    }

    /// The topic's path with the position.
    pub fn path_from(&self) -> String {
        let Position { page, next } = self.position();
        let path = &self.thread.job.paths[self.who.topic];
        format!("{path}?sequence_page={page}&sequence_number={next}")
    }

    /// Bytes that its subscriber reads at once, of a buffer of `size`.
    pub fn room(&self, size: usize) -> usize {
        if self.who.slow { SLOW_READ_BYTES.min(size) } else { size }
    }

    /// By when the head of an answer must come.
    pub fn patience(&self) -> Instant {
        Instant::now() + self.thread.job.timeout
    }

    /// `until`, or when its subscriber leaves if that is earlier.
    pub fn leaves_before(&self, until: Instant) -> Instant {
        let leaves = self.leaves.filter(|_| !self.thread.is_over());
        leaves.map_or(until, |leaves| leaves.min(until))
    }

    /// A deadline that passed because the subscriber leaves is no error.
    pub fn in_time<T>(&self, result: Result<T, Error>) -> Result<T, Fault> {
        match result {
            Err(Error::Timeout)
                if self.leaves.is_some_and(|leaves| leaves <= Instant::now())
                    && !self.thread.is_over() =>
            {
                Err(Fault::Left)
            }
            other => other.map_err(Fault::Http),
        }
    }

    /// Waits for bytes; a slow subscriber takes its time before.
    pub async fn readable(&self, link: &Link) -> Result<(), Fault> {
        if self.who.slow {
            sleep(self.thread.job.slow_pause).await;
        }
        let silence = Instant::now() + TOPIC_SILENCE_MAX;
        // A subscriber whose time is over while messages come leaves between two of them.
        if self.leaves.is_some_and(|leaves| leaves <= Instant::now()) && !self.thread.is_over() {
            return Err(Fault::Left);
        }
        let until = self.leaves_before(silence);
        match self.in_time(link.readable(until).await) {
            // Its time came after the run's end: it stays.
            Err(Fault::Http(Error::Timeout)) if until < silence => {
                Ok(link.readable(silence).await?)
            }
            other => other,
        }
    }
}
