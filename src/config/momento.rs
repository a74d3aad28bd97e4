//! The dialect of Momento's Object Store and Cache: which stores and caches there are.
//!
//! **Invariants**: names are compared as they are written; no name is a path.

use crate::limits;

/// How the dialect is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Momento {
    /// The stores there are; none: a store of any name.
    pub stores: Box<[Box<str>]>,
    /// The caches there are; none: a cache of any name.
    pub caches: Box<[Box<str>]>,
}

/// Checks the name of a store or a cache.
///
/// # Errors
/// A sentence.
pub fn name(text: &str) -> Result<Box<str>, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match text.len() {
        1..=limits::MOMENTO_NAME_BYTES_MAX if text.bytes().all(is_plain) => Ok(text.into()),
        _ => Err(format!(
            "a name has 1 to {} letters, digits, -, _ and .",
            limits::MOMENTO_NAME_BYTES_MAX
        )),
    }
}
