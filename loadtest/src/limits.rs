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
/// Bytes from which on it is worth a system call of its own to throw them away in the kernel.
pub const SKIP_BYTES_MIN: usize = 4 * 1024;
/// Time for a connect, when nothing else is said.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one buffer that the kernel receives into.
pub const RING_BUFFER_BYTES: usize = 8 * 1024;
/// Buffers of one ring.
pub const RING_BUFFERS_MAX: usize = 4096;
/// Entries of a ring's submission queue; the completion queue has eight times as many.
pub const RING_ENTRIES: u32 = 4096;
/// Requests of a trace.
pub const TRACE_REQUESTS_MAX: usize = 50_000_000;
/// Bytes of a request's body up to which it is sent together with the head.
pub const BODY_COPIED_BYTES_MAX: usize = 16 * 1024;
/// Connects of one thread under way at once.
pub const CONNECTS_AT_ONCE: usize = 128;
/// Slowest requests that each thread keeps in full.
pub const SAMPLES_KEPT: usize = 256;
/// Empty histograms of an interval that each thread holds for each operation.
pub const INTERVALS_SPARE: usize = 3;
/// A sleeping thread wakes this long before a request is due, and spins the rest: a wake-up alone
/// takes a quarter of that, and each halt of a virtual CPU may be answered milliseconds late.
pub const SPIN_BEFORE: Duration = Duration::from_micros(100);
/// Longest wait of a thread, and the distance between two looks at timeouts.
pub const WAIT_MAX: Duration = Duration::from_millis(5);
/// The common start of all threads lies this far ahead of the moment it is told.
pub const START_AHEAD: Duration = Duration::from_millis(20);
/// Threads of load.
pub const THREADS_MAX: usize = 256;
/// Connections of one process.
pub const CONNECTIONS_MAX: usize = 1_000_000;
/// URLs of one run.
pub const URLS_MAX: usize = 1_000_000;
/// Bytes of a request's body.
pub const BODY_BYTES_MAX: u64 = 256 << 20;
/// Tracks of all channels that one publisher sends: each holds a connection.
pub const PUBLISH_TRACKS_MAX: u64 = 20_000;
/// Chunks of one segment.
pub const PUBLISH_CHUNKS_MAX: u32 = 1000;
/// Connections that the set-up of a publisher opens at once on each thread.
pub const PUBLISH_SETUPS_AT_ONCE: usize = 32;
/// Objects that `prepare` uploads.
pub const PREPARE_OBJECTS_MAX: u64 = 10_000_000;
/// Uploads of `prepare` at once.
pub const PREPARE_CONNECTIONS_MAX: usize = 1000;
/// Pairs of runs of one comparison.
pub const PAIRS_MAX: usize = 500;
/// Runs of one capacity search.
pub const TRIES_MAX: usize = 200;
/// Bytes of a playlist or an MPD.
pub const PLAYLIST_BYTES_MAX: usize = 16 << 20;
/// Viewers of one process.
pub const VIEWERS_MAX: u64 = 1_000_000;
/// Requests of one viewer that wait for one of its connections.
pub const VIEWER_QUEUE_MAX: usize = 8;
/// Headers that a viewer keeps: more than a ladder has levels.
pub const INIT_SEGMENTS_MAX: usize = 16;
/// Segments and parts whose deliveries are followed at once.
pub const DELIVERIES_MAX: usize = 100_000;
/// Bytes of a body from which on a target's answers are thrown away inside the kernel.
pub const BULK_BYTES_MIN: u64 = 64 * 1024;
/// Bytes thrown away with one entry of the ring.
pub const DISCARD_BYTES_MAX: u64 = 1 << 20;
/// URLs that are asked for once before a run.
pub const PREFLIGHT_URLS_MAX: usize = 16;
/// Files that a process opens beside its connections.
pub const FILES_BESIDE: u64 = 1024;
/// Topics of one run.
pub const TOPICS_MAX: u64 = 10_000;
/// Publishers of one run: each is a thread, so that it is on time.
pub const PUBLISHERS_MAX: usize = 64;
/// Messages that one run publishes: where each stands is remembered.
pub const TOPIC_MESSAGES_MAX: u64 = 2_000_000;
/// Bytes of one message, and of one event or frame that carries it.
pub const TOPIC_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// After the measured phase, so long may publishers send what waits.
pub const PUBLISH_GRACE: Duration = Duration::from_millis(100);
/// Bytes of the buffer into which all subscribers of a thread read.
pub const TOPIC_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that a slow subscriber reads at once, and lets the kernel keep.
pub const SLOW_READ_BYTES: usize = 4 * 1024;
/// A stream or socket that is silent for so long is given up; heartbeats come more often.
pub const TOPIC_SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long an answer to a long-poll is asked to wait.
pub const POLL_WAIT: Duration = Duration::from_secs(20);
/// First and longest pause before a subscriber that failed comes again.
pub const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
