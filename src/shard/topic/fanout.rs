//! Streams of Server-Sent Events that keep up: no task, no buffer, a place in a table.
//!
//! A message is rendered once and written straight into the socket of every stream of its topic,
//! some streams a turn. A stream whose socket is full, or whose peer does anything, gets a task
//! ([`super::stream`]) that deals with it and gives it back when it has caught up.
//!
//! Invariants: a stream here has no send under way; a pass looks at every stream that was there
//! when it began, and one whose time is over is sent nothing; the sends of a turn are bounded.

use std::rc::Rc;

use super::super::account::Account;
use super::super::{Shard, conn};
use super::copies::{Copies, CopyId, Piece, Shared};
use super::stream::{Place, Resumed};
use super::until::Until;
use crate::limits;
use crate::sys::socket::SocketId;
use crate::topic::wire::{self, Format};

/// A stream without a task.
pub(super) struct Stream {
    pub(super) socket: SocketId,
    pub(super) place: Place,
    /// Its place in [`super::copies::Copy::streams`].
    at: u32,
    /// Set where its line is to be logged at its end.
    pub(super) account: Option<Box<Account>>,
}

/// All streams without a task.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<u32>,
}

/// A stream that needs a task, and what for.
struct Due {
    stream: Stream,
    rest: Option<(Shared, usize)>,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = SocketId> {
        self.slots.iter().flatten().map(|stream| stream.socket)
    }

    /// Adds a stream that has everything; its number.
    fn add(
        &mut self,
        copies: &mut Copies,
        socket: SocketId,
        place: Place,
        account: Option<Box<Account>>,
    ) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("streams are bounded by connections")
        });
        let streams = &mut copies.at(place.copy).streams;
        let at = u32::try_from(streams.len()).expect("streams are bounded by connections");
        streams.push(number);
        copies.at(place.copy).ends = copies.at(place.copy).ends.min(place.until);
        self.slots[number as usize] = Some(Stream { socket, place, at, account });
        number
    }

    /// Takes a stream out.
    fn remove(&mut self, copies: &mut Copies, number: u32) -> Option<Stream> {
        let stream = self.slots.get_mut(number as usize)?.take()?;
        self.free.push(number);
        let copy = copies.at(stream.place.copy);
        copy.streams.swap_remove(stream.at as usize);
        if let Some(&moved) = copy.streams.get(stream.at as usize) {
            // A pass may have been here already: the one that was moved is looked at again.
            copy.again |= copy.pass.is_some_and(|next| next > stream.at as usize);
            let moved = self.slots[moved as usize].as_mut().expect("a copy's streams are there");
            moved.at = stream.at;
        }
        Some(stream)
    }
}

impl Shard {
    /// Leaves a stream that has everything to the passes; its task ends.
    pub(super) fn hand_over(&self, socket: SocketId, place: Place, account: Option<Box<Account>>) {
        let topics = &mut *self.topics.borrow_mut();
        let number = topics.streams.add(&mut topics.copies, socket, place, account);
        self.reactor.detach(socket, number);
    }

    /// Sends to the streams of topics with news, and gives tasks to those that need one.
    pub(super) fn fan_out(&self) {
        let mut due = Vec::new();
        {
            let topics = &mut *self.topics.borrow_mut();
            self.reactor.take_stirred(|number| {
                let stream = topics.streams.remove(&mut topics.copies, number);
                due.extend(stream.map(|stream| Due { stream, rest: None }));
            });
            let mut left = limits::TOPIC_SENDS_PER_TURN;
            while left > 0
                && let Some(id) = topics.copies.work.pop_front()
            {
                left -= self.pass(&mut topics.copies, &mut topics.streams, id, left, &mut due);
            }
        }
        for Due { stream, rest } in due {
            let Stream { socket, place, account, .. } = stream;
            let Some(shard) = self.me.upgrade() else { return };
            let resumed = Resumed { place, account, rest };
            self.reactor.tasks.spawn(conn::resume(shard, socket, resumed));
        }
    }

    /// Goes on with the pass over a copy's streams; how many it looked at.
    fn pass(
        &self,
        copies: &mut Copies,
        streams: &mut Streams,
        id: CopyId,
        most: usize,
        due: &mut Vec<Due>,
    ) -> usize {
        let Some(begin) = copies.at(id).pass else { return 0 };
        let now_s = self.reactor.clock.wall_s();
        if begin == 0 {
            copies.at(id).ends = Until::FOREVER;
        }
        let mut at = begin;
        let mut seen = 0;
        let beat = copies.at(id).beat;
        while seen < most
            && let Some(&number) = copies.at(id).streams.get(at)
        {
            seen += 1;
            let stream = streams.slots[number as usize].as_mut().expect("it is in the list");
            let until = stream.place.until;
            let fed = match until.is_over(now_s) {
                true => Fed::Rest(None),
                false => self.feed(copies, stream, beat),
            };
            match fed {
                Fed::Whole => {
                    let copy = copies.at(id);
                    (at, copy.ends) = (at + 1, copy.ends.min(until));
                }
                Fed::Rest(rest) => {
                    // Whoever takes its place in the list is next.
                    copies.at(id).pass = Some(at);
                    self.reactor.detach_end(stream.socket);
                    let stream = streams.remove(copies, number);
                    due.extend(stream.map(|stream| Due { stream, rest }));
                }
            }
        }
        let copy = copies.at(id);
        if at < copy.streams.len() {
            copy.pass = Some(at);
            copies.work.push_back(id);
        } else if std::mem::take(&mut copy.again) && !copy.streams.is_empty() {
            copy.pass = Some(0);
            copy.beat = false;
            copies.work.push_back(id);
        } else {
            copy.pass = None;
            copy.beat = false;
        }
        seen.max(1)
    }

    /// Sends a stream what it lacks.
    fn feed(&self, copies: &mut Copies, stream: &mut Stream, beat: bool) -> Fed {
        let place = &mut stream.place;
        let (bytes, next) = match copies.piece(place.copy, place.format, place.next) {
            Piece::Bytes(bytes, next) => (bytes, next),
            Piece::Nothing if beat => return self.beat(stream.socket, place.format),
            Piece::Nothing => return Fed::Whole,
            Piece::TooSlow => return Fed::Rest(None),
        };
        let sent = self.reactor.send_now(stream.socket, &bytes);
        self.accounts.meters.topic_deliveries.add(next - place.next);
        place.next = next;
        let has_more = next < copies.at(place.copy).log.next();
        if sent == bytes.len() && !has_more {
            return Fed::Whole;
        }
        Fed::Rest(Some((bytes, sent)))
    }

    fn beat(&self, socket: SocketId, format: Format) -> Fed {
        let bytes = wire::heartbeat(format);
        match self.reactor.send_now(socket, bytes) {
            sent if sent == bytes.len() => Fed::Whole,
            sent => Fed::Rest(Some((Rc::new(bytes.to_vec()), sent))),
        }
    }
}

/// What became of a delivery.
enum Fed {
    /// The stream has everything.
    Whole,
    /// It needs a task, to which this is left.
    Rest(Option<(Shared, usize)>),
}
