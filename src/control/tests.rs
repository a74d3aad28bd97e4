//! The control thread as its clients see it: raw requests over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::*;
use crate::config::{Host, Tokens};

struct Rig {
    control: Option<Control>,
    state: Arc<State>,
    meters: Vec<Arc<ShardMeters>>,
    folder: Arc<DataFolder>,
}

impl Rig {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::defaults(&Host::SMALL);
        config.admin = SocketAddr::from(([127, 0, 0, 1], 0));
        change(&mut config);
        let state = State::new();
        let meters = vec![Arc::new(ShardMeters::new()), Arc::new(ShardMeters::new())];
        let folder = Arc::new(DataFolder::simulated([0, 1]));
        let folders = vec![Arc::clone(&folder)];
        let parts = Parts { folders, ..parts(&config, &meters, &state) };
        let control = spawn(&config, parts, Webhooks::default(), None, || {}).unwrap();
        Self { control: Some(control), state, meters, folder }
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        let port = self.control.as_ref().unwrap().address().port();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.control.take().unwrap().stop();
    }
}

fn parts(config: &Config, meters: &[Arc<ShardMeters>], state: &Arc<State>) -> Parts {
    let reloader = Arc::new(Reloader::new(config.clone(), Box::new(|_| {})));
    Parts {
        meters: meters.to_vec(),
        topics: TopicBoard::new(meters.len()),
        state: Arc::clone(state),
        access: None,
        reloader,
        folders: Vec::new(),
        hooks: Vec::new(),
    }
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn readiness_follows_the_life_of_the_process() {
    let rig = Rig::new(|_| {});
    assert_eq!(rig.ask("GET", "/healthz", "").0, 200);
    let (status, answer) = rig.ask("GET", "/readyz", "");
    assert_eq!((status, body(&answer)), (503, "{\"status\":\"starting\"}\n"));
    rig.state.ready();
    let (status, answer) = rig.ask("GET", "/readyz", "");
    assert_eq!((status, body(&answer)), (200, "{\"status\":\"ready\"}\n"));
    let (status, answer) = rig.ask("POST", "/drain", "");
    assert_eq!(status, 202);
    assert!(body(&answer).contains("\"already\":false"));
    let (status, answer) = rig.ask("GET", "/readyz", "");
    assert_eq!((status, body(&answer)), (503, "{\"status\":\"draining\"}\n"));
    assert!(rig.ask("POST", "/drain", "").1.contains("\"already\":true"));
    assert_eq!(rig.ask("GET", "/healthz", "").0, 200);
    assert_eq!(rig.state.wait(), Wish::Drain(Cause::Request));
}

#[test]
fn a_failed_disk_is_seen_and_takes_no_readiness() {
    let rig = Rig::new(|_| {});
    rig.state.ready();
    assert!(body(&rig.ask("GET", "/metrics", "").1).contains("\nheadwater_disk_read_only 0\n"));
    rig.folder.give_up();
    let (status, answer) = rig.ask("GET", "/readyz", "");
    assert_eq!(status, 200);
    let value: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(value["disk"], "read-only");
    assert!(body(&rig.ask("GET", "/metrics", "").1).contains("\nheadwater_disk_read_only 1\n"));
}

#[test]
fn metrics_show_what_the_shards_count() {
    let rig = Rig::new(|_| {});
    rig.meters[1].requests_get.add(7);
    let (status, answer) = rig.ask("GET", "/metrics", "");
    assert_eq!(status, 200);
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(body(&answer).contains("headwater_requests_total{shard=\"1\",method=\"get\"} 7\n"));
}

#[test]
fn the_version_is_json() {
    let rig = Rig::new(|_| {});
    let (status, answer) = rig.ask("GET", "/version", "");
    assert_eq!(status, 200);
    let value: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(value["name"], "headwater");
    assert_eq!(value["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(value["shards"], 2);
}

#[test]
fn anything_else_is_refused_as_json() {
    let rig = Rig::new(|_| {});
    for (method, path, expected) in [
        ("GET", "/", 404),
        ("GET", "/metricsx", 404),
        ("POST", "/nothing", 404),
        ("POST", "/metrics", 405),
        ("GET", "/drain", 405),
        ("GET", "/reload", 405),
        ("DELETE", "/healthz", 405),
    ] {
        let (status, answer) = rig.ask(method, path, "");
        assert_eq!(status, expected, "{method} {path}");
        let value: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        assert!(value["error"].is_string() && value["message"].is_string(), "{answer}");
        let allow = answer.to_ascii_lowercase().contains("\r\nallow: ");
        assert_eq!(allow, expected == 405, "{answer}");
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
    }
    assert!(!rig.state.drain_requested());
}

#[test]
fn a_head_request_has_no_body() {
    let rig = Rig::new(|_| {});
    let (status, answer) = rig.ask("HEAD", "/healthz", "");
    assert_eq!((status, body(&answer)), (200, ""));
}

/// A page in the operator's browser can send a plain POST to a loopback port.
#[test]
fn a_web_page_cannot_drain() {
    let rig = Rig::new(|_| {});
    let (status, _) = rig.ask("POST", "/drain", "Origin: http://evil.example\r\n");
    assert_eq!(status, 403);
    assert_eq!(rig.ask("POST", "/drain", "Origin: null\r\n").0, 403);
    assert_eq!(rig.ask("POST", "/reload", "Origin: null\r\n").0, 403);
    assert!(!rig.state.drain_requested());
}

#[test]
fn an_open_admin_listener_drains_for_nobody_without_a_token() {
    let rig = Rig::new(|config| config.admin = SocketAddr::from(([0, 0, 0, 0], 0)));
    assert_eq!(rig.ask("GET", "/healthz", "").0, 200);
    let (status, answer) = rig.ask("POST", "/drain", "");
    assert_eq!(status, 403);
    assert!(answer.contains("admin_token_file"));
    assert!(!rig.state.drain_requested());
}

#[test]
fn a_token_opens_the_drain() {
    let rig = Rig::new(|config| {
        config.admin = SocketAddr::from(([0, 0, 0, 0], 0));
        config.admin_tokens = Tokens::of_tests("0123456789abcdef");
    });
    let (status, answer) = rig.ask("POST", "/drain", "");
    assert_eq!(status, 401);
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
    let wrong = "Authorization: Bearer 0123456789abcdeX\r\n";
    assert_eq!(rig.ask("POST", "/drain", wrong).0, 401);
    assert!(!rig.state.drain_requested());
    let right = "Authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(rig.ask("POST", "/drain", right).0, 202);
    assert!(rig.state.drain_requested());
}

#[test]
fn nonsense_gets_an_answer_or_a_close_and_nothing_breaks() {
    let rig = Rig::new(|_| {});
    let port = rig.control.as_ref().unwrap().address().port();
    for nonsense in [&b"\r\n\r\n\r\n"[..], b"\x00\xff\x00", b"GET\r\n\r\n", &[b'a'; 100_000]] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(nonsense);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(rig.ask("GET", "/healthz", "").0, 200);
}

/// Peers that connect and say nothing fill the room; their time ends and others get in.
#[test]
fn silent_peers_are_cut_and_make_room() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener::Listener::new(listener).with_life(Duration::from_millis(300));
        let router = axum::Router::new().route("/", axum::routing::get(|| async { "in" }));
        tokio::spawn(axum::serve(listener, router).into_future());
        let client = tokio::task::spawn_blocking(move || {
            let silent: Vec<TcpStream> = (0..limits::ADMIN_CONNECTIONS_MAX)
                .map(|_| TcpStream::connect(address).unwrap())
                .collect();
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            drop(silent);
            answer
        });
        assert!(client.await.unwrap().ends_with("in"));
    });
}

#[test]
fn an_address_in_use_is_named_with_its_cure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::defaults(&Host::SMALL);
    config.admin = taken.local_addr().unwrap();
    let parts = parts(&config, &[], &State::new());
    let error = spawn(&config, parts, Webhooks::default(), None, || {}).unwrap_err().to_string();
    assert!(error.contains(&config.admin.to_string()) && error.contains("--admin"), "{error}");
}
