//! Reads of larger objects of the store: they are read while they come, as those on disk are.
//!
//! Invariants: no byte of a chunk with a sum is readable before all of the chunk has come and had
//! that sum.

use std::io;

use super::load::Spot;
use super::transfer::Line;
use super::{RemoteTier, Shard};
use crate::shard::disk::fill::{Check, Filling};
use crate::shard::disk::load::Purpose;
use crate::store::message::{Message, Refusal};
use crate::tier::disk::attributes::Attributes;

impl Shard {
    /// Fills an object, which can be read when its first bytes are there.
    pub(super) async fn fill_remote(
        &self,
        tier: &RemoteTier,
        key: &[u8],
        attributes: &Attributes,
        line: &mut Line,
        purpose: Purpose<'_>,
    ) -> Result<(), Refusal> {
        let publication = self.loaded_publication(key, attributes, None);
        let filling = self.begin_filling(key, &publication, purpose.ahead).await?;
        let Some(filling) = filling else { return Ok(()) };
        let begun = || {
            (purpose.begun)();
            tier.turns.wake(&self.reactor.tasks, key);
        };
        if let Err(refusal) = self.receive_into(&filling, attributes, line, &begun).await {
            self.post(self.id, Message::Abort { upload: filling.upload });
            return Err(refusal);
        }
        self.accounts.meters.remote_read_bytes.add(attributes.length);
        self.end_filling(key, &filling, publication).await
    }

    /// Receives the body, and lets readers have what was right. The last piece is left to the end
    /// of the upload, which says where all of it lies.
    async fn receive_into(
        &self,
        filling: &Filling,
        attributes: &Attributes,
        line: &mut Line,
        begun: &dyn Fn(),
    ) -> Result<(), Refusal> {
        let length = attributes.length;
        let mut check = attributes.chunks.as_ref().map(Check::new);
        let mut place = Spot::of(&filling.extents);
        let (mut done, mut seen) = (0, 0);
        while let Some(piece) = line.piece(length - done).await? {
            self.put_down(&mut place, &piece)?;
            check.as_mut().map_or(Ok(()), |check| check.take(&piece)).map_err(damaged)?;
            done += piece.len() as u64;
            let right = check.as_ref().map_or(done, Check::right_bytes);
            if right > seen && done < length {
                self.show_growth(&filling.growing, right);
                if std::mem::replace(&mut seen, right) == 0 {
                    begun();
                }
            }
        }
        check.map_or(Ok(()), Check::ends_right).map_err(damaged)
    }
}

fn damaged(error: io::Error) -> Refusal {
    tracing::warn!("an object of the remote store cannot be used: {error}");
    Refusal::Damaged
}
