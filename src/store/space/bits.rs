//! Runs of bits in a slot's bitmaps: one bit a granule, by index.

/// A run of bits that are alike.
#[derive(Clone, Copy)]
pub struct Run {
    pub start: u32,
    pub len: u32,
}

/// Sets or clears `len` bits, each of which must change.
pub fn flip(words: &mut [u64], start: u32, len: u32, set: bool) {
    let (mut bit, end) = (start, start + len);
    while bit < end {
        let word = &mut words[bit as usize / 64];
        let within = bit % 64;
        let some = (64 - within).min(end - bit);
        let mask = (u64::MAX >> (64 - some)) << within;
        assert!(*word & mask == if set { 0 } else { mask }, "an extent is used once");
        *word ^= mask;
        bit += some;
    }
}

/// The first run of set bits from `from` on.
pub fn run(words: &[u64], from: u32) -> Option<Run> {
    let start = next(words, from, true)?;
    let end = next(words, start, false).unwrap_or(count(words));
    Some(Run { start, len: end - start })
}

/// The first bit from `from` that is set, or that is not.
pub fn next(words: &[u64], from: u32, set: bool) -> Option<u32> {
    let mut bit = from;
    while bit < count(words) {
        let word = words[bit as usize / 64];
        let word = if set { word } else { !word } >> (bit % 64);
        if word != 0 {
            return Some(bit + word.trailing_zeros());
        }
        bit = (bit / 64 + 1) * 64;
    }
    None
}

/// How many bits there are.
pub fn count(words: &[u64]) -> u32 {
    u32::try_from(words.len() * 64).expect("a slot has fewer than 2^32 granules")
}
