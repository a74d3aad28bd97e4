//! May a run be believed? The rules, and the sentences that say why not.
//!
//! A run is invalid when the generator was late, when less was achieved than offered, when the
//! generator was short of CPU, or when something on its side overflowed. Achieved is what got a
//! good answer: a server that fails what it is asked has not carried the load, and its latencies
//! are not those of that load. How good a server is otherwise is never looked at here: that is
//! what thresholds are for.

use super::latency::Latency;
use super::model::{Outcome, Report, Verdict};
use super::stats;
use super::units;

/// Lateness always allowed at p99.9, in nanoseconds.
const LATENESS_FLOOR_NS: f64 = 50_000.0;
/// Lateness allowed at p99.9 as a share of the response's p50.
const LATENESS_SHARE: f64 = 0.10;
/// Least share of the offered requests that must have been achieved.
const ACHIEVED_SHARE: f64 = 0.99;
/// Largest share of its CPU that a sleeping generator thread may use.
const CPU_SHARE: f64 = 0.85;
/// Largest share of the time that a generator thread may wait for a CPU (run queue and steal).
const DELAY_SHARE: f64 = 0.01;

/// First word of the reason that less was achieved than offered.
const SHORTFALL: &str = "Only";

/// How a run ends, for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Valid, and every threshold held (or there was none, or the run was interrupted).
    Good,
    /// Valid, but a threshold did not hold or could not be evaluated.
    Failed,
    /// Not to be believed, whatever the thresholds say.
    Invalid,
}

/// How the run of this report ends.
pub fn ending(report: &Report) -> Ending {
    let broken = |outcome| matches!(outcome, Outcome::Failed | Outcome::Invalid);
    if !report.verdict.valid {
        Ending::Invalid
    } else if report.thresholds.iter().any(|threshold| broken(threshold.outcome)) {
        Ending::Failed
    } else {
        Ending::Good
    }
}

/// Whether a reason of invalidity says that less was achieved than offered: with a generator that
/// was on time, that is the server's doing.
pub fn is_shortfall(reason: &str) -> bool {
    reason.starts_with(SHORTFALL)
}

/// What the rules look at. `None` where it was not measured or does not apply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// Dispatched minus intended, all operations.
    pub lateness: Option<&'a Latency>,
    /// Last byte minus intended, all operations.
    pub response: Option<&'a Latency>,
    /// Lateness allowed at p99.9 whatever the response, in nanoseconds; 0 for the usual 50 us.
    pub lateness_floor_ns: u64,
    /// Requests intended in the measured phase.
    pub offered: Option<u64>,
    /// Requests that ended well in the measured phase.
    pub achieved: u64,
    /// Requests that ended otherwise in it: timeouts, errors, statuses from 400.
    pub failed: u64,
    /// CPU time / wall time of the busiest generator thread; where threads spin until something is
    /// due, time in use.
    pub cpu_share: Option<f64>,
    /// Time waited for a CPU / wall time, of the worst thread.
    pub delay_share: Option<f64>,
    /// Completions or events lost on the generator's side.
    pub overflows: u64,
}

/// Applies the rules.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let (mut reasons, mut notes) = (Vec::new(), Vec::new());
    if let (Some(lateness), Some(response)) = (evidence.lateness, evidence.response) {
        reasons.extend(late(evidence, lateness, response));
        notes.extend(pause_note(lateness, response));
    }
    reasons.extend(shortfall(evidence));
    if let Some(share) = evidence.cpu_share.filter(|share| *share > CPU_SHARE) {
        reasons.push(format!(
            "A generator thread used {:.0} % of its CPU, at most {:.0} % may be: use more threads \
             or a lower rate.",
            share * 100.0,
            CPU_SHARE * 100.0
        ));
    }
    if let Some(share) = evidence.delay_share.filter(|share| *share > DELAY_SHARE) {
        reasons.push(format!(
            "A generator thread waited {:.1} % of the time for a CPU, at most {:.0} % may be: \
             give it a core of its own.",
            share * 100.0,
            DELAY_SHARE * 100.0
        ));
    }
    if evidence.overflows > 0 {
        reasons.push(format!(
            "{} events were lost on the generator's side (ring overflow).",
            units::count(evidence.overflows)
        ));
    }
    Verdict { notes, ..Verdict::from_reasons(reasons) }
}

/// The rule of what was achieved. Without a schedule it is held against what was answered at all.
fn shortfall(evidence: &Evidence<'_>) -> Option<String> {
    let (base, which) = match evidence.offered {
        Some(offered) => (offered, "offered"),
        None => (evidence.achieved + evidence.failed, "answered"),
    };
    let share = evidence.achieved as f64 / base.max(1) as f64;
    (base > 0 && share < ACHIEVED_SHARE).then(|| {
        let why = match evidence.failed {
            0 => String::new(),
            failed => format!(" {:.2} % failed.", failed as f64 / base as f64 * 100.0),
        };
        format!(
            "{SHORTFALL} {:.2} % of the {} {which} requests were achieved; {:.0} % must be.{why}",
            share * 100.0,
            units::count(base),
            ACHIEVED_SHARE * 100.0
        )
    })
}

/// The remark that requests failed, with their share of all that ended; `None` without any.
pub fn failures(good: u64, failed: u64) -> Option<String> {
    let share = units::percent(failed as f64 / (good + failed).max(1) as f64);
    (failed > 0).then(|| format!("{} requests failed, {share} of them all.", units::count(failed)))
}

/// The remark that more lateness was allowed than usual, in nanoseconds, and by what.
pub fn lateness_allowed(allowed: u64, by: &str) -> String {
    let allowed = units::time(allowed as f64);
    format!(
        "Lateness up to {allowed} at p99.9 was allowed ({by}): differences below that say nothing."
    )
}

/// The lateness rule: at p99.9, or in a short run at the highest quantile that it can speak of.
fn late(evidence: &Evidence<'_>, lateness: &Latency, response: &Latency) -> Option<String> {
    if lateness.is_empty() || response.is_empty() {
        return None;
    }
    let floor = if evidence.lateness_floor_ns == 0 {
        LATENESS_FLOOR_NS
    } else {
        evidence.lateness_floor_ns as f64
    };
    let bound = floor.max(response.value_at(0.5) as f64 * LATENESS_SHARE);
    let quantile = stats::highest_quantile(lateness.count()).min(0.999);
    let measured = lateness.value_at(quantile);
    (measured as f64 > bound).then(|| {
        let name = units::quantile(quantile);
        format!(
            "The generator was late: lateness {name} {} is above {}, the larger of {} and 10 % of \
             the response p50.",
            units::time(measured as f64),
            units::time(bound),
            units::time(floor)
        )
    })
}

/// A remark when a pause of the generator may stand behind the largest responses.
fn pause_note(lateness: &Latency, response: &Latency) -> Option<String> {
    let bound = (response.max() as f64 * LATENESS_SHARE).max(LATENESS_FLOOR_NS);
    (!response.is_empty() && lateness.max() as f64 > bound).then(|| {
        format!(
            "The generator paused once for up to {}: the largest response, {}, may be its fault.",
            units::time(lateness.max() as f64),
            units::time(response.max() as f64)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{fixture, threshold};

    fn latency(n: u64, value: u64, max: u64) -> Latency {
        let mut latency = Latency::new();
        (1..n).for_each(|_| latency.record(value));
        latency.record(max);
        latency
    }

    #[test]
    fn a_good_run_is_valid() {
        let (lateness, response) =
            (latency(20_000, 5_000, 60_000), latency(20_000, 300_000, 2_000_000));
        let evidence = Evidence {
            lateness: Some(&lateness),
            response: Some(&response),
            offered: Some(20_000),
            achieved: 20_000,
            cpu_share: Some(0.5),
            delay_share: Some(0.001),
            ..Evidence::default()
        };
        assert_eq!(judge(&evidence).reasons, [""; 0].map(String::from));
    }

    /// Runs of half a second, as comparisons make them, were all invalid for one pause in each.
    #[test]
    fn a_short_run_is_held_to_the_highest_quantile_it_can_speak_of() {
        let response = latency(2_000, 100_000, 200_000);
        let lateness = latency(2_000, 5_000, 900_000);
        let evidence = |lateness| Evidence {
            lateness: Some(lateness),
            response: Some(&response),
            ..Evidence::default()
        };
        assert!(judge(&evidence(&lateness)).reasons.is_empty(), "one pause");
        let mut worse = latency(2_000, 5_000, 900_000);
        (0..11).for_each(|_| worse.record(900_000));
        let reasons = judge(&evidence(&worse)).reasons;
        assert!(reasons[0].contains("lateness p99.5 900 us is above 50.0 us"), "{reasons:?}");
        let few = latency(19, 5_000, 900_000);
        let reasons = judge(&evidence(&few)).reasons;
        assert!(reasons[0].contains("lateness p99.9 900 us"), "{reasons:?}");
    }

    #[test]
    fn the_ending_is_the_worst_of_all() {
        let mut report = fixture::rate();
        assert_eq!(ending(&report), Ending::Good);
        for (expression, expected) in
            [("p50<1ns", Ending::Failed), ("p99.999<1s", Ending::Failed), ("p50<1s", Ending::Good)]
        {
            report.thresholds = threshold::evaluate(&[expression.to_owned()], &report);
            assert_eq!(ending(&report), expected, "{expression}");
        }
        assert_eq!(ending(&fixture::invalid()), Ending::Invalid);
    }

    #[test]
    fn each_rule_has_its_sentence() {
        let (late, slow) = (latency(20_000, 100_000, 100_000), latency(20_000, 300_000, 300_000));
        let evidence =
            Evidence { lateness: Some(&late), response: Some(&slow), ..Evidence::default() };
        assert!(judge(&evidence).reasons[0].contains("lateness p99.9 100 us is above 50.0 us"));
        let very_slow = latency(20_000, 2_000_000, 9_000_000);
        assert!(judge(&Evidence { response: Some(&very_slow), ..evidence }).valid);
        let paused = latency(20_000, 1_000, 5_000_000);
        let verdict = judge(&Evidence { lateness: Some(&paused), ..evidence });
        assert!(
            verdict.valid && verdict.notes[0].starts_with("The generator paused"),
            "{verdict:?}"
        );
        let rules = Evidence {
            offered: Some(1000),
            achieved: 980,
            cpu_share: Some(0.9),
            delay_share: Some(0.05),
            overflows: 3,
            ..Evidence::default()
        };
        let verdict = judge(&rules);
        assert!(!verdict.valid);
        assert_eq!(verdict.reasons.len(), 4);
        assert!(verdict.reasons[0].contains("98.00 % of the 1,000"), "{verdict:?}");
        assert!(judge(&Evidence { offered: Some(0), ..Evidence::default() }).valid);
    }

    /// A server that answered one request of four with 503 was VALID at a rate that it never gave.
    #[test]
    fn failed_answers_are_not_achieved() {
        let of = |offered, achieved, failed| Evidence {
            offered,
            achieved,
            failed,
            ..Evidence::default()
        };
        let reasons = judge(&of(Some(1000), 750, 250)).reasons;
        let sentence = "Only 75.00 % of the 1,000 offered requests were achieved; 99 % must be. \
                        25.00 % failed.";
        assert_eq!(reasons, [sentence]);
        assert!(is_shortfall(&reasons[0]));
        let reasons = judge(&of(None, 60, 40)).reasons;
        assert!(reasons[0].contains("60.00 % of the 100 answered requests"), "{reasons:?}");
        assert!(judge(&of(Some(1000), 991, 9)).valid, "gates judge a few");
        assert!(judge(&of(None, 0, 0)).valid);
        let note = failures(991, 9);
        assert_eq!(note.as_deref(), Some("9 requests failed, 0.90 % of them all."));
        assert_eq!(failures(1, 0), None);
    }
}
