//! Records as lines: common log format, combined, or JSON.
//!
//! **Invariants**: a line consists of printable ASCII (JSON: of valid UTF-8 without control
//! characters) whatever the peer sent, and ends with the only line feed in it.

use std::io::Write;
use std::net::IpAddr;

use serde_json::json;

use super::record::{Record, Text};
use crate::config::AccessFormat;

/// Appends one line.
pub(super) fn line(out: &mut Vec<u8>, format: AccessFormat, record: &Record) {
    match format {
        AccessFormat::Common => common(out, record),
        AccessFormat::Combined => {
            common(out, record);
            out.extend(b" ");
            quoted(out, &record.referer);
            out.extend(b" ");
            quoted(out, &record.user_agent);
        }
        AccessFormat::Json => json_object(out, record),
    }
    out.push(b'\n');
}

/// `host ident user [time] "request" status bytes`; a dash stands for nothing.
fn common(out: &mut Vec<u8>, record: &Record) {
    let time = Civil::new(record.time_us / 1_000_000);
    let month = MONTHS[usize::from(time.month - 1)];
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "{} - {} [{:02}/{month}/{:04}:{:02}:{:02}:{:02} +0000] \"{} ",
        host(record),
        credential(record).unwrap_or("-"),
        time.day,
        time.year,
        time.hour,
        time.minute,
        time.second,
        record.method.name()
    );
    escaped(out, record.target.as_bytes());
    if record.target.is_truncated() {
        out.extend(b"...");
    }
    let _ = write!(out, " HTTP/1.{}\" {:03} ", record.minor, record.status);
    let _ = match record.body_bytes {
        0 => write!(out, "-"),
        bytes => write!(out, "{bytes}"),
    };
}

fn quoted<const N: usize>(out: &mut Vec<u8>, text: &Text<N>) {
    out.push(b'"');
    match text.as_bytes() {
        b"" => out.push(b'-'),
        bytes => escaped(out, bytes),
    }
    out.push(b'"');
}

/// Quotes, backslashes and everything outside printable ASCII as `\xHH`.
fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            plain => out.push(*plain),
        }
    }
}

fn json_object(out: &mut Vec<u8>, record: &Record) {
    let time = Civil::new(record.time_us / 1_000_000);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut object = json!({
        "time": format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            time.year, time.month, time.day, time.hour, time.minute, time.second,
            record.time_us % 1_000_000
        ),
        "remote": host(record).to_string(),
        "method": record.method.name(),
        "target": text(record.target.as_bytes()),
        "protocol": format!("HTTP/1.{}", record.minor),
        "status": record.status,
        "body_bytes": record.body_bytes,
        "received_bytes": record.received_bytes,
        "duration_us": record.duration_us,
        "turnaround_us": record.turnaround_us,
        "shard": record.shard,
    });
    let fields = [
        ("referer", record.referer.as_bytes()),
        ("user_agent", record.user_agent.as_bytes()),
        ("cmcd", record.cmcd.as_bytes()),
    ];
    for (name, value) in fields {
        if !value.is_empty() {
            object[name] = text(value).into();
        }
    }
    if let Some(name) = credential(record) {
        object["credential"] = name.into();
    }
    if record.target.is_truncated() {
        object["truncated"] = true.into();
    }
    if record.cut {
        object["cut"] = true.into();
    }
    let _ = write!(out, "{object}");
}

/// Names consist of letters, digits and a few signs, so they need no quotes.
fn credential(record: &Record) -> Option<&str> {
    std::str::from_utf8(record.credential.as_bytes()).ok().filter(|name| !name.is_empty())
}

/// An IPv4 client of an IPv6 listener is logged as IPv4.
fn host(record: &Record) -> IpAddr {
    record.remote.to_canonical()
}

/// A moment in UTC.
struct Civil {
    year: u64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Civil {
    /// From Unix seconds, by 400-year eras that start on the first of March.
    #[allow(clippy::cast_possible_truncation, reason = "every value is below 256 by a modulus")]
    fn new(unix_s: u64) -> Self {
        let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * march_month + 2) / 5 + 1) as u8,
            hour: (second / 3_600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::super::record::Method;
    use super::*;

    fn record() -> Record {
        Record {
            // 2000-10-10 13:55:36.25 UTC
            time_us: 971_186_136_250_000,
            duration_us: 1_500,
            turnaround_us: 40,
            body_bytes: 2_326,
            remote: "192.0.2.7".parse().unwrap(),
            status: 200,
            method: Method::Get,
            target: Text::new(b"/live/a.m3u8?CMCD=x"),
            user_agent: Text::new(b"player/1 (\"x\")"),
            ..Record::default()
        }
    }

    fn text(format: AccessFormat, record: &Record) -> String {
        let mut out = Vec::new();
        line(&mut out, format, record);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn common_and_combined() {
        let common = "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \
                      \"GET /live/a.m3u8?CMCD=x HTTP/1.1\" 200 2326";
        assert_eq!(text(AccessFormat::Common, &record()), format!("{common}\n"));
        assert_eq!(
            text(AccessFormat::Combined, &record()),
            format!("{common} \"-\" \"player/1 (\\x22x\\x22)\"\n")
        );
        let empty = Record { body_bytes: 0, status: 304, ..record() };
        assert!(text(AccessFormat::Common, &empty).ends_with("\" 304 -\n"));
    }

    #[test]
    fn json_has_types_and_only_what_is_there() {
        let value: serde_json::Value =
            serde_json::from_str(&text(AccessFormat::Json, &record())).unwrap();
        assert_eq!(value["time"], "2000-10-10T13:55:36.250000Z");
        assert_eq!(value["status"], 200);
        assert_eq!(value["duration_us"], 1500);
        assert_eq!(value["user_agent"], "player/1 (\"x\")");
        assert!(value.get("referer").is_none());
        assert!(value.get("cut").is_none());
    }

    #[test]
    fn a_peer_cannot_forge_a_line() {
        let evil = b"/a\" 200 1\n10.0.0.1 - - \\ \x00 \x1b[31m \xff \xc3\xa9 \x7f";
        let record = Record { target: Text::new(evil), user_agent: Text::new(evil), ..record() };
        for format in [AccessFormat::Common, AccessFormat::Combined, AccessFormat::Json] {
            let text = text(format, &record);
            assert_eq!(text.matches('\n').count(), 1);
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.chars().any(|c| c.is_control() && c != '\u{7f}'), "{line}");
        }
        let text = text(AccessFormat::Combined, &record);
        assert!(text.is_ascii());
        // Three quoted fields have six quotes, and no more.
        assert_eq!(text.matches('"').count(), 6, "{text}");
    }

    #[test]
    fn a_long_target_says_so() {
        let record = Record { target: Text::new(&[b'a'; 1000]), ..record() };
        assert!(text(AccessFormat::Common, &record).contains("aaa... HTTP/1.1\""));
        assert!(text(AccessFormat::Json, &record).contains("\"truncated\":true"));
    }

    #[test]
    fn ipv4_in_ipv6_form_is_logged_as_ipv4() {
        let record = Record { remote: "::ffff:192.0.2.7".parse().unwrap(), ..record() };
        assert!(text(AccessFormat::Common, &record).starts_with("192.0.2.7 "));
    }

    #[test]
    fn the_calendar_is_right() {
        for (unix_s, expected) in [
            (0, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (951_868_800, (2000, 3, 1)),
            (1_735_603_200, (2024, 12, 31)),
            (1_735_689_600, (2025, 1, 1)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            let time = Civil::new(unix_s);
            assert_eq!((time.year, time.month, time.day), expected, "{unix_s}");
        }
        // Day by day for two centuries against counting.
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..73_000 {
            let time = Civil::new(days * 86_400 + 86_399);
            assert_eq!((time.year, time.month, time.day), (year, month, day));
            assert_eq!((time.hour, time.minute, time.second), (23, 59, 59));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                4 | 6 | 9 | 11 => 30,
                2 if leap => 29,
                2 => 28,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
