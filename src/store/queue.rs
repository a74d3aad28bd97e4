//! A key's changes, in the order in which they came.
//!
//! Most keys have none most of the time, and there may be a million keys: a queue is one word, and
//! has memory only while something waits in it. What a queue no longer needs serves the next.
//!
//! Invariants: changes come out as they went in; how much unused memory is kept is bounded.

use std::collections::VecDeque;

use crate::limits;

use super::change::Change;

/// The changes of one key. The first one runs, the others wait.
#[derive(Debug, Default)]
pub(super) struct Queue(Option<Box<Changes>>);

#[derive(Debug, Default)]
struct Changes {
    list: VecDeque<Change>,
    /// The next that is spare.
    next: Option<Box<Changes>>,
}

/// The memory of queues that are empty.
#[derive(Debug, Default)]
pub(super) struct SpareQueues {
    first: Option<Box<Changes>>,
    count: usize,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |changes| changes.list.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn first(&self) -> Option<&Change> {
        self.0.as_ref()?.list.front()
    }

    pub fn push(&mut self, change: Change, spare: &mut SpareQueues) {
        let changes = self.0.get_or_insert_with(|| spare.take());
        changes.list.push_back(change);
    }

    pub fn pop(&mut self) -> Option<Change> {
        self.0.as_mut()?.list.pop_front()
    }

    /// Gives the memory of an empty queue up.
    pub fn tidy(&mut self, spare: &mut SpareQueues) {
        if self.is_empty()
            && let Some(changes) = self.0.take()
        {
            spare.keep(changes);
        }
    }
}

impl SpareQueues {
    fn take(&mut self) -> Box<Changes> {
        let Some(mut changes) = self.first.take() else { return Box::default() };
        self.first = changes.next.take();
        self.count -= 1;
        changes
    }

    fn keep(&mut self, mut changes: Box<Changes>) {
        if changes.list.capacity() <= limits::SPARE_QUEUE_MAX
            && self.count < limits::STORE_SPARE_MAX
        {
            changes.next = self.first.take();
            self.first = Some(changes);
            self.count += 1;
        }
    }
}
