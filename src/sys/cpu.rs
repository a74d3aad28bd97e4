//! Cores: which the process may use, and binding a thread to one.
#![allow(unsafe_code)]

/// Numbers of the cores the process may run on, in order.
pub fn allowed() -> Vec<usize> {
    // SAFETY: an all-zero set is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` has room for the size that is named.
    let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if failed != 0 {
        return vec![0];
    }
    let count = usize::try_from(libc::CPU_SETSIZE).expect("a small constant");
    // SAFETY: every index is below CPU_SETSIZE.
    (0..count).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect()
}

/// Binds the calling thread to one core; without permission it stays where it is.
pub fn pin(core: usize) {
    // SAFETY: an all-zero set is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `core` came from `allowed`, so it is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is initialised and of the size that is named.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
}
