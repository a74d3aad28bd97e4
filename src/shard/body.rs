//! Request bodies: received, decoded, written into extents, or read past.
//!
//! What is left of a large body of known length is received where it is to lie; everything else
//! comes in buffers and is copied there.

use super::conn::{Conn, Gone, Then};
use super::topic::{Charge, NoRoom};
use super::writer::Writer;
use crate::http::framing::{Chunked, Framing};
use crate::http::request::Head;
use crate::http::response::Refusal as BadFraming;
use crate::limits;
use crate::store::message::Refusal;
use crate::sys::reactor::Interrupt;
use crate::sys::socket::End;

/// Why a body did not become an object.
pub(super) enum BodyFault {
    /// The peer left in the middle.
    Gone,
    /// The peer ended its sending side in the middle; it may still be listening.
    Short,
    /// The chunked coding is broken.
    Framing(BadFraming),
    /// Too long a pause, or too few bytes in a window.
    Slow,
    /// More than an object may have.
    TooLarge,
    /// Too many messages of topics are arriving.
    NoRoom,
    /// The owner gives no more room.
    Refused(Refusal),
    /// It is not what its head says of it.
    Payload(&'static str),
}

impl BodyFault {
    fn of(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Late => Self::Slow,
            Interrupt::Ended(End::Finished) => Self::Short,
            Interrupt::Ended(End::Failed(_)) => Self::Gone,
        }
    }
}

/// How much of a body is still to come.
enum Remaining {
    Bytes(u64),
    Chunks(Chunked),
}

impl Remaining {
    fn of(head: &Head) -> Self {
        match head.body {
            Framing::None => Self::Bytes(0),
            Framing::Length(length) => Self::Bytes(length),
            Framing::Chunked => Self::Chunks(Chunked::new()),
        }
    }

    /// Whether so much is known to come that it is worth a reception of its own: anything, where
    /// none into buffers has to be ended for it.
    fn is_long(&self, is_sparing: bool) -> bool {
        let least = if is_sparing { 1 } else { limits::DIRECT_BYTES_MIN };
        matches!(self, Self::Bytes(left) if *left >= least)
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Bytes(left) => *left == 0,
            Self::Chunks(chunked) => chunked.is_done(),
        }
    }

    /// Takes a step: bytes used, and where the body's bytes are among them.
    fn step(&mut self, unread: &[u8]) -> Result<(usize, std::ops::Range<usize>), BadFraming> {
        match self {
            Self::Bytes(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let count = unread.len().min(most);
                *left -= count as u64;
                Ok((count, 0..count))
            }
            Self::Chunks(chunked) => {
                let chunk = chunked.decode(unread)?;
                Ok((chunk.consumed, chunk.data))
            }
        }
    }
}

impl Conn {
    /// Receives a request's body into `writer`.
    pub(super) async fn receive_body(
        &mut self,
        head: &Head,
        writer: &mut Writer,
    ) -> Result<(), BodyFault> {
        let mut remaining = Remaining::of(head);
        if remaining.is_done() {
            return Ok(());
        }
        if head.expect_continue && self.input.is_empty() && !self.mute {
            self.send_continue().await.map_err(|Gone| BodyFault::Gone)?;
        }
        let shard = self.shard.clone();
        let buffers = &shard.reactor.buffers;
        let mut window = Window::begin(self);
        let idle_ms = shard.settings.body_idle_ms;
        window.idle_ms = writer.pause_ms.map_or(idle_ms, |pause_ms| idle_ms.min(pause_ms));
        loop {
            while !self.input.is_empty() {
                let unread = self.input.unread(buffers);
                let (used, data) = remaining.step(unread).map_err(BodyFault::Framing)?;
                writer.write(&unread[data]).await?;
                self.input.consume(used, buffers);
                if remaining.is_done() {
                    return Ok(());
                }
            }
            if shard.reactor.has_input(self.socket) {
                self.receive_more(&mut window).await?;
                continue;
            }
            writer.publish();
            // The client's next piece may wait for this acknowledgement (Nagle): send it now.
            shard.reactor.quick_ack(self.socket);
            let is_sparing = shard.reactor.is_sparing(self.socket);
            if remaining.is_long(is_sparing) && writer.takes_directly() {
                self.receive_directly(&mut remaining, writer, &mut window).await?;
                if remaining.is_done() {
                    return Ok(());
                }
            } else {
                self.receive_more(&mut window).await?;
            }
        }
    }

    /// Receives the rest of a body where it is to lie, unless bytes of it wait in buffers.
    async fn receive_directly(
        &mut self,
        remaining: &mut Remaining,
        writer: &mut Writer,
        window: &mut Window,
    ) -> Result<(), BodyFault> {
        let shard = self.shard.clone();
        while let Remaining::Bytes(left @ 1..) = remaining {
            let place = writer.place(*left).await?;
            self.begin_wait(window)?;
            match shard.reactor.receive_into(self.socket, place).await.map_err(BodyFault::of)? {
                0 => return self.receive_some(window).await,
                count => {
                    writer.take(count);
                    *left -= u64::from(count);
                    writer.publish();
                    if count < place.2 {
                        shard.reactor.quick_ack(self.socket);
                    }
                }
            }
        }
        Ok(())
    }

    /// Receives a body of at most `bytes_max` bytes as a whole; its memory is charged.
    pub(super) async fn receive_whole(
        &mut self,
        head: &Head,
        bytes_max: usize,
        charge: &mut Charge,
    ) -> Result<Vec<u8>, BodyFault> {
        let mut remaining = Remaining::of(head);
        if matches!(remaining, Remaining::Bytes(left) if left > bytes_max as u64) {
            return Err(BodyFault::TooLarge);
        }
        if head.expect_continue && self.input.is_empty() {
            self.send_continue().await.map_err(|Gone| BodyFault::Gone)?;
        }
        let shard = self.shard.clone();
        let buffers = &shard.reactor.buffers;
        let mut window = Window::begin(self);
        let mut body = Vec::new();
        while !remaining.is_done() {
            if self.input.is_empty() {
                self.receive_more(&mut window).await?;
            }
            let unread = self.input.unread(buffers);
            let (used, data) = remaining.step(unread).map_err(BodyFault::Framing)?;
            if body.len() + data.len() > bytes_max {
                return Err(BodyFault::TooLarge);
            }
            body.extend_from_slice(&unread[data]);
            self.input.consume(used, buffers);
            charge.set(body.capacity()).map_err(|NoRoom| BodyFault::NoRoom)?;
        }
        Ok(body)
    }

    async fn send_continue(&mut self) -> Result<(), Gone> {
        let mut buffer = self.shard.reactor.send_buffer();
        buffer.push_copy(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.send(buffer, None).await
    }

    /// Receives the next bytes of a body that comes in buffers.
    async fn receive_more(&mut self, window: &mut Window) -> Result<(), BodyFault> {
        self.shard.reactor.receive_ahead(self.socket);
        self.receive_some(window).await
    }

    async fn receive_some(&mut self, window: &mut Window) -> Result<(), BodyFault> {
        let shard = self.shard.clone();
        self.begin_wait(window)?;
        let received = shard.reactor.receive(self.socket).await.map_err(BodyFault::of)?;
        self.input.add(received, &shard.reactor.buffers);
        Ok(())
    }

    fn begin_wait(&self, window: &mut Window) -> Result<(), BodyFault> {
        if !window.holds(self) {
            return Err(BodyFault::Slow);
        }
        let reactor = &self.shard.reactor;
        reactor.set_deadline(self.socket, reactor.clock.now_ms() + window.idle_ms);
        Ok(())
    }

    /// Reads past a request's body, within a bound; beyond it the connection has to end.
    pub(super) async fn discard_body(&mut self, head: &Head) -> Result<Then, Gone> {
        match self.read_past_body(head).await {
            Ok(()) => Ok(Then::Next),
            Err(BodyFault::Gone) => Err(Gone),
            Err(_) => Ok(Then::Close),
        }
    }

    /// The same for requests that mean something only when they are whole.
    pub(super) async fn read_past_body(&mut self, head: &Head) -> Result<(), BodyFault> {
        let mut remaining = Remaining::of(head);
        if matches!(remaining, Remaining::Bytes(left) if left > limits::DISCARD_BYTES_MAX) {
            return Err(BodyFault::TooLarge);
        }
        let shard = self.shard.clone();
        let buffers = &shard.reactor.buffers;
        let mut window = Window::begin(self);
        let mut discarded = 0;
        while !remaining.is_done() {
            if self.input.is_empty() {
                self.receive_more(&mut window).await?;
            }
            let unread = self.input.unread(buffers);
            let (used, _) = remaining.step(unread).map_err(BodyFault::Framing)?;
            self.input.consume(used, buffers);
            discarded += used as u64;
            if discarded > limits::DISCARD_BYTES_MAX {
                return Err(BodyFault::TooLarge);
            }
        }
        Ok(())
    }
}

/// Bytes received in a span of time, against clients that drip.
pub(super) struct Window {
    pub(super) until_ms: u64,
    received: u64,
    /// The longest pause between two pieces.
    idle_ms: u64,
}

impl Window {
    pub(super) fn begin(conn: &Conn) -> Self {
        let reactor = &conn.shard.reactor;
        Self {
            until_ms: reactor.clock.now_ms() + conn.shard.settings.rate_window_ms,
            received: reactor.bytes_received(conn.socket),
            idle_ms: conn.shard.settings.body_idle_ms,
        }
    }

    /// Whether the peer sent enough in the window that has just ended, if one has.
    pub(super) fn holds(&mut self, conn: &Conn) -> bool {
        if conn.shard.reactor.clock.now_ms() < self.until_ms {
            return true;
        }
        let least = conn.shard.settings.window_bytes_min();
        let received = conn.shard.reactor.bytes_received(conn.socket) - self.received;
        *self = Self { idle_ms: self.idle_ms, ..Self::begin(conn) };
        received >= least
    }
}
