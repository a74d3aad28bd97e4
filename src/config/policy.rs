//! What holds for one path, setting by setting, and which rule says so: for `headwater policy`.
//!
//! **Invariants**: every key of `[[path]]` is shown, under the name by which it is set; a secret is
//! never part of a rule, so none is shown.

use std::fmt::Write as _;

use super::network::Network;
use super::{Config, Durability, OnFull, PathRule, Redundant, Right, StaleAfter, Who};
use crate::limits;

/// One setting of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key of the configuration.
    pub key: &'static str,
    /// What holds.
    pub value: String,
    /// Which rule says so; none: it is the default.
    pub by: Option<Decider>,
}

/// The rule that decides a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decider {
    /// Its place among the rules, from 0.
    pub place: usize,
    /// Its pattern.
    pub pattern: String,
    /// Its line in the file.
    pub line: Option<usize>,
}

impl Config {
    /// What holds for a key.
    pub fn policy(&self, key: &[u8]) -> Vec<Setting> {
        let settings = SETTINGS.iter().map(|&(name, says, default)| {
            let said = self.paths.first_with_place(key, says);
            let by = said.as_ref().map(|&(place, rule, _)| Decider {
                place,
                pattern: rule.pattern().to_owned(),
                line: rule.line,
            });
            let value = said.map_or_else(|| default(self), |(_, _, value)| value);
            Setting { key: name, value, by }
        });
        settings.collect()
    }

    /// The same as lines of text, in columns.
    pub fn policy_text(&self, key: &[u8]) -> String {
        let settings = self.policy(key);
        let width = settings.iter().map(|setting| setting.value.len()).max().unwrap_or(0);
        let mut text = format!("/{}\n", String::from_utf8_lossy(key));
        for Setting { key, value, by } in settings {
            let why = match by {
                None => "default".to_owned(),
                Some(Decider { place, pattern, line }) => {
                    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
                    format!("path[{place}] \"{pattern}\"{line}")
                }
            };
            let _ = writeln!(text, "  {key:18}{value:width$}  {why}");
        }
        text
    }
}

type Says = fn(&PathRule) -> Option<String>;
type Otherwise = fn(&Config) -> String;

/// Every setting: its key, what a rule says of it, and what holds otherwise.
const SETTINGS: &[(&str, Says, Otherwise)] = &[
    ("ttl_ms", |rule| number(rule.ttl_ms), |_| "none".to_owned()),
    (
        "cache_control",
        |rule| rule.cache_control.as_deref().map(|text| String::from_utf8_lossy(text).into()),
        |_| "by class".to_owned(),
    ),
    ("cache_manifest_s", |rule| number(rule.cache_manifest_s), |_| "by content".to_owned()),
    (
        "cache_segment_s",
        |rule| number(rule.cache_segment_s),
        |_| limits::CACHE_SEGMENT_S.to_string(),
    ),
    ("cache_init_s", |rule| number(rule.cache_init_s), |_| limits::CACHE_SEGMENT_S.to_string()),
    ("cache_error_s", |rule| number(rule.cache_error_s), |_| "by target duration".to_owned()),
    (
        "object_bytes_max",
        |rule| number(rule.object_bytes_max),
        |config| config.object_bytes_max.to_string(),
    ),
    ("immutable", |rule| flag(rule.immutable), |_| "false".to_owned()),
    ("streaming", |rule| flag(rule.streaming), |_| "true".to_owned()),
    ("gzip", |rule| flag(rule.gzip), |_| "false".to_owned()),
    ("strict_ingest", |rule| flag(rule.strict_ingest), |_| "false".to_owned()),
    ("cmsd", |rule| flag(rule.cmsd), |_| "false".to_owned()),
    ("cmsd_dynamic", |rule| flag(rule.cmsd_dynamic), |_| "false".to_owned()),
    ("on_full", |rule| rule.on_full.map(on_full), |_| "refuse".to_owned()),
    ("durability", |rule| rule.durability.map(durability), |_| "by lifetime".to_owned()),
    ("expire_after_s", |rule| number(rule.expire_after_s), |_| "never".to_owned()),
    ("remote_after_s", |rule| number(rule.remote_after_s), |_| "never".to_owned()),
    ("hold_ms", |rule| number(rule.hold_ms), |_| "none".to_owned()),
    ("segment_ms", |rule| number(rule.segment_ms), |_| "none".to_owned()),
    ("ll", |rule| flag(rule.ll), |_| "false".to_owned()),
    ("part_target_ms", |rule| number(rule.part_target_ms), |_| limits::PART_TARGET_MS.to_string()),
    ("stale_after_ms", |rule| rule.stale_after.map(stale_after), |_| "none".to_owned()),
    ("whole_ladder", |rule| flag(rule.whole_ladder), |_| "false".to_owned()),
    ("redundant", |rule| rule.redundant.map(redundant), |_| "off".to_owned()),
    (
        "pipelines",
        |rule| rule.pipelines.as_ref().map(|names| names.join(", ")),
        |_| "none".to_owned(),
    ),
    ("failover_ms", |rule| number(rule.failover_ms), |_| limits::FAILOVER_MS.to_string()),
    ("read", |rule| rule.access().read.map(who), |config| who(config.access.who(Right::Read))),
    ("write", |rule| rule.access().write.map(who), |config| who(config.access.who(Right::Publish))),
    ("read_allow", |rule| networks(&rule.access().read_allow), |_| "every network".to_owned()),
    ("read_deny", |rule| networks(&rule.access().read_deny), |_| "none".to_owned()),
    ("write_allow", |rule| networks(&rule.access().write_allow), |_| "every network".to_owned()),
    ("write_deny", |rule| networks(&rule.access().write_deny), |_| "none".to_owned()),
    (
        "cors",
        |rule| rule.cors().map(|cors| cors.origins()),
        |config| if config.cors { "*".to_owned() } else { "no page".to_owned() },
    ),
];

fn number(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn flag(value: Option<bool>) -> Option<String> {
    number(value)
}

fn networks(list: &Option<Vec<Network>>) -> Option<String> {
    let list: Vec<String> = list.as_ref()?.iter().map(ToString::to_string).collect();
    Some(if list.is_empty() { "none".to_owned() } else { list.join(", ") })
}

fn who(who: Who) -> String {
    match who {
        Who::Anyone => "anyone",
        Who::Token => "token",
        Who::Nobody => "nobody",
    }
    .to_owned()
}

fn on_full(on_full: OnFull) -> String {
    match on_full {
        OnFull::Refuse => "refuse",
        OnFull::Evict => "evict",
    }
    .to_owned()
}

fn redundant(redundant: Redundant) -> String {
    match redundant {
        Redundant::Off => "off",
        Redundant::First => "first",
        Redundant::Last => "last",
        Redundant::Priority => "priority",
    }
    .to_owned()
}

fn durability(durability: Durability) -> String {
    match durability {
        Durability::Memory => "memory",
        Durability::Disk => "disk",
        Durability::Remote => "remote",
    }
    .to_owned()
}

fn stale_after(after: StaleAfter) -> String {
    match after {
        StaleAfter::Auto => "auto".to_owned(),
        StaleAfter::Ms(ms) => ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Host;
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_text(text, &Host::SMALL).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn every_setting_names_its_rule() {
        let config = config(
            "cors = false\n[publish]\ntokens = ['0123456789abcdef']\n\
             [[path]]\npattern = 'live/**'\nttl_seconds = 60\nread_deny = []\n\
             [[path]]\npattern = 'live/a/**'\nread_allow = ['10.0.0.0/8', '::1']\n\
             ttl_seconds = 1\nread_deny = '10.9.0.0/16'\ncors_origins = 'https://p.example'\n",
        );
        let policy = config.policy(b"live/a/1.ts");
        let find = |key: &str| policy.iter().find(|setting| setting.key == key).unwrap().clone();
        let by = |key: &str| find(key).by.map(|by| (by.place, by.pattern, by.line.unwrap()));
        assert_eq!(
            (find("ttl_ms").value, by("ttl_ms")),
            ("60000".to_owned(), Some((0, "live/**".to_owned(), 4)))
        );
        assert_eq!(find("read_deny").value, "none");
        assert_eq!(by("read_deny").unwrap().0, 0);
        assert_eq!(find("read_allow").value, "10.0.0.0/8, ::1/128");
        assert_eq!(by("read_allow"), Some((1, "live/a/**".to_owned(), 8)));
        assert_eq!(find("cors").value, "https://p.example");
        assert_eq!((find("write").value, by("write")), ("token".to_owned(), None));
        let other = config.policy_text(b"vod/a");
        assert!(other.starts_with("/vod/a\n"), "{other}");
        assert!(other.lines().skip(1).all(|line| line.ends_with("  default")), "{other}");
        let text = config.policy_text(b"live/a/1.ts");
        assert!(text.contains("path[1] \"live/a/**\", line 8\n"), "{text}");
    }

    /// The reader itself lists the keys that a rule may have.
    #[test]
    fn every_key_of_a_rule_is_shown() {
        let mistakes = Config::from_text("[[path]]\nqqqqqqqq = 1\n", &Host::SMALL).unwrap_err();
        let text = mistakes.to_string();
        let keys = text.split("the keys here are ").nth(1).unwrap().lines().next().unwrap();
        let mut seen = 0;
        for key in keys.split(", ") {
            let shown = match key {
                "pattern" => continue,
                "ttl_seconds" => "ttl_ms",
                key if key.starts_with("cors") => "cors",
                key => key,
            };
            assert!(SETTINGS.iter().any(|setting| setting.0 == shown), "{key}");
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }
}
