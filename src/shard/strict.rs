//! Uploads that are judged by DASH-IF's ingest rules where their path says `strict_ingest`: a type
//! that is none of media gets 415, a CMAF segment whose header is not there 412.
//!
//! A header is known by its name, in the segment's folder or the one above; whether it is the right
//! one is not looked into.
//!
//! **Invariants**: nothing of the body is read for it; folders of more names than are looked
//! through count as having a header.

use super::Shard;
use super::conn::Conn;
use super::upload::Denied;
use crate::http::framing::Framing;
use crate::http::known::Known;
use crate::http::request::Head;
use crate::http::response::Status;
use crate::limits;
use crate::media::types::{self, Class};
use crate::origin::horizon::folder_of;
use crate::store::message::{Ask, Reply};

impl Conn {
    /// Judges an upload by the ingest rules, where its path wants that.
    pub(super) async fn judge_strictly(&self, head: &Head, key: &[u8]) -> Result<(), Denied> {
        if !self.rules.paths.is_strict_ingest(key) {
            return Ok(());
        }
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        //= DASH-IF Live Media Ingest 1.2: 415 for an unsupported media type
        if let Some(sent) = head.header(bytes, Known::ContentType)
            && !types::agrees(key, sent)
        {
            return Err(Denied::new(
                Status::UnsupportedMediaType,
                "the Content-Type is none of media, or not what the name's extension says; \
                 docs/INGEST.md has the types",
            ));
        }
        //= DASH-IF Live Media Ingest 1.2: 412 for a missing header
        let is_probe = head.body == Framing::Length(0);
        if is_probe || !types::needs_header(key) {
            return Ok(());
        }
        let folder = folder_of(key);
        if self.shard.has_header(folder).await || self.shard.has_header(folder_of(folder)).await {
            return Ok(());
        }
        Err(Denied::new(
            Status::PreconditionFailed,
            "no header (a name with init or header in it) is in the segment's folder or the one \
             above; send it first, then the segment again",
        ))
    }
}

impl Shard {
    /// Whether a header of segments lies in a folder.
    async fn has_header(&self, folder: &[u8]) -> bool {
        let owner = self.store.borrow().folder_owner(folder);
        let mut after: Box<[u8]> = Box::default();
        for _ in 0..limits::HEADER_PAGES_MAX {
            let count_max = limits::LIST_ITEMS_MAX;
            let ask = Ask::List { folder: folder.into(), after, count_max };
            let (items, more) = match self.ask(owner, ask).await {
                Reply::Listing { items, more } => (items, more),
                Reply::Absent => return false,
                // Who has no room to answer is no reason to refuse.
                _ => return true,
            };
            let is_header = |name: &[u8]| types::class(name, b"") == Class::Init;
            if items.iter().any(|item| item.object.is_some() && is_header(&item.name)) {
                return true;
            }
            match items.last() {
                Some(last) if more => after = last.name.clone(),
                _ => return false,
            }
        }
        true
    }
}
