//! What lies in a folder on disk: the order of a shard to the thread that reads folders, and its
//! answer.
//!
//! **Invariants**: an order is answered once, then its bell is rung; an answer is one page.

use std::sync::mpsc::SyncSender;

use super::disk::attributes::Attributes;
use super::remote::{Bell, Ring};

/// One page of one folder.
pub struct Order {
    /// The folder's path without slashes at its ends; empty is the root.
    pub folder: Box<[u8]>,
    /// Names after this one.
    pub after: Box<[u8]>,
    /// At most how many names.
    pub count_max: usize,
    /// Where the answer goes; has room for it.
    pub answer: SyncSender<Answer>,
    /// Rung when the order is let go, which is after `answer` was.
    pub bell: Rung,
}

/// Rings when it is dropped.
pub struct Rung(pub Bell);

impl Drop for Rung {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What an order comes to.
#[derive(Debug)]
pub enum Answer {
    /// In name order.
    Page {
        /// What lies there.
        entries: Vec<Entry>,
        /// When there are more names: the last one that was looked at.
        through: Option<Box<[u8]>>,
    },
    /// There is no such folder, or nothing in it.
    Absent,
    /// The disk does not say, or a folder is not at its path.
    Failed,
}

/// A name on disk.
#[derive(Debug)]
pub struct Entry {
    /// The last part of the path.
    pub name: Box<[u8]>,
    /// What has it.
    pub kind: Kind,
}

/// What a name means.
#[derive(Debug)]
pub enum Kind {
    /// A folder with something in it.
    Folder,
    /// A file.
    File {
        /// Its size.
        bytes: u64,
        /// Unix time of its last change, in nanoseconds.
        modified_ns: u128,
        /// Its metadata; none when it has none, or none that fits it.
        attributes: Option<Box<Attributes>>,
    },
}

/// A shard's end of the queue of orders.
#[derive(Clone)]
pub struct Link {
    /// Takes orders; never waited for.
    pub orders: SyncSender<Order>,
    /// Wakes a task by shard and number.
    pub ring: Ring,
}
