//! Header values that many objects share, kept once: the segments of a channel differ in none.
//!
//! Invariants: what is remembered is bounded, and found or not, the same values come back.

use std::sync::Arc;

use crate::limits;

/// What an object's answers say besides its tag, its age and its length.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Value of Content-Type.
    pub content_type: Box<[u8]>,
    /// Value of Cache-Control.
    pub cache_control: Box<[u8]>,
    /// Further header lines, each with its CRLF.
    pub lines: Box<[u8]>,
}

/// The values that were used last, the latest first.
#[derive(Debug, Default)]
pub struct KnownFields(Vec<Arc<Fields>>);

impl KnownFields {
    /// These values, shared with whoever asked for the same lately.
    pub fn of(&mut self, content_type: &[u8], cache_control: &[u8], lines: &[u8]) -> Arc<Fields> {
        let Self(known) = self;
        let is_same = |fields: &Arc<Fields>| {
            *fields.content_type == *content_type
                && *fields.cache_control == *cache_control
                && *fields.lines == *lines
        };
        let place = known.iter().position(is_same).unwrap_or_else(|| {
            known.truncate(limits::FIELDS_KNOWN_MAX - 1);
            known.push(Arc::new(Fields {
                content_type: content_type.into(),
                cache_control: cache_control.into(),
                lines: lines.into(),
            }));
            known.len() - 1
        });
        known[..=place].rotate_right(1);
        known[0].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_values_are_shared_and_few_are_remembered() {
        let mut known = KnownFields::default();
        let first = known.of(b"video/mp4", b"max-age=1", b"");
        for number in 0..2 * limits::FIELDS_KNOWN_MAX {
            let lines = format!("a: {number}\r\n");
            let fields = known.of(b"video/mp4", b"max-age=1", lines.as_bytes());
            assert_eq!(*fields.lines, *lines.as_bytes());
            assert!(Arc::ptr_eq(&fields, &known.of(b"video/mp4", b"max-age=1", lines.as_bytes())));
            assert!(Arc::ptr_eq(&first, &known.of(b"video/mp4", b"max-age=1", b"")));
        }
        assert_eq!(known.0.len(), limits::FIELDS_KNOWN_MAX);
    }
}
