//! What objects hold: each byte follows from the run's seed, the key, the version and its place.
//!
//! So a reader knows what it must get once it knows which version it is reading, wherever it
//! begins, and a byte of another version, key or place is found.

/// The content of one version of one key.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    state: u64,
    /// Bytes in it.
    pub len: usize,
}

/// Sizes on both sides of every threshold between ways of sending; some take many sends.
const SIZES: [usize; 8] = [700, 9_000, 20_000, 40_000, 100_000, 300_000, 1_000_000, 2_500_000];

impl Content {
    pub fn new(seed: u64, key: u64, version: u64) -> Self {
        let state = mix(mix(mix(seed) ^ key) ^ version);
        let len = SIZES[(state % 8) as usize] + (state >> 8) as usize % 500;
        Self { state, len }
    }

    /// All of it.
    pub fn bytes(self) -> Vec<u8> {
        let words = self.len.div_ceil(8) as u64;
        let mut bytes: Vec<u8> =
            (0..words).flat_map(|index| self.word(index).to_le_bytes()).collect();
        bytes.truncate(self.len);
        bytes
    }

    /// The place of the first of `bytes`, which lie at `at`, that is wrong.
    pub fn first_wrong(self, at: usize, bytes: &[u8]) -> Option<usize> {
        let lead = bytes.len().min(at.next_multiple_of(8) - at);
        let (head, body) = bytes.split_at(lead);
        let one_by_one = |at: usize, bytes: &[u8]| {
            let wrong = (at..).zip(bytes).find(|&(at, &byte)| byte != self.byte(at));
            wrong.map(|(at, _)| at)
        };
        let mut at = at + lead;
        let words = body.chunks_exact(8);
        let tail = words.remainder();
        one_by_one(at - lead, head).or_else(|| {
            for word in words {
                if u64::from_le_bytes(word.try_into().unwrap()) != self.word(at as u64 / 8) {
                    return one_by_one(at, word);
                }
                at += 8;
            }
            one_by_one(at, tail)
        })
    }

    fn byte(self, at: usize) -> u8 {
        self.word(at as u64 / 8).to_le_bytes()[at % 8]
    }

    fn word(self, index: u64) -> u64 {
        mix(self.state.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// The finaliser of splitmix64: all bits of the result depend on all bits of the number.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[test]
fn the_check_agrees_wherever_a_piece_begins_and_ends() {
    let content = Content::new(1, 2, 3);
    let bytes = content.bytes();
    for from in 0..20 {
        for to in from..40 {
            assert_eq!(content.first_wrong(from, &bytes[from..to]), None, "{from}..{to}");
        }
    }
}

#[test]
fn one_wrong_byte_is_found_wherever_it_is() {
    let content = Content::new(1, 2, 3);
    for from in 0..9 {
        for place in from..40 {
            let mut bytes = content.bytes();
            bytes[place] ^= 1;
            assert_eq!(content.first_wrong(from, &bytes[from..40]), Some(place));
        }
    }
}

#[test]
fn bytes_of_another_version_key_seed_or_place_are_wrong() {
    let content = Content::new(1, 2, 3);
    let ours = content.bytes();
    let others = [(1, 2, 4), (1, 3, 3), (2, 2, 3)];
    for (seed, key, version) in others {
        let other = Content::new(seed, key, version).bytes();
        let page = 256;
        let mixed = [&ours[..page], &other[page..700]].concat();
        let found = content.first_wrong(0, &mixed);
        assert!(found.is_some_and(|at| (page..page + 8).contains(&at)), "{found:?}");
    }
    assert!(content.first_wrong(8, &ours[..64]).is_some());
}
