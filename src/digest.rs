//! Sums of bodies (XXH3, 128 and 64 bits), which come in pieces.
//!
//! The crate behind these picks the widest vector instructions that the CPU has when the program
//! runs: an upload of 256 KiB spends a sixth of its time on its sum otherwise. Keys are hashed by
//! another one, which is faster for a few bytes.
//!
//! Invariants: no sum depends on how the body was cut into pieces, nor on the CPU; none allocates.

use std::hash::Hasher as _;

use twox_hash::xxhash3_64::{DEFAULT_SECRET_LENGTH, RawHasher as Raw64, SecretBuffer};
use twox_hash::xxhash3_128::{RawHasher as Raw128, SecretBuffer as SecretBuffer128};

/// What the sums are mixed with, in place.
type Secret = [u8; DEFAULT_SECRET_LENGTH];

/// The sum of a whole body.
#[derive(Clone)]
pub struct Digest(Raw128<Secret>);

/// The sum of a part of one.
#[derive(Clone)]
pub struct PartDigest(Raw64<Secret>);

impl Digest {
    /// Of no bytes yet.
    #[expect(clippy::new_without_default, reason = "nobody wants a sum by default")]
    pub fn new() -> Self {
        let secret = SecretBuffer128::with_seed(0, [0; DEFAULT_SECRET_LENGTH]);
        Self(Raw128::new(secret.unwrap_or_else(|_| unreachable!("it has the default's length"))))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.write(piece);
    }

    /// XXH3-128 of all bytes so far.
    pub fn finish(&self) -> u128 {
        self.0.finish_128()
    }
}

impl PartDigest {
    /// Of no bytes yet.
    #[expect(clippy::new_without_default, reason = "nobody wants a sum by default")]
    pub fn new() -> Self {
        let secret = SecretBuffer::with_seed(0, [0; DEFAULT_SECRET_LENGTH]);
        Self(Raw64::new(secret.unwrap_or_else(|_| unreachable!("it has the default's length"))))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.write(piece);
    }

    /// XXH3-64 of all bytes so far.
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

    use super::{Digest, PartDigest};

    #[test]
    fn sums_are_those_of_the_other_crate_in_whatever_pieces() {
        let body: Vec<u8> = (0..300_000u32).map(|at| (at * 7 + at / 251) as u8).collect();
        for length in [0, 1, 3, 16, 17, 128, 240, 241, 255, 256, 257, 1024, 1025, 65_536, 299_999] {
            for piece in [1, 63, 64, 256, 1000, 16_384] {
                if length / piece > 4096 {
                    continue;
                }
                let (mut whole, mut part) = (Digest::new(), PartDigest::new());
                for bytes in body[..length].chunks(piece) {
                    whole.update(bytes);
                    part.update(bytes);
                }
                let wanted = (xxh3_128(&body[..length]), xxh3_64(&body[..length]));
                assert_eq!((whole.finish(), part.finish()), wanted, "{length} by {piece}");
            }
        }
    }
}
