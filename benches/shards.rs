//! What a hot key costs a shard that does not own it.
//!
//! An origin with two shards; the connections that ask are all with shard 0, on core 0, and the load
//! comes from core 1. A key of shard 0 and a key of shard 1 are read in turn (own, foreign, foreign, own), and
//! the CPU time of both shards' threads is divided by the requests. Ends with an error when the
//! foreign key costs more than 1.05 times the own one.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use headwater::sys::cpu;
use support::shards::Shards;
use support::{Origin, pattern};

const CONNECTIONS: usize = 32;
const SIZES: [usize; 3] = [2 << 10, 16 << 10, 64 << 10];
const ROUNDS: usize = 5;
const RUN: Duration = Duration::from_millis(800);
const RATIO_MAX: f64 = 1.05;

fn main() -> ExitCode {
    let origin = Origin::start(&["--shards", "2"]);
    let shards = Shards { http: origin.http, admin: origin.admin, count: 2 };
    let folders = [shards.folder_of(0), shards.folder_of(1)];
    let (mut connections, mut others) = (Vec::new(), Vec::new());
    while connections.len() < CONNECTIONS {
        let (shard, client) = shards.connect();
        if shard == 0 { &mut connections } else { &mut others }.push(client.writer());
    }
    cpu::pin(1);
    let mut worst: f64 = 0.0;
    for size in SIZES {
        let targets = folders.each_ref().map(|folder| format!("/{folder}/{size}.ts"));
        targets.iter().for_each(|target| drop(origin.put(target, &pattern(1, size))));
        let mut cost_us = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for place in [0, 1, 1, 0] {
                let cost = measure(&origin, &mut connections, &targets[place]);
                // The first round warms up.
                cost_us[place].extend((round > 0).then_some(cost));
            }
        }
        let [own, foreign] = cost_us.map(median);
        let ratio = foreign / own;
        worst = worst.max(ratio);
        println!(
            "{:>3} KiB: own key {own:.2} us of CPU per request, foreign key {foreign:.2} us, \
             ratio {ratio:.3}",
            size >> 10
        );
    }
    drop((connections, others));
    origin.stop();
    println!("worst ratio {worst:.3}, at most {RATIO_MAX}");
    if worst <= RATIO_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// CPU microseconds per request of `target`.
fn measure(origin: &Origin, connections: &mut [TcpStream], target: &str) -> f64 {
    let request = format!("GET {target} HTTP/1.1\r\nHost: origin\r\n\r\n");
    // All answers are equally long.
    let len = {
        connections[0].write_all(request.as_bytes()).unwrap();
        answer_len(&mut connections[0])
    };
    let mut bytes = vec![0; len];
    let mut requests = 0;
    let (before, begun) = (cpu_ns(origin.pid()), Instant::now());
    while begun.elapsed() < RUN {
        for connection in &mut *connections {
            connection.write_all(request.as_bytes()).unwrap();
        }
        for connection in &mut *connections {
            connection.read_exact(&mut bytes).unwrap();
            assert!(bytes.starts_with(b"HTTP/1.1 200 "));
        }
        requests += connections.len();
    }
    (cpu_ns(origin.pid()) - before) as f64 / 1e3 / requests as f64
}

/// Reads one answer; the bytes in its head and body.
fn answer_len(stream: &mut TcpStream) -> usize {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; line.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    text.len() + body.len()
}

/// CPU time of the origin's shards so far, softirq work on their back included.
fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let is_shard = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).unwrap().starts_with("shard-")
    };
    let used = |task: std::path::PathBuf| -> u64 {
        let text = fs::read_to_string(task.join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse().unwrap()
    };
    tasks.filter(is_shard).map(used).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    (values[middle - 1] + values[middle]) / 2.0
}
