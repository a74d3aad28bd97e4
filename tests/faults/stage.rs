//! An origin that is watched while a test does its worst to it.
//!
//! A probe reads a known object the whole time, in turn on a new connection and on one it keeps,
//! and every answer must be right and prompt. At the end the origin must have its descriptors
//! back, a bounded resident memory, nothing pinned, no error line in the log, and a clean exit.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::wire::{Answer, Client};
use crate::support::{Origin, PATIENCE, Scratch, pattern};

/// The longest a probe may wait. The machine is shared with other tests, so this is not tight.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// Pause between two probes.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

/// Probes made even when a test is over sooner.
const PROBES_MIN: usize = 6;

/// Resident memory beyond the arena: receive buffers of two shards, code, stacks, log.
const RESIDENT_EXTRA_BYTES: u64 = 192 << 20;

/// Memory when a test names none, in MiB.
const MEMORY_MIB: u64 = 64;

/// Timeouts short enough for tests.
const TIMEOUTS: &str = "[timeouts]\nhead_ms = 600\nidle_ms = 5000\nbody_idle_ms = 1000\n\
    send_rate_min_bytes_per_s = 2000\nsend_rate_window_ms = 1000\nlinger_ms = 500\n";

/// An origin under watch.
pub struct Stage {
    pub origin: Origin,
    watch: Option<Watch>,
    descriptors: usize,
    memory_mib: u64,
    _folder: Scratch,
}

impl Stage {
    /// Two shards, short timeouts, no limits.
    pub fn new(name: &str) -> Self {
        Self::with(name, "", MEMORY_MIB, &[])
    }

    /// The same with more configuration, which has timeouts of its own or gets the short ones,
    /// with another memory, and under another program.
    pub fn with(name: &str, config: &str, memory_mib: u64, wrapper: &[&str]) -> Self {
        let folder = Scratch::new(&format!("faults-{name}"));
        let path = folder.path("headwater.toml");
        let timeouts = if config.contains("[timeouts]") { "" } else { TIMEOUTS };
        fs::write(&path, format!("{config}\n{timeouts}")).unwrap();
        let memory = format!("{memory_mib}MiB");
        let flags = ["--config", &path, "--shards", "2", "--memory", &memory];
        let origin = Origin::start_under(wrapper, &flags);
        let body = pattern(0, 2000);
        origin.put("/probe/object", &body);
        let descriptors = settled_descriptors(&origin);
        // With few descriptors a new connection may be asked to come back.
        let patient = !wrapper.is_empty();
        let watch = Some(Watch::begin(origin.http, body, patient));
        Self { origin, watch, descriptors, memory_mib, _folder: folder }
    }

    /// Ends the probe; the origin is left as it is.
    pub fn end_watch(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.end();
        }
    }

    /// Ends the probe and the origin, and asserts that it was well and has let go of everything.
    pub fn end(mut self) {
        self.check();
        self.origin.stop();
    }

    /// The same; what the origin logged.
    pub fn end_with_log(mut self) -> String {
        self.check();
        self.origin.stop_with_log()
    }

    /// Ends the probe and asserts that the origin is as it was.
    pub fn check(&mut self) {
        self.end_watch();
        let pid = self.origin.pid();
        wait_for(
            "descriptors",
            || descriptors(pid) <= self.descriptors,
            || format!("{} of {}: {:?}", descriptors(pid), self.descriptors, links(pid)),
        );
        wait_for("pins", || self.pinned() == 0.0, || format!("{} bytes", self.pinned()));
        let resident = self.resident_peak();
        let bound = (self.memory_mib << 20) + RESIDENT_EXTRA_BYTES;
        assert!(resident <= bound, "{resident} bytes were resident, bound {bound}");
    }

    /// Bytes that slow readers keep from being used again.
    pub fn pinned(&self) -> f64 {
        self.origin.metric("headwater_arena_pinned_bytes", "")
    }

    /// Descriptors that the origin has open.
    pub fn descriptors(&self) -> usize {
        descriptors(self.origin.pid())
    }

    fn resident_peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.origin.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// CPU time of the origin so far, in milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.origin.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // User and system time, in hundredths of a second.
        (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
    }
}

/// Waits until `holds`; fails with what `is` says.
#[track_caller]
pub fn wait_for(what: &str, holds: impl Fn() -> bool, is: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: {}", is());
        thread::sleep(Duration::from_millis(20));
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn links(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries.map(|entry| format!("{:?}", fs::read_link(entry.path()))).collect()
}

/// Descriptors once the connections of the start are closed.
fn settled_descriptors(origin: &Origin) -> usize {
    let mut least = usize::MAX;
    for _ in 0..15 {
        least = least.min(descriptors(origin.pid()));
        thread::sleep(Duration::from_millis(20));
    }
    least
}

/// The probe.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    fn begin(address: SocketAddr, body: Vec<u8>, patient: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || {
            let mut kept = Client::connect(address).unwrap();
            let (mut count, mut longest) = (0, Duration::ZERO);
            while count < PROBES_MIN || !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if count % 2 == 0 {
                    let mut answer = probe_anew(address);
                    while patient && answer.status == 503 && begun.elapsed() < PROBE_MAX {
                        thread::sleep(PROBE_PAUSE);
                        answer = probe_anew(address);
                    }
                    check(&answer, &body);
                } else {
                    // In a flood an idle connection may have given way.
                    match probe(&mut kept) {
                        Ok(answer) if !(patient && answer.status == 503) => check(&answer, &body),
                        Err(error) if !patient => panic!("the kept connection: {error}"),
                        _ => kept = Client::connect(address).unwrap(),
                    }
                }
                let took = begun.elapsed();
                assert!(took < PROBE_MAX, "the probe waited for {took:?}");
                longest = longest.max(took);
                count += 1;
                thread::sleep(PROBE_PAUSE);
            }
            println!("{count} probes, the longest took {longest:?}");
        });
        Self { stop, thread }
    }

    #[track_caller]
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the probe was always answered");
    }
}

fn probe_anew(address: SocketAddr) -> Answer {
    let mut client = Client::connect(address).expect("a new connection is taken");
    probe(&mut client).expect("a new connection is answered")
}

fn probe(client: &mut Client) -> std::io::Result<Answer> {
    client.request("GET", "/probe/object", &[], b"")
}

fn check(answer: &Answer, body: &[u8]) {
    assert_eq!(answer.status, 200, "the probe got {}", answer.text());
    assert!(answer.body == body, "the probe got other bytes");
}
