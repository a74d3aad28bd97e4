//! WebSockets: publish and subscribe, several topics each, one task as long as they live.
//!
//! Invariants: a topic's messages follow its `subscribed`; whatever ends a socket leaves its
//! topics; nothing of a frame stays in a buffer of the kernel while the socket waits.

use std::future::Future as _;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::super::answer::Front;
use super::super::body::Window;
use super::super::conn::{Conn, Gone, Then};
use super::super::read::HEAD_FITS;
use super::super::rules::Admission;
use super::arriving::{Charge, NoRoom};
use super::copies::{CopyId, Piece};
use super::get::FULL;
use super::publish::{CROWDED, OWN, TOO_LARGE, refused};
use super::until::{EXPIRED, Until};
use crate::config::Right;
use crate::http::request::Head;
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::origin::heads;
use crate::sys::net;
use crate::sys::reactor::Interrupt;
use crate::topic::client::{self, Request, Wish};
use crate::topic::frame::{self, Code, Event, Reader};
use crate::topic::item::{Draft, Value};
use crate::topic::log::Start;
use crate::topic::message::Position;
use crate::topic::name;
use crate::topic::wire::{self, Format};

/// A WebSocket.
pub(super) struct Socket {
    reader: Reader,
    /// For the message that it puts together, and how fast a large one has to come.
    charge: Charge,
    pace: Option<Window>,
    /// The topic of a socket that carries values alone ([`super::values`]).
    values_of: Option<Box<[u8]>>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Frames that are to be sent before anything else.
    pub(super) out: Vec<u8>,
    signs: Signs,
    /// The handshake and its bytes: every wish is judged by what was presented in it.
    head: Box<Head>,
    presented: Box<[u8]>,
}

/// Signs of life.
struct Signs {
    /// When the peer last said something, or had taken enough.
    seen_ms: u64,
    /// When a ping is due.
    ping_ms: u64,
    /// Bytes that it had acknowledged at the first ping since then.
    taken: Option<u64>,
}

impl Signs {
    fn at(seen_ms: u64) -> Self {
        Self { seen_ms, ping_ms: seen_ms + limits::TOPIC_HEARTBEAT_MS, taken: None }
    }
}

pub(super) struct Subscription {
    pub(super) topic: Box<[u8]>,
    pub(super) copy: CopyId,
    pub(super) next: u64,
    /// When it ends, and the socket with it.
    pub(super) until: Until,
}

impl Socket {
    /// When the first of its subscriptions ends.
    fn until(&self) -> Until {
        self.subscriptions.iter().map(|one| one.until).min().unwrap_or(Until::FOREVER)
    }
}

/// Why a socket ends.
pub(super) enum End {
    /// With a close of this code.
    Code(u16),
    /// With a close of this code, for this reason.
    Refused(Code, &'static str),
    /// The peer has gone.
    Gone,
}

/// What a wait came to.
enum Waited {
    News,
    Late,
    Gone,
}

impl Conn {
    /// Answers with a WebSocket, subscribed to `first`; whether it carries values alone.
    pub(super) async fn open_socket(
        &mut self,
        head: &Head,
        accept: &str,
        first: Option<(Box<[u8]>, Start)>,
        are_values: bool,
    ) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let presented = bytes.get(..head.head_len).unwrap_or(bytes).into();
        self.input_past_head(head);
        self.input.set_aside(&shard.reactor.buffers);
        let mut socket = Socket {
            reader: match first.as_ref().filter(|_| are_values) {
                Some((topic, _)) => {
                    Reader::of_both((shard.settings.topic_policy)(topic).message_bytes_max)
                }
                None => Reader::of_text(limits::SOCKET_MESSAGE_BYTES_MAX),
            },
            charge: Charge::new(&shard.topics.borrow().arriving),
            pace: None,
            values_of: first.as_ref().filter(|_| are_values).map(|(topic, _)| topic.clone()),
            subscriptions: Vec::new(),
            out: Vec::new(),
            signs: Signs::at(shard.reactor.clock.now_ms()),
            head: Box::new(*head),
            presented,
        };
        // Before the answer: who has read that misses nothing that is published from then on.
        let begun = match first {
            Some((topic, start)) if are_values => {
                self.begin_values(&mut socket, topic, start).await
            }
            Some((topic, start)) => {
                self.subscribe(&mut socket, topic, start, None).await;
                Ok(())
            }
            None => Ok(()),
        };
        shard.topics.borrow_mut().sockets += 1;
        let end = match (self.switch_protocols(accept).await, begun) {
            (Err(Gone), _) => End::Gone,
            (Ok(()), Err(end)) => end,
            (Ok(()), Ok(())) => self.serve_socket(&mut socket).await,
        };
        shard.topics.borrow_mut().sockets -= 1;
        let task = shard.reactor.tasks.current();
        for subscription in socket.subscriptions.drain(..) {
            shard.topics.borrow_mut().copies.at(subscription.copy).unwatch(task);
            shard.leave_topic(subscription.copy);
        }
        let (code, reason) = match end {
            End::Gone => return Err(Gone),
            End::Code(code) => (code, ""),
            End::Refused(code, reason) => (code as u16, reason),
        };
        frame::closing(&mut socket.out, code, reason);
        self.flush(&mut socket).await?;
        Ok(Then::Close)
    }

    /// Sends the answer to the handshake.
    async fn switch_protocols(&mut self, accept: &str) -> Result<(), Gone> {
        let shard = self.shard.clone();
        let mut buffer = shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        heads::begin(&mut writer, Status::SwitchingProtocols, &shard.date());
        writer.raw(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
        writer.header(b"Sec-WebSocket-Accept", accept.as_bytes());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::SwitchingProtocols, len);
        self.transmit(Front::Assembled(buffer), None).await
    }

    async fn serve_socket(&mut self, socket: &mut Socket) -> End {
        let shard = self.shard.clone();
        loop {
            match self.read_frames(socket).await {
                Ok(()) => {}
                Err(end) => return end,
            }
            if self.flush(socket).await.is_err() {
                return End::Gone;
            }
            match self.deliver_news(socket).await {
                Ok(()) => {}
                Err(end) => return end,
            }
            if shard.is_draining() {
                return End::Code(Code::GoingAway as u16);
            }
            match self.wait_for_news(socket).await {
                Waited::News => {}
                Waited::Late => socket.out.extend_from_slice(frame::PING),
                Waited::Gone => return End::Gone,
            }
        }
    }

    /// Reads what has come, and does what it asks for.
    async fn read_frames(&mut self, socket: &mut Socket) -> Result<(), End> {
        let shard = self.shard.clone();
        while !self.input.is_empty() {
            let unread = self.input.unread(&shard.reactor.buffers);
            let (used, event) = socket.reader.read(unread).map_err(|code| match code {
                Code::TooBig => End::Refused(code, TOO_LARGE),
                _ => End::Code(code as u16),
            })?;
            self.input.consume(used, &shard.reactor.buffers);
            match event {
                None | Some(Event::Pong) => {}
                Some(Event::Ping(data)) => frame::pong(&mut socket.out, &data),
                Some(Event::Close(code)) => {
                    return Err(End::Code(code.unwrap_or(Code::Normal as u16)));
                }
                Some(Event::Text(text)) => match socket.values_of.clone() {
                    None => self.act(socket, &text).await,
                    Some(topic) => {
                        self.publish_value(socket, &topic, Value::Text(text.into())).await?;
                    }
                },
                Some(Event::Binary(bytes)) => {
                    let topic = socket.values_of.clone().expect("the reader refuses it elsewhere");
                    self.publish_value(socket, &topic, Value::Bytes(bytes.into())).await?;
                }
            }
            let charged = socket.charge.set(socket.reader.held());
            charged.map_err(|NoRoom| End::Refused(Code::TryLater, CROWDED))?;
            // A client that asks without reading answers waits here.
            if socket.out.len() > limits::SEND_BUFFER_BYTES {
                self.flush(socket).await.map_err(|Gone| End::Gone)?;
            }
        }
        self.hold_to_pace(socket)
    }

    /// Ends a socket whose large message comes more slowly than any upload may.
    fn hold_to_pace(&self, socket: &mut Socket) -> Result<(), End> {
        if !socket.charge.is_any() {
            socket.pace = None;
            return Ok(());
        }
        let pace = socket.pace.get_or_insert_with(|| Window::begin(self));
        if pace.holds(self) { Ok(()) } else { Err(End::Refused(Code::Policy, DRIPS)) }
    }

    async fn act(&mut self, socket: &mut Socket, text: &str) {
        let Request { id, wish } = client::read(text);
        let id = id.as_deref();
        match wish {
            Err(fault) => {
                let members = client::error(Status::BadRequest.code(), fault);
                client::answer(&mut socket.out, &members, id);
            }
            Ok(Wish::Subscribe(topic, start)) => self.subscribe(socket, topic, start, id).await,
            Ok(Wish::Unsubscribe(topic)) => self.unsubscribe(socket, &topic, id),
            Ok(Wish::Publish(topic, draft)) => self.publish_on(socket, &topic, draft, id).await,
        }
    }

    async fn subscribe(
        &mut self,
        socket: &mut Socket,
        topic: Box<[u8]>,
        start: Start,
        id: Option<&str>,
    ) {
        let shard = self.shard.clone();
        let is_known = socket.subscriptions.iter().any(|one| one.topic == topic);
        let judged = match self.judge_on(socket, Right::TopicSubscribe, &topic) {
            Err(denied) => Err(denied),
            Ok(_) if is_known => Err((Status::Conflict, "the socket has this subscription")),
            Ok(_) if socket.subscriptions.len() >= limits::SOCKET_TOPICS_MAX => {
                Err((Status::TooManyRequests, "a socket holds at most 64 subscriptions"))
            }
            Ok(admission) => Ok(admission.until),
        };
        let joined = match judged {
            Ok(until) => match shard.join_topic(&topic).await {
                Ok(copy) => Ok((copy, until)),
                Err(()) => Err((Status::ServiceUnavailable, FULL)),
            },
            Err(fault) => Err(fault),
        };
        let (copy, until) = match joined {
            Ok(joined) => joined,
            Err((status, fault)) => {
                let members = client::error(status.code(), fault);
                client::answer(&mut socket.out, &members, id);
                return;
            }
        };
        let mut topics = shard.topics.borrow_mut();
        let held = topics.copies.at(copy);
        held.watch(shard.reactor.tasks.current());
        let joined = held.log.join(start);
        let quoted = held.quoted();
        let members = client::subscribed(quoted, held.log.page, joined.next);
        client::answer(&mut socket.out, &members, id);
        if let Some(gap) = &joined.gap {
            wire::gap(&mut socket.out, Format::WebSocket, quoted, gap);
            topics.copies.gaps += 1;
        }
        socket.subscriptions.push(Subscription { topic, copy, next: joined.next, until });
    }

    fn unsubscribe(&mut self, socket: &mut Socket, topic: &[u8], id: Option<&str>) {
        let shard = &self.shard;
        let found = socket.subscriptions.iter().position(|one| *one.topic == *topic);
        let members = match found {
            None => client::error(Status::NotFound.code(), "the socket has no such subscription"),
            Some(at) => {
                let subscription = socket.subscriptions.remove(at);
                let task = shard.reactor.tasks.current();
                shard.topics.borrow_mut().copies.at(subscription.copy).unwatch(task);
                shard.leave_topic(subscription.copy);
                format!("\"unsubscribed\":{}", wire::quoted_name(topic))
            }
        };
        client::answer(&mut socket.out, &members, id);
    }

    async fn publish_on(
        &mut self,
        socket: &mut Socket,
        topic: &[u8],
        draft: Draft,
        id: Option<&str>,
    ) {
        let members = match self.publish_from(socket, topic, draft).await {
            Ok(position) => client::published(&wire::quoted_name(topic), position),
            Err((status, message)) => client::error(status.code(), message),
        };
        client::answer(&mut socket.out, &members, id);
    }

    /// Publishes; where the message stands, or status and sentence.
    pub(super) async fn publish_from(
        &self,
        socket: &Socket,
        topic: &[u8],
        mut draft: Draft,
    ) -> Result<Position, (Status, &'static str)> {
        let shard = self.shard.clone();
        let bytes_max = (shard.settings.topic_policy)(topic).message_bytes_max;
        draft.token_id = self.judge_on(socket, Right::TopicPublish, topic)?.token_id;
        if name::is_own(topic) {
            return Err((Status::Forbidden, OWN));
        }
        if draft.len() > bytes_max {
            return Err((Status::ContentTooLarge, TOO_LARGE));
        }
        shard.publish(topic, draft).await.map_err(refused)
    }

    /// Judges a wish by the handshake; by what it is granted, or status and sentence.
    pub(super) fn judge_on(
        &self,
        socket: &Socket,
        right: Right,
        topic: &[u8],
    ) -> Result<Admission, (Status, &'static str)> {
        self.authorize_topic(&socket.head, &socket.presented, right, topic)
            .map_err(|denial| (denial.status(), denial.message(right)))
    }

    /// Sends what the socket lacks of its topics, unless the time of one of them is over.
    pub(super) async fn deliver_news(&mut self, socket: &mut Socket) -> Result<(), End> {
        let shard = self.shard.clone();
        if socket.until().is_over(shard.reactor.clock.wall_s()) {
            shard.accounts.meters.topic_expired.bump();
            return Err(End::Refused(Code::Policy, EXPIRED));
        }
        let format = match socket.values_of {
            None => Format::WebSocket,
            Some(_) => Format::Values,
        };
        for subscription in &mut socket.subscriptions {
            let Subscription { copy, next, .. } = subscription;
            let piece = shard.topics.borrow_mut().copies.piece(*copy, format, *next);
            match piece {
                Piece::Nothing => {}
                Piece::TooSlow => return Err(End::Code(Code::Policy as u16)),
                Piece::Bytes(bytes, to) => {
                    shard.accounts.meters.topic_deliveries.add(to.saturating_sub(*next));
                    *next = to;
                    let sent = self.transmit(Front::Rendered(bytes), None).await;
                    sent.map_err(|Gone| End::Gone)?;
                }
            }
        }
        Ok(())
    }

    /// Waits for bytes of the client, a message of a topic, or the time of a heartbeat.
    async fn wait_for_news(&mut self, socket: &mut Socket) -> Waited {
        let shard = self.shard.clone();
        let reactor = &shard.reactor;
        // First what the peer says: one for whom there is always news is heard, too.
        if !reactor.has_input(self.socket) && reactor.clock.now_ms() >= socket.signs.ping_ms {
            return self.ask_for_a_sign(socket);
        }
        let pace_ms = socket.pace.as_ref().map_or(u64::MAX, |pace| pace.until_ms);
        let look_ms = pace_ms.min(socket.until().due_ms(&reactor.clock));
        reactor.set_deadline(self.socket, socket.signs.ping_ms.min(look_ms));
        let is_bare = socket.subscriptions.is_empty();
        if is_bare {
            shard.topics.borrow_mut().bare.insert(reactor.tasks.current());
        }
        let received = std::future::poll_fn(|context| {
            let is_heard = reactor.has_input(self.socket);
            if !is_heard && (shard.is_draining() || shard.has_news(&socket.subscriptions)) {
                return Poll::Ready(None);
            }
            pin!(reactor.receive(self.socket)).poll(context).map(Some)
        })
        .await;
        if is_bare {
            shard.topics.borrow_mut().bare.remove(&reactor.tasks.current());
        }
        match received {
            None => Waited::News,
            Some(Ok(received)) => {
                self.input.add(received, &reactor.buffers);
                socket.signs = Signs::at(reactor.clock.now_ms());
                Waited::News
            }
            Some(Err(Interrupt::Late)) if socket.signs.ping_ms > look_ms => Waited::News,
            Some(Err(Interrupt::Late)) => self.ask_for_a_sign(socket),
            Some(Err(Interrupt::Ended(_))) => Waited::Gone,
        }
    }

    /// The peer was silent until a ping is due: it gets one, unless that was for too long.
    fn ask_for_a_sign(&self, socket: &mut Socket) -> Waited {
        let reactor = &self.shard.reactor;
        let taken = net::bytes_acknowledged(reactor.fd(self.socket)).unwrap_or(0);
        let signs = &mut socket.signs;
        let now = Signs { taken: Some(taken), ..Signs::at(reactor.clock.now_ms()) };
        let before = *signs.taken.get_or_insert(taken);
        if now.seen_ms - signs.seen_ms < limits::SOCKET_SILENT_MS_MAX {
            signs.ping_ms = now.ping_ms;
            return Waited::Late;
        }
        // One that takes what any reader must take may not have come to our pings yet.
        if taken - before < self.shard.settings.window_bytes_min() {
            return Waited::Gone;
        }
        *signs = now;
        Waited::Late
    }

    pub(super) async fn flush(&mut self, socket: &mut Socket) -> Result<(), Gone> {
        if socket.out.is_empty() {
            return Ok(());
        }
        let bytes = Rc::new(std::mem::take(&mut socket.out));
        self.transmit(Front::Rendered(bytes), None).await
    }
}

const DRIPS: &str = "the message did not arrive in time";

impl super::super::Shard {
    fn has_news(&self, subscriptions: &[Subscription]) -> bool {
        let mut topics = self.topics.borrow_mut();
        subscriptions.iter().any(|one| topics.copies.at(one.copy).log.next() > one.next)
    }
}
