//! One thread's io_uring: connect, send, receive; waits with nanoseconds, or not at all.
//!
//! A receive is armed once for the life of a connection (multishot into provided buffers), so a
//! request costs one submission; where bodies are large, each is thrown away inside the kernel
//! instead. Completions are taken in this thread only, when it asks for them
//! (DEFER_TASKRUN): nothing interrupts a spinning thread, and a flag in shared memory tells it
//! whether asking is worth a system call. Memory handed to the kernel is owned by the ring until
//! the completion that names it.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::buffers::{Buffers, Received};
use crate::limits::{DISCARD_BYTES_MAX, RING_BUFFER_BYTES, RING_BUFFERS_MAX, RING_ENTRIES};

/// The one group of provided buffers.
const GROUP: u16 = 0;
const CONNECT: u64 = 1 << 56;
const SEND: u64 = 2 << 56;
const RECEIVE: u64 = 3 << 56;
const DISCARD: u64 = 4 << 56;

/// Which connection: a slot of the caller's and the number of its socket in that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The caller's index.
    pub slot: u32,
    /// Counts the sockets of the slot, so that late completions of an old one are known.
    pub generation: u16,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A connect ended.
    Connected(Token, io::Result<()>),
    /// A send ended; the number of bytes.
    Sent(Token, io::Result<usize>),
    /// Bytes arrived; true when the receive must be armed for more.
    Received(Token, Received, bool),
    /// So many bytes were thrown away.
    Discarded(Token, usize),
    /// The receive has ended: the other side closed (`Ok`), or an error.
    Ended(Token, io::Result<()>),
    /// The receive must be armed again: the buffers were used up for a moment.
    Disarmed(Token),
}

/// A send that the kernel works on.
struct Sending {
    token: Token,
    bytes: Rc<[u8]>,
}

/// The ring of one thread.
pub struct Ring {
    ring: IoUring,
    buffers: Buffers,
    sending: Vec<Option<Sending>>,
    free: Vec<u32>,
    /// Completions that the kernel could not place at once.
    overflows: u64,
    addresses: Vec<SockAddr>,
}

impl Ring {
    /// A ring for about `connections` connections.
    pub fn new(connections: usize) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_clamp()
            .setup_cqsize(RING_ENTRIES * 8)
            .build(RING_ENTRIES)?;
        let wanted = (connections * 2).next_power_of_two().clamp(64, RING_BUFFERS_MAX);
        let buffers = Buffers::new(&ring, u16::try_from(wanted).unwrap_or(64), GROUP)?;
        Ok(Self {
            ring,
            buffers,
            sending: Vec::new(),
            free: Vec::new(),
            overflows: 0,
            addresses: Vec::new(),
        })
    }

    /// Makes an address known; its number is for [`Ring::connect`].
    pub fn address(&mut self, address: SocketAddr) -> usize {
        self.addresses.push(SockAddr::from(address));
        self.addresses.len() - 1
    }

    /// A new socket, with TCP_NODELAY, and the start of its connect.
    pub fn connect(&mut self, address: usize, token: Token) -> io::Result<Socket> {
        let known = &self.addresses[address];
        let domain = if known.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        let entry =
            opcode::Connect::new(Fd(socket.as_raw_fd()), known.as_ptr().cast(), known.len())
                .build()
                .user_data(CONNECT | pack(token));
        // SAFETY: the address lives in `self.addresses`; the kernel copies it when it is submitted,
        // which `push` and `submit` do before anything is removed from there (nothing ever is).
        unsafe { self.push(&entry) }?;
        // The vector of addresses may grow and move: the kernel must have its copy before.
        self.submit()?;
        Ok(socket)
    }

    /// Arms the receive of a connection.
    pub fn receive(&mut self, socket: &Socket, token: Token) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP)
            .build()
            .user_data(RECEIVE | pack(token));
        // SAFETY: the entry names no memory but the provided buffers, which are never freed.
        unsafe { self.push(&entry) }
    }

    /// Receives once, at most one buffer.
    pub fn receive_once(&mut self, socket: &Socket, token: Token) -> io::Result<()> {
        let fd = Fd(socket.as_raw_fd());
        let most = u32::try_from(RING_BUFFER_BYTES).unwrap_or(0);
        let entry = opcode::Recv::new(fd, std::ptr::null_mut(), most)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
            .user_data(RECEIVE | pack(token));
        // SAFETY: the entry names no memory but the provided buffers, which are never freed.
        unsafe { self.push(&entry) }
    }

    /// Throws away at most `most` bytes of what arrives: the kernel copies nothing (MSG_TRUNC).
    pub fn discard(&mut self, socket: &Socket, token: Token, most: u64) -> io::Result<()> {
        let fd = Fd(socket.as_raw_fd());
        let most = u32::try_from(most.min(DISCARD_BYTES_MAX)).unwrap_or(0);
        let entry = opcode::Recv::new(fd, std::ptr::null_mut(), most)
            .flags(libc::MSG_TRUNC)
            .build()
            .user_data(DISCARD | pack(token));
        // SAFETY: with MSG_TRUNC a TCP socket writes nothing into the buffer, which is none.
        unsafe { self.push(&entry) }
    }

    /// Sends all of `bytes`; submitted with the next [`Ring::submit`] or wait.
    #[expect(clippy::cast_possible_truncation, reason = "a request is below 4 GiB; slots are few")]
    pub fn send(&mut self, socket: &Socket, token: Token, bytes: Rc<[u8]>) -> io::Result<()> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.sending.push(None);
            (self.sending.len() - 1) as u32
        });
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(SEND | u64::from(slot));
        self.sending[slot as usize] = Some(Sending { token, bytes });
        // SAFETY: `self.sending` keeps the bytes in place until the completion of this entry.
        unsafe { self.push(&entry) }
    }

    /// # Safety
    /// The memory that the entry names must stay in place until its completion.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the caller's promise.
        if unsafe { self.ring.submission().push(entry) }.is_err() {
            self.submit()?;
            // SAFETY: the caller's promise.
            unsafe { self.ring.submission().push(entry) }
                .map_err(|_| io::Error::other("the submission queue stays full"))?;
        }
        Ok(())
    }

    /// Hands what was pushed to the kernel; sends that need not wait are done when this returns.
    pub fn submit(&mut self) -> io::Result<()> {
        tolerate(self.ring.submit())
    }

    /// Takes in completions that are ready, without waiting; a system call only when there are.
    pub fn poll(&mut self) -> io::Result<()> {
        let (pending, flagged) = {
            let queue = self.ring.submission();
            if queue.cq_overflow() {
                self.overflows += 1;
            }
            (queue.len(), queue.taskrun() || queue.cq_overflow())
        };
        if pending == 0 && !flagged {
            return Ok(());
        }
        let pending = u32::try_from(pending).unwrap_or(0);
        // IORING_ENTER_GETEVENTS
        const GET_EVENTS: u32 = 1;
        // SAFETY: no signal mask and no further argument is passed.
        tolerate(unsafe {
            self.ring.submitter().enter::<libc::sigset_t>(pending, 0, GET_EVENTS, None)
        })
    }

    /// Hands over what was pushed and waits for a completion, at most `within`.
    pub fn wait(&mut self, within: Duration) -> io::Result<()> {
        if self.ring.submission().cq_overflow() {
            self.overflows += 1;
        }
        let time = Timespec::from(within);
        tolerate(self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time)))
    }

    /// The next completion.
    pub fn take(&mut self) -> Option<Event> {
        let entry = self.ring.completion().next()?;
        Some(self.event(&entry))
    }

    fn event(&mut self, entry: &cqueue::Entry) -> Event {
        let data = entry.user_data();
        let result = match entry.result() {
            code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            count => Ok(usize::try_from(count).unwrap_or(0)),
        };
        match data & (0xff << 56) {
            CONNECT => Event::Connected(unpack(data), result.map(drop)),
            SEND => self.sent(data, result),
            DISCARD => match result {
                Ok(count) if count > 0 => Event::Discarded(unpack(data), count),
                result => Event::Ended(unpack(data), result.map(drop)),
            },
            _ => self.received(unpack(data), entry.flags(), result),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the slot is the lower half")]
    fn sent(&mut self, data: u64, result: io::Result<usize>) -> Event {
        let slot = data as u32;
        let Some(sending) = self.sending[slot as usize].take() else {
            unreachable!("one completion for each send")
        };
        self.free.push(slot);
        let whole = sending.bytes.len();
        let result = result.and_then(|count| {
            if count == whole { Ok(count) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
        Event::Sent(sending.token, result)
    }

    fn received(&mut self, token: Token, flags: u32, result: io::Result<usize>) -> Event {
        let armed = cqueue::more(flags);
        match (result, cqueue::buffer_select(flags)) {
            (Ok(len), Some(id)) if len > 0 => {
                Event::Received(token, self.buffers.received(id, len), !armed)
            }
            (Ok(_), id) => {
                if let Some(id) = id {
                    let empty = self.buffers.received(id, 0);
                    self.buffers.give_back(empty);
                }
                Event::Ended(token, Ok(()))
            }
            (Err(error), _) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                Event::Disarmed(token)
            }
            (Err(error), _) => Event::Ended(token, Err(error)),
        }
    }

    /// The bytes of a token.
    pub fn bytes(&self, received: &Received) -> &[u8] {
        self.buffers.bytes(received)
    }

    /// Gives the buffer of a token back.
    pub fn give_back(&mut self, received: Received) {
        self.buffers.give_back(received);
    }

    /// Times the kernel had more completions than room; none was lost.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Whether the kernel still reads memory of a send.
    pub fn is_sending(&self) -> bool {
        self.free.len() < self.sending.len()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Closing a ring cancels its sends a moment later: what they read must outlive it.
        for sending in self.sending.drain(..).flatten() {
            std::mem::forget(sending.bytes);
        }
    }
}

/// An end of the wait, an interruption or a moment without memory is no error.
fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

fn pack(token: Token) -> u64 {
    u64::from(token.generation) << 32 | u64::from(token.slot)
}

#[expect(clippy::cast_possible_truncation, reason = "the parts that `pack` put there")]
fn unpack(data: u64) -> Token {
    Token { slot: data as u32, generation: (data >> 32) as u16 }
}
