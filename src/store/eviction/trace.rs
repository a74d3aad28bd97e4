//! Hit ratios on a seeded media trace: the policy beside LRU and beside what could be had at best
//! by whoever knew the future (Belady).
//!
//! Viewers pick a title by Zipf, begin at its start or seek, and read segment after segment until
//! they leave; many at once. Segments are of one size. Halfway a scan reads the whole library once,
//! a segment for every two of the viewers'.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use super::tests::Cache;

const TITLES: usize = 1_000;
const SEGMENTS: usize = 60;
const LIBRARY: usize = TITLES * SEGMENTS;
const SESSIONS: usize = 200;
const READS: usize = 240_000;

/// One read: the segment, and whether a viewer asks.
#[derive(Clone, Copy)]
struct Read {
    key: usize,
    is_viewer: bool,
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Cumulated shares of the titles, by Zipf with exponent 0.9.
fn zipf() -> Vec<f64> {
    let mut sum = 0.0;
    let cumulated: Vec<f64> = (1..=TITLES)
        .map(|rank| {
            sum += 1.0 / (rank as f64).powf(0.9);
            sum
        })
        .collect();
    cumulated.iter().map(|value| value / sum).collect()
}

fn trace(seed: u64, has_scan: bool) -> Vec<Read> {
    let (mut random, shares) = (Random(seed), zipf());
    let begin = |random: &mut Random| {
        let share = random.share();
        let title = shares.partition_point(|value| *value < share).min(TITLES - 1);
        let at = if random.below(5) == 0 { random.below(SEGMENTS) } else { 0 };
        (title, at)
    };
    let mut sessions: Vec<(usize, usize)> = (0..SESSIONS).map(|_| begin(&mut random)).collect();
    let mut reads = Vec::new();
    let mut scanned = 0;
    for number in 0..READS {
        let session = &mut sessions[random.below(SESSIONS)];
        let (title, at) = *session;
        reads.push(Read { key: title * SEGMENTS + at, is_viewer: true });
        // One in thirty leaves after each segment.
        let stays = at + 1 < SEGMENTS && random.below(30) > 0;
        *session = if stays { (title, at + 1) } else { begin(&mut random) };
        if has_scan && number >= READS / 2 && number % 2 == 0 && scanned < LIBRARY {
            reads.push(Read { key: scanned, is_viewer: false });
            scanned += 1;
        }
    }
    reads
}

/// Share of the viewers' reads in the second half that `hit` answers with yes, in percent.
fn ratio(reads: &[Read], mut hit: impl FnMut(usize, usize) -> bool) -> f64 {
    let (mut seen, mut counted, mut hits) = (0, 0, 0);
    for (at, read) in reads.iter().enumerate() {
        let is_hit = hit(at, read.key);
        if read.is_viewer {
            seen += 1;
            if seen > READS / 2 {
                counted += 1;
                hits += usize::from(is_hit);
            }
        }
    }
    f64::from(hits as u32) * 100.0 / f64::from(counted)
}

fn policy(reads: &[Read], room: usize) -> f64 {
    let mut cache = Cache::new(LIBRARY, room);
    ratio(reads, |_, key| cache.read(key))
}

fn lru(reads: &[Read], room: usize) -> f64 {
    let (mut last, mut order) = (HashMap::new(), BTreeMap::new());
    ratio(reads, |at, key| {
        let before = last.insert(key, at);
        if let Some(before) = before {
            order.remove(&before);
        }
        order.insert(at, key);
        if order.len() > room {
            let (_, oldest) = order.pop_first().unwrap();
            last.remove(&oldest);
        }
        before.is_some()
    })
}

fn optimum(reads: &[Read], room: usize) -> f64 {
    let mut next_use = vec![usize::MAX; reads.len()];
    let mut seen = HashMap::new();
    for (at, read) in reads.iter().enumerate().rev() {
        next_use[at] = seen.insert(read.key, at).unwrap_or(usize::MAX);
    }
    let (mut held, mut farthest) = (HashMap::new(), BinaryHeap::new());
    ratio(reads, |at, key| {
        let is_hit = held.insert(key, next_use[at]).is_some();
        farthest.push((next_use[at], key));
        while held.len() > room {
            let (next, victim) = farthest.pop().unwrap();
            // What was read again since has another entry.
            if held.get(&victim) == Some(&next) {
                held.remove(&victim);
            }
        }
        is_hit
    })
}

/// The table of `docs/PERFORMANCE.md`: `cargo test -- --nocapture hit_ratios`.
#[test]
fn hit_ratios_beside_lru_and_the_optimum() {
    let (plain, scanned) = (trace(7, false), trace(7, true));
    println!(
        "|Memory, share of the library|S3-FIFO|LRU|optimum|S3-FIFO with a scan|LRU with a scan|"
    );
    println!("|---|---|---|---|---|---|");
    for percent in [2, 5, 10, 20] {
        let room = LIBRARY * percent / 100;
        let [ours, theirs, best] = [policy(&plain, room), lru(&plain, room), optimum(&plain, room)];
        let [ours_scanned, theirs_scanned] = [policy(&scanned, room), lru(&scanned, room)];
        println!(
            "|{percent} %|{ours:.1} %|{theirs:.1} %|{best:.1} %|{ours_scanned:.1} %|\
             {theirs_scanned:.1} %|"
        );
        assert!(ours > theirs - 1.0, "{percent} %: {ours} is below LRU's {theirs}");
        assert!(ours <= best && theirs <= best);
        assert!(ours - ours_scanned <= 5.0, "{percent} %: a scan costs {}", ours - ours_scanned);
    }
}
