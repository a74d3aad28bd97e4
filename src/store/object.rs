//! What the store knows of one version of an object.
//!
//! A record is immutable and shared by reference between the owner and the holders of leases.
//! The memory it names is freed by the protocol (holds and releases), never by its drop.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::limits;
use crate::sys::extent::Extent;

use super::fields::Fields;
use super::growing::Growing;
use super::heat::Heat;

/// Milliseconds on the process's monotonic clock.
pub type Millis = u64;

/// An expiry instant that never comes.
pub const NEVER: Millis = Millis::MAX;

/// One version of an object: identity, validators and where its bytes are. There may be millions,
/// so each is one allocation: its texts lie behind what has a fixed size.
pub struct Record<T: ?Sized = [u8]> {
    /// What else its answers say.
    pub fields: Arc<Fields>,
    /// Monotonic time at which the version was made.
    pub stored_ms: Millis,
    /// Monotonic instant from which the object is absent, or [`NEVER`].
    pub expires_ms: Millis,
    /// Where the bytes are.
    pub body: Body,
    modified_s: u32,
    key_len: u16,
    etag_len: u16,
    /// How often it was read lately.
    pub heat: Heat,
    /// The key, the entity tag, and what is left of the room for them.
    texts: T,
}

/// What a record is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// See [`Record::key`].
    pub key: &'a [u8],
    /// See [`Record::etag`]; at most [`limits::ETAG_BYTES_MAX`] bytes of it count.
    pub etag: &'a [u8],
    /// See [`Record::fields`].
    pub fields: Arc<Fields>,
    /// See [`Record::modified_s`]; at most 2106.
    pub modified_s: u64,
    /// See [`Record::stored_ms`].
    pub stored_ms: Millis,
    /// See [`Record::expires_ms`].
    pub expires_ms: Millis,
    /// See [`Record::body`].
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

/// A complete body; most lie in one extent, which says it all.
#[derive(Debug)]
pub struct Whole(Place);

#[derive(Debug)]
enum Place {
    One(Extent),
    Other(Box<(u64, Extents)>),
}

impl Whole {
    /// A body of `length` bytes; the extents' lengths add up to that, unless it is in chunks.
    pub fn new(length: u64, extents: Extents) -> Self {
        match extents {
            Extents::One(extent) if u64::from(extent.len) == length => Self(Place::One(extent)),
            extents => Self(Place::Other(Box::new((length, extents)))),
        }
    }

    /// Bytes in the body.
    #[inline]
    pub fn length(&self) -> u64 {
        match &self.0 {
            Place::One(extent) => u64::from(extent.len),
            Place::Other(other) => other.0,
        }
    }

    /// Where they lie, in order.
    #[inline]
    pub fn extents(&self) -> &[Extent] {
        match &self.0 {
            Place::One(extent) => std::slice::from_ref(extent),
            Place::Other(other) => &other.1,
        }
    }

    /// Whether memory has the body's description only.
    #[inline]
    pub fn is_in_chunks(&self) -> bool {
        self.chunking().is_some()
    }

    /// How the body is cut, where it is in chunks.
    #[inline]
    pub fn chunking(&self) -> Option<&Chunking> {
        match &self.0 {
            Place::Other(other) => match &other.1 {
                Extents::Chunks(chunking) => Some(chunking),
                Extents::One(_) | Extents::Many(_) => None,
            },
            Place::One(_) => None,
        }
    }

    /// Bytes of the body that are in memory under the object's own key.
    pub fn bytes_here(&self) -> u64 {
        if self.is_in_chunks() { 0 } else { self.length() }
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

impl Parts<'_> {
    fn with_room<const ROOM: usize>(self) -> Record<[u8; ROOM]> {
        let narrow = |len: usize| u16::try_from(len).expect("keys and tags are bounded");
        let mut texts = [0; ROOM];
        texts[..self.key.len()].copy_from_slice(self.key);
        texts[self.key.len()..][..self.etag.len()].copy_from_slice(self.etag);
        Record {
            fields: self.fields,
            stored_ms: self.stored_ms,
            expires_ms: self.expires_ms,
            body: self.body,
            modified_s: u32::try_from(self.modified_s).unwrap_or(u32::MAX),
            key_len: narrow(self.key.len()),
            etag_len: narrow(self.etag.len()),
            heat: Heat::default(),
            texts,
        }
    }
}

impl Record {
    /// A record, in one allocation.
    pub fn new(mut parts: Parts<'_>) -> Arc<Self> {
        parts.etag = &parts.etag[..parts.etag.len().min(limits::ETAG_BYTES_MAX)];
        // With what has a fixed size and the allocator's own word, each is a multiple of 16 bytes.
        match parts.key.len() + parts.etag.len() {
            0..=23 => Arc::new(parts.with_room::<23>()),
            24..=39 => Arc::new(parts.with_room::<39>()),
            40..=55 => Arc::new(parts.with_room::<55>()),
            56..=71 => Arc::new(parts.with_room::<71>()),
            72..=87 => Arc::new(parts.with_room::<87>()),
            88..=103 => Arc::new(parts.with_room::<103>()),
            104..=119 => Arc::new(parts.with_room::<119>()),
            120..=151 => Arc::new(parts.with_room::<151>()),
            152..=215 => Arc::new(parts.with_room::<215>()),
            216..=343 => Arc::new(parts.with_room::<343>()),
            344..=599 => Arc::new(parts.with_room::<599>()),
            600..=1111 => Arc::new(parts.with_room::<1111>()),
            _ => Arc::new(parts.with_room::<TEXTS_MAX>()),
        }
    }

    /// The key: a relative path without a leading slash.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.texts[..usize::from(self.key_len)]
    }

    /// Its entity tag.
    #[inline]
    pub fn etag(&self) -> &[u8] {
        &self.texts[usize::from(self.key_len)..][..usize::from(self.etag_len)]
    }

    /// Unix time of publication, in seconds: Last-Modified.
    #[inline]
    pub fn modified_s(&self) -> u64 {
        u64::from(self.modified_s)
    }

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
            Body::Whole(whole) => Some(whole.length()),
            Body::Growing(growing) => growing.finished().map(Whole::length).or(growing.length()),
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
        matches!(&self.body, Body::Whole(whole) if whole.length() == 0)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        write!(out, "{} {} {:?}", text(self.key()), text(self.etag()), self.body)
    }
}

/// Bytes of the longest texts: a key, what makes it that of a chunk, and a tag.
const TEXTS_MAX: usize = 2 * limits::KEY_BYTES_MAX + limits::ETAG_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_what_they_were() {
        for key_len in (0..limits::KEY_BYTES_MAX).step_by(7) {
            for etag_len in [0, 2, 18, 34, 200, limits::ETAG_BYTES_MAX, 10_000] {
                let (key, etag) = (vec![b'k'; key_len], vec![b'e'; etag_len]);
                let record = Record::new(Parts {
                    key: &key,
                    etag: &etag,
                    fields: Arc::default(),
                    modified_s: u64::MAX,
                    stored_ms: 0,
                    expires_ms: NEVER,
                    body: Body::Whole(Whole::new(0, Extents::from_iter([]))),
                });
                assert_eq!(*record.key(), *key);
                assert_eq!(*record.etag(), etag[..etag_len.min(limits::ETAG_BYTES_MAX)]);
                assert_eq!(record.modified_s(), u64::from(u32::MAX));
            }
        }
    }

    /// A million of them is what the memory beside the bodies is.
    #[test]
    fn a_record_is_small() {
        assert_eq!(size_of::<Body>(), 16);
        assert_eq!(size_of::<Record<[u8; 55]>>() + 2 * size_of::<usize>(), 120);
    }
}
