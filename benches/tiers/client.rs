//! A plain blocking client on one connection, and many of them at once.
//!
//! **Invariants**: an answer other than 2xx, or without Content-Length, is an error; bodies are
//! read to their end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::server::LISTEN;

/// One keep-alive connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// When an answer came, from the request on.
pub struct Timing {
    /// The first byte of the body, or the end of the head where there is none.
    pub first: Duration,
    /// All of it.
    pub whole: Duration,
    /// Bytes of the body.
    pub bytes: u64,
}

impl Client {
    /// Connects to the server under measurement.
    pub fn connect() -> Outcome<Self> {
        let stream = TcpStream::connect(LISTEN)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream, buffer: vec![0; 256 * 1024] })
    }

    /// Reads one object.
    pub fn get(&mut self, path: &str) -> Outcome<Timing> {
        let begin = Instant::now();
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: o\r\n\r\n")?;
        self.answer(begin, None)
    }

    /// Reads the text of an answer.
    pub fn text(&mut self, path: &str) -> Outcome<String> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: o\r\n\r\n")?;
        let mut body = Vec::new();
        self.answer(Instant::now(), Some(&mut body))?;
        Ok(String::from_utf8(body)?)
    }

    /// Uploads one object.
    pub fn put(&mut self, path: &str, body: &[u8]) -> Outcome<Timing> {
        let begin = Instant::now();
        self.send_put(path, body)?;
        self.answer(begin, None)
    }

    /// Sends uploads one behind the other and then takes their answers.
    pub fn put_all(&mut self, paths: &[String], body: &[u8]) -> Outcome<()> {
        let mut requests = Vec::new();
        for path in paths {
            let length = body.len();
            write!(requests, "PUT {path} HTTP/1.1\r\nHost: o\r\nContent-Length: {length}\r\n\r\n")?;
            requests.extend_from_slice(body);
        }
        self.stream.write_all(&requests)?;
        // Answers that come together are taken one by one: read byte for byte up to the head's end.
        for _ in paths {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                self.stream.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            let mut left = vec![0; length_of(&head)?];
            self.stream.read_exact(&mut left)?;
        }
        Ok(())
    }

    fn send_put(&mut self, path: &str, body: &[u8]) -> Outcome<()> {
        let length = body.len();
        write!(self.stream, "PUT {path} HTTP/1.1\r\nHost: o\r\nContent-Length: {length}\r\n\r\n")?;
        Ok(self.stream.write_all(body)?)
    }

    fn answer(&mut self, begin: Instant, mut keep: Option<&mut Vec<u8>>) -> Outcome<Timing> {
        let mut have = 0;
        let end = loop {
            let count = self.stream.read(&mut self.buffer[have..])?;
            if count == 0 {
                return Err("the server closed the connection".into());
            }
            have += count;
            let head = self.buffer[..have].windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(at) = head {
                break at + 4;
            }
        };
        let length = length_of(&self.buffer[..end])?;
        let mut left = length.checked_sub(have - end).ok_or("more bytes than were announced")?;
        let mut first = (have > end || left == 0).then(|| begin.elapsed());
        if let Some(keep) = keep.as_deref_mut() {
            keep.extend_from_slice(&self.buffer[end..have]);
        }
        while left > 0 {
            let most = left.min(self.buffer.len());
            let count = self.stream.read(&mut self.buffer[..most])?;
            if count == 0 {
                return Err("the server cut an answer short".into());
            }
            first.get_or_insert_with(|| begin.elapsed());
            if let Some(keep) = keep.as_deref_mut() {
                keep.extend_from_slice(&self.buffer[..count]);
            }
            left -= count;
        }
        let whole = begin.elapsed();
        Ok(Timing { first: first.unwrap_or(whole), whole, bytes: length as u64 })
    }
}

fn length_of(head: &[u8]) -> Outcome<usize> {
    let head = std::str::from_utf8(head)?;
    if !head.starts_with("HTTP/1.1 2") {
        return Err(format!("an answer was {}", head.lines().next().unwrap_or_default()).into());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    match length {
        Some(length) => Ok(length.parse()?),
        None if head.starts_with("HTTP/1.1 204") => Ok(0),
        None => Err("an answer has no Content-Length".into()),
    }
}

/// Runs `clients` threads on core 1, each with its number; what they return, and for how long.
pub fn crowd<T: Send>(
    clients: usize,
    work: impl Fn(usize) -> Outcome<T> + Sync,
) -> Outcome<(Vec<T>, Duration)> {
    let begin = Instant::now();
    let done = std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || work(number))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| "a panic")?);
        joined.collect::<Outcome<Vec<T>>>()
    })?;
    Ok((done, begin.elapsed()))
}

/// The latency below which so many of a thousand lie, in milliseconds.
pub fn quantile_ms(latencies: &mut [Duration], per_mille: usize) -> f64 {
    latencies.sort_unstable();
    let at = (latencies.len() * per_mille / 1000).min(latencies.len().saturating_sub(1));
    latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
}
