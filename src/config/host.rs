//! What the host offers, as far as defaults depend on it.
//!
//! Everything is read from `/proc` and `/sys/fs/cgroup`; what cannot be read counts as unlimited,
//! and a host about which nothing is known gets the smallest defaults.

use std::fs;
use std::path::Path;

/// Measures of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Cores this process may use, at least 1.
    pub cores: usize,
    /// Memory that could be used now, in bytes, within the process's control groups.
    pub memory_available_bytes: u64,
}

impl Host {
    /// A modest host, the same everywhere: for tests.
    pub const SMALL: Self = Self { cores: 2, memory_available_bytes: 1 << 30 };

    /// Looks at the host.
    pub fn read() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cores, memory_available_bytes: memory_available_bytes(Path::new("/")) }
    }
}

fn memory_available_bytes(root: &Path) -> u64 {
    let host = fs::read_to_string(root.join("proc/meminfo"))
        .ok()
        .and_then(|text| available_in_meminfo(&text))
        .unwrap_or(0);
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    host.min(group_limit_bytes(root, &groups))
}

fn available_in_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The tightest memory limit on the way from the process's group to the root, both versions.
fn group_limit_bytes(root: &Path, groups: &str) -> u64 {
    let mut tightest = u64::MAX;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mount = root.join(mount);
        // Inside a container the group's path may not exist below the mount: its end does.
        let group = Path::new(group.trim_start_matches('/'));
        for folder in group.ancestors() {
            tightest = tightest.min(limit_in(&mount.join(folder).join(file)));
        }
    }
    tightest
}

/// `max`, an unreadable file and the kernel's huge number all mean no limit.
fn limit_in(file: &Path) -> u64 {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("hw-host-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const MEMINFO: &str = "MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\n";

    #[test]
    fn without_groups_the_hosts_memory_counts() {
        let root = Root::new("plain", &[("proc/meminfo", MEMINFO)]);
        assert_eq!(memory_available_bytes(&root.0), 4_000_000 * 1024);
    }

    #[test]
    fn a_limit_of_version_2_counts_even_above_the_own_group() {
        let root = Root::new(
            "v2",
            &[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", "0::/system.slice/headwater.service\n"),
                ("sys/fs/cgroup/system.slice/headwater.service/memory.max", "max\n"),
                ("sys/fs/cgroup/system.slice/memory.max", "1000000\n"),
            ],
        );
        assert_eq!(memory_available_bytes(&root.0), 1_000_000);
    }

    #[test]
    fn a_limit_of_version_1_counts_where_the_group_is_hidden() {
        let root = Root::new(
            "v1",
            &[
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/abc\n0::/\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000\n"),
            ],
        );
        assert_eq!(memory_available_bytes(&root.0), 2_000_000);
    }

    #[test]
    fn an_unknown_host_has_nothing_to_give() {
        let root = Root::new("none", &[("proc/other", "")]);
        assert_eq!(memory_available_bytes(&root.0), 0);
    }

    #[test]
    fn this_host_has_memory_and_a_core() {
        let host = Host::read();
        assert!(host.cores >= 1);
        assert!(host.memory_available_bytes > 1 << 20);
    }
}
