//! Readers slowed to a crawl, each of which checks every byte it gets.

use std::io::{Error, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::content::Content;
use crate::random::Random;
use crate::support::wire::{Answer, Client};
use crate::writers::{Family, version_of};

/// What all readers have seen.
#[derive(Default)]
pub struct Tally {
    pub stop: AtomicBool,
    pub bytes: AtomicU64,
    pub answers: AtomicU64,
    pub absent: AtomicU64,
    /// Answers that the reader left in the middle.
    pub left: AtomicU64,
    /// Answers of objects that were still arriving and did not arrive.
    pub unfinished: AtomicU64,
    /// What must not happen.
    pub faults: Mutex<Vec<String>>,
}

impl Tally {
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// One reader.
pub struct Reader<'a> {
    pub address: SocketAddr,
    pub seed: u64,
    pub random: Random,
    /// The smallest receive buffer, in bytes.
    pub window_min: usize,
    /// Whether it leaves some answers in the middle.
    pub leaves: bool,
    pub families: &'a [Family],
    pub tally: &'a Tally,
}

/// How an answer is read.
struct Pace {
    piece_max: u64,
    pause_us_max: u64,
    /// Pauses of up to 300 ms, once in so many pieces.
    stall_once_in: u64,
}

impl Reader<'_> {
    /// Reads until all is over.
    pub fn run(mut self) {
        while !self.tally.is_over() {
            let mut client = match self.connect() {
                Ok(client) => client,
                Err(error) => return self.tally.fault(format!("no connection: {error}")),
            };
            for _ in 0..1 + self.random.below(5) {
                if !self.exchange(&mut client) {
                    break;
                }
            }
        }
    }

    /// A connection whose receive buffer holds little of an answer.
    fn connect(&mut self) -> std::io::Result<Client> {
        let bytes = self.window_min << self.random.below(6);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_recv_buffer_size(bytes)?;
        socket.connect(&self.address.into())?;
        Client::over(TcpStream::from(socket))
    }

    fn pace(&mut self) -> Pace {
        let (piece_max, pause_us_max, stall_once_in) = match self.random.below(4) {
            0 => (3_000, 4_000, 200),
            1 => (20_000, 5_000, 10),
            2 => (60_000, 200, 12),
            _ => (60_000, 0, 40),
        };
        Pace { piece_max, pause_us_max, stall_once_in }
    }

    /// One request and its answer; whether the connection goes on.
    fn exchange(&mut self, client: &mut Client) -> bool {
        let family = &self.families[self.random.below(self.families.len() as u64) as usize];
        let (key, path) = family.pick(&mut self.random);
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: origin\r\n");
        if self.random.below(6) == 0 {
            head.push_str(&format!("Range: bytes={}-\r\n", self.random.below(20_000)));
        }
        head.push_str("\r\n");
        let answer = client.send(head.as_bytes()).and_then(|()| client.head());
        let outcome = answer.and_then(|answer| match answer.status {
            200 | 206 => self.body(client, key, &answer).map(|whole| (whole, answer)),
            404 | 416 => {
                count(&self.tally.absent, 1);
                let length = answer.header("Content-Length").unwrap_or("0").parse().unwrap();
                client.take(length).map(|_| (true, answer))
            }
            other => Err(Error::other(format!("status {other}"))),
        });
        match outcome {
            Ok((goes_on, answer)) => goes_on && answer.header("Connection") != Some("close"),
            Err(error) => {
                if !self.tally.is_over() {
                    self.tally.fault(format!("{path}: {error}"));
                }
                false
            }
        }
    }

    /// Reads and checks a body; whether it was read to its end.
    fn body(&mut self, client: &mut Client, key: u64, head: &Answer) -> std::io::Result<bool> {
        let version = version_of(head.header("Content-Type"))?;
        let content = Content::new(self.seed, key, version);
        if head.header("Transfer-Encoding").is_some() {
            return self.arriving(client, content);
        }
        let mut at = match head.header("Content-Range") {
            None => 0,
            Some(range) => first_of(range)?,
        };
        let length: usize = head.header("Content-Length").unwrap().parse().unwrap();
        if at + length != content.len {
            return Err(Error::other(format!("{length} bytes from {at} on are not {content:?}")));
        }
        let pace = self.pace();
        let leave_at = match self.leaves && self.random.below(2) == 0 {
            true => at + self.random.below(length as u64 + 1) as usize,
            false => usize::MAX,
        };
        let mut bytes = vec![0; pace.piece_max as usize];
        while at < content.len {
            if at >= leave_at || self.tally.is_over() {
                count(&self.tally.left, u64::from(at >= leave_at));
                return Ok(false);
            }
            let most = (1 + self.random.below(pace.piece_max) as usize).min(content.len - at);
            let count = client.read_some(&mut bytes[..most])?;
            self.check(content, at, &bytes[..count])?;
            at += count;
            self.rest(&pace);
        }
        count(&self.tally.answers, 1);
        Ok(true)
    }

    /// The same of an object that was not complete yet when it was asked for.
    fn arriving(&mut self, client: &mut Client, content: Content) -> std::io::Result<bool> {
        let pace = self.pace();
        let mut at = 0;
        loop {
            let Ok(chunk) = client.next_chunk() else {
                // The upload found no memory, or its writer has ended.
                count(&self.tally.unfinished, 1);
                return Ok(false);
            };
            let Some(chunk) = chunk else { break };
            self.check(content, at, &chunk)?;
            at += chunk.len();
            self.rest(&pace);
        }
        if at != content.len {
            return Err(Error::other(format!("{at} bytes are not {content:?}")));
        }
        count(&self.tally.answers, 1);
        Ok(true)
    }

    fn check(&self, content: Content, at: usize, bytes: &[u8]) -> std::io::Result<()> {
        count(&self.tally.bytes, bytes.len() as u64);
        let Some(place) = content.first_wrong(at, bytes) else { return Ok(()) };
        let seen = &bytes[place - at..bytes.len().min(place - at + 16)];
        // Even when all is over otherwise, this is a fault.
        self.tally.fault(format!("WRONG BYTE at {place} of {content:?}: {seen:02x?}"));
        Err(Error::from(ErrorKind::InvalidData))
    }

    fn rest(&mut self, pace: &Pace) {
        let pause_us = match self.random.below(pace.stall_once_in) {
            0 => self.random.below(300_000),
            _ if pace.pause_us_max > 0 => self.random.below(pace.pause_us_max),
            _ => return,
        };
        thread::sleep(Duration::from_micros(pause_us));
    }
}

/// The first byte that a Content-Range names.
fn first_of(range: &str) -> std::io::Result<usize> {
    let first = range.strip_prefix("bytes ").and_then(|rest| rest.split('-').next());
    let number = first.and_then(|first| first.parse().ok());
    number.ok_or_else(|| Error::other(format!("Content-Range: {range}")))
}
