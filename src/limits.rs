//! Every bound of the origin in one place: queues, buffers, waits, counts.
//!
//! What an operator may change is in the configuration; its defaults and hard ends are here.
//! Relations between bounds are asserted at compile time, under the sentence that explains them.

/// Shards a process may have.
pub const SHARDS_MAX: usize = 256;

/// Bytes in a request head, request line included; beyond it the answer is 431 (or 414).
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines in a request; beyond it the answer is 431.
pub const HEADERS_MAX: usize = 100;
/// Bytes in a request target; beyond it the answer is 414.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Bytes in all trailers of a chunked body together.
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;
/// Bytes in a chunk extension.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// Ranges in one request after which Range is ignored (RFC 9110 section 14.2).
pub const RANGES_MAX: usize = 16;

/// Bytes in a key.
pub const KEY_BYTES_MAX: usize = 900;
/// Bytes in one part of a key.
pub const KEY_PART_BYTES_MAX: usize = 255;
/// Parts in a key.
pub const KEY_PARTS_MAX: usize = 64;

/// Extents of an object that is readable while it arrives.
pub const GROWING_EXTENTS_MAX: usize = 512;
/// First allotment of an upload of unknown length, in bytes.
pub const STREAM_EXTENT_BYTES: u32 = 256 * 1024;
/// Changes that may wait for one key behind a running one.
pub const CHANGES_WAITING_MAX: usize = 64;
/// Asks that may wait for one folder to be linked or unlinked.
pub const FOLDER_WAITING_MAX: usize = 1024;
/// Objects whose expiry one turn sweeps.
pub const SWEEP_PER_TURN: usize = 64;
/// Leases one shard keeps on other shards' objects.
pub const LEASES_MAX: usize = 65_536;
/// Names in one answer to a listing.
pub const LIST_ITEMS_MAX: usize = 1000;

// The watch words of a growing object hold 64 shards each.
const _: () = assert!(SHARDS_MAX.is_multiple_of(64));
// A target is part of the head.
const _: () = assert!(TARGET_BYTES_MAX < HEAD_BYTES_MAX);
// A key fits a target even when every byte is percent-encoded.
const _: () = assert!(KEY_BYTES_MAX * 3 < TARGET_BYTES_MAX);

// Configuration and control.

/// Bytes in a configuration file or a token file.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Addresses the data plane may listen on.
pub const LISTENERS_MAX: usize = 16;
/// Rules for paths; they are tried in order, so a long list costs every upload.
pub const PATH_RULES_MAX: usize = 256;
/// Bearer tokens for publishing.
pub const TOKENS_MAX: usize = 64;
/// Bytes in a bearer token, at least: shorter ones can be guessed over a fast network.
pub const TOKEN_BYTES_MIN: usize = 16;
/// Bytes in a bearer token, at most.
pub const TOKEN_BYTES_MAX: usize = 512;
/// Bytes in a configured Cache-Control value.
pub const CACHE_CONTROL_BYTES_MAX: usize = 256;

/// Smallest arena that may be configured, in bytes.
pub const MEMORY_BYTES_MIN: u64 = 8 << 20;
/// Largest arena that may be configured, in bytes.
pub const MEMORY_BYTES_MAX: u64 = 4 << 40;
/// Smallest arena that is chosen when none is configured, in bytes.
pub const MEMORY_DEFAULT_BYTES_MIN: u64 = 64 << 20;
/// Largest arena that is chosen when none is configured, in bytes.
pub const MEMORY_DEFAULT_BYTES_MAX: u64 = 16 << 30;

/// Descriptors kept back for files, rings, the admin listener and its connections.
pub const FD_RESERVE: u64 = 64;
/// Descriptors kept back per shard: ring, listeners, wake-up.
pub const FD_RESERVE_PER_SHARD: u64 = 4;

/// Connections the admin listener serves at once; further ones wait in the backlog.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Life of one admin connection, in milliseconds; slower peers are cut.
pub const ADMIN_CONNECTION_MS: u64 = 30_000;
/// How long answers of the admin listener are finished at the end, in milliseconds.
pub const ADMIN_FINISH_MS: u64 = 500;
/// How long binding a listener is retried while the address is in use, in milliseconds.
pub const BIND_RETRY_MS: u64 = 3_000;
/// Pause between two attempts to bind, in milliseconds.
pub const BIND_PAUSE_MS: u64 = 50;

/// Access log records that may wait between one shard and the log thread.
pub const ACCESS_QUEUE_MAX: usize = 2_048;
/// Bytes of a request target that the access log keeps.
pub const ACCESS_TARGET_BYTES: usize = 400;
/// Bytes of Referer and of User-Agent that the access log keeps.
pub const ACCESS_FIELD_BYTES: usize = 160;
/// How long the log thread sleeps between two looks into its queues, in milliseconds.
pub const ACCESS_PAUSE_MS: u64 = 50;
/// How long the end of the process waits for the log thread, in milliseconds.
pub const ACCESS_FINISH_MS: u64 = 2_000;

// The default arena lies within what may be configured.
const _: () = assert!(MEMORY_BYTES_MIN <= MEMORY_DEFAULT_BYTES_MIN);
const _: () = assert!(MEMORY_DEFAULT_BYTES_MAX <= MEMORY_BYTES_MAX);
