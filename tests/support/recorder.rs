//! A proxy between an encoder and the origin that keeps every byte the encoder sent.
//!
//! It copies both ways without looking. Afterwards the record is taken apart into requests, with
//! code of its own, so that what the origin holds can be compared with what was pushed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A running proxy.
pub struct Recorder {
    pub address: SocketAddr,
    /// What each connection's client sent, in the order of their accepts.
    sent: Arc<Mutex<Vec<Bytes>>>,
    copiers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// One request of the record.
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Vec<u8>,
}

impl Recorder {
    pub fn start(origin: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, copiers) = (Arc::default(), Arc::default());
        let recorder = Self { address, sent, copiers };
        let (sent, copiers) = (recorder.sent.clone(), recorder.copiers.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, origin) = (client.unwrap(), TcpStream::connect(origin).unwrap());
                origin.set_nodelay(true).unwrap();
                client.set_nodelay(true).unwrap();
                let record = Bytes::default();
                sent.lock().unwrap().push(record.clone());
                let there = (client.try_clone().unwrap(), origin.try_clone().unwrap());
                let mut copiers = copiers.lock().unwrap();
                copiers.push(thread::spawn(move || copy(there.0, there.1, Some(&record))));
                copiers.push(thread::spawn(move || copy(origin, client, None)));
            }
        });
        recorder
    }

    /// Waits until every connection so far has ended, and takes the record apart.
    pub fn requests(&self) -> Vec<Request> {
        let copiers = std::mem::take(&mut *self.copiers.lock().unwrap());
        copiers.into_iter().for_each(|copier| copier.join().unwrap());
        let sent = self.sent.lock().unwrap();
        sent.iter().flat_map(|bytes| requests_in(&bytes.lock().unwrap())).collect()
    }

    /// What the origin must hold at the end: the last body of each path, `None` where deleted.
    pub fn outcome(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut outcome = BTreeMap::new();
        for request in self.requests() {
            match request.method.as_str() {
                "PUT" | "POST" => outcome.insert(request.path, Some(request.body)),
                "DELETE" => outcome.insert(request.path, None),
                _ => continue,
            };
        }
        outcome
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, record: Option<&Bytes>) {
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if let Some(record) = record {
            record.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The complete requests in what one client sent.
fn requests_in(mut rest: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    while let Some(end) = place(rest, b"\r\n\r\n") {
        let head = String::from_utf8(rest[..end].to_vec()).unwrap();
        rest = &rest[end + 4..];
        let mut words = head.lines().next().unwrap().split(' ');
        let method = words.next().unwrap().to_owned();
        let target = words.next().unwrap();
        let path = target.split('?').next().unwrap().to_owned();
        let lower = head.to_ascii_lowercase();
        let body = if lower.contains("transfer-encoding: chunked") {
            dechunked(&mut rest)
        } else {
            let length = lower
                .split("content-length: ")
                .nth(1)
                .map_or(0, |value| value.lines().next().unwrap().trim().parse::<usize>().unwrap());
            (rest.len() >= length).then(|| {
                let (body, behind) = rest.split_at(length);
                rest = behind;
                body.to_vec()
            })
        };
        let Some(body) = body else { break };
        requests.push(Request { method, path, body });
    }
    requests
}

fn dechunked(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = place(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let data = rest.get(end + 2..end + 2 + size)?;
        assert_eq!(rest.get(end + 2 + size..end + 4 + size)?, b"\r\n");
        body.extend_from_slice(data);
        *rest = &rest[end + 4 + size..];
        if size == 0 {
            return Some(body);
        }
    }
}

fn place(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
