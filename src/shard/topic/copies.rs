//! Copies of topics that this shard has subscribers for, and what of them is ready to leave.
//!
//! Invariants: a copy lives while it has users and a while longer; what is rendered for one
//! subscriber is kept for the next that stands at the same place, until the topic is silent;
//! all copies together hold a bounded number of bytes.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use super::until::Until;
use crate::limits;
use crate::sys::task::TaskId;
use crate::topic::Policy;
use crate::topic::item::Item;
use crate::topic::log::{Gap, Log};
use crate::topic::message::{Message, Snapshot};
use crate::topic::owner::PolicyOf;
use crate::topic::wire::{self, FORMATS, Format};

/// Names a copy.
pub(super) type CopyId = u32;

/// Bytes that many subscribers are sent.
pub(super) type Shared = Rc<Vec<u8>>;

/// Where a copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The owner was asked for it.
    Asked,
    /// It follows the owner.
    Live,
    /// The owner has no room for the topic.
    Refused,
}

/// A topic as its owner tells it.
pub(super) struct Copy {
    name: Box<[u8]>,
    /// The name as JSON.
    quoted: String,
    policy: Policy,
    pub(super) state: State,
    pub(super) log: Log,
    users: u32,
    /// Users as the owner was told.
    told: u32,
    unused_ms: u64,
    /// Tasks to wake at every message.
    watchers: Vec<TaskId>,
    /// Streams that are sent to without a task.
    pub(super) streams: Vec<u32>,
    /// A pass over `streams`: the next one; another pass is due after it.
    pub(super) pass: Option<usize>,
    pub(super) again: bool,
    pub(super) beat: bool,
    /// No stream of `streams` that a pass has left there ends before this.
    pub(super) ends: Until,
    sent_ms: u64,
    batches: [Option<Batch>; FORMATS],
    polled: Option<(u64, Batch)>,
}

/// Messages of a format that were rendered.
struct Batch {
    from: u64,
    to: u64,
    bytes: Shared,
}

/// What a subscriber is sent next.
pub(super) enum Piece {
    /// These bytes; it then expects this number.
    Bytes(Shared, u64),
    /// Nothing: it has everything.
    Nothing,
    /// Nothing: it fell out of the log and is closed for it.
    TooSlow,
}

/// The copies of a shard.
pub(super) struct Copies {
    slots: Vec<Option<Box<Copy>>>,
    free: Vec<CopyId>,
    by_name: HashMap<Box<[u8]>, CopyId>,
    /// Copies with a pass over their streams.
    pub(super) work: VecDeque<CopyId>,
    policy_of: PolicyOf,
    now_ms: u64,
    /// Bytes in the logs of all.
    bytes: usize,
    /// Subscribers that were told of missed messages.
    pub(super) gaps: u64,
}

impl Copies {
    pub(super) fn new(policy_of: PolicyOf) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            work: VecDeque::new(),
            policy_of,
            now_ms: 0,
            bytes: 0,
            gaps: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// A copy that is in use.
    pub(super) fn at(&mut self, id: CopyId) -> &mut Copy {
        self.slots[id as usize].as_deref_mut().expect("a copy lives while it has users")
    }

    /// Adds a user; whether the owner is to be asked for the topic. `None` when there are too many.
    pub(super) fn join(&mut self, name: &[u8]) -> Option<(CopyId, bool)> {
        if let Some(&id) = self.by_name.get(name) {
            self.at(id).users += 1;
            return Some((id, false));
        }
        if self.by_name.len() >= limits::TOPIC_COPIES_MAX {
            return None;
        }
        let copy = Copy {
            name: name.into(),
            quoted: wire::quoted_name(name),
            policy: (self.policy_of)(name),
            state: State::Asked,
            log: Log::new(0, 1),
            users: 1,
            told: 0,
            unused_ms: 0,
            watchers: Vec::new(),
            streams: Vec::new(),
            pass: None,
            again: false,
            beat: false,
            ends: Until::FOREVER,
            sent_ms: self.now_ms,
            batches: Default::default(),
            polled: None,
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            CopyId::try_from(self.slots.len() - 1).expect("copies are bounded")
        });
        self.slots[id as usize] = Some(Box::new(copy));
        self.by_name.insert(name.into(), id);
        Some((id, true))
    }

    /// Takes a user away.
    pub(super) fn leave(&mut self, id: CopyId) {
        let now_ms = self.now_ms;
        let copy = self.at(id);
        copy.users -= 1;
        copy.unused_ms = now_ms;
    }

    /// The owner's answer.
    pub(super) fn followed(&mut self, name: &[u8], log: Option<Snapshot>, wake: impl Fn(TaskId)) {
        let Some(&id) = self.by_name.get(name) else { return };
        let copy = self.at(id);
        copy.state = if log.is_some() { State::Live } else { State::Refused };
        if let Some(snapshot) = log {
            copy.log = Log::new(snapshot.page, snapshot.first);
            // The owner's bounds hold already.
            let all = Policy { messages_max: usize::MAX, bytes_max: usize::MAX, ..copy.policy };
            snapshot.items.into_iter().for_each(|item| copy.log.push(item, &all));
        }
        copy.watchers.iter().for_each(|&task| wake(task));
        self.bytes += self.at(id).log.bytes();
        self.keep_within(id);
    }

    /// Keeps all copies within their common bound: the one that has grown gives up its oldest.
    fn keep_within(&mut self, grown: CopyId) {
        while self.bytes > limits::TOPIC_LOGS_BYTES_MAX && !self.at(grown).log.is_empty() {
            let log = &mut self.at(grown).log;
            let before = log.bytes();
            log.drop_oldest();
            self.bytes = self.bytes + self.at(grown).log.bytes() - before;
        }
    }

    /// The next message of a topic.
    pub(super) fn push(&mut self, name: &[u8], item: Arc<Item>, wake: impl Fn(TaskId)) {
        let Some(&id) = self.by_name.get(name) else { return };
        let now_ms = self.now_ms;
        let copy = self.at(id);
        // What was under way when the copy was dropped and made anew is in its log already.
        if copy.state != State::Live || item.number != copy.log.next() {
            return;
        }
        let before = copy.log.bytes();
        copy.log.push(item, &copy.policy);
        copy.sent_ms = now_ms;
        copy.watchers.iter().for_each(|&task| wake(task));
        self.bytes = self.bytes + self.at(id).log.bytes() - before;
        self.keep_within(id);
        self.begin_pass(id);
    }

    /// Has all streams of a copy looked at.
    fn begin_pass(&mut self, id: CopyId) {
        let copy = self.at(id);
        if copy.streams.is_empty() {
            return;
        }
        if copy.pass.is_some() {
            copy.again = true;
            return;
        }
        copy.pass = Some(0);
        self.work.push_back(id);
    }

    /// Drops what is old and copies that are not used, tells owners how many users there are,
    /// begins heartbeats and the end of streams.
    pub(super) fn tick(&mut self, now_ms: u64, wall_ms: u64, mut tell: impl FnMut(Message)) {
        self.now_ms = now_ms;
        for id in (0..).take(self.slots.len()) {
            let Some(copy) = self.slots[id as usize].as_deref_mut() else { continue };
            self.bytes -= copy.log.bytes();
            copy.log.forget_aged(&copy.policy, wall_ms);
            self.bytes += copy.log.bytes();
            if now_ms >= copy.sent_ms + limits::TOPIC_RENDERED_MS {
                (copy.batches, copy.polled) = Default::default();
            }
            if copy.told != copy.users && copy.state == State::Live {
                copy.told = copy.users;
                tell(Message::Count { name: copy.name.clone(), subscribers: copy.users });
            }
            let is_over = now_ms >= copy.unused_ms + limits::TOPIC_LINGER_MS;
            let is_unused = copy.users == 0 && copy.state != State::Asked && copy.pass.is_none();
            if is_unused && (is_over || copy.state == State::Refused) {
                tell(Message::Unfollow { name: copy.name.clone() });
                self.bytes -= copy.log.bytes();
                self.by_name.remove(&copy.name);
                self.slots[id as usize] = None;
                self.free.push(id);
            } else if now_ms >= copy.sent_ms + limits::TOPIC_HEARTBEAT_MS {
                copy.sent_ms = now_ms;
                copy.beat = !copy.streams.is_empty();
                self.begin_pass(id);
            } else if copy.ends.is_over(wall_ms / 1000) {
                self.begin_pass(id);
            }
        }
    }

    pub(super) fn wake_all(&self, wake: impl Fn(TaskId)) {
        for copy in self.slots.iter().flatten() {
            copy.watchers.iter().for_each(|&task| wake(task));
        }
    }

    /// What a subscriber that expects `next` is sent.
    pub(super) fn piece(&mut self, id: CopyId, format: Format, next: u64) -> Piece {
        let copy = self.at(id);
        let joined = copy.log.go_on(next);
        if joined.gap.is_none() && joined.next >= copy.log.next() {
            return Piece::Nothing;
        }
        let is_untold = format == Format::Values || copy.policy.close_slow;
        if joined.gap.is_some() && is_untold {
            return Piece::TooSlow;
        }
        let piece = copy.render(format, joined.next, joined.gap.as_ref());
        self.gaps += u64::from(joined.gap.is_some());
        piece
    }
}

impl Copy {
    pub(super) fn watch(&mut self, task: TaskId) {
        self.watchers.push(task);
    }

    pub(super) fn unwatch(&mut self, task: TaskId) {
        if let Some(at) = self.watchers.iter().position(|&watcher| watcher == task) {
            self.watchers.swap_remove(at);
        }
    }

    /// The name as JSON.
    pub(super) fn quoted(&self) -> &str {
        &self.quoted
    }

    /// Messages from `next` on, with what was missed before them; rendered once for all that
    /// stand there.
    pub(super) fn render(&mut self, format: Format, next: u64, gap: Option<&Gap>) -> Piece {
        let to = self.end_of_batch(next, usize::MAX);
        let slot = &mut self.batches[format as usize];
        if let (None, Some(batch)) = (gap, &slot)
            && (batch.from, batch.to) == (next, to)
        {
            return Piece::Bytes(batch.bytes.clone(), to);
        }
        let mut bytes = Vec::new();
        if let Some(gap) = gap {
            wire::gap(&mut bytes, format, &self.quoted, gap);
        }
        if to > next {
            let count = usize::try_from(to - next).unwrap_or(usize::MAX);
            let items = self.log.since(next).take(count);
            wire::messages(&mut bytes, format, &self.quoted, self.log.page, items);
        }
        let bytes = Rc::new(bytes);
        if gap.is_none() {
            *slot = Some(Batch { from: next, to, bytes: bytes.clone() });
        }
        Piece::Bytes(bytes, to)
    }

    /// The whole answer to a long-poll; `head` makes what goes before a body of so many bytes.
    pub(super) fn poll(
        &mut self,
        second: u64,
        next: u64,
        gap: Option<&Gap>,
        head: impl FnOnce(usize) -> Vec<u8>,
    ) -> Shared {
        let to = self.end_of_batch(next, limits::TOPIC_POLL_ITEMS_MAX);
        if let (None, Some((made, batch))) = (gap, &self.polled)
            && (*made, batch.from, batch.to) == (second, next, to)
        {
            return batch.bytes.clone();
        }
        let count = usize::try_from(to - next).unwrap_or(usize::MAX);
        let body = wire::poll(self.log.page, next, gap, self.log.since(next).take(count));
        let mut bytes = head(body.len());
        bytes.extend_from_slice(&body);
        let bytes = Rc::new(bytes);
        if gap.is_none() {
            self.polled = Some((second, Batch { from: next, to, bytes: bytes.clone() }));
        }
        bytes
    }

    /// Where a batch ends that begins at `next`.
    fn end_of_batch(&self, next: u64, items_max: usize) -> u64 {
        let mut bytes = 0;
        let mut to = next;
        for item in self.log.since(next).take(items_max) {
            bytes += item.json.len();
            if bytes > limits::TOPIC_BATCH_BYTES_MAX && to > next {
                break;
            }
            to = item.number + 1;
        }
        to
    }
}
