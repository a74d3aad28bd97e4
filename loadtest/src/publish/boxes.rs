//! ISO base media boxes of synthetic tracks (ISO/IEC 14496-12; CMAF: 23000-19).
//!
//! Boxes nest and add up as the standards say, so that packagers, origins and probes take them;
//! what stands in `mdat` is seeded noise that no decoder will like. A chunk holds one sample.
//! Never does: allocate more than the bytes that it appends.

use super::stamp::{self, Stamp};
use crate::content::Content;

/// Ticks a second of every track.
pub const TIMESCALE: u32 = 90_000;
/// The unity matrix of `mvhd` and `tkhd`.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// Language code `und`, packed.
const UNDETERMINED: u16 = 0x55c4;
/// Sequence and picture parameter sets of a 320x180 H.264 baseline picture.
const SPS: [u8; 10] = [0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x01, 0x41, 0x9a, 0x01, 0x40];
const PPS: [u8; 4] = [0x68, 0xce, 0x38, 0x80];

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// H.264 by name.
    Video,
    /// AAC by name, 48 kHz stereo.
    Audio,
}

/// The initialisation segment: `ftyp` and `moov` without samples.
pub fn init(kind: Kind) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    boxed(&mut out, b"ftyp", |out| out.extend_from_slice(b"iso6\0\0\0\0iso6cmfcmp41"));
    boxed(&mut out, b"moov", |out| {
        full(out, b"mvhd", 0, 0, |out| {
            numbers(out, &[0, 0, TIMESCALE, 0, 0x1_0000]);
            out.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            numbers(out, &MATRIX);
            numbers(out, &[0, 0, 0, 0, 0, 0, 2]);
        });
        boxed(out, b"trak", |out| track(out, kind));
        boxed(out, b"mvex", |out| {
            full(out, b"trex", 0, 0, |out| numbers(out, &[1, 1, 0, 0, 0]));
        });
    });
    out
}

fn track(out: &mut Vec<u8>, kind: Kind) {
    // Flags: enabled, in movie.
    full(out, b"tkhd", 0, 3, |out| {
        numbers(out, &[0, 0, 1, 0, 0, 0, 0]);
        let volume = if kind == Kind::Audio { 0x0100_0000 } else { 0 };
        numbers(out, &[0, volume]);
        numbers(out, &MATRIX);
        let (width, height) = if kind == Kind::Video { (320, 180) } else { (0, 0) };
        numbers(out, &[width << 16, height << 16]);
    });
    boxed(out, b"mdia", |out| {
        full(out, b"mdhd", 0, 0, |out| {
            numbers(out, &[0, 0, TIMESCALE, 0, u32::from(UNDETERMINED) << 16]);
        });
        full(out, b"hdlr", 0, 0, |out| {
            numbers(out, &[0]);
            out.extend_from_slice(if kind == Kind::Video { b"vide" } else { b"soun" });
            numbers(out, &[0, 0, 0]);
            out.extend_from_slice(b"loadtest\0");
        });
        boxed(out, b"minf", |out| {
            match kind {
                Kind::Video => full(out, b"vmhd", 0, 1, |out| numbers(out, &[0, 0])),
                Kind::Audio => full(out, b"smhd", 0, 0, |out| numbers(out, &[0])),
            }
            boxed(out, b"dinf", |out| {
                full(out, b"dref", 0, 0, |out| {
                    numbers(out, &[1]);
                    // Flag 1: the media is in this file.
                    full(out, b"url ", 0, 1, |_| {});
                });
            });
            boxed(out, b"stbl", |out| sample_table(out, kind));
        });
    });
}

/// Which codec; no samples, for they are in the fragments.
fn sample_table(out: &mut Vec<u8>, kind: Kind) {
    full(out, b"stsd", 0, 0, |out| {
        numbers(out, &[1]);
        match kind {
            Kind::Video => boxed(out, b"avc1", visual),
            Kind::Audio => boxed(out, b"mp4a", audible),
        }
    });
    for name in [b"stts", b"stsc", b"stco"] {
        full(out, name, 0, 0, |out| numbers(out, &[0]));
    }
    full(out, b"stsz", 0, 0, |out| numbers(out, &[0, 0]));
}

fn visual(out: &mut Vec<u8>) {
    numbers(out, &[0, 1, 0, 0, 0, 0, (320 << 16) | 180, 0x48_0000, 0x48_0000, 0]);
    // One frame a sample, no name of the compressor, 24 bits, no colour table.
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&[0; 32]);
    out.extend_from_slice(&[0, 24, 0xff, 0xff]);
    boxed(out, b"avcC", |out| {
        out.extend_from_slice(&[1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1]);
        out.extend_from_slice(&[0, 10]);
        out.extend_from_slice(&SPS);
        out.extend_from_slice(&[1, 0, 4]);
        out.extend_from_slice(&PPS);
    });
}

fn audible(out: &mut Vec<u8>) {
    numbers(out, &[0, 1, 0, 0, (2 << 16) | 16, 0, 48_000 << 16]);
    full(out, b"esds", 0, 0, |out| {
        // ES descriptor with decoder configuration (AAC-LC, 48 kHz, stereo) and sync layer.
        out.extend_from_slice(&[0x03, 25, 0, 1, 0, 0x04, 17, 0x40, 0x15, 0, 0, 0]);
        numbers(out, &[128_000, 128_000]);
        out.extend_from_slice(&[0x05, 2, 0x11, 0x90, 0x06, 1, 2]);
    });
}

/// The head of a segment.
pub fn styp() -> Vec<u8> {
    let mut out = Vec::new();
    boxed(&mut out, b"styp", |out| out.extend_from_slice(b"msdh\0\0\0\0msdhcmfs"));
    out
}

/// Appends one chunk: stamp, `moof`, `mdat` with `stamp.payload` seeded bytes. Gives the stamp as
/// it stands there, with its length; `duration` and `decode_time` are in [`TIMESCALE`].
pub fn chunk(out: &mut Vec<u8>, stamp: Stamp, duration: u32, decode_time: u64) -> Stamp {
    let start = out.len();
    out.extend_from_slice(&[0; stamp::LENGTH]);
    let moof = out.len();
    let payload = low_bits(stamp.payload);
    let mut offset_at = 0;
    boxed(out, b"moof", |out| {
        let fragment = low_bits(stamp.sequence * u64::from(stamp.chunks) + u64::from(stamp.chunk));
        full(out, b"mfhd", 0, 0, |out| numbers(out, &[fragment.wrapping_add(1)]));
        boxed(out, b"traf", |out| {
            // Flag: offsets count from the moof.
            full(out, b"tfhd", 0, 0x2_0000, |out| numbers(out, &[1]));
            full(out, b"tfdt", 1, 0, |out| out.extend_from_slice(&decode_time.to_be_bytes()));
            // Flags: data offset, duration, size and flags of each sample.
            full(out, b"trun", 0, 0x701, |out| {
                numbers(out, &[1]);
                offset_at = out.len();
                let sync = if stamp.chunk == 0 { 0x200_0000 } else { 0x101_0000 };
                numbers(out, &[0, duration, payload, sync]);
            });
        });
    });
    let offset = low_bits((out.len() - moof + 8) as u64);
    out[offset_at..offset_at + 4].copy_from_slice(&offset.to_be_bytes());
    numbers(out, &[payload + 8]);
    out.extend_from_slice(b"mdat");
    let stamp = Stamp { length: (out.len() - start) as u64 + stamp.payload, ..stamp };
    let content: Content = stamp.content();
    let from = out.len();
    out.resize(from + payload as usize, 0);
    content.fill(0, &mut out[from..]);
    restamp(&mut out[start..], &stamp);
    stamp
}

/// Writes the stamp anew at the head of a chunk: for the instants, known only at the end.
pub fn restamp(chunk: &mut [u8], stamp: &Stamp) {
    if let Some(place) = chunk.get_mut(..stamp::LENGTH) {
        place.copy_from_slice(&stamp.encode());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "sizes of boxes are 32 bits; numbers wrap")]
fn low_bits(value: u64) -> u32 {
    value as u32
}

/// A box around what `content` appends.
fn boxed(out: &mut Vec<u8>, kind: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    content(out);
    let size = low_bits((out.len() - start) as u64);
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// A box with version and flags.
fn full(
    out: &mut Vec<u8>,
    kind: &[u8; 4],
    version: u32,
    flags: u32,
    content: impl FnOnce(&mut Vec<u8>),
) {
    boxed(out, kind, |out| {
        numbers(out, &[(version << 24) | flags]);
        content(out);
    });
}

fn numbers(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDERS: [&[u8]; 9] =
        [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"moof", b"traf"];

    /// Walks all boxes; their names in order. Sizes must add up exactly at every level.
    fn walk(bytes: &[u8]) -> Vec<String> {
        let (mut names, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let size = u32::from_be_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
            let kind = &bytes[at + 4..at + 8];
            assert!(size >= 8 && at + size <= bytes.len(), "{kind:?} of {size} at {at}");
            names.push(String::from_utf8(kind.to_vec()).unwrap());
            if FOLDERS.contains(&kind) {
                names.extend(walk(&bytes[at + 8..at + size]));
            }
            at += size;
        }
        names
    }

    #[test]
    fn boxes_nest() {
        let names = walk(&init(Kind::Video)).join(" ");
        assert_eq!(
            names,
            "ftyp moov mvhd trak tkhd mdia mdhd hdlr minf vmhd dinf dref stbl stsd stts stsc stco \
             stsz mvex trex"
        );
        assert!(walk(&init(Kind::Audio)).contains(&"smhd".to_owned()));
        let mut bytes = styp();
        let stamp = Stamp { payload: 100, chunks: 1, ..Stamp::default() };
        let stamp = chunk(&mut bytes, stamp, 180_000, 360_000);
        assert_eq!(walk(&bytes).join(" "), "styp uuid moof mfhd traf tfhd tfdt trun mdat");
        assert_eq!(stamp.length + 24, bytes.len() as u64);
    }

    /// Sizes that ISO/IEC 14496-12 gives for boxes of fixed length.
    #[test]
    fn boxes_of_fixed_length_have_it() {
        let bytes = init(Kind::Video);
        for (kind, size) in
            [(b"mvhd", 108), (b"tkhd", 92), (b"mdhd", 32), (b"vmhd", 20), (b"trex", 32)]
        {
            let at = bytes.windows(4).position(|window| window == kind).unwrap() - 4;
            assert_eq!(u32::from_be_bytes(*bytes[at..].first_chunk().unwrap()), size, "{kind:?}");
        }
    }

    #[test]
    fn the_sample_lies_in_mdat() {
        let mut bytes = styp();
        let start = bytes.len();
        let stamp = Stamp { payload: 64, chunks: 2, seed: 5, ..Stamp::default() };
        let stamp = chunk(&mut bytes, stamp, 9000, 0);
        let trun = bytes.windows(4).position(|window| window == b"trun").unwrap();
        let offset = u32::from_be_bytes(*bytes[trun + 12..].first_chunk().unwrap()) as usize;
        let sample = start + stamp::LENGTH + offset;
        assert_eq!(&bytes[sample - 4..sample], b"mdat");
        assert!(stamp.content().matches(0, &bytes[sample..]));
    }
}
