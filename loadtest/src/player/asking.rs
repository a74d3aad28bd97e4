//! What a viewer asks for next: where to begin, which level, reloads that are due, abandoning.

use super::abr::{self, Download, Situation};
use super::buffer::{Buffer, Playing};
use super::reload::Directives;
use super::retry;
use super::track::{Header, Loading, Media, Reloading, Track, Wanted};
use super::viewer::{Action, Ending, Fetch, Kind, Slot, Viewer, track_of};

/// Downloads under way are watched in this rhythm, in seconds (hls.js: 100 ms).
const WATCH_S: f64 = 0.1;
/// More gaps in a row than this wait for the next event.
const GAPS_MAX: usize = 64;

impl Viewer {
    /// The first playlists are there: chooses where to begin.
    pub(super) fn begin(&mut self, now: f64) {
        let Some(list) = self.main.list.clone() else { return };
        if let Some(audio) = &self.audio
            && audio.list.is_none()
        {
            return;
        }
        let parts = self.settings.low_latency && list.part_target.is_some();
        let position = if list.ended { self.main.origin } else { self.sync_position(now) };
        let unit = if parts { list.target_latency(true) } else { f64::MIN_POSITIVE };
        self.main.seek(position, parts);
        // Playback begins with the first media there is: any, or with parts the hold-back.
        let least = if parts { unit.min(list.target) } else { unit };
        self.buffer = Some(Buffer::new(now, position, least, least));
        if let Some(audio) = &mut self.audio {
            if let Some(list) = audio.list.take() {
                audio.place_beside(list, &self.main);
            }
            audio.seek(position, parts);
        }
    }

    /// Where a viewer who joins the live edge plays (liveSyncPosition).
    fn sync_position(&self, now: f64) -> f64 {
        let Some(list) = &self.main.list else { return 0.0 };
        let low_latency = self.settings.low_latency;
        let unit = match list.part_target {
            Some(part) if low_latency => part,
            _ => list.target,
        };
        let stalls = self.buffer.as_ref().map_or(0, Buffer::stalls);
        let latency = list.target_latency(low_latency) + f64::from(stalls).min(list.target);
        let age = (now - self.main.grown_at).max(0.0);
        let stuck = (age - 3.0 * unit).max(0.0);
        let edge = self.main.edge();
        (edge + age - latency - stuck).min(edge - unit).max(self.main.origin)
    }

    /// Does all that can be done now.
    pub(super) fn go_on(&mut self, now: f64, actions: &mut Vec<Action>) {
        if self.gone || self.ladder.is_none() {
            return;
        }
        for track in 0..=u8::from(self.audio.is_some()) {
            self.reload_if_due(now, track, actions);
            self.load(now, track, actions);
        }
        self.watch(now, actions);
        self.complete_if_over(now, actions);
    }

    fn reload_if_due(&mut self, now: f64, track: u8, actions: &mut Vec<Action>) {
        let Some(own) = self.track(track) else { return };
        if own.reloading.is_some() {
            return;
        }
        if let Some((at, directives)) = own.reload
            && at <= now
        {
            self.reload(now, track, at, directives, actions);
        }
    }

    /// Asks for the playlist of the level that is wanted.
    pub(super) fn reload(
        &mut self,
        now: f64,
        track: u8,
        scheduled: f64,
        directives: Directives,
        actions: &mut Vec<Action>,
    ) {
        let Some(ladder) = self.ladder.clone() else { return };
        let wanted = usize::from(self.level);
        let (uri, level) = if track == 0 {
            (&ladder.variants[wanted].uri, self.level)
        } else {
            let index = ladder.variants[wanted].audio.unwrap_or(0);
            (&ladder.audio[index], 0)
        };
        let Some(own) = self.track(track) else { return };
        own.reload = None;
        // A schedule that was long missed begins anew (requestScheduled).
        let scheduled = if now - scheduled > 1.0 { now } else { scheduled };
        own.reloading = Some(Reloading { scheduled, level, directives });
        actions.push(Action::Fetch(Fetch {
            slot: Slot { track, playlist: true },
            kind: if directives.blocks() { Kind::Blocking } else { Kind::Playlist },
            uri: directives.apply(uri),
            bytes: None,
            policy: retry::PLAYLIST,
            level,
            duration: 0.0,
            edge: false,
        }));
    }

    /// Asks for the next segment, part or header of a track.
    fn load(&mut self, now: f64, track: u8, actions: &mut Vec<Action>) {
        let Some(buffer) = &mut self.buffer else { return };
        buffer.advance(now);
        let playhead = buffer.playhead();
        let Some(own) = track_of(&mut self.main, &mut self.audio, track) else { return };
        let full = own.end - playhead >= self.settings.buffer_max;
        if own.loading.is_some() || own.retry_at > now || full {
            return;
        }
        if track == 0 && self.switch(now, actions) {
            return;
        }
        for _ in 0..GAPS_MAX {
            let low_latency = self.settings.low_latency;
            let Some(own) = track_of(&mut self.main, &mut self.audio, track) else { return };
            if own.next.is_none() {
                let end = own.end;
                own.seek(end, false);
                own.end = end;
            }
            let parts = low_latency && own.list.as_ref().is_some_and(|l| l.part_target.is_some());
            match own.wanted(parts) {
                Wanted::Wait | Wanted::Over => return,
                Wanted::Gone => return self.resync(now),
                Wanted::Map(map) => return self.load_map(now, track, map, actions),
                Wanted::Media(media) => return self.load_media(now, track, media, actions),
                Wanted::Gap(end) => {
                    if let Some((msn, _)) = own.next {
                        own.loaded(msn, None, end);
                        self.append(now);
                    }
                }
            }
        }
    }

    /// Chooses the level of the next download; true when its playlist has to come first.
    fn switch(&mut self, now: f64, actions: &mut Vec<Action>) -> bool {
        let Some(ladder) = self.ladder.clone() else { return true };
        let awaited = self.main.level != self.level;
        if self.settings.level.is_none() && self.last.is_some() && !awaited {
            let at = self.situation(now);
            self.level = super::track::small(abr::next(&*ladder, &self.link, &at));
        }
        self.ask_for_level(now, actions)
    }

    /// Asks for the playlist of the wanted level unless it is there; true while it is not.
    fn ask_for_level(&mut self, now: f64, actions: &mut Vec<Action>) -> bool {
        if self.main.level == self.level {
            return false;
        }
        match self.main.reloading {
            Some(asked) if asked.level == self.level => return true,
            Some(_) => {
                self.main.reloading = None;
                actions.push(Action::Abort(Slot { track: 0, playlist: true }));
            }
            None => {}
        }
        if self.main.failed_level == Some(self.level)
            && let Some((at, _)) = self.main.reload
            && at > now
        {
            return true;
        }
        self.reload(now, 0, now, Directives::default(), actions);
        true
    }

    fn situation(&mut self, now: f64) -> Situation {
        let live = self.main.list.as_ref().is_some_and(|list| !list.ended);
        let first = self.ladder.as_ref().map_or(0, |ladder| ladder.first);
        Situation {
            last: self.last.map(usize::from),
            first,
            buffered: self.buffer_at(now).map_or(0.0, Buffer::ahead),
            duration: self.last_duration,
            live,
            playlist_load: self.playlist_load,
        }
    }

    fn load_map(&mut self, now: f64, track: u8, map: u16, actions: &mut Vec<Action>) {
        let Some(own) = self.track(track) else { return };
        let Some(found) = own.list.as_ref().and_then(|list| list.maps.get(usize::from(map))) else {
            return;
        };
        let (uri, bytes, level) = (found.uri.to_string(), found.bytes, own.level);
        own.loading = Some(Loading {
            level,
            header: Some(Header::new(level, found)),
            msn: 0,
            part: None,
            duration: 0.0,
            end: 0.0,
            requested: now,
            first_byte: None,
            received: 0,
        });
        actions.push(Action::Fetch(Fetch {
            slot: Slot { track, playlist: false },
            kind: Kind::Init,
            uri,
            bytes,
            policy: retry::FRAGMENT,
            level,
            duration: 0.0,
            edge: false,
        }));
    }

    fn load_media(&mut self, now: f64, track: u8, media: Media, actions: &mut Vec<Action>) {
        let Some(own) = self.track(track) else { return };
        let level = own.level;
        let edge = own.list.as_ref().is_some_and(|list| {
            let newest = list.newest();
            newest.0 == media.msn && media.part.is_none_or(|part| newest.1 == Some(part.into()))
        });
        own.loading = Some(Loading {
            level,
            header: None,
            msn: media.msn,
            part: media.part,
            duration: media.duration,
            end: media.end,
            requested: now,
            first_byte: None,
            received: 0,
        });
        self.counts.segments += 1;
        actions.push(Action::Fetch(Fetch {
            slot: Slot { track, playlist: false },
            kind: if media.part.is_some() { Kind::Part } else { Kind::Segment },
            uri: media.uri.into_string(),
            bytes: media.bytes,
            policy: retry::FRAGMENT,
            level,
            duration: media.duration,
            edge,
        }));
    }

    /// Gives a download up that comes too slowly.
    fn watch(&mut self, now: f64, actions: &mut Vec<Action>) {
        let (Some(loading), Some(ladder)) = (self.main.loading, self.ladder.clone()) else {
            return;
        };
        let is_fixed = self.settings.level.is_some() || loading.header.is_some();
        if is_fixed || self.started.is_none() {
            return;
        }
        let at = Situation { duration: loading.duration, ..self.situation(now) };
        let download = Download {
            level: usize::from(loading.level),
            duration: loading.duration,
            loading: now - loading.requested,
            first_byte: loading.first_byte.map(|first| first - loading.requested),
            bytes: loading.received,
        };
        let Some(lower) = abr::abandon(&*ladder, &mut self.link, &at, &download) else { return };
        self.main.loading = None;
        self.counts.abandoned += 1;
        self.counts.wasted += loading.received;
        actions.push(Action::Abort(Slot { track: 0, playlist: false }));
        self.level = super::track::small(lower);
        if !self.ask_for_level(now, actions) {
            self.load(now, 0, actions);
        }
    }

    /// The window moved past what was to come: joins the edge again.
    fn resync(&mut self, now: f64) {
        self.counts.resyncs += 1;
        let position = self.sync_position(now);
        let parts = self.settings.low_latency
            && self.main.list.as_ref().is_some_and(|list| list.part_target.is_some());
        if let Some(buffer) = &mut self.buffer {
            buffer.restart(now, position);
        }
        self.main.seek(position, parts);
        if let Some(audio) = &mut self.audio {
            audio.seek(position, parts);
        }
    }

    /// Goes back by `seconds` (DVR), as far as the window reaches.
    pub fn seek_back(&mut self, now: f64, seconds: f64, actions: &mut Vec<Action>) {
        let position = (self.playhead(now) - seconds).max(self.main.origin);
        let Some(buffer) = &mut self.buffer else { return };
        buffer.restart(now, position);
        for track in 0..=1 {
            let Some(own) = track_of(&mut self.main, &mut self.audio, track) else { continue };
            if let Some(lost) = own.loading.take() {
                self.counts.wasted += lost.received;
                actions.push(Action::Abort(Slot { track, playlist: false }));
            }
            own.seek(position, false);
        }
        self.go_on(now, actions);
    }

    fn complete_if_over(&mut self, now: f64, actions: &mut Vec<Action>) {
        let over = |track: &Track| track.loading.is_none() && track.wanted(false) == Wanted::Over;
        if !over(&self.main) || !self.audio.as_deref().is_none_or(over) {
            return;
        }
        let Some(buffer) = &mut self.buffer else { return };
        buffer.complete(now);
        let state = buffer.state();
        self.note_start(now);
        if state == Playing::Ended {
            self.leave(Ending::Played, actions);
        }
    }

    /// When to call `tick` next at the latest; infinity when only answers matter.
    pub fn wake_at(&self) -> f64 {
        if self.gone {
            return f64::INFINITY;
        }
        let mut at = self.leave_at.min(self.manifest_retry);
        if self.started.is_none() {
            at = at.min(self.joined + self.settings.patience);
        }
        if let Some(buffer) = &self.buffer {
            at = at.min(buffer.wake_at());
        }
        at = at.min(self.track_wake_at(&self.main)).min(self.watch_at());
        self.audio.as_deref().map_or(at, |audio| at.min(self.track_wake_at(audio)))
    }

    fn track_wake_at(&self, track: &Track) -> f64 {
        let mut at = f64::INFINITY;
        if let (None, Some((due, _))) = (track.reloading, track.reload) {
            at = due;
        }
        let Some(buffer) = &self.buffer else { return at };
        if track.loading.is_some() {
            return at;
        }
        if track.retry_at > buffer.at() {
            return at.min(track.retry_at);
        }
        // A full buffer has room again after that much was played.
        let over = track.end - buffer.playhead() - self.settings.buffer_max;
        if over >= 0.0 && buffer.state() == Playing::Running {
            at = at.min(buffer.at() + over + 0.001);
        }
        at
    }

    fn watch_at(&self) -> f64 {
        let Some(loading) = self.main.loading else { return f64::INFINITY };
        if self.settings.level.is_some() || loading.level == 0 || self.started.is_none() {
            return f64::INFINITY;
        }
        let from = loading.requested + abr::watch_after(&self.link, loading.duration);
        let now = self.buffer.as_ref().map_or(from, Buffer::at);
        if now <= from { from + 0.001 } else { now + WATCH_S }
    }
}
