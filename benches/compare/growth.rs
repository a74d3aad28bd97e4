//! How CPU per request grows with what should not matter: shards, indexed objects, connections.
//!
//! The same thousand objects of 1 KiB are asked for at the same rate by `loadtest rate`, once as
//! few and once as many; the ratio is the median over the rounds. What the kernel adds for more
//! threads on a core and for more connections the bare responder shows; it has no index: there its
//! growth is 1.
//!
//! CPU is taken within the load, once all connections stand and have been asked through for some
//! seconds: neither accepting ten thousand connections nor the first requests count.
//!
//! **Invariants**: few and many run at the same rate, in turn, in fresh processes; every object is
//! uploaded and acknowledged before the load begins.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::measure::{threads, used};
use crate::peers::{LISTEN, Running, Server};
use crate::report::median;
use crate::{Bench, Body, Outcome, output};

/// Between which the table stands in docs/PERFORMANCE.md.
pub const MARKS: [&str; 2] =
    ["<!-- growth: begin; renewed by scripts/compare --growth --write -->", "<!-- growth: end -->"];

/// Requests per second in every run.
const RATE: u32 = 20_000;
/// From the last connection to the measured time, in seconds; the first of them is spent on the
/// generator's clock.
const LEAD_S: u32 = 3;
/// How long the connections may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);
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
    load.args(["--connections", &run.connections.to_string(), "--warmup", "0s"]);
    load.args(["--duration", &format!("{}s", bench.seconds + LEAD_S + 1), "--report"]).arg(&file);
    let mut load = load.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let within = within(bench, &running, run.connections);
    if within.is_err() {
        let _ = load.kill();
    }
    // An INVALID run has its report all the same; what counts here is the server's CPU.
    load.wait()?;
    let (cpu, seconds) = within?;
    running.alive()?;
    let report: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let figure = |name: &str| report["load"][name].as_f64().unwrap_or(0.0);
    let rate = figure("achieved") / figure("duration_s");
    if !(f64::from(RATE) * 0.9..).contains(&rate) {
        return Err(format!("{}: only {rate} requests a second were answered", run.server).into());
    }
    Ok(cpu.as_secs_f64() * 1e6 / (rate * seconds))
}

/// CPU time of the server within the load, and the length of that time in seconds.
fn within(bench: &Bench, running: &Running, connections: u32) -> Outcome<(Duration, f64)> {
    let begin = Instant::now();
    while standing()? < connections {
        if begin.elapsed() > PATIENCE {
            return Err(format!("{connections} connections did not come about").into());
        }
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_secs(LEAD_S.into()));
    let (before, begin) = (threads(running.pid()), Instant::now());
    sleep(Duration::from_secs(bench.seconds.into()));
    Ok((used(&before, &threads(running.pid())), begin.elapsed().as_secs_f64()))
}

/// Connections of this namespace over IPv4; each has both of its ends here.
fn standing() -> Outcome<u32> {
    let said = fs::read_to_string("/proc/net/sockstat")?;
    let line = said.lines().find_map(|line| line.strip_prefix("TCP: inuse "));
    let sockets = line.and_then(|rest| rest.split_whitespace().next());
    let sockets: u32 = sockets.ok_or("/proc/net/sockstat says nothing of TCP")?.parse()?;
    Ok(sockets / 2)
}

fn store(bench: &Bench, urls: &str) -> Outcome<()> {
    let mut prepare = Command::new(bench.target.join("loadtest"));
    output(prepare.args(["prepare", urls, "--size", "1k", "--connections", "32"]))?;
    Ok(())
}
