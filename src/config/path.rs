//! Rules by path, and what they come to for one key.
//!
//! Each setting of a key is decided by the first rule that covers the key **and sets it**: a rule
//! that says nothing of a setting hands it on to the rules below. So a lifetime above a restriction
//! does not lift it.
//!
//! **Invariants**: a look-up allocates nothing and tries only the patterns of rules that set what
//! is looked for; allow and deny lists are settings of their own, so a rule lifts a list only by
//! setting that list.

use super::access::Door;
use super::network::Networks;
use super::{Cors, PathAccess, Right, glob};
use crate::limits;

/// The rules in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathRules(Vec<PathRule>);

/// One rule. At least one of its settings is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    pub(super) pattern: Box<str>,
    /// Its line in the file.
    pub line: Option<usize>,
    /// Lifetime of an object from its publication, in milliseconds; at least 1.
    pub ttl_ms: Option<u64>,
    /// Cache-Control of objects that were uploaded without one.
    pub cache_control: Option<Box<[u8]>>,
    /// How long caches keep playlists and MPDs, in seconds.
    pub cache_manifest_s: Option<u32>,
    /// How long caches keep segments and parts, in seconds.
    pub cache_segment_s: Option<u32>,
    /// How long caches keep headers of segments, in seconds.
    pub cache_init_s: Option<u32>,
    /// How long caches keep errors, in seconds.
    pub cache_error_s: Option<u32>,
    /// Bytes in one object, at most.
    pub object_bytes_max: Option<u64>,
    /// Whether other bytes under the same name are refused.
    pub immutable: Option<bool>,
    /// Whether objects can be read while they arrive.
    pub streaming: Option<bool>,
    /// What becomes of the path's objects when memory is full.
    pub on_full: Option<OnFull>,
    /// Whether playlists are offered as gzip.
    pub gzip: Option<bool>,
    /// Whether uploads are judged by DASH-IF's ingest rules.
    pub strict_ingest: Option<bool>,
    /// Whether answers say what is known of an object (CTA-5006).
    pub cmsd: Option<bool>,
    /// Whether answers say what is true of each alone (CTA-5006).
    pub cmsd_dynamic: Option<bool>,
    /// How long a read of an absent object waits for it, in milliseconds.
    pub hold_ms: Option<u32>,
    /// The constant duration of segments, in milliseconds.
    pub segment_ms: Option<u32>,
    /// Whether low-latency playlists are made from plain ones.
    pub ll: Option<bool>,
    /// No part of them is longer than this, in milliseconds.
    pub part_target_ms: Option<u32>,
    /// Where uploads are kept when they are acknowledged.
    pub durability: Option<Durability>,
    /// From this age on the object is taken away, in seconds.
    pub expire_after_s: Option<u64>,
    /// From this age on its file is only kept in the remote store, in seconds.
    pub remote_after_s: Option<u64>,
    /// How long a live manifest is good for that nobody renews.
    pub stale_after: Option<StaleAfter>,
    /// Whether a multivariant playlist fails when a rendition is missing or stale.
    pub whole_ladder: Option<bool>,
    /// What becomes of other bytes that a second encoder brings.
    pub redundant: Option<Redundant>,
    /// Names of encoders, in order of priority.
    pub pipelines: Option<Vec<Box<str>>>,
    /// How long an encoder may be silent before another one is followed, in milliseconds.
    pub failover_ms: Option<u32>,
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
    /// In the remote store.
    Remote,
}

/// What becomes of objects when an upload finds no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// They stay, and the upload is refused.
    Refuse,
    /// The oldest give way.
    Evict,
}

/// What becomes of other bytes that a second encoder brings under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redundant {
    /// Encoders are not told apart.
    Off,
    /// What the first one brought stays.
    First,
    /// What came last replaces it.
    Last,
    /// What the encoder that goes before in `pipelines` brings replaces that of others.
    Priority,
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
    /// What the first rule says that covers the key and says anything. Allocates nothing.
    pub fn first<'r, T>(
        &'r self,
        key: &[u8],
        says: impl Fn(&'r PathRule) -> Option<T>,
    ) -> Option<T> {
        self.first_with_place(key, says).map(|(_, _, said)| said)
    }

    /// The same with the rule and its place.
    pub fn first_with_place<'r, T>(
        &'r self,
        key: &[u8],
        says: impl Fn(&'r PathRule) -> Option<T>,
    ) -> Option<(usize, &'r PathRule, T)> {
        self.0.iter().enumerate().find_map(|(place, rule)| {
            let said = says(rule)?;
            glob::covers(rule.pattern.as_bytes(), key).then_some((place, rule, said))
        })
    }

    /// Lifetime of the key's objects, in milliseconds.
    pub fn ttl_ms(&self, key: &[u8]) -> Option<u64> {
        self.first(key, |rule| rule.ttl_ms)
    }

    /// How long caches keep errors about the key, in seconds.
    pub fn cache_error_s(&self, key: &[u8]) -> Option<u32> {
        self.first(key, |rule| rule.cache_error_s)
    }

    /// Bytes in one object of this key, at most; `otherwise` where no rule says.
    pub fn object_bytes_max(&self, key: &[u8], otherwise: u64) -> u64 {
        self.first(key, |rule| rule.object_bytes_max).unwrap_or(otherwise)
    }

    /// Whether other bytes under this name are refused.
    pub fn is_immutable(&self, key: &[u8]) -> bool {
        self.first(key, |rule| rule.immutable).unwrap_or(false)
    }

    /// Whether the key's object can be read while it arrives, as far as the rules say.
    pub fn is_streaming(&self, key: &[u8]) -> bool {
        self.first(key, |rule| rule.streaming).unwrap_or(true)
    }

    /// Whether the key's object gives way when memory is full.
    pub fn gives_way(&self, key: &[u8]) -> bool {
        self.first(key, |rule| rule.on_full) == Some(OnFull::Evict)
    }

    /// How long a read of the key waits for it while it is absent, in milliseconds.
    pub fn hold_ms(&self, key: &[u8]) -> Option<u64> {
        self.first(key, |rule| rule.hold_ms).map(u64::from)
    }

    /// How long each of the key's segments is, in milliseconds, where that is constant.
    pub fn segment_ms(&self, key: &[u8]) -> Option<u64> {
        self.first(key, |rule| rule.segment_ms).map(u64::from)
    }

    /// Where low-latency playlists are made: no part is longer than this, in microseconds.
    pub fn part_target_us(&self, key: &[u8]) -> Option<u64> {
        self.first(key, |rule| rule.ll).filter(|&ll| ll)?;
        let target_ms = self.first(key, |rule| rule.part_target_ms);
        Some(u64::from(target_ms.unwrap_or(limits::PART_TARGET_MS)) * 1000)
    }

    /// Where the key's uploads are kept; with a lifetime in memory unless a rule says otherwise.
    pub fn durability(&self, key: &[u8]) -> Option<Durability> {
        let said = self.first(key, |rule| rule.durability);
        said.or_else(|| self.ttl_ms(key).map(|_| Durability::Memory))
    }

    /// How long a live manifest of this key is good for.
    pub fn stale_after(&self, key: &[u8]) -> Option<StaleAfter> {
        self.first(key, |rule| rule.stale_after)
    }

    /// Whether this key's multivariant playlist fails when a rendition is missing or stale.
    pub fn is_whole_ladder(&self, key: &[u8]) -> bool {
        self.first(key, |rule| rule.whole_ladder).unwrap_or(false)
    }

    /// Whether encoders are told apart, and what becomes of what differs.
    pub fn redundant(&self, key: &[u8]) -> Option<Redundant> {
        self.first(key, |rule| rule.redundant).filter(|&redundant| redundant != Redundant::Off)
    }

    /// An encoder's place in the order of priority; those without one come last.
    pub fn pipeline_rank(&self, key: &[u8], name: &[u8]) -> u16 {
        let names = self.first(key, |rule| rule.pipelines.as_deref()).unwrap_or_default();
        let place = names.iter().position(|known| known.as_bytes() == name);
        place.and_then(|place| u16::try_from(place).ok()).unwrap_or(u16::MAX)
    }

    /// How long an encoder may be silent before another one is followed, in milliseconds.
    pub fn failover_ms(&self, key: &[u8]) -> u64 {
        self.first(key, |rule| rule.failover_ms).unwrap_or(limits::FAILOVER_MS).into()
    }

    /// Whether any rule tells encoders apart.
    pub fn any_redundant(&self) -> bool {
        self.0.iter().any(|rule| rule.redundant.is_some())
    }

    /// Who may use a right on the key, and from where. Topics are not paths.
    pub fn door(&self, key: &[u8], right: Right) -> Door<'_> {
        Door {
            who: self.first(key, |rule| rule.access.who(right)),
            networks: Networks {
                allow: self.first(key, |rule| rule.access.allow(right)).unwrap_or_default(),
                deny: self.first(key, |rule| rule.access.deny(right)).unwrap_or_default(),
            },
        }
    }

    /// Which web pages may read the key, where a rule says so: the rule's place, and what it says.
    pub fn cors(&self, key: &[u8]) -> Option<(usize, &Cors)> {
        let said = self.first_with_place(key, |rule| rule.cors.as_ref());
        said.map(|(place, _, cors)| (place, cors))
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

    /// Whether any rule has manifests become stale, or fail with their renditions.
    pub fn any_stales(&self) -> bool {
        let fails = |rule: &PathRule| rule.stale_after.is_some() || rule.whole_ladder == Some(true);
        self.0.iter().any(fails)
    }

    /// Whether the key's playlist is offered as gzip.
    pub fn is_gzip(&self, key: &[u8]) -> bool {
        self.first(key, |rule| rule.gzip).unwrap_or(false)
    }

    /// Whether answers say what is known of the key's object (CTA-5006).
    pub fn is_cmsd(&self, key: &[u8]) -> bool {
        self.first(key, |rule| rule.cmsd).unwrap_or(false)
    }

    /// Whether uploads of the key are judged by DASH-IF's ingest rules.
    pub fn is_strict_ingest(&self, key: &[u8]) -> bool {
        self.first(key, |rule| rule.strict_ingest).unwrap_or(false)
    }

    /// Whether those of any rule are.
    pub fn any_strict_ingest(&self) -> bool {
        self.0.iter().any(|rule| rule.strict_ingest == Some(true))
    }

    /// Whether answers about the key say what is true of each alone (CTA-5006).
    pub fn is_cmsd_dynamic(&self, key: &[u8]) -> bool {
        self.first(key, |rule| rule.cmsd_dynamic).unwrap_or(false)
    }

    /// Whether answers of any rule do.
    pub fn any_cmsd_dynamic(&self) -> bool {
        self.0.iter().any(|rule| rule.cmsd_dynamic == Some(true))
    }

    /// Whether any rule offers playlists as gzip.
    pub fn any_gzips(&self) -> bool {
        self.0.iter().any(|rule| rule.gzip == Some(true))
    }

    /// Whether any rule has objects give way when memory is full.
    pub fn any_gives_way(&self) -> bool {
        self.0.iter().any(|rule| rule.on_full == Some(OnFull::Evict))
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
            line: None,
            ttl_ms: None,
            cache_control: None,
            cache_manifest_s: None,
            cache_segment_s: None,
            cache_init_s: None,
            cache_error_s: None,
            object_bytes_max: None,
            immutable: None,
            streaming: None,
            on_full: None,
            gzip: None,
            strict_ingest: None,
            cmsd: None,
            cmsd_dynamic: None,
            hold_ms: None,
            segment_ms: None,
            ll: None,
            part_target_ms: None,
            durability: None,
            expire_after_s: None,
            remote_after_s: None,
            stale_after: None,
            whole_ladder: None,
            redundant: None,
            pipelines: None,
            failover_ms: None,
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
    use super::super::{Config, Host, Who};
    use super::*;

    fn rules(text: &str) -> PathRules {
        Config::from_text(text, &Host::SMALL).unwrap_or_else(|mistakes| panic!("{mistakes}")).paths
    }

    #[test]
    fn the_first_rule_that_sets_it_decides() {
        let rules = rules(
            r#"
            [[path]]
            pattern = "live/*/init.mp4"
            ttl_seconds = 3600
            [[path]]
            pattern = "live/**"
            ttl_seconds = 30
            cache_control = "max-age=9"
            [[path]]
            pattern = "**"
            ttl_seconds = 7
            hold_ms = 500
            stale_after_ms = "auto"
            "#,
        );
        let ttl_s = |key: &str| rules.ttl_ms(key.as_bytes()).map(|ms| ms / 1000);
        assert_eq!(ttl_s("live/720p/init.mp4"), Some(3600));
        assert_eq!(ttl_s("live/720p/1.m4s"), Some(30));
        assert_eq!(ttl_s("vod/film.mp4"), Some(7));
        let init = b"live/720p/init.mp4";
        let text = |key| rules.first(key, |rule| rule.cache_control.as_deref());
        assert_eq!(text(init), Some(&b"max-age=9"[..]));
        assert_eq!(rules.hold_ms(init), Some(500));
        assert_eq!(rules.stale_after(init), Some(StaleAfter::Auto));
        assert_eq!(text(b"vod/film.mp4"), None);
        let none = PathRules::default();
        assert_eq!((none.ttl_ms(b"a"), none.door(b"a", Right::Read).who), (None, None));
    }

    #[test]
    fn a_lifetime_above_a_restriction_does_not_lift_it() {
        let rules = rules(
            r#"
            [read]
            tokens = ["0123456789abcdef"]
            who = "anyone"
            [[path]]
            pattern = "live/**"
            ttl_seconds = 60
            [[path]]
            pattern = "live/secret/**"
            read = "token"
            write = "nobody"
            read_allow = "10.0.0.0/8"
            [[path]]
            pattern = "live/**"
            read_deny = "10.9.0.0/16"
            [[path]]
            pattern = "**"
            read_deny = []
            cors = false
            "#,
        );
        let key = b"live/secret/a.ts";
        let door = rules.door(key, Right::Read);
        assert_eq!(door.who, Some(Who::Token));
        let admitted = |text: &str| door.networks.admit(Some(text.parse().unwrap()));
        assert!(admitted("10.1.1.1") && !admitted("192.0.2.1") && !admitted("10.9.1.1"));
        assert_eq!(rules.door(key, Right::Publish).who, Some(Who::Nobody));
        assert!(rules.door(key, Right::Publish).networks.is_open());
        assert_eq!(rules.ttl_ms(key), Some(60_000));
        let beside = rules.door(b"live/a.ts", Right::Read);
        assert!(beside.networks.allow.is_empty() && !beside.networks.deny.is_empty());
        assert!(rules.door(b"vod/a.ts", Right::Read).networks.is_open());
        assert_eq!(rules.cors(key), Some((3, &Cors::closed())));
        assert_eq!(rules.door(key, Right::TopicPublish).who, None);
    }

    #[test]
    fn parts_and_durability_come_from_several_rules() {
        let rules = rules(
            r#"
            [[path]]
            pattern = "live/a/**"
            part_target_ms = 300
            [[path]]
            pattern = "live/b/**"
            ll = false
            durability = "disk"
            [[path]]
            pattern = "live/**"
            ll = true
            ttl_seconds = 9
            "#,
        );
        let target = |key: &str| rules.part_target_us(key.as_bytes());
        assert_eq!(target("live/a/x"), Some(300_000));
        assert_eq!(target("live/b/x"), None);
        assert_eq!(target("live/c/x"), Some(u64::from(limits::PART_TARGET_MS) * 1000));
        assert_eq!(target("vod/x"), None);
        assert_eq!(rules.durability(b"live/b/x"), Some(Durability::Disk));
        assert_eq!(rules.durability(b"live/c/x"), Some(Durability::Memory));
        assert_eq!(rules.durability(b"vod/x"), None);
    }

    #[test]
    fn pipelines_have_an_order() {
        let rules = rules(
            r#"
            [[path]]
            pattern = "live/one/**"
            redundant = "off"
            [[path]]
            pattern = "live/**"
            redundant = "priority"
            pipelines = ["main", "spare"]
            failover_ms = 500
            "#,
        );
        let key = b"live/a/1.m4s";
        assert_eq!(rules.redundant(key), Some(Redundant::Priority));
        let ranks = [b"main".as_slice(), b"spare", b"x"].map(|name| rules.pipeline_rank(key, name));
        assert_eq!(ranks, [0, 1, u16::MAX]);
        assert_eq!((rules.failover_ms(key), rules.failover_ms(b"x")), (500, 6000));
        assert_eq!((rules.redundant(b"live/one/a"), rules.redundant(b"x")), (None, None));
        assert!(rules.any_redundant());
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
