//! The tail of small answers, by the project's own generator: open loop, at 70 % of what the best
//! peer can do, each figure from fresh server processes, and beside it what the machine alone adds.
//!
//! Two mixes: small answers alone, and nine small ones for one large. The rate is sought for each
//! by `loadtest closed`. Before each run a bare loop is on the server's core, as often as a server
//! is: the wait that an instant picked at random would have met there is the tail of a server that
//! needs no time at all. What else the machine does on that core is in everybody's tail; `--fifo`
//! has the servers go ahead of it, all of them.
//!
//! **Invariants**: every server gets the same schedule at the same rate; runs that the generator
//! calls INVALID are counted and shown; no run is left out because its figure is bad.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::peers::{CORE, LISTEN, Running, Server, on_core, store};
use crate::report::median;
use crate::{Bench, Body, Outcome, output, there_and_back};

/// Between which the table stands in docs/PERFORMANCE.md, and the one of `--fifo`.
pub const MARKS: [[&str; 2]; 2] = [
    ["<!-- tail: begin; renewed by scripts/compare --tail --write -->", "<!-- tail: end -->"],
    [
        "<!-- fifo: begin; renewed by scripts/compare --tail --fifo --write -->",
        "<!-- fifo: end -->",
    ],
];

/// Share of the best peer's saturation that is asked for.
const LOAD: f64 = 0.7;
/// Gaps that the bare loop takes note of, in nanoseconds; shorter ones are its own.
const GAP_NS: f64 = 5_000.0;
/// How long the bare loop is awake, and asleep, at a time.
const AWAKE: Duration = Duration::from_micros(700);
const ASLEEP: Duration = Duration::from_micros(300);
/// What a wake-up may take by itself.
const WAKE_UP: Duration = Duration::from_micros(100);

/// What is asked for: how many small answers for each large one.
#[derive(Clone, Copy, PartialEq)]
enum Mix {
    Small,
    Mixed,
}

/// One run of one server process.
struct Run {
    mix: Mix,
    server: Server,
    /// p50, p99 and p99.9 of small answers from the intended instant, in microseconds.
    small_us: [f64; 3],
    /// The wait on the server's core that one instant of a thousand met, in microseconds.
    hiccup_us: f64,
    is_valid: bool,
}

/// Runs every server `rounds` times at each mix and says what it amounts to, as Markdown.
pub fn run(bench: &Bench, servers: &[Server], bodies: [&Body; 2], rounds: u32) -> Outcome<String> {
    let mut text = String::new();
    for mix in [Mix::Small, Mix::Mixed] {
        let able: Vec<Server> = servers.iter().copied().filter(|&it| mix.suits(it)).collect();
        let rate = rate(bench, &able, bodies, mix)?;
        eprintln!("{}: {rate}/s", mix.name());
        let mut runs = Vec::new();
        for round in 0..rounds {
            for server in there_and_back(&able, round) {
                match one(bench, server, bodies, mix, rate) {
                    Ok(run) => {
                        eprintln!("{}", run.line());
                        runs.push(run);
                    }
                    Err(error) => eprintln!("{server}: left out: {error}"),
                }
            }
        }
        text += &table(mix, rate, &able, &runs);
    }
    Ok(text)
}

/// The wait that an instant of a thousand met on this core within `seconds`, in microseconds.
pub fn hiccups(seconds: u32) -> f64 {
    let (end, mut gaps) = (Instant::now() + Duration::from_secs(u64::from(seconds)), Vec::new());
    let mut awake = Duration::ZERO;
    while Instant::now() < end {
        let begin = Instant::now();
        let mut last = begin;
        while last - begin < AWAKE {
            let now = Instant::now();
            let gap = (now - last).as_secs_f64() * 1e9;
            if gap > GAP_NS {
                gaps.push(gap);
            }
            last = now;
        }
        sleep(ASLEEP);
        // A stall may begin while nothing runs, too; what a wake-up takes by itself is none.
        let late = last.elapsed().saturating_sub(ASLEEP + WAKE_UP);
        if !late.is_zero() {
            gaps.push(late.as_secs_f64() * 1e9);
        }
        awake += last - begin + late;
    }
    wait_of(&gaps, awake.as_secs_f64() * 1e9, 0.001) / 1e3
}

/// The wait that a `share` of all instants exceeds, when time stood still for these gaps.
fn wait_of(gaps: &[f64], length: f64, share: f64) -> f64 {
    let beyond = |wait: f64| gaps.iter().map(|gap| (gap - wait).max(0.0)).sum::<f64>();
    let (mut low, mut high) = (0.0, gaps.iter().copied().fold(0.0, f64::max));
    while high - low > 1.0 {
        let middle = f64::midpoint(low, high);
        if beyond(middle) > share * length {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The rate to ask for: a share of what the best of the peers reaches in a closed loop.
fn rate(bench: &Bench, servers: &[Server], bodies: [&Body; 2], mix: Mix) -> Outcome<f64> {
    // A server that is never idle would be held up for going ahead of others.
    let bench = &Bench { fifo: false, ..bench.clone() };
    let mut best: f64 = 0.0;
    for &peer in servers.iter().filter(|server| server.is_peer()) {
        let _running = start(bench, peer, bodies)?;
        let report = load(bench, bodies, mix, &["closed"])?;
        let seconds = report["load"]["duration_s"].as_f64().unwrap_or(1.0);
        let reached = report["load"]["achieved"].as_f64().unwrap_or(0.0) / seconds;
        eprintln!("{}: {peer} can do {reached:.0}/s", mix.name());
        best = best.max(reached);
    }
    if best > 0.0 { Ok((best * LOAD).round()) } else { Err("no peer to be measured by".into()) }
}

fn one(bench: &Bench, server: Server, bodies: [&Body; 2], mix: Mix, rate: f64) -> Outcome<Run> {
    let mut running = start(bench, server, bodies)?;
    let hiccup_us = stalls(bench.fifo)?;
    let rate = rate.to_string();
    // A generator that sleeps leaves its core's idle time to other threads; one that spins is
    // stopped for them, which would be all that is left of the tail where servers go ahead.
    let manner: &[&str] =
        if bench.fifo { &["--allow-lateness", "200us"] } else { &["--busy-poll"] };
    let report = load(bench, bodies, mix, &[&["rate", "--rate", &rate], manner].concat())?;
    running.alive()?;
    let times = &report["summary"]["latency_ns"]["small"]["response"];
    let us = |q: &str| times[q]["value"].as_f64().map(|ns| ns / 1e3).ok_or(format!("no {q}"));
    Ok(Run {
        mix,
        server,
        small_us: [us("p50")?, us("p99")?, us("p99.9")?],
        hiccup_us,
        is_valid: report["verdict"]["reasons"].as_array().is_none_or(Vec::is_empty),
    })
}

/// What the server's core alone adds while both cores are busy, as they are under load: a virtual
/// machine that may not have both of its cores wholly shows it only then.
fn stalls(fifo: bool) -> Outcome<f64> {
    let myself = std::env::current_exe()?;
    let spin = |core, fifo| {
        let mut spin = on_core(core, fifo);
        spin.arg(&myself).args(["--hiccups", "2", "--work", "/", "--target", "/"]);
        spin
    };
    let mut other = spin("1", false).stdout(Stdio::null()).spawn()?;
    let said = output(&mut spin(CORE, fifo));
    other.wait()?;
    Ok(said?.trim().parse()?)
}

fn start(bench: &Bench, server: Server, [small, large]: [&Body; 2]) -> Outcome<Running> {
    let running = Running::start(bench, server, small)?;
    running.verify(bench, small)?;
    if server != Server::Bare {
        if server.is_ours() {
            store(large)?;
        }
        running.verify(bench, large)?;
    }
    Ok(running)
}

fn load(bench: &Bench, bodies: [&Body; 2], mix: Mix, how: &[&str]) -> Outcome<Value> {
    let (urls, file) = (bench.work.join("tail.urls"), bench.work.join("tail.json"));
    let line = |body: &Body, weight, name| {
        format!("http://{LISTEN}{} weight={weight} name={name}\n", body.path)
    };
    let large = line(bodies[1], 1, "large");
    let large = if mix == Mix::Mixed { &large } else { "" };
    fs::write(&urls, line(bodies[0], 9, "small") + large)?;
    let _ = fs::remove_file(&file);
    let mut load = Command::new(bench.target.join("loadtest"));
    load.args(how).arg("--url-file").arg(&urls).args(["--pin", "1", "--warmup", "1s", "--quiet"]);
    load.args(["--duration", &format!("{}s", bench.seconds), "--report"]).arg(&file);
    // An INVALID run exits with a code of its own, and has its report all the same.
    let _ = load.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(serde_json::from_slice(&fs::read(&file)?)?)
}

impl Mix {
    fn name(self) -> &'static str {
        match self {
            Self::Small => "2 KiB alone",
            Self::Mixed => "90 % of 2 KiB, 10 % of 1 MiB",
        }
    }

    /// The bare responder has one answer only.
    fn suits(self, server: Server) -> bool {
        self == Self::Small || server != Server::Bare
    }

    /// What headwater's p99.9 may be of the best peer's.
    fn goal(self) -> f64 {
        match self {
            Self::Small => 0.7,
            Self::Mixed => 0.5,
        }
    }
}

impl Run {
    fn line(&self) -> String {
        let [p50, p99, p999] = self.small_us;
        format!(
            "{} {:<10} p50 {p50:.0} p99 {p99:.0} p99.9 {p999:.0} us, hiccups alone {:.0} us{}",
            self.mix.name(),
            self.server,
            self.hiccup_us,
            if self.is_valid { "" } else { ", INVALID" }
        )
    }
}

fn table(mix: Mix, rate: f64, servers: &[Server], runs: &[Run]) -> String {
    let mut text = format!(
        "|{}, {rate}/s|p50 us|p99 us|p99.9 us|interval of p99.9|hiccups alone us|Valid runs|\n\
         |---|---|---|---|---|---|---|\n",
        mix.name()
    );
    let sorted = |server: Server, value: &dyn Fn(&Run) -> f64| {
        let mut values: Vec<f64> =
            runs.iter().filter(|run| run.server == server).map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    for &server in servers {
        let tail = sorted(server, &|run| run.small_us[2]);
        let (low, high) = interval(&tail);
        let of = |value: &dyn Fn(&Run) -> f64| median(&sorted(server, value));
        let _ = writeln!(
            text,
            "|{server}|{:.0}|{:.0}|{:.0}|{low:.0}..{high:.0}|{:.0}|{} of {}|",
            of(&|run| run.small_us[0]),
            of(&|run| run.small_us[1]),
            median(&tail),
            of(&|run| run.hiccup_us),
            runs.iter().filter(|run| run.server == server && run.is_valid).count(),
            tail.len(),
        );
    }
    let tail = |server, q: usize| median(&sorted(server, &|run| run.small_us[q]));
    for (q, name) in [(1, "p99"), (2, "p99.9")] {
        let peers = servers.iter().copied().filter(|server| server.is_peer());
        let best = peers.min_by(|&one, &other| tail(one, q).total_cmp(&tail(other, q)));
        if let Some(best) = best {
            let ratio = tail(Server::Headwater, q) / tail(best, q);
            let goal = match (q, ratio <= mix.goal()) {
                (1, _) => "stated beside it".to_owned(),
                (_, true) => format!("goal {:.2}: met", mix.goal()),
                (_, false) => format!("goal {:.2}: MISSED", mix.goal()),
            };
            let _ = writeln!(text, "\n{name}: headwater / {best} = {ratio:.2}; {goal}");
        }
    }
    text + "\n"
}

/// Where the median of these lies, with a confidence of at least 95 % (by order statistics).
fn interval(sorted: &[f64]) -> (f64, f64) {
    // As many from each end as a fair coin leaves out in 2.5 of 100 cases.
    let (mut left_out, mut chance) = (0_usize, 0.5_f64.powf(sorted.len() as f64));
    let mut below = chance;
    while below <= 0.025 && left_out + 1 < sorted.len() / 2 {
        left_out += 1;
        chance *= (sorted.len() - left_out + 1) as f64 / left_out as f64;
        below += chance;
    }
    let cut = left_out.saturating_sub(1);
    match sorted {
        [] => (f64::NAN, f64::NAN),
        sorted => (sorted[cut], sorted[sorted.len() - 1 - cut]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_by_gaps() {
        // Of 1,000 us time stood still for 10: one instant of a hundred met a wait, of 0 to 10 us.
        assert!(wait_of(&[10_000.0], 1e6, 0.01) < 2.0);
        assert!((wait_of(&[10_000.0], 1e6, 0.001) - 9_000.0).abs() < 2.0);
        assert!(wait_of(&[], 1e6, 0.001) < 2.0);
    }

    #[test]
    fn intervals_by_order() {
        let values: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(interval(&values), (2.0, 9.0));
        assert_eq!(interval(&values[..3]), (1.0, 3.0));
    }
}
