//! Files that go although nobody deleted their object: too old, or moved to the remote store.
//!
//! **Invariants**: jobs of one key run one after the other, so what is looked at here is what goes;
//! an upload that comes meanwhile is saved behind this job, and not touched by it.

use super::{Disk, Shard};
use crate::store::message::{Ask, Guard, Refusal, Reply};
use crate::store::object::Record;
use crate::tier::disk::attributes::Attributes;

impl Shard {
    /// What is known of the key's file in the data folder.
    pub(in crate::shard) async fn describe(
        &self,
        disk: &Disk,
        key: &[u8],
    ) -> Result<Option<Attributes>, Refusal> {
        let (data, _) = disk.writable()?;
        let Some(found) = self.find_file(disk, data, key).await? else { return Ok(None) };
        self.reactor.close_file(found.fd);
        Ok(Some(found.attributes))
    }

    /// What is known of the file in the data folder that a description in memory is of, and whether
    /// its sums are; none when it is gone, or another one.
    pub(in crate::shard) async fn describe_as(
        &self,
        record: &Record,
    ) -> Result<Option<(Attributes, bool)>, Refusal> {
        let Some(disk) = self.disk.as_deref() else { return Ok(None) };
        let Some(data) = disk.data.as_deref() else { return Ok(None) };
        let Some(found) = self.find_file(disk, data, record.key()).await? else { return Ok(None) };
        self.reactor.close_file(found.fd);
        let is_it = *found.attributes.etag == *record.etag();
        Ok(is_it.then_some((found.attributes, found.is_summed)))
    }

    /// Takes a key away from memory and disk if its version is that old.
    pub(super) async fn expire_here(
        &self,
        disk: &Disk,
        key: &[u8],
        until_s: u64,
    ) -> Result<Reply, Refusal> {
        let Some(file) = self.describe(disk, key).await? else { return Ok(Reply::Absent) };
        let held = self.peek(key);
        let newest_s = held.as_ref().map_or(0, |held| held.record.modified_s());
        if file.modified_s.max(newest_s) > until_s {
            return Ok(Reply::Absent);
        }
        // What comes now is saved after this job, and not touched by it.
        if let Some(held) = held {
            let guard = Guard { if_match: Some(held.record.etag().into()), ..Guard::default() };
            drop(held);
            let reply = self.ask(self.id, Ask::Delete { key: key.into(), guard }).await;
            if matches!(reply, Reply::Refused(_)) {
                return Ok(Reply::Absent);
            }
        }
        let (data, _) = disk.writable()?;
        let was_there = self.erase_file(disk, data, key).await?;
        Ok(if was_there { Reply::Deleted } else { Reply::Absent })
    }

    /// Takes the file away if it is still the one that was described.
    pub(super) async fn release_file(
        &self,
        disk: &Disk,
        key: &[u8],
        described: &[u8],
    ) -> Result<Reply, Refusal> {
        let file = self.describe(disk, key).await?;
        if file.and_then(|file| file.encode()).as_deref() != Some(described) {
            return Ok(Reply::Absent);
        }
        let (data, _) = disk.writable()?;
        let was_there = self.erase_file(disk, data, key).await?;
        Ok(if was_there { Reply::Deleted } else { Reply::Absent })
    }
}
