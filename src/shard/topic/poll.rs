//! Long-poll: a GET that waits until there is a message. Whoever waits for the same message gets
//! the same bytes.
//!
//! Invariants: nothing is told once the credential's time is over: the answer is then that of a
//! request which begins at that time.

use std::task::Poll;

use super::super::answer::Front;
use super::super::conn::{Conn, Gone, Then};
use super::get::{Subscribing, denied};
use crate::http::request::Head;
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::origin::auth::Denial;
use crate::origin::heads::{self, Manner};
use crate::sys::reactor::Interrupt;
use crate::topic::log::{Joined, Start};

/// How a wait ended.
enum Waited {
    /// There is something, or the time is over.
    Over,
    /// The peer has gone.
    Gone,
}

impl Conn {
    /// Answers with the messages from `start` on, once there is one.
    pub(super) async fn poll_topic(
        &mut self,
        head: &Head,
        subscribing: Subscribing,
        start: Start,
        wait_ms: u64,
    ) -> Result<Then, Gone> {
        let Subscribing { copy, until } = subscribing;
        let shard = self.shard.clone();
        let manner = self.manner(head, Then::Next);
        self.input_past_head(head);
        self.input.set_aside(&shard.reactor.buffers);
        let Joined { next, gap } = shard.topics.borrow_mut().copies.at(copy).log.join(start);
        if gap.is_none() {
            let clock = &shard.reactor.clock;
            let until_ms = (clock.now_ms() + wait_ms).min(until.due_ms(clock));
            shard.topics.borrow_mut().polls += 1;
            let waited = self.wait_for_message(copy, next, until_ms).await;
            shard.topics.borrow_mut().polls -= 1;
            if let Waited::Gone = waited {
                shard.leave_topic(copy);
                return Err(Gone);
            }
            if until.is_over(clock.wall_s()) {
                shard.leave_topic(copy);
                shard.accounts.meters.topic_expired.bump();
                self.send_bare(&denied(head, Denial::Expired), manner).await?;
                return Ok(manner.then());
            }
        }
        let second = shard.preamble.borrow().wall_s;
        let (bytes, head_len) = {
            let mut topics = shard.topics.borrow_mut();
            let held = topics.copies.at(copy);
            // While it waited, messages may have been dropped.
            let late = held.log.go_on(next);
            let (next, gap) = (late.next, gap.or(late.gap));
            let mut head_len = 0;
            let make = |len: usize| {
                let head = self.poll_head(manner, len);
                head_len = head.len();
                head
            };
            let bytes = match manner.connection_line().is_empty() {
                true => held.poll(second, next, gap.as_ref(), make),
                false => held.poll(0, next, gap.as_ref(), make),
            };
            topics.copies.gaps += u64::from(gap.is_some());
            (bytes, head_len)
        };
        shard.leave_topic(copy);
        self.note_head(Status::Ok, head_len);
        self.transmit(Front::Rendered(bytes), None).await?;
        Ok(manner.then())
    }

    fn poll_head(&self, manner: Manner, body_len: usize) -> Vec<u8> {
        let mut head = vec![0; limits::RENDERED_HEAD_BYTES_MAX];
        let mut writer = Writer::new(&mut head);
        heads::begin(&mut writer, Status::Ok, &self.shard.date());
        writer.raw(b"Content-Type: application/json\r\nCache-Control: no-store\r\n");
        writer.header_u64(b"Content-Length", body_len as u64);
        writer.raw(self.cors_lines(true));
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect("a few short lines");
        head.truncate(len);
        head
    }

    async fn wait_for_message(&self, copy: u32, next: u64, until_ms: u64) -> Waited {
        let reactor = &self.shard.reactor;
        let task = reactor.tasks.current();
        self.shard.topics.borrow_mut().copies.at(copy).watch(task);
        reactor.set_deadline(self.socket, until_ms);
        let waited = std::future::poll_fn(|_| {
            let is_there = self.shard.topics.borrow_mut().copies.at(copy).log.next() > next;
            if is_there || self.shard.is_draining() || reactor.clock.now_ms() >= until_ms {
                return Poll::Ready(Waited::Over);
            }
            match reactor.interrupted(self.socket) {
                Some(Interrupt::Ended(_)) => return Poll::Ready(Waited::Gone),
                Some(Interrupt::Late) => reactor.set_deadline(self.socket, until_ms),
                None => {}
            }
            if reactor.is_half_closed(self.socket) {
                return Poll::Ready(Waited::Gone);
            }
            Poll::Pending
        })
        .await;
        self.shard.topics.borrow_mut().copies.at(copy).unwatch(task);
        waited
    }
}
