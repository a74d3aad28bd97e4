//! Turns what a live run found into a report, and judges it.

use super::plan::{OPERATIONS, Plan};
use super::run::Outcome;
use crate::engine::clock::nanos;
use crate::engine::record::Totals;
use crate::environment;
use crate::report::latency::Latency;
use crate::report::model::{Load, Operation, Phase, Report};
use crate::report::verdict::{self, Evidence};

/// Lateness allowed at p99.9 in nanoseconds: a browser's own timers are no better (4 ms).
const LATENESS_FLOOR_NS: u64 = 4_000_000;

/// The report of a run.
pub fn report(plan: &Plan, outcome: Outcome, target: &str) -> Report {
    let mut report = Report::new("live", target);
    report.started_unix_ms = outcome.started_unix_ms;
    report.load = load(plan, &outcome);
    report.phases = phases(plan, &outcome);
    let operations = OPERATIONS.iter().zip(&outcome.totals);
    report.operations = operations
        .filter(|(_, totals)| totals.completed > 0 || !totals.errors.is_empty())
        .map(|(name, totals)| operation(name, totals))
        .collect();
    let mut environment = environment::describe(plan.seed);
    if let Some(pid) = plan.server {
        environment::describe_server(pid, &mut environment);
    }
    if let Some(change) = &outcome.change {
        change.describe(&mut environment);
    }
    let facts = &mut environment.facts;
    facts.insert("load.threads".to_owned(), plan.threads.to_string());
    if !plan.cpus.is_empty() {
        let cpus: Vec<String> = plan.cpus.iter().map(usize::to_string).collect();
        facts.insert("load.cpus".to_owned(), cpus.join(","));
    }
    report.generators = vec![environment];
    judge(&mut report, plan, &outcome);
    report.series = outcome.series;
    report.qoe = Some(outcome.qoe);
    report
}

fn load(plan: &Plan, outcome: &Outcome) -> Load {
    let sum = |of: fn(&Totals) -> u64| outcome.totals.iter().map(of).sum::<u64>();
    let cpu: u64 = outcome.usage.iter().map(|usage| usage.cpu).sum();
    let who = if plan.edge.is_some() { "caches" } else { "viewers" };
    Load {
        model: format!("{who}, {}", plan.arrivals),
        closed: false,
        duration_s: seconds(outcome.times.end - outcome.times.measure),
        offered: Some(outcome.asked),
        achieved: sum(|totals| totals.completed),
        failed: sum(|totals| totals.errors.values().sum()),
        shed: 0,
        bytes: sum(|totals| totals.bytes),
        connections: outcome.connections as u64,
        generator_cpu_s: (cpu > 0).then_some(seconds(cpu)),
        server_cpu_s: outcome.change.as_ref().and_then(|change| change.server_cpu_s()),
    }
}

fn phases(plan: &Plan, outcome: &Outcome) -> Vec<Phase> {
    let times = outcome.times;
    let phase = |name: &str, from: u64, to: u64| Phase {
        name: name.to_owned(),
        start_s: seconds(from - times.start),
        duration_s: seconds(to - from),
        completed: 0,
        failed: 0,
        response: None,
    };
    let mut phases = Vec::new();
    if !plan.warm_up.is_zero() {
        phases.push(phase("warm-up", times.start, times.measure));
    }
    let mut response = Latency::new();
    outcome.totals.iter().for_each(|totals| response.add(&totals.response));
    let measured = Phase {
        completed: outcome.totals.iter().map(|totals| totals.completed).sum(),
        failed: outcome.totals.iter().flat_map(|totals| totals.errors.values()).sum(),
        response: (!response.is_empty()).then_some(response),
        ..phase("measure", times.measure, times.end)
    };
    phases.push(measured);
    phases
}

fn operation(name: &str, totals: &Totals) -> Operation {
    let some = |latency: &Latency| (!latency.is_empty()).then(|| latency.clone());
    Operation {
        completed: totals.completed,
        errors: totals.errors.clone(),
        shed: totals.shed,
        bytes: totals.bytes,
        verified: totals.verified,
        lateness: some(&totals.lateness),
        wait: some(&totals.wait),
        first_byte: some(&totals.first_byte),
        service: some(&totals.service),
        response: some(&totals.response),
        ..Operation::new(name)
    }
}

fn judge(report: &mut Report, plan: &Plan, outcome: &Outcome) {
    let (mut lateness, mut response) = (Latency::new(), Latency::new());
    for totals in &outcome.totals {
        lateness.add(&totals.lateness);
        response.add(&totals.response);
    }
    let share = |of: fn(&crate::engine::worker::Usage) -> u64| {
        let shares = outcome.usage.iter().filter(|usage| usage.wall > 0);
        shares.map(|usage| of(usage) as f64 / usage.wall as f64).max_by(f64::total_cmp)
    };
    let allowed = plan.lateness_allowed.map(nanos);
    let evidence = Evidence {
        lateness: Some(&lateness),
        response: Some(&response),
        lateness_floor_ns: allowed.unwrap_or(LATENESS_FLOOR_NS),
        offered: Some(outcome.asked),
        // The load is the viewers, and one whose answers fail is still one: failures are what they
        // experience, not load that is missing.
        achieved: outcome.inside.good + outcome.inside.failed,
        failed: 0,
        cpu_share: share(|usage| usage.cpu),
        // Whoever allows lateness allows what it comes from.
        delay_share: share(|usage| usage.delay).filter(|_| allowed.is_none()),
        overflows: 0,
    };
    report.verdict = verdict::judge(&evidence);
    report.verdict.interrupted = outcome.interrupted;
    let note = allowed.map(|allowed| verdict::lateness_allowed(allowed, "a flag"));
    report.verdict.notes.extend(note);
    let load = &report.load;
    report.verdict.notes.extend(verdict::failures(load.achieved, load.failed));
    report.verdict.notes.extend(outcome.complaint.clone());
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
