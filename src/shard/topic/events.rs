//! What happens to objects, told on the topics of the folders above them.
//!
//! Invariants: while nobody subscribes to such a topic this costs a branch a turn; an event costs
//! one look-up for each folder above its object, and a message for each that is wanted.

use super::super::Shard;
use crate::store::event::{Event, Kind};
use crate::store::object::Record;
use crate::topic::item::{Draft, quoted};
use crate::topic::message::{Message, NO_TICKET};
use crate::topic::name;

impl Shard {
    /// Whether the store is to note events follows what topics are subscribed to.
    pub(super) fn want_events(&self) {
        self.store.borrow_mut().events.wanted = !self.topics.borrow().wanted.is_empty();
    }

    /// Tells what the store has noted.
    pub(super) fn tell_events(&self) {
        if self.store.borrow().events.noted.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.store.borrow_mut().events.noted);
        for Event { kind, record } in events {
            let event = match kind {
                Kind::Published => "published",
                Kind::Replaced => "replaced",
                Kind::Deleted => "deleted",
                Kind::Expired => "expired",
            };
            let has_body = matches!(kind, Kind::Published | Kind::Replaced);
            self.tell_event(event, record.key(), has_body.then_some(&*record));
        }
    }

    /// Tells whoever subscribes to a folder above `key` what happened to it.
    pub(in crate::shard) fn tell_event(&self, event: &str, key: &[u8], record: Option<&Record>) {
        if self.topics.borrow().wanted.is_empty() {
            return;
        }
        let slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for folder in slashes.map(|(at, _)| &key[..at]) {
            if !self.topics.borrow().wanted.contains(folder) {
                continue;
            }
            let name: Box<[u8]> = [name::OBJECTS, folder].concat().into();
            let draft = Draft::text(text(event, key, record));
            let message = Message::Publish { ticket: NO_TICKET, name: name.clone(), draft };
            self.post_topic(self.topic_owner(&name), message);
        }
    }
}

fn text(event: &str, key: &[u8], record: Option<&Record>) -> String {
    let key = quoted(&String::from_utf8_lossy(key));
    let mut text = format!("{{\"event\":\"{event}\",\"key\":{key}");
    if let Some((record, whole)) = record.and_then(|record| Some((record, record.whole()?))) {
        let etag = quoted(&String::from_utf8_lossy(record.etag()));
        text.push_str(&format!(",\"bytes\":{},\"etag\":{etag}", whole.length()));
    }
    text.push('}');
    text
}
