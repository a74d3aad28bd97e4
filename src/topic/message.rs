//! What shards say to each other about topics. Messages between one pair of shards arrive in the
//! order in which they were sent, so a follower's copy is the owner's log with a delay.
//!
//! Bounds: a publication belongs to a connection that waits for its outcome; a follower sends one
//! `Follow` for a topic whatever the number of its subscribers.

use std::sync::Arc;

use super::item::{Draft, Item};

/// Comes back with the outcome.
pub type Ticket = u32;

/// A publication whose outcome nobody waits for.
pub const NO_TICKET: Ticket = Ticket::MAX;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The page.
    pub page: u64,
    /// The number.
    pub number: u64,
}

/// Why a publication or a subscription was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More a second than the rule allows: 429.
    Rate,
    /// No topic gives way to a new one: 503.
    Full,
}

/// A message from one shard to another.
#[derive(Debug)]
pub enum Message {
    /// To the owner: put this in its place.
    Publish {
        /// Comes back with the outcome.
        ticket: Ticket,
        /// The topic.
        name: Box<[u8]>,
        /// The message.
        draft: Draft,
    },
    /// From the owner: where it stands.
    Published {
        /// Of the publication.
        ticket: Ticket,
        /// The place.
        outcome: Result<Position, Refusal>,
    },
    /// To the owner: send what is published from now on.
    Follow {
        /// The topic.
        name: Box<[u8]>,
    },
    /// From the owner: what the log holds.
    Followed {
        /// The topic.
        name: Arc<[u8]>,
        /// The log; `None` when there is no room for the topic.
        log: Option<Snapshot>,
    },
    /// To the owner: no more.
    Unfollow {
        /// The topic.
        name: Box<[u8]>,
    },
    /// From the owner: the next message.
    Next {
        /// The topic.
        name: Arc<[u8]>,
        /// The message.
        item: Arc<Item>,
    },
    /// To the owner: subscribers of a topic on the sending shard.
    Count {
        /// The topic.
        name: Box<[u8]>,
        /// How many.
        subscribers: u32,
    },
    /// To all shards: whether anybody wants to know of the objects below a folder.
    Wanted {
        /// The folder.
        folder: Box<[u8]>,
        /// Whether anybody does.
        wanted: bool,
    },
}

/// An owner's log at an instant.
#[derive(Debug)]
pub struct Snapshot {
    /// The page.
    pub page: u64,
    /// Number of the first of `items`, or of the next message.
    pub first: u64,
    /// The messages.
    pub items: Vec<Arc<Item>>,
}
