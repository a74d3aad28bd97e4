//! How files on disk are read: from which size on in chunks, how large these are, how far ahead.

use super::{Explicit, Section, integer, size};
use crate::config::{Config, Mistakes};
use crate::limits;

/// Files from this size on are read in chunks where nothing is configured, in bytes.
pub(in crate::config) const LARGE_BYTES_MIN_DEFAULT: u64 = 32 * 1024 * 1024;

pub(super) fn apply(section: &mut Section<'_>, config: &mut Config) {
    section.set("prefetch", &mut config.prefetch, |value| {
        let most = u64::from(limits::PREFETCH_MAX);
        Ok(u32::try_from(integer(value, 0, most)?).unwrap_or(0))
    });
    section.set("large_bytes_min", &mut config.large_bytes_min, |value| {
        size(value, limits::LARGE_BYTES_MIN, u64::MAX)
    });
    section.set("chunk_bytes", &mut config.chunk_bytes, |value| {
        match size(value, limits::CHUNK_BYTES_MIN, limits::CHUNK_BYTES_MAX)? {
            bytes if bytes.is_power_of_two() => Ok(Some(bytes)),
            _ => Err("needs a power of two, such as 4MiB".to_owned()),
        }
    });
}

impl Config {
    /// Bytes in a chunk of a large file: a sixteenth of the memory where nothing is configured,
    /// 256 KiB to 4 MiB.
    pub fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes.unwrap_or_else(|| {
            let share = (self.memory_bytes / 16).max(limits::CHUNK_BYTES_MIN);
            (1 << share.ilog2()).min(limits::CHUNK_BYTES_DEFAULT)
        })
    }

    pub(in crate::config) fn validate_chunks(&self, explicit: &Explicit, mistakes: &mut Mistakes) {
        let bytes = self.chunk_bytes();
        if bytes > self.memory_bytes / limits::CHUNKS_IN_MEMORY_MIN {
            let reason = format!(
                "memory has to have room for {} chunks, and {} bytes have not; lower \
                 disk.chunk_bytes, or raise memory_bytes",
                limits::CHUNKS_IN_MEMORY_MIN,
                self.memory_bytes
            );
            mistakes.add(explicit.about("disk.chunk_bytes", reason));
        }
    }
}
