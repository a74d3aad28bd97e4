//! Connections from adoption to close: the state that everything else hangs on.
//!
//! Invariants: a descriptor is closed only when no operation names it any more, and a place is
//! given to the next connection under a new generation.

use std::os::fd::RawFd;
use std::task::Poll;

use super::{GENERATION_MASK, Reactor};
use crate::sys::net;
use crate::sys::socket::{Reception, Socket, SocketId};

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// What was sent still arrives.
    Graceful,
    /// What was sent and not acknowledged is thrown away.
    Reset,
}

impl Reactor {
    /// Takes over a connected socket; `task` is woken by what happens on it.
    pub fn adopt(&self, fd: RawFd) -> SocketId {
        let mut sockets = self.sockets.borrow_mut();
        let place = self.sockets_free.borrow_mut().pop().unwrap_or_else(|| {
            sockets.push(Socket::vacant());
            u32::try_from(sockets.len() - 1).expect("sockets are bounded by descriptors")
        });
        sockets[place as usize].fd = fd;
        SocketId(place)
    }

    /// Binds a connection to the calling task and begins to receive.
    pub fn begin(&self, id: SocketId) {
        self.with(id, |socket| socket.task = self.tasks.current());
        self.arm(id);
    }

    /// The connection's descriptor.
    pub fn fd(&self, id: SocketId) -> RawFd {
        self.with(id, |socket| socket.fd)
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.sockets.borrow().len() - self.sockets_free.borrow().len()
    }

    /// Marks whether the connection waits for a request and may be evicted.
    pub fn set_idle(&self, id: SocketId, idle: bool) {
        self.with(id, |socket| socket.idle = idle);
    }

    /// Whether the kernel said that it copied a zero-copy send on this connection.
    pub fn was_copied(&self, id: SocketId) -> bool {
        self.with(id, |socket| socket.copied)
    }

    /// Whether the peer sends nothing more, and may still read.
    pub fn is_half_closed(&self, id: SocketId) -> bool {
        self.with(id, |socket| socket.is_half_closed())
    }

    /// Shuts the sending side, after what was sent.
    pub fn finish_sending(&self, id: SocketId) {
        net::shutdown_write(self.fd(id));
    }

    /// Acknowledges received bytes at once.
    pub fn quick_ack(&self, id: SocketId) {
        net::quick_ack(self.fd(id));
    }

    /// Ends the connection: cancels what is under way, waits for it, closes.
    pub async fn close(&self, id: SocketId, how: Close) {
        // It gives way already: whoever needs a place must look for another.
        self.set_idle(id, false);
        std::future::poll_fn(|_| self.poll_quiet(id)).await;
        let fd = self.fd(id);
        if how == Close::Reset {
            net::reset_on_close(fd);
        }
        net::close(fd);
        let inbox = self.with(id, |socket| {
            self.forget_unread(socket);
            let inbox = std::mem::take(&mut socket.inbox);
            let generation = (socket.generation + 1) & GENERATION_MASK;
            *socket = Socket { generation, ..Socket::vacant() };
            inbox
        });
        inbox.into_iter().for_each(|received| self.buffers.give_back(received));
        self.starved.borrow_mut().retain(|starved| *starved != id);
        self.sockets_free.borrow_mut().push(id.0);
    }

    fn poll_quiet(&self, id: SocketId) -> Poll<()> {
        let starved = self.starved.borrow().contains(&id);
        self.with(id, |socket| {
            if starved {
                socket.reception = Reception::Idle;
            }
            if socket.poll == Reception::Armed {
                self.cancel_poll(socket, id.0);
            }
            match (socket.reception, socket.poll) {
                (Reception::Idle, Reception::Idle) => return Poll::Ready(()),
                (Reception::Armed, _) => self.cancel_reception(socket, id.0),
                _ => {}
            }
            Poll::Pending
        })
    }
}
