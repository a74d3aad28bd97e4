//! The header names that the origin looks at, and their recognition in a few instructions.
//!
//! A name's length, first and last letter select one slot of a table that is filled, and proved
//! free of collisions, at compile time; one comparison then decides.
//!
//! **Invariants**: a name is recognised whatever the case of its letters, and no other name is.

use super::scan::Pattern;

macro_rules! known {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A header that the origin looks at; every other header is checked and passed over.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Known { $(#[doc = concat!("`", $name, "`")] $variant,)* }

        /// Headers in the table.
        pub const KNOWN_COUNT: usize = [$(Known::$variant),*].len();

        /// The names by number, lower case.
        static PATTERNS: [Pattern; KNOWN_COUNT] = [$(Pattern::new($name)),*];

        const ALL: [Known; KNOWN_COUNT] = [$(Known::$variant),*];
        const NAMES: [&str; KNOWN_COUNT] = [$($name),*];
    };
}

known! {
    Host = "host",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Connection = "connection",
    Expect = "expect",
    Range = "range",
    IfRange = "if-range",
    IfMatch = "if-match",
    IfNoneMatch = "if-none-match",
    IfModifiedSince = "if-modified-since",
    IfUnmodifiedSince = "if-unmodified-since",
    Authorization = "authorization",
    Origin = "origin",
    ContentType = "content-type",
    CacheControl = "cache-control",
    UserAgent = "user-agent",
    Referer = "referer",
    AccessControlRequestMethod = "access-control-request-method",
    AccessControlRequestHeaders = "access-control-request-headers",
    XAmzUploadAvailability = "x-amz-upload-availability",
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
}

impl Known {
    /// Its name, lower case.
    #[must_use]
    pub fn name(self) -> &'static [u8] {
        PATTERNS[self as usize].word()
    }

    /// Its bit in a set of known headers.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// The known header called `name` in any case; `name` is a token.
    #[inline(always)]
    pub(super) fn find(name: &[u8]) -> Option<Self> {
        let (first, last) = (*name.first()?, *name.last()?);
        let number = SLOTS[slot(name.len(), first, last)];
        let pattern = PATTERNS.get(usize::from(number))?;
        if !pattern.matches(name) {
            return None;
        }
        ALL.get(usize::from(number)).copied()
    }
}

const SLOTS_COUNT: usize = 128;
const EMPTY: u8 = u8::MAX;
/// The known header's number for each slot, or `EMPTY`.
static SLOTS: [u8; SLOTS_COUNT] = fill();

// A set of known headers is kept in 32 bits.
const _: () = assert!(KNOWN_COUNT <= 32);

/// Where a name of `len` bytes goes; letters count the same in both cases.
#[inline(always)]
const fn slot(len: usize, first: u8, last: u8) -> usize {
    (len.wrapping_mul(4) ^ ((first & 31) as usize) << 1 ^ (last & 31) as usize) % SLOTS_COUNT
}

const fn fill() -> [u8; SLOTS_COUNT] {
    let mut slots = [EMPTY; SLOTS_COUNT];
    let mut number = 0;
    while number < KNOWN_COUNT {
        let name = NAMES[number].as_bytes();
        let at = slot(name.len(), name[0], name[name.len() - 1]);
        assert!(slots[at] == EMPTY, "two names share a slot: change the mixing in `slot`");
        #[expect(clippy::cast_possible_truncation, reason = "at most 32 names")]
        let small = number as u8;
        slots[at] = small;
        number += 1;
    }
    slots
}
