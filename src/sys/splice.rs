//! Sharing pages with a socket: vmsplice(2) of pinned memory into a pipe, splice(2) out of it.
//!
//! On a route where SEND_ZC is copied after all (loopback, veth, a bridge) this is what keeps the
//! bytes where they are. The calls are made directly on non-blocking sockets: the ring would hand
//! a splice to a worker thread. One pipe serves a shard, since it is empty again after each call:
//! what the socket has no room for is thrown away, which only drops references, and is spliced
//! again later.
//!
//! Invariants: nobody is told when a reader is done with the pages, so memory that was spliced is
//! never overwritten: `store::space` retires it, and `Arena` gives its pages back to the host.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::limits;
#[cfg(test)]
use crate::sys::sim;

/// A shard's pipe, and where its leftovers go.
pub(super) struct Pipe {
    exit: OwnedFd,
    entrance: OwnedFd,
    void: OwnedFd,
}

impl Pipe {
    /// A pipe, as wide as the host allows.
    ///
    /// # Errors
    /// EMFILE or ENFILE without descriptors; ENOBUFS when the host allows so little (the user's
    /// pipes have too many pages) that copying costs less.
    pub(super) fn new() -> io::Result<Self> {
        #[cfg(test)]
        if let Some(error) = sim::refuse_pipe() {
            return Err(error);
        }
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for two descriptors.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        // SAFETY: pipe2 made the descriptor for us alone.
        let exit = unsafe { OwnedFd::from_raw_fd(ends[0]) };
        // SAFETY: as above.
        let entrance = unsafe { OwnedFd::from_raw_fd(ends[1]) };
        // A refusal leaves a narrower pipe, which works.
        // SAFETY: plain call on a descriptor of ours.
        unsafe { libc::fcntl(ends[1], libc::F_SETPIPE_SZ, limits::PIPE_BYTES) };
        // SAFETY: as above.
        let bytes = unsafe { libc::fcntl(ends[1], libc::F_GETPIPE_SZ) };
        if bytes < limits::PIPE_BYTES_MIN {
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        let void = std::fs::OpenOptions::new().write(true).open("/dev/null")?.into();
        Ok(Self { exit, entrance, void })
    }

    /// Gives the socket references to as many of the bytes as it has room for; returns how many.
    /// With `more`, the kernel waits a moment for what follows before it sends a short packet.
    ///
    /// # Errors
    /// Those of vmsplice(2), and of splice(2) but for EAGAIN.
    pub(super) fn splice(&self, fd: RawFd, run: libc::iovec, more: bool) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(moved) = sim::splice(fd, run) {
            return moved;
        }
        // SAFETY: `run` is arena memory, which is never unmapped.
        let put = check(unsafe { libc::vmsplice(self.entrance.as_raw_fd(), &run, 1, 0) })?;
        let more = if more || put < run.iov_len { libc::SPLICE_F_MORE } else { 0 };
        let moved = self.pull(fd, put, more | libc::SPLICE_F_NONBLOCK);
        let mut left = put - *moved.as_ref().unwrap_or(&0);
        while left > 0 {
            // The pipe holds these bytes, and nothing blocks a write to the void.
            left -= self.pull(self.void.as_raw_fd(), left, 0)?;
        }
        match moved {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Bytes in the pipe: none between two calls of [`Pipe::splice`].
    pub(super) fn held(&self) -> io::Result<usize> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the call writes one int.
        check(unsafe { libc::ioctl(self.exit.as_raw_fd(), libc::FIONREAD, &mut bytes) })?;
        Ok(usize::try_from(bytes).unwrap_or(0))
    }

    fn pull(&self, to: RawFd, len: usize, flags: libc::c_uint) -> io::Result<usize> {
        let (from, nowhere) = (self.exit.as_raw_fd(), ptr::null_mut());
        // SAFETY: both descriptors are open, and no offsets are given.
        check(unsafe { libc::splice(from, nowhere, to, nowhere, len, flags) })
    }
}

/// Sends as many bytes as the socket has room for, with more to follow at once.
///
/// # Errors
/// Those of send(2) but for EAGAIN.
pub(super) fn send_now(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    #[cfg(test)]
    if let Some(sent) = sim::send_some(fd, bytes) {
        return sent;
    }
    const FLAGS: i32 = libc::MSG_MORE | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` is valid for its length.
    match check(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), FLAGS) }) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}

fn check<T: TryInto<usize>>(result: T) -> io::Result<usize> {
    result.try_into().map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::sys::arena::Arena;
    use crate::sys::extent::{Extent, SlotSource};

    const LEN: u32 = 3 << 20;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let reader = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (writer, _) = listener.accept().unwrap();
        writer.set_nonblocking(true).unwrap();
        (reader, writer)
    }

    /// What a reader has not read yet stays what it was: the memory is given back to the host
    /// before anybody writes to it again. Without that the reader would see the new bytes.
    #[test]
    fn a_reader_gets_the_old_bytes_after_the_memory_was_retired_and_written_again() {
        let arena = Arena::new(1).unwrap();
        let extent = Extent { slot: arena.draw().unwrap(), offset: 4096, len: LEN };
        arena.write(extent, 0, &vec![b'o'; LEN as usize]);
        let (mut reader, writer) = pair();
        let pipe = Pipe::new().unwrap();
        arena.mark_spliced(extent, 0, extent.len);
        let mut sent = 0;
        loop {
            let run = arena.run(extent, sent, (LEN - sent).min(256 * 1024));
            match pipe.splice(writer.as_raw_fd(), run, false).unwrap() {
                0 => break,
                moved => sent += u32::try_from(moved).unwrap(),
            }
        }
        assert!(sent > 0, "the socket had no room at all");
        arena.renew(Extent { slot: extent.slot, offset: 0, len: arena.slot_bytes() });
        arena.write(extent, 0, &vec![b'n'; LEN as usize]);
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), sent as usize);
        assert!(read.iter().all(|&byte| byte == b'o'), "a reader saw bytes of another object");
    }

    #[test]
    fn a_closed_connection_is_an_error_and_leaves_the_pipe_empty() {
        let arena = Arena::new(1).unwrap();
        let extent = Extent { slot: arena.draw().unwrap(), offset: 0, len: 100_000 };
        arena.write(extent, 0, &[7; 100_000]);
        let pipe = Pipe::new().unwrap();
        let (reader, writer) = pair();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
        let run = arena.run(extent, 0, 100_000);
        pipe.splice(writer.as_raw_fd(), run, false).unwrap_err();
        drop(reader);
        let (mut reader, writer) = pair();
        assert_eq!(pipe.splice(writer.as_raw_fd(), run, false).unwrap(), 100_000);
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, vec![7; 100_000], "nothing of the failed splice is left in the pipe");
        assert_eq!(pipe.held().unwrap(), 0);
    }
}
