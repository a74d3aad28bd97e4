//! In whose terms a request is answered: the origin's own, or those of another store whose clients
//! come here unchanged.
//!
//! What a dialect changes is kept small: how a request is recognised, what errors look like, and
//! what an upload is answered with. Keys, conditions, ranges and bytes are the origin's own.
//!
//! **Invariants**: a dialect that the configuration does not name is never recognised; whatever is
//! recognised is recognised by the head alone.

use super::errors::Bare;
use super::sigv4::Signature;
use super::{mediastore, momento};
use crate::config::Access;
use crate::http::known::Known;
use crate::http::request::{Head, Method};
use crate::http::response::{Overflow, Writer, error_body};

/// In whose terms a request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The origin's own.
    #[default]
    Native,
    /// Those of AWS Elemental MediaStore.
    MediaStore,
    /// Those of Momento's Object Store.
    ObjectStore,
    /// Those of Momento's Cache.
    Cache,
}

impl Dialect {
    /// Whether any request may be of another dialect than the origin's own.
    #[inline]
    pub fn any(access: &Access) -> bool {
        access.mediastore.is_some() || access.momento.is_some()
    }

    /// The dialect of a request. SDKs sign what they send; those that were told not to are known by
    /// the headers of their uploads. An unsigned read is a plain one. What Momento's clients ask
    /// for lies below two paths.
    pub fn of(access: &Access, head: &Head, bytes: &[u8]) -> Self {
        if access.momento.is_some() {
            let found = momento::dialect(head.path.of(bytes));
            if found != Self::Native {
                return found;
            }
        }
        if access.mediastore.is_none() {
            return Self::Native;
        }
        let is_signed = head.header(bytes, Known::Authorization).is_some_and(Signature::is_one);
        let is_read = matches!(head.method, Method::Get | Method::Head | Method::Options);
        match is_signed || !is_read && head.lines(bytes).any(|(name, _)| is_of_sdk(name)) {
            true => Self::MediaStore,
            false => Self::Native,
        }
    }

    /// Whether it is one of Momento's.
    #[inline]
    pub fn is_momento(self) -> bool {
        matches!(self, Self::ObjectStore | Self::Cache)
    }

    /// The header that names the request to its client.
    pub fn id_header(self) -> Option<&'static [u8]> {
        match self {
            Self::Native => None,
            Self::MediaStore => Some(b"x-amzn-RequestId"),
            Self::ObjectStore | Self::Cache => Some(b"mo-request-id"),
        }
    }

    /// Writes the body of an error.
    ///
    /// # Errors
    /// When `out` is too small.
    pub fn error_body(self, bare: &Bare<'_>, out: &mut [u8]) -> Result<usize, Overflow> {
        match self {
            Self::Native => error_body(bare.status, bare.message, out),
            Self::MediaStore => mediastore::error_body(bare, out),
            Self::ObjectStore | Self::Cache => momento::error_body(self, bare, out),
        }
    }

    /// Writes the header lines of an error that its body does not make superfluous.
    pub fn error_lines(self, bare: &Bare<'_>, writer: &mut Writer<'_>) {
        if self == Self::MediaStore && !mediastore::names_error(bare.lines) {
            writer.header(b"x-amzn-ErrorType", mediastore::error_type(bare).as_bytes());
        }
    }
}

fn is_of_sdk(name: &[u8]) -> bool {
    let starts_with = |prefix: &[u8]| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    starts_with(b"x-amz-") || starts_with(b"amz-sdk-")
}

/// A request's id in the form of a UUID of version 7 (RFC 9562 section 5.7): 48 bits of Unix time
/// in milliseconds, then bits of `chance`, which nobody else uses.
pub fn request_id(unix_ms: u64, chance: u128) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = u128::from(unix_ms) << 80 | chance & ((1 << 80) - 1);
    let bits = bits & !(0xf << 76) | 7 << 76;
    let bits = bits & !(0b11 << 62) | 0b10 << 62;
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|place| ![8, 13, 18, 23].contains(place));
    for (nibble, place) in places.enumerate() {
        let digit = bits >> (124 - 4 * nibble) & 15;
        text[place] = DIGITS[usize::try_from(digit).unwrap_or(0)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MediaStore, Momento};
    use crate::http::request;

    #[test]
    fn a_request_id_is_a_uuid_of_version_7() {
        let id = request_id(0x0123_4567_89ab, u128::MAX);
        assert_eq!(&id, b"01234567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(&request_id(0, 0), b"00000000-0000-7000-8000-000000000000");
    }

    #[test]
    fn a_request_is_recognised_only_where_the_dialect_is_on() {
        let mut access = Access::default();
        let dialect = |access: &Access, line: &str, headers: &str| {
            let text = format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
            let head = request::parse(text.as_bytes()).unwrap().unwrap();
            Dialect::of(access, &head, text.as_bytes())
        };
        let signed = "Authorization: AWS4-HMAC-SHA256 Credential=a\r\n";
        assert_eq!(dialect(&access, "GET /a", signed), Dialect::Native);
        assert_eq!(dialect(&access, "GET /cache/a", ""), Dialect::Native);
        access.mediastore = Some(MediaStore::default());
        access.momento = Some(Momento::default());
        for (line, headers, expected) in [
            ("GET /a", signed, Dialect::MediaStore),
            ("GET /a", "Authorization: Bearer a\r\n", Dialect::Native),
            ("GET /a", "X-Amz-Date: a\r\n", Dialect::Native),
            ("PUT /a", "X-Amz-Storage-Class: TEMPORAL\r\n", Dialect::MediaStore),
            ("DELETE /a", "amz-sdk-request: attempt=1\r\n", Dialect::MediaStore),
            ("PUT /a", "X-Am: b\r\n", Dialect::Native),
            ("GET /cache/a?key=b", "", Dialect::Cache),
            ("GET /objectstore", "", Dialect::ObjectStore),
            ("PUT /objectstore/a/b/c", "", Dialect::ObjectStore),
            ("GET /caches/a", "", Dialect::Native),
            ("GET /a/cache/b", "", Dialect::Native),
        ] {
            assert_eq!(dialect(&access, line, headers), expected, "{line} {headers}");
        }
    }
}
