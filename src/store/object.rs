//! What the store knows of one version of an object.
//!
//! A record is immutable and shared by reference between the owner and the holders of leases.
//! The memory it names is freed by the protocol (holds and releases), never by its drop.

use std::ops::Deref;
use std::sync::Arc;

use crate::sys::extent::Extent;

use super::etag::Etag;
use super::fields::Fields;
use super::growing::Growing;
use super::heat::Heat;

/// Milliseconds on the process's monotonic clock.
pub type Millis = u64;

/// An expiry instant that never comes.
pub const NEVER: Millis = Millis::MAX;

/// One version of an object: identity, validators and where its bytes are.
#[derive(Debug)]
pub struct Record {
    /// The key: a relative path without a leading slash.
    pub key: Box<[u8]>,
    /// Its entity tag.
    pub etag: Etag,
    /// What else its answers say.
    pub fields: Arc<Fields>,
    /// Unix time of publication, in seconds: Last-Modified.
    pub modified_s: u64,
    /// Monotonic time at which the version was made.
    pub stored_ms: Millis,
    /// Monotonic instant from which the object is absent, or [`NEVER`].
    pub expires_ms: Millis,
    /// How often it was read lately.
    pub heat: Heat,
    /// Where the bytes are.
    pub body: Body,
}

/// The bytes of a version.
#[derive(Debug)]
pub enum Body {
    /// All bytes were there when the version was published.
    Whole(Whole),
    /// Published at the start of its upload.
    Growing(Arc<Growing>),
}

/// A complete body.
#[derive(Debug)]
pub struct Whole {
    /// Bytes in the body.
    pub length: u64,
    /// Where they lie, in order; the extents' lengths add up to `length`, unless it is in chunks.
    pub extents: Extents,
}

impl Whole {
    /// Whether memory has the body's description only.
    #[inline]
    pub fn is_in_chunks(&self) -> bool {
        self.chunking().is_some()
    }

    /// How the body is cut, where it is in chunks.
    #[inline]
    pub fn chunking(&self) -> Option<&Chunking> {
        match &self.extents {
            Extents::Chunks(chunking) => Some(chunking),
            Extents::One(_) | Extents::Many(_) => None,
        }
    }

    /// Bytes of the body that are in memory under the object's own key.
    pub fn bytes_here(&self) -> u64 {
        if self.is_in_chunks() { 0 } else { self.length }
    }
}

/// How a body is cut of which memory has the chunks that are read, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// Bytes of each chunk but the last.
    pub bytes: u64,
    /// The remote store's tag of this version, where it lies there and not on disk.
    pub stored_as: Option<Arc<str>>,
}

/// Extents of a complete body; most bodies lie in one.
#[derive(Clone, Debug)]
pub enum Extents {
    /// One, which needs no memory of its own.
    One(Extent),
    /// None, or several.
    Many(Box<[Extent]>),
    /// None: the body lies in a slower tier, and its chunks are objects of their own.
    Chunks(Box<Chunking>),
}

impl Deref for Extents {
    type Target = [Extent];

    #[inline]
    fn deref(&self) -> &[Extent] {
        match self {
            Self::One(extent) => std::slice::from_ref(extent),
            Self::Many(extents) => extents,
            Self::Chunks(_) => &[],
        }
    }
}

impl FromIterator<Extent> for Extents {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        let mut extents = extents.into_iter();
        match (extents.next(), extents.next()) {
            (Some(only), None) => Self::One(only),
            (first, second) => Self::Many(first.into_iter().chain(second).chain(extents).collect()),
        }
    }
}

impl<'a> IntoIterator for &'a Extents {
    type Item = &'a Extent;
    type IntoIter = std::slice::Iter<'a, Extent>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Record {
    /// The complete body, or `None` while the upload is still arriving.
    #[inline]
    pub fn whole(&self) -> Option<&Whole> {
        match &self.body {
            Body::Whole(whole) => Some(whole),
            Body::Growing(growing) => growing.finished(),
        }
    }

    /// Bytes of the body, or `None` while only its upload can tell.
    pub fn length(&self) -> Option<u64> {
        match &self.body {
            Body::Whole(whole) => Some(whole.length),
            Body::Growing(growing) => {
                growing.finished().map(|whole| whole.length).or(growing.length())
            }
        }
    }

    /// Whether its upload is still arriving. What a slower tier fills is as good as whole: a change
    /// takes its place in turn.
    pub fn is_arriving(&self) -> bool {
        self.length().is_none()
    }

    /// Whether the object is absent at `now_ms` because its time is over.
    #[inline]
    pub fn is_expired(&self, now_ms: Millis) -> bool {
        self.expires_ms <= now_ms
    }

    /// Whether no new answer may use this version: its time is over, or its upload broke off or
    /// was superseded. Both are seen on every shard at once, without a message.
    #[inline]
    pub fn is_gone(&self, now_ms: Millis) -> bool {
        self.is_expired(now_ms) || matches!(&self.body, Body::Growing(growing) if growing.is_cut())
    }

    /// How the body is cut, where memory has the description only.
    pub fn chunking(&self) -> Option<&Chunking> {
        self.whole().and_then(Whole::chunking)
    }

    /// Whether memory has the description only of a body that lies in a slower tier.
    pub fn is_in_chunks(&self) -> bool {
        self.whole().is_some_and(Whole::is_in_chunks)
    }

    /// Whether this is the empty object that some packagers store to probe a key.
    pub fn is_empty_probe(&self) -> bool {
        matches!(&self.body, Body::Whole(whole) if whole.length == 0)
    }
}
