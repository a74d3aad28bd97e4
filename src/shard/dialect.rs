//! Requests in the terms of another store: what their answers have beside the origin's own.
//!
//! **Invariants**: a request in the origin's own terms costs one comparison here; nothing of a
//! dialect outlives its request.

use super::answer::Front;
use super::conn::{Conn, Gone, Then};
use super::listing::Listed;
use super::payload::Payload;
use super::read::HEAD_FITS;
use super::upload::Denied;
use crate::http::known::Known;
use crate::http::request::Head;
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::origin::aws_chunked::ChunkKey;
use crate::origin::dialect::{self, Dialect};
use crate::origin::sigv4::Signature;
use crate::origin::write::Intent;
use crate::origin::{heads, list, mediastore};
use crate::store::message::Item;
use crate::store::object::NEVER;
use crate::sys::clock::Clock;

impl Conn {
    /// Writes the line that names the request, where its dialect has one, and what the answer says
    /// of itself, where its path wants that.
    #[inline]
    pub(super) fn identify(&self, writer: &mut Writer<'_>) {
        if let Some(name) = self.dialect.id_header() {
            writer.header(name, &self.request_id());
        }
        if self.tells() {
            self.tell(writer);
        }
    }

    /// The lines with these behind them; `None`: as they are.
    pub(super) fn identified(&self, lines: &[u8]) -> Option<Vec<u8>> {
        if self.dialect.id_header().is_none() && !self.tells() {
            return None;
        }
        let mut own = [0; limits::OWN_LINES_BYTES];
        let mut writer = Writer::new(&mut own);
        self.identify(&mut writer);
        let len = writer.finish().expect("three short lines");
        Some([lines, &own[..len]].concat())
    }

    fn request_id(&self) -> [u8; 36] {
        let shard = &self.shard;
        let number = shard.growing_next.get();
        shard.growing_next.set(number + 1);
        // The shard's number keeps the ids of two shards apart.
        let place = u128::from(u64::from(shard.id) << 32 | number & 0xffff_ffff);
        let scattered = u128::from(shard.nonce.rotate_left(17)) << 48 ^ place << 14;
        dialect::request_id(Clock::wall_ms(), scattered ^ u128::from(shard.nonce))
    }

    /// Takes what the dialect's head says into the intent, and what it says of the body.
    pub(super) fn payload(
        &self,
        head: &Head,
        intent: &mut Intent,
    ) -> Result<Option<Box<Payload>>, Denied> {
        if self.dialect != Dialect::MediaStore {
            return Ok(None);
        }
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let upload = mediastore::upload(head, bytes)
            .map_err(|message| Denied::new(Status::BadRequest, message))?;
        if matches!(upload.payload, mediastore::Payload::Pieces { .. }) {
            // The object is shorter than the body by an unknown number of bytes.
            intent.declared = None;
        }
        // Only what comes in chunks is worth reading before its end.
        intent.stream &= upload.streams;
        Ok(Some(Box::new(Payload::new(upload.payload, self.chunk_key(head, bytes)))))
    }

    /// What checks the signatures of an upload's pieces, where its own was checked.
    fn chunk_key(&self, head: &Head, bytes: &[u8]) -> Option<ChunkKey> {
        let signature = Signature::read(head.header(bytes, Known::Authorization)?).ok()?;
        let mut keys = self.rules.access.aws_keys.iter();
        let key = keys.find(|key| key.id.as_bytes() == signature.key_id)?;
        let mut lines = head.lines(bytes);
        let time = lines.find(|(name, _)| name.eq_ignore_ascii_case(b"x-amz-date"))?.1;
        Some(ChunkKey {
            key: signature.signing_key(key.secret()),
            time: time.into(),
            scope: signature.scope.into(),
            previous: signature.hex.into(),
        })
    }

    /// Answers an upload as PutObject is answered.
    pub(super) async fn answer_put(
        &mut self,
        head: &Head,
        etag: &[u8],
        sum: &[u8; 32],
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        let body = mediastore::stored(sum, etag);
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::Ok, &self.shard.date());
        writer.header(b"Content-Type", b"application/json");
        writer.header_u64(b"Content-Length", body.len() as u64);
        writer.header(b"ETag", etag);
        writer.raw(self.cors_lines(manner.cors));
        self.identify(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::Ok, len);
        buffer.push_owned(body);
        if self.transmit(Front::Assembled(buffer), None).await == Err(Gone) {
            self.mute = true;
        }
        Ok(manner.then())
    }

    /// Answers ListItems: one level of a folder without what is transient. A folder that is not
    /// there is empty.
    pub(super) async fn list_items(&mut self, head: &Head) -> Result<Then, Gone> {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let wanted = match list::wanted(head.query.of(bytes)) {
            Ok(wanted) => wanted,
            Err(message) => return self.answer_fault(head, Status::BadRequest, message).await,
        };
        let Some((items, more)) = self.lasting_items(wanted).await else {
            let message = "the origin is busy; try again in a second";
            return self.answer_fault(head, Status::ServiceUnavailable, message).await;
        };
        let body = list::render(
            &items,
            more.as_deref(),
            Dialect::MediaStore,
            self.shard.reactor.clock.now_ms(),
        );
        self.answer_text(head, b"application/json", b"no-store", body).await
    }

    /// What of a folder does not expire, and the name after which the next page begins.
    async fn lasting_items(&self, wanted: list::Wanted) -> Option<(Vec<Item>, Option<Box<[u8]>>)> {
        let list::Wanted { folder, mut after, count_max } = wanted;
        let mut found: Vec<Item> = Vec::new();
        for _ in 0..limits::LIST_ROUNDS_MAX {
            let (items, next) = match self.shard.list(&folder, &after, limits::LIST_ITEMS_MAX).await
            {
                Listed::Page { items, next } => (items, next),
                Listed::Absent => return Some((found, None)),
                Listed::Busy => return None,
            };
            for item in items.into_iter().filter(is_lasting) {
                if found.len() == count_max {
                    let last = found.last().map(|item| item.name.clone());
                    return Some((found, last));
                }
                found.push(item);
            }
            match next {
                None => return Some((found, None)),
                Some(next) => after = next,
            }
        }
        Some((found, Some(after)))
    }
}

/// Whether a listing shows it: folders, and objects whose time is not limited.
fn is_lasting(item: &Item) -> bool {
    item.object.as_ref().is_none_or(|record| record.expires_ms == NEVER)
}
