//! ISO 8601 dates as EXT-X-PROGRAM-DATE-TIME and MPDs have them.

/// Seconds since 1970 of `2026-10-01T12:00:00.250Z`, `+02:00`, `+0200` or without a zone (UTC).
pub fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (day, rest) = text.split_once(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let mut fields = day.splitn(3, '-');
    let (year, month, date) =
        (number(fields.next()?)?, number(fields.next()?)?, number(fields.next()?)?);
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&date) {
        return None;
    }
    let mut fields = clock.splitn(3, ':');
    let (hour, minute) = (number(fields.next()?)?, number(fields.next()?)?);
    let second: f64 = fields.next().unwrap_or("0").parse().ok()?;
    if hour > 24 || minute > 59 || !(0.0..61.0).contains(&second) {
        return None;
    }
    let days = days_since_1970(year, month, date);
    Some((days * 86_400 + hour * 3_600 + minute * 60 - zone_offset(zone)?) as f64 + second)
}

/// Days of the Gregorian calendar (Hinnant, chrono-compatible low-level date algorithms).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + day_of_era - 719_468
}

fn zone_offset(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first() {
        None | Some(b'Z' | b'z') => return Some(0),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    let value = number(&digits)?;
    let (hours, minutes) = if digits.len() <= 2 { (value, 0) } else { (value / 100, value % 100) };
    Some(sign * (hours * 3_600 + minutes * 60))
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn dates_are_read_with_their_zone() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(seconds("2026-10-01T12:00:00.250Z"), Some(1_790_856_000.25));
        assert_eq!(seconds("2026-10-01T14:00:00.25+02:00"), Some(1_790_856_000.25));
        assert_eq!(seconds("2026-10-01T07:30:00.25-0430"), Some(1_790_856_000.25));
        assert_eq!(seconds("2024-02-29T00:00:00"), Some(1_709_164_800.0));
        for bad in
            ["", "2026-10-01", "2026-13-01T00:00:00Z", "x-1-1T00:00:00Z", "2026-1-1T25:00:00Z"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
