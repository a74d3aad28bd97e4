//! A private anonymous mapping that is never unmapped.
//!
//! The kernel may look at arena and buffer memory until the last notification, so at the end of
//! the process it is left to the kernel rather than unmapped at a guess.
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

/// Bytes in a huge page.
pub(super) const HUGE_PAGE: usize = 2 << 20;

/// A mapped range, for the rest of the process.
pub(super) struct Mapping {
    pub(super) start: NonNull<u8>,
    pub(super) len: usize,
    /// Unmapped at its end: no kernel looks at it.
    #[cfg(test)]
    simulated: bool,
}

#[cfg(test)]
impl Drop for Mapping {
    fn drop(&mut self) {
        if self.simulated {
            // SAFETY: the range was mapped by `new`, and the simulation that used it is over.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

impl Mapping {
    /// Reserves `len` bytes, aligned to `align` (a power of two), zero until written.
    pub(super) fn new(len: usize, align: usize) -> io::Result<Self> {
        let total = len + align;
        // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice.
        let raw = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                total,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if raw == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let skip = raw.cast::<u8>().align_offset(align);
        // SAFETY: skip < align, and the mapping is `align` bytes longer than what is used of it.
        let start = unsafe { raw.cast::<u8>().add(skip) };
        let start = NonNull::new(start).expect("mmap never answers a null mapping");
        Ok(Self {
            start,
            len,
            #[cfg(test)]
            simulated: super::sim::is_installed(),
        })
    }

    /// Gives whole pages back to the host; they are zero when they are touched again. Whoever else
    /// refers to the old pages, such as a socket, keeps them as they are.
    pub(super) fn renew(&self, pages: libc::iovec) {
        // SAFETY: the range is ours (the caller asked the arena for it), and nothing in it is in
        // use; on a failure (there is none for private memory) nothing would have changed.
        let failed = unsafe { libc::madvise(pages.iov_base, pages.iov_len, libc::MADV_DONTNEED) };
        assert_eq!(failed, 0, "renewing pages: {}", io::Error::last_os_error());
    }

    /// Asks for huge pages; a host without them serves small ones.
    pub(super) fn prefer_huge_pages(&self) {
        #[cfg(test)]
        if self.simulated {
            return;
        }
        // SAFETY: the range is ours; the advice changes no contents.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, libc::MADV_HUGEPAGE) };
    }
}
