//! Reading an object that is on its way from disk: its length and validators are known, its bytes
//! come.
//!
//! An answer is that of a whole object. It begins when the first byte that it needs is there,
//! so that an object whose beginning is damaged is answered 500; what turns out to be damaged
//! behind it ends the connection, and Content-Length tells that bytes are missing.
//!
//! Invariants: a head leaves together with the first bytes of its body; no byte leaves that the
//! filling shard has not let go.

use std::rc::Rc;

use super::answer::{Cursor, Front, Ready, not_found};
use super::conn::{Conn, Gone, Then};
use super::live::Judged;
use super::read::Rare;
use crate::http::range::ByteRange;
use crate::http::request::{Head, Method};
use crate::limits;
use crate::origin::read::{self, Plan};
use crate::store::Held;
use crate::store::object::Body;

impl Conn {
    /// Makes an answer with an object that will have `length` bytes, or says what it takes.
    #[cold]
    pub(super) fn ready_filling(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        length: u64,
    ) -> Result<Ready, Rare> {
        let Body::Growing(growing) = &held.record.body else { return Err(Rare::Growing(held)) };
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let plan = read::plan(head, bytes, &held.record, Some(length));
        let needed = match &plan {
            Plan::Part(part) => part.first + 1,
            // Its parts are read from the whole.
            Plan::Parts(_) => u64::MAX,
            _ => 1,
        };
        let is_there = growing.progress() >= needed && !growing.is_cut();
        let is_whole = growing.finished().is_some();
        if !is_there && !is_whole {
            return Err(Rare::Awaited(held, needed));
        }
        self.note_age(&held);
        match plan {
            Plan::Whole if head.method == Method::Head => {
                let manner = self.manner(head, Then::Next);
                let buffer = self.whole_head(head, &held, length, manner);
                Ok(Ready::new(buffer, None, manner.then()))
            }
            Plan::Whole if !is_whole => Err(Rare::Filling(held, None)),
            Plan::Part(part) if !is_whole => Err(Rare::Filling(held, Some(Box::new(part)))),
            plan => self.ready_by_plan(head, held, plan, Some(length)),
        }
    }

    /// Waits until so many bytes are there, or all; whether it broke off instead.
    pub(super) async fn await_filling(&self, held: &Held, needed: u64) -> Result<bool, Gone> {
        let Body::Growing(growing) = &held.record.body else { return Ok(false) };
        self.wait_for_change_of(growing, || growing.progress() >= needed).await?;
        Ok(growing.is_cut())
    }

    /// What was on its way from disk broke off: its damage is told, or another version.
    pub(super) async fn look_again(&mut self, head: &Head, broken: usize) -> Result<Ready, Rare> {
        if broken >= limits::DISK_LOAD_ATTEMPTS {
            return Ok(self.ready_damaged(head));
        }
        let obtained = self.fetch(head).await;
        match self.judge(head, obtained, &None) {
            Judged::Ready(ready) => Ok(ready),
            Judged::Rare(rare) => Err(rare),
            Judged::Wait(_) | Judged::Special => {
                Ok(self.ready_bare(head, &not_found(head), Then::Next))
            }
        }
    }

    /// Sends an answer of which the first byte is there.
    pub(super) async fn answer_filling(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        part: Option<Box<ByteRange>>,
    ) -> Result<Then, Gone> {
        let Body::Growing(growing) = &held.record.body else { return Err(Gone) };
        let Some(length) = growing.length() else { return Err(Gone) };
        let growing = growing.clone();
        let manner = self.manner(head, Then::Next);
        let (mut at, end, buffer) = match part {
            None => (0, length, self.whole_head(head, &held, length, manner)),
            Some(part) => {
                (part.first, part.last + 1, self.part_head(head, &held, *part, length, manner))
            }
        };
        if self.mute {
            self.shard.reactor.recycle(buffer);
            return Ok(manner.then());
        }
        let mut front = Some(buffer);
        loop {
            if growing.finished().is_some() {
                let rest = (at < end).then_some(Cursor { held, at, end });
                self.transmit_next(front.map(Front::Assembled), rest).await?;
                return Ok(manner.then());
            }
            // The cut is looked at first, so that what was right before it leaves.
            let is_cut = growing.is_cut();
            let ready = growing.progress().min(end);
            if at < ready {
                let mut buffer = front.take().unwrap_or_else(|| self.shard.reactor.send_buffer());
                self.add_growing(&mut buffer, &growing, &mut at, ready, false);
                self.send(buffer, Some(held.clone() as Rc<_>)).await?;
            } else if at == end {
                return Ok(manner.then());
            } else if is_cut {
                return Ok(Then::Cut);
            } else {
                self.wait_for_growth(&growing, at).await?;
            }
        }
    }
}
