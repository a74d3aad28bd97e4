//! An idle keep-alive connection costs the origin at most 1 KiB of its own memory.
//!
//! Each connection makes a request first and then waits. What the process has taken from the host
//! (pages that no file backs) is compared before and after. `HEADWATER_IDLE_CONNECTIONS` says how
//! many connections; `scripts/idle` asks for 15,000, in a release build.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use support::Origin;
use support::wire::Client;

const BYTES_MAX: u64 = 1024;
/// One source address has too few ports for many connections to one listener.
const CONNECTIONS_PER_ADDRESS: usize = 5_000;

#[test]
fn an_idle_connection_costs_at_most_a_kibibyte() {
    let count = std::env::var("HEADWATER_IDLE_CONNECTIONS");
    let count: usize = count.map_or(2_000, |count| count.parse().unwrap());
    let config = support::Scratch::new("idle");
    let file = config.path("idle.toml");
    // Opening thousands takes a while on a slow machine; none may be closed for idleness.
    std::fs::write(&file, "[timeouts]\nidle_ms = 600000\n").unwrap();
    let origin = Origin::start(&["--shards", "2", "--config", &file]);
    origin.put("/live/segment.ts", &support::pattern(1, 10_000));
    // Stacks, rings and the receive buffers, which are used in turn whoever receives.
    (0..10).for_each(|_| drop(open(origin.http, 200)));
    let before = settled_bytes(&origin, 0.0);
    let connections = open(origin.http, count);
    let after = settled_bytes(&origin, count as f64);
    let each = after.saturating_sub(before) / count as u64;
    println!("{count} idle connections: {before} bytes before, {after} after, {each} each");
    assert!(each <= BYTES_MAX, "{each} bytes each");
    drop(connections);
    // The memory is used again, not taken anew.
    settled_bytes(&origin, 0.0);
    let connections = open(origin.http, count);
    let again = settled_bytes(&origin, count as f64);
    println!("the same again: {again} bytes");
    assert!(again < after + after / 10 + (1 << 20), "{again} bytes after {after}");
    drop(connections);
    origin.stop();
}

/// Connections that have made one request each.
fn open(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let request = b"GET /live/segment.ts HTTP/1.1\r\nHost: origin\r\nUser-Agent: idle\r\n\r\n";
    let mut connections = Vec::with_capacity(count);
    for number in 0..count {
        let host = 2 + u8::try_from(number / CONNECTIONS_PER_ADDRESS).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, host], 0)))).unwrap();
        // Closed by a reset, so that the ports are free again for others at once.
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        socket.connect(&SockAddr::from(address)).unwrap();
        let stream = TcpStream::from(socket);
        let mut client = Client::over(stream.try_clone().unwrap()).unwrap();
        client.send(request).unwrap();
        assert_eq!(client.answer(false).unwrap().status, 200, "connection {number}");
        connections.push(stream);
    }
    connections
}

/// The process's own memory once its shards have `connections` open and rest.
fn settled_bytes(origin: &Origin, connections: f64) -> u64 {
    for _ in 0..200 {
        thread::sleep(Duration::from_millis(100));
        if origin.metric("headwater_connections_open", "") == connections {
            return origin.anonymous_bytes();
        }
    }
    panic!("{} connections open", origin.metric("headwater_connections_open", ""));
}
