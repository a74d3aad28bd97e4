//! The task of one playlist: takes what the encoder pushes, in the order in which it is told.
//!
//! Invariants: everybody who waits for a refresh is answered, also when the maker ends; what is
//! published is made from the newest plain playlist that could be read.

use std::rc::Rc;
use std::task::Poll;

use super::follow::Follow;
use super::names;
use super::publish::Made;
use super::{Event, Maker};
use crate::limits;
use crate::media::boxes::{Reader, Tracks};
use crate::media::hls::attribute::Attributes;
use crate::media::hls::{Media, multivariant};
use crate::media::lowlatency::Refusal;
use crate::shard::Shard;
use crate::shard::read::Obtained;
use crate::shard::rendered::append_body;
use crate::store::message::{Message, Reply, Ticket};
use crate::sys::extent::ShardId;

/// What the task holds.
pub(super) struct Work {
    pub(super) shard: Rc<Shard>,
    pub(super) maker: Rc<Maker>,
    /// The encoder's playlist and its values.
    pub(super) plain: Option<Plain>,
    pub(super) follows: Vec<Follow>,
    /// The tracks of the initialization section of this name.
    tracks: Option<(Box<[u8]>, Tracks)>,
    /// Those who wait for a refresh.
    askers: Vec<(ShardId, Ticket)>,
    pub(super) made: Made,
    /// A segment that was listed before its end was here, and since when the listing waits for it.
    early: Option<(Box<[u8]>, u64)>,
    is_changed: bool,
}

/// The encoder's playlist.
pub(super) struct Plain {
    pub(super) text: Vec<u8>,
    pub(super) content_type: Box<[u8]>,
    pub(super) cache_control: Box<[u8]>,
    pub(super) expires_ms: u64,
    /// Whether the rendition has taken it; otherwise it is served as it is.
    pub(super) is_taken: bool,
}

/// Runs until the plain playlist is gone, or the shard wants the maker's place.
pub(super) async fn run(shard: Rc<Shard>, maker: Rc<Maker>) {
    let mut work = Work {
        shard,
        maker,
        plain: None,
        follows: Vec::new(),
        tracks: None,
        askers: Vec::new(),
        made: Made::default(),
        early: None,
        is_changed: false,
    };
    while work.step().await {}
    work.end();
}

impl Work {
    /// One round: what was told, what has arrived, a new version, the answers, a wait. Answers
    /// whether there is more to do.
    async fn step(&mut self) -> bool {
        let mut is_alive = true;
        loop {
            let Some(event) = self.maker.events.borrow_mut().pop_front() else { break };
            match event {
                Event::Plain { from, ticket } => {
                    self.askers.push((from, ticket));
                    // What arrived before the listing is looked at before it.
                    self.is_changed |= self.advance();
                    is_alive = self.reload().await;
                }
                Event::Segment(key) => self.is_changed |= self.begin(&key).await,
            }
        }
        self.is_changed |= self.advance();
        if is_alive && self.has_caught_up() {
            self.early = None;
            is_alive = self.reload().await;
        }
        if is_alive && std::mem::take(&mut self.is_changed) {
            self.publish().await;
        }
        self.answer();
        let is_over = self.maker.is_over.get() || !is_alive || self.shard.is_draining();
        if !is_over {
            self.wait().await;
        }
        !is_over
    }

    /// Takes the encoder's newest playlist. Answers whether there is one.
    async fn reload(&mut self) -> bool {
        let plain_key = names::plain_key(&self.maker.key);
        let held = match self.shard.obtain(plain_key).await {
            Obtained::Held(held) => held,
            Obtained::Busy | Obtained::Damaged | Obtained::Unreachable(_) => return true,
            Obtained::Absent | Obtained::NoKey => {
                self.withdraw().await;
                return false;
            }
        };
        let Some(whole) = held.record.whole() else { return true };
        if whole.length() > limits::PLAYLIST_BYTES_MAX as u64 {
            self.complain("the playlist is larger than what is read for low latency");
            return true;
        }
        let mut text = Vec::new();
        append_body(&mut text, self.shard.reactor.arena(), whole);
        let record = held.record.clone();
        drop(held);
        let Some(is_taken) = self.take(&text).await else { return true };
        self.plain = Some(Plain {
            text,
            content_type: record.fields.content_type.clone(),
            cache_control: record.fields.cache_control.clone(),
            expires_ms: record.expires_ms,
            is_taken,
        });
        self.is_changed = true;
        true
    }

    /// Shows a playlist to the rendition: whether it took it; `None` when it is to be ignored.
    async fn take(&mut self, text: &[u8]) -> Option<bool> {
        let Ok(media) = Media::read(text) else {
            self.tell_ladder(text);
            return Some(false);
        };
        if self.is_early(&media) {
            return None;
        }
        let outcome = self.maker.rendition.borrow_mut().playlist(&media);
        match outcome {
            Ok(_) => {
                let last = media.segments().last();
                self.load_map(last.and_then(|last| last.map).unwrap_or_default()).await;
                self.catch_up().await;
                Some(true)
            }
            // Another encoder that is behind: what is served is newer.
            Err(Refusal::Older) => None,
            Err(_) => Some(false),
        }
    }

    /// Whether a playlist lists a segment of which the end has not been seen yet: the two come over
    /// different connections. To take it then once left segments without their last parts, and
    /// players with holes. The listing waits for the end, though not for long.
    fn is_early(&mut self, media: &Media) -> bool {
        let last = media.segments().last().map(|last| last.uri).unwrap_or_default();
        let is_arriving = self.plain.is_some() && self.follows.iter().any(|one| one.is_of(last));
        let now_ms = self.shard.reactor.clock.now_ms();
        let since_ms = match &self.early {
            Some((uri, since_ms)) if **uri == *last => *since_ms,
            _ => now_ms,
        };
        let is_early = is_arriving && now_ms <= since_ms + limits::LL_EARLY_MS;
        self.early = is_early.then(|| (last.into(), since_ms));
        is_early
    }

    /// Whether the listing that came early can be taken now.
    fn has_caught_up(&self) -> bool {
        let early = self.early.as_ref();
        early.is_some_and(|(uri, _)| !self.follows.iter().any(|one| one.is_of(uri)))
    }

    /// Encoders begin a segment before they list the one before it: the first may be under way.
    async fn catch_up(&mut self) {
        let mut uri = Vec::new();
        let is_ready = self.maker.rendition.borrow().is_ready();
        if is_ready || !self.follows.is_empty() {
            return;
        }
        let is_named = self.maker.rendition.borrow().write_expected(&mut |piece| uri.extend(piece));
        if let Some(key) = names::resolve(&self.maker.key, &uri).filter(|_| is_named) {
            self.is_changed |= self.begin(&key).await;
        }
    }

    /// Tells everybody which renditions belong together.
    fn tell_ladder(&self, text: &[u8]) {
        let named = multivariant::renditions(text).map_while(Result::ok);
        let playlists = named.filter(|one| one.kind != multivariant::Kind::IFrames);
        let mut members: Vec<Box<[u8]>> =
            playlists.filter_map(|one| names::resolve(&self.maker.key, one.uri)).collect();
        members.sort_unstable();
        members.dedup();
        members.truncate(limits::LADDER_MEMBERS_MAX);
        let members: std::sync::Arc<[Box<[u8]>]> = members.into();
        self.shard
            .tell_all(|| Message::Ladder { key: self.maker.key.clone(), members: members.clone() });
    }

    /// Reads the initialization section that a playlist names, unless it is known.
    async fn load_map(&mut self, attributes: &[u8]) {
        let uri = Attributes::new(attributes).map_while(Result::ok).find(|one| one.name == b"URI");
        let Some(uri) = uri.map(|one| one.value) else { return };
        if self.tracks.as_ref().is_some_and(|(known, _)| **known == *uri) {
            return;
        }
        let Some(key) = names::resolve(&self.maker.key, uri) else { return };
        let Obtained::Held(held) = self.shard.obtain(key).await else { return };
        let Some(whole) = held.record.whole() else { return };
        if whole.length() > limits::PLAYLIST_BYTES_MAX as u64 {
            return;
        }
        let mut bytes = Vec::new();
        append_body(&mut bytes, self.shard.reactor.arena(), whole);
        let mut reader = Reader::new(Tracks::default());
        match reader.feed(&bytes, &mut |_| {}) {
            Ok(()) => self.tracks = Some((uri.into(), *reader.tracks())),
            Err(fault) => self.complain(&format!("the initialization section: {fault}")),
        }
    }

    /// A reader for a segment of the map that was loaded last.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(self.tracks.as_ref().map(|(_, tracks)| *tracks).unwrap_or_default())
    }

    /// Waits for an event or for growth.
    async fn wait(&self) {
        let is_pressed = || {
            let told = !self.maker.events.borrow().is_empty() || self.maker.is_over.get();
            told || self.shard.is_draining() || self.follows.iter().any(Follow::has_news)
        };
        std::future::poll_fn(|_| {
            if is_pressed() {
                return Poll::Ready(());
            }
            self.follows.iter().for_each(|follow| follow.watch(&self.shard));
            if is_pressed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn answer(&mut self) {
        for (from, ticket) in self.askers.drain(..) {
            self.shard.post(from, Message::Reply { ticket, reply: Reply::Refreshed });
        }
    }

    /// Lets go of everything; whoever waits is answered.
    fn end(mut self) {
        self.shard.forget_maker(&self.maker);
        for event in self.maker.events.borrow_mut().drain(..) {
            if let Event::Plain { from, ticket } = event {
                self.askers.push((from, ticket));
            }
        }
        self.answer();
        self.follows.drain(..).for_each(|follow| follow.let_go(&self.shard));
    }

    /// Says once in a while what keeps a playlist from being made.
    pub(super) fn complain(&self, reason: &str) {
        let key = String::from_utf8_lossy(&self.maker.key).into_owned();
        tracing::warn!(key, "no low-latency playlist: {reason}");
    }
}
