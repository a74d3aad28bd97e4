//! What shards say to each other about keys: asks, their replies, and the lease protocol.
//!
//! Asks travel in a bounded lane and may be refused for lack of room. Everything else (replies,
//! recalls, releases, nudges) travels in space that is reserved when the ask was accepted or the
//! lease granted, so that the protocol cannot deadlock. Messages between one pair of shards arrive
//! in the order in which they were sent.

use std::sync::Arc;

use crate::sys::extent::{Extent, ShardId};

use super::etag::Etag;
use super::fields::Fields;
use super::growing::Growing;
use super::object::{Chunking, Millis, Record};
use super::pipeline::Pipeline;

/// Names one hold of a foreign shard on a version at its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId {
    /// Place in the owner's table of versions.
    pub version: u32,
    /// Tells this tenant of the place from earlier ones.
    pub generation: u32,
}

/// Names an upload at the owner of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadId {
    /// Place in the owner's table of uploads.
    pub place: u32,
    /// Tells this tenant of the place from earlier ones.
    pub generation: u32,
}

/// Chosen by the asking shard; comes back with the reply.
pub type Ticket = u32;

/// Preconditions of a write (RFC 9110 section 13.1): raw header values.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The values of If-Match, joined with commas.
    pub if_match: Option<Box<[u8]>>,
    /// The values of If-None-Match, joined with commas; usually `*`.
    pub if_none_match: Option<Box<[u8]>>,
    /// An upload does not replace other bytes, except the empty object of a probe.
    pub immutable: bool,
    /// Which of several encoders brings it, where the path has several.
    pub pipeline: Option<Arc<Pipeline>>,
}

/// What a shard wants of a key's owner.
#[derive(Debug)]
pub enum Ask {
    /// A lease on the current version of a key.
    Fetch {
        /// The key.
        key: Box<[u8]>,
    },
    /// Room for an upload and a place among the key's changes.
    Begin {
        /// The key.
        key: Box<[u8]>,
        /// Content-Length where there is one.
        declared: Option<u64>,
        /// Preconditions, judged now and again at the commit.
        guard: Guard,
        /// When set and the key is absent (or an empty object, or growing): publish at once.
        stream: Option<Streaming>,
    },
    /// More room for an upload of unknown length. After `Refused(Superseded)` the upload has ended;
    /// after any other refusal it goes on, or is aborted.
    Extend {
        /// The upload.
        upload: UploadId,
        /// At least how many more bytes.
        bytes: u64,
    },
    /// The upload is complete: make it visible, then answer. The upload ends, whatever the answer.
    Commit {
        /// The upload.
        upload: UploadId,
        /// What becomes visible.
        publication: Publication,
    },
    /// Take a key away.
    Delete {
        /// The key.
        key: Box<[u8]>,
        /// Preconditions.
        guard: Guard,
    },
    /// One level of a folder in name order.
    List {
        /// The folder's path without slashes at its ends; empty is the root.
        folder: Box<[u8]>,
        /// Names after this one.
        after: Box<[u8]>,
        /// At most how many names.
        count_max: usize,
    },
    /// A folder got its first child: its parent's owner notes it.
    Link {
        /// The folder.
        folder: Box<[u8]>,
    },
    /// A folder lost its last child.
    Unlink {
        /// The folder.
        folder: Box<[u8]>,
    },
}

/// What is needed to publish an object before its bytes are there.
#[derive(Clone, Debug)]
pub struct Streaming {
    /// It is kept aside where another pipeline's is arriving, and else not readable before its end.
    pub aside_only: bool,
    /// The fixed validators and header values; its body is a [`Growing`] without bytes.
    pub record: Arc<Record>,
}

/// What a commit publishes. For a growing object only `length`, `quality` and `gives_way` are used.
#[derive(Debug)]
pub struct Publication {
    /// Bytes written.
    pub length: u64,
    /// See [`Record::etag`].
    pub etag: Etag,
    /// See [`Record::fields`].
    pub fields: Arc<Fields>,
    /// See [`Record::modified_s`].
    pub modified_s: u64,
    /// See [`Record::expires_ms`].
    pub expires_ms: Millis,
    /// The version goes, the oldest first, when memory is full.
    pub gives_way: bool,
    /// How good it is; matters between pipelines only.
    pub quality: Quality,
    /// How a body is cut that stays in a slower tier, and of which the upload brings no bytes.
    pub in_chunks: Option<Chunking>,
}

impl Publication {
    /// Bytes that memory gets.
    pub(super) fn bytes_here(&self) -> u64 {
        if self.in_chunks.is_some() { 0 } else { self.length }
    }
}

/// What tells a good copy of a segment from a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// It is what its name promises.
    pub is_sound: bool,
    /// Duration of its media in units of its timescale, 0 where that is not known.
    pub media_units: u64,
}

impl Quality {
    /// Of what is not looked into.
    pub const UNKNOWN: Self = Self { is_sound: true, media_units: 0 };
}

/// The owner's answer to an ask.
#[derive(Debug)]
pub enum Reply {
    /// To `Fetch`: a hold on a version, to be released.
    Granted {
        /// The hold.
        lease: LeaseId,
        /// The version.
        record: Arc<Record>,
        /// Whether later requests may be answered from it too, until it is recalled; otherwise
        /// it serves the requests that were waiting and is then released.
        lasting: bool,
    },
    /// To `Fetch`, `Delete`, and to `List` of anything but the root: nothing is there.
    Absent,
    /// To `Begin`.
    Begun {
        /// Names the upload from now on.
        upload: UploadId,
        /// Where to write first, in order.
        extents: Vec<Extent>,
        /// Set when the upload is readable while it arrives, or may become so.
        growing: Option<Arc<Growing>>,
        /// The version of another pipeline that it goes on with if that breaks off.
        heir_of: Option<Arc<Record>>,
    },
    /// To `Extend`: where to write next.
    Extended {
        /// In order, after those before.
        extents: Vec<Extent>,
    },
    /// To `Commit`: visible on every shard.
    Committed {
        /// Whether the key was absent before.
        created: bool,
    },
    /// To `Commit`: what is there stands, since it is the same, or by the path's policy.
    Kept {
        /// The entity tag of what is there.
        etag: Etag,
        /// Whether it has the upload's bytes.
        same: bool,
    },
    /// To `Delete`: gone on every shard.
    Deleted,
    /// To `List`.
    Listing {
        /// In name order.
        items: Vec<Item>,
        /// Whether more names follow.
        more: bool,
    },
    /// To `Link`.
    Linked,
    /// To `Unlink`.
    Unlinked,
    /// To `Message::Refresh`: the playlist in the plain one's place is up to date.
    Refreshed,
    /// To `Message::Tier`: the disk has it.
    Saved,
    /// To `Message::Tier`: memory has it.
    Loaded,
    /// To any ask.
    Refused(Refusal),
}

/// What is to be done with a key's place on disk.
#[derive(Debug)]
pub enum Job {
    /// Write what memory has; answered when it survives a loss of power.
    Save {
        /// The version that was uploaded; a newer one in its place will do.
        etag: Box<[u8]>,
    },
    /// Bring it into memory; answered when it can be read, which may be while it still comes. A
    /// large file's description, or a chunk by the chunk's own key.
    Load,
    /// The same, answered when all of it is there.
    LoadWhole,
    /// Make an upload visible that memory gets only; answered, like a commit, when the disk has no
    /// older version any more. The upload ends unless the answer is `Busy`.
    Commit {
        /// The upload.
        upload: UploadId,
        /// What becomes visible.
        publication: Box<Publication>,
    },
    /// As `Load`, after the description of a large file that is there no longer was let go.
    Renew {
        /// The version that was there.
        etag: Etag,
    },
    /// Take it away from memory and disk; answered when that survives a loss of power.
    Erase {
        /// Preconditions.
        guard: Guard,
    },
    /// Take it away from memory and disk if its version is old.
    Expire {
        /// Stored by then: Unix time in seconds.
        until_s: u64,
    },
    /// Take the file away, and leave what memory has.
    Release {
        /// The metadata that the file must have.
        described: Box<[u8]>,
    },
}

/// What is to be done with a key's place in the remote store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteJob {
    /// Note that it is to be sent there; answered at once.
    Queue,
    /// Send what memory or disk have; answered when the store has it.
    Save,
    /// Bring it into memory; answered when it can be read, which may be while it still comes. A
    /// large object's description.
    Load,
    /// The same, answered when all of it is there.
    LoadWhole,
    /// The same, after the description of a large object that is there no longer was let go.
    Renew {
        /// The version that was there.
        etag: Etag,
    },
    /// Bring a chunk of a large object into memory, by the chunk's own key.
    LoadChunk(Chunking),
    /// Take it away.
    Erase,
    /// Take it away if its version is old.
    Expire {
        /// Stored by then: Unix time in seconds.
        until_s: u64,
    },
}

/// Why an ask was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key is a folder, or a part of its path is an object: 409.
    Conflict,
    /// A precondition does not hold: 412.
    Precondition,
    /// Something else is stored there, and the path keeps what it has: 409.
    Immutable,
    /// No memory is left: 507.
    Full,
    /// Another upload of the key took its place, or the upload is unknown: 409.
    Superseded,
    /// Too many changes wait for the key or the owner: 503.
    Busy,
    /// More bytes than an object may have, or than the upload got room for: 413.
    TooLarge,
    /// The disk tier has failed and takes no more writes: 503.
    ReadOnly,
    /// The disk refused a call, or its folder is away, and nothing is lost: 503.
    DiskFault,
    /// No space is left on disk: 507.
    DiskFull,
    /// The object on disk cannot be read, or is not what was written: 500.
    Damaged,
    /// Type and Cache-Control are too long to be kept on disk: 400.
    Unkeepable,
    /// The remote store does not answer, or answers with errors: 503.
    RemoteDown,
    /// The remote store does not answer in time: 504.
    RemoteSlow,
    /// The remote store does not let this origin in: 503.
    RemoteDenied,
    /// So much waits for the remote store that nothing more is taken: 503.
    RemoteBehind,
}

/// One line of a listing.
#[derive(Clone, Debug)]
pub struct Item {
    /// The last part of the path.
    pub name: Box<[u8]>,
    /// The object, or `None` for a folder.
    pub object: Option<Arc<Record>>,
}

/// What is likely to be asked for soon.
#[derive(Debug)]
pub struct Ahead {
    /// The key.
    pub key: Box<[u8]>,
    /// From which byte on.
    pub first: u64,
    /// A player said so; otherwise it is a guess.
    pub is_named: bool,
    /// What leads to it came ahead, too.
    pub is_sequel: bool,
}

/// A message from one shard to another.
#[derive(Debug)]
pub enum Message {
    /// In the bounded lane.
    Ask {
        /// Comes back with the reply.
        ticket: Ticket,
        /// What is wanted.
        ask: Ask,
    },
    /// Answers the ask with the same ticket.
    Reply {
        /// Of the ask.
        ticket: Ticket,
        /// The answer.
        reply: Reply,
    },
    /// Owner to holder: no new answer may use this lease; confirm, known or not.
    Recall {
        /// The lease.
        lease: LeaseId,
    },
    /// Holder to owner: no new answer will use this lease. Its memory may still be held.
    Confirm {
        /// The lease.
        lease: LeaseId,
    },
    /// Holder to owner: neither new answers nor answers under way use it. Counts as a
    /// confirmation where one is owed.
    Release {
        /// The lease.
        lease: LeaseId,
    },
    /// The upload's connection is gone or gave up.
    Abort {
        /// The upload.
        upload: UploadId,
    },
    /// Holder to owner: it waits for a version of the key that is not `seen`. Bounded by the
    /// sender; see [`super::watch`].
    Watch {
        /// The key.
        key: Box<[u8]>,
        /// The version it knows; none when it knows of none.
        seen: Option<LeaseId>,
        /// Monotonic instant from which it waits no more.
        until_ms: Millis,
    },
    /// Holder to owner: nobody waits for the key there any more.
    Unwatch {
        /// The key.
        key: Box<[u8]>,
    },
    /// Owner to holder: what it watched has another version. The watch has ended.
    Changed {
        /// The key.
        key: Box<[u8]>,
    },
    /// To the owner of a playlist that the origin makes: the plain one it is made from has another
    /// version, or none. Answered by `Reply::Refreshed`.
    Refresh {
        /// Comes back with the reply.
        ticket: Ticket,
        /// The playlist that is made.
        key: Box<[u8]>,
        /// No part is longer than this, in microseconds.
        part_target_us: u64,
    },
    /// To the owner of a key: something with its place on disk. Answered with `Saved`, `Loaded`,
    /// `Deleted`, `Absent` or `Refused`.
    Tier {
        /// Comes back with the reply.
        ticket: Ticket,
        /// The key.
        key: Box<[u8]>,
        /// What.
        job: Job,
    },
    /// To the owner of a key: something with its place in the remote store. Answered likewise.
    Remote {
        /// Comes back with the reply.
        ticket: Ticket,
        /// The key.
        key: Box<[u8]>,
        /// What.
        job: RemoteJob,
    },
    /// To the owner of a key: somebody is likely to ask for it soon. Not answered; there is at most
    /// a few for each read that a slower tier answered, or would have.
    Ahead(Ahead),
    /// To all shards: one finds no memory; what the disk has too is to give way.
    Reclaim,
    /// To all shards: a segment has begun to arrive, or is there.
    Arriving {
        /// The segment.
        key: Box<[u8]>,
    },
    /// To all shards: a segment of a constant duration has begun to arrive, or is there.
    Numbered {
        /// The segment.
        key: Box<[u8]>,
    },
    /// To all shards: live playlists in a folder have this target duration.
    Target {
        /// The folder, without a slash at its end.
        folder: Box<[u8]>,
        /// In milliseconds.
        target_ms: u64,
    },
    /// To all shards: these playlists are the renditions of one presentation.
    Ladder {
        /// The multivariant playlist.
        key: Box<[u8]>,
        /// Its renditions; none when it is gone.
        members: Arc<[Box<[u8]>]>,
    },
    /// To all shards: how far a playlist that the origin makes has come.
    Position {
        /// The playlist.
        key: Box<[u8]>,
        /// Media sequence number of its last segment.
        msn: u64,
        /// Number of the last part of that segment.
        part: Option<u32>,
    },
    /// A growing object that the shard watches has changed.
    Nudge {
        /// [`Growing::id`].
        growing: u64,
    },
}

/// Messages on their way out, in order; the shard's loop carries them.
pub type Outbox = std::collections::VecDeque<(ShardId, Message)>;
