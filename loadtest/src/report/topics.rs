//! What subscribers of topics got, and what was wrong with it: counts that add, distributions.

use serde::{Deserialize, Serialize};

use super::model::Distribution;
use super::units;

/// What subscribers of topics got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topics {
    /// Counts; every field adds in a merge.
    pub counts: TopicCounts,
    /// Named by the constants in `model::distribution`.
    pub distributions: Vec<Distribution>,
}

/// Declares the counts, each with its words.
macro_rules! counts {
    ($($(#[$help:meta])* $name:ident: $words:literal,)*) => {
        /// Counts over all subscribers of a run, warm-up and drain included, but for deliveries.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct TopicCounts {
            $($(#[$help])* pub $name: u64,)*
        }

        impl TopicCounts {
            /// Every count with its words, in the order in which they are shown.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($words, self.$name),)*]
            }

            /// Adds what another generator counted.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Topics.
    topics: "topics",
    /// Subscribers.
    subscribers: "subscribers",
    /// Subscribers that read slowly.
    slow: "slow subscribers",
    /// Messages that publishers were told a place for.
    published: "messages published",
    /// Messages of the measured phase that reached a subscriber that waited for them.
    deliveries: "deliveries",
    /// Messages that reached a subscriber that had been away when they were due.
    resumed: "deliveries after coming back",
    /// Messages that reached a slow subscriber.
    slow_deliveries: "deliveries to slow subscribers",
    /// Messages that a subscriber never got and was not told of.
    lost: "lost",
    /// See `lost`.
    subscribers_with_loss: "subscribers with losses",
    /// Messages that a subscriber got again.
    duplicates: "duplicates",
    /// See `duplicates`.
    subscribers_with_duplicates: "subscribers with duplicates",
    /// Messages out of order, or at another place than for others or their publisher.
    disordered: "violations of order",
    /// See `disordered`.
    subscribers_with_disorder: "subscribers with violations of order",
    /// Discontinuities that subscribers were told of.
    discontinuities: "discontinuities",
    /// See `discontinuities`.
    subscribers_with_discontinuities: "subscribers with discontinuities",
    /// Messages that discontinuities passed over.
    skipped: "messages passed over by discontinuities",
    /// Subscribers that left and came back.
    reconnects: "left and came back",
    /// Subscriptions that the server, or an error, ended.
    cut: "subscriptions cut",
}

impl Topics {
    /// Values of a distribution in words; all are seconds.
    pub fn time(distribution: &Distribution, value: u64) -> String {
        units::time(value as f64 / distribution.per_unit * 1e9)
    }

    /// Adds what another generator found.
    pub fn add(&mut self, other: Self) {
        self.counts.add(&other.counts);
        for distribution in other.distributions {
            match self.distributions.iter_mut().find(|mine| mine.name == distribution.name) {
                Some(mine) => mine.values.add(&distribution.values),
                None => self.distributions.push(distribution),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_distributions_add() {
        let mut one = Topics::default();
        one.counts.lost = 2;
        let mut two = Topics::default();
        (two.counts.lost, two.counts.cut) = (3, 1);
        let mut last = Distribution::seconds("last");
        last.record(0.5);
        two.distributions.push(last);
        one.add(two.clone());
        one.add(two);
        assert_eq!((one.counts.lost, one.counts.cut), (8, 2));
        assert_eq!((one.distributions.len(), one.distributions[0].values.count()), (1, 2));
        let words: std::collections::BTreeSet<_> =
            one.counts.rows().into_iter().map(|(words, _)| words).collect();
        assert_eq!(words.len(), one.counts.rows().len(), "each has words of its own");
        let value = one.distributions[0].values.max();
        assert_eq!(Topics::time(&one.distributions[0], value), "500 ms");
    }
}
