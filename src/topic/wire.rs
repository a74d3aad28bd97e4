//! Messages in the shapes of long-poll, Server-Sent Events and WebSocket.
//!
//! Invariants: what is made here is the same for every subscriber that stands at the same place.

use std::sync::Arc;

use super::frame;
use super::item::{Item, Value, quoted};
use super::log::Gap;

/// How a subscriber is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// Server-Sent Events in chunks.
    Chunked = 0,
    /// Server-Sent Events as they are, for HTTP/1.0.
    Plain = 1,
    /// WebSocket frames.
    WebSocket = 2,
    /// WebSocket frames of what was published and nothing else; gaps cannot be told.
    Values = 3,
}

/// Formats in all.
pub const FORMATS: usize = 4;

/// Milliseconds after which a browser comes back.
const RETRY_MS: u32 = 2000;

/// A heartbeat.
pub const fn heartbeat(format: Format) -> &'static [u8] {
    match format {
        Format::Chunked => b"3\r\n:\n\n\r\n",
        Format::Plain => b":\n\n",
        Format::WebSocket | Format::Values => frame::PING,
    }
}

/// What a stream ends with.
pub const fn ending(format: Format) -> &'static [u8] {
    match format {
        Format::Chunked => b"0\r\n\r\n",
        _ => b"",
    }
}

/// Appends messages of one topic; `topic` is its name as a JSON string.
pub fn messages<'a>(
    out: &mut Vec<u8>,
    format: Format,
    topic: &str,
    page: u64,
    items: impl Iterator<Item = &'a Arc<Item>>,
) {
    if format == Format::Values {
        for item in items {
            match item.value() {
                Value::Text(text) => frame::text(out, &[text.as_bytes()]),
                Value::Bytes(bytes) => frame::binary(out, &bytes),
            }
        }
        return;
    }
    if format == Format::WebSocket {
        for item in items {
            let parts = [b"{\"topic\":", topic.as_bytes(), b",\"item\":", &item.json, b"}"];
            frame::text(out, &parts);
        }
        return;
    }
    events(out, format, |events| {
        for item in items {
            events.extend_from_slice(format!("id: {page}:{}\ndata: ", item.number).as_bytes());
            events.extend_from_slice(&item.json);
            events.extend_from_slice(b"\n\n");
        }
    });
}

/// Appends what a subscriber has missed.
pub fn gap(out: &mut Vec<u8>, format: Format, topic: &str, gap: &Gap) {
    debug_assert_ne!(format, Format::Values, "its subscribers are closed instead");
    let json = gap_json(gap);
    if format == Format::WebSocket {
        let parts = [b"{\"topic\":", topic.as_bytes(), b",\"discontinuity\":", &json, b"}"];
        frame::text(out, &parts);
        return;
    }
    events(out, format, |events| {
        let id = format!("event: discontinuity\nid: {}:{}\ndata: ", gap.page, gap.new - 1);
        events.extend_from_slice(id.as_bytes());
        events.extend_from_slice(&json);
        events.extend_from_slice(b"\n\n");
    });
}

/// Appends the first event of a stream: no data, but where it begins.
pub fn hello(out: &mut Vec<u8>, format: Format, page: u64, next: u64) {
    events(out, format, |events| {
        let text = format!("retry: {RETRY_MS}\nid: {page}:{}\n\n", next - 1);
        events.extend_from_slice(text.as_bytes());
    });
}

/// Appends a line for people, which clients pass over.
pub fn comment(out: &mut Vec<u8>, format: Format, text: &str) {
    events(out, format, |events| {
        events.extend_from_slice(format!(": {text}\n\n").as_bytes());
    });
}

fn events(out: &mut Vec<u8>, format: Format, write: impl FnOnce(&mut Vec<u8>)) {
    if format == Format::Plain {
        return write(out);
    }
    let begin = out.len();
    out.extend_from_slice(b"00000000\r\n");
    write(out);
    let size = format!("{:08x}", out.len() - begin - 10);
    out[begin..begin + 8].copy_from_slice(size.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The body of a long-poll's answer.
pub fn poll<'a>(
    page: u64,
    mut next: u64,
    gap: Option<&Gap>,
    items: impl Iterator<Item = &'a Arc<Item>>,
) -> Vec<u8> {
    let mut out = b"{\"items\":[".to_vec();
    if let Some(gap) = gap {
        out.extend_from_slice(b"{\"discontinuity\":");
        out.extend_from_slice(&gap_json(gap));
        out.push(b'}');
    }
    for item in items {
        if out.last() == Some(&b'}') {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"item\":");
        out.extend_from_slice(&item.json);
        out.push(b'}');
        next = item.number + 1;
    }
    let end = format!("],\"next_sequence_page\":{page},\"next_sequence_number\":{next}}}");
    out.extend_from_slice(end.as_bytes());
    out
}

fn gap_json(gap: &Gap) -> Vec<u8> {
    format!(
        "{{\"last_topic_sequence\":{},\"new_topic_sequence\":{},\"new_sequence_page\":{}}}",
        gap.last, gap.new, gap.page
    )
    .into_bytes()
}

/// A topic's name as a JSON string.
pub fn quoted_name(name: &[u8]) -> String {
    quoted(&String::from_utf8_lossy(name))
}
