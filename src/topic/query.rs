//! Where a request wants to begin, and how long it waits.

use std::borrow::Cow;

use super::log::Start;
use crate::limits::TOPIC_WAIT_MS_MAX;

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

/// A date and time of the shape that EXT-X-PROGRAM-DATE-TIME has.
pub fn date(text: &str) -> Option<Box<str>> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(&byte, &wanted): (&u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        _ => byte == wanted,
    };
    let is_date = bytes.len() >= shape.len() && bytes.iter().zip(shape).all(fits);
    let rest = |byte: &u8| byte.is_ascii_digit() || b".:+-Z".contains(byte);
    (is_date && bytes.len() <= 40 && bytes[shape.len()..].iter().all(rest)).then(|| text.into())
}
