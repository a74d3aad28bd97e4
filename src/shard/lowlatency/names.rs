//! Names of playlists and of what they name.
//!
//! Invariants: a name that leaves the origin, or its root, names nothing.

use crate::limits;
use crate::media::types::{self, Class};
use crate::origin::key;

/// Whether an upload is an HLS playlist.
pub fn is_playlist(key: &[u8], content_type: &[u8]) -> bool {
    let is_named = [&b".m3u8"[..], b".m3u"].iter().any(|end| key.ends_with(end));
    let is_typed = content_type.to_ascii_lowercase().windows(7).any(|some| some == b"mpegurl");
    types::class(key, content_type) == Class::Manifest && (is_named || is_typed)
}

/// Where the encoder's own playlist is kept: `.plain` before the extension.
pub fn plain_key(key: &[u8]) -> Box<[u8]> {
    let name = key.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let dot = key[name..].iter().rposition(|&byte| byte == b'.').map_or(key.len(), |at| name + at);
    [&key[..dot], b".plain", &key[dot..]].concat().into()
}

/// The name of `key` relative to a playlist in a folder at or above its own.
pub fn relative_below<'a>(playlist: &[u8], key: &'a [u8]) -> Option<&'a [u8]> {
    key.strip_prefix(folder(playlist))
}

/// The name of a playlist relative to another's folder.
pub fn relative(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut shared = folder(from);
    let mut up = Vec::new();
    while !to.starts_with(shared) {
        shared = folder(&shared[..shared.len() - 1]);
        up.extend_from_slice(b"../");
    }
    [&up, &to[shared.len()..]].concat()
}

/// The key that a name in a playlist stands for; `None` for those that are not of this origin.
pub fn resolve(playlist: &[u8], uri: &[u8]) -> Option<Box<[u8]>> {
    let uri = uri.split(|&byte| byte == b'?' || byte == b'#').next()?;
    let is_absolute = uri.windows(3).any(|some| some == b"://") || uri.starts_with(b"//");
    if uri.is_empty() || is_absolute {
        return None;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    let from = if uri.starts_with(b"/") { b"" } else { folder(playlist) };
    for part in from.split(|&byte| byte == b'/').chain(uri.split(|&byte| byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    let path = [b"/", &parts.join(&b'/')[..]].concat();
    let mut scratch = [0; limits::KEY_BYTES_MAX];
    key::parse(&path, &mut scratch).ok().map(Box::from)
}

/// What a key begins with, up to its last slash.
fn folder(key: &[u8]) -> &[u8] {
    &key[..key.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_name_stays_in_the_folder() {
        for (key, plain) in [
            ("live/720p.m3u8", "live/720p.plain.m3u8"),
            ("a.b/index", "a.b/index.plain"),
            ("x.m3u8", "x.plain.m3u8"),
        ] {
            assert_eq!(*plain_key(key.as_bytes()), *plain.as_bytes());
        }
    }

    #[test]
    fn names_are_resolved_and_told_back() {
        let resolved = |playlist: &str, uri: &str| {
            let key = resolve(playlist.as_bytes(), uri.as_bytes())?;
            Some(String::from_utf8(key.into()).unwrap())
        };
        assert_eq!(resolved("a/b/m.m3u8", "c/d.m3u8?x=1").as_deref(), Some("a/b/c/d.m3u8"));
        assert_eq!(resolved("a/b/m.m3u8", "../d%20e.m3u8").as_deref(), Some("a/d e.m3u8"));
        assert_eq!(resolved("a/m.m3u8", "/d.m3u8").as_deref(), Some("d.m3u8"));
        for uri in ["../../d", "https://b/c.m3u8", "//b/c.m3u8", "", "?x"] {
            assert_eq!(resolved("a/m.m3u8", uri), None, "{uri}");
        }
        for (from, to, expected) in [
            ("a/x.m3u8", "a/y.m3u8", "y.m3u8"),
            ("a/b/x.m3u8", "a/c/y.m3u8", "../c/y.m3u8"),
            ("a/b/x.m3u8", "y.m3u8", "../../y.m3u8"),
            ("x.m3u8", "a/y.m3u8", "a/y.m3u8"),
        ] {
            assert_eq!(relative(from.as_bytes(), to.as_bytes()), expected.as_bytes());
        }
        assert_eq!(relative_below(b"a/x.m3u8", b"a/v/1.m4s"), Some(&b"v/1.m4s"[..]));
        assert_eq!(relative_below(b"a/b/x.m3u8", b"a/v/1.m4s"), None);
    }

    #[test]
    fn playlists_are_told_from_other_manifests() {
        assert!(is_playlist(b"a.m3u8", b"application/octet-stream"));
        assert!(is_playlist(b"a", b"application/vnd.apple.mpegURL"));
        assert!(!is_playlist(b"a.mpd", b"application/dash+xml"));
        assert!(!is_playlist(b"a.m4s", b"video/iso.segment"));
    }
}
