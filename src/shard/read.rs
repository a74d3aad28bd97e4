//! GET and HEAD: look the key up here, else ask its owner; then one head and the bytes.

use std::rc::Rc;

use super::Shard;
use super::answer::{Cursor, Front, Ready};
use super::conn::{Conn, Gone, Then};
use super::live::Judged;
use super::peer::Answer;
use crate::config::Right;
use crate::http::range::{self, ByteRange, Multipart, RangeList};
use crate::http::request::{Head, Method};
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::origin::auth::Denial;
use crate::origin::dialect::Dialect;
use crate::origin::errors::{Bare, RETRY};
use crate::origin::heads::{self, Manner, ObjectHead};
use crate::origin::key;
use crate::origin::read::{self, Plan};
use crate::store::Held;
use crate::store::message::{Refusal, Reply};
use crate::store::object::Record;
use crate::sys::extent::ShardId;
use crate::sys::send::SendBuffer;

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

/// What a look at the owner comes to.
pub(super) enum Obtained {
    /// A hold on the object.
    Held(Rc<Held>),
    /// Nothing is there.
    Absent,
    /// The owner has no room to answer.
    Busy,
    /// It is on disk and cannot be read.
    Damaged,
    /// Only the remote store may have it, and does not answer.
    Unreachable(Refusal),
    /// The path names no object.
    NoKey,
}

/// Answers that take more than a head and a run of bytes.
pub(super) enum Rare {
    Parts(Rc<Held>, Box<RangeList>, u64),
    Growing(Rc<Held>),
    /// Its body lies on disk.
    InChunks(Rc<Held>),
    /// So many bytes of it have to come from disk first.
    Awaited(Rc<Held>, u64),
    /// The first byte of the answer, which is all of it or a range, is there; the others come.
    Filling(Rc<Held>, Option<Box<ByteRange>>),
    /// Its renditions are to be looked after first.
    Ladder(Rc<Held>),
}

impl Conn {
    /// Answers GET and HEAD. What is likely is made ready without waiting; the rest is boxed, so
    /// that an idle connection does not carry its size.
    pub(super) async fn read(&mut self, head: &Head) -> Result<Then, Gone> {
        let mut hold = None;
        let ready = loop {
            // A signature that does not hold is refused even where nothing guards reads.
            if (self.rules.guards_reads() || self.dialect != Dialect::Native)
                && hold.is_none()
                && let Err(denial) = self.authorize_read(head)
            {
                break self.ready_denied(head, denial);
            }
            let judged = match self.find(head) {
                Found::Here(held) if !self.may_wait(head) => match self.ready_object(head, held) {
                    Ok(ready) => break ready,
                    Err(rare) => Judged::Rare(rare),
                },
                Found::Here(held) => self.judge(head, Obtained::Held(held), &hold),
                Found::Absent if self.shard.disk.is_none() && self.shard.remote.is_none() => {
                    self.judge(head, Obtained::Absent, &hold)
                }
                Found::NoKey => self.judge(head, Obtained::NoKey, &hold),
                Found::Absent | Found::Elsewhere(_) => {
                    let obtained = Box::pin(self.fetch(head)).await;
                    self.judge(head, obtained, &hold)
                }
            };
            match judged {
                Judged::Ready(ready) => break ready,
                Judged::Wait(wait) => {
                    let held = Box::pin(self.hold(head, wait, hold)).await.ok_or(Gone)?;
                    self.note_held(held.began_ms);
                    hold = Some(held);
                }
                Judged::Rare(rare) => return Box::pin(self.answer_rare(head, rare)).await,
                Judged::Special if self.is_topic(head) => {
                    return Box::pin(self.read_topic(head)).await;
                }
                Judged::Special => return Box::pin(self.read_special(head)).await,
            }
        };
        self.deliver(ready).await
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
        let path = head.path.of(bytes);
        match key::plain(path) {
            Some(key) => shard.find_key(key),
            None => self.find_encoded(path),
        }
    }

    #[cold]
    fn find_encoded(&self, path: &[u8]) -> Found {
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        match key::parse(path, &mut scratch) {
            Ok(key) => self.shard.find_key(key),
            Err(_) => Found::NoKey,
        }
    }

    /// Fetches what the owner has in memory, or else on disk, or else the remote store; then what
    /// is likely to follow is brought ahead.
    pub(super) async fn fetch(&mut self, head: &Head) -> Obtained {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let key: Box<[u8]> =
            key::parse(head.path.of(bytes), &mut scratch).unwrap_or_default().into();
        match shard.obtain(key.clone()).await {
            Obtained::Absent => {}
            obtained => return obtained,
        }
        let obtained = shard.obtain_slower(key).await;
        if let Obtained::Held(held) = &obtained {
            self.note_cold_read(head, &held.record);
        }
        obtained
    }

    /// The answer when there is no room to find out.
    pub(super) fn ready_busy(&mut self, head: &Head) -> Ready {
        self.ready_unavailable(head, "the origin is busy; try again in a second")
    }

    /// The answer to a read of an object that its disk, or the remote store, does not give back.
    pub(super) fn ready_damaged(&mut self, head: &Head) -> Ready {
        let bare = Bare {
            status: Status::InternalServerError,
            message: "what is kept of the object cannot be read, or is not what was written",
            lines: b"",
            body_allowed: head.method != Method::Head,
        };
        self.ready_bare(head, &bare, Then::Next)
    }

    /// The answer to a read of what only the remote store may have.
    #[cold]
    pub(super) fn ready_unreachable(&mut self, head: &Head, refusal: Refusal) -> Ready {
        let (status, message) = match super::remote::words(refusal) {
            (Status::GatewayTimeout, _) => {
                (Status::GatewayTimeout, "the remote store did not answer in time; try again")
            }
            (status, message) if refusal == Refusal::RemoteDenied => (status, message),
            (status, _) => (status, "the remote store does not answer; try again in a second"),
        };
        let body_allowed = head.method != Method::Head;
        let bare = Bare { status, message, lines: RETRY, body_allowed };
        self.ready_bare(head, &bare, Then::Next)
    }

    /// The answer to a read that is not allowed.
    #[cold]
    fn ready_denied(&mut self, head: &Head, denial: Denial) -> Ready {
        let bare = Bare {
            status: denial.status(),
            message: denial.message(Right::Read),
            lines: denial.lines(),
            body_allowed: head.method != Method::Head,
        };
        self.ready_bare(head, &bare, Then::Next)
    }

    pub(super) async fn answer_rare(&mut self, head: &Head, mut rare: Rare) -> Result<Then, Gone> {
        let mut broken = 0;
        loop {
            let ready = match rare {
                Rare::Parts(held, list, length) => {
                    return self.answer_parts(head, held, &list, length).await;
                }
                Rare::Growing(held) => return self.answer_growing(head, held).await,
                Rare::InChunks(held) => {
                    return Box::pin(self.answer_in_chunks(head, held)).await;
                }
                Rare::Filling(held, part) => {
                    return self.answer_filling(head, held, part).await;
                }
                Rare::Awaited(held, needed) => match self.await_filling(&held, needed).await? {
                    true => {
                        broken += 1;
                        self.look_again(head, broken).await
                    }
                    false => self.ready_object(head, held),
                },
                Rare::Ladder(held) => {
                    self.shard.clone().look_at_ladder(&held).await;
                    // What was seen holds for longer than this turn.
                    self.ready_object(head, held)
                }
            };
            match ready {
                Ok(ready) => return self.deliver(ready).await,
                Err(next) => rare = next,
            }
        }
    }

    /// Makes an answer with an object, as conditions and ranges ask.
    #[inline]
    pub(super) fn ready_object(&mut self, head: &Head, held: Rc<Held>) -> Result<Ready, Rare> {
        if held.record.heat.is_ahead() {
            self.note_first_read(head, &held.record);
        }
        if self.rules.stales
            && let Some(failing) = self.ready_failing(head, &held)
        {
            return failing;
        }
        if self.rules.gzips
            && let Some(ready) = self.ready_zipped(head, &held)
        {
            return Ok(ready);
        }
        let whole = held.record.whole().map(|whole| whole.length());
        if whole.is_none()
            && let Some(length) = held.record.length()
        {
            return self.ready_filling(head, held, length);
        }
        self.note_age(&held);
        if held.record.is_in_chunks() {
            return Err(Rare::InChunks(held));
        }
        match whole {
            Some(length) if read::is_plain(head) => Ok(self.ready_whole(head, held, length)),
            length => self.ready_planned(head, held, length),
        }
    }

    #[inline]
    pub(super) fn note_age(&self, held: &Held) {
        let age_ms = self.shard.reactor.clock.now_ms().saturating_sub(held.record.stored_ms);
        self.shard.accounts.meters.object_age.observe(age_ms);
    }

    #[inline(never)]
    pub(super) fn ready_planned(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        length: Option<u64>,
    ) -> Result<Ready, Rare> {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let plan = read::plan(head, bytes, &held.record, length);
        self.ready_by_plan(head, held, plan, length)
    }

    pub(super) fn ready_by_plan(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        plan: Plan,
        length: Option<u64>,
    ) -> Result<Ready, Rare> {
        Ok(match (plan, length) {
            (Plan::Whole, Some(length)) => self.ready_whole(head, held, length),
            (Plan::Part(part), Some(length)) => self.ready_part(head, held, part, length),
            (Plan::Parts(list), Some(length)) => return Err(Rare::Parts(held, list, length)),
            (Plan::NotModified, _) => self.ready_not_modified(head, &held),
            (Plan::PreconditionFailed, _) => {
                let bare = Bare {
                    status: Status::PreconditionFailed,
                    message: "the object is not the version that was asked for",
                    lines: b"",
                    body_allowed: head.method != Method::Head,
                };
                self.ready_bare(head, &bare, Then::Next)
            }
            (Plan::Unsatisfiable, Some(length)) => self.ready_unsatisfiable(head, length),
            _ => return Err(Rare::Growing(held)),
        })
    }

    fn ready_whole(&mut self, head: &Head, held: Rc<Held>, length: u64) -> Ready {
        let manner = self.manner(head, Then::Next);
        let whole = held.record.whole().expect("the caller saw its length");
        let is_common = head.method == Method::Get
            && manner.connection_line().is_empty()
            && !self.cors.is_own()
            && self.dialect == Dialect::Native
            && !self.tells();
        if is_common && let Some(bytes) = self.shard.rendered(&held, whole) {
            let body_len = usize::try_from(length).expect("it lies in memory");
            self.note_head(Status::Ok, bytes.len() - body_len);
            self.input_past_head(head);
            let front = Front::Rendered(bytes);
            return Ready { front, body: None, then: manner.then() };
        }
        let buffer = self.whole_head(head, &held, length, manner);
        let has_body = head.method == Method::Get && length > 0;
        let body = has_body.then_some(Cursor { held, at: 0, end: length });
        Ready::new(buffer, body, manner.then())
    }

    /// The head of a 200.
    pub(super) fn whole_head(
        &mut self,
        head: &Head,
        held: &Held,
        length: u64,
        manner: Manner,
    ) -> Box<SendBuffer> {
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        writer.raw(&self.shard.preamble.borrow().ok);
        let object = ObjectHead::of(&held.record, Some(length));
        match held.head.get() {
            Some(known) => writer.raw(known),
            // Most objects are read once or never; a head of its own is for those that are hot.
            None if held.record.heat.is_full() => {
                writer.raw(held.head.get_or_init(|| object.render()));
            }
            None => object.write(&mut writer),
        }
        writer.raw(self.cors_lines(true));
        self.identify(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::Ok, len);
        self.input_past_head(head);
        buffer
    }

    fn ready_part(&mut self, head: &Head, held: Rc<Held>, part: ByteRange, length: u64) -> Ready {
        let manner = self.manner(head, Then::Next);
        let buffer = self.part_head(head, &held, part, length, manner);
        let body = Some(Cursor { held, at: part.first, end: part.last + 1 });
        Ready::new(buffer, body, manner.then())
    }

    /// The head of a 206 with one range.
    pub(super) fn part_head(
        &mut self,
        head: &Head,
        held: &Held,
        part: ByteRange,
        length: u64,
        manner: Manner,
    ) -> Box<SendBuffer> {
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::PartialContent, &self.shard.date());
        writer.header(b"Content-Type", &held.record.fields.content_type);
        writer.header_u64(b"Content-Length", part.len());
        writer.raw(b"Content-Range: ");
        range::content_range(part, Some(length), &mut writer);
        writer.raw(b"\r\n");
        self.object_head(&held.record).validators(&mut writer);
        self.identify(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::PartialContent, len);
        self.input_past_head(head);
        buffer
    }

    /// Several ranges as multipart/byteranges (RFC 9110 section 14.6).
    pub(super) async fn answer_parts(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        list: &RangeList,
        length: u64,
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, Then::Next);
        let record = held.record.clone();
        let boundary = self.shard.boundary();
        let content_type = &record.fields.content_type;
        let multipart = Multipart { boundary: &boundary, content_type, length };
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::PartialContent, &self.shard.date());
        writer.raw(b"Content-Type: ");
        multipart.answer_type(&mut writer);
        writer.raw(b"\r\n");
        writer.header_u64(b"Content-Length", multipart.body_len(list));
        self.object_head(&record).validators(&mut writer);
        self.identify(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::PartialContent, len);
        self.input_past_head(head);
        for &part in list.as_slice() {
            let mut writer = Writer::new(buffer.space());
            multipart.part_head(part, &mut writer);
            let len = writer.finish().expect(HEAD_FITS);
            buffer.push_own(len);
            let cursor = Cursor { held: held.clone(), at: part.first, end: part.last + 1 };
            self.transmit(Front::Assembled(buffer), Some(cursor)).await?;
            buffer = self.shard.reactor.send_buffer();
        }
        let mut writer = Writer::new(buffer.space());
        multipart.end(&mut writer);
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.transmit(Front::Assembled(buffer), None).await?;
        Ok(manner.then())
    }

    /// 304: the headers that a cache updates, and no body (RFC 9110 section 15.4.5).
    fn ready_not_modified(&mut self, head: &Head, held: &Held) -> Ready {
        let manner = self.manner(head, Then::Next);
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::NotModified, &self.shard.date());
        self.object_head(&held.record).validators(&mut writer);
        self.identify(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::NotModified, len);
        self.input_past_head(head);
        Ready::new(buffer, None, manner.then())
    }

    fn ready_unsatisfiable(&mut self, head: &Head, length: u64) -> Ready {
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
        self.ready_bare(head, &bare, Then::Next)
    }

    pub(super) fn object_head<'a>(&'a self, record: &'a Record) -> ObjectHead<'a> {
        ObjectHead { cors: self.cors_lines(true), ..ObjectHead::of(record, None) }
    }
}

impl Shard {
    /// A hold on what memory has of a key, or else the disk, or else the remote store.
    pub(super) async fn obtain_anywhere(&self, key: Box<[u8]>) -> Obtained {
        match self.obtain(key.clone()).await {
            Obtained::Absent => self.obtain_slower(key).await,
            obtained => obtained,
        }
    }

    /// A hold on what the disk, or else the remote store, has of a key.
    async fn obtain_slower(&self, key: Box<[u8]>) -> Obtained {
        if self.disk.is_some() {
            match self.obtain_cold(key.clone()).await {
                Obtained::Absent => {}
                obtained => return obtained,
            }
        }
        self.obtain_remote(key).await
    }

    /// A hold on the current version of a key.
    pub(super) async fn obtain(&self, key: Box<[u8]>) -> Obtained {
        match self.find_key(&key) {
            Found::Here(held) => Obtained::Held(held),
            Found::Absent => Obtained::Absent,
            Found::NoKey => Obtained::NoKey,
            Found::Elsewhere(owner) => self.obtain_from(owner, key).await,
        }
    }

    #[inline]
    fn find_key(&self, key: &[u8]) -> Found {
        if let Some(held) = self.here(key) {
            return Found::Here(held);
        }
        if key::check(key).is_err() || key::is_reserved(key) {
            return Found::NoKey;
        }
        match self.store.borrow().owner_of(key) {
            owner if owner == self.id => Found::Absent,
            owner => Found::Elsewhere(owner),
        }
    }

    /// The version of a key that this shard answers from now, its own or leased.
    pub(super) fn here(&self, key: &[u8]) -> Option<Rc<Held>> {
        let store = self.store.borrow();
        store.lookup(store.key_hash(key), key, self.reactor.clock.now_ms())
    }

    /// As [`Shard::here`], for whoever looks and does not read: nothing is counted as one.
    pub(super) fn peek(&self, key: &[u8]) -> Option<Rc<Held>> {
        self.store.borrow().peek(key, self.reactor.clock.now_ms())
    }

    /// Fetches a lease from the owner; one ask for all that wait for the same key here.
    pub(super) async fn obtain_from(&self, owner: ShardId, key: Box<[u8]>) -> Obtained {
        if self.fetching.borrow().contains_key(&key) {
            self.wait_for_fetch(&key).await;
            if let Found::Here(held) = self.find_key(&key) {
                return Obtained::Held(held);
            }
        }
        self.fetching.borrow_mut().entry(key.clone()).or_default();
        let answer = self.fetch(owner, key.clone()).await;
        let waiting = self.fetching.borrow_mut().remove(&key).unwrap_or_default();
        waiting.into_iter().for_each(|task| self.reactor.tasks.wake(task));
        match answer {
            Answer::Held(held) if !held.record.is_gone(self.reactor.clock.now_ms()) => {
                Obtained::Held(held)
            }
            Answer::Reply(Reply::Refused(_)) => Obtained::Busy,
            _ => Obtained::Absent,
        }
    }
}

/// Uploads bound the values that heads are made of.
pub(super) const HEAD_FITS: &str = "stored header values are short, a send buffer is not";
