//! Uploads whose bytes are received where they are to lie, and what comes before and behind them
//! on their connection.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use support::{Origin, PATIENCE, Scratch, eventually, pattern};

const KIB: usize = 1024;

/// A number that follows from a seed.
fn number(seed: u64, below: usize) -> usize {
    let bytes = pattern(seed, 8);
    usize::from_le_bytes(bytes.try_into().unwrap()) % below
}

/// The reception of a body ends exactly where the body does, wherever the pieces that the client
/// sends end, and whatever is pipelined behind it.
#[test]
fn bodies_and_the_requests_behind_them_stay_apart() {
    const SEED: u64 = 20_261_127;
    println!("seed {SEED}");
    let origin = Origin::start(&["--shards", "2"]);
    let lengths: Vec<_> = (0..40).map(|at| 1 + number(SEED + at, 600 * KIB)).collect();
    let body = |at: usize| pattern(at as u64, lengths[at]);
    let mut sent = Vec::new();
    for (at, length) in lengths.iter().enumerate() {
        let head = format!("PUT /a/{at} HTTP/1.1\r\nHost: a\r\n");
        sent.extend(match at % 5 {
            // A body of unknown length comes in buffers again.
            4 => {
                let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n");
                [chunk.as_bytes(), &body(at), b"\r\n0\r\n\r\n"].concat()
            }
            _ => {
                let head = format!("{head}Content-Length: {length}\r\n\r\n");
                [head.as_bytes(), &body(at)].concat()
            }
        });
        // Now and then a read comes between, in the same piece.
        if at % 3 == 0 {
            sent.extend(format!("GET /a/{} HTTP/1.1\r\nHost: a\r\n\r\n", at / 2).as_bytes());
        }
    }
    let mut client = origin.client();
    let mut writer = client.writer();
    let sender = thread::spawn(move || {
        let (mut rest, mut seed) = (&sent[..], SEED);
        while !rest.is_empty() {
            seed += 1;
            let most = [100, 5_000, 70_000, 900_000][number(seed, 4)];
            let (now, later) = rest.split_at(rest.len().min(1 + number(!seed, most)));
            writer.write_all(now).unwrap();
            if seed % 8 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            rest = later;
        }
    });
    for at in 0..lengths.len() {
        assert_eq!(client.answer(false).unwrap().status, 200, "upload {at}");
        if at % 3 == 0 {
            assert!(client.answer(false).unwrap().body == body(at / 2), "read behind {at}");
        }
    }
    sender.join().unwrap();
    for at in 0..lengths.len() {
        assert!(origin.get(&format!("/a/{at}")).body == body(at), "object {at}");
    }
    origin.stop();
}

/// What a client promised and did not send is given up: its memory is given to others while
/// nothing writes there any more.
#[test]
fn bodies_that_end_early_leave_nothing() {
    let origin = Origin::start(&["--shards", "1", "--memory", "16M"]);
    let half = pattern(7, 2_000 * KIB);
    let head = format!("PUT /cut HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 4_000 * KIB);
    for round in 0..20 {
        let mut client = origin.client();
        client.send(&[head.as_bytes(), &half].concat()).unwrap();
        match round % 3 {
            0 => drop(client),
            1 => {
                client.stream().shutdown(Shutdown::Write).unwrap();
                assert_eq!(client.answer(false).unwrap().status, 400);
            }
            _ => client.stream().shutdown(Shutdown::Both).unwrap(),
        }
        // All of the memory is needed for whatever is next.
        let whole = pattern(round, 4_000 * KIB);
        let stored = || origin.request("PUT", "/whole", &[], &whole).status == 200;
        eventually("the upload is stored", stored);
        assert!(origin.get("/whole").body == whole, "round {round}");
        assert_eq!(origin.request("GET", "/cut", &[], b"").status, 404);
    }
    origin.stop();
}

/// Whoever pauses in the middle of a large body is told so, and is gone.
#[test]
fn a_large_body_that_pauses_is_ended() {
    let scratch = Scratch::new("large-uploads");
    let config = scratch.path("headwater.toml");
    std::fs::write(&config, "[timeouts]\nbody_idle_ms = 1000\n").unwrap();
    let origin = Origin::start(&["--shards", "1", "--config", &config]);
    let mut client = origin.client();
    client.send(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n").unwrap();
    client.send(&pattern(1, 300_000)).unwrap();
    let begun = Instant::now();
    assert_eq!(client.answer(false).unwrap().status, 408);
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(client.is_closed());
    origin.stop();
}

/// The sender's kernel holds small pieces back until earlier ones are acknowledged, and the
/// receiver's waits 40 ms with that unless it is told not to.
#[test]
fn pieces_of_a_large_body_do_not_wait_for_acknowledgements() {
    let origin = Origin::start(&["--shards", "1"]);
    let mut stream = TcpStream::connect(origin.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = pattern(3, 100_000);
    let mut times = Vec::new();
    for _ in 0..12 {
        let begun = Instant::now();
        let head = b"PUT /live/1.ts HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
        stream.write_all(head).unwrap();
        body.chunks(5_000).for_each(|piece| stream.write_all(piece).unwrap());
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
        times.push(begun.elapsed());
    }
    let best = times[4..].iter().min().unwrap();
    assert!(*best < Duration::from_millis(30), "{times:?}");
    origin.stop();
}

/// Behind a large upload nothing is received ahead; a reader that waits is still missed when it
/// leaves.
#[test]
fn a_reader_behind_an_upload_is_missed_when_it_leaves() {
    let origin = Origin::start(&["--shards", "1"]);
    let open = || origin.metric("headwater_connections_open", "");
    let mut client = origin.client();
    client.request("PUT", "/a", &[], &pattern(1, 400 * KIB)).unwrap();
    let before = open();
    client.send(b"GET /topics/a/b HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    thread::sleep(Duration::from_millis(100));
    assert!(open() >= before);
    drop(client);
    eventually("the connection is closed", || open() < before);
    origin.stop();
}
