//! An allocator that counts what each thread takes from it, and can say where.
//!
//! **Invariants**: counting allocates nothing; a thread keeps its place after its end, so that
//! counts are never mixed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// The system's allocator, and a count beside it.
pub struct Counting;

const THREADS_MAX: usize = 256;
/// Stacks that are kept to be shown.
const STACKS_MAX: usize = 3;

static COUNTS: [AtomicU64; THREADS_MAX] = [const { AtomicU64::new(0) }; THREADS_MAX];
static THREAD_IDS: [AtomicI32; THREADS_MAX] = [const { AtomicI32::new(0) }; THREADS_MAX];
static WATCHED: [AtomicBool; THREADS_MAX] = [const { AtomicBool::new(false) }; THREADS_MAX];
static NEXT: AtomicUsize = AtomicUsize::new(0);
static STACKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) };
    }
}

fn count(bytes: usize) {
    let Ok(place) = PLACE.try_with(place_of) else { return };
    if TELLING.get() {
        return;
    }
    COUNTS[place].fetch_add(1, Ordering::Relaxed);
    if WATCHED[place].load(Ordering::Relaxed) {
        tell(bytes);
    }
}

fn place_of(place: &Cell<usize>) -> usize {
    if place.get() == usize::MAX {
        place.set(NEXT.fetch_add(1, Ordering::Relaxed).min(THREADS_MAX - 1));
        // SAFETY: a plain call without arguments.
        let thread_id = unsafe { libc::gettid() };
        THREAD_IDS[place.get()].store(thread_id, Ordering::Relaxed);
    }
    place.get()
}

fn tell(bytes: usize) {
    TELLING.set(true);
    let mut stacks = STACKS.lock().unwrap();
    if stacks.len() < STACKS_MAX {
        stacks.push(format!("{bytes} bytes at\n{}", Backtrace::force_capture()));
    }
    drop(stacks);
    TELLING.set(false);
}

/// The threads whose name begins with `prefix`, by their places.
pub fn threads(prefix: &str) -> Vec<usize> {
    let is_wanted = |place: &usize| {
        let thread_id = THREAD_IDS[*place].load(Ordering::Relaxed);
        let name = fs::read_to_string(format!("/proc/self/task/{thread_id}/comm"));
        name.is_ok_and(|name| name.starts_with(prefix))
    };
    (0..NEXT.load(Ordering::Relaxed).min(THREADS_MAX)).filter(is_wanted).collect()
}

/// What the threads have allocated so far.
pub fn allocations(threads: &[usize]) -> u64 {
    threads.iter().map(|&place| COUNTS[place].load(Ordering::Relaxed)).sum()
}

/// Begins or ends to keep the stacks of allocations.
pub fn watch(threads: &[usize], on: bool) {
    threads.iter().for_each(|&place| WATCHED[place].store(on, Ordering::Relaxed));
}

/// The first stacks kept.
pub fn stacks() -> String {
    STACKS.lock().unwrap().join("\n")
}
