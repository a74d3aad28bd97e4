//! What all clients know together: which versions there are, and who saw what when.

use std::collections::BTreeMap;

use super::content;
use super::response::Response;
use crate::store::tests::history::{History, OPERATIONS_MAX, Operation};

/// A key and what becomes of it.
pub const KEYS: [&str; 9] = [
    "/live/a/1.m4s",
    "/live/a/2.m4s",
    "/live/a/index.m3u8",
    "/live/b/1.m4s",
    "/live/b/2.mp4",
    "/live/master.m3u8",
    "/vod/film/x.mp4",
    "/vod/film/x.txt",
    "/top.m3u8",
];

/// Whether a chunked upload of the key may be read while it arrives.
pub fn can_grow(key: usize) -> bool {
    KEYS[key].ends_with(".m4s") || KEYS[key].ends_with(".mp4")
}

#[derive(Debug, Default)]
pub struct Book {
    /// Lengths of the versions of each key.
    lengths: BTreeMap<(usize, u64), u64>,
    histories: BTreeMap<usize, History>,
    /// By when versions must have expired.
    expiries_us: BTreeMap<(usize, u64), u64>,
    instant: u64,
    last_version: u64,
    pub outcomes: BTreeMap<&'static str, u64>,
}

impl Book {
    /// A new instant, later than all before.
    pub fn instant(&mut self) -> u64 {
        self.instant += 1;
        self.instant
    }

    /// An empty book whose instants come after this one's.
    pub fn next(&self) -> Self {
        Self { instant: self.instant, ..Self::default() }
    }

    pub fn count(&mut self, outcome: &'static str) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    /// Whether the key's history has room for a few more operations.
    pub fn has_room(&self, key: usize) -> bool {
        self.histories.get(&key).is_none_or(|history| history.len() + 40 < OPERATIONS_MAX)
    }

    /// A new version of a key.
    pub fn version(&mut self, key: usize, length: u64) -> u64 {
        self.last_version += 1;
        self.lengths.insert((key, self.last_version), length);
        self.last_version
    }

    pub fn note(&mut self, key: usize, called: u64, operation: Operation) {
        let returned = self.instant();
        self.histories.entry(key).or_default().note(called, returned, operation);
    }

    /// Notes an operation of which nobody will ever know whether and when it happened.
    pub fn note_open(&mut self, key: usize, called: u64, operation: Operation) {
        self.histories.entry(key).or_default().note(called, u64::MAX, operation);
    }

    /// The versions whose body has these bytes at `from`; with `length` only those as long.
    fn versions_with(&self, key: usize, from: u64, found: &[u8], length: Option<u64>) -> Vec<u64> {
        let of_key = self.lengths.range((key, 0)..(key + 1, 0));
        let fitting = of_key.filter(|&(&(_, version), &own)| {
            let fits = own >= from + found.len() as u64;
            fits && length.is_none_or(|length| length == own)
                && content::is(key, version, from, found)
        });
        fitting.map(|(&(_, version), _)| version).collect()
    }

    /// Checks a whole body.
    pub fn whole(&mut self, key: usize, called: (u64, u64), response: &Response) {
        let length = response.body.len() as u64;
        let versions = self.versions_with(key, 0, &response.body, Some(length));
        assert!(!versions.is_empty(), "{}: a body nobody uploaded, {length} bytes", KEYS[key]);
        // What grows is outside of the claim; the empty body says little.
        match versions[..] {
            [version] if !response.chunked => self.read(key, called, version),
            _ => {}
        }
    }

    /// Checks a part of a body.
    pub fn part(&mut self, key: usize, called: (u64, u64), from: u64, length: u64, found: &[u8]) {
        let versions = self.versions_with(key, from, found, Some(length));
        assert!(!versions.is_empty(), "{}: a part that nobody uploaded", KEYS[key]);
        if let [version] = versions[..] {
            self.read(key, called, version);
        }
    }

    fn read(&mut self, key: usize, (called, called_us): (u64, u64), version: u64) {
        let expired = self.expiries_us.get(&(key, version)).is_some_and(|&at| at < called_us);
        assert!(!expired, "{}: version {version} was served after its time", KEYS[key]);
        self.note(key, called, Operation::Read(version));
    }

    /// A version that was stored goes by itself at some instant, and has gone at `by_us`.
    pub fn expires(&mut self, key: usize, version: u64, called: u64, by_us: u64) {
        self.note_open(key, called, Operation::Clear(version));
        self.expiries_us.insert((key, version), by_us);
    }

    /// Checks the beginning of a body that broke off.
    pub fn fragment(&self, key: usize, found: &[u8]) {
        let versions = self.versions_with(key, 0, found, None);
        assert!(!versions.is_empty(), "{}: bytes that nobody uploaded", KEYS[key]);
    }

    /// Looks for one order that explains what was seen of each key.
    pub fn check(&mut self) {
        for (&key, history) in &mut self.histories {
            assert!(history.is_explained(), "no order explains what was seen of {}", KEYS[key]);
        }
    }
}
