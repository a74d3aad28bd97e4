//! Who may do what: judges a request by its head, its address and the time, before anything else
//! is done with it.
//!
//! A credential is a token (in `Authorization`, as bearer or as password of HTTP Basic, or in the
//! query as `token`), a signed URL, or, where the dialect of MediaStore is spoken, a signed
//! request. A request may carry several; one that grants what is asked for is enough. A signature
//! of a request that does not hold is refused even where anyone may do what is asked for.
//!
//! **Invariants**: no judgement looks at what is stored; nothing is allocated but to check the
//! signature of a request; a verdict names the credential, never its secret.

use base64::Engine as _;

use crate::config::network::IpAddr;
use crate::config::signing::{self, Claim, Outcome, UrlKey, Wanted};
use crate::config::token::{self, Token};
use crate::config::{Access, Door, Right, Who};
use crate::http::known::Known;
use crate::http::request::{Head, Method};
use crate::http::response::Status;
use crate::limits;

use super::dialect::Dialect;
use super::momento;
use super::query;
use super::sigv4::{self, Signature};

/// What is to be judged.
pub struct Asked<'a> {
    /// The request's head.
    pub head: &'a Head,
    /// The bytes that it points into.
    pub bytes: &'a [u8],
    /// What it wants to do.
    pub right: Right,
    /// With what: an object's key, or a topic's name.
    pub subject: &'a [u8],
    /// The key that its path names, which is the subject except for topics.
    pub key: &'a [u8],
    /// Where it comes from.
    pub peer: Option<IpAddr>,
    /// Unix time in seconds.
    pub now_s: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'k> {
    /// It may go on; by what.
    Allowed(Grant<'k>),
    /// It may not; by which credential, where one is known.
    Denied(Denial, &'k str),
}

/// What lets a request go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'k> {
    /// Name of the credential; empty where none was needed.
    pub name: &'k str,
    /// From this Unix time on, in seconds, it is no longer good; [`NEVER`] where it has no end.
    pub until_s: u64,
}

/// The time of what has no end.
pub const NEVER: u64 = u64::MAX;

impl Grant<'static> {
    /// No credential was needed.
    const OPEN: Self = Self { name: "", until_s: NEVER };
}

/// Why a request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No credential was sent.
    Missing,
    /// None of those that were sent is known.
    Unknown,
    /// The credential's time is over.
    Expired,
    /// The credential grants something else.
    NotGranted,
    /// The address is not let in.
    Network,
    /// A web page sent it where no credential is asked for.
    FromWebPage,
    /// The path is closed to everybody.
    Closed,
    /// The request's signature is no good.
    Signature(sigv4::Fault),
}

impl Denial {
    /// 401 where another credential would help, 403 where not.
    //= RFC 9110 section 15.5.2
    pub fn status(self) -> Status {
        match self {
            Self::Missing | Self::Unknown | Self::Expired => Status::Unauthorized,
            _ => Status::Forbidden,
        }
    }

    /// The sentence for the answer.
    pub fn message(self, right: Right) -> &'static str {
        match (self, right) {
            (Self::Missing, Right::Publish | Right::TopicPublish) => {
                "publishing needs 'Authorization: Bearer <token>', the token as password of HTTP \
                 Basic or as ?token=, or a signed URL"
            }
            (Self::Missing, _) => {
                "reading needs 'Authorization: Bearer <token>', the token as password of HTTP \
                 Basic or as ?token=, or a signed URL"
            }
            (Self::Unknown, _) => "the credential is not known",
            (Self::Expired, _) => "the credential has expired",
            (Self::NotGranted, _) => "the credential does not grant this here",
            (Self::Network, _) => "the client's address is not let in here",
            (Self::FromWebPage, _) => "a write with an Origin header needs a publish token",
            (Self::Closed, _) => "nobody may do this here",
            (Self::Signature(fault), _) => fault.reason(),
        }
    }

    /// Header lines for the answer.
    pub fn lines(self) -> &'static [u8] {
        match self {
            Self::Missing => CHALLENGE,
            Self::Unknown | Self::Expired => CHALLENGE_INVALID,
            Self::Signature(fault) => fault.line(),
            _ => b"",
        }
    }
}

/// For 401 without a credential (RFC 6750 section 3, RFC 7617 section 2).
const CHALLENGE: &[u8] = b"WWW-Authenticate: Bearer realm=\"headwater\"\r\n\
    WWW-Authenticate: Basic realm=\"headwater\", charset=\"UTF-8\"\r\n";
/// For 401 with a credential that is no good.
const CHALLENGE_INVALID: &[u8] =
    b"WWW-Authenticate: Bearer realm=\"headwater\", error=\"invalid_token\"\r\n\
    WWW-Authenticate: Basic realm=\"headwater\", charset=\"UTF-8\"\r\n";

/// Judges a request. `door` is what the rules of its path say of the right.
pub fn judge<'k>(access: &'k Access, door: Door<'_>, asked: &Asked<'_>) -> Verdict<'k> {
    let right = asked.right;
    if !door.networks.admit(asked.peer) {
        return Verdict::Denied(Denial::Network, "");
    }
    let signed = signed_verdict(access, asked);
    if let Some(Verdict::Denied(Denial::Signature(_), _)) = signed {
        return signed.expect("it was just looked at");
    }
    match door.who.unwrap_or_else(|| access.who(right)) {
        Who::Nobody => Verdict::Denied(Denial::Closed, ""),
        Who::Anyone if right.changes() && comes_from_page(asked) => {
            match by_credential(access, asked, signed) {
                allowed @ Verdict::Allowed(_) => allowed,
                Verdict::Denied(..) => Verdict::Denied(Denial::FromWebPage, ""),
            }
        }
        Who::Anyone => Verdict::Allowed(Grant::OPEN),
        Who::Token => by_credential(access, asked, signed),
    }
}

/// Tries every credential of the request; of those that grant it the one that lasts longest
/// decides, else the one that came closest.
fn by_credential<'k>(
    access: &'k Access,
    asked: &Asked<'_>,
    signed: Option<Verdict<'k>>,
) -> Verdict<'k> {
    let mut closest = Verdict::Denied(Denial::Missing, "");
    let mut note = |verdict: Verdict<'k>| {
        if rank(verdict) > rank(closest) {
            closest = verdict;
        }
    };
    if let Some(verdict) = signed {
        note(verdict);
    } else if let Some(value) = asked.head.header(asked.bytes, Known::Authorization)
        && !(access.mediastore.is_some() && Signature::is_one(value))
    {
        note(by_authorization(access, asked, value));
    }
    let query = asked.head.query.of(asked.bytes);
    if !query.is_empty() {
        let mut room = [0; limits::TOKEN_BYTES_MAX];
        match query::value_into(query, b"token", &mut room) {
            Ok(None) => {}
            Ok(Some(secret)) => note(of_token(access.tokens.find(secret, None), asked)),
            Err(query::TooLong) => note(Verdict::Denied(Denial::Unknown, "")),
        }
        if !access.url_keys.is_empty() {
            note(by_signature(&access.url_keys, asked, query));
        }
    }
    closest
}

fn rank(verdict: Verdict<'_>) -> (u8, u64) {
    match verdict {
        Verdict::Allowed(grant) => (4, grant.until_s),
        Verdict::Denied(Denial::NotGranted, _) => (3, 0),
        Verdict::Denied(Denial::Expired, _) => (2, 0),
        Verdict::Denied(Denial::Unknown, _) => (1, 0),
        Verdict::Denied(..) => (0, 0),
    }
}

/// What the request's signature comes to, if it has one and there are keys.
#[inline]
fn signed_verdict<'k>(access: &'k Access, asked: &Asked<'_>) -> Option<Verdict<'k>> {
    let mediastore = access.mediastore.filter(|_| !access.aws_keys.is_empty())?;
    let value = asked.head.header(asked.bytes, Known::Authorization)?;
    Signature::is_one(value).then(|| of_signed(access, asked, value, mediastore.clock_skew_s))
}

fn of_signed<'k>(access: &'k Access, asked: &Asked<'_>, value: &[u8], skew_s: u64) -> Verdict<'k> {
    let denied = |fault| Verdict::Denied(Denial::Signature(fault), "");
    let signature = match Signature::read(value) {
        Ok(signature) if !asked.head.is_repeated(Known::Authorization) => signature,
        _ => return denied(sigv4::Fault::Malformed),
    };
    let named = access.aws_keys.iter().find(|key| key.id.as_bytes() == signature.key_id);
    let Some(key) = named else { return denied(sigv4::Fault::UnknownKey) };
    let wanted = sigv4::Wanted {
        method: method_name(asked.head.method),
        head: asked.head,
        bytes: asked.bytes,
        now_s: asked.now_s,
        skew_s,
    };
    match sigv4::verify(&signature, key.secret(), &wanted) {
        Err(fault) => Verdict::Denied(Denial::Signature(fault), &key.label),
        Ok(()) if key.may(asked.right, asked.subject) => {
            Verdict::Allowed(Grant { name: &key.label, until_s: NEVER })
        }
        Ok(()) => Verdict::Denied(Denial::NotGranted, &key.label),
    }
}

fn by_authorization<'k>(access: &'k Access, asked: &Asked<'_>, value: &[u8]) -> Verdict<'k> {
    if let Some(secret) = token::bearer(value) {
        return of_token(access.tokens.find(secret, None), asked);
    }
    // Momento's clients send their key as it is, where their API has it so.
    let path = asked.head.path.of(asked.bytes);
    let is_momento = access.momento.is_some() && momento::dialect(path) != Dialect::Native;
    if !value.contains(&b' ') && (is_momento || path.starts_with(b"/topics/")) {
        return of_token(access.tokens.find(value, None), asked);
    }
    let mut room = [0; BASIC_BYTES_MAX];
    let found = token::of_scheme(value, b"Basic")
        .and_then(|pair| basic(pair, &mut room))
        .and_then(|(user, secret)| access.tokens.find(secret, Some(user)));
    of_token(found, asked)
}

/// User name and password of HTTP Basic.
//= RFC 7617 section 2
fn basic<'a>(pair: &[u8], room: &'a mut [u8; BASIC_BYTES_MAX]) -> Option<(&'a [u8], &'a [u8])> {
    let engine = base64::engine::general_purpose::STANDARD;
    let len = engine.decode_slice(pair, room).ok()?;
    let text = &room[..len];
    let colon = text.iter().position(|&byte| byte == b':')?;
    Some((&text[..colon], &text[colon + 1..]))
}

fn of_token<'k>(token: Option<&'k Token>, asked: &Asked<'_>) -> Verdict<'k> {
    let Some(token) = token else { return Verdict::Denied(Denial::Unknown, "") };
    match token.may(asked.right, asked.subject) {
        _ if token.is_expired(asked.now_s) => Verdict::Denied(Denial::Expired, &token.name),
        true => {
            let until_s = token.expires_s.unwrap_or(NEVER);
            Verdict::Allowed(Grant { name: &token.name, until_s })
        }
        false => Verdict::Denied(Denial::NotGranted, &token.name),
    }
}

fn by_signature<'k>(keys: &'k [UrlKey], asked: &Asked<'_>, query: &[u8]) -> Verdict<'k> {
    if query::raw(query, b"hw_sig").is_none() {
        return Verdict::Denied(Denial::Missing, "");
    }
    let mut room = ClaimRoom::default();
    let Ok(Some(claim)) = claim(query, &mut room) else {
        return Verdict::Denied(Denial::Unknown, "");
    };
    let method = match asked.right {
        Right::Read | Right::Publish => method_name(asked.head.method),
        // A WebSocket's handshake is a GET, whatever is wished for over it.
        Right::TopicSubscribe => "GET",
        Right::TopicPublish => "POST",
    };
    let wanted = Wanted { method, key: asked.key, now_s: asked.now_s };
    match signing::judge(keys, &claim, &wanted) {
        Outcome::Granted(key, until_s) => Verdict::Allowed(Grant { name: &key.label, until_s }),
        Outcome::Unknown => Verdict::Denied(Denial::Unknown, ""),
        Outcome::Expired(key) => Verdict::Denied(Denial::Expired, &key.label),
        Outcome::Elsewhere(key) => Verdict::Denied(Denial::NotGranted, &key.label),
    }
}

/// Where the parts of a claim are decoded.
struct ClaimRoom {
    fields: [[u8; FIELD_BYTES_MAX]; 4],
    path: [u8; limits::KEY_BYTES_MAX + 1],
}

impl Default for ClaimRoom {
    fn default() -> Self {
        Self { fields: [[0; FIELD_BYTES_MAX]; 4], path: [0; limits::KEY_BYTES_MAX + 1] }
    }
}

/// What the query claims; `None` when a part of it is missing.
fn claim<'a>(query: &[u8], room: &'a mut ClaimRoom) -> Result<Option<Claim<'a>>, query::TooLong> {
    let [key, expires, methods, signature] = &mut room.fields;
    let (Some(key), Some(expires), Some(methods), Some(path), Some(signature)) = (
        query::value_into(query, b"hw_key", key)?,
        query::value_into(query, b"hw_expires", expires)?,
        query::value_into(query, b"hw_methods", methods)?,
        query::value_into(query, b"hw_path", &mut room.path)?,
        query::value_into(query, b"hw_sig", signature)?,
    ) else {
        return Ok(None);
    };
    Ok(Some(Claim { key, expires, methods, path, signature }))
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Put => "PUT",
        Method::Post => "POST",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Other => "",
    }
}

/// User name, colon and token.
const BASIC_BYTES_MAX: usize = 128 + 1 + limits::TOKEN_BYTES_MAX + 3;
/// Key name, expiry, methods and signature of a signed URL.
const FIELD_BYTES_MAX: usize = 48;

/// Whether a web page sent the request. What changes objects no page may send; to topics the
/// origin's own page may publish.
fn comes_from_page(asked: &Asked<'_>) -> bool {
    let header = |known| asked.head.header(asked.bytes, known);
    let is_own =
        |page| asked.right == Right::TopicPublish && is_own_page(page, header(Known::Host));
    header(Known::Origin).is_some_and(|page| !is_own(page))
}

/// Whether a page was loaded from this origin: by its address, since a name that somebody lets
/// point to this host (DNS rebinding) would be the page's as well as the request's.
fn is_own_page(page: &[u8], host: Option<&[u8]>) -> bool {
    let Some(host) = host else { return false };
    let is_loopback = ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        host.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"))
    });
    is_loopback && page.strip_prefix(b"http://") == Some(host)
}

#[cfg(test)]
mod tests;
