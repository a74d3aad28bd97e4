//! HLS playlists (RFC 8216bis): what a player needs of them, read once and shared by all viewers.
//!
//! URIs are resolved against the playlist's own path while reading, so that viewers only clone
//! them. Times within a playlist are offsets from its first segment; a viewer places them on its
//! own timeline. Never does: fetch, keep state between two readings (`delta` merges them).

use std::fmt;

use super::attributes::Attributes;
use super::media::MediaPlaylist;
use super::read_media;
use super::uri;

/// Why a playlist could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Line, from 1; 0 when the whole is meant.
    pub line: usize,
    /// What is wrong with it, as a clause.
    pub wrong: String,
}

impl Error {
    pub(super) fn new(line: usize, wrong: impl Into<String>) -> Self {
        Self { line, wrong: wrong.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "playlist: {}", self.wrong),
            line => write!(f, "playlist, line {line}: {}", self.wrong),
        }
    }
}

impl std::error::Error for Error {}

/// One quality, with the audio that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Peak bit rate in bit/s (BANDWIDTH).
    pub bandwidth: u64,
    /// Mean bit rate in bit/s (AVERAGE-BANDWIDTH, else the peak).
    pub average: u64,
    /// Where its media playlist lies, as path and query.
    pub uri: Box<str>,
    /// Index into [`Multivariant::audio`] of its separate audio, when it has one with a URI.
    pub audio: Option<usize>,
}

/// A multivariant playlist: qualities in ascending bit rate, and separate audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multivariant {
    /// Qualities, lowest first.
    pub variants: Vec<Variant>,
    /// Where the playlists of separate audio lie, as path and query.
    pub audio: Vec<Box<str>>,
    /// Index of the variant that the playlist names first (hls.js: firstLevel).
    pub first: usize,
}

/// What a playlist turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Playlist {
    /// It lists qualities.
    Multivariant(Multivariant),
    /// It lists segments.
    Media(MediaPlaylist),
}

/// Reads a playlist that was fetched from `base`, a path with an optional query.
pub fn read(text: &str, base: &str) -> Result<Playlist, Error> {
    if !text.trim_start_matches('\u{feff}').starts_with("#EXTM3U") {
        return Err(Error::new(1, "it does not begin with #EXTM3U"));
    }
    if text.lines().any(|line| line.starts_with("#EXT-X-STREAM-INF:")) {
        return read_multivariant(text, base).map(Playlist::Multivariant);
    }
    read_media::read(text, base).map(Playlist::Media)
}

fn read_multivariant(text: &str, base: &str) -> Result<Multivariant, Error> {
    let groups = audio_groups(text, base)?;
    let mut audio: Vec<Box<str>> = Vec::new();
    let mut variants: Vec<Variant> = Vec::new();
    let mut pending: Option<Attributes> = None;
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
        if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            pending = Some(Attributes::new(list));
        } else if !line.is_empty() && !line.starts_with('#') {
            let Some(attributes) = pending.take() else {
                return Err(Error::new(number, "a URI without #EXT-X-STREAM-INF before it"));
            };
            let bandwidth = attributes
                .number("BANDWIDTH")
                .ok_or_else(|| Error::new(number - 1, "no BANDWIDTH, or it is no number"))?;
            let uri = uri::resolve(base, line).map_err(|wrong| Error::new(number, wrong))?;
            let group = attributes.value("AUDIO");
            let wanted = group.and_then(|group| groups.iter().find(|(name, _)| name == group));
            variants.push(Variant {
                bandwidth,
                average: attributes.number("AVERAGE-BANDWIDTH").unwrap_or(bandwidth),
                uri,
                audio: wanted.map(|(_, uri)| index_of(&mut audio, uri)),
            });
        }
    }
    let first_uri = match variants.first() {
        Some(first) => first.uri.clone(),
        None => return Err(Error::new(0, "it names no variant")),
    };
    variants.sort_by_key(|variant| variant.bandwidth);
    // The same quality by several audio groups or paths counts once.
    variants.dedup_by(|b, a| a.uri == b.uri);
    let first = variants.iter().position(|variant| variant.uri == first_uri).unwrap_or(0);
    Ok(Multivariant { variants, audio, first })
}

/// Audio groups with a playlist of their own: of each the default rendition, else the first.
fn audio_groups(text: &str, base: &str) -> Result<Vec<(String, Box<str>)>, Error> {
    let mut groups: Vec<(String, Box<str>)> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
        let Some(list) = line.strip_prefix("#EXT-X-MEDIA:") else { continue };
        let attributes = Attributes::new(list);
        let (Some("AUDIO"), Some(group), Some(target)) =
            (attributes.value("TYPE"), attributes.value("GROUP-ID"), attributes.value("URI"))
        else {
            continue;
        };
        let target = uri::resolve(base, target).map_err(|wrong| Error::new(number, wrong))?;
        match groups.iter_mut().find(|(name, _)| name == group) {
            Some(known) if attributes.yes("DEFAULT") => known.1 = target,
            Some(_) => {}
            None => groups.push((group.to_owned(), target)),
        }
    }
    Ok(groups)
}

fn index_of(audio: &mut Vec<Box<str>>, uri: &str) -> usize {
    audio.iter().position(|known| &**known == uri).unwrap_or_else(|| {
        audio.push(uri.into());
        audio.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualities_come_in_ascending_order_with_their_audio() {
        let text = "#EXTM3U\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"de\",URI=\"a/de.m3u8\"\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"en\",DEFAULT=YES,URI=\"a/en.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2500000,AUDIO=\"a\"\n\
            high.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=800000\n\n/other/low.m3u8?x=1\n";
        let Playlist::Multivariant(list) = read(text, "/live/master.m3u8?t=1").unwrap() else {
            panic!("not multivariant")
        };
        let brief: Vec<_> =
            list.variants.iter().map(|v| (v.bandwidth, v.average, &*v.uri, v.audio)).collect();
        assert_eq!(
            brief,
            [
                (800_000, 800_000, "/other/low.m3u8?x=1", None),
                (3_000_000, 2_500_000, "/live/high.m3u8", Some(0)),
            ]
        );
        assert_eq!(list.audio, ["/live/a/en.m3u8".into()]);
        assert_eq!(list.first, 1);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let wrong = |text: &str| read(text, "/a").unwrap_err().to_string();
        assert_eq!(wrong("<html>"), "playlist, line 1: it does not begin with #EXTM3U");
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x\na.m3u8\n";
        assert_eq!(wrong(text), "playlist, line 2: no BANDWIDTH, or it is no number");
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://other/a.m3u8\n";
        assert!(wrong(text).contains("another host"), "{}", wrong(text));
        assert_eq!(
            wrong("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n"),
            "playlist: it names no variant"
        );
    }
}
