//! Meters as text, by the conventions of the Prometheus exposition format, version 0.0.4.
//!
//! Base units (seconds, bytes), `_total` on counters, cumulated buckets, one HELP and TYPE per
//! family. The only labels are `shard`, the fixed ones of the table in [`crate::meters`], the
//! patterns of rules with a webhook, of which there are few, and the names of topics whose rules
//! ask for it, which are bounded.

use std::fmt::Write;
use std::sync::Arc;

use crate::meters::{ShardMeters, TopicCount};
use crate::sys::meter::{Family, Kind, Reading, Snapshot};

use super::{HookMeters, Phase, Process};

/// Value of Content-Type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All families of all shards, then those of the process.
pub fn render(
    shards: &[Arc<ShardMeters>],
    process: &Process,
    hooks: &[Arc<HookMeters>],
    topics: &[TopicCount],
) -> String {
    let mut out = Text(String::with_capacity(64 * 1024));
    for family in ShardMeters::FAMILIES {
        out.head(family.name, family.kind, family.help);
        for (index, meters) in shards.iter().enumerate() {
            out.shard(family, index, meters);
        }
    }
    out.process(process);
    out.webhooks(hooks);
    out.topics(topics);
    out.0
}

/// A topic's name, which is UTF-8, as the value of a label. No two names have the same one: a
/// second sample of a series would spoil the whole text.
fn label_of(topic: &[u8]) -> String {
    let mut out = String::new();
    for letter in String::from_utf8_lossy(topic).chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            letter => out.push(letter),
        }
    }
    out
}

/// The text under construction. Writing to a string cannot fail, so results are dropped.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn shard(&mut self, family: &Family<ShardMeters>, index: usize, meters: &ShardMeters) {
        for series in family.series {
            let comma = if series.labels.is_empty() { "" } else { "," };
            let labels = format!("shard=\"{index}\"{comma}{}", series.labels);
            match (series.read)(meters) {
                Reading::Count(value) => self.line(family.name, &labels, value as f64),
                Reading::Level(value) => self.line(family.name, &labels, value as f64),
                Reading::Sizes(sizes) => self.histogram(family, &labels, &sizes),
            }
        }
    }

    fn histogram(&mut self, family: &Family<ShardMeters>, labels: &str, sizes: &Snapshot) {
        let name = family.name;
        let mut cumulated = 0;
        for (bound, count) in sizes.bounds.iter().zip(sizes.buckets) {
            cumulated += count;
            let bound = f64::from(*bound) / family.divisor;
            let _ = writeln!(self.0, "{name}_bucket{{{labels},le=\"{bound}\"}} {cumulated}");
        }
        let count = sizes.count();
        let sum = sizes.sum as f64 / family.divisor;
        let _ = writeln!(
            self.0,
            "{name}_bucket{{{labels},le=\"+Inf\"}} {count}\n\
             {name}_sum{{{labels}}} {sum}\n\
             {name}_count{{{labels}}} {count}"
        );
    }

    fn process(&mut self, process: &Process) {
        let build = format!(
            "version=\"{}\",profile=\"{}\",arch=\"{}\"",
            env!("CARGO_PKG_VERSION"),
            super::admin::PROFILE,
            std::env::consts::ARCH
        );
        self.gauge("headwater_build_info", "Always 1; the labels say what runs.", &build, 1.0);
        let ready = if process.phase == Phase::Ready { 1.0 } else { 0.0 };
        self.gauge("headwater_ready", "Whether new requests are wanted.", "", ready);
        self.gauge("headwater_uptime_seconds", "Time since the start.", "", process.uptime_s);
        let help = "Bytes that objects can have in memory, all shards together.";
        self.gauge("headwater_arena_capacity_bytes", help, "", process.arena_bytes as f64);
        let help = "Time until the arena is full at the growth of the last five minutes.";
        self.gauge("headwater_arena_time_to_full_seconds", help, "", process.time_to_full_s);
        let help = "Access log lines written.";
        self.counter("headwater_access_log_lines_total", help, process.access_lines as f64);
        let help = "Access log lines that could not be written, for example on a full disk.";
        self.counter("headwater_access_log_lost_total", help, process.access_lost as f64);
        let name = "headwater_reloads_total";
        self.head(name, Kind::Counter, "Reloads of the configuration, by outcome.");
        self.line(name, "outcome=\"done\"", process.reloads.0 as f64);
        self.line(name, "outcome=\"failed\"", process.reloads.1 as f64);
        let help = "1 when a write was lost and the disk tier takes no more until a restart.";
        let is_read_only = f64::from(process.disk.is_read_only);
        self.gauge("headwater_disk_read_only", help, "", is_read_only);
        let help = "1 while a folder of the disk tier is not at its path.";
        self.gauge("headwater_disk_away", help, "", f64::from(process.disk.is_away));
        let help = "1 while the disk is used up to disk.high_water and takes no uploads.";
        self.gauge("headwater_disk_full", help, "", f64::from(process.disk.is_full));
        if let Some((used_bytes, capacity_bytes)) = process.disk.room {
            let help = "Bytes used of the data folder's file system, whoever uses them.";
            self.gauge("headwater_disk_used_bytes", help, "", used_bytes as f64);
            let help = "Bytes that can be used of it.";
            self.gauge("headwater_disk_capacity_bytes", help, "", capacity_bytes as f64);
        }
        let help = "Unix time of the process's start.";
        self.gauge("process_start_time_seconds", help, "", process.started_s);
        if let Some(cpu_s) = process.cpu_s {
            self.counter("process_cpu_seconds_total", "CPU time of all threads.", cpu_s);
        }
        if let Some(open_fds) = process.open_fds {
            self.gauge("process_open_fds", "Descriptors open.", "", open_fds as f64);
        }
        if let Some(max_fds) = process.max_fds {
            self.gauge("process_max_fds", "Descriptors allowed.", "", max_fds as f64);
        }
        if let Some(bytes) = process.resident_bytes {
            self.gauge("process_resident_memory_bytes", "Resident memory.", "", bytes as f64);
        }
    }

    /// By rule: at most [`crate::limits::WEBHOOKS_MAX`].
    fn webhooks(&mut self, hooks: &[Arc<HookMeters>]) {
        if hooks.is_empty() {
            return;
        }
        let name = "headwater_webhook_messages_total";
        self.head(name, Kind::Counter, "Messages that webhooks were to hear of, by outcome.");
        for hook in hooks {
            let label = hook.label();
            self.line(name, &format!("{label},outcome=\"delivered\""), hook.delivered() as f64);
            self.line(name, &format!("{label},outcome=\"dead_letter\""), hook.dead() as f64);
        }
        let name = "headwater_webhook_failed_attempts_total";
        self.head(name, Kind::Counter, "Attempts at delivering to webhooks that failed.");
        for hook in hooks {
            self.line(name, hook.label(), hook.failed() as f64);
        }
        let name = "headwater_webhook_queue_messages";
        self.head(name, Kind::Gauge, "Messages that wait for their webhook.");
        for hook in hooks {
            self.line(name, hook.label(), hook.queued() as f64);
        }
    }

    /// By name: at most [`crate::limits::TOPIC_SERIES_MAX`].
    fn topics(&mut self, topics: &[TopicCount]) {
        if topics.is_empty() {
            return;
        }
        let labels = topics.iter().map(|one| format!("topic=\"{}\"", label_of(&one.name)));
        let labels: Vec<_> = labels.collect();
        let name = "headwater_topic_subscribers_by_topic";
        let help = "Subscriptions that are open, of topics whose rule has metrics = true.";
        self.head(name, Kind::Gauge, help);
        for (labels, one) in labels.iter().zip(topics) {
            self.line(name, labels, one.subscribers as f64);
        }
        let name = "headwater_topic_publishers_by_topic";
        let help = "Distinct tokens that published to them in the last complete 10 seconds.";
        self.head(name, Kind::Gauge, help);
        for (labels, one) in labels.iter().zip(topics) {
            self.line(name, labels, one.publishers as f64);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &str, value: f64) {
        self.head(name, Kind::Gauge, help);
        self.line(name, labels, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, Kind::Counter, help);
        self.line(name, "", value);
    }

    fn line(&mut self, name: &str, labels: &str, value: f64) {
        let _ = match labels {
            "" => write!(self.0, "{name} "),
            labels => write!(self.0, "{name}{{{labels}}} "),
        };
        let _ = match value {
            f64::INFINITY => writeln!(self.0, "+Inf"),
            value => writeln!(self.0, "{value}"),
        };
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
