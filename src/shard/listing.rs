//! One page of a folder: what memory has of it and what lies on disk, each name once.
//!
//! The disk is asked first, by the thread that reads folders, then the folder's owner. Each tells
//! how far it has looked; the page ends where the first of them ended, so that the next one begins
//! there for both. Of a name that both have, memory's word counts.
//!
//! Invariants: what is there throughout a walk from page to page appears exactly once; no name of
//! the origin's own is shown; a page costs the memory of a page.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, TrySendError, sync_channel};
use std::task::Poll;

use super::Shard;
use super::disk;
use crate::limits;
use crate::origin::key;
use crate::store::message::{Ask, Item, Reply};
use crate::store::object::{Body, Parts, Record, Whole};
use crate::tier::listing::{Answer, Entry, Kind, Order, Rung};

/// What a listing comes to.
pub(super) enum Listed {
    /// In name order.
    Page {
        /// What is there.
        items: Vec<Item>,
        /// The name after which more may follow.
        next: Option<Box<[u8]>>,
    },
    /// There is no such folder.
    Absent,
    /// The owner, or the disk, does not answer now.
    Busy,
}

/// What one side knows of a folder.
#[derive(Default)]
struct Part {
    items: Vec<Item>,
    /// The last name that was looked at, unless that was all.
    through: Option<Box<[u8]>>,
    is_absent: bool,
}

impl Shard {
    /// A page of a folder: names after `after`, at most `count_max`. Without any only when it is
    /// the last one, or so much was gone that the look was broken off.
    pub(super) async fn list(&self, folder: &[u8], after: &[u8], count_max: usize) -> Listed {
        if self.settings.listings.is_none() {
            return self.list_here(folder, after, count_max).await;
        }
        let mut from: Box<[u8]> = after.into();
        for _ in 0..limits::LIST_ROUNDS_MAX {
            let Some(disk) = self.list_disk(folder, &from, count_max).await else {
                return Listed::Busy;
            };
            let Some(memory) = self.list_memory(folder, &from, count_max).await else {
                return Listed::Busy;
            };
            let is_absent = !folder.is_empty() && memory.is_absent && disk.is_absent;
            let (items, next) = merge(memory, disk, count_max);
            match next {
                None if is_absent && items.is_empty() => return Listed::Absent,
                // All that the disk had is gone, or is not to be shown.
                Some(next) if items.is_empty() => from = next,
                next => return Listed::Page { items, next },
            }
        }
        Listed::Page { items: Vec::new(), next: Some(from) }
    }

    /// The same of what is in memory.
    pub(super) async fn list_here(&self, folder: &[u8], after: &[u8], count_max: usize) -> Listed {
        match self.list_memory(folder, after, count_max).await {
            Some(part) if part.is_absent => Listed::Absent,
            Some(Part { items, through, .. }) => Listed::Page { items, next: through },
            None => Listed::Busy,
        }
    }

    /// What the folder's owner has; `None` when it is busy.
    async fn list_memory(&self, folder: &[u8], after: &[u8], count_max: usize) -> Option<Part> {
        let owner = self.store.borrow().folder_owner(folder);
        let ask = Ask::List { folder: folder.into(), after: after.into(), count_max };
        match self.ask(owner, ask).await {
            Reply::Listing { items, more } => {
                let through = items.last().filter(|_| more).map(|item| item.name.clone());
                Some(Part { items, through, is_absent: false })
            }
            Reply::Absent => Some(Part { is_absent: true, ..Part::default() }),
            _ => None,
        }
    }

    /// What lies on disk; `None` when the thread that reads it has too much to do, or cannot.
    async fn list_disk(&self, folder: &[u8], after: &[u8], count_max: usize) -> Option<Part> {
        let answer = self.order_names(folder, after, count_max)?;
        let (entries, through) = match received(&answer).await {
            Answer::Page { entries, through } => (entries, through),
            Answer::Absent => return Some(Part { is_absent: true, ..Part::default() }),
            Answer::Failed => return None,
        };
        let mut items = Vec::with_capacity(entries.len());
        for (place, entry) in entries.into_iter().enumerate() {
            items.extend(self.disk_item(folder, entry));
            if place % limits::listing::LISTING_ITEMS_PER_TURN == 0 {
                self.give_way().await;
            }
        }
        let is_absent = items.is_empty() && through.is_none() && after.is_empty();
        Some(Part { items, through, is_absent })
    }

    fn order_names(
        &self,
        folder: &[u8],
        after: &[u8],
        count_max: usize,
    ) -> Option<Receiver<Answer>> {
        let link = self.settings.listings.as_ref()?;
        let (sender, answer) = sync_channel(1);
        let (ring, shard, task) = (link.ring.clone(), self.id, self.reactor.tasks.current());
        let order = Order {
            folder: folder.into(),
            after: after.into(),
            count_max: count_max.min(limits::LIST_ITEMS_MAX),
            answer: sender,
            bell: Rung(Arc::new(move || ring(shard, task))),
        };
        match link.orders.try_send(order) {
            Ok(()) => Some(answer),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }

    /// A name on disk as a cold read would tell of it; `None` when it would not.
    fn disk_item(&self, folder: &[u8], entry: Entry) -> Option<Item> {
        let Entry { name, kind } = entry;
        let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
        let key: Box<[u8]> = [folder, slash, &name].concat().into();
        if key::check(&key).is_err() || key::is_reserved(&key) {
            return None;
        }
        let Kind::File { bytes, modified_ns, attributes } = kind else {
            return Some(Item { name, object: None });
        };
        if !self.reads_disk(&key) {
            return None;
        }
        let attributes =
            attributes.map_or_else(|| disk::plain_attributes(&key, bytes, modified_ns), |one| *one);
        let publication = self.loaded_publication(&key, &attributes, None);
        let record = Record::new(Parts {
            key: &key,
            etag: &publication.etag,
            fields: publication.fields,
            modified_s: publication.modified_s,
            stored_ms: self.reactor.clock.now_ms(),
            expires_ms: publication.expires_ms,
            body: Body::Whole(Whole::new(bytes, [].into_iter().collect())),
        });
        Some(Item { name, object: Some(record) })
    }
}

async fn received(answer: &Receiver<Answer>) -> Answer {
    std::future::poll_fn(|_| match answer.try_recv() {
        Ok(answer) => Poll::Ready(answer),
        Err(TryRecvError::Empty) => Poll::Pending,
        Err(TryRecvError::Disconnected) => Poll::Ready(Answer::Failed),
    })
    .await
}

/// The names of both, as far as both have looked, and the name after which the next page begins.
fn merge(memory: Part, disk: Part, count_max: usize) -> (Vec<Item>, Option<Box<[u8]>>) {
    let end = [memory.through, disk.through].into_iter().flatten().min();
    let is_within = |item: &Item| end.as_ref().is_none_or(|end| item.name <= *end);
    let mut memory = memory.items.into_iter().filter(is_within).peekable();
    let mut disk = disk.items.into_iter().filter(is_within).peekable();
    let mut items: Vec<Item> = Vec::new();
    loop {
        let next = match (memory.peek(), disk.peek()) {
            (None, None) => return (items, end),
            (Some(here), Some(there)) if here.name == there.name => {
                disk.next();
                memory.next()
            }
            (Some(here), Some(there)) if here.name > there.name => disk.next(),
            (None, _) => disk.next(),
            _ => memory.next(),
        };
        if items.len() == count_max {
            let last = items.last().map(|item| item.name.clone());
            return (items, last);
        }
        items.extend(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(names: &[&str], through: Option<&str>) -> Part {
        let item = |name: &&str| Item { name: name.as_bytes().into(), object: None };
        let through = through.map(|name| name.as_bytes().into());
        Part { items: names.iter().map(item).collect(), through, is_absent: false }
    }

    #[track_caller]
    fn expect(memory: Part, disk: Part, count_max: usize, names: &[&str], next: Option<&str>) {
        let (items, after) = merge(memory, disk, count_max);
        let found: Vec<_> = items.iter().map(|item| String::from_utf8_lossy(&item.name)).collect();
        assert_eq!(found, names);
        assert_eq!(after.as_deref(), next.map(str::as_bytes));
    }

    #[test]
    fn a_name_that_both_have_is_there_once() {
        expect(
            part(&["a", "c"], None),
            part(&["a", "b", "d"], None),
            9,
            &["a", "b", "c", "d"],
            None,
        );
    }

    /// What lies behind the end of a side's look may be on that side too.
    #[test]
    fn a_page_ends_where_the_first_look_ended() {
        let memory = || part(&["b", "e"], Some("e"));
        expect(memory(), part(&["a", "f"], None), 9, &["a", "b", "e"], Some("e"));
        expect(memory(), part(&["a"], Some("c")), 9, &["a", "b"], Some("c"));
        expect(part(&["x"], None), part(&[], Some("k")), 9, &[], Some("k"));
    }

    #[test]
    fn a_page_has_no_more_than_was_asked_for() {
        expect(part(&["a", "c"], None), part(&["b", "d"], None), 3, &["a", "b", "c"], Some("c"));
        expect(part(&["a", "c"], None), part(&["b"], None), 3, &["a", "b", "c"], None);
        expect(part(&["a"], None), part(&["a", "b"], Some("b")), 1, &["a"], Some("a"));
    }
}
