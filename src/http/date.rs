//! HTTP dates: seconds since 1970 to and from text.
//!
//! Written in the one preferred form, read in all three. A two-digit year below 70 is taken for
//! 20xx, any other for 19xx (there is no clock here to ask which century is nearer).
//!
//! **Invariants**: `parse(format(s)) == s` for every second up to the year 9999; a text with a
//! wrong field (month, hour 24, 31 April, a weekday that is no weekday) is no date. Whether the
//! weekday fits the date is not checked.

use super::response::pair_of;

/// Bytes of a date in the preferred form.
pub const DATE_BYTES: usize = 29;

const DAY_S: u64 = 86_400;
/// The last second of the year 9999: the form has four digits for a year.
const LAST_S: u64 = 253_402_300_799;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const WEEKDAYS_LONG: [&[u8]; 7] =
    [b"Thursday", b"Friday", b"Saturday", b"Sunday", b"Monday", b"Tuesday", b"Wednesday"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// `unix_s` as `Sun, 06 Nov 1994 08:49:37 GMT`; seconds past the year 9999 give its last one.
//= RFC 9110 section 5.6.7
#[must_use]
pub fn format(unix_s: u64) -> [u8; DATE_BYTES] {
    let unix_s = unix_s.min(LAST_S);
    let (days, of_day) = (unix_s / DAY_S, unix_s % DAY_S);
    let (year, month, day) = civil(days);
    let mut text = *b"ddd, 00 mmm 0000 00:00:00 GMT";
    text[..3].copy_from_slice(WEEKDAYS[usize::try_from(days % 7).unwrap_or(0)]);
    text[5..7].copy_from_slice(&pair_of(day));
    text[8..11].copy_from_slice(MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12]);
    text[12..14].copy_from_slice(&pair_of(year / 100));
    text[14..16].copy_from_slice(&pair_of(year));
    text[17..19].copy_from_slice(&pair_of(of_day / 3600));
    text[20..22].copy_from_slice(&pair_of(of_day / 60 % 60));
    text[23..25].copy_from_slice(&pair_of(of_day % 60));
    text
}

/// Seconds since 1970 of a date in any of the three forms; None if it is none of them, or earlier
/// than 1970.
//= RFC 9110 section 5.6.7
#[must_use]
pub fn parse(text: &[u8]) -> Option<u64> {
    let comma = text.iter().position(|byte| *byte == b',');
    match comma {
        Some(3) => preferred(text),
        Some(at) => with_long_weekday(text, at),
        None => asctime(text),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn preferred(text: &[u8]) -> Option<u64> {
    if text.len() != DATE_BYTES || !WEEKDAYS.iter().any(|name| text.starts_with(&name[..])) {
        return None;
    }
    let fixed = text.get(3..5)? == b", "
        && (text[7], text[11], text[16]) == (b' ', b' ', b' ')
        && text.get(25..)? == b" GMT";
    let year = number(text.get(12..16)?)?;
    let (month, day) = (month(text.get(8..11)?)?, number(text.get(5..7)?)?);
    fixed.then_some(seconds(year, month, day, time(text.get(17..25)?)?)?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn with_long_weekday(text: &[u8], comma: usize) -> Option<u64> {
    let (weekday, rest) = text.split_at_checked(comma)?;
    if rest.len() != 24 || !WEEKDAYS_LONG.contains(&weekday) {
        return None;
    }
    let fixed = rest.starts_with(b", ")
        && (rest[4], rest[8], rest[11]) == (b'-', b'-', b' ')
        && rest.ends_with(b" GMT");
    let (day, month) = (number(rest.get(2..4)?)?, month(rest.get(5..8)?)?);
    let short = number(rest.get(9..11)?)?;
    let year = if short < 70 { 2000 + short } else { 1900 + short };
    fixed.then_some(seconds(year, month, day, time(rest.get(12..20)?)?)?)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<u64> {
    if text.len() != 24 || !WEEKDAYS.iter().any(|name| text.starts_with(&name[..])) {
        return None;
    }
    let spaces = [3, 7, 10, 19].iter().all(|at| text[*at] == b' ');
    let day = text.get(8..10)?;
    let day = if day[0] == b' ' { number(&day[1..])? } else { number(day)? };
    let (month, year) = (month(text.get(4..7)?)?, number(text.get(20..24)?)?);
    spaces.then_some(seconds(year, month, day, time(text.get(11..19)?)?)?)
}

/// Seconds of the day of `08:49:37`. A leap second counts as the second before it.
fn time(text: &[u8]) -> Option<u64> {
    let (hour, minute) = (number(text.get(..2)?)?, number(text.get(3..5)?)?);
    let second = number(text.get(6..8)?)?;
    let good = (text[2], text[5]) == (b':', b':') && hour < 24 && minute < 60 && second <= 60;
    good.then_some(hour * 3600 + minute * 60 + second.min(59))
}

fn number(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

fn month(name: &[u8]) -> Option<u64> {
    (1..).zip(&MONTHS).find_map(|(number, month)| (&month[..] == name).then_some(number))
}

fn seconds(year: u64, month: u64, day: u64, of_day: u64) -> Option<u64> {
    if year < 1970 || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    Some(days(year, month, day) * DAY_S + of_day)
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

/// Days in 400 years, after which the calendar repeats.
const ERA_DAYS: u64 = 146_097;
/// Days from 1 March of the year 0 to 1 January 1970.
const EPOCH_DAYS: u64 = 719_468;

/// Days from 1970 to a date of 1970 or later. Years are counted from March, so that a leap day is
/// a year's last day.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

/// Year, month and day of the month, `days` days after 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + EPOCH_DAYS;
    let (era, of_era) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
