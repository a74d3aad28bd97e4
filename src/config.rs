//! What an operator may decide: every setting with its default, and where it comes from.
//!
//! A [`Config`] starts from the defaults for the host, takes what the file says, then what the
//! command line says, and is validated as a whole. Everything that is wrong is collected, each
//! [`Mistake`] with file, line, key, reason and cure; a `Config` that was returned is sound.
//!
//! **Invariants**: an unknown key is a mistake; a default stands here and nowhere else; a
//! `Config` in which strangers could write without a credential does not exist.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::limits;

pub mod access;
pub mod cors;
mod file;
mod glob;
mod host;
mod lifecycle;
mod mark;
pub mod mediastore;
mod mistake;
pub mod momento;
pub mod network;
mod path;
mod policy;
mod reload;
pub mod rights;
pub mod secret;
pub mod signing;
mod size;
pub mod token;
mod topic;
mod webhook;

pub use access::{Access, Door, PathAccess, Who};
pub use cors::Cors;
pub use host::Host;
pub use mark::{DiskMarks, Mark};
pub use mediastore::{AwsKey, MediaStore};
pub use mistake::{Mistake, Mistakes};
pub use momento::Momento;
pub use path::{Durability, OnFull, PathRule, PathRules, Redundant, StaleAfter};
pub use policy::{Decider, Setting};
pub use reload::Source;
pub use rights::Right;
pub use size::parse_size;
pub use token::Tokens;
pub use topic::{Lag, TopicRule, TopicRules};
pub use webhook::{HookUrl, Webhook};

/// Everything that can be configured, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses of the data plane; at least one.
    pub listen: Vec<SocketAddr>,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    /// Tokens that may drain through an admin listener that is not loopback.
    pub admin_tokens: Tokens,
    /// Shards (threads with a ring), 1 to [`limits::SHARDS_MAX`].
    pub shards: usize,
    /// Bytes of pinned memory for objects, all shards together.
    pub memory_bytes: u64,
    /// How large bodies leave.
    pub tx: Tx,
    /// Congestion control of connections, by the kernel's name; `None`: the host's default.
    pub congestion: Option<Box<str>>,
    /// Bodies from this size on leave by reference where that is used, in bytes.
    pub splice_bytes_min: u64,
    /// Sends of a version by copy before it leaves by reference, 0 to [`limits::COPIES_MAX`].
    pub splice_after_copies: u8,
    /// Bodies from this size on leave by zero-copy where that is used, in bytes.
    pub zero_copy_bytes_min: u64,
    /// Client connections of the whole process; `None` derives it from the descriptor limit,
    /// see [`Config::connections_max_within`].
    pub connections_max: Option<usize>,
    /// Bytes in one object, at most; never more than `memory_bytes`.
    pub object_bytes_max: u64,
    /// Who may do what.
    pub access: Access,
    /// Who may read where no path says otherwise; `None` derives it from the credentials.
    pub reads: Option<Who>,
    /// Rules for lifetimes and caching by path.
    pub paths: PathRules,
    /// Rules for topics.
    pub topics: TopicRules,
    /// Bounds on time and speed.
    pub timeouts: Timeouts,
    /// The folder in which objects are kept; none: memory only.
    pub data: Option<PathBuf>,
    /// How much of that folder's file system may be used.
    pub disk: DiskMarks,
    /// A tree of files that is served as it lies.
    pub library: Option<PathBuf>,
    /// Files from this size on are read in chunks, in bytes.
    pub large_bytes_min: u64,
    /// Bytes in a chunk; `None` derives it from the memory, see [`Config::chunk_bytes`].
    pub chunk_bytes: Option<u64>,
    /// Segments that are brought into memory ahead of their readers; 0: none.
    pub prefetch: u32,
    /// The object store behind memory and disk, as a URL.
    pub remote: Option<Box<str>>,
    /// Whether reads answer any web page (CORS).
    pub cors: bool,
    /// Whether what players say of themselves (CMCD) is read.
    pub cmcd: bool,
    /// The access log, unless it is off.
    pub access_log: Option<AccessLogConfig>,
    /// The process's own log.
    pub log: LogConfig,
    /// What is not wrong but should be looked at, a sentence each.
    pub warnings: Vec<String>,
    /// Where all of this came from, to read it again.
    pub source: Source,
}

/// How large bodies leave the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tx {
    /// Zero-copy where the route really is, copying elsewhere; learnt per connection.
    Auto,
    /// Always zero-copy sends.
    Zc,
    /// By reference (vmsplice and splice) always.
    Splice,
    /// Always copying sends.
    Copy,
}

impl std::str::FromStr for Tx {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "zc" => Ok(Self::Zc),
            "copy" => Ok(Self::Copy),
            "splice" => Ok(Self::Splice),
            _ => Err("expected auto, zc, splice or copy"),
        }
    }
}

/// A name of a congestion control, as the kernel bounds it.
///
/// # Errors
/// A sentence on what a name looks like.
pub fn parse_congestion(text: &str) -> Result<Box<str>, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match !text.is_empty() && text.len() <= 15 && text.bytes().all(is_name) {
        true => Ok(text.into()),
        false => {
            Err("expected a congestion control of the kernel, such as cubic or bbr".to_owned())
        }
    }
}

/// The URL of an object store: `s3://bucket/prefix`, `gs://`, `az://`, or `file:///folder`.
///
/// # Errors
/// A sentence on what a URL looks like.
pub fn parse_remote(text: &str) -> Result<Box<str>, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let is_visible = rest.bytes().all(|byte| byte.is_ascii_graphic());
    let bucket = rest.split('/').next().unwrap_or_default();
    match scheme {
        "file" if rest.starts_with('/') => Ok(text.into()),
        "file" => Err("expected an absolute folder, such as file:///srv/objects".to_owned()),
        // What stands before an @ would be a credential; those come from the environment alone.
        "s3" | "gs" | "az" if is_visible && !bucket.is_empty() && !bucket.contains('@') => {
            Ok(text.trim_end_matches('/').into())
        }
        "s3" | "gs" | "az" => Err(format!("expected {scheme}://BUCKET/PREFIX")),
        _ => Err("expected a URL with s3://, gs://, az:// or file:///".to_owned()),
    }
}

/// Bounds on time and speed, all in milliseconds except the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From a request's first byte to the end of its head; then 408.
    pub head_ms: u64,
    /// Between two requests of one connection; then a silent close.
    pub idle_ms: u64,
    /// Between two bursts of a request body; then 408.
    pub body_idle_ms: u64,
    /// A reader slower than this over [`Timeouts::send_rate_window_ms`] is cut off.
    pub send_rate_min_bytes_per_s: u64,
    /// The window for the minimum rate.
    pub send_rate_window_ms: u64,
    /// From the wish to stop to the moment that cuts what is still under way.
    pub drain_ms: u64,
    /// How long a refused request's rest is read and thrown away before the close.
    pub linger_ms: u64,
}

impl Timeouts {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        head_ms: 10_000,
        idle_ms: 75_000,
        body_idle_ms: 10_000,
        send_rate_min_bytes_per_s: 1_000,
        send_rate_window_ms: 10_000,
        drain_ms: 10_000,
        linger_ms: 2_000,
    };
}

/// Where the access log goes and what it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// A file that is appended to, or `None` for standard output (`-`).
    pub path: Option<PathBuf>,
    /// One line's form.
    pub format: AccessFormat,
    /// One request in so many is logged.
    pub sample: u32,
}

/// Forms of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// Common log format.
    Common,
    /// Common log format, then Referer and User-Agent.
    Combined,
    /// One JSON object a line, with durations.
    Json,
}

/// The process's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Least severity that is logged; `HEADWATER_LOG` overrides it.
    pub level: LogLevel,
    /// One line's form.
    pub format: LogFormat,
}

/// Severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something was lost or failed.
    Error,
    /// Something the operator should look at.
    Warn,
    /// Start, stop and changes of state.
    Info,
    /// Single connections.
    Debug,
    /// Single operations.
    Trace,
}

/// Forms of the process's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    Auto,
    /// Coloured lines.
    Human,
    /// One JSON object a line.
    Json,
}

/// What the command line says; overrides the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Replaces the file's listeners when not empty.
    pub listen: Vec<SocketAddr>,
    /// Replaces the admin address.
    pub admin: Option<SocketAddr>,
    /// Replaces the number of shards.
    pub shards: Option<usize>,
    /// Replaces the memory.
    pub memory_bytes: Option<u64>,
    /// Replaces the way bodies leave.
    pub tx: Option<Tx>,
    /// Replaces the congestion control.
    pub congestion: Option<Box<str>>,
    /// Replaces the folder of the disk tier.
    pub data: Option<PathBuf>,
    /// Replaces the tree that is served as it lies.
    pub library: Option<PathBuf>,
    /// Replaces the object store.
    pub remote: Option<Box<str>>,
    /// Adds the tokens of this file to the file's tokens.
    pub publish_token_file: Option<PathBuf>,
}

impl Config {
    /// What holds on this host when nothing is configured.
    pub fn defaults(host: &Host) -> Self {
        let memory_bytes = (host.memory_available_bytes / 4)
            .clamp(limits::MEMORY_DEFAULT_BYTES_MIN, limits::MEMORY_DEFAULT_BYTES_MAX);
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            admin: SocketAddr::from(([127, 0, 0, 1], 9090)),
            admin_tokens: Tokens::default(),
            shards: host.cores.clamp(1, limits::SHARDS_MAX),
            memory_bytes,
            tx: Tx::Auto,
            congestion: None,
            splice_bytes_min: limits::SPLICE_BYTES_MIN,
            splice_after_copies: limits::COPIES_BEFORE_SPLICE,
            zero_copy_bytes_min: limits::ZERO_COPY_BYTES_MIN,
            connections_max: None,
            object_bytes_max: OBJECT_BYTES_MAX_DEFAULT.min(memory_bytes),
            access: Access::default(),
            reads: None,
            paths: PathRules::default(),
            topics: TopicRules::default(),
            timeouts: Timeouts::DEFAULT,
            data: None,
            disk: DiskMarks::default(),
            library: None,
            large_bytes_min: file::chunks::LARGE_BYTES_MIN_DEFAULT,
            chunk_bytes: None,
            prefetch: 1,
            remote: None,
            cors: true,
            cmcd: false,
            access_log: None,
            log: LogConfig { level: LogLevel::Info, format: LogFormat::Auto },
            warnings: Vec::new(),
            source: Source::none(host),
        }
    }

    /// Defaults, then the file, then the command line, then validation. Every mistake of all
    /// of them comes back at once.
    pub fn load(path: Option<&Path>, overrides: &Overrides, host: &Host) -> Result<Self, Mistakes> {
        let mut config = Self::defaults(host);
        config.source = Source::new(path, overrides, host);
        let mut mistakes = Mistakes::default();
        let mut explicit = file::Explicit::default();
        if let Some(path) = path {
            explicit = file::apply(&mut config, path, &mut mistakes);
        }
        config.override_with(overrides, &mut mistakes);
        config.validate(&explicit, &mut mistakes);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// From the text of a file, for tests elsewhere.
    #[cfg(test)]
    pub(crate) fn from_text(text: &str, host: &Host) -> Result<Self, Mistakes> {
        let mut config = Self::defaults(host);
        let mut mistakes = Mistakes::default();
        let explicit = file::apply_text(&mut config, Path::new("h.toml"), text, &mut mistakes);
        config.validate(&explicit, &mut mistakes);
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    /// Client connections that may be open at once when the process may have `nofile`
    /// descriptors: what is configured, but never more than the descriptors allow.
    pub fn connections_max_within(&self, nofile: u64) -> usize {
        let per_shard = limits::FD_RESERVE_PER_SHARD * self.shards as u64;
        // A very low limit is shared half and half, so that the process still serves.
        let reserve = (limits::FD_RESERVE + per_shard).min(nofile / 2);
        let room = usize::try_from(nofile - reserve).unwrap_or(usize::MAX).max(1);
        self.connections_max.map_or(room, |wanted| wanted.min(room))
    }

    fn override_with(&mut self, overrides: &Overrides, mistakes: &mut Mistakes) {
        if !overrides.listen.is_empty() {
            self.listen.clone_from(&overrides.listen);
        }
        if let Some(admin) = overrides.admin {
            self.admin = admin;
        }
        if let Some(shards) = overrides.shards {
            self.shards = shards;
        }
        if let Some(bytes) = overrides.memory_bytes {
            self.memory_bytes = bytes;
        }
        if let Some(tx) = overrides.tx {
            self.tx = tx;
        }
        if overrides.congestion.is_some() {
            self.congestion.clone_from(&overrides.congestion);
        }
        if overrides.data.is_some() {
            self.data.clone_from(&overrides.data);
        }
        if overrides.library.is_some() {
            self.library.clone_from(&overrides.library);
        }
        if overrides.remote.is_some() {
            self.remote.clone_from(&overrides.remote);
        }
        if let Some(path) = &overrides.publish_token_file
            && let Err(reason) = self.add_publish_tokens(path)
        {
            mistakes.add(Mistake::flag("--publish-token-file", reason));
        }
    }

    fn add_publish_tokens(&mut self, path: &Path) -> Result<(), String> {
        let text = secret::read_file(path, &mut self.warnings)?;
        let source = path.display().to_string();
        let rights = [Right::Publish, Right::TopicPublish];
        self.access.tokens.add_text(&text, &source, "publish", &rights)
    }

    /// What no single key can know: relations between settings.
    fn validate(&mut self, explicit: &file::Explicit, mistakes: &mut Mistakes) {
        self.validate_ranges(mistakes);
        self.validate_listeners(mistakes);
        self.validate_chunks(explicit, mistakes);
        if !explicit.object_bytes_max {
            self.object_bytes_max = OBJECT_BYTES_MAX_DEFAULT.min(self.memory_bytes);
        } else if self.object_bytes_max > self.memory_bytes {
            mistakes.add(explicit.about(
                "object_bytes_max",
                format!(
                    "an object of {} bytes can never fit the memory of {} bytes; lower \
                 object_bytes_max or raise memory_bytes",
                    self.object_bytes_max, self.memory_bytes
                ),
            ));
        }
        for (index, rule) in self.paths.iter().enumerate() {
            if let Some(bytes) = rule.object_bytes_max.filter(|&bytes| bytes > self.memory_bytes) {
                let reason = format!(
                    "an object of {bytes} bytes can never fit the memory of {} bytes; lower it, or \
                     raise memory_bytes",
                    self.memory_bytes
                );
                mistakes.add(explicit.about(&format!("path[{index}].object_bytes_max"), reason));
            }
        }
        for (index, rule) in self.paths.iter().enumerate() {
            if rule.remote_after_s.is_some() && self.remote.is_none() {
                let reason = "has no effect without a remote store; set remote, or --remote";
                let key = format!("path[{index}].remote_after_s");
                mistakes.add(explicit.about(&key, reason.to_owned()));
            }
        }
        self.access.close(self.reads);
        // A token source that was named but could not be read is reported for itself.
        if !mistakes.concern("publish") && !mistakes.concern("token") {
            self.refuse_open_writes(explicit, mistakes);
            self.refuse_closed_doors(explicit, mistakes);
        }
    }

    /// Ranges hold for file and flags alike; a file's values were already checked key by key.
    fn validate_ranges(&self, mistakes: &mut Mistakes) {
        if !(1..=limits::SHARDS_MAX).contains(&self.shards) && !mistakes.concern("shards") {
            mistakes.add(Mistake::flag(
                "--shards",
                format!("expected 1 to {}, found {}", limits::SHARDS_MAX, self.shards),
            ));
        }
        let memory = limits::MEMORY_BYTES_MIN..=limits::MEMORY_BYTES_MAX;
        if !memory.contains(&self.memory_bytes) && !mistakes.concern("memory_bytes") {
            mistakes.add(Mistake::flag(
                "--memory",
                format!("expected 8MiB to 4TiB, found {} bytes", self.memory_bytes),
            ));
        }
    }

    fn validate_listeners(&self, mistakes: &mut Mistakes) {
        if self.listen.len() > limits::LISTENERS_MAX {
            let reason = format!("at most {} addresses", limits::LISTENERS_MAX);
            mistakes.add(Mistake::setting("listen", reason));
        }
        for (index, address) in self.listen.iter().enumerate() {
            // Port 0 asks the kernel for a free port, so it never collides.
            if address.port() != 0 && self.listen[..index].contains(address) {
                mistakes.add(Mistake::setting("listen", format!("{address} is listed twice")));
            }
        }
        if self.admin.port() != 0 && self.listen.contains(&self.admin) {
            let reason = format!(
                "{} is also a listener of the data plane; give admin a port of its own",
                self.admin
            );
            mistakes.add(Mistake::setting("admin", reason));
        }
    }

    /// Whoever can reach a listener from elsewhere needs a credential to write, or has to come
    /// from a network that is listed.
    fn refuse_open_writes(&self, explicit: &file::Explicit, mistakes: &mut Mistakes) {
        let Some(open) = self.listen.iter().find(|address| !is_loopback(address)) else {
            return;
        };
        if self.access.who(Right::Publish) == Who::Anyone {
            mistakes.add(explicit.about(
                "listen",
                format!(
                    "{open} can be reached from other machines and no publish token is set, so \
                     anybody could write; give --publish-token-file FILE (or publish.tokens), or \
                     listen on 127.0.0.1 and [::1] only"
                ),
            ));
        }
        for rule in self.paths.iter() {
            let access = rule.access();
            if access.write == Some(Who::Anyone) && access.write_allow.is_none() {
                mistakes.add(explicit.about(
                    "path",
                    format!(
                        "the rule for \"{}\" lets anyone write, and {open} can be reached from \
                         other machines; list networks in write_allow, or take write away",
                        rule.pattern()
                    ),
                ));
            }
        }
    }

    /// A door that asks for a credential nobody can have is a mistake.
    fn refuse_closed_doors(&self, explicit: &file::Explicit, mistakes: &mut Mistakes) {
        let asks = |right: Right| {
            let here = |rule: &PathRule| rule.access().who(right) == Some(Who::Token);
            self.paths.iter().any(here)
        };
        let reads = self.access.who(Right::Read) == Who::Token || asks(Right::Read);
        if reads && !self.access.grants(Right::Read) {
            let reason = "reads need a token, and no token or url_key grants them; add a [[token]] \
                          with read, or a [[url_key]]";
            mistakes.add(explicit.about("read.who", reason.to_owned()));
        }
        if asks(Right::Publish) && !self.access.grants(Right::Publish) {
            let reason = "a path's writes need a token, and no token grants them; add a [[token]] \
                          with publish";
            mistakes.add(explicit.about("path", reason.to_owned()));
        }
    }
}

/// Whether only this machine can reach the address; an IPv4 address in IPv6 form counts as IPv4.
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

const OBJECT_BYTES_MAX_DEFAULT: u64 = 1 << 30;

#[cfg(test)]
mod tests;
