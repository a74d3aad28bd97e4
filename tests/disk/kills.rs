//! Kills under load: every acknowledged upload is there with its bytes, none is half there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::start;
use super::support::wire::Client;
use super::support::{Origin, Scratch, pattern, signal};

const KEYS: u64 = 24;
const WRITERS: u64 = 4;

/// What may be under a key: versions by number; 0 is absence.
#[derive(Clone, Default)]
struct Known {
    acknowledged: u64,
    /// Sent after that and not acknowledged.
    begun: Vec<u64>,
}

fn target(key: u64) -> String {
    format!("/kill/{}/{key}.mp4", key % 5)
}

/// A version says which it is, and its bytes follow from that.
fn body(key: u64, version: u64) -> Vec<u8> {
    let len = 16 + (version * 7919 + key * 104_729) % 150_000;
    let mut body = pattern(key << 32 | version, usize::try_from(len).unwrap());
    body[..8].copy_from_slice(&version.to_le_bytes());
    body
}

/// Writes until the origin is gone. Each writer has keys of its own.
fn write(origin: &Origin, writer: u64, seed: u64, known: &Mutex<BTreeMap<u64, Known>>) {
    let Ok(mut client) = Client::connect(origin.http) else { return };
    for step in 1.. {
        let choice = u64::from_le_bytes(pattern(seed ^ step << 8 ^ writer, 8).try_into().unwrap());
        let key = choice % (KEYS / WRITERS) * WRITERS + writer;
        let deletes = choice >> 32 & 7 == 0;
        let version = if deletes { 0 } else { seed << 32 | step };
        known.lock().unwrap().entry(key).or_default().begun.push(version);
        let answer = match deletes {
            true => client.request("DELETE", &target(key), &[], b""),
            false => client.request("PUT", &target(key), &[], &body(key, version)),
        };
        let Ok(answer) = answer else { return };
        assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
        let fresh = Known { acknowledged: version, begun: Vec::new() };
        known.lock().unwrap().insert(key, fresh);
    }
}

/// Reads every key and settles what it is from now on.
fn check(origin: &Origin, known: &mut BTreeMap<u64, Known>, seed: u64) {
    for (&key, known) in known.iter_mut() {
        let answer = origin.get(&target(key));
        let version = match answer.status {
            404 => 0,
            200 => u64::from_le_bytes(answer.body[..8].try_into().unwrap()),
            _ => panic!("seed {seed}: {}: {}", target(key), answer.text()),
        };
        let may_be = known.acknowledged == version || known.begun.contains(&version);
        assert!(may_be, "seed {seed}: {} has {version}, not {}", target(key), known.acknowledged);
        assert!(version == 0 || answer.body == body(key, version), "seed {seed}: other bytes");
        *known = Known { acknowledged: version, begun: Vec::new() };
    }
}

/// `scripts/durability` asks for more rounds.
#[test]
fn acknowledged_uploads_survive_kills_under_load() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("HEADWATER_KILLS").unwrap_or(4);
    let first = number("HEADWATER_SEED").unwrap_or(1);
    let scratch = Scratch::new("disk-kills");
    let known = Mutex::new(BTreeMap::new());
    for seed in first..first + rounds {
        println!("seed {seed}");
        let mut origin = start(&scratch, &[]);
        check(&origin, &mut known.lock().unwrap(), seed);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (origin, known) = (&origin, &known);
                scope.spawn(move || write(origin, writer, seed, known));
            }
            std::thread::sleep(Duration::from_millis(30 + seed * 37 % 400));
            signal(origin.pid(), "KILL");
        });
        origin.wait();
    }
    let origin = start(&scratch, &[]);
    check(&origin, &mut known.lock().unwrap(), first + rounds);
    assert!(!known.lock().unwrap().is_empty());
    origin.stop();
}
