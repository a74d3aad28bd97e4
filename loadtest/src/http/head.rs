//! Response heads: status, framing of the body, whether the connection lives on (RFC 9112).
//!
//! A head is parsed when it is complete; an incomplete one is `None` and costs one scan more when
//! further bytes arrive. Interim answers (1xx) are heads of their own: the caller skips them.

use super::error::Error;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length in bytes.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// What matters of a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Bytes of the head, the empty line included.
    pub len: usize,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
}

impl Head {
    /// An answer that another one follows (100, 103, ...).
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

/// Reads the head at the start of `bytes`; `None` when it is not complete yet. `bodiless` says that
/// the request was a HEAD.
pub fn parse(bytes: &[u8], bodiless: bool) -> Result<Option<Head>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() >= HEAD_BYTES_MAX => {
            return Err(Error::TooLarge(HEAD_BYTES_MAX as u64));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Error::BadResponse(sentence(error))),
    };
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err(Error::BadResponse("no status"));
    };
    let (mut length, mut chunked, mut keep_alive) = (None, false, version == 1);
    for header in response.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = number(value).ok_or(Error::BadResponse("a bad Content-Length"))?;
            if length.is_some_and(|other| other != value) {
                return Err(Error::BadResponse("two different Content-Lengths"));
            }
            length = Some(value);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Error::BadResponse("an unknown Transfer-Encoding"));
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep_alive = wants_keep_alive(value, keep_alive);
        }
    }
    let empty = bodiless || status < 200 || status == 204 || status == 304;
    let framing = match (empty, chunked, length) {
        (true, ..) => Framing::Length(0),
        (_, true, Some(_)) => {
            return Err(Error::BadResponse("both Content-Length and Transfer-Encoding"));
        }
        (_, true, None) => Framing::Chunked,
        (_, _, Some(length)) => Framing::Length(length),
        (_, _, None) => Framing::UntilClose,
    };
    let keep_alive = keep_alive && framing != Framing::UntilClose;
    Ok(Some(Head { status, len, framing, keep_alive }))
}

/// The value of the first header called `name` in a complete head.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(name.as_bytes()).then(|| line[colon + 1..].trim_ascii())
    })
}

fn wants_keep_alive(value: &[u8], default: bool) -> bool {
    let has = |word: &[u8]| {
        value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(word))
    };
    if has(b"close") { false } else { default || has(b"keep-alive") }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn sentence(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::Version => "it does not begin with HTTP/1",
        httparse::Error::Status => "its status line is broken",
        httparse::Error::TooManyHeaders => "it has too many headers",
        httparse::Error::HeaderName | httparse::Error::HeaderValue => "a header is broken",
        _ => "its head is broken",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Head {
        parse(text.as_bytes(), false).unwrap().unwrap()
    }

    fn bad(text: &str) -> Error {
        parse(text.as_bytes(), false).unwrap_err()
    }

    #[test]
    fn framing_follows_the_rules() {
        for (text, framing, keep_alive) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked, true),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
            ("HTTP/1.1 204 No\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", Framing::Length(1), false),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: Keep-Alive\r\n\r\n",
                Framing::Length(1),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\n",
                Framing::Length(1),
                false,
            ),
        ] {
            let head = good(text);
            assert_eq!(
                (head.framing, head.keep_alive, head.len),
                (framing, keep_alive, text.len())
            );
        }
        let head = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).unwrap().unwrap();
        assert_eq!(head.framing, Framing::Length(0));
        assert!(good("HTTP/1.1 100 Continue\r\n\r\n").is_interim());
    }

    #[test]
    fn a_part_of_a_head_is_no_head() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nAge: 3\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end], false), Ok(None), "{end}");
        }
        assert_eq!(header(text, "age"), Some(&b"3"[..]));
        assert_eq!(header(text, "etag"), None);
    }

    #[test]
    fn what_is_no_http_is_said() {
        assert_eq!(bad("SSH-2.0-x\r\n").class(), "bad response");
        assert!(matches!(
            bad("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
            Error::BadResponse(_)
        ));
        assert!(matches!(
            bad("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            Error::BadResponse(_)
        ));
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(bad(both), Error::BadResponse(_)));
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        assert!(matches!(bad(&long), Error::TooLarge(_)));
    }
}
