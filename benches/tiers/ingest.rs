//! Uploads of 256 KiB: acknowledged from memory beside nginx's DAV PUT, which syncs nothing, and
//! from disk beside a bare program that makes the same calls.
//!
//! **Invariants**: everybody writes the same names again and again, at the same concurrency, to
//! folders of the same file system.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::{Client, crowd};
use crate::server::Server;
use crate::{Bench, Outcome};

/// How long and by how many.
#[derive(clap::Args)]
pub struct Plan {
    /// Seconds a run.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Runs of each, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Writers, each on a connection of its own.
    #[arg(long, default_value_t = 16)]
    writers: usize,
}

const BODY_BYTES: usize = 256 * 1024;
/// Names of each writer.
const NAMES: usize = 16;

/// Measures, and prints the table.
pub fn run(bench: &Bench, plan: &Plan) -> Outcome<()> {
    println!("|Uploads of 256 KiB|objects/s|objects per CPU second|");
    println!("|---|---|---|");
    for _ in 0..plan.rounds {
        for name in ["data", "dav", "bare"] {
            let folder = bench.work.join(name);
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)?;
        }
        let memory = "--shards 1 --memory 512MiB";
        serve("headwater, memory", Server::headwater(bench, memory, None)?, plan)?;
        serve("nginx, no sync", Server::nginx(bench, &bench.work.join("dav"), None)?, plan)?;
        let disk = format!("{memory} --data {}", bench.work.join("data").display());
        serve("headwater, disk", Server::headwater(bench, &disk, None)?, plan)?;
        bare(bench, plan)?;
    }
    Ok(())
}

fn serve(name: &str, server: Server, plan: &Plan) -> Outcome<()> {
    let body = vec![0x5a; BODY_BYTES];
    let cpu = server.group.cpu()?;
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let write = |writer: usize| {
        let (mut client, mut count) = (Client::connect()?, 0);
        while Instant::now() < end {
            client.put(&format!("/f{writer}/{}.m4s", count % NAMES), &body)?;
            count += 1;
        }
        Ok(count)
    };
    let (counts, took) = crowd(plan.writers, write)?;
    let cpu = server.group.cpu()?.saturating_sub(cpu);
    let count = counts.into_iter().sum::<usize>() as f64;
    let rate = count / took.as_secs_f64();
    println!("|{name}|{rate:.0}|{:.0}|", count / cpu.as_secs_f64());
    Ok(())
}

/// Write, sync, rename, sync of the folder: what an upload to disk needs, without a server.
fn bare(bench: &Bench, plan: &Plan) -> Outcome<()> {
    let body = vec![0x5a; BODY_BYTES];
    let root = bench.work.join("bare");
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let write = |writer: usize| {
        let (folder, temporary) =
            (root.join(format!("f{writer}")), root.join(format!("t{writer}")));
        fs::create_dir_all(&folder)?;
        let (around, mut count) = (File::open(&folder)?, 0);
        while Instant::now() < end {
            let mut file = File::create(&temporary)?;
            file.write_all(&body)?;
            file.sync_all()?;
            fs::rename(&temporary, folder.join(format!("{}.m4s", count % NAMES)))?;
            around.sync_all()?;
            count += 1;
        }
        Ok(count)
    };
    let (counts, took) = crowd(plan.writers, write)?;
    let rate = counts.into_iter().sum::<usize>() as f64 / took.as_secs_f64();
    println!("|bare calls|{rate:.0}|-|");
    Ok(())
}
