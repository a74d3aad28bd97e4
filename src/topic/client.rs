//! What a client says on a WebSocket: one JSON object a message.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value as Json};

use super::item::{Draft, Value, quoted};
use super::log::Start;
use super::message::Position;
use super::{frame, name, query};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Comes back with the answer, as JSON.
    pub id: Option<String>,
    /// What is wanted.
    pub wish: Result<Wish, &'static str>,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Messages of a topic.
    Subscribe(Box<[u8]>, Start),
    /// No more of them.
    Unsubscribe(Box<[u8]>),
    /// A message to a topic.
    Publish(Box<[u8]>, Draft),
}

/// Longest id, in bytes.
const ID_BYTES_MAX: usize = 256;

/// Reads a message.
pub fn read(text: &str) -> Request {
    let Ok(Json::Object(object)) = serde_json::from_str(text) else {
        return Request { id: None, wish: Err("a message is one JSON object") };
    };
    let id = object.get("id").filter(|id| id.is_number() || id.is_string()).map(Json::to_string);
    Request { id: id.filter(|id| id.len() <= ID_BYTES_MAX), wish: wish(&object) }
}

fn wish(object: &Map<String, Json>) -> Result<Wish, &'static str> {
    let topic = |value: &Json| match value.as_str().filter(|text| name::check(text.as_bytes())) {
        Some(text) => Ok(text.as_bytes().into()),
        None => Err("a topic is NAMESPACE/TOPIC, at most 255 bytes"),
    };
    match ["subscribe", "unsubscribe", "publish"].map(|verb| object.get(verb)) {
        [Some(value), None, None] => Ok(Wish::Subscribe(topic(value)?, start(object)?)),
        [None, Some(value), None] => Ok(Wish::Unsubscribe(topic(value)?)),
        [None, None, Some(value)] => Ok(Wish::Publish(topic(value)?, draft(object)?)),
        _ => Err("a message has one of subscribe, unsubscribe and publish"),
    }
}

fn start(object: &Map<String, Json>) -> Result<Start, &'static str> {
    let number = |name, fault| match object.get(name) {
        None => Ok(0),
        Some(value) => value.as_u64().filter(|&number| number <= 1 << 53).ok_or(fault),
    };
    let page = number("sequence_page", "sequence_page is a whole number up to 2^53")?;
    let next = number("sequence_number", "sequence_number is a whole number up to 2^53")?;
    match object.get("from") {
        _ if page != 0 => Ok(Start::At { page, next }),
        None => query::from(None),
        Some(from) => query::from(Some(from.as_str().unwrap_or_default().as_bytes())),
    }
}

fn draft(object: &Map<String, Json>) -> Result<Draft, &'static str> {
    const SHAPE: &str = "value is {\"text\":\"...\"} or {\"binary\":\"BASE64\"}";
    let value = object.get("value").and_then(Json::as_object).ok_or(SHAPE)?;
    let value = match (value.get("text"), value.get("binary")) {
        (Some(Json::String(text)), None) => Value::Text(text.as_str().into()),
        (None, Some(Json::String(text))) => {
            Value::Bytes(BASE64_STANDARD.decode(text).map_err(|_| SHAPE)?.into())
        }
        _ => return Err(SHAPE),
    };
    let date = |value: &Json| value.as_str().and_then(query::date).ok_or(query::DATE_FAULT);
    let program_date_time = object.get("program_date_time").map(date).transpose()?;
    let media_sequence = object
        .get("media_sequence")
        .map(|value| value.as_u64().filter(|&number| number <= 1 << 53))
        .map(|value| value.ok_or("media_sequence is a whole number up to 2^53"))
        .transpose()?;
    Ok(Draft { value, token_id: None, program_date_time, media_sequence })
}

impl Draft {
    /// Bytes that were published.
    pub fn len(&self) -> usize {
        match &self.value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether nothing was published.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Appends the answer to a request: its members without the id.
pub fn answer(out: &mut Vec<u8>, members: &str, id: Option<&str>) {
    let id = id.map(|id| format!(",\"id\":{id}")).unwrap_or_default();
    frame::text(out, &[b"{", members.as_bytes(), id.as_bytes(), b"}"]);
}

/// The members of an answer to a subscription; `topic` is a JSON string.
pub fn subscribed(topic: &str, page: u64, next: u64) -> String {
    format!("\"subscribed\":{topic},\"sequence_page\":{page},\"sequence_number\":{next}")
}

/// The members of an answer to a publication; `topic` is a JSON string.
pub fn published(topic: &str, position: Position) -> String {
    let Position { page, number } = position;
    format!("\"published\":{topic},\"sequence_page\":{page},\"topic_sequence_number\":{number}")
}

/// The members of an error.
pub fn error(status: u16, message: &str) -> String {
    format!("\"error\":{{\"status\":{status},\"message\":{}}}", quoted(message))
}
