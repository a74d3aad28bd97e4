//! Patterns over keys: `*` within a part, `**` for any number of parts.
//!
//! The key is walked part by part with one point of return for `**`, and each part byte by byte
//! with one point of return for `*`; for such patterns the latest point is always enough, so the
//! time is at most pattern times key and nothing is allocated.

/// Checks a pattern once; the error is a sentence.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("a pattern is empty; ** stands for every path".to_owned());
    }
    if let Some(relative) = pattern.strip_prefix('/') {
        return Err(format!("keys have no leading slash; write \"{relative}\""));
    }
    for part in pattern.split('/') {
        if part.is_empty() {
            return Err("a pattern has no empty parts; remove the extra slash".to_owned());
        }
        if part != "**" && part.contains("**") {
            return Err(format!("** stands alone between slashes, not as in \"{part}\""));
        }
    }
    if pattern.split('/').zip(pattern.split('/').skip(1)).any(|pair| pair == ("**", "**")) {
        return Err("** twice in a row means no more than once; remove one".to_owned());
    }
    Ok(())
}

/// Whether a checked pattern covers the key. `**` stands for any number of whole parts, none
/// included, except at the end, where it stands for at least one.
pub(super) fn covers(pattern: &[u8], key: &[u8]) -> bool {
    let mut pattern_rest = Some(pattern);
    let mut key_rest = Some(key);
    // After the latest `**`: what follows it in the pattern, and the key part it has yet to eat.
    let mut back: Option<(Option<&[u8]>, &[u8])> = None;
    loop {
        if pattern_rest.is_none() && key_rest.is_none() {
            return true;
        }
        if let (Some(pattern), Some(key)) = (pattern_rest, key_rest) {
            let (part, pattern_next) = split(pattern);
            if part == b"**" {
                if pattern_next.is_none() {
                    return true;
                }
                back = Some((pattern_next, key));
                pattern_rest = pattern_next;
                continue;
            }
            let (name, key_next) = split(key);
            if part_covers(part, name) {
                pattern_rest = pattern_next;
                key_rest = key_next;
                continue;
            }
        }
        let Some((pattern_next, eaten)) = back else {
            return false;
        };
        let (_, Some(key_next)) = split(eaten) else {
            return false;
        };
        back = Some((pattern_next, key_next));
        pattern_rest = pattern_next;
        key_rest = Some(key_next);
    }
}

/// The first part and, if a slash follows, the rest.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

fn part_covers(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while from < name.len() {
        if pattern.get(at) == Some(&b'*') {
            back = Some((at + 1, from));
            at += 1;
        } else if pattern.get(at) == Some(&name[from]) {
            at += 1;
            from += 1;
        } else if let Some((after_star, eaten)) = back {
            back = Some((after_star, eaten + 1));
            at = after_star;
            from = eaten + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(pattern: &str, key: &str) -> bool {
        check(pattern).unwrap();
        covers(pattern.as_bytes(), key.as_bytes())
    }

    #[test]
    fn a_star_stays_within_its_part() {
        assert!(case("live/*", "live/a.m4s"));
        assert!(case("live/*", "live/"));
        assert!(!case("live/*", "live/a/b.m4s"));
        assert!(!case("live/*", "live"));
        assert!(case("live/*/init.mp4", "live/720p/init.mp4"));
        assert!(!case("live/*/init.mp4", "live/720p/x/init.mp4"));
        assert!(case("*.m3u8", "a.m3u8"));
        assert!(!case("*.m3u8", "live/a.m3u8"));
        assert!(case("seg-*-*.m4s", "seg-1-22-333.m4s"));
        assert!(!case("seg-*-*.m4s", "seg-1.m4s"));
        assert!(case("a*b*c", "abxbc"));
        assert!(!case("a*b*c", "abxbd"));
    }

    #[test]
    fn two_stars_cross_parts() {
        assert!(case("**", "a"));
        assert!(case("**", "a/b/c"));
        assert!(case("live/**", "live/a"));
        assert!(case("live/**", "live/a/b/c"));
        assert!(!case("live/**", "live"));
        assert!(!case("live/**", "liver/a"));
        assert!(case("**/*.mpd", "a.mpd"));
        assert!(case("**/*.mpd", "x/y/a.mpd"));
        assert!(case("a/**/z", "a/z"));
        assert!(case("a/**/z", "a/b/c/z"));
        assert!(!case("a/**/z", "a/b/c/z/y"));
        assert!(case("a/**/b/*/c", "a/b/x/b/y/c"));
        assert!(case("**/b/**/d", "a/b/c/b/d/d"));
        assert!(!case("**/b/**/d", "a/c/d"));
    }

    #[test]
    fn plain_text_covers_itself_only() {
        assert!(case("a/b.mpd", "a/b.mpd"));
        assert!(!case("a/b.mpd", "a/b.mpd2"));
        assert!(!case("a/b.mpd", "a/b"));
        assert!(!case("a/b", "a"));
        assert!(!case("a", "a/b"));
    }

    /// A slow and obvious twin decides every pattern and key over a small alphabet.
    #[test]
    fn agrees_with_the_obvious_definition() {
        let words = |letters: &[u8], length_max: usize| {
            let mut all = vec![Vec::new()];
            let mut last = all.clone();
            for _ in 0..length_max {
                last = last
                    .iter()
                    .flat_map(|word: &Vec<u8>| {
                        letters.iter().map(move |letter| [&word[..], &[*letter]].concat())
                    })
                    .collect();
                all.extend(last.clone());
            }
            all
        };
        let keys = words(b"ab/", 5);
        let mut cases = 0;
        for pattern in words(b"a*/", 6) {
            let pattern = String::from_utf8(pattern).unwrap();
            if check(&pattern).is_err() {
                continue;
            }
            let parts: Vec<&[u8]> = pattern.as_bytes().split(|byte| *byte == b'/').collect();
            for key in &keys {
                let names: Vec<&[u8]> = key.split(|byte| *byte == b'/').collect();
                let expected = obvious(&parts, &names);
                assert_eq!(covers(pattern.as_bytes(), key), expected, "{pattern} {key:?}");
                cases += 1;
            }
        }
        assert!(cases > 10_000, "{cases}");
    }

    fn obvious(parts: &[&[u8]], names: &[&[u8]]) -> bool {
        match (parts, names) {
            ([], []) => true,
            ([b"**"], names) => !names.is_empty(),
            ([b"**", rest @ ..], names) => (0..=names.len()).any(|n| obvious(rest, &names[n..])),
            ([part, parts @ ..], [name, names @ ..]) => {
                obvious_part(part, name) && obvious(parts, names)
            }
            _ => false,
        }
    }

    fn obvious_part(part: &[u8], name: &[u8]) -> bool {
        match (part, name) {
            ([], []) => true,
            ([b'*', rest @ ..], name) => (0..=name.len()).any(|n| obvious_part(rest, &name[n..])),
            ([byte, part @ ..], [first, name @ ..]) => byte == first && obvious_part(part, name),
            _ => false,
        }
    }

    #[test]
    fn a_bad_pattern_is_explained() {
        for (pattern, words) in [
            ("", "empty"),
            ("/live/*", "\"live/*\""),
            ("live//a", "extra slash"),
            ("live/", "extra slash"),
            ("live/**.m4s", "stands alone"),
            ("**/**", "twice"),
        ] {
            let reason = check(pattern).unwrap_err();
            assert!(reason.contains(words), "{pattern}: {reason}");
        }
    }
}
