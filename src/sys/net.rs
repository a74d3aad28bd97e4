//! Sockets outside of the ring: listening, options, closing.
//!
//! All calls here are non-blocking and short. Failures of options are ignored where the connection
//! works without them.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::arena::Arena;
use super::ring::Ring;
#[cfg(test)]
use super::sim;

/// Connections the kernel queues for a listener.
const BACKLOG: i32 = 4096;

/// Opens one listening socket per shard on `address`; the kernel spreads connections.
///
/// # Errors
/// EADDRINUSE when another process listens there after `patience`, EACCES, EADDRNOTAVAIL.
pub fn listen(address: SocketAddr, shards: usize, patience: Duration) -> io::Result<Vec<OwnedFd>> {
    // A predecessor's ring gives its sockets back a little after its end: try for a while.
    let begun = Instant::now();
    let first = loop {
        // Without REUSEPORT the bind fails when anybody else listens: no silent sharing.
        match probe(address).and_then(|()| group_member(address)) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < patience =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => break other?,
        }
    };
    let bound = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut listeners = vec![OwnedFd::from(first)];
    while listeners.len() < shards {
        listeners.push(OwnedFd::from(group_member(bound)?));
    }
    Ok(listeners)
}

/// The address a listener got, where port 0 was asked for.
pub fn local_address(listener: &OwnedFd) -> io::Result<SocketAddr> {
    let socket = Socket::from(listener.try_clone()?);
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Gives the connections of a listener this congestion control.
///
/// # Errors
/// ENOENT when the kernel has none of that name, EPERM when only root may choose it.
pub fn set_congestion(listener: &OwnedFd, name: &str) -> io::Result<()> {
    Socket::from(listener.try_clone()?).set_tcp_congestion(name.as_bytes())
}

/// The congestion control of a listener's connections.
///
/// # Errors
/// None that is known.
pub fn congestion(listener: &OwnedFd) -> io::Result<String> {
    let name = Socket::from(listener.try_clone()?).tcp_congestion()?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = stream_socket(address)?;
    socket.bind(&SockAddr::from(address))
}

fn group_member(address: SocketAddr) -> io::Result<Socket> {
    let socket = stream_socket(address)?;
    socket.set_reuse_port(true)?;
    // Accepted connections inherit both.
    socket.set_tcp_nodelay(true)?;
    set_option(
        socket.as_raw_fd(),
        libc::IPPROTO_TCP,
        libc::TCP_USER_TIMEOUT,
        &crate::limits::USER_TIMEOUT_MS,
    );
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn stream_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) {
    let len = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    // SAFETY: `value` is valid for `len` bytes for the length of the call.
    unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), len) };
}

/// Acknowledges what has been received at once (TCP_QUICKACK).
pub(super) fn quick_ack(fd: RawFd) {
    #[cfg(test)]
    if sim::quick_ack(fd).is_some() {
        return;
    }
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, &1i32);
}

/// Makes the coming close throw away what is unsent (SO_LINGER with zero).
pub(super) fn reset_on_close(fd: RawFd) {
    #[cfg(test)]
    if sim::reset_on_close(fd).is_some() {
        return;
    }
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}

/// Ends both directions: sends under way end with EPIPE.
pub(super) fn shutdown(fd: RawFd) {
    #[cfg(test)]
    if sim::shutdown_write(fd).is_some() {
        return;
    }
    // SAFETY: plain call on a descriptor of ours; an error means the peer is gone already.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

pub(super) fn shutdown_write(fd: RawFd) {
    #[cfg(test)]
    if sim::shutdown_write(fd).is_some() {
        return;
    }
    // SAFETY: plain call on a descriptor of ours; an error means the peer is gone already.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

pub(super) fn close(fd: RawFd) {
    #[cfg(test)]
    if sim::close(fd).is_some() {
        return;
    }
    // SAFETY: the reactor owns the descriptor and forgets it with this call.
    unsafe { libc::close(fd) };
}

/// Takes ownership of an accepted connection's descriptor.
pub fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel handed this descriptor to us alone, and the caller passes it on once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Answers `bytes` as far as they go at once and closes: for connections that are turned away.
pub fn turn_away(fd: RawFd, bytes: &[u8]) {
    #[cfg(test)]
    if sim::turn_away(fd, bytes).is_some() {
        return;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // A close with unread bytes is a reset, which can take the answer away: read the request.
    let mut request = [0u8; 16 * 1024];
    // SAFETY: `request` is valid for its length.
    unsafe { libc::recv(fd, request.as_mut_ptr().cast(), request.len(), flags) };
    // SAFETY: `bytes` is valid for its length.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    shutdown_write(fd);
    close(fd);
}

/// Writes as much of `bytes` as the socket has room for; nothing when it failed.
pub(super) fn send_now(fd: RawFd, bytes: &[u8]) -> usize {
    #[cfg(test)]
    if let Some(sent) = sim::send_some(fd, bytes) {
        return sent.unwrap_or(0);
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` is valid for its length.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).unwrap_or(0)
}

/// The peer's address.
pub fn peer(fd: RawFd) -> Option<SocketAddr> {
    #[cfg(test)]
    if let Some(address) = sim::peer(fd) {
        return Some(address);
    }
    // SAFETY: the descriptor is open; `into_raw_fd` below takes it out again unclosed.
    let socket = unsafe { Socket::from_raw_fd(fd) };
    let address = socket.peer_addr().ok().and_then(|address| address.as_socket());
    let _ = socket.into_raw_fd();
    address
}

/// Bytes the peer has acknowledged since the connection began (TCP_INFO).
pub fn bytes_acknowledged(fd: RawFd) -> Option<u64> {
    #[cfg(test)]
    if let Some(bytes) = sim::bytes_acknowledged(fd) {
        return Some(bytes);
    }
    // struct tcp_info: tcpi_bytes_acked lies at byte 120 since kernel 4.1.
    const OFFSET: usize = 120;
    let (info, len) = tcp_info(fd)?;
    let bytes = info[..len].get(OFFSET..OFFSET + 8)?.try_into().expect("eight bytes");
    Some(u64::from_ne_bytes(bytes))
}

/// What the kernel knows of the way to a peer.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The smoothed round trip, in microseconds.
    pub round_trip_us: u32,
    /// Bytes that the congestion control lets be under way.
    pub window_bytes: u64,
}

/// The way to the peer (TCP_INFO).
pub fn way(fd: RawFd) -> Option<Way> {
    #[cfg(test)]
    if sim::bytes_acknowledged(fd).is_some() {
        return None;
    }
    // struct tcp_info: tcpi_snd_mss, tcpi_rtt and tcpi_snd_cwnd, 32 bits each.
    const MSS: usize = 16;
    const ROUND_TRIP: usize = 68;
    const WINDOW: usize = 80;
    let (info, len) = tcp_info(fd)?;
    let word = |at: usize| {
        Some(u32::from_ne_bytes(info[..len].get(at..at + 4)?.try_into().expect("four bytes")))
    };
    let window_bytes = u64::from(word(MSS)?) * u64::from(word(WINDOW)?);
    Some(Way { round_trip_us: word(ROUND_TRIP)?, window_bytes })
}

/// The kernel's `struct tcp_info`, and how much of it this kernel has.
fn tcp_info(fd: RawFd) -> Option<([u8; 256], usize)> {
    let mut info = [0u8; 256];
    let mut len = libc::socklen_t::try_from(info.len()).expect("small");
    let into = info.as_mut_ptr().cast();
    // SAFETY: `info` has room for `len` bytes; the kernel writes at most that many.
    let failed = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, into, &mut len) };
    (failed == 0).then_some((info, len as usize))
}

/// Puts a slot of the arena into a ring's table of registered buffers.
pub(super) fn register_slot(ring: &Ring, slot: u32, arena: &Arc<Arena>) -> io::Result<()> {
    // SAFETY: arena memory is never unmapped.
    unsafe { ring.register_slot(slot, arena.slot_memory(slot)) }
}
