//! One thread of subscribers: sets them up, lets them follow, and waits until all have everything.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use monoio::time::sleep;

use super::Job;
use super::order::Follower;
use super::record::Recorder;
use super::subscriber::{self, Who};
use super::table::Table;
use crate::cli::Failure;
use crate::engine::clock::{Clock, nanos};
use crate::engine::worker::Times;
use crate::environment::ThreadTime;
use crate::limits::{CONNECTS_AT_ONCE, RING_ENTRIES, TOPIC_BUFFER_BYTES};
use crate::sys::thread::{self, stopped};

/// Time between two looks at how far subscribers are.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The last message of each topic, as page and number; known when publishing is over.
pub type Ends = OnceLock<Vec<(u64, u64)>>;

/// What happened to the subscriptions of a thread.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Subscribers that left and came back.
    pub reconnects: u64,
    /// Subscriptions that the server ended.
    pub cut: u64,
    /// Subscriptions that ended, or did not begin, by class.
    pub errors: BTreeMap<String, u64>,
}

/// What all subscribers of a thread share.
pub struct Thread {
    /// What is to be done.
    pub job: Arc<Job>,
    /// The run's clock.
    pub clock: Clock,
    /// The run's name, in every message.
    pub run: u64,
    /// All read into this one.
    pub buffer: RefCell<Vec<u8>>,
    /// By place.
    pub followers: RefCell<Vec<Follower>>,
    /// By topic.
    pub tables: RefCell<Vec<Table>>,
    /// Delays.
    pub recorder: RefCell<Recorder>,
    /// Ends of subscriptions.
    pub counts: RefCell<Counts>,
    /// Which subscribers have subscribed once.
    present: RefCell<Vec<bool>>,
    times: Cell<Option<Times>>,
    failure: RefCell<Option<Failure>>,
    is_over: Cell<bool>,
}

/// What one thread brings home.
pub struct Share {
    /// Delays.
    pub recorder: Recorder,
    /// Messages by topic.
    pub tables: Vec<Table>,
    /// All subscribers, each with whether it reads slowly.
    pub followers: Vec<(Follower, bool)>,
    /// Messages that subscribers never got, by subscriber.
    pub behind: Vec<u64>,
    /// Ends of subscriptions.
    pub counts: Counts,
    /// CPU time of the measured phase.
    pub spent: ThreadTime,
    /// Its length in nanoseconds.
    pub wall: u64,
}

impl Thread {
    /// A subscriber has subscribed, `took` after it connected.
    pub fn established(&self, place: usize, took: Duration) {
        self.present.borrow_mut()[place] = true;
        self.recorder.borrow_mut().subscribing.record_duration(took);
    }

    /// During the set-up the first failure ends the run.
    pub fn set_up_failed(&self, failure: impl FnOnce() -> Failure) {
        if self.times.get().is_none() {
            self.failure.borrow_mut().get_or_insert_with(failure);
        }
    }

    /// Whether messages due at `due` are measured.
    pub fn is_measured(&self, due: u64) -> bool {
        self.times.get().is_some_and(|times| (times.measure..times.end).contains(&due))
    }

    /// Publishing is over: nobody leaves any more.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    fn new(job: &Arc<Job>, clock: Clock, run: u64, members: usize) -> Self {
        Self {
            job: Arc::clone(job),
            clock,
            run,
            buffer: RefCell::new(vec![0; TOPIC_BUFFER_BYTES]),
            followers: RefCell::new(vec![Follower::default(); members]),
            tables: RefCell::new(vec![Table::default(); job.paths.len()]),
            recorder: RefCell::new(Recorder::new(0)),
            counts: RefCell::default(),
            present: RefCell::new(vec![false; members]),
            times: Cell::new(None),
            failure: RefCell::new(None),
            is_over: Cell::new(false),
        }
    }

    /// Starts all subscribers, some at once, and waits until each has subscribed.
    async fn set_up(self: &Rc<Self>, members: &[Who]) -> Result<(), Failure> {
        let mut done = 0;
        for batch in members.chunks(CONNECTS_AT_ONCE) {
            for who in batch {
                monoio::spawn(subscriber::live(Rc::clone(self), *who));
            }
            done += batch.len();
            while !self.present.borrow()[..done].iter().all(|present| *present) {
                if let Some(failure) = self.failure.borrow_mut().take() {
                    return Err(failure);
                }
                if stopped() {
                    return Err(Failure::Unusable("stopped before the run began".to_owned()));
                }
                sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    }

    /// Lets subscribers follow until publishing is over and they have everything, or give up.
    async fn follow(&self, members: &[Who], ends: &Ends) -> Vec<u64> {
        while ends.get().is_none() {
            sleep(LOOK_EVERY).await;
        }
        let ends = ends.get().map(Vec::as_slice).unwrap_or_default();
        self.is_over.set(true);
        let until = self.clock.now() + nanos(self.job.drain);
        loop {
            let behind = self.behind(members, ends);
            let waits = behind.iter().zip(members).any(|(behind, who)| *behind > 0 && !who.slow);
            if !waits || self.clock.now() >= until {
                return behind;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn behind(&self, members: &[Who], ends: &[(u64, u64)]) -> Vec<u64> {
        let followers = self.followers.borrow();
        let behind = members.iter().zip(followers.iter()).map(|(who, follower)| {
            let (page, last) = ends[who.topic];
            if last == 0 { 0 } else { follower.behind(page, last) }
        });
        behind.collect()
    }
}

/// The life of thread `index`.
pub fn run(
    job: &Arc<Job>,
    index: usize,
    (clock, run): (Clock, u64),
    ready: &Sender<anyhow::Result<()>>,
    times: &Receiver<Times>,
    ends: &Ends,
) -> anyhow::Result<Share> {
    if let Some(cpu) = job.cpus.get(index % job.cpus.len().max(1)) {
        thread::pin(&[*cpu]).with_context(|| format!("pinning to CPU {cpu}"))?;
    }
    thread::exact_timers();
    let mut runtime = thread::runtime(RING_ENTRIES)?;
    let members = job.members(index);
    let shared = Rc::new(Thread::new(job, clock, run, members.len()));
    let set_up = runtime.block_on(shared.set_up(&members));
    let is_set_up = set_up.is_ok();
    // The receiver is gone only when another thread has failed.
    let _ = ready.send(set_up.map_err(Into::into));
    if !is_set_up {
        bail!("the set-up failed");
    }
    let behind = runtime.block_on(async {
        // The clock of subscribers must not stand still while the others are set up.
        let times = loop {
            match times.try_recv() {
                Ok(times) => break times,
                Err(std::sync::mpsc::TryRecvError::Empty) => sleep(LOOK_EVERY).await,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                    bail!("another thread failed")
                }
            }
        };
        shared.recorder.borrow_mut().begin(times.measure);
        shared.times.set(Some(times));
        let before = ThreadTime::of_this_thread().unwrap_or_default();
        let behind = shared.follow(&members, ends).await;
        let spent = ThreadTime::of_this_thread().unwrap_or_default().since(before);
        Ok((behind, spent, clock.now().saturating_sub(times.start)))
    });
    let (behind, spent, wall) = behind?;
    let followers = shared.followers.take();
    Ok(Share {
        recorder: shared.recorder.replace(Recorder::new(0)),
        tables: shared.tables.take(),
        followers: followers.into_iter().zip(members.iter().map(|who| who.slow)).collect(),
        behind,
        counts: shared.counts.take(),
        spent,
        wall,
    })
}
