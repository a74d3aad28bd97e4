//! What a line of a playlist is: a tag of the draft, a URI, or nothing that counts.
//!
//! **Invariants**: unknown tags and comments are told apart from known ones but never refused
//! (section 4.1: clients ignore what they do not know).

/// A line of a playlist, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag<'a> {
    /// An empty line, a comment or a tag that is not in the draft.
    Other,
    /// A line that is no tag.
    Uri(&'a [u8]),
    /// A tag with what stands behind its colon.
    Known(Name, &'a [u8]),
}

/// Where a tag belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To the playlist, media or multivariant.
    Playlist,
    /// To the next segment, or to all segments from there on (section 4.4.4).
    Segment,
    /// To no segment, though it may stand between them (section 4.4.5).
    Metadata,
    /// To a multivariant playlist only (section 4.4.6).
    Multivariant,
}

macro_rules! tags {
    ($($variant:ident $text:literal $scope:ident $doc:literal;)*) => {
        /// The tags that are known.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Name {
            $(#[doc = $doc] $variant,)*
        }

        const TABLE: &[(Name, &[u8], Scope)] = &[
            $((Name::$variant, $text, Scope::$scope),)*
        ];
    };
}

tags! {
    Version b"EXT-X-VERSION" Playlist "Compatibility version.";
    IndependentSegments b"EXT-X-INDEPENDENT-SEGMENTS" Playlist "Every segment starts decodable.";
    Start b"EXT-X-START" Playlist "Preferred start.";
    Define b"EXT-X-DEFINE" Playlist "A variable.";
    TargetDuration b"EXT-X-TARGETDURATION" Playlist "Target duration in whole seconds.";
    MediaSequence b"EXT-X-MEDIA-SEQUENCE" Playlist "Number of the first segment.";
    DiscontinuitySequence b"EXT-X-DISCONTINUITY-SEQUENCE" Playlist "Discontinuities that left.";
    EndList b"EXT-X-ENDLIST" Playlist "Nothing will be added.";
    PlaylistType b"EXT-X-PLAYLIST-TYPE" Playlist "EVENT or VOD.";
    IFramesOnly b"EXT-X-I-FRAMES-ONLY" Playlist "Segments are single frames.";
    PartInf b"EXT-X-PART-INF" Playlist "Part target duration.";
    ServerControl b"EXT-X-SERVER-CONTROL" Playlist "What the server offers.";
    Inf b"EXTINF" Segment "Duration and title of the next segment.";
    ByteRange b"EXT-X-BYTERANGE" Segment "The next segment is a range of its resource.";
    Discontinuity b"EXT-X-DISCONTINUITY" Segment "The next segment does not continue the last.";
    Key b"EXT-X-KEY" Segment "Encryption from here on.";
    Map b"EXT-X-MAP" Segment "Initialization section from here on.";
    ProgramDateTime b"EXT-X-PROGRAM-DATE-TIME" Segment "Wall clock of the next segment.";
    Gap b"EXT-X-GAP" Segment "The next segment is missing.";
    BitRate b"EXT-X-BITRATE" Segment "Approximate bit rate from here on.";
    Part b"EXT-X-PART" Segment "A part of the next segment.";
    DateRange b"EXT-X-DATERANGE" Metadata "A range of time with attributes.";
    Skip b"EXT-X-SKIP" Metadata "Segments that a delta update leaves out.";
    PreloadHint b"EXT-X-PRELOAD-HINT" Metadata "A resource that will come.";
    RenditionReport b"EXT-X-RENDITION-REPORT" Metadata "How far another rendition is.";
    Media b"EXT-X-MEDIA" Multivariant "A rendition.";
    StreamInf b"EXT-X-STREAM-INF" Multivariant "A variant stream.";
    IFrameStreamInf b"EXT-X-I-FRAME-STREAM-INF" Multivariant "A variant of single frames.";
    SessionData b"EXT-X-SESSION-DATA" Multivariant "Data of the session.";
    SessionKey b"EXT-X-SESSION-KEY" Multivariant "A key of the media playlists.";
    ContentSteering b"EXT-X-CONTENT-STEERING" Multivariant "Where to ask for pathways.";
}

impl Name {
    /// Where the tag belongs.
    pub fn scope(self) -> Scope {
        // The table has the order of the variants, which `tests` hold.
        TABLE[self as usize].2
    }
}

/// The meaning of a line's text.
pub fn of(text: &[u8]) -> Tag<'_> {
    let Some(behind) = text.strip_prefix(b"#") else {
        return if text.is_empty() { Tag::Other } else { Tag::Uri(text) };
    };
    if !behind.starts_with(b"EXT") {
        return Tag::Other;
    }
    // A name ends at the colon; the longest name bounds the search.
    let window = &behind[..behind.len().min(NAME_BYTES_MAX + 1)];
    let end = window.iter().position(|&byte| byte == b':');
    let (name, value) = match end {
        Some(end) => (&behind[..end], &behind[end + 1..]),
        None => (behind, &b""[..]),
    };
    let known = TABLE.iter().find(|(_, text, _)| *text == name);
    known.map_or(Tag::Other, |(name, ..)| Tag::Known(*name, value))
}

const NAME_BYTES_MAX: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_is_found_by_its_name() {
        for (at, (name, text, scope)) in TABLE.iter().enumerate() {
            assert_eq!(*name as usize, at);
            assert_eq!(name.scope(), *scope);
            assert!(text.len() <= NAME_BYTES_MAX);
            let line = [b"#", *text, b":x:y"].concat();
            assert_eq!(of(&line), Tag::Known(*name, b"x:y"));
            assert_eq!(of(&[b"#", *text].concat()), Tag::Known(*name, b""));
        }
    }

    #[test]
    fn other_lines_are_told_apart() {
        assert_eq!(of(b""), Tag::Other);
        assert_eq!(of(b"# comment"), Tag::Other);
        assert_eq!(of(b"#EXTM3U"), Tag::Other);
        assert_eq!(of(b"#EXT-X-PARTY:1"), Tag::Other);
        assert_eq!(of(b"#ext-x-part:1"), Tag::Other);
        assert_eq!(of(b"seg.ts"), Tag::Uri(b"seg.ts"));
        assert_eq!(of(b" #EXTINF:1"), Tag::Uri(b" #EXTINF:1"));
    }
}
