//! Requests that are legal, or nearly, and more than anybody needs.

use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::scaled;
use crate::slow::narrow;
use crate::stage::Stage;
use crate::support::pattern;
use crate::support::wire::Client;

/// Ten thousand requests in a row before the first answer is read: all are answered, in order.
///
/// Twice, on machines busy with other tests, the answers stopped for as long as was waited for (one
/// second, then twenty); nobody has seen why. When it happens again the test says what the kernel
/// and the origin know about it: unsent bytes, windows, timers, sends under way.
#[test]
fn ten_thousand_pipelined_reads_are_answered_in_order() {
    // The client's thread may be kept from reading for long on a busy machine.
    let patient = "[timeouts]\nsend_rate_window_ms = 30000";
    let stage = Stage::with("pipelined", patient, 64, &[]);
    let bodies: Vec<Vec<u8>> =
        (0..7).map(|number| pattern(number as u64, 100 + 900 * number)).collect();
    for (number, body) in bodies.iter().enumerate() {
        // Different folders, so that both shards own some.
        stage.origin.put(&format!("/p{number}/o"), body);
    }
    let mut client = stage.origin.client();
    let mut writer = client.writer();
    let count = scaled(10_000);
    let sender = thread::spawn(move || {
        for number in 0..count {
            let head = format!("GET /p{}/o HTTP/1.1\r\nHost: a\r\n\r\n", number % 7);
            writer.write_all(head.as_bytes()).unwrap();
        }
    });
    for number in 0..count {
        let answer = client.answer(false).unwrap_or_else(|error| {
            panic!("answer {number}: {error}\n{}", stalled(&stage));
        });
        assert!(answer.status == 200 && answer.body == bodies[number % 7], "answer {number}");
    }
    sender.join().unwrap();
    drop(client);
    stage.end();
}

/// What the kernel says of the origin's connections, and the origin of itself.
fn stalled(stage: &Stage) -> String {
    let port = format!("sport = :{0} or dport = :{0}", stage.origin.http.port());
    let sockets = Command::new("ss").args(["-tinmo", &port]).output();
    let sockets = sockets.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
    let metrics = Client::connect(stage.origin.admin)
        .and_then(|mut client| client.request("GET", "/metrics", &[], b""))
        .map(|answer| answer.text().into_owned());
    format!("{sockets:?}\n{}", metrics.unwrap_or_else(|error| error.to_string()))
}

/// A crowd asks for far more than it ever reads, with the timeouts of a real origin: the requests
/// that wait behind unread answers keep no receive buffer from those who do read.
#[test]
fn a_crowd_that_asks_and_never_reads_keeps_no_buffers() {
    let mut stage = Stage::with("crowd", "[timeouts]\nsend_rate_window_ms = 60000", 64, &[]);
    stage.origin.put("/crowd/o", &pattern(9, 1 << 20));
    let requests = "GET /crowd/o HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000);
    let crowd: Vec<Client> = (0..1_500)
        .map(|_| {
            let client = narrow(stage.origin.http);
            client.writer().set_nonblocking(true).unwrap();
            let _ = client.writer().write(requests.as_bytes());
            client
        })
        .collect();
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(100));
        crowd.iter().for_each(|client| {
            let _ = client.writer().write(requests.as_bytes());
        });
    }
    stage.end_watch();
    let starved = stage.origin.metric("headwater_receive_starved_total", "");
    let buffers = stage.origin.metric("headwater_receive_buffers", "");
    let cut = stage.origin.metric("headwater_connections_cut_total", "");
    println!("{} connections, {buffers} buffers, {starved} found none, {cut} cut", crowd.len());
    assert!(starved == 0.0 || cut > 0.0, "greedy connections kept what they had");
    drop(crowd);
    stage.end();
}

/// Many ranges: as many as allowed are served once each, more are ignored, overlapping ones are
/// joined, so that no request gets more bytes than the object has.
#[test]
fn many_ranges_cost_no_more_than_the_object() {
    let stage = Stage::new("ranges");
    let body = pattern(5, 1 << 20);
    stage.origin.put("/r/o", &body);
    let ask = |ranges: String| {
        let line = format!("Range: bytes={ranges}");
        stage.origin.request("GET", "/r/o", &[&line], b"")
    };
    let apart = |count: usize| {
        (0..count).map(|n| format!("{}-{}", n * 1000, n * 1000 + 9)).collect::<Vec<_>>().join(",")
    };
    let sixteen = ask(apart(16));
    assert_eq!(sixteen.status, 206);
    assert!(sixteen.body.len() < 5000, "{} bytes", sixteen.body.len());
    for number in 0..16 {
        let part = &body[number * 1000..number * 1000 + 10];
        assert!(sixteen.body.windows(10).any(|ten| ten == part), "part {number}");
    }
    let more = ask(apart(17));
    assert!(more.status == 200 && more.body == body);
    let killer = ask((0..1200).map(|n| format!("5-{n}")).collect::<Vec<_>>().join(","));
    assert!(killer.status == 200 && killer.body == body);
    let overlapping = ask((0..16).map(|_| "0-").collect::<Vec<_>>().join(","));
    assert!(overlapping.body == body, "{} bytes", overlapping.body.len());
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let address = stage.origin.http;
            let line = format!("Range: bytes={}", apart(16));
            let wanted = sixteen.body.len();
            thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                for _ in 0..scaled(50) {
                    let answer = client.request("GET", "/r/o", &[&line], b"").unwrap();
                    assert_eq!((answer.status, answer.body.len()), (206, wanted));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    stage.end();
}

/// A refused upload that asked for 100-continue, whose body is sent anyway and looks like a
/// request: it is not read as one.
#[test]
fn a_body_behind_a_refused_expectation_is_no_request() {
    let stage = Stage::with("expect", "object_bytes_max = \"1MiB\"", 64, &[]);
    let inner = "GET /probe/object HTTP/1.1\r\nHost: a\r\n\r\n";
    let refused = [
        ("/", "Content-Length: 43\r\n", 405),
        ("/time", "Content-Length: 43\r\n", 409),
        ("/e/large", "Content-Length: 2000000\r\n", 413),
        ("/probe/object/below", "Content-Length: 43\r\n", 409),
        ("/probe/object", "If-None-Match: *\r\nContent-Length: 43\r\n", 412),
        ("/probe/object", "Origin: http://b\r\nContent-Length: 43\r\n", 403),
        ("/e/..", "Transfer-Encoding: chunked\r\n", 400),
    ];
    for (target, lines, status) in refused {
        for together in [true, false] {
            let mut client = stage.origin.client();
            let head =
                format!("PUT {target} HTTP/1.1\r\nHost: a\r\n{lines}Expect: 100-continue\r\n\r\n");
            let bytes = if together { format!("{head}{inner}") } else { head };
            client.send(bytes.as_bytes()).unwrap();
            let answer = client.answer(false).unwrap();
            assert_eq!(answer.status, status, "{target}: {}", answer.text());
            assert_eq!(answer.header("Connection"), Some("close"), "{target}");
            let _ = client.send(inner.as_bytes());
            let rest = client.rest().unwrap_or_default();
            assert!(rest.is_empty(), "{target}: {}", String::from_utf8_lossy(&rest));
        }
    }
    stage.end();
}

/// Chunk framing that outweighs its data: an endless extension or trailer is refused, a chunk for
/// every byte, with an extension each, is slow but right.
#[test]
fn chunk_framing_is_bounded() {
    let stage = Stage::new("framing");
    let head = "PUT /f/o.m4s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let huge = format!("5;{}", "e".repeat(3_000_000));
    let endless = format!("1\r\nx\r\n0\r\n{}", "Trailer: x\r\n".repeat(200_000));
    for (body, status) in [(huge, 400), (endless, 431)] {
        let mut client = stage.origin.client();
        let mut writer = client.writer();
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        let sender = thread::spawn(move || writer.write_all(&bytes));
        let answer = client.answer(false).unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(client.is_closed());
        let _ = sender.join().unwrap();
        assert_eq!(stage.origin.get("/f/o.m4s").status, 404);
    }
    let body = pattern(3, 20_000);
    let mut bytes = head.as_bytes().to_vec();
    for byte in &body {
        bytes.extend_from_slice(b"1;signature=0123456789abcdef\r\n");
        bytes.extend([*byte, b'\r', b'\n']);
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    let mut client = stage.origin.client();
    client.send(&bytes).unwrap();
    assert_eq!(client.answer(false).unwrap().status, 200);
    assert!(stage.origin.get("/f/o.m4s").body == body);
    drop(client);
    stage.end();
}
