//! Cold reads: files of 1 MiB, read by Zipf, of which memory has a part; then how soon the first
//! byte of a file comes that nobody has, beside a bare pread of its first block.
//!
//! **Invariants**: every server reads the same files by the same seeds, with the page cache
//! dropped before, under the same bound of memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::client::{Client, crowd, quantile_ms};
use crate::server::Server;
use crate::{Bench, Outcome};

/// What is read, how long and by how many.
#[derive(clap::Args)]
pub struct Plan {
    /// Files of 1 MiB.
    #[arg(long, default_value_t = 4096)]
    files: usize,
    /// Seconds a run.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs of each server, in turn.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Readers, each on a connection of its own.
    #[arg(long, default_value_t = 16)]
    readers: usize,
    /// Bound of each server's memory, page cache included, in MiB.
    #[arg(long, default_value_t = 512)]
    bound: u64,
    /// Headwater's `--memory` within that bound.
    #[arg(long, default_value = "384MiB")]
    memory: String,
    /// Headwater only, without a table: for a profiler.
    #[arg(long)]
    alone: bool,
}

const FILE_BYTES: usize = 1 << 20;
/// Exponent of Zipf's law.
const SKEW: f64 = 0.9;
/// Files whose first bytes are timed.
const FIRSTS: usize = 200;

/// Measures, and prints the table.
pub fn run(bench: &Bench, plan: &Plan) -> Outcome<()> {
    let set = lay_down(bench, plan.files)?;
    let zipf = Zipf::new(plan.files);
    println!("|Server|MiB/s|p50 ms|p99 ms|CPU ns per KiB|first byte ms, median (pread)|");
    println!("|---|---|---|---|---|---|");
    for _ in 0..plan.rounds {
        measure("headwater", &ours(bench, plan, &set), plan, &zipf, &set)?;
        if plan.alone {
            continue;
        }
        let theirs = || Server::nginx(bench, &set, Some(plan.bound << 20));
        measure("nginx", &theirs, plan, &zipf, &set)?;
    }
    Ok(())
}

fn ours(bench: &Bench, plan: &Plan, set: &Path) -> impl Fn() -> Outcome<Server> {
    let flags = format!("--shards 1 --memory {} --library {}", plan.memory, set.display());
    move || Server::headwater(bench, &flags, Some(plan.bound << 20))
}

fn measure(
    name: &str,
    start: &dyn Fn() -> Outcome<Server>,
    plan: &Plan,
    zipf: &Zipf,
    set: &Path,
) -> Outcome<()> {
    drop_page_cache()?;
    let server = start()?;
    let cpu = server.group.cpu()?;
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let read = |number: usize| {
        let (mut client, mut seed) = (Client::connect()?, number as u64 + 1);
        let mut seen = (Vec::new(), 0);
        while Instant::now() < end {
            let file = zipf.pick(&mut seed);
            let timing = client.get(&format!("/{file}.m4s"))?;
            seen.0.push(timing.whole);
            seen.1 += timing.bytes;
        }
        Ok(seen)
    };
    let (seen, took) = crowd(plan.readers, read)?;
    let cpu = server.group.cpu()?.saturating_sub(cpu);
    drop(server);
    let bytes: u64 = seen.iter().map(|(_, bytes)| bytes).sum();
    let mut latencies: Vec<Duration> = seen.into_iter().flat_map(|(times, _)| times).collect();
    let (first, bare) = first_bytes(start, plan, set)?;
    println!(
        "|{name}|{:.0}|{:.2}|{:.2}|{:.0}|{first:.3} ({bare:.3})|",
        bytes as f64 / took.as_secs_f64() / f64::from(1 << 20),
        quantile_ms(&mut latencies, 500),
        quantile_ms(&mut latencies, 990),
        cpu.as_nanos() as f64 / (bytes as f64 / 1024.0),
    );
    Ok(())
}

/// Medians of the time to a cold file's first byte: through the server, and by open and pread.
/// Both take files that nobody has read since the page cache was dropped, in turn.
fn first_bytes(
    start: &dyn Fn() -> Outcome<Server>,
    plan: &Plan,
    set: &Path,
) -> Outcome<(f64, f64)> {
    drop_page_cache()?;
    let server = start()?;
    let mut client = Client::connect()?;
    let (mut served, mut bare) = (Vec::new(), Vec::new());
    let mut block = vec![0; 4096];
    for number in 0..FIRSTS.min(plan.files / 2) {
        served.push(client.get(&format!("/{}.m4s", number * 2))?.first);
        let begin = Instant::now();
        File::open(set.join(format!("{}.m4s", number * 2 + 1)))?.read_exact(&mut block)?;
        bare.push(begin.elapsed());
    }
    drop(server);
    Ok((quantile_ms(&mut served, 500), quantile_ms(&mut bare, 500)))
}

/// The set, kept from one run to the next.
fn lay_down(bench: &Bench, files: usize) -> Outcome<PathBuf> {
    let set = bench.work.join("set");
    fs::create_dir_all(&set)?;
    let mut body = vec![0; FILE_BYTES];
    for number in 0..files {
        let path = set.join(format!("{number}.m4s"));
        if fs::metadata(&path).is_ok_and(|found| found.len() == FILE_BYTES as u64) {
            continue;
        }
        let mut seed = number as u64 + 1;
        body.chunks_mut(8).for_each(|eight| eight.copy_from_slice(&next(&mut seed).to_le_bytes()));
        File::create(&path)?.write_all(&body)?;
    }
    Ok(set)
}

fn drop_page_cache() -> Outcome<()> {
    std::process::Command::new("sync").status()?;
    let dropped = fs::write("/proc/sys/vm/drop_caches", "1");
    dropped.map_err(|error| format!("the page cache cannot be dropped: {error}").into())
}

/// Numbers from 0 on, the smaller the more often.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count).map(|rank| (rank as f64).powf(-SKEW));
        Self(
            weights
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect(),
        )
    }

    fn pick(&self, seed: &mut u64) -> usize {
        let whole = self.0.last().copied().unwrap_or_default();
        let at = next(seed) as f64 / u64::MAX as f64 * whole;
        // Scattered, so that what is hot does not lie side by side.
        self.0.partition_point(|sum| *sum < at).min(self.0.len() - 1) * 1543 % self.0.len()
    }
}

/// splitmix64.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
