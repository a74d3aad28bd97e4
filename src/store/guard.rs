//! Whether a write's preconditions hold (RFC 9110 section 13.1).

use super::message::Guard;

/// Whether a write may go ahead when the key's entity tag is `current`, `None` when absent.
pub fn allowed(guard: &Guard, current: Option<&[u8]>) -> bool {
    if let Some(list) = &guard.if_match {
        //= RFC 9110 section 13.1.1
        // The strong comparison: a weak tag matches nothing.
        if !matches(list, current, |tag, current| tag == current) {
            return false;
        }
    }
    if let Some(list) = &guard.if_none_match {
        //= RFC 9110 section 13.1.2
        // The weak comparison: a leading W/ does not count.
        if matches(list, current, |tag, current| strip_weak(tag) == strip_weak(current)) {
            return false;
        }
    }
    true
}

fn matches(list: &[u8], current: Option<&[u8]>, equal: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let Some(current) = current else { return false };
    if list.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = list;
    while let Some(tag) = next_tag(&mut rest) {
        if equal(tag, current) {
            return true;
        }
    }
    false
}

/// Takes the next entity tag off a list, with `W/` and quotes; commas inside quotes are its own.
fn next_tag<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let start = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let from = &rest[start..];
    let open = from.iter().position(|&byte| byte == b'"')?;
    let close = open + 1 + from[open + 1..].iter().position(|&byte| byte == b'"')?;
    *rest = &from[close + 1..];
    Some(&from[..=close])
}

fn strip_weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::{Guard, allowed};

    fn judge(if_match: &str, if_none_match: &str, current: &str) -> bool {
        let field = |value: &str| (!value.is_empty()).then(|| value.as_bytes().into());
        let guard = Guard {
            if_match: field(if_match),
            if_none_match: field(if_none_match),
            ..Guard::default()
        };
        allowed(&guard, (!current.is_empty()).then_some(current.as_bytes()))
    }

    #[test]
    fn lists_stars_and_weak_tags() {
        assert!(judge("", "", ""));
        assert!(judge("", "*", ""));
        assert!(!judge("", "*", "\"a\""));
        assert!(!judge("*", "", ""));
        assert!(judge(" * ", "", "\"a\""));
        assert!(judge("\"b\" , \"a\"", "", "\"a\""));
        assert!(!judge("W/\"a\"", "", "\"a\""));
        assert!(!judge("", "\"x,y\",W/\"a\"", "\"a\""));
        assert!(judge("", "\"x,y\"", "\"y\""));
        assert!(judge("\"x,y\"", "\"z\"", "\"x,y\""));
        assert!(!judge("\"", "", "\"a\""));
    }
}
