//! Multivariant playlists of which a rendition is missing or stale: an error in their place, so
//! that a CDN fails over to an origin that has the whole ladder.
//!
//! Where the path says `whole_ladder`, a shard looks every [`limits::LADDER_LOOK_MS`] at most, and
//! only when it is asked, after the media playlists that a multivariant playlist names. Requests in
//! between are answered by the last look. URIs that leave the origin are not looked after.
//!
//! Invariants: what is not known (an owner without room, a store that does not answer) is no fault;
//! names are read once a version; a look that is under way is not begun again by those who know the
//! one before.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;

use super::Shard;
use super::answer::Ready;
use super::conn::Conn;
use super::lowlatency::names;
use super::read::{Obtained, Rare};
use super::rendered::manifest_text;
use crate::http::request::Head;
use crate::limits;
use crate::media::hls::multivariant;
use crate::store::Held;
use crate::store::held::{Ladder, Look};

/// Multivariant playlists that were found incomplete, and when they are looked after again.
#[derive(Default)]
pub(super) struct Incomplete {
    keys: HashMap<Box<[u8]>, Finding>,
    due_ms: u64,
}

/// The rendition that was found first, and what is wrong with it.
struct Finding {
    rendition: Box<[u8]>,
    fault: Fault,
}

/// What is wrong with a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Missing,
    Stale,
}

impl Conn {
    /// The error in place of a multivariant playlist whose ladder is not whole, or a look first.
    pub(super) fn ready_incomplete(
        &mut self,
        head: &Head,
        held: &Rc<Held>,
    ) -> Option<Result<Ready, Rare>> {
        if !self.rules.paths.is_whole_ladder(held.record.key()) {
            return None;
        }
        let shard = self.shard.clone();
        match shard.ladder_of(held)?.looked.get() {
            Some(look) if shard.reactor.clock.now_ms() < look.until_ms => {
                if look.is_whole {
                    return None;
                }
            }
            _ => return Some(Err(Rare::Ladder(held.clone()))),
        }
        shard.accounts.meters.incomplete_answers.bump();
        let message = "a rendition that this playlist names is missing or stale";
        Some(Ok(self.ready_unavailable(head, message)))
    }
}

impl Shard {
    /// The media playlists that are named; `None` for what names none.
    fn ladder_of<'a>(&self, held: &'a Held) -> Option<&'a Ladder> {
        held.derived().ladder.get_or_init(|| self.read_ladder(held)).as_deref()
    }

    fn read_ladder(&self, held: &Held) -> Option<Box<Ladder>> {
        let text = manifest_text(self, &held.record)?;
        let mut members: Vec<Box<[u8]>> = Vec::new();
        for named in multivariant::renditions(&text).map_while(Result::ok) {
            let Some(key) = names::resolve(held.record.key(), named.uri) else { continue };
            if !members.contains(&key) && members.len() < limits::LADDER_LOOKED_MAX {
                members.push(key);
            }
        }
        let looked = Cell::new(None);
        (!members.is_empty()).then(|| Box::new(Ladder { members: members.into(), looked }))
    }

    /// Looks after every rendition, and notes what it finds.
    pub(super) async fn look_at_ladder(&self, held: &Held) {
        let Some(ladder) = self.ladder_of(held) else { return };
        let until_ms = || self.reactor.clock.now_ms() + limits::LADDER_LOOK_MS;
        if let Some(last) = ladder.looked.get() {
            ladder.looked.set(Some(Look { until_ms: until_ms(), ..last }));
        }
        let mut found = None;
        for member in &ladder.members {
            if let Some(fault) = self.fault_of(member).await {
                found = Some((member, fault));
                break;
            }
        }
        ladder.looked.set(Some(Look { until_ms: until_ms(), is_whole: found.is_none() }));
        match found {
            Some((member, fault)) => self.note_incomplete(held.record.key(), member, fault),
            None => self.note_complete(held.record.key()),
        }
    }

    async fn fault_of(&self, member: &[u8]) -> Option<Fault> {
        match self.obtain_anywhere(member.into()).await {
            Obtained::Held(held) => {
                let is_stale = self.reactor.clock.now_ms() >= self.good_until_ms(&held);
                is_stale.then_some(Fault::Stale)
            }
            Obtained::Absent | Obtained::Damaged | Obtained::NoKey => Some(Fault::Missing),
            Obtained::Busy | Obtained::Unreachable(_) => None,
        }
    }

    fn note_incomplete(&self, key: &[u8], member: &[u8], fault: Fault) {
        let keys = &mut self.incomplete.borrow_mut().keys;
        let is_known = match keys.get(key) {
            Some(known) if known.rendition[..] == *member && known.fault == fault => return,
            known => known.is_some(),
        };
        if !is_known && keys.len() >= limits::STALE_KEYS_MAX {
            return;
        }
        keys.insert(key.into(), Finding { rendition: member.into(), fault });
        if !is_known {
            self.tell_event("incomplete", key, None);
        }
        let key = String::from_utf8_lossy(key).into_owned();
        let rendition = String::from_utf8_lossy(member).into_owned();
        match fault {
            Fault::Missing => tracing::warn!(key, rendition, "the ladder misses a rendition"),
            Fault::Stale => tracing::warn!(key, rendition, "the ladder has a stale rendition"),
        }
    }

    fn note_complete(&self, key: &[u8]) {
        if self.incomplete.borrow_mut().keys.remove(key).is_some() {
            self.tell_event("recovered", key, None);
            let key = String::from_utf8_lossy(key).into_owned();
            tracing::info!(key, "the ladder is whole again, or gone");
        }
    }

    /// How many ladders are not whole.
    pub(super) fn incomplete_ladders(&self) -> u64 {
        self.incomplete.borrow().keys.len() as u64
    }

    /// How long the shard may sleep for them.
    pub(super) fn wait_for_ladders(&self) -> Option<Duration> {
        let is_due = !self.incomplete.borrow().keys.is_empty();
        is_due.then_some(Duration::from_millis(limits::LADDER_AGAIN_MS))
    }

    /// Looks again after ladders that were not whole, for nobody may ask here again.
    pub(super) fn refresh_ladders(&self) {
        let now_ms = self.reactor.clock.now_ms();
        let mut incomplete = self.incomplete.borrow_mut();
        if incomplete.keys.is_empty() || incomplete.due_ms > now_ms || self.is_draining() {
            return;
        }
        incomplete.due_ms = now_ms + limits::LADDER_AGAIN_MS;
        let keys: Vec<Box<[u8]>> = incomplete.keys.keys().cloned().collect();
        drop(incomplete);
        for key in keys {
            let held = self.here(&key);
            let is_asked = self.rules.borrow().paths.is_whole_ladder(&key);
            let Some(held) = held.filter(|held| is_asked && self.ladder_of(held).is_some()) else {
                self.note_complete(&key);
                continue;
            };
            let looked = self.ladder_of(&held).and_then(|ladder| ladder.looked.get());
            if looked.is_none_or(|look| look.until_ms <= now_ms)
                && let Some(shard) = self.me.upgrade()
            {
                let look = async move { shard.look_at_ladder(&held).await };
                self.reactor.tasks.spawn(look);
            }
        }
    }
}
