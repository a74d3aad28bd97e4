//! A million objects of 1 KiB: memory beside their bytes, a folder of 100,000 listed page by page,
//! and a start on a data folder with as many files.
//!
//! **Invariants**: a listing must name every object once and in order, whatever its pages.

use std::fs;
use std::time::Instant;

use crate::client::{Client, crowd};
use crate::server::Server;
use crate::{Bench, Outcome};

/// How many.
#[derive(clap::Args)]
pub struct Plan {
    /// Objects, in folders of 100,000.
    #[arg(long, default_value_t = 1_000_000)]
    objects: usize,
    /// Shards.
    #[arg(long, default_value_t = 2)]
    shards: usize,
}

const BODY_BYTES: usize = 1024;
const FOLDER: usize = 100_000;
/// Uploads on the way at once on one connection.
const BATCH: usize = 32;
const CLIENTS: usize = 8;
/// Names on one page.
const PAGE: usize = 1000;

/// Measures, and prints what came out.
pub fn run(bench: &Bench, plan: &Plan) -> Outcome<()> {
    let memory_mib = plan.objects * BODY_BYTES * 5 / 4 / (1 << 20) + 64;
    let flags = format!("--shards {} --memory {memory_mib}MiB", plan.shards);
    let server = Server::headwater(bench, &flags, None)?;
    let before = server.anonymous_bytes()?;
    let body = vec![0x5a; BODY_BYTES];
    let share = plan.objects.div_ceil(CLIENTS);
    let store = |number: usize| {
        let mut client = Client::connect()?;
        let (from, to) = (number * share, ((number + 1) * share).min(plan.objects));
        for batch in (from..to).step_by(BATCH) {
            let paths: Vec<_> = (batch..to.min(batch + BATCH)).map(path).collect();
            client.put_all(&paths, &body)?;
        }
        Ok(())
    };
    let (_, took) = crowd(CLIENTS, store)?;
    let grown = server.anonymous_bytes()?.saturating_sub(before);
    let beside = grown as f64 / plan.objects as f64 - BODY_BYTES as f64;
    println!("{} objects in {:.1} s", plan.objects, took.as_secs_f64());
    println!("memory beside the body: {beside:.0} bytes for each object");
    list(&server, plan.objects.min(FOLDER))?;
    drop(server);
    start(bench, plan)
}

fn path(number: usize) -> String {
    format!("/folder-{}/{:06}.m4s", number / FOLDER, number % FOLDER)
}

fn list(server: &Server, objects: usize) -> Outcome<()> {
    let mut client = Client::connect()?;
    let (before, begin) = (server.anonymous_bytes()?, Instant::now());
    let (mut from, mut seen) = (String::new(), 0);
    loop {
        let page = client.text(&format!("/?Path=folder-0&MaxResults={PAGE}{from}"))?;
        for name in page.split("\"Name\":\"").skip(1) {
            if !name.starts_with(&format!("{seen:06}.m4s\"")) {
                return Err(format!("object {seen} is missing from a listing").into());
            }
            seen += 1;
        }
        match page.split_once("\"NextToken\":\"") {
            Some((_, token)) => {
                from = format!("&NextToken={}", token.split('"').next().unwrap_or_default());
            }
            None => break,
        }
    }
    if seen != objects {
        return Err(format!("{seen} of {objects} objects were listed").into());
    }
    let grown = server.anonymous_bytes()?.saturating_sub(before) / 1024;
    let took_ms = begin.elapsed().as_millis();
    println!("{seen} names in pages of {PAGE}: {took_ms} ms, {grown} KiB of memory more");
    Ok(())
}

fn start(bench: &Bench, plan: &Plan) -> Outcome<()> {
    let data = bench.work.join("million");
    for number in 0..plan.objects {
        let path = data.join(&path(number)[1..]);
        if number % FOLDER == 0 {
            fs::create_dir_all(path.parent().ok_or("a path without a folder")?)?;
        }
        if !path.exists() {
            fs::write(path, [0x5a; BODY_BYTES])?;
        }
    }
    let flags = format!("--shards {} --memory 64MiB --data {}", plan.shards, data.display());
    let server = Server::headwater(bench, &flags, None)?;
    let answer = Client::connect()?.get(&path(plan.objects - 1))?;
    let (start_ms, first_ms) = (server.start.as_millis(), answer.whole.as_millis());
    println!("start on {} files: {start_ms} ms, first object {first_ms} ms", plan.objects);
    drop(server);
    Ok(fs::remove_dir_all(&data)?)
}
