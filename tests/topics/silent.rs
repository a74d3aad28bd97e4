//! Subscribers that are gone without a word: what ends them, and that nobody else notices.
//!
//! A network namespace of the test's own has one more address on its loopback; a route that
//! swallows what is sent there makes the peers behind it vanish without FIN or RST.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket as Raw, Type};

use crate::client::{Socket, Stream, framed};
use crate::support::{Origin, run};
use crate::{origin, publish};

/// Set within the namespace.
const INSIDE: &str = "HEADWATER_TOPICS_NAMESPACE";
const VANISHING: [u8; 4] = [127, 0, 0, 9];
/// A heartbeat, the time in which it has to be acknowledged, and what timers are late by.
const VANISHED_WITHIN: Duration = Duration::from_secs(15 + 30 + 8);

/// Runs a test of this file again in a namespace; whether that was done.
fn is_outside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let script = format!("ip link set lo up && {INSIDE}=1 exec \"$0\" --exact --nocapture {test}");
    let program = std::env::current_exe().unwrap();
    if !run("unshare", &["--net", "ip", "link", "set", "lo", "up"]).0.success() {
        println!("skipped: namespaces need root, and ip");
        return true;
    }
    let command = ["--net", "sh", "-c", &script, program.to_str().unwrap()];
    let status = Command::new("unshare").args(command).status().unwrap();
    assert!(status.success());
    true
}

/// A connection from the address that will vanish.
fn far(origin: &Origin) -> TcpStream {
    let socket = Raw::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((VANISHING, 0)).into()).unwrap();
    socket.connect(&origin.http.into()).unwrap();
    socket.into()
}

fn subscribers(origin: &Origin) -> [f64; 3] {
    ["sse", "websocket", "poll"].map(|way| origin.metric("headwater_topic_subscribers", way))
}

#[track_caller]
fn wait_for(origin: &Origin, expected: [f64; 3], patience: Duration) {
    let deadline = Instant::now() + patience;
    while subscribers(origin) != expected {
        assert!(Instant::now() < deadline, "{:?}, {expected:?} expected", subscribers(origin));
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn subscribers_that_vanish_are_ended_in_a_bounded_time_and_delay_nobody() {
    if is_outside("silent::subscribers_that_vanish_are_ended_in_a_bounded_time_and_delay_nobody") {
        return;
    }
    let origin = origin("topics-vanish", "2", "[timeouts]\nsend_rate_window_ms = 60_000\n");
    let (mut near, _) = Stream::open(&origin, "/topics/a/b", &[]);
    let mut near_socket = Socket::open(&origin, "/topics/a/b");
    assert_eq!(near_socket.next()["subscribed"], "a/b");
    let far: Vec<_> = (0..20)
        .flat_map(|number| {
            // Half of them on a topic that stays silent.
            let target = ["/topics/a/b", "/topics/a/silent"][number % 2];
            let stream = Stream::over(far(&origin), "HTTP/1.1", target, &[]);
            let socket = Socket::over(far(&origin), target);
            let poll = far(&origin);
            let request = format!("GET {target}?wait_ms=60000 HTTP/1.1\r\nHost: h\r\n\r\n");
            std::io::Write::write_all(&mut &poll, request.as_bytes()).unwrap();
            [Box::new(stream) as Box<dyn std::any::Any>, Box::new(socket), Box::new(poll)]
        })
        .collect();
    wait_for(&origin, [21.0, 21.0, 20.0], Duration::from_secs(10));
    let before = origin.anonymous_bytes();
    let route = ["route", "add", "blackhole", "127.0.0.9/32", "table", "local"];
    assert!(run("ip", &route).0.success());
    let vanished = Instant::now();
    // 64 KiB a second for those that are there; the others' share stays in their sockets.
    let text = "x".repeat(8_000);
    let mut most = before;
    while subscribers(&origin)[..2] != [1.0, 1.0] {
        assert!(vanished.elapsed() < VANISHED_WITHIN, "{:?}", subscribers(&origin));
        let (_, number) = publish(&origin, "/topics/a/b", &text);
        let sent = Instant::now();
        assert_eq!(near.next().unwrap().number(), number);
        assert_eq!(near_socket.next()["item"]["topic_sequence_number"], number);
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
        most = most.max(origin.anonymous_bytes());
        sleep(Duration::from_millis(125));
    }
    println!("gone after {:?}, memory {before} -> {most}", vanished.elapsed());
    assert!(most < before + (16 << 20), "memory {before} -> {most}");
    // Polls of the silent topic send nothing: their wait ends first.
    let left = Duration::from_secs(60 + 8).saturating_sub(vanished.elapsed());
    wait_for(&origin, [1.0, 1.0, 0.0], left);
    drop(far);
    origin.stop();
}

/// A peer whose program has stopped while its kernel goes on acknowledging was kept for ever.
#[test]
fn a_socket_that_answers_no_ping_is_ended_and_one_that_does_is_not() {
    let origin = origin("topics-pong", "2", "");
    let mut stays = Socket::open(&origin, "/topics/a/b");
    assert_eq!(stays.next()["subscribed"], "a/b");
    let mut mute = Socket::open(&origin, "/topics/a/b");
    assert_eq!(mute.next()["subscribed"], "a/b");
    let began = Instant::now();
    wait_for(&origin, [0.0, 2.0, 0.0], Duration::from_secs(10));
    let mut pings = 0;
    while subscribers(&origin)[1] > 1.0 {
        assert!(began.elapsed() < Duration::from_secs(70), "still there");
        pings += 1;
        let ping = stays.any_frame();
        assert_eq!(ping.opcode, 9);
        stays.raw(&framed(0x8A, &ping.payload));
        sleep(Duration::from_millis(500));
    }
    assert!(began.elapsed() > Duration::from_secs(55), "{:?}", began.elapsed());
    assert!(pings >= 3, "{pings}");
    publish(&origin, "/topics/a/b", "x");
    assert_eq!(stays.next()["item"]["value"]["text"], "x");
    origin.stop();
}
