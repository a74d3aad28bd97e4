//! Signals, taken by the main thread instead of by handlers.
#![allow(unsafe_code)]

use std::time::Duration;

/// The signals that end the process.
fn ending() -> libc::sigset_t {
    // SAFETY: an all-zero set is a valid place to build one in.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is ours.
    unsafe { libc::sigemptyset(&mut set) };
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: `set` is initialised and the signal exists.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    set
}

/// Keeps SIGTERM and SIGINT for [`wait`]; call before any thread is started.
pub fn hold() {
    let set = ending();
    // SAFETY: `set` is initialised; the old mask is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
}

/// Waits for SIGTERM or SIGINT at most `patience`; its number.
pub fn wait(patience: Duration) -> Option<u8> {
    let set = ending();
    let time = libc::timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(patience.subsec_nanos()),
    };
    // SAFETY: both pointers are valid for the call; the signal's details are not wanted.
    let signal = unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &time) };
    u8::try_from(signal).ok().filter(|&signal| signal > 0)
}
