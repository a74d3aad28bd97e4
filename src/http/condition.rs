//! Whether a request's conditions hold: If-Match and its kin, If-Range, entity tags.
//!
//! **Invariants**: conditions are looked at in the order of RFC 9110 section 13.2.2; a list with a
//! malformed tag matches nothing from there on; a malformed or repeated date is no condition.

use super::date;
use super::known::Known;
use super::request::Head;

/// What identifies the version of an object that a read would get.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// The entity tag with its quotes, and `W/` before them if it is weak.
    pub etag: &'a [u8],
    /// Last-Modified, in seconds since 1970.
    pub modified_s: u64,
    /// Whether no other version under this key ever had the same `modified_s`. Only then may a
    /// date in If-Range hold: two versions of one second would mix in the reader's file.
    //= RFC 9110 section 8.8.2.2
    pub modified_is_strong: bool,
}

/// What a read's conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Go on and answer.
    Proceed,
    /// 304: the reader has this version.
    NotModified,
    /// 412: the reader wanted another version.
    PreconditionFailed,
}

/// Evaluates the conditions of a GET or HEAD of an object that exists.
//= RFC 9110 section 13.2.2
#[inline]
#[must_use]
pub fn evaluate_read(head: &Head, buf: &[u8], validators: Validators<'_>) -> Outcome {
    const CONDITIONS: u32 = Known::IfMatch.bit()
        | Known::IfNoneMatch.bit()
        | Known::IfModifiedSince.bit()
        | Known::IfUnmodifiedSince.bit();
    if !head.has_any(CONDITIONS) {
        return Outcome::Proceed;
    }
    evaluate_conditions(head, buf, validators)
}

#[inline(never)]
fn evaluate_conditions(head: &Head, buf: &[u8], validators: Validators<'_>) -> Outcome {
    if head.has(Known::IfMatch) {
        let mut lists = head.all(buf, Known::IfMatch);
        if !lists.any(|list| matches_strong(list, validators.etag)) {
            return Outcome::PreconditionFailed;
        }
    } else if date_of(head, buf, Known::IfUnmodifiedSince)
        .is_some_and(|since_s| validators.modified_s > since_s)
    {
        return Outcome::PreconditionFailed;
    }
    if head.has(Known::IfNoneMatch) {
        let mut lists = head.all(buf, Known::IfNoneMatch);
        if lists.any(|list| matches_weak(list, validators.etag)) {
            return Outcome::NotModified;
        }
    } else if date_of(head, buf, Known::IfModifiedSince)
        .is_some_and(|since_s| validators.modified_s <= since_s)
    {
        return Outcome::NotModified;
    }
    Outcome::Proceed
}

fn date_of(head: &Head, buf: &[u8], known: Known) -> Option<u64> {
    if head.is_repeated(known) {
        return None;
    }
    date::parse(head.header(buf, known)?)
}

/// Whether a Range header is to be obeyed: there is no If-Range, or it names this very version.
//= RFC 9110 section 13.1.5
#[must_use]
pub fn if_range_holds(head: &Head, buf: &[u8], validators: Validators<'_>) -> bool {
    let Some(value) = head.header(buf, Known::IfRange) else { return true };
    if head.is_repeated(Known::IfRange) {
        return false;
    }
    if let Some((tag, rest)) = tag(value) {
        return rest.is_empty() && same_strong(tag, validators.etag);
    }
    validators.modified_is_strong && date::parse(value) == Some(validators.modified_s)
}

/// Whether the conditions of a PUT, POST or DELETE hold against the present object's tag (None:
/// there is no object), over all lines of both headers. Otherwise the answer is 412.
//= RFC 9110 section 13.2.2
#[must_use]
pub fn evaluate_write(head: &Head, buf: &[u8], current_etag: Option<&[u8]>) -> bool {
    let any = |known, matches: fn(&[u8], &[u8]) -> bool| {
        let mut lists = head.all(buf, known);
        current_etag.is_some_and(|etag| lists.any(|list| matches(list, etag)))
    };
    (!head.has(Known::IfMatch) || any(Known::IfMatch, matches_strong))
        && !any(Known::IfNoneMatch, matches_weak)
}

/// The same for one value of each header; use it where no head is at hand.
//= RFC 9110 section 13.1.1
#[must_use]
pub fn write_allowed(
    if_match: Option<&[u8]>,
    if_none_match: Option<&[u8]>,
    current_etag: Option<&[u8]>,
) -> bool {
    let found = match (if_match, current_etag) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(list), Some(etag)) => matches_strong(list, etag),
    };
    let free = match (if_none_match, current_etag) {
        (None, _) | (_, None) => true,
        (Some(list), Some(etag)) => !matches_weak(list, etag),
    };
    found && free
}

/// Whether `list` is `*` or holds `etag`, where weak tags never match.
//= RFC 9110 section 8.8.3.2
#[must_use]
pub fn matches_strong(list: &[u8], etag: &[u8]) -> bool {
    list.trim_ascii() == b"*" || tags(list).any(|tag| same_strong(tag, etag))
}

/// Whether `list` is `*` or holds `etag`, be it weak or not.
//= RFC 9110 section 8.8.3.2
#[must_use]
pub fn matches_weak(list: &[u8], etag: &[u8]) -> bool {
    list.trim_ascii() == b"*" || tags(list).any(|tag| opaque(tag) == opaque(etag))
}

fn same_strong(tag: &[u8], etag: &[u8]) -> bool {
    tag == etag && tag.first() == Some(&b'"')
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The tags of a list, up to the first byte that does not belong to one.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let (tag, after) = tag(rest)?;
        let after = after.trim_ascii_start();
        if !matches!(after.first(), None | Some(b',')) {
            rest = &[];
            return None;
        }
        rest = after;
        Some(tag)
    })
}

/// An entity tag at the start of `text`, and what follows it.
//= RFC 9110 section 8.8.3
fn tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let weak = if text.starts_with(b"W/") { 2 } else { 0 };
    let quoted = text.get(weak..)?.strip_prefix(b"\"")?;
    let allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    let len = quoted.iter().position(|byte| !allowed(byte))?;
    (quoted.get(len) == Some(&b'"')).then(|| text.split_at(weak + len + 2))
}
