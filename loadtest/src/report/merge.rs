//! Several generators, one report: histograms added, counts summed, series joined.
//!
//! The generators loaded the same target at the same time, so offered loads add up and seconds lie
//! on top of each other. The merged run is valid only when every part is. Thresholds are held
//! against the merged numbers anew. Never averages.

use super::latency::Latency;
use super::model::{Load, Phase, Qoe, Report, Verdict, distribution};
use super::series;
use super::threshold;

/// Sampled requests that a merged report keeps.
const SAMPLES_MAX: usize = 100_000;

/// Merges reports, each with the name to blame it by; the error is a sentence.
pub fn merge(parts: Vec<(String, Report)>) -> Result<Report, String> {
    let parts = {
        let mut parts = parts;
        parts.sort_by_key(|(_, report)| report.started_unix_ms);
        parts
    };
    let mut parts = parts.into_iter();
    let (first_name, first) = parts.next().ok_or("nothing to merge: name at least one report")?;
    refuse_results(&first_name, &first)?;
    let mut verdict = Verdict { reasons: Vec::new(), notes: Vec::new(), ..first.verdict.clone() };
    add_verdict(&mut verdict, &first_name, &first.verdict);
    let expressions: Vec<String> =
        first.thresholds.iter().map(|threshold| threshold.expression.clone()).collect();
    let (mut merged, mut several) = (first, false);
    for (name, part) in parts {
        refuse_results(&name, &part)?;
        if part.command != merged.command {
            return Err(format!(
                "{first_name} is a report of `{}` and {name} of `{}`: only like runs merge",
                merged.command, part.command
            ));
        }
        if part.started_unix_ms.abs_diff(merged.started_unix_ms) > 2_000 {
            verdict.notes.push(format!(
                "{name} began {:.1} s after {first_name}: seconds of the series do not coincide.",
                part.started_unix_ms.abs_diff(merged.started_unix_ms) as f64 / 1e3
            ));
        }
        add_verdict(&mut verdict, &name, &part.verdict);
        add(&mut merged, part);
        several = true;
    }
    let held_apart = [distribution::PUBLISH_TO_LAST, distribution::RELEASE_SPREAD];
    let names = merged.qoe.iter().flat_map(|qoe| &qoe.distributions).map(|d| d.name.as_str());
    if several && names.into_iter().any(|name| held_apart.contains(&name)) {
        verdict.notes.push(format!(
            "{} and {} are taken within each generator, not across them.",
            held_apart[0], held_apart[1]
        ));
    }
    if several && merged.topics.is_some() {
        verdict.notes.push(format!(
            "{} and the order of messages are looked at within each generator, not across them.",
            distribution::PUBLISH_TO_LAST_SUBSCRIBER
        ));
    }
    verdict.valid = verdict.reasons.is_empty();
    merged.verdict = verdict;
    merged.thresholds = threshold::evaluate(&expressions, &merged);
    Ok(merged)
}

fn refuse_results(name: &str, report: &Report) -> Result<(), String> {
    if report.capacity.is_some() || report.comparison.is_some() {
        return Err(format!(
            "{name} is a report of `{}`, a result that does not add",
            report.command
        ));
    }
    Ok(())
}

fn add_verdict(verdict: &mut Verdict, name: &str, part: &Verdict) {
    verdict.reasons.extend(part.reasons.iter().map(|reason| format!("{name}: {reason}")));
    verdict.notes.extend(part.notes.iter().map(|note| format!("{name}: {note}")));
    verdict.interrupted |= part.interrupted;
}

fn add(merged: &mut Report, mut part: Report) {
    if part.target != merged.target && !merged.target.contains(&part.target) {
        merged.target = format!("{}, {}", merged.target, part.target);
    }
    merged.generators.append(&mut part.generators);
    add_load(&mut merged.load, &part.load);
    for phase in part.phases {
        match merged.phases.iter_mut().find(|mine| mine.name == phase.name) {
            Some(mine) => add_phase(mine, &phase),
            None => merged.phases.push(phase),
        }
    }
    for operation in part.operations {
        match merged.operations.iter_mut().find(|mine| mine.name == operation.name) {
            Some(mine) => mine.add(&operation),
            None => merged.operations.push(operation),
        }
    }
    let width = |s: &[super::model::Second]| s.first().map_or(0.0, |second| second.width_s);
    let widest = width(&merged.series).max(width(&part.series));
    series::widen(&mut merged.series, widest);
    series::widen(&mut part.series, widest);
    series::overlay(&mut merged.series, &part.series);
    match (&mut merged.qoe, part.qoe) {
        (Some(mine), Some(theirs)) => add_qoe(mine, theirs),
        (mine @ None, theirs) => *mine = theirs,
        (Some(_), None) => {}
    }
    match (&mut merged.topics, part.topics) {
        (Some(mine), Some(theirs)) => mine.add(theirs),
        (mine @ None, theirs) => *mine = theirs,
        (Some(_), None) => {}
    }
    let room = SAMPLES_MAX.saturating_sub(merged.samples.len());
    merged.samples.extend(part.samples.into_iter().take(room));
}

fn add_load(load: &mut Load, part: &Load) {
    load.closed |= part.closed;
    load.duration_s = load.duration_s.max(part.duration_s);
    load.offered = load.offered.zip(part.offered).map(|(a, b)| a + b);
    load.achieved += part.achieved;
    load.failed += part.failed;
    load.shed += part.shed;
    load.bytes += part.bytes;
    load.connections += part.connections;
    load.generator_cpu_s = load.generator_cpu_s.zip(part.generator_cpu_s).map(|(a, b)| a + b);
    // Every generator watched the same server.
    load.server_cpu_s = match (load.server_cpu_s, part.server_cpu_s) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    };
}

fn add_phase(phase: &mut Phase, part: &Phase) {
    phase.start_s = phase.start_s.min(part.start_s);
    phase.duration_s = phase.duration_s.max(part.duration_s);
    phase.completed += part.completed;
    phase.failed += part.failed;
    Latency::add_some(&mut phase.response, part.response.as_ref());
}

fn add_qoe(qoe: &mut Qoe, part: Qoe) {
    let (to, from) = (&mut qoe.counts, &part.counts);
    to.viewers += from.viewers;
    to.started += from.started;
    to.start_failures += from.start_failures;
    to.left_before_start += from.left_before_start;
    to.stalled_viewers += from.stalled_viewers;
    to.stalls += from.stalls;
    to.played_s += from.played_s;
    to.stalled_s += from.stalled_s;
    to.switches += from.switches;
    to.abandoned += from.abandoned;
    to.segments += from.segments;
    to.deadline_misses += from.deadline_misses;
    to.blocking_reloads += from.blocking_reloads;
    to.early_playlists += from.early_playlists;
    to.stale_playlists += from.stale_playlists;
    to.not_found += from.not_found;
    to.verified += from.verified;
    to.content_errors += from.content_errors;
    to.wasted_bytes += from.wasted_bytes;
    for distribution in part.distributions {
        let same = |d: &&mut super::model::Distribution| {
            d.name == distribution.name && d.per_unit == distribution.per_unit
        };
        match qoe.distributions.iter_mut().find(same) {
            Some(mine) => mine.values.add(&distribution.values),
            None => qoe.distributions.push(distribution),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{fixture, json, summary};

    fn named(reports: Vec<Report>) -> Vec<(String, Report)> {
        reports.into_iter().enumerate().map(|(i, r)| (format!("{i}.json"), r)).collect()
    }

    #[test]
    fn merging_is_exact_also_through_files() {
        let (a, b) = (fixture::rate_of(12, 300, 1), fixture::rate_of(12, 300, 2));
        let mut both = summary::all_headlines(&a);
        both.add(&summary::all_headlines(&b));
        let read = |r: &Report| json::read("x", &json::write(r).unwrap()).unwrap();
        let merged = merge(named(vec![read(&a), read(&b)])).unwrap();
        assert_eq!(summary::all_headlines(&merged), both);
        assert_eq!(merged.load.achieved, a.load.achieved + b.load.achieved);
        assert_eq!(merged.generators.len(), 2);
        assert_eq!(merged.series.len(), 12);
        let second = |r: &Report| r.series[3].achieved;
        assert_eq!(second(&merged), second(&a) + second(&b));
        assert!(merged.verdict.valid);
        assert_eq!(merged.thresholds.len(), 2);
        assert_eq!(series::blocks_of(&merged.series, &merged.operations[0]).len(), 12);
    }

    #[test]
    fn one_invalid_part_makes_the_whole_invalid() {
        let merged = merge(named(vec![fixture::rate(), fixture::invalid()])).unwrap();
        assert!(!merged.verdict.valid);
        assert!(merged.verdict.reasons[0].starts_with("1.json: The generator was late"));
        assert_eq!(merged.operations[0].errors["timeout"], 71);
    }

    #[test]
    fn viewers_add_up() {
        let merged = merge(named(vec![fixture::live(), fixture::live()])).unwrap();
        let qoe = merged.qoe.unwrap();
        assert_eq!((qoe.counts.viewers, qoe.counts.stalls), (4000, 26));
        assert_eq!(qoe.distributions[0].values.count(), 4000);
        assert_eq!(merged.series[40].viewers, 2 * fixture::live().series[40].viewers);
    }

    #[test]
    fn subscribers_add_up() {
        let merged = merge(named(vec![fixture::topics(), fixture::topics()])).unwrap();
        let topics = merged.topics.unwrap();
        assert_eq!((topics.counts.subscribers, topics.counts.lost), (4000, 20));
        assert_eq!(topics.distributions[0].values.count(), 2000);
        assert!(merged.verdict.notes.iter().any(|note| note.contains("last subscriber")));
    }

    #[test]
    fn what_does_not_add_is_refused() {
        assert!(merge(vec![]).unwrap_err().contains("nothing to merge"));
        let error = merge(named(vec![fixture::capacity()])).unwrap_err();
        assert!(error.contains("does not add"), "{error}");
        let error = merge(named(vec![fixture::rate(), fixture::live()])).unwrap_err();
        assert!(error.contains("only like runs merge"), "{error}");
    }
}
