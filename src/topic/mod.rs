//! Topics: messages in one order for every subscriber, beside the stream.
//!
//! The owner of a topic (one shard, by the hash of its name) numbers what is published, keeps it in
//! a bounded [`log`], and sends it once to every shard that follows. A follower keeps a copy of the
//! log; its subscribers keep their position in it and nothing else. A message's JSON is rendered
//! once, by the owner; [`wire`] and [`frame`] put it into the shapes of long-poll, Server-Sent
//! Events and WebSocket.
//!
//! Invariants: nothing here knows descriptors, clocks or the ring; whatever a stranger can make
//! grow has a bound in [`crate::limits`]; what a subscriber has missed is told as a [`log::Gap`].

pub mod client;
pub mod frame;
pub mod handshake;
pub mod item;
pub mod log;
pub mod message;
pub mod name;
pub mod owner;
pub mod presence;
pub mod query;
pub mod wire;

/// What the rules say of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Messages in the log, at least 1.
    pub messages_max: usize,
    /// Bytes in the log; the newest message stays whatever its size.
    pub bytes_max: usize,
    /// A message leaves the log after this time, in milliseconds.
    pub age_ms: u64,
    /// Bytes in one message as it was published.
    pub message_bytes_max: usize,
    /// Publications a second.
    pub rate_max: Option<u32>,
    /// A subscriber that fell out of the log is closed instead of skipping ahead.
    pub close_slow: bool,
    /// The number of the webhook that is told of every message.
    pub webhook: Option<u16>,
    /// Whether the topic has counts of its own in the metrics, as far as there is room.
    pub metrics: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            messages_max: 1000,
            bytes_max: 1 << 20,
            age_ms: 600_000,
            message_bytes_max: 16 << 10,
            rate_max: None,
            close_slow: false,
            webhook: None,
            metrics: false,
        }
    }
}

#[cfg(test)]
mod tests;
