//! Query parameters: the few the origin knows; all others are ignored.

use std::borrow::Cow;

use super::key::hex_pair;

/// The value of the first parameter called `name`, percent-decoded; bad encodings stay as sent.
pub fn value<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    query.split(|&byte| byte == b'&').find_map(|pair| {
        let rest = pair.strip_prefix(name)?;
        match rest.split_first() {
            None => Some(Cow::Borrowed(rest)),
            Some((b'=', value)) => Some(decoded(value)),
            Some(_) => None,
        }
    })
}

fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let pair = if first == b'%' { tail.get(..2).and_then(hex_pair) } else { None };
        match pair {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => bytes.push(first),
        }
    }
    Cow::Owned(bytes)
}

/// A whole number without sign, of at most 12 digits.
pub fn number(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    let plain =
        !digits.is_empty() && digits.len() <= 12 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_whole_name() {
        let query = b"role=origin&ttl_seconds=30&CMCD=bl%3D2&ttl=9&Path=a%2Fb";
        assert_eq!(value(query, b"ttl_seconds").as_deref(), Some(&b"30"[..]));
        assert_eq!(value(query, b"ttl").as_deref(), Some(&b"9"[..]));
        assert_eq!(value(query, b"Path").as_deref(), Some(&b"a/b"[..]));
        assert_eq!(value(query, b"absent"), None);
        assert_eq!(number(b"30"), Some(30));
        assert_eq!(number(b"+30"), None);
        assert_eq!(number(b""), None);
    }
}
