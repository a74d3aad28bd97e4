//! The dialect of AWS Elemental MediaStore: whether it is spoken, and the keys that sign its
//! requests.
//!
//! **Invariants**: a key's secret is never printed; a key without patterns of its own reads and
//! publishes everywhere, as an owner's key does.

use super::rights::{Right, Scope};
use super::secret::Secret;
use crate::limits;

/// How the dialect is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaStore {
    /// How far a signature's time may be from this host's, either way, in seconds.
    pub clock_skew_s: u64,
}

impl Default for MediaStore {
    fn default() -> Self {
        Self { clock_skew_s: limits::CLOCK_SKEW_S }
    }
}

/// A key that signs requests (Signature Version 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKey {
    /// The access key id, as requests name it.
    pub id: Box<str>,
    /// What it is called in logs: `aws:ID`.
    pub label: Box<str>,
    secret: Secret,
    /// What it may read.
    pub read: Scope,
    /// What it may store, replace and delete.
    pub publish: Scope,
}

impl AwsKey {
    /// A key that may read and publish everywhere.
    ///
    /// # Errors
    /// A sentence, which does not quote the secret.
    pub fn new(id: &str, secret: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if id.is_empty() || id.len() > limits::AWS_ID_BYTES_MAX || !id.bytes().all(is_plain) {
            return Err(format!(
                "an access key id has 1 to {} letters, digits and _",
                limits::AWS_ID_BYTES_MAX
            ));
        }
        let lengths = limits::TOKEN_BYTES_MIN..=limits::TOKEN_BYTES_MAX;
        if !lengths.contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "a secret access key has {} to {} visible characters; make one with \
                 'openssl rand -hex 20'",
                limits::TOKEN_BYTES_MIN,
                limits::TOKEN_BYTES_MAX
            ));
        }
        Ok(Self {
            id: id.into(),
            label: format!("aws:{id}").into(),
            secret: Secret::new(secret.as_bytes()),
            read: Scope::everything(),
            publish: Scope::everything(),
        })
    }

    /// The secret, to compute with.
    pub fn secret(&self) -> &[u8] {
        self.secret.expose()
    }

    /// Whether it grants the right on any key.
    pub fn has(&self, right: Right) -> bool {
        self.scope(right).is_some_and(|scope| !scope.is_empty())
    }

    /// Whether it grants the right on the key. Topics are not of this dialect.
    pub fn may(&self, right: Right, key: &[u8]) -> bool {
        self.scope(right).is_some_and(|scope| scope.covers(key))
    }

    fn scope(&self, right: Right) -> Option<&Scope> {
        match right {
            Right::Read => Some(&self.read),
            Right::Publish => Some(&self.publish),
            Right::TopicPublish | Right::TopicSubscribe => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked_and_never_printed() {
        let key = AwsKey::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCY").unwrap();
        assert!(key.may(Right::Read, b"a/b") && key.has(Right::Publish));
        assert!(!key.has(Right::TopicPublish) && !key.may(Right::TopicSubscribe, b"a"));
        assert!(!format!("{key:?}").contains("wJal"));
        assert!(AwsKey::new("", "0123456789abcdef").is_err());
        assert!(AwsKey::new("A/B", "0123456789abcdef").is_err());
        let reason = AwsKey::new("A", "short one").unwrap_err();
        assert!(!reason.contains("short one"), "{reason}");
    }
}
