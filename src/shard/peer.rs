//! Asks to the owners of keys, and the store's messages on their way between shards.
//!
//! An ask has a ticket; the task that asked waits for the reply under it. Asks to other shards are
//! bounded per shard; replies, recalls, confirmations and releases are not refused: each belongs
//! to an ask or a lease.

use std::rc::Rc;
use std::task::Poll;

use super::{Envelope, Shard};
use crate::limits;
use crate::media::hls::Position;
use crate::store::Held;
use crate::store::Store;
use crate::store::message::{Ask, Message, Refusal, Reply, Ticket, UploadId};
use crate::sys::extent::ShardId;
use crate::sys::task::TaskId;

/// Asks under way.
#[derive(Default)]
pub(super) struct Tickets {
    slots: Vec<Waiting>,
    free: Vec<Ticket>,
    elsewhere: usize,
}

enum Waiting {
    Free,
    Reply { task: TaskId, elsewhere: bool },
    Ready(Answer),
}

/// What an ask comes to.
pub(super) enum Answer {
    /// The owner's reply, other than a grant.
    Reply(Reply),
    /// A grant, already turned into a hold.
    Held(Rc<Held>),
}

impl Tickets {
    pub(super) fn open(&mut self, task: TaskId, elsewhere: bool) -> Ticket {
        self.elsewhere += usize::from(elsewhere);
        let waiting = Waiting::Reply { task, elsewhere };
        match self.free.pop() {
            Some(ticket) => {
                self.slots[ticket as usize] = waiting;
                ticket
            }
            None => {
                self.slots.push(waiting);
                Ticket::try_from(self.slots.len() - 1).expect("asks are bounded by connections")
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) -> Option<TaskId> {
        let slot = &mut self.slots[ticket as usize];
        let Waiting::Reply { task, elsewhere } = *slot else { return None };
        self.elsewhere -= usize::from(elsewhere);
        *slot = Waiting::Ready(answer);
        Some(task)
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Answer> {
        let slot = &mut self.slots[ticket as usize];
        match std::mem::replace(slot, Waiting::Free) {
            Waiting::Ready(answer) => {
                self.free.push(ticket);
                Some(answer)
            }
            other => {
                *slot = other;
                None
            }
        }
    }
}

impl Shard {
    /// Asks a key's owner and waits for its reply.
    pub(super) async fn ask(&self, owner: ShardId, ask: Ask) -> Reply {
        match self.ask_any(owner, ask).await {
            Answer::Reply(reply) => reply,
            // Only a fetch is granted; what nobody wanted is let go.
            Answer::Held(_) => Reply::Absent,
        }
    }

    /// Asks a key's owner for a hold on its current version.
    pub(super) async fn fetch(&self, owner: ShardId, key: Box<[u8]>) -> Answer {
        self.ask_any(owner, Ask::Fetch { key }).await
    }

    async fn ask_any(&self, owner: ShardId, ask: Ask) -> Answer {
        let elsewhere = owner != self.id;
        if elsewhere && self.tickets.borrow().elsewhere >= limits::ASKS_MAX {
            self.accounts.meters.asks_refused.bump();
            return Answer::Reply(Reply::Refused(Refusal::Busy));
        }
        self.accounts.meters.asks_sent.add(u64::from(elsewhere));
        let ticket = self.tickets.borrow_mut().open(self.reactor.tasks.current(), elsewhere);
        if elsewhere {
            self.post(owner, Message::Ask { ticket, ask });
        } else {
            self.store.borrow_mut().ask(self.id, ticket, ask, self.reactor.clock.now_ms());
            self.carry();
        }
        self.answered(ticket).await
    }

    /// Has an owner, which may be this shard, do what a message with a ticket says, and waits for
    /// its reply.
    pub(super) async fn have_done(
        &self,
        owner: ShardId,
        message: impl FnOnce(Ticket) -> Message,
    ) -> Reply {
        let elsewhere = owner != self.id;
        if elsewhere && self.tickets.borrow().elsewhere >= limits::ASKS_MAX {
            self.accounts.meters.asks_refused.bump();
            return Reply::Refused(Refusal::Busy);
        }
        let ticket = self.tickets.borrow_mut().open(self.reactor.tasks.current(), elsewhere);
        self.post(owner, message(ticket));
        match self.answered(ticket).await {
            Answer::Reply(reply) => reply,
            Answer::Held(_) => Reply::Refused(Refusal::Busy),
        }
    }

    /// Waits for the answer to a ticket.
    pub(super) fn answered(&self, ticket: Ticket) -> impl Future<Output = Answer> {
        std::future::poll_fn(move |_| match self.tickets.borrow_mut().take(ticket) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
    }

    /// Gives an upload up, unless it has ended: a commit that is refused on its way has not.
    pub(super) fn abort(&self, owner: ShardId, upload: UploadId) {
        self.post(owner, Message::Abort { upload });
    }

    /// Turns a grant into a hold of this shard.
    fn answer(&self, owner: ShardId, reply: Reply) -> Answer {
        let Reply::Granted { lease, record, lasting } = reply else { return Answer::Reply(reply) };
        let now_ms = self.reactor.clock.now_ms();
        let mut store = self.store.borrow_mut();
        Answer::Held(store.granted(owner, lease, record, lasting, now_ms))
    }

    /// Handles what another shard's store, or this one's, says.
    pub(super) fn on_message(&self, from: ShardId, message: Message) {
        match message {
            Message::Reply { ticket, reply } if !Store::owns_ticket(ticket) => {
                // A grant is noted before the owner's next message is looked at: that one may
                // recall it.
                let answer = self.answer(from, reply);
                let task = self.tickets.borrow_mut().answer(ticket, answer);
                task.into_iter().for_each(|task| self.reactor.tasks.wake(task));
            }
            Message::Ask { ticket, ask } => {
                let now_ms = self.reactor.clock.now_ms();
                self.store.borrow_mut().ask(from, ticket, ask, now_ms);
            }
            Message::Nudge { growing } => self.on_nudge(growing),
            Message::Changed { key } => self.on_changed(&key),
            Message::Refresh { ticket, key, part_target_us } => {
                self.on_refresh(from, ticket, &key, part_target_us);
            }
            Message::Tier { ticket, key, job } => self.on_tier(from, ticket, key, job),
            Message::Remote { ticket, key, job } => self.on_remote(from, ticket, key, job),
            Message::Ahead(ahead) => self.on_ahead(ahead),
            Message::Reclaim => {
                let now_ms = self.reactor.clock.now_ms();
                self.store.borrow_mut().reclaim(now_ms);
                self.carry();
            }
            Message::Arriving { key } => self.on_arriving(&key),
            Message::Numbered { key } => self.on_numbered(&key),
            Message::Target { folder, target_ms } => self.on_target(folder, target_ms),
            Message::Ladder { key, members } => self.on_ladder(key, members),
            Message::Position { key, msn, part } => {
                self.on_position(&key, Position { msn, part });
            }
            message => {
                let now_ms = self.reactor.clock.now_ms();
                self.store.borrow_mut().on_message(from, message, now_ms);
            }
        }
    }

    /// Carries the store's messages out; those to this shard itself are handled here and now.
    pub(super) fn carry(&self) {
        loop {
            let next = self.store.borrow_mut().outbox.pop_front();
            let Some((to, message)) = next else { return };
            self.post(to, message);
        }
    }

    /// Sends a message to a shard, which may be this one.
    pub(super) fn post(&self, to: ShardId, message: Message) {
        if to == self.id {
            self.on_message(to, message);
        } else {
            let envelope = Envelope::Store { from: self.id, message };
            self.mailbox.send(to, envelope, &self.reactor);
        }
    }
}
