//! One run: start, verify, warm, measure.
//!
//! The figure is the CPU time that the kernel charged to every thread of the server's process tree
//! (first field of `/proc/PID/task/*/schedstat`), divided by the requests that wrk counted. It
//! includes the softirq work that ran on the server's back and whatever caches and a hyperthread's
//! sibling took from it. Beside it: how much of both cores went to somebody else meanwhile, which
//! says how far to trust the figure.
//!
//! **Invariants**: one wrk thread on core 1; a run with socket errors or answers that are not 2xx
//! is an error, never a figure; the congestion control is read from the living connections, not
//! assumed.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::peers::{LISTEN, Running, Server, url};
use crate::{Bench, Body, Outcome, output};

/// Keep-alive connections that wrk holds.
pub const CONNECTIONS: u32 = 64;

/// More than rounding to ticks can add up to.
const COARSE: Duration = Duration::from_millis(50);

/// What one run showed.
#[derive(Clone, Serialize)]
pub struct Sample {
    /// Congestion control, as the connections stated it.
    pub congestion_control: String,
    /// Body size in KiB.
    pub kib: u32,
    /// Round, from 0.
    pub round: u32,
    /// Server's name.
    pub server: &'static str,
    /// Requests that wrk counted.
    pub requests: u64,
    /// Requests per second, as wrk states it.
    pub requests_per_second: f64,
    /// Server CPU time per request.
    pub cpu_us: f64,
    /// Share of its core that the server used; the busier, the more requests it takes at a time.
    pub server_busy_percent: f64,
    /// Median latency, as wrk corrects it.
    pub p50_us: f64,
    /// 99th percentile of latency, as wrk corrects it.
    pub p99_us: f64,
    /// Share of the two cores' time that went neither to the server nor to wrk nor to idling.
    pub foreign_percent: f64,
    /// Growth of headwater's counters of sends.
    pub send_counters: BTreeMap<String, f64>,
}

impl Sample {
    /// The run in one line.
    pub fn line(&self) -> String {
        format!(
            "{:>4} KiB {} round {} {:<12} {:>8.0} requests/s {:>7.2} us CPU, \
             p50 {:>6.0} p99 {:>7.0} us, busy {:.0} %, others {:.0} %",
            self.kib,
            self.congestion_control,
            self.round + 1,
            self.server,
            self.requests_per_second,
            self.cpu_us,
            self.p50_us,
            self.p99_us,
            self.server_busy_percent,
            self.foreign_percent
        )
    }
}

/// Start the server, and measure it once.
pub fn run(
    bench: &Bench,
    server: Server,
    body: &Body,
    control: &str,
    round: u32,
) -> Outcome<Sample> {
    let mut running = Running::start(bench, server, body)?;
    running.verify(bench, body)?;
    let stated = warm(body)?;
    if stated != [control] {
        return Err(format!("connections use {stated:?}, not {control}").into());
    }
    let counters = running.send_counters();
    let (cpu, whole) = (threads(running.pid()), processes(running.pid()));
    let (cores, own, begin) = (cores_busy()?, children_cpu()?, Instant::now());
    let printed = output(&mut wrk(body, bench.seconds))?;
    let elapsed = begin.elapsed();
    let by_thread = used(&cpu, &threads(running.pid()));
    let by_process = processes(running.pid()).saturating_sub(whole);
    // Threads that ended took their schedstat with them: then the coarser sum is the true one.
    let used = if by_process > by_thread + COARSE { by_process } else { by_thread };
    let foreign = cores_busy()?.saturating_sub(cores);
    let foreign = foreign.saturating_sub(children_cpu()?.saturating_sub(own)).saturating_sub(used);
    running.alive()?;

    let wrk = parse(&printed)?;
    let mut send_counters = running.send_counters();
    for (name, value) in &mut send_counters {
        *value -= counters.get(name).copied().unwrap_or(0.0);
    }
    Ok(Sample {
        congestion_control: control.to_owned(),
        kib: body.kib,
        round,
        server: server.name(),
        requests: wrk.requests,
        requests_per_second: wrk.requests_per_second,
        cpu_us: used.as_secs_f64() * 1e6 / wrk.requests as f64,
        server_busy_percent: 100.0 * used.as_secs_f64() / elapsed.as_secs_f64(),
        p50_us: wrk.p50_us,
        p99_us: wrk.p99_us,
        foreign_percent: 100.0 * foreign.as_secs_f64() / (2.0 * elapsed.as_secs_f64()),
        send_counters,
    })
}

/// Answers in a report of the load generator, of all phases in which the server was under load.
pub fn answered(report: &serde_json::Value) -> f64 {
    let phases = report["phases"].as_array().into_iter().flatten();
    let loaded = phases.filter(|phase| phase["name"] != "connect" && phase["name"] != "bare clock");
    loaded.filter_map(|phase| phase["completed"].as_f64()).sum()
}

/// The process and all its descendants.
pub fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for pid in numbers("/proc") {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything: count from its end. State, parent, ...
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        parents.extend(parent.and_then(|parent| parent.parse::<u32>().ok()).map(|of| (pid, of)));
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&pid) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

/// Whether a process exists and has not ended.
pub fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// CPU time of every thread of the tree.
pub fn threads(root: u32) -> BTreeMap<u32, Duration> {
    let mut threads = BTreeMap::new();
    for pid in tree(root) {
        for thread in numbers(&format!("/proc/{pid}/task")) {
            let path = format!("/proc/{pid}/task/{thread}/schedstat");
            let stat = fs::read_to_string(path).unwrap_or_default();
            if let Some(Ok(ns)) = stat.split_whitespace().next().map(str::parse) {
                threads.insert(thread, Duration::from_nanos(ns));
            }
        }
    }
    threads
}

/// CPU time of the tree's processes, ended threads included, in steps of 10 ms.
fn processes(root: u32) -> Duration {
    let ticks = |pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        // Fields 14 and 15 of the whole line: user and system time.
        fields.skip(11).take(2).flat_map(str::parse::<u64>).sum::<u64>()
    };
    Duration::from_millis(10 * tree(root).into_iter().map(ticks).sum::<u64>())
}

/// CPU time between two looks; a thread that ended in between is not in the sum.
pub fn used(before: &BTreeMap<u32, Duration>, after: &BTreeMap<u32, Duration>) -> Duration {
    let earlier = |thread| before.get(thread).copied().unwrap_or_default();
    after.iter().map(|(thread, cpu)| cpu.saturating_sub(earlier(thread))).sum()
}

fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Time that cores 0 and 1 were not idle, stolen time included, in steps of 10 ms.
fn cores_busy() -> Outcome<Duration> {
    let mut ticks = 0;
    for line in fs::read_to_string("/proc/stat")?.lines() {
        let mut fields = line.split_whitespace();
        if matches!(fields.next(), Some("cpu0" | "cpu1")) {
            // user nice system idle iowait irq softirq steal
            let fields: Vec<u64> = fields.take(8).flat_map(str::parse).collect();
            ticks += fields.iter().sum::<u64>() - fields.iter().skip(3).take(2).sum::<u64>();
        }
    }
    Ok(Duration::from_millis(10 * ticks))
}

/// CPU time of this program's children that have ended, wrk among them.
fn children_cpu() -> Outcome<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // Fields 16 and 17 of the whole line: user and system time of ended children.
    let ticks: u64 = fields.skip(13).take(2).flat_map(str::parse::<u64>).sum();
    Ok(Duration::from_millis(10 * ticks))
}

/// A second of load before the measured run; which congestion controls its connections state.
fn warm(body: &Body) -> Outcome<Vec<String>> {
    let mut load = wrk(body, 1).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    sleep(Duration::from_millis(500));
    let port = format!("sport = :{}", LISTEN.rsplit(':').next().unwrap_or_default());
    let printed = output(Command::new("ss").args(["-tinHO", "state", "established"]).arg(port));
    load.wait()?;
    let mut stated: Vec<String> = printed?
        .lines()
        .flat_map(str::split_whitespace)
        .filter(|word| ["cubic", "bbr", "reno"].contains(word))
        .map(str::to_owned)
        .collect();
    stated.sort();
    stated.dedup();
    Ok(stated)
}

fn wrk(body: &Body, seconds: u32) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "1", "wrk", "--threads", "1", "--latency", "--timeout", "20s"]);
    command.args(["--connections", &CONNECTIONS.to_string()]);
    command.args(["--duration", &format!("{seconds}s"), &url(body)]);
    command
}

struct Wrk {
    requests: u64,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

fn parse(printed: &str) -> Outcome<Wrk> {
    let (mut requests, mut rate, mut p50, mut p99) = (None, None, None, None);
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [count, "requests", "in", ..] => requests = count.parse().ok(),
            ["Requests/sec:", value] => rate = value.parse().ok(),
            ["50%", value] => p50 = microseconds(value),
            ["99%", value] => p99 = microseconds(value),
            ["Socket" | "Non-2xx", ..] => return Err(line.trim().into()),
            _ => (),
        }
    }
    match (requests, rate, p50, p99) {
        (Some(requests @ 1..), Some(requests_per_second), Some(p50_us), Some(p99_us)) => {
            Ok(Wrk { requests, requests_per_second, p50_us, p99_us })
        }
        _ => Err(format!("wrk measured nothing:\n{printed}").into()),
    }
}

fn microseconds(value: &str) -> Option<f64> {
    let unit = value.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = value.split_at(unit);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 6e7,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Running 2s test @ http://127.0.0.1:8080/x
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.87ms    3.92ms  25.99ms   85.72%
    Req/Sec    35.71k     5.70k   46.42k    50.00%
  Latency Distribution
     50%  310.00us
     75%    4.38ms
     90%    7.90ms
     99%    1.20s
  71831 requests in 2.02s, 153.52MB read
Requests/sec:  35584.65
Transfer/sec:     76.05MB
";

    #[test]
    fn wrk_output_is_read() {
        let wrk = parse(PRINTED).unwrap();
        assert_eq!((wrk.requests, wrk.requests_per_second), (71831, 35584.65));
        assert_eq!((wrk.p50_us, wrk.p99_us), (310.0, 1.2e6));
    }

    #[test]
    fn errors_are_never_a_figure() {
        for line in [
            "  Socket errors: connect 0, read 1, write 0, timeout 0",
            "  Non-2xx or 3xx responses: 9",
        ] {
            let error = parse(&format!("{PRINTED}{line}\n")).err().expect("no error");
            assert_eq!(error.to_string(), line.trim());
        }
        assert!(parse("  0 requests in 2.00s, 0.00B read\n").is_err());
    }

    #[test]
    fn threads_of_own_tree_have_used_time() {
        let own = std::process::id();
        assert!(tree(own).contains(&own) && runs(own) && !runs(u32::MAX));
        let before = threads(own);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(50) {}
        assert!(used(&before, &threads(own)) >= Duration::from_millis(5));
    }
}
