//! The event loop of one core: the only room that joins ring, http, store and origin.
//!
//! A turn: take completions, take messages of other shards, accept, run the tasks that may go on,
//! then those that send large pieces, free what nobody holds any more, carry the store's messages
//! out, submit and wait. Every connection is one task (`conn`); no task and no turn waits for
//! another shard with the loop stopped.
//!
//! Invariants: bytes started and tasks run per turn are bounded; the store is borrowed only
//! between two awaits; what the store wants sent is carried out in the turn in which it was said.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use crate::http::date;
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::meters::TopicBoard;
use crate::origin::heads;
use crate::origin::horizon::Horizon;
use crate::store::Store;
use crate::store::fields::KnownFields;
use crate::store::message::Message;
use crate::sys::clock::Clock;
use crate::sys::extent::ShardId;
use crate::sys::folder::DataFolder;
use crate::sys::mailbox::Mailbox;
use crate::sys::reactor::Reactor;
use crate::sys::swap::Swap;
use crate::sys::task::TaskId;
use crate::tier::lifecycle::Due;
use crate::tier::listing::Link as ListingLink;
use crate::tier::remote::Link;
use crate::topic::message::Message as TopicMessage;
use crate::topic::owner::{Hook as TopicHook, PolicyOf};

mod accept;
mod account;
mod answer;
mod body;
mod chunks;
mod cmcd;
mod cmsd;
mod conn;
mod dialect;
mod disk;
mod filling;
mod growing;
mod horizon;
mod immutable;
mod input;
mod ladder;
mod leftover;
mod lifecycle;
mod listing;
mod live;
mod lowlatency;
mod momento;
mod parted;
mod payload;
mod peer;
mod pipeline;
mod prefetch;
mod read;
mod remote;
mod rendered;
mod rules;
mod share;
mod special;
mod stale;
mod strict;
mod topic;
mod turns;
mod upload;
mod watch;
mod web;
mod writer;

pub use account::Accounts;
pub use leftover::Leftover;
pub use rules::Rules;

/// How large bodies leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tx {
    /// By zero-copy where the route allows it, learnt per connection; by reference elsewhere.
    Auto,
    /// By zero-copy always.
    ZeroCopy,
    /// By reference always.
    Splice,
    /// By copy always.
    Copy,
}

/// What a shard needs of the configuration.
#[derive(Clone)]
pub struct Settings {
    /// How large bodies leave.
    pub tx: Tx,
    /// Bodies from this size on leave by zero-copy where it is used, in bytes.
    pub zero_copy_bytes_min: u64,
    /// Bodies from this size on leave by reference where zero-copy sends are copied, in bytes.
    pub splice_bytes_min: u64,
    /// Sends of a version by copy before it leaves by reference on routes that are learnt.
    pub splice_after_copies: u8,
    /// Largest object, in bytes.
    pub object_bytes_max: u64,
    /// Who may do what, and what else may change.
    pub rules: Arc<Swap<Rules>>,
    /// A request's head must be complete this long after its first byte.
    pub head_ms: u64,
    /// An idle connection is closed after this time.
    pub idle_ms: u64,
    /// Longest pause within an upload's body.
    pub body_idle_ms: u64,
    /// Slowest peer that is kept, in bytes per second over [`Settings::rate_window_ms`].
    pub rate_min_bytes_per_s: u64,
    /// The time over which peers are measured.
    pub rate_window_ms: u64,
    /// After an answer that ends a connection: how long the peer's bytes are still drained.
    pub linger_ms: u64,
    /// How long a drain lets answers in flight finish.
    pub drain_ms: u64,
    /// Connections one shard keeps open.
    pub connections_max: usize,
    /// The folder of the disk tier.
    pub data: Option<Arc<DataFolder>>,
    /// A tree of files that is served as it lies.
    pub library: Option<Arc<DataFolder>>,
    /// Files from this size on are read in chunks, in bytes.
    pub large_bytes_min: u64,
    /// Bytes in a chunk, a power of two.
    pub chunk_bytes: u64,
    /// The way to the thread that reads folders of the disk tier.
    pub listings: Option<ListingLink>,
    /// Segments that are brought into memory ahead of their readers; 0: none.
    pub prefetch: u32,
    /// The way to the remote store.
    pub remote: Option<Link>,
    /// What the rules say of a topic.
    pub topic_policy: PolicyOf,
    /// Takes what webhooks are told of topics; must not block.
    pub topic_hook: Option<TopicHook>,
    /// Takes what single topics count.
    pub topic_board: Arc<TopicBoard>,
}

impl Settings {
    /// Bytes that a peer has to move in every window.
    fn window_bytes_min(&self) -> u64 {
        self.rate_min_bytes_per_s.saturating_mul(self.rate_window_ms) / 1000
    }
}

/// What shards, and the main thread, send to a shard.
pub enum Envelope {
    /// The store's protocol.
    Store {
        /// The sending shard.
        from: ShardId,
        /// What it says.
        message: Message,
    },
    /// What is said about topics.
    Topic {
        /// The sending shard.
        from: ShardId,
        /// What it says.
        message: TopicMessage,
    },
    /// Something that a task waits for has happened elsewhere.
    Woken(TaskId),
    /// Something may be due for a key's file.
    Due(Due),
    /// A connection that another shard accepted.
    Connection(OwnedFd),
    /// Finish what is in flight and end.
    Drain,
}

/// How a shard's thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every answer in flight was finished.
    Drained,
    /// The drain's time was over first.
    CutOff,
}

/// One shard.
pub struct Shard {
    me: Weak<Self>,
    id: ShardId,
    reactor: Reactor,
    store: RefCell<Store>,
    mailbox: Mailbox<Envelope>,
    settings: Settings,
    /// What holds for requests that begin now, and its generation.
    rules: RefCell<Arc<Rules>>,
    rules_generation: Cell<u64>,
    tickets: RefCell<peer::Tickets>,
    fetching: RefCell<HashMap<Box<[u8]>, Vec<TaskId>>>,
    growing_waiters: RefCell<HashMap<u64, Vec<TaskId>>>,
    growing_next: Cell<u64>,
    watches: RefCell<watch::Watches>,
    makers: RefCell<lowlatency::Makers>,
    horizon: RefCell<Horizon>,
    topics: RefCell<topic::Topics>,
    /// Manifests that were found stale.
    stale: RefCell<HashSet<Box<[u8]>>>,
    /// Multivariant playlists of which a rendition was found missing or stale.
    incomplete: RefCell<ladder::Incomplete>,
    disk: Option<Box<disk::Disk>>,
    remote: Option<Box<remote::RemoteTier>>,
    ahead: prefetch::Prefetches,
    /// Chunks that are being read ahead of answers.
    chunks_ahead: Cell<usize>,
    nonce: u64,
    preamble: RefCell<Preamble>,
    rendered: rendered::Rendered,
    known_fields: RefCell<KnownFields>,
    draining_since_ms: Cell<Option<u64>>,
    accounts: Accounts,
}

/// Date, and status line and Date of a plain 200, rendered once a second.
struct Preamble {
    wall_s: u64,
    date: [u8; date::DATE_BYTES],
    ok: [u8; PREAMBLE_BYTES],
}

/// `HTTP/1.1 200 OK`, `Date: ` and the date, each line with its end.
const PREAMBLE_BYTES: usize = Status::Ok.line().len() + 8 + date::DATE_BYTES;

impl Preamble {
    fn of(wall_s: u64) -> Self {
        let date = date::format(wall_s);
        let mut ok = [0; PREAMBLE_BYTES];
        let mut writer = Writer::new(&mut ok);
        heads::begin(&mut writer, Status::Ok, &date);
        let written = writer.finish();
        debug_assert_eq!(written, Ok(PREAMBLE_BYTES));
        Self { wall_s, date, ok }
    }
}

impl Shard {
    /// A shard on the calling thread, listening on `listeners`.
    pub fn new(
        reactor: Reactor,
        store: Store,
        mailbox: Mailbox<Envelope>,
        settings: Settings,
        nonce: u64,
        listeners: Vec<OwnedFd>,
        accounts: Accounts,
    ) -> Rc<Self> {
        let id = mailbox.id();
        mailbox.attach(&reactor);
        for listener in listeners {
            reactor.listen(listener.into_raw_fd());
        }
        let wall_s = reactor.clock.wall_s();
        let (policy_of, hook) = (settings.topic_policy.clone(), settings.topic_hook.clone());
        let topics = topic::Topics::new(policy_of, hook, mailbox.shards());
        let disk = disk::Disk::of(&settings);
        let remote = remote::RemoteTier::of(&settings);
        let (generation, rules) = settings.rules.current();
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            id,
            reactor,
            store: RefCell::new(store),
            mailbox,
            settings,
            rules: RefCell::new(rules),
            rules_generation: Cell::new(generation),
            tickets: RefCell::default(),
            fetching: RefCell::default(),
            growing_waiters: RefCell::default(),
            growing_next: Cell::new(0),
            watches: RefCell::default(),
            makers: RefCell::default(),
            horizon: RefCell::default(),
            topics: RefCell::new(topics),
            stale: RefCell::default(),
            incomplete: RefCell::default(),
            disk,
            remote,
            ahead: prefetch::Prefetches::default(),
            chunks_ahead: Cell::default(),
            nonce,
            preamble: RefCell::new(Preamble::of(wall_s)),
            rendered: rendered::Rendered::default(),
            known_fields: RefCell::default(),
            draining_since_ms: Cell::new(None),
            accounts,
        })
    }

    /// Runs until a drain is finished.
    ///
    /// # Errors
    /// When the ring fails: the shard cannot go on.
    pub fn run(self: &Rc<Self>) -> std::io::Result<Ending> {
        loop {
            self.turn();
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
            self.wait()?;
        }
    }

    fn turn(self: &Rc<Self>) {
        self.mailbox.rise();
        self.reactor.reap();
        self.refresh_rules();
        self.refresh_date();
        for _ in 0..limits::TURN_MESSAGES_MAX {
            let Some(envelope) = self.mailbox.receive() else { break };
            self.open(envelope);
        }
        self.accept_new();
        let now_ms = self.reactor.clock.now_ms();
        self.store.borrow_mut().sweep_expired(now_ms, limits::SWEEP_PER_TURN);
        self.turn_remote(now_ms);
        self.carry();
        self.reactor.tasks.run(limits::TURN_TASKS_MAX);
        self.reactor.send_large();
        self.turn_topics();
        self.store.borrow_mut().collect_released(self.reactor.clock.now_ms());
        self.carry();
        let length_us = Clock::monotonic_us() - self.reactor.clock.now_us();
        self.accounts.meters.turn_duration.observe(length_us);
    }

    fn open(self: &Rc<Self>, envelope: Envelope) {
        match envelope {
            Envelope::Store { from, message } => self.on_message(from, message),
            Envelope::Topic { from, message } => self.on_topic(from, message),
            Envelope::Woken(task) => self.reactor.tasks.wake(task),
            Envelope::Due(due) => self.on_due(due),
            Envelope::Connection(fd) => self.spawn(fd.into_raw_fd()),
            Envelope::Drain => self.begin_drain(),
        }
    }

    fn wait(self: &Rc<Self>) -> std::io::Result<()> {
        if let Some(envelope) = self.mailbox.rest() {
            self.open(envelope);
            return self.reactor.enter(Some(Duration::ZERO));
        }
        self.publish_meters();
        self.reactor.enter(self.wait_max())
    }

    /// The longest wait that neither timers nor expiries forbid.
    fn wait_max(&self) -> Option<Duration> {
        if self.has_topic_work() {
            return Some(Duration::ZERO);
        }
        let now_ms = self.reactor.clock.now_ms();
        let of_store = self.store.borrow().next_deadline();
        let deadline_ms = of_store.into_iter().chain(self.remote_deadline()).min();
        let store = deadline_ms
            .map(|deadline_ms| Duration::from_millis(deadline_ms.saturating_sub(now_ms).max(1)));
        let meters = self.meters_due().then_some(Duration::from_micros(limits::METERS_PERIOD_US));
        let drain = self.is_draining().then_some(Duration::from_millis(limits::DRAIN_LOOK_MS));
        let others = [meters, drain, self.wait_for_ladders(), self.wait_for_topics()];
        [store, self.reactor.wait_max()].into_iter().chain(others).flatten().min()
    }

    fn refresh_date(&self) {
        let wall_s = self.reactor.clock.wall_s();
        let mut preamble = self.preamble.borrow_mut();
        if preamble.wall_s != wall_s {
            *preamble = Preamble::of(wall_s);
            self.forget_rendered();
        }
    }

    fn date(&self) -> [u8; date::DATE_BYTES] {
        self.preamble.borrow().date
    }

    fn begin_drain(&self) {
        if self.draining_since_ms.get().is_none() {
            self.draining_since_ms.set(Some(self.reactor.clock.now_ms()));
            self.reactor.close_listeners();
            self.reactor.evict_all_idle();
            self.wake_all_watching();
            self.wake_makers();
            self.wake_topics();
        }
    }

    /// Whether a drain's time is over.
    fn is_past_drain(&self) -> bool {
        let now_ms = self.reactor.clock.now_ms();
        self.draining_since_ms.get().is_some_and(|since| now_ms >= since + self.settings.drain_ms)
    }

    /// Separates the parts of an answer: unlike anything in an object, since nobody can guess it.
    fn boundary(&self) -> [u8; 32] {
        let number = self.growing_next.get();
        self.growing_next.set(number + 1);
        // Sixteen, four and at least twelve digits; of more only the first are taken.
        let mut digits = [0; 32];
        let _ = write!(&mut digits[..], "{:016x}{:04x}{number:012x}", self.nonce, self.id);
        digits
    }

    /// Waits until the fetch of `key` that is under way has ended.
    async fn wait_for_fetch(&self, key: &[u8]) {
        if let Some(waiting) = self.fetching.borrow_mut().get_mut(key) {
            waiting.push(self.reactor.tasks.current());
        }
        let mut waited = false;
        std::future::poll_fn(|_| match std::mem::replace(&mut waited, true) {
            false => std::task::Poll::Pending,
            // Woken for whatever reason: the caller looks again.
            true => std::task::Poll::Ready(()),
        })
        .await;
    }

    fn is_draining(&self) -> bool {
        self.draining_since_ms.get().is_some()
    }

    fn ending(&self) -> Option<Ending> {
        let since_ms = self.draining_since_ms.get()?;
        let quiet = self.reactor.tasks.live() == 0 && !self.reactor.is_listening();
        let bells = self.mailbox.bells();
        bells.report_quiet(self.id, quiet);
        // An upload on another shard may still need keys that this one owns: all end together.
        if quiet && bells.are_quiet() {
            return Some(Ending::Drained);
        }
        let over = self.reactor.clock.now_ms() >= since_ms + self.settings.drain_ms;
        over.then_some(if quiet { Ending::Drained } else { Ending::CutOff })
    }
}

#[cfg(test)]
mod tests;
