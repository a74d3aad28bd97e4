//! What is published: channels, each a ladder of tracks, and the size of every segment.
//!
//! Sizes follow from the bitrate, varied by the seed as an encoder's do, and are the same in every
//! run. Never does: send.

use std::time::Duration;

use crate::report::random::Random;

use super::boxes::Kind;

/// Tracks of one channel.
const TRACKS_MAX: usize = 64;
/// Bits a second of one track.
const BITRATE_MAX: f64 = 1e9;

/// One rendition.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Folder below the channel's: `v0`, `v1`, `a0`.
    pub name: String,
    /// What it carries.
    pub kind: Kind,
    /// Mean bits a second of media.
    pub bitrate: f64,
}

/// A named set of channels and tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// One channel: four video renditions up to 5 Mbit/s and audio, 2 s segments
    Channel,
    /// One channel for many viewers: four muxed renditions, mean 1 Mbit/s, 4 s segments
    Viewers,
    /// A platform: 80 channels of 15 tracks, 2 s segments, 1.8 Gbit/s
    Platform,
}

impl Preset {
    /// Number of channels.
    pub fn channels(self) -> u32 {
        if self == Self::Platform { 80 } else { 1 }
    }

    /// Tracks as `--tracks` takes them.
    pub fn tracks(self) -> &'static str {
        match self {
            Self::Channel => "v:400k,v:1M,v:2.5M,v:5M,a:128k",
            Self::Viewers => "v:300k,v:600k,v:1M,v:2.1M",
            Self::Platform => {
                "v:200k,v:300k,v:400k,v:600k,v:800k,v:1M,v:1.5M,v:2M,v:2.5M,v:3M,v:4M,v:6M,a:64k,\
                 a:128k,a:192k"
            }
        }
    }

    /// Length of a segment.
    pub fn segment(self) -> Duration {
        Duration::from_secs(if self == Self::Viewers { 4 } else { 2 })
    }
}

/// Understands `v:5M,v:800k,a:128k`; `scale` multiplies every bitrate. The error is a sentence.
pub fn parse(text: &str, scale: f64) -> Result<Vec<Track>, String> {
    let mut tracks = Vec::new();
    let (mut videos, mut audios) = (0, 0);
    for part in text.split(',') {
        let wrong = |what: &str| format!("track `{part}`: {what}; write for example `v:2.5M`");
        let (kind, rate) = part.split_once(':').ok_or_else(|| wrong("no colon"))?;
        let (kind, name) = match kind.trim() {
            "v" => (Kind::Video, format!("v{videos}")),
            "a" => (Kind::Audio, format!("a{audios}")),
            _ => return Err(wrong("neither `v` (video) nor `a` (audio)")),
        };
        match kind {
            Kind::Video => videos += 1,
            Kind::Audio => audios += 1,
        }
        let rate = rate.trim();
        let (digits, factor) = match rate.as_bytes().last() {
            Some(b'k') => (&rate[..rate.len() - 1], 1e3),
            Some(b'M') => (&rate[..rate.len() - 1], 1e6),
            _ => (rate, 1.0),
        };
        let bitrate: f64 = digits.parse().map_err(|_| wrong("the bitrate is no number"))?;
        let bitrate = bitrate * factor * scale;
        if !(1.0..=BITRATE_MAX).contains(&bitrate) {
            return Err(wrong("the bitrate is not between 1 bit/s and 1 Gbit/s"));
        }
        tracks.push(Track { name, kind, bitrate });
    }
    if videos == 0 && audios > 1 {
        return Err(format!("tracks `{text}`: several audio tracks need a video track"));
    }
    if tracks.len() > TRACKS_MAX {
        return Err(format!("{} tracks: at most {TRACKS_MAX} make a channel", tracks.len()));
    }
    Ok(tracks)
}

/// Bytes of media in one chunk of `length_s` seconds: the bitrate's share, more or less by up to
/// `vary` of it.
#[expect(clippy::cast_possible_truncation, reason = "bounded by BITRATE_MAX")]
pub fn payload(track: &Track, length_s: f64, vary: f64, seed: u64, place: Place) -> u64 {
    let mean = track.bitrate * length_s / 8.0;
    // Tracks of a channel rise and fall together, as their picture does.
    let mix = seed
        ^ u64::from(place.channel).rotate_left(48)
        ^ place.sequence.rotate_left(16)
        ^ u64::from(place.chunk);
    let swing = 2.0 * Random::new(mix).unit() - 1.0;
    (mean * (1.0 + vary * swing)).round().max(1.0) as u64
}

/// Which chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Channel, from 0.
    pub channel: u32,
    /// Segment, from 0.
    pub sequence: u64,
    /// Chunk of the segment, from 0.
    pub chunk: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_their_size() {
        let of = |preset: Preset| parse(preset.tracks(), 1.0).unwrap();
        assert_eq!(of(Preset::Platform).len(), 15);
        let sum: f64 = of(Preset::Platform).iter().map(|track| track.bitrate).sum();
        assert!((1.7e9..1.9e9).contains(&(sum * 80.0)), "{sum}");
        let viewers = of(Preset::Viewers);
        let mean = viewers.iter().map(|track| track.bitrate).sum::<f64>() / viewers.len() as f64;
        assert_eq!(mean, 1e6);
        let names: Vec<String> = of(Preset::Channel).into_iter().map(|track| track.name).collect();
        assert_eq!(names, ["v0", "v1", "v2", "v3", "a0"]);
    }

    #[test]
    fn bad_tracks_are_sentences() {
        for (text, part) in [
            ("v5M", "no colon"),
            ("x:1M", "neither"),
            ("v:much", "no number"),
            ("v:2000M", "1 Gbit/s"),
        ] {
            let error = parse(text, 1.0).unwrap_err();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
        assert!(parse("a:1k,a:2k", 1.0).is_err());
        assert!(parse(&vec!["v:1M"; 65].join(","), 1.0).unwrap_err().contains("65 tracks"));
    }

    #[test]
    fn sizes_keep_the_bitrate_and_repeat() {
        let track = &parse("v:1M", 1.0).unwrap()[0];
        let size = |sequence| payload(track, 2.0, 0.1, 5, Place { channel: 0, sequence, chunk: 0 });
        let mean = (0..1000).map(size).sum::<u64>() as f64 / 1000.0;
        assert!((248_000.0..252_000.0).contains(&mean), "{mean}");
        assert!((0..1000).all(|n| (225_000..=275_000).contains(&size(n))));
        assert_eq!(size(7), size(7));
        assert_ne!(size(7), size(8));
    }
}
