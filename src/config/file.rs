//! The configuration file: TOML read key by key, so that one run finds every mistake.
//!
//! A parser that stops at its first error would make an operator mend a file in ten rounds.
//! Therefore the tree with its places is walked here: each [`Section`] hands out its keys, notes
//! what is wrong with each, and at its end reports the keys that nobody asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::nearest;
use super::secret::read_bounded;
use super::{
    AccessFormat, AccessLogConfig, Config, DiskMarks, Lag, LogFormat, LogLevel, Mark, Mistake,
    Mistakes, Timeouts, TopicRule, Tx, glob, parse_size,
};
use crate::limits;

mod access;
pub(super) mod chunks;
mod dialect;
mod path;
mod webhook;

/// What validation needs to know about the file afterwards.
#[derive(Debug, Default)]
pub(super) struct Explicit {
    /// Whether the file sets this key itself.
    pub object_bytes_max: bool,
    file: Option<PathBuf>,
    lines: HashMap<String, usize>,
}

impl Explicit {
    /// A mistake about a key, with its line where the file sets it.
    pub fn about(&self, key: &str, reason: String) -> Mistake {
        match (&self.file, self.lines.get(key)) {
            (Some(file), Some(line)) => Mistake::at(file, Some(*line), key, reason),
            _ => Mistake::setting(key, reason),
        }
    }
}

/// Reads the file over the defaults in `config`; every mistake is added to `mistakes`.
pub(super) fn apply(config: &mut Config, path: &Path, mistakes: &mut Mistakes) -> Explicit {
    match read_bounded(path) {
        Ok(text) => apply_text(config, path, &text, mistakes),
        Err(reason) => {
            mistakes.add(Mistake::setting("", reason));
            Explicit::default()
        }
    }
}

/// As [`apply`], from text; relative paths in it start at the folder of `path`.
pub(super) fn apply_text(
    config: &mut Config,
    path: &Path,
    text: &str,
    mistakes: &mut Mistakes,
) -> Explicit {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let document = Document { path, text, mistakes: RefCell::default(), lines: RefCell::default() };
    for error in &errors {
        document.note(error.span().map(|span| span.start), "", error.message().to_owned());
    }
    // After a syntax error the tree has holes; judging its keys would only mislead.
    if errors.is_empty() {
        let mut root = Section::new(&document, String::new(), tree.get_ref());
        apply_root(config, &mut root);
        root.finish();
    }
    document.mistakes.into_inner().into_iter().for_each(|mistake| mistakes.add(mistake));
    let lines = document.lines.into_inner();
    Explicit {
        object_bytes_max: lines.contains_key("object_bytes_max"),
        file: Some(path.to_owned()),
        lines,
    }
}

fn apply_root(config: &mut Config, root: &mut Section<'_>) {
    if let Some(listen) = root.list("listen", address) {
        if listen.is_empty() {
            root.wrong("listen", "needs at least one address, such as 127.0.0.1:8080".to_owned());
        }
        config.listen = listen;
    }
    root.set("admin", &mut config.admin, address);
    root.set("shards", &mut config.shards, |value| {
        Ok(to_usize(integer(value, 1, limits::SHARDS_MAX as u64)?))
    });
    root.set("memory_bytes", &mut config.memory_bytes, |value| {
        size(value, limits::MEMORY_BYTES_MIN, limits::MEMORY_BYTES_MAX)
    });
    root.set("tx", &mut config.tx, |value| text(value)?.parse::<Tx>().map_err(str::to_owned));
    for (key, threshold) in [
        ("splice_bytes_min", &mut config.splice_bytes_min),
        ("zero_copy_bytes_min", &mut config.zero_copy_bytes_min),
    ] {
        root.set(key, threshold, |value| size(value, limits::SEND_THRESHOLD_BYTES_MIN, u64::MAX));
    }
    root.set("splice_after_copies", &mut config.splice_after_copies, |value| {
        let copies = integer(value, 0, limits::COPIES_MAX.into())?;
        Ok(u8::try_from(copies).expect("as few as that"))
    });
    root.set("congestion", &mut config.congestion, |value| {
        super::parse_congestion(text(value)?).map(Some)
    });
    root.set("connections_max", &mut config.connections_max, |value| {
        Ok(Some(to_usize(integer(value, 1, 10_000_000)?)))
    });
    root.set("object_bytes_max", &mut config.object_bytes_max, |value| {
        size(value, 1, limits::MEMORY_BYTES_MAX)
    });
    let beside = |value: &DeValue<'_>| text(value).map(|path| Some(PathBuf::from(path)));
    root.set("data", &mut config.data, beside);
    root.set("library", &mut config.library, beside);
    root.set("remote", &mut config.remote, |value| super::parse_remote(text(value)?).map(Some));
    for path in [&mut config.data, &mut config.library].into_iter().flatten() {
        *path = root.document.beside(path);
    }
    root.set("cors", &mut config.cors, boolean);
    root.set("cmcd", &mut config.cmcd, boolean);
    let keys = access::ListKeys { list: "admin_tokens", file: "admin_token_file", env: None };
    access::apply_lists(root, keys, "admin", &[], &mut config.admin_tokens, &mut config.warnings);
    access::apply(config, root);
    dialect::apply(config, root);
    if let Some(mut timeouts) = root.section("timeouts") {
        apply_timeouts(&mut timeouts, &mut config.timeouts);
        timeouts.finish();
    }
    if let Some(mut disk) = root.section("disk") {
        apply_disk(&mut disk, &mut config.disk);
        chunks::apply(&mut disk, config);
        disk.finish();
    }
    if let Some(mut section) = root.section("access_log") {
        config.access_log = access_log(&mut section);
        section.finish();
    }
    if let Some(mut log) = root.section("log") {
        log.set("level", &mut config.log.level, |value| one_of(value, &LOG_LEVELS));
        log.set("format", &mut config.log.format, |value| one_of(value, &LOG_FORMATS));
        log.finish();
    }
    path::apply(config, root);
    for mut section in root.sections("topic") {
        if let Some(rule) = topic_rule(&mut section, &mut config.warnings)
            && let Err(reason) = config.topics.push(rule)
        {
            section.wrong("", reason);
        }
        section.finish();
    }
}

fn apply_timeouts(section: &mut Section<'_>, timeouts: &mut Timeouts) {
    let ms = |value: &DeValue<'_>| integer(value, 100, DAY_MS);
    section.set("head_ms", &mut timeouts.head_ms, ms);
    section.set("idle_ms", &mut timeouts.idle_ms, ms);
    section.set("body_idle_ms", &mut timeouts.body_idle_ms, ms);
    section.set("send_rate_min_bytes_per_s", &mut timeouts.send_rate_min_bytes_per_s, |value| {
        size(value, 1, 1 << 30)
    });
    section.set("send_rate_window_ms", &mut timeouts.send_rate_window_ms, |value| {
        integer(value, 1_000, DAY_MS)
    });
    section.set("drain_ms", &mut timeouts.drain_ms, |value| integer(value, 0, DAY_MS));
    section.set("linger_ms", &mut timeouts.linger_ms, |value| integer(value, 0, 60_000));
}

fn apply_disk(section: &mut Section<'_>, marks: &mut DiskMarks) {
    let mark = |value: &DeValue<'_>| Mark::parse(text(value)?).map(Some);
    section.set("high_water", &mut marks.high, mark);
    section.set("low_water", &mut marks.low, mark);
    let Some(low) = marks.low else { return };
    match marks.high {
        None => section.wrong("low_water", "has no effect without high_water".to_owned()),
        Some(high) if low.is_above(high) => {
            section.wrong("low_water", "lies above high_water".to_owned());
        }
        Some(_) => {}
    }
}

fn access_log(section: &mut Section<'_>) -> Option<AccessLogConfig> {
    let path = section.read("path", |value| text(value).map(PathBuf::from));
    let mut format = AccessFormat::Combined;
    section.set("format", &mut format, |value| one_of(value, &ACCESS_FORMATS));
    let mut sample = 1;
    section.set("sample", &mut sample, |value| {
        Ok(u32::try_from(integer(value, 1, 1_000_000)?).unwrap_or(1))
    });
    let Some(path) = path else {
        if !section.has("path") {
            section.wrong("path", "is missing; name a file, or - for standard output".to_owned());
        }
        return None;
    };
    let path = (path != Path::new("-")).then(|| section.document.beside(&path));
    Some(AccessLogConfig { path, format, sample })
}

fn topic_rule(section: &mut Section<'_>, warnings: &mut Vec<String>) -> Option<TopicRule> {
    let pattern = section.read("pattern", |value| {
        let pattern = text(value)?;
        glob::check(pattern).map(|()| pattern.into())
    });
    if !section.has("pattern") {
        section.wrong("pattern", "is missing; write for example \"show/**\"".to_owned());
    }
    let count =
        |most: usize| move |value: &DeValue<'_>| Ok(to_usize(integer(value, 1, most as u64)?));
    let bytes = |most: usize| move |value: &DeValue<'_>| Ok(to_usize(size(value, 1, most as u64)?));
    let messages_max = section.read("messages_max", count(limits::TOPIC_MESSAGES_MAX));
    let bytes_max = section.read("bytes_max", bytes(limits::TOPIC_LOG_BYTES_MAX));
    let age_ms = section.read("age_ms", |value| integer(value, 100, limits::TOPIC_AGE_MS_MAX));
    let message_bytes_max =
        section.read("message_bytes_max", bytes(limits::TOPIC_MESSAGE_BYTES_MAX));
    let messages_per_second = section.read("messages_per_second", |value| {
        Ok(u32::try_from(integer(value, 1, 100_000)?).unwrap_or(u32::MAX))
    });
    let lag = section.read("lag", |value| one_of(value, &LAGS));
    let metrics = section.read("metrics", boolean).unwrap_or(false);
    let webhook = webhook::read(section, warnings).map(|webhook| (0, webhook));
    Some(TopicRule {
        pattern: pattern?,
        messages_max,
        bytes_max,
        age_ms,
        message_bytes_max,
        messages_per_second,
        lag,
        webhook,
        metrics,
    })
}

/// The file being read.
struct Document<'a> {
    path: &'a Path,
    text: &'a str,
    mistakes: RefCell<Vec<Mistake>>,
    lines: RefCell<HashMap<String, usize>>,
}

impl Document<'_> {
    fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        1 + self.text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count()
    }

    fn note(&self, offset: Option<usize>, key: &str, reason: String) {
        let line = offset.map(|offset| self.line(offset));
        self.mistakes.borrow_mut().push(Mistake::at(self.path, line, key, reason));
    }

    /// A path from the file, relative to the file's own folder.
    fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

/// One table of the file. Its keys are asked for one by one; the rest is unknown.
struct Section<'a> {
    document: &'a Document<'a>,
    prefix: String,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    fn new(document: &'a Document<'a>, prefix: String, table: &'a DeTable<'a>) -> Self {
        Self { document, prefix, table, asked: Vec::new() }
    }

    fn full(&self, key: &str) -> String {
        match (self.prefix.as_str(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}.{key}"),
        }
    }

    /// The line at which it begins.
    fn line(&self) -> Option<usize> {
        self.document.lines.borrow().get(&self.prefix).copied()
    }

    fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        let value = self.table.get(key)?;
        let line = self.document.line(value.span().start);
        self.document.lines.borrow_mut().insert(self.full(key), line);
        Some(value)
    }

    /// The key's value, parsed; a mistake counts as absent.
    fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.find(key)?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.document.note(Some(value.span().start), &self.full(key), reason);
                None
            }
        }
    }

    fn set<T>(
        &mut self,
        key: &'static str,
        into: &mut T,
        parse: impl Fn(&DeValue<'a>) -> Result<T, String>,
    ) {
        if let Some(value) = self.read(key, parse) {
            *into = value;
        }
    }

    /// A list, or a single value in its place; each wrong item is a mistake of its own.
    fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'a>) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.find(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            return self.read(key, parse).map(|item| vec![item]);
        };
        let mut parsed = Vec::new();
        let mut sound = true;
        for (index, item) in items.iter().enumerate() {
            match parse(item.get_ref()) {
                Ok(item) => parsed.push(item),
                Err(reason) => {
                    let key = format!("{}[{index}]", self.full(key));
                    self.document.note(Some(item.span().start), &key, reason);
                    sound = false;
                }
            }
        }
        sound.then_some(parsed)
    }

    fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.find(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(key, format!("is a table; write [{key}] and its keys below"));
            return None;
        };
        Some(Section::new(self.document, self.full(key), table))
    }

    fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, format!("is a list of tables; write [[{key}]] with two brackets"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let prefix = format!("{}[{index}]", self.full(key));
            let line = self.document.line(item.span().start);
            self.document.lines.borrow_mut().insert(prefix.clone(), line);
            match item.get_ref().as_table() {
                Some(table) => sections.push(Section::new(self.document, prefix, table)),
                None => self.document.note(
                    Some(item.span().start),
                    &prefix,
                    format!("is a table; write [[{key}]] and its keys below"),
                ),
            }
        }
        sections
    }

    /// A mistake about a key of this section (or the section itself), at its line if it has one.
    fn wrong(&self, key: &str, reason: String) {
        let full = self.full(key);
        let lines = self.document.lines.borrow();
        let line = lines.get(&full).or_else(|| lines.get(&self.prefix)).copied();
        let mistake = Mistake::at(self.document.path, line, &full, reason);
        self.document.mistakes.borrow_mut().push(mistake);
    }

    /// Reports every key that nobody asked for.
    fn finish(self) {
        for name in self.table.keys() {
            let word = name.get_ref().as_ref();
            if self.asked.contains(&word) {
                continue;
            }
            let reason = match nearest(word, &self.asked) {
                Some(close) => format!("is not a key; did you mean \"{close}\"?"),
                None => format!("is not a key; the keys here are {}", self.asked.join(", ")),
            };
            self.document.note(Some(name.span().start), &self.full(word), reason);
        }
    }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", text.escape_debug()),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    match value.as_str() {
        Some("") => Err("is empty".to_owned()),
        Some(text) => Ok(text),
        None => Err(format!("expected text in quotes, found a {}", value.type_str())),
    }
}

fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expected true or false, found {}", found(value)))
}

fn integer(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let wrong =
        || format!("expected a whole number from {least} to {most}, found {}", found(value));
    let number = value.as_integer().ok_or_else(wrong)?;
    let number = u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| wrong())?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(wrong()) }
}

/// A number of bytes: a whole number, or text such as "512MiB".
fn size(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let bytes = match value.as_str() {
        Some(text) => parse_size(text)?,
        None => return integer(value, least, most),
    };
    if (least..=most).contains(&bytes) {
        return Ok(bytes);
    }
    Err(format!("expected {least} to {most} bytes, found {} ({bytes} bytes)", found(value)))
}

fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    text(value)?.parse().map_err(|_| {
        format!(
            "expected an IP address with a port such as 127.0.0.1:8080 or [::1]:8080, found {}",
            found(value)
        )
    })
}

fn one_of<T: Copy>(value: &DeValue<'_>, choices: &[(&'static str, T)]) -> Result<T, String> {
    let word = value.as_str();
    choices.iter().find(|(name, _)| Some(*name) == word).map(|(_, choice)| *choice).ok_or_else(
        || {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            format!("expected one of {}, found {}", names.join(", "), found(value))
        },
    )
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const DAY_MS: u64 = 86_400_000;

const ACCESS_FORMATS: [(&str, AccessFormat); 3] = [
    ("common", AccessFormat::Common),
    ("combined", AccessFormat::Combined),
    ("json", AccessFormat::Json),
];

const LOG_LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const LAGS: [(&str, Lag); 2] = [("skip", Lag::Skip), ("close", Lag::Close)];
const LOG_FORMATS: [(&str, LogFormat); 3] =
    [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
