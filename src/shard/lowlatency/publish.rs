//! New versions of a made playlist: an upload like any other, by the maker itself.
//!
//! Invariants: a version that says nothing new is not published; what cannot be published now is
//! said, and comes with the next change.

use std::rc::Rc;

use super::maker::{Plain, Work};
use super::names;
use crate::media::hls::{Media, Position};
use crate::media::lowlatency::Report;
use crate::media::{self, types};
use crate::origin::heads;
use crate::origin::{cmsd, gzip};
use crate::shard::Shard;
use crate::shard::writer::Writer;
use crate::store::etag::Etag;
use crate::store::message::{Ask, Guard, Message, Publication, Quality, Reply};

/// What was published last.
#[derive(Default)]
pub(super) struct Made {
    etag: Option<Etag>,
    position: Option<Position>,
    /// Whether the last publication failed and was said.
    is_failing: bool,
    /// Whether it was said why no parts are made.
    is_unsuited: bool,
}

impl Work {
    /// Publishes the playlist as it is now.
    pub(super) async fn publish(&mut self) {
        let Some(plain) = self.plain.take() else { return };
        let is_made = plain.is_taken && self.maker.rendition.borrow().is_ready();
        let text = if is_made { self.write(&plain) } else { None };
        if !is_made {
            self.say_unsuited();
        }
        self.store(&plain, text.as_deref().unwrap_or(&plain.text)).await;
        if text.is_some() {
            self.tell_position();
        }
        self.plain = Some(plain);
    }

    /// The low-latency playlist.
    fn write(&self, plain: &Plain) -> Option<Vec<u8>> {
        let media = Media::read(&plain.text).ok()?;
        let others = self.shard.siblings(&self.maker.key);
        let reports: Vec<Report<'_>> =
            others.iter().map(|(uri, position)| Report { uri, position: *position }).collect();
        let mut text = Vec::with_capacity(plain.text.len() * 2);
        let rendition = self.maker.rendition.borrow();
        rendition.write(&media, &reports, &mut |piece| text.extend_from_slice(piece));
        Some(text)
    }

    /// Tells the other renditions how far this one is.
    fn tell_position(&mut self) {
        let position = self.maker.rendition.borrow().position();
        let Some(position) = position.filter(|_| position != self.made.position) else { return };
        self.made.position = Some(position);
        let Position { msn, part } = position;
        self.shard.tell_all(|| Message::Position { key: self.maker.key.clone(), msn, part });
    }

    fn say_unsuited(&mut self) {
        let reason = self.maker.rendition.borrow().unsuited();
        if let Some(reason) = reason.filter(|_| !self.made.is_unsuited) {
            self.made.is_unsuited = true;
            self.complain(reason);
        }
    }

    /// Publishes `text` under the maker's key.
    async fn store(&mut self, plain: &Plain, text: &[u8]) {
        let outcome =
            self.shard.clone().put_made(&self.maker.key, plain, text, self.made.etag.as_ref());
        match outcome.await {
            Ok(etag) => {
                self.made.etag = Some(etag);
                self.made.is_failing = false;
            }
            Err(()) if !self.made.is_failing => {
                self.made.is_failing = true;
                self.complain("the memory is full, or the key is a folder");
            }
            Err(()) => {}
        }
    }

    /// The plain playlist is gone: so is the made one.
    pub(super) async fn withdraw(&mut self) {
        let key = self.maker.key.clone();
        let guard = Guard::default();
        self.shard.ask(self.shard.id, Ask::Delete { key, guard }).await;
        let members: std::sync::Arc<[Box<[u8]>]> = std::sync::Arc::new([]);
        let key = || self.maker.key.clone();
        self.shard.tell_all(|| Message::Ladder { key: key(), members: members.clone() });
    }
}

impl Shard {
    /// Stores a made playlist unless it equals the version with the tag `known`; answers its tag.
    async fn put_made(
        self: Rc<Self>,
        key: &[u8],
        plain: &Plain,
        text: &[u8],
        known: Option<&Etag>,
    ) -> Result<Etag, ()> {
        let etag = heads::tag(xxhash_rust::xxh3::xxh3_128(text));
        if known == Some(&etag) {
            return Ok(etag);
        }
        let guard = Guard::default();
        let declared = Some(text.len() as u64);
        let ask = Ask::Begin { key: key.into(), declared, guard, stream: None };
        let Reply::Begun { upload, extents, .. } = self.ask(self.id, ask).await else {
            return Err(());
        };
        Writer::fill_whole(&self, &extents, text);
        let class = types::class(key, &plain.content_type);
        let is_default =
            *media::cache_control(class, Some(&plain.text)).as_bytes() == *plain.cache_control;
        let cache_control: Box<[u8]> = if is_default {
            media::cache_control(class, Some(text)).as_bytes().into()
        } else {
            plain.cache_control.clone()
        };
        let modified_s = self.reactor.clock.wall_s();
        let rules = self.rules();
        let varies = gzip::is_offered(&rules.paths, key, class);
        let vary: &[u8] = if varies { gzip::VARY } else { b"" };
        let told = cmsd::line(&rules.paths, key, class, &plain.content_type, Some(text));
        let lines = [vary, &told].concat();
        let fields = self.fields(&plain.content_type, &cache_control, &lines);
        let publication = Publication {
            length: text.len() as u64,
            fields,
            modified_s,
            expires_ms: plain.expires_ms,
            etag: etag.clone(),
            gives_way: false,
            quality: Quality::UNKNOWN,
            in_chunks: None,
        };
        match self.ask(self.id, Ask::Commit { upload, publication }).await {
            Reply::Committed { .. } => {
                self.accounts.meters.ll_versions.bump();
                Ok(etag)
            }
            _ => Err(()),
        }
    }

    /// How far the other renditions of the same presentation are, by their names relative to
    /// this one.
    fn siblings(&self, key: &[u8]) -> Vec<(Vec<u8>, Position)> {
        let makers = self.makers.borrow();
        let Some(ladder) = makers.ladders.iter().rev().find(|ladder| ladder.has(key)) else {
            return Vec::new();
        };
        let others = ladder.members.iter().filter(|member| ***member != *key);
        others
            .filter_map(|member| {
                let position = makers.positions.get(member)?;
                Some((names::relative(key, member), *position))
            })
            .collect()
    }
}
