//! Traces: requests due at recorded times.
//!
//! One request a line: seconds since the start, ascending, and optionally the number of its URL
//! (the first is 1) behind a space or comma. Empty lines and lines beginning with `#` are skipped.

use crate::limits::TRACE_REQUESTS_MAX;

/// Times in nanoseconds, each with its URL when one was named.
pub type Trace = Vec<(u64, Option<u32>)>;

/// Understands the text of a trace; the error is a sentence with the line.
#[expect(clippy::cast_possible_truncation, reason = "bounded to a year in nanoseconds")]
pub fn parse(text: &str, urls: usize) -> Result<Trace, String> {
    let mut trace = Trace::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}", index + 1);
        let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        let time = words.next().and_then(|word| word.parse::<f64>().ok());
        let time = time
            .filter(|time| (0.0..=31_536_000.0).contains(time))
            .ok_or_else(|| wrong("no time in seconds at its start"))?;
        let url = words.next().map(|word| match word.parse::<u32>() {
            Ok(number) if number >= 1 && number as usize <= urls => Ok(number - 1),
            _ => Err(wrong(&format!("`{word}` is no number of a URL from 1 to {urls}"))),
        });
        let at = (time * 1e9) as u64;
        if trace.last().is_some_and(|(before, _)| *before > at) {
            return Err(wrong("its time is before that of the line above"));
        }
        if trace.len() == TRACE_REQUESTS_MAX {
            return Err(wrong(&format!("more than {TRACE_REQUESTS_MAX} requests")));
        }
        trace.push((at, url.transpose()?));
    }
    if trace.is_empty() {
        return Err("it holds no request".to_owned());
    }
    Ok(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read() {
        let trace = parse("# t\n0.5\n\n0.75,2\n1 1\n", 2).unwrap();
        assert_eq!(trace, [(500_000_000, None), (750_000_000, Some(1)), (1_000_000_000, Some(0))]);
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, part) in [
            ("1\nx\n", "line 2: no time"),
            ("2\n1\n", "line 2: its time is before"),
            ("1 3\n", "line 1: `3` is no number"),
            ("\n", "no request"),
        ] {
            assert!(parse(text, 2).unwrap_err().contains(part), "{text}");
        }
    }
}
