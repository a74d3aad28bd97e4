//! The simulation as a test sees it: the network, the clients' ends of connections, the clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::Sim;
use super::faults::{happens, some_us};
use super::socket::Socket;
use super::state::Object;

/// A client's end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(usize);

impl Sim {
    /// A listening socket.
    pub fn listen(&self) -> RawFd {
        let mut state = self.0.borrow_mut();
        state.backlogs.push(VecDeque::new());
        let listener = state.backlogs.len() - 1;
        state.open(Object::Listener(listener))
    }

    /// Connects to a listening socket, by its number.
    pub fn connect(&self, listener: usize, address: SocketAddr) -> Peer {
        let mut state = self.0.borrow_mut();
        let faults = &state.faults;
        let rooms = (faults.send_room, faults.inbox_room, faults.window);
        let mut socket = Socket::new(address, rooms, faults.user_timeout_us);
        let copied = state.faults.copied_once_in;
        socket.copies = happens(&mut state.random, copied);
        state.sockets.push(socket);
        let number = state.sockets.len() - 1;
        let listens = state.descriptors.values().any(|one| *one == Object::Listener(listener));
        match listens {
            true => state.backlogs[listener].push_back(number),
            false => state.break_off(number),
        }
        Peer(number)
    }

    /// Sends what fits the server's window; the number of bytes taken.
    pub fn send(&self, peer: Peer, bytes: &[u8]) -> usize {
        let mut state = self.0.borrow_mut();
        let count = state.sockets[peer.0].client_room().min(bytes.len());
        if count > 0 {
            let max = state.faults.delay_us_max;
            let due_us = state.now_us + some_us(&mut state.random, max);
            state.sockets[peer.0].client_send(&bytes[..count], due_us);
        }
        count
    }

    /// Whether [`Sim::send`] would take anything.
    pub fn can_send(&self, peer: Peer) -> bool {
        self.0.borrow().sockets[peer.0].client_room() > 0
    }

    /// Bytes that have arrived at the client and were not read.
    pub fn waiting(&self, peer: Peer) -> usize {
        self.0.borrow().sockets[peer.0].inbox.len()
    }

    /// Reads up to `bytes_max` bytes.
    pub fn receive(&self, peer: Peer, bytes_max: usize, into: &mut Vec<u8>) -> usize {
        let mut state = self.0.borrow_mut();
        let inbox = &mut state.sockets[peer.0].inbox;
        let count = inbox.len().min(bytes_max);
        into.extend(inbox.drain(..count));
        for byte in &into[into.len() - count..] {
            state.note(u64::from(*byte));
        }
        count
    }

    /// Ends the client's sending side.
    pub fn finish(&self, peer: Peer) {
        let mut state = self.0.borrow_mut();
        let due_us = state.now_us;
        state.sockets[peer.0].client_finish(due_us);
    }

    /// Closes the client's end: unread bytes make it a reset.
    pub fn close(&self, peer: Peer) {
        let mut state = self.0.borrow_mut();
        let due_us = state.now_us;
        let socket = &mut state.sockets[peer.0];
        socket.client_closed = true;
        if socket.inbox.is_empty() {
            socket.client_finish(due_us);
        } else {
            socket.inbox.clear();
            state.break_off(peer.0);
        }
    }

    /// Resets the connection.
    pub fn reset(&self, peer: Peer) {
        self.0.borrow_mut().break_off(peer.0);
    }

    /// Whether everything that the server ever sent was read and no more will come.
    pub fn has_ended(&self, peer: Peer) -> bool {
        let state = self.0.borrow();
        let socket = &state.sockets[peer.0];
        socket.inbox.is_empty() && (socket.finish_arrived || socket.reset)
    }

    /// Whether the connection ended by a reset.
    pub fn was_reset(&self, peer: Peer) -> bool {
        self.0.borrow().sockets[peer.0].reset
    }

    /// Whether a fault of the double broke the connection.
    pub fn was_broken(&self, peer: Peer) -> bool {
        self.0.borrow().sockets[peer.0].injected
    }

    /// Whether a shard has taken the connection.
    pub fn was_accepted(&self, peer: Peer) -> bool {
        self.0.borrow().sockets[peer.0].accepted
    }

    /// Whether the server has closed the connection and nothing of it is left.
    pub fn was_released(&self, peer: Peer) -> bool {
        self.0.borrow().sockets[peer.0].released
    }

    /// Connections that the server has not let go.
    pub fn held(&self) -> usize {
        let state = self.0.borrow();
        state.sockets.iter().filter(|socket| socket.accepted && !socket.released).count()
    }

    /// Zero-copy sends whose memory the kernel still uses.
    pub fn pinned(&self) -> usize {
        self.0.borrow().zero_copies.len()
    }

    /// The time.
    pub fn now_us(&self) -> u64 {
        self.0.borrow().now_us
    }

    /// Lets time pass.
    pub fn pass(&self, us: u64) {
        self.0.borrow_mut().now_us += us;
    }

    /// Moves bytes along; all that can move when `all`. Whether anything moved.
    pub fn move_bytes(&self, all: bool) -> bool {
        self.0.borrow_mut().move_bytes(all)
    }

    /// When something happens by itself next.
    pub fn next_us(&self) -> Option<u64> {
        self.0.borrow_mut().next_us()
    }

    /// Completions so far, and what the failure was if one was made to fail.
    pub fn completions(&self) -> (u64, Option<String>) {
        let state = self.0.borrow();
        (state.completions, state.failed.clone())
    }

    /// A digest of everything that shards and clients could see.
    pub fn trace(&self) -> u64 {
        self.0.borrow().trace
    }
}

impl Sim {
    /// From now on connections do not fail by themselves, and there is room for all.
    pub fn be_kind(&self) {
        let faults = &mut self.0.borrow_mut().faults;
        (faults.error_once_in, faults.fail_nth, faults.descriptors_max) = (0, None, 10_000);
    }

    /// Keeps notifications back, or lets them come again.
    pub fn withhold_notifications(&self, withhold: bool) {
        self.0.borrow_mut().withhold = withhold;
    }

    /// What there is, for the reader of a failed test.
    pub fn describe(&self) -> String {
        let state = self.0.borrow();
        let mut text = format!("at {} us\n", state.now_us);
        for (number, ring) in state.rings.iter().enumerate() {
            text += &format!("ring {number}: {}\n", ring.describe());
        }
        for (number, socket) in state.sockets.iter().enumerate().filter(|(_, one)| !one.released) {
            text += &format!("connection {number}: {}\n", socket.describe());
        }
        text
    }
}
