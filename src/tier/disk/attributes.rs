//! An object's metadata as the value of one extended attribute: four lines of text, or more.
//!
//! `1 LENGTH MODIFIED EXPIRES SUM`, entity tag, Content-Type, Cache-Control; times are Unix times
//! (seconds, and milliseconds for EXPIRES, `-` for never), SUM is the body's XXH3-128 in hex.
//! Where an object has further header lines the value begins with `2`, and they follow.
//!
//! Invariants: what was encoded decodes to the same; anything else is refused, never guessed.

use crate::limits::ATTRIBUTE_BYTES_MAX;

/// What is kept beside a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Bytes of the body.
    pub length: u64,
    /// Unix time of publication, in seconds.
    pub modified_s: u64,
    /// Unix time from which the object is absent, in milliseconds; none: never.
    pub expires_ms: Option<u64>,
    /// XXH3-128 of the body.
    pub sum: u128,
    /// Entity tag with its quotes.
    pub etag: Box<[u8]>,
    /// Value of Content-Type.
    pub content_type: Box<[u8]>,
    /// Value of Cache-Control.
    pub cache_control: Box<[u8]>,
    /// Further header lines, each with its CRLF.
    pub lines: Box<[u8]>,
}

impl Attributes {
    /// The attribute's value, unless it is longer than [`ATTRIBUTE_BYTES_MAX`].
    pub fn encode(&self) -> Option<Vec<u8>> {
        let expires = self.expires_ms.map_or("-".to_owned(), |ms| ms.to_string());
        let Self { length, modified_s, sum, .. } = self;
        let version = if self.lines.is_empty() { 1 } else { 2 };
        let mut value =
            format!("{version} {length} {modified_s} {expires} {sum:032x}").into_bytes();
        for text in [&self.etag, &self.content_type, &self.cache_control] {
            debug_assert!(!text.contains(&b'\n'), "header values have no line ends");
            value.push(b'\n');
            value.extend_from_slice(text);
        }
        if version == 2 {
            value.push(b'\n');
            value.extend_from_slice(&self.lines);
        }
        (value.len() <= ATTRIBUTE_BYTES_MAX).then_some(value)
    }

    /// What a value says; `None` when it is not one of [`Attributes::encode`].
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut lines = value.splitn(5, |&byte| byte == b'\n');
        let numbers = std::str::from_utf8(lines.next()?).ok()?;
        let (etag, content_type, cache_control) = (lines.next()?, lines.next()?, lines.next()?);
        let mut numbers = numbers.split(' ');
        let lines: Box<[u8]> = match (numbers.next()?, lines.next()) {
            ("1", None) => [].into(),
            ("2", Some(lines)) if are_lines(lines) => lines.into(),
            _ => return None,
        };
        let length = numbers.next()?.parse().ok()?;
        let modified_s = numbers.next()?.parse().ok()?;
        let expires_ms = match numbers.next()? {
            "-" => None,
            ms => Some(ms.parse().ok()?),
        };
        let sum = numbers.next().filter(|sum| sum.len() == 32)?;
        let sum = u128::from_str_radix(sum, 16).ok()?;
        if numbers.next().is_some() {
            return None;
        }
        let (etag, content_type) = (etag.into(), content_type.into());
        let cache_control = cache_control.into();
        Some(Self { length, modified_s, expires_ms, sum, etag, content_type, cache_control, lines })
    }
}

/// Whether these are header lines, each with its CRLF, and none of them empty: an empty one would
/// end the head of every answer with it.
fn are_lines(mut rest: &[u8]) -> bool {
    let any = !rest.is_empty();
    while let Some(end) = rest.iter().position(|&byte| matches!(byte, b'\r' | b'\n')) {
        let is_line = end > 0 && rest[end..].starts_with(b"\r\n") && rest[..end].contains(&b':');
        if !is_line {
            return false;
        }
        rest = &rest[end + 2..];
    }
    any && rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Attributes {
        Attributes {
            length: 5,
            modified_s: 1_700_000_000,
            expires_ms: None,
            sum: 0xab,
            etag: b"\"x\"".as_slice().into(),
            content_type: b"video/mp4".as_slice().into(),
            cache_control: b"max-age=60".as_slice().into(),
            lines: [].into(),
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        for expires_ms in [None, Some(0), Some(u64::MAX)] {
            let attributes = Attributes { expires_ms, ..some() };
            assert_eq!(Attributes::decode(&attributes.encode().unwrap()), Some(attributes));
        }
    }

    #[test]
    fn further_lines_are_kept() {
        let attributes = Attributes { lines: b"a: b\r\nc: d\r\n"[..].into(), ..some() };
        let value = attributes.encode().unwrap();
        assert_eq!(Attributes::decode(&value), Some(attributes));
        assert_eq!(Attributes::decode(&value[..value.len() - 1]), None);
    }

    /// An attribute whose lines were an empty one was taken, and ended the head of its answers.
    #[test]
    fn lines_that_are_none_are_refused() {
        let value = some().encode().unwrap();
        for lines in [
            "",
            "\r\n",
            "a: b",
            "a: b\n",
            "a: b\r\n\r\n",
            "\r\na: b\r\n",
            "a: b\nc: d\r\n",
            "ab\r\n",
        ] {
            let value = [b"2", &value[1..], b"\n", lines.as_bytes()].concat();
            assert_eq!(Attributes::decode(&value), None, "{lines:?}");
        }
    }

    #[test]
    fn what_is_cut_short_or_changed_is_refused() {
        let value = some().encode().unwrap();
        let tag = value.iter().position(|&byte| byte == b'\n').unwrap();
        for end in 0..tag {
            assert_eq!(Attributes::decode(&value[..end]), None, "{end}");
        }
        assert_eq!(Attributes::decode(&[&value[..], b"\n"].concat()), None);
        assert_eq!(Attributes::decode(&[b"2", &value[1..]].concat()), None);
        assert_eq!(Attributes::decode(b"\xff"), None);
    }

    #[test]
    fn long_values_are_not_kept() {
        let long = vec![b'x'; ATTRIBUTE_BYTES_MAX].into_boxed_slice();
        assert_eq!(Attributes { content_type: long, ..some() }.encode(), None);
    }
}
