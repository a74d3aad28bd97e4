//! Reads a request's head: one pass that checks every byte and keeps offsets only.
//!
//! [`parse`] is called with everything received since the last message, again and again until it
//! says what it is; it keeps nothing between calls, and `limits::HEAD_BYTES_MAX` bounds the work.
//! Headers that the origin does not look at are checked and passed over.
//!
//! **Invariants**: a head is accepted or refused the same however the network cut it; whatever is
//! accepted has exactly one length and one host; no lenience: CRLF alone ends a line, one space
//! separates, nothing is folded, no header that decides framing may repeat.

pub use super::head::{Head, Lines, Method, Span, Version};

use super::framing::{self, Framing};
use super::known::{KNOWN_COUNT, Known};
use super::response::{Refusal, Status};
use super::scan::{self, Input, Narrow, Pattern};
use super::target::{self, NAME, PATH, QUERY};
use crate::limits;

/// Reads the head at the front of `buf`. None: more bytes are needed, and those here are good.
///
/// # Errors
/// A refusal with 400, 414, 417, 431, 501 or 505. Nothing after it on the connection can be
/// understood: answer once and close.
#[inline]
pub fn parse(buf: &[u8]) -> Result<Option<Head>, Refusal> {
    let bounded = buf.get(..limits::HEAD_BYTES_MAX).unwrap_or(buf);
    scan::dispatch(bounded, Parse)
}

/// Why parsing ended without a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The bytes end before the head does.
    Incomplete,
    /// The head is wrong.
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The parser as work for whichever scanner the processor has. Its input is at most
/// `limits::HEAD_BYTES_MAX` bytes.
pub(super) struct Parse;

impl scan::Work for Parse {
    type Output = Result<Option<Head>, Refusal>;

    #[inline(always)]
    fn run<I: Input>(self, input: I) -> Self::Output {
        let mut head = Head {
            method: Method::Get,
            version: Version::Http11,
            keep_alive: true,
            expect_continue: false,
            body: Framing::None,
            target: Span::default(),
            path: Span::default(),
            query: Span::default(),
            head_len: 0,
            headers_start: 0,
            present: 0,
            repeated: 0,
            values: [Span::default(); KNOWN_COUNT],
        };
        match read(input, &mut head) {
            Ok(()) => Ok(Some(head)),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Incomplete) if input.bytes().len() < limits::HEAD_BYTES_MAX => Ok(None),
            Err(Stop::Incomplete) => Err(Refusal::new(Status::HeadersTooLarge, "head is too long")),
        }
    }
}

/// Fills `head`, which is a GET of 1.1 without headers.
#[inline(always)]
fn read<I: Input>(input: I, head: &mut Head) -> Result<(), Stop> {
    let buf = input.bytes();
    let start = skip_empty_line(buf)?;
    let at = method(buf, start, head)?;
    let at = target(input, at, head)?;
    let at = version(buf, at, head)?;
    head.headers_start = Span::new(at, at).start;
    head.head_len = headers(input, at, head)?;
    meaning(input, head)?;
    Ok(())
}

/// One empty line before the request line is allowed.
//= RFC 9112 section 2.2
#[inline(always)]
fn skip_empty_line(buf: &[u8]) -> Result<usize, Stop> {
    match buf {
        [b'\r', b'\n', ..] => Ok(2),
        [b'\r', _, ..] => Err(Refusal::bad("bare cr before the request line").into()),
        [] | [b'\r'] => Err(Stop::Incomplete),
        _ => Ok(0),
    }
}

/// Notes the method, and gives where the target starts.
//= RFC 9112 section 3.1
#[inline(always)]
fn method(buf: &[u8], start: usize, head: &mut Head) -> Result<usize, Stop> {
    if buf.get(start..start + 4) == Some(b"GET ") {
        return Ok(start + 4);
    }
    let (method, end) = other_method(buf, start)?;
    head.method = method;
    Ok(end)
}

#[inline(never)]
fn other_method(buf: &[u8], start: usize) -> Result<(Method, usize), Stop> {
    let end = Narrow { bytes: buf }.end_of(start, &NAME);
    let name = buf.get(start..end).unwrap_or_default();
    if name.len() > limits::METHOD_BYTES_MAX {
        return Err(Refusal::new(Status::NotImplemented, "method is too long").into());
    }
    let Some(next) = buf.get(end) else { return Err(Stop::Incomplete) };
    if *next != b' ' || name.is_empty() {
        return Err(Refusal::bad("method is not a token and one space").into());
    }
    let method = match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"PUT" => Method::Put,
        b"POST" => Method::Post,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        b"CONNECT" => {
            return Err(Refusal::new(Status::NotImplemented, "this is not a proxy").into());
        }
        _ => Method::Other,
    };
    Ok((method, end + 1))
}

/// Notes the target and its parts, and gives where the version starts.
#[inline(always)]
fn target<I: Input>(input: I, start: usize, head: &mut Head) -> Result<usize, Stop> {
    let buf = input.bytes();
    let path_end = input.end_of(start, &PATH);
    let (query_start, end) = if buf.get(path_end) == Some(&b'?') {
        (path_end + 1, input.end_of(path_end + 1, &QUERY))
    } else {
        (path_end, path_end)
    };
    if end - start > limits::TARGET_BYTES_MAX {
        return Err(Refusal::new(Status::UriTooLong, "target is too long").into());
    }
    match buf.get(end) {
        Some(b' ') if end > start => {}
        None => return Err(Stop::Incomplete),
        Some(other) => return Err(target_refusal(*other, end == start).into()),
    }
    head.target = Span::new(start, end);
    head.path = Span::new(start, path_end);
    head.query = Span::new(query_start, end);
    Ok(end + 1)
}

#[cold]
fn target_refusal(byte: u8, empty: bool) -> Refusal {
    Refusal::bad(match byte {
        b' ' if empty => "more than one space before the target",
        b'\r' | b'\n' => "request line without a version",
        b'#' => "fragment in the target",
        0x80.. => "byte over 127 in the target",
        _ => "control byte in the target",
    })
}

/// Notes the version, and gives where the first header line starts.
//= RFC 9112 section 2.3
#[inline(always)]
fn version(buf: &[u8], start: usize, head: &mut Head) -> Result<usize, Stop> {
    if buf.get(start..start + 10) == Some(b"HTTP/1.1\r\n") {
        return Ok(start + 10);
    }
    let (version, at) = other_version(buf, start)?;
    head.version = version;
    head.keep_alive = version == Version::Http11;
    Ok(at)
}

#[inline(never)]
fn other_version(buf: &[u8], start: usize) -> Result<(Version, usize), Stop> {
    let given = buf.get(start..).unwrap_or_default();
    let fits = |(at, byte): (usize, &u8)| match at {
        5 | 7 => byte.is_ascii_digit(),
        _ => b"HTTP/-.-".get(at) == Some(byte),
    };
    if !given.iter().take(8).enumerate().all(fits) {
        return Err(Refusal::bad("version is not http/ and two digits").into());
    }
    let version = match given.get(5..8) {
        Some(b"1.1") => Version::Http11,
        Some(b"1.0") => Version::Http10,
        Some(_) => {
            let reason = "version is not http/1.0 or http/1.1";
            return Err(Refusal::new(Status::VersionNotSupported, reason).into());
        }
        None => return Err(Stop::Incomplete),
    };
    match given.get(8..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Ok((version, start + 10)),
        [] | [b'\r'] => Err(Stop::Incomplete),
        _ => Err(Refusal::bad("request line does not end with crlf").into()),
    }
}

/// Checks every header line, notes the known ones, and gives the end of the head.
//= RFC 9112 section 5
#[inline(always)]
fn headers<I: Input>(input: I, start: usize, head: &mut Head) -> Result<usize, Stop> {
    let buf = input.bytes();
    let mut at = start;
    for _ in 0..limits::HEADERS_MAX {
        let (colon, end) = input.line(at, &NAME);
        if buf.get(colon) != Some(&b':') || colon == at {
            return end_of_head(buf, at, colon);
        }
        let (is_line, is_last) = match buf.get(end..end + 4) {
            Some(after) => (after.starts_with(b"\r\n"), after == b"\r\n\r\n"),
            None => (buf.get(end..end + 2) == Some(b"\r\n"), false),
        };
        if !is_line {
            return Err(line_end(buf, end));
        }
        if let Some(known) = buf.get(at..colon).and_then(Known::find) {
            head.repeated |= head.present & known.bit();
            if !head.has(known) {
                head.present |= known.bit();
                head.values[known as usize] = trimmed(buf, colon + 1, end);
            }
        }
        if is_last {
            return Ok(end + 4);
        }
        at = end + 2;
    }
    match buf.get(at) {
        None => Err(Stop::Incomplete),
        Some(b'\r') => end_of_head(buf, at, at),
        Some(_) => Err(Refusal::new(Status::HeadersTooLarge, "too many headers").into()),
    }
}

/// What stands where a header name and its colon should: the empty line, nothing yet, or a fault.
#[inline(never)]
fn end_of_head(buf: &[u8], at: usize, name_end: usize) -> Result<usize, Stop> {
    let reason = match (buf.get(name_end), name_end == at) {
        (None, _) => return Err(Stop::Incomplete),
        (Some(b'\r'), true) => match buf.get(at + 1) {
            Some(b'\n') => return Ok(at + 2),
            None => return Err(Stop::Incomplete),
            Some(_) => "bare cr after the headers",
        },
        (Some(b'\n'), true) => "bare lf ends the headers",
        (Some(b' ' | b'\t'), true) => "white space before a header name",
        (Some(b' ' | b'\t'), false) => "white space before a colon",
        (Some(b'\r' | b'\n'), false) => "header line without a colon",
        (Some(b':'), _) => "empty header name",
        (Some(_), _) => "header name is not a token",
    };
    Err(Refusal::bad(reason).into())
}

/// What stands where a header line's CRLF should.
#[cold]
fn line_end(buf: &[u8], end: usize) -> Stop {
    let reason = match (buf.get(end), buf.get(end + 1)) {
        (None, _) | (Some(b'\r'), None) => return Stop::Incomplete,
        (Some(b'\r'), _) => "bare cr in a header line",
        (Some(b'\n'), _) => "bare lf ends a header line",
        _ => "control byte in a header value",
    };
    Refusal::bad(reason).into()
}

/// The span of a value without the white space around it. No other control byte than HTAB is in
/// it, so what is not above a space is white space.
#[inline(always)]
fn trimmed(buf: &[u8], start: usize, end: usize) -> Span {
    match buf.get(start..end) {
        // Nearly every value has one space before it and none after.
        Some([b' ', first, .., last]) if *first > b' ' && *last > b' ' => Span::new(start + 1, end),
        text => trimmed_slowly(text.unwrap_or_default(), start),
    }
}

#[inline(never)]
fn trimmed_slowly(text: &[u8], start: usize) -> Span {
    let white = |byte: &&u8| **byte <= b' ';
    let before = text.iter().take_while(white).count();
    let after = text[before..].iter().rev().take_while(white).count();
    Span::new(start + before, start + text.len() - after)
}

/// Decides what the headers mean together: target form, host, framing, persistence, expectation.
#[inline(always)]
fn meaning<I: Input>(input: I, head: &mut Head) -> Result<(), Refusal> {
    const LENGTHS: u32 = Known::ContentLength.bit() | Known::TransferEncoding.bit();
    const RARE: u32 = LENGTHS | Known::Expect.bit();

    let buf = input.bytes();
    let authority = target::form(input, head)?;
    host(input, head, authority)?;
    if let Some(options) = head.header(buf, Known::Connection) {
        head.keep_alive = KEEP_ALIVE.matches(options) && !head.is_repeated(Known::Connection)
            || persists(buf, head);
    }
    if head.present & RARE != 0 {
        body(buf, head)?;
    }
    Ok(())
}

//= RFC 9112 section 3.2
#[inline(always)]
fn host<I: Input>(input: I, head: &Head, authority: Option<Span>) -> Result<(), Refusal> {
    if head.is_repeated(Known::Host) {
        return Err(Refusal::bad("more than one host"));
    }
    if !head.has(Known::Host) {
        if head.version == Version::Http10 {
            return Ok(());
        }
        return Err(Refusal::bad("no host"));
    }
    let value = head.values[Known::Host as usize];
    target::host(input, value)?;
    let buf = input.bytes();
    match authority {
        Some(authority) if !authority.of(buf).eq_ignore_ascii_case(value.of(buf)) => {
            Err(Refusal::bad("host differs from the target's authority"))
        }
        _ => Ok(()),
    }
}

/// What nearly every Connection header says.
static KEEP_ALIVE: Pattern = Pattern::new("keep-alive");

//= RFC 9112 section 9.3
#[inline(never)]
fn persists(buf: &[u8], head: &Head) -> bool {
    let mut keep_alive = head.version == Version::Http11;
    for option in head.all(buf, Known::Connection).flat_map(|line| line.split(|b| *b == b',')) {
        let option = option.trim_ascii();
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keep_alive
}

#[inline(never)]
fn body(buf: &[u8], head: &mut Head) -> Result<(), Refusal> {
    if head.is_repeated(Known::ContentLength) {
        return Err(Refusal::bad("more than one content-length"));
    }
    head.body = framing::decide(
        head.version,
        head.header(buf, Known::ContentLength),
        head.all(buf, Known::TransferEncoding),
    )?;
    //= RFC 9110 section 10.1.1
    let mut expects = false;
    for value in head.all(buf, Known::Expect) {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::new(
                Status::ExpectationFailed,
                "expectation other than 100-continue",
            ));
        }
        expects = true;
    }
    head.expect_continue = expects && head.version == Version::Http11 && head.body.has_body();
    Ok(())
}
