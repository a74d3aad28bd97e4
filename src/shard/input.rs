//! What a connection has received and not yet used.
//!
//! Normally the bytes stay in the buffer the kernel put them in; only a head that does not arrive
//! at once is gathered on the heap, in room that the shard lends it.
//!
//! Invariants: nobody waits for the rest of a head with a buffer in hand.

use crate::sys::buffers::{Buffers, Received};

/// A connection's unused bytes.
#[derive(Default)]
pub(super) struct Input {
    current: Option<Received>,
    /// Used bytes at the start of `gathered`, or else of `current`.
    at: usize,
    gathered: Vec<u8>,
}

impl Input {
    /// The unused bytes.
    #[inline]
    pub(super) fn unread<'a>(&'a self, buffers: &'a Buffers) -> &'a [u8] {
        match &self.current {
            _ if !self.gathered.is_empty() => &self.gathered[self.at..],
            Some(received) => &buffers.bytes(received)[self.at..],
            None => &[],
        }
    }

    /// Whether nothing is unused.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none() && self.gathered.is_empty()
    }

    /// Uses the first `count` bytes.
    #[inline]
    pub(super) fn consume(&mut self, count: usize, buffers: &Buffers) {
        self.at += count;
        if self.at == self.unread_end() {
            self.clear(buffers);
        }
    }

    /// Adds bytes behind the unused ones.
    pub(super) fn add(&mut self, received: Received, buffers: &Buffers) {
        if self.is_empty() {
            self.current = Some(received);
            return;
        }
        self.set_aside(buffers);
        self.gathered.extend_from_slice(buffers.bytes(&received));
        buffers.give_back(received);
    }

    /// Gives the kernel its buffer back, and keeps the unused bytes on the heap: whoever waits for
    /// a slow peer must not hold what others receive into.
    pub(super) fn set_aside(&mut self, buffers: &Buffers) {
        if let Some(current) = self.current.take() {
            self.gathered = buffers.room();
            self.gathered.extend_from_slice(&buffers.bytes(&current)[self.at..]);
            buffers.give_back(current);
        } else {
            // Used bytes must not pile up under a client that never stops pipelining.
            self.gathered.drain(..self.at);
        }
        self.at = 0;
    }

    /// Puts other bytes in the place of the first `count` unused ones.
    pub(super) fn replace(&mut self, count: usize, with: &[u8], buffers: &Buffers) {
        self.set_aside(buffers);
        self.gathered.splice(..count, with.iter().copied());
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, buffers: &Buffers) {
        self.at = 0;
        if !self.gathered.is_empty() {
            buffers.keep_room(std::mem::take(&mut self.gathered));
        }
        if let Some(current) = self.current.take() {
            buffers.give_back(current);
        }
    }

    fn unread_end(&self) -> usize {
        match &self.current {
            _ if !self.gathered.is_empty() => self.gathered.len(),
            Some(received) => received.len(),
            None => 0,
        }
    }
}
