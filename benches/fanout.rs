//! The bare fan-out: the least that a server does for a message. Subscribers are a row of sockets,
//! and a message is one `send` of the same bytes to each, in one thread. What it costs is the
//! kernel's; `scripts/topics` measures it beside the servers.
//!
//! Usage: fanout ADDRESS
//!
//! It never checks what it is asked for, keeps nothing, and ends with its first surprise.
#![allow(clippy::unwrap_used, reason = "a measurement ends at its first surprise")]

use std::cell::RefCell;
use std::io::Write as _;
use std::net::TcpStream;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

type Subscribers = Rc<RefCell<Vec<TcpStream>>>;

fn main() {
    let address = std::env::args().nth(1).expect("usage: fanout ADDRESS");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind(address).await.unwrap();
        let subscribers = Subscribers::default();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            tokio::task::spawn_local(converse(socket, subscribers.clone()));
        }
    });
}

/// Takes requests that come one at a time and whole: GET subscribes, POST publishes.
async fn converse(mut socket: tokio::net::TcpStream, subscribers: Subscribers) {
    let mut buffer = vec![0; 4096];
    loop {
        let count = socket.read(&mut buffer).await.unwrap();
        if count == 0 {
            return;
        }
        let request = &buffer[..count];
        if request.starts_with(b"GET") {
            socket.write_all(HEAD).await.unwrap();
            subscribers.borrow_mut().push(socket.into_std().unwrap());
            return;
        }
        socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        let body = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let event = [b"data: ", &request[body..], b"\n\n"].concat();
        for mut subscriber in subscribers.borrow().iter() {
            assert_eq!(subscriber.write(&event).unwrap(), event.len());
        }
    }
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
