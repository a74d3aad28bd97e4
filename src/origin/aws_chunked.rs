//! The coding `aws-chunked`: a body in pieces, each perhaps with a signature that builds on the one
//! before. Some SDKs send uploads so; stored as it comes, its framing would end up in the object.
//!
//! ```text
//! 10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648 CRLF
//! ...65536 bytes... CRLF
//! 0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9 CRLF CRLF
//! ```
//!
//! **Invariants**: a line is bounded, a size below 2^30; where there is a key, a body whose last
//! signature does not hold never counts as complete; nothing may follow the end.
//! Source: Amazon S3 API, "Signature Calculations for the Authorization Header: Transferring
//! Payload in Multiple Chunks".

use std::ops::Range;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::sigv4::{EMPTY_SHA256, hex, mac};
use crate::limits::{SIGNED_CHUNK_BYTES_MAX, SIGNED_CHUNK_LINE_BYTES_MAX};

/// What is needed to check the signatures of pieces.
pub struct ChunkKey {
    /// The day's signing key.
    pub key: [u8; 32],
    /// Value of `x-amz-date`.
    pub time: Box<[u8]>,
    /// The credential's scope.
    pub scope: Box<[u8]>,
    /// The request's signature; afterwards the last piece's. In hexadecimal.
    pub previous: Box<[u8]>,
}

/// Decodes a body piece by piece.
pub struct AwsChunked {
    state: State,
    /// The line so far.
    line: Vec<u8>,
    /// Bytes of the piece that are still to come.
    left: u64,
    sum: Sha256,
    /// What the piece's line says is its signature.
    claimed: Box<[u8]>,
    key: Option<ChunkKey>,
    /// Bytes of all trailers so far.
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Line,
    Data,
    /// The CRLF behind a piece.
    DataEnd,
    Trailer,
    Done,
}

const BROKEN: &str = "the body's aws-chunked coding is broken";
const FORGED: &str = "a chunk's signature does not match it";

impl AwsChunked {
    /// A decoder before the first piece; without a key signatures are not looked at.
    pub fn new(key: Option<ChunkKey>) -> Self {
        Self {
            state: State::Line,
            line: Vec::new(),
            left: 0,
            sum: Sha256::new(),
            claimed: Box::default(),
            key,
            trailers: 0,
        }
    }

    /// Takes bytes from the front of `bytes`: how many, and which of them are the object's.
    ///
    /// # Errors
    /// A sentence for the 400; the decoder must not be used again.
    pub fn step(&mut self, bytes: &[u8]) -> Result<(usize, Range<usize>), &'static str> {
        if self.state == State::Data {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX);
            let count = bytes.len().min(most);
            if self.key.is_some() {
                self.sum.update(&bytes[..count]);
            }
            self.left -= count as u64;
            if self.left == 0 {
                self.state = State::DataEnd;
            }
            return Ok((count, 0..count));
        }
        if self.state == State::Done && !bytes.is_empty() {
            return Err(BROKEN);
        }
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        if self.line.len() + count > SIGNED_CHUNK_LINE_BYTES_MAX {
            return Err(BROKEN);
        }
        self.line.extend_from_slice(&bytes[..count]);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            self.take_line(line.strip_suffix(b"\r\n").ok_or(BROKEN)?)?;
        }
        Ok((count, count..count))
    }

    /// Asserts that the body has come to its end.
    ///
    /// # Errors
    /// A sentence for the 400.
    pub fn finish(&self) -> Result<(), &'static str> {
        if self.state == State::Done { Ok(()) } else { Err(BROKEN) }
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        match self.state {
            State::DataEnd if line.is_empty() => {
                self.check_signature()?;
                self.state = State::Line;
                Ok(())
            }
            State::Line => self.begin_piece(line),
            State::Trailer if line.is_empty() => {
                self.state = State::Done;
                Ok(())
            }
            // What stands there is neither stored nor believed.
            State::Trailer => {
                self.trailers += line.len();
                if self.trailers > SIGNED_CHUNK_LINE_BYTES_MAX { Err(BROKEN) } else { Ok(()) }
            }
            _ => Err(BROKEN),
        }
    }

    fn begin_piece(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let (size, extension) = match line.iter().position(|&byte| byte == b';') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let plain = (1..=16).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(size).ok().filter(|_| plain).ok_or(BROKEN)?;
        self.left = u64::from_str_radix(size, 16).map_err(|_| BROKEN)?;
        if self.left > SIGNED_CHUNK_BYTES_MAX {
            return Err("a chunk of the body is larger than 1 GiB");
        }
        self.sum = Sha256::new();
        self.claimed = extension.strip_prefix(b"chunk-signature=").unwrap_or_default().into();
        self.state = State::Data;
        if self.left == 0 {
            self.check_signature()?;
            self.state = State::Trailer;
        }
        Ok(())
    }

    /// Checks the signature of the piece that has ended, which the next one builds on.
    fn check_signature(&mut self) -> Result<(), &'static str> {
        let Some(chunks) = &mut self.key else { return Ok(()) };
        let sum = hex(&std::mem::take(&mut self.sum).finalize());
        let made = hex(&mac(
            &chunks.key,
            &[
                b"AWS4-HMAC-SHA256-PAYLOAD\n",
                &chunks.time,
                b"\n",
                &chunks.scope,
                b"\n",
                &chunks.previous,
                b"\n",
                EMPTY_SHA256,
                b"\n",
                &sum,
            ],
        ));
        if !bool::from(made.ct_eq(&self.claimed)) {
            return Err(FORGED);
        }
        chunks.previous = made.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::sigv4::Signature;

    /// The example of Amazon's documentation: 65 KiB of `a` in chunks of 64 KiB.
    fn example() -> Vec<u8> {
        let mut body = Vec::new();
        for (size, signature) in [
            (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1_024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.resize(body.len() + size, b'a');
            body.extend_from_slice(b"\r\n");
        }
        body
    }

    fn key() -> ChunkKey {
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let value = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host,Signature={seed}"
        );
        let signature = Signature::read(value.as_bytes()).unwrap();
        ChunkKey {
            key: signature.signing_key(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            time: (*b"20130524T000000Z").into(),
            scope: signature.scope.into(),
            previous: signature.hex.into(),
        }
    }

    /// What the body decodes to when it arrives in pieces of `size` bytes.
    fn decoded(body: &[u8], key: Option<ChunkKey>, size: usize) -> Result<Vec<u8>, &'static str> {
        let mut decoder = AwsChunked::new(key);
        let mut out = Vec::new();
        for mut piece in body.chunks(size) {
            while !piece.is_empty() {
                let (used, data) = decoder.step(piece)?;
                out.extend_from_slice(&piece[data]);
                piece = &piece[used..];
            }
        }
        decoder.finish().map(|()| out)
    }

    #[test]
    fn the_example_decodes_however_it_is_cut() {
        let body = example();
        for size in [1, 7, 100, body.len()] {
            let out = decoded(&body, Some(key()), size).unwrap();
            assert!(out.len() == 66_560 && out.iter().all(|&byte| byte == b'a'));
            assert_eq!(decoded(&body, None, size), Ok(out));
        }
    }

    #[test]
    fn what_was_changed_or_cut_is_refused() {
        let body = example();
        for place in [3, 40, 100, 60_000, 65_700, body.len() - 10] {
            let mut forged = body.clone();
            forged[place] ^= 1;
            assert!(decoded(&forged, Some(key()), 1000).is_err(), "{place}");
        }
        for end in [0, 50, 1000, body.len() - 1] {
            assert!(decoded(&body[..end], Some(key()), 1000).is_err(), "{end}");
        }
        assert!(decoded(&[&body[..], b"x"].concat(), Some(key()), 1000).is_err());
    }

    #[test]
    fn trailers_are_read_past_and_hostile_framing_is_refused() {
        let good = b"4\r\nabcd\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        assert_eq!(decoded(good, None, 5), Ok(b"abcd".to_vec()));
        let long = format!("4;{}\r\n", "x".repeat(1000));
        let many = format!("0\r\n{}\r\n", "a:b\r\n".repeat(200));
        for bad in [
            "4\nabcd\n0\n\n",
            "g\r\n",
            "-1\r\n",
            "ffffffffffffffff\r\n",
            "fffffffffffffffff\r\n",
            "4\r\nabcdef\r\n",
            "\r\n",
            &long,
            &many,
        ] {
            assert!(decoded(bad.as_bytes(), None, 3).is_err(), "{bad}");
        }
    }
}
