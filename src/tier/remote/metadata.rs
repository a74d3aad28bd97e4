//! An object's metadata beside its body in a store: one value of visible ASCII.
//!
//! `1 LENGTH MODIFIED EXPIRES SUM ETAG` (`2 ... ETAG LINES` with further lines in base64), as in
//! the disk tier's attribute, and `3 ... SUM BYTES SUMS ETAG LINES` with sums of chunks, where
//! LINES may be `-` for none; type and Cache-Control have places of their own in a store. Where a
//! store keeps no metadata (a plain folder), all of it is a file of its own that names the body's
//! tag, so that it is never taken for another body's. A store's room for metadata is small: sums of
//! chunks that would make it too long are left out.
//!
//! Invariants: what was encoded decodes to the same; anything else is refused, never guessed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::limits;
use crate::tier::disk::attributes::Attributes;

/// Name of the metadata in a store.
pub const NAME: &str = "headwater";
/// Stands for no further lines.
const NO_LINES: &str = "-";

/// The value for a store that keeps type and Cache-Control itself.
pub fn value(attributes: &Attributes) -> Option<String> {
    let with_chunks = attributes.chunks.is_some().then(|| line(attributes, attributes.encode()?));
    with_chunks
        .flatten()
        .filter(|line| line.len() <= limits::REMOTE_METADATA_BYTES_MAX)
        .or_else(|| line(attributes, attributes.encode_without_chunks()?))
}

fn line(attributes: &Attributes, encoded: Vec<u8>) -> Option<String> {
    let mut lines = encoded.split(|&byte| byte == b'\n');
    let mut line = [lines.next()?, lines.next()?].join(&b' ');
    if !line.starts_with(b"1 ") {
        let lines = BASE64_STANDARD.encode(&attributes.lines);
        // Spaces at the end of a header's value do not count.
        let lines = if lines.is_empty() { NO_LINES } else { &lines };
        line.extend_from_slice(format!(" {lines}").as_bytes());
    }
    let is_plain = line.iter().all(|byte| matches!(byte, b' '..=b'~'));
    String::from_utf8(line).ok().filter(|_| is_plain)
}

/// What a value says, with the type and Cache-Control that the store told.
pub fn parse(value: &str, content_type: &str, cache_control: &str) -> Option<Attributes> {
    let before_tag = if value.starts_with("3 ") { 6 } else { 4 };
    let tag = value.match_indices(' ').nth(before_tag)?.0;
    let (numbers, rest) = (&value[..tag], &value[tag + 1..]);
    let (etag, further) = match numbers.starts_with("1 ") {
        true => (rest, None),
        false => {
            let (etag, further) = rest.rsplit_once(' ')?;
            (etag, Some((!further.is_empty()).then_some(further)?))
        }
    };
    let mut text = [numbers, etag, content_type, cache_control].join("\n").into_bytes();
    if let Some(further) = further {
        let further = if further == NO_LINES { "" } else { further };
        text.push(b'\n');
        text.extend_from_slice(&BASE64_STANDARD.decode(further).ok()?);
    }
    Attributes::decode(&text)
}

/// The contents of the file beside a body whose tag is `tag`.
pub fn sidecar(attributes: &Attributes, tag: &str) -> Option<Vec<u8>> {
    Some([tag.as_bytes(), b"\n", &attributes.encode()?].concat())
}

/// What such a file says, if it is about the body with this tag.
pub fn of_sidecar(contents: &[u8], tag: &str) -> Option<Attributes> {
    let rest = contents.strip_prefix(tag.as_bytes())?.strip_prefix(b"\n")?;
    Attributes::decode(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::disk::sums::Chunks;

    fn some() -> Attributes {
        Attributes {
            length: 5,
            modified_s: 1_700_000_000,
            expires_ms: Some(7),
            sum: 0xab,
            chunks: None,
            etag: b"\"x y\"".as_slice().into(),
            content_type: b"video/mp4".as_slice().into(),
            cache_control: b"max-age=60".as_slice().into(),
            lines: b"X-A: b\r\n".as_slice().into(),
        }
    }

    #[test]
    fn what_is_encoded_decodes() {
        let value = value(&some()).unwrap();
        assert_eq!(parse(&value, "video/mp4", "max-age=60"), Some(some()));
        let sidecar = sidecar(&some(), "tag").unwrap();
        assert_eq!(of_sidecar(&sidecar, "tag"), Some(some()));
    }

    #[test]
    fn sums_of_chunks_are_kept_where_there_is_room() {
        let (bytes, count) = (limits::DISK_CHUNK_BYTES_MIN, limits::DISK_CHUNKS_MAX);
        let chunks = Some(Chunks { bytes, sums: (0..count).collect() });
        for lines in [&b""[..], b"X-A: b\r\n"] {
            let summed = Attributes {
                length: bytes * count,
                chunks: chunks.clone(),
                lines: lines.into(),
                ..some()
            };
            let told = value(&summed).unwrap();
            assert!(told.len() <= limits::REMOTE_METADATA_BYTES_MAX);
            assert_eq!(parse(&told, "video/mp4", "max-age=60"), Some(summed.clone()));
            assert_eq!(parse(&told[..told.len() - 1], "video/mp4", ""), None);
            assert_eq!(told.trim(), told);
            let sidecar = sidecar(&summed, "tag").unwrap();
            assert_eq!(of_sidecar(&sidecar, "tag"), Some(summed.clone()));
            // An entity tag that leaves no room for them.
            let etag = vec![b'x'; 1000].into_boxed_slice();
            let long = Attributes { etag, ..summed };
            let kept = Attributes { chunks: None, ..long.clone() };
            let told = value(&long).unwrap();
            assert_eq!(parse(&told, "video/mp4", "max-age=60"), Some(kept));
        }
    }

    #[test]
    fn what_is_cut_short_or_of_another_body_is_refused() {
        let value = value(&some()).unwrap();
        assert_eq!(parse(&value[..20], "a/b", ""), None);
        assert_eq!(parse(&value[..value.len() - 1], "a/b", ""), None);
        assert_eq!(parse(&format!("3{}", &value[1..]), "a/b", ""), None);
        let sidecar = sidecar(&some(), "tag").unwrap();
        assert_eq!(of_sidecar(&sidecar, "ta"), None);
        assert_eq!(of_sidecar(&sidecar[..9], "tag"), None);
    }
}
