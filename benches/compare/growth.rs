//! How CPU per request grows with what should not matter: shards, indexed objects, connections.
//!
//! The same thousand objects of 1 KiB are asked for at the same rate by `loadtest rate`, once as
//! few and once as many; the ratio is the median over the rounds. What the kernel adds for more
//! threads on a core and for more connections the bare responder shows; it has no index: there its
//! growth is 1.
//!
//! **Invariants**: few and many run at the same rate, in turn, in fresh processes; every object is
//! uploaded and acknowledged before the load begins.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::measure::{answered, threads, used};
use crate::peers::{LISTEN, Running, Server};
use crate::report::median;
use crate::{Bench, Body, Outcome, output};

/// Between which the table stands in docs/PERFORMANCE.md.
pub const MARKS: [&str; 2] =
    ["<!-- growth: begin; renewed by scripts/compare --growth --write -->", "<!-- growth: end -->"];

/// Requests per second in every run.
const RATE: u32 = 20_000;
/// What headwater may grow by beyond the bare responder.
const GOAL: f64 = 1.10;

/// One way to be many.
#[derive(Clone, Copy)]
struct Run {
    server: Server,
    shards: u32,
    /// Folders of ten thousand objects, besides the thousand that are asked for.
    folders: u32,
    connections: u32,
}

const FEW: Run = Run { server: Server::Headwater, shards: 1, folders: 0, connections: 64 };
const BARE: Run = Run { server: Server::Bare, ..FEW };

const CASES: [(&str, Run, Run); 5] = [
    ("1 to 4 shards on one core", FEW, Run { shards: 4, ..FEW }),
    ("1,000 to 1,000,000 objects", FEW, Run { folders: 100, ..FEW }),
    ("64 to 10,000 connections", FEW, Run { connections: 10_000, ..FEW }),
    ("1 to 4 shards on one core, bare", BARE, Run { shards: 4, ..BARE }),
    ("64 to 10,000 connections, bare", BARE, Run { connections: 10_000, ..BARE }),
];

/// Measures every case and says what it amounts to, as Markdown.
pub fn run(bench: &Bench, body: &Body, rounds: u32) -> Outcome<String> {
    let mut ratios = Vec::new();
    let mut text = format!(
        "|{RATE}/s, 1 KiB, 1,000 objects asked for|Few, CPU us|Many, CPU us|Many / few|\n\
         |---|---|---|---|\n"
    );
    for (name, few, many) in CASES {
        let (mut fews, mut manys) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let mut both = [(few, &mut fews), (many, &mut manys)];
            if round % 2 == 1 {
                both.reverse();
            }
            for (run, figures) in both {
                figures.push(one(bench, body, run)?);
            }
            let last = (fews.last().copied().unwrap_or(0.0), manys.last().copied().unwrap_or(0.0));
            eprintln!("{name}: {:.2} and {:.2} us", last.0, last.1);
        }
        let mut each: Vec<f64> = manys.iter().zip(&fews).map(|(many, few)| many / few).collect();
        for figures in [&mut fews, &mut manys, &mut each] {
            figures.sort_by(f64::total_cmp);
        }
        let ratio = median(&each);
        let (few, many) = (median(&fews), median(&manys));
        let _ = writeln!(text, "|{name}|{few:.2}|{many:.2}|{ratio:.2}|");
        ratios.push(ratio);
    }
    text.push('\n');
    let bare = [ratios[3], 1.0, ratios[4]];
    for (((name, ..), ratio), bare) in CASES.iter().zip(&ratios).zip(bare) {
        let goal = bare * GOAL;
        let verdict = if *ratio <= goal { "met" } else { "MISSED" };
        let _ = writeln!(text, "- {name}: {ratio:.2}; goal {goal:.2}: {verdict}");
    }
    Ok(text)
}

/// CPU time of a request in microseconds.
fn one(bench: &Bench, body: &Body, run: Run) -> Outcome<f64> {
    let mut running = Running::start_with(bench, run.server, body, run.shards, "3GiB")?;
    let asked = format!("http://{LISTEN}/asked/{{0..999}}.m4s");
    if run.server.is_ours() {
        store(bench, &asked)?;
        if run.folders > 0 {
            let last = run.folders - 1;
            store(bench, &format!("http://{LISTEN}/more/{{0..{last}}}/{{0..9999}}.m4s"))?;
        }
    }
    let file = bench.work.join("growth.json");
    let _ = fs::remove_file(&file);
    let mut load = Command::new(bench.target.join("loadtest"));
    load.args(["rate", &asked, "--rate", &RATE.to_string(), "--pin", "1", "--quiet"]);
    load.args(["--connections", &run.connections.to_string(), "--warmup", "2s"]);
    load.args(["--duration", &format!("{}s", bench.seconds), "--report"]).arg(&file);
    let before = threads(running.pid());
    // An INVALID run has its report all the same; what counts here is the server's CPU.
    let _ = load.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let used = used(&before, &threads(running.pid()));
    running.alive()?;
    let report: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let completed = answered(&report);
    if completed < f64::from(RATE) * f64::from(bench.seconds) * 0.9 {
        return Err(format!("{}: only {completed} requests were answered", run.server).into());
    }
    Ok(used.as_secs_f64() * 1e6 / completed)
}

fn store(bench: &Bench, urls: &str) -> Outcome<()> {
    let mut prepare = Command::new(bench.target.join("loadtest"));
    output(prepare.args(["prepare", urls, "--size", "1k", "--connections", "32"]))?;
    Ok(())
}
