//! The event stream format (HTML Living Standard, section 9.2.6), as bytes arrive.
//!
//! Lines end in LF or CR LF. An event with an id and without data, which browsers do not dispatch,
//! is given too: it tells from where one could resume. Comments and `retry` are passed over.

use crate::limits::TOPIC_MESSAGE_BYTES_MAX;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The latest id.
    pub id: &'a str,
    /// Its type; empty for `message`.
    pub kind: &'a str,
    /// Its data, lines joined by LF.
    pub data: &'a str,
}

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Parser {
    /// The part of a line that has come so far.
    line: Vec<u8>,
    id: String,
    kind: String,
    data: String,
    is_open: bool,
}

impl Parser {
    /// Takes in bytes, and gives every event that they complete; the error is a sentence's part.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Event<'_>),
    ) -> Result<(), &'static str> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = (&rest[..end], &rest[end + 1..]);
            rest = behind;
            if self.line.is_empty() {
                self.take(line, &mut each)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take(&whole, &mut each)?;
                whole.clear();
                self.line = whole;
            }
        }
        self.line.extend_from_slice(rest);
        if self.line.len() + self.data.len() > TOPIC_MESSAGE_BYTES_MAX {
            return Err("an event is too large");
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), &'static str> {
        let line = std::str::from_utf8(line).map_err(|_| "an event is not UTF-8")?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            if std::mem::take(&mut self.is_open) {
                let data = self.data.strip_suffix('\n').unwrap_or(&self.data);
                each(Event { id: &self.id, kind: &self.kind, data });
            }
            self.data.clear();
            self.kind.clear();
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
                self.is_open = true;
            }
            "id" => {
                value.clone_into(&mut self.id);
                self.is_open = true;
            }
            "event" => value.clone_into(&mut self.kind),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "retry: 2000\nid: 9:6\n\n:\n\nid: 9:7\r\ndata: {\"a\":1}\r\n\r\n\
        event: discontinuity\nid: 9:103\ndata:x\ndata: y\n\n: note\n\ndata: cut off";

    fn events(step: usize) -> Vec<[String; 3]> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for bytes in STREAM.as_bytes().chunks(step) {
            let each = |event: Event<'_>| {
                events.push([event.id, event.kind, event.data].map(str::to_owned))
            };
            parser.push(bytes, each).unwrap();
        }
        events
    }

    #[test]
    fn events_are_the_same_however_bytes_arrive() {
        let expected =
            [["9:6", "", ""], ["9:7", "", "{\"a\":1}"], ["9:103", "discontinuity", "x\ny"]]
                .map(|event| event.map(str::to_owned));
        for step in 1..=STREAM.len() {
            assert_eq!(events(step), expected, "{step}");
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let mut parser = Parser::default();
        let endless = vec![b'x'; TOPIC_MESSAGE_BYTES_MAX + 1];
        assert!(parser.push(&endless, |_| {}).is_err());
        assert!(Parser::default().push(b"data: \xff\n", |_| {}).is_err());
    }
}
