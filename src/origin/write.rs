//! PUT, POST and DELETE: what a write means before its first byte is stored.

use std::sync::Arc;

use crate::config::{PathRules, Redundant, token};
use crate::http::framing::Framing;
use crate::http::known::Known;
use crate::http::request::Head;
use crate::http::response::Status;
use crate::limits;
use crate::media::types::{self, Class};
use crate::media::{self, CacheAge};
use crate::store::message::Guard;
use crate::store::pipeline::{Differing, Pipeline};

use super::{cmsd, gzip, query};

/// What an upload's head asks for.
#[derive(Debug)]
pub struct Intent {
    /// Type as sent, or by extension.
    pub content_type: Box<[u8]>,
    /// Cache-Control as sent or by rule; otherwise it depends on the body.
    pub cache_control: Option<Box<[u8]>>,
    /// What the object is to a player.
    pub class: Class,
    /// Time to live in milliseconds.
    pub ttl_ms: Option<u64>,
    /// Preconditions.
    pub guard: Guard,
    /// Content-Length where there is one.
    pub declared: Option<u64>,
    /// Whether the object may be read while it arrives.
    pub stream: bool,
    /// Bytes of its body, at most.
    pub bytes_max: u64,
    /// Further header lines of its answers; that it is offered compressed too is the first.
    pub lines: Box<[u8]>,
    /// Whether it gives way when memory is full.
    pub gives_way: bool,
    /// Whether it is never kept on disk, whatever the path says.
    pub ephemeral: bool,
    /// Whether it is kept there although its time is limited, where no path says otherwise.
    pub durable: bool,
}

/// What an upload's head says of the answers to reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// What is to be their Content-Type.
    pub content_type: Option<&'a [u8]>,
    /// What is to be their Cache-Control.
    pub cache_control: Option<&'a [u8]>,
    /// Further header lines, each with its CRLF.
    pub lines: &'a [u8],
}

impl Intent {
    /// Whether it is a segment that another encoder brings, too.
    pub fn is_copy(&self) -> bool {
        self.class == Class::Segment && self.guard.pipeline.is_some()
    }

    /// Adds what a manifest's body says of it, where the rules ask for that.
    pub fn tell(&mut self, paths: &PathRules, key: &[u8], body: Option<&[u8]>) {
        if self.class != Class::Manifest {
            return;
        }
        let told = cmsd::line(paths, key, self.class, &self.content_type, body);
        if !told.is_empty() {
            self.lines = [&*self.lines, &told].concat().into();
        }
    }
}

impl<'a> Said<'a> {
    /// What a head says in the origin's own terms.
    pub fn of(head: &Head, bytes: &'a [u8]) -> Self {
        let header = |known| head.header(bytes, known);
        let (content_type, cache_control) =
            (header(Known::ContentType), header(Known::CacheControl));
        Self { content_type, cache_control, lines: b"" }
    }
}

/// A write that cannot be served: status and sentence.
pub type Fault = (Status, &'static str);

/// Reads an upload's head.
///
/// # Errors
/// 400 for a bad `ttl_seconds`, 411 without a framing, 413 above `object_bytes_max`.
pub fn intent(
    head: &Head,
    bytes: &[u8],
    key: &[u8],
    said: &Said<'_>,
    paths: &PathRules,
    object_bytes_max: u64,
) -> Result<Intent, Fault> {
    let bytes_max = paths.object_bytes_max(key, object_bytes_max);
    let declared = match head.body {
        Framing::None => {
            let reason = "an upload needs Content-Length or Transfer-Encoding: chunked";
            return Err((Status::LengthRequired, reason));
        }
        Framing::Length(length) if length > bytes_max => {
            return Err((Status::ContentTooLarge, "the object is larger than the limit"));
        }
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let content_type = content_type(said.content_type, key);
    let class = types::class(key, content_type);
    if [said.content_type, said.cache_control]
        .into_iter()
        .flatten()
        .any(|value| value.len() > limits::STORED_VALUE_BYTES_MAX)
    {
        return Err((Status::BadRequest, "Content-Type or Cache-Control has more than 256 bytes"));
    }
    let sent_age = said.cache_control.filter(|value| !value.is_empty());
    let varies = gzip::is_offered(paths, key, class) && !gzip::is_coded(said.lines);
    let vary: &[u8] = if varies { gzip::VARY } else { b"" };
    // What a manifest is, its body says.
    let told = match class {
        Class::Manifest => Vec::new(),
        _ => cmsd::line(paths, key, class, content_type, None),
    };
    Ok(Intent {
        class,
        ttl_ms: ttl_ms(head.query.of(bytes), paths.ttl_ms(key))?,
        guard: Guard { immutable: paths.is_immutable(key), ..guard(head, bytes) },
        declared,
        // Manifests are always atomic; the store sees to replacements.
        stream: declared.is_none() && class == Class::Segment && paths.is_streaming(key),
        bytes_max,
        lines: [vary, said.lines, &told].concat().into(),
        ephemeral: false,
        durable: false,
        gives_way: paths.gives_way(key),
        cache_control: sent_age.map(Box::from).or_else(|| cache_control_by_rule(paths, key, class)),
        content_type: content_type.into(),
    })
}

/// Whether an upload names a track instead of a segment, as encoders do that send a track without
/// end in one request: nothing of it could be read before its end, and there is none.
//= DASH-IF Live Media Ingest 1.2, interface 1: "Streams(" name ")"
pub fn is_endless_track(head: &Head, key: &[u8]) -> bool {
    let name = key.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    head.body == Framing::Chunked && name.starts_with(b"Streams(") && name.ends_with(b")")
}

/// What to do about it.
pub const ENDLESS_TRACK: &str = concat!(
    "one request for a whole track (Streams(...)) is not taken; set the encoder to send each ",
    "segment, playlist and MPD under a name of its own, as 'ffmpeg -f dash -method PUT' and ",
    "'-f hls -method PUT' do",
);

/// Cache-Control of an object whose upload and path say nothing of it.
pub fn default_cache_control(class: Class, body: Option<&[u8]>) -> CacheAge {
    media::cache_control(class, body)
}

/// What the rules say of a key's Cache-Control. Within one rule the age of the class goes before
/// the text for all.
pub fn cache_control_by_rule(paths: &PathRules, key: &[u8], class: Class) -> Option<Box<[u8]>> {
    enum Said<'r> {
        Seconds(u32),
        Text(&'r [u8]),
    }
    let said = paths.first(key, |rule| {
        let seconds = match class {
            Class::Manifest => rule.cache_manifest_s,
            Class::Segment => rule.cache_segment_s,
            Class::Init => rule.cache_init_s,
            Class::Other => None,
        };
        seconds.map(Said::Seconds).or_else(|| rule.cache_control.as_deref().map(Said::Text))
    })?;
    Some(match said {
        Said::Seconds(seconds) => CacheAge::of_seconds(seconds).as_bytes().into(),
        Said::Text(text) => text.into(),
    })
}

fn content_type<'a>(sent: Option<&'a [u8]>, key: &[u8]) -> &'a [u8] {
    const FALLBACK: &[u8] = b"application/octet-stream";
    match sent {
        Some(sent) if !types::is_vague(sent) => sent,
        _ => types::of_extension(key).map_or(FALLBACK, str::as_bytes),
    }
}

fn ttl_ms(query: &[u8], by_rule: Option<u64>) -> Result<Option<u64>, Fault> {
    const REASON: &str = "ttl_seconds is not a number of seconds from 1 to 315360000";
    let Some(value) = query::value(query, b"ttl_seconds") else { return Ok(by_rule) };
    match query::number(&value) {
        Some(seconds) if (1..=limits::TTL_S_MAX).contains(&seconds) => Ok(Some(seconds * 1000)),
        _ => Err((Status::BadRequest, REASON)),
    }
}

/// The pipeline that an upload belongs to, where its path tells several apart; `by_token` goes
/// before the query.
///
/// # Errors
/// 400 for a name that no pipeline can have.
pub fn pipeline(
    query: &[u8],
    by_token: Option<Box<[u8]>>,
    key: &[u8],
    class: Class,
    paths: &PathRules,
) -> Result<Option<Arc<Pipeline>>, Fault> {
    const REASON: &str = "pipeline is not a name of 1 to 32 letters, digits and -._";
    let Some(redundant) = paths.redundant(key) else { return Ok(None) };
    let name = match by_token {
        Some(name) => name,
        None => match query::value(query, b"pipeline") {
            Some(name) => Box::from(&*name),
            None => return Ok(None),
        },
    };
    if !std::str::from_utf8(&name).is_ok_and(|name| token::check_name(name).is_ok()) {
        return Err((Status::BadRequest, REASON));
    }
    Ok(Some(Arc::new(Pipeline {
        rank: paths.pipeline_rank(key, &name),
        differing: match redundant {
            Redundant::Priority => Differing::ByRank,
            Redundant::Last => Differing::LastWins,
            Redundant::First | Redundant::Off => Differing::FirstWins,
        },
        is_manifest: class == Class::Manifest,
        failover_ms: paths.failover_ms(key),
        name,
    })))
}

/// The preconditions of a write, several lines joined (RFC 9110 section 5.3).
pub fn guard(head: &Head, bytes: &[u8]) -> Guard {
    let joined = |known| {
        head.has(known).then(|| {
            let lines: Vec<&[u8]> = head.all(bytes, known).collect();
            lines.join(&b", "[..]).into_boxed_slice()
        })
    };
    let (if_match, if_none_match) = (joined(Known::IfMatch), joined(Known::IfNoneMatch));
    Guard { if_match, if_none_match, ..Guard::default() }
}
