//! The part of the file with rules by path.
//!
//! **Invariants**: a rule without any setting, and a setting that cannot have an effect, are
//! mistakes.

use toml::de::DeValue;

use super::{Section, access, boolean, integer, one_of, size, text};
use crate::config::{Config, Durability, OnFull, PathRule, Redundant, StaleAfter, glob};
use crate::limits;

/// `[[path]]`.
pub(super) fn apply(config: &mut Config, root: &mut Section<'_>) {
    let [mut with_target, mut with_pipelines, mut with_failover] = [const { Vec::new() }; 3];
    for mut section in root.sections("path") {
        let rule = rule(&mut section);
        let full = |key| section.has(key).then(|| section.full(key));
        with_target.extend(full("part_target_ms"));
        with_pipelines.extend(full("pipelines"));
        with_failover.extend(full("failover_ms"));
        if let Some(rule) = rule
            && let Err(reason) = config.paths.push(rule)
        {
            section.wrong("", reason);
        }
        section.finish();
    }
    let any = |says: fn(&PathRule) -> bool| config.paths.iter().any(says);
    let needs = [
        (with_target, any(|rule| rule.ll == Some(true)), "ll = true"),
        (
            with_pipelines,
            any(|rule| rule.redundant == Some(Redundant::Priority)),
            "redundant = \"priority\"",
        ),
        (
            with_failover,
            any(|rule| rule.redundant.is_some_and(|said| said != Redundant::Off)),
            "redundant = \"first\", \"last\" or \"priority\"",
        ),
    ];
    for (keys, has_it, what) in needs {
        for key in keys.iter().filter(|_| !has_it) {
            root.wrong(key, format!("has no effect without {what} in any rule"));
        }
    }
}

fn rule(section: &mut Section<'_>) -> Option<PathRule> {
    let pattern = section.read("pattern", |value| {
        let pattern = text(value)?;
        glob::check(pattern).map(|()| pattern.to_owned())
    });
    if !section.has("pattern") {
        section.wrong("pattern", "is missing; write for example \"live/**\"".to_owned());
    }
    let mut rule = PathRule::new(pattern.as_deref().unwrap_or("**"));
    rule.line = section.line();
    settings(section, &mut rule);
    rule.access = access::path_access(section);
    rule.cors = access::path_cors(section);
    let keys: Vec<&str> = section.asked.iter().copied().filter(|key| *key != "pattern").collect();
    if !keys.iter().any(|key| section.has(key)) {
        section.wrong("", format!("has no effect; set one of {}", keys.join(", ")));
    }
    pattern.map(|_| rule)
}

fn settings(section: &mut Section<'_>, rule: &mut PathRule) {
    let seconds = section.read("ttl_seconds", |value| integer(value, 1, limits::TTL_S_MAX));
    let ttl_ms = section.read("ttl_ms", |value| integer(value, 1, limits::TTL_S_MAX * 1000));
    if section.has("ttl_seconds") && section.has("ttl_ms") {
        section.wrong("ttl_ms", "is ttl_seconds in another unit; set one of them".to_owned());
    }
    rule.ttl_ms = ttl_ms.or(seconds.map(|seconds| seconds * 1000));
    rule.cache_control = section.read("cache_control", header_value);
    rule.cache_manifest_s = section.read("cache_manifest_s", cache_age);
    rule.cache_segment_s = section.read("cache_segment_s", cache_age);
    rule.cache_init_s = section.read("cache_init_s", cache_age);
    rule.cache_error_s = section.read("cache_error_s", cache_age);
    storage(section, rule);
    live(section, rule);
}

/// What is stored, and how.
fn storage(section: &mut Section<'_>, rule: &mut PathRule) {
    rule.object_bytes_max =
        section.read("object_bytes_max", |value| size(value, 1, limits::MEMORY_BYTES_MAX));
    rule.immutable = section.read("immutable", boolean);
    rule.streaming = section.read("streaming", boolean);
    rule.gzip = section.read("gzip", boolean);
    rule.strict_ingest = section.read("strict_ingest", boolean);
    rule.cmsd = section.read("cmsd", boolean);
    rule.cmsd_dynamic = section.read("cmsd_dynamic", boolean);
    rule.on_full = section.read("on_full", |value| one_of(value, &ON_FULL));
    rule.durability = section.read("durability", |value| one_of(value, &DURABILITIES));
    let age = |value: &DeValue<'_>| integer(value, 1, limits::TTL_S_MAX);
    rule.expire_after_s = section.read("expire_after_s", age);
    rule.remote_after_s = section.read("remote_after_s", age);
}

/// What is done while a stream is live.
fn live(section: &mut Section<'_>, rule: &mut PathRule) {
    rule.hold_ms = section.read("hold_ms", |value| number(value, 1, limits::HOLD_MS_MAX));
    rule.segment_ms =
        section.read("segment_ms", |value| number(value, 100, limits::SEGMENT_MS_MAX));
    rule.ll = section.read("ll", boolean);
    rule.part_target_ms = section.read("part_target_ms", |value| {
        let least = limits::LL_PART_TARGET_US_MIN / 1000;
        number(value, least, limits::PART_TARGET_MS_MAX)
    });
    if section.has("part_target_ms") && rule.ll == Some(false) {
        section.wrong("part_target_ms", "has no effect where ll = false".to_owned());
    }
    redundancy(section, rule);
    rule.stale_after = section.read("stale_after_ms", |value| match value.as_str() {
        Some("auto") => Ok(StaleAfter::Auto),
        Some(_) => Err("expected a number of milliseconds or \"auto\"".to_owned()),
        None => number(value, 100, limits::STALE_AFTER_MS_MAX).map(StaleAfter::Ms),
    });
    rule.whole_ladder = section.read("whole_ladder", boolean);
}

/// Several encoders that bring the same names.
fn redundancy(section: &mut Section<'_>, rule: &mut PathRule) {
    rule.redundant = section.read("redundant", |value| one_of(value, &REDUNDANT));
    rule.pipelines = section.list("pipelines", access::pipeline_name);
    if rule.pipelines.as_ref().is_some_and(|names| names.len() > limits::PIPELINES_MAX) {
        section.wrong("pipelines", format!("at most {} names", limits::PIPELINES_MAX));
    }
    rule.failover_ms =
        section.read("failover_ms", |value| number(value, 100, limits::FAILOVER_MS_MAX));
}

fn cache_age(value: &DeValue<'_>) -> Result<u32, String> {
    number(value, 0, limits::CACHE_S_MAX)
}

fn number(value: &DeValue<'_>, least: u64, most: u32) -> Result<u32, String> {
    Ok(u32::try_from(integer(value, least, most.into())?).unwrap_or(most))
}

//= RFC 9110 section 5.5
fn header_value(value: &DeValue<'_>) -> Result<Box<[u8]>, String> {
    let text = text(value)?;
    if text.len() > limits::CACHE_CONTROL_BYTES_MAX {
        return Err(format!("has more than {} bytes", limits::CACHE_CONTROL_BYTES_MAX));
    }
    let visible = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !visible || text.trim() != text {
        return Err("expected visible ASCII without spaces at its ends".to_owned());
    }
    Ok(text.as_bytes().into())
}

const ON_FULL: [(&str, OnFull); 2] = [("refuse", OnFull::Refuse), ("evict", OnFull::Evict)];
const DURABILITIES: [(&str, Durability); 3] =
    [("memory", Durability::Memory), ("disk", Durability::Disk), ("remote", Durability::Remote)];
const REDUNDANT: [(&str, Redundant); 4] = [
    ("off", Redundant::Off),
    ("first", Redundant::First),
    ("last", Redundant::Last),
    ("priority", Redundant::Priority),
];
