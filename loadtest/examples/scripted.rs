//! A scripted HTTP server for proofs by hand and by script: see `tests/support/scripted.rs`.
//!
//! Prints the address that it listens on, and serves until it is ended.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use clap::Parser;
use support::{Behaviour, Hls, Server};

#[derive(Debug, Parser)]
struct Args {
    /// fixed, slower, stall, limit, truncated, status, garbage, store or hls
    behaviour: String,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// CPU to run on
    #[arg(long)]
    cpu: Vec<usize>,
    /// Bytes of an answer (of a segment)
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Microseconds: busy time of `slower`, stall of each second, delay of a segment
    #[arg(long, default_value_t = 20)]
    delay_us: u64,
    /// Answers a second of `limit`; status of `status`
    #[arg(long, default_value_t = 10_000)]
    rate: u16,
    /// Milliseconds of media in a segment
    #[arg(long, default_value_t = 2000)]
    segment_ms: u64,
    /// Segments
    #[arg(long, default_value_t = 10)]
    segments: u32,
}

fn main() {
    let args = Args::parse();
    let delay = Duration::from_micros(args.delay_us);
    let behaviour = match args.behaviour.as_str() {
        "fixed" => Behaviour::Fixed(args.bytes),
        "slower" => Behaviour::Slower(args.bytes, delay),
        "stall" => Behaviour::Stall(args.bytes, delay),
        "limit" => Behaviour::Limit(args.bytes, f64::from(args.rate)),
        "truncated" => Behaviour::Truncated(args.bytes),
        "status" => Behaviour::Status(args.rate),
        "garbage" => Behaviour::Garbage,
        "store" => Behaviour::Store,
        "hls" => Behaviour::Hls(Hls {
            segment: Duration::from_millis(args.segment_ms),
            delay,
            segments: args.segments,
            bytes: args.bytes,
        }),
        other => panic!("unknown behaviour `{other}`"),
    };
    let server = Server::start_on(behaviour, &args.listen, args.cpu).unwrap();
    println!("http://{}", server.address);
    server.wait();
}
