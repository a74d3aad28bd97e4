//! The disk tier of a shard: saves, loads and erases keys that the shard owns.
//!
//! A job is a task of its own at the key's owner. Jobs of one key run one after the other, and
//! each makes the disk agree with what memory has at that moment, so that it does not matter in
//! which order they were asked for: a save that finds its version saved, or gone, is done.
//!
//! Invariants: whoever asked for a job is answered; a save is answered only after file and folder
//! were synced; after a sync that failed nothing is written any more until the process ends.

mod chunks;
pub(in crate::shard) mod fill;
mod folders;
pub(in crate::shard) mod load;
mod reads;
mod replace;
mod retire;
mod save;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::prefetch::Place;
use super::read::Obtained;
use super::turns::{Absences, Turns};
use super::{Settings, Shard};
use crate::config::Durability;
use crate::limits;
use crate::origin::write::Intent;
use crate::store::message::{Ask, Guard, Job, Message, Refusal, Reply, Ticket};
use crate::sys::extent::ShardId;
use crate::sys::folder::DataFolder;
use crate::tier::disk::{chunk, path};
use chunks::Wanted;
use folders::FolderSync;
use load::Purpose;
pub(super) use load::plain_attributes;
use reads::Reads;

type Key = Box<[u8]>;

/// What a shard knows of its disk.
pub(super) struct Disk {
    data: Option<Arc<DataFolder>>,
    library: Option<Arc<DataFolder>>,
    /// Keys with a job under way.
    turns: Turns,
    jobs: Cell<usize>,
    /// Reads in the data folder, and in the library.
    reads: [Reads; 2],
    /// Keys that are not on disk.
    absent: Absences,
    /// Folders that are on disk, unless one was removed since there were so many removals.
    folders: RefCell<HashMap<Key, u32>>,
    /// Folders that are not on disk.
    bare: Absences,
    /// Files that were named so far.
    named: Cell<u64>,
    syncs: RefCell<HashMap<Key, FolderSync>>,
    /// Names temporary files.
    number: Cell<u64>,
}

impl Disk {
    /// The shard's part of the tier, where one is configured.
    pub(super) fn of(settings: &Settings) -> Option<Box<Self>> {
        let (data, library) = (settings.data.clone(), settings.library.clone());
        (data.is_some() || library.is_some()).then(|| {
            Box::new(Self {
                data,
                library,
                turns: Turns::default(),
                jobs: Cell::default(),
                reads: Default::default(),
                absent: Absences::new(limits::DISK_ABSENT_MAX, limits::DISK_ABSENT_MS),
                folders: RefCell::default(),
                bare: Absences::new(limits::DISK_FOLDERS_MAX, limits::DISK_ABSENT_MS),
                named: Cell::default(),
                syncs: RefCell::default(),
                number: Cell::default(),
            })
        })
    }

    /// The reads in one of the folders: another may lie on a disk that hangs.
    fn reads(&self, folder: &DataFolder) -> &Reads {
        &self.reads[usize::from(folder.temporary().is_none())]
    }

    /// The folder to write to, and its place for files that are being written.
    fn writable(&self) -> Result<(&DataFolder, i32), Refusal> {
        if self.data.as_deref().is_some_and(DataFolder::is_away) {
            return Err(Refusal::DiskFault);
        }
        let data = self.data.as_deref().filter(|data| !data.is_broken());
        let temporary = data.and_then(|data| Some((data, data.temporary()?)));
        temporary.ok_or(Refusal::ReadOnly)
    }
}

impl Shard {
    /// Whether an upload of the key is acknowledged from disk.
    pub(super) fn is_durable(&self, key: &[u8], intent: &Intent) -> bool {
        let Some(disk) = &self.disk else { return false };
        if disk.data.is_none() || intent.ephemeral || path::is_reserved(key) {
            return false;
        }
        match self.rules.borrow().paths.durability(key) {
            Some(durability) => durability != Durability::Memory,
            None => intent.durable || intent.ttl_ms.is_none(),
        }
    }

    /// Whether the key may lie on disk.
    pub(super) fn reads_disk(&self, key: &[u8]) -> bool {
        let Some(disk) = &self.disk else { return false };
        let in_memory_only =
            || self.rules.borrow().paths.durability(key) == Some(Durability::Memory);
        !path::is_reserved(key) && (disk.library.is_some() || !in_memory_only())
    }

    /// Before an upload: refuses what cannot be kept although it is to be, and fetches what its
    /// conditions, or its wish to be readable at once, have to be judged by.
    pub(super) async fn prepare(
        &self,
        owner: ShardId,
        key: &[u8],
        intent: &Intent,
        durable: bool,
    ) -> Result<(), Refusal> {
        if let Some(disk) = self.disk.as_deref().filter(|_| durable) {
            let (data, _) = disk.writable()?;
            if data.room().is_full() {
                self.accounts.meters.disk_refused.bump();
                return Err(Refusal::DiskFull);
            }
        }
        let for_more = durable && (intent.guard.pipeline.is_some() || intent.stream);
        if !is_conditional(&intent.guard) && !for_more {
            return Ok(());
        }
        match self.tier(owner, key.into(), Job::LoadWhole).await {
            Reply::Refused(refusal) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Whether what the disk has matters to an upload before it begins.
    pub(super) fn is_prepared(&self, key: &[u8], intent: &Intent, durable: bool) -> bool {
        durable || (is_conditional(&intent.guard) && self.reads_disk(key))
    }

    /// Brings a key from disk into memory and holds it.
    pub(super) async fn obtain_cold(&self, key: Key) -> Obtained {
        if !self.reads_disk(&key) {
            return Obtained::Absent;
        }
        let owner = self.store.borrow().owner_of(&key);
        self.obtain_by(&key, async |is_first| {
            let job = if is_first { Job::Load } else { Job::LoadWhole };
            self.tier(owner, key.clone(), job).await
        })
        .await
    }

    /// Has the key's owner do a job, and waits for its answer.
    pub(super) async fn tier(&self, owner: ShardId, key: Key, job: Job) -> Reply {
        self.have_done(owner, |ticket| Message::Tier { ticket, key, job }).await
    }

    /// A shard, which may be this one, wants a job done.
    pub(super) fn on_tier(&self, from: ShardId, ticket: Ticket, key: Key, job: Job) {
        let answer = |reply| self.post(from, Message::Reply { ticket, reply });
        let (Some(disk), Some(shard)) = (&self.disk, self.me.upgrade()) else {
            return answer(Reply::Absent);
        };
        if disk.jobs.get() >= limits::DISK_JOBS_MAX {
            return answer(Reply::Refused(Refusal::Busy));
        }
        if matches!(job, Job::Load | Job::LoadWhole) && shard.is_known_absent(disk, &key) {
            return answer(Reply::Absent);
        }
        disk.jobs.set(disk.jobs.get() + 1);
        self.reactor.tasks.spawn(async move {
            let disk = shard.disk.as_deref().expect("looked at above");
            let is_answered = Cell::new(false);
            let answer = |reply| {
                if !is_answered.replace(true) {
                    shard.post(from, Message::Reply { ticket, reply });
                }
            };
            let purpose = Purpose { begun: &|| answer(Reply::Loaded), ahead: None };
            let reply = shard.run_job(disk, key, job, purpose).await;
            disk.jobs.set(disk.jobs.get() - 1);
            answer(reply);
        });
    }

    /// Brings a key of this shard into memory before anybody asks for it; `Absent` also where it
    /// is not looked for on disk.
    pub(super) async fn load_ahead(&self, key: Key, place: &Place<'_>) -> Reply {
        let Some(disk) = self.disk.as_deref().filter(|_| self.reads_disk(&key)) else {
            return Reply::Absent;
        };
        if self.is_known_absent(disk, &key) {
            return Reply::Absent;
        }
        if disk.jobs.get() >= limits::DISK_JOBS_MAX {
            return Reply::Refused(Refusal::Busy);
        }
        disk.jobs.set(disk.jobs.get() + 1);
        let purpose = Purpose { begun: &|| {}, ahead: Some(place) };
        let reply = self.run_job(disk, key, Job::Load, purpose).await;
        disk.jobs.set(disk.jobs.get() - 1);
        reply
    }

    /// Whether a job works on the key.
    pub(super) fn is_busy_on_disk(&self, key: &[u8]) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.turns.is_taken(key))
    }

    /// The purpose is that of a load.
    async fn run_job(&self, disk: &Disk, key: Key, job: Job, purpose: Purpose<'_>) -> Reply {
        let is_done = || matches!(job, Job::Load) && self.peek(&key).is_some();
        if !disk.turns.enter(&self.reactor.tasks, &key, is_done).await {
            return Reply::Loaded;
        }
        let done = match job {
            Job::Save { etag } => self.save(disk, &key, &etag).await.map(|()| Reply::Saved),
            Job::Load | Job::LoadWhole => match (chunk::parse(&key), job) {
                (Some((of, tag, index)), _) => {
                    self.load_chunk(disk, &key, Wanted { of: &of, tag, index }).await
                }
                (None, Job::Load) => self.load(disk, &key, purpose).await,
                (None, _) => self.load(disk, &key, Purpose::WHOLE).await,
            },
            Job::Commit { upload, publication } => {
                self.commit_over(disk, &key, upload, *publication).await
            }
            Job::Renew { etag } => self.renew(disk, &key, &etag).await,
            Job::Erase { guard } => self.erase(disk, &key, guard).await,
            Job::Expire { until_s } => self.expire_here(disk, &key, until_s).await,
            Job::Release { described } => self.release_file(disk, &key, &described).await,
        };
        disk.turns.leave(&self.reactor.tasks, &key);
        done.unwrap_or_else(Reply::Refused)
    }

    fn is_known_absent(&self, disk: &Disk, key: &[u8]) -> bool {
        disk.absent.has(key, self.reactor.clock.now_ms())
    }

    /// An ask for memory; where anything may give way, all shards evict for it.
    pub(super) async fn ask_for_room(&self, owner: ShardId, ask: impl Fn() -> Ask) -> Reply {
        let reply = self.ask(owner, ask()).await;
        match reply {
            Reply::Refused(Refusal::Full)
                if self.disk.is_some()
                    || self.remote.is_some()
                    || self.rules.borrow().paths.any_gives_way() =>
            {
                Box::pin(self.wait_for_room(owner, &ask)).await
            }
            reply => reply,
        }
    }

    async fn wait_for_room(&self, owner: ShardId, ask: &impl Fn() -> Ask) -> Reply {
        let mut reply = Reply::Refused(Refusal::Full);
        for attempt in 0..limits::ROOM_ATTEMPTS {
            if !matches!(reply, Reply::Refused(Refusal::Full)) {
                break;
            }
            if attempt % 4 == 0 {
                self.tell_all(|| Message::Reclaim);
            }
            self.reactor.pause(limits::ROOM_PAUSE_MS).await;
            reply = self.ask(owner, ask()).await;
        }
        reply
    }

    /// An ask to this shard's own store.
    async fn ask_here(&self, ask: Ask) -> Reply {
        self.ask(self.id, ask).await
    }

    /// What a call comes to that failed before anything was acknowledged: another try may work,
    /// since whatever it left is synced before it counts. Only a failed sync ends all writing.
    fn refusal(disk: &Disk, what: &str, error: &io::Error) -> Refusal {
        if let Err(refusal) = disk.writable() {
            return refusal;
        }
        match error.raw_os_error() {
            Some(errno::ENOSPC | errno::EDQUOT) => Refusal::DiskFull,
            Some(
                errno::ENOTDIR | errno::EISDIR | errno::ELOOP | errno::ENOTEMPTY | errno::EEXIST,
            ) => Refusal::Conflict,
            Some(errno::EMFILE | errno::ENFILE | errno::ENOMEM) => Refusal::Busy,
            // Folders come and go; no byte that was written is lost.
            _ if error.kind() == io::ErrorKind::NotFound => Refusal::Busy,
            _ => {
                tracing::warn!("the disk refuses {what}: {error}");
                Refusal::DiskFault
            }
        }
    }

    fn give_up(disk: &Disk, what: &str, error: &io::Error) {
        if disk.data.as_ref().is_some_and(|data| data.give_up()) {
            tracing::error!("the disk tier takes no more writes: {what}: {error}");
        }
    }
}

/// Whether an upload depends on what is there.
fn is_conditional(guard: &Guard) -> bool {
    guard.if_match.is_some() || guard.if_none_match.is_some() || guard.immutable
}

/// Error numbers that have a meaning of their own here (errno(3), Linux).
mod errno {
    pub(super) const EEXIST: i32 = 17;
    pub(super) const ENOMEM: i32 = 12;
    pub(super) const ENOTDIR: i32 = 20;
    pub(super) const EISDIR: i32 = 21;
    pub(super) const ENFILE: i32 = 23;
    pub(super) const EMFILE: i32 = 24;
    pub(super) const ENOSPC: i32 = 28;
    pub(super) const ENOTEMPTY: i32 = 39;
    pub(super) const ELOOP: i32 = 40;
    pub(super) const EDQUOT: i32 = 122;
}
