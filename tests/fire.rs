//! Correctness under fire: not one wrong byte, however slow the reader and whatever becomes of the
//! object meanwhile.
//!
//! Readers crawl through answers while their objects are replaced, expire, are deleted and evicted
//! and the memory is used again, and check each byte against what the version has that the answer
//! names. What leaves by reference is read from the origin's own memory long after the origin
//! believed it sent: that is what this is about.
//!
//! `HEADWATER_TX` forces a way of sending; `HEADWATER_FIRE_MIB` says how much is checked a test,
//! `HEADWATER_FIRE_SEED` by which seed. `scripts/under-fire` does it at length.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

#[path = "fire/content.rs"]
mod content;
#[path = "linearizability/random.rs"]
mod random;
#[path = "fire/readers.rs"]
mod readers;
mod support;
#[path = "fire/writers.rs"]
mod writers;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use content::Content;
use random::Random;
use readers::{Reader, Tally};
use support::{Origin, PATIENCE, Scratch};
use writers::{Family, Writer, Written, families};

/// `evicted` gives way when memory is full, `expired` lives shorter than an answer of it may take.
const CONFIG: &str = r#"
splice_after_copies = 1
[[path]]
pattern = "expired/**"
ttl_ms = 100

[[path]]
pattern = "evicted/**"
on_full = "evict"

[publish]
tokens = ["the-writers-own-token"]
"#;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().expect("a number"))
}

/// Bytes that one test checks.
fn goal_bytes() -> u64 {
    number("HEADWATER_FIRE_MIB", 16) << 20
}

fn is_long() -> bool {
    goal_bytes() >= 512 << 20
}

/// How often each fate has to befall an object.
fn fates_min() -> u64 {
    if is_long() { 1_000 } else { 25 }
}

/// Ways of sending that a test goes through by itself.
fn ways(usual: &'static [&'static str]) -> &'static [&'static str] {
    if std::env::var_os("HEADWATER_TX").is_some() { &usual[..1] } else { usual }
}

/// An origin, and the addresses at which it is read.
struct Field {
    origin: Origin,
    addresses: Vec<SocketAddr>,
    seed: u64,
    way: String,
    _folder: Scratch,
}

impl Field {
    /// An origin that sends the way the environment says, or else the way that is named.
    fn new(name: &str, way: &str) -> Self {
        let folder = Scratch::new(&format!("fire-{name}-{way}"));
        let path = folder.path("headwater.toml");
        std::fs::write(&path, CONFIG).unwrap();
        // What slow readers pin leaves room, and `evicted` alone would need more.
        let memory = if is_long() { "192MiB" } else { "64MiB" };
        let mut flags = vec!["--config", &path, "--shards", "2", "--memory", memory];
        let forced = std::env::var("HEADWATER_TX").ok();
        if forced.is_none() {
            flags.extend(["--tx", way]);
        }
        // From an address that is not loopback's, `auto` tries zero-copy before it shares pages.
        let other = own_address().map(|address| address.to_string());
        let listen = support::free_address().to_string();
        flags.extend(["--listen", &listen]);
        if let Some(other) = &other {
            flags.extend(["--listen", other]);
        }
        let origin = Origin::start(&flags);
        let mut addresses = vec![origin.http];
        addresses.extend(other.map(|other| other.parse::<SocketAddr>().unwrap()));
        let seed = number("HEADWATER_FIRE_SEED", u64::from(std::process::id()));
        let way = forced.unwrap_or_else(|| way.to_owned());
        println!("HEADWATER_FIRE_SEED={seed} HEADWATER_TX={way}: {name}");
        Self { origin, addresses, seed, way, _folder: folder }
    }

    /// Readers and a writer, until enough was checked and has befallen the objects.
    fn burn(&self, leaves: bool) {
        let (families, tally, written) = (families(), Tally::default(), Written::default());
        let goal = goal_bytes();
        let readers = if is_long() { 160 } else { 48 };
        let begun = Instant::now();
        thread::scope(|scope| {
            let (seed, families, tally) = (self.seed, &families[..], &tally);
            let random = Random::new(seed);
            let address = self.origin.http;
            let writer = Writer { address, seed, random, families, tally, written: &written };
            scope.spawn(|| writer.run());
            for number in 0..readers {
                let address = self.addresses[number % self.addresses.len()];
                let random = Random::new(seed ^ (number as u64 + 1) << 32);
                let window_min = self.window_min(address);
                let reader = Reader { address, seed, random, window_min, leaves, families, tally };
                scope.spawn(|| reader.run());
            }
            let deadline = begun + PATIENCE * 2 + Duration::from_micros(goal / 5);
            while !tally.is_over() {
                let fates = self.fates(&written);
                let bytes = tally.bytes.load(Ordering::Relaxed);
                if bytes >= goal && fates.iter().all(|&count| count >= fates_min()) {
                    tally.stop.store(true, Ordering::Relaxed);
                }
                if Instant::now() > deadline {
                    tally.fault(format!("{bytes} bytes and {fates:?} fates in the time given"));
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        self.report(&tally, &written, begun.elapsed());
        assert_eq!(*tally.faults.lock().unwrap(), [""; 0], "with seed {}", self.seed);
    }

    /// Loopback drops what is sent by zero-copy and does not fit a small receive buffer, and sends
    /// it again much later.
    fn window_min(&self, address: SocketAddr) -> usize {
        let tries = self.way == "zc" || (self.way == "auto" && !address.ip().is_loopback());
        if tries { 64 * 1024 } else { 4 * 1024 }
    }

    /// How many objects were replaced, have expired and were evicted.
    fn fates(&self, written: &Written) -> [u64; 3] {
        let metric = |name| self.origin.metric(name, "") as u64;
        let replaced = written.replaced.load(Ordering::Relaxed);
        [replaced, metric("headwater_objects_expired_total"), metric("headwater_evictions_total")]
    }

    fn report(&self, tally: &Tally, written: &Written, took: Duration) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [replaced, expired, evicted] = self.fates(written);
        let way = |way: &str| {
            let label = format!("way=\"{way}\"");
            self.origin.metric("headwater_sent_bytes_total", &label) as u64 >> 20
        };
        println!(
            "tx {}: {} MiB checked in {} s; {} answers whole, {} left, {} unfinished, {} absent; \
             {replaced} replaced, {expired} expired, {evicted} evicted, {} refused; MiB sent: \
             {} copy, {} zc, {} splice; {} faults",
            self.way,
            of(&tally.bytes) >> 20,
            took.as_secs(),
            of(&tally.answers),
            of(&tally.left),
            of(&tally.unfinished),
            of(&tally.absent),
            of(&written.refused),
            way("copy"),
            way("zc"),
            way("splice"),
            tally.faults.lock().unwrap().len(),
        );
    }

    /// The way was used, and nothing is held for readers that are gone.
    fn end(self) {
        let sent =
            |way: &str| self.origin.metric("headwater_sent_bytes_total", &format!("way=\"{way}\""));
        match self.way.as_str() {
            "copy" => assert_eq!((sent("zc"), sent("splice")), (0.0, 0.0)),
            "auto" => {
                assert!(sent("splice") > 0.0 && (self.addresses.len() < 2 || sent("zc") > 0.0));
            }
            way => assert!(sent(way) > 0.0, "nothing was sent by {way}"),
        }
        let deadline = Instant::now() + PATIENCE;
        for name in ["headwater_arena_pinned_bytes", "headwater_spliced_unread_bytes"] {
            while self.origin.metric(name, "") > 0.0 {
                let held = self.origin.metric(name, "");
                assert!(Instant::now() < deadline, "{name} is {held} without a reader");
                thread::sleep(Duration::from_millis(50));
            }
        }
        self.origin.stop();
    }
}

/// An address of this host that is not loopback's, and a free port there. Nothing is sent.
fn own_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then(|| SocketAddr::new(ip, support::free_address().port()))
}

fn burn(name: &str, way: &str, leaves: bool) {
    let field = Field::new(name, way);
    field.burn(leaves);
    field.end();
}

#[test]
fn readers_slowed_to_a_crawl_get_no_wrong_byte() {
    for way in ways(&["auto", "copy"]) {
        burn("crawl", way, false);
    }
}

#[test]
fn readers_that_leave_in_the_middle_get_no_wrong_byte() {
    burn("leave", "auto", true);
}

/// A writer stores a byte that its version does not have: a reader finds it.
#[test]
fn a_planted_wrong_byte_is_found() {
    let field = Field::new("planted", "auto");
    let (families, tally): ([Family; 3], _) = (families(), Tally::default());
    let (key, path) = families[0].pick(&mut Random::new(1));
    let large = (0..).find(|&version| Content::new(field.seed, key, version).len > 1 << 20);
    let version = large.unwrap();
    let mut body = Content::new(field.seed, key, version).bytes();
    body[777_777] ^= 0x40;
    let kind = format!("Content-Type: video/version-{version}");
    let lines = [writers::TOKEN, &kind];
    assert_eq!(field.origin.request("PUT", &path, &lines, &body).status, 200);
    let random = Random::new(field.seed);
    let (address, seed) = (field.origin.http, field.seed);
    let families = &families[..1];
    let window_min = 512 * 1024;
    Reader { address, seed, random, window_min, leaves: false, families, tally: &tally }.run();
    let faults = tally.faults.into_inner().unwrap();
    assert!(faults[0].starts_with("WRONG BYTE at 777777 "), "{faults:?}");
    field.origin.stop();
}
