//! Bytes of objects that the tool itself makes: drawn from a seed, a key and a length.
//!
//! Any range can be made or compared without what lies before it, at several gigabytes a second:
//! word `i` is SplitMix64's mix of `base + i * golden`, little-endian. `prepare` uploads such
//! objects, `publish` fills segments with them, and whoever reads them compares chunks as they
//! arrive. Never does: keep bytes.

/// Step of SplitMix64 (Steele, Lea, Flood 2014): 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bytes in one word.
const WORD: usize = 8;

/// The bytes of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    base: u64,
    length: u64,
}

impl Content {
    /// The object of `key` (the path of its URL, from the first slash on) with `length` bytes.
    pub fn new(seed: u64, key: &str, length: u64) -> Self {
        // FNV-1a, then mixed: keys that differ in one digit share nothing.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { base: mix(mix(hash ^ mix(seed)) ^ length), length }
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes the bytes from `offset` on into all of `out`.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        let (mut index, skip) = (offset / WORD as u64, within_word(offset));
        let mut out = out;
        if skip > 0 {
            let bytes = &self.word(index)[skip..];
            let taken = bytes.len().min(out.len());
            out[..taken].copy_from_slice(&bytes[..taken]);
            out = &mut out[taken..];
            index += 1;
        }
        let mut words = out.chunks_exact_mut(WORD);
        for word in &mut words {
            word.copy_from_slice(&self.word(index));
            index += 1;
        }
        let rest = words.into_remainder();
        rest.copy_from_slice(&self.word(index)[..rest.len()]);
    }

    /// True when `bytes` are those from `offset` on, and none lie beyond the length.
    pub fn matches(&self, offset: u64, bytes: &[u8]) -> bool {
        if offset.saturating_add(bytes.len() as u64) > self.length {
            return false;
        }
        let (mut index, skip) = (offset / WORD as u64, within_word(offset));
        let head = if skip > 0 { (WORD - skip).min(bytes.len()) } else { 0 };
        let (first, bytes) = bytes.split_at(head);
        if head > 0 {
            if self.word(index)[skip..skip + head] != *first {
                return false;
            }
            index += 1;
        }
        let words = bytes.chunks_exact(WORD);
        let rest = words.remainder();
        for word in words {
            if self.word(index) != *word {
                return false;
            }
            index += 1;
        }
        self.word(index)[..rest.len()] == *rest
    }

    fn word(&self, index: u64) -> [u8; WORD] {
        mix(self.base.wrapping_add(index.wrapping_mul(GOLDEN))).to_le_bytes()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below 8")]
fn within_word(offset: u64) -> usize {
    (offset % WORD as u64) as usize
}

/// The finaliser of SplitMix64.
fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(GOLDEN);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Compares a body chunk by chunk as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Verifier {
    content: Content,
    at: u64,
    same: bool,
}

impl Verifier {
    /// A verifier that expects the object from byte `offset` on (0, or the start of a range).
    pub fn new(content: Content, offset: u64) -> Self {
        Self { content, at: offset, same: true }
    }

    /// Takes the next chunk; false once anything has differed.
    pub fn check(&mut self, chunk: &[u8]) -> bool {
        self.same = self.same && self.content.matches(self.at, chunk);
        self.at += chunk.len() as u64;
        self.same
    }

    /// True when nothing differed and the last chunk ended at byte `end` of the object.
    pub fn finish(&self, end: u64) -> bool {
        self.same && self.at == end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::random::Random;

    fn whole(content: &Content) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(content.length()).unwrap()];
        content.fill(0, &mut bytes);
        bytes
    }

    #[test]
    fn ranges_are_parts_of_the_whole() {
        let seed = 3;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let content = Content::new(1, "/a/b.bin", 1003);
        let bytes = whole(&content);
        for _ in 0..500 {
            let from = random.below(bytes.len() + 1);
            let to = from + random.below(bytes.len() + 1 - from);
            let mut part = vec![0; to - from];
            content.fill(from as u64, &mut part);
            assert_eq!(part, bytes[from..to], "{from}..{to}");
            assert!(content.matches(from as u64, &part), "{from}..{to}");
        }
    }

    #[test]
    fn seed_key_and_length_all_matter() {
        let one = whole(&Content::new(1, "/a/1", 64));
        for other in
            [Content::new(2, "/a/1", 64), Content::new(1, "/a/2", 64), Content::new(1, "/a/1", 65)]
        {
            let other = whole(&other);
            let alike = one.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(alike < 8, "{alike} of 64 bytes alike");
        }
        assert_eq!(one, whole(&Content::new(1, "/a/1", 64)));
    }

    #[test]
    fn a_verifier_sees_every_flipped_byte_in_any_chunking() {
        let seed = 4;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let content = Content::new(9, "/v", 777);
        let good = whole(&content);
        let verify = |bytes: &[u8], random: &mut Random| {
            let mut verifier = Verifier::new(content, 0);
            let mut rest = bytes;
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(1 + random.below(rest.len().min(97)));
                verifier.check(chunk);
                rest = after;
            }
            verifier.finish(777)
        };
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(!verify(&bad, &mut random), "byte {at}");
        }
        assert!(verify(&good, &mut random));
        assert!(!verify(&good[..776], &mut random), "truncated");
        let longer: Vec<u8> = good.iter().copied().chain([0]).collect();
        assert!(!verify(&longer, &mut random), "a byte too many");
    }

    /// Objects that were uploaded by one version must verify with the next.
    #[test]
    fn bytes_never_change() {
        let mut head = [0; 12];
        Content::new(1, "/x", 12).fill(0, &mut head);
        assert_eq!(head, KNOWN, "{head:?}");
    }

    const KNOWN: [u8; 12] = [49, 202, 30, 19, 253, 163, 117, 247, 55, 224, 185, 161];
}
