//! The double of a ring: its two queues, its provided buffers, its table of registered slots.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::BufRingEntry;

use super::Sim;
use super::faults::happens;
use super::memory;
use super::operations::InFlight;
use super::socket::ZeroCopyId;
use super::state::{Object, State};
use crate::limits::RECV_BUFFER_BYTES;
use crate::sys::ring::{Completion, Operation, RingSize};

/// IORING_CQE_F_BUFFER.
pub(super) const BUFFER: u32 = 1;
/// IORING_CQE_F_MORE.
pub(super) const MORE: u32 = 2;
/// IORING_CQE_F_NOTIF.
pub(super) const NOTIFICATION: u32 = 8;

/// Something that will be in the completion queue.
pub(super) struct Pending {
    pub due_us: u64,
    /// It could have come before.
    pub seen: bool,
    pub what: Due,
}

#[derive(Clone, Copy)]
pub(super) enum Due {
    Completion(Completion),
    Notification(ZeroCopyId),
}

/// The ring of provided buffers as the kernel sees it.
struct BufferRing {
    entries: u64,
    count: u16,
    /// The next entry to take.
    head: u16,
    /// Entries up to here are poisoned.
    poisoned: u16,
}

pub(super) struct RingState {
    pub queued: VecDeque<(Operation, u64)>,
    pub in_flight: Vec<InFlight>,
    pub pending: Vec<Pending>,
    done: VecDeque<Completion>,
    done_max: usize,
    overflow: VecDeque<Completion>,
    overflows: u32,
    /// Until when the shard waits; it does not when there is none.
    waits_until_us: Option<u64>,
    buffers: Option<BufferRing>,
    /// Start and length of registered slots.
    table: Vec<Option<(usize, usize)>>,
}

/// A shard's handle on its double.
pub struct Ring {
    state: Rc<RefCell<State>>,
    number: usize,
    fd: RawFd,
    queued_max: usize,
    /// Calls to `enter` so far.
    pub enters: u64,
    /// Times the submission queue was full.
    pub full: u64,
}

impl Ring {
    pub(super) fn new(state: Rc<RefCell<State>>, size: RingSize) -> Self {
        let mut inner = state.borrow_mut();
        let number = inner.rings.len();
        let done_max = inner.faults.completions_max.min(size.completions) as usize;
        let queued_max = inner.faults.submissions_max.min(size.submissions) as usize;
        inner.rings.push(RingState {
            queued: VecDeque::new(),
            in_flight: Vec::new(),
            pending: Vec::new(),
            done: VecDeque::new(),
            done_max,
            overflow: VecDeque::new(),
            overflows: 0,
            waits_until_us: None,
            buffers: None,
            table: Vec::new(),
        });
        let fd = inner.open(Object::Ring(number));
        drop(inner);
        Self { state, number, fd, queued_max, enters: 0, full: 0 }
    }

    /// As the kernel's.
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// As the kernel's.
    pub fn push(&mut self, operation: Operation, user_data: u64) {
        let mut state = self.state.borrow_mut();
        while state.rings[self.number].queued.len() >= self.queued_max {
            self.full += 1;
            self.enters += 1;
            let again = state.faults.again_once_in;
            if !happens(&mut state.random, again) {
                state.submit(self.number);
            }
        }
        state.rings[self.number].queued.push_back((operation, user_data));
    }

    /// As the kernel's.
    pub fn submit(&mut self) {
        self.enters += 1;
        self.state.borrow_mut().submit(self.number);
    }

    /// Submits, and notes how long the shard would wait.
    ///
    /// # Errors
    /// None.
    pub fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enters += 1;
        let mut state = self.state.borrow_mut();
        let again = state.faults.again_once_in;
        let until_us = if happens(&mut state.random, again) {
            state.now_us
        } else {
            state.submit(self.number);
            let wait_us = timeout.map(|timeout| u64::try_from(timeout.as_micros()).unwrap());
            wait_us.map_or(u64::MAX, |wait_us| state.now_us + wait_us)
        };
        state.rings[self.number].waits_until_us = Some(until_us);
        Ok(())
    }

    /// As the kernel's.
    pub fn reap(&mut self, into: &mut Vec<Completion>) {
        let mut state = self.state.borrow_mut();
        let done = &mut state.rings[self.number].done;
        let room = into.capacity() - into.len();
        let count = done.len().min(room);
        into.extend(done.drain(..count));
    }

    /// As the kernel's.
    pub fn overflows(&mut self) -> u32 {
        self.state.borrow().rings[self.number].overflows
    }

    /// As the kernel's.
    ///
    /// # Errors
    /// None.
    ///
    /// # Safety
    /// As the kernel's.
    pub(in crate::sys) unsafe fn register_buffer_ring(
        &self,
        entries: u64,
        count: u16,
    ) -> io::Result<()> {
        let buffers = BufferRing { entries, count, head: 0, poisoned: 0 };
        self.state.borrow_mut().rings[self.number].buffers = Some(buffers);
        Ok(())
    }

    /// As the kernel's.
    ///
    /// # Errors
    /// None.
    pub(in crate::sys) fn register_table(&self, slots: u32) -> io::Result<()> {
        self.state.borrow_mut().rings[self.number].table = vec![None; slots as usize];
        Ok(())
    }

    /// As the kernel's.
    ///
    /// # Errors
    /// ENOMEM, when the simulation wants it.
    ///
    /// # Safety
    /// As the kernel's.
    pub(in crate::sys) unsafe fn register_slot(
        &self,
        slot: u32,
        memory: libc::iovec,
    ) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let once_in = state.faults.register_fails_once_in;
        if happens(&mut state.random, once_in) {
            return Err(io::Error::from_raw_os_error(libc::ENOMEM));
        }
        state.rings[self.number].table[slot as usize] =
            Some((memory.iov_base as usize, memory.iov_len));
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.state.borrow_mut().descriptors.remove(&self.fd);
    }
}

impl RingState {
    /// Whether the memory lies in the registered slot.
    pub fn is_registered(&self, slot: u16, run: memory::Run) -> bool {
        let Some(Some((start, len))) = self.table.get(usize::from(slot)) else { return false };
        let from = run.start as usize;
        from >= *start && from + run.len <= start + len
    }

    /// Whether a completion would go into the queue and not beside it.
    pub fn has_room(&self) -> bool {
        self.done.len() < self.done_max && self.overflow.is_empty()
    }

    pub fn post(&mut self, completion: Completion) {
        if self.has_room() {
            self.done.push_back(completion);
        } else {
            self.overflow.push_back(completion);
            self.overflows += 1;
        }
    }

    fn flush_overflow(&mut self) {
        while self.done.len() < self.done_max
            && let Some(completion) = self.overflow.pop_front()
        {
            self.done.push_back(completion);
        }
    }

    pub fn describe(&self) -> String {
        let in_flight: Vec<_> = self.in_flight.iter().map(InFlight::describe).collect();
        format!(
            "{} done, {} beside, {} pending, waits until {:?}, {} buffers, {in_flight:?}",
            self.done.len(),
            self.overflow.len(),
            self.pending.len(),
            self.waits_until_us,
            self.buffers_left()
        )
    }

    fn has_completions(&self) -> bool {
        !self.done.is_empty() || !self.overflow.is_empty()
    }

    /// Buffers that receptions can take.
    pub fn buffers_left(&self) -> u16 {
        self.buffers.as_ref().map_or(0, |buffers| buffers.tail().wrapping_sub(buffers.head))
    }

    /// Takes a buffer: its number and memory.
    pub fn take_buffer(&mut self) -> Option<(u16, *mut u8)> {
        if self.buffers_left() == 0 {
            return None;
        }
        let buffers = self.buffers.as_mut()?;
        let entry = buffers.entry(buffers.head);
        buffers.head = buffers.head.wrapping_add(1);
        assert_eq!(entry.2 as usize, RECV_BUFFER_BYTES);
        Some((entry.1, entry.0 as *mut u8))
    }

    /// Poisons what was given back since the last look.
    fn poison_buffers(&mut self) {
        let Some(buffers) = &mut self.buffers else { return };
        let tail = buffers.tail();
        while buffers.poisoned != tail {
            let (address, _, len) = buffers.entry(buffers.poisoned);
            memory::poison(address as *mut u8, len as usize);
            buffers.poisoned = buffers.poisoned.wrapping_add(1);
        }
    }
}

impl BufferRing {
    fn start(&self) -> *const BufRingEntry {
        self.entries as *const BufRingEntry
    }

    fn tail(&self) -> u16 {
        // SAFETY: the ring of buffers was registered and outlives the double.
        let tail = unsafe { BufRingEntry::tail(self.start()) };
        // SAFETY: the tail is an aligned u16 that is only touched as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.load(Ordering::Acquire)
    }

    /// Address, number and length of an entry.
    fn entry(&self, at: u16) -> (u64, u16, u32) {
        // SAFETY: the mask keeps the index below the number of registered entries.
        let entry = unsafe { self.start().add(usize::from(at & (self.count - 1))) };
        // SAFETY: the entry is before the tail, so it is written and stays so.
        let entry = unsafe { &*entry };
        (entry.addr(), entry.bid(), entry.len())
    }
}

impl State {
    /// When a shard's wait ends next.
    pub fn next_of_ring_us(&mut self, ring: usize) -> Option<u64> {
        self.scan(ring);
        let withhold = self.withhold;
        let ring = &self.rings[ring];
        if ring.has_completions() || ring.waits_until_us.is_none() {
            return Some(self.now_us);
        }
        let operations = ring.in_flight.iter().filter_map(|operation| operation.due_us);
        let can_come =
            |pending: &&Pending| !(withhold && matches!(pending.what, Due::Notification(_)));
        let pending = ring.pending.iter().filter(can_come).map(|pending| pending.due_us);
        operations.chain(pending).chain(ring.waits_until_us).min().filter(|&next| next < u64::MAX)
    }

    /// Ends a shard's wait: lets everything that is due complete, in some order. Nothing does when
    /// the wait was interrupted.
    pub fn resume(&mut self, number: usize, interrupted: bool) {
        self.scan(number);
        let now_us = self.now_us;
        let ring = &mut self.rings[number];
        ring.waits_until_us = None;
        ring.poison_buffers();
        if interrupted {
            return;
        }
        ring.flush_overflow();
        let (late, withhold) = (self.faults.late, self.withhold);
        let mut due: Vec<Step> = Vec::new();
        for operation in &mut ring.in_flight {
            let is_due = operation.due_us.is_some_and(|due_us| due_us <= now_us);
            if is_due && (std::mem::replace(&mut operation.seen, true) || !late) {
                due.push(Step::Operation(operation.id));
            }
        }
        let pending = std::mem::take(&mut ring.pending);
        for mut pending in pending {
            let withheld = withhold && matches!(pending.what, Due::Notification(_));
            let is_due = pending.due_us <= now_us && !withheld;
            match is_due && (std::mem::replace(&mut pending.seen, is_due) || !late) {
                true => due.push(Step::Pending(pending.what)),
                false => ring.pending.push(pending),
            }
        }
        while !due.is_empty() {
            let at = self.random.index(due.len());
            match due.swap_remove(at) {
                Step::Operation(id) => self.proceed(number, id),
                Step::Pending(Due::Completion(completion)) => {
                    self.rings[number].post(completion);
                    self.note(completion.user_data);
                }
                Step::Pending(Due::Notification(id)) => {
                    let (ring, completion) = self.notify(id);
                    self.rings[ring].post(completion);
                    self.note(completion.user_data ^ 0xF0F0);
                }
            }
        }
    }

    fn submit(&mut self, number: usize) {
        self.rings[number].poison_buffers();
        while let Some((operation, user_data)) = self.rings[number].queued.pop_front() {
            self.issue(number, operation, user_data);
        }
    }
}

enum Step {
    Operation(u64),
    Pending(Due),
}

impl Sim {
    /// Whether the shard with this ring has anything to do now.
    pub fn can_run(&self, ring: usize) -> bool {
        let mut state = self.0.borrow_mut();
        let now_us = state.now_us;
        state.next_of_ring_us(ring).is_some_and(|next_us| next_us <= now_us)
    }

    /// Lets the shard with this ring return from its wait, now and then without reason.
    pub fn resume(&self, ring: usize) {
        let mut state = self.0.borrow_mut();
        let once_in = state.faults.interrupt_once_in;
        let interrupted = happens(&mut state.random, once_in);
        state.resume(ring, interrupted);
    }

    /// Operations of a ring that have not ended.
    pub fn operations(&self, ring: usize) -> usize {
        self.0.borrow().rings[ring].in_flight.len()
    }
}
