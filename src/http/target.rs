//! Which bytes a name, a target and a host are made of, and what form a target has.
//!
//! **Invariants**: a host holds no userinfo, path or space; an absolute-form target names the
//! same authority as Host; `*` stands for the whole server and only OPTIONS may say it.

use super::request::{Head, Method, Span};
use super::response::Refusal;
use super::scan::{Input, Narrow, Set};

/// Bytes of a token: methods and header names.
//= RFC 9110 section 5.6.2
pub static NAME: Set =
    Set::range(b'a', b'z').with(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789").with(b"!#$%&'*+-.^_`|~");

/// Bytes of a target before the query: every visible ASCII byte but `#` and `?`.
pub static PATH: Set = Set::range(b'!', b'~').without(b"#?");

/// Bytes of a query.
pub static QUERY: Set = Set::range(b'!', b'~').without(b"#");

/// Bytes of a registered name or an IPv4 address, without the colon of the port.
//= RFC 3986 section 3.2.2
pub static HOST: Set =
    Set::range(b'a', b'z').with(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789").with(b"-._~%!$&'()*+,;=");

/// Digits in a port.
const PORT_DIGITS_MAX: usize = 5;

/// Checks the target's form and gives the authority of an absolute one, whose path it notes. A
/// path of no bytes (absolute form only) means `/`.
///
/// # Errors
/// 400 when the target has no form that RFC 9112 section 3.2 allows for the method.
#[inline(always)]
pub(super) fn form<I: Input>(input: I, head: &mut Head) -> Result<Option<Span>, Refusal> {
    if head.target.of(input.bytes()).first() == Some(&b'/') {
        return Ok(None);
    }
    let (path, authority) = other_form(input.bytes(), head)?;
    head.path = path;
    Ok(authority)
}

#[inline(never)]
fn other_form(buf: &[u8], head: &Head) -> Result<(Span, Option<Span>), Refusal> {
    let path = head.path;
    if head.target.of(buf) == b"*" {
        if head.method == Method::Options {
            return Ok((path, None));
        }
        return Err(Refusal::bad("target * with a method other than options"));
    }
    let bytes = path.of(buf);
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| bytes.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme)))
        .ok_or(Refusal::bad("target is neither a path nor absolute"))?;
    let rest = &bytes[scheme.len()..];
    let len = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let start = usize::from(path.start) + scheme.len();
    let authority = Span::new(start, start + len);
    host(Narrow { bytes: buf }, authority)?;
    Ok((Span { start: authority.end, end: path.end }, Some(authority)))
}

/// Checks a Host value or an authority: a name or address, and perhaps a port.
///
/// # Errors
/// 400 for an empty host and for any other byte.
//= RFC 9110 section 7.2
#[inline(always)]
pub(super) fn host<I: Input>(input: I, value: Span) -> Result<(), Refusal> {
    let (start, end) = (usize::from(value.start), usize::from(value.end));
    let name_end = input.end_of(start, &HOST).min(end);
    if name_end == end && start < end {
        return Ok(());
    }
    let text = value.of(input.bytes());
    match text.split_at_checked(name_end - start) {
        Some(([_, ..], [b':', port @ ..])) if is_port(port) => Ok(()),
        _ => literal(text),
    }
}

/// Checks a host that is no name: an address in brackets, and perhaps a port.
#[inline(never)]
fn literal(text: &[u8]) -> Result<(), Refusal> {
    match literal_len(text).and_then(|len| text.get(len..)) {
        Some([]) => Ok(()),
        Some([b':', port @ ..]) if is_port(port) => Ok(()),
        _ => Err(Refusal::bad("host is not a name or address, and perhaps a port")),
    }
}

//= RFC 3986 section 3.2.3
#[inline(always)]
fn is_port(text: &[u8]) -> bool {
    text.len() <= PORT_DIGITS_MAX && text.iter().all(u8::is_ascii_digit)
}

/// Bytes of an address in brackets at the start of `value`, brackets included.
fn literal_len(value: &[u8]) -> Option<usize> {
    if value.first() != Some(&b'[') {
        return None;
    }
    let close = value.iter().position(|byte| *byte == b']')?;
    let inside = &value[1..close];
    let allowed = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    (!inside.is_empty() && inside.iter().all(allowed)).then_some(close + 1)
}
