//! AWS Signature Version 4: judges a request's `Authorization: AWS4-HMAC-SHA256 ...`.
//!
//! The signature is an HMAC over a digest of the canonical request: method, path, sorted query,
//! the headers that it names, and what the body's digest is said to be. As for every service but
//! S3, the path is percent-encoded once more than it stands in the request line.
//!
//! **Invariants**: nothing is believed before the signature holds, which is compared in constant
//! time; `host` is always signed; a signature is good for a bounded time around its own.
//! Source: AWS General Reference, "Signature Version 4 signing process".

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::key::hex_pair;
use crate::http::request::Head;

/// Name of the scheme in `Authorization`.
pub const SCHEME: &[u8] = b"AWS4-HMAC-SHA256";

/// What a body whose digest is not signed is said to be.
pub const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";

/// Digest of the empty body, in hexadecimal.
pub const EMPTY_SHA256: &[u8; 64] =
    b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Why a signature is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The header's value is not of the scheme's form, or names no `host`.
    Malformed,
    /// No key has this id.
    UnknownKey,
    /// The body's digest is neither given nor said to be unsigned.
    NoPayload,
    /// No time is given, or it is too far from now.
    Skewed,
    /// It was made with another secret, or for another request.
    Mismatch,
}

impl Fault {
    /// The sentence for the answer.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => {
                "the Authorization header is not of the form of Signature Version 4, or host is \
                 not signed"
            }
            Self::UnknownKey => "the access key id is not known",
            Self::NoPayload => {
                "a signed upload needs x-amz-content-sha256: a digest or UNSIGNED-PAYLOAD"
            }
            Self::Skewed => "the signature's x-amz-date is too far from this host's clock",
            Self::Mismatch => "the signature does not match the request",
        }
    }

    /// The header line that names the error to an SDK.
    pub fn line(self) -> &'static [u8] {
        match self {
            Self::Malformed => b"x-amzn-ErrorType: IncompleteSignatureException\r\n",
            Self::UnknownKey => b"x-amzn-ErrorType: UnrecognizedClientException\r\n",
            Self::Skewed => b"x-amzn-ErrorType: RequestTimeTooSkewed\r\n",
            Self::NoPayload | Self::Mismatch => b"x-amzn-ErrorType: InvalidSignatureException\r\n",
        }
    }
}

/// What the header says; not yet believed.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    /// Id of the key.
    pub key_id: &'a [u8],
    /// Day, region, service and terminator, with slashes between.
    pub scope: &'a [u8],
    /// Names of the signed headers, lower case, with semicolons between.
    headers: &'a [u8],
    /// In hexadecimal, 64 digits.
    pub hex: &'a [u8],
}

impl<'a> Signature<'a> {
    /// Whether a value of Authorization is of this scheme.
    pub fn is_one(value: &[u8]) -> bool {
        value.strip_prefix(SCHEME).is_some_and(|rest| rest.first() == Some(&b' '))
    }

    /// Reads a value of Authorization.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let rest = value.strip_prefix(SCHEME).ok_or(Fault::Malformed)?;
        let field = |name: &[u8]| {
            let mut fields = rest.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            fields.find_map(|field| field.strip_prefix(name)).ok_or(Fault::Malformed)
        };
        let credential = field(b"Credential=")?;
        let slash = credential.iter().position(|&byte| byte == b'/').ok_or(Fault::Malformed)?;
        let (key_id, scope) = (&credential[..slash], &credential[slash + 1..]);
        let parts = scope.split(|&byte| byte == b'/').count();
        let (headers, hex) = (field(b"SignedHeaders=")?, field(b"Signature=")?);
        let has_host = headers.split(|&byte| byte == b';').any(|name| name == b"host");
        if parts != 4 || !scope.ends_with(b"/aws4_request") || hex.len() != 64 || !has_host {
            return Err(Fault::Malformed);
        }
        Ok(Self { key_id, scope, headers, hex })
    }

    fn part(&self, place: usize) -> &'a [u8] {
        self.scope.split(|&byte| byte == b'/').nth(place).unwrap_or_default()
    }

    /// The key that signs on this day for this region and service.
    pub fn signing_key(&self, secret: &[u8]) -> [u8; 32] {
        let first = [b"AWS4", secret].concat();
        let day = mac(&first, &[self.part(0)]);
        let service = mac(&mac(&day, &[self.part(1)]), &[self.part(2)]);
        mac(&service, &[b"aws4_request"])
    }
}

/// What is to be judged beside the signature.
pub struct Wanted<'a> {
    /// The method's name.
    pub method: &'a str,
    /// The request's head, and the bytes that it points into.
    pub head: &'a Head,
    /// See [`Wanted::head`].
    pub bytes: &'a [u8],
    /// Unix time, in seconds.
    pub now_s: u64,
    /// How far the signature's time may be from it.
    pub skew_s: u64,
}

/// Judges a signature that was made with `secret`.
///
/// # Errors
/// The first [`Fault`] found.
pub fn verify(signature: &Signature<'_>, secret: &[u8], wanted: &Wanted<'_>) -> Result<(), Fault> {
    let time = header(wanted, b"x-amz-date").ok_or(Fault::Skewed)?;
    let signed_s = unix_s(&time).ok_or(Fault::Skewed)?;
    if signed_s.abs_diff(wanted.now_s) > wanted.skew_s || !time.starts_with(signature.part(0)) {
        return Err(Fault::Skewed);
    }
    let payload = match header(wanted, b"x-amz-content-sha256") {
        Some(payload) => payload,
        None if wanted.head.body.has_body() => return Err(Fault::NoPayload),
        None => EMPTY_SHA256.to_vec(),
    };
    let request = canonical_request(signature, wanted, &payload);
    let digest = hex(&Sha256::digest(&request));
    let lines: [&[u8]; 7] = [SCHEME, b"\n", &time, b"\n", signature.scope, b"\n", &digest];
    let made = hex(&mac(&signature.signing_key(secret), &lines));
    match bool::from(made.ct_eq(signature.hex)) {
        true => Ok(()),
        false => Err(Fault::Mismatch),
    }
}

fn canonical_request(signature: &Signature<'_>, wanted: &Wanted<'_>, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wanted.head.head_len + 256);
    out.extend_from_slice(wanted.method.as_bytes());
    out.push(b'\n');
    match wanted.head.path.of(wanted.bytes) {
        b"" => out.push(b'/'),
        path => encode(path, b"/", &mut out),
    }
    out.push(b'\n');
    canonical_query(wanted.head.query.of(wanted.bytes), &mut out);
    out.push(b'\n');
    for name in signature.headers.split(|&byte| byte == b';') {
        out.extend_from_slice(name);
        out.push(b':');
        out.extend_from_slice(&header(wanted, name).unwrap_or_default());
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(signature.headers);
    out.push(b'\n');
    out.extend_from_slice(payload);
    out
}

/// Names and values, encoded alike whatever the client did, in the order of their bytes.
fn canonical_query(query: &[u8], out: &mut Vec<u8>) {
    let encoded = |text: &[u8]| {
        let mut encoded = Vec::with_capacity(text.len());
        encode(&decode(text), b"", &mut encoded);
        encoded
    };
    let pairs = query.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = pairs
        .map(|pair| match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => (encoded(&pair[..at]), encoded(&pair[at + 1..])),
            None => (encoded(pair), Vec::new()),
        })
        .collect();
    pairs.sort();
    for (place, (name, value)) in pairs.iter().enumerate() {
        if place > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

/// A header's values: runs of spaces become one, several lines are joined by commas.
fn header(wanted: &Wanted<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let mut joined: Option<Vec<u8>> = None;
    let lines = wanted.head.lines(wanted.bytes);
    for (_, value) in lines.filter(|(given, _)| given.eq_ignore_ascii_case(name)) {
        match &mut joined {
            Some(joined) => joined.push(b','),
            None => joined = Some(Vec::with_capacity(value.len())),
        }
        let joined = joined.as_mut().expect("made just now");
        for &byte in value {
            if byte != b' ' || joined.last() != Some(&b' ') {
                joined.push(byte);
            }
        }
    }
    joined
}

/// Percent-encodes all but the unreserved bytes (RFC 3986 section 2.3) and those of `also`.
fn encode(text: &[u8], also: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            out.push(byte);
        } else {
            let digits = hex(&[byte]).to_ascii_uppercase();
            out.push(b'%');
            out.extend_from_slice(&digits);
        }
    }
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let pair = if first == b'%' { tail.get(..2).and_then(hex_pair) } else { None };
        out.push(pair.unwrap_or(first));
        rest = if pair.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// HMAC-SHA256 over the pieces, one after the other.
pub fn mac(key: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    pieces.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().into()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

/// `20130524T000000Z` as Unix time in seconds.
fn unix_s(text: &[u8]) -> Option<u64> {
    let [date @ .., b'Z'] = text else { return None };
    let (day, time) = (date.get(..8)?, date.get(9..)?);
    if date.len() != 15 || date[8] != b'T' {
        return None;
    }
    let number = |digits: &[u8]| {
        let plain = digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| plain)?.parse::<u64>().ok()
    };
    let (year, month, mday) = (number(&day[..4])?, number(&day[4..6])?, number(&day[6..])?);
    let (hour, minute, second) = (number(&time[..2])?, number(&time[2..4])?, number(&time[4..])?);
    let sound = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&mday)
        && hour < 24
        && minute < 60
        && second <= 60;
    // Days since 1970-01-01, by years that start on the first of March.
    let (months, years) = ((month + 9) % 12, year - u64::from(month <= 2));
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (153 * months + 2) / 5 + mday;
    let days = days.checked_sub(719_469)?;
    sound.then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests;
