//! Every bound of the program in one place: queues, buffers, waits, counts.
//!
//! What an operator may change is in the configuration; its defaults and hard ends are here.
//! Relations between bounds are asserted at compile time, under the sentence that explains them.

mod chunks;
pub mod client;
mod holds;
pub mod lifecycle;
pub mod listing;
mod prefetch;
mod remote;
mod topic;

pub use chunks::*;
pub use holds::*;
pub use prefetch::*;
pub use remote::*;
pub use topic::*;

/// Shards a process may have.
pub const SHARDS_MAX: usize = 256;

/// How old a shard's Unix time may be in a turn, in milliseconds.
pub const WALL_CLOCK_AGE_MS_MAX: u64 = 20;

/// Bytes in a request head, request line included; beyond it the answer is 431 (or 414).
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes in a request's method; beyond it the answer is 501.
pub const METHOD_BYTES_MAX: usize = 32;
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

/// Extents of an object that is readable while it arrives.
pub const GROWING_EXTENTS_MAX: usize = 512;
/// Uploads of other pipelines that are kept aside for one arriving object, and how often one may
/// be gone on with.
pub const HEIRS_MAX: usize = 4;
/// First allotment of an upload of unknown length, in bytes.
pub const STREAM_EXTENT_BYTES: u32 = 256 * 1024;
/// Changes that may wait for one key behind a running one.
pub const CHANGES_WAITING_MAX: usize = 64;
/// Asks that may wait for one folder to be linked or unlinked.
pub const FOLDER_WAITING_MAX: usize = 1024;
/// Objects whose expiry one turn sweeps.
pub const SWEEP_PER_TURN: usize = 64;
/// Keys, and queues of a key's changes, whose memory a store keeps to use it again.
pub const STORE_SPARE_MAX: usize = 64;
/// Changes for which a queue has room that is kept so.
pub const SPARE_QUEUE_MAX: usize = 16;
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

/// Slots of the arena: the kernel's table of registered buffers has 16,384 places.
pub const ARENA_SLOTS_MAX: u32 = 16_384;
/// Bytes in a provided receive buffer.
pub const RECV_BUFFER_BYTES: usize = 4096;
/// Receive buffers a shard hands to the kernel at once; it starts with one lot.
pub const RECV_BUFFERS_START: u16 = 256;
/// Receive buffers a shard may have in all: 64 MiB.
pub const RECV_BUFFERS_MAX: u16 = 16_384;
/// Receive buffers one connection may leave unread before its reception pauses.
pub const INBOX_BUFFERS_MAX: usize = 64;
/// The same while the connection is busy with an earlier request.
pub const INBOX_BUFFERS_BUSY_MAX: usize = 4;
/// What is left of a body of known length is received where it is to lie from this size on.
pub const DIRECT_BYTES_MIN: u64 = if cfg!(test) { 1024 } else { 32 * 1024 };
/// Bytes that one such reception takes at most: the copying holds up the turn.
pub const DIRECT_BYTES_MAX: u32 = 256 * 1024;
/// Bytes of an answer that are assembled in one send buffer: head, small body, part heads.
pub const SEND_BUFFER_BYTES: usize = 8 * 1024;
/// Spare send buffers a shard keeps.
pub const SEND_BUFFERS_SPARE_MAX: usize = 4096;
/// Runs of bytes in one send.
pub const SEND_RUNS_MAX: usize = 16;
/// Bytes in one send operation.
pub const SEND_BYTES_MAX: u32 = 512 * 1024;
/// Largest body, in bytes, that is kept together with its head for the readers of one second.
pub const RENDERED_BYTES_MAX: usize = 32 * 1024;
/// Sets of header values that a shard remembers, so that objects share them.
pub const FIELDS_KNOWN_MAX: usize = 64;
/// Answers that a shard keeps in that way.
pub const RENDERED_MAX: usize = 128;
/// Bytes in the head of such an answer.
pub const RENDERED_HEAD_BYTES_MAX: usize = 2 * 1024;
/// Bytes that a shard's pipe holds: the largest piece that is spliced at once.
pub const PIPE_BYTES: i32 = 512 * 1024;
/// Least bytes of a pipe that is worth a call for each of its fillings; below, bodies are copied.
pub const PIPE_BYTES_MIN: i32 = 64 * 1024;
/// Bodies from this size on are spliced where zero-copy sends are copied, by default.
pub const SPLICE_BYTES_MIN: u64 = 32 * 1024;
/// Large sends of a version by copy before it leaves by reference: memory that was shared has to be
/// made anew before it is used again, which costs some ten times what one send saves.
pub const COPIES_BEFORE_SPLICE: u8 = 8;
/// The most that may be asked for.
pub const COPIES_MAX: u8 = 31;
/// Least size from which on bodies may leave by reference or by zero-copy: below, the head is more.
pub const SEND_THRESHOLD_BYTES_MIN: u64 = 4096;
/// Bytes that count as one against a turn's bound when they are spliced rather than copied.
pub const SPLICE_DISCOUNT: usize = 3;
/// Bytes that readers of one shard may have been handed by reference without having come back for
/// more: memory of the host that cannot be used again yet. Beyond it, bodies are copied.
pub const SPLICED_UNREAD_MAX: u64 = 256 * 1024 * 1024;
/// The same where a shard's share of `memory_bytes` is smaller than it: readers never hold more
/// beside the arena than there is in it.
pub const SPLICED_UNREAD_MAX_LEAST: u64 = 16 * 1024 * 1024;
/// Bytes that one socket can refer to at a time: what `tcp_wmem` and `tcp_rmem` allow by default,
/// and some more.
pub const SPLICED_SOCKET_MAX: u64 = 16 * 1024 * 1024;
/// Retired memory that is renewed at once when room is needed, in bytes.
pub const RENEW_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes that a shard starts to send in one turn, all in all: about a millisecond of copying. Few
/// for simulated shards, so that they meet the bound.
pub const TURN_BYTES_MAX: i64 = if cfg!(test) { 128 * 1024 } else { 6 * 1024 * 1024 };
/// Of large pieces, those above [`PROMPT_BYTES_MAX`], a turn starts so many more once its small
/// answers have left, counted in the same way: less than one spliced piece of [`PIPE_BYTES`].
pub const TURN_LARGE_BYTES_MAX: i64 = if cfg!(test) { 32 * 1024 } else { 160 * 1024 };
/// Bytes of one body that go before the next body's, counted in the same way.
pub const LARGE_RUN_BYTES: i64 = if cfg!(test) { 48 * 1024 } else { 1024 * 1024 };
/// Tasks that run in one turn.
pub const TURN_TASKS_MAX: usize = 256;
/// Messages from other shards that are handled in one turn.
pub const TURN_MESSAGES_MAX: usize = 512;
/// Completions taken in one turn.
pub const TURN_COMPLETIONS_MAX: usize = 1024;
/// A cancelled send that goes on is cancelled again after this time.
pub const CANCEL_AGAIN_MS: u64 = 250;
/// Deadlines of connections are looked at this often.
pub const DEADLINE_SCAN_MS: u64 = 250;
/// Connections looked at in one turn of such a scan.
pub const DEADLINE_SCAN_PER_TURN: usize = 1024;
/// Connections among which the longest idle one is sought when room is needed.
pub const EVICT_SAMPLE: usize = 256;
/// After this time one completion ends a wait for several, in microseconds.
pub const GATHER_US: u32 = 100;
/// Folders with live playlists, and series of segments, of which a shard knows how far they are.
pub const HORIZON_ENTRIES_MAX: usize = 4096;
/// How often a playlist tells its target duration although it has not changed; what was not told
/// for twice as long gives way.
pub const HORIZON_RENEW_MS: u64 = 60_000;
/// How long an encoder may be silent before another one is followed, in milliseconds.
pub const FAILOVER_MS: u32 = 6_000;
/// Most of that which a policy may name: five minutes.
pub const FAILOVER_MS_MAX: u32 = 300_000;
/// Encoders that a rule may put in an order of priority.
pub const PIPELINES_MAX: usize = 16;
/// Longest constant duration of segments that a policy may name: an hour.
pub const SEGMENT_MS_MAX: u32 = 3_600_000;
/// Most bytes of an immutable object that are compared with those of another upload.
pub const COMPARED_BYTES_MAX: u64 = 64 << 20;
/// Segments before one whose durations tell how long it should be.
pub const NEIGHBOURS_MAX: u64 = 3;
/// Most bytes of two encoders' copies that are compared, in one turn of their owner.
pub const COPIES_COMPARED_BYTES_MAX: u64 = 16 << 20;
/// Longest lifetime of an object, in seconds; more is a mistake: ten years.
pub const TTL_S_MAX: u64 = 315_360_000;
/// Longest time that a policy may let caches keep something, in seconds: a year.
pub const CACHE_S_MAX: u32 = 31_536_000;
/// Longest time that a policy may let a read wait for an object that is to come.
pub const HOLD_MS_MAX: u32 = 60_000;
/// Keys that a shard's readers may wait for at once; more readers are told 503.
pub const WATCHES_MAX: usize = 4096;
/// Of those, names that are not there yet: the rest is kept for new versions of what is there.
pub const WATCHES_ABSENT_MAX: usize = WATCHES_MAX / 2;
/// Names in one folder that are not there yet and that a shard's readers may wait for at once; more
/// are told 404. A ladder of ten renditions with audio waits for some twenty.
pub const WATCHES_FOLDER_MAX: usize = 32;
/// How often an owner forgets watches whose time is over.
pub const WATCHES_PRUNE_MS: u64 = 1000;
/// A watch is sent for this much longer than its first reader waits, so that later ones need none.
pub const WATCH_SLACK_MS: u64 = 10_000;
/// Requests in one turn from which on the next is waited for: a core that hears fewer is not busy.
pub const GATHER_REQUESTS_MIN: usize = 12;
/// Requests that a turn waits for at once, for at most [`GATHER_US`].
pub const GATHER_REQUESTS_MAX: usize = 64;
/// A send of at most this many bytes is expected to complete as it is submitted, and leaves before
/// larger ones.
pub const PROMPT_BYTES_MAX: usize = if cfg!(test) { 8 * 1024 } else { 128 * 1024 };
/// Submission entries of a shard's ring.
pub const RING_SUBMISSIONS: u32 = 1024;
/// Completion entries of a shard's ring.
pub const RING_COMPLETIONS: u32 = 32_768;

// Readers find places that what is brought ahead of them has not taken.
const _: () = assert!(DISK_READS_AHEAD_MAX < DISK_READS_MAX);
// A ring of provided buffers has a power of two of entries.
const _: () = assert!(RECV_BUFFERS_MAX.is_power_of_two());
// A head that spans buffers is assembled elsewhere, so one buffer need not hold it; but the common
// head does fit.
const _: () = assert!(RECV_BUFFER_BYTES >= 2048 && RECV_BUFFER_BYTES <= 65_535);

/// A shard hands connections over when it has this many more than the least loaded (or an eighth).
pub const BALANCE_SLACK_MIN: usize = 8;
/// Connections of a shard beyond its limit while evicted ones are closing, at most; half
/// the limit where that is less.
pub const CONNECTIONS_OVER_MAX: usize = 512;
/// Asks one shard may have under way at another.
pub const ASKS_MAX: usize = 4096;
/// Bytes of a refused upload that are read and thrown away so that the connection can go on.
pub const DISCARD_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes drained from a peer after an answer that ends the connection.
pub const LINGER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of a manifest that are looked at for its cache age.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;

// Configuration and control.

/// Bytes in a configuration file or a token file.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Addresses the data plane may listen on.
pub const LISTENERS_MAX: usize = 16;
/// Rules for paths; they are tried in order, so a long list costs every upload.
pub const PATH_RULES_MAX: usize = 256;
/// Tokens; a look-up compares with each, so a long list costs every request that brings one.
pub const TOKENS_MAX: usize = 256;
/// Bytes in the name of a token or of a key.
pub const TOKEN_NAME_BYTES_MAX: usize = 32;
/// Bytes in the user name that a token may ask for.
pub const USER_BYTES_MAX: usize = 128;
/// Keys that sign URLs.
pub const URL_KEYS_MAX: usize = 16;
/// Origins that one rule lets read.
pub const CORS_ORIGINS_MAX: usize = 64;
/// Bytes in the names that one rule's CORS keys list: they go into every answer.
pub const CORS_BYTES_MAX: usize = 1024;
/// Longest life of a signed URL, in seconds: ten years.
pub const URL_LIFE_S_MAX: u64 = 315_360_000;
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

/// Descriptors kept back for files, signals, the admin listener and its connections.
pub const FD_RESERVE: u64 = 96;
/// Descriptors kept back per shard: ring, listeners, wake-up, connections that are closing.
pub const FD_RESERVE_PER_SHARD: u64 = 516;

/// Connections the admin listener serves at once; further ones wait in the backlog.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

// What is kept back covers what may be taken beside the connections that are counted.
const _: () = assert!(FD_RESERVE >= ADMIN_CONNECTIONS_MAX as u64 + 32);
const _: () = assert!(FD_RESERVE_PER_SHARD >= CONNECTIONS_OVER_MAX as u64 + 4);

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
/// Bytes in the name of a credential in the access log: that of a key has a prefix.
pub const ACCESS_NAME_BYTES: usize = TOKEN_NAME_BYTES_MAX + 4;
/// Bytes of Referer and of User-Agent that the access log keeps.
pub const ACCESS_FIELD_BYTES: usize = 160;
/// How long the log thread sleeps between two looks into its queues, in milliseconds.
pub const ACCESS_PAUSE_MS: u64 = 50;
/// How long the end of the process waits for the log thread, in milliseconds.
pub const ACCESS_FINISH_MS: u64 = 2_000;

// The default arena lies within what may be configured.
const _: () = assert!(MEMORY_BYTES_MIN <= MEMORY_DEFAULT_BYTES_MIN);
const _: () = assert!(MEMORY_DEFAULT_BYTES_MAX <= MEMORY_BYTES_MAX);

/// Gaps between publications that wait to be counted.
pub const GAPS_MAX: usize = 1024;
/// Bytes in the Content-Type or Cache-Control of an upload.
pub const STORED_VALUE_BYTES_MAX: usize = 256;
/// A peer that acknowledges nothing for this long is gone, in milliseconds (TCP_USER_TIMEOUT): the
/// only end of an answer that was handed to the kernel as a whole.
pub const USER_TIMEOUT_MS: u32 = 30_000;

/// Bodies from this size on leave by zero-copy where it is used, in bytes.
pub const ZERO_COPY_BYTES_MIN: u64 = 16 * 1024;
// The store.

/// Extents that one allotment may be scattered over.
pub const EXTENTS_MAX: usize = 512;
/// Versions and uploads of one shard; beyond it the memory counts as full.
pub const VERSIONS_MAX: usize = 1 << 22;
/// A shard that drains looks this often whether the others are done, in milliseconds.
pub const DRAIN_LOOK_MS: u64 = 10;
/// A shard that has not ended this long after a drain's deadline is left behind, in milliseconds.
pub const DRAIN_SLACK_MS: u64 = 1_000;
/// Meters are brought up to date at least this often while a shard works, in microseconds.
pub const METERS_PERIOD_US: u64 = 10_000;

// The first extents of an upload fit the table of a growing object.
const _: () = assert!(EXTENTS_MAX <= GROWING_EXTENTS_MAX);

// Heads that are spread over several receive buffers.

/// Rooms for such heads that a shard keeps for the next ones.
pub const ROOMS_SPARE_MAX: usize = 64;
/// Larger rooms are not kept, in bytes.
pub const ROOM_BYTES_KEPT_MAX: usize = 32 * 1024;

// A head of the largest size fits a room that is kept, with the buffer that ends it.
const _: () = assert!(ROOM_BYTES_KEPT_MAX >= HEAD_BYTES_MAX + RECV_BUFFER_BYTES);

// Playlists that are read as a whole, and the boxes of fragmented MP4.

/// Bytes in a media or multivariant playlist that is read for low latency.
pub const PLAYLIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lines in such a playlist.
pub const PLAYLIST_LINES_MAX: u32 = 200_000;
/// Attributes in one tag of a playlist.
pub const PLAYLIST_ATTRIBUTES_MAX: usize = 64;
/// Longest duration that a tag of a playlist may name, in microseconds: ten days.
pub const PLAYLIST_DURATION_US_MAX: u64 = 864_000_000_000;
/// Largest media sequence number: the last whole number that every player's arithmetic holds.
pub const PLAYLIST_SEQUENCE_MAX: u64 = 1 << 53;
/// Longest hold of a playlist request, whatever target duration the playlist names: three of 20 s.
pub const HLS_HOLD_US_MAX: u64 = 60_000_000;
/// Most seconds that a held answer may be kept, whatever target duration the playlist names.
pub const CACHE_BLOCKING_S_MAX: u32 = 120;
/// Tracks of a media file that are looked at.
pub const TRACKS_MAX: usize = 8;
/// Boxes around a box that is read: moov, trak, mdia.
pub const BOX_DEPTH_MAX: usize = 4;
/// Bytes in a moov or moof.
pub const BOX_BYTES_MAX: u64 = 16 * 1024 * 1024;

// Low-latency playlists made by the origin.

/// Bytes in a segment's URI, or in the attributes of its map, that a rendition keeps.
pub const LL_TEXT_BYTES_MAX: usize = 255;
/// Segments that a rendition keeps; older ones are listed as the encoder listed them.
pub const LL_SEGMENTS_MAX: usize = 32;
/// Parts that a rendition keeps: 50 s of parts of 0.1 s.
pub const LL_PARTS_MAX: usize = 512;
/// Parts of one segment; a longer one gets no further ones.
pub const LL_SEGMENT_PARTS_MAX: u32 = 128;
/// Segments that may be missing between two that a rendition is told of.
pub const LL_MISSING_MAX: u64 = 8;
/// Segments that may wait for their entry in the encoder's playlist; further ones are not followed.
pub const LL_WAITING_MAX: u64 = 16;
/// Shortest PART-TARGET that may be wished for, in microseconds.
pub const LL_PART_TARGET_US_MIN: u64 = 100_000;
/// The longest part that may be wished for, in milliseconds.
pub const PART_TARGET_MS_MAX: u32 = 5_000;
/// PART-TARGET where the configuration names none, in milliseconds.
pub const PART_TARGET_MS: u32 = 700;
/// How long a read waits for what a made playlist hints at, where the configuration does not say,
/// in milliseconds.
pub const LL_HOLD_MS: u32 = 4_000;
/// Longest time for which a live manifest may be good, in milliseconds.
pub const STALE_AFTER_MS_MAX: u32 = 86_400_000;
/// Stale manifests that one shard remembers, to say when they recover.
pub const STALE_KEYS_MAX: usize = 4096;
/// Pages of a folder's names that are looked through for a header of segments.
pub const HEADER_PAGES_MAX: usize = 8;
/// Bytes of the lines that an answer has for itself: a request's name, and CMSD.
pub const OWN_LINES_BYTES: usize = 256;
/// For how long a look after the renditions of a multivariant playlist holds, in milliseconds.
pub const LADDER_LOOK_MS: u64 = 50;
/// After how long ladders that were not whole are looked after again, in milliseconds.
pub const LADDER_AGAIN_MS: u64 = 500;
/// Renditions of a multivariant playlist that are looked after.
pub const LADDER_LOOKED_MAX: usize = 64;
/// Low-latency playlists that one shard makes at the same time; each takes some 40 KiB.
pub const LL_MAKERS_MAX: usize = 512;
/// Segments that arrive for one rendition before its maker has looked at them.
pub const LL_EVENTS_MAX: usize = 32;
/// Segments of one rendition that are followed at the same time.
pub const LL_FOLLOWED_MAX: usize = 4;
/// Longest CMCD list that is read, in bytes.
pub const CMCD_BYTES_MAX: usize = 1024;
/// How long a listing waits for the end of the segment that it lists, in milliseconds.
pub const LL_EARLY_MS: u64 = 500;
/// Presentations whose renditions tell of each other.
pub const LADDERS_MAX: usize = 1024;
/// Renditions of a presentation that tell of each other.
pub const LADDER_MEMBERS_MAX: usize = 32;

/// Bytes of metadata beside an object on disk.
pub const ATTRIBUTE_BYTES_MAX: usize = 2048;
/// Saves, loads and deletions that one shard has under way or waiting; more are answered 503.
pub const DISK_JOBS_MAX: usize = 4096;
/// Keys of which one shard remembers that they are not on disk.
pub const DISK_ABSENT_MAX: usize = 4096;
/// How long it remembers that, in milliseconds: files laid down by hand appear this late.
pub const DISK_ABSENT_MS: u64 = 1000;
/// Folders of which one shard remembers that they are on disk.
pub const DISK_FOLDERS_MAX: usize = 4096;
/// Bytes of a file in one write.
pub const DISK_PIECE_BYTES: u32 = 512 * 1024;
/// Bytes of a file in one read; few under test, so that simulated objects take several.
pub const DISK_READ_BYTES: u32 = if cfg!(test) { 4096 } else { 256 * 1024 };
/// Reads of more than `DISK_FIRST_BYTES` that one shard has under way in a folder.
pub const DISK_READS_MAX: usize = 8;
/// Of those, reads of what is brought ahead of its readers.
pub const DISK_READS_AHEAD_MAX: usize = 2;
/// Files of so many bytes are read past the page cache where the file system can do that.
pub const DISK_DIRECT_BYTES_MIN: u64 = 64 * 1024;
/// Bytes in a block of such reads; disks that want more of them are read through the page cache.
pub const DISK_BLOCK_BYTES: u32 = 512;
/// Bytes that are hashed at once.
pub const DISK_SUM_BYTES: usize = 128 * 1024;
/// Times that whoever finds no memory asks again while other shards evict.
pub const ROOM_ATTEMPTS: u32 = 250;
/// How long it waits before each, in milliseconds.
pub const ROOM_PAUSE_MS: u32 = 4;
/// Versions that one step evicts.
pub const EVICTIONS_MAX: usize = 4096;
/// Hashes of evicted keys that a shard remembers.
pub const GHOSTS_MAX: usize = 16_384;
/// Times that a save makes its folders when others take them away again.
pub const DISK_FOLDER_ATTEMPTS: usize = 4;
/// Places in which removals of folders are counted, by hash.
pub const FOLDER_REMOVALS: usize = 256;
/// Times that a read has an object loaded that leaves memory at once.
pub const DISK_LOAD_ATTEMPTS: usize = 3;

// The parts of a few segments are kept, and those of the last one for certain.
const _: () = assert!(LL_SEGMENT_PARTS_MAX as usize * 2 < LL_PARTS_MAX);
// What waits leaves room for what is listed.
const _: () = assert!(LL_WAITING_MAX < LL_SEGMENTS_MAX as u64);

// Dialects of other stores.

/// Keys that sign requests of the MediaStore dialect.
pub const AWS_KEYS_MAX: usize = 64;
/// Bytes in an access key id.
pub const AWS_ID_BYTES_MAX: usize = 128;
/// How far a signature's time may be from this host's where the configuration does not say, in
/// seconds.
pub const CLOCK_SKEW_S: u64 = 300;
/// How far it may be, whatever the configuration says.
pub const CLOCK_SKEW_S_MAX: u64 = 3600;
/// Names of stores, and of caches, of the Momento dialect.
pub const MOMENTO_NAMES_MAX: usize = 256;
/// Bytes in such a name.
pub const MOMENTO_NAME_BYTES_MAX: usize = 255;
/// Tags (`mo-tag-*`) of one upload.
pub const MOMENTO_TAGS_MAX: usize = 10;
/// Bytes in the further header lines that are stored with an object.
pub const STORED_LINES_BYTES_MAX: usize = 1024;
/// How long an ephemeral object lives at most, and where its upload does not say, in milliseconds.
pub const EPHEMERAL_MS_MAX: u64 = 600_000;
/// Times that one listing that leaves transient objects out asks the folder's owner.
pub const LIST_ROUNDS_MAX: usize = 16;
/// Bytes in the line that begins a signed chunk, and in the trailers after the last one.
pub const SIGNED_CHUNK_LINE_BYTES_MAX: usize = 256;
/// Bytes in one signed chunk, its data only.
pub const SIGNED_CHUNK_BYTES_MAX: u64 = 1 << 30;
