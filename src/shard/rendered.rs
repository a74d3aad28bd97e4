//! Answers made once a second for many readers: head and body of a small object, in one piece.
//!
//! The second reader in a second pays for the copy; whoever else comes in that second is answered
//! by one send of one run of bytes, which stay in the core's cache, and no head is written.
//!
//! Invariants: an answer is used only in the second whose Date it carries; how many there are is
//! bounded; their buffers are made at the start and used again, so that nothing is allocated.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::{PREAMBLE_BYTES, Shard};
use crate::http::response::Writer;
use crate::limits;
use crate::media::types::{self, Class};
use crate::origin::heads::ObjectHead;
use crate::store::Held;
use crate::store::object::{Record, Whole};
use crate::sys::arena::Arena;

/// Head and body in one piece.
pub(super) type Answer = Rc<Vec<u8>>;

/// The answers of the current second.
pub(super) struct Rendered {
    of: RefCell<Vec<(Weak<Held>, Answer)>>,
    spare: RefCell<Vec<Answer>>,
    /// Buffers of earlier seconds that sends may still use.
    leaving: RefCell<Vec<Answer>>,
}

impl Default for Rendered {
    /// All buffers; a host gives them memory as they are used.
    fn default() -> Self {
        let buffer = || Rc::new(Vec::with_capacity(ANSWER_BYTES_MAX));
        Self {
            of: RefCell::new(Vec::with_capacity(limits::RENDERED_MAX)),
            spare: RefCell::new((0..limits::RENDERED_MAX).map(|_| buffer()).collect()),
            leaving: RefCell::new(Vec::with_capacity(limits::RENDERED_MAX)),
        }
    }
}

const ANSWER_BYTES_MAX: usize = limits::RENDERED_BYTES_MAX + limits::RENDERED_HEAD_BYTES_MAX;

impl Shard {
    /// The whole plain 200 to a GET of `held`, if it is worth having.
    #[inline]
    pub(super) fn rendered(&self, held: &Rc<Held>, whole: &Whole) -> Option<Answer> {
        if whole.length() > limits::RENDERED_BYTES_MAX as u64 {
            return None;
        }
        let stamp = self.stamp();
        if held.rendered.second.replace(stamp) != stamp {
            return None;
        }
        let known = held.rendered.bytes.borrow().clone();
        known.or_else(|| self.render(held, whole))
    }

    #[inline(never)]
    fn render(&self, held: &Rc<Held>, whole: &Whole) -> Option<Answer> {
        let mut head = [0; limits::RENDERED_HEAD_BYTES_MAX - PREAMBLE_BYTES];
        let mut writer = Writer::new(&mut head);
        ObjectHead::of(&held.record, Some(whole.length())).write(&mut writer);
        writer.raw(self.rules.borrow().cors_lines());
        writer.end_head();
        // One that is too long for its buffer is written for each answer.
        let head_len = writer.finish().ok()?;
        let mut answer = self.rendered.spare.borrow_mut().pop()?;
        let bytes = Rc::get_mut(&mut answer)?;
        bytes.extend_from_slice(&self.preamble.borrow().ok);
        bytes.extend_from_slice(&head[..head_len]);
        append_body(bytes, self.reactor.arena(), whole);
        self.rendered.of.borrow_mut().push((Rc::downgrade(held), answer.clone()));
        *held.rendered.bytes.borrow_mut() = Some(answer.clone());
        Some(answer)
    }

    /// A second is over: its answers are not used any more.
    pub(super) fn forget_rendered(&self) {
        let mut leaving = self.rendered.leaving.borrow_mut();
        for (held, answer) in self.rendered.of.borrow_mut().drain(..) {
            held.upgrade().map(|held| held.rendered.bytes.take());
            leaving.push(answer);
        }
        let mut spare = self.rendered.spare.borrow_mut();
        for mut answer in leaving.extract_if(.., |answer| Rc::strong_count(answer) == 1) {
            if let Some(bytes) = Rc::get_mut(&mut answer) {
                bytes.clear();
                spare.push(answer);
            }
        }
    }
}

/// The text of a complete manifest; `None` for what is none, or is larger than what is read.
pub(super) fn manifest_text(shard: &Shard, record: &Record) -> Option<Vec<u8>> {
    let whole = record.whole()?;
    let is_manifest = types::class(record.key(), &record.fields.content_type) == Class::Manifest;
    if !is_manifest || whole.length() > limits::PLAYLIST_BYTES_MAX as u64 {
        return None;
    }
    let mut text = Vec::new();
    append_body(&mut text, shard.reactor.arena(), whole);
    Some(text)
}

/// Appends the bytes of an object.
pub(super) fn append_body(bytes: &mut Vec<u8>, arena: &Arena, whole: &Whole) {
    let mut left = usize::try_from(whole.length()).expect("bounded by the caller");
    for &extent in whole.extents() {
        let (at, len) = (bytes.len(), left.min(extent.len as usize));
        bytes.resize(at + len, 0);
        arena.read(extent, 0, &mut bytes[at..]);
        left -= len;
    }
}
