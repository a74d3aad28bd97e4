//! Orders to the store, and bodies on their way there.
//!
//! Invariants: a body leaves in pieces of one size, the last one excepted.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{RemoteTier, Shard};
use crate::limits;
use crate::shard::chunks::Missing;
use crate::store::Held;
use crate::store::message::{Job, Refusal};
use crate::store::object::Record;
use crate::tier::disk::attributes::Attributes;
use crate::tier::disk::sums::{self, Summing};
use crate::tier::remote::{Event, Fault, Only, Order, Work, metadata};

/// The waiting end of an order.
pub(super) struct Line(Receiver<Event>);

impl Line {
    pub(super) async fn next(&mut self) -> Event {
        std::future::poll_fn(|_| match self.0.try_recv() {
            Ok(event) => Poll::Ready(event),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(Event::Failed(Fault::Unreachable)),
        })
        .await
    }
}

pub(super) fn refusal(fault: Fault) -> Refusal {
    match fault {
        Fault::Unreachable => Refusal::RemoteDown,
        Fault::Slow => Refusal::RemoteSlow,
        Fault::Denied => Refusal::RemoteDenied,
    }
}

impl Shard {
    pub(super) fn order(&self, tier: &RemoteTier, work: Work) -> Result<Line, Refusal> {
        let (events, line) = mpsc::channel(limits::REMOTE_EVENTS_MAX);
        let (ring, shard, task) = (tier.link.ring.clone(), self.id, self.reactor.tasks.current());
        let bell = Arc::new(move || ring(shard, task));
        match tier.link.orders.try_send(Order { work, events, bell }) {
            Ok(()) => Ok(Line(line)),
            Err(TrySendError::Full(_)) => Err(Refusal::Busy),
            Err(TrySendError::Closed(_)) => Err(Refusal::RemoteDown),
        }
    }

    /// Sends what memory, or else the disk, has of the key.
    pub(super) async fn send_version(&self, tier: &RemoteTier, key: &[u8]) -> Result<(), Refusal> {
        // It may be on its way from disk at this moment.
        let is_here = self.peek(key).is_some_and(|held| held.record.whole().is_some());
        if !is_here && self.reads_disk(key) {
            self.tier(self.id, key.into(), Job::LoadWhole).await;
        }
        // What is gone needs no place; what still arrives is queued again by its commit.
        let Some(held) = self.peek(key) else { return Ok(()) };
        let Some(whole) = held.record.whole() else { return Ok(()) };
        let attributes = match whole.chunking() {
            None => {
                let summing = Summing::with_chunks(sums::chunk_bytes(whole.length()));
                self.attributes(&held, whole, summing).await
            }
            Some(chunking) if chunking.stored_as.is_some() => return Ok(()),
            Some(_) => match self.attributes_of_file(&held.record).await {
                Ok(attributes) => attributes,
                Err(missing) => return self.unsent(missing),
            },
        };
        if metadata::value(&attributes).is_none() {
            tracing::warn!(
                "an object's metadata cannot be kept in the remote store; it is not sent"
            );
            return Ok(());
        }
        let (length, expires) = (whole.length(), attributes.expires_ms.is_some());
        let (sender, pieces) = mpsc::channel(limits::REMOTE_PIECES_MAX);
        let mut line = self
            .order(tier, Work::Put { key: key.into(), attributes: Box::new(attributes), pieces })?;
        if let Err(missing) = self.send_body(&held, sender).await {
            return self.unsent(missing);
        }
        let meters = &self.accounts.meters;
        match line.next().await {
            Event::Done => {
                meters.remote_saved.bump();
                meters.remote_sent_bytes.add(length);
                tier.absent.forget(key);
                self.store.borrow_mut().note_backed(held.lease());
                if expires {
                    // The store counts by the wall clock, a few milliseconds off: an order that
                    // came before it would find time left, and be over.
                    let at_ms = held.record.expires_ms + limits::REMOTE_EXPIRY_SLACK_MS;
                    tier.queue.borrow_mut().expire_at(at_ms, key);
                }
                Ok(())
            }
            Event::Failed(fault) => {
                meters.remote_failed.bump();
                Err(refusal(fault))
            }
            _ => Err(Refusal::RemoteDown),
        }
    }

    /// What a file comes to that is not read to its end. The store gives up what it has of it.
    fn unsent(&self, missing: Missing) -> Result<(), Refusal> {
        self.accounts.meters.remote_failed.bump();
        match missing {
            // What took its place has a turn of its own.
            Missing::Replaced => Ok(()),
            Missing::Damaged => {
                tracing::warn!("a file on disk cannot be read; it is not sent to the remote store");
                Ok(())
            }
            Missing::Busy => Err(Refusal::Busy),
            Missing::Unreachable(refusal) => Err(refusal),
        }
    }

    /// What is to be kept beside the body of a large file, which is read for its sums where the
    /// disk has none.
    async fn attributes_of_file(&self, record: &Arc<Record>) -> Result<Attributes, Missing> {
        let found = self.describe_as(record).await.map_err(|_| Missing::Busy)?;
        let (mut attributes, is_summed) = found.ok_or(Missing::Replaced)?;
        if is_summed {
            return Ok(attributes);
        }
        let mut sums = Summing::with_chunks(sums::chunk_bytes(attributes.length));
        let mut scratch = vec![0; limits::DISK_SUM_BYTES];
        for index in 0..chunk_count(record) {
            let chunk = self.obtain_chunk(record, index).await?;
            for &extent in chunk.record.whole().into_iter().flat_map(|whole| whole.extents()) {
                let all = (extent, 0, extent.len);
                self.each_piece(all, &mut scratch, |bytes| sums.update(bytes)).await;
            }
        }
        (attributes.sum, attributes.chunks) = sums.finish();
        Ok(attributes)
    }

    /// Copies the body out, never further ahead than the channel has room; one chunk after the
    /// other where it lies on disk.
    async fn send_body(&self, held: &Rc<Held>, sender: Sender<Vec<u8>>) -> Result<(), Missing> {
        let record = &held.record;
        let mut pieces = Pieces::new(sender, record.length().unwrap_or_default());
        let mut is_taken = self.send_extents(record, &mut pieces).await;
        for index in 0..chunk_count(record) {
            if !is_taken {
                return Ok(());
            }
            let chunk = self.obtain_chunk(record, index).await?;
            is_taken = self.send_extents(&chunk.record, &mut pieces).await;
        }
        pieces.end().await;
        Ok(())
    }

    /// Sends what lies under the record's own key; `false` when nobody takes it any more.
    async fn send_extents(&self, record: &Record, pieces: &mut Pieces) -> bool {
        for &extent in record.whole().into_iter().flat_map(|whole| whole.extents()) {
            let mut at = 0;
            while at < extent.len {
                let old = pieces.piece.len();
                let left = pieces.bytes_max - old;
                let count = (limits::DISK_PIECE_BYTES.min(extent.len - at) as usize).min(left);
                pieces.piece.resize(old + count, 0);
                self.reactor.arena().read(extent, at, &mut pieces.piece[old..]);
                at += u32::try_from(count).expect("within one extent");
                if count == left && !pieces.send().await {
                    return false;
                }
                self.give_way().await;
            }
        }
        true
    }

    /// What the store says of the key, which is not read.
    pub(in crate::shard) async fn look_remote(
        &self,
        tier: &RemoteTier,
        key: &[u8],
    ) -> Result<Option<Attributes>, Refusal> {
        match self.order(tier, Work::Look { key: key.into() })?.next().await {
            Event::Found(found) => Ok(Some(found.attributes)),
            Event::Failed(fault) => Err(refusal(fault)),
            _ => Ok(None),
        }
    }

    /// Takes the key away in the store; `false` when it was not there, or has time left.
    pub(super) async fn erase_version(
        &self,
        tier: &RemoteTier,
        key: &[u8],
        only: Option<Only>,
    ) -> Result<bool, Refusal> {
        let mut line = self.order(tier, Work::Erase { key: key.into(), only })?;
        match line.next().await {
            Event::Done => {
                self.accounts.meters.remote_erased.bump();
                tier.absent.note(key, self.reactor.clock.now_ms());
                Ok(true)
            }
            Event::Absent => Ok(false),
            Event::Failed(fault) => {
                self.accounts.meters.remote_failed.bump();
                Err(refusal(fault))
            }
            _ => Err(Refusal::RemoteDown),
        }
    }
}

/// How many chunks memory does not have at once.
fn chunk_count(record: &Record) -> u64 {
    let length = record.length().unwrap_or_default();
    record.chunking().map_or(0, |chunking| length.div_ceil(chunking.bytes))
}

/// A body on its way out.
struct Pieces {
    sender: Sender<Vec<u8>>,
    piece: Vec<u8>,
    bytes_max: usize,
}

impl Pieces {
    fn new(sender: Sender<Vec<u8>>, length: u64) -> Self {
        let least = length.div_ceil(limits::REMOTE_PARTS_MAX).next_power_of_two();
        let bytes_max = usize::try_from(limits::REMOTE_PIECE_BYTES.max(least));
        Self { sender, piece: Vec::new(), bytes_max: bytes_max.expect("a share of a file") }
    }

    /// Hands the piece over once there is room; `false` when nobody takes it any more.
    async fn send(&mut self) -> bool {
        let place = std::future::poll_fn(|_| match self.sender.try_reserve() {
            Ok(place) => Poll::Ready(Some(place)),
            Err(TrySendError::Full(())) => Poll::Pending,
            Err(TrySendError::Closed(())) => Poll::Ready(None),
        });
        place.await.map(|place| place.send(std::mem::take(&mut self.piece))).is_some()
    }

    async fn end(mut self) {
        if !self.piece.is_empty() {
            self.send().await;
        }
    }
}
