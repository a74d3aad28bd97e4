//! Requests and answers of the viewers of one thread, on the ring.

use std::fmt::Write;
use std::hash::Hasher;
use std::io;
use std::rc::Rc;

use super::cmcd::{Cmcd, Facts};
use super::connection::{Connection, Exchange, State};
use super::crowd::{Crowd, nanos, seconds};
use super::deliveries::Arrival;
use super::lists::Shared;
use super::plan::operation;
use crate::engine::record::{End, Job};
use crate::http::Error;
use crate::limits::{SKIP_BYTES_MIN, VIEWER_QUEUE_MAX};
use crate::player::mpd::Mpd;
use crate::player::retry::Failure;
use crate::player::uri;
use crate::player::viewer::{Fetch, Kind, PlaylistAnswer, Slot};
use crate::sys::ring::{Event, Token};

/// A viewer of DASH asks for a segment so many seconds after the clock says that it is there.
const DASH_SLACK_S: f64 = 0.05;

impl Crowd<'_> {
    /// Asks for something on a free connection of the viewer, a new one, or later.
    pub(super) fn fetch(&mut self, seat: u32, fetch: Fetch, intended: u64) -> io::Result<()> {
        let now = self.clock.now();
        if let Some(mpd) = self.current_mpd(seat, &fetch, now) {
            self.imply(seat, &fetch, &mpd, now, now, 0.0);
            return Ok(());
        }
        let job = Job {
            operation: operation(fetch.kind),
            measured: (self.times.measure..self.times.end).contains(&intended),
            intended: intended.min(now),
            dispatched: now,
            ..Job::default()
        };
        self.asked += u64::from(job.measured);
        self.in_flight += 1;
        self.recorder.dispatched(&job);
        let every = self.plan.verify_every;
        let verify = every > 0 && self.recorder.offered.is_multiple_of(every);
        let exchange = Box::new(Exchange::new(fetch, job, verify));
        self.place(seat, exchange)
    }

    /// The manifest that answers a request for a list without asking the server.
    fn current_mpd(&self, seat: u32, fetch: &Fetch, now: u64) -> Option<Rc<Mpd>> {
        if !fetch.uri.starts_with('#') {
            return None;
        }
        let (mpd, fetched) = self.seats[seat as usize].mpd.as_ref()?;
        let due = mpd.update.is_some_and(|update| now >= fetched + nanos(update));
        (!due && mpd.is_counted()).then(|| Rc::clone(mpd))
    }

    /// Tells a viewer what its manifest implies now.
    fn imply(&mut self, seat: u32, fetch: &Fetch, mpd: &Rc<Mpd>, first: u64, now: u64, age: f64) {
        let unix = seconds(self.epoch + now);
        let Some(implied) = self.lists.implied(mpd, &fetch.uri, unix) else { return };
        // A moment later than promised: clocks and publishers are not exact.
        let ahead = implied.next_at.map(|next| (next - unix).max(0.001) + DASH_SLACK_S);
        let at = seconds(now);
        let answer = PlaylistAnswer {
            list: Rc::clone(&implied.list),
            first_byte: seconds(first),
            age,
            next_at: ahead.map(|ahead| at + ahead),
        };
        let track = fetch.slot.track;
        self.tell(seat, now, |viewer, actions| viewer.playlist(at, track, answer, actions));
    }

    fn place(&mut self, seat: u32, exchange: Box<Exchange>) -> io::Result<()> {
        let place = &mut self.seats[seat as usize];
        let free = place
            .connections
            .iter()
            .copied()
            .find(|index| self.connections[*index as usize].state == State::Idle);
        if let Some(index) = free {
            self.connections[index as usize].exchange = Some(exchange);
            return self.send(index);
        }
        if place.connections.len() >= self.plan.connections {
            if place.waiting.len() >= VIEWER_QUEUE_MAX {
                // A viewer has four requests at most; this cannot be reached.
                return Err(io::Error::other("a viewer has too many requests"));
            }
            place.waiting.push_back(exchange);
            return Ok(());
        }
        let index = self.new_connection(seat);
        let token = self.token(index);
        let socket = self.ring.connect(self.address, token)?;
        let room = self.seats[seat as usize].link.burst_bytes();
        if room > 0 {
            // A smaller window makes the server see a slow reader; a refusal changes little.
            let _ = socket.set_recv_buffer_size(room.max(8192));
        }
        let exchange = self.with_deadlines(exchange);
        let connection = &mut self.connections[index as usize];
        connection.socket = Some(socket);
        connection.exchange = Some(exchange);
        self.arm(seat);
        Ok(())
    }

    fn with_deadlines(&self, mut exchange: Box<Exchange>) -> Box<Exchange> {
        let now = seconds(self.clock.now());
        let after = |limit: f64| nanos(now + limit);
        exchange.first_by = after(exchange.fetch.policy.first_byte);
        exchange.last_by = after(exchange.fetch.policy.whole);
        exchange
    }

    fn token(&self, index: u32) -> Token {
        Token { slot: index, generation: self.connections[index as usize].generation }
    }

    /// Sends the request of a connection.
    fn send(&mut self, index: u32) -> io::Result<()> {
        let Some(exchange) = self.connections[index as usize].exchange.take() else {
            return Ok(());
        };
        let mut exchange = self.with_deadlines(exchange);
        let seat = self.connections[index as usize].seat;
        let request = self.render(seat, &exchange.fetch);
        exchange.job.written = self.clock.now();
        self.recorder.written(&exchange.job);
        let token = self.token(index);
        let connection = &mut self.connections[index as usize];
        connection.state = State::Busy;
        connection.expect();
        connection.exchange = Some(exchange);
        if let Some(socket) = &connection.socket {
            self.ring.send(socket, token, request)?;
        }
        self.arm(seat);
        Ok(())
    }

    fn render(&mut self, seat: u32, fetch: &Fetch) -> Rc<[u8]> {
        let now = seconds(self.clock.now());
        let plan = self.plan;
        let place = &mut self.seats[seat as usize];
        let manifest = &plan.manifests[place.channel as usize];
        let whole = fetch.uri.is_empty() || fetch.uri.starts_with('#');
        let mut path = if whole { manifest.clone() } else { fetch.uri.clone() };
        let mut headers = String::new();
        if let (true, Some(viewer)) = (plan.cmcd != Cmcd::None, &mut place.viewer) {
            let (rate, rates) = (viewer.rate(), viewer.bit_rates());
            let started = viewer.startup().is_some();
            let (buffer, stalls) =
                viewer.buffer_at(now).map_or((0.0, 0), |buffer| (buffer.ahead(), buffer.stalls()));
            let starved = stalls > place.stalls;
            place.stalls = stalls;
            let session = place.number;
            // Before the manifest is read its name has to tell.
            let dash = place.mpd.is_some()
                || manifest.split('?').next().is_some_and(|name| name.ends_with(".mpd"));
            let facts = Facts { session, dash, buffer, rate, rates, started, starved, fetch };
            match plan.cmcd {
                Cmcd::Query => path = uri::with_query(&path, &facts.query()),
                _ => headers = facts.headers(),
            }
        }
        if let Some((from, length)) = fetch.bytes {
            // Writing into a string does not fail.
            let _ = write!(headers, "Range: bytes={from}-{}\r\n", from + length - 1);
        }
        let authority = &plan.authority;
        let text = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{headers}\r\n");
        Rc::from(text.into_bytes())
    }

    /// Takes an event of the ring in.
    pub(super) fn take(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Connected(token, result) => {
                let Some(index) = self.current(token) else { return Ok(()) };
                match result {
                    Ok(()) => {
                        self.receive(index)?;
                        self.send(index)
                    }
                    Err(error) => self.broken(index, &Error::connecting(&error)),
                }
            }
            Event::Sent(token, Err(error)) => match self.current(token) {
                Some(index) => self.broken(index, &Error::transfer(&error)),
                None => Ok(()),
            },
            Event::Sent(_, Ok(_)) => Ok(()),
            Event::Received(token, received, last) => {
                let Some(index) = self.current(token) else {
                    self.ring.give_back(received);
                    return Ok(());
                };
                let connection = &mut self.connections[index as usize];
                connection.armed = !last;
                let before = connection.received();
                let bytes = self.ring.bytes(&received);
                let length = bytes.len();
                let fed = connection.feed(bytes);
                let body = connection.received() - before;
                self.ring.give_back(received);
                self.fed(index, length, body, fed)
            }
            Event::Discarded(token, count) => match self.current(token) {
                Some(index) => {
                    let connection = &mut self.connections[index as usize];
                    connection.armed = false;
                    let whole = connection.discarded(count);
                    self.fed(index, count, count as u64, Ok(whole))
                }
                None => Ok(()),
            },
            Event::Ended(token, result) => {
                let Some(index) = self.current(token) else { return Ok(()) };
                self.ended(index, result)
            }
            Event::Disarmed(token) => match self.current(token) {
                Some(index) => {
                    self.connections[index as usize].armed = false;
                    self.receive(index)
                }
                None => Ok(()),
            },
        }
    }

    fn current(&self, token: Token) -> Option<u32> {
        let connection = self.connections.get(token.slot as usize)?;
        let open = connection.generation == token.generation && connection.socket.is_some();
        open.then_some(token.slot)
    }

    /// Arms the receive of a connection, as far as its link allows; what nobody needs to see is
    /// thrown away inside the kernel.
    fn receive(&mut self, index: u32) -> io::Result<()> {
        let token = self.token(index);
        let now = seconds(self.clock.now());
        let connection = &mut self.connections[index as usize];
        let Some(socket) = connection.socket.as_ref().filter(|_| !connection.armed) else {
            return Ok(());
        };
        let seat = connection.seat;
        let allowed = self.seats[seat as usize].link.allowance(now);
        connection.paused = allowed == 0;
        if allowed == 0 {
            self.arm(seat);
            return Ok(());
        }
        connection.armed = true;
        let discardable = connection.discardable().min(allowed as u64);
        if discardable >= SKIP_BYTES_MIN as u64 || discardable == allowed as u64 {
            return self.ring.discard(socket, token, discardable);
        }
        self.ring.receive_at_most(socket, token, allowed)
    }

    /// Timeouts, and receives that waited for the link.
    pub(super) fn look_after_connections(&mut self, seat: u32) -> io::Result<()> {
        let now = self.clock.now();
        for place in (0..self.seats[seat as usize].connections.len()).rev() {
            let Some(index) = self.seats[seat as usize].connections.get(place).copied() else {
                continue;
            };
            if self.connections[index as usize].deadline() <= now {
                self.broken(index, &Error::Timeout)?;
            } else if self.connections[index as usize].paused {
                self.receive(index)?;
            }
        }
        Ok(())
    }

    /// Bytes were taken in.
    fn fed(
        &mut self,
        index: u32,
        length: usize,
        body: u64,
        fed: Result<bool, Error>,
    ) -> io::Result<()> {
        let now = self.clock.now();
        let connection = &mut self.connections[index as usize];
        let seat = connection.seat;
        self.seats[seat as usize].link.took(length);
        if let Some(exchange) = &mut connection.exchange {
            let Fetch { slot: Slot { track, playlist }, .. } = exchange.fetch;
            let first = exchange.job.first_byte == 0;
            if first {
                exchange.job.first_byte = now;
            }
            let media = !playlist && exchange.is_good();
            if let (true, Some(viewer)) = (media, &mut self.seats[seat as usize].viewer) {
                if first {
                    viewer.first_byte(seconds(now), track);
                }
                viewer.progress(track, body);
            }
        }
        match fed {
            Ok(false) => self.receive(index),
            Ok(true) => self.answered(index, now),
            Err(error) => self.broken(index, &error),
        }
    }

    /// The other side closed, or the receive failed.
    fn ended(&mut self, index: u32, result: io::Result<()>) -> io::Result<()> {
        let connection = &self.connections[index as usize];
        if connection.exchange.is_none() {
            return self.forget(index);
        }
        match result {
            Ok(()) => match connection.closed() {
                Ok(_) => self.answered(index, self.clock.now()),
                Err(error) => self.broken(index, &error),
            },
            Err(error) => self.broken(index, &Error::transfer(&error)),
        }
    }

    /// The request of a connection failed; the connection is given up.
    fn broken(&mut self, index: u32, error: &Error) -> io::Result<()> {
        let connection = &mut self.connections[index as usize];
        let (seat, used) = (connection.seat, connection.used);
        let Some(mut exchange) = connection.exchange.take() else { return self.forget(index) };
        let lost = matches!(error, Error::Closed | Error::Reset) && exchange.job.first_byte == 0;
        if used && lost {
            // The server closed an idle connection at the same time: asked again on a new one.
            exchange.job.written = 0;
            self.forget(index)?;
            return self.place(seat, exchange);
        }
        let bytes = connection.received();
        self.count(&exchange, bytes, Some(error.class().to_owned()));
        self.forget(index)?;
        let failure = match error {
            Error::Timeout | Error::ConnectTimeout => Failure::Timeout,
            _ => Failure::Network,
        };
        self.fail(seat, &exchange, failure);
        Ok(())
    }

    fn fail(&mut self, seat: u32, exchange: &Exchange, failure: Failure) {
        let now = self.clock.now();
        let slot = exchange.fetch.slot;
        self.tell(seat, now, |viewer, actions| viewer.failed(seconds(now), slot, failure, actions));
    }

    fn count(&mut self, exchange: &Exchange, bytes: u64, error: Option<String>) {
        self.in_flight -= 1;
        let compared = exchange.verified > 0 || exchange.hasher.is_some();
        let end = End { at: self.clock.now(), bytes, status: exchange.status, error, compared };
        self.recorder.ended(&exchange.job, end);
    }

    /// An answer is whole: the connection is free, and the viewer hears of it.
    fn answered(&mut self, index: u32, now: u64) -> io::Result<()> {
        let connection = &mut self.connections[index as usize];
        let bytes = connection.received();
        let (seat, reusable) = (connection.seat, connection.reusable());
        let Some(exchange) = connection.exchange.take() else { return self.forget(index) };
        connection.used = true;
        connection.state = State::Idle;
        if reusable {
            // An idle connection hears of its end.
            self.receive(index)?;
        } else {
            self.forget(index)?;
        }
        self.send_next(seat)?;
        if !exchange.is_good() {
            let status = exchange.status;
            self.count(&exchange, bytes, Some(format!("status {status}")));
            self.fail(seat, &exchange, Failure::Status(status));
        } else if exchange.fetch.slot.playlist {
            self.read_playlist(seat, &exchange, bytes, now);
        } else {
            self.media_came(seat, &exchange, bytes, now);
        }
        Ok(())
    }

    /// A connection of the viewer is free or may be opened: the next request in line.
    fn send_next(&mut self, seat: u32) -> io::Result<()> {
        match self.seats[seat as usize].waiting.pop_front() {
            Some(exchange) => self.place(seat, exchange),
            None => Ok(()),
        }
    }

    fn media_came(&mut self, seat: u32, exchange: &Exchange, bytes: u64, now: u64) {
        let fetch = &exchange.fetch;
        let mut wrong = u64::from(exchange.wrong);
        let hash = exchange.hasher.as_ref().map(Hasher::finish);
        if fetch.duration > 0.0 {
            let published = exchange.stamp.map(|stamp| stamp.due_ns);
            let arrival = Arrival { at: self.epoch + now, published, hash, edge: fetch.edge };
            wrong += u64::from(!self.deliveries.note(&fetch.uri, fetch.bytes, &arrival));
        }
        let verified = u64::from(hash.is_some());
        self.experience.compared(verified, wrong.min(1));
        self.count(exchange, bytes, (wrong > 0).then(|| "content".to_owned()));
        let track = fetch.slot.track;
        self.tell(seat, now, |viewer, actions| viewer.media(seconds(now), track, actions));
    }

    fn read_playlist(&mut self, seat: u32, exchange: &Exchange, bytes: u64, now: u64) {
        let fetch = &exchange.fetch;
        let manifest = self.seats[seat as usize].channel as usize;
        let whole = fetch.uri.is_empty() || fetch.uri.starts_with('#');
        let path = if whole { &self.plan.manifests[manifest] } else { &fetch.uri }.clone();
        let read = self.lists.read(&path, &exchange.body).and_then(|shared| match shared {
            Shared::Media(list) if list.skipped > 0 => {
                let viewer = self.seats[seat as usize].viewer.as_ref();
                let known =
                    viewer.and_then(|v| v.known_list(fetch.slot.track, fetch.level)).cloned();
                let whole = self.lists.complete(&path, &exchange.body, &list, known.as_ref());
                let gap = || format!("{path}: a delta update skips segments that nobody has seen");
                whole.map(Shared::Media).ok_or_else(gap)
            }
            Shared::Multivariant(_) if fetch.kind != Kind::Master => {
                Err(format!("{path}: a multivariant playlist where a media playlist must be"))
            }
            shared => Ok(shared),
        });
        let shared = match read {
            Ok(shared) => shared,
            Err(sentence) => {
                self.complaint.get_or_insert(sentence);
                self.count(exchange, bytes, Some("content".to_owned()));
                return self.fail(seat, exchange, Failure::Content);
            }
        };
        self.count(exchange, bytes, None);
        let at = seconds(now);
        let first_byte = seconds(exchange.job.first_byte);
        let age = exchange.age;
        let track = fetch.slot.track;
        if let Shared::Mpd(mpd) = &shared {
            self.seats[seat as usize].mpd = Some((Rc::clone(mpd), now));
            if fetch.kind != Kind::Master {
                return self.imply(seat, fetch, mpd, exchange.job.first_byte, now, age);
            }
        }
        self.tell(seat, now, |viewer, actions| match shared {
            Shared::Mpd(mpd) => viewer.manifest(at, Rc::new(mpd.ladder()), actions),
            Shared::Multivariant(list) => viewer.manifest(at, list, actions),
            Shared::Media(list) => {
                let answer = PlaylistAnswer { list, first_byte, age, next_at: None };
                if fetch.kind == Kind::Master {
                    viewer.single(at, &path, answer, actions);
                } else {
                    viewer.playlist(at, track, answer, actions);
                }
            }
        });
    }

    /// Gives a request up.
    pub(super) fn abort(&mut self, seat: u32, slot: Slot) -> io::Result<()> {
        let place = &mut self.seats[seat as usize];
        let waiting = place.waiting.iter().position(|exchange| exchange.fetch.slot == slot);
        if let Some(at) = waiting {
            if let Some(exchange) = place.waiting.remove(at) {
                self.in_flight -= 1;
                self.asked -= u64::from(exchange.job.measured);
            }
            return Ok(());
        }
        let asked = |connection: &Connection| {
            connection.exchange.as_ref().is_some_and(|exchange| exchange.fetch.slot == slot)
        };
        let found = place.connections.iter().copied();
        let found: Option<u32> =
            found.into_iter().find(|index| asked(&self.connections[*index as usize]));
        match found {
            Some(index) => self.forget(index),
            None => Ok(()),
        }
    }

    /// Closes a connection and lets the next request in line have its place.
    fn forget(&mut self, index: u32) -> io::Result<()> {
        let seat = self.connections[index as usize].seat;
        self.seats[seat as usize].connections.retain(|own| *own != index);
        self.close(index);
        self.send_next(seat)
    }

    /// Closes a connection that no seat holds any more.
    pub(super) fn close(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if let Some(exchange) = connection.exchange.take() {
            self.in_flight -= 1;
            self.asked -= u64::from(exchange.job.measured);
        }
        if let Some(socket) = connection.socket.take() {
            // The ring holds the file until its receive ends; the other side must hear of it now.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        connection.renew(0, State::Closed);
        self.free_connections.push(index);
    }
}
