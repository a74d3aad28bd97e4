//! The remote tier's form: what shards ask of an object store, and how metadata travels there.
//!
//! A shard puts an [`Order`] into one bounded queue; the control thread carries it out and answers
//! with [`Event`]s through a bounded channel, ringing the shard's task for each. Bodies travel in
//! pieces, so that neither side ever holds a whole large object twice.
//!
//! Invariants: nothing here waits; whoever drops its end of an order wakes the other.

pub mod metadata;

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender};

use super::disk::attributes::Attributes;

/// Wakes the task that waits for an order's events.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// One thing that the store is to do.
pub struct Order {
    /// What.
    pub work: Work,
    /// Where the answers go.
    pub events: Sender<Event>,
    /// Rung whenever there is an answer, or room for a piece.
    pub bell: Bell,
}

/// What the store is to do with a key.
pub enum Work {
    /// Keep an object: one `Done`, or `Failed`.
    Put {
        /// The key.
        key: Box<[u8]>,
        /// Its metadata; the pieces add up to its length.
        attributes: Box<Attributes>,
        /// The body in order.
        pieces: Receiver<Vec<u8>>,
    },
    /// Give an object: `Found`, then `Piece`s, then `Done`; or `Absent`; or `Failed`. Whoever has
    /// enough drops its end.
    Get {
        /// The key.
        key: Box<[u8]>,
    },
    /// Give a part of an object, likewise; `Absent` when it is another version, or not so long.
    Part {
        /// The key.
        key: Box<[u8]>,
        /// Which bytes; those behind the object's end are left out.
        range: Range<u64>,
        /// Only of the version with this tag of the store.
        tag: Option<Arc<str>>,
    },
    /// Take an object away: `Done` when there was one, `Absent`, or `Failed`.
    Erase {
        /// The key.
        key: Box<[u8]>,
        /// Only under this condition.
        only: Option<Only>,
    },
    /// Say what is known of an object: `Found`, `Absent`, or `Failed`.
    Look {
        /// The key.
        key: Box<[u8]>,
    },
}

/// What has to hold of an object that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Only {
    /// Its time is over by this Unix time, in milliseconds.
    ExpiredBy(u64),
    /// It was stored by this Unix time, in seconds.
    StoredBy(u64),
    /// It is another version than the one with this entity tag.
    OtherThan(Box<[u8]>),
}

/// What the store answers.
#[derive(Debug)]
pub enum Event {
    /// There is such an object.
    Found(Box<Found>),
    /// The next bytes of its body.
    Piece(Vec<u8>),
    /// It is done.
    Done,
    /// There is no such object.
    Absent,
    /// It could not be done.
    Failed(Fault),
}

/// An object of the store.
#[derive(Debug)]
pub struct Found {
    /// Its metadata.
    pub attributes: Attributes,
    /// Whether the sum is known.
    pub is_summed: bool,
    /// The store's own tag of this version, where it has any.
    pub tag: Option<Arc<str>>,
}

/// Why the store did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not answer, or answers with errors.
    Unreachable,
    /// It does not answer in time.
    Slow,
    /// It does not let this origin in, or has no such bucket.
    Denied,
}

/// Wakes a task of a shard, from any thread.
pub type Ring = Arc<dyn Fn(u16, u32) + Send + Sync>;

/// A shard's end of the queue of orders.
#[derive(Clone)]
pub struct Link {
    /// Takes orders; never waited for.
    pub orders: Sender<Order>,
    /// Wakes a task by shard and number.
    pub ring: Ring,
}
