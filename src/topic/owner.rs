//! The topics that a shard owns: order, log, followers, and who gives way when there are too many.
//!
//! Invariants: a message is numbered once and sent once to every following shard; topics and the
//! bytes of their logs are bounded; a topic that is followed is never forgotten, so a follower's
//! page does not change under it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::item::{Draft, Item};
use super::log::Log;
use super::message::{Message, NO_TICKET, Position, Refusal, Snapshot, Ticket};
use super::presence::{self, Distinct};
use super::{Policy, name};
use crate::limits;
use crate::sys::extent::ShardId;

/// What the rules say of a topic, by its name.
pub type PolicyOf = Arc<dyn Fn(&[u8]) -> Policy + Send + Sync>;

/// Is told of every message of a topic whose rule names a webhook: the webhook's number, the
/// topic, the message.
pub type Hook = Arc<dyn Fn(u16, &[u8], &Item) + Send + Sync>;

/// The topics of one owner.
pub struct Owner {
    topics: HashMap<Arc<[u8]>, Topic>,
    /// Every topic once, those that were used long ago at the front.
    order: VecDeque<Arc<[u8]>>,
    bytes: usize,
    last_page: u64,
    policy_of: PolicyOf,
    shards: usize,
    counted_ms: u64,
    /// Followed topics of counts.
    presences: Vec<Arc<[u8]>>,
    /// Topics whose rules ask for metrics, by the order in which they came into being.
    measured: BTreeMap<u64, Arc<[u8]>>,
    measured_last: u64,
    /// Takes what webhooks are told.
    pub hook: Option<Hook>,
    /// Messages on their way out, in order.
    pub outbox: VecDeque<(ShardId, Message)>,
}

struct Topic {
    log: Log,
    policy: Policy,
    /// Shards with subscribers, and how many each has.
    followers: Vec<(ShardId, u32)>,
    /// Used since its turn to give way came last.
    touched: bool,
    /// The second in which `in_second` messages were published.
    second: u64,
    in_second: u32,
    distinct: Option<Box<Distinct>>,
    /// Its place among the topics whose rules ask for metrics.
    measured: Option<u64>,
}

impl Owner {
    /// An owner without topics, one of `shards`.
    pub fn new(policy_of: PolicyOf, shards: usize) -> Self {
        Self {
            topics: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            last_page: 0,
            policy_of,
            shards,
            counted_ms: 0,
            presences: Vec::new(),
            measured: BTreeMap::new(),
            measured_last: 0,
            hook: None,
            outbox: VecDeque::new(),
        }
    }

    /// Topics that are known.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Bytes in the logs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a message in its place and sends it to whoever follows.
    pub fn publish(
        &mut self,
        from: ShardId,
        ticket: Ticket,
        topic: &[u8],
        draft: &Draft,
        now_ms: u64,
    ) {
        let outcome = self.place(topic, draft, now_ms);
        if ticket != NO_TICKET {
            self.outbox.push_back((from, Message::Published { ticket, outcome }));
        }
    }

    fn place(&mut self, topic: &[u8], draft: &Draft, now_ms: u64) -> Result<Position, Refusal> {
        let shared = self.find_or_make(topic, now_ms)?;
        let found = self.topics.get_mut(&shared).expect("found or made");
        if found.is_over_rate(now_ms) {
            return Err(Refusal::Rate);
        }
        if let (Some(distinct), Some(id)) = (&mut found.distinct, &draft.token_id) {
            distinct.note(id, now_ms);
        }
        let before = found.log.bytes();
        let position = Position { page: found.log.page, number: found.log.next() };
        let item = Arc::new(Item::new(position.page, position.number, now_ms, draft));
        found.log.push(item.clone(), &found.policy);
        self.bytes = self.bytes + found.log.bytes() - before;
        for &(shard, _) in &found.followers {
            let message = Message::Next { name: shared.clone(), item: item.clone() };
            self.outbox.push_back((shard, message));
        }
        if let (Some(hook), Some(number)) = (&self.hook, found.policy.webhook) {
            hook(number, topic, &item);
        }
        self.keep_within(&shared);
        Ok(position)
    }

    /// A shard has subscribers.
    pub fn follow(&mut self, from: ShardId, topic: &[u8], now_ms: u64) {
        let Ok(shared) = self.find_or_make(topic, now_ms) else {
            let message = Message::Followed { name: topic.into(), log: None };
            self.outbox.push_back((from, message));
            return;
        };
        let found = self.topics.get_mut(&shared).expect("found or made");
        let is_first = found.followers.is_empty();
        if !found.followers.iter().any(|&(shard, _)| shard == from) {
            found.followers.push((from, 0));
        }
        let before = found.log.bytes();
        found.log.forget_aged(&found.policy, now_ms);
        let log = &found.log;
        self.bytes = self.bytes + log.bytes() - before;
        let items = log.since(log.first()).cloned().collect();
        let snapshot = Snapshot { page: log.page, first: log.first(), items };
        let message = Message::Followed { name: shared.clone(), log: Some(snapshot) };
        self.outbox.push_back((from, message));
        if is_first {
            self.note_followed(&shared, now_ms);
        }
    }

    /// A shard has no subscribers any more.
    pub fn unfollow(&mut self, from: ShardId, topic: &[u8]) {
        let Some(found) = self.topics.get_mut(topic) else { return };
        found.followers.retain(|&(shard, _)| shard != from);
        if found.followers.is_empty() {
            found.touched = true;
            self.note_left(topic);
        }
    }

    /// A shard tells how many subscribers it has.
    pub fn count(&mut self, from: ShardId, topic: &[u8], subscribers: u32) {
        let Some(found) = self.topics.get_mut(topic) else { return };
        for follower in found.followers.iter_mut().filter(|follower| follower.0 == from) {
            follower.1 = subscribers;
        }
    }

    /// Topics whose rules ask for metrics, those first that came into being first.
    pub fn measured(&self) -> impl ExactSizeIterator<Item = &Arc<[u8]>> {
        self.measured.values()
    }

    /// Subscribers of a topic on all shards, and its distinct publishers in the last complete
    /// window, which are counted from the first call on.
    pub fn counts(&mut self, topic: &[u8], now_ms: u64) -> (u64, u64) {
        let Some(found) = self.topics.get_mut(topic) else { return (0, 0) };
        let subscribers = found.followers.iter().map(|&(_, count)| u64::from(count)).sum();
        let publishers = found.distinct.get_or_insert_default().count(now_ms);
        (subscribers, publishers as u64)
    }

    /// Tells counts when their time has come, and forgets old messages, some topics at a time.
    pub fn tick(&mut self, now_ms: u64) {
        if now_ms >= self.counted_ms + limits::PRESENCE_PERIOD_MS {
            self.counted_ms = now_ms;
            for name in self.presences.clone() {
                self.tell_count(&name, now_ms);
            }
        }
        for _ in 0..limits::TOPICS_SWEPT.min(self.order.len()) {
            let Some(name) = self.order.pop_front() else { return };
            if self.is_over(&name, now_ms) {
                self.forget(&name);
            } else {
                self.order.push_back(name);
            }
        }
    }

    /// Whether nothing is lost when the topic is forgotten.
    fn is_over(&mut self, name: &Arc<[u8]>, now_ms: u64) -> bool {
        let Some(topic) = self.topics.get_mut(name) else { return true };
        let before = topic.log.bytes();
        topic.log.forget_aged(&topic.policy, now_ms);
        self.bytes = self.bytes + topic.log.bytes() - before;
        topic.log.is_empty() && topic.followers.is_empty()
    }

    fn tell_count(&mut self, presence: &Arc<[u8]>, now_ms: u64) {
        let subject = name::place(presence);
        let (subscribers, active) = self.counts(subject, now_ms);
        let draft = Draft::text(presence::text(subject, subscribers, active));
        // The topic is followed, so it is there; its rule's rate may refuse a count.
        let _ = self.place(presence, &draft, now_ms);
    }

    fn note_followed(&mut self, topic: &Arc<[u8]>, now_ms: u64) {
        if let Some(folder) = topic.strip_prefix(name::OBJECTS) {
            self.tell_wanted(folder, true);
        } else if topic.starts_with(name::PRESENCE) {
            if self.presences.len() < limits::PRESENCE_TOPICS_MAX {
                self.presences.push(topic.clone());
            }
            self.tell_count(topic, now_ms);
        }
    }

    fn note_left(&mut self, topic: &[u8]) {
        if let Some(folder) = topic.strip_prefix(name::OBJECTS) {
            self.tell_wanted(folder, false);
        } else if topic.starts_with(name::PRESENCE) {
            self.presences.retain(|presence| **presence != *topic);
            let subject = self.topics.get_mut(name::place(topic));
            if let Some(subject) = subject.filter(|subject| subject.measured.is_none()) {
                subject.distinct = None;
            }
        }
    }

    fn tell_wanted(&mut self, folder: &[u8], wanted: bool) {
        for shard in (0..).take(self.shards) {
            let message = Message::Wanted { folder: folder.into(), wanted };
            self.outbox.push_back((shard, message));
        }
    }

    fn find_or_make(&mut self, name: &[u8], now_ms: u64) -> Result<Arc<[u8]>, Refusal> {
        if let Some((shared, topic)) = self.topics.get_key_value_mut(name) {
            topic.touched = true;
            return Ok(shared.clone());
        }
        if self.topics.len() >= limits::TOPICS_MAX && !self.make_room() {
            return Err(Refusal::Full);
        }
        let page = now_ms.max(self.last_page + 1);
        self.last_page = page;
        let policy = (self.policy_of)(name);
        let shared: Arc<[u8]> = name.into();
        let measured = policy.metrics.then(|| {
            self.measured_last += 1;
            self.measured.insert(self.measured_last, shared.clone());
            self.measured_last
        });
        let topic = Topic {
            log: Log::new(page, 1),
            policy,
            followers: Vec::new(),
            touched: false,
            second: 0,
            in_second: 0,
            distinct: None,
            measured,
        };
        self.topics.insert(shared.clone(), topic);
        self.order.push_back(shared.clone());
        Ok(shared)
    }

    /// Forgets a topic that has no followers and was not used for long; whether there was one.
    fn make_room(&mut self) -> bool {
        for _ in 0..(2 * self.order.len()).min(limits::TOPIC_TRIES_MAX) {
            let Some(name) = self.order.pop_front() else { return false };
            match self.topics.get_mut(&name) {
                Some(topic) if topic.touched || !topic.followers.is_empty() => {
                    topic.touched = false;
                    self.order.push_back(name);
                }
                _ => {
                    self.forget(&name);
                    return true;
                }
            }
        }
        false
    }

    /// Forgets a topic that is out of `order`.
    fn forget(&mut self, name: &Arc<[u8]>) {
        if let Some(topic) = self.topics.remove(name) {
            self.bytes -= topic.log.bytes();
            topic.measured.and_then(|place| self.measured.remove(&place));
        }
    }

    /// Keeps all logs within their common bound: topics without followers give way first, then
    /// the topic that has just grown gives up its oldest messages.
    fn keep_within(&mut self, grown: &Arc<[u8]>) {
        while self.bytes > limits::TOPIC_LOGS_BYTES_MAX {
            if let Some(topic) = self.topics.get_mut(grown) {
                topic.touched = true;
            }
            if self.make_room() {
                continue;
            }
            let Some(topic) = self.topics.get_mut(grown) else { return };
            let before = topic.log.bytes();
            topic.log.drop_oldest();
            self.bytes = self.bytes + topic.log.bytes() - before;
            if topic.log.is_empty() {
                return;
            }
        }
    }
}

impl Topic {
    fn is_over_rate(&mut self, now_ms: u64) -> bool {
        let Some(rate_max) = self.policy.rate_max else { return false };
        if self.second != now_ms / 1000 {
            (self.second, self.in_second) = (now_ms / 1000, 0);
        }
        self.in_second += 1;
        self.in_second > rate_max
    }
}
