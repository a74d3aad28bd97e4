//! One level of a folder in name order.

use std::ops::Bound;
use std::sync::Arc;

use super::{Asker, Folder, Millis, Reply, Store};
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
        let folder = self.folders.map.get(path);
        let mut found = folder.map(|folder| self.items(folder, path, after, now_ms));
        let items: Vec<_> = found.iter_mut().flatten().take(count_max).collect();
        let more = found.is_some_and(|mut found| found.next().is_some());
        if items.is_empty() && !path.is_empty() && !self.has_items(path, now_ms) {
            return self.reply(asker, Reply::Absent);
        }
        self.reply(asker, Reply::Listing { items, more });
    }

    fn has_items(&self, path: &[u8], now_ms: Millis) -> bool {
        let folder = self.folders.map.get(path);
        folder.is_some_and(|folder| self.items(folder, path, b"", now_ms).next().is_some())
    }

    /// What lies in the folder at `path` behind `after`: its objects and its folders, merged.
    fn items<'a>(
        &'a self,
        folder: &'a Folder,
        path: &[u8],
        after: &[u8],
        now_ms: Millis,
    ) -> impl Iterator<Item = Item> + 'a {
        let key = if path.is_empty() { after.to_vec() } else { [path, b"/", after].concat() };
        let mut objects = folder.objects(&key, &self.versions).filter_map(move |place| {
            let record = &self.versions.at(place)?.record;
            let is_listed = !record.is_gone(now_ms) && !path::is_internal(record.key());
            is_listed.then(|| (path::split(record.key()).1, record))
        });
        let start = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let names = folder.folders.range::<[u8], _>((start, Bound::Unbounded));
        let mut names = names.filter(|name| !path::is_internal(name));
        let (mut object, mut name) = (objects.next(), names.next());
        std::iter::from_fn(move || {
            let is_object = match (&object, name) {
                (Some((object, _)), Some(name)) => *object < &**name,
                (object, _) => object.is_some(),
            };
            if is_object {
                let (name, record) = std::mem::replace(&mut object, objects.next())?;
                return Some(Item { name: name.into(), object: Some(Arc::clone(record)) });
            }
            let folder = std::mem::replace(&mut name, names.next())?;
            Some(Item { name: folder.clone(), object: None })
        })
    }
}
