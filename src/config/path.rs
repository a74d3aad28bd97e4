//! Rules by path: how long objects live and what caches are told.

use super::{Cors, PathAccess, glob};
use crate::limits;

/// The rules in the order of the file; the first that covers a key counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathRules(Vec<PathRule>);

/// One rule. At least one of its effects is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    pub(super) pattern: Box<str>,
    /// Lifetime of an object from its publication, in seconds; at least 1.
    pub ttl_seconds: Option<u32>,
    /// Cache-Control of objects that were uploaded without one.
    pub cache_control: Option<Box<[u8]>>,
    /// How long a read of an absent object waits for it, in milliseconds.
    pub hold_ms: Option<u32>,
    /// Whether low-latency playlists are made from plain ones.
    pub ll: Option<bool>,
    /// No part of them is longer than this, in milliseconds.
    pub part_target_ms: Option<u32>,
    /// Where uploads are kept when they are acknowledged.
    pub durability: Option<Durability>,
    /// How long a live manifest is good for that nobody renews.
    pub stale_after: Option<StaleAfter>,
    /// Who may read and write, and from where.
    pub(super) access: PathAccess,
    /// Which web pages may read.
    pub(super) cors: Option<Cors>,
}

/// Where an upload is kept when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In memory.
    Memory,
    /// On disk.
    Disk,
}

/// How long a live manifest is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleAfter {
    /// One and a half target durations.
    Auto,
    /// Milliseconds.
    Ms(u32),
}

impl PathRules {
    /// The first rule that covers the key. Allocates nothing.
    pub fn find(&self, key: &[u8]) -> Option<&PathRule> {
        self.0.iter().find(|rule| glob::covers(rule.pattern.as_bytes(), key))
    }

    /// The place of the first rule that covers the key, and the rule.
    pub fn find_with_place(&self, key: &[u8]) -> Option<(usize, &PathRule)> {
        self.0.iter().enumerate().find(|(_, rule)| glob::covers(rule.pattern.as_bytes(), key))
    }

    /// The rule in a place.
    pub fn at(&self, place: usize) -> Option<&PathRule> {
        self.0.get(place)
    }

    /// Each rule, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, PathRule> {
        self.0.iter()
    }

    /// Whether any rule has reads wait.
    pub fn any_holds(&self) -> bool {
        self.0.iter().any(|rule| rule.hold_ms.is_some() || rule.ll == Some(true))
    }

    /// Whether any rule has manifests become stale.
    pub fn any_stales(&self) -> bool {
        self.0.iter().any(|rule| rule.stale_after.is_some())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends a rule; the error is a sentence.
    pub(super) fn push(&mut self, rule: PathRule) -> Result<(), String> {
        if self.0.len() == limits::PATH_RULES_MAX {
            return Err(format!("at most {} rules", limits::PATH_RULES_MAX));
        }
        self.0.push(rule);
        Ok(())
    }
}

impl PathRule {
    /// A rule without effect, with a pattern that was checked.
    pub(super) fn new(pattern: &str) -> Self {
        debug_assert!(glob::check(pattern).is_ok());
        Self {
            pattern: pattern.into(),
            ttl_seconds: None,
            cache_control: None,
            hold_ms: None,
            ll: None,
            part_target_ms: None,
            durability: None,
            stale_after: None,
            access: PathAccess::default(),
            cors: None,
        }
    }

    /// Who may read and write, and from where.
    pub fn access(&self) -> &PathAccess {
        &self.access
    }

    /// Which web pages may read, where the rule says so.
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.as_ref()
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_covers_counts() {
        let mut rules = PathRules::default();
        for (pattern, ttl) in [("live/*/init.mp4", 3600), ("live/**", 30), ("**", 7)] {
            let rule = PathRule { ttl_seconds: Some(ttl), ..PathRule::new(pattern) };
            rules.push(rule).unwrap();
        }
        let ttl = |key: &str| rules.find(key.as_bytes()).and_then(|rule| rule.ttl_seconds);
        assert_eq!(ttl("live/720p/init.mp4"), Some(3600));
        assert_eq!(ttl("live/720p/1.m4s"), Some(30));
        assert_eq!(ttl("vod/film.mp4"), Some(7));
        assert!(PathRules::default().find(b"a").is_none());
    }

    #[test]
    fn the_number_of_rules_is_bounded() {
        let mut rules = PathRules::default();
        for _ in 0..limits::PATH_RULES_MAX {
            rules.push(PathRule::new("**")).unwrap();
        }
        assert!(rules.push(PathRule::new("**")).is_err());
    }
}
