//! Reports: what a run found, as types, statistics and files.
//!
//! Everything here is a pure function of a [`model::Report`] or of numbers handed in: no clock, no
//! socket, no file. The commands fill the model; the writers turn it into text. The one exception
//! is `progress`, which draws on a terminal from a thread of its own.
//!
//! A command fills a [`model::Report`], asks [`verdict::judge`] and [`threshold::evaluate`], prints
//! [`terminal::write`], writes the files asked for with [`render`], and exits by
//! [`verdict::ending`].

pub mod compare;
pub mod csv;
#[cfg(test)]
mod fixture;
pub mod hdr;
pub mod html;
pub mod json;
pub mod latency;
pub mod merge;
pub mod model;
pub mod progress;
pub mod random;
pub mod search;
pub mod series;
pub mod stats;
pub mod summary;
pub mod terminal;
pub mod threshold;
pub mod topics;
pub mod units;
pub mod verdict;

use model::Report;

/// Endings that [`render`] knows.
pub const ENDINGS: &str = ".json, .ndjson, .html, .hgrm, .hlog, .csv, .txt";

/// The report in the form that the ending of `path` names; the error is a sentence.
pub fn render(report: &Report, path: &str) -> Result<String, String> {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("json") => json::write(report),
        Some("ndjson") => Ok(json::lines(report)),
        Some("html") => Ok(html::write(report)),
        Some("hgrm") => Ok(hdr::hgrm(&summary::all_headlines(report))),
        Some("hlog") => Ok(hdr::hlog(report)),
        Some("csv") => Ok(csv::samples(report)),
        Some("txt") => Ok(terminal::write(report)),
        _ => Err(format!("report file `{path}`: its name must end in one of {ENDINGS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_names_the_form() {
        let report = fixture::rate();
        for ending in ENDINGS.split(", ") {
            assert!(!render(&report, &format!("a.b{ending}")).unwrap().is_empty(), "{ending}");
        }
        assert!(render(&report, "report").unwrap_err().contains("must end in one of"));
        assert!(render(&report, "report.pdf").is_err());
    }
}
