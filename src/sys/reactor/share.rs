//! What leaves without being copied on routes that copy: pages shared with the socket.
//!
//! The head goes by an immediate send, the body by splice, both directly; what the socket has no
//! room for waits until the ring says that there is room again.
//!
//! Invariants: pages are marked before they are shared; at most one poll per connection; what
//! readers were handed and have not come back for is bounded for the shard.

use std::io;
use std::task::Poll;

use super::{Interrupt, KIND_IGNORE, KIND_POLL, Reactor, count, user_data};
use crate::limits;
use crate::sys::extent::Extent;
use crate::sys::ring::{Completion, Operation};
use crate::sys::send::SendBuffer;
use crate::sys::socket::{Reception, Socket, SocketId};
use crate::sys::splice;

impl Reactor {
    /// Prepares sharing: opens the shard's pipe, bounds what peers may be handed without coming
    /// back. Without a pipe nothing may be shared.
    ///
    /// # Errors
    /// EMFILE or ENFILE without descriptors, ENOBUFS when the host allows too narrow a pipe only.
    pub fn prepare_sharing(&self, unread_max: u64) -> io::Result<()> {
        self.bound_unread(unread_max);
        let pipe = splice::Pipe::new()?;
        assert!(self.pipe.set(pipe).is_ok(), "a shard prepares once");
        Ok(())
    }

    /// Bounds what peers may be handed by reference without coming back, in bytes.
    pub fn bound_unread(&self, unread_max: u64) {
        self.unread_max.set(unread_max);
    }

    /// Whether pages of `bytes` may be shared now. To be asked for each piece: many connections
    /// begin before any of them is full.
    pub fn may_share(&self, bytes: u64) -> bool {
        let held = bytes.min(limits::SPLICED_SOCKET_MAX);
        self.unread.get() + held <= self.unread_max.get() && self.pipe.get().is_some()
    }

    /// Sends the buffer's own bytes from `at` on as far as the socket has room; a body follows.
    ///
    /// # Errors
    /// When the connection has failed.
    pub fn send_head(&self, id: SocketId, buffer: &SendBuffer, at: usize) -> io::Result<usize> {
        self.with(id, |socket| socket.reading = false);
        let sent = splice::send_now(self.fd(id), &buffer.own()[at..])?;
        count(&self.counts.bytes, sent as u64);
        Ok(sent)
    }

    /// Shares a part of an extent with the socket, as far as that has room; returns the bytes.
    ///
    /// # Errors
    /// When the connection has failed, or there is no memory for references.
    pub fn share(
        &self,
        id: SocketId,
        (extent, at, len): (Extent, u32, u32),
        more: bool,
    ) -> io::Result<usize> {
        let pipe = self.pipe.get().expect("the caller asked whether it may");
        self.arena.mark_spliced(extent, at, len);
        let shared = pipe.splice(self.fd(id), self.arena.run(extent, at, len), more)?;
        count(&self.counts.shares, 1);
        count(&self.counts.bytes_shared, shared as u64);
        self.budget.spend(shared / limits::SPLICE_DISCOUNT);
        self.with(id, |socket| {
            let before = socket.unread;
            // What a socket refers to beyond that, its peer has taken.
            socket.unread = (before + shared as u64).min(limits::SPLICED_SOCKET_MAX);
            count(&self.unread, socket.unread - before);
        });
        Ok(shared)
    }

    /// Bytes shared with peers that have not come back since.
    pub fn unread_bytes(&self) -> u64 {
        self.unread.get()
    }

    /// Bytes in the shard's pipe, which is empty between two turns.
    pub fn pipe_bytes(&self) -> u64 {
        // A pipe that cannot be asked is as bad as one that is not empty.
        self.pipe.get().map_or(0, |pipe| pipe.held().map_or(u64::MAX, |bytes| bytes as u64))
    }

    /// The peer has come back, or is gone: it no longer counts as holding what was shared.
    #[inline]
    pub(super) fn forget_unread(&self, socket: &mut Socket) {
        if socket.unread > 0 {
            self.unread.set(self.unread.get() - std::mem::take(&mut socket.unread));
        }
    }

    /// Waits until the socket has room. [`Interrupt::Late`] leaves the wait under way; wait again
    /// or close the connection.
    pub fn writable(&self, id: SocketId) -> impl Future<Output = Result<(), Interrupt>> {
        let mut asked = self.with(id, |socket| socket.poll != Reception::Idle);
        std::future::poll_fn(move |_| {
            let idle = self.with(id, |socket| socket.poll == Reception::Idle);
            match (idle, asked) {
                (true, true) => return Poll::Ready(Ok(())),
                (true, false) => self.arm_poll(id),
                (false, _) => {}
            }
            asked = true;
            match self.with(id, |socket| std::mem::take(&mut socket.late)) {
                true => Poll::Ready(Err(Interrupt::Late)),
                false => Poll::Pending,
            }
        })
    }

    fn arm_poll(&self, id: SocketId) {
        let (poll, data) = self.with(id, |socket| {
            socket.poll = Reception::Armed;
            // That the peer has ended its side would end a single wait at once, for ever.
            let poll = Operation::PollOut { fd: socket.fd, multi: socket.is_half_closed() };
            (poll, user_data(KIND_POLL, socket.generation, id.0))
        });
        self.ring.borrow_mut().push(poll, data);
    }

    pub(super) fn note_poll(&self, completion: Completion, generation: u32, place: u32) {
        let socket = &mut self.sockets.borrow_mut()[place as usize];
        // A connection is closed only when its poll has ended.
        debug_assert_eq!(socket.generation, generation);
        let events = completion.result.max(0);
        socket.hung_up |= events & i32::from(libc::POLLRDHUP) != 0;
        if completion.more() {
            let room = events & i32::from(libc::POLLOUT | libc::POLLERR | libc::POLLHUP) != 0;
            if room && socket.poll == Reception::Armed {
                self.cancel_poll(socket, place);
            }
            return;
        }
        socket.poll = Reception::Idle;
        self.tasks.wake(socket.task);
    }

    pub(super) fn cancel_poll(&self, socket: &mut Socket, place: u32) {
        socket.poll = Reception::Cancelling;
        let target = user_data(KIND_POLL, socket.generation, place);
        let cancel = Operation::Cancel { target };
        self.ring.borrow_mut().push(cancel, user_data(KIND_IGNORE, 0, 0));
    }

    /// Withdraws registrations of slots whose pages were renewed: they keep the old ones.
    pub(super) fn withdraw_renewed(&self) {
        let renewals = self.arena.renewals();
        if self.withdrawn.replace(renewals) == renewals {
            return;
        }
        for (slot, known) in (0..).zip(self.registered.borrow_mut().iter_mut()) {
            if known.is_some_and(|known| known != self.arena.generation(slot)) {
                // A failure leaves the old registration, which is replaced before it is used.
                let _ = self.ring.borrow().withdraw_slot(slot);
                *known = None;
            }
        }
    }
}
