//! What the release of many blocked playlist reloads costs, and how long the last one waits.
//!
//! Many connections wait for the next version of one playlist. After its upload all of them must
//! be answered with it, none before and none forgotten. CPU of the server per released reader,
//! its request included, is compared with that of a plain GET of the same playlist in the same
//! run; the server has core 0, this program core 1. Fails above 1.2, or when the median of the
//! last reader's delays is 100 ms or more.
//! Usage: release [CONNECTIONS [PUBLISHES]]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use support::Origin;

const RATIO_MAX: f64 = 1.2;
const DELAY_MEDIAN_MAX: Duration = Duration::from_millis(100);
const FIRST_MSN: u64 = 1000;

/// What one round of all connections came to.
struct Round {
    cpu_ns: u64,
    last: Duration,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let count = arguments.next().unwrap_or(10_000);
    let publishes = arguments.next().unwrap_or(100);
    let flags = ["--shards", "1", "--memory", "256MiB", "--congestion", "cubic"];
    let origin = Origin::start_under(&["taskset", "--cpu-list", "0"], &flags);
    origin.put("/release/v.m3u8", playlist(FIRST_MSN).as_bytes());
    let mut sockets: Vec<TcpStream> = (0..count).map(|_| connect(&origin)).collect();
    let (mut blocked, mut plain) = (Vec::new(), Vec::new());
    for number in 0..publishes as u64 {
        let msn = FIRST_MSN + number;
        blocked.push(release(&origin, &mut sockets, msn));
        plain.push(read_plain(&origin, &mut sockets, msn + 1));
    }
    drop(sockets);
    origin.stop();
    let cpu = |rounds: &[Round]| median(rounds.iter().map(|round| round.cpu_ns)) / count as u64;
    let ratio = cpu(&blocked) as f64 / cpu(&plain) as f64;
    let last = median(blocked.iter().map(|round| round.last));
    let slowest = blocked.iter().map(|round| round.last).max().unwrap();
    println!(
        "{count} blocked reloads, {publishes} publishes: {} ns of CPU each, a plain GET {} ns: \
         {ratio:.2} (goal {RATIO_MAX})",
        cpu(&blocked),
        cpu(&plain),
    );
    println!("last reader: median {last:.1?} after the upload began, slowest {slowest:.1?}");
    let holds = ratio <= RATIO_MAX && last < DELAY_MEDIAN_MAX;
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A playlist of 20 segments that ends with `last`.
fn playlist(last: u64) -> String {
    let first = last - 19;
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n#EXT-X-PART-INF:PART-TARGET=1\n"
    );
    for msn in first..=last {
        writeln!(text, "#EXTINF:4.00000,\nsegment-{msn:08}.m4s").unwrap();
    }
    text
}

fn connect(origin: &Origin) -> TcpStream {
    let socket = TcpStream::connect(origin.http).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// All connections ask for the segment behind `msn`, which is then published.
fn release(origin: &Origin, sockets: &mut [TcpStream], msn: u64) -> Round {
    let next = msn + 1;
    let before_ns = cpu_ns(origin.pid());
    ask(sockets, &format!("/release/v.m3u8?_HLS_msn={next}"));
    let patience = Instant::now() + Duration::from_secs(10);
    while origin.metric("headwater_reads_waiting", "") < sockets.len() as f64 {
        assert!(Instant::now() < patience, "not all requests wait");
        thread::sleep(Duration::from_millis(20));
    }
    let nobody = sockets.iter_mut().all(|socket| {
        matches!(socket.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    });
    assert!(nobody, "somebody was answered early");
    let text = playlist(next);
    let begun = Instant::now();
    let uploader = thread::spawn({
        let (mut client, text) = (origin.client(), text.clone());
        move || client.request("PUT", "/release/v.m3u8", &[], text.as_bytes()).unwrap().status
    });
    collect(sockets, &text);
    let last = begun.elapsed();
    assert_eq!(uploader.join().unwrap(), 200);
    Round { cpu_ns: cpu_ns(origin.pid()) - before_ns, last }
}

/// All connections read the playlist as it is.
fn read_plain(origin: &Origin, sockets: &mut [TcpStream], msn: u64) -> Round {
    let before_ns = cpu_ns(origin.pid());
    let begun = Instant::now();
    ask(sockets, "/release/v.m3u8");
    collect(sockets, &playlist(msn));
    let last = begun.elapsed();
    Round { cpu_ns: cpu_ns(origin.pid()) - before_ns, last }
}

fn ask(sockets: &mut [TcpStream], target: &str) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: origin\r\nUser-Agent: release\r\n\r\n");
    sockets.iter_mut().for_each(|socket| socket.write_all(request.as_bytes()).unwrap());
}

/// Reads one answer from every connection; each must be the playlist `text`.
fn collect(sockets: &mut [TcpStream], text: &str) {
    let patience = Instant::now() + Duration::from_secs(30);
    let mut open: Vec<(usize, Vec<u8>)> = (0..sockets.len()).map(|at| (at, Vec::new())).collect();
    let mut buffer = vec![0; 64 * 1024];
    while !open.is_empty() {
        assert!(Instant::now() < patience, "{} readers were forgotten", open.len());
        open.retain_mut(|(at, bytes)| {
            match sockets[*at].read(&mut buffer) {
                Ok(0) => panic!("a connection was closed"),
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) => panic!("a connection failed: {error}"),
            }
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(body) = head.map(|head| &bytes[head + 4..]) else { return true };
            if body.len() < text.len() {
                return true;
            }
            assert!(bytes.starts_with(b"HTTP/1.1 200 ") && body == text.as_bytes());
            false
        });
    }
}

/// CPU time of a process's threads.
fn cpu_ns(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let times = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    times.sum()
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}
