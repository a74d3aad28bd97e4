//! WebSocket as a client speaks it (RFC 6455): the handshake, masked frames out, frames in.
//!
//! The key is the example of section 1.3 with its answer: a load generator needs no unpredictable
//! one, for no cache stands between. No extension is asked for.

use crate::limits::TOPIC_MESSAGE_BYTES_MAX;

/// Header lines of a handshake.
pub const HEADERS: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// What Sec-WebSocket-Accept must be.
pub const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole text message.
    Text(&'a [u8]),
    /// A ping with its payload.
    Ping(&'a [u8]),
    /// The end, with its code.
    Close(Option<u16>),
}

/// Puts frames together.
#[derive(Debug, Default)]
pub struct Reader {
    pending: Vec<u8>,
    message: Option<Vec<u8>>,
}

impl Reader {
    /// Takes in bytes, and gives every frame that they complete; the error is a sentence's part.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Frame<'_>),
    ) -> Result<(), &'static str> {
        if self.pending.is_empty() {
            let used = self.frames(bytes, &mut each)?;
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            let mut pending = std::mem::take(&mut self.pending);
            pending.extend_from_slice(bytes);
            let used = self.frames(&pending, &mut each)?;
            pending.drain(..used);
            self.pending = pending;
        }
        Ok(())
    }

    /// All whole frames of `bytes`; the bytes that they take.
    fn frames(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Frame<'_>),
    ) -> Result<usize, &'static str> {
        let mut used = 0;
        while let Some((first, payload, length)) = split(&bytes[used..])? {
            self.frame(first, payload, each)?;
            used += length;
        }
        Ok(used)
    }

    fn frame(
        &mut self,
        first: u8,
        payload: &[u8],
        each: &mut impl FnMut(Frame<'_>),
    ) -> Result<(), &'static str> {
        let is_last = first & 0x80 != 0;
        match first & 0x0f {
            TEXT if self.message.is_some() => return Err("a message begins within another"),
            TEXT if is_last => each(Frame::Text(payload)),
            TEXT => self.message = Some(payload.to_vec()),
            CONTINUATION => {
                let mut message = self.message.take().ok_or("a frame goes on with nothing")?;
                message.extend_from_slice(payload);
                if message.len() > TOPIC_MESSAGE_BYTES_MAX {
                    return Err("a message is too large");
                }
                if is_last {
                    each(Frame::Text(&message));
                } else {
                    self.message = Some(message);
                }
            }
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                each(Frame::Close(code));
            }
            PING => each(Frame::Ping(payload)),
            PONG => {}
            _ => return Err("a frame's opcode is unknown"),
        }
        Ok(())
    }
}

/// A whole frame: its first byte, its payload, its length with the head.
type Whole<'a> = (u8, &'a [u8], usize);

/// The frame at the start of `bytes`; `None` while it is not whole.
fn split(bytes: &[u8]) -> Result<Option<Whole<'_>>, &'static str> {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err("a frame has reserved bits");
    }
    if second & 0x80 != 0 {
        return Err("a frame of the server is masked");
    }
    let (length, start) = match second {
        126 => match bytes[2..].first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match bytes[2..].first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        length => (u64::from(length), 2),
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= TOPIC_MESSAGE_BYTES_MAX)
        .ok_or("a frame is too large")?;
    let whole = start + length;
    Ok(bytes.get(start..whole).map(|payload| (first, payload, whole)))
}

/// The answer to a ping: a masked pong with the same payload, of which at most 125 bytes are read.
pub fn pong(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(125)];
    let length = u8::try_from(payload.len()).unwrap_or(125);
    let mut frame = vec![0x80 | PONG, 0x80 | length];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_possible_truncation, reason = "each length is in its arm's range")]
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(length as u8),
            length @ 126..65536 => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn frames_are_the_same_however_bytes_arrive() {
        let long = vec![b'y'; 70_000];
        let bytes = [
            frame(0x81, b"one"),
            frame(0x01, b"tw"),
            frame(0x89, b"are you there"),
            frame(0x80, b"o"),
            frame(0x8a, b""),
            frame(0x81, &long[..300]),
            frame(0x81, &long),
            frame(0x88, &[3, 233, b'x']),
            frame(0x88, b""),
        ]
        .concat();
        for step in [1, 2, 3, 7, 1000, bytes.len()] {
            let (mut reader, mut found) = (Reader::default(), Vec::new());
            for bytes in bytes.chunks(step) {
                reader.push(bytes, |frame| found.push(format!("{frame:?}"))).unwrap();
            }
            let expected = [
                Frame::Text(b"one"),
                Frame::Ping(b"are you there"),
                Frame::Text(b"two"),
                Frame::Text(&long[..300]),
                Frame::Text(&long),
                Frame::Close(Some(1001)),
                Frame::Close(None),
            ];
            assert_eq!(found, expected.map(|frame| format!("{frame:?}")), "{step}");
        }
    }

    #[test]
    fn broken_frames_are_refused() {
        for bytes in [
            &[0xc1, 0][..],
            &[0x81, 0x80, 0, 0, 0, 0],
            &[0x83, 0],
            &[0x80, 0],
            &[0x01, 0, 0x01, 0],
            &[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0],
        ] {
            assert!(Reader::default().push(bytes, |_| {}).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_pong_is_masked() {
        assert_eq!(pong(b"ab", [1, 2, 3, 4]), [0x8a, 0x82, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2]);
        assert_eq!(pong(&[0; 200], [0; 4]).len(), 2 + 4 + 125);
    }
}
