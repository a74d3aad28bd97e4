//! HdrHistogram's own files: `.hgrm` (percentile distribution) and `.hlog` (interval log).
//!
//! `.hgrm` is the text that HdrHistogram's plotter reads, values in microseconds. `.hlog` is
//! interval log format 1.3: one line an interval and operation, with the operation as Tag.

use std::fmt::Write;

use super::latency::{Latency, Packed};
use super::model::Report;

/// Ticks of the distribution in each halving of the distance to 100 %, as the other tools have it.
const TICKS_PER_HALF: u32 = 5;
/// Nanoseconds in the unit of `.hgrm` values.
const NS_PER_US: f64 = 1e3;
/// Nanoseconds in the unit of an interval's maximum.
const NS_PER_MS: f64 = 1e6;

/// One histogram as a percentile distribution.
pub fn hgrm(latency: &Latency) -> String {
    let histogram = latency.histogram();
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        let value = step.value_iterated_to() as f64 / NS_PER_US;
        let quantile = step.quantile_iterated_to();
        count += step.count_since_last_iteration();
        // The last line has no distance to 100 %: it has no fourth column.
        let _ = if quantile < 1.0 {
            let inverse = 1.0 / (1.0 - quantile);
            writeln!(text, "{value:12.3} {quantile:2.12} {count:10} {inverse:14.2}")
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {count:10}")
        };
    }
    let (mean, deviation) = (histogram.mean() / NS_PER_US, histogram.stdev() / NS_PER_US);
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let (max, count) = (histogram.max() as f64 / NS_PER_US, histogram.len());
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let (buckets, sub) = (histogram.buckets(), 2048);
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {sub:12}]");
    text
}

/// The series as an interval log; the whole measured phase as one interval when there is no series.
pub fn hlog(report: &Report) -> String {
    let start = report.started_unix_ms as f64 / 1e3;
    let mut text = format!(
        "#[Logged with loadtest {}]\n#[Histogram log format version 1.3]\n\
         #[StartTime: {start:.3} (seconds since epoch)]\n\
         #[BaseTime: {start:.3} (seconds since epoch)]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
         \"Interval_Compressed_Histogram\"\n",
        env!("CARGO_PKG_VERSION")
    );
    let measured_at =
        report.phases.iter().find(|phase| phase.name == "measure").map_or(0.0, |p| p.start_s);
    for second in &report.series {
        for (name, packed) in &second.latency {
            interval(&mut text, name, (measured_at + second.at_s, second.width_s), packed);
        }
    }
    if report.series.is_empty() {
        for operation in &report.operations {
            if let Some(latency) = operation.headline() {
                let span = (measured_at, report.load.duration_s);
                interval(&mut text, &operation.name, span, &latency.pack());
            }
        }
    }
    text
}

fn interval(text: &mut String, name: &str, (at_s, width_s): (f64, f64), packed: &Packed) {
    let max = packed.unpack().unwrap_or_default().max() as f64 / NS_PER_MS;
    // A Tag ends at a comma or a space.
    let tag = name.replace([',', ' ', '\r', '\n'], "_");
    let histogram = packed.as_str();
    let _ = writeln!(text, "Tag={tag},{at_s:.3},{width_s:.3},{max:.3},{histogram}");
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::report::fixture;
    use crate::report::summary;

    #[test]
    fn a_distribution_ends_with_all_samples() {
        let latency = summary::all_headlines(&fixture::rate());
        let text = hgrm(&latency);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|field| field.parse().unwrap()).collect())
            .collect();
        assert!(rows.len() > 50);
        assert!(rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][2] <= pair[1][2]));
        let last = rows.last().unwrap();
        assert_eq!((last.len(), last[1], last[2]), (3, 1.0, latency.count() as f64));
        assert_eq!(text.lines().filter(|line| line.starts_with("#[")).count(), 3);
    }

    #[test]
    fn the_interval_log_is_read_by_hdrhistogram() {
        let report = fixture::rate();
        // The reader of this crate does not know the legend line that Java's writes and skips.
        let text: String = hlog(&report)
            .lines()
            .filter(|line| !line.starts_with('"'))
            .map(|line| format!("{line}\n"))
            .collect();
        let mut sum = Latency::new();
        let mut intervals = 0;
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                assert_eq!(interval.tag().unwrap().as_str(), "GET");
                let bytes = base64::engine::general_purpose::STANDARD
                    .decode(interval.encoded_histogram())
                    .unwrap();
                let decoded: hdrhistogram::Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                assert_eq!(!decoded.is_empty(), interval.max() > 0.0);
                sum.add(
                    &Packed::unpack(
                        &serde_json::from_value(interval.encoded_histogram().into()).unwrap(),
                    )
                    .unwrap(),
                );
                intervals += 1;
            }
        }
        assert_eq!(intervals, report.series.len());
        assert_eq!(sum, summary::all_headlines(&report));
    }
}
