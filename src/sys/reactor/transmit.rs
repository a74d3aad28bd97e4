//! What leaves: sends by copy and by SEND_ZC, their results and their notifications.
//!
//! Invariants: the slab of sends owns buffer and hold until the terminal completion, for SEND_ZC
//! until the notification, which comes if and only if the result said that more would follow.

use std::io;
use std::rc::Rc;
use std::task::Poll;

use super::{Interrupt, KIND_IGNORE, KIND_SEND, Reactor, count, user_data};
use crate::limits;
use crate::sys::extent::Extent;
use crate::sys::net;
use crate::sys::ring::{Completion, Operation};
use crate::sys::send::{Keep, SendBuffer, SendId, SendState, Sent};
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

    /// Submits a send by copy. The slab keeps `buffer` and `keep` until the kernel is done.
    pub fn send(&self, id: SocketId, mut buffer: Box<SendBuffer>, keep: Keep) -> SendId {
        debug_assert!(!buffer.is_empty());
        let operation = self.copying(id, &mut buffer);
        let len = buffer.len();
        self.submit_send(id, operation, len, (Some(buffer), keep))
    }

    /// Submits a send by copy of bytes that many sends share, from byte `from` on.
    pub fn send_rendered(&self, id: SocketId, bytes: Rc<Vec<u8>>, from: usize) -> SendId {
        let rest = &bytes[from..];
        let (start, len) = (rest.as_ptr().cast_mut(), rest.len());
        let run = libc::iovec { iov_base: start.cast(), iov_len: len };
        let operation = self.copying_run(id, run);
        self.submit_send(id, operation, len, (None, Some(bytes)))
    }

    /// Submits what a send of which a part has left has kept.
    pub fn go_on(&self, id: SocketId, send: SendId) {
        let mut sends = self.sends.borrow_mut();
        let sending = sends.at(send).expect("the rest was kept");
        debug_assert_eq!(sending.state, SendState::Rest);
        let buffer = sending.buffer.as_mut().expect("a rest has its buffer");
        let operation = self.copying(id, buffer);
        sending.len = buffer.len();
        sending.state = SendState::Submitted;
        let len = sending.len;
        drop(sends);
        self.budget.spend(len);
        self.with(id, |socket| socket.sending = Some(send));
        self.ring.borrow_mut().push(operation, user_data(KIND_SEND, send.generation, send.slot));
    }

    /// Forgets the rest of a send, if it has one.
    pub fn abandon(&self, send: SendId) {
        let mut sends = self.sends.borrow_mut();
        if sends.at(send).is_some_and(|sending| sending.state == SendState::Rest) {
            let (buffer, keep) = sends.remove(send);
            buffer.into_iter().for_each(|buffer| sends.recycle(buffer));
            drop(sends);
            drop(keep);
        }
    }

    /// Whether a part of the send has left and the rest waits.
    pub fn has_rest(&self, send: SendId) -> bool {
        let mut sends = self.sends.borrow_mut();
        sends.at(send).is_some_and(|sending| sending.state == SendState::Rest)
    }

    fn copying(&self, id: SocketId, buffer: &mut SendBuffer) -> Operation {
        match buffer.single() {
            Some(run) => self.copying_run(id, run),
            None => {
                let (fd, effort) = self.with(id, |socket| (socket.fd, socket.effort()));
                Operation::SendMsg { fd, message: buffer.message(), effort }
            }
        }
    }

    fn copying_run(&self, id: SocketId, run: libc::iovec) -> Operation {
        let (fd, effort) = self.with(id, |socket| (socket.fd, socket.effort()));
        let len = u32::try_from(run.iov_len).expect("a send is bounded");
        Operation::Send { fd, start: run.iov_base.cast(), len, effort }
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
        self.budget.spend(len);
        if len <= limits::PROMPT_BYTES_MAX {
            self.prompt.set(self.prompt.get() + 1);
        }
        let send = self.insert_send(id, len, (buffer, keep));
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
        self.budget.spend(len as usize);
        let start = self.arena.place(extent, at, len as usize).cast_const();
        let send = self.insert_send(id, len as usize, (None, keep));
        let fd = self.fd(id);
        let data = user_data(KIND_SEND, send.generation, send.slot);
        self.ring.borrow_mut().push(Operation::SendZc { fd, start, len, slot }, data);
        Ok(send)
    }

    #[inline]
    fn insert_send(
        &self,
        id: SocketId,
        len: usize,
        (buffer, keep): (Option<Box<SendBuffer>>, Keep),
    ) -> SendId {
        let mut sends = self.sends.borrow_mut();
        self.with(id, |socket| {
            socket.reading = false;
            let send = sends.insert(self.tasks.current(), id.0, socket.generation);
            let sending = sends.at(send).expect("just inserted");
            (sending.len, sending.buffer, sending.keep) = (len, buffer, keep);
            socket.sending = Some(send);
            send
        })
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

    /// Waits for a send's result. Of a send by copy the rest is kept: go on with it or abandon it.
    /// [`Interrupt::Late`] leaves the send under way; wait again or cancel it.
    pub fn sent(
        &self,
        id: SocketId,
        send: SendId,
    ) -> impl Future<Output = Result<Sent, Interrupt>> {
        std::future::poll_fn(move |_| {
            if let Some(sent) = self.fetch(send) {
                self.with(id, |socket| socket.sending = None);
                return Poll::Ready(Ok(sent));
            }
            match self.with(id, |socket| std::mem::take(&mut socket.late)) {
                true => Poll::Ready(Err(Interrupt::Late)),
                false => Poll::Pending,
            }
        })
    }

    fn fetch(&self, send: SendId) -> Option<Sent> {
        let mut sends = self.sends.borrow_mut();
        let sending = sends.at(send).expect("a send is fetched once");
        let SendState::Done(result, notification_due) = sending.state else { return None };
        let sent = Sent::of(result, sending.len);
        if notification_due {
            sending.state = SendState::Notifying;
            return Some(sent);
        }
        if let Sent::Part(bytes) = sent
            && sends.keep_rest(send, bytes)
        {
            return Some(sent);
        }
        let (buffer, keep) = sends.remove(send);
        if let Some(buffer) = buffer {
            sends.recycle(buffer);
        }
        drop(sends);
        drop(keep);
        Some(sent)
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
                count(&self.counts.demoted, u64::from(!socket.copied));
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
