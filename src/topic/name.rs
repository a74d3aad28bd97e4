//! Names of topics: what follows `/topics/` in a path.

use crate::limits::{KEY_BYTES_MAX, TOPIC_NAME_BYTES_MAX};

/// Why a key names no topic.
pub const FAULT: &str = "a topic is /topics/NAMESPACE/TOPIC: UTF-8, at most 255 bytes";

/// The namespace of events about objects.
pub const OBJECTS: &[u8] = b"objects/";
/// The namespace of counts.
pub const PRESENCE: &[u8] = b"presence/";

/// The name in a key under `topics/`, which was checked as a key.
#[must_use]
pub fn of_key(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(b"topics/").filter(|name| check(name))
}

/// Whether a name that did not come from a key is one: the same rules.
#[must_use]
pub fn check(name: &[u8]) -> bool {
    let mut parts = name.split(|&byte| byte == b'/');
    let is_part =
        |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.iter().any(u8::is_ascii_control);
    name.len() <= TOPIC_NAME_BYTES_MAX
        && name.contains(&b'/')
        && std::str::from_utf8(name).is_ok()
        && parts.all(is_part)
}

/// Whether only the origin publishes under the name.
#[must_use]
pub fn is_own(name: &[u8]) -> bool {
    name.starts_with(OBJECTS) || name.starts_with(PRESENCE)
}

/// The topic whose owner owns `name`: counts lie where what they count lies.
#[must_use]
pub fn place(name: &[u8]) -> &[u8] {
    match name.strip_prefix(PRESENCE) {
        Some(rest) if check(rest) => rest,
        _ => name,
    }
}

// A name fits a key behind its prefix.
const _: () = assert!(TOPIC_NAME_BYTES_MAX + 7 <= KEY_BYTES_MAX);
