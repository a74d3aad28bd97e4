//! Simulated time for tests: one viewer against a scripted origin.
#![allow(clippy::cast_possible_truncation)]

use std::rc::Rc;

use super::buffer::Playing;
use super::playlist::{self, Playlist};
use super::retry::Failure;
use super::viewer::{Action, Ending, Fetch, Kind, PlaylistAnswer, Settings, Viewer};

/// What a scripted origin answers, and when.
pub enum Reply {
    /// A playlist.
    Text(String),
    /// Media of so many bytes.
    Bytes(u64),
    /// A failure.
    Fail(Failure),
}

/// A scripted origin: the instants of the first and the last byte, and the answer.
pub trait Origin {
    /// Answers `fetch` made at `now`.
    fn answer(&mut self, now: f64, fetch: &Fetch) -> (f64, f64, Reply);
}

/// One request as it was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub at: f64,
    pub fetch: Fetch,
}

struct Pending {
    first: f64,
    last: f64,
    began: bool,
    fetch: Fetch,
    reply: Reply,
    reported: u64,
}

/// A viewer in simulated time.
pub struct Sim<O> {
    pub viewer: Viewer,
    pub origin: O,
    pub now: f64,
    pub made: Vec<Made>,
    /// When playback stalled, and until when; infinite while it lasts.
    pub stalls: Vec<(f64, f64)>,
    pub ending: Option<Ending>,
    ticks: u32,
    pending: Vec<Pending>,
}

impl<O: Origin> Sim<O> {
    /// Joins at `now` and stays for `stay` seconds.
    pub fn new(settings: Settings, origin: O, now: f64, stay: f64) -> Self {
        let viewer = Viewer::new(settings, now, now + stay);
        let mut sim = Self {
            viewer,
            origin,
            now,
            made: Vec::new(),
            stalls: Vec::new(),
            ending: None,
            ticks: 0,
            pending: Vec::new(),
        };
        let mut actions = Vec::new();
        sim.viewer.join(&mut actions);
        sim.carry_out(actions);
        sim
    }

    /// Runs until the viewer leaves or `end` comes.
    pub fn run_until(&mut self, end: f64) {
        while self.ending.is_none() {
            let next = self.pending.iter().map(|p| if p.began { p.last } else { p.first });
            let event = next.fold(f64::INFINITY, f64::min);
            let wake = self.viewer.wake_at().max(self.now);
            if event.min(wake) > end {
                break;
            }
            self.now = event.min(wake).max(self.now);
            let mut actions = Vec::new();
            if event <= wake {
                self.deliver(&mut actions);
            } else {
                self.report_progress();
                self.viewer.tick(self.now, &mut actions);
                self.ticks += 1;
                assert!(self.ticks < 1_000_000, "a timer loop at {}", self.now);
            }
            self.carry_out(actions);
            self.note_stall();
            assert!(self.made.len() < 100_000, "a request loop at {}", self.now);
        }
        if self.ending.is_none() {
            self.now = end;
        }
    }

    /// Stalls begin and end at instants at which the viewer is looked at.
    fn note_stall(&mut self) {
        let now = self.now;
        let Some(buffer) = self.viewer.buffer_at(now) else { return };
        if buffer.stalls() as usize > self.stalls.len() {
            self.stalls.push((now, f64::INFINITY));
        }
        if let (true, Some(last)) = (buffer.state() != Playing::Stalled, self.stalls.last_mut()) {
            last.1 = last.1.min(now);
        }
    }

    fn report_progress(&mut self) {
        let now = self.now;
        for pending in self.pending.iter_mut().filter(|p| p.began && !p.fetch.slot.playlist) {
            if let Reply::Bytes(bytes) = pending.reply {
                let share = (now - pending.first) / (pending.last - pending.first).max(1e-9);
                let so_far = (bytes as f64 * share.min(1.0)) as u64;
                self.viewer.progress(pending.fetch.slot.track, so_far - pending.reported);
                pending.reported = so_far;
            }
        }
    }

    fn deliver(&mut self, actions: &mut Vec<Action>) {
        let now = self.now;
        let due = |p: &Pending| (if p.began { p.last } else { p.first }) <= now;
        let Some(index) = self.pending.iter().position(due) else { return };
        let pending = &mut self.pending[index];
        if !pending.began {
            pending.began = true;
            if !pending.fetch.slot.playlist && matches!(pending.reply, Reply::Bytes(_)) {
                self.viewer.first_byte(now, pending.fetch.slot.track);
            }
            return;
        }
        let Pending { first, fetch, reply, reported, .. } = self.pending.remove(index);
        match reply {
            Reply::Fail(failure) => self.viewer.failed(now, fetch.slot, failure, actions),
            Reply::Bytes(bytes) => {
                self.viewer.progress(fetch.slot.track, bytes - reported);
                self.viewer.media(now, fetch.slot.track, actions);
            }
            Reply::Text(text) => {
                let base = if fetch.uri.is_empty() { "/m.m3u8" } else { &fetch.uri };
                match playlist::read(&text, base).unwrap() {
                    Playlist::Multivariant(list) => {
                        self.viewer.manifest(now, Rc::new(list), actions);
                    }
                    Playlist::Media(list) => {
                        let answer = PlaylistAnswer {
                            list: Rc::new(list),
                            first_byte: first,
                            age: 0.0,
                            next_at: None,
                        };
                        if fetch.kind == Kind::Master {
                            self.viewer.single(now, "/m.m3u8", answer, actions);
                        } else {
                            self.viewer.playlist(now, fetch.slot.track, answer, actions);
                        }
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Fetch(fetch) => {
                    assert!(!self.pending.iter().any(|p| p.fetch.slot == fetch.slot), "{fetch:?}");
                    let (first, last, reply) = self.origin.answer(self.now, &fetch);
                    self.made.push(Made { at: self.now, fetch: fetch.clone() });
                    self.pending.push(Pending {
                        first,
                        last,
                        began: false,
                        fetch,
                        reply,
                        reported: 0,
                    });
                }
                Action::Abort(slot) => {
                    self.report_progress();
                    self.pending.retain(|pending| pending.fetch.slot != slot);
                }
                Action::Leave(ending) => self.ending = Some(ending),
            }
        }
    }

    /// Requests of one kind.
    pub fn of(&self, kind: Kind) -> Vec<&Made> {
        self.made.iter().filter(|made| made.fetch.kind == kind).collect()
    }
}
