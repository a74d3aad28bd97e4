//! The client against a scripted server: every split, early ends, stalls, reuse.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;

/// Serves one connection: for each script, reads a request and writes the parts one by one.
fn serve(scripts: Vec<Vec<Vec<u8>>>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        for script in scripts {
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            for part in script {
                stream.write_all(&part).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    (address, thread)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(64)
        .enable_timer()
        .build()
        .unwrap();
    runtime.block_on(future)
}

const GET: Request<'_> =
    Request { method: "GET", path: "/a", host: "h", headers: "X: y\r\n", body: b"" };
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_request_is_written_whole() {
    let mut bytes = Vec::new();
    GET.write(&mut bytes);
    assert_eq!(bytes, b"GET /a HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n");
    bytes.clear();
    Request { method: "PUT", body: b"ab", headers: "", ..GET }.write(&mut bytes);
    assert_eq!(bytes, b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab");
}

#[test]
fn one_connection_serves_every_split() {
    let answer = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
    let cuts = 0..answer.len();
    let scripts = cuts.clone().map(|cut| vec![answer[..cut].to_vec(), answer[cut..].to_vec()]);
    let (address, server) = serve(scripts.collect());
    run(async {
        let mut client = Client::connect(address, SOON).await.unwrap();
        for cut in cuts {
            let mut response = client.request(&GET, SOON).await.unwrap();
            assert_eq!(response.status(), 200);
            let most = cut % 3 + 1;
            let mut body = Vec::new();
            while let Some(bytes) = response.chunk(most).await.unwrap() {
                assert!(bytes.len() <= most);
                body.extend_from_slice(bytes);
            }
            assert_eq!(body, b"hello!", "{cut}");
            let stamps = response.stamps();
            assert!(stamps.written <= stamps.first_byte);
            assert!(stamps.first_byte <= stamps.last_byte.unwrap());
            drop(response);
            assert!(client.reusable());
        }
    });
    server.join().unwrap();
}

/// The class of the error of one request, body included.
fn class_of(script: Vec<Vec<u8>>) -> &'static str {
    let (address, server) = serve(vec![script]);
    let class = run(async {
        let mut client = Client::connect(address, SOON).await.unwrap();
        let error = match client.request(&GET, SOON).await {
            Ok(mut response) => response.discard().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(!client.reusable());
        error.class()
    });
    server.join().unwrap();
    class
}

#[test]
fn errors_have_their_class() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec();
    assert_eq!(class_of(vec![head.clone(), b"hel".to_vec()]), "truncated");
    assert_eq!(class_of(vec![head[..20].to_vec()]), "truncated");
    assert_eq!(class_of(vec![b"hello, this is no HTTP\r\n".to_vec()]), "bad response");
    assert_eq!(class_of(vec![head, b"hello and more".to_vec()]), "bad response");
    assert_eq!(class_of(Vec::new()), "closed");
}

#[test]
fn nobody_there_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = run(Client::connect(address, SOON)).err().unwrap();
    assert_eq!(refused, Error::Refused);
}

#[test]
fn a_stall_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let start = Instant::now();
    run(async {
        let mut client = Client::connect(address, SOON).await.unwrap();
        let error = client.request(&GET, Duration::from_millis(50)).await.err().unwrap();
        assert_eq!(error, Error::Timeout);
    });
    assert!((50..1000).contains(&start.elapsed().as_millis()));
}

#[test]
fn skipped_bodies_are_counted_to_the_byte() {
    let size = 300_000;
    let plain = {
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + size, 7);
        bytes
    };
    let chunked = {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..3 {
            bytes.extend_from_slice(b"186a0\r\n");
            bytes.resize(bytes.len() + 100_000, 7);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    };
    let parts = |bytes: &[u8]| bytes.chunks(70_001).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let cut = plain[..plain.len() - 1].to_vec();
    let scripts = vec![parts(&plain), parts(&chunked), parts(&plain), vec![cut]];
    let (address, server) = serve(scripts);
    run(async {
        let mut client = Client::connect(address, SOON).await.unwrap();
        for _ in 0..3 {
            let mut response = client.request(&GET, SOON).await.unwrap();
            assert_eq!(response.discard().await.unwrap(), size as u64);
            assert!(response.stamps().last_byte.is_some());
        }
        let mut response = client.request(&GET, SOON).await.unwrap();
        let error = response.discard().await.unwrap_err();
        assert_eq!(error, Error::Truncated { got: size as u64 - 1, expected: Some(size as u64) });
    });
    server.join().unwrap();
}
