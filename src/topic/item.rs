//! A message: what a publisher hands in, and the JSON that every subscriber gets.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value as Json;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(Box<str>),
    /// Bytes, told in base64.
    Bytes(Box<[u8]>),
}

/// A message before it has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What it says.
    pub value: Value,
    /// Whose token published it.
    pub token_id: Option<Box<str>>,
    /// The instant of the programme that it belongs to.
    pub program_date_time: Option<Box<str>>,
    /// The media sequence number that it belongs to.
    pub media_sequence: Option<u64>,
}

impl Draft {
    /// Text of the origin's own.
    pub fn text(text: String) -> Self {
        let value = Value::Text(text.into());
        Self { value, token_id: None, program_date_time: None, media_sequence: None }
    }
}

/// A message in its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number in its page.
    pub number: u64,
    /// When it was published, in Unix milliseconds.
    pub published_ms: u64,
    /// The JSON object, without line ends.
    pub json: Box<[u8]>,
}

impl Item {
    /// Gives a draft its place.
    pub fn new(page: u64, number: u64, published_ms: u64, draft: &Draft) -> Self {
        let mut json = format!(
            "{{\"topic_sequence_number\":{number},\"sequence_page\":{page},\
             \"publish_timestamp\":{published_ms},\"value\":"
        );
        match &draft.value {
            Value::Text(text) => {
                json.push_str("{\"text\":");
                json.push_str(&quoted(text));
            }
            Value::Bytes(bytes) => {
                json.push_str("{\"binary\":\"");
                BASE64_STANDARD.encode_string(bytes, &mut json);
                json.push('"');
            }
        }
        json.push('}');
        let text = |json: &mut String, name: &str, value: &Option<Box<str>>| {
            if let Some(value) = value {
                json.push_str(&format!(",\"{name}\":{}", quoted(value)));
            }
        };
        text(&mut json, "token_id", &draft.token_id);
        text(&mut json, "program_date_time", &draft.program_date_time);
        if let Some(media_sequence) = draft.media_sequence {
            json.push_str(&format!(",\"media_sequence\":{media_sequence}"));
        }
        json.push('}');
        Self { number, published_ms, json: json.into_bytes().into() }
    }

    /// What was published, out of the JSON.
    pub fn value(&self) -> Value {
        let json: Json = serde_json::from_slice(&self.json).expect("it was made above");
        match &json["value"] {
            value if value["text"].is_string() => {
                Value::Text(value["text"].as_str().expect("it is a string").into())
            }
            value => {
                let text = value["binary"].as_str().expect("a value is text or binary");
                Value::Bytes(BASE64_STANDARD.decode(text).expect("it was encoded above").into())
            }
        }
    }

    /// What it counts against the bounds of memory.
    pub fn weight(&self) -> usize {
        self.json.len() + ITEM_OVERHEAD
    }
}

/// Bytes that keeping a message costs beside its JSON.
const ITEM_OVERHEAD: usize = 64;

/// A JSON string.
pub fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// Text that was published, or the reason why it is none.
///
/// # Errors
/// A sentence for the publisher.
pub fn value(bytes: Vec<u8>, is_binary: bool) -> Result<Value, &'static str> {
    if is_binary {
        return Ok(Value::Bytes(bytes.into()));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Value::Text(text.into())),
        Err(_) => Err("the text is not UTF-8; publish bytes as application/octet-stream"),
    }
}
