//! What is known of the process as a whole: time, descriptors, memory, and when the arena fills.
//!
//! Read from `/proc/self` at the moment of a scrape; what cannot be read is left out.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Phase;
use crate::sys::folder::DataFolder;

/// One look at the process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// The stage of its life.
    pub phase: Phase,
    /// Unix time of its start, in seconds.
    pub started_s: f64,
    /// Seconds since then.
    pub uptime_s: f64,
    /// CPU time of all its threads, in seconds.
    pub cpu_s: Option<f64>,
    /// Descriptors it has open.
    pub open_fds: Option<u64>,
    /// Descriptors it may have.
    pub max_fds: Option<u64>,
    /// Bytes of memory that are resident.
    pub resident_bytes: Option<u64>,
    /// Bytes in the arena.
    pub arena_bytes: u64,
    /// Seconds until the arena is full at the growth of the last minutes; infinite without growth.
    pub time_to_full_s: f64,
    /// Lines that the access log wrote.
    pub access_lines: u64,
    /// Lines that it could not write.
    pub access_lost: u64,
    /// Reloads of the configuration that were done, and that failed.
    pub reloads: (u64, u64),
    /// The state of the disk tier.
    pub disk: Disk,
}

/// What the disk tier can do, whichever shard found it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// A write was lost, and no more are taken until a restart.
    pub is_read_only: bool,
    /// A folder is not at its path, and nothing is written until it is back.
    pub is_away: bool,
    /// Bytes used of the data folder's file system, and those that can be; none without one.
    pub room: Option<(u64, u64)>,
    /// As much is used as may be, and uploads are refused.
    pub is_full: bool,
}

impl Disk {
    /// The state of these folders.
    pub(super) fn of(folders: &[Arc<DataFolder>]) -> Self {
        Self {
            is_read_only: folders.iter().any(|folder| folder.is_broken()),
            is_away: folders.iter().any(|folder| folder.is_away()),
            room: folders
                .iter()
                .find(|folder| folder.temporary().is_some())
                .map(|folder| (folder.room().used_bytes(), folder.room().capacity_bytes())),
            is_full: folders.iter().any(|folder| folder.room().is_full()),
        }
    }
}

/// When the process began, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    started: Instant,
    started_s: f64,
}

impl Birth {
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_s: since.as_secs_f64() }
    }

    /// Reads what `/proc/self` says; the caller fills in what it knows itself.
    pub fn look(&self, phase: Phase) -> Process {
        Process {
            phase,
            started_s: self.started_s,
            uptime_s: self.started.elapsed().as_secs_f64(),
            cpu_s: read("stat").and_then(|text| cpu_s(&text)),
            open_fds: open_fds(),
            max_fds: read("limits").and_then(|text| max_fds(&text)),
            resident_bytes: read("status").and_then(|text| resident_bytes(&text)),
            arena_bytes: 0,
            time_to_full_s: f64::INFINITY,
            access_lines: 0,
            access_lost: 0,
            reloads: (0, 0),
            disk: Disk::default(),
        }
    }
}

/// Samples of the arena's use over the last minutes.
#[derive(Debug, Default)]
pub(super) struct Fill(VecDeque<(Duration, u64)>);

impl Fill {
    /// Notes the bytes in use at a moment; moments ascend.
    pub fn sample(&mut self, at: Duration, used_bytes: u64) {
        if self.0.len() == FILL_SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((at, used_bytes));
    }

    /// Seconds until `capacity_bytes` are used, by the growth over all samples.
    pub fn time_to_full_s(&self, capacity_bytes: u64) -> f64 {
        let (Some((first_at, first)), Some((last_at, last))) = (self.0.front(), self.0.back())
        else {
            return f64::INFINITY;
        };
        let left = capacity_bytes.saturating_sub(*last);
        if left == 0 && capacity_bytes > 0 {
            return 0.0;
        }
        let grown = last.saturating_sub(*first);
        let elapsed_s = last_at.saturating_sub(*first_at).as_secs_f64();
        if grown == 0 || elapsed_s <= 0.0 {
            return f64::INFINITY;
        }
        left as f64 * elapsed_s / grown as f64
    }
}

/// Between two samples of the arena.
pub(super) const FILL_PAUSE: Duration = Duration::from_secs(5);

/// Five minutes of samples.
const FILL_SAMPLES: usize = 60;

fn read(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// The directory's size is the number since Linux 6.2; before that it is zero, so count.
fn open_fds() -> Option<u64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 { Some(size) } else { Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64) }
}

/// Fields 14 and 15 of stat, in hundredths of a second (USER_HZ is 100 wherever Linux runs).
fn cpu_s(stat: &str) -> Option<f64> {
    // The second field is the name in parentheses and may contain anything.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0";
        assert_eq!(cpu_s(stat), Some(2.0));
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024  4096  files\n";
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(resident_bytes("Name: x\nVmRSS:\t   10 kB\n"), Some(10_240));
        assert_eq!(cpu_s(""), None);
        assert_eq!(max_fds(""), None);
    }

    #[test]
    fn this_process_is_seen() {
        let process = Birth::now().look(Phase::Ready);
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.max_fds.unwrap() >= process.open_fds.unwrap());
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.cpu_s.unwrap() >= 0.0);
        assert!(process.started_s > 1.0e9);
    }

    #[test]
    fn time_to_full_follows_the_growth() {
        let mut fill = Fill::default();
        assert!(fill.time_to_full_s(1000).is_infinite());
        fill.sample(Duration::from_secs(0), 100);
        assert!(fill.time_to_full_s(1000).is_infinite());
        fill.sample(Duration::from_secs(10), 200);
        assert!((fill.time_to_full_s(1000) - 80.0).abs() < 1e-9);
        fill.sample(Duration::from_secs(20), 100);
        assert!(fill.time_to_full_s(1000).is_infinite());
        fill.sample(Duration::from_secs(30), 1000);
        assert!(fill.time_to_full_s(1000).abs() < 1e-9);
    }

    #[test]
    fn old_samples_leave() {
        let mut fill = Fill::default();
        for second in 0..1000 {
            fill.sample(Duration::from_secs(second), second.max(900));
        }
        assert_eq!(fill.0.len(), FILL_SAMPLES);
        assert!((fill.time_to_full_s(1099) - 100.0).abs() < 1e-9);
    }
}
