//! Playlists as gzip (RFC 1952), for clients that take it.
//!
//! **Invariants**: a client that does not name the coding, or refuses it, gets the plain bytes; an
//! answer in either form of a path that offers both says so (`Vary`).

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::config::PathRules;
use crate::media::types::Class;

/// For answers of paths that offer both forms.
pub const VARY: &[u8] = b"Vary: Accept-Encoding\r\n";
/// For answers in this form.
pub const CODED: &[u8] = b"Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n";

/// An object's lines without the one of two forms: what is stored of them for good.
pub fn lines_without(lines: &[u8]) -> &[u8] {
    lines.strip_prefix(VARY).unwrap_or(lines)
}

/// Whether an object of this class is offered in both forms by the rules.
pub fn is_offered(paths: &PathRules, key: &[u8], class: Class) -> bool {
    class == Class::Manifest && paths.is_gzip(key)
}

/// Whether an object's lines say that its bytes have a coding already.
pub fn is_coded(lines: &[u8]) -> bool {
    const NAME: &[u8] = b"content-encoding:";
    lines
        .split(|&byte| byte == b'\n')
        .any(|line| line.get(..NAME.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAME)))
}

/// Whether a value of Accept-Encoding takes gzip.
//= RFC 9110 section 12.5.3
pub fn accepts(value: &[u8]) -> bool {
    let mut star = false;
    for item in value.split(|&byte| byte == b',') {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let is_taken = !parts.any(is_zero_weight);
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            return is_taken;
        }
        star |= coding == b"*" && is_taken;
    }
    star
}

/// A weight of zero: the coding is refused.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
    value.is_some_and(|value| {
        value.starts_with(b"0") && value[1..].iter().all(|&byte| byte == b'.' || byte == b'0')
    })
}

/// The bytes as gzip.
//= RFC 1952 section 2.3
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER.len() + bytes.len() / 4 + 64);
    out.extend_from_slice(&HEADER);
    let mut deflate = Compress::new(Compression::default(), false);
    loop {
        let taken = usize::try_from(deflate.total_in()).expect("it lies in memory");
        let status = deflate.compress_vec(&bytes[taken..], &mut out, FlushCompress::Finish);
        if status.expect("a compressor at its beginning takes every byte") == Status::StreamEnd {
            break;
        }
        out.reserve(bytes.len() / 4 + 64);
    }
    let mut sum = Crc::new();
    sum.update(bytes);
    out.extend_from_slice(&sum.sum().to_le_bytes());
    out.extend_from_slice(&sum.amount().to_le_bytes());
    out
}

/// Deflate, no name and no time, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        let text = "#EXTINF:2,\nsegment-00001.m4s\n".repeat(100);
        let short = compress(text.as_bytes());
        assert!(short.len() * 5 < text.len(), "{}", short.len());
        let mut back = String::new();
        flate2::read::GzDecoder::new(&*short).read_to_string(&mut back).unwrap();
        assert_eq!(back, text);
        for text in ["", "x", &"0123456789abcdef".repeat(20_000)] {
            let mut back = String::new();
            let short = compress(text.as_bytes());
            flate2::read::GzDecoder::new(&*short).read_to_string(&mut back).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn codings_have_weights() {
        for value in ["gzip", "deflate, gzip", "GZIP;q=0.5", "br;q=1, *;q=0.1", "x-gzip", "*"] {
            assert!(accepts(value.as_bytes()), "{value}");
        }
        for value in ["", "identity", "gzip;q=0", "gzip; q=0.000, *", "br", "*;q=0", "gzipped"] {
            assert!(!accepts(value.as_bytes()), "{value}");
        }
    }
}
