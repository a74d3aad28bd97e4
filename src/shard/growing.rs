//! Reading an object while it arrives: every burst of the writer becomes one chunk per reader.
//!
//! A reader sends what is there, asks to be nudged, looks again, waits. HTTP/1.1 readers get
//! chunked encoding, HTTP/1.0 readers the end of the connection. If the upload breaks off, the
//! connection ends without a last chunk, behind everything that was answered before.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::Shard;
use super::answer::Front;
use super::conn::{Conn, Gone, Then};
use super::read::HEAD_FITS;
use crate::http::framing;
use crate::http::request::{Head, Method, Version};
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::origin::heads;
use crate::store::Held;
use crate::store::growing::Growing;
use crate::store::message::Message;
use crate::store::object::Body;
use crate::sys::reactor::Interrupt;
use crate::sys::send::{Keep, SendBuffer};

/// How the reading of a growing object ended.
enum Outcome {
    Whole,
    /// The upload broke off, or another one took its place.
    Cut,
}

impl Conn {
    /// Answers with an object whose upload was still arriving when the request came.
    pub(super) async fn answer_growing(
        &mut self,
        head: &Head,
        held: Rc<Held>,
    ) -> Result<Then, Gone> {
        let Body::Growing(growing) = &held.record.body else { return Err(Gone) };
        let growing = growing.clone();
        if let Some(wanted) = self.range_of_growing(head, &growing) {
            return self.answer_growing_part(head, held, &growing, wanted).await;
        }
        let chunked = head.version == Version::Http11;
        let manner = self.manner(head, if chunked { Then::Next } else { Then::Close });
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::Ok, &self.shard.date());
        writer.header(b"Content-Type", &held.record.fields.content_type);
        self.object_head(&held.record).validators(&mut writer);
        self.identify(&mut writer);
        if chunked {
            writer.raw(b"Transfer-Encoding: chunked\r\n");
        }
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::Ok, len);
        self.input_past_head(head);
        self.transmit(Front::Assembled(buffer), None).await?;
        if head.method == Method::Get {
            let keep: Keep = Some(held.clone() as Rc<_>);
            match self.follow(&growing, keep, chunked).await? {
                Outcome::Whole => {}
                // Without its last chunk the answer is known to be incomplete (RFC 9112 section
                // 8); where the end of the connection is the end of the body, only a reset tells.
                Outcome::Cut if chunked => return Ok(Then::Cut),
                Outcome::Cut => return Err(Gone),
            }
        }
        Ok(manner.then())
    }

    async fn follow(
        &mut self,
        growing: &Arc<Growing>,
        keep: Keep,
        chunked: bool,
    ) -> Result<Outcome, Gone> {
        let mut at = 0u64;
        let mut growing = growing.tip();
        loop {
            if growing.successor().is_some() {
                growing = growing.tip();
            }
            // The mark is read before the end is asked for, so that no last byte is missed.
            let finished = growing.finished_itself().map(|whole| whole.length());
            let ready = finished.unwrap_or_else(|| growing.progress());
            if growing.is_cut() {
                return Ok(Outcome::Cut);
            }
            if at < ready {
                let buffer = self.chunk(&growing, &mut at, ready, chunked);
                self.send(buffer, keep.clone()).await?;
            } else if finished.is_some() {
                break;
            } else if growing.successor().is_none() {
                self.wait_for_growth(&growing, at).await?;
            }
        }
        if chunked {
            let mut buffer = self.shard.reactor.send_buffer();
            buffer.push_copy(b"0\r\n\r\n");
            self.send(buffer, None).await?;
        }
        Ok(Outcome::Whole)
    }

    /// One chunk with the bytes from `at` on, as many as one send takes.
    pub(super) fn chunk(
        &self,
        growing: &Growing,
        at: &mut u64,
        ready: u64,
        chunked: bool,
    ) -> Box<SendBuffer> {
        let mut buffer = self.shard.reactor.send_buffer();
        self.add_growing(&mut buffer, growing, at, ready, chunked);
        buffer
    }

    /// Adds those bytes to a buffer.
    pub(super) fn add_growing(
        &self,
        buffer: &mut SendBuffer,
        growing: &Growing,
        at: &mut u64,
        ready: u64,
        chunked: bool,
    ) {
        let mut runs = [None; limits::SEND_RUNS_MAX - 2];
        let mut bytes = 0;
        let most = u64::from(limits::SEND_BYTES_MAX);
        for run in &mut runs {
            let Some(found) = growing.run(*at + bytes, ready, most - bytes) else { break };
            bytes += u64::from(found.2);
            *run = Some(found);
        }
        if chunked {
            let mut head = [0; framing::CHUNK_HEAD_BYTES_MAX];
            let len = framing::chunk_head(bytes, &mut head);
            buffer.push_copy(&head[..len]);
        }
        for (extent, offset, len) in runs.into_iter().flatten() {
            buffer.push_arena(self.shard.reactor.arena(), extent, offset, len);
        }
        if chunked {
            buffer.push_copy(b"\r\n");
        }
        *at += bytes;
    }

    pub(super) async fn wait_for_growth(
        &self,
        growing: &Arc<Growing>,
        at: u64,
    ) -> Result<(), Gone> {
        self.wait_for_change_of(growing, || growing.progress() > at).await
    }

    /// Waits until `is_enough`, or until the object's upload has ended.
    pub(super) async fn wait_for_change_of(
        &self,
        growing: &Arc<Growing>,
        is_enough: impl Fn() -> bool,
    ) -> Result<(), Gone> {
        let shard = &self.shard;
        // The upload's own timeouts end it; this one only guards against a lost nudge.
        let patience_ms = shard.settings.body_idle_ms.saturating_mul(2);
        shard.reactor.set_deadline(self.socket, shard.reactor.clock.now_ms() + patience_ms);
        let changed = || {
            let has_ended = growing.finished().is_some() || growing.is_cut();
            is_enough() || has_ended || growing.successor().is_some()
        };
        std::future::poll_fn(|_| {
            if changed() {
                return Poll::Ready(Ok(()));
            }
            shard.await_nudge(growing.id);
            growing.watch(shard.id);
            if changed() {
                return Poll::Ready(Ok(()));
            }
            match shard.reactor.interrupted(self.socket) {
                Some(Interrupt::Late | Interrupt::Ended(_)) => Poll::Ready(Err(Gone)),
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl Shard {
    /// Lets readers of a growing object have its first `bytes` bytes.
    pub(super) fn show_growth(&self, growing: &Growing, bytes: u64) {
        growing.advance(bytes);
        let id = growing.id;
        growing.drain_watchers(|shard| self.post(shard, Message::Nudge { growing: id }));
    }

    /// A name for another growing object; the shard's number keeps those of two shards apart.
    pub(super) fn next_growing(&self) -> u64 {
        let number = self.growing_next.get();
        self.growing_next.set(number + 1);
        u64::from(self.id) << 48 | number
    }

    /// Puts the calling task on the list of those to be woken by the object's next nudge.
    pub(super) fn await_nudge(&self, growing: u64) {
        let task = self.reactor.tasks.current();
        let mut waiters = self.growing_waiters.borrow_mut();
        let waiting = waiters.entry(growing).or_default();
        // A task that is woken for another reason asks again; more than once does no harm.
        if waiting.last() != Some(&task) {
            waiting.push(task);
        }
    }

    /// Wakes the readers of a growing object that changed.
    pub(super) fn on_nudge(&self, growing: u64) {
        let waiting = self.growing_waiters.borrow_mut().remove(&growing);
        waiting.into_iter().flatten().for_each(|task| self.reactor.tasks.wake(task));
    }
}
