//! One viewer: events in, actions out.
//!
//! The driver hands in what happened, with its instant in seconds, and carries out the actions.
//! Each slot has one request at a time; after an abort the driver reports nothing more of it. What
//! to ask for next is decided in `asking`. Never does: read a clock, open a socket, draw numbers.

use std::rc::Rc;

use super::abr::{self, Estimator};
use super::buffer::{Buffer, Playing};
use super::media::{Bytes, MediaPlaylist};
use super::playlist::{Multivariant, Variant};
use super::reload::{self, Answer, Directives};
use super::retry::{self, Failure, Policy, Tries};
use super::track::{Loading, Track, small};

/// How a viewer's player is set; shared by all viewers.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Load parts and use blocking reloads where offered.
    pub low_latency: bool,
    /// Always this level, at most the highest; `None` lets the link decide.
    pub level: Option<usize>,
    /// Most media in the buffer, in seconds (maxBufferLength).
    pub buffer_max: f64,
    /// Leaves when nothing plays after so many seconds.
    pub patience: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { low_latency: true, level: None, buffer_max: 30.0, patience: 10.0 }
    }
}

/// Which request of a viewer is meant; each has one under way at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// 0 for video (or everything), 1 for separate audio.
    pub track: u8,
    /// The playlist's request, or the media's.
    pub playlist: bool,
}

/// Kind of a request, as the report names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Multivariant playlist, or MPD.
    Master,
    /// Media playlist.
    Playlist,
    /// Media playlist that may be held back.
    Blocking,
    /// Header.
    Init,
    /// Whole segment.
    Segment,
    /// Part.
    Part,
}

/// A request to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    /// Where its events belong.
    pub slot: Slot,
    /// What it is.
    pub kind: Kind,
    /// Path and query; empty for the manifest that the viewer was started with.
    pub uri: String,
    /// Range of bytes to ask for.
    pub bytes: Bytes,
    /// Time limits.
    pub policy: Policy,
    /// Its level.
    pub level: u16,
    /// Its media in seconds; 0 for playlists.
    pub duration: f64,
    /// It is the newest that is listed: its delay tells how live the origin is.
    pub edge: bool,
}

/// Why a viewer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its time was over.
    Finished,
    /// The stream ended and was played.
    Played,
    /// It never got a playable buffer: retries used up.
    StartFailed,
    /// It left before the first picture, tired of waiting.
    Tired,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask for something.
    Fetch(Fetch),
    /// Give a request up; its bytes so far are wasted.
    Abort(Slot),
    /// The viewer is gone; no action follows.
    Leave(Ending),
}

/// What a viewer counted. Distributions are made of these when it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Level switches.
    pub switches: u32,
    /// Downloads given up.
    pub abandoned: u32,
    /// Segments and parts asked for.
    pub segments: u32,
    /// Of them, those that took longer to arrive than to play.
    pub deadline_misses: u32,
    /// Blocking reloads answered.
    pub blocking_reloads: u32,
    /// Of them, those without what was asked for.
    pub early_playlists: u32,
    /// Playlists older than one seen before.
    pub stale_playlists: u32,
    /// 404 for something listed.
    pub not_found: u32,
    /// Times it fell out of the window and joined the edge again.
    pub resyncs: u32,
    /// Bytes received for nothing.
    pub wasted: u64,
    /// Media received: bits, and seconds of the main track.
    pub bits: f64,
    /// See `bits`.
    pub loaded_s: f64,
    /// Sum of the distance from the edge over media time, and that time.
    pub latency_sum: f64,
    /// See `latency_sum`.
    pub latency_s: f64,
}

/// A playlist's answer, read.
#[derive(Clone, Debug)]
pub struct PlaylistAnswer {
    /// What it lists, complete (delta updates merged).
    pub list: Rc<MediaPlaylist>,
    /// When its first byte came.
    pub first_byte: f64,
    /// Age header in seconds; 0 without.
    pub age: f64,
    /// When the next segment is known to be there, in seconds; `None` lets the reload rules decide.
    pub next_at: Option<f64>,
}

/// One viewer.
#[derive(Debug)]
pub struct Viewer {
    pub(super) settings: Settings,
    pub(super) ladder: Option<Rc<Multivariant>>,
    pub(super) main: Track,
    pub(super) audio: Option<Box<Track>>,
    pub(super) link: Estimator,
    pub(super) buffer: Option<Buffer>,
    /// Level to load next; the playlist may still be of another.
    pub(super) level: u16,
    /// Level of the last segment loaded.
    pub(super) last: Option<u16>,
    pub(super) last_duration: f64,
    pub(super) playlist_load: f64,
    pub(super) joined: f64,
    pub(super) started: Option<f64>,
    pub(super) leave_at: f64,
    pub(super) manifest_retry: f64,
    pub(super) manifest_tries: Tries,
    pub(super) gone: bool,
    /// Counts so far.
    pub counts: Counts,
}

impl Viewer {
    /// A viewer that joins now and leaves at `leave_at`.
    pub fn new(settings: Settings, now: f64, leave_at: f64) -> Self {
        Self {
            settings,
            ladder: None,
            main: Track::default(),
            audio: None,
            link: Estimator::default(),
            buffer: None,
            level: 0,
            last: None,
            last_duration: 0.0,
            playlist_load: 0.0,
            joined: now,
            started: None,
            leave_at,
            manifest_retry: f64::INFINITY,
            manifest_tries: Tries::default(),
            gone: false,
            counts: Counts::default(),
        }
    }

    /// Asks for the manifest.
    pub fn join(&mut self, actions: &mut Vec<Action>) {
        actions.push(Action::Fetch(Fetch {
            slot: Slot { track: 0, playlist: true },
            kind: Kind::Master,
            uri: String::new(),
            bytes: None,
            policy: retry::MANIFEST,
            level: 0,
            duration: 0.0,
            edge: false,
        }));
    }

    /// The manifest lists qualities.
    pub fn manifest(&mut self, now: f64, ladder: Rc<Multivariant>, actions: &mut Vec<Action>) {
        let highest = ladder.variants.len() - 1;
        let chosen = self.settings.level.map(|level| level.min(highest));
        let level = chosen.unwrap_or_else(|| abr::start(&*ladder, &self.link, ladder.first));
        self.level = small(level);
        if ladder.variants[level].audio.is_some() {
            self.audio = Some(Box::default());
        }
        self.ladder = Some(ladder);
        self.reload(now, 0, now, Directives::default(), actions);
        if self.audio.is_some() {
            self.reload(now, 1, now, Directives::default(), actions);
        }
    }

    /// The manifest is a media playlist itself: one quality, from `uri`.
    pub fn single(
        &mut self,
        now: f64,
        uri: &str,
        answer: PlaylistAnswer,
        actions: &mut Vec<Action>,
    ) {
        let variant = Variant { bandwidth: 1, average: 1, uri: uri.into(), audio: None };
        self.ladder =
            Some(Rc::new(Multivariant { variants: vec![variant], audio: Vec::new(), first: 0 }));
        self.main.reloading = Some(super::track::Reloading {
            scheduled: now,
            level: 0,
            directives: Directives::default(),
        });
        self.playlist(now, 0, answer, actions);
    }

    /// A media playlist of `track` came.
    pub fn playlist(
        &mut self,
        now: f64,
        track: u8,
        answer: PlaylistAnswer,
        actions: &mut Vec<Action>,
    ) {
        let Some(asked) = self.track(track).and_then(|track| track.reloading.take()) else {
            return;
        };
        let PlaylistAnswer { list, first_byte, age, next_at } = answer;
        self.count_playlist(&list, asked.directives);
        let synced = self.buffer.is_some();
        let playhead = self.playhead(now);
        if track == 0 {
            self.playlist_load = now - first_byte;
        }
        let low_latency = self.settings.low_latency;
        let level = asked.level;
        let Some(own) = track_of(&mut self.main, &mut self.audio, track) else { return };
        own.playlist_tries = Tries::default();
        own.failed_level = None;
        let known = own.list.as_ref().filter(|_| own.level == level).map(|list| list.progress());
        let stale = known.is_some_and(|known| list.progress() < known);
        let advanced = known.is_none_or(|known| list.progress() > known);
        if stale {
            self.counts.stale_playlists += 1;
        } else {
            own.place(list, level);
            own.settle();
        }
        if advanced {
            own.grown_at = first_byte - age;
        }
        let Some(list) = own.list.clone() else { return };
        let answer = Answer {
            scheduled: asked.scheduled,
            first_byte,
            now,
            age,
            advanced,
            from_edge: own.edge() - playhead,
            low_latency,
        };
        let next = reload::next(&list, &answer);
        own.reload = next.map(|next| (next_at.unwrap_or(next.at), next.directives));
        if !synced {
            self.begin(now);
        }
        self.go_on(now, actions);
    }

    fn count_playlist(&mut self, list: &MediaPlaylist, directives: Directives) {
        if directives.blocks() {
            self.counts.blocking_reloads += 1;
            if !directives.met_by(list) {
                self.counts.early_playlists += 1;
            }
        }
    }

    /// The first bytes of media came.
    pub fn first_byte(&mut self, now: f64, track: u8) {
        if let Some(loading) = self.loading(track) {
            loading.first_byte = Some(now);
        }
    }

    /// So many bytes of media came.
    pub fn progress(&mut self, track: u8, bytes: u64) {
        if let Some(loading) = self.loading(track) {
            loading.received += bytes;
        }
    }

    /// A header, segment or part came whole.
    pub fn media(&mut self, now: f64, track: u8, actions: &mut Vec<Action>) {
        let Some(own) = track_of(&mut self.main, &mut self.audio, track) else { return };
        let Some(loaded) = own.loading.take() else { return };
        own.media_tries = Tries::default();
        if let Some(header) = loaded.header {
            own.keep(header);
        } else {
            own.loaded(loaded.msn, loaded.part, loaded.end);
            own.settle();
            self.counts.bits += 8.0 * loaded.received as f64;
            if now - loaded.requested > loaded.duration {
                self.counts.deadline_misses += 1;
            }
            if track == 0 {
                self.loaded_main(now, &loaded);
            }
            self.append(now);
        }
        self.go_on(now, actions);
    }

    fn loaded_main(&mut self, now: f64, loaded: &Loading) {
        let first = loaded.first_byte.unwrap_or(now);
        self.link.downloaded(loaded.requested, first, now, loaded.received);
        self.counts.loaded_s += loaded.duration;
        if self.last.is_some_and(|last| last != loaded.level) {
            self.counts.switches += 1;
        }
        self.last = Some(loaded.level);
        self.last_duration = loaded.duration;
        self.note_latency(now, loaded.duration);
    }

    /// What is there in all tracks can be played.
    pub(super) fn append(&mut self, now: f64) {
        let end = self.audio.as_ref().map_or(self.main.end, |audio| audio.end.min(self.main.end));
        let Some(buffer) = &mut self.buffer else { return };
        buffer.append(now, end);
        self.note_start(now);
    }

    pub(super) fn note_start(&mut self, now: f64) {
        let Some(buffer) = &self.buffer else { return };
        if self.started.is_none() && matches!(buffer.state(), Playing::Running | Playing::Ended) {
            self.started = Some(now);
        }
    }

    fn note_latency(&mut self, now: f64, weight: f64) {
        let Some(buffer) = &mut self.buffer else { return };
        buffer.advance(now);
        let ended = self.main.list.as_ref().is_some_and(|list| list.ended);
        if self.started.is_some() && !ended {
            let edge = self.main.edge() + (now - self.main.grown_at).max(0.0);
            self.counts.latency_sum += (edge - buffer.playhead()) * weight;
            self.counts.latency_s += weight;
        }
    }

    /// A request failed.
    pub fn failed(&mut self, now: f64, slot: Slot, failure: Failure, actions: &mut Vec<Action>) {
        if self.ladder.is_none() {
            match self.manifest_tries.pause(&retry::MANIFEST, failure) {
                Some(pause) => self.manifest_retry = now + pause,
                None => self.leave(Ending::StartFailed, actions),
            }
            return;
        }
        let started = self.started.is_some();
        let Some(own) = track_of(&mut self.main, &mut self.audio, slot.track) else { return };
        let pause = if slot.playlist {
            let Some(asked) = own.reloading.take() else { return };
            let pause = own.playlist_tries.pause(&retry::PLAYLIST, failure);
            // A held request that timed out is asked again without directives.
            let timed_out = failure == Failure::Timeout;
            let directives = if timed_out { Directives::default() } else { asked.directives };
            let wait = pause.unwrap_or_else(Tries::pause_beyond);
            own.reload = Some((now + wait, directives));
            own.failed_level = Some(asked.level);
            pause
        } else {
            let Some(lost) = own.loading.take() else { return };
            let pause = own.media_tries.pause(&retry::FRAGMENT, failure);
            own.retry_at = now + pause.unwrap_or_else(Tries::pause_beyond);
            self.counts.wasted += lost.received;
            if matches!(failure, Failure::Status(404 | 410)) {
                self.counts.not_found += 1;
            }
            pause
        };
        if pause.is_none() && !started {
            self.leave(Ending::StartFailed, actions);
            return;
        }
        self.go_on(now, actions);
    }

    /// Time passed; something may be due.
    pub fn tick(&mut self, now: f64, actions: &mut Vec<Action>) {
        if self.gone {
            return;
        }
        if now >= self.leave_at {
            return self.leave(Ending::Finished, actions);
        }
        if self.started.is_none() && now >= self.joined + self.settings.patience {
            return self.leave(Ending::Tired, actions);
        }
        if now >= self.manifest_retry {
            self.manifest_retry = f64::INFINITY;
            return self.join(actions);
        }
        self.go_on(now, actions);
    }

    /// Ends it now; nothing is counted after that.
    pub(super) fn leave(&mut self, ending: Ending, actions: &mut Vec<Action>) {
        self.gone = true;
        actions.push(Action::Leave(ending));
    }

    /// Leaves at `at` at the latest.
    pub fn leave_by(&mut self, at: f64) {
        self.leave_at = self.leave_at.min(at);
    }

    /// Seconds from joining to the first picture; `None` before it.
    pub fn startup(&self) -> Option<f64> {
        self.started.map(|started| started - self.joined)
    }

    /// Playback as of `now`.
    pub fn buffer_at(&mut self, now: f64) -> Option<&Buffer> {
        let buffer = self.buffer.as_mut()?;
        buffer.advance(now);
        Some(buffer)
    }

    /// Playlist that a delta update of `track` at `level` completes.
    pub fn known_list(&self, track: u8, level: u16) -> Option<&Rc<MediaPlaylist>> {
        let own = if track == 0 { Some(&self.main) } else { self.audio.as_deref() }?;
        own.list.as_ref().filter(|_| own.level == level)
    }

    /// Estimated rate of its link in bit/s.
    pub fn rate(&self) -> f64 {
        self.link.rate()
    }

    /// Peak rates of the level being loaded and of the highest one, in bit/s.
    pub fn bit_rates(&self) -> (u64, u64) {
        let Some(ladder) = &self.ladder else { return (0, 0) };
        let of = |index: usize| ladder.variants.get(index).map_or(0, |variant| variant.bandwidth);
        (of(usize::from(self.level)), of(ladder.variants.len() - 1))
    }

    pub(super) fn playhead(&mut self, now: f64) -> f64 {
        self.buffer_at(now).map_or(f64::NEG_INFINITY, |buffer| buffer.playhead())
    }

    pub(super) fn track(&mut self, track: u8) -> Option<&mut Track> {
        track_of(&mut self.main, &mut self.audio, track)
    }

    fn loading(&mut self, track: u8) -> Option<&mut Loading> {
        self.track(track)?.loading.as_mut()
    }
}

/// Borrows one track without the rest of the viewer.
pub(super) fn track_of<'a>(
    main: &'a mut Track,
    audio: &'a mut Option<Box<Track>>,
    track: u8,
) -> Option<&'a mut Track> {
    if track == 0 { Some(main) } else { audio.as_deref_mut() }
}

#[cfg(test)]
#[path = "viewer_tests.rs"]
mod tests;
