//! Prefetch: what is likely to be asked for next is in memory before it is.
//!
//! Behind a read that a slower tier answered comes what its player named (CMCD `nor`), or else the
//! segment of the next number. The owner of that key brings it into memory and marks it; the first
//! read of what is marked leads on in the same way. So a viewer waits for the first segment of a
//! title only, and a hit of anything else costs a look at the mark.
//!
//! A guess costs credit, and earns some when it was right: where names have numbers and reads have
//! no order, a shard soon guesses once a second, also where one in two would be read some time.
//!
//! Invariants: what is brought ahead at the same time is bounded in number and bytes; it waits for
//! no memory and has no other shard evict; nobody learns of its failures, and what a player names
//! is brought only where its request might read it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use super::conn::Conn;
use super::lowlatency::names;
use crate::http::request::{Head, Method};
use crate::limits;
use crate::media::cmcd::next;
use crate::media::types::{self, Class};
use crate::origin::{key, query, sequence};
use crate::store::message::{Ahead, Message, Refusal, Reply};
use crate::store::object::Record;

type Key = Box<[u8]>;

/// What a shard brings ahead.
pub(super) struct Prefetches {
    under_way: Cell<usize>,
    bytes: Cell<u64>,
    /// What guesses may still cost, and since when no more was added for the time that passes.
    credit: Cell<(u32, u64)>,
}

impl Default for Prefetches {
    fn default() -> Self {
        let credit = Cell::new((limits::PREFETCH_CREDIT_MAX, 0));
        Self { under_way: Cell::default(), bytes: Cell::default(), credit }
    }
}

impl Prefetches {
    /// Adds what a guess earned that was right, and what time has brought.
    fn earn(&self, is_right: bool, now_ms: u64) {
        let (credit, since_ms) = self.credit.get();
        let passed = now_ms.saturating_sub(since_ms) / limits::PREFETCH_CREDIT_MS;
        let added = u32::try_from(passed).unwrap_or(u32::MAX).saturating_mul(limits::PREFETCH_COST);
        let earned = if is_right { limits::PREFETCH_CREDIT_EARNED } else { 0 };
        let credit = credit.saturating_add(added).saturating_add(earned);
        let since_ms = if passed > 0 { now_ms } else { since_ms };
        self.credit.set((credit.min(limits::PREFETCH_CREDIT_MAX), since_ms));
    }

    /// Whether anything is on its way.
    #[cfg(test)]
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.get() > 0
    }

    /// Pays for a guess, if it can be paid.
    fn pay(&self) -> bool {
        let (credit, since_ms) = self.credit.get();
        let Some(left) = credit.checked_sub(limits::PREFETCH_COST) else { return false };
        self.credit.set((left, since_ms));
        true
    }
}

/// A place among what is brought ahead; given back when it is dropped.
pub(super) struct Place<'a> {
    shard: &'a Shard,
    bytes: Cell<u64>,
}

impl<'a> Place<'a> {
    fn of(shard: &'a Shard) -> Option<Self> {
        let under_way = &shard.ahead.under_way;
        let is_free = under_way.get() < limits::PREFETCHES_MAX;
        is_free.then(|| {
            under_way.set(under_way.get() + 1);
            Self { shard, bytes: Cell::default() }
        })
    }

    /// Takes room for an object that was found.
    ///
    /// # Errors
    /// When so many bytes are under way already.
    pub(super) fn take(&self, bytes: u64) -> Result<(), Refusal> {
        let all = &self.shard.ahead.bytes;
        let share = self.shard.reactor.arena().bytes() / limits::PREFETCH_MEMORY_SHARE;
        if all.get().saturating_add(bytes) > share.min(limits::PREFETCH_BYTES_MAX) {
            return Err(Refusal::Full);
        }
        all.set(all.get() + bytes);
        self.bytes.set(self.bytes.get() + bytes);
        self.shard.accounts.meters.prefetches_begun.bump();
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Prefetches { under_way, bytes, .. } = &self.shard.ahead;
        under_way.set(under_way.get() - 1);
        bytes.set(bytes.get() - self.bytes.get());
    }
}

impl Conn {
    /// A slower tier answers the request.
    pub(super) fn note_cold_read(&self, head: &Head, record: &Record) {
        if head.method == Method::Get {
            let is_sequel = self.take_mark(record);
            self.prefetch_behind(head, record, is_sequel);
        }
    }

    /// The request may be the first that is answered with what came ahead.
    #[cold]
    pub(super) fn note_first_read(&self, head: &Head, record: &Record) {
        if head.method == Method::Get && self.take_mark(record) {
            self.prefetch_behind(head, record, true);
        }
    }

    /// Has the chunks read that the player says it will ask for next of the same large file.
    pub(super) fn read_named_ahead(&self, head: &Head, record: &Arc<Record>) {
        let Some(whole) = record.whole().filter(|_| head.method == Method::Get) else { return };
        let Some(chunk_bytes) = whole.chunking().map(|chunking| chunking.bytes) else { return };
        for (key, first) in self.named(head, record.key()) {
            if *key == *record.key() && first < whole.length() && self.shard.settings.prefetch > 0 {
                self.shard.read_ahead(record, first / chunk_bytes);
            }
        }
    }

    fn take_mark(&self, record: &Record) -> bool {
        let is_marked = record.heat.take_ahead();
        self.shard.accounts.meters.prefetches_used.add(u64::from(is_marked));
        is_marked
    }

    fn prefetch_behind(&self, head: &Head, record: &Record, is_sequel: bool) {
        let count = self.shard.settings.prefetch;
        if count == 0 {
            return;
        }
        let named = self.named(head, record.key());
        let others = named.into_iter().filter(|(key, _)| **key != *record.key());
        let mut wanted: Vec<_> = others
            .map(|(key, first)| Ahead { key, first, is_named: true, is_sequel: false })
            .collect();
        let is_segment = types::class(record.key(), &record.fields.content_type) == Class::Segment;
        if wanted.is_empty() && is_segment {
            let after = |key: &Vec<u8>| sequence::following(key);
            let keys = std::iter::successors(sequence::following(record.key()), after);
            let valid = keys.take(count as usize).filter(|key| key::check(key).is_ok());
            wanted.extend(valid.map(|key| Ahead {
                key: key.into(),
                first: 0,
                is_named: false,
                is_sequel: false,
            }));
        }
        if let Some(first) = wanted.first_mut() {
            first.is_sequel = is_sequel;
        }
        for ahead in wanted {
            let owner = self.shard.store.borrow().owner_of(&ahead.key);
            self.shard.post(owner, Message::Ahead(ahead));
        }
    }

    /// What the player says that it will ask for next, as far as it may: keys, and from which byte.
    fn named(&self, head: &Head, now: &[u8]) -> Vec<(Key, u64)> {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let mut found = Vec::new();
        let mut add = |reference: &[u8], first: u64| {
            let key = match reference {
                b"" => Some(now.into()),
                _ => names::resolve(now, &query::decoded(reference)),
            };
            let room = found.len() < limits::PREFETCH_NAMED_MAX;
            found
                .extend(key.filter(|key| room && self.may_read(head, key)).map(|key| (key, first)));
        };
        let mut room = [0; limits::CMCD_BYTES_MAX];
        match query::value_into(head.query.of(bytes), b"CMCD", &mut room) {
            Ok(Some(list)) => next::each_next(list, &mut add),
            Ok(None) => {
                let lines = head.lines(bytes);
                lines
                    .filter(|(name, list)| {
                        name.eq_ignore_ascii_case(b"cmcd-request")
                            && list.len() <= limits::CMCD_BYTES_MAX
                    })
                    .for_each(|(_, list)| next::each_next(list, &mut add));
            }
            Err(query::TooLong) => {}
        }
        found
    }
}

impl Shard {
    /// A shard, which may be this one, expects that an own key will be asked for.
    pub(super) fn on_ahead(&self, ahead: Ahead) {
        let now_ms = self.reactor.clock.now_ms();
        self.ahead.earn(ahead.is_sequel, now_ms);
        let key = &ahead.key;
        if self.is_draining()
            || key::is_reserved(key)
            || !(self.reads_disk(key) || self.reads_remote(key))
            || self.peek(key).is_some()
            || self.is_busy_on_disk(key)
            || !(self.ahead.pay() || ahead.is_named)
        {
            return;
        }
        let Some(shard) = self.me.upgrade() else { return };
        self.reactor.tasks.spawn(async move { shard.bring(ahead).await });
    }

    /// Brings an own key into memory; of a large file the chunk that is wanted.
    async fn bring(self: &Rc<Self>, Ahead { key, first, .. }: Ahead) {
        let meters = &self.accounts.meters;
        let Some(place) = Place::of(self) else { return meters.prefetches_failed.bump() };
        let mut reply = self.load_ahead(key.clone(), &place).await;
        if matches!(reply, Reply::Absent) {
            reply = self.load_ahead_remote(key.clone(), &place).await;
        }
        match reply {
            Reply::Loaded => {}
            Reply::Absent => return meters.prefetches_absent.bump(),
            _ => return meters.prefetches_failed.bump(),
        }
        if let Some(held) = self.peek(&key)
            && let Some(chunk_bytes) = held.record.chunking().map(|chunking| chunking.bytes)
        {
            self.read_ahead(&held.record, first / chunk_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_guesses_end_and_right_ones_go_on() {
        let prefetches = Prefetches::default();
        let made = |now_ms: u64, is_right: bool| {
            let guess = |_: &u32| {
                prefetches.earn(is_right, now_ms);
                prefetches.pay()
            };
            (0..100).take_while(guess).count()
        };
        assert_eq!(made(0, false), 32);
        assert_eq!(made(3 * limits::PREFETCH_CREDIT_MS, false), 3);
        assert_eq!(made(3 * limits::PREFETCH_CREDIT_MS + 1, false), 0);
        assert_eq!(made(3 * limits::PREFETCH_CREDIT_MS + 1, true), 100);
    }
}
