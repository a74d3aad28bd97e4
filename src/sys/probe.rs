//! What the kernel must offer, looked at before anything is started; each refusal is a sentence
//! with cause and cure.
#![allow(unsafe_code)]

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Why the origin cannot start on this host.
#[derive(Debug)]
pub struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Looks at everything a shard needs of the kernel.
///
/// # Errors
/// The first thing that is missing.
pub fn kernel() -> Result<(), Refusal> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    let ring: IoUring = builder.build(8).map_err(|error| setup_refusal(&error))?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| {
        Refusal(format!(
            "io_uring's list of operations cannot be read: {error}; kernel 6.1 or newer is needed"
        ))
    })?;
    missing(|code| probe.is_supported(code)).map_or(Ok(()), |name| {
        Err(Refusal(format!("this kernel's io_uring has no {name}; kernel 6.1 or newer is needed")))
    })
}

/// The first operation that the ring uses and the kernel does not know.
fn missing(is_supported: impl Fn(u8) -> bool) -> Option<&'static str> {
    let needed = [
        ("ACCEPT", opcode::Accept::CODE),
        ("RECV", opcode::Recv::CODE),
        ("SEND", opcode::Send::CODE),
        ("SENDMSG", opcode::SendMsg::CODE),
        ("SEND_ZC", opcode::SendZc::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
        ("MSG_RING", opcode::MsgRingData::CODE),
        ("POLL_ADD", opcode::PollAdd::CODE),
        ("TIMEOUT", opcode::Timeout::CODE),
        ("CLOSE", opcode::Close::CODE),
        ("OPENAT2", opcode::OpenAt2::CODE),
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("RENAMEAT", opcode::RenameAt::CODE),
        ("UNLINKAT", opcode::UnlinkAt::CODE),
        ("MKDIRAT", opcode::MkDirAt::CODE),
        ("FSETXATTR", opcode::FSetXattr::CODE),
        ("FGETXATTR", opcode::FGetXattr::CODE),
        ("STATX", opcode::Statx::CODE),
    ];
    needed.into_iter().find(|&(_, code)| !is_supported(code)).map(|(name, _)| name)
}

fn setup_refusal(error: &io::Error) -> Refusal {
    let text = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "io_uring is forbidden here: by 'sysctl kernel.io_uring_disabled' (set it to 0, or put \
             the user into the group of kernel.io_uring_group), or by a seccomp filter as Docker's \
             default one (run the container with a profile that allows io_uring_setup, \
             io_uring_enter and io_uring_register)"
                .to_owned()
        }
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring, or the sandbox hides it (gVisor does); \
             Linux 6.1 or newer is needed"
                .to_owned()
        }
        Some(libc::EINVAL) => "this kernel's io_uring is too old: Linux 6.1 or newer is needed \
             (SINGLE_ISSUER and DEFER_TASKRUN)"
            .to_owned(),
        Some(libc::ENOMEM) => "no memory for an io_uring: the memlock limit (ulimit -l) or the \
             memory cgroup is exhausted; raise LimitMEMLOCK or the cgroup's limit"
            .to_owned(),
        Some(libc::EMFILE | libc::ENFILE) => "no file descriptor is left for an io_uring; raise \
             'ulimit -n' (LimitNOFILE)"
            .to_owned(),
        _ => format!("io_uring cannot be set up: {error}"),
    };
    Refusal(text)
}

/// Raises the limit of open files to what is allowed; answers it.
pub fn raise_nofile() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 1024;
    }
    let wanted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: as above; raising the soft limit to the hard one is always allowed.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) } {
        0 => limit.rlim_max,
        _ => limit.rlim_cur,
    }
}

/// Whether `bytes` of memory may be pinned for rings: the memlock limit, or the privilege to
/// ignore it. `Err` is the limit in bytes.
///
/// # Errors
/// The limit, when it is too small.
pub fn may_pin(bytes: u64) -> Result<(), u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) } != 0 {
        return Err(0);
    }
    if limit.rlim_cur >= bytes || has_ipc_lock() { Ok(()) } else { Err(limit.rlim_cur) }
}

/// CAP_IPC_LOCK, which frees registered memory from the limit.
fn has_ipc_lock() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    set >> CAP_IPC_LOCK & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_the_ring_submits_is_looked_for() {
        let submitted = include_str!("ring/kernel.rs").split("opcode::").skip(1).map(|rest| {
            rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default()
        });
        let looked_for = include_str!("probe.rs");
        for name in submitted.filter(|name| name.starts_with(char::is_uppercase)) {
            // The multishot forms are flags of the plain operation.
            let name = name.trim_end_matches("Multi");
            assert!(looked_for.contains(&format!("opcode::{name}::CODE")), "{name} is not");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(|_| true), None);
        assert_eq!(missing(|code| code != opcode::SendZc::CODE), Some("SEND_ZC"));
        assert_eq!(missing(|code| code != opcode::Statx::CODE), Some("STATX"));
    }

    #[test]
    fn each_refusal_says_cause_and_cure() {
        let told = |errno| setup_refusal(&io::Error::from_raw_os_error(errno)).to_string();
        for (errno, cause, cure) in [
            (libc::EPERM, "io_uring_disabled", "set it to 0"),
            (libc::EPERM, "seccomp", "profile that allows io_uring_setup"),
            (libc::ENOSYS, "no io_uring", "Linux 6.1 or newer"),
            (libc::EINVAL, "too old", "Linux 6.1 or newer"),
            (libc::ENOMEM, "memlock limit", "raise LimitMEMLOCK"),
            (libc::EMFILE, "no file descriptor", "raise 'ulimit -n'"),
        ] {
            let told = told(errno);
            assert!(told.contains(cause) && told.contains(cure), "{told}");
        }
        assert!(told(libc::EIO).contains("cannot be set up"), "{}", told(libc::EIO));
    }
}
