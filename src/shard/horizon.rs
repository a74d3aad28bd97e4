//! What uploads tell all shards about live folders, and what reads of missing things make of it.
//!
//! Invariants: a playlist tells its target duration when it is new, changes, or was not told for a
//! while; a segment tells its number only where the path says how long segments are.

use super::Shard;
use super::answer::{Ready, not_found};
use super::conn::{Conn, Then};
use super::writer::Writer;
use crate::http::request::Head;
use crate::http::response::Status;
use crate::limits;
use crate::media::playlist::{self, Playlist};
use crate::media::types::{self, Class};
use crate::media::{self, CacheAge};
use crate::origin::horizon::{Miss, folder_of};
use crate::origin::key;
use crate::origin::write::Intent;
use crate::store::message::Message;

impl Conn {
    /// The answer to a read of what is not there.
    pub(super) fn ready_absent(&mut self, head: &Head) -> Ready {
        self.ready_missing(head, false)
    }

    /// The same for a read that perhaps waited for it.
    pub(super) fn ready_missing(&mut self, head: &Head, has_waited: bool) -> Ready {
        let age = self.missing_age(head, has_waited);
        self.ready_aged(head, &not_found(head), Then::Next, age)
    }

    fn missing_age(&self, head: &Head, has_waited: bool) -> CacheAge {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let Ok(key) = key::parse(head.path.of(bytes), &mut scratch) else {
            return media::cache_control_of_errors();
        };
        if let Some(seconds) = self.rules.paths.cache_error_s(key) {
            return CacheAge::of_seconds(seconds);
        }
        let is_blocking = self.directives(head).msn.is_some();
        // Who was sent away by a drain did not wait in vain.
        let has_waited = has_waited && !self.shard.is_draining();
        let miss = Miss { class: types::class(key, b""), is_blocking, has_waited };
        self.shard.horizon.borrow().missing_age(key, miss)
    }

    /// How long caches keep an error of this status about what the request names.
    pub(super) fn error_age(&self, head: &Head, status: Status) -> CacheAge {
        // What is wrong with the origin passes soon.
        if !(400..500).contains(&status.code()) {
            return media::cache_control_of_errors();
        }
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let key = key::parse(head.path.of(bytes), &mut scratch).ok();
        let seconds = key.and_then(|key| self.rules.paths.cache_error_s(key));
        seconds.map_or_else(media::cache_control_of_errors, CacheAge::of_seconds)
    }

    /// Whether the rules know that an absent segment cannot be there within `wait_ms`.
    pub(super) fn is_beyond(&self, key: &[u8], wait_ms: u64) -> bool {
        let Some(segment_ms) = self.rules.paths.segment_ms(key) else { return false };
        let now_ms = self.shard.reactor.clock.now_ms();
        self.shard.horizon.borrow().is_beyond(key, segment_ms, wait_ms, now_ms)
    }
}

impl Shard {
    /// Tells all shards that a segment begins to arrive, or is there.
    pub(super) fn tell_segment(&self, key: &[u8], intent: &Intent, is_parted: bool) {
        if intent.class != Class::Segment {
            return;
        }
        if is_parted {
            self.tell_all(|| Message::Arriving { key: key.into() });
        }
        if self.rules.borrow().paths.segment_ms(key).is_some() {
            self.tell_all(|| Message::Numbered { key: key.into() });
        }
    }

    /// Tells all shards the target duration of a live playlist that was uploaded.
    pub(super) fn tell_target(&self, key: &[u8], writer: &Writer) {
        let read = writer.manifest().and_then(playlist::read);
        let Some(Playlist::Live { target_duration_ms }) = read else { return };
        let folder = folder_of(key);
        let now_ms = self.reactor.clock.now_ms();
        let is_news = self.horizon.borrow().is_news(folder, target_duration_ms, now_ms);
        if target_duration_ms > 0 && is_news {
            let target_ms = target_duration_ms;
            self.tell_all(|| Message::Target { folder: folder.into(), target_ms });
        }
    }

    /// Learns a target duration.
    pub(super) fn on_target(&self, folder: Box<[u8]>, target_ms: u64) {
        let now_ms = self.reactor.clock.now_ms();
        self.horizon.borrow_mut().note_target(folder, target_ms, now_ms);
    }

    /// Learns how far a series of segments is.
    pub(super) fn on_numbered(&self, key: &[u8]) {
        let Some(segment_ms) = self.rules.borrow().paths.segment_ms(key) else { return };
        let now_ms = self.reactor.clock.now_ms();
        self.horizon.borrow_mut().note_segment(key, segment_ms, now_ms);
    }
}
