//! Which message stands at which place of a topic, and when the last subscriber had it.
//!
//! One table a thread and topic; added up at the end, where the order that threads saw, and the
//! places that publishers were told, must agree. Bounded by the messages that a run publishes.

use std::collections::HashMap;

use super::stamp::Stamp;
use crate::report::model::Distribution;

/// One message, as this thread's subscribers saw it.
#[derive(Clone, Copy, Debug)]
struct Message {
    stamp: Stamp,
    /// When the last of those that waited for it had it; 0 when none did.
    last: u64,
}

/// The messages of one topic by page and number.
#[derive(Clone, Debug, Default)]
pub struct Table {
    messages: HashMap<(u64, u64), Message>,
}

impl Table {
    /// A subscriber got a message at `at`, of which it was told live or when it came back. False
    /// when another subscriber got another message at that place.
    pub fn note(&mut self, place: (u64, u64), stamp: Stamp, at: u64, live: bool) -> bool {
        let message = self.messages.entry(place).or_insert(Message { stamp, last: 0 });
        if live {
            message.last = message.last.max(at);
        }
        message.stamp == stamp
    }

    /// Adds what another thread saw; the places at which both differ.
    pub fn add(&mut self, other: &Self) -> u64 {
        let mut differing = 0;
        for (place, theirs) in &other.messages {
            let mine = self.messages.entry(*place).or_insert(*theirs);
            differing += u64::from(mine.stamp != theirs.stamp);
            mine.last = mine.last.max(theirs.last);
        }
        differing
    }

    /// Whether the message that a publisher was told to stand at `place` stands there; true when
    /// nobody saw that place.
    pub fn agrees(&self, place: (u64, u64), identity: u64) -> bool {
        self.messages.get(&place).is_none_or(|message| message.stamp.identity() == identity)
    }

    /// Messages that stand behind a later one of the same publisher, which waits for each answer
    /// before it sends the next.
    pub fn disordered(&self) -> u64 {
        let mut places: Vec<_> = self.messages.iter().collect();
        places.sort_unstable_by_key(|(place, _)| **place);
        let mut newest = HashMap::new();
        let mut disordered = 0;
        for (_, Message { stamp, .. }) in places {
            let newest = newest.entry(stamp.publisher).or_insert(stamp.sequence);
            disordered += u64::from(stamp.sequence < *newest);
            *newest = stamp.sequence.max(*newest);
        }
        disordered
    }

    /// Records the time from due to the last subscriber of each message due within `measured`.
    pub fn to_last(&self, measured: std::ops::Range<u64>, into: &mut Distribution) {
        for message in self.messages.values() {
            if message.last > 0 && measured.contains(&message.stamp.due) {
                into.values.record(message.last.saturating_sub(message.stamp.due));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(publisher: u32, sequence: u64) -> Stamp {
        Stamp { run: 1, publisher, sequence, due: 1000 * (sequence + 1) }
    }

    #[test]
    fn the_last_subscriber_of_all_threads_counts_and_only_while_live() {
        let (mut one, mut two) = (Table::default(), Table::default());
        assert!(one.note((9, 1), stamp(0, 0), 5_000, true));
        assert!(one.note((9, 1), stamp(0, 0), 90_000_000, false), "came back later");
        assert!(two.note((9, 1), stamp(0, 0), 65_000, true));
        assert!(two.note((9, 2), stamp(0, 9), 99_000, true), "not due in the measured phase");
        assert_eq!(one.add(&two), 0);
        let mut last = Distribution::seconds("last");
        one.to_last(0..5000, &mut last);
        assert_eq!((last.values.count(), last.values.max() / 1000), (1, 64));
    }

    #[test]
    fn another_order_is_seen_within_a_thread_across_threads_and_by_publishers() {
        let (mut one, mut two) = (Table::default(), Table::default());
        assert!(one.note((9, 1), stamp(0, 0), 1, true));
        assert!(!one.note((9, 1), stamp(1, 0), 1, true));
        assert!(two.note((9, 1), stamp(1, 0), 1, true));
        assert!(two.note((9, 2), stamp(0, 0), 1, true));
        assert_eq!(one.add(&two), 1);
        assert!(one.agrees((9, 1), stamp(0, 0).identity()) && one.agrees((9, 7), 3));
        assert!(!one.agrees((9, 1), stamp(1, 0).identity()));
    }

    #[test]
    fn a_publisher_is_in_its_own_order() {
        let mut table = Table::default();
        for (number, (publisher, sequence)) in
            [(0, 0), (1, 3), (0, 2), (0, 1), (1, 4)].iter().enumerate()
        {
            table.note((9, number as u64), stamp(*publisher, *sequence), 1, true);
        }
        assert_eq!(table.disordered(), 1);
    }
}
