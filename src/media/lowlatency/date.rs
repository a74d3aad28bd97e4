//! Program date times (ISO 8601): read, moved on by a duration, and written in the same zone.
//!
//! **Invariants**: milliseconds are kept, finer digits are rounded; years are 1970 to 9999.

/// An instant and the zone in which it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Microseconds since 1970, in UTC.
    pub unix_us: u64,
    zone: [u8; ZONE_BYTES_MAX],
    zone_len: u8,
    /// Minutes that the zone is ahead of UTC.
    ahead_min: i16,
}

/// A date as text: 23 characters and the zone.
pub type Text = ([u8; 23 + ZONE_BYTES_MAX], usize);

impl Date {
    /// Reads `YYYY-MM-DDThh:mm:ss[.sss...][Z|+hh:mm|+hhmm]`.
    pub fn read(text: &[u8]) -> Option<Self> {
        let clock = text.get(..19)?;
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if marks.iter().any(|(at, mark)| clock[*at] != *mark) {
            return None;
        }
        let field = |from: usize, to: usize| number(&clock[from..to]);
        let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
        let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
        let is_date = (1970..=9999).contains(&year) && (1..=12).contains(&month);
        if !is_date || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut zone_text = &text[19..];
        let mut fraction_us = 0;
        if let Some(behind) = zone_text.strip_prefix(b".") {
            let digits = behind.iter().position(|byte| !byte.is_ascii_digit());
            let (fraction, rest) = behind.split_at(digits.unwrap_or(behind.len()));
            let mut weight = 100_000;
            for digit in fraction {
                fraction_us += u64::from(digit - b'0') * weight;
                weight /= 10;
            }
            zone_text = rest;
        }
        let ahead_min = zone(zone_text)?;
        let mut zone = [0; ZONE_BYTES_MAX];
        zone[..zone_text.len()].copy_from_slice(zone_text);
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let utc_s = seconds.checked_add_signed(-i64::from(ahead_min) * 60)?;
        let zone_len = u8::try_from(zone_text.len()).ok()?;
        Some(Self { unix_us: utc_s * 1_000_000 + fraction_us, zone, zone_len, ahead_min })
    }

    /// The instant so many microseconds later.
    pub fn after(self, us: u64) -> Self {
        Self { unix_us: self.unix_us.saturating_add(us), ..self }
    }

    /// The date as text, to the nearest millisecond.
    pub fn text(&self) -> Text {
        let local_us = self.unix_us.saturating_add_signed(i64::from(self.ahead_min) * 60_000_000);
        let ms = local_us.saturating_add(500) / 1000;
        let (seconds, ms) = (ms / 1000, ms % 1000);
        let (year, month, day) = civil((seconds / 86_400).min(DAYS_MAX));
        let clock = seconds % 86_400;
        let mut text = *b"0000-00-00T00:00:00.000\0\0\0\0\0\0";
        let fields = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, clock / 3600),
            (14, 2, clock / 60 % 60),
            (17, 2, clock % 60),
            (20, 3, ms),
        ];
        for (at, width, mut value) in fields {
            for place in (at..at + width).rev() {
                text[place] = b"0123456789"[(value % 10) as usize];
                value /= 10;
            }
        }
        text[23..].copy_from_slice(&self.zone);
        (text, 23 + usize::from(self.zone_len))
    }
}

/// Minutes that a zone is ahead of UTC; without a zone it is UTC (section 4.4.4.6).
fn zone(text: &[u8]) -> Option<i16> {
    let (sign, rest) = match text {
        b"" | b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [_, _] => (rest, &b"00"[..]),
        [_, _, b':', _, _] => (&rest[..2], &rest[3..]),
        [_, _, _, _] => rest.split_at(2),
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let total = i16::try_from(hours * 60 + minutes).ok()?;
    (hours <= 14 && minutes < 60).then_some(sign * total)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'))
    })
}

/// Days from 1970 to a date, by the count of days in 400 years.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, late) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + late, month, day)
}

const ZONE_BYTES_MAX: usize = 6;
/// The days up to the end of the year 9999.
const DAYS_MAX: u64 = 2_932_896;

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(text: &str, us: u64) -> Option<String> {
        let (bytes, len) = Date::read(text.as_bytes())?.after(us).text();
        Some(String::from_utf8(bytes[..len].to_vec()).unwrap())
    }

    #[test]
    fn dates_move_on_in_their_zone() {
        for (text, us, later) in [
            ("2026-11-24T02:06:01.000+0000", 1_984_000, "2026-11-24T02:06:02.984+0000"),
            ("2026-11-24T02:06:02.984+0000", 2_005_333, "2026-11-24T02:06:04.989+0000"),
            ("2024-02-28T23:59:59.999Z", 1_000, "2024-02-29T00:00:00.000Z"),
            ("2025-12-31T23:30:00+01:00", 3_600_000_000, "2026-01-01T00:30:00.000+01:00"),
            ("2026-01-01T00:30:00.5-05", 500, "2026-01-01T00:30:00.501-05"),
            ("1970-01-01T00:00:00", 0, "1970-01-01T00:00:00.000"),
            ("9999-12-31T23:59:59.999Z", 0, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(moved(text, us).as_deref(), Some(later), "{text}");
        }
        let unix_us = Date::read(b"2010-02-19T14:54:23.031+08:00").unwrap().unix_us;
        assert_eq!(unix_us, 1_266_562_463_031_000);
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "2026-11-24",
            "2026-13-24T02:06:01Z",
            "2026-11-24 02:06:01Z",
            "2026-11-24T24:06:01Z",
            "1969-11-24T02:06:01Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-24T02:06:01.000+00000",
            "2026-11-24T02:06:01.000+99:00",
            "2026-11-24T02:06:01.000Zulu",
        ] {
            assert_eq!(moved(text, 0), None, "{text}");
        }
        assert!(moved("2026-11-24T02:06:01.99999999999999999999999Z", u64::MAX).is_some());
    }
}
