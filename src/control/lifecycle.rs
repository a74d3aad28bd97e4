//! Walks the data folder, slowly, and proposes what is due: lifecycle rules and room.
//!
//! One thread, since reading folders blocks. It proposes a key to its owner, which looks again and
//! acts by its ordinary jobs; the next walk finds what was not done. Between walks it pauses as
//! long as the walk took, within bounds; while nothing is configured it only looks for that.
//!
//! **Invariants**: entries a second, proposals under way and candidates remembered are bounded by
//! `limits`; links are not followed; nothing is proposed to make room that no store could have.

use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::PathRules;
use crate::limits::lifecycle as limits;
use crate::sys::clock::Clock;
use crate::sys::folder::DataFolder;
use crate::tier::disk::path::RESERVED;
use crate::tier::lifecycle::{Deed, Due};

/// Calls back with the rules that hold now.
pub type ShowRules = Box<dyn Fn(&mut dyn FnMut(&PathRules)) + Send>;

/// What a walk needs of the rest.
pub struct Parts {
    /// The folder.
    pub data: Arc<DataFolder>,
    /// Whether there is a remote store.
    pub has_remote: bool,
    /// The rules by path.
    pub rules: ShowRules,
    /// Proposes something to the key's owner.
    pub propose: Box<dyn Fn(Due) + Send>,
}

/// The running thread; it ends soon after this is dropped.
#[derive(Debug)]
pub struct Lifecycle(#[expect(dead_code, reason = "its end is what counts")] Arc<()>);

/// Starts the thread.
///
/// # Errors
/// EAGAIN when no thread is to be had.
pub fn spawn(parts: Parts) -> std::io::Result<Lifecycle> {
    let life = Arc::new(());
    let alive = Arc::downgrade(&life);
    thread::Builder::new().name("lifecycle".to_owned()).spawn(move || run(&parts, &alive))?;
    Ok(Lifecycle(life))
}

fn run(parts: &Parts, alive: &Weak<()>) {
    let least = Duration::from_millis(limits::PAUSE_MS);
    let most = Duration::from_millis(limits::PAUSE_MS_MAX);
    let place = Arc::new(());
    while alive.strong_count() > 0 {
        let started = Instant::now();
        let mut walk = Walk { parts, alive, place: &place, oldest: BinaryHeap::new(), entries: 0 };
        if walk.is_wanted() {
            walk.folder(&mut PathBuf::new());
            walk.make_room();
        }
        let until = Instant::now() + started.elapsed().clamp(least, most);
        while alive.strong_count() > 0 && Instant::now() < until && !parts.is_tight() {
            thread::sleep(least);
        }
        thread::sleep(least);
    }
}

impl Parts {
    /// Whether files have to go that the store has.
    fn is_tight(&self) -> bool {
        self.has_remote && self.data.room().is_tight()
    }
}

/// A file that may go for want of room, by when it was last used.
type Candidate = (i64, Box<[u8]>);

struct Walk<'a> {
    parts: &'a Parts,
    alive: &'a Weak<()>,
    place: &'a Arc<()>,
    /// Those that were not used for longest.
    oldest: BinaryHeap<Candidate>,
    entries: u32,
}

impl Walk<'_> {
    fn is_wanted(&self) -> bool {
        let data = &self.parts.data;
        if data.is_broken() || data.is_away() {
            return false;
        }
        let mut is_wanted = self.parts.is_tight();
        (self.parts.rules)(&mut |rules| {
            is_wanted |= rules.any_expires();
            is_wanted |= self.parts.has_remote && rules.any_moves();
        });
        is_wanted
    }

    /// Everything beneath a folder. What cannot be read is left to another walk: it may just have
    /// been removed.
    fn folder(&mut self, key: &mut PathBuf) {
        let Ok(entries) = fs::read_dir(self.parts.data.path().join(&*key)) else { return };
        for entry in entries.flatten() {
            if self.alive.strong_count() == 0 || self.parts.data.is_away() {
                return;
            }
            self.pace();
            let name = entry.file_name();
            if key.as_os_str().is_empty() && name.as_bytes() == RESERVED {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            key.push(name);
            if kind.is_dir() {
                self.folder(key);
            } else if kind.is_file()
                && let Ok(status) = entry.metadata()
            {
                self.file(key, &status);
            }
            key.pop();
        }
    }

    /// So many entries a second, in bursts.
    fn pace(&mut self) {
        self.entries += 1;
        if self.entries.is_multiple_of(limits::BURST) {
            thread::sleep(Duration::from_millis(limits::BURST_PAUSE_MS));
        }
    }

    fn file(&mut self, path: &Path, status: &fs::Metadata) {
        let key = OsStr::as_bytes(path.as_os_str());
        let (now_s, stored_s) = (Clock::wall_ms() / 1000, status.mtime());
        let due_by = |after_s: Option<u64>| {
            let until_s = now_s.checked_sub(after_s?)?;
            (u64::try_from(stored_s).unwrap_or(0) <= until_s).then_some(until_s)
        };
        let (mut expires, mut moves) = (None, None);
        (self.parts.rules)(&mut |rules| {
            expires = due_by(rules.expire_after_s(key));
            moves = due_by(rules.remote_after_s(key)).filter(|_| self.parts.has_remote);
        });
        match (expires, moves) {
            (Some(until_s), _) => self.propose(key.into(), Deed::Expire, until_s),
            (None, Some(until_s)) => self.propose(key.into(), Deed::Move, until_s),
            (None, None) if self.parts.is_tight() => {
                self.oldest.push((status.mtime().max(status.atime()), key.into()));
                if self.oldest.len() > limits::CANDIDATES_MAX {
                    self.oldest.pop();
                }
            }
            (None, None) => {}
        }
    }

    /// Moves what was not used for longest, until the low mark is reached.
    fn make_room(&mut self) {
        let oldest = std::mem::take(&mut self.oldest).into_sorted_vec();
        for few in oldest.chunks(limits::JOBS_MAX) {
            if !self.parts.is_tight() || self.alive.strong_count() == 0 {
                return;
            }
            for (_, key) in few {
                self.propose(key.clone(), Deed::Move, u64::MAX);
            }
            self.wait(0);
            self.parts.data.look();
        }
    }

    fn propose(&self, key: Box<[u8]>, deed: Deed, until_s: u64) {
        self.wait(limits::JOBS_MAX - 1);
        (self.parts.propose)(Due { key, deed, until_s, place: self.place.clone() });
    }

    /// Waits until at most so many proposals are under way.
    fn wait(&self, under_way: usize) {
        while Arc::strong_count(self.place) > 1 + under_way && self.alive.strong_count() > 0 {
            thread::sleep(Duration::from_millis(limits::WAIT_MS));
        }
    }
}
