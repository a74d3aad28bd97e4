//! A scripted server: one thread a connection, answers as a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What to do with one request.
pub enum Reply {
    /// Answer, and keep the connection.
    Keep(Vec<u8>),
    /// Answer, and close the connection.
    Close(Vec<u8>),
    /// Never answer.
    Hang,
}

/// One request as it came.
pub struct Asked {
    /// Its number, from 0.
    pub number: u64,
    /// Method and path.
    pub line: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// A complete answer with a body.
pub fn good(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Starts a server that ends with the process.
pub fn start(script: impl Fn(Asked) -> Reply + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (script, count) = (Arc::new(script), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (script, count) = (Arc::clone(&script), Arc::clone(&count));
            std::thread::spawn(move || serve(stream.unwrap(), &*script, &count));
        }
    });
    address
}

fn serve(stream: TcpStream, script: &dyn Fn(Asked) -> Reply, count: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let Some((line, length)) = head(&mut reader) else { return };
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let number = count.fetch_add(1, Ordering::Relaxed);
        match script(Asked { number, line, body }) {
            Reply::Keep(answer) => {
                if writer.write_all(&answer).is_err() {
                    return;
                }
            }
            Reply::Close(answer) => {
                let _ = writer.write_all(&answer);
                let _ = writer.shutdown(std::net::Shutdown::Write);
                return;
            }
            Reply::Hang => {
                let _ = reader.read(&mut [0]);
                return;
            }
        }
    }
}

fn head(reader: &mut BufReader<TcpStream>) -> Option<(String, usize)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return Some((first.trim_end().trim_end_matches(" HTTP/1.1").to_owned(), length));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
}
