//! Paths of the disk tier: what a key is called there, and which folders it needs.
//!
//! Invariants: no key names anything under [`RESERVED`], where the tier keeps its own files.

/// The folder of the tier's own files, beneath the root.
pub const RESERVED: &[u8] = b".headwater";

/// Folder and name of a key; the root is empty.
pub fn split(key: &[u8]) -> (&[u8], &[u8]) {
    match key.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&key[..slash], &key[slash + 1..]),
        None => (b"", key),
    }
}

/// The folders on the way to `folder`, the outermost first, `folder` last.
pub fn ancestors(folder: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let ends = slashes.map(|(at, _)| at).chain((!folder.is_empty()).then_some(folder.len()));
    ends.map(|end| &folder[..end])
}

/// Whether the key would lie among the tier's own files.
pub fn is_reserved(key: &[u8]) -> bool {
    key.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_from_the_outside_in() {
        let of = |folder: &'static [u8]| ancestors(folder).collect::<Vec<_>>();
        assert!(of(b"").is_empty());
        assert_eq!(of(b"a"), [b"a" as &[u8]]);
        assert_eq!(of(b"a/bc/d"), [b"a" as &[u8], b"a/bc", b"a/bc/d"]);
        assert_eq!(split(b"a/b"), (b"a" as &[u8], b"b" as &[u8]));
        assert_eq!(split(b"a"), (b"" as &[u8], b"a" as &[u8]));
    }

    #[test]
    fn the_tiers_own_files_have_no_key() {
        assert!(is_reserved(b".headwater") && is_reserved(b".headwater/x"));
        assert!(!is_reserved(b".headwaters") && !is_reserved(b"a/.headwater"));
    }
}
