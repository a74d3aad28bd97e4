//! What monoio itself can do, beside which `rate` and `closed` drive a ring of their own: a bare
//! client on it, in one thread, with nothing of the load generator's accounting.
//!
//! Keeps each connection busy; with `--rate` each sends at instants of a constant schedule, and
//! sleeps in between. Says requests and CPU time, and how late requests were. Never does: read an
//! answer's head more than once a connection; all answers must have one length.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use loadtest::http::Url;
use loadtest::sys::thread;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

#[derive(Debug, Parser)]
struct Args {
    /// http://HOST:PORT/PATH
    url: String,
    /// Requests a second; as many as there are free connections if it is left out
    #[arg(long)]
    rate: Option<f64>,
    /// Connections
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Seconds
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// CPU to run on
    #[arg(long)]
    pin: Vec<usize>,
}

/// What all connections share.
struct Run {
    address: SocketAddr,
    request: Vec<u8>,
    begin: Instant,
    end: Instant,
    done: Cell<u64>,
    lateness: RefCell<Histogram<u64>>,
}

fn main() {
    let args = Args::parse();
    thread::pin(&args.pin).unwrap();
    thread::exact_timers();
    let url = Url::parse(&args.url).unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", url.path, url.authority);
    let begin = Instant::now() + Duration::from_millis(200);
    let run = Rc::new(Run {
        address: url.resolve().unwrap(),
        request: request.into_bytes(),
        begin,
        end: begin + Duration::from_secs(args.seconds.into()),
        done: Cell::new(0),
        lateness: RefCell::new(Histogram::new(3).unwrap()),
    });
    let (before, _) = thread::schedule();
    thread::runtime(1024).unwrap().block_on(async {
        let gap = args.rate.map(|rate| Duration::from_secs_f64(f64::from(args.connections) / rate));
        let each = (0..args.connections).map(|number| {
            let first = gap.map(|gap| {
                run.begin + gap.mul_f64(f64::from(number) / f64::from(args.connections))
            });
            monoio::spawn(live(Rc::clone(&run), first.zip(gap)))
        });
        for connection in each.collect::<Vec<_>>() {
            connection.await;
        }
    });
    let cpu_us = (thread::schedule().0 - before) as f64 / 1000.0;
    let done = run.done.get() as f64;
    let per_second = done / f64::from(args.seconds);
    let lateness = run.lateness.borrow();
    if lateness.is_empty() {
        println!("{per_second:.0} requests/s, {:.2} us CPU a request", cpu_us / done);
    } else {
        let [p50, p99, p999] =
            [0.5, 0.99, 0.999].map(|quantile| lateness.value_at_quantile(quantile) / 1000);
        println!("{per_second:.0}/s, late p50 {p50} us, p99 {p99} us, p99.9 {p999} us");
    }
}

/// One connection; with a schedule, its first instant and the time from one to the next.
async fn live(run: Rc<Run>, mut schedule: Option<(Instant, Duration)>) {
    let mut stream = TcpStream::connect(run.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut request, mut buffer) = (run.request.clone(), vec![0; 16 * 1024]);
    let mut length = None;
    monoio::time::sleep_until(run.begin.into()).await;
    while Instant::now() < run.end {
        if let Some((intended, gap)) = &mut schedule {
            if *intended > Instant::now() {
                monoio::time::sleep_until((*intended).into()).await;
            }
            let late = u64::try_from(intended.elapsed().as_nanos()).unwrap();
            run.lateness.borrow_mut().record(late.max(1)).unwrap();
            *intended += *gap;
        }
        let (sent, returned) = stream.write_all(request).await;
        sent.unwrap();
        request = returned;
        let mut got = 0;
        while length.is_none_or(|length| got < length) {
            let (count, returned) = stream.read(buffer).await;
            buffer = returned;
            got += count.unwrap();
            length = length.or_else(|| whole(&buffer[..got]));
        }
        run.done.set(run.done.get() + 1);
    }
}

/// Bytes of an answer of which the head is there, which must come in one piece.
fn whole(bytes: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).unwrap() else {
        panic!("a cut head")
    };
    let length =
        response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    Some(head + std::str::from_utf8(length?.value).unwrap().parse::<usize>().unwrap())
}
