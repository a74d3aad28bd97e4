//! Redundant ingest at the door: which pipeline an upload belongs to, and what it is told.
//!
//! What the store decides, see [`crate::store::pipeline`]. An encoder whose copy was not needed is
//! answered 200 like one whose upload was stored, so that it goes on: with the entity tag of what
//! is there, and `Headwater-Kept: same` or `other`.
//!
//! Invariants: nothing is looked for where no path tells encoders apart.

use super::conn::{Conn, Gone, Then};
use super::upload::{Denied, bare};
use crate::http::request::Head;
use crate::http::response::Status;
use crate::origin::write::{self, Intent};
use crate::store::message::Streaming;

impl Conn {
    /// Notes which of several encoders an upload comes from.
    pub(super) fn note_pipeline(
        &self,
        head: &Head,
        key: &[u8],
        intent: &mut Intent,
    ) -> Result<(), Denied> {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let query = head.query.of(bytes);
        let by_token = self.pipeline_of_token(head);
        let paths = &self.rules.paths;
        intent.guard.pipeline = write::pipeline(query, by_token, key, intent.class, paths)
            .map_err(|(status, message)| Denied::new(status, message))?;
        Ok(())
    }

    /// What an upload needs to be readable while it arrives, or, when it has a length and is
    /// atomic, to go on with another encoder's that breaks off.
    pub(super) fn streaming(
        &self,
        key: &[u8],
        intent: &Intent,
        is_parted: bool,
    ) -> Option<Streaming> {
        let aside_only = !intent.stream && intent.is_copy() && self.rules.paths.is_streaming(key);
        (intent.stream || aside_only)
            .then(|| self.shard.streaming(key, intent, is_parted, aside_only))
    }

    /// Answers an upload in whose place something else stands.
    pub(super) async fn answer_kept(
        &mut self,
        head: &Head,
        etag: &[u8],
        same: bool,
    ) -> Result<Then, Gone> {
        let stands: &[u8] = if same { b"same" } else { b"other" };
        let lines = [b"ETag: ", etag, b"\r\nHeadwater-Kept: ", stands, b"\r\n"].concat();
        self.answer_write(head, &bare(Status::Ok, "", &lines), Then::Next).await
    }
}
