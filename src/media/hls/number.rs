//! Numbers of a playlist (section 4.2): whole numbers, and seconds as whole microseconds.
//!
//! **Invariants**: what does not fit its bound is `None`, as is a sign, an exponent or a blank.

use crate::limits;

/// A decimal-integer of at most twenty digits.
pub fn integer(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Seconds with an optional fraction, in microseconds; the seventh digit rounds.
pub fn seconds_us(text: &[u8]) -> Option<u64> {
    let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let fraction = text.get(point + 1..).unwrap_or_default();
    if point == 0 && fraction.is_empty() {
        return None;
    }
    let whole = if point == 0 { 0 } else { integer(&text[..point])? };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |byte| u64::from(byte - b'0'));
    let micros = (0..6).fold(0, |value, at| value * 10 + digit(at)) + u64::from(digit(6) >= 5);
    let total = whole.checked_mul(1_000_000)?.checked_add(micros)?;
    (total <= limits::PLAYLIST_DURATION_US_MAX).then_some(total)
}

/// `<n>[@<o>]` of a byte range: length and, where it is said, offset.
pub fn byte_range(text: &[u8]) -> Option<(u64, Option<u64>)> {
    let Some(at) = text.iter().position(|&byte| byte == b'@') else {
        return Some((integer(text)?, None));
    };
    let (length, offset) = (integer(&text[..at])?, integer(&text[at + 1..])?);
    length.checked_add(offset)?;
    Some((length, Some(offset)))
}

/// A decimal number as text, kept in place.
#[derive(Clone, Copy)]
pub struct Digits {
    text: [u8; 28],
    start: usize,
}

impl Digits {
    /// A whole number.
    pub fn whole(mut value: u64) -> Self {
        let mut digits = Self { text: [0; 28], start: 28 };
        loop {
            digits.push(value % 10);
            value /= 10;
            if value == 0 {
                return digits;
            }
        }
    }

    /// Microseconds as seconds with six places behind the point.
    pub fn seconds(us: u64) -> Self {
        let mut digits = Self { text: [0; 28], start: 28 };
        let mut fraction = us % 1_000_000;
        for _ in 0..6 {
            digits.push(fraction % 10);
            fraction /= 10;
        }
        digits.start -= 1;
        digits.text[digits.start] = b'.';
        let mut whole = us / 1_000_000;
        loop {
            digits.push(whole % 10);
            whole /= 10;
            if whole == 0 {
                return digits;
            }
        }
    }

    fn push(&mut self, digit: u64) {
        self.start -= 1;
        self.text[self.start] = b"0123456789"[(digit % 10) as usize];
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_digits_that_fit() {
        assert_eq!(integer(b"0"), Some(0));
        assert_eq!(integer(b"18446744073709551615"), Some(u64::MAX));
        for text in ["", "18446744073709551616", "-1", "+1", "1 ", "0x1", "000000000000000000001"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn seconds_are_microseconds() {
        for (text, us) in [
            ("2", Some(2_000_000)),
            ("2.005333", Some(2_005_333)),
            (".5", Some(500_000)),
            ("5.", Some(5_000_000)),
            ("0.0000005", Some(1)),
            ("0.9999999", Some(1_000_000)),
            ("864000", Some(864_000_000_000)),
            ("864001", None),
            ("9223372036854775808", None),
            ("", None),
            (".", None),
            ("1e3", None),
            ("-1", None),
            ("1.2.3", None),
            ("nan", None),
        ] {
            assert_eq!(seconds_us(text.as_bytes()), us, "{text}");
        }
    }

    #[test]
    fn byte_ranges_end_within_64_bits() {
        assert_eq!(byte_range(b"10@20"), Some((10, Some(20))));
        assert_eq!(byte_range(b"10"), Some((10, None)));
        assert_eq!(byte_range(b"18446744073709551615@1"), None);
        for text in ["", "@", "1@", "@1", "1@2@3", "a"] {
            assert_eq!(byte_range(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for value in [0, 1, 9, 10, 1_000_000, u64::MAX] {
            assert_eq!(integer(Digits::whole(value).as_bytes()), Some(value));
        }
        for us in [0, 1, 999_999, 1_000_000, 2_005_333, limits::PLAYLIST_DURATION_US_MAX] {
            assert_eq!(seconds_us(Digits::seconds(us).as_bytes()), Some(us));
        }
        assert_eq!(Digits::seconds(40_000).as_bytes(), b"0.040000");
        assert_eq!(Digits::seconds(u64::MAX).as_bytes(), b"18446744073709.551615");
    }
}
