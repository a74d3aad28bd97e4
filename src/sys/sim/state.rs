//! Everything there is in a simulation.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::RawFd;

use super::DESCRIPTOR_BASE;
use super::faults::{Faults, happens, some_us};
use super::files::{Disk, Inode};
use super::memory::Run;
use super::operations::fd_of;
use super::ring::{Due, Pending, RingState};
use super::socket::{Left, Socket, ZeroCopyId};
use crate::sys::random::Random;
use crate::sys::ring::Completion;

/// What a descriptor of the double names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Listener(usize),
    Socket(usize),
    Ring(usize),
    File(Inode),
}

/// A zero-copy send whose memory the kernel still uses.
pub(super) struct ZeroCopy {
    pub ring: usize,
    pub user_data: u64,
    run: Run,
    /// What the memory held when it was handed over.
    before: Vec<u8>,
    /// Bytes in the send buffer.
    pub queued: usize,
    /// Bytes ever queued.
    pub sent: usize,
    /// The result is out, and it promised a notification.
    pub promised: bool,
    pub copied: bool,
}

pub(super) struct State {
    pub now_us: u64,
    pub random: Random,
    pub faults: Faults,
    pub rings: Vec<RingState>,
    pub sockets: Vec<Socket>,
    /// Connections that wait for an accept, by listener.
    pub backlogs: Vec<VecDeque<usize>>,
    pub descriptors: BTreeMap<RawFd, Object>,
    /// Writes to event descriptors.
    pub events: BTreeMap<RawFd, u64>,
    pub disk: Disk,
    /// Syncs of files and folders so far.
    pub syncs: u64,
    pub zero_copies: BTreeMap<ZeroCopyId, ZeroCopy>,
    next_zero_copy: ZeroCopyId,
    /// Notifications are kept back.
    pub withhold: bool,
    /// Operations begun so far.
    pub begun: u64,
    /// Completions made so far.
    pub completions: u64,
    /// The completion that was made to fail.
    pub failed: Option<String>,
    /// A digest of everything that shards and clients could see.
    pub trace: u64,
}

impl State {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            now_us: 1_000_000,
            random: Random::new(seed ^ 0x51_4d),
            faults,
            rings: Vec::new(),
            sockets: Vec::new(),
            backlogs: Vec::new(),
            descriptors: BTreeMap::new(),
            events: BTreeMap::new(),
            disk: Disk::default(),
            syncs: 0,
            zero_copies: BTreeMap::new(),
            next_zero_copy: 0,
            withhold: false,
            begun: 0,
            completions: 0,
            failed: None,
            trace: 0,
        }
    }

    /// Makes what happened part of the digest.
    pub fn note(&mut self, what: u64) {
        self.trace = (self.trace.rotate_left(5) ^ what).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// The lowest free descriptor, as the kernel hands them out.
    pub fn open(&mut self, object: Object) -> RawFd {
        let fd = (DESCRIPTOR_BASE..).find(|fd| !self.descriptors.contains_key(fd));
        let fd = fd.expect("descriptors are bounded");
        self.descriptors.insert(fd, object);
        fd
    }

    pub fn object(&self, fd: RawFd) -> Option<Object> {
        self.descriptors.get(&fd).copied()
    }

    /// The connection that a descriptor names.
    pub fn socket_mut(&mut self, fd: RawFd) -> &mut Socket {
        let Some(Object::Socket(socket)) = self.object(fd) else {
            panic!("descriptor {fd} is not a connection");
        };
        &mut self.sockets[socket]
    }

    /// How many of `len` bytes the connection has room for now.
    pub fn room_now(&mut self, fd: RawFd, len: usize) -> io::Result<usize> {
        let Some(Object::Socket(socket)) = self.object(fd) else {
            panic!("descriptor {fd} is not a connection");
        };
        let mut operations = self.rings.iter().flat_map(|ring| &ring.in_flight);
        assert!(!operations.any(|other| other.sends_on(socket)), "law 7: two sends on one socket");
        let once_in = self.faults.error_once_in;
        if happens(&mut self.random, once_in) {
            self.inject(socket);
        }
        if self.sockets[socket].reset {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        let most = self.sockets[socket].room().min(len);
        let some = most > 1 && self.random.once_in(4);
        Ok(if some { 1 + self.random.index(most) } else { most })
    }

    pub fn shutdown_write(&mut self, fd: RawFd) {
        self.socket_mut(fd).finish_queued = true;
    }

    /// Closes a descriptor. Law 8 of the product's ring: by then no operation names it.
    pub fn close(&mut self, fd: RawFd) {
        let object = self.descriptors.remove(&fd).expect("an open descriptor is closed");
        for ring in &self.rings {
            let queued = ring.queued.iter().any(|(operation, _)| fd_of(operation) == Some(fd));
            assert!(!queued, "closed before an operation on it was submitted");
        }
        match object {
            Object::Socket(socket) => {
                assert_eq!(self.sockets[socket].operations, 0, "closed under an operation");
                self.sockets[socket].is_open = false;
                self.release(socket);
            }
            Object::Listener(listener) => {
                let backlog = std::mem::take(&mut self.backlogs[listener]);
                backlog.into_iter().for_each(|socket| self.break_off(socket));
            }
            Object::Ring(_) => unreachable!("rings close themselves"),
            Object::File(_) => unreachable!("files are closed through a ring"),
        }
    }

    /// Ends a connection that nothing names any more.
    pub fn release(&mut self, socket: usize) {
        let left = self.sockets[socket].release();
        self.bytes_left(left);
    }

    /// Kills a connection.
    pub fn break_off(&mut self, socket: usize) {
        let left = self.sockets[socket].break_off();
        self.bytes_left(left);
    }

    // ---- zero-copy ----

    pub fn begin_zero_copy(&mut self, ring: usize, user_data: u64, run: Run, copied: bool) -> u64 {
        let id = self.next_zero_copy;
        self.next_zero_copy += 1;
        let zero_copy = ZeroCopy {
            ring,
            user_data,
            run,
            before: run.read(),
            queued: 0,
            sent: 0,
            promised: false,
            copied,
        };
        self.zero_copies.insert(id, zero_copy);
        id
    }

    /// Bytes of zero-copy sends have left the send buffers.
    pub fn bytes_left(&mut self, left: Left) {
        for (id, bytes) in left {
            self.zero_copies.get_mut(&id).expect("its bytes were queued").queued -= bytes;
            self.try_notify(id);
        }
    }

    /// Schedules the notification when the result is out and no byte is queued.
    pub fn try_notify(&mut self, id: ZeroCopyId) {
        let zero_copy = &self.zero_copies[&id];
        if !zero_copy.promised || zero_copy.queued > 0 {
            return;
        }
        let max = self.faults.notification_us_max;
        let due_us = self.now_us + some_us(&mut self.random, max);
        self.rings[zero_copy.ring].pending.push(Pending {
            due_us,
            seen: false,
            what: Due::Notification(id),
        });
    }

    /// The notification: from now on the memory may be anything.
    pub fn notify(&mut self, id: ZeroCopyId) -> (usize, Completion) {
        let zero_copy = self.zero_copies.remove(&id).expect("notified once");
        let sent = zero_copy.run.part(0, zero_copy.sent).read();
        assert!(
            sent == zero_copy.before[..zero_copy.sent],
            "law 2: memory of a zero-copy send changed before its notification"
        );
        let result = if zero_copy.copied { i32::MIN } else { 0 };
        (zero_copy.ring, Completion::new(zero_copy.user_data, result, super::ring::NOTIFICATION))
    }

    // ---- the network ----

    /// Moves bytes along; all that can move when `all`. Whether anything moved.
    pub fn move_bytes(&mut self, all: bool) -> bool {
        let mut moved = false;
        for at in 0..self.sockets.len() {
            let now_us = self.now_us;
            if self.sockets[at].reset || !(all || self.random.once_in(2)) {
                continue;
            }
            moved |= self.sockets[at].arrive(now_us);
            if self.sockets[at].reset {
                self.break_off(at);
            }
            if self.sockets[at].can_transmit() {
                let left = self.sockets[at].transmit(&mut self.random, now_us);
                self.bytes_left(left);
                moved = true;
            }
            self.sockets[at].watch_stall(now_us);
            if self.sockets[at].timeout_us().is_some_and(|due_us| due_us <= now_us) {
                self.break_off(at);
                moved = true;
            }
        }
        moved
    }

    /// When something happens by itself next: an arrival, a timeout, a completion.
    pub fn next_us(&mut self) -> Option<u64> {
        let sockets = self.sockets.iter();
        let next = sockets.flat_map(|socket| [socket.next_arrival_us(), socket.timeout_us()]);
        let mut next_us = next.flatten().min();
        for ring in 0..self.rings.len() {
            next_us = next_us.into_iter().chain(self.next_of_ring_us(ring)).min();
        }
        next_us
    }
}
