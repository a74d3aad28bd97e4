//! POST on a topic: the body is a message.

use super::super::body::BodyFault;
use super::super::conn::{Conn, Gone, Then};
use super::super::rules::Admission;
use super::super::upload::Denied;
use super::arriving::Charge;
use super::get::{FULL, topic_of};
use crate::config::Right;
use crate::http::known::Known;
use crate::http::request::Head;
use crate::http::response::Status;
use crate::origin::errors::{Bare, RETRY};
use crate::origin::query;
use crate::topic::item::{self, Draft};
use crate::topic::message::Refusal;
use crate::topic::{name, query as wishes};

/// A publication whose head was accepted.
struct Accepted {
    topic: Box<[u8]>,
    /// What the publisher's token is called.
    token_id: Option<Box<str>>,
    is_binary: bool,
    moment: (Option<Box<str>>, Option<u64>),
    bytes_max: usize,
}

impl Conn {
    /// Answers POST on a topic.
    pub(in crate::shard) async fn publish_message(&mut self, head: &Head) -> Result<Then, Gone> {
        let accepted = match self.accept_message(head) {
            Ok(accepted) => accepted,
            Err(denied) => return self.deny(head, denied).await,
        };
        let Accepted { topic, token_id, is_binary, moment, bytes_max } = accepted;
        self.input_past_head(head);
        let mut charge = Charge::new(&self.shard.topics.borrow().arriving);
        let body = match self.receive_whole(head, bytes_max, &mut charge).await {
            Ok(body) => body,
            Err(BodyFault::TooLarge) => {
                let denied = Denied::closing(Status::ContentTooLarge, TOO_LARGE);
                return self.answer_denied(head, &denied, Then::Close).await;
            }
            Err(fault) => return self.deny_body(head, fault).await,
        };
        let value = match item::value(body, is_binary) {
            Ok(value) => value,
            Err(fault) => {
                let denied = Denied::new(Status::BadRequest, fault);
                return self.answer_denied(head, &denied, Then::Next).await;
            }
        };
        let (program_date_time, media_sequence) = moment;
        let draft = Draft { value, token_id, program_date_time, media_sequence };
        let shard = self.shard.clone();
        match shard.publish(&topic, draft).await {
            Ok(position) => {
                let line = format!("Topic-Position: {}:{}\r\n", position.page, position.number);
                let lines = line.as_bytes();
                let status = Status::NoContent;
                let bare = Bare { status, message: "", lines, body_allowed: false };
                self.answer_write(head, &bare, Then::Next).await
            }
            Err(refusal) => {
                let (status, message) = refused(refusal);
                let denied = Denied { lines: RETRY, ..Denied::new(status, message) };
                self.answer_denied(head, &denied, Then::Next).await
            }
        }
    }

    fn accept_message(&mut self, head: &Head) -> Result<Accepted, Denied> {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let bad = |fault| Denied::new(Status::BadRequest, fault);
        let topic = topic_of(head.path.of(bytes)).map_err(bad)?;
        let Admission { token_id, .. } = self
            .authorize_topic(head, bytes, Right::TopicPublish, &topic)
            .map_err(|denial| Denied::of(denial, Right::TopicPublish))?;
        self.account.note_credential(token_id.as_deref().unwrap_or_default());
        if name::is_own(&topic) {
            return Err(Denied::new(Status::Forbidden, OWN));
        }
        let parameters = |name: &[u8]| query::value(head.query.of(bytes), name);
        let moment = wishes::moment(&parameters).map_err(bad)?;
        let content_type = head.header(bytes, Known::ContentType).unwrap_or_default();
        let content_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
        let is_binary = content_type.trim_ascii().eq_ignore_ascii_case(BINARY_TYPE);
        if !head.body.has_body() {
            return Err(bad("the body is the message, and there is none"));
        }
        let bytes_max = (shard.settings.topic_policy)(&topic).message_bytes_max;
        Ok(Accepted { topic, token_id, is_binary, moment, bytes_max })
    }
}

const BINARY_TYPE: &[u8] = b"application/octet-stream";

/// Why nobody publishes in the origin's namespaces.
pub(super) const OWN: &str = "the namespaces objects and presence are the origin's own";
/// Why a large message finds no place while it arrives.
pub(in crate::shard) const CROWDED: &str = "too many messages are arriving; try again in a second";
/// Why a message is too large.
pub(super) const TOO_LARGE: &str = "the message is larger than the topic's limit";

/// Status and sentence of a refusal.
pub(super) fn refused(refusal: Refusal) -> (Status, &'static str) {
    match refusal {
        Refusal::Rate => {
            (Status::TooManyRequests, "more messages a second than the topic's rule allows")
        }
        Refusal::Full => (Status::ServiceUnavailable, FULL),
    }
}
