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

// Cache ages that an answer gets when the upload named none.

/// Seconds for segments and headers: their bytes never change under their name.
pub const CACHE_SEGMENT_S: u32 = 1_209_600;
/// Seconds for objects of no known class.
pub const CACHE_OTHER_S: u32 = 60;
/// Seconds for error answers: a segment that is missing now may be there in a moment.
pub const CACHE_ERROR_S: u32 = 1;
/// Fewest seconds for a live manifest.
pub const CACHE_LIVE_S_MIN: u32 = 1;
/// Most seconds for a live manifest, however long its segments claim to be.
pub const CACHE_LIVE_S_MAX: u32 = 30;
/// Seconds for an ended playlist: a restarted encoder writes a live one under the same name.
pub const CACHE_ENDED_S: u32 = 60;
/// Seconds for a multivariant playlist: a restart with other renditions shows within a segment.
pub const CACHE_MULTIVARIANT_S: u32 = 4;
/// Seconds for a manifest that says that it never changes.
pub const CACHE_VOD_MANIFEST_S: u32 = 3600;

// An error must never outlive the manifest that names the missing segment.
const _: () = assert!(CACHE_ERROR_S <= CACHE_LIVE_S_MIN);
