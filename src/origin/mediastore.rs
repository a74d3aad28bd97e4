//! AWS Elemental MediaStore's data plane: what its clients send and expect, where that differs from
//! what the origin says anyway.
//!
//! **Invariants**: every error has a type that an SDK turns into an exception, in a header and in
//! the body; nothing that a client asks for is silently left out but what it cannot see.
//! Source: the API model of the service `mediastore-data`, version 2017-09-01.

use super::errors::Bare;
use super::{query, sigv4};
use crate::http::request::Head;
use crate::http::response::{Overflow, Status, Writer, json_string};

/// What an upload's head says in this dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload<'a> {
    /// Whether the object may be read while it arrives (`x-amz-upload-availability: STREAMING`).
    pub streams: bool,
    /// What the body is said to be.
    pub payload: Payload<'a>,
}

/// What `x-amz-content-sha256` says of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Nothing, or that it is not signed.
    Unsigned,
    /// Its digest, in hexadecimal.
    Digest(&'a [u8]),
    /// That it comes in pieces (`aws-chunked`), signed or not, perhaps of so many bytes in all.
    Pieces {
        /// Whether each has a signature.
        signed: bool,
        /// `x-amz-decoded-content-length`.
        length: Option<u64>,
    },
}

/// Reads what an upload's head says.
///
/// # Errors
/// A sentence for the 400.
pub fn upload<'a>(head: &Head, bytes: &'a [u8]) -> Result<Upload<'a>, &'static str> {
    let value = |name: &[u8]| {
        let mut lines = head.lines(bytes);
        lines.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let streams = match value(b"x-amz-upload-availability") {
        None | Some(b"STANDARD") => false,
        Some(b"STREAMING") => true,
        Some(_) => return Err("x-amz-upload-availability is neither STANDARD nor STREAMING"),
    };
    if value(b"x-amz-storage-class").is_some_and(|class| class != b"TEMPORAL") {
        return Err("x-amz-storage-class is not TEMPORAL");
    }
    let length = value(b"x-amz-decoded-content-length").map(query::number);
    let payload = match value(b"x-amz-content-sha256") {
        None | Some(sigv4::UNSIGNED) => Payload::Unsigned,
        Some(digest) if digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit) => {
            Payload::Digest(digest)
        }
        Some(said) if said.starts_with(b"STREAMING-") => pieces(said, length)?,
        Some(_) => return Err("x-amz-content-sha256 is neither a digest nor UNSIGNED-PAYLOAD"),
    };
    Ok(Upload { streams, payload })
}

fn pieces(said: &[u8], length: Option<Option<u64>>) -> Result<Payload<'_>, &'static str> {
    let signed = match said {
        b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD" | b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => {
            true
        }
        b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => false,
        _ => return Err("this way of signing a body in pieces is not known"),
    };
    match length {
        Some(None) => Err("x-amz-decoded-content-length is not a number"),
        length => Ok(Payload::Pieces { signed, length: length.flatten() }),
    }
}

/// The JSON that answers an upload. `etag` has its quotes.
pub fn stored(sha256: &[u8; 32], etag: &[u8]) -> Vec<u8> {
    let tag = etag.strip_prefix(b"\"").unwrap_or(etag);
    let tag = tag.strip_suffix(b"\"").unwrap_or(tag);
    let sum = sigv4::hex(sha256);
    let pieces: [&[u8]; 5] = [
        b"{\"ContentSHA256\":\"",
        &sum,
        b"\",\"ETag\":\"",
        tag,
        b"\",\"StorageClass\":\"TEMPORAL\"}",
    ];
    pieces.concat()
}

/// Writes the body of an error.
///
/// # Errors
/// When `out` is too small.
pub fn error_body(bare: &Bare<'_>, out: &mut [u8]) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    writer.raw(b"{\"code\":\"");
    writer.raw(error_type(bare).as_bytes());
    writer.raw(b"\",\"message\":");
    json_string(bare.message, &mut writer);
    writer.raw(b"}");
    writer.finish()
}

/// The line that names an error to an SDK, without its value.
const NAMED: &[u8] = b"x-amzn-ErrorType: ";

/// Whether the header lines of an answer name its error themselves.
pub fn names_error(lines: &[u8]) -> bool {
    lines.starts_with(NAMED)
}

/// What SDKs call the error.
pub fn error_type<'a>(bare: &Bare<'a>) -> &'a str {
    let named = bare.lines.strip_prefix(NAMED).and_then(|rest| rest.split(|&b| b == b'\r').next());
    if let Some(name) = named.and_then(|name| std::str::from_utf8(name).ok()) {
        return name;
    }
    match bare.status {
        Status::NotFound => "ObjectNotFoundException",
        Status::RangeNotSatisfiable => "RequestedRangeNotSatisfiableException",
        Status::Unauthorized => "MissingAuthenticationTokenException",
        Status::Forbidden => "AccessDeniedException",
        Status::Conflict => "ConflictException",
        Status::PreconditionFailed => "PreconditionFailedException",
        Status::RequestTimeout => "RequestTimeoutException",
        Status::ContentTooLarge => "RequestEntityTooLargeException",
        Status::TooManyRequests => "ThrottlingException",
        Status::ServiceUnavailable => "ServiceUnavailableException",
        status if status.code() >= 500 => "InternalServerError",
        _ => "ValidationException",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;

    fn parsed(headers: &str) -> Result<(bool, bool), &'static str> {
        let text = format!("PUT /a HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let head = request::parse(text.as_bytes()).unwrap().unwrap();
        upload(&head, text.as_bytes())
            .map(|upload| (upload.streams, upload.payload != Payload::Unsigned))
    }

    #[test]
    fn heads_of_uploads_are_read() {
        assert_eq!(parsed(""), Ok((false, false)));
        assert_eq!(parsed("X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"), Ok((false, false)));
        assert_eq!(parsed("x-amz-upload-availability: STREAMING\r\n"), Ok((true, false)));
        assert_eq!(parsed("x-amz-upload-availability: STANDARD\r\n"), Ok((false, false)));
        let digest = "ab".repeat(32);
        assert_eq!(parsed(&format!("x-amz-content-sha256: {digest}\r\n")), Ok((false, true)));
        for wrong in [
            "x-amz-upload-availability: SOON\r\n",
            "x-amz-storage-class: GLACIER\r\n",
            "x-amz-content-sha256: abc\r\n",
            "x-amz-content-sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD\r\n",
            "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\
             x-amz-decoded-content-length: x\r\n",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_have_types() {
        let bare = |status, lines| Bare { status, message: "a \"b\"", lines, body_allowed: true };
        let named = b"x-amzn-ErrorType: RequestTimeTooSkewed\r\n";
        for (status, lines, name) in [
            (Status::NotFound, &b""[..], "ObjectNotFoundException"),
            (Status::RangeNotSatisfiable, b"", "RequestedRangeNotSatisfiableException"),
            (Status::BadRequest, b"", "ValidationException"),
            (Status::InsufficientStorage, b"", "InternalServerError"),
            (Status::Forbidden, named, "RequestTimeTooSkewed"),
        ] {
            let bare = bare(status, lines);
            let mut out = [0; 256];
            let len = error_body(&bare, &mut out).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&out[..len]).unwrap();
            assert_eq!((&json["code"], &json["message"]), (&name.into(), &"a \"b\"".into()));
        }
    }
}
