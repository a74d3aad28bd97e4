//! Ranges of segments that arrive in parts: answered as soon as all their bytes are there.
//!
//! What was listed as a part is there already; what a playlist hints at is waited for. A range
//! without an end gets the parts that are whole by then, and one with the end that says "as far as
//! it goes" (RFC 8673 section 2) follows the segment part by part.
//!
//! Invariants: no byte of a part leaves before the part is whole.

use std::rc::Rc;
use std::sync::Arc;

use super::answer::{Front, not_found};
use super::conn::{Conn, Gone, Then};
use super::read::HEAD_FITS;
use crate::http::known::Known;
use crate::http::range::{self, ByteRange, Ranges};
use crate::http::request::{Head, Method};
use crate::http::response::{Status, Writer};
use crate::origin::errors::Bare;
use crate::origin::heads;
use crate::store::Held;
use crate::store::growing::Growing;
use crate::sys::send::Keep;

/// What a range of a growing object asks for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    first: u64,
    last: u64,
    is_open: bool,
}

impl Conn {
    /// The range that the request asks for, when it is one that can be waited for.
    pub(super) fn range_of_growing(&self, head: &Head, growing: &Growing) -> Option<Wanted> {
        let is_asked = growing.is_parted() && head.method == Method::Get;
        if !is_asked || head.is_repeated(Known::Range) || head.has(Known::IfRange) {
            return None;
        }
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let value = head.header(bytes, Known::Range)?;
        let is_suffix = value.contains(&b'=') && value.windows(2).any(|pair| pair == b"=-");
        let Ranges::Satisfiable(list) = range::parse(value, LENGTH_MAX) else { return None };
        let ByteRange { first, last } = list.single().filter(|_| !is_suffix)?;
        Some(Wanted { first, last, is_open: value.ends_with(b"-") })
    }

    /// Answers with a range, when it is whole.
    pub(super) async fn answer_growing_part(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        growing: &Arc<Growing>,
        wanted: Wanted,
    ) -> Result<Then, Gone> {
        let needed = if wanted.is_open { wanted.first } else { wanted.last };
        let follows = !wanted.is_open && wanted.last == LENGTH_MAX - 1;
        let needed = if follows { wanted.first } else { needed };
        let began_ms = self.shard.reactor.clock.now_ms();
        let growing = &self.wait_for_release(growing, needed).await?;
        // It may have waited for the segment to begin, too.
        self.note_held(began_ms.saturating_sub(self.account.held_ms.into()));
        let end = growing.finished_itself().map(|whole| whole.length());
        if growing.is_cut() {
            return self.answer_bare(head, &not_found(head), Then::Next).await;
        }
        let there = end.unwrap_or_else(|| growing.released());
        if wanted.first >= there {
            let bare = Bare {
                status: Status::RangeNotSatisfiable,
                message: "the segment ended before the range",
                lines: b"",
                body_allowed: true,
            };
            return self.answer_bare(head, &bare, Then::Next).await;
        }
        if follows && end.is_none() {
            return self.answer_following(head, held, growing, wanted).await;
        }
        let last = wanted.last.min(there - 1);
        let part = ByteRange { first: wanted.first, last };
        let manner = self.begin_part(head, &held, part, end, Some(part.len())).await?;
        let mut at = part.first;
        while at <= part.last {
            let buffer = self.chunk(growing, &mut at, part.last + 1, false);
            self.send(buffer, Some(held.clone() as Rc<_>)).await?;
        }
        Ok(manner)
    }

    /// Follows the segment from a byte on, in chunks, to its end.
    async fn answer_following(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        growing: &Arc<Growing>,
        wanted: Wanted,
    ) -> Result<Then, Gone> {
        let part = ByteRange { first: wanted.first, last: wanted.last };
        let then = self.begin_part(head, &held, part, None, None).await?;
        let keep: Keep = Some(held as Rc<_>);
        let mut at = part.first;
        let mut growing = growing.tip();
        loop {
            if growing.successor().is_some() {
                growing = growing.tip();
            }
            let end = growing.finished_itself().map(|whole| whole.length());
            let ready = end.unwrap_or_else(|| growing.released());
            if growing.is_cut() {
                return Ok(Then::Cut);
            }
            if at < ready {
                let buffer = self.chunk(&growing, &mut at, ready, true);
                self.send(buffer, keep.clone()).await?;
            } else if end.is_some() {
                break;
            } else {
                growing = self.wait_for_release(&growing, at).await?;
            }
        }
        let mut buffer = self.shard.reactor.send_buffer();
        buffer.push_copy(b"0\r\n\r\n");
        self.send(buffer, None).await?;
        Ok(then)
    }

    /// Sends the head of a 206; without a `length` the body comes in chunks.
    async fn begin_part(
        &mut self,
        head: &Head,
        held: &Held,
        part: ByteRange,
        whole: Option<u64>,
        length: Option<u64>,
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::PartialContent, &self.shard.date());
        writer.header(b"Content-Type", &held.record.fields.content_type);
        match length {
            Some(length) => writer.header_u64(b"Content-Length", length),
            None => writer.raw(b"Transfer-Encoding: chunked\r\n"),
        }
        writer.raw(b"Content-Range: ");
        range::content_range(part, whole, &mut writer);
        writer.raw(b"\r\n");
        self.object_head(&held.record).validators(&mut writer);
        self.identify(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::PartialContent, len);
        self.input_past_head(head);
        self.transmit(Front::Assembled(buffer), None).await?;
        Ok(manner.then())
    }

    /// Waits until byte `at` belongs to a whole part, or the segment has ended; says which upload
    /// has it: another encoder's may have taken over.
    async fn wait_for_release(
        &self,
        growing: &Arc<Growing>,
        at: u64,
    ) -> Result<Arc<Growing>, Gone> {
        let mut growing = growing.tip();
        loop {
            self.wait_for_change_of(&growing, || growing.released() > at).await?;
            if growing.successor().is_none() {
                return Ok(growing);
            }
            growing = growing.tip();
        }
    }
}

/// Lengths are below this; the last byte of a range that means "as far as it goes" is the one
/// before: the largest integer that every client can say.
const LENGTH_MAX: u64 = 1 << 53;
