//! What a player says that it will ask for next: `nor` and `nrr`.
//!
//! `nor` is a relative reference in quotes, percent-encoded once more, or several of them as an
//! inner list, each with a range of its own (CTA-5004-A). `nrr` is the range where `nor` is one, or
//! where it is missing and the object is the one that is asked for now.
//!
//! **Invariants**: works on borrowed bytes and allocates nothing; of a list that breaks the rules
//! what stands before the fault counts.

use super::{Malformed, entries};

/// Calls `each` with the references in a list, in order, and from which byte on they are wanted. An
/// empty reference is the object that is asked for now.
pub fn each_next(list: &[u8], each: &mut dyn FnMut(&[u8], u64)) {
    let (mut objects, mut first) = (None, None);
    for (key, value) in entries(list).map_while(Result::ok) {
        match key {
            b"nor" => objects = value,
            b"nrr" => first = value.and_then(quoted).and_then(|(range, _)| first_byte(range)),
            _ => {}
        }
    }
    match objects {
        None => first.into_iter().for_each(|first| each(b"", first)),
        Some(value) => match value.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")")) {
            Some(items) => drop(each_item(items, each)),
            None => {
                let one = quoted(value).filter(|(_, rest)| rest.is_empty());
                one.into_iter().for_each(|(object, _)| each(object, first.unwrap_or(0)));
            }
        },
    }
}

/// Reads the items of an inner list, each with its parameters.
fn each_item(items: &[u8], each: &mut dyn FnMut(&[u8], u64)) -> Result<(), Malformed> {
    let mut rest = items.trim_ascii();
    while !rest.is_empty() {
        let (object, mut tail) = quoted(rest).ok_or(Malformed)?;
        let mut first = 0;
        while let Some(parameter) = tail.strip_prefix(b";") {
            let value = parameter.strip_prefix(b"r=").ok_or(Malformed)?;
            let (range, behind) = quoted(value).ok_or(Malformed)?;
            first = first_byte(range).unwrap_or(0);
            tail = behind;
        }
        each(object, first);
        rest = tail.trim_ascii_start();
    }
    Ok(())
}

/// What stands in the quotes at the front, and what stands behind them. Nothing of what is quoted
/// here needs an escape.
fn quoted(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = value.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&byte| byte == b'"')?;
    let text = &inner[..end];
    (!text.contains(&b'\\')).then_some((text, &inner[end + 1..]))
}

/// Where a range of bytes begins; the last so many bytes begin nowhere.
fn first_byte(range: &[u8]) -> Option<u64> {
    let dash = range.iter().position(|&byte| byte == b'-')?;
    std::str::from_utf8(&range[..dash]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_ranges_are_found() {
        type Found<'a> = &'a [(&'a str, u64)];
        let cases: [(&[u8], Found<'_>); 14] = [
            (b"br=1,nor=\"..%2F300kbps%2F3.m4v\",sid=\"a\"", &[("..%2F300kbps%2F3.m4v", 0)]),
            (b"nor=\"3.m4v\",nrr=\"12323-48763\"", &[("3.m4v", 12_323)]),
            (b"nrr=\"500-\"", &[("", 500)]),
            (b"nrr=\"-500\"", &[]),
            (b"nor=(\"1.m4s\" \"a%2C2.m4s\";r=\"7-9\"),su", &[("1.m4s", 0), ("a%2C2.m4s", 7)]),
            (b"nor=( \"1.m4s\" )", &[("1.m4s", 0)]),
            (b"nor=()", &[]),
            (b"nor=(\"1.m4s\" two)", &[("1.m4s", 0)]),
            (b"nor=(\"1.m4s\";x=1)", &[]),
            (b"nor=3.m4v", &[]),
            (b"nor", &[]),
            (b"nor=\"a\\\"b\"", &[]),
            (b"nor=\"1.m4s\",,nrr=\"5-9\"", &[("1.m4s", 0)]),
            (b"bs,nor=\"open", &[]),
        ];
        for (list, expected) in cases {
            let mut found = Vec::new();
            each_next(list, &mut |object, first| {
                found.push((String::from_utf8(object.to_vec()).unwrap(), first));
            });
            let found: Vec<_> = found.iter().map(|(object, first)| (&**object, *first)).collect();
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(list));
        }
    }
}
