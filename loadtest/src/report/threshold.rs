//! Thresholds: gates given as flags, for CI and for the capacity search.
//!
//! `[operation.]metric OP bound` with `<`, `<=`, `>` or `>=`: `p99<5ms`, `segment.p99.9<=80ms`,
//! `errors<0.01%`, `rate>=19800`, `rebuffer<=0.5%`, `startup.p95<=2s`. A percentile without enough
//! samples behind it neither passes nor fails: the outcome is `invalid`.

use super::model::{Outcome, Report, Threshold, distribution};
use super::stats;
use super::summary;
use super::units;

/// Default gates over viewers: what a large event must keep.
pub const QOE_GATES: [&str; 5] =
    ["rebuffer<=0.5%", "stalled<=1%", "start-failures<=0.1%", "startup.p95<=2s", "errors<=0.01%"];
/// Default gates over requests.
pub const RATE_GATES: [&str; 2] = ["p99<=10ms", "errors<=0.01%"];

/// Words before a percentile that mean a distribution over viewers or of topics.
const DISTRIBUTIONS: [(&str, &str); 8] = [
    ("startup", distribution::STARTUP),
    ("live-latency", distribution::LIVE_LATENCY),
    ("publish", distribution::PUBLISH_TO_VIEW),
    ("publish-last", distribution::PUBLISH_TO_LAST),
    ("spread", distribution::RELEASE_SPREAD),
    ("bitrate", distribution::BITRATE),
    ("last", distribution::PUBLISH_TO_LAST_SUBSCRIBER),
    ("subscribe", distribution::SUBSCRIBE),
];

/// One gate, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    expression: String,
    scope: Option<String>,
    metric: Metric,
    below: bool,
    or_equal: bool,
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    Quantile(f64),
    Max,
    Errors,
    Shed,
    Rate,
    Rebuffer,
    Stalled,
    StartFailures,
    Early,
    NotFound,
    Content,
    Lost,
    Duplicates,
    Disorder,
    Discontinuities,
}

/// Metrics without a percentile, by name.
const METRICS: [(&str, Metric); 14] = [
    ("max", Metric::Max),
    ("errors", Metric::Errors),
    ("shed", Metric::Shed),
    ("rate", Metric::Rate),
    ("rebuffer", Metric::Rebuffer),
    ("stalled", Metric::Stalled),
    ("start-failures", Metric::StartFailures),
    ("early", Metric::Early),
    ("not-found", Metric::NotFound),
    ("content", Metric::Content),
    ("lost", Metric::Lost),
    ("duplicates", Metric::Duplicates),
    ("disorder", Metric::Disorder),
    ("discontinuities", Metric::Discontinuities),
];

/// Understands one expression; the error is a sentence.
pub fn parse(expression: &str) -> Result<Gate, String> {
    let wrong = |what: &str| format!("threshold `{expression}`: {what}");
    let text: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
    let at =
        text.find(['<', '>']).ok_or_else(|| wrong("no `<` or `>`; write for example `p99<5ms`"))?;
    let (name, rest) = text.split_at(at);
    let below = rest.starts_with('<');
    let (or_equal, bound) = match rest[1..].strip_prefix('=') {
        Some(bound) => (true, bound),
        None => (false, &rest[1..]),
    };
    let bound = number(bound).ok_or_else(|| {
        wrong("the bound is no number with `ns`, `us`, `ms`, `s`, `k`, `M` or `%`")
    })?;
    let (scope, metric) = metric_of(name).ok_or_else(|| {
        let names: Vec<&str> = METRICS.iter().map(|(name, _)| *name).collect();
        wrong(&format!("`{name}` is unknown; known are pNN (p50, p99.9) and {}", names.join(", ")))
    })?;
    Ok(Gate { expression: expression.to_owned(), scope, metric, below, or_equal, bound })
}

/// Splits `segment.p99.9` into its scope and its metric.
fn metric_of(name: &str) -> Option<(Option<String>, Metric)> {
    let metric = |text: &str| {
        if let Some((_, metric)) = METRICS.iter().find(|(known, _)| *known == text) {
            return Some(*metric);
        }
        let percent: f64 = text.strip_prefix('p')?.parse().ok()?;
        (percent > 0.0 && percent < 100.0).then_some(Metric::Quantile(percent / 100.0))
    };
    if let Some(found) = metric(name) {
        return Some((None, found));
    }
    // The scope ends at the first dot after which a metric is left.
    name.match_indices('.')
        .find_map(|(at, _)| Some((Some(name[..at].to_owned()), metric(&name[at + 1..])?)))
}

/// A number with a unit: times in nanoseconds, percent as a share.
fn number(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "%" => 0.01,
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "k" => 1e3,
        "M" => 1e6,
        _ => return None,
    };
    let value: f64 = digits.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value * factor)
}

/// What a gate measured: the number to hold against the bound, and how to print it.
type Measured = Result<(f64, String), String>;

impl Gate {
    /// The latency that it asks for, in nanoseconds.
    pub fn latency_bound(&self) -> Option<f64> {
        let is_time = matches!(self.metric, Metric::Quantile(_) | Metric::Max);
        (self.below && is_time && self.bound > 0.0).then_some(self.bound)
    }

    /// Holds the gate against a report.
    pub fn evaluate(&self, report: &Report) -> Threshold {
        let (measured, outcome) = match self.measure(report) {
            _ if report.verdict.interrupted => {
                ("the run was interrupted".to_owned(), Outcome::NotEvaluated)
            }
            Err(why) => (why, Outcome::Invalid),
            Ok((value, text)) => {
                let holds = match (self.below, self.or_equal) {
                    (true, true) => value <= self.bound,
                    (true, false) => value < self.bound,
                    (false, true) => value >= self.bound,
                    (false, false) => value > self.bound,
                };
                (text, if holds { Outcome::Passed } else { Outcome::Failed })
            }
        };
        Threshold { expression: self.expression.clone(), measured, outcome }
    }

    fn measure(&self, report: &Report) -> Measured {
        match self.metric {
            Metric::Quantile(q) => self.quantile(q, report),
            Metric::Max => {
                let latency = self.latency(report)?;
                Ok((latency.max() as f64, units::time(latency.max() as f64)))
            }
            Metric::Errors | Metric::Shed => self.errors(report),
            Metric::Rate => {
                let completed = match &self.scope {
                    None => report.load.achieved,
                    Some(_) => self.operation(report)?.completed,
                };
                let rate = completed as f64 / report.load.duration_s.max(f64::MIN_POSITIVE);
                Ok((rate, units::rate(rate)))
            }
            Metric::Lost | Metric::Duplicates | Metric::Disorder | Metric::Discontinuities => {
                self.subscribers(report)
            }
            _ => self.experience(report),
        }
    }

    fn quantile(&self, q: f64, report: &Report) -> Measured {
        let scope = self.scope.as_deref();
        if let Some((_, name)) = DISTRIBUTIONS.iter().find(|(word, _)| Some(*word) == scope) {
            let distribution = summary::all_distributions(report)
                .find(|distribution| distribution.name == *name)
                .ok_or_else(|| format!("no {name} in this run"))?;
            let found =
                stats::percentile(&distribution.values, q).map_err(|few| summary::too_few(&few))?;
            let value = found.value as f64 / distribution.per_unit;
            // Bounds of time are in nanoseconds.
            return Ok(match distribution.unit.as_str() {
                "s" => (value * 1e9, units::time(value * 1e9)),
                unit => (value, units::si(value, unit)),
            });
        }
        let latency = self.latency(report)?;
        let found = stats::percentile(&latency, q).map_err(|few| summary::too_few(&few))?;
        Ok((found.value as f64, units::time(found.value as f64)))
    }

    fn latency(&self, report: &Report) -> Result<super::latency::Latency, String> {
        match &self.scope {
            None => Ok(summary::all_headlines(report)),
            Some(name) => self
                .operation(report)?
                .headline()
                .cloned()
                .ok_or_else(|| format!("`{name}` has no latency in this run")),
        }
    }

    fn operation<'a>(&self, report: &'a Report) -> Result<&'a super::model::Operation, String> {
        let name = self.scope.as_deref().unwrap_or_default();
        report
            .operations
            .iter()
            .find(|operation| operation.name == name)
            .ok_or_else(|| format!("no operation `{name}` in this run"))
    }

    fn errors(&self, report: &Report) -> Measured {
        let (good, failed, shed) = match &self.scope {
            None => (report.load.achieved, report.load.failed, report.load.shed),
            Some(_) => {
                let operation = self.operation(report)?;
                (operation.completed, operation.failed(), operation.shed)
            }
        };
        match self.metric {
            Metric::Shed => share(shed, good + failed + shed),
            _ => share(failed, good + failed),
        }
    }

    /// Messages with that fault as a share of those that reached subscribers or were lost.
    fn subscribers(&self, report: &Report) -> Measured {
        let counts = &report.topics.as_ref().ok_or("no subscribers of topics in this run")?.counts;
        let reached = counts.deliveries + counts.resumed + counts.slow_deliveries;
        let faults = match self.metric {
            Metric::Lost => counts.lost,
            Metric::Duplicates => counts.duplicates,
            Metric::Disorder => counts.disordered,
            _ => counts.discontinuities,
        };
        share(faults, reached + faults)
    }

    fn experience(&self, report: &Report) -> Measured {
        let counts =
            &report.qoe.as_ref().ok_or_else(|| "no viewers in this run".to_owned())?.counts;
        match self.metric {
            Metric::Rebuffer => {
                let total = counts.played_s + counts.stalled_s;
                if total <= 0.0 {
                    return Err("nothing was played".to_owned());
                }
                let ratio = counts.stalled_s / total;
                Ok((ratio, units::percent(ratio)))
            }
            Metric::Stalled => share(counts.stalled_viewers, counts.started),
            Metric::StartFailures => share(counts.start_failures, counts.viewers),
            Metric::Early => share(counts.early_playlists, counts.blocking_reloads),
            Metric::NotFound => share(counts.not_found, counts.segments),
            _ => share(counts.content_errors, counts.verified),
        }
    }
}

/// A share with its Wilson interval.
fn share(hits: u64, of: u64) -> Measured {
    if of == 0 {
        return Err("nothing was counted".to_owned());
    }
    let share = hits as f64 / of as f64;
    let (low, high) = stats::wilson(hits, of);
    let interval = format!("{} to {}", units::percent(low), units::percent(high));
    Ok((
        share,
        format!(
            "{} ({} of {}; {interval})",
            units::percent(share),
            units::count(hits),
            units::count(of)
        ),
    ))
}

/// Understands and evaluates all expressions; one that is not understood is `invalid`.
pub fn evaluate(expressions: &[String], report: &Report) -> Vec<Threshold> {
    expressions
        .iter()
        .map(|expression| match parse(expression) {
            Ok(gate) => gate.evaluate(report),
            Err(why) => Threshold {
                expression: expression.clone(),
                measured: why,
                outcome: Outcome::Invalid,
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn outcome(expression: &str, report: &Report) -> Outcome {
        parse(expression).unwrap().evaluate(report).outcome
    }

    #[test]
    fn gates_hold_or_break() {
        let report = fixture::rate();
        for (expression, expected) in [
            ("p99<1h", None),
            ("p50<1ms", Some(Outcome::Passed)),
            ("p50 >= 1ms", Some(Outcome::Failed)),
            ("GET.p99.9<100ms", Some(Outcome::Passed)),
            ("p99.999<1s", Some(Outcome::Invalid)),
            ("PUT.p99<1s", Some(Outcome::Invalid)),
            ("max>0us", Some(Outcome::Passed)),
            ("errors<=0%", Some(Outcome::Passed)),
            ("errors<0%", Some(Outcome::Failed)),
            ("rate>=0.9k", Some(Outcome::Passed)),
            ("GET.rate>2k", Some(Outcome::Failed)),
            ("rebuffer<1%", Some(Outcome::Invalid)),
        ] {
            match expected {
                None => assert!(parse(expression).unwrap_err().contains("bound")),
                Some(expected) => {
                    assert_eq!(outcome(expression, &report), expected, "{expression}")
                }
            }
        }
    }

    #[test]
    fn gates_over_viewers() {
        let report = fixture::live();
        for expression in QOE_GATES {
            assert_eq!(outcome(expression, &report), Outcome::Passed, "{expression}");
        }
        assert_eq!(outcome("rebuffer<=0.01%", &report), Outcome::Failed);
        assert_eq!(outcome("startup.p50<10ms", &report), Outcome::Failed);
        assert_eq!(outcome("segment.p99<1s", &report), Outcome::Passed);
        assert_eq!(outcome("early<1%", &report), Outcome::Invalid, "no blocking reloads");
        let measured = parse("stalled<=1%").unwrap().evaluate(&report).measured;
        assert_eq!(measured, "0.55 % (11 of 1,999; 0.31 % to 0.98 %)");
    }

    #[test]
    fn gates_over_subscribers() {
        let report = fixture::topics();
        for (expression, expected) in [
            ("lost<=0%", Outcome::Failed),
            ("lost<0.01%", Outcome::Passed),
            ("duplicates<=0%", Outcome::Passed),
            ("disorder<=0%", Outcome::Passed),
            ("discontinuities<=0%", Outcome::Passed),
            ("last.p50<60ms", Outcome::Passed),
            ("last.p99<20ms", Outcome::Failed),
            ("subscribe.p50<1s", Outcome::Invalid),
        ] {
            assert_eq!(outcome(expression, &report), expected, "{expression}");
        }
        assert_eq!(outcome("lost<=0%", &fixture::live()), Outcome::Invalid, "no topics");
    }

    #[test]
    fn an_interrupted_run_is_not_judged() {
        let mut report = fixture::rate();
        report.verdict.interrupted = true;
        assert_eq!(outcome("p50<1ns", &report), Outcome::NotEvaluated);
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        for (text, part) in [
            ("p99", "no `<` or `>`"),
            ("p99<", "no number"),
            ("p99<5lightyears", "no number"),
            ("p99<-5ms", "no number"),
            ("p100<5ms", "`p100` is unknown"),
            ("speed<5ms", "known are pNN"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }
}
