//! WebSockets that carry what is published and nothing around it, for clients that know no JSON of
//! ours: a message of the client is a publication on the topic of its path, and a message of the
//! topic is one of the same kind, text or binary.
//!
//! Invariants: what cannot be said in a value closes the socket with a code and a sentence:
//! refusals, and messages that were missed.

use super::super::conn::{Conn, Gone};
use super::get::FULL;
use super::socket::{End, Socket, Subscription};
use crate::config::Right;
use crate::http::response::Status;
use crate::topic::frame::Code;
use crate::topic::item::{Draft, Value};
use crate::topic::log::Start;

const MISSED: &str = "messages were missed; subscribe again without a position";

impl Conn {
    /// Subscribes the socket to its topic.
    pub(super) async fn begin_values(
        &mut self,
        socket: &mut Socket,
        topic: Box<[u8]>,
        start: Start,
    ) -> Result<(), End> {
        let shard = self.shard.clone();
        let judged = self.judge_on(socket, Right::TopicSubscribe, &topic);
        let until = judged.map_err(|(_, denied)| End::Refused(Code::Policy, denied))?.until;
        let joined = shard.join_topic(&topic).await;
        let copy = joined.map_err(|()| End::Refused(Code::TryLater, FULL))?;
        let mut topics = shard.topics.borrow_mut();
        let held = topics.copies.at(copy);
        held.watch(shard.reactor.tasks.current());
        let joined = held.log.join(start);
        socket.subscriptions.push(Subscription { topic, copy, next: joined.next, until });
        match joined.gap {
            Some(_) => Err(End::Refused(Code::Policy, MISSED)),
            None => Ok(()),
        }
    }

    /// Publishes what the client has sent, and delivers what has come of it.
    pub(super) async fn publish_value(
        &mut self,
        socket: &mut Socket,
        topic: &[u8],
        value: Value,
    ) -> Result<(), End> {
        let draft = Draft { value, token_id: None, program_date_time: None, media_sequence: None };
        if let Err((status, sentence)) = self.publish_from(socket, topic, draft).await {
            let code = match status {
                Status::ContentTooLarge => Code::TooBig,
                Status::TooManyRequests | Status::ServiceUnavailable => Code::TryLater,
                _ => Code::Policy,
            };
            return Err(End::Refused(code, sentence));
        }
        // Many messages may wait to be read behind this one: their turn comes after its delivery.
        self.flush(socket).await.map_err(|Gone| End::Gone)?;
        self.deliver_news(socket).await
    }
}
