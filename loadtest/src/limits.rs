//! Every bound of the load generator in one place.

use std::time::Duration;

/// Bytes of a response head.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a response.
pub const HEADERS_MAX: usize = 64;
/// Bytes behind the size in a chunk's first line.
pub const CHUNK_LINE_BYTES_MAX: u16 = 256;
/// Bytes of a trailer.
pub const TRAILER_BYTES_MAX: u16 = 4096;
/// Bytes of one receive buffer of the client.
pub const CLIENT_BUFFER_BYTES: usize = 16 * 1024;
/// Receive buffers that a thread keeps for later.
pub const CLIENT_BUFFERS_KEPT: usize = 256;
/// Time for a connect, when nothing else is said.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one buffer that the kernel receives into.
pub const RING_BUFFER_BYTES: usize = 8 * 1024;
/// Buffers of one ring.
pub const RING_BUFFERS_MAX: usize = 4096;
/// Entries of a ring's submission queue; the completion queue has eight times as many.
pub const RING_ENTRIES: u32 = 4096;
/// Tracks of all channels that one publisher sends: each holds a connection.
pub const PUBLISH_TRACKS_MAX: u64 = 20_000;
/// Chunks of one segment.
pub const PUBLISH_CHUNKS_MAX: u32 = 1000;
/// Connections that the set-up of a publisher opens at once on each thread.
pub const PUBLISH_SETUPS_AT_ONCE: usize = 32;
