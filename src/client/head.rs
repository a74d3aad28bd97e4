//! Heads of answers (RFC 9112), by a parser that is not the origin's.
//!
//! **Invariants**: a body has one length or the answer is refused; nothing is taken from a head
//! that is not complete.

use crate::http::framing;
use crate::limits::client::ANSWER_HEADERS_MAX;

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

/// What matters of an answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// How the body ends.
    pub framing: Framing,
    /// Content-Length, also where no body follows.
    pub length: Option<u64>,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// ETag, with its quotes.
    pub etag: Option<String>,
    /// First byte, as Content-Range has it.
    pub first: Option<u64>,
    /// Seconds of Retry-After.
    pub retry_s: Option<u64>,
    /// Location.
    pub location: Option<String>,
}

impl Head {
    /// An answer that another one follows.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Whether what was asked for was done.
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The sum of the object's bytes (XXH3, 128 bits), where the entity tag is one.
    pub fn sum(&self) -> Option<u128> {
        let digits = self.etag.as_deref()?.strip_prefix('"')?.strip_suffix('"')?;
        let is_sum = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sum.then(|| u128::from_str_radix(digits, 16).ok()).flatten()
    }

    /// The entity tag, where it may be compared byte by byte (RFC 9110 section 8.8.3.2).
    pub fn strong_tag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|tag| tag.starts_with('"'))
    }
}

/// Reads the head at the start of `bytes` and how many bytes it has; nothing when it is not
/// complete. `bodiless`: the request was a HEAD.
///
/// # Errors
/// A clause that says what is wrong with it.
pub fn parse(bytes: &[u8], bodiless: bool) -> Result<Option<(Head, usize)>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let len = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err("it has too many headers"),
        Err(_) => return Err("it is not HTTP/1.1"),
    };
    let (Some(status), Some(version)) = (answer.code, answer.version) else {
        return Err("it has no status");
    };
    let mut head = Head {
        status,
        framing: Framing::UntilClose,
        length: None,
        keep_alive: version == 1,
        etag: None,
        first: None,
        retry_s: None,
        location: None,
    };
    let mut chunked = false;
    for header in answer.headers.iter() {
        let text = || String::from_utf8_lossy(header.value.trim_ascii()).into_owned();
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let length = framing::length(header.value.trim_ascii()).ok();
                if length.is_none() || head.length.is_some_and(|other| Some(other) != length) {
                    return Err("its Content-Length is wrong");
                }
                head.length = length;
            }
            "transfer-encoding" if text().eq_ignore_ascii_case("chunked") => chunked = true,
            "transfer-encoding" => return Err("its Transfer-Encoding is unknown"),
            "connection" => head.keep_alive = stays(&text(), head.keep_alive),
            "etag" => head.etag = Some(text()),
            "content-range" => head.first = first(&text()),
            "retry-after" => head.retry_s = text().parse().ok(),
            "location" => head.location = Some(text()),
            _ => {}
        }
    }
    let empty = bodiless || status < 200 || status == 204 || status == 304;
    head.framing = match (empty, chunked, head.length) {
        (true, ..) => Framing::Length(0),
        (_, true, Some(_)) => return Err("it has both Content-Length and Transfer-Encoding"),
        (_, true, None) => Framing::Chunked,
        (_, _, Some(length)) => Framing::Length(length),
        (_, _, None) => Framing::UntilClose,
    };
    head.keep_alive &= head.framing != Framing::UntilClose;
    Ok(Some((head, len)))
}

fn stays(value: &str, default: bool) -> bool {
    let has = |word: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
    if has("close") { false } else { default || has("keep-alive") }
}

/// The first byte of `bytes FIRST-LAST/ALL`; all of what is arriving is `*`.
fn first(value: &str) -> Option<u64> {
    let (first, rest) = value.strip_prefix("bytes ")?.split_once('-')?;
    let (last, all) = rest.split_once('/')?;
    let (first, last) = (first.parse().ok()?, last.parse::<u64>().ok()?);
    let is_within = all == "*" || all.parse().is_ok_and(|all: u64| last < all);
    (first <= last && is_within).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Head {
        parse(text.as_bytes(), false).unwrap().unwrap().0
    }

    #[test]
    fn framing_follows_the_rules() {
        for (text, framing, keep_alive) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked, true),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
            ("HTTP/1.1 204 No\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", Framing::Length(1), false),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\n",
                Framing::Length(1),
                false,
            ),
        ] {
            let head = good(text);
            assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{text}");
            for end in 0..text.len() {
                assert_eq!(parse(&text.as_bytes()[..end], false), Ok(None), "{end}");
            }
        }
        let head = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).unwrap().unwrap().0;
        assert_eq!((head.framing, head.length), (Framing::Length(0), Some(5)));
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for text in [
            "SSH-2.0-x\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ] {
            assert!(parse(text.as_bytes(), false).is_err(), "{text}");
        }
    }

    #[test]
    fn tags_and_ranges() {
        let tag = |tag: &str| good(&format!("HTTP/1.1 200 OK\r\nETag: {tag}\r\n\r\n"));
        assert_eq!(tag("\"000000000000000000000000000000ff\"").sum(), Some(255));
        for other in ["\"g1-2\"", "W/\"000000000000000000000000000000ff\"", "\"ff\""] {
            assert_eq!(tag(other).sum(), None, "{other}");
        }
        assert_eq!(tag("W/\"a\"").strong_tag(), None);
        assert_eq!(first("bytes 5-9/10"), Some(5));
        assert_eq!(first("bytes 5-9/*"), Some(5));
        for bad in ["bytes */10", "bytes 9-5/10", "bytes 5-10/10", "5-9/10"] {
            assert_eq!(first(bad), None, "{bad}");
        }
    }
}
