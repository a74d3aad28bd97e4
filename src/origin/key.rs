//! Keys: what a request target names in the store.
//!
//! A key is a relative path: parts of 1 to 255 bytes joined by `/`, at most 900 bytes in all, no
//! `.` or `..` part, no control bytes. Percent-encoding is taken off once.

use crate::limits::{KEY_BYTES_MAX, KEY_PART_BYTES_MAX};

/// Room to decode a key in.
pub type Scratch = [u8; KEY_BYTES_MAX];

/// Why a target names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The path is `/`.
    Root,
    /// More than 900 bytes.
    TooLong,
    /// A part is empty: two slashes in a row, or one at the end.
    EmptyPart,
    /// A part has more than 255 bytes.
    PartTooLong,
    /// A part is `.` or `..`.
    DotPart,
    /// A control byte, plain or encoded.
    ControlByte,
    /// `%` without two hexadecimal digits.
    BadEncoding,
    /// An encoded slash would make two keys look like one.
    EncodedSlash,
}

impl Fault {
    /// The sentence for the answer.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Root => "the path names no object",
            Self::TooLong => "the key has more than 900 bytes",
            Self::EmptyPart => "the key has an empty part (a doubled or trailing slash)",
            Self::PartTooLong => "a part of the key has more than 255 bytes",
            Self::DotPart => "a part of the key is '.' or '..'",
            Self::ControlByte => "the key has a control byte",
            Self::BadEncoding => "'%' is not followed by two hexadecimal digits",
            Self::EncodedSlash => "the key has an encoded slash",
        }
    }
}

/// The key as it stands in the path, when it needs no decoding: enough to look for it, since only
/// valid keys are stored.
#[inline]
pub fn plain(path: &[u8]) -> Option<&[u8]> {
    let key = path.strip_prefix(b"/")?;
    (!key.contains(&b'%')).then_some(key)
}

/// The key that a path names.
///
/// # Errors
/// The first [`Fault`] found.
pub fn parse<'a>(path: &'a [u8], scratch: &'a mut Scratch) -> Result<&'a [u8], Fault> {
    let raw = path.strip_prefix(b"/").ok_or(Fault::Root)?;
    let key = if raw.contains(&b'%') { decode(raw, scratch)? } else { raw };
    check(key)?;
    Ok(key)
}

/// Checks a decoded key.
///
/// # Errors
/// The first [`Fault`] found.
pub fn check(key: &[u8]) -> Result<(), Fault> {
    if key.is_empty() {
        return Err(Fault::Root);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Fault::TooLong);
    }
    for part in key.split(|&byte| byte == b'/') {
        match part {
            b"" => return Err(Fault::EmptyPart),
            b"." | b".." => return Err(Fault::DotPart),
            _ if part.len() > KEY_PART_BYTES_MAX => return Err(Fault::PartTooLong),
            _ if part.iter().any(u8::is_ascii_control) => return Err(Fault::ControlByte),
            _ => {}
        }
    }
    Ok(())
}

fn decode<'a>(raw: &[u8], scratch: &'a mut Scratch) -> Result<&'a [u8], Fault> {
    let mut len = 0;
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let mut byte = first;
        if first == b'%' {
            let digits = rest.get(..2).ok_or(Fault::BadEncoding)?;
            byte = hex_pair(digits).ok_or(Fault::BadEncoding)?;
            rest = &rest[2..];
            if byte == b'/' {
                return Err(Fault::EncodedSlash);
            }
        }
        *scratch.get_mut(len).ok_or(Fault::TooLong)? = byte;
        len += 1;
    }
    Ok(&scratch[..len])
}

/// The byte that two hexadecimal digits name.
pub(super) fn hex_pair(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(digits[0])? * 16 + digit(digits[1])?;
    u8::try_from(value).ok()
}

/// Whether a key lies under a reserved path: `time`, `topics/`.
pub fn is_reserved(key: &[u8]) -> bool {
    key == b"time" || key == b"topics" || key.starts_with(b"topics/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Result<Vec<u8>, Fault> {
        let mut scratch = [0; KEY_BYTES_MAX];
        parse(path.as_bytes(), &mut scratch).map(<[u8]>::to_vec)
    }

    #[test]
    fn keys_are_decoded_once_and_checked_afterwards() {
        assert_eq!(parsed("/live/a%20b.ts").unwrap(), b"live/a b.ts");
        assert_eq!(parsed("/a%2541").unwrap(), b"a%41");
        assert_eq!(parsed("/%e4").unwrap(), b"\xe4");
        assert_eq!(parsed("/"), Err(Fault::Root));
        assert_eq!(parsed("/a//b"), Err(Fault::EmptyPart));
        assert_eq!(parsed("/a/"), Err(Fault::EmptyPart));
        assert_eq!(parsed("/a/%2e%2e/b"), Err(Fault::DotPart));
        assert_eq!(parsed("/a%00"), Err(Fault::ControlByte));
        assert_eq!(parsed("/a%2fb"), Err(Fault::EncodedSlash));
        assert_eq!(parsed("/a%2"), Err(Fault::BadEncoding));
        assert_eq!(parsed("/a%zz"), Err(Fault::BadEncoding));
        assert_eq!(parsed(&format!("/{}", "a".repeat(256))), Err(Fault::PartTooLong));
        assert_eq!(parsed(&format!("/{}", "a/".repeat(451))), Err(Fault::TooLong));
        assert_eq!(parsed(&format!("/{}a", "a/".repeat(449))).unwrap().len(), 899);
        let parts = ["a".repeat(255), "b".repeat(255), "c".repeat(255), "d".repeat(132)].join("/");
        assert_eq!(parsed(&format!("/{parts}")).unwrap().len(), 900);
        assert_eq!(parsed(&format!("/{parts}e")), Err(Fault::TooLong));
    }
}
