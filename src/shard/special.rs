//! Answers that are not objects: listings, `/time`, OPTIONS, and paths that name nothing.

use super::answer::Front;
use super::conn::{Conn, Gone, Then};
use super::listing::Listed;
use super::read::HEAD_FITS;
use crate::http::known::Known;
use crate::http::request::{Head, Method};
use crate::http::response::{Status, Writer};
use crate::origin::dialect::Dialect;
use crate::origin::errors::{ALLOW, Bare};
use crate::origin::heads;
use crate::origin::{key, list, time};
use crate::sys::clock::Clock;

impl Conn {
    /// A read of `/`, `/time`, or of a path that names no object.
    pub(super) async fn read_special(&mut self, head: &Head) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let path = head.path.of(bytes);
        if path.is_empty() || path == b"/" {
            return match self.dialect {
                Dialect::MediaStore => Box::pin(self.list_items(head)).await,
                _ => self.list(head).await,
            };
        }
        if path == b"/time" {
            let body = time::iso(Clock::wall_ms()).into_bytes();
            return self.answer_text(head, b"text/plain", b"no-store", body).await;
        }
        let mut scratch = [0; crate::limits::KEY_BYTES_MAX];
        let (status, message) = match key::parse(path, &mut scratch) {
            Ok(_) => (Status::NotFound, "the path is reserved and nothing is there"),
            Err(fault) => (Status::BadRequest, fault.reason()),
        };
        self.answer_fault(head, status, message).await
    }

    async fn list(&mut self, head: &Head) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let wanted = match list::wanted(head.query.of(bytes)) {
            Ok(wanted) => wanted,
            Err(message) => return self.answer_fault(head, Status::BadRequest, message).await,
        };
        let list::Wanted { folder, after, count_max } = wanted;
        match Box::pin(shard.list(&folder, &after, count_max)).await {
            Listed::Page { items, next } => {
                let now_ms = shard.reactor.clock.now_ms();
                let body = list::render(&items, next.as_deref(), Dialect::Native, now_ms);
                self.answer_text(head, b"application/json", b"max-age=1", body).await
            }
            Listed::Absent => self.answer_fault(head, Status::NotFound, "no such folder").await,
            Listed::Busy => {
                let message = "the origin is busy, or its disk does not say; try again in a second";
                self.answer_fault(head, Status::ServiceUnavailable, message).await
            }
        }
    }

    /// 200 with a body made for this answer.
    pub(super) async fn answer_text(
        &mut self,
        head: &Head,
        content_type: &[u8],
        cache_control: &[u8],
        body: Vec<u8>,
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::Ok, &self.shard.date());
        writer.header(b"Content-Type", content_type);
        writer.header_u64(b"Content-Length", body.len() as u64);
        writer.header(b"Cache-Control", cache_control);
        writer.raw(self.cors_lines(true));
        self.identify(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::Ok, len);
        if head.method == Method::Get {
            buffer.push_owned(body);
        }
        self.input_past_head(head);
        self.transmit(Front::Assembled(buffer), None).await?;
        Ok(manner.then())
    }

    /// An error on a request without a body.
    pub(super) async fn answer_fault(
        &mut self,
        head: &Head,
        status: Status,
        message: &str,
    ) -> Result<Then, Gone> {
        let body_allowed = head.method != Method::Head;
        let bare = Bare { status, message, lines: b"", body_allowed };
        self.answer_bare(head, &bare, Then::Next).await
    }

    /// OPTIONS: what is allowed, and for a CORS preflight that reading is
    /// (fetch standard, section 3.2.2).
    pub(super) async fn options(&mut self, head: &Head) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let mut lines = ALLOW.to_vec();
        if head.has(Known::Origin) && has_requested_method(head, bytes) {
            lines.extend_from_slice(match self.rules.chosen(self.cors) {
                Some(of_path) => &of_path.preflight,
                None if self.rules.cors && self.dialect.is_momento() => PREFLIGHT_ALL,
                None if self.rules.cors => PREFLIGHT,
                None => b"",
            });
        }
        let bare =
            Bare { status: Status::NoContent, message: "", lines: &lines, body_allowed: false };
        self.answer_after_body(head, &bare).await
    }
}

fn has_requested_method(head: &Head, bytes: &[u8]) -> bool {
    head.header(bytes, Known::AccessControlRequestMethod).is_some()
}

const PREFLIGHT: &[u8] = b"Access-Control-Allow-Origin: *\r\n\
    Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n\
    Access-Control-Allow-Headers: *, Authorization\r\nAccess-Control-Max-Age: 86400\r\n";
/// For a dialect whose clients may be pages that write; what they may is said by their credential.
const PREFLIGHT_ALL: &[u8] = b"Access-Control-Allow-Origin: *\r\n\
    Access-Control-Allow-Methods: GET, PUT, DELETE, OPTIONS, HEAD\r\n\
    Access-Control-Allow-Headers: *, Authorization\r\nAccess-Control-Max-Age: 86400\r\n";
