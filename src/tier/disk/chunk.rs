//! Chunks of large files as objects of their own: what they are called.
//!
//! `\0NN/INDEX\0TAG\0KEY`, numbers in hexadecimal: NN spreads chunks over the shards, TAG is a
//! hash of the file's entity tag and of the chunks' size, and KEY is the file's key with `\x01` for
//! each slash, so that a chunk lies in one folder and not in many.
//!
//! Invariants: no request can name a chunk, since no key of a request has a control byte; a name
//! is that of one chunk of one version, and says which.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A chunk of one version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The file's key.
    pub key: &'a [u8],
    /// Of the file's entity tag and the chunks' size, see [`tag_of`].
    pub tag: u64,
    /// How many chunks lie before it.
    pub index: u64,
}

/// What stands in names for an entity tag, and for a body that is cut into chunks of so many bytes:
/// disk and remote store may cut one version differently.
pub fn tag_of(etag: &[u8], chunk_bytes: u64) -> u64 {
    xxh3_64_with_seed(etag, chunk_bytes)
}

impl Chunk<'_> {
    /// The key of the chunk's object.
    pub fn name(&self) -> Box<[u8]> {
        let Self { key, tag, index } = *self;
        let folder = (xxh3_64(key).wrapping_add(index)) % FOLDERS;
        let mut name = format!("\0{folder:02x}/{index:x}\0{tag:016x}\0").into_bytes();
        name.extend(key.iter().map(|&byte| if byte == b'/' { SLASH } else { byte }));
        name.into()
    }
}

/// The file's key, the tag and the index that a name says; `None` for what names no chunk.
pub fn parse(name: &[u8]) -> Option<(Vec<u8>, u64, u64)> {
    let rest = name.strip_prefix(b"\0")?;
    let slash = rest.iter().position(|&byte| byte == b'/')?;
    let mut parts = rest[slash + 1..].splitn(3, |&byte| byte == 0);
    let mut number = || {
        let digits = std::str::from_utf8(parts.next()?).ok()?;
        u64::from_str_radix(digits, 16).ok()
    };
    let (index, tag) = (number()?, number()?);
    let key = parts.next().filter(|key| !key.is_empty())?;
    let key = key.iter().map(|&byte| if byte == SLASH { b'/' } else { byte }).collect();
    Some((key, tag, index))
}

/// Stands for a slash of the file's key.
const SLASH: u8 = 1;
/// Folders that chunks lie in; each belongs to one shard.
const FOLDERS: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_differ() {
        let tag = tag_of(b"\"f1-2\"", 4096);
        let mut names = Vec::new();
        for key in [&b"a"[..], b"films/one/a.mp4", b"0/1", b"\xff \xe4"] {
            for index in [0, 1, 15, 16, u64::MAX] {
                let name = Chunk { key, tag, index }.name();
                assert_eq!(parse(&name), Some((key.to_vec(), tag, index)));
                assert_eq!(name.iter().filter(|&&byte| byte == b'/').count(), 1);
                names.push(name);
            }
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 20);
        assert_ne!(tag, tag_of(b"\"f1-3\"", 4096));
        assert_ne!(tag, tag_of(b"\"f1-2\"", 8192));
    }

    #[test]
    fn other_keys_name_no_chunk() {
        for name in [&b""[..], b"a", b"films/a.mp4", b"\0", b"\x0000/", b"\x0000/1\x002\0"] {
            assert_eq!(parse(name), None, "{name:?}");
        }
    }
}
