//! What the origin says of an object to players and caches (CTA-5006, Common Media Server Data).
//!
//! The line is made once, when an object is stored, and lies among its header lines from then on:
//! `CMSD-Static: ot=m,sf=h,st=l,n="headwater"`. Only what is known is said.
//!
//! Where the rules ask for it, an answer says besides what is true of it alone: how long it was
//! held (`CMSD-Static: ht=812`), and what the connection allows
//! (`CMSD-Dynamic: "headwater";etp=9600;rtt=12`).
//!
//! **Invariants**: a read costs nothing for the stored line; keys stand in one order; a value is a
//! token or a number, so nothing of an upload's head gets into a line.

use crate::config::PathRules;
use crate::http::response::Writer;
use crate::media::mpd;
use crate::media::playlist::{self, Playlist};
use crate::media::types::{Class, essence};

/// The line for an object of this class, with its CRLF, where the rules ask for one; else nothing.
/// `body` is looked at for manifests only.
pub fn line(
    paths: &PathRules,
    key: &[u8],
    class: Class,
    content_type: &[u8],
    body: Option<&[u8]>,
) -> Vec<u8> {
    if !paths.is_cmsd(key) {
        return Vec::new();
    }
    let mut line = b"CMSD-Static: ".to_vec();
    let mut say = |key: &str, value: &str| {
        line.extend_from_slice(format!("{key}={value},").as_bytes());
    };
    if let Some(segment_ms) = paths.segment_ms(key).filter(|_| class == Class::Segment) {
        say("d", &segment_ms.to_string());
    }
    if let Some(kind) = object_type(class, content_type) {
        say("ot", kind);
    }
    if let Some((format, stream)) = body.filter(|_| class == Class::Manifest).and_then(stream) {
        say("sf", format);
        stream.into_iter().for_each(|stream| say("st", stream));
    }
    line.extend_from_slice(b"n=\"headwater\"\r\n");
    line
}

/// What is true of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// For how long the request waited for what it asked for, in milliseconds.
    pub held_ms: u32,
    /// The round trip to the peer, in microseconds, where it is known.
    pub round_trip_us: u32,
    /// Bytes that the congestion control lets be under way.
    pub window_bytes: u64,
}

impl Told {
    /// Writes the lines, each with its CRLF; none where nothing is known.
    pub fn write(&self, writer: &mut Writer<'_>) {
        if self.held_ms > 0 {
            writer.raw(b"CMSD-Static: ht=");
            writer.number(self.held_ms.into());
            writer.raw(b"\r\n");
        }
        let round_trip_us = u64::from(self.round_trip_us);
        if round_trip_us == 0 || self.window_bytes == 0 {
            return;
        }
        // Bits a millisecond are kilobits a second.
        let kbits = (self.window_bytes * 8 * 1000).div_ceil(round_trip_us);
        writer.raw(b"CMSD-Dynamic: \"headwater\";etp=");
        writer.number(kbits);
        writer.raw(b";rtt=");
        writer.number(round_trip_us.div_ceil(1000));
        writer.raw(b"\r\n");
    }
}

/// `ot`. Of a segment that is named video the tracks are not known.
fn object_type(class: Class, content_type: &[u8]) -> Option<&'static str> {
    let essence = essence(content_type).to_ascii_lowercase();
    match class {
        Class::Manifest => Some("m"),
        Class::Init => Some("i"),
        Class::Segment if essence.starts_with(b"audio/") => Some("a"),
        Class::Segment if essence == b"text/vtt" => Some("c"),
        Class::Segment | Class::Other => None,
    }
}

/// `sf` and, where a manifest says it, `st`: live or on demand.
fn stream(body: &[u8]) -> Option<(&'static str, Option<&'static str>)> {
    match playlist::read(body) {
        Some(Playlist::Live { .. }) => Some(("h", Some("l"))),
        Some(Playlist::Ended | Playlist::Vod) => Some(("h", Some("v"))),
        Some(Playlist::Multivariant) => Some(("h", None)),
        None if mpd::is_dynamic(body) => Some(("d", Some("l"))),
        None if mpd::is_static(body) => Some(("d", Some("v"))),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Host};

    #[test]
    fn what_is_known_is_said() {
        let rules = "[[path]]\npattern = 'a/**'\ncmsd = true\nsegment_ms = 4000\n\
                     [[path]]\npattern = 'b/**'\ncmsd = false\n";
        let config = Config::from_text(rules, &Host::SMALL).unwrap_or_else(|why| panic!("{why}"));
        let of = |key: &str, class, content_type: &str, body: Option<&str>| {
            let (key, content_type) = (key.as_bytes(), content_type.as_bytes());
            let line = line(&config.paths, key, class, content_type, body.map(str::as_bytes));
            String::from_utf8(line).unwrap()
        };
        let manifest = |body| of("a/v", Class::Manifest, "", Some(body));
        for (body, said) in [
            ("#EXTM3U\n#EXT-X-TARGETDURATION:4\n", "ot=m,sf=h,st=l"),
            ("#EXTM3U\n#EXT-X-ENDLIST\n", "ot=m,sf=h,st=v"),
            ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n", "ot=m,sf=h"),
            ("<MPD type=\"dynamic\"></MPD>", "ot=m,sf=d,st=l"),
            ("<MPD type=\"static\"></MPD>", "ot=m,sf=d,st=v"),
            ("no manifest", "ot=m"),
        ] {
            assert_eq!(manifest(body), format!("CMSD-Static: {said},n=\"headwater\"\r\n"));
        }
        let segment = |content_type| of("a/1", Class::Segment, content_type, None);
        assert_eq!(segment("video/mp4"), "CMSD-Static: d=4000,n=\"headwater\"\r\n");
        assert_eq!(segment("Audio/mp4; x=y"), "CMSD-Static: d=4000,ot=a,n=\"headwater\"\r\n");
        assert_eq!(segment("text/vtt"), "CMSD-Static: d=4000,ot=c,n=\"headwater\"\r\n");
        let init = of("a/i", Class::Init, "video/mp4", None);
        assert_eq!(init, "CMSD-Static: ot=i,n=\"headwater\"\r\n");
        for key in ["b/1", "c/1"] {
            assert_eq!(of(key, Class::Init, "video/mp4", None), "");
        }
    }

    #[test]
    fn an_answer_says_what_is_true_of_it_alone() {
        let lines = |held_ms, round_trip_us, window_bytes| {
            let mut out = [0; 200];
            let mut writer = Writer::new(&mut out);
            Told { held_ms, round_trip_us, window_bytes }.write(&mut writer);
            let len = writer.finish().unwrap();
            String::from_utf8(out[..len].to_vec()).unwrap()
        };
        assert_eq!(lines(0, 0, 0), "");
        assert_eq!(lines(0, 12_000, 0), "");
        assert_eq!(lines(812, 0, 14_480), "CMSD-Static: ht=812\r\n");
        let dynamic = "CMSD-Dynamic: \"headwater\";etp=9654;rtt=12\r\n";
        assert_eq!(lines(0, 12_000, 14_480), dynamic);
        assert_eq!(lines(1, 12_000, 14_480), format!("CMSD-Static: ht=1\r\n{dynamic}"));
        // The longest lines there can be.
        assert!(lines(u32::MAX, 1, u64::from(u32::MAX) * 9000).len() < 120);
    }
}
