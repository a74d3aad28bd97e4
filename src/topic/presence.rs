//! How many distinct publishers a topic had: the concurrency that heartbeats tell.
//!
//! Invariants: a window's set is bounded; what is told is the last complete window.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::item::quoted;
use crate::limits::{PRESENCE_IDS_MAX, PRESENCE_WINDOW_MS};

/// Distinct ids over windows of [`PRESENCE_WINDOW_MS`].
#[derive(Debug, Default)]
pub struct Distinct {
    begun_ms: u64,
    seen: HashSet<u64>,
    last: usize,
}

impl Distinct {
    /// Notes an id at Unix time `now_ms`.
    pub fn note(&mut self, id: &str, now_ms: u64) {
        self.turn(now_ms);
        if self.seen.len() < PRESENCE_IDS_MAX {
            self.seen.insert(xxh3_64(id.as_bytes()));
        }
    }

    /// Distinct ids of the last complete window.
    pub fn count(&mut self, now_ms: u64) -> usize {
        self.turn(now_ms);
        self.last
    }

    fn turn(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.begun_ms) / PRESENCE_WINDOW_MS;
        if passed == 0 {
            return;
        }
        self.last = if passed == 1 { self.seen.len() } else { 0 };
        self.seen.clear();
        self.begun_ms += passed * PRESENCE_WINDOW_MS;
    }
}

/// The text of a message on a presence topic.
pub fn text(topic: &[u8], subscribers: u64, active: u64) -> String {
    format!(
        "{{\"topic\":{},\"subscribers\":{subscribers},\"active\":{active},\
         \"window_ms\":{PRESENCE_WINDOW_MS}}}",
        quoted(&String::from_utf8_lossy(topic))
    )
}
