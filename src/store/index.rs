//! The hot table of a shard: current versions of its own keys and leases on other shards' objects,
//! side by side, so that a hit costs the same for both.
//!
//! An entry is one reference to a [`Held`]; an answer under way clones the reference, and the last
//! reference to go puts the hold on a list that the store works off.
//!
//! Invariants: a hit allocates nothing and, unless the object is growing, touches no line that
//! another shard writes; a version that has expired or was cut is never found; at most
//! [`limits::LEASES_MAX`] entries belong to other shards.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::limits;
use crate::media::hls::playlist::Media;
use crate::sys::extent::ShardId;

use super::message::LeaseId;
use super::object::{Millis, Record};
use super::path;

/// The process's hash of keys; every shard is made with the same seed and so agrees on owners.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash {
    seed: u64,
    shards: u64,
}

impl KeyHash {
    /// For `shards` shards.
    pub fn new(seed: u64, shards: usize) -> Self {
        assert!((1..=limits::SHARDS_MAX).contains(&shards));
        Self { seed, shards: shards as u64 }
    }

    /// The hash under which the table knows a key.
    #[inline]
    pub fn key(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }

    /// The shard that owns a key: that of its parent folder, so that a folder stays together.
    #[inline]
    pub fn owner(&self, key: &[u8]) -> ShardId {
        self.folder_owner(path::split(key).0)
    }

    /// The shard that owns what lies directly in a folder.
    #[inline]
    pub fn folder_owner(&self, folder: &[u8]) -> ShardId {
        let hash = xxh3_64_with_seed(folder, !self.seed);
        // The high half of the product spreads over all shards and is less than their number.
        let shard = (u128::from(hash) * u128::from(self.shards)) >> 64;
        ShardId::try_from(shard).expect("fewer shards than SHARDS_MAX")
    }
}

/// This shard's hold on one version, its own or leased. Clones of the `Rc` are the pins of answers
/// under way.
#[derive(Debug)]
pub struct Held {
    /// The version.
    pub record: Arc<Record>,
    hash: u64,
    owner: ShardId,
    lease: LeaseId,
    /// Used since the eviction's hand last passed.
    touched: Cell<bool>,
    released: Rc<Released>,
    /// What its answers say of it, once it is read often.
    pub head: OnceCell<Box<[u8]>>,
    /// An answer with it that many readers share.
    pub rendered: Rendered,
    derived: OnceCell<Box<Derived>>,
}

/// What was made out of a version on this shard; most versions are no manifests and have none.
#[derive(Debug, Default)]
pub struct Derived {
    /// As gzip, where the path offers that.
    pub zipped: Rendered,
    /// What it says of itself as a live playlist, once somebody has asked.
    pub live: OnceCell<Option<Box<Live>>>,
    /// When it becomes stale, once somebody has asked; the largest number: never.
    pub stale_at_ms: OnceCell<Millis>,
    /// What it names as a multivariant playlist, once somebody has asked.
    pub ladder: OnceCell<Option<Box<Ladder>>>,
}

/// The media playlists of a presentation, and how they were when they were looked after.
#[derive(Debug)]
pub struct Ladder {
    /// Their keys.
    pub members: Box<[Box<[u8]>]>,
    /// The last look.
    pub looked: Cell<Option<Look>>,
}

/// A look after renditions.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// For how long it holds.
    pub until_ms: Millis,
    /// None is missing, none stale.
    pub is_whole: bool,
}

/// A playlist that may be waited for: its facts, and answers that many readers share.
#[derive(Debug)]
pub struct Live {
    /// What it lists.
    pub facts: Media<'static>,
    /// Its cache age is the one that a playlist gets whose upload says nothing.
    pub age_is_default: bool,
    /// A delta update leaves something out.
    pub delta_is_less: bool,
    /// All of it, for requests that named a segment.
    pub blocking: Rendered,
    /// The delta update, for requests that named a segment and for others.
    pub delta: [Rendered; 2],
    /// The three of these as gzip, in this order.
    pub zipped: [Rendered; 3],
}

/// A whole answer, and the second of the wall clock in which the version was asked for last.
#[derive(Debug, Default)]
pub struct Rendered {
    /// Seconds since 1970.
    pub second: Cell<u64>,
    /// Head and body, with the Date of that second.
    pub bytes: RefCell<Option<Rc<Vec<u8>>>>,
}

impl Held {
    /// The shard that owns the version's memory.
    pub fn owner(&self) -> ShardId {
        self.owner
    }

    /// Names the version at its owner.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// What is made out of the version.
    pub fn derived(&self) -> &Derived {
        self.derived.get_or_init(Box::default)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.released.list.borrow_mut().push((self.owner, self.lease));
    }
}

/// Holds that nobody on this shard uses any more.
#[derive(Debug, Default)]
struct Released {
    list: RefCell<Vec<(ShardId, LeaseId)>>,
}

/// See the module.
pub(super) struct Index {
    shard: ShardId,
    table: HashTable<Rc<Held>>,
    /// Entries of other shards.
    leased: usize,
    leased_max: usize,
    /// Where the eviction looks next, a bucket of the table.
    hand: usize,
    released: Rc<Released>,
}

impl Index {
    pub fn new(shard: ShardId) -> Self {
        Self {
            shard,
            table: HashTable::new(),
            leased: 0,
            leased_max: limits::LEASES_MAX,
            hand: 0,
            released: Rc::default(),
        }
    }

    /// Replaces [`limits::LEASES_MAX`], for tests.
    #[cfg(test)]
    pub fn limit_leases(&mut self, leased_max: usize) {
        self.leased_max = leased_max;
    }

    /// Entries of other shards.
    pub fn leased(&self) -> usize {
        self.leased
    }

    /// The version of `key` that new answers may use at `now_ms`.
    #[inline]
    pub fn lookup(&self, hash: u64, key: &[u8], now_ms: Millis) -> Option<Rc<Held>> {
        let held = self.find(hash, key)?;
        if held.record.is_gone(now_ms) {
            return None;
        }
        held.touched.set(true);
        held.record.heat.warm();
        Some(Rc::clone(held))
    }

    /// The entry of `key`, gone or not.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<&Rc<Held>> {
        self.table.find(hash, |held| *held.record.key == *key)
    }

    /// A hold that is not (yet) in the table.
    pub fn hold(&self, hash: u64, owner: ShardId, lease: LeaseId, record: Arc<Record>) -> Rc<Held> {
        Rc::new(Held {
            record,
            hash,
            owner,
            lease,
            touched: Cell::new(true),
            released: Rc::clone(&self.released),
            head: OnceCell::new(),
            rendered: Rendered::default(),
            derived: OnceCell::new(),
        })
    }

    /// Makes `held` the entry of its key. A lease may find no place; it then serves as a pin only.
    /// Returns whether it was put in, and whether another lease gave way.
    pub fn put(&mut self, held: &Rc<Held>) -> (bool, bool) {
        self.remove_key(held.hash, &held.record.key);
        let mut evicted = false;
        if held.owner != self.shard {
            if self.leased >= self.leased_max {
                evicted = self.evict();
                if !evicted {
                    return (false, false);
                }
            }
            self.leased += 1;
        }
        self.table.insert_unique(held.hash, Rc::clone(held), |held| held.hash);
        (true, evicted)
    }

    /// Takes the entry that is the hold `lease` of `owner`, if it is in the table.
    pub fn remove(&mut self, hash: u64, owner: ShardId, lease: LeaseId) -> Option<Rc<Held>> {
        let entry =
            self.table.find_entry(hash, |held| held.lease == lease && held.owner == owner).ok()?;
        self.leased -= usize::from(owner != self.shard);
        Some(entry.remove().0)
    }

    fn remove_key(&mut self, hash: u64, key: &[u8]) {
        if let Ok(entry) = self.table.find_entry(hash, |held| *held.record.key == *key) {
            self.leased -= usize::from(entry.get().owner != self.shard);
            entry.remove();
        }
    }

    /// Drops one lease that no answer uses and that was not used lately; looks at a bounded number
    /// of entries.
    fn evict(&mut self) -> bool {
        let buckets = self.table.num_buckets();
        for _ in 0..EVICTION_STEPS_MAX.min(2 * buckets) {
            self.hand = (self.hand + 1) % buckets;
            let Some(held) = self.table.get_bucket(self.hand) else { continue };
            if held.owner == self.shard || Rc::strong_count(held) > 1 || held.touched.take() {
                continue;
            }
            let entry = self.table.get_bucket_entry(self.hand).expect("the bucket is in use");
            entry.remove();
            self.leased -= 1;
            return true;
        }
        false
    }

    /// Whether a hold waits to be taken.
    #[inline]
    pub fn has_released(&self) -> bool {
        !self.released.list.borrow().is_empty()
    }

    /// Moves the holds that nobody uses any more to `list`.
    pub fn take_released(&self, list: &mut Vec<(ShardId, LeaseId)>) {
        list.append(&mut self.released.list.borrow_mut());
    }
}

/// Entries that one eviction looks at.
const EVICTION_STEPS_MAX: usize = 256;
