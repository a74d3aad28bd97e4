//! Several stores, the lanes between them, and an arena of one tag a granule.
//!
//! Messages of one pair of shards keep their order; the tests decide when which lane moves.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::store::growing::Growing;
use crate::store::message::{
    Ask, Guard, Message, Publication, Quality, Refusal, Reply, Streaming, Ticket, UploadId,
};
use crate::store::object::{Body, Millis, NEVER, Parts, Record};
use crate::store::space::tests::Pool;
use crate::store::{Held, Store};
use crate::sys::extent::{Extent, GRANULE_BYTES, ShardId};

/// What a shard's loop makes of a reply.
#[derive(Debug)]
pub enum Answer {
    Held(Rc<Held>),
    Reply(Reply),
}

pub struct World {
    pub stores: Vec<Store>,
    pub pool: Rc<Pool>,
    pub now_ms: Millis,
    lanes: Vec<VecDeque<Message>>,
    pub answers: BTreeMap<(ShardId, Ticket), Answer>,
    pub nudges: Vec<(ShardId, u64)>,
    next_ticket: Ticket,
    next_growing: u64,
    /// Whose bytes lie in a granule.
    arena: RefCell<HashMap<(u32, u32), u64>>,
}

impl World {
    pub fn new(shards: u16, slots: u32, seed: u64) -> Self {
        Self::with_slots(shards, slots, 4 << 20, seed)
    }

    pub fn with_slots(shards: u16, slots: u32, slot_bytes: u32, seed: u64) -> Self {
        let pool = Pool::new(slots, slot_bytes);
        let count = usize::from(shards);
        let now_ms = 1_000;
        let store = |id| Store::new(id, count, seed, pool.clone(), now_ms);
        Self {
            stores: (0..shards).map(store).collect(),
            pool: pool.clone(),
            now_ms,
            lanes: (0..count * count).map(|_| VecDeque::new()).collect(),
            answers: BTreeMap::new(),
            nudges: Vec::new(),
            next_ticket: 0,
            next_growing: 0,
            arena: RefCell::default(),
        }
    }

    pub fn store(&mut self, shard: ShardId) -> &mut Store {
        &mut self.stores[usize::from(shard)]
    }

    pub fn shards(&self) -> u16 {
        u16::try_from(self.stores.len()).unwrap()
    }

    /// The shard that answers an ask.
    fn owner(&self, ask: &Ask, owner: ShardId) -> ShardId {
        match ask {
            Ask::Fetch { key } | Ask::Begin { key, .. } | Ask::Delete { key, .. } => {
                self.stores[0].owner_of(key)
            }
            Ask::List { folder, .. } => self.stores[0].folder_owner(folder),
            _ => owner,
        }
    }

    /// Sends an ask of `shard` on its way.
    pub fn post(&mut self, shard: ShardId, ask: Ask) -> Ticket {
        let owner = self.owner(&ask, shard);
        self.post_to(shard, owner, ask)
    }

    pub fn post_to(&mut self, shard: ShardId, owner: ShardId, ask: Ask) -> Ticket {
        self.next_ticket += 1;
        self.send(shard, owner, Message::Ask { ticket: self.next_ticket, ask });
        self.next_ticket
    }

    /// An ask of a shard to itself, without a lane.
    pub fn ask_directly(&mut self, shard: ShardId, ask: Ask) -> Ticket {
        self.next_ticket += 1;
        let (ticket, now_ms) = (self.next_ticket, self.now_ms);
        self.store(shard).ask(shard, ticket, ask, now_ms);
        self.collect(shard);
        ticket
    }

    pub fn send(&mut self, from: ShardId, to: ShardId, message: Message) {
        let lane = usize::from(from) * self.stores.len() + usize::from(to);
        self.lanes[lane].push_back(message);
    }

    /// Lanes in which a message waits.
    pub fn busy_lanes(&self) -> Vec<usize> {
        (0..self.lanes.len()).filter(|&lane| !self.lanes[lane].is_empty()).collect()
    }

    /// Refuses the first message of a lane for lack of room if it is a store's own ask.
    pub fn refuse(&mut self, lane: usize) -> bool {
        match self.lanes[lane].front() {
            Some(&Message::Ask { ticket, .. }) if Store::owns_ticket(ticket) => {
                self.lanes[lane].pop_front();
                let back = lane % self.stores.len() * self.stores.len() + lane / self.stores.len();
                let reply = Reply::Refused(Refusal::Busy);
                self.lanes[back].push_back(Message::Reply { ticket, reply });
                true
            }
            _ => false,
        }
    }

    /// Hands over the first message of a lane.
    pub fn deliver(&mut self, lane: usize) {
        let from = ShardId::try_from(lane / self.stores.len()).unwrap();
        let to = ShardId::try_from(lane % self.stores.len()).unwrap();
        let message = self.lanes[lane].pop_front().unwrap();
        let now_ms = self.now_ms;
        match message {
            Message::Reply { ticket, reply } if !Store::owns_ticket(ticket) => {
                let answer = match reply {
                    Reply::Granted { lease, record, lasting } => {
                        let held = self.store(to).granted(from, lease, record, lasting, now_ms);
                        Answer::Held(held)
                    }
                    reply => Answer::Reply(reply),
                };
                assert!(self.answers.insert((to, ticket), answer).is_none());
            }
            Message::Nudge { growing } => self.nudges.push((to, growing)),
            message => self.store(to).on_message(from, message, now_ms),
        }
        self.collect(to);
    }

    /// Moves what a store sends into the lanes.
    pub fn collect(&mut self, shard: ShardId) {
        while let Some((to, message)) = self.store(shard).outbox.pop_front() {
            self.send(shard, to, message);
        }
    }

    /// Answers the asks that wait in a lane with a refusal for lack of room.
    pub fn refuse_asks(&mut self, lane: usize) {
        for message in std::mem::take(&mut self.lanes[lane]) {
            match message {
                Message::Ask { ticket, .. } => {
                    let reply = Reply::Refused(Refusal::Busy);
                    self.lanes[lane].push_back(Message::Reply { ticket, reply });
                }
                message => self.lanes[lane].push_back(message),
            }
        }
    }

    /// Moves everything until nothing moves any more.
    pub fn run(&mut self) {
        loop {
            for shard in 0..self.shards() {
                let now_ms = self.now_ms;
                self.store(shard).collect_released(now_ms);
                self.collect(shard);
            }
            let busy = self.busy_lanes();
            if busy.is_empty() {
                return;
            }
            busy.into_iter().for_each(|lane| self.deliver(lane));
        }
    }

    pub fn sweep(&mut self) {
        for shard in 0..self.shards() {
            let now_ms = self.now_ms;
            while self.store(shard).next_deadline().is_some_and(|next_ms| next_ms <= now_ms) {
                self.store(shard).sweep_expired(now_ms, 64);
            }
            self.collect(shard);
        }
        self.run();
    }

    pub fn take(&mut self, shard: ShardId, ticket: Ticket) -> Option<Answer> {
        self.answers.remove(&(shard, ticket))
    }

    /// Asks and runs until the answer is there.
    pub fn ask(&mut self, shard: ShardId, ask: Ask) -> Reply {
        let ticket = self.post(shard, ask);
        self.answered(shard, ticket)
    }

    pub fn ask_of(&mut self, shard: ShardId, owner: ShardId, ask: Ask) -> Reply {
        let ticket = self.post_to(shard, owner, ask);
        self.answered(shard, ticket)
    }

    pub fn answered(&mut self, shard: ShardId, ticket: Ticket) -> Reply {
        self.run();
        match self.take(shard, ticket) {
            Some(Answer::Reply(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// Reads a key on a shard: the table first, then the owner.
    pub fn read(&mut self, shard: ShardId, key: &str) -> Option<Rc<Held>> {
        let now_ms = self.now_ms;
        let hash = self.stores[0].key_hash(key.as_bytes());
        if let Some(held) = self.store(shard).lookup(hash, key.as_bytes(), now_ms) {
            return Some(held);
        }
        let ticket = self.post(shard, Ask::Fetch { key: key.as_bytes().into() });
        self.run();
        match self.take(shard, ticket).unwrap() {
            Answer::Held(held) => Some(held),
            Answer::Reply(Reply::Absent) => None,
            other => panic!("{other:?}"),
        }
    }

    /// The entity tag that a read of the key finds.
    pub fn tag(&mut self, shard: ShardId, key: &str) -> Option<String> {
        let held = self.read(shard, key)?;
        Some(String::from_utf8(held.record.etag().to_vec()).unwrap())
    }

    pub fn begin(&mut self, shard: ShardId, key: &str, declared: Option<u64>) -> Reply {
        self.ask(shard, begin(key, declared))
    }

    /// A complete upload of `bytes` bytes with an entity tag.
    pub fn put(&mut self, shard: ShardId, key: &str, tag: &str, bytes: u64) -> Reply {
        self.put_until(shard, key, tag, bytes, NEVER)
    }

    pub fn put_until(
        &mut self,
        shard: ShardId,
        key: &str,
        tag: &str,
        bytes: u64,
        expires_ms: Millis,
    ) -> Reply {
        match self.begin(shard, key, Some(bytes)) {
            Reply::Begun { upload, .. } => {
                let owner = self.stores[0].owner_of(key.as_bytes());
                let publication = publication(tag, bytes, expires_ms);
                self.ask_of(shard, owner, Ask::Commit { upload, publication })
            }
            other => other,
        }
    }

    pub fn delete(&mut self, shard: ShardId, key: &str) -> Reply {
        self.ask(shard, Ask::Delete { key: key.as_bytes().into(), guard: Guard::default() })
    }

    /// A record for a streaming upload.
    pub fn growing_record(&mut self, key: &str, tag: &str, expires_ms: Millis) -> Arc<Record> {
        self.next_growing += 1;
        self.record(key, tag, expires_ms, Growing::new(self.next_growing))
    }

    /// A record for what a slower tier fills.
    pub fn filled_record(&mut self, key: &str, tag: &str, length: u64) -> Arc<Record> {
        self.next_growing += 1;
        self.record(key, tag, NEVER, Growing::filled(self.next_growing, length))
    }

    fn record(&self, key: &str, tag: &str, expires_ms: Millis, growing: Growing) -> Arc<Record> {
        Record::new(Parts {
            key: key.as_bytes(),
            etag: tag.as_bytes(),
            fields: Arc::default(),
            modified_s: 0,
            stored_ms: self.now_ms,
            expires_ms,
            body: Body::Growing(Arc::new(growing)),
        })
    }

    pub fn stream(&mut self, shard: ShardId, key: &str, tag: &str) -> Reply {
        let record = self.growing_record(key, tag, NEVER);
        self.stream_record(shard, key, record)
    }

    pub fn stream_record(&mut self, shard: ShardId, key: &str, record: Arc<Record>) -> Reply {
        let stream = Some(Streaming { aside_only: false, record });
        let guard = Guard::default();
        self.ask(shard, Ask::Begin { key: key.as_bytes().into(), declared: None, guard, stream })
    }

    pub fn list(&mut self, shard: ShardId, folder: &str) -> Reply {
        let (folder, after) = (folder.as_bytes().into(), b"".as_slice().into());
        self.ask(shard, Ask::List { folder, after, count_max: 1000 })
    }

    /// Writes one tag over the first `bytes` bytes of `extents`.
    pub fn write(&self, extents: &[Extent], bytes: u64, tag: u64) {
        for granule in granules(extents, bytes) {
            self.arena.borrow_mut().insert(granule, tag);
        }
    }

    /// Whether the first `bytes` bytes of `extents` carry one tag only.
    pub fn carries(&self, extents: &[Extent], bytes: u64, tag: u64) -> bool {
        granules(extents, bytes).all(|granule| self.arena.borrow().get(&granule) == Some(&tag))
    }

    /// Everything is deleted and let go: nothing may be left anywhere.
    pub fn assert_empty(&mut self) {
        self.answers.clear();
        self.sweep();
        for store in &self.stores {
            let found = store.statistics();
            let levels = [
                found.objects,
                found.folders,
                found.object_bytes,
                found.used_bytes,
                found.slots_held,
                found.pinned_versions,
                found.pinned_bytes,
                found.leases_granted,
                found.leases_held,
                found.holds,
                found.uploads,
                found.growing,
            ];
            assert_eq!(levels, [0; 12], "{found:?}");
            assert_eq!(store.next_deadline(), None);
        }
        assert_eq!(self.pool.drawn(), 0);
    }
}

fn granules(extents: &[Extent], bytes: u64) -> impl Iterator<Item = (u32, u32)> {
    let mut left = bytes;
    extents.iter().flat_map(move |extent| {
        let len = u32::try_from(left.min(u64::from(extent.len))).unwrap();
        left -= u64::from(len);
        let first = extent.offset / GRANULE_BYTES;
        (0..len.div_ceil(GRANULE_BYTES)).map(move |at| (extent.slot, first + at))
    })
}

pub fn begin(key: &str, declared: Option<u64>) -> Ask {
    let guard = Guard::default();
    Ask::Begin { key: key.as_bytes().into(), declared, guard, stream: None }
}

pub fn publication(tag: &str, length: u64, expires_ms: Millis) -> Publication {
    Publication {
        length,
        etag: tag.as_bytes().into(),
        fields: Arc::default(),
        modified_s: 0,
        expires_ms,
        gives_way: false,
        quality: Quality::UNKNOWN,
        in_chunks: None,
    }
}

/// The upload of a `Begun`.
pub fn begun(reply: Reply) -> (UploadId, Vec<Extent>, Option<Arc<Growing>>) {
    match reply {
        Reply::Begun { upload, extents, growing, .. } => (upload, extents, growing),
        other => panic!("{other:?}"),
    }
}

pub fn is_refused(reply: &Reply, refusal: Refusal) -> bool {
    matches!(reply, Reply::Refused(found) if *found == refusal)
}
