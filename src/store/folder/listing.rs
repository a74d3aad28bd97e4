//! One level of a folder in name order.

use std::ops::Bound;
use std::sync::Arc;

use super::{Asker, Child, Millis, Reply, Store};
use crate::limits;
use crate::store::message::Item;
use crate::store::path;

impl Store {
    /// Answers `List`. What is there throughout a walk from name to name appears exactly once,
    /// since names neither move nor repeat. A folder in which nothing is left is absent; the root
    /// never is.
    pub(in crate::store) fn list(
        &mut self,
        asker: Asker,
        path: &[u8],
        after: &[u8],
        count_max: usize,
        now_ms: Millis,
    ) {
        let count_max = count_max.min(limits::LIST_ITEMS_MAX);
        let mut items = Vec::new();
        let mut more = false;
        let children = self.folders.map.get(path).map(|folder| &folder.children);
        let start = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let range = children.map(|children| children.range::<[u8], _>((start, Bound::Unbounded)));
        for (name, child) in range.into_iter().flatten() {
            let Some(item) = self.item(name, child, now_ms) else { continue };
            if items.len() == count_max {
                more = true;
                break;
            }
            items.push(item);
        }
        if items.is_empty() && !path.is_empty() && !self.has_items(path, now_ms) {
            return self.reply(asker, Reply::Absent);
        }
        self.reply(asker, Reply::Listing { items, more });
    }

    fn has_items(&self, path: &[u8], now_ms: Millis) -> bool {
        let children = self.folders.map.get(path).map(|folder| &folder.children);
        let mut children = children.into_iter().flatten();
        children.any(|(name, child)| self.item(name, child, now_ms).is_some())
    }

    fn item(&self, name: &[u8], child: &Child, now_ms: Millis) -> Option<Item> {
        if path::is_internal(name) {
            return None;
        }
        if child.folder {
            return Some(Item { name: name.into(), object: None });
        }
        let record = &self.versions.at(child.object?)?.record;
        (!record.is_gone(now_ms))
            .then(|| Item { name: name.into(), object: Some(Arc::clone(record)) })
    }
}
