//! References in playlists, resolved to path and query on the origin under test (RFC 3986 section 5).
//!
//! One run loads one origin: a reference to a host is refused unless the caller cut its prefix off
//! before (`strip_origin`). Never does: percent-coding.

/// Path and query that `reference` means within a document at `base`; the error is a clause.
pub fn resolve(base: &str, reference: &str) -> Result<Box<str>, String> {
    if reference.contains("://") || reference.starts_with("//") {
        return Err(format!(
            "`{reference}` lies on another host; name that host's manifest instead"
        ));
    }
    if reference.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!("`{}` has spaces or control characters", reference.escape_debug()));
    }
    if let Some(query) = reference.strip_prefix('?') {
        let path = base.split_once('?').map_or(base, |(path, _)| path);
        return Ok(format!("{path}?{query}").into());
    }
    let joined = if reference.starts_with('/') {
        reference.to_owned()
    } else {
        let path = base.split_once('?').map_or(base, |(path, _)| path);
        let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
        format!("{folder}{reference}")
    };
    let (path, query) = match joined.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (joined.as_str(), None),
    };
    let mut clean = without_dots(path);
    if let Some(query) = query {
        clean.push('?');
        clean.push_str(query);
    }
    Ok(clean.into())
}

/// `text` with every `origin` (`http://host:port`) removed, so that absolute references to the
/// origin under test become paths.
pub fn strip_origin(text: &str, origin: &str) -> String {
    text.replace(&format!("{origin}/"), "/")
}

/// Appends a query parameter.
pub fn with_query(path: &str, parameter: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{parameter}")
}

fn without_dots(path: &str) -> String {
    if !path.contains("/.") {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." if last => kept.push(""),
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            "." => {}
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        for (base, reference, expected) in [
            ("/live/a/index.m3u8", "seg1.ts", "/live/a/seg1.ts"),
            ("/live/a/index.m3u8?x=/y/", "seg1.ts?k=1", "/live/a/seg1.ts?k=1"),
            ("/live/a/index.m3u8", "../b/./i.m3u8", "/live/b/i.m3u8"),
            ("/live/a/index.m3u8", "/b/../c", "/c"),
            ("/live/a/index.m3u8", "?_HLS_msn=1", "/live/a/index.m3u8?_HLS_msn=1"),
            ("/index.m3u8", "../../x", "/x"),
        ] {
            assert_eq!(&*resolve(base, reference).unwrap(), expected, "{base} {reference}");
        }
        assert!(resolve("/a", "//cdn/x").is_err());
        assert!(resolve("/a", "a b").is_err());
        assert_eq!(strip_origin("x http://h:1/a", "http://h:1"), "x /a");
        assert_eq!(with_query("/a?b", "c=1"), "/a?b&c=1");
    }
}
