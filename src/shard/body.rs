//! Request bodies: received, decoded, written into extents, or read past.

use std::rc::Rc;
use std::sync::Arc;

use super::Shard;
use super::conn::{Conn, Gone, Then};
use super::payload::Payload;
use super::topic::{Charge, NoRoom};
use crate::digest::Digest;
use crate::http::framing::{Chunked, Framing};
use crate::http::request::Head;
use crate::http::response::Refusal as BadFraming;
use crate::limits;
use crate::media::boxes::{self, Fragment};
use crate::media::types::{self, Class};
use crate::origin::write::Intent;
use crate::store::growing::Growing;
use crate::store::message::{Ask, Quality, Refusal, Reply, UploadId};
use crate::sys::extent::{Extent, ShardId};
use crate::sys::reactor::Interrupt;
use crate::sys::socket::End;

/// Why a body did not become an object.
pub(super) enum BodyFault {
    /// The peer left in the middle.
    Gone,
    /// The peer ended its sending side in the middle; it may still be listening.
    Short,
    /// The chunked coding is broken.
    Framing(BadFraming),
    /// Too long a pause, or too few bytes in a window.
    Slow,
    /// More than an object may have.
    TooLarge,
    /// Too many messages of topics are arriving.
    NoRoom,
    /// The owner gives no more room.
    Refused(Refusal),
    /// It is not what its head says of it.
    Payload(&'static str),
}

/// Writes a body into the extents of its upload.
pub(super) struct Writer {
    shard: Rc<Shard>,
    owner: ShardId,
    upload: UploadId,
    extents: Vec<Extent>,
    growing: Option<Arc<Growing>>,
    /// Extent being written, and bytes of it that are written.
    place: usize,
    at: u32,
    written: u64,
    published: u64,
    bytes_max: u64,
    digest: Option<Box<Digest>>,
    manifest: Option<Vec<u8>>,
    /// What a dialect wants of the body.
    payload: Option<Box<Payload>>,
    /// The longest pause, in milliseconds, where another encoder may take over.
    pause_ms: Option<u64>,
    /// Goes through the boxes where another encoder's copy may be the better one.
    boxes: Option<Box<boxes::Reader>>,
    /// Duration of the fragments so far, in units of their timescale.
    media_units: u64,
}

impl Writer {
    pub(super) fn new(
        shard: Rc<Shard>,
        owner: ShardId,
        upload: UploadId,
        extents: Vec<Extent>,
        growing: Option<Arc<Growing>>,
        intent: &Intent,
    ) -> Self {
        // A growing object's tag was fixed at its start; all others are named by their content.
        let digest = growing.is_none().then(|| Box::new(Digest::new()));
        let manifest = (intent.class == Class::Manifest).then(Vec::new);
        let pipeline = intent.guard.pipeline.as_ref();
        let has_boxes = pipeline.is_some() && types::has_boxes(&intent.content_type);
        Self {
            shard,
            owner,
            upload,
            extents,
            growing,
            place: 0,
            at: 0,
            written: 0,
            published: 0,
            bytes_max: intent.bytes_max,
            digest,
            manifest,
            payload: None,
            pause_ms: pipeline.map(|pipeline| pipeline.failover_ms),
            boxes: has_boxes.then(|| Box::new(boxes::Reader::new(boxes::Tracks::default()))),
            media_units: 0,
        }
    }

    /// Has the body judged as a dialect wants it.
    pub(super) fn judge(&mut self, payload: Option<Box<Payload>>) {
        self.payload = payload;
    }

    /// The digest of the body, where it was judged.
    ///
    /// # Errors
    /// When it is not the body that was announced.
    pub(super) fn verdict(&mut self) -> Result<Option<[u8; 32]>, BodyFault> {
        self.payload.take().map(|payload| payload.finish()).transpose().map_err(BodyFault::Payload)
    }

    /// Writes a body that is at hand into the extents that were allotted for it.
    pub(super) fn fill_whole(shard: &Shard, extents: &[Extent], body: &[u8]) {
        let mut rest = body;
        for &extent in extents {
            let (now, later) = rest.split_at(rest.len().min(extent.len as usize));
            shard.reactor.arena().write(extent, 0, now);
            rest = later;
        }
        debug_assert!(rest.is_empty(), "room for all of it was asked for");
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// The content's 128-bit digest.
    pub(super) fn digest(&mut self) -> u128 {
        self.digest.as_ref().map_or(0, |digest| digest.finish())
    }

    /// What the body's boxes tell of it, once it is complete; nothing bad of what was not looked
    /// into.
    pub(super) fn quality(&mut self) -> Quality {
        let units = &mut self.media_units;
        let mut add = |one: Fragment| *units = units.saturating_add(one.duration);
        let is_sound = self.boxes.take().is_none_or(|mut boxes| boxes.finish(&mut add).is_ok());
        Quality { is_sound, media_units: self.media_units }
    }

    /// The first bytes of a manifest.
    pub(super) fn manifest(&self) -> Option<&[u8]> {
        self.manifest.as_deref()
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BodyFault> {
        match self.payload.take() {
            None => self.store(bytes).await,
            Some(payload) => Box::pin(self.write_judged(payload, bytes)).await,
        }
    }

    async fn write_judged(
        &mut self,
        mut payload: Box<Payload>,
        bytes: &[u8],
    ) -> Result<(), BodyFault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (used, data) = payload.step(rest).map_err(BodyFault::Payload)?;
            self.store(&rest[data]).await?;
            rest = &rest[used..];
        }
        self.payload = Some(payload);
        Ok(())
    }

    async fn store(&mut self, bytes: &[u8]) -> Result<(), BodyFault> {
        if self.growing.as_ref().is_some_and(|growing| growing.is_cut()) {
            return Err(BodyFault::Refused(Refusal::Superseded));
        }
        if self.written + bytes.len() as u64 > self.bytes_max {
            return Err(BodyFault::TooLarge);
        }
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        if let Some(boxes) = &mut self.boxes {
            // A fault is kept, and told at the end.
            let units = &mut self.media_units;
            let _ = boxes.feed(bytes, &mut |one| *units = units.saturating_add(one.duration));
        }
        if let Some(manifest) = &mut self.manifest {
            let room = limits::MANIFEST_BYTES_MAX - manifest.len();
            manifest.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        let mut rest = bytes;
        loop {
            rest = self.fill(rest);
            if rest.is_empty() {
                return Ok(());
            }
            // What is written so far is worth reading while the owner looks for room.
            self.publish();
            self.extend(rest.len() as u64).await?;
        }
    }

    /// Writes into the extents at hand; what did not fit is returned.
    fn fill<'a>(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        while let Some(&extent) = self.extents.get(self.place)
            && !rest.is_empty()
        {
            let room = (extent.len - self.at) as usize;
            let (now, later) = rest.split_at(rest.len().min(room));
            self.shard.reactor.arena().write(extent, self.at, now);
            self.at += u32::try_from(now.len()).expect("within one extent");
            self.written += now.len() as u64;
            rest = later;
            if self.at == extent.len {
                self.place += 1;
                self.at = 0;
            }
        }
        rest
    }

    async fn extend(&mut self, bytes: u64) -> Result<(), BodyFault> {
        let extend = || Ask::Extend { upload: self.upload, bytes };
        match self.shard.ask_for_room(self.owner, extend).await {
            Reply::Extended { extents } => {
                self.extents.extend(extents);
                Ok(())
            }
            Reply::Refused(refusal) => Err(BodyFault::Refused(refusal)),
            _ => Err(BodyFault::Gone),
        }
    }

    /// Lets readers of a growing object see what has been written.
    fn publish(&mut self) {
        let Some(growing) = &self.growing else { return };
        if self.written > self.published {
            self.published = self.written;
            self.shard.show_growth(growing, self.written);
        }
    }
}

/// How much of a body is still to come.
enum Remaining {
    Bytes(u64),
    Chunks(Chunked),
}

impl Remaining {
    fn of(head: &Head) -> Self {
        match head.body {
            Framing::None => Self::Bytes(0),
            Framing::Length(length) => Self::Bytes(length),
            Framing::Chunked => Self::Chunks(Chunked::new()),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Bytes(left) => *left == 0,
            Self::Chunks(chunked) => chunked.is_done(),
        }
    }

    /// Takes a step: bytes used, and where the body's bytes are among them.
    fn step(&mut self, unread: &[u8]) -> Result<(usize, std::ops::Range<usize>), BadFraming> {
        match self {
            Self::Bytes(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let count = unread.len().min(most);
                *left -= count as u64;
                Ok((count, 0..count))
            }
            Self::Chunks(chunked) => {
                let chunk = chunked.decode(unread)?;
                Ok((chunk.consumed, chunk.data))
            }
        }
    }
}

impl Conn {
    /// Receives a request's body into `writer`.
    pub(super) async fn receive_body(
        &mut self,
        head: &Head,
        writer: &mut Writer,
    ) -> Result<(), BodyFault> {
        let mut remaining = Remaining::of(head);
        if remaining.is_done() {
            return Ok(());
        }
        if head.expect_continue && self.input.is_empty() && !self.mute {
            self.send_continue().await.map_err(|Gone| BodyFault::Gone)?;
        }
        let shard = self.shard.clone();
        let buffers = &shard.reactor.buffers;
        let mut window = Window::begin(self);
        let idle_ms = shard.settings.body_idle_ms;
        window.idle_ms = writer.pause_ms.map_or(idle_ms, |pause_ms| idle_ms.min(pause_ms));
        loop {
            while !self.input.is_empty() {
                let unread = self.input.unread(buffers);
                let (used, data) = remaining.step(unread).map_err(BodyFault::Framing)?;
                writer.write(&unread[data]).await?;
                self.input.consume(used, buffers);
                if remaining.is_done() {
                    return Ok(());
                }
            }
            if shard.reactor.has_input(self.socket) {
                self.receive_more(&mut window).await?;
                continue;
            }
            writer.publish();
            // The client's next piece may wait for this acknowledgement (Nagle): send it now.
            shard.reactor.quick_ack(self.socket);
            self.receive_more(&mut window).await?;
        }
    }

    /// Receives a body of at most `bytes_max` bytes as a whole; its memory is charged.
    pub(super) async fn receive_whole(
        &mut self,
        head: &Head,
        bytes_max: usize,
        charge: &mut Charge,
    ) -> Result<Vec<u8>, BodyFault> {
        let mut remaining = Remaining::of(head);
        if matches!(remaining, Remaining::Bytes(left) if left > bytes_max as u64) {
            return Err(BodyFault::TooLarge);
        }
        if head.expect_continue && self.input.is_empty() {
            self.send_continue().await.map_err(|Gone| BodyFault::Gone)?;
        }
        let shard = self.shard.clone();
        let buffers = &shard.reactor.buffers;
        let mut window = Window::begin(self);
        let mut body = Vec::new();
        while !remaining.is_done() {
            if self.input.is_empty() {
                self.receive_more(&mut window).await?;
            }
            let unread = self.input.unread(buffers);
            let (used, data) = remaining.step(unread).map_err(BodyFault::Framing)?;
            if body.len() + data.len() > bytes_max {
                return Err(BodyFault::TooLarge);
            }
            body.extend_from_slice(&unread[data]);
            self.input.consume(used, buffers);
            charge.set(body.capacity()).map_err(|NoRoom| BodyFault::NoRoom)?;
        }
        Ok(body)
    }

    async fn send_continue(&mut self) -> Result<(), Gone> {
        let mut buffer = self.shard.reactor.send_buffer();
        buffer.push_copy(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.send(buffer, None).await
    }

    async fn receive_more(&mut self, window: &mut Window) -> Result<(), BodyFault> {
        let shard = self.shard.clone();
        if !window.holds(self) {
            return Err(BodyFault::Slow);
        }
        let now_ms = shard.reactor.clock.now_ms();
        shard.reactor.set_deadline(self.socket, now_ms + window.idle_ms);
        match shard.reactor.receive(self.socket).await {
            Ok(received) => {
                self.input.add(received, &shard.reactor.buffers);
                Ok(())
            }
            Err(Interrupt::Late) => Err(BodyFault::Slow),
            Err(Interrupt::Ended(End::Finished)) => Err(BodyFault::Short),
            Err(Interrupt::Ended(End::Failed(_))) => Err(BodyFault::Gone),
        }
    }

    /// Reads past a request's body, within a bound; beyond it the connection has to end.
    pub(super) async fn discard_body(&mut self, head: &Head) -> Result<Then, Gone> {
        match self.read_past_body(head).await {
            Ok(()) => Ok(Then::Next),
            Err(BodyFault::Gone) => Err(Gone),
            Err(_) => Ok(Then::Close),
        }
    }

    /// The same for requests that mean something only when they are whole.
    pub(super) async fn read_past_body(&mut self, head: &Head) -> Result<(), BodyFault> {
        let mut remaining = Remaining::of(head);
        if matches!(remaining, Remaining::Bytes(left) if left > limits::DISCARD_BYTES_MAX) {
            return Err(BodyFault::TooLarge);
        }
        let shard = self.shard.clone();
        let buffers = &shard.reactor.buffers;
        let mut window = Window::begin(self);
        let mut discarded = 0;
        while !remaining.is_done() {
            if self.input.is_empty() {
                self.receive_more(&mut window).await?;
            }
            let unread = self.input.unread(buffers);
            let (used, _) = remaining.step(unread).map_err(BodyFault::Framing)?;
            self.input.consume(used, buffers);
            discarded += used as u64;
            if discarded > limits::DISCARD_BYTES_MAX {
                return Err(BodyFault::TooLarge);
            }
        }
        Ok(())
    }
}

/// Bytes received in a span of time, against clients that drip.
pub(super) struct Window {
    pub(super) until_ms: u64,
    received: u64,
    /// The longest pause between two pieces.
    idle_ms: u64,
}

impl Window {
    pub(super) fn begin(conn: &Conn) -> Self {
        let reactor = &conn.shard.reactor;
        Self {
            until_ms: reactor.clock.now_ms() + conn.shard.settings.rate_window_ms,
            received: reactor.bytes_received(conn.socket),
            idle_ms: conn.shard.settings.body_idle_ms,
        }
    }

    /// Whether the peer sent enough in the window that has just ended, if one has.
    pub(super) fn holds(&mut self, conn: &Conn) -> bool {
        if conn.shard.reactor.clock.now_ms() < self.until_ms {
            return true;
        }
        let least = conn.shard.settings.window_bytes_min();
        let received = conn.shard.reactor.bytes_received(conn.socket) - self.received;
        *self = Self { idle_ms: self.idle_ms, ..Self::begin(conn) };
        received >= least
    }
}
