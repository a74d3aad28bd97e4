//! One shard's store: the owner of its keys and the holder of leases on others'.
//!
//! A state machine without I/O: asks and messages go in, messages come out in [`Store::outbox`],
//! also those of the shard to itself, which its loop hands back to it. The parts are in their own
//! files: `folder` (what lies where), `upload`, `change` (one after another for each key),
//! `version` (memory and who holds it), `lease` (the holder's side) and `expiry`.
//!
//! What the shard's loop owes the store:
//! - messages of one pair of shards are handed over in the order in which they were sent;
//! - a `Reply::Granted` becomes a [`Store::granted`] call before the next message of that owner is
//!   handed over, even when nobody waits for it any more;
//! - after `Commit` or `Abort` the uploader writes no more into the upload's extents, nor after an
//!   `Extend` was refused with `Superseded`; every upload ends by one of these three;
//! - what is not an ask is never refused for lack of room, only kept back; a `Link` or `Unlink` of
//!   the store that finds no room may be answered in its owner's stead with `Refused(Busy)`.
//!
//! Invariants: a new version is acknowledged only when no shard can answer from the old one any
//! more; memory is reused only when no lease, pin or upload names it; nothing unexpired leaves
//! except by a delete, a replacement or its path's policy for a full memory; every entry of every
//! map belongs to an object, an upload, a lease or an accepted ask.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::limits;
use crate::sys::extent::{ShardId, SlotSource};
use crate::sys::wheel::Wheel;

use super::event::Events;
use super::eviction::Eviction;
use super::folder::Folders;
use super::held::Held;
use super::index::{Index, KeyHash};
use super::lease::Holdings;
use super::message::{Ask, LeaseId, Message, Outbox, Refusal, Reply, Ticket, UploadId};
use super::object::Millis;
use super::queue::SpareQueues;
use super::slab::Slab;
use super::space::Space;
use super::statistics::Statistics;
use super::upload::{Opening, Upload};
use super::version::Version;
use super::watch::Watches;

/// See the module.
pub struct Store {
    pub(super) id: ShardId,
    pub(super) hash: KeyHash,
    pub(super) index: Index,
    pub(super) space: Space,
    pub(super) wheel: Wheel,
    pub(super) eviction: Eviction,
    pub(super) versions: Slab<Version>,
    pub(super) uploads: Slab<Upload>,
    pub(super) folders: Folders,
    pub(super) holdings: Holdings,
    /// Keys whose queue of changes may go on, or whose place may be empty now.
    pub(super) stirred: Stirred,
    /// Queues of changes for keys that get one.
    pub(super) spare_queues: SpareQueues,
    pub(super) releasing: Vec<(ShardId, LeaseId)>,
    pub(super) watches: Watches,
    pub(super) statistics: Statistics,
    /// What happened to own objects.
    pub events: Events,
    /// Messages to other shards and to this one, in order.
    pub outbox: Outbox,
    /// How long folders had been quiet before each publication, for the shard to count.
    pub gaps_ms: Vec<Millis>,
}

/// Who asked, and where the answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub shard: ShardId,
    pub ticket: Ticket,
}

impl Store {
    /// The store of shard `id` out of `shards`, all made with the same `seed`.
    pub fn new(
        id: ShardId,
        shards: usize,
        seed: u64,
        slots: Rc<dyn SlotSource>,
        now_ms: Millis,
    ) -> Self {
        assert!(usize::from(id) < shards);
        Self {
            id,
            hash: KeyHash::new(seed, shards),
            index: Index::new(id),
            space: Space::new(slots),
            wheel: Wheel::new(now_ms),
            eviction: Eviction::default(),
            versions: Slab::new(),
            uploads: Slab::new(),
            folders: Folders::new(),
            holdings: Holdings::new(),
            stirred: Stirred::default(),
            spare_queues: SpareQueues::default(),
            releasing: Vec::new(),
            watches: Watches::default(),
            statistics: Statistics::default(),
            events: Events::default(),
            outbox: Outbox::new(),
            gaps_ms: Vec::new(),
        }
    }

    /// The hash that [`Store::lookup`] wants.
    #[inline]
    pub fn key_hash(&self, key: &[u8]) -> u64 {
        self.hash.key(key)
    }

    /// The shard that owns `key`.
    #[inline]
    pub fn owner_of(&self, key: &[u8]) -> ShardId {
        self.hash.owner(key)
    }

    /// The shard that lists `folder`.
    #[inline]
    pub fn folder_owner(&self, folder: &[u8]) -> ShardId {
        self.hash.folder_owner(folder)
    }

    /// The version of `key` that this shard may answer from, its own or leased; `None` is final
    /// only at the key's owner, elsewhere the owner is to be asked.
    #[inline]
    pub fn lookup(&self, hash: u64, key: &[u8], now_ms: Millis) -> Option<Rc<Held>> {
        self.index.lookup(hash, key, now_ms, &self.versions)
    }

    /// The own version of `key` that is there at `now_ms`.
    pub(super) fn find_current(&self, hash: u64, key: &[u8], now_ms: Millis) -> Option<LeaseId> {
        let place = self.index.own(hash, key, &self.versions)?;
        let lease = LeaseId { version: place, generation: self.versions.generation(place) };
        (!self.is_gone(place, now_ms)).then_some(lease)
    }

    /// As [`Store::lookup`], without counting a read.
    pub fn peek(&self, key: &[u8], now_ms: Millis) -> Option<Rc<Held>> {
        self.index.peek(self.hash.key(key), key, now_ms, &self.versions).cloned()
    }

    /// Whether a reply with this ticket answers an ask of the store itself and is to be handed to
    /// [`Store::on_message`].
    #[inline]
    pub fn owns_ticket(ticket: Ticket) -> bool {
        ticket & STORE_TICKET != 0
    }

    /// An ask of shard `from` (which may be this one) for something that this shard owns. The
    /// ticket must not be one of the store's own.
    pub fn ask(&mut self, from: ShardId, ticket: Ticket, ask: Ask, now_ms: Millis) {
        let asker = Asker { shard: from, ticket };
        match ask {
            Ask::Fetch { key } => self.fetch(asker, &key, now_ms),
            Ask::Begin { key, declared, guard, stream } => {
                self.begin(asker, Opening { key, declared, guard, stream }, now_ms);
            }
            Ask::Extend { upload, bytes } => self.extend(asker, upload, bytes, now_ms),
            Ask::Commit { upload, publication } => self.commit(asker, upload, publication),
            Ask::Delete { key, guard } => self.delete(asker, key, guard),
            Ask::List { folder, after, count_max } => {
                self.list(asker, &folder, &after, count_max, now_ms);
            }
            Ask::Link { folder } => self.link(asker, folder, now_ms),
            Ask::Unlink { folder } => self.unlink(asker, &folder),
        }
        self.settle(now_ms);
    }

    /// A message of shard `from`, except nudges and the replies to the shard's own asks.
    pub fn on_message(&mut self, from: ShardId, message: Message, now_ms: Millis) {
        match message {
            Message::Ask { ticket, ask } => return self.ask(from, ticket, ask, now_ms),
            Message::Reply { ticket, reply } => {
                debug_assert!(Self::owns_ticket(ticket));
                self.on_reply(ticket, &reply, now_ms);
            }
            Message::Recall { lease } => self.recalled(from, lease),
            Message::Confirm { lease } => self.confirmed(from, lease),
            Message::Release { lease } => self.let_go(from, lease),
            Message::Abort { upload } => self.abort(upload),
            Message::Watch { key, seen, until_ms } => {
                self.watch(from, key, seen, until_ms, now_ms);
            }
            Message::Unwatch { key } => self.unwatch(from, &key),
            Message::Nudge { .. }
            | Message::Changed { .. }
            | Message::Refresh { .. }
            | Message::Tier { .. }
            | Message::Remote { .. }
            | Message::Ahead(_)
            | Message::Reclaim
            | Message::Arriving { .. }
            | Message::Numbered { .. }
            | Message::Target { .. }
            | Message::Ladder { .. }
            | Message::Position { .. } => {
                debug_assert!(false, "these are for the shard, not for its store");
            }
        }
        self.settle(now_ms);
    }

    /// Works off the holds that nobody on this shard uses any more: frees memory or releases
    /// leases. To be called once a turn, or for as long as [`Store::has_released`] says so.
    pub fn collect_released(&mut self, now_ms: Millis) {
        self.retry_unlinks();
        self.index.trim(&mut self.versions);
        self.settle(now_ms);
    }

    /// Whether [`Store::collect_released`] has something to do.
    #[inline]
    pub fn has_released(&self) -> bool {
        self.index.has_released()
    }

    /// Counts of what the store holds and did.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            folders: self.folders.len() as u64,
            used_bytes: self.space.used_bytes(),
            retired_bytes: self.space.retired_bytes(),
            slots_held: self.space.slots_held() as u64,
            leases_held: self.index.leased() as u64,
            holds: self.holdings.len() as u64,
            uploads: self.uploads.len() as u64,
            watched: self.watched() as u64,
            ..self.statistics.clone()
        }
    }

    /// Follows up what the last step made possible: every public step ends here, so that no step
    /// runs inside another.
    pub(super) fn settle(&mut self, now_ms: Millis) {
        loop {
            self.work_off_released();
            let Some(key) = self.stirred.pop() else { break };
            self.proceed(&key, now_ms);
            self.stirred.give_back(key);
        }
    }

    /// Notes that `key` is to be looked at before this step ends.
    pub(super) fn stir(&mut self, key: &[u8]) {
        self.stirred.push(key);
    }

    pub(super) fn reply(&mut self, asker: Asker, reply: Reply) {
        let message = Message::Reply { ticket: asker.ticket, reply };
        self.outbox.push_back((asker.shard, message));
    }

    pub(super) fn refuse(&mut self, asker: Asker, refusal: Refusal) {
        self.reply(asker, Reply::Refused(refusal));
    }

    /// The upload of that name, unless it has ended.
    pub(super) fn upload(&mut self, id: UploadId) -> Option<&mut Upload> {
        self.uploads.find(id.place, id.generation)
    }
}

/// Keys to be looked at, in order. Their memory is used again, so that a step allocates none.
#[derive(Default)]
pub(super) struct Stirred {
    keys: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Stirred {
    /// Puts `key` at the end.
    pub fn push(&mut self, key: &[u8]) {
        let mut place = self.spare.pop().unwrap_or_default();
        place.clear();
        place.extend_from_slice(key);
        self.keys.push_back(place);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        self.keys.pop_front()
    }

    fn give_back(&mut self, key: Vec<u8>) {
        if self.spare.len() < limits::STORE_SPARE_MAX {
            self.spare.push(key);
        }
    }
}

/// Marks the tickets of the store's own asks.
pub(super) const STORE_TICKET: Ticket = 1 << 31;
