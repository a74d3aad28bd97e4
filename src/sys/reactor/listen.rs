//! Listening sockets: multishot accepts, armed again when they end.
//!
//! Invariants: an accept that failed is armed again by the periodic scan, never in a loop, and the
//! shard does not sleep for longer before it is.

use std::os::fd::RawFd;

use super::{KIND_ACCEPT, KIND_IGNORE, Reactor, user_data};
use crate::sys::net;
use crate::sys::ring::{Completion, Operation};

pub(super) struct Listener {
    fd: RawFd,
    armed: bool,
    open: bool,
}

impl Listener {
    /// Whether nobody would notice a new connection.
    pub(super) fn is_deaf(&self) -> bool {
        self.open && !self.armed
    }
}

impl Reactor {
    /// Accepts on a listening socket; `accepted` yields its connections under the answered number.
    pub fn listen(&self, fd: RawFd) -> usize {
        let mut listeners = self.listeners.borrow_mut();
        listeners.push(Listener { fd, armed: false, open: true });
        let number = listeners.len() - 1;
        drop(listeners);
        self.rearm_listeners();
        number
    }

    /// Takes the connections accepted since the last call: listener and descriptor.
    pub fn accepted(&self, into: &mut Vec<(usize, RawFd)>) {
        into.append(&mut self.accepted.borrow_mut());
    }

    /// Arms accepts that ended, and cancels again those that a cancel did not find.
    pub fn rearm_listeners(&self) {
        for (number, listener) in self.listeners.borrow_mut().iter_mut().enumerate() {
            if listener.is_deaf() {
                self.arm_listener(number, listener);
            } else if listener.armed && !listener.open {
                self.cancel_accept(number);
            }
        }
    }

    fn arm_listener(&self, number: usize, listener: &mut Listener) {
        listener.armed = true;
        let place = u32::try_from(number).expect("a few listeners");
        let data = user_data(KIND_ACCEPT, 0, place);
        self.ring.borrow_mut().push(Operation::AcceptMulti { fd: listener.fd }, data);
    }

    /// Stops accepting, and closes the listening sockets so that clients are refused at once.
    pub fn close_listeners(&self) {
        for (number, listener) in self.listeners.borrow_mut().iter_mut().enumerate() {
            listener.open = false;
            if !listener.armed {
                self.close_listener(listener);
                continue;
            }
            self.cancel_accept(number);
        }
    }

    fn cancel_accept(&self, number: usize) {
        let place = u32::try_from(number).expect("a few listeners");
        let target = user_data(KIND_ACCEPT, 0, place);
        self.ring.borrow_mut().push(Operation::Cancel { target }, user_data(KIND_IGNORE, 0, 0));
    }

    /// Whether a listening socket is open: a client may connect to it and would wait in vain.
    pub fn is_listening(&self) -> bool {
        self.listeners.borrow().iter().any(|listener| listener.fd >= 0)
    }

    /// Closes a listening socket that no operation names.
    fn close_listener(&self, listener: &mut Listener) {
        debug_assert!(!listener.armed && !listener.open);
        let fd = std::mem::replace(&mut listener.fd, -1);
        if fd >= 0 {
            net::close(fd);
        }
    }

    pub(super) fn note_accept(&self, completion: Completion, number: usize) {
        if completion.result >= 0 {
            self.accepted.borrow_mut().push((number, completion.result));
        }
        if !completion.more() {
            let listener = &mut self.listeners.borrow_mut()[number];
            listener.armed = false;
            if !listener.open {
                self.close_listener(listener);
            } else if completion.result >= 0 {
                self.arm_listener(number, listener);
            }
        }
    }
}
