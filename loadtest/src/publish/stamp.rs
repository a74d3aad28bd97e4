//! The stamp at the head of every published chunk: when it was published, and what it must hold.
//!
//! A published segment is `styp`, then one or more chunks; a chunk is a `uuid` box with the stamp,
//! a `moof`, and an `mdat` of seeded bytes (`content`). A reader that gets the bytes in any
//! pieces hands them to a [`Scanner`], which tells it of every chunk that is complete, its publish
//! instants, and whether its bytes are right. Numbers are big-endian:
//!
//! ```text
//! size u32 = 88 | "uuid" | USER_TYPE 16 | due_ns u64 | sent_ns u64 | seed u64 | sequence u64
//! | length u64 | payload u64 | channel u32 | track u32 | chunk u32 | chunks u32
//! ```
//!
//! The clock is CLOCK_REALTIME: across hosts a delay is as good as their clocks agree.
//! Never does: keep more than one header.

use crate::content::{Content, Verifier};

/// Bytes of the box.
pub const LENGTH: usize = 88;
/// Identity of the box (ISO/IEC 14496-12, section 4.2): ASCII for those who look at a dump.
pub const USER_TYPE: [u8; 16] = *b"loadtest-stamp-1";
/// Bytes of a box's header: size and type.
const HEADER: usize = 8;

/// What the publisher says about one chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// When the schedule had the chunk published: nanoseconds since 1970.
    pub due_ns: u64,
    /// When its bytes were handed to the kernel. Later than `due_ns` is the publisher's fault.
    pub sent_ns: u64,
    /// Seed of the content.
    pub seed: u64,
    /// Number of the segment within its track, from 0.
    pub sequence: u64,
    /// Bytes of the chunk: this box, `moof` and `mdat`.
    pub length: u64,
    /// Bytes of content at the end of the chunk, within `mdat`.
    pub payload: u64,
    /// Number of the channel.
    pub channel: u32,
    /// Number of the track within its channel.
    pub track: u32,
    /// Number of the chunk within its segment, from 0.
    pub chunk: u32,
    /// Chunks in the segment.
    pub chunks: u32,
}

impl Stamp {
    /// The box.
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        #[expect(clippy::cast_possible_truncation, reason = "a constant")]
        put(&(LENGTH as u32).to_be_bytes());
        put(b"uuid");
        put(&USER_TYPE);
        for wide in [self.due_ns, self.sent_ns, self.seed, self.sequence, self.length, self.payload]
        {
            put(&wide.to_be_bytes());
        }
        for narrow in [self.channel, self.track, self.chunk, self.chunks] {
            put(&narrow.to_be_bytes());
        }
        bytes
    }

    /// The stamp in a box; `None` when it is another box or says what cannot be.
    pub fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        if bytes[..4] != 88u32.to_be_bytes() || &bytes[4..8] != b"uuid" || bytes[8..24] != USER_TYPE
        {
            return None;
        }
        let wide = |index: usize| {
            bytes[24 + 8 * index..].first_chunk().map_or(0, |b| u64::from_be_bytes(*b))
        };
        let narrow = |index: usize| {
            bytes[72 + 4 * index..].first_chunk().map_or(0, |b| u32::from_be_bytes(*b))
        };
        let stamp = Self {
            due_ns: wide(0),
            sent_ns: wide(1),
            seed: wide(2),
            sequence: wide(3),
            length: wide(4),
            payload: wide(5),
            channel: narrow(0),
            track: narrow(1),
            chunk: narrow(2),
            chunks: narrow(3),
        };
        (stamp.length >= LENGTH as u64 && stamp.payload <= stamp.length - LENGTH as u64)
            .then_some(stamp)
    }

    /// The bytes that the payload must be.
    pub fn content(&self) -> Content {
        let key = format!("{}/{}/{}/{}", self.channel, self.track, self.sequence, self.chunk);
        Content::new(self.seed, &key, self.payload)
    }
}

/// A chunk whose last byte has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its stamp.
    pub stamp: Stamp,
    /// Whether its payload was right; `None` when it was not looked at.
    pub right: Option<bool>,
}

/// Finds stamps in a segment that arrives in pieces.
#[derive(Clone, Debug)]
pub struct Scanner {
    head: [u8; LENGTH],
    filled: u8,
    state: State,
    verify: bool,
}

#[derive(Clone, Debug)]
enum State {
    /// At the start of a box.
    Box,
    /// Within a box that is no stamp; so many bytes are left.
    Other(u64),
    /// Within a chunk: its stamp, the bytes left, and the check of its payload.
    Chunk { stamp: Stamp, left: u64, verifier: Option<Verifier> },
    /// No boxes of ours: the rest is not looked at.
    Foreign,
}

impl Scanner {
    /// For one segment (or a range of it that begins with a box); `verify` compares payloads.
    pub fn new(verify: bool) -> Self {
        Self { head: [0; LENGTH], filled: 0, state: State::Box, verify }
    }

    /// False once the bytes turned out to be no boxes; they are then not looked at.
    pub fn understands(&self) -> bool {
        !matches!(self.state, State::Foreign)
    }

    /// The stamp of the chunk under way.
    pub fn stamp(&self) -> Option<&Stamp> {
        match &self.state {
            State::Chunk { stamp, .. } => Some(stamp),
            _ => None,
        }
    }

    /// True when the bytes so far end with the end of a box.
    pub fn is_whole(&self) -> bool {
        self.filled == 0 && matches!(self.state, State::Box)
    }

    /// Takes the next bytes; `arrived` hears of each chunk that they complete.
    pub fn push(&mut self, bytes: &[u8], mut arrived: impl FnMut(Arrived)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::Foreign => return,
                State::Box => self.header(rest),
                State::Other(left) => {
                    let take = within(*left, rest);
                    *left -= take as u64;
                    if *left == 0 {
                        self.state = State::Box;
                    }
                    &rest[take..]
                }
                State::Chunk { stamp, left, verifier } => {
                    let take = within(*left, rest);
                    if let Some(verifier) = verifier {
                        // The payload is the chunk's end; boxes before it are passed over.
                        let before = left.saturating_sub(stamp.payload);
                        let skip = within(before, &rest[..take]);
                        verifier.check(&rest[skip..take]);
                    }
                    *left -= take as u64;
                    if *left == 0 {
                        let right = verifier.map(|verifier| verifier.finish(stamp.payload));
                        arrived(Arrived { stamp: *stamp, right });
                        self.state = State::Box;
                    }
                    &rest[take..]
                }
            };
        }
    }

    /// Collects a header, and all of a stamp; gives what is left.
    fn header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let filled = usize::from(self.filled);
        let is_uuid = filled >= HEADER && self.head[4..8] == *b"uuid";
        let wanted = if is_uuid { LENGTH } else { HEADER };
        let take = (wanted - filled).min(bytes.len());
        self.head[filled..filled + take].copy_from_slice(&bytes[..take]);
        #[expect(clippy::cast_possible_truncation, reason = "at most LENGTH")]
        let filled = (filled + take) as u8;
        self.filled = filled;
        if usize::from(filled) == HEADER {
            let size = self.head.first_chunk().map_or(0, |b| u64::from(u32::from_be_bytes(*b)));
            let stamp = self.head[4..8] == *b"uuid" && size == LENGTH as u64;
            if !stamp {
                // Size 1 (64 bits) and 0 (to the end) are never published: not ours.
                self.filled = 0;
                self.state = match size {
                    0..8 => State::Foreign,
                    8 => State::Box,
                    size => State::Other(size - HEADER as u64),
                };
            }
        } else if usize::from(filled) == LENGTH {
            self.filled = 0;
            self.state = match Stamp::parse(&self.head) {
                None => State::Box,
                Some(stamp) => {
                    let verifier = self.verify.then(|| Verifier::new(stamp.content(), 0));
                    State::Chunk { stamp, left: stamp.length - LENGTH as u64, verifier }
                }
            };
        }
        &bytes[take..]
    }
}

/// Bytes of `bytes` that belong to the next `left`.
fn within(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}

#[cfg(test)]
#[path = "stamp_tests.rs"]
mod tests;
