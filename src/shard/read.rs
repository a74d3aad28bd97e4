//! GET and HEAD: look the key up here, else ask its owner; then one head and the bytes.

use std::rc::Rc;

use super::answer::{Cursor, not_found};
use super::conn::{Conn, Gone, Then};
use super::peer::Answer;
use crate::http::range::{self, ByteRange, Multipart, RangeList};
use crate::http::request::{Head, Method};
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::origin::errors::{Bare, RETRY};
use crate::origin::heads::{self, ObjectHead};
use crate::origin::key;
use crate::origin::read::{self, Plan};
use crate::store::Held;
use crate::store::message::Reply;
use crate::store::object::Record;
use crate::sys::extent::ShardId;

/// Where a read's object is.
enum Found {
    Here(Rc<Held>),
    /// This shard owns the key and has nothing, or asked and was told so.
    Absent,
    /// The owner is another shard.
    Elsewhere(ShardId),
    /// The path names no object: the root, `/time`, or nothing valid.
    NoKey,
}

impl Conn {
    /// Answers GET and HEAD.
    pub(super) async fn read(&mut self, head: &Head) -> Result<Then, Gone> {
        match self.find(head) {
            Found::Here(held) => self.answer_object(head, held).await,
            Found::Absent => self.answer_bare(head, &not_found(head), Then::Next).await,
            Found::Elsewhere(owner) => Box::pin(self.read_elsewhere(head, owner)).await,
            Found::NoKey => Box::pin(self.read_special(head)).await,
        }
    }

    /// A read whose request has a body: it means nothing and is read past
    /// (RFC 9110 section 9.3.1).
    pub(super) async fn read_with_body(&mut self, head: &Head) -> Result<Then, Gone> {
        let bare = Bare {
            status: Status::BadRequest,
            message: "a GET or HEAD with a body is not served",
            lines: b"",
            body_allowed: head.method == Method::Get,
        };
        self.answer_after_body(head, &bare).await
    }

    /// Looks the key up without waiting and without allocating.
    fn find(&self, head: &Head) -> Found {
        let shard = &self.shard;
        let bytes = self.input.unread(&shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let path = head.path.of(bytes);
        let key = match key::plain(path) {
            Some(key) => key,
            None => match key::parse(path, &mut scratch) {
                Ok(key) => key,
                Err(_) => return Found::NoKey,
            },
        };
        let store = shard.store.borrow();
        let hash = store.key_hash(key);
        if let Some(held) = store.lookup(hash, key, shard.reactor.clock.now_ms()) {
            return Found::Here(held);
        }
        if key::check(key).is_err() || key::is_reserved(key) {
            return Found::NoKey;
        }
        match store.owner_of(key) {
            owner if owner == shard.id => Found::Absent,
            owner => Found::Elsewhere(owner),
        }
    }

    /// Fetches a lease from the owner; one ask for all that wait for the same key here.
    async fn read_elsewhere(&mut self, head: &Head, owner: ShardId) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let key: Box<[u8]> =
            key::parse(head.path.of(bytes), &mut scratch).unwrap_or_default().into();
        if shard.fetching.borrow().contains_key(&key) {
            shard.wait_for_fetch(&key).await;
            if let Found::Here(held) = self.find(head) {
                return self.answer_object(head, held).await;
            }
        }
        shard.fetching.borrow_mut().entry(key.clone()).or_default();
        let answer = shard.fetch(owner, key.clone()).await;
        let waiting = shard.fetching.borrow_mut().remove(&key).unwrap_or_default();
        waiting.into_iter().for_each(|task| shard.reactor.tasks.wake(task));
        match answer {
            Answer::Held(held) if !held.record.is_gone(shard.reactor.clock.now_ms()) => {
                self.answer_object(head, held).await
            }
            Answer::Reply(Reply::Refused(_)) => self.answer_busy(head).await,
            _ => self.answer_bare(head, &not_found(head), Then::Next).await,
        }
    }

    async fn answer_busy(&mut self, head: &Head) -> Result<Then, Gone> {
        let bare = Bare {
            status: Status::ServiceUnavailable,
            message: "the origin is busy; try again in a second",
            lines: RETRY,
            body_allowed: head.method != Method::Head,
        };
        self.answer_bare(head, &bare, Then::Next).await
    }

    /// Answers with an object, as conditions and ranges ask.
    async fn answer_object(&mut self, head: &Head, held: Rc<Held>) -> Result<Then, Gone> {
        let age_ms = self.shard.reactor.clock.now_ms().saturating_sub(held.record.stored_ms);
        self.shard.accounts.meters.object_age.observe(age_ms);
        let length = held.record.whole().map(|whole| whole.length);
        let plan = match read::is_plain(head) {
            true => Plan::Whole,
            false => {
                let bytes = self.input.unread(&self.shard.reactor.buffers);
                read::plan(head, bytes, &held.record, length)
            }
        };
        match (plan, length) {
            (Plan::Whole, Some(length)) => self.answer_whole(head, held, length).await,
            (Plan::Part(part), Some(length)) => self.answer_part(head, held, part, length).await,
            (Plan::Parts(list), Some(length)) => {
                Box::pin(self.answer_parts(head, held, &list, length)).await
            }
            (Plan::NotModified, _) => self.answer_not_modified(head, &held).await,
            (Plan::PreconditionFailed, _) => {
                let bare = Bare {
                    status: Status::PreconditionFailed,
                    message: "the object is not the version that was asked for",
                    lines: b"",
                    body_allowed: head.method != Method::Head,
                };
                self.answer_bare(head, &bare, Then::Next).await
            }
            (Plan::Unsatisfiable, Some(length)) => self.answer_unsatisfiable(head, length).await,
            _ => Box::pin(self.answer_growing(head, held)).await,
        }
    }

    async fn answer_whole(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        length: u64,
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        let whole = held.record.whole().expect("the caller saw its length");
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        self.account.status = Status::Ok.code();
        writer.raw(&self.shard.preamble.borrow().ok);
        writer.raw(&whole.head);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.input_past_head(head);
        let body = head.method == Method::Get && length > 0;
        let cursor = body.then_some(Cursor { held, at: 0, end: length });
        self.transmit(buffer, cursor).await?;
        Ok(manner.then())
    }

    async fn answer_part(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        part: ByteRange,
        length: u64,
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        self.account.status = Status::PartialContent.code();
        heads::begin(&mut writer, Status::PartialContent, &self.shard.date());
        writer.header(b"Content-Type", &held.record.content_type);
        writer.header_u64(b"Content-Length", part.len());
        writer.raw(b"Content-Range: ");
        range::content_range(part, Some(length), &mut writer);
        writer.raw(b"\r\n");
        self.object_head(&held.record).validators(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.input_past_head(head);
        let body = head.method == Method::Get;
        let cursor = body.then_some(Cursor { held, at: part.first, end: part.last + 1 });
        self.transmit(buffer, cursor).await?;
        Ok(manner.then())
    }

    /// Several ranges as multipart/byteranges (RFC 9110 section 14.6).
    async fn answer_parts(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        list: &RangeList,
        length: u64,
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        let record = held.record.clone();
        let boundary = self.shard.boundary();
        let content_type = &record.content_type;
        let multipart = Multipart { boundary: &boundary, content_type, length };
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        self.account.status = Status::PartialContent.code();
        heads::begin(&mut writer, Status::PartialContent, &self.shard.date());
        writer.raw(b"Content-Type: ");
        multipart.answer_type(&mut writer);
        writer.raw(b"\r\n");
        writer.header_u64(b"Content-Length", multipart.body_len(list));
        self.object_head(&record).validators(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.input_past_head(head);
        if head.method == Method::Head {
            self.transmit(buffer, None).await?;
            return Ok(manner.then());
        }
        for &part in list.as_slice() {
            let mut writer = Writer::new(buffer.space());
            multipart.part_head(part, &mut writer);
            let len = writer.finish().expect(HEAD_FITS);
            buffer.push_own(len);
            let cursor = Cursor { held: held.clone(), at: part.first, end: part.last + 1 };
            self.transmit(buffer, Some(cursor)).await?;
            buffer = self.shard.reactor.send_buffer();
        }
        let mut writer = Writer::new(buffer.space());
        multipart.end(&mut writer);
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.transmit(buffer, None).await?;
        Ok(manner.then())
    }

    /// 304: the headers that a cache updates, and no body (RFC 9110 section 15.4.5).
    async fn answer_not_modified(&mut self, head: &Head, held: &Held) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        self.account.status = Status::NotModified.code();
        heads::begin(&mut writer, Status::NotModified, &self.shard.date());
        self.object_head(&held.record).validators(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.input_past_head(head);
        self.transmit(buffer, None).await?;
        Ok(manner.then())
    }

    async fn answer_unsatisfiable(&mut self, head: &Head, length: u64) -> Result<Then, Gone> {
        let mut line = [0; 64];
        let mut writer = Writer::new(&mut line);
        writer.raw(b"Content-Range: ");
        range::content_range_unsatisfied(length, &mut writer);
        writer.raw(b"\r\n");
        let len = writer.finish().expect("a number and a few words fit");
        let bare = Bare {
            status: Status::RangeNotSatisfiable,
            message: "no byte of the object lies in the range",
            lines: &line[..len],
            body_allowed: head.method != Method::Head,
        };
        self.answer_bare(head, &bare, Then::Next).await
    }

    pub(super) fn object_head<'a>(&self, record: &'a Record) -> ObjectHead<'a> {
        ObjectHead {
            etag: &record.etag,
            content_type: &record.content_type,
            cache_control: &record.cache_control,
            modified_s: record.modified_s,
            length: None,
            cors: self.shard.settings.cors,
        }
    }
}

/// Uploads bound the values that heads are made of.
pub(super) const HEAD_FITS: &str = "stored header values are short, a send buffer is not";
