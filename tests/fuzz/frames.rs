//! What clients send on WebSockets: frames, and the requests in them.

use headwater::limits::SOCKET_MESSAGE_BYTES_MAX;
use headwater::topic::client::{self, Wish};
use headwater::topic::frame::{Code, Event, Reader};
use headwater::topic::name;

use crate::targets::outcome;

const CONTROL_BYTES_MAX: usize = 125;

/// Frames read the same however they are cut, keep their bounds, and what they said is said again
/// by other frames; a request that is understood names topics that may be.
pub fn frames(data: &[u8]) -> u64 {
    let whole = read(data, data.len().max(1));
    for piece_bytes in 1..data.len().min(64) {
        assert_eq!(read(data, piece_bytes), whole, "pieces of {piece_bytes}");
    }
    let events = match whole {
        Ok(events) => events,
        Err(code) => return outcome(code as u16),
    };
    let (again, expected) = said_again(&events);
    assert_eq!(read(&again, again.len().max(1)), Ok(expected), "said in other frames");
    let kinds: Vec<_> = events.iter().map(kind).collect();
    outcome(kinds)
}

fn read(data: &[u8], piece_bytes: usize) -> Result<Vec<Event>, Code> {
    let mut reader = Reader::of_both(SOCKET_MESSAGE_BYTES_MAX);
    let mut events = Vec::new();
    for mut piece in data.chunks(piece_bytes) {
        while !piece.is_empty() {
            let (used, event) = reader.read(piece)?;
            assert!(0 < used && used <= piece.len(), "{used} of {}", piece.len());
            assert!(event.is_some() || used == piece.len(), "it stopped without a reason");
            events.extend(event);
            piece = &piece[used..];
        }
    }
    Ok(events)
}

/// Which of its outcomes an event is.
fn kind(event: &Event) -> (u8, u16) {
    match event {
        Event::Text(text) => {
            assert!(text.len() <= SOCKET_MESSAGE_BYTES_MAX);
            (0, request(text))
        }
        Event::Binary(bytes) => {
            assert!(bytes.len() <= SOCKET_MESSAGE_BYTES_MAX);
            (4, 0)
        }
        Event::Ping(data) => {
            assert!(data.len() <= CONTROL_BYTES_MAX);
            (1, 0)
        }
        Event::Pong => (2, 0),
        Event::Close(code) => {
            assert!(code.is_none_or(|code| (1000..5000).contains(&code)), "{code:?}");
            (3, code.unwrap_or(0))
        }
    }
}

fn request(text: &str) -> u16 {
    match client::read(text).wish {
        Ok(Wish::Subscribe(topic, _)) => named(&topic, 1),
        Ok(Wish::Unsubscribe(topic)) => named(&topic, 2),
        Ok(Wish::Publish(topic, _)) => named(&topic, 3),
        Err(fault) => u16::try_from(fault.len()).unwrap_or(u16::MAX),
    }
}

fn named(topic: &[u8], wish: u16) -> u16 {
    assert!(name::check(topic), "{topic:?} is no name");
    wish
}

/// Frames of another shape that say the same: each message in two, with an empty mask.
fn said_again(events: &[Event]) -> (Vec<u8>, Vec<Event>) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Text(text) => {
                let half = text.len() / 2;
                frame(&mut bytes, 0x01, &text.as_bytes()[..half]);
                frame(&mut bytes, 0x80, &text.as_bytes()[half..]);
            }
            Event::Binary(bytes_said) => {
                let half = bytes_said.len() / 2;
                frame(&mut bytes, 0x02, &bytes_said[..half]);
                frame(&mut bytes, 0x80, &bytes_said[half..]);
            }
            Event::Ping(data) => frame(&mut bytes, 0x89, data),
            Event::Pong => frame(&mut bytes, 0x8A, b"x"),
            Event::Close(None) => frame(&mut bytes, 0x88, b""),
            Event::Close(Some(code)) => frame(&mut bytes, 0x88, &code.to_be_bytes()),
        }
        expected.push(event.clone());
    }
    (bytes, expected)
}

fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match u8::try_from(payload.len()) {
        Ok(short @ ..=125) => out.push(0x80 | short),
        _ => {
            out.push(0x80 | 126);
            out.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend_from_slice(payload);
}
