//! The folders of the disk tier: opened, locked and probed once at boot, shared by all shards.
//!
//! Invariants: one process uses a data folder at a time; what an earlier process left half written
//! in the temporary folder is gone before anything is served; a tier that has failed stays failed
//! until the process ends; nothing is written while another folder, or none, lies at its path.
#![allow(unsafe_code)]

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::room::{Marks, Room};
use crate::limits;

mod local;
pub mod names;

/// The tier's own folder beneath the root: what is being written lies in it.
const OWN: &str = ".headwater";

/// A folder whose files are objects.
#[derive(Debug)]
pub struct DataFolder {
    /// Where an operator sees it, from the root on; empty in a simulation.
    path: PathBuf,
    root: RawFd,
    /// None where nothing is written.
    own: Option<RawFd>,
    /// Keeps both open, and the second one locked; empty in a simulation.
    files: Vec<File>,
    is_broken: AtomicBool,
    is_away: AtomicBool,
    room: Room,
    at_hand: local::AtHand,
    /// Removals of folders by anybody, those under way (lower half) and those done, by a hash of
    /// the folder.
    removals: [AtomicU64; limits::FOLDER_REMOVALS],
}

impl DataFolder {
    /// Makes a folder ready for writes: made if need be, locked, its temporary files removed.
    ///
    /// # Errors
    /// WouldBlock when another process has it, Unsupported when its file system has no extended
    /// attributes, and those of the calls.
    pub fn open(path: &Path) -> io::Result<Self> {
        let own = path.join(OWN);
        fs::create_dir_all(&own)?;
        let (root, own_folder) = (File::open(path)?, File::open(&own)?);
        match own_folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        for entry in fs::read_dir(&own)? {
            fs::remove_file(entry?.path())?;
        }
        probe_attributes(&own.join("probe"))?;
        root.sync_all()?;
        Self::at(path, Some(own_folder.as_raw_fd()), vec![root, own_folder])
    }

    /// Opens a tree that is only read.
    ///
    /// # Errors
    /// Those of the call; NotADirectory for a file.
    pub fn open_library(path: &Path) -> io::Result<Self> {
        let root = File::open(path)?;
        if !root.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Self::at(path, None, vec![root])
    }

    /// The same folder, whose file system may be used up to these marks.
    #[must_use]
    pub fn with_marks(mut self, marks: Marks) -> Self {
        self.room = Room::new(marks);
        self.look();
        self
    }

    /// The folder of a simulated disk.
    #[cfg(test)]
    pub fn simulated([root, own]: [RawFd; 2]) -> Self {
        Self::of(root, Some(own))
    }

    fn at(path: &Path, own: Option<RawFd>, files: Vec<File>) -> io::Result<Self> {
        let path = path::absolute(path)?;
        let (root, at_hand) = (files[0].as_raw_fd(), local::AtHand::of(&files[0]));
        Ok(Self { path, files, at_hand, ..Self::of(root, own) })
    }

    fn of(root: RawFd, own: Option<RawFd>) -> Self {
        Self {
            path: PathBuf::new(),
            root,
            own,
            files: Vec::new(),
            is_broken: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            room: Room::default(),
            at_hand: local::AtHand::default(),
            removals: [const { AtomicU64::new(0) }; limits::FOLDER_REMOVALS],
        }
    }

    /// Where an operator sees it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that keys are relative to.
    pub fn root(&self) -> RawFd {
        self.root
    }

    /// The folder of what is being written; none where nothing is.
    pub fn temporary(&self) -> Option<RawFd> {
        self.own
    }

    /// Notes that a folder beneath the root is about to be removed.
    pub fn begin_removal(&self, folder: &[u8]) {
        self.removals_of(folder).fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that the removal has worked, or has not.
    pub fn end_removal(&self, folder: &[u8], has_worked: bool) {
        let one_done = if has_worked { 1u64 << 32 } else { 0 };
        self.removals_of(folder).fetch_add(one_done.wrapping_sub(1), Ordering::SeqCst);
    }

    /// Removals of the folder so far, others with its hash included; none while one is under way.
    pub fn removals(&self, folder: &[u8]) -> Option<u32> {
        let removals = self.removals_of(folder).load(Ordering::SeqCst);
        let under_way = removals & u64::from(u32::MAX) != 0;
        (!under_way).then(|| u32::try_from(removals >> 32).expect("the upper half"))
    }

    fn removals_of(&self, folder: &[u8]) -> &AtomicU64 {
        let hash = usize::try_from(xxh3_64(folder)).expect("a usize has 64 bits");
        &self.removals[hash % limits::FOLDER_REMOVALS]
    }

    /// Notes that the folder cannot be trusted with writes any more; `false` when that was known.
    pub fn give_up(&self) -> bool {
        !self.is_broken.swap(true, Ordering::Relaxed)
    }

    /// Whether writes are refused until the process ends.
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Looks whether the folder still lies at its path: it may have been moved, unmounted or
    /// removed, or something else mounted over it; and how much of its file system is used. Logs
    /// when that changes. Blocks as long as the file system does.
    pub fn look(&self) {
        let Some(held) = self.files.first() else { return };
        if let Err(error) = self.room.measure(held) {
            tracing::warn!("the disk's use cannot be measured: {error}");
        }
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let there = fs::metadata(&self.path).map(identity);
        let is_ours = match (held.metadata().map(identity), &there) {
            (Ok(held), Ok(there)) => held == *there,
            _ => false,
        };
        if self.is_away.swap(!is_ours, Ordering::Relaxed) != is_ours {
            return;
        }
        let path = self.path.display();
        match there {
            _ if is_ours => tracing::info!("the folder {path} is back"),
            Ok(_) => tracing::warn!(
                "another folder lies at {path}: nothing is written until the first one is back, or \
                 the origin is started again"
            ),
            Err(error) => tracing::warn!(
                "the folder {path} is away: {error}; nothing is written until it is back"
            ),
        }
    }

    /// Whether the kernel has in memory what it says of an open file on this device.
    pub fn has_at_hand(&self, device: (u32, u32)) -> bool {
        self.at_hand.has_status(device)
    }

    /// Whether files there have had no attributes so far: that they have none is at hand as well.
    pub fn is_plain(&self) -> bool {
        self.own.is_none() && self.at_hand.has_no_attributes_yet()
    }

    /// Notes that a file has attributes.
    pub fn note_attributes(&self) {
        self.at_hand.note_attributes();
    }

    /// How much of its file system was used when somebody last looked.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Whether the folder was not at its path when somebody last looked.
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }
}

/// The metadata of an open file; `None` when it has none.
///
/// # Errors
/// Those of fgetxattr(2).
pub fn attribute(file: &impl AsRawFd) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; crate::limits::ATTRIBUTE_BYTES_MAX];
    let (name, into) = (c"user.headwater".as_ptr(), value.as_mut_ptr().cast());
    // SAFETY: the name outlives the call, and the value has as many bytes as are said.
    let count = unsafe { libc::fgetxattr(file.as_raw_fd(), name, into, value.len()) };
    let Ok(count) = usize::try_from(count) else {
        let error = io::Error::last_os_error();
        let is_none = matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP));
        return if is_none { Ok(None) } else { Err(error) };
    };
    value.truncate(count);
    Ok(Some(value))
}

fn probe_attributes(path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    let (name, value) = (c"user.headwater".as_ptr(), c"probe".as_ptr().cast());
    // SAFETY: both strings outlive the call, and the value has five bytes.
    let result = unsafe { libc::fsetxattr(file.as_raw_fd(), name, value, 5, 0) };
    let error = io::Error::last_os_error();
    fs::remove_file(path)?;
    match result {
        0 => Ok(()),
        _ if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("headwater-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn a_folder_is_emptied_of_half_written_files_and_has_one_user() {
        let path = scratch("folder");
        drop(DataFolder::open(&path).unwrap());
        fs::write(path.join(OWN).join("0-1"), "half").unwrap();
        fs::write(path.join("kept"), "whole").unwrap();
        let folder = DataFolder::open(&path).unwrap();
        assert_eq!(fs::read_dir(path.join(OWN)).unwrap().count(), 0);
        assert!(path.join("kept").exists());
        assert_eq!(DataFolder::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(folder.give_up() && !folder.give_up() && folder.is_broken());
        fs::remove_dir_all(&path).unwrap();
    }

    /// Whoever took the folder for synced has to see that it may be another one.
    #[test]
    fn a_removal_shows_while_it_is_under_way_and_once_it_has_worked() {
        let folder = DataFolder::simulated([0, 1]);
        let before = folder.removals(b"a/b");
        folder.begin_removal(b"a/b");
        folder.begin_removal(b"a/b");
        folder.end_removal(b"a/b", false);
        assert_eq!((before, folder.removals(b"a/b")), (Some(0), None));
        folder.end_removal(b"a/b", false);
        assert_eq!(folder.removals(b"a/b"), before);
        folder.begin_removal(b"a/b");
        folder.end_removal(b"a/b", true);
        assert_eq!(folder.removals(b"a/b"), Some(1));
    }

    #[test]
    fn a_folder_is_away_until_the_same_one_is_back() {
        let (path, elsewhere) = (scratch("away"), scratch("elsewhere"));
        let folder = DataFolder::open(&path).unwrap();
        let is_away = || {
            folder.look();
            folder.is_away()
        };
        assert!(!is_away());
        fs::rename(&path, &elsewhere).unwrap();
        assert!(is_away() && is_away());
        fs::create_dir(&path).unwrap();
        assert!(is_away(), "another folder");
        fs::remove_dir(&path).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        assert!(!is_away());
        fs::remove_dir_all(&path).unwrap();
        assert!(is_away());
    }

    #[test]
    fn a_file_is_no_library() {
        let path = scratch("file");
        fs::write(&path, "").unwrap();
        let error = DataFolder::open_library(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        fs::remove_file(&path).unwrap();
    }
}
