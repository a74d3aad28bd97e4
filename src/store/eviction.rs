//! Which of the versions that the disk has too give way: S3-FIFO.
//!
//! What is new waits in a small queue, a tenth of the bytes; what was read there more than once
//! moves to the main queue, the rest gives way and leaves its hash behind. A key that comes back
//! while its hash is remembered starts in the main queue. So a scan over the whole library passes
//! through the small queue and leaves the main queue alone.
//!
//! Versions that only memory has, and whose path lets them go, have a queue of their own: the
//! oldest goes first, whether it is read or not.
//!
//! Invariants: only versions that were admitted here are ever named; a version is in one queue at
//! most of these two; the queues hold at most three times as many entries as versions that live,
//! and a few.

use std::collections::VecDeque;

use hashbrown::HashSet;

use crate::limits;

use super::heat::Heat;
use super::message::LeaseId;

/// A version in a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub lease: LeaseId,
    pub hash: u64,
    pub bytes: u64,
}

/// The queues of one shard.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    small: Queue,
    main: Queue,
    /// In order of age.
    yielding: VecDeque<Entry>,
    /// Hashes of what gave way from the small queue, the oldest first.
    ghosts: VecDeque<u64>,
    ghost_set: HashSet<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn retain(&mut self, lives: impl Fn(LeaseId) -> bool) {
        self.entries.retain(|entry| lives(entry.lease));
        self.bytes = self.entries.iter().map(|entry| entry.bytes).sum();
    }
}

impl Eviction {
    /// Entries, of versions that live and of others.
    pub fn len(&self) -> usize {
        self.small.entries.len() + self.main.entries.len() + self.yielding.len()
    }

    /// Takes a version in that the disk has.
    pub fn admit(&mut self, entry: Entry) {
        match self.ghost_set.remove(&entry.hash) {
            true => self.main.push(entry),
            false => self.small.push(entry),
        }
    }

    /// Takes a version in that its path lets go, as the newest.
    pub fn admit_yielding(&mut self, entry: Entry) {
        self.yielding.push_back(entry);
    }

    /// The oldest version that its path lets go; it has left its queue.
    pub fn oldest(&mut self, lives: impl Fn(LeaseId) -> bool) -> Option<Entry> {
        std::iter::from_fn(|| self.yielding.pop_front()).find(|entry| lives(entry.lease))
    }

    /// Puts a victim back that could not go.
    pub fn put_back(&mut self, entry: Entry) {
        self.main.push(entry);
    }

    /// Forgets the versions that do not live any more.
    pub fn prune(&mut self, lives: impl Fn(LeaseId) -> bool) {
        self.small.retain(&lives);
        self.main.retain(&lives);
        self.yielding.retain(|entry| lives(entry.lease));
    }

    /// The next one to give way; it has left its queue. `heat` is none for what does not live.
    pub fn next<'a>(&mut self, heat: impl Fn(LeaseId) -> Option<&'a Heat>) -> Option<Entry> {
        // Each step takes an entry out or takes heat from one, of which each has three at most.
        let entries = self.small.entries.len() + self.main.entries.len();
        for _ in 0..(Heat::MOST as usize + 2) * (entries + 1) {
            let total = self.small.bytes + self.main.bytes;
            let from_small = self.small.bytes * SMALL_SHARE > total || self.main.bytes == 0;
            if from_small && let Some(entry) = self.small.pop() {
                match heat(entry.lease).map(Heat::reset) {
                    None => {}
                    Some(2..) => self.main.push(entry),
                    Some(_) => {
                        self.remember(entry.hash);
                        return Some(entry);
                    }
                }
            } else {
                let entry = self.main.pop().or_else(|| self.small.pop())?;
                match heat(entry.lease).map(Heat::cool) {
                    None => {}
                    Some(true) => self.main.push(entry),
                    Some(false) => return Some(entry),
                }
            }
        }
        None
    }

    fn remember(&mut self, hash: u64) {
        if self.ghosts.len() >= limits::GHOSTS_MAX
            && let Some(oldest) = self.ghosts.pop_front()
        {
            self.ghost_set.remove(&oldest);
        }
        if self.ghost_set.insert(hash) {
            self.ghosts.push_back(hash);
        }
    }
}

/// The small queue is one in so many bytes.
const SMALL_SHARE: u64 = 10;

#[cfg(test)]
mod trace;

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of `room` versions of one byte each; the version's number is its key.
    pub(in crate::store::eviction) struct Cache {
        eviction: Eviction,
        heats: Vec<Option<Heat>>,
        held: usize,
        room: usize,
    }

    impl Cache {
        pub(in crate::store::eviction) fn new(keys: usize, room: usize) -> Self {
            let heats = (0..keys).map(|_| None).collect();
            Self { eviction: Eviction::default(), heats, held: 0, room }
        }

        /// Reads a key; whether it was there.
        pub(in crate::store::eviction) fn read(&mut self, key: usize) -> bool {
            if let Some(heat) = &self.heats[key] {
                heat.warm();
                return true;
            }
            if self.held == self.room {
                let heats = &self.heats;
                let victim = self.eviction.next(|lease| heats[lease.version as usize].as_ref());
                self.heats[victim.unwrap().lease.version as usize] = None;
                self.held -= 1;
            }
            let lease = LeaseId { version: u32::try_from(key).unwrap(), generation: 0 };
            self.heats[key] = Some(Heat::default());
            self.held += 1;
            self.eviction.admit(Entry { lease, hash: key as u64, bytes: 1 });
            false
        }
    }

    #[test]
    fn a_scan_leaves_what_is_read_often() {
        let (hot, room, keys) = (80, 100, 10_000);
        let mut cache = Cache::new(keys, room);
        for _ in 0..10 {
            (0..hot).for_each(|key| {
                let _ = cache.read(key);
            });
        }
        let mut hits = 0;
        let mut reads = 0;
        for (step, cold) in (hot..keys).enumerate() {
            cache.read(cold);
            reads += 1;
            hits += usize::from(cache.read(step % hot));
        }
        assert!(hits * 100 >= reads * 95, "{hits} of {reads}");
    }

    #[test]
    fn everything_gives_way_in_the_end() {
        let mut cache = Cache::new(100, 100);
        for _ in 0..5 {
            (0..100).for_each(|key| {
                let _ = cache.read(key);
            });
        }
        for _ in 0..100 {
            let heats = &cache.heats;
            let victim = cache.eviction.next(|lease| heats[lease.version as usize].as_ref());
            cache.heats[victim.unwrap().lease.version as usize] = None;
        }
        assert!(cache.eviction.next(|_| None).is_none());
        assert_eq!(cache.eviction.len(), 0);
    }

    #[test]
    fn ghosts_are_bounded() {
        let mut cache = Cache::new(limits::GHOSTS_MAX * 2, 1);
        (0..limits::GHOSTS_MAX * 2).for_each(|key| {
            let _ = cache.read(key);
        });
        assert!(cache.eviction.ghosts.len() <= limits::GHOSTS_MAX);
        assert!(cache.eviction.ghost_set.len() <= cache.eviction.ghosts.len());
    }
}
