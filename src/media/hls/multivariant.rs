//! A multivariant playlist: the media playlists that it names.
//!
//! **Invariants**: a URI is handed out as written; work is linear in the bytes.

use super::Fault;
use super::attribute::Attributes;
use super::line::Lines;
use super::tag::{self, Name, Scope, Tag};
use crate::limits;

/// What kind of media playlist a multivariant playlist names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// EXT-X-STREAM-INF.
    Variant,
    /// EXT-X-MEDIA of type AUDIO or VIDEO.
    Rendition,
    /// EXT-X-MEDIA of type SUBTITLES.
    Subtitles,
    /// EXT-X-I-FRAME-STREAM-INF.
    IFrames,
}

/// One media playlist of a presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its URI as written.
    pub uri: &'a [u8],
}

/// Whether the bytes name media playlists rather than segments.
pub fn is_multivariant(bytes: &[u8]) -> bool {
    let mut named = renditions(bytes);
    matches!(named.next(), Some(Ok(_)))
}

/// The media playlists that `bytes` name, in order; a name may come more than once.
pub fn renditions(bytes: &[u8]) -> Renditions<'_> {
    let bounded = bytes.get(..limits::PLAYLIST_BYTES_MAX).unwrap_or(bytes);
    Renditions { lines: Lines::new(bounded), wants_uri: false, is_over: false, is_first: true }
}

/// The walk over a multivariant playlist; ends behind the first fault.
#[derive(Clone, Debug)]
pub struct Renditions<'a> {
    lines: Lines<'a>,
    wants_uri: bool,
    is_first: bool,
    is_over: bool,
}

impl<'a> Renditions<'a> {
    fn step(&mut self, text: &'a [u8]) -> Result<Option<Named<'a>>, &'static str> {
        if std::mem::take(&mut self.is_first) {
            let is_playlist = text == b"#EXTM3U";
            return is_playlist.then_some(None).ok_or("it does not begin with #EXTM3U");
        }
        let wanted = match tag::of(text) {
            Tag::Uri(uri) if std::mem::take(&mut self.wants_uri) => {
                return Ok(Some(Named { kind: Kind::Variant, uri }));
            }
            Tag::Uri(_) => return Err("a URI without EXT-X-STREAM-INF"),
            Tag::Known(Name::StreamInf, _) => {
                self.wants_uri = true;
                return Ok(None);
            }
            Tag::Known(Name::Media, list) => list,
            Tag::Known(Name::IFrameStreamInf, list) => {
                return Ok(uri(list)?.map(|uri| Named { kind: Kind::IFrames, uri }));
            }
            Tag::Known(name, _) if name.scope() == Scope::Segment => {
                return Err("a tag of segments in a multivariant playlist");
            }
            Tag::Known(..) | Tag::Other => return Ok(None),
        };
        let is_subtitles = attribute(wanted, b"TYPE")? == Some(b"SUBTITLES");
        let kind = if is_subtitles { Kind::Subtitles } else { Kind::Rendition };
        Ok(uri(wanted)?.map(|uri| Named { kind, uri }))
    }
}

impl<'a> Iterator for Renditions<'a> {
    type Item = Result<Named<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let Some(line) = self.lines.next() else { break };
            match self.step(line.text) {
                Ok(None) => {}
                Ok(Some(named)) => return Some(Ok(named)),
                Err(reason) => {
                    self.is_over = true;
                    return Some(Err(Fault { line: line.number, reason }));
                }
            }
        }
        self.is_over = true;
        None
    }
}

fn uri(list: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    attribute(list, b"URI")
}

fn attribute<'a>(list: &'a [u8], name: &[u8]) -> Result<Option<&'a [u8]>, &'static str> {
    for attribute in Attributes::new(list) {
        let attribute = attribute?;
        if attribute.name == name {
            return Ok(Some(attribute.value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_playlist_is_found() {
        let text = b"#EXTM3U\n#EXT-X-VERSION:7\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",URI=\"audio.m3u8\"\n\
            #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"x\",URI=\"subs.m3u8\"\n\
            #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"c\",NAME=\"x\",INSTREAM-ID=\"CC1\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=1\nv0.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nv/1.m3u8\n\
            #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\n";
        let all: Vec<(Kind, &[u8])> = renditions(text)
            .map(|named| named.map(|named| (named.kind, named.uri)))
            .collect::<Result<_, _>>()
            .unwrap();
        let expected: [(Kind, &[u8]); 5] = [
            (Kind::Rendition, b"audio.m3u8"),
            (Kind::Subtitles, b"subs.m3u8"),
            (Kind::Variant, b"v0.m3u8"),
            (Kind::Variant, b"v/1.m3u8"),
            (Kind::IFrames, b"i.m3u8"),
        ];
        assert_eq!(all, expected);
        assert!(is_multivariant(text));
    }

    #[test]
    fn media_playlists_are_none() {
        for text in [
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n",
            "#EXTM3U\n",
            "",
            "#EXTM3U\na.m3u8\n",
            "#EXTM3U\n#EXT-X-MEDIA:TYPE=\n",
        ] {
            assert!(!is_multivariant(text.as_bytes()), "{text}");
        }
    }
}
