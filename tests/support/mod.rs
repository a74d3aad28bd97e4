//! What end-to-end tests share: an origin under test, and a client that shares no code with it.
//!
//! `Origin::start` runs the real binary on ports of its own and waits until it is ready; `stop`
//! ends it by SIGTERM and asserts a clean exit and a log without an error line. The environment
//! variable `HEADWATER_TX` is handed on as `--tx`.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part")]

pub mod access;
pub mod recorder;
pub mod shards;
pub mod wire;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wire::{Answer, Client};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds`, or fails with `what` is the matter.
#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// So many seconds of video in CMAF segments of one second, five fragments each: `live.mpd`, its
/// header and its segments in a folder of that name.
pub fn made_segments(name: &str, seconds: u32) -> Scratch {
    let folder = Scratch::new(name);
    let words = "-nostdin -v error -f lavfi -i testsrc2=s=160x90:r=25 -c:v libx264 -preset \
        ultrafast -g 25 -sc_threshold 0 -f dash -seg_duration 1 -frag_duration 0.2 \
        -frag_type duration -streaming 1 -format_options movflags=cmaf -t";
    let made = Command::new("ffmpeg")
        .args(words.split_ascii_whitespace())
        .arg(seconds.to_string())
        .arg(folder.path("live.mpd"))
        .status();
    assert!(made.unwrap().success());
    folder
}

/// A running origin.
pub struct Origin {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    child: Option<Child>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Origin {
    /// Starts the binary with `--listen`, `--admin`, a small memory and `flags`.
    #[track_caller]
    pub fn start(flags: &[&str]) -> Self {
        Self::start_under(&[], flags)
    }

    /// Like [`start`](Self::start), under a program that replaces itself, such as prlimit.
    #[track_caller]
    pub fn start_under(wrapper: &[&str], flags: &[&str]) -> Self {
        let (http, admin) = (free_address(), free_address());
        let binary = binary();
        let words = [wrapper, &[binary.to_str().expect("a plain path")]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command.args(["serve", "--listen", &http.to_string(), "--admin", &admin.to_string()]);
        if !flags.contains(&"--memory") {
            command.args(["--memory", "128MiB"]);
        }
        if let Ok(way) = std::env::var("HEADWATER_TX") {
            command.args(["--tx", &way]);
        }
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            collect(child.stdout.take().unwrap(), log.clone()),
            collect(child.stderr.take().unwrap(), log.clone()),
        ];
        let mut origin = Self { http, admin, child: Some(child), log, readers };
        origin.wait_until_ready();
        origin
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the origin ended at its start with {status}:\n{}", self.log());
            }
            if let Ok(answer) = Client::connect(self.admin)
                .and_then(|mut client| client.request("GET", "/readyz", &[], b""))
                && answer.status == 200
            {
                return;
            }
            assert!(Instant::now() < deadline, "the origin is not ready:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The log comes by a pipe: a line may be here only a moment after the answer it belongs to.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "no \"{words}\" in the log:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// A new connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.http).unwrap()
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub fn request(&self, method: &str, target: &str, lines: &[&str], body: &[u8]) -> Answer {
        self.client().request(method, target, lines, body).unwrap_or_else(|error| {
            panic!("{method} {target}: {error}\n{}", self.log());
        })
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], b"")
    }

    /// Stores an object; the answer must be 200.
    #[track_caller]
    pub fn put(&self, target: &str, body: &[u8]) -> Answer {
        let answer = self.request("PUT", target, &[], body);
        assert_eq!(answer.status, 200, "PUT {target}: {}", answer.text());
        answer
    }

    /// The value of one metric: the sum over its series whose labels contain `labels`.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        metric_of(self.admin, name, labels)
    }

    /// Memory of the process that no file backs, in bytes.
    pub fn anonymous_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1024
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                self.readers.drain(..).for_each(|reader| reader.join().unwrap());
                return status;
            }
            assert!(Instant::now() < deadline, "the origin does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the origin and asserts that it was well all the time.
    #[track_caller]
    pub fn stop(self) {
        self.stop_with_log();
    }

    /// The same; what it logged.
    #[track_caller]
    pub fn stop_with_log(mut self) -> String {
        self.terminate();
        let status = self.wait();
        let log = self.log();
        assert_eq!(status.code(), Some(0), "the origin ended with {status}:\n{log}");
        let bad = log.lines().find(|line| is_error_line(line));
        assert_eq!(bad, None, "an error line in the log:\n{log}");
        log
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            if thread::panicking() {
                eprintln!("log of the origin:\n{}", self.log());
            }
        }
    }
}

/// The program under test: Cargo names it to tests; an example finds it beside its own folder.
fn binary() -> std::path::PathBuf {
    match option_env!("CARGO_BIN_EXE_headwater") {
        Some(path) => path.into(),
        None => std::env::current_exe().unwrap().with_file_name("../headwater"),
    }
}

fn is_error_line(line: &str) -> bool {
    line.contains("\"ERROR\"") || line.contains(" ERROR ") || line.contains("panicked")
}

/// A metric of the origin whose admin listener has this address.
#[track_caller]
fn metric_of(admin: SocketAddr, name: &str, labels: &str) -> f64 {
    let mut client = Client::connect(admin).unwrap();
    let answer = client.request("GET", "/metrics", &[], b"").unwrap();
    let text = answer.text().into_owned();
    text.lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .filter(|line| line.contains(labels))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Sends a signal by name to a process that the test started.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(status.success());
}

/// An address on which nobody listens, below the range from which the kernel picks ports.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes run side by side: each starts at a place of its own.
    let start = (std::process::id() % 1000) as u16 * 20;
    for _ in 0..2000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (start + step) % 20_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}

fn collect(mut source: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = source.read(&mut bytes) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    })
}

/// Runs a foreign program to its end; its exit status and everything it printed.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> (ExitStatus, String) {
    let mut child = spawn(program, arguments);
    let log = Arc::new(Mutex::new(String::new()));
    let readers = [
        collect(child.stdout.take().unwrap(), log.clone()),
        collect(child.stderr.take().unwrap(), log.clone()),
    ];
    let deadline = Instant::now() + 4 * PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{program} {arguments:?} does not end:\n{}", log.lock().unwrap());
        }
        thread::sleep(Duration::from_millis(10));
    };
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    let said = log.lock().unwrap().clone();
    (status, said)
}

/// Starts a foreign program with its output captured.
#[track_caller]
pub fn spawn(program: &str, arguments: &[&str]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error} (./scripts/test installs it)"))
}

/// A folder of the test's own, removed at the end.
pub struct Scratch(pub std::path::PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes all of `bytes` to a stream, or panics.
#[track_caller]
pub fn write_all(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}
