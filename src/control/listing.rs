//! Reads folders of the disk tier for listings, on a thread of its own: reading names blocks, and
//! the ring has no operation for it.
//!
//! A page is the smallest names after the one that the last page ended with: all names of the
//! folder are read for it, and no more of them are kept than the page has. What a name means is
//! looked up as a cold read would: the data folder first, then the library.
//!
//! **Invariants**: memory is one page, whatever the folder has; the queue of orders is bounded;
//! links are not followed, the tier's own folder is left alone; nothing is changed on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::limits::listing as limits;
use crate::sys::clock::Clock;
use crate::sys::folder::names::{self, Hint};
use crate::sys::folder::{self, DataFolder};
use crate::tier::disk::attributes::Attributes;
use crate::tier::disk::path::RESERVED;
use crate::tier::listing::{Answer, Entry, Kind, Order};

/// Starts the thread; it ends when nobody can order any more.
///
/// # Errors
/// EAGAIN when no thread is to be had.
pub fn spawn(folders: Vec<Arc<DataFolder>>) -> io::Result<SyncSender<Order>> {
    let (sender, orders) = sync_channel(limits::LISTINGS_WAITING_MAX);
    thread::Builder::new().name("listings".to_owned()).spawn(move || serve(&folders, &orders))?;
    Ok(sender)
}

fn serve(folders: &[Arc<DataFolder>], orders: &Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        let answer = page(folders, &order).unwrap_or_else(|error| {
            tracing::warn!("a folder cannot be listed: {error}");
            Answer::Failed
        });
        // Whoever asked may have left.
        let _ = order.answer.try_send(answer);
    }
}

fn page(folders: &[Arc<DataFolder>], order: &Order) -> io::Result<Answer> {
    // What lies there is not known, as a cold read does not know it.
    if folders.iter().any(|folder| folder.is_away()) {
        return Ok(Answer::Failed);
    }
    let mut opened = Vec::new();
    for folder in folders {
        opened.extend(found(names::open(folder.root(), &order.folder))?);
    }
    let mut nearest = Nearest::new(order);
    for (place, folder) in opened.iter().enumerate() {
        nearest.take(place, folder)?;
    }
    let through = nearest.cut();
    let mut entries = Vec::new();
    for (name, places) in nearest.names {
        for place in places.into_iter().flatten() {
            let mut looks = limits::FOLDER_LOOKS_MAX;
            if let Some(kind) = look(&opened[place], &name, &mut looks, 0)? {
                entries.push(Entry { name, kind });
                break;
            }
        }
    }
    if entries.is_empty() && through.is_none() && !any_holds(folders, order)? {
        return Ok(Answer::Absent);
    }
    Ok(Answer::Page { entries, through })
}

/// Folders that a listing may have: data and library.
const FOLDERS_MAX: usize = 2;

/// The names that come next.
struct Nearest<'a> {
    order: &'a Order,
    /// Which of the folders have the name.
    names: BTreeMap<Box<[u8]>, [Option<usize>; FOLDERS_MAX]>,
}

impl<'a> Nearest<'a> {
    fn new(order: &'a Order) -> Self {
        Self { order, names: BTreeMap::new() }
    }

    /// Reads all names of a folder.
    fn take(&mut self, place: usize, folder: &File) -> io::Result<()> {
        let all = names::each(folder, &mut |name, hint| {
            if hint == Hint::Usable && is_shown(&self.order.folder, name) {
                self.offer(place, name);
            }
            Ok(ControlFlow::Continue(()))
        });
        found(all).map(drop)
    }

    fn offer(&mut self, place: usize, name: &[u8]) {
        if !self.order.after.is_empty() && *name <= *self.order.after {
            return;
        }
        if let Some(places) = self.names.get_mut(name) {
            places[place] = Some(place);
            return;
        }
        // One more than the page has: whether more follow.
        if self.names.len() > self.order.count_max {
            if self.names.last_key_value().is_some_and(|(last, _)| *name > **last) {
                return;
            }
            self.names.pop_last();
        }
        let mut places = [None; FOLDERS_MAX];
        places[place] = Some(place);
        self.names.insert(name.into(), places);
    }

    /// Leaves what the page has; where more follow, its last name.
    fn cut(&mut self) -> Option<Box<[u8]>> {
        if self.names.len() <= self.order.count_max {
            return None;
        }
        self.names.pop_last();
        self.names.last_key_value().map(|(last, _)| last.clone())
    }
}

/// Whether a name may be an object's or a folder's: not the tier's own, and no part of a key has
/// control bytes.
fn is_shown(folder: &[u8], name: &[u8]) -> bool {
    let is_own = folder.is_empty() && name == RESERVED;
    !is_own && !name.iter().any(u8::is_ascii_control)
}

/// What a name means; `None` where a read would find nothing.
fn look(around: &File, name: &[u8], looks: &mut u32, depth: u32) -> io::Result<Option<Kind>> {
    let Some(file) = found(names::open(around.as_raw_fd(), name))? else { return Ok(None) };
    let status = file.metadata()?;
    if status.is_dir() {
        return Ok(holds(&file, b"?", looks, depth + 1)?.then_some(Kind::Folder));
    }
    if !status.is_file() {
        return Ok(None);
    }
    // What cannot be read is shown as far as it is known, so that a verification names it.
    let value = folder::attribute(&file).unwrap_or(None);
    let attributes = value.and_then(|value| Attributes::decode(&value));
    let attributes = attributes.filter(|attributes| attributes.length == status.len());
    let expires_ms = attributes.as_ref().and_then(|attributes| attributes.expires_ms);
    if expires_ms.is_some_and(|ms| ms <= Clock::wall_ms()) {
        return Ok(None);
    }
    let seconds = u128::try_from(status.mtime()).unwrap_or(0);
    let modified_ns = seconds * 1_000_000_000 + u128::try_from(status.mtime_nsec()).unwrap_or(0);
    let attributes = attributes.map(|attributes| Attributes { chunks: None, ..attributes });
    Ok(Some(Kind::File { bytes: status.len(), modified_ns, attributes: attributes.map(Box::new) }))
}

/// Whether anything in a folder would be shown. A folder that takes long to find out counts as one.
fn holds(folder: &File, path: &[u8], looks: &mut u32, depth: u32) -> io::Result<bool> {
    let mut is_any = depth > limits::FOLDER_LOOKS_DEPTH;
    if is_any {
        return Ok(true);
    }
    let all = names::each(folder, &mut |name, hint| {
        if hint == Hint::Other || !is_shown(path, name) {
            return Ok(ControlFlow::Continue(()));
        }
        let left = looks.checked_sub(1);
        *looks = left.unwrap_or(0);
        is_any = left.is_none() || look(folder, name, looks, depth)?.is_some();
        Ok(if is_any { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    found(all)?;
    Ok(is_any)
}

fn any_holds(folders: &[Arc<DataFolder>], order: &Order) -> io::Result<bool> {
    // Without a name before it the page would have shown it.
    if order.after.is_empty() {
        return Ok(false);
    }
    for folder in folders {
        // Opened anew, since names are shown once for each.
        let mut looks = limits::FOLDER_LOOKS_MAX;
        if let Some(folder) = found(names::open(folder.root(), &order.folder))?
            && holds(&folder, &order.folder, &mut looks, 0)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a call found; nothing where a cold read would say that nothing is there.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{CrossesDevices, NotADirectory, NotFound, PermissionDenied};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(
                error.kind(),
                NotFound | NotADirectory | PermissionDenied | CrossesDevices
            ) || matches!(error.raw_os_error(), Some(errno::ELOOP | errno::ENXIO)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Error numbers that have a meaning of their own here (errno(3), Linux).
mod errno {
    /// A socket.
    pub(super) const ENXIO: i32 = 6;
    /// A symbolic link.
    pub(super) const ELOOP: i32 = 40;
}
