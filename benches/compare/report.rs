//! What the runs amount to: medians, ratios, goals; as text, JSON and Markdown.
//!
//! A ratio is the median over the rounds of the two servers' ratio within one round, so that
//! a machine that changes between rounds does not change the ratio.
//!
//! **Invariants**: nothing is left out silently: servers that were skipped, runs that failed and
//! what disturbed the measurement stand beside the figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::measure::{CONNECTIONS, Sample};
use crate::peers::Server;
use crate::{Outcome, output};

/// Everything that was measured and under what conditions.
pub struct Report {
    /// All runs, in order.
    pub samples: Vec<Sample>,
    /// Servers that could not be measured at all, and why.
    pub skipped: BTreeMap<Server, String>,
    /// Single runs that failed.
    failed: Vec<String>,
    servers: Vec<Server>,
    conditions: Vec<(String, String)>,
}

/// Medians of one server at one size.
struct Row {
    server: Server,
    requests_per_second: f64,
    cpu_us: f64,
    cpu_us_min: f64,
    cpu_us_max: f64,
    p50_us: f64,
    p99_us: f64,
    /// Headwater's CPU per request divided by this server's; below 1 headwater is cheaper.
    headwater: Option<f64>,
    /// This server's CPU per request divided by the bare responder's.
    over_bare: Option<f64>,
}

impl Report {
    /// An empty report, with the machine and the versions.
    pub fn new(servers: &[Server], target: &Path, rounds: u32, seconds: u32) -> Outcome<Self> {
        let said = |program: &str, arguments: &[&str]| {
            let said = output(Command::new(program).args(arguments)).unwrap_or_default();
            said.lines().next().unwrap_or("unknown").trim().to_owned()
        };
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpu.lines().find(|line| line.starts_with("model name"));
        let cpu = cpu.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown");
        let mut conditions = vec![
            ("Date".to_owned(), said("date", &["--utc", "--iso-8601=minutes"])),
            ("Commit".to_owned(), said("git", &["describe", "--always", "--dirty"])),
            ("Kernel".to_owned(), said("uname", &["-rm"])),
            ("CPU".to_owned(), format!("{cpu}, {} cores", said("nproc", &["--all"]))),
            (
                "Load".to_owned(),
                format!(
                    "wrk, one thread on core 1, {CONNECTIONS} keep-alive connections; server on \
                     core 0; {rounds} rounds (ABBA) of {seconds} s, each after 1 s of warming; \
                     loopback"
                ),
            ),
        ];
        for server in servers {
            conditions.push((server.name().to_owned(), server.version(target)));
        }
        let (samples, failed) = (Vec::new(), Vec::new());
        let (skipped, servers) = (BTreeMap::new(), servers.to_vec());
        Ok(Self { samples, skipped, failed, servers, conditions })
    }

    /// Note that a run failed; a server that never yet gave a figure is skipped from now on.
    pub fn left_out(&mut self, server: Server, kib: u32, recent: &[Sample], reason: &str) {
        if self.samples.iter().chain(recent).any(|sample| sample.server == server.name()) {
            self.failed.push(format!("{server} at {kib} KiB: {reason}"));
        } else {
            self.skipped.insert(server, reason.to_owned());
        }
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (control, kib) in self.cases() {
            let rows = self.rows(&control, kib);
            writeln!(text, "\n{kib} KiB, {control}").ok();
            writeln!(
                text,
                "{:<13}{:>11}{:>11}{:>17}{:>9}{:>9}{:>12}{:>8}",
                "", "requests/s", "CPU us", "min..max", "p50 us", "p99 us", "headwater/", "/bare"
            )
            .ok();
            for row in &rows {
                writeln!(
                    text,
                    "{:<13}{:>11.0}{:>11.2}{:>17}{:>9.0}{:>9.0}{:>12}{:>8}",
                    row.server,
                    row.requests_per_second,
                    row.cpu_us,
                    format!("{:.2}..{:.2}", row.cpu_us_min, row.cpu_us_max),
                    row.p50_us,
                    row.p99_us,
                    ratio(row.headwater),
                    ratio(row.over_bare)
                )
                .ok();
            }
        }
        for line in self.verdicts().iter().chain(&self.remarks()) {
            writeln!(text, "\n{line}").ok();
        }
        text
    }

    /// Every run, every median, and the conditions.
    pub fn json(&self) -> Outcome<String> {
        let mut medians = Vec::new();
        for (control, kib) in self.cases() {
            for row in self.rows(&control, kib) {
                medians.push(json!({
                    "congestion_control": control, "kib": kib, "server": row.server.name(),
                    "requests_per_second": row.requests_per_second, "cpu_us": row.cpu_us,
                    "cpu_us_min": row.cpu_us_min, "cpu_us_max": row.cpu_us_max,
                    "p50_us": row.p50_us, "p99_us": row.p99_us,
                    "headwater_ratio": row.headwater, "over_bare": row.over_bare,
                }));
            }
        }
        let conditions: BTreeMap<_, _> = self.conditions.iter().cloned().collect();
        let whole = json!({
            "conditions": conditions, "medians": medians, "samples": self.samples,
            "verdicts": self.verdicts(), "remarks": self.remarks(),
        });
        Ok(serde_json::to_string_pretty(&whole)? + "\n")
    }

    /// For docs/PERFORMANCE.md.
    pub fn markdown(&self) -> String {
        let mut text = String::from("|Condition|Value|\n|---|---|\n");
        for (name, value) in &self.conditions {
            writeln!(text, "|{name}|{value}|").ok();
        }
        text.push_str(
            "\n|Size|Control|Server|requests/s|CPU us per request|min..max|p50 us|p99 us|\
             headwater / it|it / bare|\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for (control, kib) in self.cases() {
            for row in self.rows(&control, kib) {
                writeln!(
                    text,
                    "|{kib} KiB|{control}|{}|{:.0}|{:.2}|{:.2}..{:.2}|{:.0}|{:.0}|{}|{}|",
                    row.server,
                    row.requests_per_second,
                    row.cpu_us,
                    row.cpu_us_min,
                    row.cpu_us_max,
                    row.p50_us,
                    row.p99_us,
                    ratio(row.headwater),
                    ratio(row.over_bare)
                )
                .ok();
            }
        }
        text.push('\n');
        for line in self.verdicts().iter().chain(&self.remarks()) {
            writeln!(text, "- {line}").ok();
        }
        text
    }

    /// Put the Markdown between the two marks of `file`, which gets them at its end if it has none.
    pub fn renew(&self, file: &Path) -> Outcome<()> {
        renew(file, [BEGIN, END], &self.markdown())
    }

    /// Congestion control and size of everything measured, in the order of measurement.
    fn cases(&self) -> Vec<(String, u32)> {
        let mut cases: Vec<(String, u32)> = Vec::new();
        for sample in &self.samples {
            let case = (sample.congestion_control.clone(), sample.kib);
            if !cases.contains(&case) {
                cases.push(case);
            }
        }
        cases
    }

    fn of(&self, control: &str, kib: u32, server: Server) -> Vec<&Sample> {
        let wanted = |sample: &&Sample| {
            sample.congestion_control == control
                && sample.kib == kib
                && sample.server == server.name()
        };
        self.samples.iter().filter(wanted).collect()
    }

    fn rows(&self, control: &str, kib: u32) -> Vec<Row> {
        let mut rows = Vec::new();
        for &server in &self.servers {
            let runs = self.of(control, kib, server);
            let of = |field: fn(&Sample) -> f64| {
                let mut values: Vec<f64> = runs.iter().map(|sample| field(sample)).collect();
                values.sort_by(f64::total_cmp);
                values
            };
            let cpu_us = of(|sample| sample.cpu_us);
            let (Some(&cpu_us_min), Some(&cpu_us_max)) = (cpu_us.first(), cpu_us.last()) else {
                continue;
            };
            rows.push(Row {
                server,
                requests_per_second: median(&of(|sample| sample.requests_per_second)),
                cpu_us: median(&cpu_us),
                cpu_us_min,
                cpu_us_max,
                p50_us: median(&of(|sample| sample.p50_us)),
                p99_us: median(&of(|sample| sample.p99_us)),
                headwater: self.ratio(control, kib, Server::Headwater, server),
                over_bare: self.ratio(control, kib, server, Server::Bare),
            });
        }
        rows
    }

    /// Median over the rounds of `above`'s CPU per request divided by `below`'s.
    fn ratio(&self, control: &str, kib: u32, above: Server, below: Server) -> Option<f64> {
        let below = self.of(control, kib, below);
        let mut ratios: Vec<f64> = Vec::new();
        for one in self.of(control, kib, above) {
            let same_round = below.iter().find(|other| other.round == one.round);
            ratios.extend(same_round.map(|other| one.cpu_us / other.cpu_us));
        }
        ratios.sort_by(f64::total_cmp);
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    /// Headwater against its goals, under cubic.
    fn verdicts(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for &(server, kib, against_nginx, against_best) in GOALS {
            let against = |peer| self.ratio("cubic", kib, server, peer);
            let peers = self.servers.iter().copied().filter(|server| server.is_peer());
            // The best peer is the one beside which headwater looks worst.
            let best = peers
                .filter_map(|peer| Some((against(peer)?, peer)))
                .max_by(|one, other| one.0.total_cmp(&other.0));
            if let Some(ratio) = against(Server::Nginx) {
                lines.push(verdict(server, kib, "nginx", ratio, against_nginx));
            }
            if let Some((ratio, peer)) = best {
                let best = format!("the best peer ({peer})");
                lines.push(verdict(server, kib, &best, ratio, against_best));
            }
        }
        lines
    }

    /// What a reader has to know to judge the figures.
    fn remarks(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .skipped
            .iter()
            .map(|(server, reason)| format!("SKIPPED: {server}: {reason}"))
            .collect();
        lines.extend(self.failed.iter().map(|reason| format!("LEFT OUT: {reason}")));
        let foreign = self.samples.iter().map(|sample| sample.foreign_percent);
        let foreign = foreign.fold(0.0, f64::max);
        let judgement = if foreign > QUIET_PERCENT { "DISTURBED, repeat it" } else { "quiet" };
        lines.push(format!(
            "Up to {foreign:.0} % of the two cores' time went to neither server nor wrk: \
             {judgement}."
        ));
        lines.push(self.copied());
        lines.extend(REMARKS.iter().map(|&line| line.to_owned()));
        lines
    }

    /// The ways in which headwater's answers left, and the share that the kernel copied.
    fn copied(&self) -> String {
        let sum = |name: &str, label: &str| {
            let counters = self.samples.iter().flat_map(|sample| &sample.send_counters);
            let wanted = counters
                .filter(|(counter, _)| counter.starts_with(name) && counter.contains(label));
            wanted.map(|(_, count)| count).sum::<f64>()
        };
        let of = |way: &str| sum("headwater_sends_total{", &format!("way=\"{way}\""));
        let (copy, splice, zc) = (of("copy"), of("splice"), of("zc"));
        let zc_copied = sum("headwater_sends_zc_copied_total", "");
        let all = copy + splice + zc;
        if all == 0.0 {
            return "Sends: headwater states no counters.".to_owned();
        }
        format!(
            "Of headwater's {all:.0} sends the kernel copied {:.1} % ({:.1} % asked for no more, \
             {:.1} % are SEND_ZC that it copied all the same, as loopback always does: SEND_ZC can \
             never show its gain here); {:.1} % left by reference.",
            100.0 * (copy + zc_copied) / all,
            100.0 * copy / all,
            100.0 * zc_copied / all,
            100.0 * splice / all,
        )
    }
}

fn verdict(server: Server, kib: u32, name: &str, ratio: f64, goal: Option<f64>) -> String {
    let verdict = match goal {
        Some(goal) if ratio <= goal => format!("goal {goal:.2}: met"),
        Some(goal) => format!("goal {goal:.2}: MISSED"),
        None => "no goal, stated as it is".to_owned(),
    };
    format!("{kib} KiB: {server} / {name} = {ratio:.2}; {verdict}")
}

/// The middle of sorted values.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// Size in KiB; its CPU per request against nginx and against the best peer, at most.
type Goal = (Server, u32, Option<f64>, Option<f64>);

const GOALS: &[Goal] = &[
    (Server::Headwater, 2, Some(0.70), Some(0.90)),
    (Server::Headwater, 16, Some(0.85), Some(0.85)),
    (Server::Headwater, 64, Some(0.82), Some(0.82)),
    (Server::Headwater, 256, Some(0.85), Some(0.85)),
    (Server::Headwater, 1024, Some(0.80), Some(0.80)),
    (Server::Headwater, 4096, None, None),
    (Server::HeadwaterReplaced, 256, Some(0.90), Some(0.90)),
    (Server::HeadwaterReplaced, 1024, Some(0.90), Some(0.90)),
];

/// Above this share of foreign work a measurement is worth repeating.
pub const QUIET_PERCENT: f64 = 3.0;

const REMARKS: &[&str] = &[
    "CPU is the first field of schedstat over all threads of the server's processes. It includes \
     softirq work that ran in their time, cache misses and a hyperthread's sibling; it leaves out \
     ksoftirqd.",
    "wrk widens its percentiles after stalls (its correction for coordinated omission): p99 \
     is no raw figure. Requests per second are bounded by wrk's core as well.",
    "The congestion control is set by the loopback routes (congctl) and was read back from the \
     connections.",
];

/// Replaces what stands between two marks of a file, or adds it at its end.
pub fn renew(file: &Path, [begin, end]: [&str; 2], text: &str) -> Outcome<()> {
    let old = match fs::read_to_string(file) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "# Performance\n".into(),
        Err(error) => return Err(format!("{}: {error}", file.display()).into()),
    };
    let (before, after) = match (old.split_once(begin), old.split_once(end)) {
        (Some((before, _)), Some((_, after))) => (before.to_owned(), after.to_owned()),
        (None, None) => (format!("{}\n\n", old.trim_end()), "\n".to_owned()),
        _ => return Err(format!("{}: one mark without the other", file.display()).into()),
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))?;
    Ok(())
}

const BEGIN: &str = "<!-- compare: begin; renewed by scripts/compare --write -->";
const END: &str = "<!-- compare: end -->";

#[cfg(test)]
mod tests {
    use super::*;

    fn report(samples: &[(&'static str, u32, f64)]) -> Report {
        let sample = |&(server, round, cpu_us): &(&'static str, u32, f64)| Sample {
            congestion_control: "cubic".to_owned(),
            kib: 2,
            round,
            server,
            requests: 1,
            requests_per_second: 1.0,
            cpu_us,
            server_busy_percent: 50.0,
            p50_us: 1.0,
            p99_us: 1.0,
            foreign_percent: 0.0,
            send_counters: BTreeMap::new(),
        };
        Report {
            samples: samples.iter().map(sample).collect(),
            skipped: BTreeMap::new(),
            failed: Vec::new(),
            servers: Server::DEFAULT.to_vec(),
            conditions: Vec::new(),
        }
    }

    /// The machine is twice as slow in round 1; a ratio of medians would see it, ours must not.
    #[test]
    fn ratio_compares_within_a_round() {
        let report = report(&[
            ("headwater", 0, 6.0),
            ("headwater", 1, 12.0),
            ("nginx", 0, 10.0),
            ("nginx", 1, 20.0),
            ("nginx", 2, 10.0),
            ("h2o", 1, 15.0),
        ]);
        let ratio = |server| report.ratio("cubic", 2, Server::Headwater, server);
        assert_eq!(ratio(Server::Nginx), Some(0.6));
        assert_eq!(ratio(Server::Varnish), None);
        assert_eq!(
            report.verdicts(),
            [
                "2 KiB: headwater / nginx = 0.60; goal 0.70: met",
                "2 KiB: headwater / the best peer (h2o) = 0.80; goal 0.90: met"
            ]
        );
    }

    #[test]
    fn renew_replaces_only_what_is_between_the_marks() {
        let report = report(&[("bare", 0, 4.0)]);
        let file = std::env::temp_dir().join(format!("compare-renew-{}.md", std::process::id()));
        fs::write(&file, format!("# P\n\nabove\n\n{BEGIN}\nold\n{END}\n\nbelow\n")).unwrap();
        report.renew(&file).unwrap();
        report.renew(&file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# P\n\nabove\n\n<!--"), "{text}");
        assert!(text.ends_with("<!-- compare: end -->\n\nbelow\n"), "{text}");
        assert!(text.contains("|2 KiB|cubic|bare|") && !text.contains("old"), "{text}");
        assert_eq!(text.matches(BEGIN).count(), 1);

        fs::write(&file, format!("# P\n{END}\n")).unwrap();
        report.renew(&file).unwrap_err();
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn the_share_of_copied_sends_is_stated() {
        let mut report = report(&[("headwater", 0, 4.0)]);
        let counters = [("way=\"copy\"", 60.0), ("way=\"zc\"", 20.0), ("way=\"splice\"", 20.0)];
        let named = counters
            .map(|(way, count)| (format!("headwater_sends_total{{shard=\"0\",{way}}}"), count));
        report.samples[0].send_counters.extend(named);
        let copied = "headwater_sends_zc_copied_total{shard=\"0\"}".to_owned();
        report.samples[0].send_counters.insert(copied, 15.0);
        let said = report.copied();
        assert!(said.starts_with("Of headwater's 100 sends the kernel copied 75.0 %"), "{said}");
        assert!(said.ends_with("20.0 % left by reference."), "{said}");
    }

    #[test]
    fn median_of_even_and_odd_counts() {
        assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    }
}
