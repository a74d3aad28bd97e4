//! Rules on how long files are kept, and where.

use super::PathRules;

impl PathRules {
    /// From this age on the key's object is taken away, in seconds.
    pub fn expire_after_s(&self, key: &[u8]) -> Option<u64> {
        self.first(key, |rule| rule.expire_after_s)
    }

    /// From this age on the key's file is only kept in the remote store, in seconds.
    pub fn remote_after_s(&self, key: &[u8]) -> Option<u64> {
        self.first(key, |rule| rule.remote_after_s)
    }

    /// Whether any rule takes objects away by age.
    pub fn any_expires(&self) -> bool {
        self.iter().any(|rule| rule.expire_after_s.is_some())
    }

    /// Whether any rule moves files to the remote store.
    pub fn any_moves(&self) -> bool {
        self.iter().any(|rule| rule.remote_after_s.is_some())
    }
}
