//! Bounds of chunks: those of large files that are read, and those that have sums.

/// Files of fewer bytes are never read in chunks: playlists, which are read as a whole, are
/// smaller.
pub const LARGE_BYTES_MIN: u64 = 1024 * 1024;
/// Bytes in one chunk of a large file, at least and at most.
pub const CHUNK_BYTES_MIN: u64 = 256 * 1024;
/// See [`CHUNK_BYTES_MIN`].
pub const CHUNK_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes in one chunk where nothing is configured and memory is large enough.
pub const CHUNK_BYTES_DEFAULT: u64 = 4 * 1024 * 1024;
/// Memory has room for so many chunks at least.
pub const CHUNKS_IN_MEMORY_MIN: u64 = 4;
/// Chunks in a row after which an answer has the next ones read before it needs them.
pub const CHUNKS_IN_ROW: u64 = 2;
/// Chunks that are read ahead of an answer.
pub const CHUNKS_AHEAD: u64 = 2;
/// Chunks that one shard has read ahead at once; beyond that answers read what they need.
pub const CHUNKS_AHEAD_MAX: usize = 256;
/// Times that an answer asks for a chunk that memory or disk have no room for, or that leaves
/// memory at once; each time waits for room itself.
pub const CHUNK_ATTEMPTS: u32 = 16;
/// How long it waits before each, in milliseconds.
pub const CHUNK_PAUSE_MS: u32 = 50;
/// How long it is believed that a large file of a library is the one that was looked at.
pub const LARGE_LOOK_MS: u64 = 1000;
/// Times that an answer begins again because the file was replaced.
pub const LARGE_ATTEMPTS: usize = 3;

/// Least bytes of a file's chunk that has a sum of its own, and of a cold read; few under test.
pub const DISK_CHUNK_BYTES_MIN: u64 = if cfg!(test) { 1024 } else { 64 * 1024 };
/// Chunks of a file that have sums of their own; larger files have larger chunks.
pub const DISK_CHUNKS_MAX: u64 = 64;
/// Bytes of the first read of a file whose chunks have no sums.
pub const DISK_FIRST_BYTES: u64 = if cfg!(test) { 1024 } else { 16 * 1024 };
/// Times that a fill lets others run between its first chunk and the rest: a large read holds up
/// whatever is submitted behind it, and who waited needs a step to wake and a step to answer.
pub const FILL_TURNS: usize = 2;
