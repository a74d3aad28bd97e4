//! Fuzzing on the stable toolchain: every target on its corpus, then on changed inputs for a while.
//!
//! `HEADWATER_FUZZ_SECONDS` says for how long (2 seconds without it; `scripts/fuzz` sets it),
//! `HEADWATER_FUZZ_SEED` repeats a run, and `HEADWATER_FUZZ_TARGET` runs one target alone. The
//! corpus of a target is the parser vectors and the files of `tests/corpus/NAME/`, to which every
//! input that once broke a promise is added.
#![allow(clippy::unwrap_used)]

#[path = "fuzz/connection.rs"]
mod connection;
#[path = "fuzz/frames.rs"]
mod frames;
#[path = "fuzz/media.rs"]
mod media;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/targets.rs"]
mod targets;
#[path = "strictness/vectors.rs"]
mod vectors;

mod support;

use std::collections::HashSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use mutate::{Random, mutate};
use targets::{TARGETS, Target};

fn duration() -> Duration {
    let seconds = std::env::var("HEADWATER_FUZZ_SECONDS").map_or(2, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// The inputs from which a target starts.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    for theme in
        ["request-line", "headers", "host", "length", "issues", "chunked", "range", "conditional"]
    {
        inputs.extend(vectors::read(theme).into_iter().map(|vector| vector.bytes));
    }
    let folder = format!("{}/tests/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    if let Ok(entries) = fs::read_dir(folder) {
        inputs.extend(entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()));
    }
    inputs
}

/// Runs one input; one that breaks a promise is left in the target folder for the corpus.
fn run(target: &Target, data: &[u8]) -> u64 {
    panic::catch_unwind(AssertUnwindSafe(|| (target.run)(data))).unwrap_or_else(|_| {
        let path = format!("{}/fuzz-{}", env!("CARGO_TARGET_TMPDIR"), target.name);
        fs::write(&path, data).unwrap();
        panic!("{} broke on {:?}; it is in {path}", target.name, String::from_utf8_lossy(data));
    })
}

#[test]
fn every_target_holds_on_changed_inputs() {
    let only = std::env::var("HEADWATER_FUZZ_TARGET").ok();
    let is_chosen = |target: &&Target| only.as_ref().is_none_or(|only| only == target.name);
    let chosen: Vec<&Target> = TARGETS.iter().filter(is_chosen).collect();
    let each = duration() / u32::try_from(chosen.len()).unwrap();
    for target in chosen {
        let mut random = Random::announced(target.name);
        let mut inputs = corpus(target.name);
        inputs.iter_mut().for_each(|data| data.truncate(target.bytes_max));
        let mut outcomes = HashSet::new();
        for data in &inputs {
            outcomes.insert(run(target, data));
        }
        let end = Instant::now() + each;
        let mut count = 0;
        while Instant::now() < end {
            let mut data = inputs[random.below(inputs.len())].clone();
            mutate(&mut random, &mut data, &inputs, target.bytes_max);
            if outcomes.insert(run(target, &data)) {
                inputs.push(data);
            }
            count += 1;
        }
        println!("{}: {count} inputs, {} outcomes", target.name, outcomes.len());
    }
}

#[test]
fn the_origin_holds_on_changed_connections() {
    connection::run(duration());
}
