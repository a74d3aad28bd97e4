//! Files and folders of the double, and what is left of them when the power fails.
//!
//! Everything has two states: what calls see, and what is on the medium. Writes, attributes and
//! names reach the medium by a sync that began after them, and by nothing else that can be relied
//! on: a power cut keeps or loses each changed sector, each attribute and each name by itself. A
//! sync that fails loses what it was for, and the next one succeeds without it, as the kernel has
//! it.
//!
//! Invariants: a medium is made of its seed and the calls before it; nothing here is a real file.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use crate::sys::random::Random;

/// Bytes of the smallest thing that a medium writes whole.
const SECTOR_BYTES: usize = 512;
/// Bytes of a page, which a medium may write whole.
const PAGE_BYTES: usize = 4096;

/// The number of a file or folder.
pub(super) type Inode = usize;

/// What a call comes to: a result, or an error number.
pub(super) type Outcome<T> = Result<T, i32>;

/// What the double has of a disk.
#[derive(Clone, Debug)]
pub struct Disk {
    nodes: Vec<Node>,
    /// Changes so far; each has its number.
    changes: u64,
}

#[derive(Clone, Debug)]
enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    attribute: Option<Vec<u8>>,
    kept_bytes: Vec<u8>,
    kept_attribute: Option<Vec<u8>>,
    /// Sectors that no sync has dealt with, and their last change.
    dirty: BTreeMap<usize, u64>,
    attribute_changed: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Folder {
    names: BTreeMap<Vec<u8>, Inode>,
    kept: BTreeMap<Vec<u8>, Inode>,
    /// What names came to mean since the last sync: change, name, meaning.
    changed: Vec<(u64, Vec<u8>, Option<Inode>)>,
    /// It has no name any more.
    is_removed: bool,
}

impl Default for Disk {
    /// An empty root with the tier's own folder.
    fn default() -> Self {
        let own = BTreeMap::from([(b".headwater".to_vec(), Self::OWN)]);
        let root = Folder { names: own.clone(), kept: own, ..Folder::default() };
        Self { nodes: vec![Node::Folder(root), Node::Folder(Folder::default())], changes: 0 }
    }
}

impl File {
    fn write(&mut self, at: usize, bytes: &[u8], change: u64) {
        let end = at + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
        let sectors = at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES);
        self.dirty.extend(sectors.map(|sector| (sector, change)));
    }

    fn keep(&mut self, sector: usize) {
        let from = sector * SECTOR_BYTES;
        let to = self.bytes.len().min(from + SECTOR_BYTES);
        if self.kept_bytes.len() < to {
            self.kept_bytes.resize(to, 0);
        }
        self.kept_bytes[from..to].copy_from_slice(&self.bytes[from..to]);
    }

    fn sync(&mut self, until: u64, works: bool) {
        let dirty = mem::take(&mut self.dirty);
        for (sector, change) in dirty {
            match change <= until {
                true if works => self.keep(sector),
                true => {}
                false => self.dirty.extend([(sector, change)]),
            }
        }
        if self.attribute_changed.is_some_and(|change| change <= until) {
            self.attribute_changed = None;
            if works {
                self.kept_attribute.clone_from(&self.attribute);
            }
        }
    }

    fn cut(&mut self, random: &mut Random) {
        let unit = if random.once_in(2) { 1 } else { PAGE_BYTES / SECTOR_BYTES };
        let units: BTreeSet<_> = self.dirty.keys().map(|sector| sector / unit).collect();
        let lucky: BTreeSet<_> = units.into_iter().filter(|_| random.once_in(2)).collect();
        for sector in mem::take(&mut self.dirty).into_keys() {
            if lucky.contains(&(sector / unit)) {
                self.keep(sector);
            }
        }
        if self.attribute_changed.take().is_some() && random.once_in(2) {
            self.kept_attribute.clone_from(&self.attribute);
        }
        // The length may be there before the bytes are.
        if random.once_in(2) {
            self.kept_bytes.resize(self.bytes.len(), 0);
        }
        self.bytes.clone_from(&self.kept_bytes);
        self.attribute.clone_from(&self.kept_attribute);
    }
}

impl Folder {
    fn set(&mut self, name: &[u8], inode: Option<Inode>, change: u64) {
        mean(&mut self.names, name, inode);
        self.changed.push((change, name.to_vec(), inode));
    }

    fn sync(&mut self, until: u64, works: bool) {
        for (change, name, inode) in mem::take(&mut self.changed) {
            match change <= until {
                true if works => mean(&mut self.kept, &name, inode),
                true => {}
                false => self.changed.push((change, name, inode)),
            }
        }
    }

    fn cut(&mut self, random: &mut Random) {
        let mut given_up = BTreeSet::new();
        for (_, name, inode) in mem::take(&mut self.changed) {
            // Changes of one name get there in order.
            if given_up.contains(&name) || random.once_in(2) {
                given_up.insert(name);
            } else {
                mean(&mut self.kept, &name, inode);
            }
        }
        self.names.clone_from(&self.kept);
        self.is_removed = false;
    }
}

fn mean(names: &mut BTreeMap<Vec<u8>, Inode>, name: &[u8], inode: Option<Inode>) {
    names.remove(name);
    names.extend(inode.map(|inode| (name.to_vec(), inode)));
}

impl Disk {
    /// The folder of everything.
    pub(super) const ROOT: Inode = 0;
    /// The tier's own folder.
    pub(super) const OWN: Inode = 1;

    /// What the next boot finds after the power has failed now, temporary files taken away.
    #[must_use]
    pub fn cut(&self, random: &mut Random) -> Self {
        let mut left = self.clone();
        for node in &mut left.nodes {
            match node {
                Node::File(file) => file.cut(random),
                Node::Folder(folder) => folder.cut(random),
            }
        }
        left.nodes[Self::OWN] = Node::Folder(Folder::default());
        left
    }

    /// Changes so far: a sync that begins now is for these.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn is_folder(&self, inode: Inode) -> bool {
        matches!(self.nodes[inode], Node::Folder(_))
    }

    fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn folder(&mut self, inode: Inode) -> Outcome<&mut Folder> {
        match &mut self.nodes[inode] {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(libc::ENOTDIR),
        }
    }

    fn file(&mut self, inode: Inode) -> Outcome<&mut File> {
        match &mut self.nodes[inode] {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(libc::EISDIR),
        }
    }

    fn look_up(&mut self, folder: Inode, name: &[u8]) -> Outcome<Inode> {
        self.folder(folder)?.names.get(name).copied().ok_or(libc::ENOENT)
    }

    /// Gives a name a new meaning; in a folder that was removed nothing can be named.
    fn set(&mut self, folder: Inode, name: &[u8], inode: Option<Inode>) -> Outcome<()> {
        let change = self.change();
        let folder = self.folder(folder)?;
        if folder.is_removed && inode.is_some() {
            return Err(libc::ENOENT);
        }
        folder.set(name, inode, change);
        Ok(())
    }

    fn make(&mut self, folder: Inode, name: &[u8], node: Node) -> Outcome<Inode> {
        match self.look_up(folder, name) {
            Ok(_) => return Err(libc::EEXIST),
            Err(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
        let inode = self.nodes.len();
        self.set(folder, name, Some(inode))?;
        self.nodes.push(node);
        Ok(inode)
    }

    /// What a path means, from a folder on; a file is made where it is wanted.
    pub(super) fn open(&mut self, from: Inode, path: &[u8], creates: bool) -> Outcome<Inode> {
        if creates {
            assert!(!path.contains(&b'/'), "files are made in an open folder");
            return self.make(from, path, Node::File(File::default()));
        }
        let names = path.split(|&byte| byte == b'/').filter(|name| *name != b".");
        names.into_iter().try_fold(from, |folder, name| self.look_up(folder, name))
    }

    pub(super) fn make_folder(&mut self, folder: Inode, name: &[u8]) -> Outcome<()> {
        self.make(folder, name, Node::Folder(Folder::default())).map(drop)
    }

    pub(super) fn rename(
        &mut self,
        (from_folder, from): (Inode, &[u8]),
        (to_folder, to): (Inode, &[u8]),
    ) -> Outcome<()> {
        let inode = self.look_up(from_folder, from)?;
        if self.look_up(to_folder, to).is_ok_and(|target| self.is_folder(target)) {
            return Err(libc::EISDIR);
        }
        self.set(to_folder, to, Some(inode))?;
        self.set(from_folder, from, None)
    }

    pub(super) fn unlink(&mut self, folder: Inode, name: &[u8], is_folder: bool) -> Outcome<()> {
        let inode = self.look_up(folder, name)?;
        match (&mut self.nodes[inode], is_folder) {
            (Node::File(_), true) => return Err(libc::ENOTDIR),
            (Node::Folder(_), false) => return Err(libc::EISDIR),
            (Node::Folder(gone), true) if !gone.names.is_empty() => return Err(libc::ENOTEMPTY),
            (Node::Folder(gone), true) => gone.is_removed = true,
            (Node::File(_), false) => {}
        }
        self.set(folder, name, None)
    }

    pub(super) fn write(&mut self, inode: Inode, at: u64, bytes: &[u8]) -> Outcome<()> {
        let change = self.change();
        let at = usize::try_from(at).expect("files of tests are small");
        self.file(inode)?.write(at, bytes, change);
        Ok(())
    }

    pub(super) fn read(&mut self, inode: Inode, at: u64, len: usize) -> Outcome<&[u8]> {
        let file = self.file(inode)?;
        let from = usize::try_from(at).expect("files of tests are small").min(file.bytes.len());
        Ok(&file.bytes[from..file.bytes.len().min(from + len)])
    }

    pub(super) fn set_attribute(&mut self, inode: Inode, value: Vec<u8>) -> Outcome<()> {
        let change = self.change();
        let file = self.file(inode)?;
        (file.attribute, file.attribute_changed) = (Some(value), Some(change));
        Ok(())
    }

    pub(super) fn attribute(&mut self, inode: Inode) -> Outcome<&[u8]> {
        self.file(inode)?.attribute.as_deref().ok_or(libc::ENODATA)
    }

    pub(super) fn bytes(&mut self, inode: Inode) -> u64 {
        self.file(inode).map_or(0, |file| file.bytes.len() as u64)
    }

    /// Brings changes up to `until` to the medium, or loses them.
    pub(super) fn sync(&mut self, inode: Inode, until: u64, works: bool) {
        match &mut self.nodes[inode] {
            Node::File(file) => file.sync(until, works),
            Node::Folder(folder) => folder.sync(until, works),
        }
    }
}
