//! The report: one set of types that every command fills and every writer reads.
//!
//! A command leaves out what it has not measured (`None` or empty): a missing number is never a
//! zero. Counts and histograms only add, so reports of several generator hosts merge exactly
//! (`merge`). Percentiles and intervals are derived when written, never stored. Never does: decide.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use super::latency::{Latency, Packed};
use super::topics::Topics;

/// Version of the JSON form; a reader refuses any other.
pub const FORMAT: u32 = 1;

/// Everything one run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`FORMAT`].
    pub format: u32,
    /// Subcommand: `rate`, `closed`, `live`, `publish`, `topics`, `capacity`,
    /// `compare`.
    pub command: String,
    /// What was loaded, in words: a URL, or the number of URLs and their host.
    pub target: String,
    /// Start of the first phase, milliseconds since 1970 (wall clock; for naming only).
    pub started_unix_ms: u64,
    /// May the numbers be believed?
    pub verdict: Verdict,
    /// One block for each generator process.
    pub generators: Vec<Environment>,
    /// What was offered and what was achieved in the measured phase.
    pub load: Load,
    /// Connect, warm-up, measure, drain, in order.
    pub phases: Vec<Phase>,
    /// One entry for each kind of request; the measured phase only.
    pub operations: Vec<Operation>,
    /// The measured phase over time.
    pub series: Vec<Second>,
    /// What viewers experienced (`live`, and `capacity` over viewers).
    pub qoe: Option<Qoe>,
    /// What subscribers of topics got (`topics`).
    #[serde(default)]
    pub topics: Option<Topics>,
    /// Result of `capacity`.
    pub capacity: Option<Capacity>,
    /// Result of `compare`.
    pub comparison: Option<Comparison>,
    /// Gates given as flags, each with its outcome.
    pub thresholds: Vec<Threshold>,
    /// Some requests in full, for matching spikes with events on the server; bounded by the engine.
    pub samples: Vec<Sample>,
}

impl Report {
    /// A report with nothing in it yet.
    pub fn new(command: &str, target: &str) -> Self {
        Self {
            format: FORMAT,
            command: command.to_owned(),
            target: target.to_owned(),
            started_unix_ms: 0,
            verdict: Verdict::default(),
            generators: Vec::new(),
            load: Load::default(),
            phases: Vec::new(),
            operations: Vec::new(),
            series: Vec::new(),
            qoe: None,
            topics: None,
            capacity: None,
            comparison: None,
            thresholds: Vec::new(),
            samples: Vec::new(),
        }
    }
}

/// May the numbers be believed? Reasons are whole sentences; any reason makes a run invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// True exactly when `reasons` is empty.
    pub valid: bool,
    /// Why not, one sentence each, with the measured value and the bound.
    pub reasons: Vec<String>,
    /// Remarks that do not make a run invalid, one sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// True when the run was stopped early (SIGINT): thresholds are then not evaluated.
    pub interrupted: bool,
}

impl Verdict {
    /// A verdict from its reasons.
    pub fn from_reasons(reasons: Vec<String>) -> Self {
        Self { valid: reasons.is_empty(), reasons, notes: Vec::new(), interrupted: false }
    }
}

impl Default for Verdict {
    fn default() -> Self {
        Self::from_reasons(Vec::new())
    }
}

/// Where and how one generator process ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// The command line, one entry for each argument.
    pub command_line: Vec<String>,
    /// Seed of the schedule and of every random choice.
    pub seed: u64,
    /// Anything else, by dotted name: `kernel`, `cpu.model`, `cpu.pinning`, `cpu.steal_ms`,
    /// `tcp.retransmits`, `run_queue.delay_ms`, `version`, `server.version`, ...
    pub facts: BTreeMap<String, String>,
}

/// What was offered and what was achieved, in the measured phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// In words, as a label: `open loop, Poisson`, `closed loop`, `viewers, kick-off`.
    pub model: String,
    /// True for a closed loop: response times then leave out what the server's stalls delayed.
    pub closed: bool,
    /// Length of the measured phase in seconds.
    pub duration_s: f64,
    /// Requests that the schedule intended; `None` where no schedule exists.
    pub offered: Option<u64>,
    /// Requests that ended with a good answer.
    pub achieved: u64,
    /// Requests that ended in an error or a timeout.
    pub failed: u64,
    /// Requests not sent because too many were in flight.
    pub shed: u64,
    /// Bytes of bodies received (or sent, for `publish`).
    pub bytes: u64,
    /// Connections held, most at once.
    pub connections: u64,
    /// CPU time of all generator threads in seconds; `None` where not measured.
    pub generator_cpu_s: Option<f64>,
    /// CPU time of the server in seconds, when its process was named.
    pub server_cpu_s: Option<f64>,
}

/// One phase of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// `connect`, `warm-up`, `measure`, `drain`.
    pub name: String,
    /// Start in seconds since the run's start.
    pub start_s: f64,
    /// Length in seconds.
    pub duration_s: f64,
    /// Requests (or connects) that ended well.
    pub completed: u64,
    /// Those that did not.
    pub failed: u64,
    /// Response times from the intended time, or connect times; `None` when nothing was scheduled.
    pub response: Option<Latency>,
}

/// One kind of request: `GET`, `PUT`, `master`, `playlist`, `blocking`, `init`, `segment`, `part`.
/// All latencies in nanoseconds; `None` where there is no such stamp (no lateness in a
/// closed loop).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Name, also the Tag in `.hlog`: neither spaces nor commas.
    pub name: String,
    /// Requests that ended with a good answer.
    pub completed: u64,
    /// Errors by class: `timeout`, `connect`, `reset`, `truncated`, `status 503`, `content`, ...
    /// They are also in `response`, at no less than the timeout for timeouts.
    pub errors: BTreeMap<String, u64>,
    /// Not sent because too many were in flight.
    pub shed: u64,
    /// Body bytes.
    pub bytes: u64,
    /// Bodies compared with what they had to be.
    pub verified: u64,
    /// Dispatched minus intended: the generator's own fault.
    pub lateness: Option<Latency>,
    /// Written minus dispatched: wait for a free connection.
    pub wait: Option<Latency>,
    /// First byte minus written.
    pub first_byte: Option<Latency>,
    /// Last byte minus written.
    pub service: Option<Latency>,
    /// Last byte minus intended: the headline. In a closed loop there is none.
    pub response: Option<Latency>,
}

impl Operation {
    /// An operation of which nothing is known yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            completed: 0,
            errors: BTreeMap::new(),
            shed: 0,
            bytes: 0,
            verified: 0,
            lateness: None,
            wait: None,
            first_byte: None,
            service: None,
            response: None,
        }
    }

    /// Adds what another thread or process measured of the same operation.
    pub fn add(&mut self, part: &Self) {
        self.completed += part.completed;
        self.shed += part.shed;
        self.bytes += part.bytes;
        self.verified += part.verified;
        for (class, count) in &part.errors {
            *self.errors.entry(class.clone()).or_default() += count;
        }
        Latency::add_some(&mut self.lateness, part.lateness.as_ref());
        Latency::add_some(&mut self.wait, part.wait.as_ref());
        Latency::add_some(&mut self.first_byte, part.first_byte.as_ref());
        Latency::add_some(&mut self.service, part.service.as_ref());
        Latency::add_some(&mut self.response, part.response.as_ref());
    }

    /// All errors of all classes.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The histogram to show first: response from the intended time, or service in a closed loop.
    pub fn headline(&self) -> Option<&Latency> {
        self.response.as_ref().or(self.service.as_ref())
    }
}

/// One interval of the measured phase: 1 s, or a power of two more in long runs (`series::coalesce`
/// keeps their number bounded).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Start in seconds since the start of the measured phase.
    pub at_s: f64,
    /// Length in seconds.
    pub width_s: f64,
    /// Requests intended within it.
    pub offered: u64,
    /// Requests that ended well within it.
    pub achieved: u64,
    /// Requests that failed within it.
    pub failed: u64,
    /// Requests not sent within it.
    pub shed: u64,
    /// Body bytes that arrived within it.
    pub bytes: u64,
    /// Requests in flight at its end.
    pub in_flight: u64,
    /// Viewers watching at its end; 0 without viewers.
    pub viewers: u64,
    /// Viewers stalled at its end.
    pub stalled: u64,
    /// Largest lateness within it, in nanoseconds; `None` without a schedule.
    pub lateness_max_ns: Option<u64>,
    /// Headline latency of the requests that ended within it, by operation.
    pub latency: BTreeMap<String, Packed>,
}

/// What viewers experienced: counts that add, and distributions over viewers or deliveries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Qoe {
    /// Counts; every field adds in a merge.
    pub counts: QoeCounts,
    /// Named by the constants in [`distribution`].
    pub distributions: Vec<Distribution>,
}

/// Counts over all viewers of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QoeCounts {
    /// Viewers that tried to join.
    pub viewers: u64,
    /// Viewers that began to play.
    pub started: u64,
    /// Viewers that never got a playable buffer (errors or retries used up).
    pub start_failures: u64,
    /// Viewers that left before the first picture, tired of waiting.
    pub left_before_start: u64,
    /// Viewers that stalled at least once.
    pub stalled_viewers: u64,
    /// Stalls of all viewers.
    pub stalls: u64,
    /// Seconds of media played by all viewers.
    pub played_s: f64,
    /// Seconds stalled, of all viewers, after start.
    pub stalled_s: f64,
    /// Level switches.
    pub switches: u64,
    /// Downloads given up for a lower level.
    pub abandoned: u64,
    /// Segments or parts asked for.
    pub segments: u64,
    /// Segments or parts that took longer to arrive than to play.
    pub deadline_misses: u64,
    /// Blocking reloads answered.
    pub blocking_reloads: u64,
    /// Blocking reloads answered early without what was asked for.
    pub early_playlists: u64,
    /// Playlists that were older than one seen before.
    pub stale_playlists: u64,
    /// 404 for a listed segment or at the live edge.
    pub not_found: u64,
    /// Bodies compared with what they had to be.
    pub verified: u64,
    /// Bodies that differed.
    pub content_errors: u64,
    /// Bytes received and not played.
    pub wasted_bytes: u64,
}

/// Values of one kind over viewers (or deliveries): integers in a histogram, with their scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// One of the constants in [`distribution`].
    pub name: String,
    /// Unit after division by `per_unit`: `s`, `bit/s`, `/min`, or nothing for a ratio.
    pub unit: String,
    /// Recorded integers in one unit: 1e9 for nanoseconds to seconds.
    pub per_unit: f64,
    /// The recorded integers.
    pub values: Latency,
}

/// Names of distributions, each recorded once a viewer unless said otherwise.
pub mod distribution {
    /// Join to first picture, in seconds.
    pub const STARTUP: &str = "start-up time";
    /// Stalled / (stalled + played), a ratio.
    pub const REBUFFER: &str = "rebuffer ratio";
    /// Mean media bitrate in bit/s, weighted by play time.
    pub const BITRATE: &str = "bitrate";
    /// Level switches a minute of play.
    pub const SWITCHES: &str = "switches";
    /// Distance of the playhead from the live edge in seconds, mean over play time.
    pub const LIVE_LATENCY: &str = "live latency";
    /// Publish instant to the viewer's last byte, in seconds; once a delivery.
    pub const PUBLISH_TO_VIEW: &str = "publish to view";
    /// Publish instant to the last viewer's last byte, in seconds; once a segment or part.
    pub const PUBLISH_TO_LAST: &str = "publish to last viewer";
    /// First to last viewer of the same segment or part, in seconds; once a segment or part.
    pub const RELEASE_SPREAD: &str = "release spread";
    /// Intended publish instant to the last subscriber that waited for it; once a message.
    pub const PUBLISH_TO_LAST_SUBSCRIBER: &str = "publish to last subscriber";
    /// Connect to confirmed subscription; once a subscription.
    pub const SUBSCRIBE: &str = "subscribe";
    /// Intended publish instant to receipt by a subscriber that had been away; once a delivery.
    pub const RESUMED: &str = "publish to returned subscriber";
    /// Intended publish instant to receipt by a slow subscriber; once a delivery.
    pub const SLOW_SUBSCRIBER: &str = "publish to slow subscriber";
}

impl Distribution {
    /// An empty distribution of seconds, to the nanosecond and up to an hour.
    pub fn seconds(name: &str) -> Self {
        Self::new(name, "s", 1e9)
    }

    /// An empty distribution of ratios, in billionths.
    pub fn ratio(name: &str) -> Self {
        Self::new(name, "", 1e9)
    }

    /// An empty distribution of events a minute, in billionths.
    pub fn per_minute(name: &str) -> Self {
        Self::new(name, "/min", 1e9)
    }

    /// An empty distribution of bit/s.
    pub fn bits_per_second(name: &str) -> Self {
        Self::new(name, "bit/s", 1.0)
    }

    fn new(name: &str, unit: &str, per_unit: f64) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), per_unit, values: Latency::new() }
    }

    /// Counts one value in `unit`; negative values count as zero.
    #[expect(clippy::cast_possible_truncation, reason = "clamped by the histogram")]
    pub fn record(&mut self, value: f64) {
        self.values.record((value * self.per_unit).round().max(0.0) as u64);
    }
}

/// What `capacity` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Unit of the load: `requests/s` or `viewers`.
    pub unit: String,
    /// Gates that had to hold, in words.
    pub gates: Vec<String>,
    /// Largest load that kept every gate in every repeat; `None` when even the least did not.
    pub largest: Option<f64>,
    /// Smallest load that broke a gate; `None` when the bound of the search was reached first.
    pub broken_at: Option<f64>,
    /// Load from which latency grows faster than load (`search::knee`).
    pub knee: Option<f64>,
    /// What limited it: `server CPU`, `generator`, `link`, `connection wait`, or the gate broken.
    pub limiter: String,
    /// Every try, in the order made.
    pub tries: Vec<Try>,
}

/// One load that `capacity` tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// Load offered, in the search's unit.
    pub load: f64,
    /// Load achieved, in the same unit.
    pub achieved: f64,
    /// What came of it.
    pub outcome: Outcome,
    /// Gates broken, or reasons of invalidity, as sentences.
    pub reasons: Vec<String>,
    /// Headline p50 and p99 in nanoseconds, when enough samples stood behind them.
    pub p50_ns: Option<u64>,
    /// See `p50_ns`.
    pub p99_ns: Option<u64>,
    /// Share of its cores that the server used (1.0 is all of them), when known.
    pub server_cpu: Option<f64>,
    /// Share of its cores that the generator used (1.0 is all of them), when known.
    pub generator_cpu: Option<f64>,
    /// Other figures by name: `rebuffer ratio`, `stalled share`, `link share`, `Gbit/s`, ...; names
    /// that end in `ratio` or `share` are shown in percent.
    pub figures: BTreeMap<String, f64>,
}

/// Outcome of one try or of one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every gate held.
    Passed,
    /// A gate was broken.
    Failed,
    /// The run says nothing: the generator was not good enough, or too few samples.
    Invalid,
    /// Not evaluated: the run was interrupted.
    NotEvaluated,
}

/// What `compare` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Names of both targets.
    pub a: String,
    /// See `a`.
    pub b: String,
    /// Pairs that were measured and valid.
    pub pairs: u64,
    /// Pairs left out because a run of them was invalid.
    pub left_out: u64,
    /// How the intervals were made, in words.
    pub method: String,
    /// One row for each quantile compared.
    pub quantiles: Vec<QuantileDifference>,
    /// The conclusion over all quantiles.
    pub conclusion: Conclusion,
}

/// One quantile of B against A, over pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantileDifference {
    /// Quantile, 0 to 1.
    pub quantile: f64,
    /// Median over runs of this quantile of A, in nanoseconds.
    pub a_ns: f64,
    /// The same of B.
    pub b_ns: f64,
    /// B / A: estimate and bounds of its interval. Below 1, B is faster.
    pub ratio: f64,
    /// See `ratio`.
    pub ratio_low: f64,
    /// See `ratio`.
    pub ratio_high: f64,
    /// What this quantile says.
    pub conclusion: Conclusion,
}

/// Which of two targets is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// A is faster.
    AFaster,
    /// B is faster.
    BFaster,
    /// Some quantiles say A and some say B.
    Mixed,
    /// The interval holds "no difference".
    NotDistinguishable,
    /// Too few pairs for an interval.
    TooFewPairs,
}

/// One gate given as a flag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// As given: `p99<5ms`, `errors<0.01%`, `rebuffer<0.5%`.
    pub expression: String,
    /// What was measured, with its unit, or why nothing could be.
    pub measured: String,
    /// Did it hold?
    pub outcome: Outcome,
}

/// One request in full; times in nanoseconds since the start of the measured phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the operation.
    pub operation: String,
    /// The five stamps; `None` where the request did not get that far.
    pub intended_ns: Option<u64>,
    /// See `intended_ns`.
    pub dispatched_ns: Option<u64>,
    /// See `intended_ns`.
    pub written_ns: Option<u64>,
    /// See `intended_ns`.
    pub first_byte_ns: Option<u64>,
    /// See `intended_ns`.
    pub last_byte_ns: Option<u64>,
    /// Body bytes.
    pub bytes: u64,
    /// `200`, or the class of the error.
    pub result: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_json() {
        let mut report = Report::new("rate", "http://127.0.0.1:8080/a");
        let mut operation = Operation::new("GET");
        let mut latency = Latency::new();
        latency.record(250_000);
        operation.completed = 1;
        operation.errors.insert("timeout".to_owned(), 2);
        let second = Second {
            latency: BTreeMap::from([("GET".to_owned(), latency.pack())]),
            ..Second::default()
        };
        operation.response = Some(latency);
        report.operations.push(operation);
        report.series.push(second);
        let mut startup = Distribution::seconds(distribution::STARTUP);
        startup.record(0.25);
        report.qoe = Some(Qoe { distributions: vec![startup], ..Qoe::default() });
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains("\"lateness\":null"), "a missing stamp is null, not zero");
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
