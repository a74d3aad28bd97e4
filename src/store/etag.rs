//! Entity tags without memory of their own: every object has one, and most are as long.

use std::fmt;
use std::ops::Deref;

/// Bytes that fit: the tag of a digest with its quotes has 34.
const NEAR_BYTES: usize = 38;

/// A strong entity tag with its quotes (RFC 9110 section 8.8.3).
#[derive(Clone)]
pub enum Etag {
    /// One of the usual length.
    Near {
        /// Bytes that count.
        len: u8,
        /// The bytes, then zeros.
        bytes: [u8; NEAR_BYTES],
    },
    /// A longer one, as other stores make them.
    Far(Box<[u8]>),
}

impl Deref for Etag {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Near { len, bytes } => &bytes[..usize::from(*len)],
            Self::Far(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Etag {
    fn from(tag: &[u8]) -> Self {
        let mut bytes = [0; NEAR_BYTES];
        match (bytes.get_mut(..tag.len()), u8::try_from(tag.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(tag);
                Self::Near { len, bytes }
            }
            _ => Self::Far(tag.into()),
        }
    }
}

impl PartialEq for Etag {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Etag {}

impl fmt::Debug for Etag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_every_length_are_what_they_were() {
        for len in 0..100 {
            let text: Vec<u8> = (0..len).collect();
            let tag = Etag::from(&text[..]);
            assert_eq!(*tag, *text);
            assert_eq!(matches!(tag, Etag::Near { .. }), text.len() <= NEAR_BYTES);
            assert_eq!(tag.clone(), tag);
        }
        assert_ne!(Etag::from(&b"a"[..]), Etag::from(&b"a\0"[..]));
    }
}
