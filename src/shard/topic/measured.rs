//! Counts of single topics for the metrics: those that this shard owns and whose rules ask for it.
//!
//! Invariants: what is handed over has places among those of all shards; the topics that came
//! into being first have them, and whoever waits for one gets it when one of them is forgotten.

use super::super::Shard;
use super::Topics;
use crate::meters::TopicCount;

impl Shard {
    /// Takes or gives back places, and hands over what the topics count that have one.
    pub(super) fn measure_topics(&self, topics: &mut Topics, wall_ms: u64) {
        let board = &self.settings.topic_board;
        let wanted = topics.owner.measured().len();
        let before = topics.places;
        while topics.places > wanted {
            board.give_place();
            topics.places -= 1;
        }
        while topics.places < wanted && board.take_place() {
            topics.places += 1;
        }
        self.accounts.meters.topics_unmeasured.set((wanted - topics.places) as u64);
        if before == 0 && topics.places == 0 {
            return;
        }
        let names: Vec<_> = topics.owner.measured().take(topics.places).cloned().collect();
        let counts = names.into_iter().map(|name| {
            let (subscribers, publishers) = topics.owner.counts(&name, wall_ms);
            TopicCount { name, subscribers, publishers }
        });
        board.hand_over(self.id.into(), counts.collect());
    }
}
