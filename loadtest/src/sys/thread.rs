//! Facts and settings of the calling thread: its CPU, its CPU time, its timers, and SIGINT.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

static STOP: AtomicBool = AtomicBool::new(false);

/// CPUs that the process may run on, ascending: as it was when first asked, for threads are pinned
/// later.
pub fn cpus() -> Vec<usize> {
    static FOUND: OnceLock<Vec<usize>> = OnceLock::new();
    FOUND.get_or_init(allowed).clone()
}

fn allowed() -> Vec<usize> {
    // SAFETY: a set of zeroes is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours and its size is passed.
    let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if failed != 0 {
        return Vec::new();
    }
    // SAFETY: every index is below the size of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// A runtime of the calling thread, with timers.
///
/// # Errors
/// As `io_uring_setup`.
pub fn runtime(entries: u32) -> anyhow::Result<Runtime<TimeDriver<IoUringDriver>>> {
    RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(entries)
        .enable_timer()
        .build()
        .context("setting up io_uring")
}

/// Keeps the calling thread, and threads that it starts, on `cpus`.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: a set of zeroes is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index is below the size of the set.
        unsafe { libc::CPU_SET(*cpu, &mut set) };
    }
    // SAFETY: the set is ours and its size is passed.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the calling thread's waits end when they are due, not up to 50 us later.
pub fn exact_timers() {
    // SAFETY: this option takes one number; a failure leaves the default.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong, 0, 0, 0) };
}

/// CPU time and time spent waiting for a CPU, of the calling thread, in nanoseconds.
pub fn schedule() -> (u64, u64) {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Lets this process open `files` descriptors; the error is how many it may at most.
pub fn allow_files(files: u64) -> Result<(), u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is ours.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if limit.rlim_cur >= files {
        return Ok(());
    }
    if limit.rlim_max < files {
        return Err(limit.rlim_max);
    }
    limit.rlim_cur = files;
    // SAFETY: the limit is ours.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(limit.rlim_max),
    }
}

/// From now on SIGINT and SIGTERM set [`stopped`]; a second one ends the process at once.
pub fn catch_stop() {
    extern "C" fn note(signal: libc::c_int) {
        if STOP.swap(true, Ordering::Relaxed) {
            // SAFETY: allowed within a handler of signals.
            unsafe { libc::_exit(128 + signal) };
        }
    }
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only touches an atomic and ends the process.
        unsafe { libc::signal(signal, note as *const () as libc::sighandler_t) };
    }
}

/// Whether the process was asked to stop.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}
