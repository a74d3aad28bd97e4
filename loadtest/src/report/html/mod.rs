//! One self-contained HTML file: what a person puts in front of those who decide.
//!
//! No script, no font, no picture from elsewhere: the file can be mailed and opened in ten years.
//! The verdict stands first; a run that must not be believed says so in red before any number.

mod forest;
mod plots;
mod sections;
mod svg;
mod tables;

use std::fmt::Write;

use super::model::Report;
use super::summary;

const STYLE: &str = include_str!("style.css");

/// The report as one HTML document.
pub fn write(report: &Report) -> String {
    let rows = summary::rows(report);
    let mut body = String::new();
    body.push_str(&sections::header(report));
    body.push_str(&sections::verdict(report));
    body.push_str(&sections::cards(report, &rows));
    body.push_str(&tables::thresholds(report));
    let overview = match (&report.capacity, &report.comparison) {
        (Some(capacity), _) => {
            let plots = plots::capacity_curve(capacity)
                + &plots::capacity_figures(capacity)
                + &plots::capacity_cpu(capacity);
            section("Capacity", &plots_in("plots", &plots)) + &tables::tries(capacity)
        }
        (None, Some(comparison)) => {
            let plots = forest::plot(comparison);
            section("Comparison", &plots_in("plots", &plots)) + &tables::quantiles(comparison)
        }
        (None, None) => String::new(),
    };
    body.push_str(&overview);
    if let Some(qoe) = &report.qoe {
        let each = qoe.distributions.iter().enumerate();
        let cdfs: String = each.map(|(index, d)| plots::distribution(d, index)).collect();
        let content = plots_in("plots small", &cdfs) + &tables::viewers(qoe);
        body.push_str(&section("What viewers experienced", &content));
    }
    if let Some(topics) = &report.topics {
        let each = topics.distributions.iter().enumerate();
        let cdfs: String = each.map(|(index, d)| plots::distribution(d, index)).collect();
        let content = plots_in("plots small", &cdfs) + &tables::subscribers(topics);
        body.push_str(&section("What subscribers got", &content));
    }
    // With viewers there are four plots, two a row; without, the percentiles have a row.
    let viewers = plots::viewers(report);
    let percentiles = plots::by_percentile(report, viewers.is_empty());
    let time = plots::over_time(report) + &plots::throughput(report);
    let plots = if viewers.is_empty() {
        plots_in("plots", &percentiles) + &plots_in("plots", &time)
    } else {
        plots_in("plots", &(percentiles + &viewers + &time))
    };
    body.push_str(&section("Latency and load", &plots));
    body.push_str(&tables::latencies(&rows, report));
    body.push_str(&tables::operations(report));
    body.push_str(&tables::phases(report));
    body.push_str(&tables::environment(report));
    body.push_str(&sections::footer(report));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{} - {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         </body>\n</html>\n",
        escape(&report.command),
        escape(&report.target)
    )
}

/// A heading with its content; nothing when the content is empty.
fn section(title: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{}</h2>\n{content}</section>\n", escape(title))
}

fn plots_in(class: &str, plots: &str) -> String {
    if plots.is_empty() {
        return String::new();
    }
    format!("<div class=\"{class}\">\n{plots}</div>\n")
}

/// Text as it may stand in an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_ascii() => escaped.push(c),
            c => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
        }
    }
    escaped
}

/// A sentence, with the micro sign in its times.
fn prose(text: &str) -> String {
    let mut escaped = escape(text) + " ";
    for end in [' ', ',', ';', '.', ')'] {
        escaped = escaped.replace(&format!(" us{end}"), &format!(" &micro;s{end}"));
    }
    escaped.pop();
    escaped
}

/// An interval of time; the unit stands once where both ends share it.
fn interval(low: u64, high: u64) -> String {
    let (low, high) = (time(low as f64), time(high as f64));
    let unit = |text: &str| text.split_once("&nbsp;").map(|(_, unit)| unit.to_owned());
    match low.split_once("&nbsp;") {
        Some((value, shared)) if unit(&high).as_deref() == Some(shared) => {
            format!("{value}&nbsp;&ndash;&nbsp;{high}")
        }
        _ => format!("{low}&nbsp;&ndash;&nbsp;{high}"),
    }
}

/// A time with the micro sign and a space that does not break.
fn time(nanoseconds: f64) -> String {
    super::units::time(nanoseconds).replace(" us", " &micro;s").replace(' ', "&nbsp;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn all() -> [Report; 8] {
        [
            fixture::rate(),
            fixture::invalid(),
            fixture::live(),
            fixture::topics(),
            fixture::capacity(),
            fixture::viewer_capacity(),
            fixture::closed(),
            fixture::comparison(),
        ]
    }

    #[test]
    fn the_file_needs_nothing_from_elsewhere() {
        for report in all() {
            let html = write(&report);
            for word in ["<script", "@import", "url(", "src=", "http-equiv"] {
                assert!(!html.contains(word), "{}: {word}", report.command);
            }
            let links: Vec<&str> = html.matches("href=\"").collect();
            assert_eq!(links.len(), 1, "only the empty icon");
            assert!(html.is_ascii());
            for word in ["NaN", "inf"] {
                assert!(!html.contains(&format!("\"{word}")), "{word}");
                assert!(!html.contains(&format!(" {word} ")), "{word}");
            }
        }
    }

    #[test]
    fn every_element_is_closed() {
        for report in all() {
            let html = write(&report);
            for name in ["section", "figure", "svg", "table", "tr", "td", "ul", "li", "div", "p"] {
                let opened = html.matches(&format!("<{name}>")).count()
                    + html.matches(&format!("<{name} ")).count();
                let closed = html.matches(&format!("</{name}>")).count();
                assert_eq!(opened, closed, "{}: {name}", report.command);
            }
        }
    }

    #[test]
    fn an_invalid_run_says_so_before_any_number() {
        let html = write(&fixture::invalid());
        let banner = html.find("verdict invalid\"><strong>INVALID").unwrap();
        assert!(banner < html.find("class=\"cards\"").unwrap());
        assert!(html.contains("lateness p99.9 312"));
        assert!(write(&fixture::rate()).contains("verdict valid\"><strong>VALID"));
    }

    #[test]
    fn subscribers_have_cards_and_tables() {
        let html = write(&fixture::topics());
        for words in ["What subscribers got", "Last subscriber p99", "subscribers with losses"] {
            assert!(html.contains(words), "{words}");
        }
        assert!(html.contains("card bad\"><div class=\"name\">Lost"), "losses stand out");
    }

    #[test]
    fn a_closed_loop_is_labelled() {
        let html = write(&fixture::closed());
        assert!(html.contains("Closed loop") && html.contains("Service p99"));
        assert!(!html.contains("Response p99"));
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut report = fixture::rate();
        report.target = "http://x/<script>\"&\u{fc}".to_owned();
        let html = write(&report);
        assert!(!html.contains("<script>"));
        assert!(html.contains("&lt;script&gt;&quot;&amp;&#252;"));
    }

    #[test]
    fn an_empty_report_is_still_a_page() {
        let html = write(&Report::new("rate", "http://127.0.0.1/"));
        assert!(html.contains("</html>"));
    }
}
