//! Bounds of looks at the data folder, and of the walks that find what is due in it.

/// Between two looks whether a folder of the disk tier is at its path, in milliseconds.
pub const LOOK_MS: u64 = 1000;
/// Shortest pause between two walks of the data folder, in milliseconds.
pub const PAUSE_MS: u64 = 500;
/// Longest one: as long as the walk took, at most this.
pub const PAUSE_MS_MAX: u64 = 600_000;
/// Entries that a walk looks at without a pause.
pub const BURST: u32 = 100;
/// That pause, in milliseconds: at most 2000 entries a second.
pub const BURST_PAUSE_MS: u64 = 50;
/// Files whose expiry or move is under way at the same time.
pub const JOBS_MAX: usize = 8;
/// How often a walk looks whether one of them is done, in milliseconds.
pub const WAIT_MS: u64 = 5;
/// Files that a walk remembers as those to move first.
pub const CANDIDATES_MAX: usize = 4096;
