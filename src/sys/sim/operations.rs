//! Operations between submission and terminal completion.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use super::faults::{happens, some_us};
use super::filework::FileWork;
use super::memory::{self, Run};
use super::ring::{BUFFER, Due, MORE, Pending};
use super::socket::{Segment, ZeroCopyId};
use super::state::{Object, State};
use crate::limits::RECV_BUFFER_BYTES;
use crate::sys::ring::{Completion, Effort, Operation};

/// An operation that the kernel has.
pub(super) struct InFlight {
    pub id: u64,
    user_data: u64,
    kind: Kind,
    /// When it goes on; none while it cannot.
    pub due_us: Option<u64>,
    /// It could have gone on before.
    pub seen: bool,
    /// A cancel has found it.
    cancelled: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    File(FileWork),
    Accept { listener: usize },
    Receive { socket: usize, place: Place },
    Send { socket: usize, source: Source, effort: Effort, len: usize, sent: usize },
    SendZeroCopy { socket: usize, id: ZeroCopyId, run: Run, sent: usize },
    Poll { fd: RawFd, seen: u64 },
    Room { socket: usize, multi: bool, told: i32 },
}

impl InFlight {
    /// Whether it sends on this connection.
    pub fn sends_on(&self, socket: usize) -> bool {
        let sends = matches!(self.kind, Kind::Send { .. } | Kind::SendZeroCopy { .. });
        sends && self.kind.socket() == Some(socket)
    }

    pub fn describe(&self) -> String {
        let what = match self.kind {
            Kind::Accept { listener } => format!("accept on {listener}"),
            Kind::Receive { socket, .. } => format!("receive on {socket}"),
            Kind::Send { socket, len, sent, .. } => format!("send on {socket}: {sent} of {len}"),
            Kind::SendZeroCopy { socket, run, sent, .. } => {
                format!("zero-copy send on {socket}: {sent} of {}", run.len)
            }
            Kind::File(_) => "work on a file".to_owned(),
            Kind::Poll { .. } => "poll".to_owned(),
            Kind::Room { socket, .. } => format!("wait for room on {socket}"),
        };
        format!("{what}{}", if self.cancelled { ", cancelled" } else { "" })
    }
}

/// Where received bytes go.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Into provided buffers: once, or again and again.
    Buffers {
        multi: bool,
    },
    Memory(Run),
}

/// What a send by copy reads from.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Run(Run),
    Message(*const libc::msghdr),
}

impl Source {
    /// A part of the bytes, read now.
    fn read(self, mut at: usize, mut len: usize) -> VecDeque<u8> {
        let runs = match self {
            Self::Run(run) => vec![run],
            Self::Message(message) => memory::runs_of(message),
        };
        let mut bytes = VecDeque::with_capacity(len);
        for run in runs {
            let from = at.min(run.len);
            let count = len.min(run.len - from);
            bytes.extend(run.part(from, count).read());
            at -= from;
            len -= count;
        }
        assert_eq!(len, 0, "the message holds all its bytes");
        bytes
    }
}

impl Kind {
    fn socket(self) -> Option<usize> {
        match self {
            Self::Receive { socket, .. }
            | Self::Send { socket, .. }
            | Self::SendZeroCopy { socket, .. }
            | Self::Room { socket, .. } => Some(socket),
            Self::Accept { .. } | Self::Poll { .. } | Self::File(_) => None,
        }
    }

    fn is_reception(self) -> bool {
        matches!(self, Self::Receive { .. })
    }
}

/// The descriptor that an operation works on.
pub(super) fn fd_of(operation: &Operation) -> Option<RawFd> {
    match *operation {
        Operation::AcceptMulti { fd }
        | Operation::RecvMulti { fd }
        | Operation::RecvOnce { fd }
        | Operation::RecvInto { fd, .. }
        | Operation::Send { fd, .. }
        | Operation::SendMsg { fd, .. }
        | Operation::SendZc { fd, .. }
        | Operation::PollOut { fd, .. } => Some(fd),
        Operation::Cancel { .. } | Operation::Wake { .. } => None,
        Operation::PollEvent { .. } | Operation::File(_) => None,
    }
}

impl State {
    /// Takes an operation over from the submission queue.
    pub fn issue(&mut self, ring: usize, operation: Operation, user_data: u64) {
        let object = fd_of(&operation).map(|fd| self.object(fd).expect("an open descriptor"));
        let kind = match (operation, object) {
            (Operation::AcceptMulti { .. }, Some(Object::Listener(listener))) => {
                Kind::Accept { listener }
            }
            (Operation::RecvMulti { .. }, Some(Object::Socket(socket))) => {
                Kind::Receive { socket, place: Place::Buffers { multi: true } }
            }
            (Operation::RecvOnce { .. }, Some(Object::Socket(socket))) => {
                Kind::Receive { socket, place: Place::Buffers { multi: false } }
            }
            (Operation::RecvInto { start, len, .. }, Some(Object::Socket(socket))) => {
                let run = Run { start, len: len as usize };
                Kind::Receive { socket, place: Place::Memory(run) }
            }
            (Operation::Send { start, len, effort, .. }, Some(Object::Socket(socket))) => {
                let len = len as usize;
                let source = Source::Run(Run { start, len });
                Kind::Send { socket, source, effort, len, sent: 0 }
            }
            (Operation::SendMsg { message, effort, .. }, Some(Object::Socket(socket))) => {
                let len = memory::runs_of(message).iter().map(|run| run.len).sum();
                Kind::Send { socket, source: Source::Message(message), effort, len, sent: 0 }
            }
            (Operation::SendZc { start, len, slot, .. }, Some(Object::Socket(socket))) => {
                let run = Run { start, len: len as usize };
                assert!(self.rings[ring].is_registered(slot, run), "EFAULT: not a registered slot");
                let copied = self.sockets[socket].copies;
                let id = self.begin_zero_copy(ring, user_data, run, copied);
                Kind::SendZeroCopy { socket, id, run, sent: 0 }
            }
            (Operation::PollOut { multi, .. }, Some(Object::Socket(socket))) => {
                Kind::Room { socket, multi, told: 0 }
            }
            (Operation::PollEvent { fd }, _) => Kind::Poll { fd, seen: 0 },
            (Operation::File(operation), _) => {
                return self.issue_file(ring, operation, user_data);
            }
            (Operation::Cancel { target }, _) => return self.cancel(ring, target, user_data),
            (Operation::Wake { ring_fd, user_data: says }, _) => {
                return self.wake(ring, ring_fd, says, user_data);
            }
            (operation, object) => panic!("EINVAL: {operation:?} on {object:?}"),
        };
        self.begin(ring, kind, user_data);
    }

    pub(super) fn begin(&mut self, ring: usize, kind: Kind, user_data: u64) {
        let others = &self.rings[ring].in_flight;
        let tenant = others.iter().any(|other| other.user_data == user_data);
        assert!(!tenant, "law 2: two operations with one name");
        if let Some(socket) = kind.socket() {
            let other = |other: &InFlight| {
                other.kind.socket() == Some(socket)
                    && other.kind.is_reception() == kind.is_reception()
            };
            assert!(!others.iter().any(other), "law 7: two sends, or receptions, on one socket");
            self.sockets[socket].operations += 1;
        }
        self.begun += 1;
        let id = self.begun;
        let in_flight =
            InFlight { id, user_data, kind, due_us: None, seen: false, cancelled: false };
        self.rings[ring].in_flight.push(in_flight);
        let buffered = matches!(kind, Kind::Receive { place: Place::Buffers { .. }, .. });
        let starved = buffered && self.faults.starve_at_once;
        if starved && self.rings[ring].buffers_left() == 0 {
            return self.finish(ring, id, -libc::ENOBUFS, 0);
        }
        let inline = self.faults.inline_once_in;
        if !self.faults.late && happens(&mut self.random, inline) && self.is_ready(ring, id) {
            self.proceed(ring, id);
        }
    }

    fn cancel(&mut self, ring: usize, target: u64, user_data: u64) {
        let misses = self.faults.cancel_misses_once_in;
        let missed = happens(&mut self.random, misses);
        let found = self.rings[ring].in_flight.iter_mut().find(|other| other.user_data == target);
        let result = match found {
            None => -libc::ENOENT,
            Some(other) if other.cancelled => -libc::EALREADY,
            // Whoever may go on after the wake-up that hid it goes on.
            Some(other) if missed && !matches!(other.kind, Kind::Room { .. }) => -libc::ENOENT,
            Some(other) => {
                other.cancelled = true;
                0
            }
        };
        self.post_later(ring, Completion::new(user_data, result, 0));
    }

    fn wake(&mut self, ring: usize, ring_fd: RawFd, says: u64, user_data: u64) {
        let result = match self.object(ring_fd) {
            Some(Object::Ring(other)) => {
                self.post_later(other, Completion::new(says, 0, 0));
                0
            }
            _ => -libc::EBADFD,
        };
        self.post_later(ring, Completion::new(user_data, result, 0));
    }

    pub(super) fn post_later(&mut self, ring: usize, completion: Completion) {
        let max = self.faults.delay_us_max;
        let due_us = self.now_us + some_us(&mut self.random, max);
        let pending = Pending { due_us, seen: false, what: Due::Completion(completion) };
        self.rings[ring].pending.push(pending);
    }

    // ---- progress ----

    /// Notes which operations of a ring can go on, and when they will.
    pub fn scan(&mut self, ring: usize) {
        for at in 0..self.rings[ring].in_flight.len() {
            let id = self.rings[ring].in_flight[at].id;
            let ready = self.is_ready(ring, id);
            let due_us = self.rings[ring].in_flight[at].due_us;
            if ready == due_us.is_some() {
                continue;
            }
            let max = self.faults.delay_us_max;
            let due_us = ready.then(|| self.now_us + some_us(&mut self.random, max));
            let in_flight = &mut self.rings[ring].in_flight[at];
            in_flight.due_us = due_us;
            in_flight.seen = false;
        }
    }

    fn operation(&mut self, ring: usize, id: u64) -> Option<&mut InFlight> {
        self.rings[ring].in_flight.iter_mut().find(|operation| operation.id == id)
    }

    fn is_ready(&mut self, ring: usize, id: u64) -> bool {
        let operation = self.operation(ring, id).expect("the caller knows it");
        let (kind, cancelled) = (operation.kind, operation.cancelled);
        let more = match kind {
            Kind::File(_) => true,
            Kind::Accept { listener } => !self.backlogs[listener].is_empty(),
            Kind::Receive { socket, .. } => {
                let socket = &self.sockets[socket];
                !socket.receive.is_empty() || socket.finished || socket.reset
            }
            Kind::Send { effort: Effort::Now, .. } => true,
            Kind::Send { socket, .. } => {
                let socket = &self.sockets[socket];
                socket.room() > 0 || socket.reset || socket.finished
            }
            Kind::SendZeroCopy { socket, .. } => {
                let socket = &self.sockets[socket];
                socket.room() > 0 || socket.reset
            }
            Kind::Room { socket, told, .. } => self.sockets[socket].events() & !told != 0,
            Kind::Poll { fd, seen } => self.events.get(&fd).is_some_and(|&count| count > seen),
        };
        more || cancelled
    }

    /// Lets an operation go on as far as it can.
    pub fn proceed(&mut self, ring: usize, id: u64) {
        for _ in 0..1 + self.random.below(4) {
            let Some(operation) = self.operation(ring, id) else { return };
            let kind = operation.kind;
            if !self.is_ready(ring, id) {
                return;
            }
            match kind {
                Kind::File(work) => {
                    let result = self.work(work);
                    self.finish(ring, id, result, 0);
                }
                Kind::Accept { listener } => self.accept(ring, id, listener),
                Kind::Receive { socket, place } => self.receive(ring, id, socket, place),
                Kind::Send { .. } | Kind::SendZeroCopy { .. } => self.send(ring, id, kind),
                Kind::Poll { fd, .. } => self.poll(ring, id, fd),
                Kind::Room { socket, .. } => self.room(ring, id, socket),
            }
        }
    }

    /// Whether the completion that is being made has to be a failure.
    fn fails(&mut self, what: &str) -> bool {
        self.completions += 1;
        let fails = self.faults.fail_nth == Some(self.completions);
        if fails {
            self.failed = Some(what.to_owned());
        }
        fails
    }

    /// A result after which the operation goes on, if the queue has room; whether it does.
    fn result(&mut self, ring: usize, id: u64, result: i32, flags: u32) {
        let once_in = self.faults.multishot_end_once_in;
        let ends = happens(&mut self.random, once_in) || !self.rings[ring].has_room();
        let cancelled = self.operation(ring, id).expect("it is making a result").cancelled;
        if ends || cancelled {
            return self.finish(ring, id, result, flags);
        }
        let operation = self.operation(ring, id).expect("it is making a result");
        (operation.due_us, operation.seen) = (None, false);
        let user_data = operation.user_data;
        self.post(ring, Completion::new(user_data, result, flags | MORE));
    }

    /// The terminal result.
    fn finish(&mut self, ring: usize, id: u64, result: i32, flags: u32) {
        let in_flight = &mut self.rings[ring].in_flight;
        let at = in_flight.iter().position(|operation| operation.id == id);
        let operation = in_flight.swap_remove(at.expect("an operation ends once"));
        self.post(ring, Completion::new(operation.user_data, result, flags));
        if let Some(socket) = operation.kind.socket() {
            self.sockets[socket].operations -= 1;
            self.release(socket);
        }
    }

    fn post(&mut self, ring: usize, completion: Completion) {
        self.note(completion.user_data);
        self.note(completion.result.cast_unsigned().into());
        self.rings[ring].post(completion);
    }

    /// Breaks a connection as a failing network does.
    pub fn inject(&mut self, socket: usize) {
        self.sockets[socket].injected = true;
        self.break_off(socket);
    }

    fn accept(&mut self, ring: usize, id: u64, listener: usize) {
        let cancelled = self.operation(ring, id).expect("the caller found it").cancelled;
        if cancelled && (self.backlogs[listener].is_empty() || self.cancel_wins()) {
            return self.finish(ring, id, -libc::ECANCELED, 0);
        }
        let once_in = self.faults.accept_fails_once_in;
        let open = self.sockets.iter().filter(|socket| socket.is_open).count();
        if open >= self.faults.descriptors_max {
            return self.finish(ring, id, -libc::EMFILE, 0);
        }
        if self.fails("accept") || happens(&mut self.random, once_in) {
            let errors = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ECONNABORTED];
            let errno = errors[self.random.index(errors.len())];
            return self.finish(ring, id, -errno, 0);
        }
        let socket = self.backlogs[listener].pop_front().expect("it is ready");
        self.sockets[socket].is_open = true;
        self.sockets[socket].accepted = true;
        let fd = self.open(Object::Socket(socket));
        self.result(ring, id, fd, 0);
    }

    fn cancel_wins(&mut self) -> bool {
        let once_in = self.faults.cancel_loses_once_in;
        !happens(&mut self.random, once_in)
    }

    fn receive(&mut self, ring: usize, id: u64, socket: usize, place: Place) {
        let cancelled = self.operation(ring, id).expect("the caller found it").cancelled;
        if cancelled && (self.sockets[socket].receive.is_empty() || self.cancel_wins()) {
            return self.finish(ring, id, -libc::ECANCELED, 0);
        }
        let once_in = self.faults.error_once_in;
        if happens(&mut self.random, once_in) {
            self.inject(socket);
        }
        if self.fails("receive") {
            match place {
                Place::Buffers { .. } if self.random.once_in(2) => {
                    return self.finish(ring, id, -libc::ENOBUFS, 0);
                }
                _ => self.inject(socket),
            }
        }
        if self.sockets[socket].reset {
            return self.finish(ring, id, -libc::ECONNRESET, 0);
        }
        let most = match place {
            Place::Buffers { .. } => RECV_BUFFER_BYTES,
            Place::Memory(run) => run.len,
        };
        let available = self.sockets[socket].receive.len().min(most);
        if available == 0 {
            return self.finish(ring, id, 0, 0);
        }
        let (memory, flags) = match place {
            Place::Memory(run) => (run.start.cast_mut(), 0),
            Place::Buffers { .. } => match self.rings[ring].take_buffer() {
                Some((buffer, memory)) => (memory, BUFFER | u32::from(buffer) << 16),
                None => return self.finish(ring, id, -libc::ENOBUFS, 0),
            },
        };
        let some = self.random.once_in(4);
        let count = if some { 1 + self.random.index(available) } else { available };
        let bytes: Vec<u8> = self.sockets[socket].receive.drain(..count).collect();
        memory::write(memory, &bytes);
        let count = i32::try_from(count).unwrap();
        match place {
            Place::Buffers { multi: true } => self.result(ring, id, count, flags),
            _ => self.finish(ring, id, count, flags),
        }
    }

    fn room(&mut self, ring: usize, id: u64, socket: usize) {
        let events = self.sockets[socket].events();
        let fails = self.fails("poll");
        let operation = self.operation(ring, id).expect("the caller found it");
        if operation.cancelled || fails {
            return self.finish(ring, id, -libc::ECANCELED, 0);
        }
        match &mut operation.kind {
            Kind::Room { multi: true, told, .. } => {
                *told |= events;
                self.result(ring, id, events, 0);
            }
            _ => self.finish(ring, id, events, 0),
        }
    }

    fn poll(&mut self, ring: usize, id: u64, fd: RawFd) {
        let count = self.events.get(&fd).copied().unwrap_or_default();
        if let Some(operation) = self.operation(ring, id) {
            operation.kind = Kind::Poll { fd, seen: count };
        }
        self.result(ring, id, i32::from(libc::POLLIN), 0);
    }

    fn send(&mut self, ring: usize, id: u64, kind: Kind) {
        let socket = kind.socket().expect("sends have one");
        let once_in = self.faults.error_once_in;
        if happens(&mut self.random, once_in) || self.fails("send") {
            self.inject(socket);
        }
        let cancelled = self.operation(ring, id).expect("the caller found it").cancelled;
        if self.sockets[socket].reset || (cancelled && self.cancel_wins()) {
            return self.finish_send(ring, id, kind);
        }
        let room = self.sockets[socket].room();
        let (sent, len, effort) = match kind {
            Kind::Send { len, sent, effort, .. } => (sent, len, effort),
            Kind::SendZeroCopy { run, sent, .. } => (sent, run.len, Effort::Whole),
            _ => unreachable!("the caller sends"),
        };
        // Without room only whoever sends what fits comes here, and who has tried for too long.
        if room == 0 {
            return self.finish_send(ring, id, kind);
        }
        let most = room.min(len - sent);
        let some = most > 1 && self.random.once_in(4);
        let count = if some { 1 + self.random.index(most) } else { most };
        let now = match kind {
            Kind::Send { socket, source, effort, len, sent } => {
                let bytes = source.read(sent, count);
                self.sockets[socket].queue(Segment::Bytes(bytes));
                Kind::Send { socket, source, effort, len, sent: sent + count }
            }
            Kind::SendZeroCopy { socket, id, run, sent } => {
                let zero_copy = self.zero_copies.get_mut(&id).expect("not notified yet");
                zero_copy.queued += count;
                zero_copy.sent += count;
                self.sockets[socket].queue(Segment::ZeroCopy { id, run: run.part(sent, count) });
                Kind::SendZeroCopy { socket, id, run, sent: sent + count }
            }
            other => other,
        };
        let operation = self.operation(ring, id).expect("the caller found it");
        operation.kind = now;
        (operation.due_us, operation.seen) = (None, false);
        if sent + count == len || cancelled || effort == Effort::Now {
            self.finish_send(ring, id, now);
        }
    }

    /// The terminal result of a send: the bytes that went, or an error when none did. A zero-copy
    /// send that failed may or may not have got as far as to owe a notification.
    fn finish_send(&mut self, ring: usize, id: u64, kind: Kind) {
        let socket = kind.socket().expect("sends have one");
        let cancelled = self.operation(ring, id).is_some_and(|operation| operation.cancelled);
        let failure = match self.sockets[socket].reset {
            true if self.random.once_in(2) => -libc::EPIPE,
            true => -libc::ECONNRESET,
            false if cancelled => -libc::ECANCELED,
            false => -libc::EAGAIN,
        };
        let (sent, zero_copy) = match kind {
            Kind::SendZeroCopy { sent, id, .. } => (sent, Some(id)),
            Kind::Send { sent, .. } => (sent, None),
            _ => unreachable!("the caller sends"),
        };
        let result = if sent > 0 { i32::try_from(sent).unwrap() } else { failure };
        let promised = zero_copy.filter(|_| sent > 0 || self.random.once_in(2));
        self.finish(ring, id, result, if promised.is_some() { MORE } else { 0 });
        match (promised, zero_copy) {
            (Some(id), _) => {
                self.zero_copies.get_mut(&id).expect("not notified yet").promised = true;
                self.try_notify(id);
            }
            (None, Some(id)) => {
                self.zero_copies.remove(&id);
            }
            (None, None) => {}
        }
    }
}
