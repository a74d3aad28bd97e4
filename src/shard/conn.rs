//! The life of a connection, top to bottom: wait for a head, answer it, again.
//!
//! One task each. A connection holds memory only while a request is under way: an idle one has its
//! future and nothing else. Requests are answered one after the other, so answers are in order
//! whatever the client pipelines.
//!
//! Invariants: this is the only file that ends a connection's task; after a framing error there is
//! one answer, then the connection ends; a client that stops reading loses its answers but none of
//! its uploads.

use std::rc::Rc;
use std::sync::Arc;

use super::account::Account;
use super::input::Input;
use super::rules::CorsChoice;
use super::topic::Resumed;
use super::{Rules, Shard};
use crate::http::request::{self, Head, Method};
use crate::http::response::{Refusal, Status};
use crate::limits;
use crate::origin::dialect::Dialect;
use crate::origin::errors::{ALLOW, Bare};
use crate::origin::heads::Manner;
use crate::sys::reactor::{Close, Interrupt};
use crate::sys::socket::SocketId;

/// One connection.
pub(super) struct Conn {
    pub(super) shard: Rc<Shard>,
    pub(super) socket: SocketId,
    pub(super) input: Input,
    /// The peer no longer takes answers; its uploads are still stored.
    pub(super) mute: bool,
    pub(super) account: Account,
    /// Whether the peer is on this host, once that has been asked for.
    pub(super) local: Option<bool>,
    /// What holds for the request under way.
    pub(super) rules: Arc<Rules>,
    /// CORS lines of the request's path, where it has its own.
    pub(super) cors: CorsChoice,
    /// In whose terms the request under way is answered.
    pub(super) dialect: Dialect,
    /// The answer under way says what is true of it alone.
    pub(super) tells: bool,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The next request.
    Next,
    /// The end, after a bounded drain.
    Close,
    /// The same, although the answer is not complete: its framing says so, and what was answered
    /// before still arrives.
    Cut,
    /// Nothing here: the connection goes on without this task.
    Handed,
}

/// The connection cannot go on: the peer is gone or too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// What came instead of a head.
enum NoHead {
    /// The peer closed, or was idle for too long, between requests.
    Quiet,
    /// The origin drains, and what has arrived is not known.
    Unheard,
    /// The head is malformed, too large or too slow.
    Refused(Refusal),
}

/// Serves a connection until its end.
pub(super) async fn run(shard: Rc<Shard>, socket: SocketId) {
    shard.reactor.begin(socket);
    let mut conn = Conn::new(shard, socket);
    if let Some(how) = conn.serve().await {
        conn.end(how).await;
    }
}

/// Goes on with a stream that was left to the passes of its topic, until its end or until it is
/// left to them again.
pub(super) async fn resume(shard: Rc<Shard>, socket: SocketId, resumed: Resumed) {
    shard.reactor.attach(socket);
    let mut conn = Conn::new(shard, socket);
    let outcome = conn.resume(resumed).await;
    conn.close_account(outcome);
    let how = match outcome {
        Ok(Then::Handed) => return,
        Ok(_) => conn.linger().await,
        Err(Gone) => Close::Reset,
    };
    conn.end(how).await;
}

impl Conn {
    fn new(shard: Rc<Shard>, socket: SocketId) -> Self {
        let (account, input, cors, dialect, tells) = Default::default();
        let rules = shard.rules();
        let (mute, local) = (false, None);
        Self { shard, socket, input, mute, account, local, rules, cors, dialect, tells }
    }

    async fn end(mut self, how: Close) {
        self.input.clear(&self.shard.reactor.buffers);
        self.shard.reactor.close(self.socket, how).await;
    }

    /// Serves requests until the connection ends, or goes on without this task.
    async fn serve(&mut self) -> Option<Close> {
        loop {
            let head = match self.head().await {
                Ok(head) => head,
                Err(NoHead::Quiet) => return Some(Close::Graceful),
                // With something unread the kernel would reset, and take the last answer back.
                Err(NoHead::Unheard) => return Some(Box::pin(self.linger()).await),
                Err(NoHead::Refused(refusal)) => {
                    return Some(Box::pin(self.refuse(refusal)).await);
                }
            };
            match self.exchange(&head).await {
                Ok(Then::Next) => {}
                Ok(Then::Close | Then::Cut) => return Some(Box::pin(self.linger()).await),
                Ok(Then::Handed) => return None,
                Err(Gone) => return Some(Close::Reset),
            }
        }
    }

    /// Waits for the next request's head. Its bytes stay in `input`.
    async fn head(&mut self) -> Result<Head, NoHead> {
        let mut begun = false;
        loop {
            let reactor = &self.shard.reactor;
            let unread = self.input.unread(&reactor.buffers);
            if !begun {
                self.account.begun_us = reactor.clock.now_us();
            }
            match request::parse(unread) {
                Ok(Some(head)) => return Ok(head),
                Ok(None) => {}
                Err(refusal) => return Err(NoHead::Refused(refusal)),
            }
            if self.shard.is_draining() && unread.is_empty() && !reactor.has_input(self.socket) {
                let is_sparing = reactor.is_sparing(self.socket);
                return Err(if is_sparing { NoHead::Unheard } else { NoHead::Quiet });
            }
            if !begun || unread.is_empty() {
                let patience_ms = match unread.is_empty() {
                    true => self.shard.settings.idle_ms,
                    false => self.shard.settings.head_ms,
                };
                begun = !unread.is_empty();
                reactor.set_deadline(self.socket, reactor.clock.now_ms() + patience_ms);
            }
            reactor.set_idle(self.socket, true);
            self.input.set_aside(&reactor.buffers);
            match reactor.receive(self.socket).await {
                Ok(received) => self.input.add(received, &reactor.buffers),
                Err(Interrupt::Late) if self.may_finish_head() => {
                    reactor.set_deadline(self.socket, self.head_until_ms());
                }
                Err(Interrupt::Late) if !self.input.is_empty() => {
                    let reason = "the request head did not arrive in time";
                    return Err(NoHead::Refused(Refusal::new(Status::RequestTimeout, reason)));
                }
                Err(_) => return Err(NoHead::Quiet),
            }
            self.shard.reactor.set_idle(self.socket, false);
        }
    }

    /// Whether the beginning of a drain woke a connection whose head has begun and has time left.
    fn may_finish_head(&self) -> bool {
        let now_ms = self.shard.reactor.clock.now_ms();
        self.shard.is_draining() && !self.input.is_empty() && now_ms < self.head_until_ms()
    }

    /// When a head that has begun must be complete.
    fn head_until_ms(&self) -> u64 {
        self.account.begun_us / 1000 + self.shard.settings.head_ms
    }

    /// Answers one request.
    async fn exchange(&mut self, head: &Head) -> Result<Then, Gone> {
        self.open_account(head);
        self.begin_with_rules(head);
        if self.rules.cmcd && head.method == Method::Get {
            self.note_cmcd(head);
        }
        if !matches!(head.method, Method::Put | Method::Post) {
            self.shard.reactor.receive_ahead(self.socket);
        }
        let outcome = match head.method {
            _ if self.dialect.is_momento() => Box::pin(self.exchange_momento(head)).await,
            Method::Get | Method::Head if !head.body.has_body() => self.read(head).await,
            _ => Box::pin(self.exchange_rare(head)).await,
        };
        self.close_account(outcome);
        outcome
    }

    pub(super) async fn exchange_rare(&mut self, head: &Head) -> Result<Then, Gone> {
        match head.method {
            Method::Get | Method::Head if !head.body.has_body() => self.read(head).await,
            Method::Get | Method::Head => self.read_with_body(head).await,
            Method::Post if self.is_topic(head) => Box::pin(self.publish_message(head)).await,
            Method::Put | Method::Post => self.upload(head).await,
            Method::Delete => self.delete(head).await,
            Method::Options => self.options(head).await,
            Method::Other => {
                let bare = Bare {
                    status: Status::MethodNotAllowed,
                    message: "the origin knows GET, HEAD, PUT, POST, DELETE and OPTIONS",
                    lines: ALLOW,
                    body_allowed: true,
                };
                self.answer_after_body(head, &bare).await
            }
        }
    }

    /// Whether the connection goes on after the answer to this request.
    #[inline]
    pub(super) fn manner(&self, head: &Head, then: Then) -> Manner {
        let keep_alive = head.keep_alive && then == Then::Next && !self.shard.is_draining();
        let cors = match head.method {
            Method::Get | Method::Head => true,
            // A preflight's answer has lines of its own.
            Method::Options => false,
            _ => self.cors.is_own() || self.dialect.is_momento(),
        };
        Manner { version: head.version, keep_alive, cors, dialect: self.dialect }
    }

    /// One answer after a framing error, then the end.
    //= RFC 9112 section 9.6
    async fn refuse(&mut self, refusal: Refusal) -> Close {
        let version = request::Version::Http11;
        (self.cors, self.dialect) = Default::default();
        let manner = Manner { version, keep_alive: false, cors: true, dialect: self.dialect };
        let bare = Bare {
            status: refusal.status,
            message: refusal.reason,
            lines: b"",
            body_allowed: true,
        };
        let sent = self.send_bare(&bare, manner).await;
        self.close_account(sent.map(|()| Then::Close));
        match sent {
            // Whoever was late sends little: no reset to be afraid of, and the place is wanted.
            Ok(()) if refusal.status == Status::RequestTimeout && self.shard.is_crowded() => {
                Close::Graceful
            }
            Ok(()) => self.linger().await,
            Err(Gone) => Close::Reset,
        }
    }

    /// Ends the sending side and drains what the peer still sends, within bounds, so that the
    /// answer is not lost to a reset. Gives way when a new connection needs the place.
    async fn linger(&mut self) -> Close {
        let reactor = &self.shard.reactor;
        self.input.clear(&reactor.buffers);
        reactor.finish_sending(self.socket);
        let until_ms = reactor.clock.now_ms() + self.shard.settings.linger_ms;
        reactor.set_deadline(self.socket, until_ms);
        reactor.set_idle(self.socket, true);
        let mut drained = 0;
        while drained < limits::LINGER_BYTES_MAX {
            match reactor.receive(self.socket).await {
                Ok(received) => {
                    drained += received.len() as u64;
                    reactor.buffers.give_back(received);
                }
                // The beginning of a drain wakes every idle connection; this one is at work.
                Err(Interrupt::Late)
                    if self.shard.is_draining() && reactor.clock.now_ms() < until_ms =>
                {
                    reactor.set_deadline(self.socket, until_ms);
                }
                Err(_) => return Close::Graceful,
            }
        }
        Close::Reset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An idle connection owns its future, a socket's state and little else: at most 1 KiB.
    #[test]
    fn the_future_of_a_connection_is_small() {
        fn size<F>(_: impl FnOnce(Rc<Shard>, SocketId) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(run) <= 800, "{} bytes", size(run));
    }
}
