//! Marks of a disk: in bytes, or in percent of it.

use super::parse_size;

/// How much of the data folder's file system may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Bytes in use, whoever uses them.
    Bytes(u64),
    /// Percent, 1 to 100.
    Percent(u8),
}

/// From where on a disk is full, and how far it is to be emptied then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskMarks {
    /// From here on uploads are refused; none: until the disk refuses them.
    pub high: Option<Mark>,
    /// Below here nothing more has to go; none: the high mark.
    pub low: Option<Mark>,
}

impl Mark {
    /// From `"90%"`, or a size.
    ///
    /// # Errors
    /// A sentence on what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a share such as \"90%\" or a size, found \"{text}\"");
        match text.strip_suffix('%') {
            Some(number) => match number.trim_end().parse() {
                Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            },
            None => parse_size(text).map(Self::Bytes).map_err(|_| wrong()),
        }
    }

    /// Whether this one is certain to lie above the other.
    pub fn is_above(self, other: Self) -> bool {
        match (self, other) {
            (Self::Bytes(this), Self::Bytes(other)) => this > other,
            (Self::Percent(this), Self::Percent(other)) => this > other,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_shares_or_sizes() {
        assert_eq!(Mark::parse("90%"), Ok(Mark::Percent(90)));
        assert_eq!(Mark::parse("100 %"), Ok(Mark::Percent(100)));
        assert_eq!(Mark::parse("2TiB"), Ok(Mark::Bytes(2 << 40)));
        for text in ["0%", "101%", "%", "-1%", "1.5%", "x"] {
            assert!(Mark::parse(text).unwrap_err().contains("such as \"90%\""), "{text}");
        }
        assert!(Mark::Percent(91).is_above(Mark::Percent(90)));
        assert!(!Mark::Percent(91).is_above(Mark::Bytes(1)));
    }
}
