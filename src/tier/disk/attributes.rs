//! An object's metadata as the value of one extended attribute: four lines of text, or more.
//!
//! `1 LENGTH MODIFIED EXPIRES SUM`, entity tag, Content-Type, Cache-Control; times are Unix times
//! (seconds, and milliseconds for EXPIRES, `-` for never), SUM is the body's XXH3-128 in hex.
//! Where an object has further header lines the value begins with `2`, and they follow. With sums
//! of its chunks it is `3 LENGTH MODIFIED EXPIRES SUM BYTES SUMS`, and a line end follows in any
//! case: chunks of BYTES bytes, of each the XXH3-64 in hex, one behind the other.
//!
//! Invariants: what was encoded decodes to the same; anything else is refused, never guessed.

use super::sums::Chunks;
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
    /// Sums of its chunks, where it has several.
    pub chunks: Option<Chunks>,
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
    /// The attribute's value, unless it is longer than [`ATTRIBUTE_BYTES_MAX`]. Where the sums of
    /// chunks have no room it is without them.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let with_chunks = self.chunks.as_ref().map(|chunks| self.value(Some(chunks)));
        with_chunks
            .filter(|value| value.len() <= ATTRIBUTE_BYTES_MAX)
            .or_else(|| self.encode_without_chunks())
    }

    /// The same without the sums of chunks, for places that have less room.
    pub fn encode_without_chunks(&self) -> Option<Vec<u8>> {
        Some(self.value(None)).filter(|value| value.len() <= ATTRIBUTE_BYTES_MAX)
    }

    fn value(&self, chunks: Option<&Chunks>) -> Vec<u8> {
        let expires = self.expires_ms.map_or("-".to_owned(), |ms| ms.to_string());
        let Self { length, modified_s, sum, .. } = self;
        let version = match chunks {
            Some(_) => 3,
            None if self.lines.is_empty() => 1,
            None => 2,
        };
        let mut value = format!("{version} {length} {modified_s} {expires} {sum:032x}");
        if let Some(Chunks { bytes, sums }) = chunks {
            value += &format!(" {bytes} ");
            sums.iter().for_each(|sum| value += &format!("{sum:016x}"));
        }
        let mut value = value.into_bytes();
        for text in [&self.etag, &self.content_type, &self.cache_control] {
            debug_assert!(!text.contains(&b'\n'), "header values have no line ends");
            value.push(b'\n');
            value.extend_from_slice(text);
        }
        if version > 1 {
            value.push(b'\n');
            value.extend_from_slice(&self.lines);
        }
        value
    }

    /// What a value says; `None` when it is not one of [`Attributes::encode`].
    pub fn decode(value: &[u8]) -> Option<Self> {
        let mut lines = value.splitn(5, |&byte| byte == b'\n');
        let numbers = std::str::from_utf8(lines.next()?).ok()?;
        let (etag, content_type, cache_control) = (lines.next()?, lines.next()?, lines.next()?);
        let mut numbers = numbers.split(' ');
        let version = numbers.next()?;
        let lines: Box<[u8]> = match (version, lines.next()) {
            ("1", None) | ("3", Some([])) => [].into(),
            ("2" | "3", Some(lines)) if are_lines(lines) => lines.into(),
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
        let chunks = match version {
            "3" => Some(chunks(numbers.next()?, numbers.next()?, length)?),
            _ => None,
        };
        if numbers.next().is_some() {
            return None;
        }
        let (etag, content_type) = (etag.into(), content_type.into());
        let cache_control = cache_control.into();
        Some(Self {
            length,
            modified_s,
            expires_ms,
            sum,
            chunks,
            etag,
            content_type,
            cache_control,
            lines,
        })
    }
}

/// The sums of chunks of a body of `length` bytes, as a value has them.
fn chunks(bytes: &str, sums: &str, length: u64) -> Option<Chunks> {
    let is_hex = sums.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let (digits, []) = sums.as_bytes().as_chunks::<16>() else { return None };
    let sum = |digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let sums = digits.iter().map(|digits| sum(digits)).collect::<Option<_>>()?;
    let chunks = Chunks { bytes: bytes.parse().ok()?, sums };
    (is_hex && chunks.fit(length)).then_some(chunks)
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
    use crate::limits::{DISK_CHUNK_BYTES_MIN, DISK_CHUNKS_MAX};

    fn some() -> Attributes {
        Attributes {
            length: 5,
            modified_s: 1_700_000_000,
            expires_ms: None,
            sum: 0xab,
            chunks: None,
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

    /// With as many chunks as an object may have.
    fn chunked() -> Attributes {
        let (bytes, count) = (DISK_CHUNK_BYTES_MIN, DISK_CHUNKS_MAX);
        let sums = (0..count).map(|at| at << 56 | 1).collect();
        let chunks = Some(Chunks { bytes, sums });
        Attributes { length: bytes * count - 1, chunks, ..some() }
    }

    /// Files that were written by earlier versions.
    #[test]
    fn what_is_without_chunks_is_read() {
        let plain = format!("1 5 1700000000 - {:032x}\n\"x\"\nvideo/mp4\nmax-age=60", 0xab);
        assert_eq!(Attributes::decode(plain.as_bytes()), Some(some()));
        let lines: Box<[u8]> = b"a: b\r\n"[..].into();
        let value = [b"2", &plain.as_bytes()[1..], b"\n", &lines].concat();
        assert_eq!(Attributes::decode(&value), Some(Attributes { lines, ..some() }));
    }

    #[test]
    fn sums_of_chunks_are_kept() {
        for lines in [&b""[..], b"a: b\r\n"] {
            let attributes = Attributes { lines: lines.into(), ..chunked() };
            let value = attributes.encode().unwrap();
            assert!(value.starts_with(b"3 ") && value.len() <= ATTRIBUTE_BYTES_MAX);
            assert_eq!(Attributes::decode(&value), Some(attributes));
        }
    }

    /// Sums of chunks make reads faster; nothing is refused for their sake.
    #[test]
    fn without_room_for_them_sums_of_chunks_are_left_out() {
        let long = vec![b'x'; ATTRIBUTE_BYTES_MAX * 2 / 3].into_boxed_slice();
        let attributes = Attributes { content_type: long, ..chunked() };
        let kept = Attributes { chunks: None, ..attributes.clone() };
        assert_eq!(Attributes::decode(&attributes.encode().unwrap()), Some(kept));
    }

    #[test]
    fn sums_of_other_chunks_are_refused() {
        let value = String::from_utf8(chunked().encode().unwrap()).unwrap();
        let (bytes, length) = (DISK_CHUNK_BYTES_MIN, chunked().length);
        let changed = |from: &str, to: &str| value.replacen(from, to, 1);
        for value in [
            changed(&length.to_string(), &(length + 2).to_string()),
            changed(&length.to_string(), &(length - bytes).to_string()),
            changed(&format!(" {bytes} "), &format!(" {} ", 2 * bytes)),
            changed(&format!(" {bytes} "), &format!(" {} ", bytes - 1)),
            changed(&format!(" {bytes} "), " 0 "),
            changed("0000000000000001", "+000000000000001"),
            changed("0000000000000001", "000000000000000A"),
            changed("0000000000000001", ""),
            changed("0000000000000001", "00000000000000011"),
            changed("3 ", "2 "),
            changed("3 ", "4 "),
            value[..value.len() - 1].to_owned(),
            value.clone() + "a: b",
        ] {
            assert_eq!(Attributes::decode(value.as_bytes()), None, "{value}");
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
