//! A shard's hold on one version, and what it made out of the version for its answers.
//!
//! Invariants: a hold that ends is noted once; nothing here outlives the version's end on this
//! shard, but in answers under way.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::media::hls::playlist::Media;
use crate::sys::extent::ShardId;

use super::message::LeaseId;
use super::object::{Millis, Record};

/// This shard's hold on one version, its own or leased. Clones of the `Rc` are the pins of answers
/// under way.
#[derive(Debug)]
pub struct Held {
    /// The version.
    pub record: Arc<Record>,
    hash: u64,
    owner: ShardId,
    lease: LeaseId,
    /// Used since the eviction's hand last passed.
    touched: Cell<bool>,
    released: Rc<Released>,
    /// What its answers say of it, once it is read often.
    pub head: OnceCell<Box<[u8]>>,
    /// An answer with it that many readers share.
    pub rendered: Rendered,
    derived: OnceCell<Box<Derived>>,
}

/// What was made out of a version on this shard; most versions are no manifests and have none.
#[derive(Debug, Default)]
pub struct Derived {
    /// As gzip, where the path offers that.
    pub zipped: Rendered,
    /// What it says of itself as a live playlist, once somebody has asked.
    pub live: OnceCell<Option<Box<Live>>>,
    /// When it becomes stale, once somebody has asked; the largest number: never.
    pub stale_at_ms: OnceCell<Millis>,
    /// What it names as a multivariant playlist, once somebody has asked.
    pub ladder: OnceCell<Option<Box<Ladder>>>,
}

/// The media playlists of a presentation, and how they were when they were looked after.
#[derive(Debug)]
pub struct Ladder {
    /// Their keys.
    pub members: Box<[Box<[u8]>]>,
    /// The last look.
    pub looked: Cell<Option<Look>>,
}

/// A look after renditions.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// For how long it holds.
    pub until_ms: Millis,
    /// None is missing, none stale.
    pub is_whole: bool,
}

/// A playlist that may be waited for: its facts, and answers that many readers share.
#[derive(Debug)]
pub struct Live {
    /// What it lists.
    pub facts: Media<'static>,
    /// Its cache age is the one that a playlist gets whose upload says nothing.
    pub age_is_default: bool,
    /// A delta update leaves something out.
    pub delta_is_less: bool,
    /// All of it, for requests that named a segment.
    pub blocking: Rendered,
    /// The delta update, for requests that named a segment and for others.
    pub delta: [Rendered; 2],
    /// The three of these as gzip, in this order.
    pub zipped: [Rendered; 3],
}

/// A whole answer, and the second of the wall clock in which the version was asked for last.
#[derive(Debug, Default)]
pub struct Rendered {
    /// Seconds since 1970.
    pub second: Cell<u64>,
    /// Head and body, with the Date of that second.
    pub bytes: RefCell<Option<Rc<Vec<u8>>>>,
}

impl Held {
    /// A hold on the version `lease` of `owner`, whose end is noted in `released`.
    pub(super) fn new(
        hash: u64,
        owner: ShardId,
        lease: LeaseId,
        record: Arc<Record>,
        released: Rc<Released>,
    ) -> Self {
        Self {
            record,
            hash,
            owner,
            lease,
            touched: Cell::new(true),
            released,
            head: OnceCell::new(),
            rendered: Rendered::default(),
            derived: OnceCell::new(),
        }
    }

    /// Notes an answer.
    #[inline]
    pub(super) fn touch(&self) {
        self.touched.set(true);
        self.record.heat.warm();
    }

    /// Whether it was used since this was asked before.
    pub(super) fn rest(&self) -> bool {
        self.touched.take()
    }

    /// The hash of its key.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// The shard that owns the version's memory.
    pub fn owner(&self) -> ShardId {
        self.owner
    }

    /// Names the version at its owner.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// What is made out of the version.
    pub fn derived(&self) -> &Derived {
        self.derived.get_or_init(Box::default)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.released.note(self.owner, self.lease);
    }
}

/// Holds that nobody on this shard uses any more.
#[derive(Debug, Default)]
pub(super) struct Released(RefCell<Vec<(ShardId, LeaseId)>>);

impl Released {
    /// Notes the end of a hold.
    pub fn note(&self, owner: ShardId, lease: LeaseId) {
        self.0.borrow_mut().push((owner, lease));
    }

    /// Whether none was noted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Moves what was noted to `list`.
    pub fn take(&self, list: &mut Vec<(ShardId, LeaseId)>) {
        list.append(&mut self.0.borrow_mut());
    }
}
