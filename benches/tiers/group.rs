//! A control group for one server: a bound on its memory, its page cache included, and its CPU
//! time, kernel threads' work on its behalf excluded. Version 1 and 2 of the interface.
//!
//! **Invariants**: dropping it removes the group, whose processes must have ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;

/// One group; in version 1 one per controller.
pub struct Group {
    memory: PathBuf,
    cpu: PathBuf,
}

impl Group {
    /// Makes a group, bounded where `memory_bytes` says so.
    pub fn new(name: &str, memory_bytes: Option<u64>) -> Outcome<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let name = format!("headwater-tiers-{name}-{}", std::process::id());
        let is_first = root.join("memory/memory.limit_in_bytes").exists();
        let (memory, cpu) = match is_first {
            true => (root.join("memory").join(&name), root.join("cpuacct").join(&name)),
            false => (root.join(&name), root.join(&name)),
        };
        if !is_first {
            fs::write(root.join("cgroup.subtree_control"), "+memory +cpu")?;
        }
        let made = fs::create_dir_all(&memory).and_then(|()| fs::create_dir_all(&cpu));
        made.map_err(|error| format!("no control group {}: {error}", memory.display()))?;
        let limit = if is_first { "memory.limit_in_bytes" } else { "memory.max" };
        if let Some(bytes) = memory_bytes {
            fs::write(memory.join(limit), bytes.to_string())?;
        }
        Ok(Self { memory, cpu })
    }

    /// Files that the shell of a process writes its id to, before it becomes the server.
    pub fn doors(&self) -> [String; 2] {
        [&self.memory, &self.cpu].map(|folder| format!("{}/cgroup.procs", folder.display()))
    }

    /// CPU time of all that was in the group, ended threads included.
    pub fn cpu(&self) -> Outcome<Duration> {
        if let Ok(ns) = fs::read_to_string(self.cpu.join("cpuacct.usage")) {
            return Ok(Duration::from_nanos(ns.trim().parse()?));
        }
        let stat = fs::read_to_string(self.cpu.join("cpu.stat"))?;
        let us = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Ok(Duration::from_micros(us.ok_or("cpu.stat says no usage_usec")?.trim().parse()?))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in [&self.memory, &self.cpu] {
            // The kernel lets go of ended processes a moment later.
            for _ in 0..50 {
                if !folder.exists() || fs::remove_dir(folder).is_ok() {
                    break;
                }
                sleep(Duration::from_millis(20));
            }
        }
    }
}
