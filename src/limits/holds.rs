//! Bounds of what a shard keeps so that hits are answered from it.

/// Leases one shard keeps on other shards' objects.
pub const LEASES_MAX: usize = 65_536;
/// Own objects of one shard that keep what a first answer made of them: a hold, its head, what is
/// derived. Others make it anew when they are read again.
pub const HOLDS_KEPT_MAX: usize = 65_536;
