//! Names for places in the arena: a slot, a run of bytes inside it, and the source of slots.
//!
//! Plain numbers, so that every room may speak of memory without holding a pointer to it.
//! Invariants: an extent never crosses its slot's end and never names a byte of another extent.

/// Identifies one shard (one thread, one ring); shards are numbered from zero without gaps.
pub type ShardId = u16;

/// Bytes in the smallest run the store hands out; every extent starts at a multiple of it.
pub const GRANULE_BYTES: u32 = 1024;

/// A run of pinned bytes: `slot` counts slots of the arena, `offset` and `len` are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Index of the arena slot.
    pub slot: u32,
    /// First byte within the slot.
    pub offset: u32,
    /// Length in bytes; at most the slot size.
    pub len: u32,
}

/// Where a shard's store draws whole slots from and gives them back to.
pub trait SlotSource {
    /// Bytes in every slot, a power of two and at least 4 MiB.
    fn slot_bytes(&self) -> u32;
    /// Takes one free slot, or `None` when the arena is exhausted.
    fn draw(&self) -> Option<u32>;
    /// Whether so few slots are left that others will soon miss one drawn without need.
    fn is_scarce(&self) -> bool {
        true
    }
    /// Notes that nobody uses an extent's bytes any more.
    fn freed(&self, _extent: Extent) {}
    /// Whether sockets may still refer to pages of the extent, which must not be written then.
    fn is_spliced(&self, _extent: Extent) -> bool {
        false
    }
    /// Exchanges the pages of a run that nobody uses, whole pages, for fresh ones, which are no
    /// longer spliced.
    fn renew(&self, _extent: Extent) {}
    /// Whether the first `length` bytes of two bodies are the same; both are no longer written.
    fn are_same(&self, _one: &[Extent], _other: &[Extent], _length: u64) -> bool {
        false
    }
    /// Returns a slot in which no extent is in use any more.
    fn give_back(&self, slot: u32);
}
