//! Uploads to a path that keeps what it has: the same bytes again are no change.
//!
//! The owner compares entity tags. An object that could be read while it arrived has a tag that
//! does not name its content, so its bytes are read here, once the upload has been refused.
//!
//! Invariants: nothing is replaced; what is compared is bounded.

use super::Shard;
use super::read::Obtained;
use super::writer::Writer;
use crate::digest::Digest;
use crate::limits;
use crate::store::etag::Etag;

impl Shard {
    /// The entity tag of the object, if it has the bytes that were uploaded.
    pub(super) async fn stored_already(&self, key: &[u8], writer: &mut Writer) -> Option<Etag> {
        let Obtained::Held(held) = self.obtain(key.into()).await else { return None };
        let whole = held.record.whole()?;
        if whole.length() != writer.written() || whole.length() > limits::COMPARED_BYTES_MAX {
            return None;
        }
        let mut sum = Digest::new();
        let mut scratch = vec![0; limits::DISK_SUM_BYTES];
        for &extent in whole.extents() {
            for at in (0..extent.len).step_by(scratch.len()) {
                let part = scratch.len().min((extent.len - at) as usize);
                self.reactor.arena().read(extent, at, &mut scratch[..part]);
                sum.update(&scratch[..part]);
            }
        }
        (sum.finish() == writer.digest()).then(|| held.record.etag().into())
    }
}
