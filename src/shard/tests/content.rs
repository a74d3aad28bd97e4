//! What clients upload: every byte follows from key, version and place.

/// Eight bytes of a body.
fn word(key: usize, version: u64, index: u64) -> [u8; 8] {
    let mixed = ((key as u64) << 56 ^ version << 32 ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()
}

/// Bytes `from..to` of a version's body.
pub fn bytes(key: usize, version: u64, from: u64, to: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((to - from) as usize + 16);
    for index in from / 8..to.div_ceil(8) {
        bytes.extend_from_slice(&word(key, version, index));
    }
    bytes.drain(..(from % 8) as usize);
    bytes.truncate((to - from) as usize);
    bytes
}

/// Whether `found` is what stands at `from` of a version's body.
pub fn is(key: usize, version: u64, from: u64, found: &[u8]) -> bool {
    let head = found.len().min(16);
    let begins = found[..head] == bytes(key, version, from, from + head as u64)[..];
    begins && found == bytes(key, version, from, from + found.len() as u64)
}
