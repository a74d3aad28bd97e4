//! One subscriber's place in the order, and what was wrong with what it was sent.
//!
//! Every number of a page must come once, in order, or be told of as a discontinuity. What is
//! neither is lost until it comes late. Pure.

use super::item::Discontinuity;

/// The message that is expected next; page 0 while nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The life of the topic.
    pub page: u64,
    /// The number within it.
    pub next: u64,
}

/// What one message was to its subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen before; it may have come out of order.
    New,
    /// Seen before.
    Duplicate,
}

/// What was wrong, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Never came, and nobody said so.
    pub lost: u64,
    /// Came again.
    pub duplicates: u64,
    /// Came after a later one, in an unannounced page, or were another message to others.
    pub disordered: u64,
    /// Discontinuities.
    pub discontinuities: u64,
    /// Numbers that discontinuities passed over, as far as the page tells.
    pub skipped: u64,
}

/// One subscriber's place.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    position: Position,
    /// Numbers of the latest unannounced gap, from and to (exclusive).
    gap: (u64, u64),
    /// What was wrong so far.
    pub faults: Faults,
}

impl Follower {
    /// The message that is expected next.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The server said where a new subscription begins; one that resumes knows already.
    pub fn begins(&mut self, page: u64, next: u64) {
        if self.position.page == 0 {
            self.position = Position { page, next };
        }
    }

    /// A message came.
    pub fn item(&mut self, page: u64, number: u64) -> Seen {
        let Position { page: known, next } = self.position;
        if known == 0 {
            self.position = Position { page, next: number + 1 };
            return Seen::New;
        }
        if page != known {
            // Nobody said that the old page is over.
            self.faults.disordered += 1;
            self.position = Position { page, next: number + 1 };
            self.gap = (0, 0);
            return Seen::New;
        }
        if number >= next {
            if number > next {
                self.faults.lost += number - next;
                self.gap = (next, number);
            }
            self.position.next = number + 1;
            return Seen::New;
        }
        if (self.gap.0..self.gap.1).contains(&number) {
            self.faults.lost = self.faults.lost.saturating_sub(1);
            self.faults.disordered += 1;
            // Another copy of it, or of those before it, is then a duplicate.
            self.gap.0 = number + 1;
            return Seen::New;
        }
        self.faults.duplicates += 1;
        Seen::Duplicate
    }

    /// The server said that messages are gone.
    pub fn discontinuity(&mut self, gap: Discontinuity) {
        self.faults.discontinuities += 1;
        if gap.new_sequence_page == self.position.page {
            self.faults.skipped += gap.new_topic_sequence.saturating_sub(self.position.next);
        }
        self.position = Position { page: gap.new_sequence_page, next: gap.new_topic_sequence };
        self.gap = (0, 0);
    }

    /// Messages up to `last` of `page`, the topic's end, that it has not got.
    pub fn behind(&self, page: u64, last: u64) -> u64 {
        match self.position {
            position if position.page == page => (last + 1).saturating_sub(position.next),
            _ => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(numbers: &[u64]) -> Follower {
        let mut follower = Follower::default();
        follower.begins(9, 1);
        for number in numbers {
            follower.item(9, *number);
        }
        follower
    }

    #[test]
    fn gaps_duplicates_and_late_messages_are_told_apart() {
        for (numbers, lost, duplicates, disordered) in [
            (&[1, 2, 3, 4][..], 0, 0, 0),
            (&[1, 4], 2, 0, 0),
            (&[2, 3, 4], 1, 0, 0),
            (&[1, 2, 2, 3, 4, 1], 0, 2, 0),
            (&[1, 4, 2, 3], 0, 0, 2),
            (&[1, 4, 2, 2], 1, 1, 1),
            (&[1, 3, 2, 4], 0, 0, 1),
        ] {
            let faults = fed(numbers).faults;
            let found = (faults.lost, faults.duplicates, faults.disordered);
            assert_eq!(found, (lost, duplicates, disordered), "{numbers:?}");
        }
    }

    #[test]
    fn what_was_announced_is_not_lost() {
        let mut follower = fed(&[1, 2]);
        follower.discontinuity(Discontinuity { new_topic_sequence: 7, new_sequence_page: 9 });
        assert_eq!(follower.item(9, 7), Seen::New);
        follower.discontinuity(Discontinuity { new_topic_sequence: 1, new_sequence_page: 10 });
        assert_eq!(follower.item(10, 1), Seen::New);
        let expected = Faults { discontinuities: 2, skipped: 4, ..Faults::default() };
        assert_eq!(follower.faults, expected);
        follower.item(11, 1);
        assert_eq!(follower.faults.disordered, 1, "a page that nobody announced");
    }

    #[test]
    fn the_end_of_the_topic_shows_what_never_came() {
        let follower = fed(&[1, 2]);
        assert_eq!(
            (follower.behind(9, 2), follower.behind(9, 5), follower.behind(8, 4)),
            (0, 3, 4)
        );
        let mut resumed = fed(&[1, 2]);
        resumed.begins(9, 1);
        assert_eq!(resumed.position(), Position { page: 9, next: 3 });
    }
}
