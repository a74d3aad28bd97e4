//! Folders and files beneath them for threads that may block: opened as the ring opens them, and
//! the names in a folder.
//!
//! Invariants: nothing is reached through a link, or outside of the folder it is opened from; names
//! are read so many bytes at a time, whatever the folder has.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use crate::limits::listing::NAMES_BYTES;
use crate::sys::reactor::Open;

/// What a folder says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It may be a file or a folder.
    Usable,
    /// A link, a pipe, a socket or a device.
    Other,
}

/// Is shown a name, and says whether it wants to see more.
pub type See<'a> = &'a mut dyn FnMut(&[u8], Hint) -> io::Result<ControlFlow<()>>;

/// Opens a file or folder beneath `folder` for reading, through no symbolic link; an empty path is
/// the folder itself.
///
/// # Errors
/// As openat2(2).
pub fn open(folder: RawFd, path: &[u8]) -> io::Result<File> {
    let path = if path.is_empty() { b"." } else { path };
    let path = CString::new(path).map_err(|_| io::ErrorKind::InvalidInput)?;
    let how = Open::Read.how();
    // SAFETY: path and `how`, which has the layout of open_how, outlive the call; the size is its.
    let result = unsafe {
        libc::syscall(libc::SYS_openat2, folder, path.as_ptr(), &raw const how, size_of_val(&how))
    };
    match RawFd::try_from(result) {
        // SAFETY: the descriptor is fresh and owned by nobody else.
        Ok(fd @ 0..) => Ok(unsafe { File::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Shows the names in an open folder, in the order in which it has them, until `see` breaks off;
/// once for each file that is opened.
///
/// # Errors
/// As getdents64(2); NotADirectory for a file.
pub fn each(folder: &File, see: See<'_>) -> io::Result<()> {
    let mut room = vec![0_u8; NAMES_BYTES];
    loop {
        let fd = folder.as_raw_fd();
        // SAFETY: the room outlives the call and has as many bytes as are said.
        let result =
            unsafe { libc::syscall(libc::SYS_getdents64, fd, room.as_mut_ptr(), room.len()) };
        let count = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        if count == 0 {
            return Ok(());
        }
        for (name, hint) in entries(&room[..count]) {
            if see(name, hint)?.is_break() {
                return Ok(());
            }
        }
    }
}

/// The entries of a piece of a folder, `.` and `..` left out (struct linux_dirent64).
fn entries(mut piece: &[u8]) -> impl Iterator<Item = (&[u8], Hint)> {
    const LENGTH: usize = 16;
    const KIND: usize = 18;
    const NAME: usize = 19;
    std::iter::from_fn(move || {
        loop {
            let length = piece.get(LENGTH..KIND)?;
            let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
            let (entry, rest) = piece.split_at_checked(length.max(NAME))?;
            piece = rest;
            let name = entry[NAME..].split(|&byte| byte == 0).next()?;
            let hint = match entry[KIND] {
                libc::DT_DIR | libc::DT_REG | libc::DT_UNKNOWN => Hint::Usable,
                _ => Hint::Other,
            };
            if name != b"." && name != b".." {
                return Some((name, hint));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names_of(folder: &File) -> Vec<(Vec<u8>, Hint)> {
        let mut names = Vec::new();
        each(folder, &mut |name, hint| {
            names.push((name.to_vec(), hint));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    }

    #[test]
    fn names_are_read_and_nothing_is_opened_through_a_link() {
        let path = std::env::temp_dir().join(format!("headwater-names-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/file"), "x").unwrap();
        symlink("b", path.join("a/link")).unwrap();
        let root = File::open(&path).unwrap();
        let folder = open(root.as_raw_fd(), b"a").unwrap();
        let found = names_of(&folder);
        let wanted = [("b", Hint::Usable), ("file", Hint::Usable), ("link", Hint::Other)];
        assert_eq!(found, wanted.map(|(name, hint)| (name.as_bytes().to_vec(), hint)));
        assert!(open(root.as_raw_fd(), b"").unwrap().metadata().unwrap().is_dir());
        assert_eq!(open(root.as_raw_fd(), b"a/b/../../..").unwrap_err().raw_os_error(), Some(18));
        assert_eq!(open(folder.as_raw_fd(), b"link").unwrap_err().raw_os_error(), Some(40));
        assert_eq!(open(root.as_raw_fd(), b"a/file/c").unwrap_err().raw_os_error(), Some(20));
        assert_eq!(
            each(&open(root.as_raw_fd(), b"a/file").unwrap(), &mut |_, _| unreachable!())
                .unwrap_err()
                .raw_os_error(),
            Some(20)
        );
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_folder_of_many_names_is_read_in_pieces() {
        let path = std::env::temp_dir().join(format!("headwater-many-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        for number in 0..3000 {
            fs::write(path.join(format!("{number:030}")), "").unwrap();
        }
        let names = names_of(&File::open(&path).unwrap());
        assert_eq!(names.len(), 3000);
        assert!(names.windows(2).all(|pair| pair[0].0 < pair[1].0));
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_piece_that_is_cut_short_ends() {
        assert_eq!(entries(&[0; 18]).count(), 0);
        assert_eq!(entries(&[0xff; 40]).count(), 0);
    }
}
