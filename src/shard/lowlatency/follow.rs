//! Segments that are read as they arrive, for their fragments.
//!
//! Invariants: a segment that is followed is held like by any reader; ranges of it are let free
//! when nobody follows it any more.

use std::rc::Rc;
use std::sync::Arc;

use super::maker::Work;
use super::names;
use crate::limits;
use crate::media::boxes::{Fragment, Reader};
use crate::shard::Shard;
use crate::shard::read::Obtained;
use crate::store::Held;
use crate::store::growing::Growing;
use crate::store::message::Message;
use crate::store::object::{Body, Whole};
use crate::sys::arena::Arena;
use crate::sys::extent::Extent;

/// A segment that is arriving.
pub(super) struct Follow {
    uri: Box<[u8]>,
    /// Keeps the bytes.
    _held: Rc<Held>,
    /// The upload that began it, by which it is known.
    front: Arc<Growing>,
    /// The upload that is arriving now: another encoder may have taken over.
    growing: Arc<Growing>,
    scan: Scan,
}

/// How far the boxes of a segment were read.
struct Scan {
    reader: Reader,
    at: u64,
    is_broken: bool,
    found: Vec<Fragment>,
}

impl Work {
    /// A segment has begun to arrive, or is there. Answers whether the playlist changed.
    pub(super) async fn begin(&mut self, key: &[u8]) -> bool {
        let Some(uri) = names::relative_below(&self.maker.key, key) else { return false };
        let Obtained::Held(held) = self.shard.obtain(key.into()).await else { return false };
        let record = held.record.clone();
        if matches!(&record.body, Body::Growing(growing) if self.is_followed(growing)) {
            return false;
        }
        let scan = Scan { reader: self.reader(), at: 0, is_broken: false, found: Vec::new() };
        match &record.body {
            Body::Growing(growing) if growing.finished().is_none() => {
                let (front, growing) = (growing.clone(), growing.tip());
                let follow = Follow { uri: uri.into(), _held: held, front, growing, scan };
                let is_room = self.follows.len() < limits::LL_FOLLOWED_MAX;
                if is_room && self.maker.rendition.borrow_mut().start(uri) {
                    self.follows.push(follow);
                } else {
                    follow.let_go(&self.shard);
                }
                // A hint may name it from now on.
                true
            }
            _ => record.whole().is_some_and(|whole| self.whole(uri, whole, scan)),
        }
    }

    /// Whether this upload is followed already: it may be told of twice, by its beginning and
    /// by a look at what the list leads to expect. To follow it twice once made segments of 1.8 s
    /// out of fragments that last one second.
    fn is_followed(&self, growing: &Arc<Growing>) -> bool {
        self.follows.iter().any(|follow| Arc::ptr_eq(&follow.front, growing))
    }

    /// A segment that is there as a whole.
    fn whole(&self, uri: &[u8], whole: &Whole, mut scan: Scan) -> bool {
        let mut rendition = self.maker.rendition.borrow_mut();
        if !rendition.start(uri) {
            return false;
        }
        let arena = self.shard.reactor.arena();
        let mut left = whole.length();
        for &extent in whole.extents() {
            let bytes = u32::try_from(left.min(extent.len.into())).unwrap_or(extent.len);
            scan.read(arena, extent, 0, bytes);
            left -= u64::from(bytes);
        }
        scan.finish();
        let mut is_changed = false;
        for fragment in scan.found.drain(..) {
            is_changed |= rendition.fragment(uri, &fragment);
        }
        rendition.end(uri, true) || is_changed
    }

    /// Reads what has arrived. Answers whether the playlist changed.
    pub(super) fn advance(&mut self) -> bool {
        let mut is_changed = false;
        let follows = std::mem::take(&mut self.follows);
        for mut follow in follows {
            let mut rendition = self.maker.rendition.borrow_mut();
            // Whoever took over has brought the same bytes so far.
            follow.growing = follow.growing.tip();
            // The mark is read before the end is asked for, so that no last byte is missed.
            let end = follow.growing.finished_itself().map(Whole::length);
            let is_cut = follow.growing.is_cut();
            follow.read(self.shard.reactor.arena(), end);
            for fragment in follow.scan.found.drain(..) {
                is_changed |= rendition.fragment(&follow.uri, &fragment);
            }
            if is_cut || end.is_some() {
                is_changed |= rendition.end(&follow.uri, !is_cut);
                drop(rendition);
                follow.let_go(&self.shard);
                continue;
            }
            let released = rendition.released(&follow.uri);
            drop(rendition);
            follow.release(&self.shard, released.unwrap_or(u64::MAX));
            self.follows.push(follow);
        }
        is_changed
    }
}

impl Follow {
    /// Whether it is of the segment with this name.
    pub(super) fn is_of(&self, uri: &[u8]) -> bool {
        *self.uri == *uri
    }

    /// Whether there is something to read, or an end to note.
    pub(super) fn has_news(&self) -> bool {
        let growing = &self.growing;
        let has_ended = growing.finished().is_some() || growing.is_cut();
        growing.progress() > self.scan.at || growing.successor().is_some() || has_ended
    }

    /// Has the task woken by the next change.
    pub(super) fn watch(&self, shard: &Shard) {
        shard.await_nudge(self.growing.id);
        self.growing.watch(shard.id);
    }

    fn read(&mut self, arena: &Arena, end: Option<u64>) {
        let ready = end.unwrap_or_else(|| self.growing.progress());
        let most = u64::from(u32::MAX);
        while let Some((extent, offset, bytes)) = self.growing.run(self.scan.at, ready, most) {
            self.scan.read(arena, extent, offset, bytes);
        }
        if end.is_some() {
            self.scan.finish();
        }
    }

    /// Lets ranges take the first `bytes` bytes.
    fn release(&self, shard: &Shard, bytes: u64) {
        let before = self.growing.released();
        self.growing.release(bytes);
        if self.growing.is_parted() && self.growing.released() > before {
            let id = self.growing.id;
            self.growing.drain_watchers(|to| shard.post(to, Message::Nudge { growing: id }));
        }
    }

    /// The segment gets no parts any more: its ranges are free.
    pub(super) fn let_go(self, shard: &Shard) {
        self.release(shard, u64::MAX);
    }
}

impl Scan {
    /// Reads `bytes` bytes of an extent from its byte `offset` on.
    fn read(&mut self, arena: &Arena, extent: Extent, offset: u32, bytes: u32) {
        let end = offset + bytes;
        let mut at = offset;
        let mut piece = [0; HEAD_PIECE_BYTES as usize];
        while at < end {
            // Media data is passed over without being looked at.
            let passed = self.reader.pass((end - at).into(), &mut |one| self.found.push(one));
            at += u32::try_from(passed).unwrap_or(0);
            let len = (end - at).min(HEAD_PIECE_BYTES) as usize;
            if len == 0 {
                break;
            }
            arena.read(extent, at, &mut piece[..len]);
            let fed = self.reader.feed(&piece[..len], &mut |one| self.found.push(one));
            self.is_broken |= fed.is_err();
            at += u32::try_from(len).unwrap_or(0);
        }
        self.at += u64::from(bytes);
    }

    fn finish(&mut self) {
        let ended = self.reader.finish(&mut |one| self.found.push(one));
        self.is_broken |= ended.is_err();
    }
}

/// Bytes of headers that are read in one piece: most `moof` boxes are shorter.
const HEAD_PIECE_BYTES: u32 = 2048;
