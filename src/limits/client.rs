//! Bounds of the program as a client: `headwater get`, `put`, `rm`, and `ls`, `du` and `verify` of
//! a URL.

use std::time::Duration;

/// How long one address may take to accept a connection.
pub const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// How long nothing may arrive while an answer is waited for: an upload is answered when it is on
/// disk or in the object store, and a read of an arriving object pauses with its encoder.
pub const ANSWER_WAIT: Duration = Duration::from_secs(120);
/// How long nothing of a request may leave.
pub const SEND_WAIT: Duration = Duration::from_secs(60);
/// How long `100 Continue` is waited for before the body is sent without it.
pub const CONTINUE_WAIT: Duration = Duration::from_secs(1);
/// How often a request is sent that is answered 503, the first time included.
pub const BUSY_TRIES_MAX: u32 = 3;
/// Seconds that a `Retry-After` of a 503 is followed for, at most.
pub const BUSY_WAIT_S_MAX: u64 = 5;

/// Bytes of an answer's head, and of what is read or sent at once.
pub const PIECE_BYTES: usize = 256 * 1024;
/// Header lines of an answer.
pub const ANSWER_HEADERS_MAX: usize = 64;
/// Bytes of a body that is sent without asking first, and sent again over a new connection.
pub const SMALL_BODY_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of an error's body that are read for its sentence.
pub const ERROR_BYTES_MAX: u64 = 16 * 1024;
/// Bytes of a body that are read to keep a connection.
pub const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of one page of a listing.
pub const PAGE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Names asked for in one page; of folders below folders, half as many every four levels.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// As few names as the deepest folder's page has.
pub const PAGE_ITEMS_MIN: usize = 16;
/// Folders within each other that a listing is followed into.
pub const DEPTH_MAX: usize = super::KEY_BYTES_MAX / 2 + 1;

/// How often an object that is replaced while it is verified is read.
pub const VERIFY_TRIES_MAX: u32 = 3;
/// Bytes of a token.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Between two drawings of progress.
pub const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

// The origin gives no more names at once.
const _: () = assert!(PAGE_ITEMS_MAX <= super::LIST_ITEMS_MAX);
