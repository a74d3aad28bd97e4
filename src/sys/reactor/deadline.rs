//! Deadlines of connections, looked at some at a time, and idle ones that give way.
//!
//! Invariants: a deadline fires once for each time it is set; a scan that is not finished keeps
//! the shard from waiting.

use super::Reactor;
use crate::limits;
use crate::sys::socket::SocketId;

#[derive(Clone, Copy, Default)]
pub(super) struct Scan {
    next: usize,
    begun_ms: u64,
    pub(super) running: bool,
}

impl Reactor {
    /// Sets the instant after which waits on the connection end with [`Interrupt::Late`].
    pub fn set_deadline(&self, id: SocketId, deadline_ms: u64) {
        self.with(id, |socket| {
            socket.deadline_ms = deadline_ms;
            socket.late = false;
        });
    }

    pub(super) fn scan_deadlines(&self) {
        let now_ms = self.clock.now_ms();
        let mut scan = self.scan.get();
        if !scan.running {
            if now_ms < scan.begun_ms + limits::DEADLINE_SCAN_MS {
                return;
            }
            scan = Scan { next: 0, begun_ms: now_ms, running: true };
            self.rearm_listeners();
            self.withdraw_renewed();
        }
        let mut sockets = self.sockets.borrow_mut();
        let end = sockets.len().min(scan.next + limits::DEADLINE_SCAN_PER_TURN);
        for socket in &mut sockets[scan.next..end] {
            if socket.deadline_ms <= now_ms && socket.fd >= 0 {
                socket.deadline_ms = u64::MAX;
                socket.late = true;
                self.tasks.wake(socket.task);
            }
        }
        scan.next = end;
        scan.running = end < sockets.len();
        self.scan.set(scan);
    }

    /// Makes the longest waiting of some idle connections late, to make room for a new one.
    pub fn evict_idle(&self) -> bool {
        let mut sockets = self.sockets.borrow_mut();
        let count = sockets.len();
        let from = self.evict_from.get().checked_rem(count).unwrap_or(0);
        self.evict_from.set(from + limits::EVICT_SAMPLE);
        let sample = (from..count).chain(0..from).take(limits::EVICT_SAMPLE);
        let candidate = sample
            .filter(|&place| {
                let socket = &sockets[place];
                socket.fd >= 0 && socket.idle && socket.inbox.is_empty() && !socket.late
            })
            .min_by_key(|&place| sockets[place].deadline_ms);
        match candidate.map(|place| &mut sockets[place]) {
            Some(socket) => {
                socket.late = true;
                self.tasks.wake(socket.task);
                true
            }
            None => false,
        }
    }

    /// Makes every idle connection late: used by a drain.
    pub fn evict_all_idle(&self) {
        for socket in self.sockets.borrow_mut().iter_mut() {
            if socket.fd >= 0 && socket.idle && socket.inbox.is_empty() {
                socket.late = true;
                self.tasks.wake(socket.task);
            }
        }
    }
}
