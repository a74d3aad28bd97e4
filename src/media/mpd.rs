//! DASH MPDs (ISO/IEC 23009-1): the update interval and whether the presentation is static.
//!
//! Only the attributes of the root element are looked at; a tolerant scan finds its start tag and
//! reads them, whatever the quotes, the white space or a namespace prefix.
//!
//! **Invariants**: nothing behind the root's start tag is read; a scan is linear in the bytes
//! before it and allocates nothing.

use super::playlist;

/// After how many milliseconds the MPD must be expected to have changed.
///
/// `minimumUpdatePeriod` where there is one, but no longer than `maxSegmentDuration`: packagers
/// announce long periods and still replace the MPD with every segment. `None` when neither is
/// there or the bytes are no MPD.
pub fn update_interval_ms(bytes: &[u8]) -> Option<u64> {
    let root = root_attributes(bytes)?;
    let period_ms = attribute(root, b"minimumUpdatePeriod").and_then(duration_ms);
    let segment_ms = attribute(root, b"maxSegmentDuration").and_then(duration_ms);
    match (period_ms, segment_ms) {
        (Some(period_ms), Some(segment_ms)) => Some(period_ms.min(segment_ms)),
        (period_ms, segment_ms) => period_ms.or(segment_ms),
    }
}

/// Whether the bytes are an MPD that does not change (`type` is `static`, also when left out).
pub fn is_static(bytes: &[u8]) -> bool {
    root_attributes(bytes).is_some_and(|root| {
        let dynamic = attribute(root, b"type").is_some_and(|value| value == b"dynamic");
        !dynamic && attribute(root, b"minimumUpdatePeriod").is_none()
    })
}

/// Whether the bytes are an MPD that changes.
pub fn is_dynamic(bytes: &[u8]) -> bool {
    root_attributes(bytes).is_some() && !is_static(bytes)
}

/// An ISO 8601 duration (`P1DT2H3M4.5S`) in milliseconds; a year counts 365 days, a month 30.
pub fn duration_ms(text: &[u8]) -> Option<u64> {
    let mut rest = text.trim_ascii().strip_prefix(b"P")?;
    let mut in_time = false;
    let mut total_ms = 0_u64;
    let mut parts = 0;
    while let Some(&first) = rest.first() {
        if first == b'T' && !in_time {
            in_time = true;
            rest = &rest[1..];
            continue;
        }
        let end = rest.iter().position(u8::is_ascii_alphabetic)?;
        let unit_s = match (in_time, rest[end]) {
            (false, b'Y') => 365 * DAY_S,
            (false, b'M') => 30 * DAY_S,
            (false, b'W') => 7 * DAY_S,
            (false, b'D') => DAY_S,
            (true, b'H') => 3600,
            (true, b'M') => 60,
            (true, b'S') => 1,
            _ => return None,
        };
        let count_ms = playlist::decimal_ms(&rest[..end])?;
        total_ms = total_ms.saturating_add(count_ms.saturating_mul(unit_s));
        rest = &rest[end + 1..];
        parts += 1;
    }
    (parts > 0).then_some(total_ms)
}

/// What stands between `<MPD` and the `>` of the root element's start tag.
fn root_attributes(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        let open = rest.iter().position(|&byte| byte == b'<')?;
        rest = &rest[open + 1..];
        if let Some(comment) = rest.strip_prefix(b"!--") {
            let end = comment.windows(3).position(|three| three == b"-->")?;
            rest = &comment[end + 3..];
        } else if !rest.starts_with(b"?") && !rest.starts_with(b"!") {
            break;
        }
    }
    let name_end = rest.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'>')?;
    let (name, attributes) = rest.split_at(name_end);
    if name != b"MPD" && !name.ends_with(b":MPD") {
        return None;
    }
    let mut quote = None;
    for (place, &byte) in attributes.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(&attributes[..place]),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// The value of one attribute.
fn attribute<'a>(mut rest: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    loop {
        let equals = rest.iter().position(|&byte| byte == b'=')?;
        let name = rest[..equals].trim_ascii();
        let behind = rest[equals + 1..].trim_ascii_start();
        let &quote = behind.first().filter(|&&byte| byte == b'"' || byte == b'\'')?;
        let value = &behind[1..];
        let end = value.iter().position(|&byte| byte == quote)?;
        if name == wanted {
            return Some(&value[..end]);
        }
        rest = &value[end + 1..];
    }
}

const DAY_S: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    /// As ffmpeg's DASH muxer pushes it with `-streaming 1 -ldash 1 -use_template 1`.
    const LIVE: &[u8] = b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
        <MPD xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"\n\
        \txmlns=\"urn:mpeg:dash:schema:mpd:2011\"\n\
        \txsi:schemaLocation=\"urn:mpeg:DASH:schema:MPD:2011 DASH-MPD.xsd\"\n\
        \tprofiles=\"urn:mpeg:dash:profile:isoff-live:2011\"\n\
        \ttype=\"dynamic\"\n\
        \tminimumUpdatePeriod=\"PT500S\"\n\
        \tavailabilityStartTime=\"2026-11-22T10:00:00.000Z\"\n\
        \tpublishTime=\"2026-11-22T10:00:02.000Z\"\n\
        \ttimeShiftBufferDepth=\"PT6.0S\"\n\
        \tmaxSegmentDuration=\"PT2.0S\"\n\
        \tminBufferTime=\"PT2.0S\">\n\
        \t<Period id=\"0\" start=\"PT0.0S\"/></MPD>";

    #[test]
    fn the_interval_is_the_shorter_of_update_period_and_segment() {
        assert_eq!(update_interval_ms(LIVE), Some(2000));
        assert!(!is_static(LIVE) && is_dynamic(LIVE));
        assert!(!is_dynamic(b"#EXTM3U"));
        assert_eq!(update_interval_ms(b"<MPD minimumUpdatePeriod='PT1.5S'>"), Some(1500));
        assert_eq!(update_interval_ms(b"<MPD maxSegmentDuration='PT4S' >"), Some(4000));
        assert_eq!(update_interval_ms(b"<MPD>"), None);
    }

    #[test]
    fn the_root_is_found_behind_prolog_and_comments() {
        let mpd = b"<?xml version='1.0'?><!DOCTYPE x><!-- <MPD minimumUpdatePeriod='PT9S'> -->\
            <d:MPD a='1>2' minimumUpdatePeriod = \"PT3S\"><x minimumUpdatePeriod='PT1S'/></d:MPD>";
        assert_eq!(update_interval_ms(mpd), Some(3000));
        assert!(!is_static(mpd));
    }

    #[test]
    fn static_is_the_default_type() {
        assert!(is_static(b"<MPD type=\"static\" mediaPresentationDuration=\"PT1M\">"));
        assert!(is_static(b"<MPD mediaPresentationDuration=\"PT1M\">"));
        assert!(!is_static(b"<SmoothStreamingMedia>"));
        assert!(!is_static(b"#EXTM3U"));
    }

    #[test]
    fn broken_documents_say_nothing() {
        for end in 0..LIVE.len() {
            let _ = update_interval_ms(&LIVE[..end]);
        }
        for bytes in [&b""[..], b"<", b"<!--", b"<MPD", b"<MPD a='", b"<MPD a=b>", b"<MPD =>"] {
            assert_eq!(update_interval_ms(bytes), None);
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("PT2S", Some(2000)),
            ("PT0.040S", Some(40)),
            ("PT1M30.5S", Some(90_500)),
            ("P1DT1H", Some(90_000_000)),
            ("P0Y0M0DT0H0M2.000S", Some(2000)),
            ("P1W", Some(604_800_000)),
            ("PT", None),
            ("P", None),
            ("2S", None),
            ("PT2", None),
            ("PT2X", None),
            ("PTTS", None),
            ("-PT2S", None),
        ] {
            assert_eq!(duration_ms(text.as_bytes()), ms, "{text}");
        }
        assert_eq!(duration_ms(b"P99999999999999999999Y"), Some(u64::MAX));
    }
}
