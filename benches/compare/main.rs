//! The comparison: headwater, the bare responder, nginx, h2o and varnish, each alone on core 0, in
//! turn under wrk on core 1.
//!
//! `scripts/compare` builds this program and starts it in namespaces of its own, with nothing but
//! loopback. For each size and round every server is started, checked byte for byte, warmed and
//! measured; rounds alternate in direction (ABBA), so that a machine that drifts favours nobody.
//! The figure that counts is CPU time per request (`measure`); requests per second on two shared
//! cores say as much about wrk.
//!
//! **Invariants**: never runs outside a namespace without other interfaces; a server that answers
//! other bytes than it should is not measured; a server that cannot start is named and skipped.

mod growth;
mod measure;
mod peers;
mod rank;
mod replace;
mod report;
mod tail;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

use measure::Sample;
use peers::Server;
use report::{QUIET_PERCENT, Report};

/// Any error ends the comparison with one sentence.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measure server CPU per request of headwater and its peers, one core each, over loopback.
#[derive(Parser)]
#[command(name = "scripts/compare")]
struct Arguments {
    /// Two sizes, one round, two seconds a run: does it work at all?
    #[arg(long)]
    quick: bool,
    /// Body sizes in KiB.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<u32>,
    /// Servers, in order.
    #[arg(long, value_delimiter = ',', value_enum)]
    servers: Vec<Server>,
    /// Rounds; every second one runs backwards [default: 3].
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds a run, after a second of warming [default: 5].
    #[arg(long)]
    seconds: Option<u32>,
    /// Measure a run that other work disturbed again, up to so many times.
    #[arg(long, default_value_t = 0)]
    again: u32,
    /// The same again under BBR, whose pacing distorts loopback: beside, not instead.
    #[arg(long)]
    bbr: bool,
    /// Rank the servers by the project's own generator instead: `loadtest rate` at 20,000 and
    /// 50,000 requests per second, and `loadtest closed`, with the first of the sizes.
    #[arg(long)]
    rank: bool,
    /// Measure the tail of small answers instead: 2 KiB alone and beside 1 MiB, each server in ten
    /// fresh processes at 70 % of what the best peer can do.
    #[arg(long)]
    tail: bool,
    /// Run each server as SCHED_FIFO, ahead of whatever else the machine does on its core; for
    /// --tail, where servers are idle at times. One that never is would be held up for it.
    #[arg(long, requires = "tail")]
    fifo: bool,
    /// Measure instead how CPU per request grows with shards, indexed objects and connections.
    #[arg(long)]
    growth: bool,
    /// Spin for so many seconds and say what the core's own stalls amount to (used by --tail).
    #[arg(long, hide = true)]
    hiccups: Option<u32>,
    /// Renew the figures in docs/PERFORMANCE.md.
    #[arg(long)]
    write: bool,
    /// An empty folder on a tmpfs (given by the script).
    #[arg(long, hide = true)]
    work: PathBuf,
    /// Where the binaries are (given by the script).
    #[arg(long, hide = true)]
    target: PathBuf,
}

/// What all runs share.
#[derive(Clone)]
pub struct Bench {
    /// Scratch folder on a tmpfs.
    pub work: PathBuf,
    /// Folder of headwater's binary.
    pub target: PathBuf,
    /// Seconds a run.
    pub seconds: u32,
    /// How often a disturbed run is measured again.
    pub again: u32,
    /// Whether servers run ahead of other threads.
    pub fifo: bool,
}

/// One body that every server serves.
pub struct Body {
    /// Its size in KiB.
    pub kib: u32,
    /// Its path in every server.
    pub path: String,
    /// Its bytes, in the folder that nginx and h2o serve.
    pub file: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

fn main() {
    if let Err(error) = run(&Arguments::parse()) {
        eprintln!("compare: {error}");
        std::process::exit(1);
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    if let Some(seconds) = arguments.hiccups {
        println!("{:.1}", tail::hiccups(seconds));
        return Ok(());
    }
    only_loopback()?;
    let quick = |full: u32, short: u32| if arguments.quick { short } else { full };
    let seconds = arguments.seconds.unwrap_or(quick(5, 2)).max(1);
    let rounds = arguments.rounds.unwrap_or(quick(3, 1)).max(1);
    let sizes = match &arguments.sizes[..] {
        [] if arguments.quick => vec![2, 256],
        [] => vec![2, 16, 64, 256, 1024],
        sizes => sizes.to_vec(),
    };
    let servers = match &arguments.servers[..] {
        [] => Server::DEFAULT.to_vec(),
        servers => servers.to_vec(),
    };
    let bench = Bench {
        work: arguments.work.clone(),
        target: arguments.target.clone(),
        seconds,
        again: arguments.again,
        fifo: arguments.fifo,
    };
    let bodies = sizes.iter().map(|&kib| body(&bench, kib)).collect::<Outcome<Vec<_>>>()?;

    congestion_control("cubic")?;
    let special = if let Some(body) = bodies.first().filter(|_| arguments.rank) {
        let ranks = rank::run(&bench, &servers, body, rounds);
        Some((rank::MARKS, rank::markdown(&ranks, &servers, body)))
    } else if arguments.growth {
        Some((growth::MARKS, growth::run(&bench, &body(&bench, 1)?, rounds)?))
    } else if arguments.tail {
        let [small, large] = [body(&bench, 2)?, body(&bench, 1024)?];
        let rounds = arguments.rounds.unwrap_or(quick(10, 2));
        Some((
            tail::MARKS[usize::from(bench.fifo)],
            tail::run(&bench, &servers, [&small, &large], rounds)?,
        ))
    } else {
        None
    };
    if let Some((marks, table)) = special {
        println!("{table}");
        if arguments.write {
            report::renew(Path::new("docs/PERFORMANCE.md"), marks, &table)?;
        }
        return Ok(());
    }
    let mut report = Report::new(&servers, &bench.target, rounds, seconds)?;
    let controls: &[&str] = if arguments.bbr { &["cubic", "bbr"] } else { &["cubic"] };
    for control in controls {
        congestion_control(control)?;
        for body in &bodies {
            for sample in rounds_of(&bench, body, &servers, rounds, control, &mut report) {
                report.samples.push(sample);
            }
        }
    }
    println!("{}", report.text());
    let out = bench.target.with_file_name("compare");
    fs::create_dir_all(&out)?;
    fs::write(out.join("latest.json"), report.json()?)?;
    fs::write(out.join("latest.md"), report.markdown())?;
    println!("written: {} and latest.md", out.join("latest.json").display());
    if arguments.write {
        report.renew(Path::new("docs/PERFORMANCE.md"))?;
        println!("renewed: docs/PERFORMANCE.md");
    }
    if report.samples.is_empty() { Err("nothing was measured".into()) } else { Ok(()) }
}

/// All rounds at one size, every second one backwards.
fn rounds_of(
    bench: &Bench,
    body: &Body,
    servers: &[Server],
    rounds: u32,
    control: &str,
    report: &mut Report,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    for round in 0..rounds {
        for server in there_and_back(servers, round) {
            if report.skipped.contains_key(&server) {
                continue;
            }
            match quiet(bench, || measure::run(bench, server, body, control, round)) {
                Ok(sample) => samples.push(sample),
                // What fails at first would fail every time; what fails later is a finding.
                Err(error) => {
                    eprintln!("{server}, {} KiB, round {}: left out: {error}", body.kib, round + 1);
                    report.left_out(server, body.kib, &samples, &error.to_string());
                }
            }
        }
    }
    samples
}

/// The order of a round: every second one runs backwards (ABBA).
pub fn there_and_back(servers: &[Server], round: u32) -> Vec<Server> {
    let mut order = servers.to_vec();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// One run; again, as often as allowed, while other work takes its share of the cores.
fn quiet(bench: &Bench, run: impl Fn() -> Outcome<Sample>) -> Outcome<Sample> {
    let mut calmest: Option<Sample> = None;
    for _ in 0..=bench.again {
        let sample = run()?;
        eprintln!("{}", sample.line());
        if calmest.as_ref().is_none_or(|calmest| sample.foreign_percent < calmest.foreign_percent) {
            calmest = Some(sample);
        }
        if calmest.as_ref().is_some_and(|calmest| calmest.foreign_percent <= QUIET_PERCENT) {
            break;
        }
    }
    calmest.ok_or_else(|| "never measured".into())
}

/// Bytes that no server can compress, the same in every run.
fn body(bench: &Bench, kib: u32) -> Outcome<Body> {
    let folder = bench.work.join("objects/compare");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{kib}.mp4"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(kib);
    let mut bytes = Vec::new();
    while bytes.len() < kib as usize * 1024 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    fs::write(&file, bytes)?;
    Ok(Body { kib, path: format!("/compare/{kib}.mp4"), sha256: sha256(&file)?, file })
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(file: &Path) -> Outcome<String> {
    let printed = output(Command::new("sha256sum").arg(file))?;
    Ok(printed.split_whitespace().next().unwrap_or_default().to_owned())
}

/// What a command prints; an error if it fails.
pub fn output(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {}: {}", output.status, said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Refuse to run where the measurement could meet another network.
fn only_loopback() -> Outcome<()> {
    let links = output(Command::new("ip").args(["-brief", "link", "show", "up"]))?;
    match links.lines().all(|line| line.starts_with("lo ")) {
        true => Ok(()),
        false => Err("start it by scripts/compare: it needs a network namespace of its own".into()),
    }
}

/// Give every connection within the namespace this congestion control.
///
/// By the route, because a namespace may not choose a default that the host restricts.
fn congestion_control(control: &str) -> Outcome<()> {
    for prefix in ["127.0.0.0/8", "127.0.0.1"] {
        let route = format!(
            "route replace local {prefix} dev lo proto kernel scope host src 127.0.0.1 \
             table local congctl {control}"
        );
        output(Command::new("ip").args(route.split_whitespace()))?;
    }
    Ok(())
}
