//! One client: sends requests in any pieces, reads answers at its own pace, checks every byte.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::book::Book;
use super::request::{Manners, Request, What};
use super::response::Reader;
use crate::sys::random::Random;
use crate::sys::sim::{Peer, Sim};

/// How a client treats its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for every answer.
    Behaves,
    /// It resets the connection after so many bytes of answers.
    Resets(usize),
    /// It closes the connection after so many bytes of answers.
    Closes(usize),
    /// It reads nothing more after so many bytes of answers.
    Stalls(usize),
    /// It stops in the middle of a request after so many bytes.
    Breaks(usize),
}

/// How fast a client is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub piece_max: usize,
    pub read_max: usize,
    pub pause_us: u64,
    /// Requests under way at once.
    pub depth: usize,
}

impl Pace {
    pub const FAST: Self = Self { piece_max: 1 << 20, read_max: 1 << 20, pause_us: 0, depth: 1 };

    pub fn some(random: &mut Random) -> Self {
        Self {
            piece_max: if random.once_in(5) {
                1 + random.index(50)
            } else {
                256 << random.below(9)
            },
            read_max: 256 << random.below(10),
            pause_us: if random.once_in(2) { 0 } else { random.below(2_000) },
            depth: 1 + if random.once_in(2) { random.index(6) } else { 0 },
        }
    }
}

impl Pace {
    /// The longest body that a client of this pace should upload.
    pub fn length_max(self) -> u64 {
        self.piece_max as u64 * 200
    }
}

#[derive(Debug)]
pub struct Client {
    listener: usize,
    address: SocketAddr,
    pub peer: Option<Peer>,
    pub pace: Pace,
    pub fate: Fate,
    plan: VecDeque<Request>,
    awaiting: VecDeque<Request>,
    /// Bytes of requests that are still to be sent.
    out: VecDeque<u8>,
    /// Bytes sent and read on this connection.
    sent: usize,
    read: usize,
    reader: Reader,
    next_us: u64,
    progress_us: u64,
    finished: bool,
    /// The server said, or was told, that the connection ends.
    ending: bool,
    /// Connections may end without an answer: the server is draining or full, or errors are
    /// injected.
    pub lenient: bool,
    pub done: bool,
    /// Answers that came.
    pub answers: u64,
}

impl Client {
    pub fn new(listener: usize, address: SocketAddr) -> Self {
        Self {
            listener,
            address,
            peer: None,
            pace: Pace::FAST,
            fate: Fate::Behaves,
            plan: VecDeque::new(),
            awaiting: VecDeque::new(),
            out: VecDeque::new(),
            sent: 0,
            read: 0,
            reader: Reader::default(),
            next_us: 0,
            progress_us: 0,
            finished: false,
            ending: false,
            lenient: false,
            done: false,
            answers: 0,
        }
    }

    /// Whether some of a body has come, and not all.
    pub fn is_within_body(&self) -> bool {
        self.reader.is_within() && self.reader.fragment().is_some_and(|body| !body.is_empty())
    }

    pub fn plan(&mut self, request: Request) {
        self.plan.push_back(request);
        self.done = false;
    }

    /// When the client does something by itself next.
    pub fn next_us(&self, sim: &Sim) -> Option<u64> {
        (!self.done && self.next_us > sim.now_us()).then_some(self.next_us)
    }

    /// Panics when the client has waited longer than any server may let it wait.
    pub fn check_patience(&self, sim: &Sim) {
        let patience_us = 200_000_000;
        let waits = !self.done && sim.now_us() > self.progress_us.max(1) + patience_us;
        if waits && self.peer.is_some() {
            println!("{}{self:#?}", sim.describe());
            panic!("a client waits for ever");
        }
    }

    /// Does what can be done now; whether that was anything.
    pub fn act(&mut self, sim: &Sim, book: &mut Book, random: &mut Random) -> bool {
        if self.done || sim.now_us() < self.next_us {
            return false;
        }
        let acted = match self.peer {
            None => self.connect(sim),
            Some(peer) => {
                self.ask(sim.now_us(), book, random);
                let sent = self.send(sim, peer, random);
                let read = self.read(sim, peer, book, random);
                sent | read | self.end(sim, peer, book)
            }
        };
        if acted {
            self.progress_us = sim.now_us();
            self.next_us = sim.now_us() + random.below(self.pace.pause_us + 1);
        }
        acted
    }

    fn connect(&mut self, sim: &Sim) -> bool {
        if self.plan.is_empty() {
            self.done = true;
            return false;
        }
        self.peer = Some(sim.connect(self.listener, self.address));
        (self.sent, self.read, self.finished, self.ending) = (0, 0, false, false);
        self.reader = Reader::default();
        self.progress_us = sim.now_us();
        true
    }

    /// Puts further requests on their way.
    fn ask(&mut self, now_us: u64, book: &mut Book, random: &mut Random) {
        while self.awaiting.len() < self.pace.depth && !self.ending && !self.finished {
            let Some(mut request) = self.plan.pop_front() else { return };
            (request.called, request.called_us) = (book.instant(), now_us);
            self.ending = request.ends();
            self.out.extend(request.bytes(random));
            self.awaiting.push_back(request);
        }
    }

    fn send(&mut self, sim: &Sim, peer: Peer, random: &mut Random) -> bool {
        if self.finished {
            return false;
        }
        if let Fate::Breaks(after) = self.fate
            && self.sent >= after
        {
            sim.finish(peer);
            self.finished = true;
            return true;
        }
        let most = self.out.len().min(self.pace.piece_max);
        if most == 0 || !sim.can_send(peer) {
            return false;
        }
        let piece: Vec<u8> = self.out.iter().copied().take(1 + random.index(most)).collect();
        let count = sim.send(peer, &piece);
        self.out.drain(..count);
        self.sent += count;
        count > 0
    }

    fn read(&mut self, sim: &Sim, peer: Peer, book: &mut Book, random: &mut Random) -> bool {
        if matches!(self.fate, Fate::Stalls(after) if self.read >= after) {
            return false;
        }
        if sim.waiting(peer) == 0 {
            return false;
        }
        let mut bytes = Vec::new();
        self.read += sim.receive(peer, 1 + random.index(self.pace.read_max), &mut bytes);
        self.reader.add(&bytes);
        while let Some(request) = self.awaiting.front()
            && let Some(response) = self.reader.next(request.is_head())
        {
            let request = self.awaiting.pop_front().expect("there is a front");

            request.check(&response, self.manners(), sim.now_us(), book);
            self.answers += 1;
            self.ending |= response.closes();
        }
        let nothing_more = self.awaiting.is_empty() && self.reader.is_within();
        assert!(!nothing_more || self.ending, "bytes that answer nothing: {self:?}");
        true
    }

    /// Looks whether the connection is over, by itself or by the client's doing.
    fn end(&mut self, sim: &Sim, peer: Peer, book: &mut Book) -> bool {
        match self.fate {
            Fate::Resets(after) if self.read >= after => {
                sim.reset(peer);
                self.leave(book, false);
                return true;
            }
            Fate::Closes(after) if self.read >= after => {
                sim.close(peer);
                self.leave(book, false);
                return true;
            }
            _ => {}
        }
        let gone = sim.was_reset(peer) || sim.was_released(peer);
        if matches!(self.fate, Fate::Stalls(_)) && gone {
            self.leave(book, false);
            return true;
        }
        if sim.has_ended(peer) {
            if !sim.was_reset(peer)
                && let Some(response) = self.reader.end()
            {
                let request = self.awaiting.pop_front().expect("an answer has a request");

                request.check(&response, self.manners(), sim.now_us(), book);
                self.answers += 1;
            }
            self.end_expected(sim, peer);
            sim.close(peer);
            let broken = sim.was_broken(peer);
            self.leave(book, !broken);
            return true;
        }
        let all_answered = self.awaiting.is_empty() && self.plan.is_empty();
        if all_answered && !self.finished && self.out.is_empty() {
            sim.finish(peer);
            self.finished = true;
            return true;
        }
        false
    }

    fn manners(&self) -> Manners {
        Manners { lenient: self.lenient, breaks: matches!(self.fate, Fate::Breaks(_)) }
    }

    /// A client that behaves loses no answer, except by what cannot be answered otherwise.
    fn end_expected(&self, sim: &Sim, peer: Peer) {
        let strict = self.fate == Fate::Behaves && !self.lenient && !sim.was_broken(peer);
        let growing = self.reader.is_within() && self.reader.is_growing();
        let complete = self.awaiting.is_empty() && (self.finished || self.ending);
        // Whatever was asked behind the last answer is lost, and the client knows.
        let closed = self.ending && !self.reader.is_within() && self.answers > 0;
        assert!(!strict || growing || complete || closed, "an answer was lost: {self:?}");
    }

    /// Notes that what was not answered may have happened.
    pub fn lose(&self, book: &mut Book) {
        self.awaiting.iter().for_each(|request| request.give_up(true, book));
    }

    /// Forgets the connection; what was not answered may have happened.
    fn leave(&mut self, book: &mut Book, again: bool) {
        if let Some(request) = self.awaiting.front()
            && let (What::Get, Some(body)) = (&request.what, self.reader.fragment())
        {
            book.fragment(request.key, body);
        }
        let unsent = self.out.len();
        for (behind, request) in self.awaiting.drain(..).rev().enumerate() {
            // Of several requests only the last ones can be unsent.
            request.give_up(unsent == 0 || behind > 0, book);
        }
        self.out.clear();
        self.peer = None;
        let on = again && self.fate == Fate::Behaves && !self.plan.is_empty();
        if !on {
            self.plan.clear();
            self.done = true;
        }
    }
}
