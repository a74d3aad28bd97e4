//! Attribute lists (section 4.2): `NAME=VALUE,NAME="VALUE"`.
//!
//! **Invariants**: a list is read once, from left to right; a quoted value is handed out without
//! its quotes and may hold commas and equals signs.

use super::number;
use crate::limits;

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value, without quotes.
    pub value: &'a [u8],
}

/// The attributes of a list; ends behind the first mistake.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Attributes<'a> {
    /// The attributes of `list`.
    pub fn new(list: &'a [u8]) -> Self {
        Self { rest: list, count: 0 }
    }

    fn fail<T>(&mut self, reason: &'static str) -> Option<Result<T, &'static str>> {
        self.rest = b"";
        Some(Err(reason))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_ascii_start();
        if self.rest.is_empty() {
            return None;
        }
        self.count += 1;
        if self.count > limits::PLAYLIST_ATTRIBUTES_MAX {
            return self.fail("more attributes than a tag may have");
        }
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
        let name_end = self.rest.iter().position(|byte| !is_name(byte)).unwrap_or(self.rest.len());
        let (name, behind) = self.rest.split_at(name_end);
        let Some(behind) = behind.strip_prefix(b"=").filter(|_| !name.is_empty()) else {
            return self.fail("an attribute that is not NAME=VALUE");
        };
        let (value, behind) = if let Some(open) = behind.strip_prefix(b"\"") {
            let Some(close) = open.iter().position(|&byte| byte == b'"') else {
                return self.fail("a quoted value without its end");
            };
            (&open[..close], &open[close + 1..])
        } else {
            let end = behind.iter().position(|&byte| byte == b',').unwrap_or(behind.len());
            (behind[..end].trim_ascii(), &behind[end..])
        };
        let behind = behind.trim_ascii_start();
        self.rest = match behind.split_first() {
            None => b"",
            Some((b',', rest)) => rest,
            Some(_) => return self.fail("attributes that no comma parts"),
        };
        Some(Ok(Attribute { name, value }))
    }
}

impl<'a> Attribute<'a> {
    /// Seconds, in microseconds.
    pub fn seconds_us(&self) -> Result<u64, &'static str> {
        number::seconds_us(self.value).ok_or("a duration that is no number of seconds in bounds")
    }

    /// A whole number.
    pub fn integer(&self) -> Result<u64, &'static str> {
        number::integer(self.value).ok_or("an attribute that must be a whole number is none")
    }

    /// Whether the value is `YES`.
    pub fn yes(&self) -> bool {
        self.value == b"YES"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Result<Vec<(String, String)>, &'static str> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Attributes::new(list.as_bytes())
            .map(|one| one.map(|one| (text(one.name), text(one.value))))
            .collect()
    }

    #[test]
    fn lists_are_cut_at_commas_outside_of_quotes() {
        let pairs = |list: &[(&str, &str)]| {
            Ok(list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
        };
        assert_eq!(read(""), pairs(&[]));
        assert_eq!(
            read("URI=\"a,b=c\",DURATION=0.5, X-A=YES"),
            pairs(&[("URI", "a,b=c"), ("DURATION", "0.5"), ("X-A", "YES")])
        );
        assert_eq!(read("A=,B=\"\""), pairs(&[("A", ""), ("B", "")]));
    }

    #[test]
    fn mistakes_are_named_once() {
        for list in ["=", "A", "A=\"", "A=\"b\"c", ",", "A=1,,B=2", "A B=1", "\u{e9}=1"] {
            assert!(read(list).is_err(), "{list}");
            assert_eq!(Attributes::new(list.as_bytes()).filter(Result::is_err).count(), 1);
        }
        assert!(read(&"A=1,".repeat(64)).is_ok());
        assert!(read(&"A=1,".repeat(65)).is_err());
        assert!(Attributes::new("A=1,".repeat(1_000_000).as_bytes()).count() <= 65);
    }
}
