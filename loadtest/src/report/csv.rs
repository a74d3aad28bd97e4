//! Sampled requests as CSV: one line a request with its five stamps, for matching spikes with
//! events on the server. Stamps count from the start of the measured phase.

use std::fmt::Write;

use super::model::Report;

/// All samples of the report.
pub fn samples(report: &Report) -> String {
    let mut text = "operation,intended_ns,dispatched_ns,written_ns,first_byte_ns,last_byte_ns,\
                    bytes,result\n"
        .to_owned();
    for sample in &report.samples {
        text.push_str(&quoted(&sample.operation));
        for stamp in [
            sample.intended_ns,
            sample.dispatched_ns,
            sample.written_ns,
            sample.first_byte_ns,
            sample.last_byte_ns,
        ] {
            text.push(',');
            if let Some(stamp) = stamp {
                let _ = write!(text, "{stamp}");
            }
        }
        let _ = writeln!(text, ",{},{}", sample.bytes, quoted(&sample.result));
    }
    text
}

/// A field by RFC 4180, section 2: quoted when it holds a comma, a quote or a line end.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Sample;

    #[test]
    fn missing_stamps_are_empty_and_commas_are_quoted() {
        let mut report = Report::new("rate", "x");
        report.samples.push(Sample {
            operation: "a,\"b\"".to_owned(),
            intended_ns: Some(1),
            dispatched_ns: Some(2),
            written_ns: None,
            first_byte_ns: None,
            last_byte_ns: None,
            bytes: 0,
            result: "timeout".to_owned(),
        });
        assert_eq!(samples(&report).lines().nth(1), Some("\"a,\"\"b\"\"\",1,2,,,,0,timeout"));
    }
}
