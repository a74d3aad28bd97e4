//! What leaves: sends by copy and by SEND_ZC, their results and their notifications.
//!
//! Invariants: the slab of sends owns buffer and hold until the terminal completion, for SEND_ZC
//! until the notification, which comes if and only if the result said that more would follow.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Poll;

use super::{Interrupt, KIND_IGNORE, KIND_SEND, Reactor, count, user_data};
use crate::limits;
use crate::sys::extent::Extent;
use crate::sys::net;
use crate::sys::ring::{Completion, Operation};
use crate::sys::send::{Keep, SendBuffer, SendId, SendState};
use crate::sys::socket::SocketId;

impl Reactor {
    /// A buffer to assemble an answer in.
    pub fn send_buffer(&self) -> Box<SendBuffer> {
        self.sends.borrow_mut().buffer()
    }

    /// Keeps a buffer that is not sent after all.
    pub fn recycle(&self, buffer: Box<SendBuffer>) {
        self.sends.borrow_mut().recycle(buffer);
    }

    /// Waits for a turn in which more bytes may be sent.
    pub fn turn_budget(&self) -> impl Future<Output = ()> {
        std::future::poll_fn(|_| {
            if self.budget.get() > 0 {
                return Poll::Ready(());
            }
            self.deferred.borrow_mut().push(self.tasks.current());
            Poll::Pending
        })
    }

    pub(super) fn spend(&self, bytes: usize) {
        self.budget.set(self.budget.get() - i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Submits a send by copy. The slab keeps `buffer` and `keep` until the kernel is done.
    pub fn send(&self, id: SocketId, mut buffer: Box<SendBuffer>, keep: Keep) -> SendId {
        debug_assert!(!buffer.is_empty());
        let fd = self.fd(id);
        let operation = match buffer.single() {
            Some(run) => whole_run(fd, run),
            None => Operation::SendMsg { fd, message: buffer.message() },
        };
        let len = buffer.len();
        self.submit_send(id, operation, len, (Some(buffer), keep))
    }

    /// Submits a send by copy of bytes that many sends share.
    pub fn send_rendered(&self, id: SocketId, bytes: Rc<Vec<u8>>) -> SendId {
        let run = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        self.submit_send(id, whole_run(self.fd(id), run), bytes.len(), (None, Some(bytes)))
    }

    #[inline]
    fn submit_send(
        &self,
        id: SocketId,
        operation: Operation,
        len: usize,
        (buffer, keep): (Option<Box<SendBuffer>>, Keep),
    ) -> SendId {
        count(&self.counts.sends, 1);
        count(&self.counts.bytes, len as u64);
        self.spend(len);
        if len <= limits::PROMPT_BYTES_MAX {
            self.prompt.set(self.prompt.get() + 1);
        }
        let generation = self.with(id, |socket| {
            socket.reading = false;
            socket.generation
        });
        let mut sends = self.sends.borrow_mut();
        let send = sends.insert(self.tasks.current(), id.0, generation);
        let sending = sends.at(send).expect("just inserted");
        sending.buffer = buffer;
        sending.keep = keep;
        drop(sends);
        let data = user_data(KIND_SEND, send.generation, send.slot);
        self.ring.borrow_mut().push(operation, data);
        send
    }

    /// Submits a zero-copy send of a part of an extent.
    ///
    /// # Errors
    /// When the slot cannot be registered (memlock): the caller sends by copy instead.
    pub fn send_zero_copy(
        &self,
        id: SocketId,
        (extent, at, len): (Extent, u32, u32),
        keep: Keep,
    ) -> io::Result<SendId> {
        self.register(extent.slot)?;
        let slot = u16::try_from(extent.slot).expect("ARENA_SLOTS_MAX fits");
        count(&self.counts.sends_zc, 1);
        count(&self.counts.bytes_zc, u64::from(len));
        self.spend(len as usize);
        let (fd, generation) = self.with(id, |socket| {
            socket.reading = false;
            (socket.fd, socket.generation)
        });
        let start = self.arena.place(extent, at, len as usize).cast_const();
        let mut sends = self.sends.borrow_mut();
        let send = sends.insert(self.tasks.current(), id.0, generation);
        sends.at(send).expect("just inserted").keep = keep;
        drop(sends);
        let data = user_data(KIND_SEND, send.generation, send.slot);
        self.ring.borrow_mut().push(Operation::SendZc { fd, start, len, slot }, data);
        Ok(send)
    }

    fn register(&self, slot: u32) -> io::Result<()> {
        let mut registered = self.registered.borrow_mut();
        let Some(known) = registered.get_mut(slot as usize) else {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        };
        let generation = self.arena.generation(slot);
        if *known != Some(generation) {
            net::register_slot(&self.ring.borrow(), slot, &self.arena)?;
            *known = Some(generation);
        }
        Ok(())
    }

    /// Waits for a send's result: bytes sent or a negative errno. [`Interrupt::Late`] leaves the
    /// send under way; wait again or cancel it.
    pub fn sent(&self, id: SocketId, send: SendId) -> impl Future<Output = Result<i32, Interrupt>> {
        std::future::poll_fn(move |_| {
            if let Some(result) = self.fetch(send) {
                return Poll::Ready(Ok(result));
            }
            match self.with(id, |socket| std::mem::take(&mut socket.late)) {
                true => Poll::Ready(Err(Interrupt::Late)),
                false => Poll::Pending,
            }
        })
    }

    fn fetch(&self, send: SendId) -> Option<i32> {
        let mut sends = self.sends.borrow_mut();
        let sending = sends.at(send).expect("a send is fetched once");
        let SendState::Done(result, notification_due) = sending.state else { return None };
        if notification_due {
            sending.state = SendState::Notifying;
            return Some(result);
        }
        let (buffer, keep) = sends.remove(send);
        if let Some(buffer) = buffer {
            sends.recycle(buffer);
        }
        drop(sends);
        drop(keep);
        Some(result)
    }

    /// Asks the kernel to give a send up; its result still has to be waited for.
    pub fn cancel_send(&self, send: SendId) {
        let target = user_data(KIND_SEND, send.generation, send.slot);
        let cancel = Operation::Cancel { target };
        self.ring.borrow_mut().push(cancel, user_data(KIND_IGNORE, 0, 0));
    }

    /// Sends whose memory the kernel may still look at.
    pub fn sends_live(&self) -> usize {
        self.sends.borrow().live()
    }

    pub(super) fn note_send(&self, completion: Completion, send: SendId) {
        let mut sends = self.sends.borrow_mut();
        let sending = sends.at(send).expect("a send lives until its terminal completion");
        if !completion.is_notification() {
            debug_assert_eq!(sending.state, SendState::Submitted);
            sending.state = SendState::Done(completion.result, completion.more());
            self.tasks.wake(sending.task);
            return;
        }
        count(&self.counts.notifications, 1);
        if completion.was_copied() {
            count(&self.counts.copied, 1);
            let socket = &mut self.sockets.borrow_mut()[sending.socket as usize];
            if socket.generation == sending.socket_generation {
                socket.copied = true;
            }
        }
        match sending.state {
            // The result is still to be fetched; memory is free already.
            SendState::Done(result, _) => sending.state = SendState::Done(result, false),
            _ => {
                let held = sends.remove(send);
                drop(sends);
                drop(held);
            }
        }
    }
}

fn whole_run(fd: RawFd, run: libc::iovec) -> Operation {
    let len = u32::try_from(run.iov_len).expect("a send is bounded");
    Operation::Send { fd, start: run.iov_base.cast(), len }
}
