//! What happens to objects, noted by their owner while somebody wants to know.
//!
//! Invariants: events of a key are noted in the order in which they happened; nothing is noted
//! while [`Events::wanted`] is off, and the shard takes them within the turn.

use std::sync::Arc;

use super::object::Record;
use super::path;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole object is there that was not.
    Published,
    /// A whole object took another's place.
    Replaced,
    /// An object was deleted.
    Deleted,
    /// An object's time was over; noted when it is swept.
    Expired,
}

impl Kind {
    pub(super) fn of(created: bool) -> Self {
        if created { Self::Published } else { Self::Replaced }
    }
}

/// What happened to an object.
#[derive(Debug)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// The object as it is, or was.
    pub record: Arc<Record>,
}

/// The events that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Events {
    /// Whether anybody wants to know.
    pub wanted: bool,
    /// In order.
    pub noted: Vec<Event>,
}

impl Events {
    #[inline]
    pub(super) fn note(&mut self, kind: Kind, record: &Arc<Record>) {
        // A description comes and goes with what is read; the object is there all the time.
        let is_told = record.whole().is_some_and(|whole| match kind {
            Kind::Deleted | Kind::Replaced => true,
            Kind::Published | Kind::Expired => !whole.is_in_chunks(),
        });
        if self.wanted && is_told && !path::is_internal(record.key()) {
            self.noted.push(Event { kind, record: Arc::clone(record) });
        }
    }
}
