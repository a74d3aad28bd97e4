//! Bounds of listings that look into the folders of the disk tier.

/// Listings that wait for the thread that reads folders; further ones are answered 503.
pub const LISTINGS_WAITING_MAX: usize = 64;
/// Bytes of names that are read from a folder at once.
pub const NAMES_BYTES: usize = 32 * 1024;
/// Names that are looked at to find out whether a folder has an object; then it counts as one.
pub const FOLDER_LOOKS_MAX: u32 = 64;
/// Folders within each other that are looked into for that.
pub const FOLDER_LOOKS_DEPTH: u32 = 16;
/// Items of a listing that a shard makes ready in one turn.
pub const LISTING_ITEMS_PER_TURN: usize = 128;
