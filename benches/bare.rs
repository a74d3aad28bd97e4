//! The bare responder: what one core needs at least to answer a request over loopback.
//!
//! It accepts, receives, looks for the empty line that ends a request, and sends one fixed answer.
//! No parser, no store, no timers, no limits: the difference between this and the origin is what
//! the origin costs. One pinned thread, one ring, one `enter` a turn; multishot accept, multishot
//! receive from a ring of provided buffers; head and body leave in one contiguous send from a pre-
//! faulted huge-page arena.
//!
//! Build: `cargo build --release --example bare`. Run: `bare --body FILE [--core N] [--listen ADDR]
//! [--zc] [--shards N]`: the same several times on the one core, each with a listener of its own.
//!
//! What was tried for each request and moved nothing beyond the noise of +-3 %: registered
//! descriptors, a registered ring descriptor, CQE_SKIP_SUCCESS, MSG_DONTWAIT, sends without
//! MSG_WAITALL, larger socket buffers, send(2) in place of the ring. What costs: one-shot receive
//! (+10 % at 2 KiB), head and body as two linked sends (+11 % at 2 KiB), slices (about a
//! microsecond each).
//!
//! **Invariants**: at most one send in flight per connection; a completion of a closed connection
//! never touches its successor on the same descriptor (generation in `user_data`).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use clap::Parser;
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use socket2::{Domain, Protocol, Socket, Type};

/// The floor: one fixed answer to every request.
#[derive(Parser)]
struct Arguments {
    /// File whose bytes are the body of every answer.
    #[arg(long)]
    body: PathBuf,
    /// Core to run on.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Send by SEND_ZC from a registered buffer.
    #[arg(long)]
    zc: bool,
    /// Threads, between which the kernel shares the connections out.
    #[arg(long, default_value_t = 1)]
    shards: usize,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    pin(arguments.core)?;
    let answer = answer(&std::fs::read(&arguments.body)?)?;
    let listeners = (0..arguments.shards).map(|_| listen(arguments.listen));
    let threads: Vec<_> = listeners
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .map(|listener| thread::spawn(move || Responder::new(answer, arguments.zc)?.run(&listener)))
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().expect("it panicked"))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit the option.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One answer in flight, or none, on one descriptor.
#[derive(Clone, Default)]
struct Connection {
    generation: u16,
    /// Bytes of "\r\n\r\n" seen so far at the end of what was received.
    matched: u8,
    /// Requests read whose answer has not begun.
    waiting: u32,
    /// Bytes of the answer in flight that the kernel has not taken yet; 0: no answer in flight.
    left_bytes: usize,
}

struct Responder {
    ring: IoUring,
    receive: ReceiveRing,
    answer: &'static [u8],
    zc: bool,
    connections: Vec<Connection>,
}

impl Responder {
    fn new(answer: &'static [u8], zc: bool) -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_no_sqarray()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)?;
        if zc {
            let whole = libc::iovec { iov_base: answer.as_ptr() as _, iov_len: answer.len() };
            // SAFETY: the answer is mapped for the life of the process and never written again.
            unsafe { ring.submitter().register_buffers(&[whole]) }?;
        }
        let receive = ReceiveRing::new(&ring)?;
        Ok(Self { ring, receive, answer, zc, connections: Vec::new() })
    }

    fn run(mut self, listener: &TcpListener) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build();
        let mut batch: Vec<cqueue::Entry> = Vec::with_capacity(CQ_ENTRIES as usize);
        self.push(accept.user_data(user_data(ACCEPT, 0, 0)))?;
        loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => batch.extend(self.ring.completion()),
            }
            for cqe in batch.drain(..) {
                let (operation, generation, fd) = parts(cqe.user_data());
                match operation {
                    ACCEPT if !cqueue::more(cqe.flags()) => {
                        return Err(io::Error::other(format!("accept: {}", cqe.result())));
                    }
                    ACCEPT => self.accepted(cqe.result())?,
                    RECEIVE => self.received(fd, generation, &cqe)?,
                    SEND => self.sent(fd, generation, &cqe)?,
                    _ => (),
                }
            }
        }
    }

    fn accepted(&mut self, fd: i32) -> io::Result<()> {
        let index = index(fd);
        if self.connections.len() <= index {
            self.connections.resize(index + 1, Connection::default());
        }
        let connection = &mut self.connections[index];
        let generation = connection.generation.wrapping_add(1);
        *connection = Connection { generation, ..Connection::default() };
        self.arm(fd, generation)
    }

    fn arm(&mut self, fd: i32, generation: u16) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(Fd(fd), BUFFER_GROUP).build();
        self.push(receive.user_data(user_data(RECEIVE, generation, fd)))
    }

    fn received(&mut self, fd: i32, generation: u16, cqe: &cqueue::Entry) -> io::Result<()> {
        let buffer = cqueue::buffer_select(cqe.flags());
        let connection = &mut self.connections[index(fd)];
        if let (Some(buffer), Ok(bytes)) = (buffer, usize::try_from(cqe.result())) {
            connection.waiting += ends(&mut connection.matched, self.receive.bytes(buffer, bytes));
        }
        if let Some(buffer) = buffer {
            self.receive.give(buffer);
        }
        if connection.waiting > 0 && connection.left_bytes == 0 {
            connection.waiting -= 1;
            self.send(fd, self.answer.len())?;
        }
        match cqe.result() {
            _ if cqueue::more(cqe.flags()) => Ok(()),
            // Ended although the peer is there: all buffers were out. This turn gives them back.
            result if result > 0 || result == -libc::ENOBUFS => self.arm(fd, generation),
            _ => self.push(opcode::Close::new(Fd(fd)).build().user_data(user_data(CLOSE, 0, 0))),
        }
    }

    fn sent(&mut self, fd: i32, generation: u16, cqe: &cqueue::Entry) -> io::Result<()> {
        let connection = &mut self.connections[index(fd)];
        if connection.generation != generation || cqueue::notif(cqe.flags()) {
            return Ok(());
        }
        // A failed send needs nothing: the receive reports the same end and closes.
        let Ok(bytes) = usize::try_from(cqe.result()) else { return Ok(()) };
        connection.left_bytes -= bytes;
        match connection.left_bytes {
            0 if connection.waiting == 0 => Ok(()),
            0 => {
                connection.waiting -= 1;
                self.send(fd, self.answer.len())
            }
            left_bytes => self.send(fd, left_bytes),
        }
    }

    fn send(&mut self, fd: i32, left_bytes: usize) -> io::Result<()> {
        let connection = &mut self.connections[index(fd)];
        connection.left_bytes = left_bytes;
        let generation = connection.generation;
        let rest = &self.answer[self.answer.len() - left_bytes..];
        let bytes = u32::try_from(rest.len()).expect("an answer is at most BODY_BYTES_MAX long");
        let send = if self.zc {
            let send = opcode::SendZc::new(Fd(fd), rest.as_ptr(), bytes).buf_index(Some(0));
            send.flags(libc::MSG_WAITALL).build()
        } else {
            opcode::Send::new(Fd(fd), rest.as_ptr(), bytes).flags(libc::MSG_WAITALL).build()
        };
        self.push(send.user_data(user_data(SEND, generation, fd)))
    }

    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        // SAFETY: every entry names only the answer and the buffer ring, which are never unmapped.
        if unsafe { self.ring.submission().push(&entry) }.is_ok() {
            return Ok(());
        }
        self.ring.submit()?;
        // SAFETY: as above.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)
    }
}

/// Provided buffers for the multishot receives, given back as soon as they were looked at.
struct ReceiveRing {
    entries: *mut BufRingEntry,
    buffers: &'static [u8],
    tail: u16,
}

impl ReceiveRing {
    fn new(ring: &IoUring) -> io::Result<Self> {
        let entries: *mut BufRingEntry =
            map(usize::from(BUFFERS) * size_of::<BufRingEntry>())?.as_mut_ptr().cast();
        let buffers = map(usize::from(BUFFERS) * BUFFER_BYTES as usize)?;
        // SAFETY: the pages are mapped for the life of the process and hold BUFFERS entries.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries as u64, BUFFERS, BUFFER_GROUP, 0)
        }?;
        let mut receive = Self { entries, buffers, tail: 0 };
        (0..BUFFERS).for_each(|buffer| receive.give(buffer));
        Ok(receive)
    }

    fn bytes(&self, buffer: u16, bytes: usize) -> &[u8] {
        &self.buffers[usize::from(buffer) * BUFFER_BYTES as usize..][..bytes]
    }

    fn give(&mut self, buffer: u16) {
        let slot = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `slot` < BUFFERS, the number of entries that were mapped.
        let entry = unsafe { self.entries.add(slot) };
        // SAFETY: the kernel reads an entry only between its own head and the tail published below.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.buffers[usize::from(buffer) * BUFFER_BYTES as usize..].as_ptr() as u64);
        entry.set_len(BUFFER_BYTES);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the start of a registered buffer ring.
        let tail = unsafe { BufRingEntry::tail(self.entries) };
        // SAFETY: aligned, mapped, and shared with the kernel only as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// How many requests end in `bytes`, going on from a partial match.
fn ends(matched: &mut u8, bytes: &[u8]) -> u32 {
    if *matched == 0 && bytes.ends_with(b"\r\n\r\n") {
        // Byte lanes side by side, so that the compiler makes vectors of it.
        let last = bytes.len() - 3;
        let lanes = bytes[..last].iter().zip(&bytes[1..]).zip(&bytes[2..]).zip(&bytes[3..]);
        return lanes
            .map(|(((a, b), c), d)| {
                u32::from((*a == b'\r') & (*b == b'\n') & (*c == b'\r') & (*d == b'\n'))
            })
            .sum();
    }
    let mut count = 0;
    for &byte in bytes {
        let expected = if (*matched).is_multiple_of(2) { b'\r' } else { b'\n' };
        *matched = match byte {
            _ if byte == expected => *matched + 1,
            b'\r' => 1,
            _ => 0,
        };
        if *matched == 4 {
            *matched = 0;
            count += 1;
        }
    }
    count
}

/// The head and `body`, one behind the other in the arena.
fn answer(body: &[u8]) -> io::Result<&'static [u8]> {
    if body.len() > BODY_BYTES_MAX {
        return Err(io::Error::other(format!("a body has at most {BODY_BYTES_MAX} bytes")));
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {}\r\n\
         Cache-Control: public, max-age=31536000\r\nETag: \"0123456789abcdef\"\r\n\
         Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nServer: bare\r\n\r\n",
        body.len()
    );
    let bytes = head.len() + body.len();
    let arena = map(bytes)?;
    arena[..head.len()].copy_from_slice(head.as_bytes());
    arena[head.len()..bytes].copy_from_slice(body);
    Ok(&arena[..bytes])
}

/// At least `bytes` of private anonymous memory, on huge pages where there are any, for ever.
fn map(bytes: usize) -> io::Result<&'static mut [u8]> {
    let bytes = bytes.next_multiple_of(HUGE_PAGE_BYTES);
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // One page more, so that the start can be moved to a huge page's boundary.
    let mapped = bytes + HUGE_PAGE_BYTES;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), mapped, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let skip = start.addr().next_multiple_of(HUGE_PAGE_BYTES) - start.addr();
    // SAFETY: `skip` < HUGE_PAGE_BYTES, so `bytes` more are mapped behind it.
    let start = unsafe { start.byte_add(skip) };
    // SAFETY: the range was mapped above. A refusal only means ordinary pages.
    unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) };
    // SAFETY: mapped, writable, zeroed, never unmapped, and nobody else knows the address.
    let memory = unsafe { slice::from_raw_parts_mut(start.cast::<u8>(), bytes) };
    memory.fill(0);
    Ok(memory)
}

fn pin(core: usize) -> io::Result<()> {
    // SAFETY: a set of cores is plain bits, and no bit set is a valid value.
    let mut cores: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::other(format!("core {core} is out of range")));
    }
    // SAFETY: `core` lies within the set.
    unsafe { libc::CPU_SET(core, &mut cores) };
    // SAFETY: `cores` is valid for the size given.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&cores), &cores) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn user_data(operation: u16, generation: u16, fd: i32) -> u64 {
    u64::from(operation) << 48 | u64::from(generation) << 32 | u64::from(fd.cast_unsigned())
}

fn parts(user_data: u64) -> (u16, u16, i32) {
    let [a, b, c, d, generation @ .., e, f] = user_data.to_le_bytes();
    (u16::from_le_bytes([e, f]), u16::from_le_bytes(generation), i32::from_le_bytes([a, b, c, d]))
}

fn index(fd: i32) -> usize {
    usize::try_from(fd).expect("the kernel hands out descriptors of 0 and more")
}

const ACCEPT: u16 = 1;
const RECEIVE: u16 = 2;
const SEND: u16 = 3;
const CLOSE: u16 = 4;

/// One receive and one send a connection, with room for many more connections than are measured.
const SQ_ENTRIES: u32 = 2048;
const CQ_ENTRIES: u32 = 8192;
/// Connections that may wait for their accept.
const BACKLOG: i32 = 4096;
const BUFFER_GROUP: u16 = 0;
/// A power of two, as the kernel asks; more than requests can arrive in one turn.
const BUFFERS: u16 = 512;
const BUFFER_BYTES: u32 = 2048;
const BODY_BYTES_MAX: usize = 64 << 20;
const HUGE_PAGE_BYTES: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_split_at_every_byte_ends_once() {
        let request = b"GET /a\rb HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for split in 0..=request.len() {
            let mut matched = 0;
            let (head, tail) = request.split_at(split);
            assert_eq!(ends(&mut matched, head) + ends(&mut matched, tail), 2, "split at {split}");
            assert_eq!(matched, 0);
        }
    }

    #[test]
    fn user_data_comes_apart_as_it_was_put_together() {
        assert_eq!(parts(user_data(SEND, 0xabcd, i32::MAX)), (SEND, 0xabcd, i32::MAX));
    }
}
