//! The same servers under the project's own generator: `loadtest rate` at fixed rates, which every
//! server has to keep, and `loadtest closed` for what it can do at most.
//!
//! **Invariants**: the rate never yields to the server; what is not to be believed is marked.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::measure::{answered, threads, used};
use crate::peers::{Running, Server, url};
use crate::{Bench, Body, Outcome, there_and_back};

/// Requests per second that are asked for; zero: as many as it can.
const RATES: [u32; 3] = [20_000, 50_000, 0];

/// Between which the table stands in docs/PERFORMANCE.md.
pub const MARKS: [&str; 2] =
    ["<!-- rank: begin; renewed by scripts/compare --rank --write -->", "<!-- rank: end -->"];

/// One run.
pub struct Rank {
    server: Server,
    rate: u32,
    achieved: f64,
    cpu_us: f64,
    /// p50, p99 and p99.9 of the response, from the instant that was intended.
    response_us: [Option<f64>; 3],
    lateness_us: Option<f64>,
    is_valid: bool,
}

/// Runs every server at every rate.
pub fn run(bench: &Bench, servers: &[Server], body: &Body, rounds: u32) -> Vec<Rank> {
    let mut ranks = Vec::new();
    for round in 0..rounds {
        for server in there_and_back(servers, round) {
            for rate in RATES {
                // A run that other work disturbed is made once more; both are counted.
                for _ in 0..2 {
                    match one(bench, server, body, rate) {
                        Ok(rank) => {
                            eprintln!("{}", rank.line());
                            ranks.push(rank);
                        }
                        Err(error) => eprintln!("{server} at {rate}/s: left out: {error}"),
                    }
                    if ranks.last().is_none_or(|last| last.is_valid) {
                        break;
                    }
                }
            }
        }
    }
    ranks
}

fn one(bench: &Bench, server: Server, body: &Body, rate: u32) -> Outcome<Rank> {
    let mut running = Running::start(bench, server, body)?;
    running.verify(bench, body)?;
    let file = bench.work.join("rank.json");
    let _ = fs::remove_file(&file);
    let mut load = Command::new(bench.target.join("loadtest"));
    match rate {
        0 => load.arg("closed"),
        rate => load.args(["rate", "--busy-poll", "--rate", &rate.to_string()]),
    };
    load.arg(url(body)).args(["--pin", "1", "--warmup", "1s", "--quiet", "--report"]).arg(&file);
    load.args(["--duration", &format!("{}s", bench.seconds)]);
    let before = threads(running.pid());
    let _ = load.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let cpu = used(&before, &threads(running.pid()));
    running.alive()?;
    let report: Value = serde_json::from_slice(&fs::read(&file)?)?;
    Ok(Rank::of(server, rate, cpu.as_secs_f64(), &report))
}

impl Rank {
    fn of(server: Server, rate: u32, cpu_s: f64, report: &Value) -> Self {
        let completed = answered(report);
        let times = &report["summary"]["latency_ns"]["GET"];
        let kind = if rate == 0 { "service" } else { "response" };
        let us = |kind: &str, q: &str| times[kind][q]["value"].as_f64().map(|ns| ns / 1e3);
        let seconds = report["load"]["duration_s"].as_f64().unwrap_or(1.0);
        Self {
            server,
            rate,
            achieved: report["load"]["achieved"].as_f64().unwrap_or(0.0) / seconds,
            cpu_us: cpu_s * 1e6 / completed.max(1.0),
            response_us: ["p50", "p99", "p99.9"].map(|q| us(kind, q)),
            lateness_us: us("lateness", "p99.9"),
            is_valid: report["verdict"]["reasons"].as_array().is_none_or(Vec::is_empty),
        }
    }

    fn line(&self) -> String {
        let time = |us: Option<f64>| us.map_or("-".to_owned(), |us| format!("{us:.0}"));
        let [p50, p99, p999] = self.response_us.map(time);
        format!(
            "|{}|{}|{:.0}|{:.2}|{p50}|{p99}|{p999}|{}|{}|",
            name(self.rate),
            self.server,
            self.achieved,
            self.cpu_us,
            time(self.lateness_us),
            if self.is_valid { "valid" } else { "INVALID" }
        )
    }
}

/// The table: medians over the rounds, of the valid runs where there are any.
pub fn markdown(ranks: &[Rank], servers: &[Server], body: &Body) -> String {
    let mut text = format!(
        "|{} KiB, 64 connections|Server|achieved/s|CPU us per request|p50 us|p99 us|p99.9 us|\
         lateness p99.9 us|Valid runs|\n|---|---|---|---|---|---|---|---|---|\n",
        body.kib
    );
    for rate in RATES {
        for &server in servers {
            let of = |rank: &&Rank| rank.rate == rate && rank.server == server;
            let runs: Vec<&Rank> = ranks.iter().filter(of).collect();
            if !runs.is_empty() {
                let _ = writeln!(text, "{}", row(rate, server, &runs));
            }
        }
    }
    text
}

fn row(rate: u32, server: Server, runs: &[&Rank]) -> String {
    let valid: Vec<&Rank> = runs.iter().copied().filter(|run| run.is_valid).collect();
    let counted = if valid.is_empty() { runs } else { &valid };
    let of = |value: &dyn Fn(&Rank) -> Option<f64>| {
        let mut values: Vec<f64> = counted.iter().filter_map(|run| value(run)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let time = |us: Option<f64>| us.map_or("-".to_owned(), |us| format!("{us:.0}"));
    format!(
        "|{}|{server}|{:.0}|{:.2}|{}|{}|{}|{}|{} of {}|",
        name(rate),
        of(&|run| Some(run.achieved)).unwrap_or(0.0),
        of(&|run| Some(run.cpu_us)).unwrap_or(0.0),
        time(of(&|run| run.response_us[0])),
        time(of(&|run| run.response_us[1])),
        time(of(&|run| run.response_us[2])),
        time(of(&|run| run.lateness_us)),
        valid.len(),
        runs.len()
    )
}

fn name(rate: u32) -> String {
    if rate == 0 { "closed".to_owned() } else { format!("{rate}/s") }
}
