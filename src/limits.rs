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

// The store.

/// Extents that one allotment may be scattered over.
pub const EXTENTS_MAX: usize = 512;
/// Versions and uploads of one shard; beyond it the memory counts as full.
pub const VERSIONS_MAX: usize = 1 << 22;

// The first extents of an upload fit the table of a growing object.
const _: () = assert!(EXTENTS_MAX <= GROWING_EXTENTS_MAX);
