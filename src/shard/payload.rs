//! Bodies of uploads as a dialect wants them: digested, taken out of their coding, and compared
//! with what their head says.
//!
//! **Invariants**: a body is digested only where the request's dialect asks for it; what does not
//! match is given up before anybody could read it as a whole object.

use std::ops::Range;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::origin::aws_chunked::{AwsChunked, ChunkKey};
use crate::origin::{mediastore, sigv4};

/// What is known of a body while it arrives.
pub(super) struct Payload {
    sum: Sha256,
    taken: u64,
    /// The digest that the head announced, in lower-case hexadecimal.
    announced: Option<Box<[u8]>>,
    /// The coding it comes in, and how long it is without it.
    pieces: Option<(AwsChunked, Option<u64>)>,
}

impl Payload {
    /// A body of which its head says this; the key checks the signatures of its pieces.
    pub(super) fn new(said: mediastore::Payload<'_>, key: Option<ChunkKey>) -> Self {
        let plain = Self { sum: Sha256::new(), taken: 0, announced: None, pieces: None };
        match said {
            mediastore::Payload::Unsigned => plain,
            mediastore::Payload::Digest(digest) => {
                Self { announced: Some(digest.to_ascii_lowercase().into()), ..plain }
            }
            mediastore::Payload::Pieces { signed, length } => {
                let key = key.filter(|_| signed);
                Self { pieces: Some((AwsChunked::new(key), length)), ..plain }
            }
        }
    }

    /// Takes bytes from the front of `bytes`: how many, and which of them are the object's.
    ///
    /// # Errors
    /// A sentence for the 400.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<(usize, Range<usize>), &'static str> {
        let (used, data) = match &mut self.pieces {
            Some((pieces, _)) => pieces.step(bytes)?,
            None => (bytes.len(), 0..bytes.len()),
        };
        self.sum.update(&bytes[data.clone()]);
        self.taken += data.len() as u64;
        Ok((used, data))
    }

    /// The digest of all that was taken.
    ///
    /// # Errors
    /// A sentence for the 400.
    pub(super) fn finish(self: Box<Self>) -> Result<[u8; 32], &'static str> {
        if let Some((pieces, length)) = &self.pieces {
            pieces.finish()?;
            if length.is_some_and(|length| length != self.taken) {
                return Err("the body is not as long as x-amz-decoded-content-length says");
            }
        }
        let Self { sum, announced, .. } = *self;
        let sum: [u8; 32] = sum.finalize().into();
        match announced {
            Some(digest) if !bool::from(sigv4::hex(&sum).ct_eq(&digest)) => {
                Err("the body is not the one that x-amz-content-sha256 announced")
            }
            _ => Ok(sum),
        }
    }
}
