//! Sums of a body: one of the whole, and one for each chunk, so that what is read of a large file
//! can be checked, and sent, before the rest of it was read.
//!
//! Chunks are as small as a power of two can be, from [`limits::DISK_CHUNK_BYTES_MIN`] on, for
//! [`limits::DISK_CHUNKS_MAX`] of them at most; a body of one chunk has the sum of the whole only.
//!
//! Invariants: as many sums as the length has chunks, whatever pieces the body came in.

use crate::digest::{Digest, PartDigest};
use crate::limits;

/// XXH3-64 of each chunk of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Bytes of each chunk but the last, which may be shorter.
    pub bytes: u64,
    /// Their sums in order, two or more.
    pub sums: Box<[u64]>,
}

impl Chunks {
    /// Whether a body of `length` bytes may have these.
    pub fn fit(&self, length: u64) -> bool {
        let count = self.sums.len();
        self.bytes.is_power_of_two()
            && self.bytes >= limits::DISK_CHUNK_BYTES_MIN
            && (2..=limits::DISK_CHUNKS_MAX).contains(&(count as u64))
            && length.div_ceil(self.bytes) == count as u64
    }
}

/// Bytes of the chunks of a body of `length` bytes; none where one chunk would hold it.
pub fn chunk_bytes(length: u64) -> Option<u64> {
    let least = length.div_ceil(limits::DISK_CHUNKS_MAX).max(limits::DISK_CHUNK_BYTES_MIN);
    least.checked_next_power_of_two().filter(|&bytes| bytes < length)
}

/// The sums of a body that comes in pieces.
pub struct Summing {
    whole: Digest,
    chunks: Option<ChunkSumming>,
}

/// The sums of the chunks of such a body.
pub struct ChunkSumming {
    bytes: u64,
    sum: PartDigest,
    /// Bytes that the chunk under way lacks.
    left: u64,
    sums: Vec<u64>,
}

impl Summing {
    /// The sum of the whole only.
    pub fn whole() -> Self {
        Self { whole: Digest::new(), chunks: None }
    }

    /// The same, and those of chunks of so many bytes where there are any.
    pub fn with_chunks(bytes: Option<u64>) -> Self {
        Self { chunks: bytes.map(ChunkSumming::new), ..Self::whole() }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, piece: &[u8]) {
        self.whole.update(piece);
        if let Some(chunks) = &mut self.chunks {
            chunks.update(piece);
        }
    }

    /// The XXH3-128 of the body, and what its chunks have.
    pub fn finish(self) -> (u128, Option<Chunks>) {
        (self.whole.finish(), self.chunks.map(ChunkSumming::finish))
    }
}

impl ChunkSumming {
    /// Of chunks of so many bytes, at least one.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, sum: PartDigest::new(), left: bytes, sums: Vec::new() }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX);
            let (now, later) = piece.split_at(piece.len().min(most));
            self.sum.update(now);
            self.left -= now.len() as u64;
            if self.left == 0 {
                self.end_chunk();
            }
            piece = later;
        }
    }

    fn end_chunk(&mut self) {
        self.sums.push(self.sum.finish());
        self.sum = PartDigest::new();
        self.left = self.bytes;
    }

    /// The sums of the chunks that are complete.
    pub fn complete(&self) -> &[u64] {
        &self.sums
    }

    /// The body has ended.
    pub fn finish(mut self) -> Chunks {
        if self.left < self.bytes {
            self.end_chunk();
        }
        Chunks { bytes: self.bytes, sums: self.sums.into() }
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

    use super::*;

    const LEAST: u64 = limits::DISK_CHUNK_BYTES_MIN;

    #[test]
    fn chunks_are_small_and_few() {
        assert_eq!(chunk_bytes(0), None);
        assert_eq!(chunk_bytes(LEAST), None);
        assert_eq!(chunk_bytes(LEAST + 1), Some(LEAST));
        assert_eq!(chunk_bytes(LEAST * limits::DISK_CHUNKS_MAX), Some(LEAST));
        assert_eq!(chunk_bytes(LEAST * limits::DISK_CHUNKS_MAX + 1), Some(2 * LEAST));
        assert_eq!(chunk_bytes(u64::MAX), Some(1 << 58));
    }

    #[test]
    fn sums_do_not_depend_on_the_pieces() {
        let length = 3 * LEAST + 7;
        let body: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
        let bytes = chunk_bytes(length).unwrap();
        let wanted: Vec<u64> = body.chunks(bytes as usize).map(xxh3_64).collect();
        for piece in [1, 100, bytes as usize, body.len()] {
            let mut sums = Summing::with_chunks(Some(bytes));
            body.chunks(piece).for_each(|piece| sums.update(piece));
            let (sum, chunks) = sums.finish();
            let chunks = chunks.unwrap();
            assert_eq!((sum, &chunks.sums[..]), (xxh3_128(&body), &wanted[..]));
            assert!(chunks.fit(length) && !chunks.fit(length + bytes));
        }
        let mut sums = Summing::whole();
        sums.update(&body);
        assert_eq!(sums.finish(), (xxh3_128(&body), None));
    }

    #[test]
    fn a_body_of_whole_chunks_has_no_empty_one() {
        let mut sums = ChunkSumming::new(LEAST);
        sums.update(&vec![7; 2 * LEAST as usize]);
        assert_eq!(sums.complete().len(), 2);
        assert!(sums.finish().fit(2 * LEAST));
    }
}
