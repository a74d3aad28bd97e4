//! The whole origin as a target: bytes that are nearly requests, over real connections.
//!
//! The origin's own parser says how many requests the bytes hold at most. The origin must never
//! answer more than that, and whatever it says must be answers by the letter; it must stay up, and
//! keep its descriptors and its memory.

use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use headwater::http::framing::{Chunked, Framing};
use headwater::http::request::{self, Method};
use socket2::{Domain, Socket, Type};

use crate::mutate::{Random, mutate};
use crate::support::wire::Client;
use crate::support::{Origin, Scratch, pattern};
use crate::vectors;

/// Short patience: most inputs end in the middle.
const CONFIG: &str = "object_bytes_max = \"1MiB\"\n[timeouts]\nhead_ms = 300\nidle_ms = 300\n\
    body_idle_ms = 300\nlinger_ms = 100\n";

/// Requests of every kind, in several folders.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "GET /f1/o HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /f2/o HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9,20-29\r\n\r\n",
        "HEAD /f1/o HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT /f3/o HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
        "PUT /f4/seg.m4s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
            5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
        "PUT /f5/o?ttl_seconds=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\
            Expect: 100-continue\r\n\r\nx",
        "DELETE /f3/o HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /?Path=/f1&MaxResults=2 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /time HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for theme in ["request-line", "headers", "host", "length", "issues"] {
        seeds.extend(vectors::read(theme).into_iter().map(|vector| vector.bytes));
    }
    seeds
}

/// Runs for `duration` on several connections at once.
pub fn run(duration: Duration) {
    let folder = Scratch::new("fuzz");
    let path = folder.path("headwater.toml");
    std::fs::write(&path, CONFIG).unwrap();
    let flags = ["--config", &path, "--shards", "2", "--memory", "64MiB"];
    let origin = Origin::start(&flags);
    for number in 1..4 {
        origin.put(&format!("/f{number}/o"), &pattern(number, 3000));
    }
    let mut random = Random::announced("connection");
    let seeds = seeds();
    let end = Instant::now() + duration;
    let mut count = 0;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..24)
            .map(|_| {
                let mut random = Random::fork(&mut random);
                let (origin, seeds) = (&origin, &seeds);
                scope.spawn(move || {
                    let mut count = 0;
                    while Instant::now() < end {
                        one(origin, &mut random, seeds);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        count = threads.into_iter().map(|thread| thread.join().expect("promises held")).sum();
    });
    println!("connection: {count} connections");
    assert!(count > 0);
    origin.put("/f1/o", b"still here");
    assert_eq!(origin.get("/f1/o").text(), "still here");
    origin.stop();
}

fn one(origin: &Origin, random: &mut Random, seeds: &[Vec<u8>]) {
    let mut data = Vec::new();
    for _ in 0..=random.below(3) {
        data.extend_from_slice(&seeds[random.below(seeds.len())]);
    }
    mutate(random, &mut data, seeds, 40_000);
    let methods = methods(&data);
    let mut client = connect(origin.http, random);
    for piece in data.chunks(1 + random.below(data.len().max(1))) {
        if client.send(piece).is_err() {
            break;
        }
    }
    if random.below(2) == 0 {
        let _ = client.stream().shutdown(Shutdown::Write);
    }
    if random.below(8) == 0 {
        return;
    }
    let shown = String::from_utf8_lossy(&data);
    for number in 0.. {
        // The last answer may be a refusal, or one to a request whose body is not complete.
        let is_head = methods.get(number) == Some(&Method::Head);
        let answer = loop {
            match client.answer(is_head) {
                Ok(answer) if answer.status == 100 => {}
                other => break other,
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                panic!("answer {number} to {shown:?}: {error}")
            }
            Err(_) => return,
        };
        assert!(number <= methods.len(), "{} requests, {number} answers: {shown:?}", methods.len());
        assert!((200..=507).contains(&answer.status), "{} to {shown:?}", answer.status);
        assert!(answer.status != 500, "500 to {shown:?}");
    }
}

/// A connection from one of many local addresses: one alone runs out of ports.
fn connect(to: SocketAddr, random: &mut Random) -> Client {
    let from = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + random.below(250)).unwrap());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Client::over(socket.into()).unwrap()
}

/// The methods of the whole requests in `data`, in order, and of one whose body is not whole.
fn methods(mut data: &[u8]) -> Vec<Method> {
    let mut methods = Vec::new();
    while let Ok(Some(head)) = request::parse(data) {
        methods.push(head.method);
        data = &data[head.head_len..];
        match head.body {
            Framing::None => {}
            Framing::Length(length) => {
                let Some(rest) = usize::try_from(length).ok().and_then(|len| data.get(len..))
                else {
                    break;
                };
                data = rest;
            }
            Framing::Chunked => match behind_chunks(data) {
                Some(rest) => data = rest,
                None => break,
            },
        }
    }
    methods
}

fn behind_chunks(mut data: &[u8]) -> Option<&[u8]> {
    let mut decoder = Chunked::new();
    while !decoder.is_done() {
        let chunk = decoder.decode(data).ok()?;
        if chunk.consumed == 0 {
            return None;
        }
        data = &data[chunk.consumed..];
    }
    Some(data)
}
