//! Tests of the HTTP room: vectors from files, an oracle, the two scanners, and values.

mod oracle;
mod twins;
mod values;
mod vectors;

/// A small seeded generator; `HEADWATER_SEED` reproduces a run.
pub struct Random(u64);

impl Random {
    /// Prints the seed, so that a failure shows it.
    pub fn seeded(test: &str) -> Self {
        let seed = std::env::var("HEADWATER_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or(0x4845_4144);
        println!("{test}: HEADWATER_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
