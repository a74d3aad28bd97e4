//! Mailboxes between shards, and the bells that wake a shard which waits in the kernel.
//!
//! One queue per shard takes messages from all others and from threads without a ring; messages of
//! one sender arrive in order. The queue itself has no bound: what may be under way is bounded by
//! the protocol (asks by count, everything else by the ask or lease it belongs to).
//!
//! Invariants: a shard that is about to wait rings in first and looks into its queue again, so a
//! message is either seen or followed by a wake-up; a bell is rung at most once per wait.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::extent::ShardId;
use super::reactor::Reactor;
#[cfg(test)]
use super::sim;

/// What one shard shows to the others.
#[repr(align(64))]
struct Bell {
    waiting: AtomicBool,
    ring_fd: AtomicI32,
    connections: AtomicUsize,
    quiet: AtomicBool,
    event: OwnedFd,
}

/// The bells of all shards.
#[derive(Clone)]
pub struct Bells(Arc<[Bell]>);

impl Bells {
    fn new(shards: usize) -> io::Result<Self> {
        let bells: io::Result<Vec<Bell>> = (0..shards).map(|_| Bell::new()).collect();
        Ok(Self(bells?.into()))
    }

    /// Open connections that `shard` last reported.
    pub fn connections(&self, shard: ShardId) -> usize {
        self.0[usize::from(shard)].connections.load(Ordering::Relaxed)
    }

    /// Reports the calling shard's open connections.
    pub fn report(&self, shard: ShardId, connections: usize) {
        self.0[usize::from(shard)].connections.store(connections, Ordering::Relaxed);
    }

    /// The shard with the fewest connections.
    pub fn least_loaded(&self) -> (ShardId, usize) {
        let loads = self.0.iter().map(|bell| bell.connections.load(Ordering::Relaxed));
        let least = (0..).zip(loads).min_by_key(|&(_, load)| load);
        least.expect("there is at least one shard")
    }

    /// Reports whether the calling shard has nothing left to do.
    pub fn report_quiet(&self, shard: ShardId, quiet: bool) {
        self.0[usize::from(shard)].quiet.store(quiet, Ordering::Relaxed);
    }

    /// Whether no shard has anything left to do.
    pub fn are_quiet(&self) -> bool {
        self.0.iter().all(|bell| bell.quiet.load(Ordering::Relaxed))
    }

    /// The descriptor by which threads without a ring wake `shard`.
    pub fn event_fd(&self, shard: ShardId) -> RawFd {
        self.0[usize::from(shard)].event.as_raw_fd()
    }
}

impl Bell {
    fn new() -> io::Result<Self> {
        // SAFETY: plain call; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh and owned by nobody else.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            waiting: AtomicBool::new(false),
            ring_fd: AtomicI32::new(-1),
            connections: AtomicUsize::new(0),
            quiet: AtomicBool::new(false),
            event,
        })
    }
}

/// One shard's end of all queues.
pub struct Mailbox<T> {
    id: ShardId,
    senders: Vec<Sender<T>>,
    receiver: Receiver<T>,
    bells: Bells,
    /// In a simulation that delays messages they travel here.
    #[cfg(test)]
    lanes: Option<sim::Lanes<T>>,
}

/// The end of a thread without a ring.
pub struct Remote<T> {
    senders: Vec<Sender<T>>,
    bells: Bells,
}

/// Makes the mailboxes of `shards` shards, and a remote end.
///
/// # Errors
/// EMFILE or ENFILE when no event descriptors are left.
pub fn mailboxes<T>(shards: usize) -> io::Result<(Vec<Mailbox<T>>, Remote<T>)> {
    let bells = Bells::new(shards)?;
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| channel()).unzip();
    #[cfg(test)]
    let lanes = sim::Lanes::new(shards);
    let boxes = (0..).zip(receivers).map(|(id, receiver)| Mailbox {
        id,
        senders: senders.clone(),
        receiver,
        bells: bells.clone(),
        #[cfg(test)]
        lanes: lanes.clone(),
    });
    Ok((boxes.collect(), Remote { senders, bells }))
}

impl<T> Mailbox<T> {
    /// The shard's number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.senders.len()
    }

    /// The bells of all shards.
    pub fn bells(&self) -> &Bells {
        &self.bells
    }

    /// Tells the others where this shard's wake-ups go, and watches its event descriptor.
    pub fn attach(&self, reactor: &Reactor) {
        let bell = &self.bells.0[usize::from(self.id)];
        bell.ring_fd.store(reactor.ring_fd(), Ordering::SeqCst);
        reactor.watch_event(bell.event.as_raw_fd());
    }

    /// Sends a message; the receiver is woken with this shard's next `enter` if it waits.
    pub fn send(&self, to: ShardId, message: T, reactor: &Reactor) {
        #[cfg(test)]
        if let Some(lanes) = &self.lanes {
            return lanes.send(self.id, to, message);
        }
        // A shard that has ended takes no messages; what it owned ended with it.
        let _ = self.senders[usize::from(to)].send(message);
        let bell = &self.bells.0[usize::from(to)];
        // The queue's push and the flag must not be reordered: see `rest`.
        std::sync::atomic::fence(Ordering::SeqCst);
        if bell.waiting.load(Ordering::SeqCst) && bell.waiting.swap(false, Ordering::SeqCst) {
            let ring_fd = bell.ring_fd.load(Ordering::SeqCst);
            if ring_fd >= 0 {
                reactor.wake_ring(ring_fd);
            }
        }
    }

    /// The next message.
    #[inline]
    pub fn receive(&self) -> Option<T> {
        #[cfg(test)]
        if let Some(message) = self.lanes.as_ref().and_then(|lanes| lanes.receive(self.id)) {
            return Some(message);
        }
        self.receiver.try_recv().ok()
    }

    /// Announces that the shard is about to wait. A message that came meanwhile is returned, and
    /// the shard does not wait.
    #[inline]
    pub fn rest(&self) -> Option<T> {
        self.bells.0[usize::from(self.id)].waiting.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        let message = self.receive();
        if message.is_some() {
            self.rise();
        }
        message
    }

    /// The shard no longer waits.
    #[inline]
    pub fn rise(&self) {
        self.bells.0[usize::from(self.id)].waiting.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl<T> Mailbox<T> {
    /// When a delayed message arrives that the shard would sleep through.
    pub fn next_us(&self) -> Option<u64> {
        let next_us = self.lanes.as_ref().and_then(|lanes| lanes.next_us(self.id));
        next_us.filter(|_| self.bells.0[usize::from(self.id)].waiting.load(Ordering::SeqCst))
    }
}

impl<T> Remote<T> {
    /// Sends a message to `shard` and wakes it.
    pub fn send(&self, shard: ShardId, message: T) {
        let _ = self.senders[usize::from(shard)].send(message);
        let fd = self.bells.event_fd(shard);
        #[cfg(test)]
        if sim::signal_event(fd).is_some() {
            return;
        }
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight valid bytes to an event descriptor that lives as long as `self`.
        unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.senders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_before_the_wait_is_seen() {
        let (boxes, remote) = mailboxes::<u32>(2).unwrap();
        assert_eq!(boxes[1].rest(), None);
        remote.send(1, 7);
        assert_eq!(boxes[1].rest(), Some(7));
        assert_eq!(boxes[1].rest(), None);
    }

    #[test]
    fn the_least_loaded_shard_is_found() {
        let (boxes, _) = mailboxes::<u32>(3).unwrap();
        for (shard, load) in [(0, 5), (1, 2), (2, 9)] {
            boxes[0].bells().report(shard, load);
        }
        assert_eq!(boxes[2].bells().least_loaded(), (1, 2));
    }
}
