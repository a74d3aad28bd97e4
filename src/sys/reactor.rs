//! The shard's reactor: sockets, sends and tasks around one ring.
//!
//! A turn is: take completions and note what they say (never run tasks meanwhile), run tasks,
//! submit and wait. Tasks wait by futures of this file; what they wait for is noted in sockets and
//! sends, and the task is woken by number.
//!
//! Invariants (the laws of the ring): the slab owns what a send needs until its terminal
//! completion; a multishot operation without F_MORE is dead and armed again only when there is
//! room; every completion is looked at for a buffer; `user_data` is kind, generation and place.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::arena::Arena;
use super::buffers::{Buffers, Received};
use super::clock::Clock;
use super::extent::Extent;
use super::net;
use super::ring::{Completion, Operation, Ring, RingSize};
use super::send::{Keep, SendBuffer, SendId, SendState, Sends};
use super::socket::{End, Reception, Socket, SocketId};
use super::task::Tasks;
use crate::limits;

/// Bits of a generation that fit `user_data`.
pub(super) const GENERATION_MASK: u32 = 0x00FF_FFFF;

const KIND_ACCEPT: u64 = 1;
const KIND_RECV: u64 = 2;
const KIND_SEND: u64 = 3;
const KIND_CANCEL: u64 = 4;
const KIND_EVENT: u64 = 5;
/// Completions that other shards post here to wake this one.
pub const KIND_WAKE: u64 = 6;
const KIND_IGNORE: u64 = 7;

fn user_data(kind: u64, generation: u32, place: u32) -> u64 {
    kind << 56 | u64::from(generation & GENERATION_MASK) << 32 | u64::from(place)
}

/// The user data of a wake-up from another shard.
pub fn wake_user_data() -> u64 {
    user_data(KIND_WAKE, 0, 0)
}

/// What the reactor has counted.
#[derive(Default)]
pub struct Counts {
    /// Completions seen.
    pub completions: Cell<u64>,
    /// Sends by copy.
    pub sends: Cell<u64>,
    /// Sends by SEND_ZC.
    pub sends_zc: Cell<u64>,
    /// Bytes sent by copy.
    pub bytes: Cell<u64>,
    /// Bytes sent by SEND_ZC.
    pub bytes_zc: Cell<u64>,
    /// Notifications of SEND_ZC.
    pub notifications: Cell<u64>,
    /// Notifications that say the kernel copied after all.
    pub copied: Cell<u64>,
    /// Bytes received.
    pub received: Cell<u64>,
    /// Times that no receive buffer was left.
    pub starved: Cell<u64>,
}

fn count(cell: &Cell<u64>, by: u64) {
    cell.set(cell.get() + by);
}

/// Why a wait on a connection ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The deadline passed.
    Late,
    /// Nothing more will come.
    Ended(End),
}

/// One shard's reactor.
pub struct Reactor {
    ring: RefCell<Ring>,
    /// Receive buffers.
    pub buffers: Buffers,
    /// The executor.
    pub tasks: Tasks,
    /// The time.
    pub clock: Clock,
    /// Counters.
    pub counts: Counts,
    arena: Arc<Arena>,
    sockets: RefCell<Vec<Socket>>,
    sockets_free: RefCell<Vec<u32>>,
    sends: RefCell<Sends>,
    completions: RefCell<Vec<Completion>>,
    listeners: RefCell<Vec<Listener>>,
    accepted: RefCell<Vec<(usize, RawFd)>>,
    starved: RefCell<Vec<SocketId>>,
    deferred: RefCell<Vec<u32>>,
    budget: Cell<i64>,
    registered: RefCell<Vec<bool>>,
    scan: Cell<Scan>,
    evict_from: Cell<usize>,
}

struct Listener {
    fd: RawFd,
    armed: bool,
    open: bool,
}

impl Listener {
    /// Closes the socket, once no operation names it.
    fn close(&mut self) {
        debug_assert!(!self.armed && !self.open);
        let fd = std::mem::replace(&mut self.fd, -1);
        if fd >= 0 {
            net::close(fd);
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Scan {
    next: usize,
    begun_ms: u64,
    running: bool,
}

impl Reactor {
    /// A reactor for the calling thread.
    ///
    /// # Errors
    /// As `io_uring_setup` and `io_uring_register`.
    pub fn new(arena: Arc<Arena>) -> io::Result<Self> {
        let size = RingSize {
            submissions: limits::RING_SUBMISSIONS,
            completions: limits::RING_COMPLETIONS,
        };
        let ring = Ring::new(size)?;
        let buffers = Buffers::new(&ring)?;
        Ok(Self {
            ring: RefCell::new(ring),
            buffers,
            tasks: Tasks::default(),
            clock: Clock::default(),
            counts: Counts::default(),
            arena,
            sockets: RefCell::default(),
            sockets_free: RefCell::default(),
            sends: RefCell::default(),
            completions: RefCell::new(Vec::with_capacity(limits::TURN_COMPLETIONS_MAX)),
            listeners: RefCell::default(),
            accepted: RefCell::default(),
            starved: RefCell::default(),
            deferred: RefCell::default(),
            budget: Cell::new(limits::TURN_BYTES_MAX),
            registered: RefCell::default(),
            scan: Cell::default(),
            evict_from: Cell::new(0),
        })
    }

    /// The descriptor to which other shards post wake-ups.
    pub fn ring_fd(&self) -> RawFd {
        self.ring.borrow().fd()
    }

    /// Calls to `enter`, overflows of the completion queue, full submission queues.
    pub fn ring_counts(&self) -> (u64, u64, u64) {
        let mut ring = self.ring.borrow_mut();
        (ring.enters, u64::from(ring.overflows()), ring.full)
    }

    /// The arena whose bytes this reactor sends.
    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// Prepares zero-copy sends: an empty table with a place for every slot.
    ///
    /// # Errors
    /// As `io_uring_register`.
    pub fn prepare_zero_copy(&self) -> io::Result<()> {
        self.ring.borrow().register_table(self.arena.slots())?;
        self.registered.replace(vec![false; self.arena.slots() as usize]);
        Ok(())
    }

    /// Watches an event descriptor by which threads without a ring wake this shard.
    pub fn watch_event(&self, fd: RawFd) {
        let data = user_data(KIND_EVENT, 0, u32::try_from(fd).expect("descriptors are positive"));
        self.ring.borrow_mut().push(Operation::PollEvent { fd }, data);
    }

    /// Posts a wake-up to another shard's ring with the next `enter`.
    pub fn wake_ring(&self, ring_fd: RawFd) {
        let wake = Operation::Wake { ring_fd, user_data: wake_user_data() };
        self.ring.borrow_mut().push(wake, user_data(KIND_IGNORE, 0, 0));
    }

    // ---- the turn ----

    /// First part of a turn: reads the clock, takes completions, notes what they say.
    pub fn reap(&self) {
        self.clock.turn();
        self.budget.set(limits::TURN_BYTES_MAX);
        for task in self.deferred.borrow_mut().drain(..) {
            self.tasks.wake(task);
        }
        let mut completions = self.completions.take();
        self.ring.borrow_mut().reap(&mut completions);
        count(&self.counts.completions, completions.len() as u64);
        for completion in completions.drain(..) {
            self.note(completion);
        }
        self.completions.replace(completions);
        self.feed_starved();
        self.scan_deadlines();
    }

    /// Last part of a turn: submits, and waits for a completion at most `wait`.
    ///
    /// # Errors
    /// Those of `enter` that end a shard.
    pub fn enter(&self, wait: Option<Duration>) -> io::Result<()> {
        let busy =
            self.tasks.has_ready() || !self.deferred.borrow().is_empty() || self.scan.get().running;
        let wait = if busy { Some(Duration::ZERO) } else { wait };
        self.ring.borrow_mut().enter(wait)
    }

    /// How long the reactor's own timers allow to wait.
    pub fn wait_max(&self) -> Option<Duration> {
        let any = self.sockets.borrow().len() > self.sockets_free.borrow().len();
        // An accept that found no descriptor is armed again by the scan, and nothing else wakes us.
        let deaf = self.listeners.borrow().iter().any(|listener| listener.open && !listener.armed);
        (any || deaf).then_some(Duration::from_millis(limits::DEADLINE_SCAN_MS))
    }

    fn note(&self, completion: Completion) {
        let place = (completion.user_data & 0xFFFF_FFFF) as u32;
        let generation = (completion.user_data >> 32) as u32 & GENERATION_MASK;
        match completion.user_data >> 56 {
            KIND_RECV => self.note_recv(completion, generation, place),
            KIND_SEND => self.note_send(completion, SendId { slot: place, generation }),
            KIND_ACCEPT => self.note_accept(completion, place as usize),
            KIND_EVENT if !completion.more() => {
                self.watch_event(RawFd::try_from(place).expect("it was a descriptor"));
            }
            _ => {}
        }
    }

    // ---- connections ----

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

    /// Sets the instant after which waits on the connection end with [`Interrupt::Late`].
    pub fn set_deadline(&self, id: SocketId, deadline_ms: u64) {
        self.with(id, |socket| {
            socket.deadline_ms = deadline_ms;
            socket.late = false;
        });
    }

    /// Marks whether the connection waits for a request and may be evicted.
    pub fn set_idle(&self, id: SocketId, idle: bool) {
        self.with(id, |socket| socket.idle = idle);
    }

    /// Whether the kernel said that it copied a zero-copy send on this connection.
    pub fn was_copied(&self, id: SocketId) -> bool {
        self.with(id, |socket| socket.copied)
    }

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
                return (Poll::Ready(Ok(received)), paused && socket.inbox.len() <= 1);
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

    fn arm(&self, id: SocketId) {
        let (fd, data) = self.with(id, |socket| {
            socket.reception = Reception::Armed;
            (socket.fd, user_data(KIND_RECV, socket.generation, id.0))
        });
        self.ring.borrow_mut().push(Operation::RecvMulti { fd }, data);
    }

    fn note_recv(&self, completion: Completion, generation: u32, place: u32) {
        let len = usize::try_from(completion.result).unwrap_or(0);
        let received = completion.buffer().map(|id| self.buffers.received(id, len));
        let mut sockets = self.sockets.borrow_mut();
        let socket = &mut sockets[place as usize];
        if socket.generation != generation {
            received.into_iter().for_each(|received| self.buffers.give_back(received));
            return;
        }
        match received {
            Some(received) if len > 0 => {
                count(&self.counts.received, len as u64);
                socket.bytes_received += len as u64;
                socket.inbox.push_back(received);
            }
            Some(received) => self.buffers.give_back(received),
            None => {}
        }
        if !completion.more() {
            let cancelling = socket.reception == Reception::Cancelling;
            socket.reception = Reception::Idle;
            match -completion.result {
                0 => socket.end = Some(End::Finished),
                libc::ENOBUFS => {
                    count(&self.counts.starved, 1);
                    socket.reception = Reception::Armed;
                    self.starved.borrow_mut().push(SocketId(place));
                }
                libc::ECANCELED if cancelling => {}
                errno if errno > 0 => socket.end = Some(End::Failed(errno)),
                // A last full buffer with the operation's end: armed again by the reader.
                _ => {}
            }
        } else if socket.inbox.len() > inbox_max(socket) && socket.reception == Reception::Armed {
            socket.reception = Reception::Cancelling;
            let target = user_data(KIND_RECV, socket.generation, place);
            let cancel = Operation::Cancel { target };
            self.ring.borrow_mut().push(cancel, user_data(KIND_CANCEL, 0, 0));
        }
        self.tasks.wake(socket.task);
    }

    /// Arms receptions that found no buffer, once there are buffers again.
    fn feed_starved(&self) {
        if self.starved.borrow().is_empty() {
            return;
        }
        if self.buffers.available() == 0 && !self.buffers.grow() {
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
        std::future::poll_fn(|_| self.poll_quiet(id)).await;
        let fd = self.fd(id);
        if how == Close::Reset {
            net::reset_on_close(fd);
        }
        net::close(fd);
        let inbox = self.with(id, |socket| {
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
        let (reception, target) = self.with(id, |socket| {
            let target = user_data(KIND_RECV, socket.generation, id.0);
            if starved {
                socket.reception = Reception::Idle;
            }
            let reception = socket.reception;
            if reception == Reception::Armed {
                socket.reception = Reception::Cancelling;
            }
            (reception, target)
        });
        match reception {
            Reception::Idle => Poll::Ready(()),
            Reception::Cancelling => Poll::Pending,
            Reception::Armed => {
                let cancel = Operation::Cancel { target };
                self.ring.borrow_mut().push(cancel, user_data(KIND_CANCEL, 0, 0));
                Poll::Pending
            }
        }
    }

    #[inline]
    fn with<T>(&self, id: SocketId, act: impl FnOnce(&mut Socket) -> T) -> T {
        act(&mut self.sockets.borrow_mut()[id.0 as usize])
    }

    // ---- sending ----

    /// A buffer to assemble an answer in.
    pub fn send_buffer(&self) -> Box<SendBuffer> {
        self.sends.borrow_mut().buffer()
    }

    /// Keeps a buffer that is not sent after all.
    pub fn recycle(&self, buffer: Box<SendBuffer>) {
        self.sends.borrow_mut().recycle(buffer);
    }

    /// Waits until `bytes` more may be sent in this turn.
    pub async fn turn_budget(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        std::future::poll_fn(|_| {
            if self.budget.get() <= 0 {
                self.deferred.borrow_mut().push(self.tasks.current());
                return Poll::Pending;
            }
            self.budget.set(self.budget.get() - bytes);
            Poll::Ready(())
        })
        .await;
    }

    /// Submits a send by copy. The slab keeps `buffer` and `keep` until the kernel is done.
    pub fn send(&self, id: SocketId, mut buffer: Box<SendBuffer>, keep: Keep) -> SendId {
        debug_assert!(!buffer.is_empty());
        count(&self.counts.sends, 1);
        count(&self.counts.bytes, buffer.len() as u64);
        let (fd, generation) = self.with(id, |socket| {
            socket.reading = false;
            (socket.fd, socket.generation)
        });
        let operation = match buffer.single() {
            Some(run) => Operation::Send {
                fd,
                start: run.iov_base.cast(),
                len: u32::try_from(run.iov_len).expect("a send is bounded"),
            },
            None => Operation::SendMsg { fd, message: buffer.message() },
        };
        let mut sends = self.sends.borrow_mut();
        let send = sends.insert(self.tasks.current(), id.0, generation);
        let sending = sends.at(send).expect("just inserted");
        sending.buffer = Some(buffer);
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
        if !*known {
            net::register_slot(&self.ring.borrow(), slot, &self.arena)?;
            *known = true;
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
        self.ring.borrow_mut().push(cancel, user_data(KIND_CANCEL, 0, 0));
    }

    /// Sends whose memory the kernel may still look at.
    pub fn sends_live(&self) -> usize {
        self.sends.borrow().live()
    }

    fn note_send(&self, completion: Completion, send: SendId) {
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

    // ---- listeners ----

    /// Accepts on a listening socket; `accepted` yields its connections under the answered number.
    pub fn listen(&self, fd: RawFd) -> usize {
        let mut listeners = self.listeners.borrow_mut();
        listeners.push(Listener { fd, armed: false, open: true });
        let number = listeners.len() - 1;
        drop(listeners);
        self.rearm_listeners();
        number
    }

    /// Takes the connections accepted since the last call: listener and descriptor.
    pub fn accepted(&self, into: &mut Vec<(usize, RawFd)>) {
        into.append(&mut self.accepted.borrow_mut());
    }

    /// Arms accepts that ended.
    pub fn rearm_listeners(&self) {
        for (number, listener) in self.listeners.borrow_mut().iter_mut().enumerate() {
            if listener.open && !listener.armed {
                listener.armed = true;
                let place = u32::try_from(number).expect("a few listeners");
                let data = user_data(KIND_ACCEPT, 0, place);
                self.ring.borrow_mut().push(Operation::AcceptMulti { fd: listener.fd }, data);
            }
        }
    }

    /// Stops accepting, and closes the listening sockets so that clients are refused at once.
    pub fn close_listeners(&self) {
        for (number, listener) in self.listeners.borrow_mut().iter_mut().enumerate() {
            listener.open = false;
            if !listener.armed {
                listener.close();
                continue;
            }
            let place = u32::try_from(number).expect("a few listeners");
            let target = user_data(KIND_ACCEPT, 0, place);
            let cancel = Operation::Cancel { target };
            self.ring.borrow_mut().push(cancel, user_data(KIND_CANCEL, 0, 0));
        }
    }

    /// Whether a listening socket is open: a client may connect to it and would wait in vain.
    pub fn is_listening(&self) -> bool {
        self.listeners.borrow().iter().any(|listener| listener.fd >= 0)
    }

    fn note_accept(&self, completion: Completion, number: usize) {
        if completion.result >= 0 {
            self.accepted.borrow_mut().push((number, completion.result));
        }
        if !completion.more() {
            let listener = &mut self.listeners.borrow_mut()[number];
            listener.armed = false;
            if !listener.open {
                listener.close();
            }
        }
    }

    // ---- deadlines ----

    fn scan_deadlines(&self) {
        let now_ms = self.clock.now_ms();
        let mut scan = self.scan.get();
        if !scan.running {
            if now_ms < scan.begun_ms + limits::DEADLINE_SCAN_MS {
                return;
            }
            scan = Scan { next: 0, begun_ms: now_ms, running: true };
            self.rearm_listeners();
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

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// What was sent still arrives.
    Graceful,
    /// What was sent and not acknowledged is thrown away.
    Reset,
}

fn inbox_max(socket: &Socket) -> usize {
    if socket.reading { limits::INBOX_BUFFERS_MAX } else { limits::INBOX_BUFFERS_BUSY_MAX }
}
