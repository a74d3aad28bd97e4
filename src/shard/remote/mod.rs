//! The remote tier of a shard: sends, loads and erases keys that the shard owns.
//!
//! As on disk, a job runs at the key's owner, jobs of one key one after the other. The store itself
//! is the control thread's: a job orders, and its task sleeps until the answer rings. What need not
//! be waited for goes into a queue (`queue`), which is worked off after the answer.
//!
//! Invariants: whoever asked for a job is answered; a key that waits to be erased is absent; an
//! upload of durability `remote` is acknowledged only after the store has it.

mod fill;
mod load;
mod queue;
mod transfer;

use std::cell::{Cell, RefCell};

use super::disk::load::Purpose;
use super::prefetch::Place;
use super::read::Obtained;
use super::turns::{Absences, Turns};
use super::{Settings, Shard};
use crate::config::Durability;
use crate::http::response::Status;
use crate::limits;
use crate::origin::write::Intent;
use crate::store::message::{Guard, Job, Message, Refusal, RemoteJob, Reply, Ticket};
use crate::sys::extent::ShardId;
use crate::tier::disk::path;
use crate::tier::remote::{Link, Only};
use queue::{Queue, Wish};

type Key = Box<[u8]>;

/// What a shard knows of the store.
pub(super) struct RemoteTier {
    link: Link,
    /// Keys with a job under way.
    turns: Turns,
    jobs: Cell<usize>,
    /// Keys that the store does not have.
    absent: Absences,
    /// Reads are refused until then, as the last one was.
    failed: Cell<(u64, Refusal)>,
    queue: RefCell<Queue>,
}

impl RemoteTier {
    /// The shard's part of the tier, where one is configured.
    pub(super) fn of(settings: &Settings) -> Option<Box<Self>> {
        settings.remote.clone().map(|link| {
            Box::new(Self {
                link,
                turns: Turns::default(),
                jobs: Cell::default(),
                absent: Absences::new(limits::REMOTE_ABSENT_MAX, limits::REMOTE_ABSENT_MS),
                failed: Cell::new((0, Refusal::RemoteDown)),
                queue: RefCell::default(),
            })
        })
    }
}

/// Status and sentence of a refusal that the store caused.
pub(super) fn words(refusal: Refusal) -> (Status, &'static str) {
    match refusal {
        Refusal::RemoteSlow => (
            Status::GatewayTimeout,
            "the remote store did not answer in time; what was uploaded is sent again",
        ),
        Refusal::RemoteDenied => (
            Status::ServiceUnavailable,
            "the remote store refuses this origin: its credentials or its bucket are wrong",
        ),
        Refusal::RemoteBehind => (
            Status::ServiceUnavailable,
            "too much waits for the remote store; try again when it has caught up",
        ),
        _ => (
            Status::ServiceUnavailable,
            "the remote store does not answer; what was uploaded is sent again",
        ),
    }
}

impl Shard {
    /// Whether the key may lie in the store.
    pub(super) fn reads_remote(&self, key: &[u8]) -> bool {
        self.remote.is_some()
            && !path::is_reserved(key)
            && std::str::from_utf8(key).is_ok()
            && self.rules.borrow().paths.durability(key) != Some(Durability::Memory)
    }

    /// Before an upload: makes the slower tiers ready for it.
    pub(super) async fn prepare_tiers(
        &self,
        owner: ShardId,
        key: &[u8],
        intent: &Intent,
        durable: bool,
    ) -> Result<(), Refusal> {
        if self.is_prepared(key, intent, durable) {
            self.prepare(owner, key, intent, durable).await?;
        }
        match self.remote.is_some() {
            true => self.prepare_remote(owner, key, &intent.guard).await,
            false => Ok(()),
        }
    }

    /// Before an upload: fetches what its conditions have to be judged by.
    pub(super) async fn prepare_remote(
        &self,
        owner: ShardId,
        key: &[u8],
        guard: &Guard,
    ) -> Result<(), Refusal> {
        let is_plain = guard.if_match.is_none() && guard.if_none_match.is_none();
        if (is_plain && !guard.immutable) || !self.reads_remote(key) {
            return Ok(());
        }
        match self.remote_job(owner, key.into(), RemoteJob::LoadWhole).await {
            Reply::Refused(refusal) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// After an upload: brings it to the tiers that its acknowledgement waits for.
    pub(super) async fn keep(
        &self,
        owner: ShardId,
        key: Key,
        etag: &[u8],
        intent: &Intent,
        durable: bool,
        sends: bool,
    ) -> Result<(), Refusal> {
        let save = || Job::Save { etag: etag.into() };
        if durable && let Reply::Refused(refusal) = self.tier(owner, key.clone(), save()).await {
            return Err(refusal);
        }
        if sends {
            self.keep_remote(owner, key, intent.ttl_ms).await?;
        }
        Ok(())
    }

    /// After an upload: has it sent, and waits for that where its path says so.
    async fn keep_remote(
        &self,
        owner: ShardId,
        key: Key,
        ttl_ms: Option<u64>,
    ) -> Result<(), Refusal> {
        if !self.reads_remote(&key) {
            return Ok(());
        }
        let durability = self.rules.borrow().paths.durability(&key);
        let job = match durability {
            Some(Durability::Remote) => RemoteJob::Save,
            None if ttl_ms.is_some() => return Ok(()),
            _ => RemoteJob::Queue,
        };
        match self.remote_job(owner, key, job).await {
            Reply::Refused(refusal) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// After a deletion here: takes the key away in the store too; what the deletion comes to.
    pub(super) async fn erase_remote(&self, owner: ShardId, key: Key, here: Reply) -> Reply {
        if !self.reads_remote(&key) || matches!(here, Reply::Refused(_)) {
            return here;
        }
        match self.remote_job(owner, key, RemoteJob::Erase).await {
            Reply::Absent => here,
            reply => reply,
        }
    }

    /// Brings a key from the store into memory and holds it.
    pub(super) async fn obtain_remote(&self, key: Key) -> Obtained {
        if !self.reads_remote(&key) {
            return Obtained::Absent;
        }
        let owner = self.store.borrow().owner_of(&key);
        self.obtain_by(&key, async |is_first| {
            let job = if is_first { RemoteJob::Load } else { RemoteJob::LoadWhole };
            self.remote_job(owner, key.clone(), job).await
        })
        .await
    }

    /// Has the key's owner do a job, and waits for its answer.
    pub(super) async fn remote_job(&self, owner: ShardId, key: Key, job: RemoteJob) -> Reply {
        self.have_done(owner, |ticket| Message::Remote { ticket, key, job }).await
    }

    /// A shard, which may be this one, wants a job done.
    pub(super) fn on_remote(&self, from: ShardId, ticket: Ticket, key: Key, job: RemoteJob) {
        let answer = |reply| self.post(from, Message::Reply { ticket, reply });
        let (Some(tier), Some(shard)) = (&self.remote, self.me.upgrade()) else {
            return answer(Reply::Absent);
        };
        if job == RemoteJob::Queue {
            let noted = self.note_wish(tier, key, Wish::Save);
            return answer(noted.map_or_else(Reply::Refused, |()| Reply::Saved));
        }
        if tier.jobs.get() >= limits::REMOTE_JOBS_MAX {
            return answer(Reply::Refused(Refusal::Busy));
        }
        let is_load = matches!(job, RemoteJob::Load | RemoteJob::LoadWhole);
        if is_load && self.is_known_absent_remote(tier, &key) {
            return answer(Reply::Absent);
        }
        tier.jobs.set(tier.jobs.get() + 1);
        self.reactor.tasks.spawn(async move {
            let tier = shard.remote.as_deref().expect("looked at above");
            let is_answered = Cell::new(false);
            let answer = |reply| {
                if !is_answered.replace(true) {
                    shard.post(from, Message::Reply { ticket, reply });
                }
            };
            let reply = shard.run_remote_job(tier, &key, job, &|| answer(Reply::Loaded)).await;
            tier.jobs.set(tier.jobs.get() - 1);
            answer(reply);
        });
    }

    /// Brings a key of this shard into memory before anybody asks for it; `Absent` also where it
    /// is not looked for in the store.
    pub(super) async fn load_ahead_remote(&self, key: Key, place: &Place<'_>) -> Reply {
        let Some(tier) = self.remote.as_deref().filter(|_| self.reads_remote(&key)) else {
            return Reply::Absent;
        };
        if self.is_known_absent_remote(tier, &key) {
            return Reply::Absent;
        }
        if tier.jobs.get() >= limits::REMOTE_JOBS_MAX || tier.turns.is_taken(&key) {
            return Reply::Refused(Refusal::Busy);
        }
        tier.jobs.set(tier.jobs.get() + 1);
        tier.turns.enter(&self.reactor.tasks, &key, || false).await;
        let purpose = Purpose { ahead: Some(place), ..Purpose::WHOLE };
        let done = self.load_remote(tier, &key, purpose).await;
        tier.turns.leave(&self.reactor.tasks, &key);
        tier.jobs.set(tier.jobs.get() - 1);
        done.unwrap_or_else(Reply::Refused)
    }

    /// `begun` is called when a load's object can be read, which may be before the job's end.
    async fn run_remote_job(
        &self,
        tier: &RemoteTier,
        key: &[u8],
        job: RemoteJob,
        begun: &dyn Fn(),
    ) -> Reply {
        let is_done = || job == RemoteJob::Load && self.peek(key).is_some();
        if !tier.turns.enter(&self.reactor.tasks, key, is_done).await {
            return Reply::Loaded;
        }
        let done = match job {
            RemoteJob::Load => self.load_remote(tier, key, Purpose { begun, ahead: None }).await,
            RemoteJob::LoadWhole => self.load_remote(tier, key, Purpose::WHOLE).await,
            RemoteJob::Renew { etag } => {
                self.forget_description(key, &etag);
                self.load_remote(tier, key, Purpose::WHOLE).await
            }
            RemoteJob::LoadChunk(chunking) => self.load_chunk_remote(tier, key, chunking).await,
            RemoteJob::Erase => self.erase_now(tier, key).await,
            RemoteJob::Expire { until_s } => self
                .erase_version(tier, key, Some(Only::StoredBy(until_s)))
                .await
                .map(|was_there| if was_there { Reply::Deleted } else { Reply::Absent }),
            RemoteJob::Save | RemoteJob::Queue => self.save_now(tier, key).await,
        };
        tier.turns.leave(&self.reactor.tasks, key);
        done.unwrap_or_else(Reply::Refused)
    }

    /// Sends a key while its upload waits; what fails is sent again later.
    async fn save_now(&self, tier: &RemoteTier, key: &[u8]) -> Result<Reply, Refusal> {
        tier.queue.borrow_mut().forget(key);
        let saved = self.send_version(tier, key).await;
        if saved.is_err() {
            self.note_wish(tier, key.into(), Wish::Save)?;
        }
        saved.map(|()| Reply::Saved)
    }

    /// Takes a key away while its deletion waits; what fails is tried again later.
    async fn erase_now(&self, tier: &RemoteTier, key: &[u8]) -> Result<Reply, Refusal> {
        // What was uploaded behind the deletion may be in the store already, or waits to be sent.
        let newer = self.peek(key);
        if newer.is_none() {
            tier.queue.borrow_mut().forget(key);
        }
        let stays = newer.as_ref().map(|held| Only::OtherThan(held.record.etag().into()));
        let erased = self.erase_version(tier, key, stays).await;
        if erased.is_err() && newer.is_none() {
            self.note_wish(tier, key.into(), Wish::Erase)?;
        }
        erased.map(|was_there| if was_there { Reply::Deleted } else { Reply::Absent })
    }

    fn is_known_absent_remote(&self, tier: &RemoteTier, key: &[u8]) -> bool {
        let now_ms = self.reactor.clock.now_ms();
        tier.queue.borrow().erases(key) || tier.absent.has(key, now_ms)
    }
}
