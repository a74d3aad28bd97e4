//! What a shard has not let go of when it ends: counted once, at exit, and said in the log.
//!
//! A peer that takes nothing may keep a notification back beyond a drain, and with it memory; what
//! other shards were about to say of leases and uploads may be unsaid. All else has to be zero:
//! then no slot, pipe, buffer or place has leaked in the life of the process.

use std::ops::AddAssign;

use super::Shard;

/// What is left, by kind; of several shards, the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftover {
    /// Connections that are open.
    pub connections: u64,
    /// Sends whose memory the kernel may still look at: their notifications have not come.
    pub notifications_due: u64,
    /// Receive buffers that nobody gave back.
    pub receive_buffers: u64,
    /// Bytes in pipes.
    pub pipe_bytes: u64,
    /// Bytes shared by reference that are charged to connections.
    pub unread_bytes: u64,
    /// Arena bytes of objects that are gone and that something holds.
    pub pinned_bytes: u64,
    /// Uploads that have not ended.
    pub uploads: u64,
    /// Slots of the arena that the shard has drawn: what it stores lies there.
    pub slots_held: u64,
}

impl Leftover {
    /// Whether something is left that nobody can still be holding.
    pub fn has_leaked(&self) -> bool {
        self.connections + self.receive_buffers + self.pipe_bytes + self.unread_bytes > 0
    }
}

impl AddAssign for Leftover {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.notifications_due += other.notifications_due;
        self.receive_buffers += other.receive_buffers;
        self.pipe_bytes += other.pipe_bytes;
        self.unread_bytes += other.unread_bytes;
        self.pinned_bytes += other.pinned_bytes;
        self.uploads += other.uploads;
        self.slots_held += other.slots_held;
    }
}

impl Shard {
    /// What there is now.
    pub fn leftover(&self) -> Leftover {
        let reactor = &self.reactor;
        let store = self.store.borrow().statistics();
        let buffers = &reactor.buffers;
        Leftover {
            connections: reactor.connections() as u64,
            notifications_due: reactor.sends_live() as u64,
            receive_buffers: u64::from(buffers.in_use() - buffers.available()),
            pipe_bytes: reactor.pipe_bytes(),
            unread_bytes: reactor.unread_bytes(),
            pinned_bytes: store.pinned_bytes,
            uploads: store.uploads,
            slots_held: store.slots_held,
        }
    }
}
