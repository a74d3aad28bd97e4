//! The program's own files for web pages: the client of topics, and its demo.

use super::answer::Front;
use super::conn::{Conn, Gone, Then};
use super::read::HEAD_FITS;
use crate::http::condition;
use crate::http::known::Known;
use crate::http::request::{Head, Method};
use crate::http::response::{Status, Writer};
use crate::origin::heads;
use crate::origin::web::{CACHE_CONTROL, File};

impl Conn {
    /// 200 with a file, or 304 (RFC 9110 section 13.1.2) for whoever has it.
    pub(super) async fn answer_file(&mut self, head: &Head, file: &File) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let manner = self.manner(head, Then::Next);
        let etag = file.etag();
        let known = head.header(self.input.unread(&shard.reactor.buffers), Known::IfNoneMatch);
        let is_known = known.is_some_and(|list| condition::matches_weak(list, etag.as_bytes()));
        let status = if is_known { Status::NotModified } else { Status::Ok };
        let mut buffer = shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, status, &shard.date());
        if !is_known {
            writer.header(b"Content-Type", file.content_type);
            writer.header_u64(b"Content-Length", file.body.len() as u64);
        }
        writer.header(b"ETag", etag.as_bytes());
        writer.header(b"Cache-Control", CACHE_CONTROL);
        writer.header(b"X-Content-Type-Options", b"nosniff");
        writer.raw(self.cors_lines(true));
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(status, len);
        if head.method == Method::Get && !is_known {
            buffer.push_owned(file.body.to_vec());
        }
        self.input_past_head(head);
        self.transmit(Front::Assembled(buffer), None).await?;
        Ok(manner.then())
    }
}
