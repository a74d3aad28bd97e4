//! The parts of the page above and below the tables: title, verdict, headline cards, footer.

use std::fmt::Write;

use super::super::model::{Capacity, Conclusion, Qoe, Report, distribution};
use super::super::stats;
use super::super::summary::{self, Row};
use super::super::topics::Topics;
use super::super::units;
use super::{escape, forest, interval, prose, time};

/// Title, what ran and when.
pub fn header(report: &Report) -> String {
    let title = match report.command.as_str() {
        "rate" => "Latency at a given rate",
        "closed" => "Largest rate of a closed loop",
        "live" => "Live viewers",
        "publish" => "Live publishing",
        "topics" => "Messages to subscribers",
        "capacity" => "Capacity",
        "compare" => "Comparison of two servers",
        other => other,
    };
    let mut facts = Vec::new();
    if report.started_unix_ms > 0 {
        facts.push(date(report.started_unix_ms));
    }
    if !report.load.model.is_empty() {
        facts.push(report.load.model.clone());
    }
    if report.load.duration_s > 0.0 {
        facts.push(format!("{} s measured", units::axis(report.load.duration_s)));
    }
    if report.load.connections > 0 {
        facts.push(format!("{} connections", units::count(report.load.connections)));
    }
    if report.generators.len() > 1 {
        facts.push(format!("{} generators, merged", report.generators.len()));
    }
    format!(
        "<header>\n<p class=\"kind\">{}</p>\n<h1>{}</h1>\n<p class=\"sub\">{}</p>\n</header>\n",
        escape(title),
        escape(&report.target),
        facts.iter().map(|fact| escape(fact)).collect::<Vec<_>>().join(" &middot; ")
    )
}

/// Milliseconds since 1970 as a date and time in UTC (Howard Hinnant's civil_from_days).
pub fn date(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02} UTC", seconds % 60)
}

/// May the numbers be believed?
pub fn verdict(report: &Report) -> String {
    let verdict = &report.verdict;
    let mut text = if verdict.valid {
        format!(
            "<div class=\"verdict valid\"><strong>VALID</strong> &ndash; {}; the numbers below are \
             the server's.</div>\n",
            if report.load.closed || report.capacity.is_some() || report.comparison.is_some() {
                "nothing on the generator's side spoilt the runs"
            } else {
                "the generator kept its schedule"
            }
        )
    } else {
        format!(
            "<div class=\"verdict invalid\"><strong>INVALID &ndash; do not use these numbers\
             </strong>{}</div>\n",
            list(&verdict.reasons)
        )
    };
    let mut remarks = verdict.notes.clone();
    if verdict.interrupted {
        remarks.insert(
            0,
            "The run was interrupted: these are partial numbers, thresholds were not evaluated."
                .to_owned(),
        );
    }
    if report.load.closed {
        remarks.push(
            "Closed loop: each connection waits for its answer before it sends again, so a stall \
             of the server hides the requests it delayed. These percentiles say nothing about \
             users; for that, offer a rate."
                .to_owned(),
        );
    }
    if !remarks.is_empty() {
        let _ = writeln!(text, "<div class=\"verdict remarks\">{}</div>", list(&remarks));
    }
    text
}

fn list(items: &[String]) -> String {
    let items: String = items.iter().map(|item| format!("<li>{}</li>", prose(item))).collect();
    format!("<ul>{items}</ul>")
}

struct Card {
    name: String,
    /// HTML.
    value: String,
    /// HTML.
    more: String,
    class: &'static str,
}

fn card(name: &str, value: String, more: String) -> Card {
    Card { name: name.to_owned(), value, more, class: "" }
}

/// What limited a search in a few words; a sentence stands small below them.
fn limiter_card(capacity: &Capacity) -> Card {
    let broken = capacity.tries.iter().rev().find(|t| Some(t.load) == capacity.broken_at);
    let first = broken.and_then(|t| t.reasons.first()).map_or("", String::as_str);
    let (what, why) = capacity.limiter.split_once(": ").unwrap_or((&capacity.limiter, first));
    Card { class: "words", ..card("Limited by", prose(what), prose(why)) }
}

/// The headline numbers of the run.
pub fn cards(report: &Report, rows: &[Row<'_>]) -> String {
    let mut cards = Vec::new();
    if let Some(capacity) = &report.capacity {
        let largest = capacity.largest.map_or("none".to_owned(), units::count_of);
        let value = format!("{largest} <small>{}</small>", escape(&capacity.unit));
        cards.push(card("Capacity", value, escape(&capacity.gates.join(", "))));
        if let Some(broken) = capacity.broken_at {
            let more = "lowest load that did".to_owned();
            cards.push(card("Broke a gate at", units::count_of(broken), more));
        }
        if let Some(knee) = capacity.knee {
            let more = "latency bends upwards here".to_owned();
            cards.push(card("Knee", units::count_of(knee), more));
        }
        cards.push(limiter_card(capacity));
    }
    if let Some(comparison) = &report.comparison {
        let (a, b, which) = forest::sides(comparison);
        let (a, b, which) = (escape(a), escape(b), escape(&which));
        let conclusion = match comparison.conclusion {
            Conclusion::AFaster => format!("{a} is faster"),
            Conclusion::BFaster => format!("{b} is faster"),
            Conclusion::Mixed => "mixed: see the quantiles".to_owned(),
            Conclusion::NotDistinguishable => "not distinguishable".to_owned(),
            Conclusion::TooFewPairs => "too few pairs".to_owned(),
        };
        let (good, out) = (comparison.pairs, comparison.left_out);
        let pairs = format!("{which}{good} valid pairs, {out} left out");
        let mut first = card("Conclusion", conclusion, pairs);
        first.class = "words";
        cards.push(first);
        for row in &comparison.quantiles {
            let name = format!("{}, {b} against {a}", units::quantile(row.quantile));
            let value = format!("{:+.1} %", (row.ratio - 1.0) * 100.0);
            let times = format!("{} against {}", time(row.b_ns), time(row.a_ns));
            cards.push(match row.conclusion {
                Conclusion::AFaster | Conclusion::BFaster => card(&name, value, times),
                _ => {
                    let unknown = "not distinguishable".to_owned();
                    Card { class: "words", ..card(&name, unknown, format!("{value}: {times}")) }
                }
            });
        }
    }
    if let Some(qoe) = &report.qoe {
        viewer_cards(qoe, &mut cards);
    } else if let Some(topics) = &report.topics {
        subscriber_cards(topics, &mut cards);
    } else if report.operations.len() == 1 {
        latency_cards(report, rows, &mut cards);
    }
    if report.load.achieved + report.load.failed > 0 {
        load_cards(report, &mut cards);
    }
    if cards.is_empty() {
        return String::new();
    }
    // Rows of equal length where that is possible.
    let columns = match cards.len() {
        n @ 0..=6 => n,
        7 | 8 => 4,
        _ => 5,
    };
    let mut text = format!("<div class=\"cards\" style=\"--n:{columns}\">\n");
    for card in cards {
        let words = if card.class == "words" { " words" } else { "" };
        let _ = writeln!(
            text,
            "<div class=\"card {}\"><div class=\"name\">{}</div><div class=\"value{words}\">{}\
             </div><div class=\"more\">{}</div></div>",
            card.class, card.name, card.value, card.more
        );
    }
    text.push_str("</div>\n");
    text
}

fn latency_cards(report: &Report, rows: &[Row<'_>], cards: &mut Vec<Card>) {
    let Some(row) = rows.iter().find(|row| summary::is_headline(row, report)) else { return };
    let mut name = row.quantity.to_owned();
    name[..1].make_ascii_uppercase();
    for (q, result) in row.percentiles.iter().filter(|(q, _)| [0.5, 0.99, 0.999].contains(q)) {
        let title = format!("{name} {}", units::quantile(*q));
        cards.push(match result {
            Ok(p) => {
                let interval = format!("95 %: {}", interval(p.low, p.high));
                card(&title, big_time(p.value as f64), interval)
            }
            Err(few) => card(&title, "&ndash;".to_owned(), summary::too_few(few)),
        });
    }
    let n = format!("n = {}", units::count(row.latency.count()));
    cards.push(card(&format!("{name} max"), big_time(row.latency.max() as f64), n));
}

fn load_cards(report: &Report, cards: &mut Vec<Card>) {
    let load = &report.load;
    let seconds = load.duration_s.max(f64::MIN_POSITIVE);
    let value = format!("{}<small>/s</small>", units::count_of(load.achieved as f64 / seconds));
    let moved = units::si(load.bytes as f64 * 8.0 / seconds, "bit/s");
    let more = match load.offered {
        Some(offered) => format!(
            "{} of {}/s offered, {}",
            units::percent(load.achieved as f64 / offered.max(1) as f64),
            units::count_of(offered as f64 / seconds),
            moved.replace(' ', "&nbsp;")
        ),
        None => moved,
    };
    cards.push(card("Achieved", value, more));
    let ended = load.achieved + load.failed;
    let share = load.failed as f64 / ended as f64;
    let (_, high) = stats::wilson(load.failed, ended);
    let more = format!(
        "{} of {}; below {}",
        units::count(load.failed),
        units::count(ended),
        units::percent(high)
    );
    let mut errors = card("Errors", units::percent(share), more);
    errors.class = if load.failed > 0 { "bad" } else { "" };
    cards.push(errors);
}

fn viewer_cards(qoe: &Qoe, cards: &mut Vec<Card>) {
    let counts = &qoe.counts;
    let share = |name: &str, hits: u64, of: u64| {
        let (low, high) = stats::wilson(hits, of);
        let text = units::percent(hits as f64 / of.max(1) as f64);
        let more = format!(
            "{} of {}; 95 %: {} to {}",
            units::count(hits),
            units::count(of),
            units::percent(low),
            units::percent(high)
        );
        card(name, text, more)
    };
    cards.push(card(
        "Viewers",
        units::count(counts.viewers),
        format!("{} began to play", units::count(counts.started)),
    ));
    let total = counts.played_s + counts.stalled_s;
    if total > 0.0 {
        let more = format!("{} stalls in {} of play", units::count(counts.stalls), hours(total));
        cards.push(card("Rebuffer ratio", units::percent(counts.stalled_s / total), more));
    }
    cards.push(share("Viewers that stalled", counts.stalled_viewers, counts.started));
    cards.push(share("Start failures", counts.start_failures, counts.viewers));
    for (name, q) in [(distribution::STARTUP, 0.95), (distribution::PUBLISH_TO_VIEW, 0.99)] {
        let Some(found) = qoe.distributions.iter().find(|d| d.name == name) else { continue };
        let Ok(p) = stats::percentile(&found.values, q) else { continue };
        let ns = |value: u64| value as f64 / found.per_unit * 1e9;
        let mut title = format!("{name} {}", units::quantile(q));
        title[..1].make_ascii_uppercase();
        let more = format!("95 %: {} &ndash; {}", time(ns(p.low)), time(ns(p.high)));
        cards.push(card(&title, big_time(ns(p.value)), more));
    }
}

fn subscriber_cards(topics: &Topics, cards: &mut Vec<Card>) {
    let counts = &topics.counts;
    let more = format!("{} messages published", units::count(counts.published));
    cards.push(card("Subscribers", units::count(counts.subscribers), more));
    let name = distribution::PUBLISH_TO_LAST_SUBSCRIBER;
    if let Some(last) = topics.distributions.iter().find(|d| d.name == name) {
        let ns = |value: u64| value as f64 / last.per_unit * 1e9;
        for q in [0.5, 0.99] {
            let Ok(p) = stats::percentile(&last.values, q) else { continue };
            let title = format!("Last subscriber {}", units::quantile(q));
            let more = format!("95 %: {} &ndash; {}", time(ns(p.low)), time(ns(p.high)));
            cards.push(card(&title, big_time(ns(p.value)), more));
        }
    }
    for (name, faults, of) in [
        ("Lost", counts.lost, counts.subscribers_with_loss),
        ("Duplicates", counts.duplicates, counts.subscribers_with_duplicates),
        ("Out of order", counts.disordered, counts.subscribers_with_disorder),
        ("Discontinuities", counts.discontinuities, counts.subscribers_with_discontinuities),
    ] {
        let more = format!("{} subscribers", units::count(of));
        let class = if faults > 0 { "bad" } else { "" };
        cards.push(Card { class, ..card(name, units::count(faults), more) });
    }
}

fn hours(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn big_time(nanoseconds: f64) -> String {
    split_unit(&units::time(nanoseconds)).replace(">us<", ">&micro;s<")
}

fn split_unit(text: &str) -> String {
    match text.split_once(' ') {
        Some((value, unit)) => format!("{value} <small>{unit}</small>"),
        None => text.to_owned(),
    }
}

/// What the words mean.
pub fn footer(report: &Report) -> String {
    let mut words = String::new();
    if !report.operations.is_empty() {
        for (name, meaning) in summary::QUANTITIES {
            let _ = write!(words, "<b>{name}</b>: {}. ", escape(meaning));
        }
        words.push_str(
            "Percentiles are given only with ten samples above them; histograms are merged, never \
             averaged. Intervals are 95 %: the wider of binomial order statistics and a bootstrap \
             over seconds. Timeouts and errors are part of the response times. ",
        );
    }
    format!("<footer><p>{words}Written by loadtest {}.</p></footer>\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_790_000_000_000), "2026-09-21 14:13:20 UTC");
    }
}
