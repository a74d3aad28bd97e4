//! A topic's last messages, bounded by count, bytes and age, and where a subscriber stands in them.
//!
//! Invariants: numbers are consecutive; the newest message is never dropped for its size; a
//! position that the log does not know is answered by a [`Gap`] and the oldest that is held.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Policy;
use super::item::Item;

/// The last messages of a page.
#[derive(Debug)]
pub struct Log {
    /// The page.
    pub page: u64,
    /// Number of the oldest message that is held, or of the next one.
    first: u64,
    items: VecDeque<Arc<Item>>,
    bytes: usize,
}

/// Where a subscriber wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    Latest,
    /// With the oldest message that is held.
    Earliest,
    /// Where it left off: the page, and the number that it expects next.
    At {
        /// The page.
        page: u64,
        /// The number.
        next: u64,
    },
}

/// Messages that a subscriber has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last number that it has seen.
    pub last: u64,
    /// The number of the next message.
    pub new: u64,
    /// Its page.
    pub page: u64,
}

/// A subscriber's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The number of its next message.
    pub next: u64,
    /// What it has missed.
    pub gap: Option<Gap>,
}

impl Log {
    /// An empty log whose next message has the number `first`.
    pub fn new(page: u64, first: u64) -> Self {
        Self { page, first, items: VecDeque::new(), bytes: 0 }
    }

    /// The number of the next message.
    pub fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// The number of the oldest message that is held, or of the next one.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Bytes that count against the bound.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no message is held.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds the next message; drops what is beyond the bounds.
    pub fn push(&mut self, item: Arc<Item>, policy: &Policy) {
        debug_assert_eq!(item.number, self.next());
        let now_ms = item.published_ms;
        self.bytes += item.weight();
        self.items.push_back(item);
        while self.items.len() > policy.messages_max
            || self.bytes > policy.bytes_max && self.items.len() > 1
        {
            self.drop_oldest();
        }
        self.forget_aged(policy, now_ms);
    }

    /// Drops what is older than the policy allows at Unix time `now_ms`.
    pub fn forget_aged(&mut self, policy: &Policy, now_ms: u64) {
        while let Some(oldest) = self.items.front()
            && oldest.published_ms.saturating_add(policy.age_ms) < now_ms
        {
            self.drop_oldest();
        }
    }

    /// Drops the oldest message, if there is one.
    pub fn drop_oldest(&mut self) {
        if let Some(oldest) = self.items.pop_front() {
            self.bytes -= oldest.weight();
            self.first += 1;
        }
    }

    /// The messages from `next` on.
    pub fn since(&self, next: u64) -> impl Iterator<Item = &Arc<Item>> {
        let skipped = next.saturating_sub(self.first);
        self.items.range(usize::try_from(skipped).unwrap_or(usize::MAX).min(self.items.len())..)
    }

    /// Where a subscriber begins.
    pub fn join(&self, start: Start) -> Joined {
        match start {
            Start::Latest => Joined { next: self.next(), gap: None },
            Start::Earliest => Joined { next: self.first, gap: None },
            Start::At { page, next } => {
                let next = next.max(1);
                match page == self.page && (self.first..=self.next()).contains(&next) {
                    true => Joined { next, gap: None },
                    false => self.miss(next),
                }
            }
        }
    }

    /// Where a subscriber goes on that expects `next`, which may have been dropped.
    pub fn go_on(&self, next: u64) -> Joined {
        if next < self.first { self.miss(next) } else { Joined { next, gap: None } }
    }

    fn miss(&self, next: u64) -> Joined {
        let gap = Gap { last: next - 1, new: self.first, page: self.page };
        Joined { next: self.first, gap: Some(gap) }
    }
}
