//! Cuts a playlist into lines, with their places in the text.
//!
//! **Invariants**: the spans of all lines, joined, are the text; carriage returns and blanks at the
//! end of a line belong to its span but not to what it says.

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// What the line says, without its end.
    pub text: &'a [u8],
    /// Its number, counted from one.
    pub number: u32,
    /// Where it begins in the playlist.
    pub start: usize,
    /// Where the next one begins.
    pub end: usize,
}

/// The lines of a text, in order.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    number: u32,
}

impl<'a> Lines<'a> {
    /// The lines of `bytes`; a byte order mark in front is passed over.
    pub fn new(bytes: &'a [u8]) -> Self {
        let at = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Self { bytes, at, number: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        let start = self.at;
        self.at += length;
        self.number = self.number.saturating_add(1);
        let text = rest[..length].trim_ascii_end();
        Some(Line { text, number: self.number, start, end: self.at })
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_join_to_the_text() {
        for text in ["", "\n", "a", "a\n", "a\r\nb \n\n c", "\n\n\r"] {
            let lines: Vec<Line> = Lines::new(text.as_bytes()).collect();
            let joined: Vec<u8> = lines
                .iter()
                .flat_map(|line| &text.as_bytes()[line.start..line.end])
                .copied()
                .collect();
            assert_eq!(joined, text.as_bytes());
            assert!(lines.iter().enumerate().all(|(at, line)| line.number as usize == at + 1));
        }
        let texts: Vec<&[u8]> = Lines::new(b"a\r\n b \nc").map(|line| line.text).collect();
        assert_eq!(texts, [&b"a"[..], b" b", b"c"]);
        assert_eq!(Lines::new(b"\xef\xbb\xbfa\n").next().unwrap().text, b"a");
    }
}
