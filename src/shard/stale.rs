//! Live manifests that nobody renews any more: an error in their place, so that a CDN fails over.
//!
//! Where the path says `stale_after_ms`, a media playlist without an end or a dynamic MPD is good
//! for so long from its publication. A new version is good at once.
//!
//! Invariants: what is not live never becomes stale; each version is read once for it.

use std::rc::Rc;

use super::Shard;
use super::answer::Ready;
use super::conn::Conn;
use super::live::live_of;
use super::read::Rare;
use super::rendered::manifest_text;
use crate::config::StaleAfter;
use crate::http::request::Head;
use crate::limits;
use crate::media::mpd;
use crate::media::types::{self, Class};
use crate::store::Held;

impl Conn {
    /// The error in place of a manifest that nobody renews, or that names one, or what that takes.
    #[inline(never)]
    pub(super) fn ready_failing(
        &mut self,
        head: &Head,
        held: &Rc<Held>,
    ) -> Option<Result<Ready, Rare>> {
        match self.ready_stale(head, held) {
            Some(ready) => Some(Ok(ready)),
            None => self.ready_incomplete(head, held),
        }
    }

    /// The error in place of a manifest that is stale.
    pub(super) fn ready_stale(&mut self, head: &Head, held: &Held) -> Option<Ready> {
        let shard = self.shard.clone();
        let at_ms = shard.good_until_ms(held);
        let is_stale = shard.reactor.clock.now_ms() >= at_ms;
        if at_ms != u64::MAX {
            shard.note_stale(held.record.key(), is_stale);
        }
        if !is_stale {
            return None;
        }
        shard.accounts.meters.stale_answers.bump();
        let message = "the encoder has stopped renewing this manifest";
        Some(self.ready_unavailable(head, message))
    }
}

impl Shard {
    /// When a manifest becomes stale; the largest number for what does not.
    pub(super) fn good_until_ms(&self, held: &Held) -> u64 {
        *held.derived().stale_at_ms.get_or_init(|| self.stale_at_ms(held).unwrap_or(u64::MAX))
    }

    /// When a manifest becomes stale; `None` for what does not.
    fn stale_at_ms(&self, held: &Held) -> Option<u64> {
        let record = &held.record;
        record.whole()?;
        if types::class(record.key(), &record.fields.content_type) != Class::Manifest {
            return None;
        }
        let after = self.rules.borrow().paths.stale_after(record.key())?;
        let interval_ms = match live_of(self, held) {
            Some(live) if live.facts.ended => return None,
            Some(live) => live.facts.target_duration_us / 1000,
            None => {
                let text = manifest_text(self, record)?;
                if !mpd::is_dynamic(&text) {
                    return None;
                }
                mpd::update_interval_ms(&text).unwrap_or(0)
            }
        };
        let after_ms = match after {
            StaleAfter::Ms(ms) => ms.into(),
            StaleAfter::Auto => interval_ms.saturating_mul(3) / 2,
        };
        Some(record.stored_ms.saturating_add(after_ms))
    }

    /// Notes, and says, when a manifest becomes stale or recovers.
    fn note_stale(&self, key: &[u8], is_stale: bool) {
        let mut stale = self.stale.borrow_mut();
        if is_stale && stale.len() < limits::STALE_KEYS_MAX && !stale.contains(key) {
            stale.insert(key.into());
            self.tell_event("stale", key, None);
            let key = String::from_utf8_lossy(key).into_owned();
            tracing::warn!(key, "the manifest is stale: its encoder has stopped renewing it");
        } else if !is_stale && stale.remove(key) {
            self.say_recovered(key);
        }
    }

    /// Forgets manifests that were renewed or have gone without having been read here since:
    /// readers may have gone to another shard.
    pub(super) fn refresh_stale(&self) {
        let now_ms = self.reactor.clock.now_ms();
        let mut stale = self.stale.borrow_mut();
        stale.retain(|key| {
            let until_ms = self.here(key).map(|held| self.good_until_ms(&held));
            let is_stale = until_ms.is_some_and(|until_ms| now_ms >= until_ms);
            if !is_stale {
                self.say_recovered(key);
            }
            is_stale
        });
    }

    fn say_recovered(&self, key: &[u8]) {
        self.tell_event("recovered", key, None);
        let key = String::from_utf8_lossy(key).into_owned();
        tracing::info!(key, "the manifest is renewed again, or gone");
    }
}
