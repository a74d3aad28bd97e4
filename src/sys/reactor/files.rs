//! Files through the ring: each call is one operation, and its task waits for the completion.
//!
//! Invariants: the slab owns the strings and buffers that an operation names until its completion,
//! also when nobody waits for it any more; a descriptor that was opened for nobody is closed.
#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::task::Poll;

use super::{GENERATION_MASK, KIND_FILE, Reactor, user_data};
use crate::sys::extent::Extent;
use crate::sys::folder;
use crate::sys::ring::{Completion, FileOperation, Operation};
use crate::sys::send::Keep;
use crate::sys::task::TaskId;

/// The attribute in which an object's metadata lies.
const ATTRIBUTE: &std::ffi::CStr = c"user.headwater";
/// Room for its value.
const ATTRIBUTE_BYTES_MAX: usize = crate::limits::ATTRIBUTE_BYTES_MAX;

/// What an operation refers to.
type Memory = Box<dyn Any>;

/// Operations under way.
#[derive(Default)]
pub(super) struct Files {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    task: TaskId,
    /// Somebody waits.
    awaited: bool,
    /// The result may be a descriptor.
    opens: bool,
    result: Option<i32>,
    memory: Option<Memory>,
    keep: Keep,
}

/// Size and kind of an open file.
#[derive(Clone, Copy, Debug)]
pub struct FileStatus {
    /// Neither a folder nor anything else that is no file.
    pub is_regular: bool,
    /// Bytes.
    pub bytes: u64,
    /// Unix time of the last change, in nanoseconds.
    pub modified_ns: u128,
    /// Major and minor number of the device that has its file system.
    pub device: (u32, u32),
}

impl FileStatus {
    pub(in crate::sys) fn of(status: &libc::statx) -> Self {
        let seconds = u128::try_from(status.stx_mtime.tv_sec).unwrap_or(0);
        Self {
            is_regular: u32::from(status.stx_mode) & libc::S_IFMT == libc::S_IFREG,
            bytes: status.stx_size,
            modified_ns: seconds * 1_000_000_000 + u128::from(status.stx_mtime.tv_nsec),
            device: (status.stx_dev_major, status.stx_dev_minor),
        }
    }
}

/// How a path is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// A file, for reading.
    Read,
    /// A file that must not exist yet, for writing.
    Create,
    /// A folder.
    Folder,
}

impl Open {
    /// Flags, mode and resolution of openat2(2): beneath the folder, through no link.
    pub(in crate::sys) fn how(self) -> [u64; 3] {
        const BENEATH_WITHOUT_LINKS: u64 =
            libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
        let (flags, mode) = match self {
            Self::Read => (libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0),
            Self::Create => (libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, 0o644),
            Self::Folder => (libc::O_RDONLY | libc::O_DIRECTORY, 0),
        };
        let flags = u64::try_from(flags | libc::O_CLOEXEC).expect("flags are positive");
        [flags, mode, BENEATH_WITHOUT_LINKS]
    }
}

/// Closes its operation's slot when the wait is given up.
struct Wait<'a> {
    reactor: &'a Reactor,
    place: u32,
    generation: u32,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut files = self.reactor.files.borrow_mut();
        let slot = &mut files.slots[self.place as usize];
        if slot.generation != self.generation {
            return;
        }
        slot.awaited = false;
        // The completion came, and nobody will take it.
        let Some(result) = slot.result else { return };
        let orphan = (slot.opens && result >= 0).then_some(result);
        files.release(self.place);
        drop(files);
        orphan.into_iter().for_each(|fd| self.reactor.close_file(fd));
    }
}

impl Reactor {
    /// Opens `path` beneath `folder`, through no symbolic link.
    ///
    /// # Errors
    /// As openat2(2).
    pub async fn open(&self, folder: RawFd, path: &[u8], how: Open) -> io::Result<RawFd> {
        let memory = Box::new((text(path)?, how.how()));
        let operation =
            FileOperation::Open { folder, path: memory.0.as_ptr(), how: &raw const memory.1 };
        self.file(operation, Some(memory), None).await.map(|(fd, _)| fd)
    }

    /// Closes a descriptor; nobody waits for it.
    pub fn close_file(&self, fd: RawFd) {
        self.submit_file(FileOperation::Close { fd }, None, None, false);
    }

    /// Reads up to `len` bytes of a file, from `at` on, into an extent that nobody else uses.
    ///
    /// # Errors
    /// As pread(2).
    pub async fn read_file(
        &self,
        fd: RawFd,
        at: u64,
        (extent, offset, len): (Extent, u32, u32),
    ) -> io::Result<u32> {
        let start = self.arena().place(extent, offset, len as usize);
        let operation = FileOperation::Read { fd, start, len, at };
        self.file(operation, None, None).await.map(|(count, _)| count.unsigned_abs())
    }

    /// Has reads of an open file pass the page cache by, or not; `false` where that is not so
    /// afterwards. They then have to be of whole blocks at whole blocks, else they fail (EINVAL).
    pub fn read_directly(&self, fd: RawFd, wanted: bool) -> bool {
        self.ring.borrow().read_directly(fd, wanted)
    }

    /// Writes a part of an extent, which `keep` keeps, into a file; returns how much of it.
    ///
    /// # Errors
    /// As pwrite(2).
    pub async fn write_file(
        &self,
        fd: RawFd,
        at: u64,
        (extent, offset, len): (Extent, u32, u32),
        keep: Keep,
    ) -> io::Result<u32> {
        let start = self.arena().place(extent, offset, len as usize).cast_const();
        let operation = FileOperation::Write { fd, start, len, at };
        self.file(operation, None, keep).await.map(|(count, _)| count.unsigned_abs())
    }

    /// Waits until a file's bytes or a folder's names are on the medium.
    ///
    /// # Errors
    /// As fsync(2). What was written may be lost then, and another attempt proves nothing.
    pub async fn sync_file(&self, fd: RawFd) -> io::Result<()> {
        self.file(FileOperation::Sync { fd }, None, None).await.map(drop)
    }

    /// Moves a name, replacing what had it.
    ///
    /// # Errors
    /// As renameat(2).
    pub async fn rename(
        &self,
        (from_folder, from): (RawFd, &[u8]),
        (to_folder, to): (RawFd, &[u8]),
    ) -> io::Result<()> {
        let memory = Box::new((text(from)?, text(to)?));
        let (from, to) = (memory.0.as_ptr(), memory.1.as_ptr());
        let operation = FileOperation::Rename { from_folder, from, to_folder, to };
        self.file(operation, Some(memory), None).await.map(drop)
    }

    /// Takes the name of a file, or of an empty folder, away.
    ///
    /// # Errors
    /// As unlinkat(2).
    pub async fn unlink(&self, folder: RawFd, name: &[u8], is_folder: bool) -> io::Result<()> {
        let memory = Box::new(text(name)?);
        let flags = if is_folder { libc::AT_REMOVEDIR } else { 0 };
        let operation = FileOperation::Unlink { folder, path: memory.as_ptr(), flags };
        self.file(operation, Some(memory), None).await.map(drop)
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// As mkdirat(2).
    pub async fn make_folder(&self, folder: RawFd, name: &[u8]) -> io::Result<()> {
        let memory = Box::new(text(name)?);
        let operation = FileOperation::MakeFolder { folder, path: memory.as_ptr() };
        self.file(operation, Some(memory), None).await.map(drop)
    }

    /// Sets the attribute with an object's metadata.
    ///
    /// # Errors
    /// As fsetxattr(2).
    pub async fn set_attribute(&self, fd: RawFd, value: Vec<u8>) -> io::Result<()> {
        let len = u32::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let memory = Box::new(value);
        let (name, value) = (ATTRIBUTE.as_ptr(), memory.as_ptr());
        let operation = FileOperation::SetAttribute { fd, name, value, len };
        self.file(operation, Some(memory), None).await.map(drop)
    }

    /// The attribute with an object's metadata; `None` when the file has none.
    ///
    /// # Errors
    /// As fgetxattr(2).
    pub async fn attribute(&self, fd: RawFd) -> io::Result<Option<Vec<u8>>> {
        let mut memory = Box::new([0u8; ATTRIBUTE_BYTES_MAX]);
        let (name, value) = (ATTRIBUTE.as_ptr(), memory.as_mut_ptr());
        let len = u32::try_from(ATTRIBUTE_BYTES_MAX).expect("2 KiB");
        let operation = FileOperation::ReadAttribute { fd, name, value, len };
        match self.file(operation, Some(memory), None).await {
            Ok((count, memory)) => {
                let memory = memory.and_then(|memory| memory.downcast().ok());
                let bytes: Box<[u8; ATTRIBUTE_BYTES_MAX]> = memory.expect("as it was handed in");
                Ok(Some(bytes[..count.unsigned_abs() as usize].to_vec()))
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::ENODATA | libc::EOPNOTSUPP) => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Size and kind of an open file.
    ///
    /// # Errors
    /// As statx(2).
    pub async fn file_status(&self, fd: RawFd) -> io::Result<FileStatus> {
        // SAFETY: zeros are a valid value of a structure of numbers.
        let mut memory: Box<libc::statx> = Box::new(unsafe { std::mem::zeroed() });
        let operation = FileOperation::Status { fd, into: &raw mut *memory };
        let (_, memory) = self.file(operation, Some(memory), None).await?;
        let memory = memory.and_then(|memory| memory.downcast().ok());
        let status: Box<libc::statx> = memory.expect("as it was handed in");
        Ok(FileStatus::of(&status))
    }

    /// The same at once, of what the kernel has in memory; `None` where it may be out of date.
    /// Does not block: a turn through the ring's workers costs more than all the rest of it.
    pub fn status_now(&self, fd: RawFd) -> Option<FileStatus> {
        self.ring.borrow().status_now(fd)
    }

    /// The attribute with an object's metadata, in a call of its own: a file system that has to
    /// read it makes the shard wait.
    ///
    /// # Errors
    /// As fgetxattr(2).
    pub fn attribute_now(&self, fd: RawFd) -> io::Result<Option<Vec<u8>>> {
        folder::attribute(&fd)
    }

    /// Lets the calling task wait.
    pub async fn pause(&self, ms: u32) {
        let memory = Box::new([i64::from(ms / 1000), i64::from(ms % 1000) * 1_000_000]);
        let operation = FileOperation::Pause { time: &raw const *memory };
        let _ = self.file(operation, Some(memory), None).await;
    }

    async fn file(
        &self,
        operation: FileOperation,
        memory: Option<Memory>,
        keep: Keep,
    ) -> io::Result<(i32, Option<Memory>)> {
        let (place, generation) = self.submit_file(operation, memory, keep, true);
        let wait = Wait { reactor: self, place, generation };
        let (result, memory) = std::future::poll_fn(|_| {
            let mut files = self.files.borrow_mut();
            let slot = &mut files.slots[place as usize];
            match slot.result.take() {
                None => Poll::Pending,
                Some(result) => {
                    let memory = slot.memory.take();
                    files.release(place);
                    Poll::Ready((result, memory))
                }
            }
        })
        .await;
        drop(wait);
        match result {
            0.. => Ok((result, memory)),
            _ => Err(io::Error::from_raw_os_error(-result)),
        }
    }

    fn submit_file(
        &self,
        operation: FileOperation,
        memory: Option<Memory>,
        keep: Keep,
        awaited: bool,
    ) -> (u32, u32) {
        let opens = matches!(operation, FileOperation::Open { .. });
        let task = self.tasks.current();
        let mut files = self.files.borrow_mut();
        let place = files.free.pop().unwrap_or_else(|| {
            let place = u32::try_from(files.slots.len()).expect("bounded by jobs and requests");
            files.slots.push(Slot {
                generation: 0,
                task: 0,
                awaited: false,
                opens: false,
                result: None,
                memory: None,
                keep: None,
            });
            place
        });
        let slot = &mut files.slots[place as usize];
        let generation = slot.generation;
        *slot = Slot { generation, task, awaited, opens, result: None, memory, keep };
        drop(files);
        let data = user_data(KIND_FILE, generation, place);
        self.ring.borrow_mut().push(Operation::File(operation), data);
        (place, generation)
    }

    pub(super) fn note_file(&self, completion: Completion, generation: u32, place: u32) {
        let mut files = self.files.borrow_mut();
        let Some(slot) = files.slots.get_mut(place as usize) else { return };
        if slot.generation != generation {
            return;
        }
        let keep = slot.keep.take();
        if slot.awaited {
            slot.result = Some(completion.result);
            self.tasks.wake(slot.task);
            drop(files);
            drop(keep);
            return;
        }
        let orphan = (slot.opens && completion.result >= 0).then_some(completion.result);
        files.release(place);
        drop(files);
        drop(keep);
        orphan.into_iter().for_each(|fd| self.close_file(fd));
    }
}

impl Files {
    fn release(&mut self, place: u32) {
        let slot = &mut self.slots[place as usize];
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        slot.awaited = false;
        slot.memory = None;
        self.free.push(place);
    }
}

fn text(path: &[u8]) -> io::Result<CString> {
    CString::new(path).map_err(|_| io::ErrorKind::InvalidInput.into())
}
