//! When each segment or part reached its viewers: publish-to-view delay and release spread.
//!
//! Only deliveries at the live edge count: a viewer who joins loads older segments, and those say
//! nothing about delay. Threads gather by themselves and hand over every few seconds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::limits::DELIVERIES_MAX;
use crate::player::media::Bytes;
use crate::report::model::{Distribution, distribution};

/// A segment that nobody received for so long is over, in nanoseconds.
const OVER_AFTER_NS: u64 = 30_000_000_000;

/// What is known of one segment or part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delivery {
    first: u64,
    last: u64,
    count: u64,
    /// Publish instant in nanoseconds since 1970.
    published: Option<u64>,
    /// Of the first body that was hashed.
    hash: Option<u64>,
}

/// One arrival.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When its last byte came, in nanoseconds since 1970.
    pub at: u64,
    /// Publish instant, when it was stamped.
    pub published: Option<u64>,
    /// Hash of its body, on a sample.
    pub hash: Option<u64>,
    /// It was the newest that was listed.
    pub edge: bool,
}

/// Deliveries of one thread, or of all.
#[derive(Debug)]
pub struct Deliveries {
    open: HashMap<u64, Delivery>,
    to_view: Distribution,
    to_last: Distribution,
    spread: Distribution,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            to_view: Distribution::seconds(distribution::PUBLISH_TO_VIEW),
            to_last: Distribution::seconds(distribution::PUBLISH_TO_LAST),
            spread: Distribution::seconds(distribution::RELEASE_SPREAD),
        }
    }
}

impl Deliveries {
    /// Notes an arrival; false when its bytes differ from those that another viewer got.
    pub fn note(&mut self, uri: &str, bytes: Bytes, arrival: &Arrival) -> bool {
        if let (true, Some(published)) = (arrival.edge, arrival.published) {
            self.to_view.record(seconds(arrival.at.saturating_sub(published)));
        }
        if !arrival.edge && arrival.hash.is_none() {
            return true;
        }
        let known = self.open.len();
        let mut hasher = DefaultHasher::new();
        (uri, bytes).hash(&mut hasher);
        let count = u64::from(arrival.edge);
        match self.open.entry(hasher.finish()) {
            Entry::Occupied(mut entry) => {
                let seen = entry.get_mut();
                let same = arrival.hash.zip(seen.hash).is_none_or(|(a, b)| a == b);
                seen.hash = seen.hash.or(arrival.hash);
                if arrival.edge {
                    let published = arrival.published;
                    seen.join(&Delivery {
                        first: arrival.at,
                        last: arrival.at,
                        count,
                        published,
                        hash: None,
                    });
                }
                same
            }
            Entry::Vacant(entry) if known < DELIVERIES_MAX => {
                let Arrival { at, published, hash, .. } = *arrival;
                entry.insert(Delivery { first: at, last: at, count, published, hash });
                true
            }
            Entry::Vacant(_) => true,
        }
    }

    /// Hands over to `all` what this thread has, and closes there what is over at `now`.
    pub fn hand_over(&mut self, all: &Mutex<Self>, now: u64) {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, delivery) in self.open.drain() {
            match all.open.entry(key) {
                Entry::Occupied(mut entry) => entry.get_mut().join(&delivery),
                Entry::Vacant(entry) => drop(entry.insert(delivery)),
            }
        }
        all.to_view.values.add(&self.to_view.values);
        self.to_view.values.clear();
        all.close(|delivery| delivery.last + OVER_AFTER_NS < now);
    }

    fn close(&mut self, over: impl Fn(&Delivery) -> bool) {
        let (to_last, spread) = (&mut self.to_last, &mut self.spread);
        self.open.retain(|_, delivery| {
            let over = over(delivery);
            if over && delivery.count > 0 {
                if let Some(published) = delivery.published {
                    to_last.record(seconds(delivery.last.saturating_sub(published)));
                }
                if delivery.count > 1 {
                    spread.record(seconds(delivery.last - delivery.first));
                }
            }
            !over
        });
    }

    /// All distributions that have values.
    pub fn finish(mut self) -> Vec<Distribution> {
        self.close(|_| true);
        let all = [self.to_view, self.to_last, self.spread];
        all.into_iter().filter(|distribution| !distribution.values.is_empty()).collect()
    }
}

impl Delivery {
    fn join(&mut self, other: &Self) {
        if other.count > 0 {
            if self.count == 0 {
                (self.first, self.last) = (other.first, other.last);
            }
            self.first = self.first.min(other.first);
            self.last = self.last.max(other.last);
            self.count += other.count;
        }
        self.published = self.published.or(other.published);
        self.hash = self.hash.or(other.hash);
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_count_from_the_publish_instant_to_each_and_to_the_last_viewer() {
        const MS: u64 = 1_000_000;
        let (mut one, mut two) = (Deliveries::default(), Deliveries::default());
        let at =
            |ms: u64, edge| Arrival { at: ms * MS, published: Some(1000 * MS), hash: None, edge };
        assert!(one.note("/a", None, &at(1010, true)));
        assert!(one.note("/a", None, &at(1030, true)));
        assert!(two.note("/a", None, &at(1050, true)));
        assert!(two.note("/a", None, &at(9000, false)), "a late joiner does not count");
        assert!(one.note("/a", Some((0, 5)), &at(1020, true)), "a range of its own");
        let all = Mutex::new(Deliveries::default());
        one.hand_over(&all, 2000 * MS);
        two.hand_over(&all, 2000 * MS);
        assert_eq!(all.lock().unwrap().open.len(), 2, "not over yet");
        two.hand_over(&all, 40_000 * MS);
        assert_eq!(all.lock().unwrap().open.len(), 0);
        let found = all.into_inner().unwrap().finish();
        let brief: Vec<(String, u64, u64)> = found
            .iter()
            .map(|d| (d.name.clone(), d.values.count(), (d.values.max() + 500_000) / 1_000_000))
            .collect();
        let expected = [
            (distribution::PUBLISH_TO_VIEW.to_owned(), 4, 50),
            (distribution::PUBLISH_TO_LAST.to_owned(), 2, 50),
            (distribution::RELEASE_SPREAD.to_owned(), 1, 40),
        ];
        assert_eq!(brief, expected);
    }

    #[test]
    fn bodies_that_differ_are_seen() {
        let mut all = Deliveries::default();
        let with = |hash| Arrival { at: 1, published: None, hash: Some(hash), edge: false };
        assert!(all.note("/a", None, &with(7)) && all.note("/a", None, &with(7)));
        assert!(!all.note("/a", None, &with(8)));
    }
}
