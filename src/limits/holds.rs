//! Bounds of what a shard keeps beside the bytes of objects.

/// Leases one shard keeps on other shards' objects.
pub const LEASES_MAX: usize = 65_536;
/// Own objects of one shard that keep what a first answer made of them: a hold, its head, what is
/// derived. Others make it anew when they are read again.
pub const HOLDS_KEPT_MAX: usize = 65_536;
/// Bytes of an entity tag that are kept, for those that other stores made.
pub const ETAG_BYTES_MAX: usize = 2048;
