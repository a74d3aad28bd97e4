//! Turns what a run found into a report, and judges it.

use super::clock::nanos;
use super::plan::{Mode, Plan};
use super::record::{Side, Slow, Totals};
use super::run::Outcome;
use super::worker::Usage;
use crate::environment;
use crate::rate::Arrivals;
use crate::report::latency::Latency;
use crate::report::model::{Load, Operation, Phase, Report, Sample, Verdict};
use crate::report::verdict::{self, Evidence};
use crate::report::{stats, units};

/// Lateness always allowed at p99.9, in nanoseconds.
const LATENESS_FLOOR_NS: u64 = 50_000;
/// Lateness at p99.9 that even a restless machine is not allowed, in nanoseconds.
const LATENESS_CAP_NS: u64 = 1_000_000;

/// The report of a run.
pub fn report(plan: &Plan, outcome: &Outcome, command: &str, target: &str) -> Report {
    let mut report = Report::new(command, target);
    report.started_unix_ms = outcome.started_unix_ms;
    report.load = load(plan, outcome);
    report.phases = phases(plan, outcome);
    report.operations = plan
        .operations
        .iter()
        .zip(&outcome.totals)
        .map(|(name, totals)| operation(name, totals, plan.is_open()))
        .collect();
    report.series.clone_from(&outcome.series);
    report.samples = samples(plan, outcome);
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
    if plan.is_open() {
        let way = if plan.is_busy() { "spins" } else { "sleeps, and spins at the end" };
        facts.insert("load.pacing".to_owned(), way.to_owned());
    }
    if plan.is_open()
        && let Some(share) = busiest(outcome, |usage| usage.used)
    {
        facts.insert("load.time_in_use".to_owned(), units::percent(share));
    }
    if !outcome.bare.is_empty() {
        let time = |ns: u64| units::time(ns as f64);
        facts.insert("bare_clock.p99.9".to_owned(), time(outcome.bare.value_at(0.999)));
        facts.insert("bare_clock.max".to_owned(), time(outcome.bare.max()));
    }
    report.generators = vec![environment];
    report.verdict = judge(plan, outcome);
    report
}

fn load(plan: &Plan, outcome: &Outcome) -> Load {
    let model = match &plan.mode {
        Mode::Open { arrivals: Arrivals::Poisson, .. } => "open loop, Poisson",
        Mode::Open { arrivals: Arrivals::Constant, .. } => "open loop, constant gaps",
        Mode::Open { arrivals: Arrivals::Trace(_), .. } => "open loop, trace",
        Mode::Closed => "closed loop: what its stalls delayed is left out",
    };
    let sum = |of: fn(&Totals) -> u64| outcome.totals.iter().map(of).sum::<u64>();
    let cpu: u64 = outcome.usage.iter().map(|usage| usage.cpu).sum();
    Load {
        model: model.to_owned(),
        closed: !plan.is_open(),
        duration_s: seconds(outcome.times.end - outcome.times.measure),
        offered: plan.is_open().then_some(outcome.offered),
        achieved: sum(|totals| totals.completed),
        failed: sum(|totals| totals.errors.values().sum()),
        shed: sum(|totals| totals.shed),
        bytes: sum(|totals| totals.bytes),
        connections: plan.connections as u64,
        generator_cpu_s: (cpu > 0).then_some(seconds(cpu)),
        server_cpu_s: outcome.change.as_ref().and_then(|change| change.server_cpu_s()),
    }
}

fn phases(plan: &Plan, outcome: &Outcome) -> Vec<Phase> {
    let times = outcome.times;
    let phase = |name: &str, from: u64, to: u64, side: &Side| Phase {
        name: name.to_owned(),
        start_s: seconds(from),
        duration_s: seconds(to.saturating_sub(from)),
        completed: side.completed,
        failed: side.failed,
        response: (!side.times.is_empty()).then(|| side.times.clone()),
    };
    let mut measured = Side::default();
    for totals in &outcome.totals {
        measured.completed += totals.completed;
        measured.failed += totals.errors.values().sum::<u64>();
        measured.times.add(if plan.is_open() { &totals.response } else { &totals.service });
    }
    let mut phases = vec![phase("connect", 0, times.start, &outcome.connects)];
    if !plan.warm_up.is_zero() {
        phases.push(phase("warm-up", times.start, times.measure, &outcome.warm_up));
    }
    phases.push(phase("measure", times.measure, times.end, &measured));
    phases.push(phase("drain", times.end, outcome.drained_at, &outcome.drained));
    if !outcome.bare.is_empty() {
        let ticks = Side { times: outcome.bare.clone(), ..Side::default() };
        phases.push(phase("bare clock", 0, clock_check(plan), &ticks));
    }
    phases
}

/// Length of the bare clock loops together, in nanoseconds.
fn clock_check(plan: &Plan) -> u64 {
    nanos(plan.bare).saturating_mul(2)
}

fn operation(name: &str, totals: &Totals, open: bool) -> Operation {
    let some = |latency: &Latency| (!latency.is_empty()).then(|| latency.clone());
    Operation {
        completed: totals.completed,
        errors: totals.errors.clone(),
        shed: totals.shed,
        bytes: totals.bytes,
        verified: totals.verified,
        lateness: open.then(|| some(&totals.lateness)).flatten(),
        wait: open.then(|| some(&totals.wait)).flatten(),
        first_byte: some(&totals.first_byte),
        service: some(&totals.service),
        response: open.then(|| some(&totals.response)).flatten(),
        ..Operation::new(name)
    }
}

fn samples(plan: &Plan, outcome: &Outcome) -> Vec<Sample> {
    let since = |at: u64| (at > 0).then(|| at.saturating_sub(outcome.times.measure));
    let sample = |slow: &Slow| Sample {
        operation: plan.operations[slow.job.operation as usize].clone(),
        intended_ns: plan.is_open().then(|| slow.job.intended - outcome.times.measure),
        dispatched_ns: since(slow.job.dispatched),
        written_ns: since(slow.job.written),
        first_byte_ns: since(slow.job.first_byte),
        last_byte_ns: slow.end.error.is_none().then(|| since(slow.end.at)).flatten(),
        bytes: slow.end.bytes,
        result: slow.end.error.clone().unwrap_or_else(|| slow.end.status.to_string()),
    };
    outcome.slow.iter().map(sample).collect()
}

fn judge(plan: &Plan, outcome: &Outcome) -> Verdict {
    let (mut lateness, mut response) = (Latency::new(), Latency::new());
    for totals in &outcome.totals {
        lateness.add(&totals.lateness);
        response.add(&totals.response);
    }
    let open = plan.is_open();
    let share = |of| busiest(outcome, of);
    let busy = plan.is_busy();
    let bare = floor(&outcome.bare).filter(|_| plan.lateness_allowed.is_none());
    let allowed = plan.lateness_allowed.map(nanos);
    let evidence = Evidence {
        lateness: open.then_some(&lateness),
        response: open.then_some(&response),
        lateness_floor_ns: allowed.or(bare.filter(|_| busy)).unwrap_or(0),
        offered: open.then_some(outcome.offered),
        achieved: outcome.inside.good,
        failed: outcome.inside.failed,
        cpu_share: share(|usage| usage.used).filter(|_| open),
        // Whoever allows lateness allows what it comes from.
        delay_share: share(|usage| usage.delay).filter(|_| open && allowed.is_none()),
        overflows: 0,
    };
    let mut verdict = verdict::judge(&evidence);
    verdict.interrupted = outcome.interrupted;
    verdict.notes.extend(notes(plan, outcome, share(|usage| usage.cpu), bare));
    verdict
}

/// The largest share of the measured phase, over threads, of what `of` takes from the usage.
fn busiest(outcome: &Outcome, of: fn(&Usage) -> u64) -> Option<f64> {
    let shares = outcome.usage.iter().filter(|usage| usage.wall > 0);
    shares.map(|usage| of(usage) as f64 / usage.wall as f64).max_by(f64::total_cmp)
}

/// Twice what the bare clock loop showed at p99.9, when that is above the usual bound; capped.
fn floor(bare: &Latency) -> Option<u64> {
    let floor = 2 * bare.value_at(0.999);
    let enough = bare.count() >= stats::samples_needed(0.999);
    (enough && floor > LATENESS_FLOOR_NS).then_some(floor.min(LATENESS_CAP_NS))
}

fn notes(plan: &Plan, outcome: &Outcome, cpu: Option<f64>, bare: Option<u64>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(allowed) = plan.lateness_allowed {
        let by = "a flag, or a tenth of what a gate asks for";
        notes.push(verdict::lateness_allowed(nanos(allowed), by));
    }
    if let Some(bare) = bare {
        notes.push(format!(
            "This machine is restless: a bare clock loop on the same core, {} other CPUs busy as \
             under load, was late by {} at p99.9, so that lateness up to {} was allowed.",
            plan.server_cpus().len(),
            units::time(outcome.bare.value_at(0.999) as f64),
            units::time(bare as f64)
        ));
    }
    if let Some(share) = cpu.filter(|share| !plan.is_open() && *share > 0.85) {
        notes.push(format!(
            "The busiest load thread used {:.0} % of its CPU: the server may be capable of more.",
            share * 100.0
        ));
    }
    let failed: u64 = outcome.totals.iter().flat_map(|totals| totals.errors.values()).sum();
    let good = outcome.totals.iter().map(|totals| totals.completed).sum();
    notes.extend(verdict::failures(good, failed).map(|sentence| {
        let timeout = units::time(nanos(plan.timeout) as f64);
        format!("{sentence} Each counts as no faster than the timeout, {timeout}.")
    }));
    if outcome.connects.failed > 0 {
        notes.push(format!("{} connects failed.", units::count(outcome.connects.failed)));
    }
    let overflows: u64 = outcome.usage.iter().map(|usage| usage.overflows).sum();
    if overflows > 0 {
        notes.push(format!(
            "Completions had to wait for room in the ring {} times; none was lost.",
            units::count(overflows)
        ));
    }
    notes
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
