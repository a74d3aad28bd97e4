//! What the double does to a run, as far as the kernel may do it.

use crate::limits;
use crate::sys::random::Random;

/// What becomes of syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFate {
    /// They keep what was changed before them.
    Works,
    /// They fail, and what they were for is lost.
    Fails,
    /// They say that they worked, and have done nothing.
    Lies,
}

/// The knobs. "Once in" counts are averages, and zero is never.
#[derive(Clone, Debug)]
pub struct Faults {
    /// An operation that could go on is looked at this much later, at most.
    pub delay_us_max: u64,
    /// Notifications come this much later, at most.
    pub notification_us_max: u64,
    /// Operations that could complete when they are submitted do so once in.
    pub inline_once_in: u64,
    /// Every completion comes one step later than it could.
    pub late: bool,
    /// This completion, counted from one, is a failure.
    pub fail_nth: Option<u64>,
    /// Waits end without reason.
    pub interrupt_once_in: u64,
    /// Nothing is submitted for lack of memory.
    pub again_once_in: u64,
    /// A multishot operation ends after a result.
    pub multishot_end_once_in: u64,
    /// An accept fails.
    pub accept_fails_once_in: u64,
    /// A cancel comes too late for an operation that has something to say.
    pub cancel_loses_once_in: u64,
    /// A cancel does not find an operation that goes on (seen with multishot receptions).
    pub cancel_misses_once_in: u64,
    /// A send or a reception fails, and the connection with it.
    pub error_once_in: u64,
    /// A slot cannot be registered.
    pub register_fails_once_in: u64,
    /// No pipe can be opened.
    pub pipes_refused: bool,
    /// There is no memory for references to pages.
    pub references_refused_once_in: u64,
    /// A reception that is armed while no data is there ends at once when there is no buffer.
    pub starve_at_once: bool,
    /// Zero-copy sends of these connections are reported as copied.
    pub copied_once_in: u64,
    /// Places in a completion queue.
    pub completions_max: u32,
    /// Places in a submission queue.
    pub submissions_max: u32,
    /// Receive buffers a shard hands out at a time, and in all.
    pub recv_buffers: (u16, u16),
    /// Bytes in a socket's send buffer.
    pub send_room: usize,
    /// Bytes that a client's kernel keeps for it.
    pub inbox_room: usize,
    /// Bytes that a server's kernel keeps for it.
    pub window: usize,
    /// Connections the process may have open.
    pub descriptors_max: usize,
    /// Messages between shards take this long, at most.
    pub message_us_max: u64,
    /// A peer that acknowledges nothing for this long is given up (TCP_USER_TIMEOUT).
    pub user_timeout_us: u64,
    /// What becomes of syncs of files.
    pub file_syncs: SyncFate,
    /// What becomes of syncs of folders.
    pub folder_syncs: SyncFate,
}

impl Default for Faults {
    /// A kind kernel: everything at once, nothing fails.
    fn default() -> Self {
        Self {
            delay_us_max: 0,
            notification_us_max: 0,
            inline_once_in: 1,
            late: false,
            fail_nth: None,
            interrupt_once_in: 0,
            again_once_in: 0,
            multishot_end_once_in: 0,
            accept_fails_once_in: 0,
            cancel_loses_once_in: 0,
            cancel_misses_once_in: 0,
            error_once_in: 0,
            register_fails_once_in: 0,
            pipes_refused: false,
            references_refused_once_in: 0,
            starve_at_once: false,
            copied_once_in: 0,
            completions_max: limits::RING_COMPLETIONS,
            submissions_max: limits::RING_SUBMISSIONS,
            recv_buffers: (limits::RECV_BUFFERS_START, limits::RECV_BUFFERS_MAX),
            send_room: 64 * 1024,
            inbox_room: 64 * 1024,
            window: 64 * 1024,
            descriptors_max: 10_000,
            message_us_max: 0,
            user_timeout_us: u64::from(limits::USER_TIMEOUT_MS) * 1000,
            file_syncs: SyncFate::Works,
            folder_syncs: SyncFate::Works,
        }
    }
}

impl Faults {
    /// Everything that a healthy kernel and healthy peers may do, mixed by chance. Connections do
    /// not fail by themselves.
    pub fn some(random: &mut Random) -> Self {
        let mut maybe = |count: u64| if random.once_in(2) { 0 } else { 2 + random.below(count) };
        let knobs = [40, 40, 20, 20, 10, 10].map(&mut maybe);
        let delays = [300, 5_000, 800].map(&mut maybe);
        let size = |random: &mut Random| {
            let bits = 4 + random.index(13);
            1 + random.index(1 << bits)
        };
        let few = |random: &mut Random, few: u32, many: u32| {
            if random.once_in(4) {
                1 + u32::try_from(random.below(u64::from(few))).unwrap()
            } else {
                many
            }
        };
        let buffers_start = 1 + u16::try_from(random.below(8)).unwrap();
        let buffers_max = 512 + u16::try_from(random.below(512)).unwrap();
        let tight = random.once_in(3);
        Self {
            delay_us_max: delays[0],
            notification_us_max: delays[1],
            message_us_max: delays[2],
            inline_once_in: random.below(4),
            late: random.once_in(10),
            interrupt_once_in: knobs[0],
            again_once_in: knobs[1],
            multishot_end_once_in: knobs[2],
            accept_fails_once_in: knobs[3],
            cancel_loses_once_in: knobs[4],
            cancel_misses_once_in: knobs[5],
            register_fails_once_in: [0, 0, 2][random.index(3)],
            references_refused_once_in: [0, 0, 4][random.index(3)],
            starve_at_once: random.once_in(2),
            copied_once_in: random.below(3),
            completions_max: few(random, 4, limits::RING_COMPLETIONS),
            submissions_max: few(random, 3, limits::RING_SUBMISSIONS),
            recv_buffers: if tight {
                (buffers_start, buffers_max)
            } else {
                (limits::RECV_BUFFERS_START, limits::RECV_BUFFERS_MAX)
            },
            send_room: 512 + size(random),
            inbox_room: 256 + size(random),
            window: 512 + size(random),
            ..Self::default()
        }
    }
}

/// Whether something happens that happens once in so many times, never when that is zero.
pub(super) fn happens(random: &mut Random, once_in: u64) -> bool {
    once_in != 0 && random.once_in(once_in)
}

/// A time below `max`, mostly much less.
pub(super) fn some_us(random: &mut Random, max: u64) -> u64 {
    if max == 0 || random.once_in(3) {
        return 0;
    }
    let scale = if random.once_in(8) { max } else { max.div_ceil(16) };
    random.below(scale + 1)
}
