//! The hot table of a shard: current versions of its own keys and leases on other shards' objects,
//! side by side, so that a hit costs the same for both.
//!
//! An entry is a number: the place of an own version, or of a lease. Answers are given from a
//! [`Held`], which a lease is from the start and an own version gets when it is read first, since
//! most of many are not read. An answer under way clones the reference to it, and the last
//! reference to go puts the hold on a list that the store works off.
//!
//! Invariants: a hit allocates nothing but an own version's hold and, unless the object is growing,
//! touches no line that another shard writes; a version that has expired or was cut is never found;
//! at most [`limits::LEASES_MAX`] entries belong to other shards, and not many more than
//! [`limits::HOLDS_KEPT_MAX`] own versions keep a hold that no answer uses.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::limits;
use crate::sys::extent::ShardId;

use super::held::{Held, Released};
use super::message::LeaseId;
use super::object::{Millis, Record};
use super::path;
use super::slab::Slab;
use super::version::Version;

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

/// See the module.
pub(super) struct Index {
    shard: ShardId,
    table: HashTable<Name>,
    leased: Slab<Rc<Held>>,
    leased_max: usize,
    /// Where the eviction looks next, a bucket of the table.
    hand: usize,
    /// Places of own versions that have a hold, in the order in which they got it.
    kept: RefCell<VecDeque<u32>>,
    kept_max: usize,
    released: Rc<Released>,
}

/// What an entry of the table is: the place of an own version, or of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name(u32);

/// Marks the names of leases.
const LEASED: u32 = 1 << 31;

const _: () = assert!(2 * limits::VERSIONS_MAX < LEASED as usize);
const _: () = assert!(limits::LEASES_MAX < LEASED as usize);

/// The part of a key's hash that the table goes by; versions keep it, so that a table that grows
/// does not have to read the keys.
#[inline]
pub(super) fn short_hash(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// The table looks at the highest bits and at the lowest.
#[inline]
fn spread(short: u32) -> u64 {
    u64::from(short) << 32 | u64::from(short)
}

impl Index {
    pub fn new(shard: ShardId) -> Self {
        Self {
            shard,
            table: HashTable::new(),
            leased: Slab::new(),
            leased_max: limits::LEASES_MAX,
            hand: 0,
            kept: RefCell::default(),
            kept_max: limits::HOLDS_KEPT_MAX,
            released: Rc::default(),
        }
    }

    /// Replaces [`limits::LEASES_MAX`] and [`limits::HOLDS_KEPT_MAX`], for tests.
    #[cfg(test)]
    pub fn limit(&mut self, most: usize) {
        (self.leased_max, self.kept_max) = (most, most);
    }

    /// Entries of other shards.
    pub fn leased(&self) -> usize {
        self.leased.len()
    }

    /// The version of `key` that new answers may use at `now_ms`.
    #[inline]
    pub fn lookup(
        &self,
        hash: u64,
        key: &[u8],
        now_ms: Millis,
        versions: &Slab<Version>,
    ) -> Option<Rc<Held>> {
        let held = self.peek(hash, key, now_ms, versions)?;
        held.touch();
        Some(Rc::clone(held))
    }

    /// The same for who gives no answer from it.
    #[inline]
    pub fn peek<'a>(
        &'a self,
        hash: u64,
        key: &[u8],
        now_ms: Millis,
        versions: &'a Slab<Version>,
    ) -> Option<&'a Rc<Held>> {
        let name = self.find(hash, key, versions)?;
        if name.0 & LEASED == 0 {
            let version = versions.at(name.0)?;
            if version.record.is_gone(now_ms) {
                return None;
            }
            version.held.get().or_else(|| self.keep(hash, name.0, versions))
        } else {
            let held = self.leased.at(name.0 & !LEASED)?;
            (!held.record.is_gone(now_ms)).then_some(held)
        }
    }

    /// The first answer from an own version makes its hold.
    #[inline(never)]
    fn keep<'a>(&self, hash: u64, place: u32, versions: &'a Slab<Version>) -> Option<&'a Rc<Held>> {
        let version = versions.at(place)?;
        let lease = LeaseId { version: place, generation: versions.generation(place) };
        version.standing.hold();
        self.kept.borrow_mut().push_back(place);
        let make = || self.hold(hash, self.shard, lease, Arc::clone(&version.record));
        Some(version.held.get_or_init(make))
    }

    /// Gives up holds of own versions that were not used lately where there are too many; looks at
    /// a bounded number of them.
    pub fn trim(&self, versions: &mut Slab<Version>) {
        let mut kept = self.kept.borrow_mut();
        for _ in 0..TRIM_STEPS_MAX {
            if kept.len() <= self.kept_max {
                return;
            }
            let Some(place) = kept.pop_front() else { return };
            // The place may have another tenant by now, which is as good a victim.
            let Some(version) = versions.at_mut(place) else { continue };
            match version.held.get() {
                Some(held) if Rc::strong_count(held) > 1 || held.rest() => {
                    kept.push_back(place);
                }
                _ => drop(version.held.take()),
            }
        }
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8], versions: &Slab<Version>) -> Option<Name> {
        let is_it = |name: &Name| {
            let record = match name.0 & LEASED {
                0 => versions.at(name.0).map(|version| &version.record),
                _ => self.leased.at(name.0 & !LEASED).map(|held| &held.record),
            };
            record.is_some_and(|record| *record.key() == *key)
        };
        self.table.find(spread(short_hash(hash)), is_it).copied()
    }

    /// The place of the own version of `key`, gone or not.
    pub fn own(&self, hash: u64, key: &[u8], versions: &Slab<Version>) -> Option<u32> {
        self.find(hash, key, versions).map(|name| name.0).filter(|name| name & LEASED == 0)
    }

    /// This shard's hold on the version `lease` of `owner`, if answers are given from it.
    pub fn held(
        &self,
        hash: u64,
        owner: ShardId,
        lease: LeaseId,
        versions: &Slab<Version>,
    ) -> Option<Rc<Held>> {
        let is_it = |held: &Rc<Held>| held.owner() == owner && held.lease() == lease;
        if owner == self.shard {
            return versions.at(lease.version)?.held.get().filter(|held| is_it(held)).cloned();
        }
        let leased = |name: &Name| match name.0 & LEASED {
            0 => None,
            _ => self.leased.at(name.0 & !LEASED).filter(|held| is_it(held)),
        };
        let found = self.table.find(spread(short_hash(hash)), |name| leased(name).is_some());
        found.and_then(leased).cloned()
    }

    /// A hold that is not (yet) in the table.
    pub fn hold(&self, hash: u64, owner: ShardId, lease: LeaseId, record: Arc<Record>) -> Rc<Held> {
        Rc::new(Held::new(hash, owner, lease, record, Rc::clone(&self.released)))
    }

    /// Makes the version at `place`, whose key has none, the entry of its key.
    pub fn put_own(&mut self, hash: u64, place: u32, versions: &Slab<Version>) {
        self.insert(hash, Name(place), versions);
    }

    /// Makes a lease the entry of its key. It may find no place and then serves as a pin only.
    /// Returns whether another lease gave way.
    pub fn put(&mut self, held: &Rc<Held>, versions: &Slab<Version>) -> bool {
        debug_assert!(held.owner() != self.shard);
        if let Some(name) = self.find(held.hash(), held.record.key(), versions) {
            self.remove_name(held.hash(), name);
        }
        let evicted = self.leased.len() >= self.leased_max && self.evict();
        if self.leased.len() >= self.leased_max {
            return false;
        }
        let (place, _) = self.leased.insert(Rc::clone(held));
        self.insert(held.hash(), Name(place | LEASED), versions);
        evicted
    }

    fn insert(&mut self, hash: u64, name: Name, versions: &Slab<Version>) {
        let Self { table, leased, .. } = self;
        let short_of = |name: &Name| match name.0 & LEASED {
            0 => versions.at(name.0).map(|version| version.hash),
            _ => leased.at(name.0 & !LEASED).map(|held| short_hash(held.hash())),
        };
        let hash_of = |name: &Name| spread(short_of(name).expect("entries name what is there"));
        table.insert_unique(spread(short_hash(hash)), name, hash_of);
    }

    /// Takes the entry of an own version.
    pub fn remove_own(&mut self, hash: u64, place: u32) {
        let was_there = self.remove_name(hash, Name(place));
        debug_assert!(was_there, "a current version is in the hot table");
    }

    /// Takes the entry that is the hold `lease` of `owner`, if it is in the table.
    pub fn remove(&mut self, hash: u64, owner: ShardId, lease: LeaseId) {
        let is_it = |name: &Name| {
            let held = self.leased.at(name.0 & !LEASED).filter(|_| name.0 & LEASED != 0);
            held.is_some_and(|held| held.owner() == owner && held.lease() == lease)
        };
        if let Some(&name) = self.table.find(spread(short_hash(hash)), is_it) {
            self.remove_name(hash, name);
        }
    }

    fn remove_name(&mut self, hash: u64, name: Name) -> bool {
        let found = self.table.find_entry(spread(short_hash(hash)), |other| *other == name);
        let Ok(entry) = found else { return false };
        entry.remove();
        if name.0 & LEASED != 0 {
            self.leased.remove(name.0 & !LEASED);
        }
        true
    }

    /// Drops one lease that no answer uses and that was not used lately; looks at a bounded number
    /// of entries.
    fn evict(&mut self) -> bool {
        let buckets = self.table.num_buckets();
        for _ in 0..EVICTION_STEPS_MAX.min(2 * buckets) {
            self.hand = (self.hand + 1) % buckets;
            let Some(&name) = self.table.get_bucket(self.hand) else { continue };
            let lease = self.leased.at(name.0 & !LEASED).filter(|_| name.0 & LEASED != 0);
            let Some(held) = lease else { continue };
            if Rc::strong_count(held) > 1 || held.rest() {
                continue;
            }
            let hash = held.hash();
            return self.remove_name(hash, name);
        }
        false
    }

    /// Whether a hold waits to be taken.
    #[inline]
    pub fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Notes a hold that has ended without having been used.
    pub fn release(&self, owner: ShardId, lease: LeaseId) {
        self.released.note(owner, lease);
    }

    /// Moves the holds that nobody uses any more to `list`.
    pub fn take_released(&self, list: &mut Vec<(ShardId, LeaseId)>) {
        self.released.take(list);
    }
}

/// Entries that one eviction looks at.
const EVICTION_STEPS_MAX: usize = 256;
/// Holds of own versions that one turn looks at; it makes fewer.
const TRIM_STEPS_MAX: usize = 1024;
