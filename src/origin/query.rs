//! Query parameters: the few the origin knows; all others are ignored.

use std::borrow::Cow;

use super::key::hex_pair;

/// The value of the first parameter called `name`, percent-decoded; bad encodings stay as sent.
pub fn value<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    raw(query, name).map(decoded)
}

/// The value of the first parameter called `name`, as it was sent.
pub fn raw<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|&byte| byte == b'&').find_map(|pair| {
        let rest = pair.strip_prefix(name)?;
        match rest.split_first() {
            None => Some(rest),
            Some((b'=', value)) => Some(value),
            Some(_) => None,
        }
    })
}

/// A value has more bytes than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// As [`value`], decoded into `room`: allocates nothing.
///
/// # Errors
/// When the value does not fit.
pub fn value_into<'a>(
    query: &[u8],
    name: &[u8],
    room: &'a mut [u8],
) -> Result<Option<&'a [u8]>, TooLong> {
    let Some(mut rest) = raw(query, name) else { return Ok(None) };
    let mut len = 0;
    while let Some((byte, tail)) = first_decoded(rest) {
        *room.get_mut(len).ok_or(TooLong)? = byte;
        len += 1;
        rest = tail;
    }
    Ok(Some(&room[..len]))
}

/// The target without what lets its bearer in: the values of `token` and `hw_sig` become `-`. As
/// runs of bytes, one after the other.
pub fn redacted(target: &[u8]) -> impl Iterator<Item = &[u8]> {
    const SECRETS: [&[u8]; 2] = [b"token=", b"hw_sig="];
    let start = target.iter().position(|&byte| byte == b'?').map_or(target.len(), |at| at + 1);
    let (path, query) = target.split_at(start);
    let pairs = query.split_inclusive(|&byte| byte == b'&').flat_map(|pair| {
        let name = SECRETS.into_iter().find(|name| pair.starts_with(name));
        let kept = name.map_or(pair.len(), <[u8]>::len);
        let end: &[u8] = if pair.ends_with(b"&") { b"&" } else { b"" };
        match name {
            None => [pair, b"", b""],
            Some(_) => [&pair[..kept], b"-", end],
        }
    });
    std::iter::once(path).chain(pairs)
}

/// A value without its percent-encoding; bad encodings stay as sent.
pub fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, tail)) = first_decoded(rest) {
        bytes.push(byte);
        rest = tail;
    }
    Cow::Owned(bytes)
}

/// The first byte of a value without its percent-encoding, and the rest.
fn first_decoded(value: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, tail) = value.split_first()?;
    let pair = if first == b'%' { tail.get(..2).and_then(hex_pair) } else { None };
    Some(match pair {
        Some(byte) => (byte, &tail[2..]),
        None => (first, tail),
    })
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

    #[test]
    fn values_are_decoded_into_a_room() {
        let mut room = [0; 4];
        let mut found = |query: &[u8]| {
            value_into(query, b"a", &mut room).map(|value| value.map(<[u8]>::to_vec))
        };
        assert_eq!(found(b"b=1&a=%2Bx%zz"), Err(TooLong));
        assert_eq!(found(b"b=1&a=%2Bx%z"), Ok(Some(b"+x%z".to_vec())));
        assert_eq!(found(b"a"), Ok(Some(vec![])));
        assert_eq!(found(b"ab=1"), Ok(None));
    }

    #[test]
    fn what_lets_in_is_taken_out_of_targets() {
        let shown = |target: &str| {
            let runs: Vec<&[u8]> = redacted(target.as_bytes()).collect();
            String::from_utf8(runs.concat()).unwrap()
        };
        assert_eq!(shown("/a?token=secret"), "/a?token=-");
        assert_eq!(shown("/a?x=1&token=secret&y=2"), "/a?x=1&token=-&y=2");
        assert_eq!(shown("/a?token=s&hw_sig=t&token=u&"), "/a?token=-&hw_sig=-&token=-&");
        assert_eq!(shown("http://h/a?hw_key=k&hw_sig=t"), "http://h/a?hw_key=k&hw_sig=-");
        for plain in ["/a", "/a?", "/token=x", "/a?tokens=x&b", "*", ""] {
            assert_eq!(shown(plain), plain);
        }
    }
}
