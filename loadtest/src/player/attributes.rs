//! Attribute lists of HLS tags (RFC 8216bis section 4.2): `NAME=value,NAME="quoted"`.
//!
//! Borrows from the line; never allocates. Unknown names are the caller's to ignore.

/// The attributes of one tag.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a str);

impl<'a> Attributes<'a> {
    /// Reads the text behind a tag's colon.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The value of `name` without its quotes; the first one when there are several.
    pub fn value(&self, name: &str) -> Option<&'a str> {
        self.into_iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Whether `name` is there with the value YES.
    pub fn yes(&self, name: &str) -> bool {
        self.value(name) == Some("YES")
    }

    /// A decimal number of seconds; `None` when it is absent or no finite number.
    pub fn seconds(&self, name: &str) -> Option<f64> {
        self.value(name)?.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }
}

impl<'a> IntoIterator for Attributes<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        Pairs(self.0)
    }
}

/// Names and values in their order.
pub struct Pairs<'a>(&'a str);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (value, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
                (value, rest.split_once(',').map_or("", |(_, rest)| rest))
            }
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        self.0 = rest;
        Some((name.trim(), value.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_commas_and_missing_values_are_read() {
        let attributes =
            Attributes::new("BANDWIDTH=800000,CODECS=\"avc1.4d401e,mp4a.40.2\", X=YES");
        assert_eq!(attributes.number("BANDWIDTH"), Some(800_000));
        assert_eq!(attributes.value("CODECS"), Some("avc1.4d401e,mp4a.40.2"));
        assert!(attributes.yes("X"));
        assert_eq!(attributes.value("Y"), None);
        assert_eq!(Attributes::new("A=\"open").value("A"), Some("open"));
        assert_eq!(Attributes::new("A=nan,B=-1").seconds("A"), None);
        assert_eq!(Attributes::new("A=nan,B=-1").seconds("B"), None);
        assert_eq!(Attributes::new("").value("A"), None);
    }
}
