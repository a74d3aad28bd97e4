//! What arrives: receptions into provided buffers, queued in the connection's inbox.
//!
//! Invariants: every completion is looked at for a buffer, which goes into the inbox of its
//! connection or back to the kernel; a reception that ended is armed again only when its reader
//! has room and there are buffers.

use std::task::Poll;

use super::{Interrupt, KIND_CANCEL, KIND_RECV, Reactor, count, user_data};
use crate::limits;
use crate::sys::buffers::Received;
use crate::sys::net;
use crate::sys::ring::{Completion, Operation};
use crate::sys::socket::{End, Reception, Socket, SocketId};

impl Reactor {
    /// Bytes received on the connection so far.
    pub fn bytes_received(&self, id: SocketId) -> u64 {
        self.with(id, |socket| socket.bytes_received)
    }

    /// Whether bytes, or the end, are waiting.
    pub fn has_input(&self, id: SocketId) -> bool {
        self.with(id, |socket| !socket.inbox.is_empty() || socket.end.is_some())
    }

    /// The next bytes of the connection.
    pub fn receive(&self, id: SocketId) -> impl Future<Output = Result<Received, Interrupt>> {
        std::future::poll_fn(move |_| self.try_receive(id))
    }

    /// Whether the deadline passed or the peer failed, for tasks that wait for something else.
    pub fn interrupted(&self, id: SocketId) -> Option<Interrupt> {
        self.with(id, |socket| match socket.end {
            Some(End::Failed(errno)) => Some(Interrupt::Ended(End::Failed(errno))),
            _ => std::mem::take(&mut socket.late).then_some(Interrupt::Late),
        })
    }

    fn try_receive(&self, id: SocketId) -> Poll<Result<Received, Interrupt>> {
        let (answer, resume) = self.with(id, |socket| {
            if let Some(received) = socket.inbox.pop_front() {
                // A paused reception goes on only when the inbox is nearly empty.
                let paused = socket.reception == Reception::Idle && socket.end.is_none();
                let resume = paused && !socket.sparing && socket.inbox.len() <= 1;
                return (Poll::Ready(Ok(received)), resume);
            }
            if let Some(end) = socket.end {
                return (Poll::Ready(Err(Interrupt::Ended(end))), false);
            }
            if std::mem::take(&mut socket.late) {
                return (Poll::Ready(Err(Interrupt::Late)), false);
            }
            socket.reading = true;
            (Poll::Pending, socket.reception == Reception::Idle)
        });
        if resume {
            self.arm(id);
        }
        answer
    }

    pub(super) fn arm(&self, id: SocketId) {
        let (operation, data) = self.with(id, |socket| {
            (socket.reception, socket.again) = (Reception::Armed, false);
            let fd = socket.fd;
            let operation = match socket.sparing {
                true => Operation::RecvOnce { fd },
                false => Operation::RecvMulti { fd },
            };
            (operation, user_data(KIND_RECV, socket.generation, id.0))
        });
        self.ring.borrow_mut().push(operation, data);
    }

    pub(super) fn note_recv(&self, completion: Completion, generation: u32, place: u32) {
        let len = usize::try_from(completion.result).unwrap_or(0);
        let received = completion.buffer().map(|id| self.buffers.received(id, len));
        let mut sockets = self.sockets.borrow_mut();
        let socket = &mut sockets[place as usize];
        if socket.generation != generation {
            received.into_iter().for_each(|received| self.buffers.give_back(received));
            return;
        }
        match received {
            // The connection was cut: nobody will read this.
            Some(received) if matches!(socket.end, Some(End::Failed(_))) => {
                self.buffers.give_back(received);
            }
            Some(received) if len > 0 => {
                count(&self.counts.received, len as u64);
                // What a socket receives beyond its first buffer is no further request.
                let first = socket.inbox.is_empty();
                self.heard.set(self.heard.get() + usize::from(first));
                socket.bytes_received += len as u64;
                // What comes in the middle of an answer says nothing of what was read of it.
                if socket.reading {
                    self.forget_unread(socket);
                }
                socket.inbox.push_back(received);
            }
            Some(received) => self.buffers.give_back(received),
            None => self.note_direct(socket, len),
        }
        if !completion.more() {
            let cancelling = socket.reception == Reception::Cancelling;
            socket.reception = Reception::Idle;
            match -completion.result {
                _ if socket.end.is_some() => {}
                0 => {
                    socket.end = Some(End::Finished);
                    // From now on it sends what there is room for at once.
                    socket.sending.into_iter().for_each(|send| self.cancel_send(send));
                }
                libc::ENOBUFS => {
                    count(&self.counts.starved, 1);
                    socket.reception = Reception::Armed;
                    self.starved.borrow_mut().push(SocketId(place));
                }
                libc::ECANCELED if cancelling && std::mem::take(&mut socket.again) => {
                    socket.reception = Reception::Armed;
                    self.starved.borrow_mut().push(SocketId(place));
                }
                libc::ECANCELED if cancelling => {}
                errno if errno > 0 => socket.end = Some(End::Failed(errno)),
                // Bytes, and the operation's end with them: armed again by the reader.
                _ => {}
            }
        } else if socket.inbox.len() > inbox_max(socket) && socket.reception == Reception::Armed {
            self.cancel_reception(socket, place);
        }
        match socket.detached {
            None => self.tasks.wake(socket.task),
            Some(_) => self.stirred.borrow_mut().push(SocketId(place)),
        }
    }

    pub(super) fn cancel_reception(&self, socket: &mut Socket, place: u32) {
        socket.reception = Reception::Cancelling;
        let target = user_data(KIND_RECV, socket.generation, place);
        let cancel = Operation::Cancel { target };
        self.ring.borrow_mut().push(cancel, user_data(KIND_CANCEL, socket.generation, place));
    }

    /// A cancel that did not find its reception, although that goes on, is tried again.
    pub(super) fn note_cancel(&self, completion: Completion, generation: u32, place: u32) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(place as usize) else { return };
        let goes_on = socket.generation == generation && socket.reception == Reception::Cancelling;
        if goes_on && completion.result == -libc::ENOENT {
            self.cancel_reception(socket, place);
        }
    }

    /// Arms receptions that found no buffer, once there are buffers again, and those that were
    /// wanted while another was being cancelled.
    pub(super) fn feed_starved(&self) {
        if self.starved.borrow().is_empty() {
            return;
        }
        if self.buffers.available() == 0 && !self.buffers.grow() && !self.cut_greedy() {
            return;
        }
        let waiting = self.starved.take();
        for id in waiting {
            let arm = self.with(id, |socket| {
                let arm = socket.fd >= 0 && socket.reception == Reception::Armed;
                socket.reception = Reception::Idle;
                arm
            });
            if arm {
                self.arm(id);
            }
        }
    }

    /// Cuts connections that ask on and on without reading answers, and by that hold more than
    /// their share of the receive buffers, until one lot is back; whether any buffer is.
    fn cut_greedy(&self) -> bool {
        let now_ms = self.clock.now_ms();
        if self.cut_ms.replace(now_ms) == now_ms {
            return false;
        }
        let share = usize::from(limits::RECV_BUFFERS_MAX) / self.connections().max(1);
        let mut back = 0;
        for socket in self.sockets.borrow_mut().iter_mut() {
            if socket.reading || socket.inbox.len() <= share {
                continue;
            }
            back += socket.inbox.len();
            socket.inbox.drain(..).for_each(|received| self.buffers.give_back(received));
            socket.end = Some(End::Failed(libc::ENOBUFS));
            // Its send ends by this as well.
            net::shutdown(socket.fd);
            count(&self.counts.cut, 1);
            if back >= usize::from(limits::RECV_BUFFERS_START) {
                break;
            }
        }
        back > 0
    }
}

fn inbox_max(socket: &Socket) -> usize {
    if socket.reading { limits::INBOX_BUFFERS_MAX } else { limits::INBOX_BUFFERS_BUSY_MAX }
}
