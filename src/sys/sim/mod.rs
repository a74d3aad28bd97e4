//! The seeded double of the kernel: rings, connections, files, the clock, the lanes between shards.
//!
//! A simulation is installed for one thread. While it is, everything of this room that would call
//! the kernel calls the double instead: rings are [`Ring`]s, descriptors name its connections, the
//! time is the simulation's. Several shards run in that one thread, a turn at a time, in the order
//! that the test's seed decides.
//!
//! The double works like a ring with DEFER_TASKRUN: an operation makes progress when it is
//! submitted or when its ring is entered, never in between. It looks at the memory of a send as
//! late as the kernel may, and complains about whatever the laws of the ring forbid.
//!
//! **Invariants**: the same seed and the same calls give the same run; nothing here calls the
//! kernel, or keeps memory after the simulation.
#![allow(unsafe_code)]

mod client;
mod faults;
mod files;
mod filework;
mod lanes;
mod memory;
mod operations;
mod ring;
mod socket;
mod state;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;

pub use client::Peer;
pub use faults::{Faults, SyncFate};
pub use files::Disk;
pub use lanes::Lanes;
pub use memory::PoisonedSlots;
pub use ring::Ring;
use socket::Segment;
use state::State;

use super::ring::RingSize;

/// Descriptors of the double start here, above what a process may have.
const DESCRIPTOR_BASE: RawFd = 1 << 24;

thread_local! {
    static INSTALLED: RefCell<Option<Rc<RefCell<State>>>> = const { RefCell::new(None) };
}

/// A simulation; it ends when this is dropped.
pub struct Sim(Rc<RefCell<State>>);

impl Sim {
    /// Installs a simulation for the calling thread.
    ///
    /// # Panics
    /// When there is one already.
    pub fn install(seed: u64, faults: Faults) -> Self {
        let state = Rc::new(RefCell::new(State::new(seed, faults)));
        INSTALLED.with_borrow_mut(|installed| {
            assert!(installed.is_none(), "one simulation a thread");
            *installed = Some(state.clone());
        });
        Self(state)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        INSTALLED.take();
    }
}

/// Acts on the simulation of this thread, if there is one.
fn with<T>(act: impl FnOnce(&mut State) -> T) -> Option<T> {
    INSTALLED.with_borrow(|installed| {
        installed.as_ref().map(|installed| act(&mut installed.borrow_mut()))
    })
}

/// Acts on the simulation when `fd` is one of its descriptors.
fn on<T>(fd: RawFd, act: impl FnOnce(&mut State) -> T) -> Option<T> {
    if fd < DESCRIPTOR_BASE { None } else { with(act) }
}

// ---- what the rest of the room calls ----

/// Whether a simulation is installed for this thread.
pub(super) fn is_installed() -> bool {
    INSTALLED.with_borrow(Option::is_some)
}

/// A double of a ring.
pub(super) fn ring(size: RingSize) -> Option<Ring> {
    let state = INSTALLED.with_borrow(Clone::clone)?;
    Some(Ring::new(state, size))
}

/// The simulation's time.
pub(super) fn now_us() -> Option<u64> {
    with(|state| state.now_us)
}

/// Receive buffers a shard hands out at a time, and in all.
pub(super) fn recv_buffers() -> Option<(u16, u16)> {
    with(|state| state.faults.recv_buffers)
}

/// shutdown(2) of the sending side.
pub(super) fn shutdown_write(fd: RawFd) -> Option<()> {
    on(fd, |state| state.shutdown_write(fd))
}

/// close(2).
pub(super) fn close(fd: RawFd) -> Option<()> {
    on(fd, |state| state.close(fd))
}

/// SO_LINGER with zero.
pub(super) fn reset_on_close(fd: RawFd) -> Option<()> {
    on(fd, |state| state.socket_mut(fd).linger_reset = true)
}

/// TCP_QUICKACK.
pub(super) fn quick_ack(fd: RawFd) -> Option<()> {
    on(fd, |state| {
        state.socket_mut(fd);
    })
}

/// recv(2), send(2), shutdown(2) and close(2).
pub(super) fn turn_away(fd: RawFd, bytes: &[u8]) -> Option<()> {
    on(fd, |state| {
        let socket = state.socket_mut(fd);
        let unread = socket.receive.len().min(16 * 1024);
        socket.receive.drain(..unread);
        socket.send_now(bytes);
        state.shutdown_write(fd);
        state.close(fd);
    })
}

/// send(2) of what there is room for.
pub(super) fn send_some(fd: RawFd, bytes: &[u8]) -> Option<io::Result<usize>> {
    on(fd, |state| {
        let count = state.room_now(fd, bytes.len())?;
        state.socket_mut(fd).send_now(&bytes[..count]);
        Ok(count)
    })
}

/// pipe2(2), when the process is out of descriptors or the user out of pages for pipes.
pub(super) fn refuse_pipe() -> Option<io::Error> {
    let refused = with(|state| state.faults.pipes_refused)?;
    refused.then(|| io::Error::from_raw_os_error(libc::EMFILE))
}

/// vmsplice(2) and splice(2) of what there is room for.
pub(super) fn splice(fd: RawFd, run: libc::iovec) -> Option<io::Result<usize>> {
    on(fd, |state| {
        let once_in = state.faults.references_refused_once_in;
        if faults::happens(&mut state.random, once_in) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        let count = state.room_now(fd, run.iov_len)?;
        let run = memory::Run { start: run.iov_base.cast(), len: count };
        state.socket_mut(fd).queue(Segment::Shared(run));
        Ok(count)
    })
}

/// The pages of a run are exchanged.
fn keep_pages(pages: memory::Run) {
    with(|state| state.sockets.iter_mut().for_each(|socket| socket.keep_pages(pages)));
}

/// getpeername(2).
pub(super) fn peer(fd: RawFd) -> Option<SocketAddr> {
    on(fd, |state| state.socket_mut(fd).address)
}

/// TCP_INFO's acknowledged bytes.
pub(super) fn bytes_acknowledged(fd: RawFd) -> Option<u64> {
    on(fd, |state| state.socket_mut(fd).acknowledged)
}

/// A write to an event descriptor, which may be a real one.
pub(super) fn signal_event(fd: RawFd) -> Option<()> {
    with(|state| *state.events.entry(fd).or_default() += 1)
}
