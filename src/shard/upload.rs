//! PUT, POST and DELETE: a body's bytes go straight into the extents its owner allotted.
//!
//! Begin at the owner, receive, commit at the owner, answer. Whatever ends an upload early gives
//! it up at the owner, so that nothing half-written stays.
//!
//! Invariants: the answer 200 is sent only after the owner has made the object visible on every
//! shard; a refused upload is either read past within a bound or ends the connection.

use std::sync::Arc;

use super::Shard;
use super::body::BodyFault;
use super::conn::{Conn, Gone, Then};
use super::lowlatency::{is_playlist, plain_key};
use super::payload::Payload;
use super::rules::Subject;
use super::topic::CROWDED;
use super::writer::Writer;
use crate::config::Right;
use crate::http::request::Head;
use crate::http::response::Status;
use crate::limits;
use crate::origin::auth::Denial;
use crate::origin::errors::{ALLOW_ROOT, Bare, RETRY};
use crate::origin::heads;
use crate::origin::key;
use crate::origin::momento;
use crate::origin::write::{self, Intent, Said};
use crate::store::fields::Fields;
use crate::store::growing::Growing;
use crate::store::message::{Ask, Guard, Job, Publication, Refusal, Reply, Streaming};
use crate::store::object::{Body, NEVER, Parts, Record};
use crate::sys::extent::ShardId;

/// A write whose head has been accepted.
struct Accepted {
    key: Box<[u8]>,
    owner: ShardId,
    intent: Intent,
    /// Low-latency playlists are made here, with parts of at most so many microseconds.
    part_target_us: Option<u64>,
    /// The playlist that is made from this one.
    made: Option<Box<[u8]>>,
    /// What the request's dialect wants of the body.
    payload: Option<Box<Payload>>,
}

/// A write that is answered with an error.
pub(super) struct Denied {
    pub(super) status: Status,
    pub(super) message: &'static str,
    pub(super) lines: &'static [u8],
    /// Its body is not worth reading: the connection ends.
    pub(super) close: bool,
}

impl Denied {
    pub(super) fn new(status: Status, message: &'static str) -> Self {
        Self { status, message, lines: b"", close: false }
    }

    /// What is not allowed is not worth reading.
    pub(super) fn of(denial: Denial, right: Right) -> Self {
        let lines = denial.lines();
        Self { lines, ..Self::closing(denial.status(), denial.message(right)) }
    }

    pub(super) fn closing(status: Status, message: &'static str) -> Self {
        Self { close: true, ..Self::new(status, message) }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => Self::new(
                Status::Conflict,
                "the key is a folder, or a part of its path is an object",
            ),
            Refusal::Precondition => {
                Self::new(Status::PreconditionFailed, "a precondition does not hold")
            }
            Refusal::Immutable => Self::new(
                Status::Conflict,
                "other bytes are stored under this name, and the path is immutable; upload under a \
                 new name, or delete the object first",
            ),
            Refusal::Full => Self::new(
                Status::InsufficientStorage,
                "the memory is full; raise --memory, or shorten ttl_seconds",
            ),
            Refusal::Superseded => {
                Self::new(Status::Conflict, "another upload or a delete of the key took its place")
            }
            Refusal::Busy => Self {
                lines: RETRY,
                ..Self::new(Status::ServiceUnavailable, "the origin is busy; try again in a second")
            },
            Refusal::TooLarge => {
                Self::closing(Status::ContentTooLarge, "the object is larger than the limit")
            }
            Refusal::ReadOnly => Self::new(
                Status::ServiceUnavailable,
                "the disk tier has failed and takes no writes; the log names the error",
            ),
            Refusal::DiskFault => Self {
                lines: RETRY,
                ..Self::new(
                    Status::ServiceUnavailable,
                    "the disk refuses writes, or its folder is away; the log names the cause, and \
                     another try works once that is gone",
                )
            },
            Refusal::DiskFull => Self::new(
                Status::InsufficientStorage,
                "no space is left on the disk, or no more of it is to be used",
            ),
            Refusal::Damaged => Self::new(
                Status::InternalServerError,
                "the object on disk cannot be read, or is not what was written",
            ),
            Refusal::Unkeepable => Self::new(
                Status::BadRequest,
                "Content-Type and Cache-Control are too long to be kept on disk",
            ),
            Refusal::RemoteDown
            | Refusal::RemoteSlow
            | Refusal::RemoteDenied
            | Refusal::RemoteBehind => {
                let (status, message) = super::remote::words(refusal);
                Self { lines: RETRY, ..Self::new(status, message) }
            }
        }
    }
}

impl Conn {
    /// Answers PUT and POST.
    pub(super) async fn upload(&mut self, head: &Head) -> Result<Then, Gone> {
        let accepted = match self.admit(head).await {
            Ok(accepted) => accepted,
            Err(denied) => return self.deny(head, denied).await,
        };
        let shard = self.shard.clone();
        let Accepted { key, owner, mut intent, part_target_us, made, payload } = accepted;
        let is_parted = part_target_us.is_some();
        let durable = made.is_none() && shard.is_durable(&key, &intent);
        let sends = shard.remote.is_some() && made.is_none() && !intent.ephemeral;
        if (shard.is_prepared(&key, &intent, durable) || shard.remote.is_some())
            && let Err(refusal) = Box::pin(shard.prepare_tiers(owner, &key, &intent, durable)).await
        {
            return self.deny(head, refusal.into()).await;
        }
        let streaming = self.streaming(&key, &intent, is_parted);
        let record = streaming.as_ref().map(|streaming| streaming.record.clone());
        let begin = || Ask::Begin {
            key: key.clone(),
            declared: intent.declared,
            guard: intent.guard.clone(),
            stream: streaming.clone(),
        };
        let (upload, extents, growing, heir) = match shard.ask_for_room(owner, begin).await {
            Reply::Begun { upload, extents, growing, heir_of: heir } => {
                (upload, extents, growing, heir)
            }
            Reply::Refused(refusal) => return self.deny(head, refusal.into()).await,
            _ => return Err(Gone),
        };
        shard.accounts.meters.uploads_begun.bump();
        self.input_past_head(head);
        let streamed = growing.as_ref().and(record);
        if growing.is_some() {
            shard.tell_segment(&key, &intent, is_parted);
        }
        let mut writer = Writer::new(shard.clone(), owner, upload, extents, growing, &intent);
        writer.judge(payload);
        let received = self.receive_body(head, &mut writer).await;
        let sum = match received.and_then(|()| writer.verdict()) {
            Ok(sum) => sum,
            Err(fault) => {
                shard.accounts.meters.uploads_aborted.bump();
                shard.abort(owner, upload);
                return self.deny_body(head, fault).await;
            }
        };
        intent.tell(&self.rules.paths, &key, writer.manifest());
        let publication = shard.publication(&mut writer, &intent, streamed.as_deref());
        let etag = publication.etag.clone();
        let was_aside = heir.is_some();
        match shard.commit(owner, &key, upload, publication, durable).await {
            Reply::Committed { .. } => {
                shard.accounts.meters.uploads_completed.bump();
                shard.tell_target(&key, &writer);
                if streamed.is_none() || was_aside {
                    shard.tell_segment(&key, &intent, is_parted);
                }
                if let (Some(made), Some(part_target_us)) = (made, part_target_us) {
                    Box::pin(shard.refresh(made, part_target_us)).await;
                }
                if (durable || sends)
                    && let Err(refusal) =
                        Box::pin(shard.keep(owner, key, &etag, &intent, durable, sends)).await
                {
                    return self.answer_denied(head, &refusal.into(), Then::Next).await;
                }
                match sum {
                    Some(sum) => Box::pin(self.answer_put(head, &etag, &sum)).await,
                    None => self.answer_stored(head, &etag).await,
                }
            }
            Reply::Kept { etag, same } => {
                shard.accounts.meters.uploads_completed.bump();
                // What stands may be on its way to the slower tiers still.
                if (durable || sends)
                    && let Err(refusal) =
                        Box::pin(shard.keep(owner, key, &etag, &intent, durable, sends)).await
                {
                    return self.answer_denied(head, &refusal.into(), Then::Next).await;
                }
                Box::pin(self.answer_kept(head, &etag, same)).await
            }
            Reply::Refused(refusal) => {
                shard.abort(owner, upload);
                Box::pin(self.answer_uncommitted(head, refusal, &key, &mut writer)).await
            }
            _ => Err(Gone),
        }
    }

    /// Answers an upload whose body is here and does not become an object.
    async fn answer_uncommitted(
        &mut self,
        head: &Head,
        refusal: Refusal,
        key: &[u8],
        writer: &mut Writer,
    ) -> Result<Then, Gone> {
        if refusal == Refusal::Immutable
            && let Some(etag) = self.shard.clone().stored_already(key, writer).await
        {
            return self.answer_stored(head, &etag).await;
        }
        let superseded = u64::from(refusal == Refusal::Superseded);
        self.shard.accounts.meters.uploads_superseded.add(superseded);
        self.answer_denied(head, &refusal.into(), Then::Next).await
    }

    /// Answers DELETE.
    pub(super) async fn delete(&mut self, head: &Head) -> Result<Then, Gone> {
        if let Err(denied) = self.permit(head) {
            return self.deny(head, denied).await;
        }
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let key: Box<[u8]> = match key::parse(head.path.of(bytes), &mut scratch) {
            Ok(key) => key.into(),
            Err(fault) => {
                let denied = Denied::new(Status::BadRequest, fault.reason());
                return self.deny(head, denied).await;
            }
        };
        let guard = write::guard(head, bytes);
        self.input_past_head(head);
        if let Err(fault) = self.read_past_body(head).await {
            return self.deny_body(head, fault).await;
        }
        let part_target_us = self.rules.paths.part_target_us(&key);
        let made = part_target_us.filter(|_| is_playlist(&key, b"")).map(|us| (key.clone(), us));
        let key = if made.is_some() { plain_key(&key) } else { key };
        let reply = Box::pin(shard.delete_everywhere(key, guard)).await;
        if let Some((made, part_target_us)) = made {
            Box::pin(shard.refresh(made, part_target_us)).await;
        }
        let bare = match reply {
            Reply::Deleted | Reply::Absent if self.dialect.is_momento() => {
                bare(Status::NoContent, "", b"")
            }
            Reply::Deleted => bare(Status::Ok, "", b""),
            Reply::Absent => bare(Status::NotFound, "no such object", b""),
            Reply::Refused(refusal) => {
                return self.answer_denied(head, &refusal.into(), Then::Next).await;
            }
            _ => return Err(Gone),
        };
        self.answer_write(head, &bare, Then::Next).await
    }

    /// Judges an upload by its head, and where its path wants that by what it belongs to.
    async fn admit(&mut self, head: &Head) -> Result<Accepted, Denied> {
        let accepted = self.accept(head)?;
        if self.rules.strict {
            Box::pin(self.judge_strictly(head, &accepted.key)).await?;
        }
        Ok(accepted)
    }

    /// Judges an upload by its head.
    fn accept(&mut self, head: &Head) -> Result<Accepted, Denied> {
        self.permit(head)?;
        let shard = &self.shard;
        let bytes = self.input.unread(&shard.reactor.buffers);
        let path = head.path.of(bytes);
        if path.is_empty() || path == b"/" {
            let denied = Denied::new(Status::MethodNotAllowed, "the root is not an object");
            return Err(Denied { lines: ALLOW_ROOT, ..denied });
        }
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let key = key::parse(path, &mut scratch)
            .map_err(|fault| Denied::new(Status::BadRequest, fault.reason()))?;
        if key::is_reserved(key) {
            return Err(Denied::new(Status::Conflict, "the path is reserved"));
        }
        if write::is_endless_track(head, key) {
            return Err(Denied::closing(Status::BadRequest, write::ENDLESS_TRACK));
        }
        let paths = &self.rules.paths;
        let object_bytes_max = shard.settings.object_bytes_max;
        let wrong = |message| Denied::new(Status::BadRequest, message);
        let said = match self.dialect.is_momento() {
            true => momento::upload(head, bytes).map_err(wrong)?,
            false => momento::Upload::default(),
        };
        let native = Said::of(head, bytes);
        let answers = Said {
            content_type: said.content_type.or(native.content_type),
            cache_control: said.cache_control.or(native.cache_control),
            lines: &said.lines,
        };
        let mut intent = write::intent(head, bytes, key, &answers, paths, object_bytes_max)
            .map_err(|(status, message)| match status {
                Status::ContentTooLarge => Denied::closing(status, message),
                _ => Denied::new(status, message),
            })?;
        if self.dialect.is_momento() {
            (intent.ephemeral, intent.durable) = (said.ephemeral, said.durable);
            intent.ttl_ms =
                momento::ttl_ms(self.dialect, said.ephemeral, intent.ttl_ms).map_err(wrong)?;
        }
        if self.rules.redundant {
            self.note_pipeline(head, key, &mut intent)?;
        }
        let payload = self.payload(head, &mut intent)?;
        let part_target_us = paths.part_target_us(key);
        let is_made = part_target_us.is_some() && is_playlist(key, &intent.content_type);
        let made: Option<Box<[u8]>> = is_made.then(|| key.into());
        let key: Box<[u8]> = if is_made { plain_key(key) } else { key.into() };
        let owner = shard.store.borrow().owner_of(&key);
        Ok(Accepted { key, owner, intent, part_target_us, made, payload })
    }

    /// Judges a write by its head, before anything of its body is asked for.
    fn permit(&mut self, head: &Head) -> Result<(), Denied> {
        self.authorize(head, Right::Publish, Subject::Path)
            .map_err(|denial| Denied::of(denial, Right::Publish))
    }

    /// Answers an upload that was refused at its head.
    pub(super) async fn deny(&mut self, head: &Head, denied: Denied) -> Result<Then, Gone> {
        self.input_past_head(head);
        // A client that waits for 100 may or may not send its body now: the framing is in doubt.
        let then = match denied.close || head.expect_continue {
            true if head.body.has_body() => Then::Close,
            _ => self.discard_body(head).await?,
        };
        self.answer_denied(head, &denied, then).await
    }

    pub(super) async fn deny_body(&mut self, head: &Head, fault: BodyFault) -> Result<Then, Gone> {
        let denied = match fault {
            BodyFault::Gone => return Err(Gone),
            //= RFC 9112 section 8
            BodyFault::Short => Denied::closing(
                Status::BadRequest,
                "the body ended before its declared end; nothing was changed",
            ),
            BodyFault::Framing(refusal) => Denied::closing(refusal.status, refusal.reason),
            BodyFault::Slow => Denied::closing(
                Status::RequestTimeout,
                "the body did not arrive in time; nothing was changed",
            ),
            BodyFault::TooLarge => Denied::from(Refusal::TooLarge),
            BodyFault::NoRoom => {
                Denied { lines: RETRY, ..Denied::closing(Status::ServiceUnavailable, CROWDED) }
            }
            BodyFault::Refused(refusal) => Denied { close: true, ..refusal.into() },
            BodyFault::Payload(reason) => Denied::closing(Status::BadRequest, reason),
        };
        self.answer_denied(head, &denied, Then::Close).await
    }

    pub(super) async fn answer_denied(
        &mut self,
        head: &Head,
        denied: &Denied,
        then: Then,
    ) -> Result<Then, Gone> {
        self.answer_write(head, &bare(denied.status, denied.message, denied.lines), then).await
    }

    async fn answer_stored(&mut self, head: &Head, etag: &[u8]) -> Result<Then, Gone> {
        let lines = [b"ETag: ", etag, b"\r\n"].concat();
        let status = if self.dialect.is_momento() { Status::NoContent } else { Status::Ok };
        self.answer_write(head, &bare(status, "", &lines), Then::Next).await
    }

    /// Answers a write. A packager that left without reading answers may have more uploads in the
    /// socket: they are still stored, without answers.
    pub(super) async fn answer_write(
        &mut self,
        head: &Head,
        bare: &Bare<'_>,
        then: Then,
    ) -> Result<Then, Gone> {
        let manner = self.manner(head, then);
        if self.send_bare(bare, manner).await == Err(Gone) {
            self.mute = true;
        }
        Ok(manner.then())
    }
}

pub(super) fn bare<'a>(status: Status, message: &'a str, lines: &'a [u8]) -> Bare<'a> {
    Bare { status, message, lines, body_allowed: true }
}

impl Shard {
    /// Takes a key away from memory, disk and the remote store.
    async fn delete_everywhere(&self, key: Box<[u8]>, guard: Guard) -> Reply {
        let owner = self.store.borrow().owner_of(&key);
        if let Err(refusal) = self.prepare_remote(owner, &key, &guard).await {
            return Reply::Refused(refusal);
        }
        let there = self.remote.as_ref().map(|_| key.clone());
        let here = match self.disk {
            Some(_) if self.reads_disk(&key) => self.tier(owner, key, Job::Erase { guard }).await,
            _ => self.ask(owner, Ask::Delete { key, guard }).await,
        };
        match there {
            Some(key) => self.erase_remote(owner, key, here).await,
            None => here,
        }
    }

    /// The record of an object that is readable while it arrives. Its tag is fixed now.
    pub(super) fn streaming(
        &self,
        key: &[u8],
        intent: &Intent,
        is_parted: bool,
        aside_only: bool,
    ) -> Streaming {
        let id = self.next_growing();
        let growing = if is_parted { Growing::parted(id) } else { Growing::new(id) };
        let etag = format!("\"g{:x}-{id:x}\"", self.nonce);
        let record = Record::new(Parts {
            key,
            etag: etag.as_bytes(),
            fields: self.fields_of(intent, None),
            modified_s: self.reactor.clock.wall_s(),
            stored_ms: self.reactor.clock.now_ms(),
            expires_ms: self.expires_ms(intent),
            body: Body::Growing(Arc::new(growing)),
        });
        Streaming { record, aside_only }
    }

    /// What the commit of a received body publishes. An object that could be read while it arrived
    /// keeps what its record says.
    fn publication(
        &self,
        writer: &mut Writer,
        intent: &Intent,
        streamed: Option<&Record>,
    ) -> Publication {
        let (etag, fields, modified_s) = match streamed {
            Some(record) => (record.etag().into(), record.fields.clone(), record.modified_s()),
            None => (
                heads::tag(writer.digest()),
                self.fields_of(intent, writer.manifest()),
                self.reactor.clock.wall_s(),
            ),
        };
        Publication {
            length: writer.written(),
            etag,
            fields,
            modified_s,
            expires_ms: self.expires_ms(intent),
            gives_way: intent.gives_way,
            quality: writer.quality(),
            in_chunks: None,
        }
    }

    /// What answers say besides; the age of a cache may depend on the body.
    fn fields_of(&self, intent: &Intent, body: Option<&[u8]>) -> Arc<Fields> {
        match &intent.cache_control {
            Some(sent) => self.fields(&intent.content_type, sent, &intent.lines),
            None => {
                let default = write::default_cache_control(intent.class, body);
                self.fields(&intent.content_type, default.as_bytes(), &intent.lines)
            }
        }
    }

    /// These header values, shared with other objects that have the same.
    pub(super) fn fields(&self, kind: &[u8], cache_control: &[u8], lines: &[u8]) -> Arc<Fields> {
        self.known_fields.borrow_mut().of(kind, cache_control, lines)
    }

    fn expires_ms(&self, intent: &Intent) -> u64 {
        let now_ms = self.reactor.clock.now_ms();
        intent.ttl_ms.map_or(NEVER, |ttl_ms| now_ms.saturating_add(ttl_ms))
    }
}
