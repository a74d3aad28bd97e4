//! The JSON of topics: messages, discontinuities, answers to long-polls, what a WebSocket brings.
//!
//! Members that are not known are passed over, as the origin's documentation asks for.

use std::borrow::Cow;

use serde::Deserialize;

/// A message.
#[derive(Debug, Deserialize)]
pub struct Item<'a> {
    /// Its number within the page.
    pub topic_sequence_number: u64,
    /// Its page.
    pub sequence_page: u64,
    /// What was published.
    #[serde(borrow)]
    pub value: Value<'a>,
}

/// What was published.
#[derive(Debug, Deserialize)]
pub struct Value<'a> {
    /// Text; empty for bytes.
    #[serde(borrow, default)]
    pub text: Cow<'a, str>,
}

/// Messages that can no longer be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Discontinuity {
    /// The number of the next message.
    pub new_topic_sequence: u64,
    /// Its page.
    pub new_sequence_page: u64,
}

/// One entry of an answer to a long-poll.
#[derive(Debug, Deserialize)]
pub struct Entry<'a> {
    /// A message.
    #[serde(borrow)]
    pub item: Option<Item<'a>>,
    /// A discontinuity.
    pub discontinuity: Option<Discontinuity>,
}

/// An answer to a long-poll.
#[derive(Debug, Deserialize)]
pub struct Page<'a> {
    /// In order.
    #[serde(borrow)]
    pub items: Vec<Entry<'a>>,
    /// What the next request asks for.
    pub next_sequence_page: u64,
    /// See `next_sequence_page`.
    pub next_sequence_number: u64,
}

/// A message of a WebSocket.
#[derive(Debug, Deserialize)]
pub struct Told<'a> {
    /// Answers a subscription, with the position below.
    #[serde(borrow)]
    pub subscribed: Option<Cow<'a, str>>,
    /// See `subscribed`.
    #[serde(default)]
    pub sequence_page: u64,
    /// See `subscribed`.
    #[serde(default)]
    pub sequence_number: u64,
    /// A message.
    #[serde(borrow)]
    pub item: Option<Item<'a>>,
    /// A discontinuity.
    pub discontinuity: Option<Discontinuity>,
    /// A refusal.
    pub error: Option<Refusal>,
}

/// Why a wish was refused.
#[derive(Debug, Deserialize)]
pub struct Refusal {
    /// The status that HTTP would have.
    pub status: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_shapes_are_read() {
        let page = r#"{"items":[{"item":{"topic_sequence_number":7,"sequence_page":9,
            "publish_timestamp":1,"value":{"text":"2:1"},"token_id":"a"}},
            {"discontinuity":{"last_topic_sequence":1,"new_topic_sequence":4,
            "new_sequence_page":9}},{"item":{"topic_sequence_number":4,"sequence_page":9,
            "value":{"binary":"AA=="}}}],"next_sequence_page":9,"next_sequence_number":5}"#;
        let page: Page<'_> = serde_json::from_str(page).unwrap();
        let item = page.items[0].item.as_ref().unwrap();
        assert_eq!((item.topic_sequence_number, item.value.text.as_ref()), (7, "2:1"));
        assert!(matches!(item.value.text, Cow::Borrowed(_)), "nothing is copied");
        let gap = page.items[1].discontinuity.unwrap();
        assert_eq!((gap.new_topic_sequence, gap.new_sequence_page), (4, 9));
        assert_eq!(page.items[2].item.as_ref().unwrap().value.text, "");
        assert_eq!((page.next_sequence_page, page.next_sequence_number), (9, 5));
        let told = r#"{"subscribed":"a/b","sequence_page":9,"sequence_number":5}"#;
        let told: Told<'_> = serde_json::from_str(told).unwrap();
        assert_eq!((told.subscribed.as_deref(), told.sequence_number), (Some("a/b"), 5));
        let told = r#"{"error":{"status":403,"message":"no"},"id":3}"#;
        let told: Told<'_> = serde_json::from_str(told).unwrap();
        assert_eq!(told.error.unwrap().status, 403);
    }
}
