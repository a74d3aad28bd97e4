//! Turns what a run found into a report, and judges it.

use super::Job;
use super::order::Faults;
use super::record::{PUBLISH, Recorder};
use super::run::Outcome;
use super::table::Table;
use super::thread::Counts;
use crate::environment::{self, ThreadTime};
use crate::report::latency::Latency;
use crate::report::model::{Distribution, Load, Phase, Report, distribution};
use crate::report::topics::{TopicCounts, Topics};
use crate::report::verdict::{self, Evidence};
use crate::sys::thread::stopped;

/// Lateness of publishers allowed at p99.9 in nanoseconds: they sleep until each instant.
const LATENESS_FLOOR_NS: u64 = 1_000_000;

/// The report of a run.
pub fn report(job: &Job, mut outcome: Outcome) -> Report {
    let mut report = Report::new("topics", &job.target);
    report.started_unix_ms = outcome.started_unix_ms;
    let mut sum = Recorder::new(outcome.times.measure);
    let (mut spent, mut counts) = (Vec::new(), Counts::default());
    for share in &mut outcome.shares {
        sum.add(std::mem::replace(&mut share.recorder, Recorder::new(0)));
        spent.push((share.spent, share.wall));
        counts.reconnects += share.counts.reconnects;
        counts.cut += share.counts.cut;
        for (class, count) in &share.counts.errors {
            *counts.errors.entry(class.clone()).or_default() += count;
        }
    }
    for sent in &mut outcome.sent {
        sum.add(std::mem::replace(&mut sent.recorder, Recorder::new(0)));
        spent.push((sent.spent, sent.wall));
    }
    let topics = topics(job, &outcome, &sum, &counts);
    report.load = load(job, &outcome, &sum, &topics.counts, &spent);
    report.phases = phases(&outcome, &sum);
    judge(&mut report, job, outcome.offered, &sum, &spent);
    complain(&mut report, &counts);
    report.operations = std::mem::take(&mut sum.operations);
    report.operations.retain(|one| one.completed + one.failed() + one.shed > 0);
    report.series = std::mem::take(&mut sum.series);
    report.topics = Some(topics);
    report.generators = vec![environment(job, &outcome)];
    report
}

fn environment(job: &Job, outcome: &Outcome) -> crate::report::model::Environment {
    let mut environment = environment::describe(job.seed);
    if let Some(pid) = job.server {
        environment::describe_server(pid, &mut environment);
    }
    outcome.change.describe(&mut environment);
    let facts = &mut environment.facts;
    facts.insert("load.threads".to_owned(), job.threads.to_string());
    facts.insert("load.publishers".to_owned(), job.publishers.to_string());
    facts.insert("load.message_bytes".to_owned(), job.size.to_string());
    environment
}

/// What was right and wrong for subscribers, and when the last of them had each message.
fn topics(job: &Job, outcome: &Outcome, sum: &Recorder, ended: &Counts) -> Topics {
    let mut counts = TopicCounts {
        topics: job.paths.len() as u64,
        published: outcome.sent.iter().map(|sent| sent.placed.len() as u64).sum(),
        deliveries: sum.operations[..PUBLISH].iter().map(|operation| operation.completed).sum(),
        resumed: sum.resumed.count(),
        slow_deliveries: sum.slow.count(),
        reconnects: ended.reconnects,
        cut: ended.cut,
        ..TopicCounts::default()
    };
    for share in &outcome.shares {
        for ((follower, slow), behind) in share.followers.iter().zip(&share.behind) {
            // What a slow subscriber has not read by the end is its own affair.
            let behind = if *slow { 0 } else { *behind };
            counts.slow += u64::from(*slow);
            subscriber(&mut counts, follower.faults, behind);
        }
    }
    let mut last = Distribution::seconds(distribution::PUBLISH_TO_LAST_SUBSCRIBER);
    let measured = outcome.times.measure..outcome.times.end;
    let tables = merged(job, outcome, &mut counts);
    tables.iter().for_each(|table| table.to_last(measured.clone(), &mut last));
    let of = |name: &str, values: &Latency| Distribution {
        values: values.clone(),
        ..Distribution::seconds(name)
    };
    let mut distributions = vec![
        last,
        of(distribution::SUBSCRIBE, &sum.subscribing),
        of(distribution::RESUMED, &sum.resumed),
        of(distribution::SLOW_SUBSCRIBER, &sum.slow),
    ];
    distributions.retain(|distribution| !distribution.values.is_empty());
    Topics { counts, distributions }
}

fn subscriber(counts: &mut TopicCounts, faults: Faults, behind: u64) {
    let lost = faults.lost + behind;
    counts.subscribers += 1;
    counts.lost += lost;
    counts.duplicates += faults.duplicates;
    counts.disordered += faults.disordered;
    counts.discontinuities += faults.discontinuities;
    counts.skipped += faults.skipped;
    counts.subscribers_with_loss += u64::from(lost > 0);
    counts.subscribers_with_duplicates += u64::from(faults.duplicates > 0);
    counts.subscribers_with_disorder += u64::from(faults.disordered > 0);
    counts.subscribers_with_discontinuities += u64::from(faults.discontinuities > 0);
}

/// The tables of all threads in one; counts what does not agree.
fn merged(job: &Job, outcome: &Outcome, counts: &mut TopicCounts) -> Vec<Table> {
    let mut tables = vec![Table::default(); job.paths.len()];
    for share in &outcome.shares {
        for (table, theirs) in tables.iter_mut().zip(&share.tables) {
            counts.disordered += table.add(theirs);
        }
    }
    counts.disordered += tables.iter().map(Table::disordered).sum::<u64>();
    for placed in outcome.sent.iter().flat_map(|sent| &sent.placed) {
        let agrees = tables[placed.topic].agrees(placed.place, placed.identity);
        counts.disordered += u64::from(!agrees);
    }
    tables
}

fn load(
    job: &Job,
    outcome: &Outcome,
    sum: &Recorder,
    counts: &TopicCounts,
    spent: &[(ThreadTime, u64)],
) -> Load {
    let published = &sum.operations[PUBLISH];
    Load {
        model: format!(
            "{} subscribers of {} topics, {} publishers, {}",
            counts.subscribers,
            counts.topics,
            job.publishers,
            if job.is_poisson() { "Poisson" } else { "constant" }
        ),
        closed: false,
        duration_s: seconds(outcome.times.end - outcome.times.measure),
        offered: None,
        achieved: published.completed + counts.deliveries,
        failed: published.failed() + counts.lost + counts.duplicates + counts.disordered,
        shed: published.shed,
        bytes: sum.operations[..PUBLISH].iter().map(|operation| operation.bytes).sum(),
        connections: counts.subscribers + job.publishers as u64,
        generator_cpu_s: Some(seconds(spent.iter().map(|(spent, _)| spent.cpu_ns).sum())),
        server_cpu_s: outcome.change.server_cpu_s(),
    }
}

fn phases(outcome: &Outcome, sum: &Recorder) -> Vec<Phase> {
    let set_up = outcome.set_up.as_secs_f64();
    let times = outcome.times;
    let phase = |name: &str, from: u64, to: u64| Phase {
        name: name.to_owned(),
        start_s: set_up + seconds(from.saturating_sub(times.start)),
        duration_s: seconds(to.saturating_sub(from)),
        completed: 0,
        failed: 0,
        response: None,
    };
    let subscribed = Phase {
        start_s: 0.0,
        duration_s: set_up,
        completed: sum.subscribing.count(),
        response: Some(sum.subscribing.clone()),
        ..phase("subscribe", 0, 0)
    };
    let mut response = Latency::new();
    sum.operations.iter().filter_map(|one| one.response.as_ref()).for_each(|r| response.add(r));
    let measured = Phase {
        completed: sum.operations.iter().map(|operation| operation.completed).sum(),
        failed: sum.operations.iter().map(crate::report::model::Operation::failed).sum(),
        response: (!response.is_empty()).then_some(response),
        ..phase("measure", times.measure, times.end)
    };
    let mut phases = vec![subscribed];
    if times.measure > times.start {
        phases.push(phase("warm-up", times.start, times.measure));
    }
    phases.push(measured);
    phases.push(phase("drain", times.end, outcome.drained_at));
    phases
}

fn judge(
    report: &mut Report,
    job: &Job,
    offered: u64,
    sum: &Recorder,
    spent: &[(ThreadTime, u64)],
) {
    let published = &sum.operations[PUBLISH];
    let mut deliveries = Latency::new();
    let responses = sum.operations[..PUBLISH].iter().filter_map(|one| one.response.as_ref());
    responses.for_each(|response| deliveries.add(response));
    let share = |of: fn(&ThreadTime) -> u64| {
        let shares = spent.iter().filter(|(_, wall)| *wall > 0);
        shares.map(|(spent, wall)| of(spent) as f64 / *wall as f64).max_by(f64::total_cmp)
    };
    report.verdict = verdict::judge(&Evidence {
        lateness: published.lateness.as_ref(),
        response: Some(&deliveries),
        lateness_floor_ns: job.lateness_allowed.unwrap_or(LATENESS_FLOOR_NS),
        offered: Some(offered),
        achieved: published.completed,
        failed: published.failed(),
        cpu_share: share(|spent| spent.cpu_ns),
        delay_share: share(|spent| spent.delay_ns).filter(|_| job.lateness_allowed.is_none()),
        overflows: 0,
    });
    report.verdict.interrupted = stopped();
}

/// What ended subscriptions that nobody wanted to end.
fn complain(report: &mut Report, counts: &Counts) {
    for (class, count) in &counts.errors {
        report.verdict.notes.push(format!(
            "Subscriptions ended, or did not begin, without their subscriber's wish: {class}, \
             {count} times."
        ));
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
