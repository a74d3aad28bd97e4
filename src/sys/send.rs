//! What leaves: pooled send buffers, and the slab that owns them while the kernel may look.
//!
//! Invariants: a send buffer and the hold on its body belong to the slab from the submission until
//! the terminal completion (for SEND_ZC: until the notification); `user_data` carries slot and
//! generation, so that a late completion never meets the slot's next tenant.
#![allow(unsafe_code)]

use std::any::Any;
use std::rc::Rc;

use super::arena::Arena;
use super::extent::Extent;
use super::task::TaskId;
use crate::limits::{SEND_BUFFER_BYTES, SEND_RUNS_MAX};

/// Keeps a body alive until its bytes have left.
pub type Keep = Option<Rc<dyn Any>>;

/// An answer, or a part of one: bytes of its own and runs of bytes elsewhere.
pub struct SendBuffer {
    pub(super) message: libc::msghdr,
    pub(super) runs: [libc::iovec; SEND_RUNS_MAX],
    count: usize,
    bytes: usize,
    used: usize,
    owned: Vec<u8>,
    data: [u8; SEND_BUFFER_BYTES],
}

impl SendBuffer {
    pub(super) fn boxed() -> Box<Self> {
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: a msghdr of zeros is a message without address, runs and control data.
        let message = unsafe { std::mem::zeroed() };
        Box::new(Self {
            message,
            runs: [none; SEND_RUNS_MAX],
            count: 0,
            bytes: 0,
            used: 0,
            owned: Vec::new(),
            data: [0; SEND_BUFFER_BYTES],
        })
    }

    /// Empties the buffer.
    pub fn clear(&mut self) {
        self.count = 0;
        self.bytes = 0;
        self.used = 0;
        self.owned = Vec::new();
    }

    /// Space for bytes of this buffer's own; [`SendBuffer::push_own`] makes them part of the send.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.data[self.used..]
    }

    /// The bytes of the buffer's own, one behind the other.
    pub(super) fn own(&self) -> &[u8] {
        &self.data[..self.used]
    }

    /// Runs that can still be added.
    pub fn runs_left(&self) -> usize {
        SEND_RUNS_MAX - self.count
    }

    /// Bytes to send.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Adds the first `len` bytes of [`SendBuffer::space`]; merges with a run just before it.
    pub fn push_own(&mut self, len: usize) {
        let start = self.data[self.used..][..len].as_ptr().cast_mut();
        self.used += len;
        self.push(start, len);
    }

    /// Adds `bytes` by copying them; `false` when they do not fit.
    pub fn push_copy(&mut self, bytes: &[u8]) -> bool {
        let Some(space) = self.data.get_mut(self.used..self.used + bytes.len()) else {
            return false;
        };
        space.copy_from_slice(bytes);
        self.push_own(bytes.len());
        true
    }

    /// Adds a part of an extent by reference; the send's hold must keep the extent.
    pub fn push_arena(&mut self, arena: &Arena, extent: Extent, at: u32, len: u32) {
        let start = arena.place(extent, at, len as usize);
        self.push(start, len as usize);
    }

    /// Adds bytes from the heap, once per buffer.
    pub fn push_owned(&mut self, bytes: Vec<u8>) {
        debug_assert!(self.owned.is_empty());
        self.owned = bytes;
        let (start, len) = (self.owned.as_ptr().cast_mut(), self.owned.len());
        self.push(start, len);
    }

    fn push(&mut self, start: *mut u8, len: usize) {
        if len == 0 {
            return;
        }
        self.bytes += len;
        if let Some(last) = self.count.checked_sub(1).map(|last| &mut self.runs[last])
            && last.iov_base.cast::<u8>().wrapping_add(last.iov_len) == start
        {
            last.iov_len += len;
            return;
        }
        assert!(self.count < SEND_RUNS_MAX, "the caller counts runs");
        self.runs[self.count] = libc::iovec { iov_base: start.cast(), iov_len: len };
        self.count += 1;
    }

    /// Forgets the first `bytes` bytes: they have left.
    fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        let mut gone = 0;
        for run in &mut self.runs[..self.count] {
            let count = bytes.min(run.iov_len);
            run.iov_base = run.iov_base.cast::<u8>().wrapping_add(count).cast();
            run.iov_len -= count;
            bytes -= count;
            gone += usize::from(run.iov_len == 0);
        }
        self.runs.copy_within(gone..self.count, 0);
        self.count -= gone;
    }

    /// The only run, when there is one only.
    pub(super) fn single(&self) -> Option<libc::iovec> {
        (self.count == 1).then_some(self.runs[0])
    }

    /// The message over all runs.
    pub(super) fn message(&mut self) -> *const libc::msghdr {
        self.message.msg_iov = self.runs.as_mut_ptr();
        self.message.msg_iovlen = self.count as _;
        &self.message
    }
}

/// Names a send in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// A send under way.
pub(super) struct Sending {
    pub(super) generation: u32,
    pub(super) task: TaskId,
    pub(super) socket: u32,
    pub(super) socket_generation: u32,
    pub(super) state: SendState,
    /// Bytes that were submitted.
    pub(super) len: usize,
    pub(super) buffer: Option<Box<SendBuffer>>,
    pub(super) keep: Keep,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All bytes have left.
    Whole,
    /// So many have left, and it can go on.
    Part(usize),
    /// The connection has failed, or the send was cancelled before a byte had left.
    Failed,
}

impl Sent {
    pub(super) fn of(result: i32, len: usize) -> Self {
        match usize::try_from(result) {
            Ok(sent) if sent == len => Self::Whole,
            Ok(sent) => Self::Part(sent),
            Err(_) if matches!(-result, libc::EAGAIN | libc::ECANCELED) => Self::Part(0),
            Err(_) => Self::Failed,
        }
    }
}

/// How far a send has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendState {
    Free,
    /// With the kernel.
    Submitted,
    /// The result is there and nobody has fetched it; with `true` a notification is to come.
    Done(i32, bool),
    /// The result has been fetched, the notification has not come.
    Notifying,
    /// A part has left; the rest waits to be submitted.
    Rest,
}

/// The slab of sends.
#[derive(Default)]
pub(super) struct Sends {
    slots: Vec<Sending>,
    free: Vec<u32>,
    spare: Vec<Box<SendBuffer>>,
}

impl Sends {
    /// A spare buffer, or a new one.
    pub(super) fn buffer(&mut self) -> Box<SendBuffer> {
        self.spare.pop().unwrap_or_else(SendBuffer::boxed)
    }

    /// Keeps a buffer for the next send.
    pub(super) fn recycle(&mut self, mut buffer: Box<SendBuffer>) {
        if self.spare.len() < crate::limits::SEND_BUFFERS_SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// A place for a send about to be submitted.
    pub(super) fn insert(&mut self, task: TaskId, socket: u32, socket_generation: u32) -> SendId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Sending {
                generation: 0,
                task: 0,
                socket: 0,
                socket_generation: 0,
                state: SendState::Free,
                len: 0,
                buffer: None,
                keep: None,
            });
            u32::try_from(self.slots.len() - 1).expect("sends are bounded by connections")
        });
        let sending = &mut self.slots[slot as usize];
        sending.task = task;
        sending.socket = socket;
        sending.socket_generation = socket_generation;
        sending.state = SendState::Submitted;
        SendId { slot, generation: sending.generation }
    }

    /// The send, unless its slot has a new tenant.
    pub(super) fn at(&mut self, id: SendId) -> Option<&mut Sending> {
        let sending = self.slots.get_mut(id.slot as usize)?;
        (sending.generation == id.generation && sending.state != SendState::Free).then_some(sending)
    }

    /// Keeps what of a send by copy has not left; `false` when it was none by copy.
    pub(super) fn keep_rest(&mut self, id: SendId, sent: usize) -> bool {
        let spare = self.spare.pop();
        let sending = &mut self.slots[id.slot as usize];
        let shared = sending.keep.as_ref().and_then(|keep| keep.downcast_ref::<Vec<u8>>());
        let mut spare = spare;
        if let (None, Some(bytes)) = (&sending.buffer, shared) {
            let mut buffer = spare.take().unwrap_or_else(SendBuffer::boxed);
            let submitted = &bytes[bytes.len() - sending.len..];
            buffer.push(submitted.as_ptr().cast_mut(), submitted.len());
            sending.buffer = Some(buffer);
        }
        let by_copy = sending.buffer.as_mut().map(|buffer| buffer.advance(sent)).is_some();
        if by_copy {
            sending.state = SendState::Rest;
        }
        self.spare.extend(spare);
        by_copy
    }

    /// Frees the slot; what it held is returned so that it is dropped outside of any borrow.
    pub(super) fn remove(&mut self, id: SendId) -> (Option<Box<SendBuffer>>, Keep) {
        let sending = &mut self.slots[id.slot as usize];
        sending.generation = (sending.generation + 1) & super::reactor::GENERATION_MASK;
        sending.state = SendState::Free;
        self.free.push(id.slot);
        (sending.buffer.take(), sending.keep.take())
    }

    /// Sends that are not finished.
    pub(super) fn live(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}
