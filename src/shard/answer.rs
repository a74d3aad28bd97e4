//! How answers leave: one send after the other, each bounded, slow readers cut off.

use std::rc::Rc;

use super::Tx;
use super::conn::{Conn, Gone, Then};
use super::rendered::Answer;
use crate::http::request::{Head, Method};
use crate::http::response::Status;
use crate::limits;
use crate::media::{self, CacheAge};
use crate::origin::errors::{self, Bare, RETRY};
use crate::origin::heads::Manner;
use crate::store::Held;
use crate::store::object::Whole;
use crate::sys::extent::Extent;
use crate::sys::net;
use crate::sys::reactor::Interrupt;
use crate::sys::send::{Keep, SendBuffer, SendId, Sent};

/// A part of a held body that is still to be sent.
pub(super) struct Cursor {
    pub(super) held: Rc<Held>,
    /// Next byte of the body.
    pub(super) at: u64,
    /// One past the last byte to send.
    pub(super) end: u64,
}

/// What is left of an answer.
pub(super) struct Rest {
    pub(super) front: Option<Front>,
    pub(super) body: Option<Cursor>,
    way: Way,
}

/// How a body leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By copy, together with the head.
    Copy,
    /// By zero-copy, behind the head.
    ZeroCopy,
    /// By reference, behind the head.
    Share,
}

impl Rest {
    /// How large the coming piece can be, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let front = self.front.as_ref().map_or(0, Front::bytes);
        match self.way {
            // The head goes alone.
            Way::ZeroCopy if front > 0 => front,
            _ => front + self.body.as_ref().map_or(0, Cursor::left),
        }
    }

    /// The last bytes of the body that were tried have not left: they go by copy.
    fn take_back(&mut self, bytes: usize) {
        let cursor = self.body.as_mut().expect("a send of the body was tried");
        cursor.at -= bytes as u64;
        self.way = Way::Copy;
    }
}

impl Cursor {
    /// The next contiguous run: extent, offset in it, bytes (at most `bytes_max`).
    pub(super) fn run(&self, bytes_max: u64) -> Option<(Extent, u32, u32)> {
        let whole = self.held.record.whole()?;
        run_of(whole, self.at, self.end, bytes_max)
    }

    pub(super) fn left(&self) -> u64 {
        self.end - self.at
    }
}

/// The run of a body that begins at byte `at`.
fn run_of(whole: &Whole, at: u64, end: u64, bytes_max: u64) -> Option<(Extent, u32, u32)> {
    let mut skipped = 0u64;
    for &extent in whole.extents() {
        let len = u64::from(extent.len);
        if at < skipped + len {
            let offset = at - skipped;
            let bytes = (len - offset).min(end - at).min(bytes_max);
            let narrow = |value: u64| u32::try_from(value).expect("within one extent");
            return (bytes > 0).then(|| (extent, narrow(offset), narrow(bytes)));
        }
        skipped += len;
    }
    None
}

/// An answer that is ready to leave: its beginning, the body behind it, and what follows.
pub(super) struct Ready {
    pub(super) front: Front,
    pub(super) body: Option<Cursor>,
    pub(super) then: Then,
}

/// What leaves first.
pub(super) enum Front {
    /// A head.
    Assembled(Box<SendBuffer>),
    /// A whole answer that many readers get.
    Rendered(Answer),
    /// The same from this byte on; boxed, for every connection has room for a front.
    Tail(Box<(Answer, usize)>),
}

impl Front {
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Assembled(buffer) => buffer.len(),
            Self::Rendered(bytes) => bytes.len(),
            Self::Tail(tail) => tail.0.len() - tail.1,
        };
        bytes as u64
    }
}

impl Ready {
    pub(super) fn new(buffer: Box<SendBuffer>, body: Option<Cursor>, then: Then) -> Self {
        Self { front: Front::Assembled(buffer), body, then }
    }
}

impl Conn {
    /// Sends an answer.
    #[inline]
    pub(super) async fn deliver(&mut self, ready: Ready) -> Result<Then, Gone> {
        let Ready { front, body, then } = ready;
        self.transmit(front, body).await?;
        Ok(then)
    }

    /// Sends what is ready and the body behind it: one send after the other.
    pub(super) fn transmit(
        &mut self,
        front: Front,
        body: Option<Cursor>,
    ) -> impl Future<Output = Result<(), Gone>> {
        self.transmit_next(Some(front), body)
    }

    /// The same where the front may have left already.
    pub(super) async fn transmit_next(
        &mut self,
        front: Option<Front>,
        body: Option<Cursor>,
    ) -> Result<(), Gone> {
        if self.mute {
            if let Some(Front::Assembled(buffer)) = front {
                self.shard.reactor.recycle(buffer);
            }
            return Ok(());
        }
        if body.as_ref().is_some_and(|cursor| cursor.held.record.is_in_chunks()) {
            return Box::pin(self.transmit_chunks(front, body)).await;
        }
        let way = body.as_ref().map_or(Way::Copy, |cursor| self.way(cursor));
        let mut rest = Rest { front, body, way };
        if way == Way::Share {
            self.share(&mut rest).await?;
        }
        loop {
            self.shard.reactor.turn_for(rest.bytes()).await;
            let Some((send, len)) = self.begin_send(&mut rest) else { return Ok(()) };
            let left = self.finish(send, len).await?;
            if left > 0 {
                rest.take_back(left);
            }
        }
    }

    /// Submits the next send of an answer: head and body together by copy, or after the head the
    /// body by zero-copy. `None` when everything has left.
    fn begin_send(&mut self, rest: &mut Rest) -> Option<(SendId, usize)> {
        let keep: Keep = rest.body.as_ref().map(|cursor| cursor.held.clone() as Rc<_>);
        let body = rest.body.as_mut().filter(|cursor| cursor.left() > 0);
        let mut buffer = match (rest.front.take(), body.is_some()) {
            (Some(Front::Rendered(bytes)), _) => return Some(self.submit_rendered(bytes, 0)),
            (Some(Front::Tail(tail)), _) => return Some(self.submit_rendered(tail.0, tail.1)),
            (Some(Front::Assembled(head)), _) => head,
            (None, false) => return None,
            (None, true) if rest.way == Way::ZeroCopy => {
                if let Some(begun) = self.begin_zero_copy(rest, keep.clone()) {
                    return Some(begun);
                }
                self.shard.reactor.send_buffer()
            }
            (None, true) => self.shard.reactor.send_buffer(),
        };
        if let Some(cursor) = rest.body.as_mut().filter(|_| rest.way != Way::ZeroCopy) {
            self.fill(&mut buffer, cursor);
        }
        Some(self.submit(buffer, keep))
    }

    fn begin_zero_copy(&mut self, rest: &mut Rest, keep: Keep) -> Option<(SendId, usize)> {
        let cursor = rest.body.as_mut()?;
        let run = cursor.run(u64::from(limits::SEND_BYTES_MAX))?;
        match self.shard.reactor.send_zero_copy(self.socket, run, keep) {
            Ok(send) => {
                let len = run.2 as usize;
                cursor.at += len as u64;
                self.note_send(len);
                Some((send, len))
            }
            // No room to register the slot: the rest goes by copy.
            Err(_) => {
                rest.way = Way::Copy;
                None
            }
        }
    }

    fn submit_rendered(&mut self, bytes: Answer, from: usize) -> (SendId, usize) {
        let len = bytes.len() - from;
        self.note_send(len);
        (self.shard.reactor.send_rendered(self.socket, bytes, from), len)
    }

    fn submit(&mut self, buffer: Box<SendBuffer>, keep: Keep) -> (SendId, usize) {
        let len = buffer.len();
        self.note_send(len);
        (self.shard.reactor.send(self.socket, buffer, keep), len)
    }

    /// Adds runs of the body to the buffer, up to the bound of one send.
    fn fill(&self, buffer: &mut SendBuffer, cursor: &mut Cursor) {
        let arena = self.shard.reactor.arena();
        let bytes_max = u64::from(limits::SEND_BYTES_MAX);
        let mut left = bytes_max.saturating_sub(buffer.len() as u64);
        while buffer.runs_left() > 0 {
            let Some((extent, at, len)) = cursor.run(left) else { return };
            buffer.push_arena(arena, extent, at, len);
            cursor.at += u64::from(len);
            left -= u64::from(len);
        }
    }

    /// How a body leaves on this connection's route.
    fn way(&mut self, cursor: &Cursor) -> Way {
        let settings = &self.shard.settings;
        let (tx, bytes, enough) = (settings.tx, cursor.left(), settings.splice_after_copies);
        let large = bytes >= settings.zero_copy_bytes_min;
        let shareable = bytes >= settings.splice_bytes_min;
        let by_reference = match tx {
            Tx::Copy => return Way::Copy,
            Tx::ZeroCopy => false,
            Tx::Splice => true,
            Tx::Auto => {
                (large || shareable)
                    && (self.is_local() || self.shard.reactor.was_copied(self.socket))
            }
        };
        match by_reference {
            true if shareable
                && (tx == Tx::Splice || cursor.held.record.heat.copied_enough(enough))
                && self.shard.reactor.may_share(bytes) =>
            {
                Way::Share
            }
            false if large && !self.shard.reactor.is_half_closed(self.socket) => Way::ZeroCopy,
            _ => Way::Copy,
        }
    }

    /// Whether the peer is on this host: loopback always copies, and says so only after the fact.
    fn is_local(&mut self) -> bool {
        let fd = self.shard.reactor.fd(self.socket);
        *self.local.get_or_insert_with(|| {
            net::peer(fd).is_none_or(|peer| peer.ip().to_canonical().is_loopback())
        })
    }

    /// Sends one buffer and waits for its end.
    pub(super) async fn send(&mut self, buffer: Box<SendBuffer>, keep: Keep) -> Result<(), Gone> {
        self.shard.reactor.turn_for(buffer.len() as u64).await;
        let (send, len) = self.submit(buffer, keep);
        let left = self.finish(send, len).await?;
        debug_assert_eq!(left, 0, "a send by copy goes on");
        Ok(())
    }

    /// Waits for the end of a send; answers how many bytes it leaves to another way.
    async fn finish(&mut self, send: SendId, len: usize) -> Result<usize, Gone> {
        let reactor = &self.shard.reactor;
        let window_ms = self.shard.settings.rate_window_ms;
        reactor.set_deadline(self.socket, reactor.clock.now_ms() + window_ms);
        match reactor.sent(self.socket, send).await {
            Ok(Sent::Whole) => Ok(0),
            other => Box::pin(self.finish_slow(send, len, other)).await,
        }
    }

    /// A send that outlived a window, or of which a part has left: the peer is measured.
    async fn finish_slow(
        &mut self,
        send: SendId,
        len: usize,
        mut result: Result<Sent, Interrupt>,
    ) -> Result<usize, Gone> {
        let window_ms = self.shard.settings.rate_window_ms;
        let window_min = self.shard.settings.window_bytes_min();
        let acknowledged =
            |conn: &Self| net::bytes_acknowledged(conn.shard.reactor.fd(conn.socket));
        let mut seen = acknowledged(self).unwrap_or(0);
        loop {
            match result {
                Ok(Sent::Whole) => return Ok(0),
                Ok(Sent::Failed) => return Err(Gone),
                Ok(Sent::Part(sent)) if !self.shard.reactor.has_rest(send) => {
                    return Ok(len - sent);
                }
                Ok(Sent::Part(_)) => self.go_on(send).await?,
                Err(_) => {}
            }
            let reactor = &self.shard.reactor;
            reactor.set_deadline(self.socket, reactor.clock.now_ms() + window_ms);
            result = reactor.sent(self.socket, send).await;
            if result.is_err() {
                let now = acknowledged(self).unwrap_or(seen);
                let slow = now - seen < window_min;
                if slow || self.shard.is_past_drain() {
                    self.note_cut(slow);
                    return self.give_up(send).await;
                }
                seen = now;
            }
        }
    }

    /// Submits the rest of a send as soon as there is room.
    async fn go_on(&self, send: SendId) -> Result<(), Gone> {
        let room = self.room().await;
        match room {
            Ok(()) => self.shard.reactor.go_on(self.socket, send),
            Err(Gone) => self.shard.reactor.abandon(send),
        }
        room
    }

    /// Cancels a send and waits for its end. A cancel that came at a bad moment is repeated.
    async fn give_up(&self, send: SendId) -> Result<usize, Gone> {
        let reactor = &self.shard.reactor;
        loop {
            reactor.cancel_send(send);
            reactor.set_deadline(self.socket, reactor.clock.now_ms() + limits::CANCEL_AGAIN_MS);
            if reactor.sent(self.socket, send).await.is_ok() {
                reactor.abandon(send);
                return Err(Gone);
            }
        }
    }

    // ---- answers without an object ----

    /// Answers and says whether the connection goes on.
    pub(super) async fn answer_bare(
        &mut self,
        head: &Head,
        bare: &Bare<'_>,
        then: Then,
    ) -> Result<Then, Gone> {
        let ready = self.ready_bare(head, bare, then);
        self.deliver(ready).await
    }

    /// 503 to a request without a body, with when to try again.
    pub(super) fn ready_unavailable(&mut self, head: &Head, message: &str) -> Ready {
        let body_allowed = head.method != Method::Head;
        let bare = Bare { status: Status::ServiceUnavailable, message, lines: RETRY, body_allowed };
        self.ready_bare(head, &bare, Then::Next)
    }

    /// An answer without an object to a request without a body.
    pub(super) fn ready_bare(&mut self, head: &Head, bare: &Bare<'_>, then: Then) -> Ready {
        let age = self.error_age(head, bare.status);
        self.ready_aged(head, bare, then, age)
    }

    /// The same, which caches keep for so long if it is an error.
    pub(super) fn ready_aged(
        &mut self,
        head: &Head,
        bare: &Bare<'_>,
        then: Then,
        age: CacheAge,
    ) -> Ready {
        let manner = self.manner(head, then);
        self.input_past_head(head);
        Ready::new(self.bare_buffer(bare, manner, age), None, manner.then())
    }

    /// Answers an error after the request's body has been read past, or ends the connection when
    /// that is too much (RFC 9110 section 9.3.1; reliability of framing first).
    pub(super) async fn answer_after_body(
        &mut self,
        head: &Head,
        bare: &Bare<'_>,
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        self.input_past_head(head);
        let then = self.discard_body(head).await?;
        let manner = Manner { keep_alive: manner.keep_alive && then == Then::Next, ..manner };
        self.send_bare(bare, manner).await?;
        Ok(manner.then())
    }

    pub(super) async fn send_bare(&mut self, bare: &Bare<'_>, manner: Manner) -> Result<(), Gone> {
        let buffer = self.bare_buffer(bare, manner, media::cache_control_of_errors());
        self.transmit(Front::Assembled(buffer), None).await
    }

    fn bare_buffer(&mut self, bare: &Bare<'_>, manner: Manner, age: CacheAge) -> Box<SendBuffer> {
        let mut buffer = self.shard.reactor.send_buffer();
        let cors = self.cors_lines(manner.cors);
        let named = self.identified(cors);
        let cors = named.as_deref().unwrap_or(cors);
        let len = errors::write(buffer.space(), bare, age, &self.shard.date(), manner, cors)
            .expect("an answer without an object fits a send buffer");
        buffer.push_own(len);
        self.note_head(bare.status, len);
        buffer
    }

    /// Uses the head's bytes.
    #[inline]
    pub(super) fn input_past_head(&mut self, head: &Head) {
        self.input.consume(head.head_len, &self.shard.reactor.buffers);
    }
}

impl Manner {
    /// What follows an answer in this manner.
    pub(super) fn then(self) -> Then {
        if self.keep_alive { Then::Next } else { Then::Close }
    }
}

/// What is answered when no object is there.
pub(super) fn not_found(head: &Head) -> Bare<'static> {
    Bare {
        status: Status::NotFound,
        message: "no such object",
        lines: b"",
        body_allowed: head.method != Method::Head,
    }
}
