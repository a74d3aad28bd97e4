//! Where a request wants to begin, and how long it waits.

use std::borrow::Cow;

use super::log::Start;
use crate::limits::{PROGRAM_DATE_BYTES_MAX, TOPIC_WAIT_MS_MAX};

/// Largest number in a position: what every client's arithmetic holds.
const NUMBER_MAX: u64 = 1 << 53;

/// How long a long-poll waits unless it says so.
const WAIT_MS: u64 = 20_000;

/// A query parameter by its name.
pub type Value<'a> = &'a dyn Fn(&[u8]) -> Option<Cow<'a, [u8]>>;

/// Where a subscription by query begins.
///
/// # Errors
/// A sentence for the client.
pub fn start(value: Value<'_>) -> Result<Start, &'static str> {
    let number = |name: &[u8], fault| match value(name) {
        None => Ok(0),
        Some(text) => number(&text).ok_or(fault),
    };
    let page = number(b"sequence_page", "sequence_page is a whole number up to 2^53")?;
    let next = number(b"sequence_number", "sequence_number is a whole number up to 2^53")?;
    match page {
        0 => from(value(b"from").as_deref()),
        _ => Ok(Start::At { page, next }),
    }
}

/// Whether a socket carries values alone, without JSON around them.
///
/// # Errors
/// A sentence for the client.
pub fn are_values(value: Value<'_>) -> Result<bool, &'static str> {
    match value(b"messages").as_deref() {
        None | Some(b"json") => Ok(false),
        Some(b"values") => Ok(true),
        Some(_) => Err("messages is json or values"),
    }
}

/// Where a new subscriber begins.
///
/// # Errors
/// A sentence for the client.
pub fn from(value: Option<&[u8]>) -> Result<Start, &'static str> {
    match value {
        None | Some(b"latest") => Ok(Start::Latest),
        Some(b"earliest") => Ok(Start::Earliest),
        Some(_) => Err("from is latest or earliest"),
    }
}

/// Where a stream goes on after the event with this id; nonsense is a place that no log knows.
pub fn after(id: &[u8]) -> Start {
    let unknown = Start::At { page: 0, next: 1 };
    let Some(colon) = id.iter().position(|&byte| byte == b':') else { return unknown };
    match (number(&id[..colon]), number(&id[colon + 1..])) {
        (Some(page), Some(seen)) => Start::At { page, next: seen + 1 },
        _ => unknown,
    }
}

/// How long a long-poll waits, in milliseconds.
///
/// # Errors
/// A sentence for the client.
pub fn wait_ms(value: Value<'_>) -> Result<u64, &'static str> {
    match value(b"wait_ms") {
        None => Ok(WAIT_MS),
        Some(text) => number(&text)
            .filter(|&ms| ms <= TOPIC_WAIT_MS_MAX)
            .ok_or("wait_ms is a whole number up to 60000"),
    }
}

/// A whole number without sign, up to 2^53.
pub fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_plain =
        !text.is_empty() && text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| is_plain && number <= NUMBER_MAX)
}

/// What a publication's query says of the programme: its instant and its media sequence number.
///
/// # Errors
/// A sentence for the publisher.
pub fn moment(value: Value<'_>) -> Result<(Option<Box<str>>, Option<u64>), &'static str> {
    let date = value(b"program_date_time")
        .map(|text| std::str::from_utf8(&text).ok().and_then(date).ok_or(DATE_FAULT))
        .transpose()?;
    let sequence = value(b"media_sequence")
        .map(|text| number(&text).ok_or("media_sequence is a whole number up to 2^53"))
        .transpose()?;
    Ok((date, sequence))
}

/// Why a text is no program date time.
pub const DATE_FAULT: &str = "program_date_time is ISO 8601 such as 2026-01-01T00:00:11.500Z";

/// A date and time as EXT-X-PROGRAM-DATE-TIME has it, that browsers can read: a day and a second
/// that exist, a fraction of any length, `Z`, `+hh:mm`, `+hhmm` or no zone.
pub fn date(text: &str) -> Option<Box<str>> {
    const SHAPE: &[u8; 19] = b"dddd-dd-ddTdd:dd:dd";
    let (moment, rest) = text.as_bytes().split_at_checked(SHAPE.len())?;
    if text.len() > PROGRAM_DATE_BYTES_MAX || !has_shape(moment, SHAPE) {
        return None;
    }
    let two = |at: usize| u32::from(moment[at] - b'0') * 10 + u32::from(moment[at + 1] - b'0');
    let (year, month) = (two(0) * 100 + two(2), two(5));
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let is_day = (1..=days).contains(&two(8));
    let is_second = two(11) < 24 && two(14) < 60 && two(17) < 60;
    let zone = past_fraction(rest)?;
    (is_day && is_second && is_zone(zone)).then(|| text.into())
}

/// Whether each byte is a digit where `shape` has a `d`, and as in `shape` elsewhere.
fn has_shape(bytes: &[u8], shape: &[u8]) -> bool {
    let fits = |(byte, wanted): (&u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        _ => byte == wanted,
    };
    bytes.len() == shape.len() && bytes.iter().zip(shape).all(fits)
}

/// What follows a fraction of seconds, if there is one; a point takes at least one digit.
fn past_fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
    match fraction.iter().take_while(|byte| byte.is_ascii_digit()).count() {
        0 => None,
        digits => Some(&fraction[digits..]),
    }
}

fn is_zone(zone: &[u8]) -> bool {
    let Some((b'+' | b'-', offset)) = zone.split_first() else { return matches!(zone, b"" | b"Z") };
    let has_shape = has_shape(offset, b"dd:dd") || has_shape(offset, b"dddd");
    // As text in order: 00 to 23 and 00 to 59.
    has_shape && offset[..2] < b"24"[..] && offset[offset.len() - 2..] < b"60"[..]
}
