//! Names of segments by number: which one follows.
//!
//! The number is the last run of digits in the last part of a key, before its extension. Padding
//! with zeros keeps its width.
//!
//! **Invariants**: pure; nothing is known of whether an object has that name.

/// The key that stands one behind `key`; `None` where it has no number, or none that follows.
pub fn following(key: &[u8]) -> Option<Vec<u8>> {
    let name = key.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let dot = key[name..].iter().rposition(|&byte| byte == b'.').map_or(key.len(), |at| name + at);
    let end = name + key[name..dot].iter().rposition(u8::is_ascii_digit)? + 1;
    let before = key[name..end].iter().rposition(|byte| !byte.is_ascii_digit());
    let start = before.map_or(name, |at| name + at + 1);
    let digits = std::str::from_utf8(&key[start..end]).ok()?;
    let number = digits.parse::<u64>().ok()?.checked_add(1)?;
    let number = format!("{number:0width$}", width = digits.len());
    Some([&key[..start], number.as_bytes(), &key[end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_before_the_extension_counts() {
        for (key, expected) in [
            ("vod/seg00041.m4s", Some("vod/seg00042.m4s")),
            ("vod/9.ts", Some("vod/10.ts")),
            ("vod/099.ts", Some("vod/100.ts")),
            ("vod/0999.ts", Some("vod/1000.ts")),
            ("d/chunk-stream0-00005.m4s", Some("d/chunk-stream0-00006.m4s")),
            ("a1/b2/c.3.mp4", Some("a1/b2/c.4.mp4")),
            ("ch/Streams(video)/Segments(7)", Some("ch/Streams(video)/Segments(8)")),
            ("7", Some("8")),
            ("x7y", Some("x8y")),
            ("a/18446744073709551614", Some("a/18446744073709551615")),
            ("a/18446744073709551615.ts", None),
            ("a/99999999999999999999.ts", None),
            ("vod1/init.mp4", None),
            ("vod1/film", None),
            ("vod1/.m4s", None),
            ("vod1/", None),
            ("", None),
        ] {
            let found = following(key.as_bytes()).map(|next| String::from_utf8(next).unwrap());
            assert_eq!(found.as_deref(), expected, "{key}");
        }
    }
}
