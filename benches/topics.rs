//! Fan-out measured from outside: many subscribers of Server-Sent Events on one topic, messages one
//! at a time, for one running server. `scripts/topics` runs it for headwater and for nchan.
//!
//! Usage: topics NAME ADDRESS PID SUBSCRIBE_PATH PUBLISH_PATH SUBSCRIBERS MESSAGES
//!
//! Prints CPU of the process PID per delivery (scheduler's account of all its threads), the time
//! from a publication to its last subscriber, and private memory per idle subscriber.
#![allow(clippy::unwrap_used, reason = "a measurement ends at its first surprise")]

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// Bytes of a message.
const MESSAGE_BYTES: usize = 200;

struct Run {
    name: String,
    address: SocketAddr,
    pid: u32,
    subscribe: String,
    publish: String,
    subscribers: usize,
    messages: usize,
}

/// What the subscribers have seen together.
#[derive(Default)]
struct Seen {
    /// Of the message under way.
    count: Cell<usize>,
    wanted: Cell<usize>,
    notify: Notify,
}

impl Seen {
    fn one(&self) {
        self.count.set(self.count.get() + 1);
        if self.count.get() == self.wanted.get() {
            self.notify.notify_one();
        }
    }

    async fn all(&self, what: &str) {
        let patience = Duration::from_secs(60);
        let over = tokio::time::timeout(patience, self.notify.notified()).await;
        assert!(over.is_ok(), "{what}: {} of {}", self.count.get(), self.wanted.get());
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, address, pid, subscribe, publish, subscribers, messages] = words.as_slice() else {
        eprintln!("usage: topics NAME ADDRESS PID SUBSCRIBE PUBLISH SUBSCRIBERS MESSAGES");
        std::process::exit(2);
    };
    let run = Run {
        name: name.clone(),
        address: address.parse().unwrap(),
        pid: pid.parse().unwrap(),
        subscribe: subscribe.clone(),
        publish: publish.clone(),
        subscribers: subscribers.parse().unwrap(),
        messages: messages.parse().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, measure(run));
}

async fn measure(run: Run) {
    let seen = Rc::new(Seen::default());
    let mut publisher = TcpStream::connect(run.address).await.unwrap();
    // Whatever a first subscriber and a first message cost once is not counted.
    seen.wanted.set(1);
    subscribe(&run, seen.clone()).await;
    publish(&run, &mut publisher, 0).await;
    seen.all("the first message").await;
    let before = private_bytes(run.pid);
    for _ in 1..run.subscribers {
        subscribe(&run, seen.clone()).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = private_bytes(run.pid).saturating_sub(before);
    seen.wanted.set(run.subscribers);
    let mut last_ms = Vec::new();
    for number in 1..=3 {
        deliver(&run, &mut publisher, &seen, number).await;
    }
    let cpu_before = cpu_ns(run.pid);
    for number in 0..run.messages {
        last_ms.push(deliver(&run, &mut publisher, &seen, 4 + number).await);
    }
    let cpu_ns = cpu_ns(run.pid) - cpu_before;
    last_ms.sort_by(f64::total_cmp);
    let deliveries = (run.messages * run.subscribers) as f64;
    let cpu_us = cpu_ns as f64 / 1000.0 / deliveries;
    println!(
        "{:<10} cpu_us_per_delivery={cpu_us:.2} last_ms_median={:.1} last_ms_max={:.1} \
         bytes_per_subscriber={} deliveries_per_s_and_core={:.0}",
        run.name,
        last_ms[last_ms.len() / 2],
        last_ms[last_ms.len() - 1],
        grown / (run.subscribers as u64 - 1),
        1e6 / cpu_us,
    );
}

/// Publishes one message and waits for its last subscriber; how long that took, in milliseconds.
async fn deliver(run: &Run, publisher: &mut TcpStream, seen: &Seen, number: usize) -> f64 {
    seen.count.set(0);
    let begun = Instant::now();
    publish(run, publisher, number).await;
    seen.all("a message").await;
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_millis(100)).await;
    took.as_secs_f64() * 1000.0
}

/// Opens a stream, waits for its head, and leaves it to a task that counts messages.
async fn subscribe(run: &Run, seen: Rc<Seen>) {
    let mut socket = TcpStream::connect(run.address).await.unwrap();
    let request =
        format!("GET {} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n", run.subscribe);
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        assert!(socket.read_buf(&mut head).await.unwrap() > 0, "it ended in the head");
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    tokio::task::spawn_local(async move {
        let mut buffer = vec![0; 2048];
        loop {
            let count = socket.read(&mut buffer).await.unwrap();
            assert!(count > 0, "a stream ended");
            let marks = buffer[..count].windows(MARK.len()).filter(|window| *window == MARK);
            marks.for_each(|_| seen.one());
        }
    });
}

/// Lets publish where a server asks for it.
const TOKEN: &str = "a-token-for-benchmarks";
/// What every message ends with.
const MARK: &[u8] = b"<mark>";

async fn publish(run: &Run, socket: &mut TcpStream, number: usize) {
    let body = format!("{number:0width$}<mark>", width = MESSAGE_BYTES - MARK.len());
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\n\
         Authorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
        run.publish,
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let count = socket.read(&mut answer).await.unwrap();
    assert!(answer[..count].starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&answer));
}

/// Time that all threads of the process have run, in nanoseconds.
fn cpu_ns(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let times = threads.map(|thread| {
        let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    times.sum()
}

/// Memory of the process that no file backs.
fn private_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
