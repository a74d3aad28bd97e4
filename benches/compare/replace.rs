//! A writer that replaces the body under measurement after every hundred reads of it.
//!
//! How often it was read is asked of the origin's own metrics a few times a second; between two
//! looks the writer goes on at the pace that it saw last. What receiving, storing and recycling
//! cost is the origin's CPU, and so is part of its figure.
//!
//! **Invariants**: the bytes are the same every time, so that answers can be compared; a failed
//! upload ends the writer and shows in the number of replacements.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::peers::{ADMIN, LISTEN};
use crate::{Body, Outcome};

/// Reads between two replacements.
const READS: f64 = 100.0;
/// Between two looks at the metrics.
const LOOK: Duration = Duration::from_millis(250);
/// Longest pause, while nobody reads.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The writer; dropping it ends it.
pub struct Replacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Replacer {
    /// Begins to replace `body`.
    pub fn begin(body: &Body) -> Outcome<Self> {
        let mut upload = format!(
            "PUT {} HTTP/1.1\r\nHost: a\r\nContent-Type: video/mp4\r\nContent-Length: ",
            body.path
        );
        let bytes = std::fs::read(&body.file)?;
        upload += &format!("{}\r\n\r\n", bytes.len());
        let upload = [upload.into_bytes(), bytes].concat();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            if let Err(error) = replace(&upload, &seen) {
                eprintln!("the writer ended: {error}");
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Replacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of the writer was printed by itself.
        self.thread.take().map(JoinHandle::join);
    }
}

fn replace(upload: &[u8], stop: &AtomicBool) -> Outcome<()> {
    let mut stream = TcpStream::connect(LISTEN)?;
    stream.set_nodelay(true)?;
    let (mut looked, mut reads) = (Instant::now(), reads()?);
    let mut pause = PAUSE_MAX;
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if looked.elapsed() > LOOK {
            let now = self::reads()?;
            let per_second = (now - reads) / looked.elapsed().as_secs_f64();
            pause = Duration::from_secs_f64(READS / per_second.max(1.0)).min(PAUSE_MAX);
            (looked, reads) = (Instant::now(), now);
        }
        stream.write_all(upload)?;
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer)?;
        if !answer[..read].starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&answer[..read]).into_owned().into());
        }
        due = (due + pause).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Requests that the origin has answered so far.
fn reads() -> Outcome<f64> {
    let mut stream = TcpStream::connect(ADMIN)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let counts = text.lines().filter(|line| line.starts_with("headwater_responses_total"));
    Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
