//! Many small worlds, each from a seed: clients on every shard write, read, delete and list a few
//! keys in nested folders, while messages of different pairs of shards overtake each other, the
//! clock jumps and the memory is nearly always full.
//!
//! `HEADWATER_SEEDS` says how many seeds (or, as `from..to`, which).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::client::Client;
use super::history::{History, OPERATIONS_MAX, Operation};
use super::world::World;
use crate::store::Held;
use crate::store::message::{Ask, Guard, Refusal, Reply};
use crate::store::object::NEVER;
use crate::sys::random::Random;

pub const KEYS: [&str; 9] = ["a", "a/x", "a/y", "a/b/x", "a/b", "d/e/f/x", "d/e/f", "g", "d/e/y"];
pub const FOLDERS: [&str; 5] = ["", "a", "a/b", "d/e", "d/e/f"];

/// A world with clients and what they saw.
pub struct Simulation {
    pub world: World,
    pub random: Random,
    pub histories: BTreeMap<&'static str, History>,
    pub outcomes: BTreeMap<&'static str, u64>,
    pub walks: BTreeMap<usize, Walk>,
    instant: u64,
    last_version: u64,
}

/// A walk through a folder's pages: what was there at some time, and what was there all the time.
#[derive(Debug, Default)]
pub struct Walk {
    pub folder: &'static str,
    pub ever: BTreeSet<String>,
    pub always: BTreeSet<String>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shards = 1 + u16::try_from(random.below(5)).unwrap();
        let slots = 2 + u32::try_from(random.below(10)).unwrap();
        let mut world = World::with_slots(shards, slots, 256 << 10, seed);
        if random.once_in(2) {
            let leases_max = random.index(4);
            world.stores.iter_mut().for_each(|store| store.index.limit(leases_max));
        }
        let histories = KEYS.iter().map(|&key| (key, History::default())).collect();
        let outcomes = BTreeMap::new();
        let walks = BTreeMap::new();
        Self { world, random, histories, outcomes, walks, instant: 0, last_version: 0 }
    }

    /// A new instant, later than all before.
    pub fn instant(&mut self) -> u64 {
        self.instant += 1;
        self.instant
    }

    pub fn next_version(&mut self) -> u64 {
        self.last_version += 1;
        self.last_version
    }

    pub fn count(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    /// Notes an operation that returns now.
    pub fn note(&mut self, key: &str, called: u64, operation: Operation) {
        let returned = self.instant();
        self.histories.get_mut(key).unwrap().note(called, returned, operation);
    }

    /// A key whose history has room for one more operation.
    pub fn pick_key(&mut self) -> Option<&'static str> {
        let key = KEYS[self.random.index(KEYS.len())];
        (self.histories[key].len() + 24 < OPERATIONS_MAX).then_some(key)
    }

    /// Looks a key up on a shard. A hit must be the owner's current version at this very moment.
    pub fn lookup(&mut self, shard: u16, key: &str) -> Option<Rc<Held>> {
        let now_ms = self.world.now_ms;
        let store = &self.world.stores[usize::from(shard)];
        let held = store.lookup(store.key_hash(key.as_bytes()), key.as_bytes(), now_ms)?;
        let current = self.current(key).expect("the owner has what a shard answers from");
        assert!(Arc::ptr_eq(&held.record, &current.record), "{key}: stale on shard {shard}");
        self.check(&held);
        Some(held)
    }

    fn current(&self, key: &str) -> Option<Rc<Held>> {
        let owner = self.world.stores[0].owner_of(key.as_bytes());
        let store = &self.world.stores[usize::from(owner)];
        store.lookup(store.key_hash(key.as_bytes()), key.as_bytes(), self.world.now_ms)
    }

    /// The bytes that a hold promises are still those of its version.
    pub fn check(&self, held: &Held) {
        let version = version_of(held);
        let record = &held.record;
        let (extents, bytes) = match (record.whole(), &record.body) {
            (Some(whole), _) => (whole.extents().to_vec(), whole.length()),
            (None, crate::store::object::Body::Growing(growing)) => {
                let extents = (0..).map_while(|at| growing.extent(at)).collect();
                (extents, growing.progress())
            }
            (None, _) => unreachable!("a body is whole or growing"),
        };
        assert!(self.world.carries(&extents, bytes, version), "memory was reused under a hold");
    }

    /// Sets the clock forward.
    fn pass(&mut self, ms: u64) {
        let before_ms = self.world.now_ms;
        let now_ms = before_ms + ms;
        for key in KEYS {
            let history = self.histories.get_mut(key).unwrap();
            let expires = history.expires_ms.values().any(|&at| at > before_ms && at <= now_ms);
            if expires {
                let (called, returned) = (self.instant + 1, self.instant + 2);
                self.instant += 2;
                history.note(called, returned, Operation::Clock(now_ms));
            }
        }
        self.world.now_ms = now_ms;
    }

    /// Something happens: a message arrives, time passes, a shard tidies up.
    fn event(&mut self) {
        let busy = self.world.busy_lanes();
        let now_ms = self.world.now_ms;
        match self.random.below(100) {
            0..=79 if !busy.is_empty() => {
                let lane = busy[self.random.index(busy.len())];
                if !(self.random.once_in(20) && self.world.refuse(lane)) {
                    self.world.deliver(lane);
                }
            }
            80..=84 => {
                let ms = self.random.below(5);
                self.pass(ms);
            }
            85 if self.random.once_in(4) => {
                let ms = self.random.below(3000);
                self.pass(ms);
            }
            86..=92 => {
                let shard = u16::try_from(self.random.index(self.world.stores.len())).unwrap();
                let budget = 1 + self.random.index(3);
                self.world.store(shard).sweep_expired(now_ms, budget);
                self.world.collect(shard);
            }
            _ => {
                let shard = u16::try_from(self.random.index(self.world.stores.len())).unwrap();
                self.world.store(shard).collect_released(now_ms);
                self.world.collect(shard);
            }
        }
        self.watch();
    }

    /// Keys that can be read at this moment; none of them is a folder of another.
    fn visible(&self) -> Vec<&'static str> {
        let visible: Vec<_> = KEYS.into_iter().filter(|key| self.current(key).is_some()).collect();
        for key in &visible {
            let folder = format!("{key}/");
            assert!(!visible.iter().any(|other| other.starts_with(&folder)), "{visible:?}");
        }
        visible
    }

    /// Follows what walks must find.
    fn watch(&mut self) {
        if self.walks.is_empty() && !self.random.once_in(16) {
            return;
        }
        let visible = self.visible();
        for walk in self.walks.values_mut() {
            let names = names(walk.folder, &visible);
            walk.always.retain(|name| names.contains(name));
            walk.ever.extend(names);
        }
    }

    pub fn start_walk(&mut self, client: usize, folder: &'static str) {
        let names = names(folder, &self.visible());
        self.walks.insert(client, Walk { folder, ever: names.clone(), always: names });
    }

    fn run(&mut self) {
        let count = 2 + self.random.index(7);
        let shards = self.world.stores.len();
        let mut clients: Vec<_> =
            (0..count).map(|number| Client::new(number, self.random.index(shards))).collect();
        for _ in 0..2500 {
            if self.random.once_in(3) {
                let at = self.random.index(count);
                clients[at].step(self, true);
                self.watch();
            } else {
                self.event();
            }
        }
        // Everybody finishes: nothing may be stuck.
        for round in 0.. {
            assert!(round < 1000, "somebody waits for ever: {clients:?}");
            clients.iter_mut().for_each(|client| client.step(self, false));
            self.world.run();
            self.watch();
            if clients.iter().all(Client::is_idle) {
                break;
            }
        }
        clients.clear();
        for (key, history) in &mut self.histories {
            assert!(history.is_explained(), "no order explains what clients saw of {key}");
        }
        self.take_all_away();
    }

    fn take_all_away(&mut self) {
        for key in KEYS {
            let guard = Guard::default();
            let reply = self.world.ask(0, Ask::Delete { key: key.as_bytes().into(), guard });
            assert!(matches!(reply, Reply::Deleted | Reply::Absent), "{reply:?}");
        }
        self.world.assert_empty();
    }
}

fn names(folder: &str, visible: &[&str]) -> BTreeSet<String> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let below = visible.iter().filter_map(|key| key.strip_prefix(&prefix));
    below.map(|rest| rest.split('/').next().unwrap().to_owned()).collect()
}

/// The version's number, which its entity tag spells.
pub fn version_of(held: &Held) -> u64 {
    let tag = std::str::from_utf8(held.record.etag()).unwrap();
    tag.trim_matches('"').parse().unwrap()
}

/// When a new version is to expire.
pub fn some_expiry(random: &mut Random, now_ms: u64) -> u64 {
    if random.once_in(3) { now_ms + 1 + random.below(400) } else { NEVER }
}

pub fn refusal_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Conflict => "conflict",
        Refusal::Precondition | Refusal::Immutable => "precondition",
        Refusal::Full => "full",
        Refusal::Superseded => "superseded",
        Refusal::Busy => "busy",
        Refusal::TooLarge => "too large",
        Refusal::ReadOnly
        | Refusal::DiskFault
        | Refusal::DiskFull
        | Refusal::Damaged
        | Refusal::Unkeepable
        | Refusal::RemoteDown
        | Refusal::RemoteSlow
        | Refusal::RemoteDenied
        | Refusal::RemoteBehind => "about a slower tier",
    }
}

#[test]
fn whatever_happens_the_rules_hold() {
    let seeds = std::env::var("HEADWATER_SEEDS").unwrap_or_else(|_| "300".to_owned());
    let (from, to) = match seeds.split_once("..") {
        Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
        None => (0, seeds.parse().unwrap()),
    };
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in from..to {
        let result = std::panic::catch_unwind(|| {
            let mut simulation = Simulation::new(seed);
            simulation.run();
            simulation.outcomes
        });
        match result {
            Ok(found) => {
                found
                    .into_iter()
                    .for_each(|(name, count)| *outcomes.entry(name).or_default() += count);
            }
            Err(panic) => {
                println!("HEADWATER_SEEDS={seed}..{}", seed + 1);
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("seeds {from}..{to}: {outcomes:?}");
    if to - from >= 100 {
        let wanted = [
            "hit",
            "fetched",
            "absent",
            "committed",
            "streamed",
            "deleted",
            "listed",
            "conflict",
            "precondition",
            "full",
            "superseded",
            "busy",
            "aborted",
        ];
        for name in wanted {
            assert!(outcomes.contains_key(name), "{name} never happened");
        }
    }
}
