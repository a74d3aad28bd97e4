//! A small S3 of one bucket in memory, which fails as it is told to.
//!
//! One thread a connection, one request a connection; what requests come to is in `bucket`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::bucket::{Answer, Bucket, header};
use crate::support::Origin;

/// What is wrong with the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// 503 with the code by which S3 asks for fewer requests.
    SlowDown,
    /// 403 with the code of missing rights.
    AccessDenied,
    /// 404 with the code of a missing bucket.
    NoBucket,
    /// Requests are carried out and answered so much later.
    Late(Duration),
    /// Bodies of GET break off half way.
    Cut,
    /// Bodies of GET have one wrong bit.
    Flipped,
    /// Nobody listens.
    Refused,
    /// Bodies of GET come in pieces of so many bytes, with a pause before each but the first.
    Slow(usize, Duration),
    /// Ranges that begin at this byte, or behind it, are answered 503.
    Behind(usize),
    /// This part of an upload is answered 503.
    Part(u32),
}

struct State {
    fault: Fault,
    bucket: Bucket,
}

/// The store; it lives as long as the test's process.
pub struct Store {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Store {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { fault: Fault::None, bucket: Bucket::default() };
        let state = Arc::new(Mutex::new(state));
        let of_thread = state.clone();
        std::thread::spawn(move || listen(listener, address, &of_thread));
        Self { address, state }
    }

    /// Starts an origin before the store.
    #[track_caller]
    pub fn origin(&self, flags: &[&str]) -> Origin {
        let endpoint = format!("AWS_ENDPOINT=http://{}", self.address);
        let keys = ["AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_REGION=us-east-1"];
        let wrapper = [&["env", "AWS_ALLOW_HTTP=true", endpoint.as_str()], keys.as_slice()];
        let remote = ["--shards", "4", "--remote", "s3://bucket/prefix"];
        Origin::start_under(&wrapper.concat(), &[&remote, flags].concat())
    }

    /// Has requests fail from now on; returns when new connections are treated so.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
        let is_refused = fault == Fault::Refused;
        crate::eventually("the listener stays as it was", || {
            TcpStream::connect(self.address).is_err() == is_refused
        });
    }

    /// The bytes that the store has of an origin's target.
    pub fn body(&self, target: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().bucket.body(&name(target))
    }

    /// Puts an object there as others do, without the origin's metadata.
    pub fn lay(&self, target: &str, body: &[u8]) {
        self.state.lock().unwrap().bucket.put(name(target), String::new(), body.to_vec());
    }

    /// GETs so far, and the bytes that they asked for.
    pub fn asked(&self) -> (usize, usize) {
        self.state.lock().unwrap().bucket.asked
    }

    /// Uploads in parts that were begun, and neither completed nor given up.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().unwrap().bucket.uploads.len()
    }
}

fn name(target: &str) -> String {
    format!("/bucket/prefix{target}")
}

fn listen(listener: TcpListener, address: SocketAddr, state: &Arc<Mutex<State>>) {
    listener.set_nonblocking(true).unwrap();
    let mut listener = Some(listener);
    loop {
        if state.lock().unwrap().fault == Fault::Refused {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
            listener.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((stream, _))) => {
                let state = state.clone();
                stream.set_nonblocking(false).unwrap();
                // A client that goes away meanwhile is none of the test's business.
                std::thread::spawn(move || drop(serve(&stream, &state)));
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let length = header(&head, "content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let fault = state.lock().unwrap().fault;
    let is_refused = match fault {
        Fault::Behind(at) => first_of(&head).is_some_and(|first| first >= at),
        Fault::Part(number) => head[0].contains(&format!("?partNumber={number}&")),
        _ => fault == Fault::SlowDown,
    };
    let answer = match fault {
        _ if is_refused => refusal("503 Slow Down", "SlowDown"),
        Fault::AccessDenied => refusal("403 Forbidden", "AccessDenied"),
        Fault::NoBucket => refusal("404 Not Found", "NoSuchBucket"),
        _ => state.lock().unwrap().bucket.carry_out(&head, body),
    };
    if let Fault::Late(by) = fault {
        std::thread::sleep(by);
    }
    let (lines, mut body) = answer;
    let text =
        format!("HTTP/1.1 {lines}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(text.as_bytes())?;
    if head[0].starts_with("HEAD ") {
        return Ok(());
    }
    let is_get = head[0].starts_with("GET ");
    if fault == Fault::Cut && is_get {
        body.truncate(body.len() / 2);
    }
    if fault == Fault::Flipped && is_get && !body.is_empty() {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    if let (Fault::Slow(bytes, pause), true) = (fault, is_get) {
        for (number, piece) in body.chunks(bytes).enumerate() {
            std::thread::sleep(if number == 0 { Duration::ZERO } else { pause });
            stream.write_all(piece)?;
        }
        return Ok(());
    }
    stream.write_all(&body)
}

pub fn refusal(status: &str, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>");
    (format!("{status}\r\n"), body.into_bytes())
}

/// The first byte of the range that a request asks for.
fn first_of(head: &[String]) -> Option<usize> {
    let (first, _) = header(head, "range")?.strip_prefix("bytes=")?.split_once('-')?;
    first.parse().ok()
}
