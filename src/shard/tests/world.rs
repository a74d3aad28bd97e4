//! Shards, their network and their time in one thread, a step at a time.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::book::{Book, KEYS};
use super::client::Client;
use super::request::{Request, What};
use crate::access::AccessSink;
use crate::config::{Access, PathRules};
use crate::limits;
use crate::meters::{ShardMeters, TopicBoard};
use crate::shard::{Accounts, Ending, Envelope, Rules, Settings, Shard, Tx};
use crate::store::Store;
use crate::sys::arena::Arena;
use crate::sys::clock::Clock;
use crate::sys::folder::DataFolder;
use crate::sys::mailbox::{Remote, mailboxes};
use crate::sys::net;
use crate::sys::random::Random;
use crate::sys::reactor::Reactor;
use crate::sys::sim::{Disk, Faults, PoisonedSlots, Sim};
use crate::sys::swap::Swap;
use crate::topic::Policy;

/// What a world is made of.
#[derive(Clone)]
pub struct Plan {
    pub seed: u64,
    pub shards: usize,
    pub memory_bytes: u64,
    pub faults: Faults,
    pub settings: Settings,
    /// What the disk holds, where there is one.
    pub disk: Option<Disk>,
}

impl Plan {
    /// A kind world.
    pub fn new(seed: u64, shards: usize) -> Self {
        let settings = Settings {
            tx: Tx::Auto,
            zero_copy_bytes_min: limits::ZERO_COPY_BYTES_MIN,
            splice_bytes_min: limits::SPLICE_BYTES_MIN,
            splice_after_copies: 0,
            object_bytes_max: 1 << 20,
            rules: Swap::new(Rules::new(Access::default(), PathRules::default(), false, false)),
            head_ms: 5_000,
            idle_ms: 20_000,
            body_idle_ms: 5_000,
            rate_min_bytes_per_s: 500,
            rate_window_ms: 10_000,
            linger_ms: 2_000,
            drain_ms: 30_000,
            connections_max: 64,
            topic_policy: Arc::new(|_| Policy::default()),
            topic_hook: None,
            topic_board: TopicBoard::new(limits::SHARDS_MAX),
            data: None,
            library: None,
            large_bytes_min: limits::LARGE_BYTES_MIN,
            chunk_bytes: limits::CHUNK_BYTES_MIN,
            listings: None,
            prefetch: 1,
            remote: None,
        };
        Self {
            seed,
            shards,
            memory_bytes: 16 << 20,
            faults: Faults::default(),
            settings,
            disk: None,
        }
    }

    /// A world of any size.
    pub fn some(seed: u64, random: &mut Random) -> Self {
        let mut plan = Self::new(seed, 1 + random.index(4));
        plan.settings.tx = [Tx::Auto, Tx::ZeroCopy, Tx::Splice, Tx::Copy][random.index(4)];
        plan.settings.zero_copy_bytes_min = 1 << (8 + random.below(8));
        plan.settings.splice_bytes_min = 1 << (8 + random.below(8));
        plan.memory_bytes = 4 << (20 + random.below(3));
        plan
    }
}

pub struct World {
    pub shards: Vec<Rc<Shard>>,
    pub endings: Vec<Option<Ending>>,
    pub clients: Vec<Client>,
    pub book: Book,
    pub random: Random,
    pub remote: Remote<Envelope>,
    pub arena: Arc<Arena>,
    idle: u32,
    pub steps: u64,
    /// Whether new clients may be turned away.
    pub lenient: bool,
    // Last: everything above ends within the simulation.
    pub sim: Sim,
}

impl World {
    pub fn new(plan: &Plan) -> Self {
        let sim = Sim::install(plan.seed, plan.faults.clone());
        let mut settings = plan.settings.clone();
        if let Some(disk) = &plan.disk {
            let folder = DataFolder::simulated(sim.insert(disk.clone()));
            settings.data = Some(Arc::new(folder));
        }
        let arena = Arena::new(plan.memory_bytes).unwrap();
        let (boxes, remote) = mailboxes::<Envelope>(plan.shards).unwrap();
        let shards = boxes.into_iter().map(|mailbox| {
            let reactor = Reactor::new(arena.clone()).unwrap();
            if matches!(plan.settings.tx, Tx::Auto | Tx::ZeroCopy) {
                reactor.prepare_zero_copy().unwrap();
            }
            if matches!(plan.settings.tx, Tx::Auto | Tx::Splice) {
                let unread_max = limits::SPLICED_UNREAD_MAX;
                assert_eq!(reactor.prepare_sharing(unread_max).is_err(), plan.faults.pipes_refused);
            }
            let slots = Rc::new(PoisonedSlots(arena.clone()));
            let now_ms = Clock::monotonic_us() / 1000;
            let store = Store::new(mailbox.id(), plan.shards, plan.seed, slots, now_ms);
            let meters = Arc::new(ShardMeters::new());
            let accounts = Accounts::new(meters.clone(), AccessSink::off(meters));
            let listeners = vec![net::own(sim.listen())];
            Shard::new(reactor, store, mailbox, settings.clone(), 7, listeners, accounts)
        });
        Self {
            shards: shards.collect(),
            endings: vec![None; plan.shards],
            clients: Vec::new(),
            book: Book::default(),
            random: Random::new(plan.seed),
            remote,
            arena,
            idle: 0,
            steps: 0,
            lenient: false,
            sim,
        }
    }

    /// A client of a shard, which connects as soon as it has a plan.
    pub fn client(&mut self, shard: usize) -> &mut Client {
        let address = match self.random.once_in(2) {
            true => SocketAddr::from(([127, 0, 0, 1], 4000)),
            false => SocketAddr::from(([192, 0, 2, 1], 4000)),
        };
        let mut client = Client::new(shard, address);
        client.lenient = self.lenient;
        self.clients.push(client);
        self.clients.last_mut().unwrap()
    }

    /// A whole upload of a new version.
    pub fn put(&mut self, key: usize, length: u64, ttl_s: u64) -> Request {
        let version = self.book.version(key, length);
        let (chunked, if_absent, patient) = (false, false, false);
        Request::new(What::Put { version, length, chunked, if_absent, patient, ttl_s }, key)
    }

    /// Uploads a new version, by a client of its own, to the end.
    pub fn store(&mut self, (key, length): (usize, u64)) {
        let put = self.put(key, length, 0);
        self.client(0).plan(put);
        self.run_clients();
    }

    fn can_run(&self, shard: usize) -> bool {
        let now_us = self.sim.now_us();
        let message = self.shards[shard].mailbox.next_us().is_some_and(|at_us| at_us <= now_us);
        self.endings[shard].is_none() && (message || self.sim.can_run(shard))
    }

    /// One turn of a shard.
    pub fn turn(&mut self, number: usize) {
        let shard = &self.shards[number];
        self.sim.resume(number);
        shard.turn();
        match shard.ending() {
            Some(ending) => self.endings[number] = Some(ending),
            None => shard.wait().unwrap(),
        }
        self.check_limits(number);
    }

    /// What holds after every turn.
    fn check_limits(&self, number: usize) {
        let shard = &self.shards[number];
        let buffers = &shard.reactor.buffers;
        assert!(buffers.available() <= buffers.in_use());
        let (small, large) = shard.reactor.budgets_left();
        let beyond = (-small).max(-large);
        assert!(beyond <= i64::from(limits::SEND_BYTES_MAX), "{beyond} bytes too many in a turn");
    }

    /// Something happens; whether anything did.
    fn step(&mut self) -> bool {
        self.steps += 1;
        let us = self.random.below(40);
        self.sim.pass(us);
        match self.random.below(4) {
            0..=1 => {
                let shard = self.random.index(self.shards.len());
                let spurious = self.random.once_in(200) && self.endings[shard].is_none();
                let runs = self.can_run(shard) || spurious;
                if runs {
                    self.turn(shard);
                }
                runs && !spurious
            }
            2 if !self.clients.is_empty() => {
                let client = self.random.index(self.clients.len());
                self.clients[client].act(&self.sim, &mut self.book, &mut self.random)
            }
            _ => self.sim.move_bytes(false),
        }
    }

    /// Everybody who can do anything does it; whether anybody could.
    fn all(&mut self) -> bool {
        let mut moved = self.sim.move_bytes(true);
        for shard in 0..self.shards.len() {
            if self.can_run(shard) {
                self.turn(shard);
                moved = true;
            }
        }
        for client in &mut self.clients {
            moved |= client.act(&self.sim, &mut self.book, &mut self.random);
        }
        moved
    }

    /// Sets the clock to when something happens by itself; whether anything will.
    fn skip(&mut self) -> bool {
        let now_us = self.sim.now_us();
        let messages = self.shards.iter().map(|shard| shard.mailbox.next_us());
        let clients = self.clients.iter().map(|client| client.next_us(&self.sim));
        let next_us = messages.chain(clients).chain([self.sim.next_us()]).flatten().min();
        let Some(next_us) = next_us else { return false };
        self.sim.pass(next_us.saturating_sub(now_us).max(1));
        self.clients.iter().for_each(|client| client.check_patience(&self.sim));
        true
    }

    /// One step, or a longer one when nobody has anything to do; whether anything can happen.
    pub fn advance(&mut self) -> bool {
        if self.step() {
            self.idle = 0;
            return true;
        }
        self.idle += 1;
        if self.idle < 12 {
            return true;
        }
        self.idle = 0;
        self.all() || self.skip()
    }

    /// Runs until `until` holds.
    pub fn run_until(&mut self, what: &str, until: impl Fn(&Self) -> bool) {
        let steps_max = self.steps + 2_000_000;
        while !until(self) {
            let goes_on = self.advance();
            let stuck = !goes_on && !until(self);
            if stuck || self.steps > steps_max {
                let waiting: Vec<_> = self.clients.iter().filter(|client| !client.done).collect();
                println!("{}{waiting:?}", self.sim.describe());
                panic!("not {what}, and {}", if stuck { "nothing happens" } else { "for long" });
            }
        }
    }

    /// Runs with everybody at once, so that what is asked arrives in one turn; whether anything
    /// can happen.
    pub fn advance_together(&mut self) -> bool {
        self.all() || self.skip()
    }

    /// Runs until every client has what it wanted.
    pub fn run_clients(&mut self) {
        self.run_until("all clients are done", |world| {
            world.clients.iter().all(|client| client.done)
        });
        self.clients.clear();
    }

    /// Lets virtual time pass.
    pub fn run_ms(&mut self, ms: u64) {
        let until_us = self.sim.now_us() + ms * 1000;
        while self.sim.now_us() < until_us {
            if !self.advance() {
                self.sim.pass(until_us - self.sim.now_us());
            }
        }
    }

    /// Every shard is asked for every key: what it answers is part of the histories.
    pub fn audit(&mut self) {
        for shard in 0..self.shards.len() {
            let client = self.client(shard);
            for key in 0..KEYS.len() {
                client.plan(Request::new(What::Get, key));
            }
            self.run_clients();
            self.run_quiet();
        }
    }

    /// The power fails: what is left of the disk, and what is known of the keys. Whatever this
    /// world does from now on never happened.
    pub fn lose_power(&mut self, random: &mut Random) -> (Disk, Book) {
        let left = self.sim.cut(random);
        self.clients.iter().for_each(|client| client.lose(&mut self.book));
        let next = self.book.next();
        (left, std::mem::replace(&mut self.book, next))
    }

    /// Lets nothing fail any more, and looks whether all was right and nothing is left of it.
    pub fn wind_down(&mut self) {
        self.sim.be_kind();
        self.run_quiet();
        self.audit();
        self.book.check();
        self.take_all_away();
        self.check_quiet();
        self.check_empty();
    }

    /// Deletes everything, until nothing is left.
    pub fn take_all_away(&mut self) {
        let client = self.client(0);
        (0..KEYS.len()).for_each(|key| client.plan(Request::new(What::Delete, key)));
        self.run_clients();
    }

    /// Runs until every connection is closed.
    pub fn run_quiet(&mut self) {
        self.run_until("every connection is closed", |world| {
            world.shards.iter().all(|shard| shard.reactor.connections() == 0)
                && world.sim.held() == 0
                && world.sim.pinned() == 0
        });
    }

    /// All clients have left: nothing of theirs may be left in the shards.
    pub fn check_quiet(&mut self) {
        self.run_quiet();
        self.run_ms(1000);
        for shard in &self.shards {
            let reactor = &shard.reactor;
            assert_eq!(reactor.tasks.live(), 0, "tasks are left");
            assert_eq!(reactor.sends_live(), 0, "sends are left");
            assert!(!shard.leftover().has_leaked(), "{:?}", shard.leftover());
            let buffers = &reactor.buffers;
            assert_eq!(buffers.available(), buffers.in_use(), "receive buffers are left");
            let growing = shard.growing_waiters.borrow().len();
            assert_eq!((growing, shard.fetching.borrow().len()), (0, 0), "waiters are left");
        }
    }

    /// Everything was deleted: no memory may be left in use.
    pub fn check_empty(&mut self) {
        for shard in &self.shards {
            let statistics = shard.store.borrow().statistics();
            assert_eq!(statistics.used_bytes, 0, "{statistics:?}");
            assert_eq!((statistics.objects, statistics.uploads), (0, 0), "{statistics:?}");
            assert_eq!((statistics.holds, statistics.folders), (0, 0), "{statistics:?}");
        }
        assert_eq!(self.arena.slots_free(), self.arena.slots() as usize, "slots are left");
    }

    /// Asks every shard to end.
    pub fn drain(&mut self) {
        for shard in 0..self.shards.len() {
            self.remote.send(u16::try_from(shard).unwrap(), Envelope::Drain);
        }
    }

    /// Waits until every shard has ended.
    pub fn run_drain(&mut self) {
        self.drain();
        self.run_until("every shard has ended", |world| world.endings.iter().all(Option::is_some));
    }
}
