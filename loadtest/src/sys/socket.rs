//! Taking bytes off a socket at once, with or without looking at them.
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

/// Reads at most `buffer.len()` bytes that a socket has received. Never waits: `WouldBlock` when
/// nothing is there; 0 at the end.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    let start = buffer.as_mut_ptr().cast();
    // SAFETY: the buffer is ours and its length is passed.
    let count = unsafe { libc::recv(socket.as_raw_fd(), start, buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Lets the kernel keep about `bytes` for a reader that is slow (SO_RCVBUF, socket(7)).
pub fn keep_little(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    let value = (&raw const bytes).cast();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_RCVBUF);
    // SAFETY: the value is ours and its size is passed.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
