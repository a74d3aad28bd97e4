//! Answers without an object: errors with a short JSON body, and bare successes.

use crate::http::date::DATE_BYTES;
use crate::http::response::{Overflow, Status, Writer};
use crate::media::CacheAge;

use super::heads::{self, Manner};

/// Longest JSON body of an error.
const ERROR_BODY_BYTES_MAX: usize = 512;

/// What goes into an answer without an object.
pub struct Bare<'a> {
    /// The status.
    pub status: Status,
    /// For an error: what was wrong and what to do.
    pub message: &'a str,
    /// Further header lines, each with its CRLF.
    pub lines: &'a [u8],
    /// The answer to HEAD has no body.
    pub body_allowed: bool,
}

/// The methods the origin knows, for Allow.
pub const ALLOW: &[u8] = b"Allow: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\n";
/// The methods for `/`, which can only be listed.
pub const ALLOW_ROOT: &[u8] = b"Allow: GET, HEAD, OPTIONS\r\n";
/// For 503: try again in a second.
pub const RETRY: &[u8] = b"Retry-After: 1\r\n";

/// Writes the whole answer, with these CORS lines and for an error this age; how many bytes it has.
///
/// # Errors
/// When `out` is too small.
pub fn write(
    out: &mut [u8],
    bare: &Bare<'_>,
    age: CacheAge,
    date: &[u8; DATE_BYTES],
    manner: Manner,
    cors: &[u8],
) -> Result<usize, Overflow> {
    let mut body = [0; ERROR_BODY_BYTES_MAX];
    let is_error = bare.status.code() >= 400;
    let len = match is_error {
        true => manner.dialect.error_body(bare, &mut body)?,
        false => 0,
    };
    let mut writer = Writer::new(out);
    heads::begin(&mut writer, bare.status, date);
    if is_error {
        writer.raw(b"Content-Type: application/json\r\n");
        manner.dialect.error_lines(bare, &mut writer);
        // Another request for the same may come with a better credential.
        let age = match bare.status {
            Status::Unauthorized | Status::Forbidden => &b"no-store"[..],
            _ => age.as_bytes(),
        };
        writer.header(b"Cache-Control", age);
    }
    if has_length(bare.status) {
        writer.header_u64(b"Content-Length", len as u64);
    }
    writer.raw(cors);
    writer.raw(bare.lines);
    writer.raw(manner.connection_line());
    writer.end_head();
    if bare.body_allowed {
        writer.raw(&body[..len]);
    }
    writer.finish()
}

/// 204 and 304 have no body and need no length (RFC 9110 section 8.6).
fn has_length(status: Status) -> bool {
    !matches!(status, Status::NoContent | Status::NotModified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Version;
    use crate::origin::dialect::Dialect;

    #[test]
    fn an_error_has_a_body_and_a_cache_age() {
        let mut out = [0; 1024];
        let bare = Bare {
            status: Status::NotFound,
            message: "no such object",
            lines: b"",
            body_allowed: true,
        };
        let (age, dialect) = (CacheAge::of_seconds(1), Dialect::Native);
        let manner = Manner { version: Version::Http11, keep_alive: true, cors: true, dialect };
        let len = write(&mut out, &bare, age, &crate::http::date::format(0), manner, b"").unwrap();
        let text = std::str::from_utf8(&out[..len]).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT"));
        assert!(text.contains("Cache-Control: max-age=1\r\n"), "{text}");
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(body.contains("no such object") && body.contains("404"), "{body}");
        assert!(text.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
