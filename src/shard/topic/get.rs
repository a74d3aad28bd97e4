//! GET on a topic: which of the three ways to subscribe is meant, and the copy that it needs.

use std::borrow::Cow;
use std::task::Poll;

use super::super::conn::{Conn, Gone, Then};
use super::super::{Shard, answer};
use super::copies::{CopyId, State};
use super::until::Until;
use crate::config::Right;
use crate::http::known::Known;
use crate::http::request::{Head, Method, Version};
use crate::http::response::Status;
use crate::limits;
use crate::origin::auth::Denial;
use crate::origin::errors::{Bare, RETRY};
use crate::origin::{key, query, web};
use crate::topic::handshake::{Handshake, Offer};
use crate::topic::log::Start;
use crate::topic::message::Message;
use crate::topic::{name, query as wishes};

/// A copy that was joined and has to be left, and until when that was allowed.
pub(super) struct Subscribing {
    pub(super) copy: CopyId,
    pub(super) until: Until,
}

impl Conn {
    /// Whether the path is a topic's, or where sockets without one are opened.
    pub(in crate::shard) fn is_topic(&self, head: &Head) -> bool {
        let path = head.path.of(self.input.unread(&self.shard.reactor.buffers));
        path.strip_prefix(b"/topics").is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }

    /// Answers GET and HEAD on a topic.
    pub(in crate::shard) async fn read_topic(&mut self, head: &Head) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        if let Some(file) = web::file(head.path.of(bytes)) {
            return Box::pin(self.answer_file(head, file)).await;
        }
        let topic = topic_of(head.path.of(bytes));
        let offer = Offer::read(head.lines(bytes));
        let handshake = match head.method {
            Method::Get => offer.judge(head.version == Version::Http11),
            _ => Handshake::None,
        };
        let mut until = Until::FOREVER;
        if let Ok(topic) = &topic {
            match self.authorize_topic(head, bytes, Right::TopicSubscribe, topic) {
                Ok(admission) => until = admission.until,
                Err(denial) => {
                    let bare = denied(head, denial);
                    return self.answer_bare(head, &bare, Then::Next).await;
                }
            }
        }
        let opens_bare = head.path.of(bytes) == b"/topics";
        let topic = match (topic, &handshake) {
            (Ok(topic), _) => Some(topic),
            (Err(_), Handshake::Accept(_)) if opens_bare => None,
            (Err(fault), _) => return self.answer_fault(head, Status::BadRequest, fault).await,
        };
        if head.method != Method::Get {
            let message = "a topic is subscribed to by GET and published to by POST";
            return self.answer_fault(head, Status::MethodNotAllowed, message).await;
        }
        let parameters = |name: &[u8]| query::value(head.query.of(bytes), name);
        let wishes = wishes::start(&parameters).and_then(|start| {
            Ok((start, wishes::wait_ms(&parameters)?, wishes::are_values(&parameters)?))
        });
        let (start, wait_ms, are_values) = match wishes {
            Ok(wishes) => wishes,
            Err(fault) => return self.answer_fault(head, Status::BadRequest, fault).await,
        };
        match (handshake, topic) {
            (Handshake::Accept(accept), topic) => {
                let first = topic.map(|topic| (topic, start));
                if are_values && first.is_none() {
                    let fault = "a socket of values names its topic in the path";
                    return self.answer_fault(head, Status::BadRequest, fault).await;
                }
                Box::pin(self.open_socket(head, &accept, first, are_values)).await
            }
            (Handshake::Bad(fault), _) => self.answer_fault(head, Status::BadRequest, fault).await,
            (Handshake::Version, _) => {
                let bare = Bare {
                    status: Status::UpgradeRequired,
                    message: "the WebSocket version is 13",
                    lines: b"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n",
                    body_allowed: true,
                };
                self.answer_bare(head, &bare, Then::Next).await
            }
            (Handshake::None, Some(topic)) => {
                let last_id = last_event_id(head, bytes);
                let streams = accepts_events(head, bytes);
                let Ok(copy) = shard.join_topic(&topic).await else {
                    return self.answer_full(head).await;
                };
                let subscribing = Subscribing { copy, until };
                if streams {
                    let start = last_id.unwrap_or(start);
                    return Box::pin(self.stream(head, subscribing, start)).await;
                }
                Box::pin(self.poll_topic(head, subscribing, start, wait_ms)).await
            }
            (Handshake::None, None) => {
                let fault = "a topic is missing in the path";
                self.answer_fault(head, Status::BadRequest, fault).await
            }
        }
    }

    async fn answer_full(&mut self, head: &Head) -> Result<Then, Gone> {
        let bare = Bare {
            status: Status::ServiceUnavailable,
            message: FULL,
            lines: RETRY,
            body_allowed: true,
        };
        let ready: answer::Ready = self.ready_bare(head, &bare, Then::Next);
        self.deliver(ready).await
    }
}

/// The answer to somebody who may not subscribe, or no longer.
pub(super) fn denied(head: &Head, denial: Denial) -> Bare<'static> {
    Bare {
        status: denial.status(),
        message: denial.message(Right::TopicSubscribe),
        lines: denial.lines(),
        body_allowed: head.method == Method::Get,
    }
}

/// Why a subscription or publication finds no place.
pub(super) const FULL: &str = "too many topics have subscribers; try again in a second";

/// The topic that a path names.
pub(super) fn topic_of(path: &[u8]) -> Result<Box<[u8]>, &'static str> {
    let mut scratch = [0; limits::KEY_BYTES_MAX];
    let key = key::parse(path, &mut scratch).map_err(key::Fault::reason)?;
    name::of_key(key).map(Into::into).ok_or(name::FAULT)
}

fn accepts_events(head: &Head, bytes: &[u8]) -> bool {
    head.all(bytes, Known::Accept).any(|value| {
        let mut names = value.split(|&byte| byte == b',');
        names.any(|name| {
            let name = name.split(|&byte| byte == b';').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
        })
    })
}

fn last_event_id(head: &Head, bytes: &[u8]) -> Option<Start> {
    let mut lines = head.lines(bytes);
    let header = lines.find(|(name, _)| name.eq_ignore_ascii_case(b"last-event-id"));
    let value = match header {
        Some((_, value)) => Some(Cow::Borrowed(value)),
        None => query::value(head.query.of(bytes), b"last_event_id"),
    };
    value.filter(|value| !value.is_empty()).map(|value| wishes::after(&value))
}

impl Shard {
    /// Joins a topic's copy, and waits until it follows its owner.
    pub(super) async fn join_topic(&self, topic: &[u8]) -> Result<CopyId, ()> {
        let (copy, is_new) = self.topics.borrow_mut().copies.join(topic).ok_or(())?;
        if is_new {
            self.post_topic(self.topic_owner(topic), Message::Follow { name: topic.into() });
        }
        let task = self.reactor.tasks.current();
        self.topics.borrow_mut().copies.at(copy).watch(task);
        let state =
            std::future::poll_fn(|_| match self.topics.borrow_mut().copies.at(copy).state {
                State::Asked => Poll::Pending,
                state => Poll::Ready(state),
            })
            .await;
        self.topics.borrow_mut().copies.at(copy).unwatch(task);
        if state == State::Refused {
            self.leave_topic(copy);
            return Err(());
        }
        Ok(copy)
    }

    /// Leaves a topic's copy.
    pub(super) fn leave_topic(&self, copy: CopyId) {
        self.topics.borrow_mut().copies.leave(copy);
    }
}
