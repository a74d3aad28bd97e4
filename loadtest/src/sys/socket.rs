//! Taking bytes off a socket without looking at them.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

/// Throws away at most `most` bytes that a TCP socket has received: the kernel copies nothing
/// (MSG_TRUNC, tcp(7)). Never waits: `WouldBlock` when nothing is there; 0 at the end.
pub fn discard(socket: &impl AsRawFd, most: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC a TCP socket writes nothing into the buffer, which is none.
    let count = unsafe { libc::recv(socket.as_raw_fd(), std::ptr::null_mut(), most, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
