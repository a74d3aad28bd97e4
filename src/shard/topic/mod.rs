//! Topics on a shard: those it owns, copies of those it has subscribers for, and its subscribers.
//!
//! A publication goes to the topic's owner and comes from there to every shard with subscribers;
//! what a copy gets, its subscribers get: long-polls and WebSockets are woken as tasks, streams of
//! Server-Sent Events have no task and are sent to by [`fanout`].
//!
//! Invariants: the table is borrowed only between two awaits; whoever joins a copy leaves it.

mod arriving;
mod copies;
mod events;
mod fanout;
mod get;
mod measured;
mod poll;
mod publish;
mod socket;
mod stream;
mod until;
mod values;

use std::cell::Cell;
use std::task::Poll;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

use super::{Envelope, Shard};
use crate::limits;
use crate::sys::clock::Clock;
use crate::sys::extent::ShardId;
use crate::sys::task::TaskId;
use crate::topic::item::Draft;
use crate::topic::message::{Message, NO_TICKET, Position, Refusal, Ticket};
use crate::topic::name;
use crate::topic::owner::{Hook, Owner, PolicyOf};

pub(super) use arriving::{Charge, NoRoom};
pub(super) use publish::CROWDED;
pub(super) use stream::Resumed;
pub(super) use until::Until;

/// A shard's part in all topics.
pub(super) struct Topics {
    owner: Owner,
    copies: copies::Copies,
    streams: fanout::Streams,
    publishing: HashMap<Ticket, Publishing>,
    next_ticket: Ticket,
    /// Folders whose objects somebody wants to know of.
    wanted: HashSet<Box<[u8]>>,
    /// WebSockets, and long-polls that wait.
    sockets: usize,
    polls: usize,
    /// Tasks of WebSockets that wait without a subscription, so that no topic wakes them.
    bare: HashSet<TaskId>,
    arriving: arriving::Arriving,
    /// Places that it has for counts of single topics.
    places: usize,
    ticked_ms: Cell<u64>,
}

/// A publication whose outcome is waited for.
struct Publishing {
    task: TaskId,
    outcome: Option<Result<Position, Refusal>>,
}

impl Topics {
    pub(super) fn new(policy_of: PolicyOf, hook: Option<Hook>, shards: usize) -> Self {
        let mut owner = Owner::new(policy_of.clone(), shards);
        owner.hook = hook;
        Self {
            owner,
            copies: copies::Copies::new(policy_of),
            streams: fanout::Streams::default(),
            publishing: HashMap::new(),
            next_ticket: 0,
            wanted: HashSet::new(),
            sockets: 0,
            polls: 0,
            bare: HashSet::new(),
            arriving: arriving::Arriving::default(),
            places: 0,
            ticked_ms: Cell::new(0),
        }
    }
}

impl Shard {
    /// The shard that owns a topic.
    fn topic_owner(&self, topic: &[u8]) -> ShardId {
        let shards = self.mailbox.shards() as u64;
        let place = xxh3_64(name::place(topic)) % shards;
        ShardId::try_from(place).expect("a shard's number")
    }

    /// Publishes a message and waits for its place.
    async fn publish(&self, topic: &[u8], draft: Draft) -> Result<Position, Refusal> {
        let ticket = {
            let topics = &mut *self.topics.borrow_mut();
            topics.next_ticket = (topics.next_ticket + 1) % NO_TICKET;
            let task = self.reactor.tasks.current();
            topics.publishing.insert(topics.next_ticket, Publishing { task, outcome: None });
            topics.next_ticket
        };
        let message = Message::Publish { ticket, name: topic.into(), draft };
        self.post_topic(self.topic_owner(topic), message);
        std::future::poll_fn(|_| {
            let topics = &mut *self.topics.borrow_mut();
            match topics.publishing.get(&ticket).and_then(|publishing| publishing.outcome) {
                None => Poll::Pending,
                Some(outcome) => {
                    topics.publishing.remove(&ticket);
                    Poll::Ready(outcome)
                }
            }
        })
        .await
    }

    /// Handles what another shard, or this one, says about topics.
    pub(super) fn on_topic(&self, from: ShardId, message: Message) {
        let now_ms = Clock::wall_ms();
        let changes_wishes = matches!(message, Message::Wanted { .. });
        let mut topics = self.topics.borrow_mut();
        match message {
            Message::Publish { ticket, name, draft } => {
                topics.owner.publish(from, ticket, &name, &draft, now_ms);
            }
            Message::Follow { name } => topics.owner.follow(from, &name, now_ms),
            Message::Unfollow { name } => topics.owner.unfollow(from, &name),
            Message::Count { name, subscribers } => topics.owner.count(from, &name, subscribers),
            Message::Published { ticket, outcome } => {
                self.accounts.meters.topic_messages.add(u64::from(outcome.is_ok()));
                self.accounts.meters.topic_refused.add(u64::from(outcome.is_err()));
                if let Some(publishing) = topics.publishing.get_mut(&ticket) {
                    publishing.outcome = Some(outcome);
                    self.reactor.tasks.wake(publishing.task);
                }
            }
            Message::Followed { name, log } => {
                topics.copies.followed(&name, log, |task| self.reactor.tasks.wake(task));
            }
            Message::Next { name, item } => {
                topics.copies.push(&name, item, |task| self.reactor.tasks.wake(task));
            }
            Message::Wanted { folder, wanted: true } => {
                if topics.wanted.len() < limits::OBJECT_TOPICS_MAX {
                    topics.wanted.insert(folder);
                }
            }
            Message::Wanted { folder, wanted: false } => {
                topics.wanted.remove(&folder);
            }
        }
        drop(topics);
        if changes_wishes {
            self.want_events();
        }
        self.carry_topics();
    }

    /// Carries the owner's messages out.
    fn carry_topics(&self) {
        loop {
            let next = self.topics.borrow_mut().owner.outbox.pop_front();
            let Some((to, message)) = next else { return };
            self.post_topic(to, message);
        }
    }

    fn post_topic(&self, to: ShardId, message: Message) {
        if to == self.id {
            self.on_topic(to, message);
        } else {
            let envelope = Envelope::Topic { from: self.id, message };
            self.mailbox.send(to, envelope, &self.reactor);
        }
    }

    /// Looks after topics: sends to streams, and now and then forgets, counts and sends heartbeats.
    pub(super) fn turn_topics(&self) {
        self.tell_events();
        self.fan_out();
        let now_ms = self.reactor.clock.now_ms();
        let mut topics = self.topics.borrow_mut();
        if now_ms < topics.ticked_ms.get() + limits::TOPIC_TICK_MS {
            return;
        }
        topics.ticked_ms.set(now_ms);
        let wall_ms = Clock::wall_ms();
        topics.owner.tick(wall_ms);
        self.measure_topics(&mut topics, wall_ms);
        let mut messages = Vec::new();
        topics.copies.tick(now_ms, wall_ms, |message| messages.push(message));
        drop(topics);
        for message in messages {
            let (Message::Unfollow { name } | Message::Count { name, .. }) = &message else {
                continue;
            };
            self.post_topic(self.topic_owner(name), message);
        }
        self.carry_topics();
        self.publish_topic_meters();
    }

    fn publish_topic_meters(&self) {
        let topics = self.topics.borrow();
        let meters = &self.accounts.meters;
        meters.topics.set(topics.owner.len() as u64);
        meters.topic_arriving_bytes.set(topics.arriving.get() as u64);
        meters.topic_log_bytes.set(topics.owner.bytes() as u64);
        meters.topic_copies.set(topics.copies.len() as u64);
        meters.topic_streams.set(topics.streams.len() as u64);
        meters.topic_sockets.set(topics.sockets as u64);
        meters.topic_polls.set(topics.polls as u64);
        meters.topic_gaps.raise_to(topics.copies.gaps);
    }

    /// Whether subscribers wait to be sent to.
    pub(super) fn has_topic_work(&self) -> bool {
        self.topics.borrow().copies.has_work()
    }

    /// How long until topics are looked after: also where they have no connection to be woken by.
    pub(super) fn wait_for_topics(&self) -> Option<Duration> {
        let topics = self.topics.borrow();
        let is_any = !topics.owner.is_empty() || topics.copies.len() > 0;
        let tick_ms = topics.ticked_ms.get() + limits::TOPIC_TICK_MS;
        let left_ms = tick_ms.saturating_sub(self.reactor.clock.now_ms()).max(1);
        is_any.then(|| Duration::from_millis(left_ms))
    }

    /// Lets every subscriber look whether the shard is draining.
    pub(super) fn wake_topics(&self) {
        let topics = self.topics.borrow();
        topics.copies.wake_all(|task| self.reactor.tasks.wake(task));
        topics.bare.iter().for_each(|&task| self.reactor.tasks.wake(task));
        topics.streams.sockets().for_each(|socket| self.reactor.stir(socket));
    }
}
