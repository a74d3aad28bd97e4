//! A connection: what is under way in both directions, and how it ends.
//!
//! Towards the client there is the server's bounded send buffer and the client's bounded inbox; a
//! byte is acknowledged when it moves from the one to the other. Bytes of a zero-copy send stay
//! where they are until that moment.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::memory::Run;
use crate::sys::random::Random;

/// Names a zero-copy send whose memory the kernel still uses.
pub(super) type ZeroCopyId = u64;

/// Bytes in the send buffer.
pub(super) enum Segment {
    Bytes(VecDeque<u8>),
    ZeroCopy {
        id: ZeroCopyId,
        run: Run,
    },
    /// References to pages: read when they leave, whoever has written there meanwhile.
    Shared(Run),
}

/// What bytes of a zero-copy send left the send buffer, by transmission or by the connection's end.
pub(super) type Left = Vec<(ZeroCopyId, usize)>;

pub(super) struct Socket {
    pub address: SocketAddr,
    /// Bytes on their way to the server, and when they arrive.
    flight: VecDeque<(u64, Vec<u8>)>,
    finish_due_us: Option<u64>,
    /// Bytes that the server may receive.
    pub receive: VecDeque<u8>,
    /// The client will send no more.
    pub finished: bool,
    window: usize,
    out: VecDeque<Segment>,
    out_bytes: usize,
    send_room: usize,
    pub finish_queued: bool,
    /// Bytes that the client may read.
    pub inbox: VecDeque<u8>,
    inbox_room: usize,
    pub acknowledged: u64,
    /// The client knows that the server will send no more.
    pub finish_arrived: bool,
    /// The connection is dead.
    pub reset: bool,
    /// It died by a fault of the double.
    pub injected: bool,
    /// The client has closed its end entirely.
    pub client_closed: bool,
    /// The server's process has a descriptor.
    pub is_open: bool,
    /// A shard has accepted it, or turned it away.
    pub accepted: bool,
    /// Operations that name it.
    pub operations: usize,
    pub linger_reset: bool,
    /// Neither descriptor nor operation names it any more.
    pub released: bool,
    /// The route copies zero-copy sends.
    pub copies: bool,
    /// Since when nothing was acknowledged although something waits.
    stalled_since_us: Option<u64>,
    pub user_timeout_us: u64,
}

impl Socket {
    pub fn new(address: SocketAddr, rooms: (usize, usize, usize), user_timeout_us: u64) -> Self {
        let (send_room, inbox_room, window) = rooms;
        Self {
            address,
            flight: VecDeque::new(),
            finish_due_us: None,
            receive: VecDeque::new(),
            finished: false,
            window,
            out: VecDeque::new(),
            out_bytes: 0,
            send_room,
            finish_queued: false,
            inbox: VecDeque::new(),
            inbox_room,
            acknowledged: 0,
            finish_arrived: false,
            reset: false,
            injected: false,
            client_closed: false,
            is_open: false,
            accepted: false,
            operations: 0,
            linger_reset: false,
            released: false,
            copies: false,
            stalled_since_us: None,
            user_timeout_us,
        }
    }

    pub fn describe(&self) -> String {
        format!(
            "{} under way, {} to receive, {} to transmit, {} in the inbox, operations {}, finished \
             {} and {}, open {}, accepted {}, reset {}",
            self.flight.len(),
            self.receive.len(),
            self.out_bytes,
            self.inbox.len(),
            self.operations,
            self.finished,
            self.finish_queued,
            self.is_open,
            self.accepted,
            self.reset
        )
    }

    // ---- towards the server ----

    /// Bytes that the client may send now.
    pub fn client_room(&self) -> usize {
        let under_way: usize = self.flight.iter().map(|(_, bytes)| bytes.len()).sum();
        match self.reset || self.finish_due_us.is_some() || self.released {
            true => 0,
            false => self.window.saturating_sub(under_way + self.receive.len()),
        }
    }

    pub fn client_send(&mut self, bytes: &[u8], due_us: u64) {
        let due_us = self.flight.back().map_or(0, |(before_us, _)| *before_us).max(due_us);
        self.flight.push_back((due_us, bytes.to_vec()));
    }

    pub fn client_finish(&mut self, due_us: u64) {
        self.finish_due_us.get_or_insert(due_us);
    }

    /// When the next bytes, or the end, arrive at the server.
    pub fn next_arrival_us(&self) -> Option<u64> {
        let next = self.flight.front().map(|(due_us, _)| *due_us);
        next.or(self.finish_due_us.filter(|_| !self.finished)).filter(|_| !self.reset)
    }

    /// Lets arrive what is due; whether anything did.
    pub fn arrive(&mut self, now_us: u64) -> bool {
        let mut moved = false;
        while !self.reset && self.flight.front().is_some_and(|(due_us, _)| *due_us <= now_us) {
            let (_, bytes) = self.flight.pop_front().expect("there is a front");
            // Nobody is there to read: the kernel answers with a reset.
            match self.released {
                true => self.reset = true,
                false => self.receive.extend(bytes),
            }
            moved = true;
        }
        let all_here = self.flight.is_empty() && !self.reset && !self.finished;
        if all_here && self.finish_due_us.is_some_and(|due_us| due_us <= now_us) {
            self.finished = true;
            moved = true;
        }
        moved
    }

    // ---- towards the client ----

    /// Bytes that fit the send buffer.
    pub fn room(&self) -> usize {
        if self.reset { 0 } else { self.send_room.saturating_sub(self.out_bytes) }
    }

    /// What poll(2) for room says.
    pub fn events(&self) -> i32 {
        let events = match (self.reset, self.room() > 0) {
            (true, _) => libc::POLLOUT | libc::POLLERR | libc::POLLHUP,
            (false, true) => libc::POLLOUT,
            (false, false) => 0,
        };
        i32::from(events | if self.finished { libc::POLLRDHUP } else { 0 })
    }

    pub fn queue(&mut self, segment: Segment) {
        let bytes = match &segment {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::ZeroCopy { run, .. } | Segment::Shared(run) => run.len,
        };
        if bytes > 0 {
            self.out_bytes += bytes;
            self.out.push_back(segment);
        }
    }

    /// Sends what fits at once.
    pub fn send_now(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(self.room());
        self.queue(Segment::Bytes(bytes[..len].iter().copied().collect()));
    }

    /// The pages of a run are exchanged: references to the old ones keep what is in them.
    pub fn keep_pages(&mut self, pages: Run) {
        for segment in &mut self.out {
            if let Segment::Shared(run) = segment
                && run.overlaps(pages)
            {
                *segment = Segment::Bytes(run.read().into());
            }
        }
    }

    /// Whether bytes, or the end, can move on to the client.
    pub fn can_transmit(&self) -> bool {
        if self.reset {
            return false;
        }
        let bytes =
            self.out_bytes > 0 && (self.inbox.len() < self.inbox_room || self.client_closed);
        bytes || (self.out_bytes == 0 && self.finish_queued && !self.finish_arrived)
    }

    /// Moves some bytes to the client's inbox.
    pub fn transmit(&mut self, random: &mut Random, now_us: u64) -> Left {
        if !self.can_transmit() {
            return Left::new();
        }
        self.stalled_since_us = Some(now_us);
        if self.out_bytes == 0 {
            self.finish_arrived = true;
            return Left::new();
        }
        if self.client_closed {
            // Bytes for somebody who has left are answered with a reset.
            return self.break_off();
        }
        let most = self.out_bytes.min(self.inbox_room - self.inbox.len());
        let mut left = 1 + random.index(most);
        if random.once_in(2) {
            left = most;
        }
        let mut gone = Left::new();
        while left > 0 {
            let moved = self.transmit_front(left, &mut gone);
            left -= moved;
        }
        gone
    }

    fn transmit_front(&mut self, bytes_max: usize, gone: &mut Left) -> usize {
        let front = self.out.front_mut().expect("bytes are in segments");
        let (moved, empty) = match front {
            Segment::Bytes(bytes) => {
                let count = bytes.len().min(bytes_max);
                self.inbox.extend(bytes.drain(..count));
                (count, bytes.is_empty())
            }
            Segment::ZeroCopy { id, run } => {
                let count = run.len.min(bytes_max);
                self.inbox.extend(run.part(0, count).read());
                *run = run.part(count, run.len - count);
                gone.push((*id, count));
                (count, run.len == 0)
            }
            Segment::Shared(run) => {
                let count = run.len.min(bytes_max);
                self.inbox.extend(run.part(0, count).read());
                *run = run.part(count, run.len - count);
                (count, run.len == 0)
            }
        };
        if empty {
            self.out.pop_front();
        }
        self.out_bytes -= moved;
        self.acknowledged += moved as u64;
        moved
    }

    // ---- ends ----

    /// When a peer that takes nothing is given up.
    pub fn timeout_us(&self) -> Option<u64> {
        let since_us = self.stalled_since_us.filter(|_| self.out_bytes > 0 && !self.reset)?;
        since_us.checked_add(self.user_timeout_us)
    }

    /// Looks whether bytes wait for a peer that takes nothing.
    pub fn watch_stall(&mut self, now_us: u64) {
        match self.out_bytes > 0 && !self.reset {
            true => self.stalled_since_us = Some(self.stalled_since_us.unwrap_or(now_us)),
            false => self.stalled_since_us = None,
        }
    }

    /// The connection is dead: unsent bytes go.
    pub fn break_off(&mut self) -> Left {
        self.reset = true;
        self.flight.clear();
        self.receive.clear();
        self.out_bytes = 0;
        let segments = self.out.drain(..);
        let zero_copy = segments.filter_map(|segment| match segment {
            Segment::Bytes(_) | Segment::Shared(_) => None,
            Segment::ZeroCopy { id, run } => Some((id, run.len)),
        });
        zero_copy.collect()
    }

    /// Ends the server's side once nothing names it: with a reset when that was asked for, or when
    /// bytes have arrived that nobody will read.
    pub fn release(&mut self) -> Left {
        if self.is_open || self.operations > 0 || self.released || !self.accepted {
            return Left::new();
        }
        self.released = true;
        if self.linger_reset || !self.receive.is_empty() {
            return self.break_off();
        }
        self.finish_queued = true;
        Left::new()
    }
}
