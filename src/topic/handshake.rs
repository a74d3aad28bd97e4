//! The opening handshake of a WebSocket (RFC 6455 section 4.2).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};

/// What a request says of an upgrade.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offer<'a> {
    upgrade: bool,
    connection: bool,
    key: Option<&'a [u8]>,
    keys: u8,
    version: Option<&'a [u8]>,
}

/// What becomes of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// No upgrade to a WebSocket is asked for.
    None,
    /// 101 with this Sec-WebSocket-Accept.
    Accept(String),
    /// 426: another version.
    Version,
    /// 400, with a sentence.
    Bad(&'static str),
}

impl<'a> Offer<'a> {
    /// Reads the header lines of a request.
    pub fn read(lines: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut offer = Self::default();
        for (name, value) in lines {
            if name.eq_ignore_ascii_case(b"upgrade") {
                offer.upgrade |= has_token(value, b"websocket");
            } else if name.eq_ignore_ascii_case(b"connection") {
                offer.connection |= has_token(value, b"upgrade");
            } else if name.eq_ignore_ascii_case(b"sec-websocket-key") {
                offer.key = Some(value);
                offer.keys = offer.keys.saturating_add(1);
            } else if name.eq_ignore_ascii_case(b"sec-websocket-version") {
                offer.version = Some(value);
            }
        }
        offer
    }

    /// Judges it; `is_http11` is whether the request is of that version.
    pub fn judge(&self, is_http11: bool) -> Handshake {
        if !self.upgrade || !self.connection {
            return Handshake::None;
        }
        if !is_http11 {
            return Handshake::Bad("a WebSocket needs HTTP/1.1");
        }
        if self.version != Some(b"13") {
            return Handshake::Version;
        }
        let is_key = |key: &&[u8]| BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
        match self.key.filter(is_key) {
            Some(key) if self.keys == 1 => Handshake::Accept(accept(key)),
            _ => Handshake::Bad("Sec-WebSocket-Key is one value of 16 bytes in base64"),
        }
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(token))
}

fn accept(key: &[u8]) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(sha1.finalize())
}
