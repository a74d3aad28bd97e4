//! Counts of single topics: the topics' owners write them, the control thread reads and renders.
//!
//! A rule asks for them (`metrics = true`). Each shard hands over the list of its own topics as a
//! whole, twice a second; a topic's owner knows the subscribers of all shards. Nobody waits: a list
//! is exchanged by its pointer.
//!
//! **Invariants**: the lists of all shards together have at most [`limits::TOPIC_SERIES_MAX`]
//! topics, since a topic needs a place before it may stand in one; a topic stands in one list.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::limits;
use crate::sys::swap::Swap;

/// What a topic counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicCount {
    /// The topic's name, in UTF-8 and without control bytes.
    pub name: Arc<[u8]>,
    /// Subscriptions that are open, on all shards.
    pub subscribers: u64,
    /// Distinct publishers in the last complete window of
    /// [`limits::PRESENCE_WINDOW_MS`].
    pub publishers: u64,
}

/// Where all shards hand over what their topics count.
pub struct TopicBoard {
    lists: Vec<Arc<Swap<Vec<TopicCount>>>>,
    free: AtomicUsize,
}

impl TopicBoard {
    /// Empty lists of so many shards.
    pub fn new(shards: usize) -> Arc<Self> {
        let lists = (0..shards).map(|_| Swap::new(Vec::new())).collect();
        Arc::new(Self { lists, free: AtomicUsize::new(limits::TOPIC_SERIES_MAX) })
    }

    /// Takes a place for a topic; `false` when there is none.
    pub fn take_place(&self) -> bool {
        self.free.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(1)).is_ok()
    }

    /// Gives a place back.
    pub fn give_place(&self) {
        self.free.fetch_add(1, Relaxed);
    }

    /// Hands over the list of a shard, which has a place for each.
    pub fn hand_over(&self, shard: usize, counts: Vec<TopicCount>) {
        self.lists[shard].replace(counts);
    }

    /// What all topics count, in the order of their names.
    pub fn read(&self) -> Vec<TopicCount> {
        let lists = self.lists.iter().map(|list| list.current().1);
        let mut counts: Vec<_> = lists.flat_map(|list| list.to_vec()).collect();
        counts.sort_by(|one, other| one.name.cmp(&other.name));
        counts
    }
}

impl std::fmt::Debug for TopicBoard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "TopicBoard({})", self.lists.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, subscribers: u64) -> TopicCount {
        TopicCount { name: name.as_bytes().into(), subscribers, publishers: 0 }
    }

    #[test]
    fn places_are_bounded_over_all_shards_and_come_back() {
        let board = TopicBoard::new(3);
        (0..limits::TOPIC_SERIES_MAX).for_each(|_| assert!(board.take_place()));
        assert!(!board.take_place() && !board.take_place());
        board.give_place();
        assert!(board.take_place() && !board.take_place());
    }

    #[test]
    fn lists_are_exchanged_as_a_whole_and_read_by_name() {
        let board = TopicBoard::new(2);
        assert_eq!(board.read(), []);
        board.hand_over(1, vec![count("a/b", 1), count("a/d", 2)]);
        board.hand_over(0, vec![count("a/c", 3)]);
        assert_eq!(board.read(), [count("a/b", 1), count("a/c", 3), count("a/d", 2)]);
        board.hand_over(1, vec![count("a/b", 4)]);
        assert_eq!(board.read(), [count("a/b", 4), count("a/c", 3)]);
    }
}
