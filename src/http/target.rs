//! Which bytes a name, a target and a host are made of, and what form a target has.
//!
//! **Invariants**: a host holds no userinfo, path or space; an absolute-form target names the
//! same authority as Host; `*` stands for the whole server and only OPTIONS may say it.

use super::request::{Method, Span};
use super::response::Refusal;
use super::scan::Set;

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

/// The path and the authority of a target that has the bytes of one; `path` reaches to the query.
/// A path of no bytes (absolute form only) means `/`.
///
/// # Errors
/// 400 when the target has no form that RFC 9112 section 3.2 allows for `method`.
#[inline(always)]
pub(super) fn form(
    buf: &[u8],
    method: Method,
    target: Span,
    path: Span,
) -> Result<(Span, Option<Span>), Refusal> {
    if target.of(buf).first() == Some(&b'/') {
        return Ok((path, None));
    }
    other_form(buf, method, target, path)
}

#[inline(never)]
fn other_form(
    buf: &[u8],
    method: Method,
    target: Span,
    path: Span,
) -> Result<(Span, Option<Span>), Refusal> {
    if target.of(buf) == b"*" {
        if method == Method::Options {
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
    host(&rest[..len])?;
    let start = usize::from(path.start) + scheme.len();
    let authority = Span::new(start, start + len);
    Ok((Span { start: authority.end, end: path.end }, Some(authority)))
}

/// Checks a Host value or an authority: a name or address, and perhaps a port.
///
/// # Errors
/// 400 for an empty host and for any other byte.
//= RFC 9110 section 7.2
#[inline]
pub(super) fn host(value: &[u8]) -> Result<(), Refusal> {
    const WRONG: Refusal = Refusal::bad("host is not a name or address with a port");
    let name_len = if value.first() == Some(&b'[') {
        literal_len(value).ok_or(WRONG)?
    } else {
        value.iter().position(|byte| !HOST.contains(*byte)).unwrap_or(value.len())
    };
    if name_len == 0 {
        return Err(Refusal::bad("host is empty or starts with a byte it may not hold"));
    }
    match &value[name_len..] {
        [] => Ok(()),
        [b':', port @ ..]
            if port.len() <= PORT_DIGITS_MAX && port.iter().all(u8::is_ascii_digit) =>
        {
            Ok(())
        }
        _ => Err(WRONG),
    }
}

/// Bytes of an address in brackets at the start of `value`, brackets included.
fn literal_len(value: &[u8]) -> Option<usize> {
    let close = value.iter().position(|byte| *byte == b']')?;
    let inside = &value[1..close];
    let allowed = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    (!inside.is_empty() && inside.iter().all(allowed)).then_some(close + 1)
}
