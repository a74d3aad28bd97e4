//! One client of the simulation: does one thing after another and notes what it saw.

use std::rc::Rc;
use std::sync::Arc;

use super::history::Operation;
use super::simulation::{FOLDERS, Simulation, refusal_name, some_expiry, version_of};
use super::world::{Answer, publication};
use crate::store::Held;
use crate::store::growing::Growing;
use crate::store::message::{Ask, Guard, Message, Reply, Streaming, Ticket, UploadId};
use crate::store::object::NEVER;
use crate::sys::extent::Extent;

#[derive(Debug)]
pub struct Client {
    number: usize,
    shard: u16,
    state: State,
    /// Holds kept for a while: slow readers.
    pins: Vec<Rc<Held>>,
}

#[derive(Debug)]
enum State {
    Idle,
    Fetching {
        key: &'static str,
        called: u64,
        ticket: Ticket,
    },
    Beginning {
        put: Put,
        called: u64,
        ticket: Ticket,
    },
    Writing {
        put: Put,
    },
    Extending {
        put: Put,
        ticket: Ticket,
    },
    Committing {
        put: Put,
        called: u64,
        ticket: Ticket,
    },
    /// Waits for the owner to act on an abort.
    Aborting {
        put: Put,
        called: u64,
    },
    Deleting {
        key: &'static str,
        called: u64,
        ticket: Ticket,
    },
    Listing {
        found: Vec<String>,
        ticket: Ticket,
    },
}

/// An upload under way.
#[derive(Debug)]
struct Put {
    key: &'static str,
    version: u64,
    expires_ms: u64,
    if_absent: bool,
    wants_stream: bool,
    length: u64,
    written: u64,
    upload: Option<UploadId>,
    extents: Vec<Extent>,
    growing: Option<Arc<Growing>>,
}

impl Client {
    pub fn new(number: usize, shard: usize) -> Self {
        let shard = u16::try_from(shard).unwrap();
        Self { number, shard, state: State::Idle, pins: Vec::new() }
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Does the next thing, if it can; starts something new only when it may.
    pub fn step(&mut self, simulation: &mut Simulation, may_start: bool) {
        self.pins.iter().for_each(|held| simulation.check(held));
        if !self.pins.is_empty() && (!may_start || simulation.random.once_in(6)) {
            self.pins.swap_remove(simulation.random.index(self.pins.len()));
        }
        self.state = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle if may_start => self.start(simulation),
            State::Idle => State::Idle,
            State::Fetching { key, called, ticket } => {
                self.fetching(simulation, key, called, ticket)
            }
            State::Beginning { put, called, ticket } => {
                self.beginning(simulation, put, called, ticket)
            }
            State::Writing { put } => self.writing(simulation, put),
            State::Extending { put, ticket } => self.extending(simulation, put, ticket),
            State::Committing { put, called, ticket } => {
                self.committing(simulation, put, called, ticket)
            }
            State::Aborting { put, called } => aborting(simulation, put, called),
            State::Deleting { key, called, ticket } => {
                self.deleting(simulation, key, called, ticket)
            }
            State::Listing { found, ticket } => self.listing(simulation, found, ticket),
        };
    }

    fn start(&mut self, simulation: &mut Simulation) -> State {
        if simulation.random.once_in(12) {
            let folder = FOLDERS[simulation.random.index(FOLDERS.len())];
            simulation.start_walk(self.number, folder);
            return self.next_page(simulation, Vec::new());
        }
        let Some(key) = simulation.pick_key() else { return State::Idle };
        let called = simulation.instant();
        match simulation.random.below(10) {
            0..=4 => match simulation.lookup(self.shard, key) {
                Some(held) => {
                    simulation.count("hit");
                    simulation.note(key, called, Operation::Read(version_of(&held)));
                    self.keep(simulation, held);
                    State::Idle
                }
                None => {
                    let ticket = self.post(simulation, key, Ask::Fetch { key: bytes(key) });
                    State::Fetching { key, called, ticket }
                }
            },
            5 => {
                let guard = Guard::default();
                let ticket = self.post(simulation, key, Ask::Delete { key: bytes(key), guard });
                State::Deleting { key, called, ticket }
            }
            _ => self.put(simulation, key, called),
        }
    }

    fn put(&mut self, simulation: &mut Simulation, key: &'static str, called: u64) -> State {
        let version = simulation.next_version();
        let now_ms = simulation.world.now_ms;
        let expires_ms = some_expiry(&mut simulation.random, now_ms);
        if expires_ms != NEVER {
            simulation.histories.get_mut(key).unwrap().expires_ms.insert(version, expires_ms);
        }
        let random = &mut simulation.random;
        let length = match random.below(5) {
            0 => 0,
            1 => random.below(500_000),
            _ => random.below(20_000),
        };
        let (if_absent, wants_stream) = (random.once_in(8), random.once_in(2));
        let declared = (!wants_stream && random.once_in(2)).then_some(length);
        let stream = wants_stream.then(|| {
            let tag = format!("\"{version}\"");
            Streaming {
                aside_only: false,
                record: simulation.world.growing_record(key, &tag, expires_ms),
            }
        });
        let guard =
            Guard { if_none_match: if_absent.then(|| b"*".as_slice().into()), ..Guard::default() };
        let ask = Ask::Begin { key: bytes(key), declared, guard, stream };
        let ticket = self.post(simulation, key, ask);
        let put = Put {
            key,
            version,
            expires_ms,
            if_absent,
            wants_stream,
            length,
            written: 0,
            upload: None,
            extents: Vec::new(),
            growing: None,
        };
        State::Beginning { put, called, ticket }
    }

    fn keep(&mut self, simulation: &mut Simulation, held: Rc<Held>) {
        simulation.check(&held);
        if self.pins.len() < 4 && simulation.random.once_in(2) {
            self.pins.push(held);
        }
    }

    fn fetching(
        &mut self,
        simulation: &mut Simulation,
        key: &'static str,
        called: u64,
        ticket: Ticket,
    ) -> State {
        match simulation.world.take(self.shard, ticket) {
            None => return State::Fetching { key, called, ticket },
            Some(Answer::Held(held)) => {
                simulation.count("fetched");
                simulation.note(key, called, Operation::Read(version_of(&held)));
                self.keep(simulation, held);
            }
            Some(Answer::Reply(Reply::Absent)) => {
                simulation.count("absent");
                simulation.note(key, called, Operation::Read(0));
            }
            other => panic!("{other:?}"),
        }
        State::Idle
    }

    fn deleting(
        &mut self,
        simulation: &mut Simulation,
        key: &'static str,
        called: u64,
        ticket: Ticket,
    ) -> State {
        match simulation.world.take(self.shard, ticket) {
            None => return State::Deleting { key, called, ticket },
            Some(Answer::Reply(Reply::Deleted)) => {
                simulation.count("deleted");
                simulation.note(key, called, Operation::Delete);
            }
            Some(Answer::Reply(Reply::Absent)) => {
                simulation.note(key, called, Operation::Read(0));
            }
            other => panic!("{other:?}"),
        }
        State::Idle
    }

    fn beginning(
        &mut self,
        simulation: &mut Simulation,
        mut put: Put,
        called: u64,
        ticket: Ticket,
    ) -> State {
        match simulation.world.take(self.shard, ticket) {
            None => State::Beginning { put, called, ticket },
            Some(Answer::Reply(Reply::Begun { upload, extents, growing, .. })) => {
                assert!(growing.is_none() || put.wants_stream);
                if growing.is_some() {
                    simulation.count("streamed");
                    note_write(simulation, &put, called);
                }
                (put.upload, put.extents, put.growing) = (Some(upload), extents, growing);
                State::Writing { put }
            }
            Some(Answer::Reply(reply)) => refused(simulation, &put, called, &reply),
            other => panic!("{other:?}"),
        }
    }

    fn writing(&mut self, simulation: &mut Simulation, mut put: Put) -> State {
        let room: u64 = put.extents.iter().map(|extent| u64::from(extent.len)).sum();
        let part = simulation.random.below(100_000) + 1;
        let written = (put.written + part).min(put.length).min(room);
        simulation.world.write(&put.extents, written, put.version);
        put.written = written;
        if let Some(growing) = &put.growing {
            growing.advance(written);
        }
        let cut = put.growing.as_ref().is_some_and(|growing| growing.is_cut());
        if cut && simulation.random.once_in(3) || simulation.random.once_in(15) {
            return self.abort(simulation, put);
        }
        let upload = put.upload.unwrap();
        if written < put.length && written == room {
            let bytes = (put.length - written).min(1 + simulation.random.below(100_000));
            let ticket = self.post(simulation, put.key, Ask::Extend { upload, bytes });
            return State::Extending { put, ticket };
        }
        if written < put.length {
            return State::Writing { put };
        }
        let tag = format!("\"{}\"", put.version);
        let publication = publication(&tag, put.length, put.expires_ms);
        let called = simulation.instant();
        let ticket = self.post(simulation, put.key, Ask::Commit { upload, publication });
        State::Committing { put, called, ticket }
    }

    fn extending(&mut self, simulation: &mut Simulation, mut put: Put, ticket: Ticket) -> State {
        match simulation.world.take(self.shard, ticket) {
            None => State::Extending { put, ticket },
            Some(Answer::Reply(Reply::Extended { extents })) => {
                put.extents.extend(extents);
                State::Writing { put }
            }
            Some(Answer::Reply(Reply::Refused(refusal))) => {
                simulation.count(refusal_name(refusal));
                if refusal_name(refusal) == "superseded" {
                    return State::Idle;
                }
                self.abort(simulation, put)
            }
            other => panic!("{other:?}"),
        }
    }

    fn committing(
        &mut self,
        simulation: &mut Simulation,
        put: Put,
        called: u64,
        ticket: Ticket,
    ) -> State {
        match simulation.world.take(self.shard, ticket) {
            None => State::Committing { put, called, ticket },
            Some(Answer::Reply(Reply::Committed { .. })) => {
                simulation.count("committed");
                if put.growing.is_none() {
                    note_write(simulation, &put, called);
                }
                State::Idle
            }
            Some(Answer::Reply(reply)) => refused(simulation, &put, called, &reply),
            other => panic!("{other:?}"),
        }
    }

    fn abort(&mut self, simulation: &mut Simulation, put: Put) -> State {
        simulation.count("aborted");
        let owner = simulation.world.stores[0].owner_of(put.key.as_bytes());
        let called = simulation.instant();
        simulation.world.send(self.shard, owner, Message::Abort { upload: put.upload.unwrap() });
        State::Aborting { put, called }
    }

    fn next_page(&mut self, simulation: &mut Simulation, found: Vec<String>) -> State {
        let walk = &simulation.walks[&self.number];
        let after = found.last().map_or(b"".as_slice().into(), |name| bytes(name));
        let count_max = 1 + simulation.random.index(3);
        let owner = simulation.world.stores[0].folder_owner(walk.folder.as_bytes());
        let ask = Ask::List { folder: bytes(walk.folder), after, count_max };
        let ticket = simulation.world.post_to(self.shard, owner, ask);
        State::Listing { found, ticket }
    }

    fn listing(
        &mut self,
        simulation: &mut Simulation,
        mut found: Vec<String>,
        ticket: Ticket,
    ) -> State {
        let more = match simulation.world.take(self.shard, ticket) {
            None => return State::Listing { found, ticket },
            Some(Answer::Reply(Reply::Listing { items, more })) => {
                found.extend(items.iter().map(|item| String::from_utf8_lossy(&item.name).into()));
                more
            }
            Some(Answer::Reply(Reply::Absent)) => false,
            other => panic!("{other:?}"),
        };
        if more {
            return self.next_page(simulation, found);
        }
        simulation.count("listed");
        let walk = simulation.walks.remove(&self.number).unwrap();
        assert!(found.is_sorted_by(|one, next| one < next), "in order, once each: {found:?}");
        let missed = walk.always.iter().find(|name| !found.contains(name));
        assert!(missed.is_none(), "{missed:?} was there throughout: {found:?} {walk:?}");
        State::Idle
    }

    /// Sends an ask; one to the own shard sometimes without a detour.
    fn post(&mut self, simulation: &mut Simulation, key: &str, ask: Ask) -> Ticket {
        let owner = simulation.world.stores[0].owner_of(key.as_bytes());
        if owner == self.shard && simulation.random.once_in(2) {
            return simulation.world.ask_directly(self.shard, ask);
        }
        simulation.world.post_to(self.shard, owner, ask)
    }
}

/// Waits until the abort has had its effect on readers.
fn aborting(simulation: &mut Simulation, put: Put, called: u64) -> State {
    let Some(growing) = &put.growing else { return State::Idle };
    if !growing.is_cut() {
        return State::Aborting { put, called };
    }
    simulation.note(put.key, called, Operation::Clear(put.version));
    State::Idle
}

fn note_write(simulation: &mut Simulation, put: &Put, called: u64) {
    let operation = if put.if_absent { Operation::WriteIfAbsent } else { Operation::Write };
    simulation.note(put.key, called, operation(put.version));
}

fn refused(simulation: &mut Simulation, put: &Put, called: u64, reply: &Reply) -> State {
    let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
    simulation.count(refusal_name(*refusal));
    if refusal_name(*refusal) == "precondition" {
        assert!(put.if_absent);
        simulation.note(put.key, called, Operation::SawSomething);
    }
    State::Idle
}

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}
