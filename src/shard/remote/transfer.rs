//! Bodies on their way between memory and the store.
//!
//! Invariants: a body leaves in pieces of one size, the last one excepted; a loaded body is in an
//! upload that nobody sees until it is whole and its sum is right.

use std::rc::Rc;
use std::task::Poll;

use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::mpsc::{self, Receiver, Sender};
use xxhash_rust::xxh3::Xxh3Default;

use super::{RemoteTier, Shard};
use crate::limits;
use crate::media::types;
use crate::origin::write;
use crate::shard::prefetch::Place;
use crate::store::Held;
use crate::store::message::{Job, Message, Refusal, Reply};
use crate::store::object::NEVER;
use crate::sys::clock::Clock;
use crate::sys::extent::Extent;
use crate::tier::disk::attributes::Attributes;
use crate::tier::disk::sums::Summing;
use crate::tier::remote::{Event, Fault, Only, Order, Work, metadata};

/// The waiting end of an order.
struct Line(Receiver<Event>);

impl Line {
    async fn next(&mut self) -> Event {
        std::future::poll_fn(|_| match self.0.try_recv() {
            Ok(event) => Poll::Ready(event),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(Event::Failed(Fault::Unreachable)),
        })
        .await
    }
}

fn refusal(fault: Fault) -> Refusal {
    match fault {
        Fault::Unreachable => Refusal::RemoteDown,
        Fault::Slow => Refusal::RemoteSlow,
        Fault::Denied => Refusal::RemoteDenied,
    }
}

impl Shard {
    fn order(&self, tier: &RemoteTier, work: Work) -> Result<Line, Refusal> {
        let (events, line) = mpsc::channel(limits::REMOTE_EVENTS_MAX);
        let (ring, shard, task) = (tier.link.ring.clone(), self.id, self.reactor.tasks.current());
        let bell = std::sync::Arc::new(move || ring(shard, task));
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
        if whole.is_in_chunks() {
            tracing::warn!("a file that is served in chunks is not sent to the remote store");
            return Ok(());
        }
        let attributes = Box::new(self.attributes(&held, whole, Summing::whole()).await);
        if metadata::value(&attributes).is_none() {
            tracing::warn!(
                "an object's metadata cannot be kept in the remote store; it is not sent"
            );
            return Ok(());
        }
        let length = whole.length;
        let (sender, pieces) = mpsc::channel(limits::REMOTE_PIECES_MAX);
        let mut line = self.order(tier, Work::Put { key: key.into(), attributes, pieces })?;
        self.send_pieces(&held, &sender).await;
        drop(sender);
        let meters = &self.accounts.meters;
        match line.next().await {
            Event::Done => {
                meters.remote_saved.bump();
                meters.remote_sent_bytes.add(length);
                tier.absent.borrow_mut().remove(key);
                self.store.borrow_mut().note_backed(held.lease());
                if held.record.expires_ms != NEVER {
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

    /// Copies the body out, never further ahead than the channel has room.
    async fn send_pieces(&self, held: &Rc<Held>, sender: &Sender<Vec<u8>>) {
        let whole = held.record.whole().expect("the caller looked");
        let piece_bytes = usize::try_from(limits::REMOTE_PIECE_BYTES).expect("a few MiB");
        let mut piece = Vec::new();
        for &extent in &whole.extents {
            let mut at = 0;
            while at < extent.len {
                let old = piece.len();
                let count =
                    (limits::DISK_PIECE_BYTES.min(extent.len - at) as usize).min(piece_bytes - old);
                piece.resize(old + count, 0);
                self.reactor.arena().read(extent, at, &mut piece[old..]);
                at += u32::try_from(count).expect("within one extent");
                if piece.len() == piece_bytes && !send(sender, std::mem::take(&mut piece)).await {
                    return;
                }
                self.give_way().await;
            }
        }
        if !piece.is_empty() {
            send(sender, piece).await;
        }
    }

    /// Brings the key into memory: `Loaded`, or `Absent`.
    pub(super) async fn load_remote(
        &self,
        tier: &RemoteTier,
        key: &[u8],
        ahead: Option<&Place<'_>>,
    ) -> Result<Reply, Refusal> {
        if self.peek(key).is_some() {
            return Ok(Reply::Loaded);
        }
        if self.is_known_absent_remote(tier, key) {
            return Ok(Reply::Absent);
        }
        let now_ms = self.reactor.clock.now_ms();
        let (until_ms, failed_by) = tier.failed.get();
        if now_ms < until_ms {
            return Err(failed_by);
        }
        let loaded = self.load_new(tier, key, ahead).await;
        match &loaded {
            Ok(Reply::Loaded) => self.accounts.meters.remote_loads.bump(),
            Ok(_) => {
                self.note_absent_remote(tier, key);
                self.accounts.meters.remote_absent.bump();
            }
            Err(refusal) => {
                self.accounts.meters.remote_failed.bump();
                if matches!(
                    refusal,
                    Refusal::RemoteDown | Refusal::RemoteSlow | Refusal::RemoteDenied
                ) {
                    let until_ms = self.reactor.clock.now_ms() + limits::REMOTE_FAILED_MS;
                    tier.failed.set((until_ms, *refusal));
                }
            }
        }
        loaded
    }

    async fn load_new(
        &self,
        tier: &RemoteTier,
        key: &[u8],
        ahead: Option<&Place<'_>>,
    ) -> Result<Reply, Refusal> {
        let mut line = self.order(tier, Work::Get { key: key.into() })?;
        let (mut attributes, is_summed) = match line.next().await {
            Event::Found { attributes, is_summed } => (attributes, is_summed),
            Event::Failed(fault) => return Err(refusal(fault)),
            _ => return Ok(Reply::Absent),
        };
        let wall_ms = Clock::wall_ms();
        if attributes.expires_ms.is_some_and(|ms| ms <= wall_ms) {
            drop(line);
            self.erase_version(tier, key, Some(Only::ExpiredBy(wall_ms))).await?;
            return Ok(Reply::Absent);
        }
        let after_s = self.rules.borrow().paths.expire_after_s(key);
        if let Some(until_s) = after_s.and_then(|after_s| (wall_ms / 1000).checked_sub(after_s))
            && attributes.modified_s <= until_s
        {
            drop(line);
            self.erase_version(tier, key, Some(Only::StoredBy(until_s))).await?;
            return Ok(Reply::Absent);
        }
        fill_in(key, &mut attributes);
        let begun = self.begin_loaded(key, attributes.length, None, ahead).await?;
        let Some((upload, extents)) = begun else { return Ok(Reply::Loaded) };
        match self.receive_pieces(&mut line, &extents, attributes.length).await {
            Ok(sum) if !is_summed || sum == attributes.sum => {}
            other => {
                self.post(self.id, Message::Abort { upload });
                tracing::warn!("an object of the remote store did not arrive as it was sent");
                return Err(other.err().unwrap_or(Refusal::Damaged));
            }
        }
        self.accounts.meters.remote_read_bytes.add(attributes.length);
        let published = self.publish_loaded(key, upload, &attributes, None, ahead).await;
        published.map(|()| Reply::Loaded)
    }

    /// Fills the extents; the sum of what came.
    async fn receive_pieces(
        &self,
        line: &mut Line,
        extents: &[Extent],
        length: u64,
    ) -> Result<u128, Refusal> {
        let mut sum = Xxh3Default::new();
        let mut left = length;
        let mut rest = extents.iter();
        let mut place = (Extent { slot: 0, offset: 0, len: 0 }, 0);
        loop {
            let piece = match line.next().await {
                Event::Piece(piece) if piece.len() as u64 <= left => piece,
                Event::Done if left == 0 => return Ok(sum.digest128()),
                Event::Failed(fault) => return Err(refusal(fault)),
                _ => return Err(Refusal::Damaged),
            };
            left -= piece.len() as u64;
            sum.update(&piece);
            let mut bytes = &piece[..];
            while !bytes.is_empty() {
                if place.1 == place.0.len {
                    place = (*rest.next().ok_or(Refusal::Damaged)?, 0);
                }
                let (extent, at) = place;
                let count = bytes.len().min((extent.len - at) as usize);
                self.reactor.arena().write(extent, at, &bytes[..count]);
                place.1 += u32::try_from(count).expect("within one extent");
                bytes = &bytes[count..];
            }
        }
    }

    /// What the store says of the key, which is not read.
    pub(in crate::shard) async fn look_remote(
        &self,
        tier: &RemoteTier,
        key: &[u8],
    ) -> Result<Option<Attributes>, Refusal> {
        match self.order(tier, Work::Look { key: key.into() })?.next().await {
            Event::Found { attributes, .. } => Ok(Some(*attributes)),
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
                self.note_absent_remote(tier, key);
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

/// What the store does not say of an object is said by its name.
fn fill_in(key: &[u8], attributes: &mut Attributes) {
    if attributes.content_type.is_empty() {
        let of_name = types::of_extension(key).unwrap_or("application/octet-stream");
        attributes.content_type = of_name.as_bytes().into();
    }
    if attributes.cache_control.is_empty() {
        let class = types::class(key, &attributes.content_type);
        attributes.cache_control = write::default_cache_control(class, None).as_bytes().into();
    }
}

/// Hands a piece over once there is room; `false` when nobody takes it any more.
async fn send(sender: &Sender<Vec<u8>>, piece: Vec<u8>) -> bool {
    let place = std::future::poll_fn(|_| match sender.try_reserve() {
        Ok(place) => Poll::Ready(Some(place)),
        Err(TrySendError::Full(())) => Poll::Pending,
        Err(TrySendError::Closed(())) => Poll::Ready(None),
    });
    place.await.map(|place| place.send(piece)).is_some()
}
