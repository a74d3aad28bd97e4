//! Heads of answers: what an object says of itself, and what every answer says.

use super::dialect::Dialect;
use crate::http::date;
use crate::http::request::Version;
use crate::http::response::{Status, Writer};
use crate::store::etag::Etag;
use crate::store::object::Record;

/// Lines that let any web page read (fetch standard, section 3.2.3).
pub const CORS_READ: &[u8] =
    b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n";

/// What an object's head is rendered from.
pub struct ObjectHead<'a> {
    /// Strong entity tag with its quotes.
    pub etag: &'a [u8],
    /// Value of Content-Type.
    pub content_type: &'a [u8],
    /// Value of Cache-Control.
    pub cache_control: &'a [u8],
    /// Last-Modified, as Unix time.
    pub modified_s: u64,
    /// Bytes of the body where they are known.
    pub length: Option<u64>,
    /// CORS lines, or none.
    pub cors: &'a [u8],
    /// The object's further lines.
    pub lines: &'a [u8],
}

/// Longest rendered object head: values and lines of a head's size at most, and the fixed lines.
const OBJECT_HEAD_BYTES_MAX: usize = crate::limits::HEAD_BYTES_MAX + 1024;

impl<'a> ObjectHead<'a> {
    /// What a version says of itself, and how long it is where that is known.
    pub fn of(record: &'a Record, length: Option<u64>) -> Self {
        Self {
            etag: record.etag(),
            content_type: &record.fields.content_type,
            cache_control: &record.fields.cache_control,
            modified_s: record.modified_s(),
            length,
            cors: b"",
            lines: &record.fields.lines,
        }
    }

    /// The same as [`ObjectHead::write`], by itself.
    pub fn render(&self) -> Box<[u8]> {
        let mut out = [0; OBJECT_HEAD_BYTES_MAX];
        let mut writer = Writer::new(&mut out);
        self.write(&mut writer);
        let len = writer.finish().expect("stored header values are bounded by the request head");
        out[..len].into()
    }

    /// The header lines of a plain 200 without status line, Date and Connection.
    #[inline]
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.header(b"Content-Type", self.content_type);
        if let Some(length) = self.length {
            writer.header_u64(b"Content-Length", length);
        }
        self.validators(writer);
        writer.raw(b"Accept-Ranges: bytes\r\n");
    }

    /// ETag, Last-Modified, Cache-Control, Vary and the CORS lines: what 206 and 304 repeat
    /// (RFC 9110 sections 15.3.7 and 15.4.5).
    pub fn validators(&self, writer: &mut Writer<'_>) {
        writer.header(b"ETag", self.etag);
        writer.header(b"Last-Modified", &date::format(self.modified_s));
        writer.header(b"Cache-Control", self.cache_control);
        writer.raw(self.lines);
        writer.raw(self.cors);
    }
}

/// The strong entity tag of a body with this digest (RFC 9110 section 8.8.3).
pub fn tag(digest: u128) -> Etag {
    let mut tag = [b'"'; 34];
    for (place, digit) in tag[1..33].iter_mut().enumerate() {
        let four_bits = (digest >> (124 - 4 * place)) & 0xf;
        *digit = b"0123456789abcdef"[four_bits as usize];
    }
    Etag::from(&tag[..])
}

/// What every answer says of itself besides its status.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The request's version.
    pub version: Version,
    /// Whether the connection goes on after this answer.
    pub keep_alive: bool,
    /// Whether web pages may look at an answer without an object: a player must see a 404 as one.
    pub cors: bool,
    /// In whose terms errors are told.
    pub dialect: Dialect,
}

impl Manner {
    /// The Connection line where one is needed (RFC 9112 section 9.3).
    #[inline]
    pub fn connection_line(self) -> &'static [u8] {
        match (self.keep_alive, self.version) {
            (false, _) => b"Connection: close\r\n",
            (true, Version::Http10) => b"Connection: keep-alive\r\n",
            (true, Version::Http11) => b"",
        }
    }
}

/// Status line and Date of an answer.
pub fn begin(writer: &mut Writer<'_>, status: Status, date: &[u8; date::DATE_BYTES]) {
    writer.status(status);
    writer.header(b"Date", date);
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn a_tag_has_all_digits_of_the_digest() {
        assert_eq!(*tag(0x0123_4567_89ab_cdef), *b"\"00000000000000000123456789abcdef\"");
        assert_eq!(*tag(u128::MAX - 1), *b"\"fffffffffffffffffffffffffffffffe\"");
    }
}
