//! A report as JSON, and as NDJSON by the second.
//!
//! The JSON holds the whole model, so that reports merge exactly, and a `summary` of derived
//! numbers that is ignored when read. Each NDJSON line stands alone.

use serde_json::{Map, Value, json};

use super::model::{FORMAT, Report, Second};
use super::stats;
use super::summary;
use super::units;

/// The report as one JSON text.
pub fn write(report: &Report) -> Result<String, String> {
    let mut value = serde_json::to_value(report).map_err(|error| sentence("write", &error))?;
    value["summary"] = summary::json(report);
    let mut text =
        serde_json::to_string_pretty(&value).map_err(|error| sentence("write", &error))?;
    text.push('\n');
    Ok(text)
}

fn sentence(verb: &str, error: &serde_json::Error) -> String {
    format!("cannot {verb} the report: {error}")
}

/// Reads what [`write`] wrote; `name` is the file's, for the sentence of an error.
pub fn read(name: &str, text: &str) -> Result<Report, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("{name} is not JSON: {error}"))?;
    match value["format"].as_u64() {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => {
            return Err(format!(
                "{name} has report format {format}, this version reads {FORMAT}: merge with the \
                 version that wrote it"
            ));
        }
        None => return Err(format!("{name} is JSON but no report of loadtest (no `format`)")),
    }
    let report: Report = serde_json::from_value(value)
        .map_err(|error| format!("{name} is a damaged report: {error}"))?;
    for packed in report.series.iter().flat_map(|second| second.latency.values()) {
        packed.unpack().map_err(|error| format!("{name} is a damaged report: {error}"))?;
    }
    Ok(report)
}

/// One interval as one line of NDJSON, with its line end.
pub fn line(second: &Second) -> String {
    let mut value = json!({
        "at_s": second.at_s, "width_s": second.width_s, "offered": second.offered,
        "achieved": second.achieved, "failed": second.failed, "shed": second.shed,
        "bytes": second.bytes, "in_flight": second.in_flight, "viewers": second.viewers,
        "stalled": second.stalled, "lateness_max_ns": second.lateness_max_ns,
    });
    let mut operations = Map::new();
    for (name, packed) in &second.latency {
        let latency = packed.unpack().unwrap_or_default();
        let mut entry = Map::new();
        entry.insert("n".to_owned(), json!(latency.count()));
        for q in summary::QUANTILES {
            if let Ok(p) = stats::percentile(&latency, q) {
                entry.insert(format!("{}_ns", units::quantile(q)), json!(p.value));
            }
        }
        entry.insert("max_ns".to_owned(), json!(latency.max()));
        entry.insert("histogram".to_owned(), json!(packed.as_str()));
        operations.insert(name.clone(), Value::Object(entry));
    }
    value["operations"] = Value::Object(operations);
    format!("{value}\n")
}

/// The whole series as NDJSON.
pub fn lines(report: &Report) -> String {
    report.series.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_is_written_is_read_again() {
        let report = fixture::rate();
        let text = write(&report).unwrap();
        assert_eq!(read("a.json", &text).unwrap(), report);
        let value: Value = serde_json::from_str(&text).unwrap();
        let p99 = &value["summary"]["latency_ns"]["GET"]["response"]["p99"];
        assert!(p99["low"].as_u64() < p99["high"].as_u64(), "{p99}");
        assert_eq!(
            value["summary"]["latency_ns"]["GET"]["response"]["p99.999"]["needed"],
            json!(1_000_000)
        );
    }

    #[test]
    fn what_is_no_report_is_refused_with_a_sentence() {
        let error = |text: &str| read("a.json", text).unwrap_err();
        assert!(error("{").starts_with("a.json is not JSON"));
        assert!(error("{}").contains("no report of loadtest"));
        assert!(error("{\"format\":99}").contains("format 99"));
        assert!(error("{\"format\":1}").contains("damaged"));
        let text = write(&fixture::rate()).unwrap();
        let packed = fixture::rate().series[0].latency["GET"].as_str().to_owned();
        assert!(error(&text.replacen(&packed, "AAAA", 1)).contains("not HdrHistogram V2"));
    }

    #[test]
    fn each_second_is_a_line_of_its_own() {
        let report = fixture::rate();
        let text = lines(&report);
        assert_eq!(text.lines().count(), report.series.len());
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let get = &value["operations"]["GET"];
            assert!(get["p50_ns"].as_u64().unwrap() <= get["max_ns"].as_u64().unwrap());
            assert!(get["p99.999_ns"].is_null(), "too few samples in a second");
        }
    }
}
