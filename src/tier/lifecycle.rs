//! What is due for a file by its age or for want of room: the message from who walks to who owns.
//!
//! **Invariants**: who walks only proposes; the key's owner looks again before anything goes.

use std::sync::Arc;

/// Something that may be due for a key's file.
#[derive(Clone, Debug)]
pub struct Due {
    /// The key.
    pub key: Box<[u8]>,
    /// What.
    pub deed: Deed,
    /// Only if its version was stored by then: Unix time in seconds.
    pub until_s: u64,
    /// Dropped when it is done; bounds what is under way.
    pub place: Arc<()>,
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Take the object away everywhere.
    Expire,
    /// Take the file away once the remote store has the same.
    Move,
}
