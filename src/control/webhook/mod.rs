//! Webhooks: every message of a rule's topics is sent to a receiver, signed, in order.
//!
//! A shard that owns a topic puts its messages into the queue of the rule's webhook and goes on; a
//! task of the control thread takes them out one at a time. What fails is tried again with longer
//! and longer pauses; what fails for good, or finds the queue full, is a dead letter: counted, and
//! told of in the log when it begins.
//!
//! **Invariants**: a push never waits; a queue is bounded by messages and bytes; a message is
//! counted once, as delivered or as dead; messages of one webhook arrive in the order in which they
//! were put, with or without gaps; a slow receiver delays nothing but its own messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::config::{TopicRules, Webhook};
use crate::limits;

mod delivery;
mod sender;
mod signature;

/// One message on its way to a receiver.
#[derive(Debug)]
pub(super) struct Notice {
    topic: Box<[u8]>,
    number: u64,
    published_ms: u64,
    /// The JSON object that subscribers get.
    json: Box<[u8]>,
}

/// What one webhook counts; written by shards and by the control thread.
#[derive(Debug, Default)]
pub struct HookMeters {
    label: String,
    delivered: AtomicU64,
    dead: AtomicU64,
    failed: AtomicU64,
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
}

impl HookMeters {
    fn new(pattern: &str) -> Self {
        let pattern = pattern.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        Self { label: format!("rule=\"{pattern}\""), ..Self::default() }
    }

    /// Its label in metrics.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Messages that the receiver took.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Messages that it never took.
    pub fn dead(&self) -> u64 {
        self.dead.load(Relaxed)
    }

    /// Attempts that failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Messages that wait, the one under way included.
    pub fn queued(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// Room for a message, or none.
    fn reserve(&self, bytes: usize) -> bool {
        let before = self.queued_bytes.fetch_add(bytes, Relaxed);
        let has_room = before + bytes <= limits::WEBHOOK_QUEUE_BYTES_MAX;
        if has_room {
            self.queued.fetch_add(1, Relaxed);
        } else {
            self.queued_bytes.fetch_sub(bytes, Relaxed);
        }
        has_room
    }

    fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Relaxed);
        self.queued.fetch_sub(1, Relaxed);
    }
}

/// The ends of the queues that shards hold.
#[derive(Clone, Debug)]
pub struct Queues(Arc<[(mpsc::Sender<Notice>, Arc<HookMeters>)]>);

impl Queues {
    /// Whether there is no webhook.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a message into the queue of webhook `hook`; when there is no room it is a dead letter.
    pub fn push(&self, hook: u16, topic: &[u8], number: u64, published_ms: u64, json: &[u8]) {
        let Some((queue, meters)) = self.0.get(usize::from(hook)) else { return };
        let bytes = topic.len() + json.len();
        let Some(place) = meters.reserve(bytes).then(|| queue.try_reserve()) else {
            meters.dead.fetch_add(1, Relaxed);
            return;
        };
        match place {
            Ok(place) => {
                place.send(Notice { topic: topic.into(), number, published_ms, json: json.into() });
            }
            Err(_) => {
                meters.release(bytes);
                meters.dead.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Notice {
    fn bytes(&self) -> usize {
        self.topic.len() + self.json.len()
    }
}

/// One webhook before its task runs.
#[derive(Debug)]
pub(super) struct Hook {
    webhook: Webhook,
    queue: mpsc::Receiver<Notice>,
    meters: Arc<HookMeters>,
}

/// All webhooks before they are served.
#[derive(Debug, Default)]
pub struct Webhooks(Vec<Hook>);

/// All webhooks while they are served.
pub(super) struct Sending {
    tasks: JoinSet<()>,
    finish: watch::Sender<bool>,
    meters: Vec<Arc<HookMeters>>,
}

/// A queue for each webhook of the rules: both ends.
pub fn queues(rules: &TopicRules) -> (Webhooks, Queues) {
    let (mut hooks, mut ends) = (Vec::new(), Vec::new());
    for (pattern, webhook) in rules.webhooks() {
        let (end, queue) = mpsc::channel(limits::WEBHOOK_QUEUE_MAX);
        let meters = Arc::new(HookMeters::new(pattern));
        ends.push((end, Arc::clone(&meters)));
        hooks.push(Hook { webhook: webhook.clone(), queue, meters });
    }
    (Webhooks(hooks), Queues(ends.into()))
}

impl Webhooks {
    /// What each counts.
    pub fn meters(&self) -> Vec<Arc<HookMeters>> {
        self.0.iter().map(|hook| Arc::clone(&hook.meters)).collect()
    }

    /// Starts a task for each on the runtime of the caller.
    pub(super) fn start(self) -> Sending {
        let (finish, finishing) = watch::channel(false);
        let meters = self.meters();
        let mut tasks = JoinSet::new();
        for hook in self.0 {
            tasks.spawn(sender::run(hook, finishing.clone()));
        }
        Sending { tasks, finish, meters }
    }
}

impl Sending {
    /// Empties the queues, with one attempt for each message and within a bounded time.
    pub async fn finish(mut self) {
        // Without webhooks nobody listens.
        let _ = self.finish.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let patience = Duration::from_millis(limits::WEBHOOK_FINISH_MS);
        let _ = tokio::time::timeout(patience, all).await;
        let left: usize = self.meters.iter().map(|meters| meters.queued()).sum();
        if left > 0 {
            tracing::warn!(messages = left, "webhooks were not told of all messages");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded_by_messages_and_by_bytes() {
        let meters = Arc::new(HookMeters::new("a\"\\b/**"));
        assert_eq!(meters.label(), "rule=\"a\\\"\\\\b/**\"");
        let (end, mut queue) = mpsc::channel(limits::WEBHOOK_QUEUE_MAX);
        let queues = Queues(vec![(end, Arc::clone(&meters))].into());
        (0..limits::WEBHOOK_QUEUE_MAX as u64 + 5).for_each(|n| queues.push(0, b"a/b", n, 7, b"{}"));
        queues.push(1, b"a/b", 1, 7, b"{}");
        assert_eq!((meters.queued(), meters.dead()), (limits::WEBHOOK_QUEUE_MAX, 5));
        while let Ok(notice) = queue.try_recv() {
            meters.release(notice.bytes());
        }
        let large = vec![b'x'; limits::WEBHOOK_QUEUE_BYTES_MAX / 4];
        (0..6).for_each(|number| queues.push(0, b"a/b", number, 7, &large));
        assert_eq!((meters.queued(), meters.dead()), (3, 8), "names count, too");
        while let Ok(notice) = queue.try_recv() {
            meters.release(notice.bytes());
        }
        assert_eq!((meters.queued(), meters.queued_bytes.load(Relaxed)), (0, 0));
        drop(queue);
        queues.push(0, b"a/b", 1, 7, b"{}");
        assert_eq!((meters.queued(), meters.dead()), (0, 9), "nobody takes them any more");
    }
}
