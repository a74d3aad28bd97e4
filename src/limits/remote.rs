//! Bounds of the remote tier: orders, bodies on their way, and what waits for the store.

/// Orders that wait for the control thread to begin with them.
pub const REMOTE_ORDERS_MAX: usize = 256;
/// Puts and deletions that run against the remote store at the same time.
pub const REMOTE_PUTS_MAX: usize = 8;
/// Objects that are read from it at the same time.
pub const REMOTE_GETS_MAX: usize = 32;
/// Bytes of one piece of a body on its way there, and of one part of a large upload.
pub const REMOTE_PIECE_BYTES: u64 = 8 << 20;
/// Parts of one upload, as S3 has it; what is larger than so many pieces has larger ones.
pub const REMOTE_PARTS_MAX: u64 = 10_000;
/// Bytes that are asked for before it is known how many there are.
pub const REMOTE_FIRST_BYTES: u64 = 1 << 20;
/// Bytes of the metadata of one object: S3 has 2 KiB, its names included.
pub const REMOTE_METADATA_BYTES_MAX: usize = 2000;
/// Pieces of one body between a shard and the control thread.
pub const REMOTE_PIECES_MAX: usize = 2;
/// Answers of one order that its shard has not looked at.
pub const REMOTE_EVENTS_MAX: usize = 8;
/// Time to reach the store, in milliseconds.
pub const REMOTE_CONNECT_MS: u64 = 5_000;
/// Time for one request of its client, body included, in milliseconds.
pub const REMOTE_REQUEST_MS: u64 = 60_000;
/// Time for the next bytes of a body, and for all attempts at one request, in milliseconds.
pub const REMOTE_ANSWER_MS: u64 = 10_000;
/// Time for one step of an order, its retries included, in milliseconds.
pub const REMOTE_STEP_MS: u64 = 15_000;
/// Times that the client repeats a request.
pub const REMOTE_RETRIES_MAX: usize = 2;
/// Its first pause, in milliseconds.
pub const REMOTE_RETRY_PAUSE_MS: u64 = 100;
/// Keys of one shard that wait to be sent to the store; further uploads are answered 503.
pub const REMOTE_PENDING_MAX: usize = 65_536;
/// Objects that one shard sends from its queue at the same time.
pub const REMOTE_SENDERS_MAX: usize = 4;
/// Saves, loads and deletions that one shard has under way or waiting; more are answered 503.
pub const REMOTE_JOBS_MAX: usize = 4096;
/// The first pause after an order that failed, in milliseconds; it doubles.
pub const REMOTE_PAUSE_MS: u32 = 250;
/// The longest such pause, in milliseconds: how late a store that is back is noticed.
pub const REMOTE_PAUSE_MS_MAX: u32 = 8_000;
/// Keys of which one shard remembers that the store does not have them.
pub const REMOTE_ABSENT_MAX: usize = 16_384;
/// How long it remembers that, in milliseconds.
pub const REMOTE_ABSENT_MS: u64 = 2_000;
/// How long reads are refused at once after one that the store failed, in milliseconds.
pub const REMOTE_FAILED_MS: u64 = 1_000;
/// Lifetimes that one shard remembers to end in the store; others end when they are read.
pub const REMOTE_EXPIRIES_MAX: usize = 65_536;
/// A lifetime ends in the remote store so much later, in milliseconds: two clocks tell it.
pub const REMOTE_EXPIRY_SLACK_MS: u64 = 1_000;
