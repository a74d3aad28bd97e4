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
use super::listing::Listed;
use super::upload::Denied;
use crate::http::framing::Framing;
use crate::http::known::Known;
use crate::http::request::Head;
use crate::http::response::Status;
use crate::limits;
use crate::media::types::{self, Class};
use crate::origin::horizon::folder_of;

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
        // A header that is in memory is found without a look at the disk.
        for with_disk in [false, true] {
            for folder in [folder, folder_of(folder)] {
                if self.shard.has_header(folder, with_disk).await {
                    return Ok(());
                }
            }
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
    async fn has_header(&self, folder: &[u8], with_disk: bool) -> bool {
        let mut after: Box<[u8]> = Box::default();
        for _ in 0..limits::HEADER_PAGES_MAX {
            let count_max = limits::LIST_ITEMS_MAX;
            let listed = match with_disk {
                true => self.list(folder, &after, count_max).await,
                false => self.list_here(folder, &after, count_max).await,
            };
            let (items, next) = match listed {
                Listed::Page { items, next } => (items, next),
                Listed::Absent => return false,
                // Who has no room to answer is no reason to refuse.
                Listed::Busy => return true,
            };
            let is_header = |name: &[u8]| types::class(name, b"") == Class::Init;
            if items.iter().any(|item| item.object.is_some() && is_header(&item.name)) {
                return true;
            }
            match next {
                Some(next) => after = next,
                None => return false,
            }
        }
        true
    }
}
