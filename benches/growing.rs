//! How late a chunk of a growing segment reaches its readers.
//!
//! Three renditions upload LL-DASH segments chunk by chunk, each with readers that follow. The
//! delay of a chunk is the time from the start of its upload to the arrival of its last byte. Ends
//! with an error when the median is 20 ms or more.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use support::wire::Client;
use support::{Origin, pattern};

const RENDITIONS: usize = 3;
const READERS: usize = 4;
const SEGMENTS: usize = 3;
const CHUNKS: usize = 20;
const CHUNK_BYTES: usize = 40_000;
const CHUNK_EVERY: Duration = Duration::from_millis(100);
const MEDIAN_MAX: Duration = Duration::from_millis(20);

/// When the upload of each chunk of the current segment began.
type Starts = Mutex<Vec<Instant>>;

fn main() -> ExitCode {
    let origin = Origin::start(&["--shards", "2"]);
    let delays = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for rendition in 0..RENDITIONS {
            let (origin, delays) = (&origin, &delays);
            scope.spawn(move || {
                for segment in 0..SEGMENTS {
                    let target = format!("/bench/{rendition}/{segment}.m4s");
                    upload(origin, &target, delays);
                }
            });
        }
    });
    origin.stop();
    let mut delays = delays.into_inner().unwrap();
    delays.sort_unstable();
    let share = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    println!(
        "chunks of growing segments: {} read, delay p50 {:.2?} p90 {:.2?} p99 {:.2?} max {:.2?}",
        delays.len(),
        share(50),
        share(90),
        share(99),
        share(100),
    );
    if share(50) < MEDIAN_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Uploads one segment in real time while readers follow it.
fn upload(origin: &Origin, target: &str, delays: &Mutex<Vec<Duration>>) {
    let starts = Starts::default();
    let data = pattern(1, CHUNK_BYTES);
    let mut writer = origin.client();
    writer.begin_chunked(target, &[]).unwrap();
    thread::scope(|scope| {
        for number in 0..CHUNKS {
            starts.lock().unwrap().push(Instant::now());
            writer.chunk(&data).unwrap();
            if number == 0 {
                for _ in 0..READERS {
                    scope.spawn(|| follow(origin, target, &starts, delays));
                }
            }
            thread::sleep(CHUNK_EVERY);
        }
        writer.chunk(b"").unwrap();
        assert_eq!(writer.answer(false).unwrap().status, 200);
    });
}

/// Reads a growing segment; notes the delay of each chunk that was uploaded while it read.
fn follow(origin: &Origin, target: &str, starts: &Starts, delays: &Mutex<Vec<Duration>>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: o\r\n\r\n");
    let mut reader: Client = origin.client();
    // The upload's head and this request race: 404 until it is there.
    while {
        reader.send(request.as_bytes()).unwrap();
        reader.head().unwrap().status == 404
    } {
        reader = origin.client();
    }
    let (mut bytes, mut whole) = (0, 0);
    while let Some(piece) = reader.next_chunk().unwrap() {
        bytes += piece.len();
        while whole < bytes / CHUNK_BYTES {
            if whole > 0 {
                let started = starts.lock().unwrap()[whole];
                delays.lock().unwrap().push(started.elapsed());
            }
            whole += 1;
        }
    }
    assert_eq!(bytes, CHUNKS * CHUNK_BYTES);
}
