//! Signed URLs: a time, a path and methods, vouched for by a key that both sides know.
//!
//! ```text
//! /live/a.m3u8?hw_key=2026-11&hw_expires=1795000000&hw_methods=GET,HEAD&hw_path=/live/&hw_sig=...
//! ```
//!
//! The signature is HMAC-SHA256, in unpadded base64url, over five lines: the version of this form,
//! key, expiry, methods, path. A path that ends in `/` stands for everything below it, any other
//! for itself alone. Keys have names so that a new one can be used before the old one is withdrawn.
//!
//! **Invariants**: nothing is believed before the signature holds, which is compared in constant
//! time; what the key itself may not grant no URL grants; nothing is allocated.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::rights::Scope;
use super::secret::Secret;
use super::token::check_name;
use crate::limits;

/// A key that signs URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlKey {
    /// Its name: `hw_key` in the URL, `url:NAME` in logs.
    pub name: Box<str>,
    /// The same for logs.
    pub label: Box<str>,
    secret: Secret,
    /// Methods that its URLs may grant.
    pub methods: MethodSet,
    /// Paths that its URLs may grant.
    pub paths: Scope,
}

/// A set of methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodSet(u8);

impl MethodSet {
    /// GET and HEAD.
    pub const READS: Self = Self(0b11);

    /// From names between commas.
    ///
    /// # Errors
    /// A sentence, when a name is unknown or there is none.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut set = Self::default();
        for name in text.split(|&byte| byte == b',') {
            let Some(number) = METHODS.iter().position(|method| method.as_bytes() == name) else {
                return Err(format!("expected methods such as GET,HEAD: {}", METHODS.join(" ")));
            };
            set.0 |= 1 << number;
        }
        Ok(set)
    }

    /// Whether the method called so is in the set.
    pub fn has(self, method: &str) -> bool {
        METHODS.iter().position(|known| *known == method).is_some_and(|n| self.0 >> n & 1 == 1)
    }

    /// Whether all of these are in the set.
    pub fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any method in the set changes something.
    pub fn changes(self) -> bool {
        self.0 & !Self::READS.0 != 0
    }

    /// Whether any method in the set reads.
    pub fn reads(self) -> bool {
        self.0 & Self::READS.0 != 0
    }
}

impl std::fmt::Display for MethodSet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = METHODS.iter().filter(|method| self.has(method));
        for (index, name) in names.enumerate() {
            out.write_str(if index > 0 { "," } else { "" })?;
            out.write_str(name)?;
        }
        Ok(())
    }
}

/// What a URL says of itself; not yet believed. All of it as it stands in the URL, the path
/// without its percent-encoding.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Name of the key.
    pub key: &'a [u8],
    /// Unix time in seconds.
    pub expires: &'a [u8],
    /// Methods between commas.
    pub methods: &'a [u8],
    /// A path with its leading slash.
    pub path: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The method's name.
    pub method: &'a str,
    /// The key of the object: the path without its leading slash and percent-encoding.
    pub key: &'a [u8],
    /// Unix time in seconds.
    pub now_s: u64,
}

/// What becomes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'k> {
    /// It holds; by which key, and until which Unix time in seconds.
    Granted(&'k UrlKey, u64),
    /// The key is unknown or the signature wrong.
    Unknown,
    /// The signature holds and the time is over.
    Expired(&'k UrlKey),
    /// The signature holds, for another path or method, or for more than the key may grant.
    Elsewhere(&'k UrlKey),
}

impl UrlKey {
    /// A key whose URLs grant reads everywhere; the error does not quote the secret.
    pub fn new(name: &str, secret: &str) -> Result<Self, String> {
        check_name(name)?;
        let bytes = secret.as_bytes();
        if !(limits::TOKEN_BYTES_MIN..=limits::TOKEN_BYTES_MAX).contains(&bytes.len()) {
            return Err(format!(
                "a key has {} to {} characters, this one has {}; make one with \
                 'openssl rand -hex 32'",
                limits::TOKEN_BYTES_MIN,
                limits::TOKEN_BYTES_MAX,
                bytes.len()
            ));
        }
        Ok(Self {
            name: name.into(),
            label: format!("url:{name}").into(),
            secret: Secret::new(bytes),
            methods: MethodSet::READS,
            paths: Scope::everything(),
        })
    }

    /// The query that grants `methods` on `path` until `expires_s`, percent-encoded. The path has a
    /// leading slash and no percent-encoding.
    pub fn sign(&self, path: &str, methods: MethodSet, expires_s: u64) -> String {
        let (expires, methods) = (expires_s.to_string(), methods.to_string());
        let claim = Claim {
            key: self.name.as_bytes(),
            expires: expires.as_bytes(),
            methods: methods.as_bytes(),
            path: path.as_bytes(),
            signature: b"",
        };
        let mut room = [0; SIGNATURE_BYTES];
        let bytes: [u8; 32] = self.mac(&claim).finalize().into_bytes().into();
        let signature = encode(&bytes, &mut room);
        format!(
            "hw_key={}&hw_expires={expires}&hw_methods={methods}&hw_path={}&hw_sig={signature}",
            self.name,
            percent(path)
        )
    }

    fn mac(&self, claim: &Claim<'_>) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.secret.expose())
            .expect("HMAC takes keys of any length");
        for line in [FORM, claim.key, claim.expires, claim.methods, claim.path] {
            mac.update(line);
            mac.update(b"\n");
        }
        mac
    }

    fn vouches(&self, claim: &Claim<'_>) -> bool {
        let mut room = [0; 32];
        decode(claim.signature, &mut room)
            .is_some_and(|signature| self.mac(claim).verify_slice(signature).is_ok())
    }
}

/// Judges a claim by the keys.
pub fn judge<'k>(keys: &'k [UrlKey], claim: &Claim<'_>, wanted: &Wanted<'_>) -> Outcome<'k> {
    let named = keys.iter().find(|key| key.name.as_bytes() == claim.key);
    let Some(key) = named.filter(|key| key.vouches(claim)) else { return Outcome::Unknown };
    let number = std::str::from_utf8(claim.expires).ok().and_then(|text| text.parse::<u64>().ok());
    let (Some(expires_s), Ok(methods)) = (number, MethodSet::parse(claim.methods)) else {
        return Outcome::Elsewhere(key);
    };
    if wanted.now_s >= expires_s {
        return Outcome::Expired(key);
    }
    let granted = methods.has(wanted.method)
        && key.methods.has(wanted.method)
        && lies_in(wanted.key, claim.path)
        && key.paths.covers(wanted.key);
    if granted { Outcome::Granted(key, expires_s) } else { Outcome::Elsewhere(key) }
}

/// Whether the key is the path, or lies below it where it ends in a slash.
fn lies_in(key: &[u8], path: &[u8]) -> bool {
    let Some(path) = path.strip_prefix(b"/") else { return false };
    match path {
        b"" | [.., b'/'] => key.starts_with(path),
        _ => key == path,
    }
}

/// Unpadded base64url.
fn encode<'a>(bytes: &[u8; 32], room: &'a mut [u8; SIGNATURE_BYTES]) -> &'a str {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let len = engine.encode_slice(bytes, room).expect("43 characters stand for 32 bytes");
    std::str::from_utf8(&room[..len]).expect("base64 is ASCII")
}

fn decode<'a>(text: &[u8], room: &'a mut [u8; 32]) -> Option<&'a [u8]> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    if text.len() != SIGNATURE_BYTES {
        return None;
    }
    let len = engine.decode_slice(text, room).ok()?;
    Some(&room[..len])
}

/// Percent-encodes what does not stand for itself in a query.
fn percent(path: &str) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

const FORM: &[u8] = b"headwater-url-1";
const SIGNATURE_BYTES: usize = 43;
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn key() -> UrlKey {
        UrlKey::new("k1", SECRET).unwrap()
    }

    fn claim<'a>(query: &'a str) -> Claim<'a> {
        let value = |name: &str| {
            let pair = query.split('&').find(|pair| pair.starts_with(name)).unwrap();
            pair.split_once('=').unwrap().1.as_bytes()
        };
        Claim {
            key: value("hw_key"),
            expires: value("hw_expires"),
            methods: value("hw_methods"),
            path: value("hw_path"),
            signature: value("hw_sig"),
        }
    }

    const LIVE: Wanted<'static> = Wanted { method: "GET", key: b"live/a.ts", now_s: 99 };

    #[test]
    fn a_signature_is_what_other_programs_make() {
        // printf 'headwater-url-1\nk1\n100\nGET,HEAD\n/live/\n' | openssl dgst -sha256 -hmac SECRET
        let expected = "hw_key=k1&hw_expires=100&hw_methods=GET,HEAD&hw_path=/live/\
                        &hw_sig=kwLv4BnrAodkofDR-HWssKQlJ_Es8QWRLAwcG9bavXM";
        assert_eq!(key().sign("/live/", MethodSet::READS, 100), expected);
    }

    #[test]
    fn a_claim_holds_for_its_time_path_and_methods() {
        let keys = [key()];
        let query = key().sign("/live/", MethodSet::READS, 100);
        let judged = |wanted: Wanted<'_>| judge(&keys, &claim(&query), &wanted);
        assert_eq!(judged(LIVE), Outcome::Granted(&keys[0], 100));
        assert_eq!(judged(Wanted { method: "HEAD", ..LIVE }), Outcome::Granted(&keys[0], 100));
        assert_eq!(judged(Wanted { now_s: 100, ..LIVE }), Outcome::Expired(&keys[0]));
        assert_eq!(judged(Wanted { method: "PUT", ..LIVE }), Outcome::Elsewhere(&keys[0]));
        assert_eq!(judged(Wanted { key: b"liver/a", ..LIVE }), Outcome::Elsewhere(&keys[0]));
        let one = key().sign("/live/a.ts", MethodSet::READS, 100);
        assert_eq!(judge(&keys, &claim(&one), &LIVE), Outcome::Granted(&keys[0], 100));
        let longer = Wanted { key: b"live/a.ts2", ..LIVE };
        assert_eq!(judge(&keys, &claim(&one), &longer), Outcome::Elsewhere(&keys[0]));
        let all = key().sign("/", MethodSet::READS, 100);
        assert_eq!(judge(&keys, &claim(&all), &LIVE), Outcome::Granted(&keys[0], 100));
    }

    #[test]
    fn nothing_is_believed_that_was_changed() {
        let keys = [key(), UrlKey::new("k2", "another-secret-of-length").unwrap()];
        let query = key().sign("/live/", MethodSet::READS, 100);
        let signed = claim(&query);
        let changed = [
            Claim { key: b"k2", ..signed },
            Claim { key: b"k3", ..signed },
            Claim { expires: b"101", ..signed },
            Claim { methods: b"GET,HEAD,PUT", ..signed },
            Claim { path: b"/", ..signed },
            Claim { path: b"", ..signed },
            Claim { signature: b"", ..signed },
            Claim { signature: &signed.signature[..42], ..signed },
            Claim { signature: &[b'A'; 43], ..signed },
        ];
        for claim in changed {
            assert_eq!(judge(&keys, &claim, &LIVE), Outcome::Unknown, "{claim:?}");
        }
        assert_eq!(judge(&[], &signed, &LIVE), Outcome::Unknown);
    }

    #[test]
    fn no_url_grants_more_than_its_key() {
        let mut narrow = key();
        narrow.paths = Scope::new(&["live/*.m3u8".to_owned()]);
        let keys = [narrow];
        let every = MethodSet::parse(b"GET,HEAD,PUT").unwrap();
        let query = key().sign("/", every, 100);
        assert_eq!(judge(&keys, &claim(&query), &LIVE), Outcome::Elsewhere(&keys[0]));
        let playlist = Wanted { key: b"live/a.m3u8", ..LIVE };
        assert_eq!(judge(&keys, &claim(&query), &playlist), Outcome::Granted(&keys[0], 100));
        let put = Wanted { method: "PUT", ..playlist };
        assert_eq!(judge(&keys, &claim(&query), &put), Outcome::Elsewhere(&keys[0]));
    }

    #[test]
    fn methods_are_a_set() {
        assert_eq!(MethodSet::parse(b"HEAD,GET").unwrap(), MethodSet::READS);
        assert_eq!(MethodSet::parse(b"DELETE,GET").unwrap().to_string(), "GET,DELETE");
        for bad in [&b""[..], b"get", b"GET,", b"GET HEAD", b"OPTIONS"] {
            assert!(MethodSet::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_are_percent_encoded_in_the_query() {
        assert_eq!(percent("/live/a b&c.ts"), "/live/a%20b%26c.ts");
        let reason = UrlKey::new("k1", "short").unwrap_err();
        assert!(reason.contains("16 to 512") && !reason.contains("short"), "{reason}");
    }
}
