//! The state of one connection as the reactor keeps it: inbox, reception, deadline.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use super::buffers::Received;
use super::ring::Effort;
use super::send::SendId;
use super::task::TaskId;

/// Names a connection's place in the reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketId(pub(super) u32);

/// Where the reception, or a wait for room to send, stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    Idle,
    Armed,
    Cancelling,
}

/// Why nothing more will be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has closed its sending side.
    Finished,
    /// The connection failed with this errno.
    Failed(i32),
}

pub(super) struct Socket {
    pub(super) fd: RawFd,
    pub(super) generation: u32,
    pub(super) task: TaskId,
    /// It has no task, but this number.
    pub(super) detached: Option<u32>,
    pub(super) inbox: VecDeque<Received>,
    pub(super) reception: Reception,
    /// Receptions take one buffer at a time, and only when somebody waits.
    pub(super) sparing: bool,
    /// A reception is wanted as soon as the one that is being cancelled has ended.
    pub(super) again: bool,
    /// Bytes that the last reception put straight into memory.
    pub(super) direct: u32,
    /// The wait for room to send.
    pub(super) poll: Reception,
    pub(super) end: Option<End>,
    /// The task waits for a request to begin or to become complete: it may be evicted.
    pub(super) idle: bool,
    /// The task's last wait was for bytes: more of them may queue up.
    pub(super) reading: bool,
    pub(super) late: bool,
    pub(super) copied: bool,
    pub(super) deadline_ms: u64,
    pub(super) bytes_received: u64,
    /// Bytes shared with the peer since it sent something last.
    pub(super) unread: u64,
    /// The send under way.
    pub(super) sending: Option<SendId>,
    /// A poll said that the peer has ended its side.
    pub(super) hung_up: bool,
}

impl Socket {
    /// Whether the peer sends nothing more, and may still read. The kernel takes that for a reason
    /// to wake whoever waits for room, and tries a waiting send again and again.
    pub(super) fn is_half_closed(&self) -> bool {
        self.hung_up || self.end == Some(End::Finished)
    }

    /// How much of a send has to leave: whoever waits for room by itself sends what there is.
    pub(super) fn effort(&self) -> Effort {
        if self.is_half_closed() { Effort::Now } else { Effort::Whole }
    }

    pub(super) fn vacant() -> Self {
        Self {
            fd: -1,
            generation: 0,
            task: 0,
            detached: None,
            inbox: VecDeque::new(),
            reception: Reception::Idle,
            sparing: false,
            again: false,
            direct: 0,
            poll: Reception::Idle,
            end: None,
            idle: false,
            reading: true,
            late: false,
            copied: false,
            deadline_ms: u64::MAX,
            bytes_received: 0,
            unread: 0,
            sending: None,
            hung_up: false,
        }
    }
}
