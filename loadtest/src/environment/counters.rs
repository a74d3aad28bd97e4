//! Counters of the machine and of the server's process, read before and after the measured phase.
//!
//! The kernel counts for the whole network namespace and the whole machine, so other programs are
//! in these numbers too: they explain a result, they are not part of it. The CPU time of a process
//! is the sum over its threads and its children's, in nanoseconds (`schedstat`); threads that ended
//! in between are missed, as are ones that began: servers start theirs before a run. Never does:
//! fail; a counter that is not there is left out.

use std::collections::BTreeMap;
use std::fs;

use super::text;
use crate::report::model::Environment;

/// Processes looked at below one server process.
const PROCESSES_MAX: usize = 1024;
/// Milliseconds in a tick of `/proc/stat` (USER_HZ is 100 on every Linux architecture of today).
const TICK_MS: u64 = 10;

/// Counters of the kernel, by the names of their files: (first word, name, name in a report).
const TCP: [(&str, &str, &str); 7] = [
    ("Tcp:", "RetransSegs", "tcp.retransmits"),
    ("Tcp:", "AttemptFails", "tcp.failed_connects"),
    ("Tcp:", "EstabResets", "tcp.resets"),
    ("TcpExt:", "ListenOverflows", "tcp.listen_overflows"),
    ("TcpExt:", "ListenDrops", "tcp.listen_drops"),
    ("TcpExt:", "TCPTimeouts", "tcp.timeouts"),
    ("TcpExt:", "TCPBacklogDrop", "tcp.backlog_drops"),
];

/// One thread's time on a CPU and its time waiting for one, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// Running.
    pub cpu_ns: u64,
    /// Ready to run, but the CPU was taken by another.
    pub delay_ns: u64,
}

impl ThreadTime {
    /// Of the calling thread; `None` when the kernel does not count it.
    pub fn of_this_thread() -> Option<Self> {
        Self::parse(&text("/proc/thread-self/schedstat"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse);
        Some(Self { cpu_ns: numbers.next()?.ok()?, delay_ns: numbers.next()?.ok()? })
    }

    /// What passed since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            delay_ns: self.delay_ns.saturating_sub(before.delay_ns),
        }
    }
}

/// All counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    kernel: BTreeMap<&'static str, u64>,
    generator: BTreeMap<u32, ThreadTime>,
    server: Option<BTreeMap<u32, ThreadTime>>,
}

impl Counters {
    /// Reads them now; `server` is the process id of the server when it runs on this machine.
    pub fn read(server: Option<u32>) -> Self {
        let mut kernel = BTreeMap::new();
        let (snmp, netstat) = (text("/proc/net/snmp"), text("/proc/net/netstat"));
        for (group, name, report) in TCP {
            let file = if group == "Tcp:" { &snmp } else { &netstat };
            if let Some(value) = column(file, group, name) {
                kernel.insert(report, value);
            }
        }
        if let Some(ticks) = steal_ticks(&text("/proc/stat")) {
            kernel.insert("cpu.steal_ms", ticks * TICK_MS);
        }
        let server = server.map(|pid| {
            let processes = with_children(pid);
            processes.into_iter().flat_map(threads_of).collect()
        });
        Self { kernel, generator: threads_of(std::process::id()).into_iter().collect(), server }
    }

    /// What passed since `before`.
    pub fn since(&self, before: &Self) -> Change {
        let kernel = self
            .kernel
            .iter()
            .filter_map(|(name, after)| {
                Some((*name, after.saturating_sub(*before.kernel.get(name)?)))
            })
            .collect();
        let server = match (&self.server, &before.server) {
            // Nothing left of the process: it ended, and its time with it.
            (Some(after), Some(before)) if !after.is_empty() => Some(passed(after, before)),
            _ => None,
        };
        Change { kernel, generator: passed(&self.generator, &before.generator), server }
    }
}

/// What passed between two readings.
#[derive(Clone, Debug, Default)]
pub struct Change {
    kernel: BTreeMap<&'static str, u64>,
    generator: Passed,
    server: Option<Passed>,
}

/// Times of several threads between two readings.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    cpu_ns: u64,
    delay_ns: u64,
    worst_delay_ns: u64,
}

fn passed(after: &BTreeMap<u32, ThreadTime>, before: &BTreeMap<u32, ThreadTime>) -> Passed {
    let mut sum = Passed::default();
    for (thread, time) in after {
        // A thread that is new began at zero.
        let time = time.since(before.get(thread).copied().unwrap_or_default());
        sum.cpu_ns += time.cpu_ns;
        sum.delay_ns += time.delay_ns;
        sum.worst_delay_ns = sum.worst_delay_ns.max(time.delay_ns);
    }
    sum
}

impl Change {
    /// CPU time of the server in seconds; `None` without a process id, or when it ended.
    pub fn server_cpu_s(&self) -> Option<f64> {
        self.server.map(|server| server.cpu_ns as f64 / 1e9)
    }

    /// CPU time in seconds of this process's threads that are still there.
    pub fn generator_cpu_s(&self) -> f64 {
        self.generator.cpu_ns as f64 / 1e9
    }

    /// Longest that one thread of this process waited for a CPU, in seconds, all waits together.
    pub fn worst_delay_s(&self) -> f64 {
        self.generator.worst_delay_ns as f64 / 1e9
    }

    /// One counter of the kernel: `tcp.retransmits`, `cpu.steal_ms`, ...
    pub fn kernel(&self, name: &str) -> Option<u64> {
        self.kernel.get(name).copied()
    }

    /// Adds all of it to the facts of a report.
    pub fn describe(&self, environment: &mut Environment) {
        let facts = &mut environment.facts;
        for (name, value) in &self.kernel {
            facts.insert((*name).to_owned(), value.to_string());
        }
        let ms = |ns: u64| format!("{:.3}", ns as f64 / 1e6);
        facts.insert("run_queue.delay_ms".to_owned(), ms(self.generator.delay_ns));
        if let Some(server) = self.server {
            facts.insert("server.cpu_ms".to_owned(), ms(server.cpu_ns));
            facts.insert("server.run_queue.delay_ms".to_owned(), ms(server.delay_ns));
        }
    }
}

/// Makes the counters of `sum`, which is one of these runs', those of all of them together.
pub fn add_up<'a>(sum: &mut Environment, runs: impl Iterator<Item = &'a Environment> + Clone) {
    for (name, value) in sum.facts.iter_mut().filter(|(name, _)| is_counter(name)) {
        let values = runs.clone().filter_map(|run| run.facts.get(name)?.parse::<f64>().ok());
        let total: f64 = values.sum();
        *value = if value.contains('.') { format!("{total:.3}") } else { total.to_string() };
    }
}

/// Whether a fact counts what happened in a run; others say what the run was made with.
fn is_counter(name: &str) -> bool {
    name.starts_with("tcp.")
        || name == "server.cpu_ms"
        || name == "cpu.steal_ms"
        || name.ends_with("run_queue.delay_ms")
}

/// Cores that a server can use at once: CPUs that it may run on, at most one for each thread.
pub fn server_cores(pid: u32) -> usize {
    let status = text(format!("/proc/{pid}/status"));
    // Groups of hexadecimal digits with commas between.
    let mask = super::line_value(&status, "Cpus_allowed").unwrap_or_default();
    let allowed: u32 = mask.chars().filter_map(|c| c.to_digit(16)).map(u32::count_ones).sum();
    let threads: usize = with_children(pid).into_iter().map(|pid| threads_of(pid).len()).sum();
    threads.min(allowed as usize).max(1)
}

/// A number in the two-line tables of `/proc/net/snmp` and `netstat`.
fn column(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.split(' ').next() == Some(group));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|word| word == name)?;
    values.split(' ').nth(at)?.parse().ok()
}

/// Ticks that the hypervisor gave to others while this machine wanted to run.
fn steal_ticks(stat: &str) -> Option<u64> {
    stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()
}

/// A process and all below it: servers with worker processes are named by their master.
fn with_children(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() && found.len() < PROCESSES_MAX {
        for thread in numbers_in(&format!("/proc/{}/task", found[next])) {
            let children = text(format!("/proc/{}/task/{thread}/children", found[next]));
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

fn threads_of(pid: u32) -> Vec<(u32, ThreadTime)> {
    numbers_in(&format!("/proc/{pid}/task"))
        .into_iter()
        .filter_map(|thread| {
            let schedstat = text(format!("/proc/{pid}/task/{thread}/schedstat"));
            Some((thread, ThreadTime::parse(&schedstat)?))
        })
        .collect()
}

fn numbers_in(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let text = "Ip: A B\nIp: 1 2\nTcp: RtoMin MaxConn RetransSegs\nTcp: 200 -1 21\n";
        assert_eq!(column(text, "Tcp:", "RetransSegs"), Some(21));
        assert_eq!(column(text, "Tcp:", "MaxConn"), None);
        assert_eq!(column(text, "TcpExt:", "X"), None);
        assert_eq!(steal_ticks("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n"), Some(8));
    }

    #[test]
    fn own_cpu_time_is_counted_to_the_millisecond() {
        let before = Counters::read(Some(std::process::id()));
        let thread = ThreadTime::of_this_thread().unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(60) {
            std::hint::spin_loop();
        }
        let spent = ThreadTime::of_this_thread().unwrap().since(thread);
        let wall = u64::try_from(start.elapsed().as_nanos()).unwrap();
        // Shared cores: what the thread did not run, it waited.
        assert!(spent.cpu_ns + spent.delay_ns >= wall * 9 / 10, "{spent:?} of {wall}");
        assert!(spent.cpu_ns <= wall * 11 / 10, "{spent:?} of {wall}");
        let change = Counters::read(Some(std::process::id())).since(&before);
        let server = change.server_cpu_s().unwrap();
        assert!(server >= spent.cpu_ns as f64 / 1e9 * 0.9, "{server}");
        assert!(change.kernel("tcp.retransmits").is_some());
        let mut environment = Environment::default();
        change.describe(&mut environment);
        assert!(environment.facts["server.cpu_ms"].parse::<f64>().unwrap() > 0.0);
    }

    /// A server that is started as master and workers is charged for its workers.
    #[test]
    fn children_are_counted() {
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 5";
        let mut master = std::process::Command::new("sh")
            .args(["-c", &format!("sh -c '{script}' & wait")])
            .spawn()
            .unwrap();
        let before = Counters { server: Some(BTreeMap::new()), ..Counters::default() };
        let deadline = Instant::now() + Duration::from_secs(4);
        let mut cpu = 0.0;
        while Instant::now() < deadline && cpu < 0.02 {
            std::thread::sleep(Duration::from_millis(20));
            let now = Counters::read(Some(master.id()));
            cpu = now.since(&before).server_cpu_s().unwrap_or(0.0);
        }
        let family = with_children(master.id());
        for pid in family.iter().skip(1) {
            let _ = std::process::Command::new("kill").arg(pid.to_string()).status();
        }
        let _ = master.kill();
        let _ = master.wait();
        assert!(family.len() >= 2, "{family:?}");
        assert!(server_cores(std::process::id()) >= 1);
        assert!(cpu >= 0.02, "{cpu} s");
        let ended = Counters::read(Some(master.id())).since(&before);
        assert_eq!(ended.server_cpu_s(), None, "a process that ended has no time");
    }
}
