//! Keys as paths: parts separated by slashes, no slash at either end; the root is empty.

/// The parent folder of a key or folder, and its last part.
#[inline]
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Whether a key is the origin's own, such as a chunk's: no request can name it, nor does a listing
/// or an event.
#[inline]
pub fn is_internal(key: &[u8]) -> bool {
    key.first() == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_path_splits_at_its_last_slash() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }
}
