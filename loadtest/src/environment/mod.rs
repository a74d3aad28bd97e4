//! Where and how a run took place: the facts that a reader needs to believe or repeat it.
//!
//! `describe` reads what stands still (kernel, processor, limits, settings of the network);
//! `counters` what moves during a run (retransmits, steal, waits for a CPU, the server's CPU). A
//! fact that this machine does not show is left out, never guessed. Never does: change a setting.

pub mod counters;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::report::model::Environment;

pub use counters::{Counters, ThreadTime, add_up};

/// Settings that decide about connections and buffers, as paths below `/proc/sys`.
const SYSCTLS: [&str; 14] = [
    "net/core/busy_poll",
    "net/core/busy_read",
    "net/core/default_qdisc",
    "net/core/netdev_max_backlog",
    "net/core/rmem_max",
    "net/core/somaxconn",
    "net/core/wmem_max",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_slow_start_after_idle",
    "net/ipv4/tcp_tw_reuse",
    "net/ipv4/tcp_wmem",
];
/// Characters of one fact; longer ones are cut.
const FACT_LENGTH_MAX: usize = 300;

/// The block of this process: command line, seed and all facts that stand still.
pub fn describe(seed: u64) -> Environment {
    let mut facts = Facts::default();
    facts.add("version", format!("loadtest {}", env!("CARGO_PKG_VERSION")));
    if let Some(hash) = option_env!("LOADTEST_GIT_HASH") {
        facts.add("version.git", hash);
    }
    if cfg!(debug_assertions) {
        facts.add("version.build", "debug: too slow to measure with");
    }
    facts.read("kernel", "/proc/sys/kernel/osrelease");
    processor(&mut facts);
    network(&mut facts);
    let status = text("/proc/self/status");
    facts.add_some("cpu.pinning", line_value(&status, "Cpus_allowed_list").map(cpus));
    let limits = text("/proc/self/limits");
    facts.add_some("ulimit.nofile", limit(&limits, "Max open files"));
    facts.add_some("ulimit.memlock", limit(&limits, "Max locked memory"));
    Environment { command_line: std::env::args().collect(), seed, facts: facts.0 }
}

/// Adds what is known of the server's process to a block.
pub fn describe_server(pid: u32, environment: &mut Environment) {
    let mut facts = Facts(std::mem::take(&mut environment.facts));
    facts.add("server.pid", pid.to_string());
    let command = text(format!("/proc/{pid}/cmdline")).replace('\0', " ");
    facts.add("server.command", command);
    let status = text(format!("/proc/{pid}/status"));
    facts.add_some("server.pinning", line_value(&status, "Cpus_allowed_list").map(cpus));
    facts.add_some("server.threads", line_value(&status, "Threads"));
    facts.add_some("server.resident", line_value(&status, "VmRSS"));
    environment.facts = facts.0;
}

fn processor(facts: &mut Facts) {
    let info = text("/proc/cpuinfo");
    facts.add_some("cpu.model", line_value(&info, "model name"));
    let count = info.lines().filter(|line| line.starts_with("processor")).count();
    facts.add("cpu.count", count.to_string());
    facts.read("cpu.governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    facts.add_some("cpu.mitigations", mitigations("/sys/devices/system/cpu/vulnerabilities"));
    facts.add_some("cpu.quota", quota());
    facts.add_some("memory", line_value(&text("/proc/meminfo"), "MemTotal"));
    facts.read("clock", "/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

/// Weaknesses of the processor that cost time, in one line.
fn mitigations(folder: &str) -> Option<String> {
    let mut found: Vec<String> = fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let state = text(entry.path());
            let state = state.trim().trim_start_matches("Mitigation: ");
            let matters = !state.is_empty() && state != "Not affected";
            matters.then(|| format!("{}: {state}", entry.file_name().to_string_lossy()))
        })
        .collect();
    found.sort();
    (!found.is_empty()).then(|| found.join("; "))
}

/// The CPU quota of this process's control group, of either version of the interface.
fn quota() -> Option<String> {
    let groups = text("/proc/self/cgroup");
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if controllers.is_empty() {
            let max = text(format!("/sys/fs/cgroup{path}/cpu.max"));
            if !max.trim().is_empty() {
                return Some(format!("{} (quota and period in us)", max.trim()));
            }
        }
        if controllers.split(',').any(|name| name == "cpu") {
            let folder = format!("/sys/fs/cgroup/cpu{path}");
            let (quota, period) = (
                text(format!("{folder}/cpu.cfs_quota_us")),
                text(format!("{folder}/cpu.cfs_period_us")),
            );
            match quota.trim() {
                "" => {}
                "-1" => return Some("none".to_owned()),
                quota => {
                    return Some(format!("{quota} {} (quota and period in us)", period.trim()));
                }
            }
        }
    }
    None
}

fn network(facts: &mut Facts) {
    let mut cards: Vec<String> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let state = text(entry.path().join("operstate"));
            let name = entry.file_name().to_string_lossy().into_owned();
            let mtu = text(entry.path().join("mtu"));
            (state.trim() == "up" || name == "lo").then(|| format!("{name} MTU {}", mtu.trim()))
        })
        .collect();
    cards.sort();
    facts.add("nic", cards.join(", "));
    for path in SYSCTLS {
        let name = format!("sysctl.{}", path.replace('/', "."));
        facts.read(&name, &format!("/proc/sys/{path}"));
    }
}

/// Facts by name; empty ones are left out.
#[derive(Default)]
struct Facts(BTreeMap<String, String>);

impl Facts {
    fn add(&mut self, name: &str, value: impl AsRef<str>) {
        let value: Vec<&str> = value.as_ref().split_whitespace().collect();
        let value: String = value.join(" ").chars().take(FACT_LENGTH_MAX).collect();
        if !value.is_empty() {
            self.0.insert(name.to_owned(), value);
        }
    }

    fn add_some(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn read(&mut self, name: &str, path: &str) {
        self.add(name, text(path));
    }
}

/// A small file as text; empty when it cannot be read.
fn text(path: impl AsRef<Path>) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The value behind `name:` in a file of lines.
fn line_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// The soft limit in a line of `/proc/self/limits`.
fn limit<'a>(limits: &'a str, name: &str) -> Option<&'a str> {
    limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
}

fn cpus(list: &str) -> String {
    format!("may run on CPUs {list}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_its_facts() {
        let environment = describe(42);
        assert_eq!(environment.seed, 42);
        assert!(!environment.command_line.is_empty());
        for name in
            ["kernel", "cpu.count", "cpu.pinning", "memory", "nic", "ulimit.nofile", "version"]
        {
            let value = environment.facts.get(name).map(String::as_str).unwrap_or_default();
            assert!(!value.is_empty(), "{name} of {:?}", environment.facts);
        }
        let congestion = &environment.facts["sysctl.net.ipv4.tcp_congestion_control"];
        assert!(congestion.chars().all(|c| c.is_ascii_alphanumeric()), "{congestion}");
        assert!(environment.facts.values().all(|value| value.len() <= FACT_LENGTH_MAX));
    }

    #[test]
    fn a_server_is_described_by_its_pid() {
        let mut environment = describe(1);
        describe_server(std::process::id(), &mut environment);
        assert_eq!(environment.facts["server.pid"], std::process::id().to_string());
        assert!(environment.facts["server.command"].contains("loadtest"));
        assert!(environment.facts["server.threads"].parse::<u32>().unwrap() >= 1);
    }

    #[test]
    fn lines_and_limits_are_found() {
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files   20000   30000 files\n";
        assert_eq!(limit(limits, "Max open files"), Some("20000"));
        assert_eq!(limit(limits, "Max rockets"), None);
        assert_eq!(line_value("a:\t1\nmodel name\t: X Y\n", "model name"), Some("X Y"));
    }
}
