//! The HTTP API of Momento's Object Store and Cache: which requests are of it, what their heads
//! say, and where its answers differ from what the origin says anyway.
//!
//! An object's key is its path: `objectstore/STORE/KEY`, and `cache/CACHE/KEY` however the key is
//! named. So what was stored by one call is read by the other forms and by plain requests.
//!
//! **Invariants**: a metadata header that would change an answer's framing, its cookies or what
//! pages may do with it is never stored; what is renamed is a key that was checked.
//! Source: Momento's public documentation of its HTTP API.

use base64::Engine as _;

use super::dialect::Dialect;
use super::errors::Bare;
use super::{key, query};
use crate::config::Momento;
use crate::http::request::Head;
use crate::http::response::{Overflow, Status, Writer, json_string};
use crate::limits;

/// What is wrong with a request of the dialect: a status and a sentence.
pub type Fault = (Status, &'static str);

/// What an upload's head says in this dialect.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Upload<'a> {
    /// `mo-meta-content-type`.
    pub content_type: Option<&'a [u8]>,
    /// `mo-meta-cache-control`.
    pub cache_control: Option<&'a [u8]>,
    /// Other metadata, as header lines.
    pub lines: Vec<u8>,
    /// `mo-persistence: ephemeral`: in memory only, and not for long.
    pub ephemeral: bool,
    /// `mo-persistence: durable`: on disk, even if not for ever.
    pub durable: bool,
}

/// In whose terms a request for this path is answered where the dialect is spoken.
pub fn dialect(path: &[u8]) -> Dialect {
    let is_below = |folder: &[u8]| {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    match (is_below(b"/objectstore"), is_below(b"/cache")) {
        (true, _) => Dialect::ObjectStore,
        (_, true) => Dialect::Cache,
        _ => Dialect::Native,
    }
}

/// The target by which the store knows what a request names, where that is another than its own.
///
/// # Errors
/// A name that is not configured, or a target that names no object.
pub fn renamed(momento: &Momento, path: &[u8], query: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let mut parts = path.splitn(4, |&byte| byte == b'/').skip(1);
    let (kind, name, rest) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    let of_cache = kind == Some(b"cache");
    let (known, absent) = match of_cache {
        true => (&momento.caches, NO_CACHE),
        false => (&momento.stores, NO_STORE),
    };
    if !known.is_empty() && !known.iter().any(|known| known.as_bytes() == name) {
        return Err((Status::NotFound, absent));
    }
    if rest.is_some_and(|rest| !rest.is_empty()) {
        return Ok(None);
    }
    if !of_cache {
        let reason = "the path names a store and no key; stores are set in the configuration";
        return Err((Status::BadRequest, reason));
    }
    let named = named(query)?;
    let mut target = [b"/cache/", name, b"/"].concat();
    for &byte in &*named {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => target.push(byte),
            _ if byte.is_ascii_alphanumeric() => target.push(byte),
            _ => target.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    let others = query.split(|&byte| byte == b'&').filter(|pair| {
        !pair.is_empty() && !pair.starts_with(b"key=") && !pair.starts_with(b"key_base64=")
    });
    for (index, pair) in others.enumerate() {
        target.push(if index == 0 { b'?' } else { b'&' });
        target.extend_from_slice(pair);
    }
    Ok(Some(target))
}

/// The key that a query names.
fn named(query: &[u8]) -> Result<Vec<u8>, Fault> {
    let wrong = |reason| (Status::BadRequest, reason);
    let named = match (query::value(query, b"key"), query::value(query, b"key_base64")) {
        (Some(named), None) => named.into_owned(),
        (None, Some(coded)) => {
            let standard = base64::engine::general_purpose::STANDARD.decode(&coded);
            standard
                .or_else(|_| base64::engine::general_purpose::URL_SAFE.decode(&coded))
                .map_err(|_| wrong("key_base64 is not base64"))?
        }
        (None, None) => return Err(wrong("the query names no key: ?key=K or ?key_base64=K")),
        (Some(_), Some(_)) => return Err(wrong("key and key_base64 are both given")),
    };
    match key::check(&named) {
        Ok(()) => Ok(named),
        Err(fault) => Err(wrong(fault.reason())),
    }
}

/// Reads what an upload's head says.
///
/// # Errors
/// A sentence for the 400.
pub fn upload<'a>(head: &Head, bytes: &'a [u8]) -> Result<Upload<'a>, &'static str> {
    let mut said = Upload::default();
    let mut tags = 0;
    for (name, value) in head.lines(bytes) {
        if let Some(name) = after(name, b"mo-meta-") {
            metadata(&mut said, name, value)?;
        } else if let Some(name) = after(name, b"mo-tag-") {
            tags += 1;
            if tags > limits::MOMENTO_TAGS_MAX || !is_tag(name, 1..=128) || !is_tag(value, 0..=256)
            {
                return Err("mo-tag-: at most 10, names of 1 to 128 and values of up to 256 \
                            letters, digits, spaces and _.:/=+-@, no name with aws:");
            }
        } else if name.eq_ignore_ascii_case(b"mo-persistence") {
            (said.ephemeral, said.durable) = match value {
                b"ephemeral" => (true, false),
                b"durable" => (false, true),
                _ => return Err("mo-persistence is neither durable nor ephemeral"),
            };
        }
    }
    Ok(said)
}

fn metadata<'a>(said: &mut Upload<'a>, name: &[u8], value: &'a [u8]) -> Result<(), &'static str> {
    if name.eq_ignore_ascii_case(b"content-type") {
        said.content_type = Some(value);
    } else if name.eq_ignore_ascii_case(b"cache-control") {
        said.cache_control = Some(value);
    } else if !name.is_empty() && !is_dropped(name) {
        for piece in [name, b": ", value, b"\r\n"] {
            said.lines.extend_from_slice(piece);
        }
        if said.lines.len() > limits::STORED_LINES_BYTES_MAX {
            return Err("the mo-meta- headers have more than 1024 bytes");
        }
    }
    Ok(())
}

/// Whether metadata of this name is not stored, without an error.
fn is_dropped(name: &[u8]) -> bool {
    let is_cors = after(name, b"access-control-").is_some();
    is_cors || DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped.as_bytes()))
}

/// What Momento drops, and what the origin says itself of every answer.
const DROPPED: [&str; 26] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "trailer",
    "te",
    "set-cookie",
    "cookie",
    "authorization",
    "www-authenticate",
    "content-security-policy",
    "x-frame-options",
    "strict-transport-security",
    "host",
    "x-forwarded-for",
    "x-real-ip",
    "via",
    "date",
    "etag",
    "last-modified",
    "accept-ranges",
    "content-range",
    "vary",
    "age",
    "mo-request-id",
];

fn is_tag(text: &[u8], lengths: std::ops::RangeInclusive<usize>) -> bool {
    let is_plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b" \t_.:/=+-@".contains(&byte);
    lengths.contains(&text.len()) && text.iter().all(is_plain) && after(text, b"aws:").is_none()
}

fn after<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The lifetime of an upload in milliseconds.
///
/// # Errors
/// A sentence for the 400: an ephemeral object that is to live longer, a cache item without an end.
pub fn ttl_ms(
    dialect: Dialect,
    ephemeral: bool,
    ttl_ms: Option<u64>,
) -> Result<Option<u64>, &'static str> {
    match (dialect, ttl_ms) {
        (Dialect::Cache, None) => Err("ttl_seconds is missing; an item of a cache needs one"),
        (Dialect::ObjectStore, Some(ms)) if ephemeral && ms > limits::EPHEMERAL_MS_MAX => {
            Err("ttl_seconds is more than 600, which mo-persistence: ephemeral allows at most")
        }
        (Dialect::ObjectStore, None) if ephemeral => Ok(Some(limits::EPHEMERAL_MS_MAX)),
        _ => Ok(ttl_ms),
    }
}

/// Writes the body of an error.
///
/// # Errors
/// When `out` is too small.
pub fn error_body(dialect: Dialect, bare: &Bare<'_>, out: &mut [u8]) -> Result<usize, Overflow> {
    let message = match (bare.status, dialect) {
        (Status::NotFound, _) if [NO_STORE, NO_CACHE].contains(&bare.message) => bare.message,
        (Status::NotFound, Dialect::Cache) => "Key Not Found",
        (Status::NotFound, _) => "Object not found.",
        (Status::TooManyRequests, _) => "Request rate exceeded.",
        _ => bare.message,
    };
    let mut writer = Writer::new(out);
    writer.raw(b"{\"message\":");
    json_string(message, &mut writer);
    writer.raw(b"}");
    writer.finish()
}

const NO_STORE: &str = "Store Not Found";
const NO_CACHE: &str = "Cache Not Found";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;

    fn target(momento: &Momento, path: &str, query: &str) -> Result<Option<String>, Fault> {
        let renamed = renamed(momento, path.as_bytes(), query.as_bytes())?;
        Ok(renamed.map(|target| String::from_utf8(target).unwrap()))
    }

    #[test]
    fn keys_of_queries_become_paths() {
        let any = Momento::default();
        for (path, query, expected) in [
            ("/cache/c", "key=a/b.ts", "/cache/c/a/b.ts"),
            (
                "/cache/c/",
                "ttl_seconds=5&key=a%2Fb%20c&token=t",
                "/cache/c/a/b%20c?ttl_seconds=5&token=t",
            ),
            ("/cache/c", "key_base64=YS%2Fi&", "/cache/c/a/%E2"),
        ] {
            assert_eq!(target(&any, path, query), Ok(Some(expected.to_owned())), "{path} {query}");
        }
        for path in ["/cache/c/a/b.ts", "/objectstore/s/a"] {
            assert_eq!(target(&any, path, "key=z&ttl_seconds=5"), Ok(None));
        }
        for (path, query) in [
            ("/cache/c", ""),
            ("/cache/c", "key="),
            ("/cache/c", "key=../a"),
            ("/cache/c", "key=a%00"),
            ("/cache/c", "key=a&key_base64=YQ"),
            ("/cache/c", "key_base64=%"),
            ("/objectstore/s", "key=a"),
            ("/objectstore", ""),
        ] {
            let status = target(&any, path, query).unwrap_err().0;
            assert_eq!(status, Status::BadRequest, "{path} {query}");
        }
        let few = Momento { stores: ["s".into()].into(), caches: ["c".into()].into() };
        assert_eq!(target(&few, "/objectstore/s/a", ""), Ok(None));
        assert_eq!(target(&few, "/objectstore/t/a", ""), Err((Status::NotFound, NO_STORE)));
        assert_eq!(target(&few, "/cache/s", "key=a"), Err((Status::NotFound, NO_CACHE)));
    }

    fn said(headers: &str) -> Result<(Vec<u8>, bool), &'static str> {
        let text = format!("PUT /objectstore/a/b HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let head = request::parse(text.as_bytes()).unwrap().unwrap();
        upload(&head, text.as_bytes()).map(|said| (said.lines, said.ephemeral))
    }

    #[test]
    fn metadata_is_kept_but_for_what_is_dropped() {
        let lines = said(
            "mo-meta-x-a: 1\r\nMo-Meta-Set-Cookie: a\r\nmo-meta-access-control-allow-origin: *\r\n\
             mo-meta-content-length: 9\r\nmo-tag-team: a b\r\nmo-persistence: ephemeral\r\n",
        );
        assert_eq!(lines, Ok((b"x-a: 1\r\n".to_vec(), true)));
        let many: String = (0..11).map(|number| format!("mo-tag-{number}: a\r\n")).collect();
        let long = format!("mo-meta-a: {}\r\n", "a".repeat(limits::STORED_LINES_BYTES_MAX));
        for wrong in [
            "mo-persistence: forever\r\n",
            "mo-tag-a: \"\r\n",
            "mo-tag-: a\r\n",
            "mo-tag-aws: a\r\nmo-tag-b: aws:c\r\n",
            many.as_str(),
            long.as_str(),
        ] {
            assert!(said(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lifetimes_are_bounded_where_they_must_end() {
        let of = |dialect, ephemeral, ms| ttl_ms(dialect, ephemeral, ms);
        assert_eq!(of(Dialect::ObjectStore, false, None), Ok(None));
        assert_eq!(of(Dialect::ObjectStore, true, None), Ok(Some(600_000)));
        assert_eq!(of(Dialect::ObjectStore, true, Some(600_000)), Ok(Some(600_000)));
        assert!(of(Dialect::ObjectStore, true, Some(601_000)).is_err());
        assert!(of(Dialect::Cache, false, None).is_err());
        assert_eq!(of(Dialect::Cache, false, Some(1000)), Ok(Some(1000)));
    }
}
