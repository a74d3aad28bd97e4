//! Bounds of what is brought into memory before anybody asks for it.

/// Segments ahead of a reader, at most.
pub const PREFETCH_MAX: u32 = 8;
/// Objects that one shard brings ahead at the same time.
pub const PREFETCHES_MAX: usize = 16;
/// Bytes of these: one in so many of memory, and at most [`PREFETCH_BYTES_MAX`].
pub const PREFETCH_MEMORY_SHARE: u64 = 16;
/// See [`PREFETCH_MEMORY_SHARE`].
pub const PREFETCH_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Objects that a player may name as its next ones.
pub const PREFETCH_NAMED_MAX: usize = 4;
/// What a guess costs of a shard's credit.
pub const PREFETCH_COST: u32 = 8;
/// What each earns that was right: guesses go on where eight of nine are.
pub const PREFETCH_CREDIT_EARNED: u32 = 9;
/// Most credit of a shard, and what it begins with: so many guesses may be wrong.
pub const PREFETCH_CREDIT_MAX: u32 = 32 * PREFETCH_COST;
/// How often it may make one although none was right, in milliseconds.
pub const PREFETCH_CREDIT_MS: u64 = 1000;
