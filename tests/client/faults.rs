//! What the client says when an origin is away, cuts its answers short, or answers nonsense.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use super::support::access::Guarded;
use super::support::{Origin, Scratch, free_address, pattern};
use super::{bad, command, err, headwater, out};

/// Passes on requests, and of each connection's answers only so many bytes. Its thread ends with
/// the test's process.
pub struct Cutting {
    address: SocketAddr,
}

impl Cutting {
    pub fn start(origin: SocketAddr, bytes: u64) -> Self {
        let address = serve(move |mut client| {
            let server = TcpStream::connect(origin).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let _ = std::io::copy(&mut server.take(bytes), &mut client);
            let _ = client.shutdown(std::net::Shutdown::Both);
        });
        Self { address }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Answers every connection's first request with these bytes, then ends it.
fn answering(answer: &'static str) -> String {
    let address = serve(move |mut client| {
        let mut request = [0; 4096];
        let _ = client.read(&mut request);
        let _ = client.write_all(answer.as_bytes());
    });
    format!("http://{address}/a")
}

fn serve(one: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().flatten().for_each(one));
    address
}

/// The one file in a folder.
pub fn only_file(folder: &Scratch) -> PathBuf {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    paths.remove(0)
}

#[test]
fn what_is_not_there_is_said_in_a_sentence() {
    let origin = Origin::start(&["--shards", "1"]);
    let scratch = Scratch::new("client-absent");
    let (url, file) = (origin.url("/no/film.mp4"), scratch.path("film.mp4"));
    for arguments in [
        &["get", &url, &file][..],
        &["get", "--resume", &url, &file],
        &["get", &url, "-"],
        &["rm", &url],
        &["ls", &url],
        &["du", &url],
        &["verify", &origin.url("/no/")],
        &["rm", "--recursive", "--yes", &origin.url("/no/")],
    ] {
        let is_listed = matches!(arguments[0], "ls" | "du" | "verify") || arguments.len() == 4;
        let is_listed = is_listed && !arguments.contains(&"--resume");
        let words = if is_listed { "listed there (404)" } else { "nothing is there (404)" };
        let output = headwater(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = err(&output);
        assert!(said.starts_with(&origin.url("/no/")) && said.contains(words), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0, "nothing is left");
    bad(&["get", &origin.url("/no/")], 2, "name one object");
    bad(&["get", &origin.url("/a//b")], 2, "empty part");
    bad(&["ls", "https://127.0.0.1/"], 2, "proxy");
    bad(&["ls", &origin.url("/"), "films/"], 2, "into the URL");
    origin.stop();
}

#[test]
fn an_upload_that_is_refused_is_heard_and_not_cut() {
    let config = "object_bytes_max = 1000000\n";
    let guarded = Guarded::start("client-large", "1", config);
    let (file, url) = (guarded.scratch.path("large"), guarded.origin.url("/a.mp4"));
    std::fs::write(&file, pattern(1, 20_000_000)).unwrap();
    bad(&["put", &file, &url], 1, "413: the object is larger than the limit");
    let output = command(&["put", "-", &url]).stdin(std::fs::File::open(&file).unwrap()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("413"), "{}", err(&output));
    bad(&["put", &file, &guarded.origin.url("/topics/a")], 1, "409: the path is reserved");
    guarded.stop();
}

#[test]
fn a_name_that_json_cannot_carry_is_named_and_keeps_nothing_else_back() {
    let origin = Origin::start(&["--shards", "1"]);
    for target in ["/x/a.ts", "/x/b%E9.ts", "/x/c.ts"] {
        origin.put(target, b"x");
    }
    let url = origin.url("/x/");
    let verified = headwater(&["verify", &url]);
    assert_eq!(verified.status.code(), Some(1));
    let said = out(&verified);
    assert!(said.starts_with("damaged: x/b\u{fffd}.ts: its name is no UTF-8"), "{said}");
    assert!(said.contains("\n3 objects, 2 bytes: 1 damaged"), "{said}");
    let removed = headwater(&["rm", "--recursive", "--yes", &url]);
    assert_eq!(removed.status.code(), Some(1));
    assert_eq!(out(&removed), "2 objects deleted\n");
    assert!(err(&removed).contains("b\u{fffd}.ts: its name is no UTF-8"), "{}", err(&removed));
    assert!(headwater(&["rm", &origin.url("/x/b%E9.ts")]).status.success());
    origin.stop();
}

#[test]
fn nobody_listening_is_said() {
    let url = format!("http://{}/a", free_address());
    bad(&["get", &url, "-"], 1, "no connection to 127.0.0.1");
    bad(&["ls", &url], 1, "refused");
    bad(&["put", "Cargo.toml", &url], 1, "refused");
    bad(&["rm", &url], 1, "refused");
}

#[test]
fn answers_that_are_not_whole_are_failures() {
    for (answer, words) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour", "5 bytes are missing"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n", "last chunk"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx", "hexadecimal"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "within its head"),
        ("", "before an answer"),
        ("SSH-2.0-x\r\n", "not HTTP/1.1"),
        ("HTTP/1.1 302 Found\r\nLocation: http://b/\r\nContent-Length: 0\r\n\r\n", "http://b/"),
        (
            "HTTP/1.1 200 OK\r\nETag: \"000102030405060708090a0b0c0d0e0f\"\r\n\
             Content-Length: 1\r\n\r\nx",
            "not those of its entity tag",
        ),
    ] {
        let scratch = Scratch::new("client-nonsense");
        bad(&["get", &answering(answer), &scratch.path("a")], 1, words);
        assert!(!std::path::Path::new(&scratch.path("a")).exists());
    }
    bad(&["ls", &answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")], 1, "not JSON");
    bad(
        &["get", &answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour"), "/dev/full"],
        1,
        "No space left",
    );
}

#[test]
fn an_origin_that_is_busy_is_asked_again_a_few_times() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let address = serve(|mut client| {
        let mut request = [0; 4096];
        let _ = client.read(&mut request);
        let number = ASKED.fetch_add(1, Ordering::Relaxed);
        let answer = match number {
            2 => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour",
            _ => "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        };
        let _ = client.write_all(answer.as_bytes());
    });
    let url = format!("http://{address}/a");
    let output = headwater(&["get", &url, "-"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), "four"));
    bad(&["get", &url, "-"], 1, "the origin answers 503");
    assert_eq!(ASKED.load(Ordering::Relaxed), 6);
}

#[test]
fn verify_names_what_is_damaged() {
    const PAGE: &str = r#"{"Items":[{"Name":"a","Type":"OBJECT","ContentLength":4}]}"#;
    let address = serve(|mut client| {
        let mut request = [0; 4096];
        let count = client.read(&mut request).unwrap_or(0);
        let is_list = request[..count].starts_with(b"GET /?Path=");
        let body = if is_list { PAGE } else { "four" };
        let tag = "\"000102030405060708090a0b0c0d0e0f\"";
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: {tag}\r\n\r\n", body.len());
        let _ = client.write_all(format!("{head}{body}").as_bytes());
    });
    let output = headwater(&["verify", &format!("http://{address}/")]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let said = out(&output);
    assert!(said.starts_with("damaged: a: its bytes are not those of its tag\n"), "{said}");
    assert!(said.ends_with("1 damaged, 0 without a sum\n"), "{said}");
}
