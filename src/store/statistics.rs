//! What a store counts about itself.

/// Levels and totals of one shard's store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Current versions of own keys, expired ones that were not swept yet included.
    pub objects: u64,
    /// Folders with own children or on their way in or out.
    pub folders: u64,
    /// Bytes in complete current versions.
    pub object_bytes: u64,
    /// Bytes of the arena in use, in whole granules.
    pub used_bytes: u64,
    /// Bytes that nobody uses and that cannot be used again before their pages are renewed.
    pub retired_bytes: u64,
    /// Slots of the arena drawn from the pool.
    pub slots_held: u64,
    /// Superseded versions that somebody still holds.
    pub pinned_versions: u64,
    /// Bytes that those keep from being reused, in whole granules.
    pub pinned_bytes: u64,
    /// Versions of own keys on which other shards have a hold, counted once a shard.
    pub leases_granted: u64,
    /// Leases of other shards' versions in the table.
    pub leases_held: u64,
    /// Leases of other shards' versions in the table or pinned.
    pub holds: u64,
    /// Uploads begun and not ended.
    pub uploads: u64,
    /// Own keys that shards wait for.
    pub watched: u64,
    /// Objects that can be read while they arrive.
    pub growing: u64,
    /// Grants ever given.
    pub grants_total: u64,
    /// Recalls ever sent.
    pub recalls_total: u64,
    /// Leases that ever gave way to newer ones.
    pub evictions_total: u64,
    /// Versions that ever gave way because the disk has them too.
    pub evicted_total: u64,
    /// Bytes of those, in whole granules.
    pub evicted_bytes_total: u64,
    /// Versions that came ahead of their readers and ever went without one.
    pub unread_total: u64,
    /// Objects whose time was over when they were swept.
    pub expired_total: u64,
    /// Uploads ever refused for lack of memory.
    pub full_total: u64,
    /// Bytes of uploads that are kept aside for the case that another pipeline's breaks off.
    pub aside_bytes: u64,
    /// Objects that an upload of another pipeline ever went on with.
    pub takeovers_total: u64,
    /// Changes of the pipeline whose playlists a folder shows.
    pub pipeline_switches_total: u64,
    /// Uploads that brought what another pipeline had brought.
    pub copies_same_total: u64,
    /// Uploads that brought other bytes than another pipeline, and were not kept.
    pub copies_other_total: u64,
}
