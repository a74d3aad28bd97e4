//! What a key's name says about its content: media type and class.
//!
//! The table follows the DASH-IF live media ingest protocol (section on MIME types), with what
//! packagers write beside it. Extensions are compared without regard to case.
//!
//! **Invariants**: only the last part of the key counts, and of it only what follows the last dot.

/// What an object is to a player, as far as caching is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A playlist or an MPD: replaced in place while a stream is live.
    Manifest,
    /// Media bytes: never change under their name.
    Segment,
    /// A CMAF header, needed before the first segment.
    Init,
    /// Anything else.
    Other,
}

/// The media type of a key by its extension, or `None` when the extension says nothing.
pub fn of_extension(key: &[u8]) -> Option<&'static str> {
    row(key).map(|row| row.1)
}

/// The class of an object by its key, or where the key says nothing by its Content-Type.
pub fn class(key: &[u8], content_type: &[u8]) -> Class {
    let by_name = row(key).map(|row| row.2);
    match by_name.unwrap_or_else(|| class_of_type(content_type)) {
        Class::Segment if is_init_name(key) => Class::Init,
        class => class,
    }
}

/// Whether a Content-Type says nothing, so that the extension's type is better.
pub fn is_vague(content_type: &[u8]) -> bool {
    let essence = essence(content_type);
    essence.is_empty()
        || essence.eq_ignore_ascii_case(b"application/octet-stream")
        || essence.eq_ignore_ascii_case(b"binary/octet-stream")
}

/// Whether a media type is one of ISO base media files (RFC 6381, ISO/IEC 14496-12).
pub fn has_boxes(content_type: &[u8]) -> bool {
    let essence = essence(content_type);
    let names: [&[u8]; 4] = [b"video/mp4", b"audio/mp4", b"application/mp4", b"video/iso.segment"];
    names.iter().any(|name| essence.eq_ignore_ascii_case(name))
}

/// Whether a Content-Type is one of media, and no manifest's where the extension is a segment's or
/// the other way round. What says nothing agrees.
pub fn agrees(key: &[u8], content_type: &[u8]) -> bool {
    if is_vague(content_type) {
        return true;
    }
    let by_type = class_of_type(content_type);
    match row(key) {
        // Pictures, keys and captions in XML are of their own type only.
        Some(row) if row.2 == Class::Other => {
            essence(row.1.as_bytes()).eq_ignore_ascii_case(essence(content_type))
        }
        Some(row) => {
            by_type != Class::Other && (by_type == Class::Manifest) == (row.2 == Class::Manifest)
        }
        None => by_type != Class::Other,
    }
}

/// Whether the name is that of a CMAF segment, which nobody can decode without its header.
pub fn needs_header(key: &[u8]) -> bool {
    let extensions = ["m4s", "cmfv", "cmfa", "cmft", "cmfm"];
    class(key, b"") == Class::Segment && row(key).is_some_and(|row| extensions.contains(&row.0))
}

fn class_of_type(content_type: &[u8]) -> Class {
    let essence = essence(content_type);
    let is = |name: &[u8]| essence.eq_ignore_ascii_case(name);
    if is(b"application/vnd.apple.mpegurl")
        || is(b"application/x-mpegurl")
        || is(b"audio/mpegurl")
        || is(b"audio/x-mpegurl")
        || is(b"application/dash+xml")
    {
        return Class::Manifest;
    }
    let starts = |prefix: &[u8]| {
        essence.len() >= prefix.len() && essence[..prefix.len()].eq_ignore_ascii_case(prefix)
    };
    let is_media = starts(b"video/") || starts(b"audio/");
    if is_media || is(b"application/mp4") || is(b"text/vtt") {
        Class::Segment
    } else {
        Class::Other
    }
}

/// The media type without its parameters.
pub fn essence(content_type: &[u8]) -> &[u8] {
    content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}

/// Packagers name headers `init.mp4`, `init-stream0.m4s`, `v_init.mp4`, `video.header`.
fn is_init_name(key: &[u8]) -> bool {
    let name = last_part(key);
    name.split(|byte| !byte.is_ascii_alphabetic())
        .any(|word| word.eq_ignore_ascii_case(b"init") || word.eq_ignore_ascii_case(b"header"))
}

fn last_part(key: &[u8]) -> &[u8] {
    key.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

fn row(key: &[u8]) -> Option<&'static Row> {
    let name = last_part(key);
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    let extension = &name[dot + 1..];
    TABLE.iter().find(|row| row.0.as_bytes().eq_ignore_ascii_case(extension))
}

type Row = (&'static str, &'static str, Class);

/// Extension, media type, class; the most frequent first.
const TABLE: &[Row] = &[
    ("ts", "video/mp2t", Class::Segment),
    ("m4s", "video/iso.segment", Class::Segment),
    ("m3u8", "application/vnd.apple.mpegurl", Class::Manifest),
    ("mpd", "application/dash+xml", Class::Manifest),
    ("mp4", "video/mp4", Class::Segment),
    ("cmfv", "video/mp4", Class::Segment),
    ("cmfa", "audio/mp4", Class::Segment),
    ("cmft", "application/mp4", Class::Segment),
    ("cmfm", "application/mp4", Class::Segment),
    ("m4v", "video/mp4", Class::Segment),
    ("m4a", "audio/mp4", Class::Segment),
    ("init", "video/mp4", Class::Init),
    ("header", "video/mp4", Class::Init),
    ("aac", "audio/aac", Class::Segment),
    ("mp3", "audio/mpeg", Class::Segment),
    ("ac3", "audio/ac3", Class::Segment),
    ("ec3", "audio/eac3", Class::Segment),
    ("eac3", "audio/eac3", Class::Segment),
    ("vtt", "text/vtt", Class::Segment),
    ("webvtt", "text/vtt", Class::Segment),
    ("webm", "video/webm", Class::Segment),
    ("mkv", "video/x-matroska", Class::Segment),
    ("mov", "video/quicktime", Class::Segment),
    ("ogg", "audio/ogg", Class::Segment),
    ("opus", "audio/ogg", Class::Segment),
    ("ttml", "application/ttml+xml", Class::Other),
    ("key", "application/octet-stream", Class::Other),
    ("json", "application/json", Class::Other),
    ("xml", "application/xml", Class::Other),
    ("txt", "text/plain; charset=utf-8", Class::Other),
    ("jpg", "image/jpeg", Class::Other),
    ("jpeg", "image/jpeg", Class::Other),
    ("png", "image/png", Class::Other),
    ("webp", "image/webp", Class::Other),
    ("avif", "image/avif", Class::Other),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_tells_the_type() {
        for (key, content_type) in [
            ("live/seg00001.ts", Some("video/mp2t")),
            ("live/index.m3u8", Some("application/vnd.apple.mpegurl")),
            ("d/live.mpd", Some("application/dash+xml")),
            ("d/chunk-stream0-00001.m4s", Some("video/iso.segment")),
            ("ch1/Streams(video-700k.cmfv)/1.CMFV", Some("video/mp4")),
            ("audio.cmfa", Some("audio/mp4")),
            ("subs.cmft", Some("application/mp4")),
            ("subs.webvtt", Some("text/vtt")),
            ("poster.JPG", Some("image/jpeg")),
            ("a.ts/no", None),
            ("a.b/", None),
            ("noext", None),
            ("dot.", None),
            ("", None),
        ] {
            assert_eq!(of_extension(key.as_bytes()), content_type, "{key}");
        }
    }

    #[test]
    fn the_name_tells_the_class_before_the_type_does() {
        let octets = b"application/octet-stream";
        for (key, class_expected) in [
            ("live/index.m3u8", Class::Manifest),
            ("live/seg1.ts", Class::Segment),
            ("l2/init.mp4", Class::Init),
            ("l2/init_0.mp4", Class::Init),
            ("d/init-stream0.m4s", Class::Init),
            ("s/v_init.mp4", Class::Init),
            ("ch/video.header", Class::Init),
            ("ch/video.init", Class::Init),
            ("init/seg1.m4s", Class::Segment),
            ("initial.mp4", Class::Segment),
            ("k.key", Class::Other),
            ("noext", Class::Other),
        ] {
            assert_eq!(class(key.as_bytes(), octets), class_expected, "{key}");
        }
    }

    #[test]
    fn without_an_extension_the_type_tells_the_class() {
        for (content_type, class_expected) in [
            ("application/x-mpegURL", Class::Manifest),
            ("application/dash+xml; charset=utf-8", Class::Manifest),
            ("video/mp4", Class::Segment),
            ("Audio/MP4;codecs=\"mp4a.40.2\"", Class::Segment),
            ("text/html", Class::Other),
            ("", Class::Other),
        ] {
            assert_eq!(class(b"x/y", content_type.as_bytes()), class_expected, "{content_type}");
        }
    }

    #[test]
    fn vague_types_are_recognised() {
        assert!(is_vague(b""));
        assert!(is_vague(b"application/octet-stream"));
        assert!(is_vague(b"Application/Octet-Stream; x=y"));
        assert!(!is_vague(b"video/mp2t"));
    }

    #[test]
    fn types_agree_with_names() {
        for (key, content_type, expected) in [
            ("a/1.m4s", "", true),
            ("a/1.m4s", "application/octet-stream", true),
            ("a/1.m4s", "video/mp4", true),
            ("a/1.CMFA", "Audio/mp4; codecs=x", true),
            ("a/1.m4s", "text/html", false),
            ("a/1.m4s", "application/dash+xml", false),
            ("a/v.m3u8", "application/x-mpegURL", true),
            ("a/v.m3u8", "video/mp4", false),
            ("a/v.mpd", "text/plain", false),
            ("a/Segments(1)", "video/mp4", true),
            ("a/Segments(1)", "image/png", false),
            ("a/thumbnail.jpg", "image/jpeg", true),
            ("a/thumbnail.jpg", "video/mp4", false),
        ] {
            let agreed = agrees(key.as_bytes(), content_type.as_bytes());
            assert_eq!(agreed, expected, "{key} {content_type}");
        }
        assert!(needs_header(b"a/1.m4s") && needs_header(b"a/1.cmfv"));
        for key in ["a/init.m4s", "a/1.ts", "a/1.mp4", "a/v.mpd", "a/Segments(1)"] {
            assert!(!needs_header(key.as_bytes()), "{key}");
        }
    }
}
