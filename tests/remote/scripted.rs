//! A small S3 of one bucket in memory, which fails as it is told to.
//!
//! One thread a connection, one request a connection. It knows what the origin asks: PUT, GET (also
//! a range), HEAD, and POST with a list of keys to delete; no listing, no parts, no signatures.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
}

#[derive(Clone)]
struct Object {
    /// Lines of the head that are given back, each with its end.
    lines: String,
    body: Vec<u8>,
}

struct State {
    fault: Fault,
    objects: HashMap<String, Object>,
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
        let state = State { fault: Fault::None, objects: HashMap::new() };
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
        let name = format!("/bucket/prefix{target}");
        self.state.lock().unwrap().objects.get(&name).map(|object| object.body.clone())
    }
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
    let answer = match fault {
        Fault::SlowDown => refusal("503 Slow Down", "SlowDown"),
        Fault::AccessDenied => refusal("403 Forbidden", "AccessDenied"),
        Fault::NoBucket => refusal("404 Not Found", "NoSuchBucket"),
        _ => carry_out(&head, body, state),
    };
    if let Fault::Late(by) = fault {
        std::thread::sleep(by);
    }
    let (lines, mut body) = answer;
    let text =
        format!("HTTP/1.1 {lines}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(text.as_bytes())?;
    let is_get = head[0].starts_with("GET ");
    if fault == Fault::Cut && is_get {
        body.truncate(body.len() / 2);
    }
    if fault == Fault::Flipped && is_get && !body.is_empty() {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    if head[0].starts_with("HEAD ") { Ok(()) } else { stream.write_all(&body) }
}

type Answer = (String, Vec<u8>);

fn refusal(status: &str, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>");
    (format!("{status}\r\n"), body.into_bytes())
}

fn carry_out(head: &[String], body: Vec<u8>, state: &Mutex<State>) -> Answer {
    let mut words = head[0].split(' ');
    let (method, name) = (words.next().unwrap(), words.next().unwrap().to_owned());
    let objects = &mut state.lock().unwrap().objects;
    match method {
        "PUT" => {
            let kept = ["content-type:", "cache-control:", "x-amz-meta-"];
            let is_kept = |line: &&String| {
                kept.iter().any(|name| line.to_ascii_lowercase().starts_with(name))
            };
            let mut lines: String =
                head.iter().filter(is_kept).map(|line| format!("{line}\r\n")).collect();
            let tag = format!("ETag: \"{}-{}\"\r\n", body.len(), objects.len());
            lines += &tag;
            objects.insert(name, Object { lines, body });
            (format!("200 OK\r\n{tag}"), Vec::new())
        }
        "POST" => {
            let text = String::from_utf8(body).unwrap();
            let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
            keys.for_each(|(key, _)| drop(objects.remove(&format!("/bucket/{key}"))));
            let xmlns = "http://s3.amazonaws.com/doc/2006-03-01/";
            let body = format!("<DeleteResult xmlns=\"{xmlns}\"></DeleteResult>");
            ("200 OK\r\n".to_owned(), body.into_bytes())
        }
        "GET" | "HEAD" => match objects.get(&name) {
            Some(object) => give(object, header(head, "range")),
            None => refusal("404 Not Found", "NoSuchKey"),
        },
        _ => refusal("501 Not Implemented", "NotImplemented"),
    }
}

fn give(object: &Object, range: Option<&str>) -> Answer {
    let modified = "Last-Modified: Sat, 01 Nov 2025 00:00:00 GMT\r\n";
    let (lines, whole) = (&object.lines, object.body.len());
    let Some((first, last)) = range.map(|range| range["bytes=".len()..].split_once('-').unwrap())
    else {
        return (format!("200 OK\r\n{modified}{lines}"), object.body.clone());
    };
    let first: usize = first.parse().unwrap();
    let end = last.parse().map_or(whole, |last: usize| (last + 1).min(whole));
    let range = format!("Content-Range: bytes {first}-{}/{whole}\r\n", end - 1);
    let part = object.body[first..end].to_vec();
    (format!("206 Partial Content\r\n{modified}{range}{lines}"), part)
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().skip(1).find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
