//! Bodies that go straight from a connection into the arena, without a buffer between.
//!
//! A socket has one reader, so the reception into buffers is ended first. From then on the
//! connection is sparing: a reception takes one buffer, when somebody waits for it, so that no more
//! than the beginning of the next body goes the longer way.
//!
//! Invariants: a wait does not end before its operation has: the memory may be freed behind it.

use std::task::Poll;

use super::{Interrupt, KIND_RECV, Reactor, count, user_data};
use crate::sys::extent::Extent;
use crate::sys::ring::Operation;
use crate::sys::socket::{Reception, Socket, SocketId};

impl Reactor {
    /// Receives up to `len` bytes into a part of an extent that nobody else uses, as many as are
    /// there; none where bytes wait in buffers, which come first.
    pub async fn receive_into(
        &self,
        id: SocketId,
        (extent, at, len): (Extent, u32, u32),
    ) -> Result<u32, Interrupt> {
        if !std::future::poll_fn(|_| self.poll_unbuffered(id)).await? {
            return Ok(0);
        }
        let start = self.arena.place(extent, at, len as usize);
        let (fd, data) = self.with(id, |socket| {
            socket.reception = Reception::Armed;
            (socket.reading, socket.direct) = (true, 0);
            (socket.fd, user_data(KIND_RECV, socket.generation, id.0))
        });
        self.ring.borrow_mut().push(Operation::RecvInto { fd, start, len }, data);
        std::future::poll_fn(|_| self.poll_direct(id)).await
    }

    /// Whether a large body came last, so that nothing is received ahead of whoever waits.
    pub fn is_sparing(&self, id: SocketId) -> bool {
        self.with(id, |socket| socket.sparing)
    }

    /// Receives into buffers ahead of whoever waits, as before [`Reactor::receive_into`], so that
    /// it is noticed when the peer leaves.
    pub fn receive_ahead(&self, id: SocketId) {
        let arm = self.with(id, |socket| {
            if !std::mem::take(&mut socket.sparing) {
                return false;
            }
            let idle = socket.reception == Reception::Idle;
            socket.again = socket.reception == Reception::Cancelling;
            idle && socket.end.is_none() && socket.inbox.len() <= 1
        });
        if arm {
            self.arm(id);
        }
    }

    /// Ends the reception into buffers; whether none has bytes.
    fn poll_unbuffered(&self, id: SocketId) -> Poll<Result<bool, Interrupt>> {
        let starved = {
            let mut starved = self.starved.borrow_mut();
            let at = starved.iter().position(|&starved| starved == id);
            at.map(|at| starved.swap_remove(at)).is_some()
        };
        self.with(id, |socket| {
            (socket.sparing, socket.again) = (true, false);
            if starved {
                socket.reception = Reception::Idle;
            }
            if !socket.inbox.is_empty() {
                return Poll::Ready(Ok(false));
            }
            if let Some(end) = socket.end {
                return Poll::Ready(Err(Interrupt::Ended(end)));
            }
            if std::mem::take(&mut socket.late) {
                return Poll::Ready(Err(Interrupt::Late));
            }
            match socket.reception {
                Reception::Idle => return Poll::Ready(Ok(true)),
                Reception::Armed => self.cancel_reception(socket, id.0),
                Reception::Cancelling => {}
            }
            Poll::Pending
        })
    }

    fn poll_direct(&self, id: SocketId) -> Poll<Result<u32, Interrupt>> {
        self.with(id, |socket| match socket.reception {
            Reception::Armed if socket.late => {
                self.cancel_reception(socket, id.0);
                Poll::Pending
            }
            Reception::Armed | Reception::Cancelling => Poll::Pending,
            Reception::Idle if socket.direct > 0 => Poll::Ready(Ok(socket.direct)),
            Reception::Idle => match socket.end {
                Some(end) => Poll::Ready(Err(Interrupt::Ended(end))),
                None if std::mem::take(&mut socket.late) => Poll::Ready(Err(Interrupt::Late)),
                None => Poll::Ready(Ok(0)),
            },
        })
    }

    /// Notes what a reception without a buffer brought.
    pub(super) fn note_direct(&self, socket: &mut Socket, len: usize) {
        if len > 0 {
            count(&self.counts.received, len as u64);
            socket.bytes_received += len as u64;
            socket.direct = u32::try_from(len).expect("no more than was asked for");
            self.forget_unread(socket);
        }
    }
}
