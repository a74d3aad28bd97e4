//! Low-latency playlists, made from what ordinary encoders push (`media::lowlatency`).
//!
//! Each playlist has a maker, a task on the shard that owns the playlist's key (`maker`). The
//! encoder's own playlist is stored beside it, under the name of [`plain_key`]; an upload of it is
//! acknowledged when the maker has brought the made one up to date. Segments are told to all shards
//! when they begin; a maker that expects one reads it as it arrives (`follow`), like any reader,
//! and publishes a version of its playlist with every part (`publish`). Renditions of one
//! presentation tell each other how far they are.
//!
//! Invariants: a maker never waits for an encoder with anybody waiting for it; when there are too
//! many the one that was idle for longest ends, and its playlist stays as it is.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;

use super::Shard;
use crate::limits;
use crate::media::hls::Position;
use crate::media::lowlatency::{Policy, Rendition};
use crate::store::message::{Message, Reply, Ticket};
use crate::sys::extent::ShardId;
use crate::sys::task::TaskId;

mod follow;
mod maker;
pub(super) mod names;
mod publish;

pub(super) use names::{is_playlist, plain_key};

/// The makers of one shard, and what it knows of presentations.
#[derive(Default)]
pub(super) struct Makers {
    by_key: HashMap<Box<[u8]>, Rc<Maker>>,
    /// The oldest first.
    ladders: VecDeque<Ladder>,
    /// How far members of ladders are.
    positions: HashMap<Box<[u8]>, Position>,
}

/// The renditions of a presentation.
struct Ladder {
    of: Box<[u8]>,
    members: Arc<[Box<[u8]>]>,
}

/// What the rest of the shard knows of a maker.
struct Maker {
    /// The playlist that it makes.
    key: Box<[u8]>,
    rendition: RefCell<Box<Rendition>>,
    events: RefCell<VecDeque<Event>>,
    task: Cell<TaskId>,
    touched_ms: Cell<u64>,
    is_over: Cell<bool>,
}

/// What a maker is told.
enum Event {
    /// The plain playlist has another version; the asker waits.
    Plain { from: ShardId, ticket: Ticket },
    /// A segment has begun to arrive.
    Segment(Box<[u8]>),
}

impl Shard {
    /// Waits until the playlist that is made from a plain one is up to date.
    pub(super) async fn refresh(&self, key: Box<[u8]>, part_target_us: u64) {
        let owner = self.store.borrow().owner_of(&key);
        let ask = |ticket| Message::Refresh { ticket, key, part_target_us };
        self.exchange(owner, ask).await;
    }

    /// Tells all shards something.
    pub(super) fn tell_all(&self, message: impl Fn() -> Message) {
        for shard in (0..).take(self.mailbox.shards()) {
            self.post(shard, message());
        }
    }

    /// Has a maker look at its plain playlist.
    pub(super) fn on_refresh(
        &self,
        from: ShardId,
        ticket: Ticket,
        key: &[u8],
        part_target_us: u64,
    ) {
        let maker = self.makers.borrow().by_key.get(key).cloned();
        let maker = maker.or_else(|| self.begin_maker(key, Policy { part_target_us }));
        match maker {
            Some(maker) => self.tell(&maker, Event::Plain { from, ticket }),
            None => self.post(from, Message::Reply { ticket, reply: Reply::Refreshed }),
        }
    }

    /// A segment begins, or is there: whoever makes a playlist of it is told.
    pub(super) fn on_arriving(&self, key: &[u8]) {
        let expecting = |maker: &&Rc<Maker>| {
            let uri = names::relative_below(&maker.key, key);
            uri.is_some_and(|uri| maker.rendition.borrow().expects(uri))
        };
        let found = self.makers.borrow().by_key.values().find(expecting).cloned();
        if let Some(maker) = found
            && maker.events.borrow().len() < limits::LL_EVENTS_MAX
        {
            self.tell(&maker, Event::Segment(key.into()));
        }
    }

    /// Learns which playlists are renditions of one presentation.
    pub(super) fn on_ladder(&self, key: Box<[u8]>, members: Arc<[Box<[u8]>]>) {
        let mut makers = self.makers.borrow_mut();
        makers.ladders.retain(|ladder| ladder.of != key);
        if !members.is_empty() {
            makers.ladders.push_back(Ladder { of: key, members });
        }
        if makers.ladders.len() > limits::LADDERS_MAX {
            makers.ladders.pop_front();
        }
        let Makers { ladders, positions, .. } = &mut *makers;
        let is_member = |key: &[u8]| ladders.iter().any(|one| one.has(key));
        positions.retain(|key, _| is_member(key));
    }

    /// Learns how far a rendition is.
    pub(super) fn on_position(&self, key: &[u8], position: Position) {
        let mut makers = self.makers.borrow_mut();
        if makers.ladders.iter().any(|ladder| ladder.has(key)) {
            makers.positions.insert(key.into(), position);
        }
    }

    /// Lets every maker see that the shard is draining.
    pub(super) fn wake_makers(&self) {
        for maker in self.makers.borrow().by_key.values() {
            self.reactor.tasks.wake(maker.task.get());
        }
    }

    /// Playlists that are made here.
    pub(super) fn makers(&self) -> usize {
        self.makers.borrow().by_key.len()
    }

    fn tell(&self, maker: &Maker, event: Event) {
        maker.events.borrow_mut().push_back(event);
        maker.touched_ms.set(self.reactor.clock.now_ms());
        self.reactor.tasks.wake(maker.task.get());
    }

    /// A new maker; `None` while the shard is draining.
    fn begin_maker(&self, key: &[u8], policy: Policy) -> Option<Rc<Maker>> {
        let shard = self.me.upgrade().filter(|_| !self.is_draining())?;
        if self.makers() >= limits::LL_MAKERS_MAX {
            self.end_idlest_maker();
        }
        let maker = Rc::new(Maker {
            key: key.into(),
            rendition: RefCell::new(Box::new(Rendition::new(policy))),
            events: RefCell::default(),
            task: Cell::new(0),
            touched_ms: Cell::new(self.reactor.clock.now_ms()),
            is_over: Cell::new(false),
        });
        self.makers.borrow_mut().by_key.insert(key.into(), maker.clone());
        maker.task.set(self.reactor.tasks.spawn(maker::run(shard, maker.clone())));
        Some(maker)
    }

    fn end_idlest_maker(&self) {
        let mut makers = self.makers.borrow_mut();
        let idlest = makers.by_key.values().min_by_key(|maker| maker.touched_ms.get()).cloned();
        if let Some(maker) = idlest {
            makers.by_key.remove(&maker.key);
            maker.is_over.set(true);
            self.reactor.tasks.wake(maker.task.get());
        }
    }

    /// A maker has ended.
    fn forget_maker(&self, maker: &Rc<Maker>) {
        let mut makers = self.makers.borrow_mut();
        if makers.by_key.get(&maker.key).is_some_and(|known| Rc::ptr_eq(known, maker)) {
            makers.by_key.remove(&maker.key);
        }
    }

    /// Sends a message with a ticket and waits for the reply to it.
    async fn exchange(&self, owner: ShardId, ask: impl FnOnce(Ticket) -> Message) {
        let elsewhere = owner != self.id;
        let task = self.reactor.tasks.current();
        let ticket = self.tickets.borrow_mut().open(task, elsewhere);
        self.post(owner, ask(ticket));
        self.answered(ticket).await;
    }
}

impl Ladder {
    fn has(&self, key: &[u8]) -> bool {
        self.members.iter().any(|member| **member == *key)
    }
}
