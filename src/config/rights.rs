//! Rights: what a credential may do, and on which paths.

use super::glob;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// Read objects and listings.
    Read,
    /// Store, replace and delete objects.
    Publish,
    /// Publish to topics.
    TopicPublish,
    /// Follow topics.
    TopicSubscribe,
}

impl Right {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::Read, Self::Publish, Self::TopicPublish, Self::TopicSubscribe];

    /// The key of the configuration that grants it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::TopicPublish => "topic_publish",
            Self::TopicSubscribe => "topic_subscribe",
        }
    }

    /// Whether it changes anything, so that a web page must not use it without a credential.
    pub const fn changes(self) -> bool {
        matches!(self, Self::Publish | Self::TopicPublish)
    }
}

/// Paths that a right holds for: patterns as in `[[path]]`, for topics over the topic's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Vec<Box<[u8]>>);

impl Scope {
    /// Every path.
    pub fn everything() -> Self {
        Self(vec![(*b"**").into()])
    }

    /// Of patterns that were checked.
    pub(super) fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| pattern.as_bytes().into()).collect())
    }

    /// Whether the right is not held at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the right holds for the key.
    pub fn covers(&self, key: &[u8]) -> bool {
        self.0.iter().any(|pattern| glob::covers(pattern, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_patterns() {
        let scope = Scope::new(&["live/**".to_owned(), "vod/*.mp4".to_owned()]);
        assert!(scope.covers(b"live/a/b") && scope.covers(b"vod/a.mp4"));
        assert!(!scope.covers(b"vod/a/b.mp4") && !scope.covers(b"liver/a"));
        assert!(Scope::everything().covers(b"a/b/c"));
        assert!(Scope::default().is_empty() && !Scope::default().covers(b"a"));
    }

    #[test]
    fn rights_are_numbered_in_order() {
        for (number, right) in Right::ALL.into_iter().enumerate() {
            assert_eq!(right as usize, number);
        }
    }
}
