//! Connections without a task: subscribers that wait for what many are sent.
//!
//! Bytes go straight into the socket, without a place in the slab of sends; what the peer does is
//! noted for whoever keeps the connection.
//!
//! Invariants: a detached connection has no send under way; it is stirred at most once, and by
//! that is detached no more.

use super::{Reactor, count};
use crate::sys::net;
use crate::sys::socket::SocketId;

impl Reactor {
    /// Leaves a connection without a task, under a number of the caller's.
    pub fn detach(&self, id: SocketId, number: u32) {
        let has_input = self.has_input(id);
        self.with(id, |socket| {
            socket.detached = Some(number);
            socket.deadline_ms = u64::MAX;
            socket.late = false;
            socket.reading = true;
        });
        if has_input {
            self.stir(id);
        }
    }

    /// Ends that without a reason of the peer's.
    pub fn detach_end(&self, id: SocketId) {
        self.with(id, |socket| socket.detached = None);
    }

    /// Gives the connection to the calling task.
    pub fn attach(&self, id: SocketId) {
        self.with(id, |socket| {
            socket.detached = None;
            socket.task = self.tasks.current();
        });
    }

    /// Has a detached connection looked at.
    pub fn stir(&self, id: SocketId) {
        self.stirred.borrow_mut().push(id);
    }

    /// The numbers of detached connections whose peers did anything; they are detached no more.
    pub fn take_stirred(&self, mut with: impl FnMut(u32)) {
        if self.stirred.borrow().is_empty() {
            return;
        }
        for id in self.stirred.take() {
            if let Some(number) = self.with(id, |socket| socket.detached.take()) {
                with(number);
            }
        }
    }

    /// Writes as many bytes into a detached connection as it has room for; none when it failed.
    pub fn send_now(&self, id: SocketId, bytes: &[u8]) -> usize {
        let sent = net::send_now(self.fd(id), bytes);
        count(&self.counts.sends, 1);
        count(&self.counts.bytes, sent as u64);
        sent
    }
}
