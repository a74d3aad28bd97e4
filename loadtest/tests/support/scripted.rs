//! A scripted HTTP server on one thread: it does exactly what a test says, so that what a load
//! generator reports can be held against arithmetic.
//!
//! Runs monoio; a behaviour that blocks (`Slower`, `Stall`, `Limit`) blocks the whole server, as a
//! busy single-threaded server does. Used by tests and by the example `scripted`.

#![allow(dead_code, clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

use super::hls::Hls;

/// What the server does.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers at once with so many bytes.
    Fixed(usize),
    /// The same, after being busy for a while: the twin that is slower.
    Slower(usize, Duration),
    /// The same, but answers nobody for `stall` at the start of every second.
    Stall(usize, Duration),
    /// Answers so many requests a second and no more: a token bucket 5 ms deep.
    Limit(usize, f64),
    /// Announces so many bytes and closes after half of them.
    Truncated(usize),
    /// Answers with this status.
    Status(u16),
    /// Answers with something that is not HTTP.
    Garbage,
    /// Keeps what is PUT, forgets what is DELETEd.
    Store,
    /// Serves a synthetic HLS presentation, each segment after a delay.
    Hls(Hls),
}

/// A server that runs until it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one on `address` (port 0: any that is free), on the CPUs given (empty: any).
    pub fn start_on(behaviour: Behaviour, address: &str, cpus: Vec<usize>) -> io::Result<Self> {
        let address = address.to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let (bound, binding) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            if !cpus.is_empty() {
                loadtest::sys::thread::pin(&cpus).unwrap();
            }
            let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
                .with_entries(4096)
                .enable_timer()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = match TcpListener::bind(address.as_str()) {
                    Ok(listener) => listener,
                    Err(error) => return drop(bound.send(Err(error))),
                };
                bound.send(listener.local_addr()).unwrap();
                serve(behaviour, &listener, &stopped).await;
            });
        });
        let address = binding.recv().unwrap()?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Starts one on a free port of 127.0.0.1.
    pub fn start(behaviour: Behaviour) -> Self {
        Self::start_on(behaviour, "127.0.0.1:0", Vec::new()).unwrap()
    }

    /// The URL of `path` on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits for ever.
    pub fn wait(mut self) {
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The accepting task looks after each accept.
        let _ = std::net::TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What all connections share.
struct State {
    behaviour: Behaviour,
    body: Vec<u8>,
    start: Instant,
    /// When the token bucket allows the next answer.
    free_at: Cell<Instant>,
    stored: RefCell<HashMap<String, Vec<u8>>>,
}

async fn serve(behaviour: Behaviour, listener: &TcpListener, stop: &AtomicBool) {
    let length = match behaviour {
        Behaviour::Fixed(length)
        | Behaviour::Slower(length, _)
        | Behaviour::Stall(length, _)
        | Behaviour::Limit(length, _)
        | Behaviour::Truncated(length) => length,
        _ => 0,
    };
    let start = Instant::now();
    let state = Rc::new(State {
        behaviour,
        body: vec![b'x'; length],
        start,
        free_at: Cell::new(start),
        stored: RefCell::default(),
    });
    loop {
        let accepted = listener.accept().await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let state = Rc::clone(&state);
        monoio::spawn(async move {
            // A client that goes away is no fault.
            let _ = converse(&state, stream).await;
        });
    }
}

/// One request.
struct Asked {
    method: String,
    path: String,
    body: Vec<u8>,
}

async fn converse(state: &State, mut stream: TcpStream) -> io::Result<()> {
    let mut input: Vec<u8> = Vec::new();
    loop {
        let asked = loop {
            if let Some((asked, used)) = parse(&input) {
                input.drain(..used);
                break asked;
            }
            let (read, buffer) = stream.read(Vec::with_capacity(64 * 1024)).await;
            if read? == 0 {
                return Ok(());
            }
            input.extend_from_slice(&buffer);
        };
        let (answer, keep) = answer(state, asked).await;
        stream.write_all(answer).await.0?;
        if !keep {
            return Ok(());
        }
    }
}

/// The first request in `input` and its length; `None` while it is not whole.
fn parse(input: &[u8]) -> Option<(Asked, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(input).ok()? else { return None };
    let header = |name: &str| {
        request
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|h| h.value)
    };
    let (mut body, mut at) = (Vec::new(), head);
    if header("transfer-encoding").is_some() {
        loop {
            let line = input[at..].windows(2).position(|two| two == b"\r\n")?;
            let size = std::str::from_utf8(&input[at..at + line]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            let (from, to) = (at + line + 2, at + line + 2 + size);
            body.extend_from_slice(input.get(from..to)?);
            input.get(to..to + 2)?;
            at = to + 2;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = header("content-length") {
        let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
        body.extend_from_slice(input.get(head..head + length)?);
        at = head + length;
    }
    let asked = Asked { method: request.method?.to_owned(), path: request.path?.to_owned(), body };
    Some((asked, at))
}

/// The bytes of the answer, and whether the connection is kept.
async fn answer(state: &State, asked: Asked) -> (Vec<u8>, bool) {
    match &state.behaviour {
        Behaviour::Fixed(_) => {}
        Behaviour::Slower(_, by) => {
            let until = Instant::now() + *by;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
        Behaviour::Stall(_, stall) => {
            let second = Duration::from_nanos(u64::from(state.start.elapsed().subsec_nanos()));
            if second < *stall {
                std::thread::sleep(*stall - second);
            }
        }
        Behaviour::Limit(_, rate) => limit(state, *rate),
        Behaviour::Truncated(length) => {
            let mut bytes = whole(200, &state.body);
            bytes.truncate(bytes.len() - length / 2);
            return (bytes, false);
        }
        Behaviour::Status(status) => return (whole(*status, b""), true),
        Behaviour::Garbage => return (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), false),
        Behaviour::Store => return (store(state, asked), true),
        Behaviour::Hls(hls) => {
            let (delay, status, body) = hls.answer(&asked.path);
            if !delay.is_zero() {
                monoio::time::sleep(delay).await;
            }
            return (whole(status, &body), true);
        }
    }
    (whole(200, &state.body), true)
}

/// Waits for a token. Time that nobody used is kept for 5 ms, so that a late wake-up of this
/// thread does not lower the rate.
fn limit(state: &State, rate: f64) {
    let now = Instant::now();
    let kept = now.checked_sub(Duration::from_millis(5)).unwrap_or(now);
    let free_at = state.free_at.get().max(kept) + Duration::from_secs_f64(1.0 / rate);
    state.free_at.set(free_at);
    if let Some(wait) = free_at.checked_duration_since(now) {
        std::thread::sleep(wait);
    }
}

fn store(state: &State, asked: Asked) -> Vec<u8> {
    let mut stored = state.stored.borrow_mut();
    match asked.method.as_str() {
        "PUT" => {
            let status = if stored.contains_key(&asked.path) { 200 } else { 201 };
            stored.insert(asked.path, asked.body);
            whole(status, b"")
        }
        "DELETE" if stored.remove(&asked.path).is_some() => whole(204, b""),
        "GET" => stored.get(&asked.path).map_or_else(|| whole(404, b""), |body| whole(200, body)),
        _ => whole(404, b""),
    }
}

fn whole(status: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} Scripted\r\n").into_bytes();
    if status != 204 {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}
