//! Server-Sent Events: a head, then messages without end.
//!
//! A stream has a task while it begins, lags or ends; in between it is in the care of
//! [`super::fanout`].

use std::rc::Rc;

use super::super::account::Account;
use super::super::answer::Front;
use super::super::conn::{Conn, Gone, Then};
use super::super::read::HEAD_FITS;
use super::copies::{CopyId, Piece, Shared};
use super::get::Subscribing;
use super::until::{EXPIRED, Until};
use crate::http::request::{Head, Version};
use crate::http::response::{Status, Writer};
use crate::origin::heads;
use crate::topic::log::Start;
use crate::topic::wire::{self, Format};

/// Where a stream stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The number that it expects next.
    pub(super) next: u64,
    pub(super) copy: CopyId,
    pub(super) format: Format,
    /// When it ends.
    pub(super) until: Until,
}

/// A stream that gets a task again.
pub(in crate::shard) struct Resumed {
    pub(super) place: Place,
    pub(super) account: Option<Box<Account>>,
    /// Bytes that were being sent, and how many of them have left.
    pub(super) rest: Option<(Shared, usize)>,
}

impl Conn {
    /// Answers with a stream.
    pub(super) async fn stream(
        &mut self,
        head: &Head,
        subscribing: Subscribing,
        start: Start,
    ) -> Result<Then, Gone> {
        let Subscribing { copy, until } = subscribing;
        let shard = self.shard.clone();
        let format = match head.version {
            Version::Http10 => Format::Plain,
            Version::Http11 => Format::Chunked,
        };
        let mut buffer = shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::Ok, &shard.date());
        writer.raw(b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\n");
        writer.raw(b"X-Accel-Buffering: no\r\nConnection: close\r\n");
        if format == Format::Chunked {
            writer.raw(b"Transfer-Encoding: chunked\r\n");
        }
        writer.raw(self.cors_lines(true));
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::Ok, len);
        self.input.clear(&shard.reactor.buffers);
        let (body, next) = {
            let mut topics = shard.topics.borrow_mut();
            let held = topics.copies.at(copy);
            let joined = held.log.join(start);
            let page = held.log.page;
            let mut body = Vec::new();
            let seen = joined.gap.map_or(joined.next, |gap| gap.new);
            wire::hello(&mut body, format, page, seen);
            if let Some(gap) = &joined.gap {
                wire::gap(&mut body, format, "", gap);
                topics.copies.gaps += 1;
            }
            (body, joined.next)
        };
        buffer.push_owned(body);
        let place = Place { next, copy, format, until };
        match self.transmit(Front::Assembled(buffer), None).await {
            Ok(()) => self.go_on_streaming(place).await,
            Err(Gone) => {
                shard.leave_topic(copy);
                Err(Gone)
            }
        }
    }

    /// Goes on with a stream that was sent to without a task.
    pub(in crate::shard) async fn resume(&mut self, resumed: Resumed) -> Result<Then, Gone> {
        let Resumed { place, account, rest } = resumed;
        if let Some(account) = account {
            self.account = *account;
        }
        if let Some((bytes, sent)) = rest
            && sent < bytes.len()
            && let Err(Gone) = self.transmit(Front::Tail(Box::new((bytes, sent))), None).await
        {
            self.shard.leave_topic(place.copy);
            return Err(Gone);
        }
        self.go_on_streaming(place).await
    }

    /// Sends what the stream lacks until it has everything, and then leaves it to the passes.
    async fn go_on_streaming(&mut self, mut place: Place) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        loop {
            if let Some(outcome) = self.stream_ends().await {
                shard.leave_topic(place.copy);
                return match outcome {
                    Ok(then) => self.end_stream(Vec::new(), place.format, then).await,
                    Err(Gone) => Err(Gone),
                };
            }
            if place.until.is_over(shard.reactor.clock.wall_s()) {
                shard.leave_topic(place.copy);
                shard.accounts.meters.topic_expired.bump();
                let mut why = Vec::new();
                wire::comment(&mut why, place.format, EXPIRED);
                return self.end_stream(why, place.format, Then::Close).await;
            }
            let piece =
                shard.topics.borrow_mut().copies.piece(place.copy, place.format, place.next);
            match piece {
                Piece::Bytes(bytes, next) => {
                    shard.accounts.meters.topic_deliveries.add(next - place.next.min(next));
                    place.next = next;
                    if let Err(Gone) = self.transmit(Front::Rendered(bytes), None).await {
                        shard.leave_topic(place.copy);
                        return Err(Gone);
                    }
                }
                Piece::Nothing => {
                    shard.hand_over(self.socket, place, self.keep_account());
                    return Ok(Then::Handed);
                }
                Piece::TooSlow => {
                    shard.leave_topic(place.copy);
                    return Err(Gone);
                }
            }
        }
    }

    /// Sends the last bytes of a stream.
    async fn end_stream(
        &mut self,
        mut last: Vec<u8>,
        format: Format,
        then: Then,
    ) -> Result<Then, Gone> {
        last.extend_from_slice(wire::ending(format));
        if !last.is_empty() {
            self.transmit(Front::Rendered(Rc::new(last)), None).await?;
        }
        Ok(then)
    }

    /// Reads past what the peer says on a stream; how it ends, if it does.
    async fn stream_ends(&mut self) -> Option<Result<Then, Gone>> {
        let shard = self.shard.clone();
        if shard.is_draining() {
            return Some(Ok(Then::Close));
        }
        while shard.reactor.has_input(self.socket) {
            match shard.reactor.receive(self.socket).await {
                Ok(received) => shard.reactor.buffers.give_back(received),
                Err(_) => return Some(Err(Gone)),
            }
        }
        None
    }
}
