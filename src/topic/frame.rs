//! WebSocket frames (RFC 6455 section 5), the server's side: strict in, unmasked out.
//!
//! A reader takes bytes as they come and keeps nothing of them but the message that is being put
//! together and the beginning of a frame's head.
//!
//! Invariants: a message has at most as many bytes as the reader was made for; memory for it comes
//! as its bytes do, whatever length a frame announces; after a fault nothing more is read.

/// A ping without data.
pub const PING: &[u8] = &[0x89, 0x00];

/// What a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    /// Nothing to be done.
    Pong,
    /// The client closes, with this code where it gave one.
    Close(Option<u16>),
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// Both sides are done.
    Normal = 1000,
    /// The origin drains.
    GoingAway = 1001,
    /// A frame that the protocol forbids.
    Protocol = 1002,
    /// A binary message where messages are JSON.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    NotUtf8 = 1007,
    /// The subscriber is too slow, or may not do what it wants.
    Policy = 1008,
    /// A message above the limit.
    TooBig = 1009,
    /// A publication finds no place at the moment.
    TryLater = 1013,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING_CODE: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTROL_BYTES_MAX: usize = 125;

/// A frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    is_last: bool,
    mask: [u8; 4],
    /// Bytes of the payload that were read.
    at: usize,
    len: usize,
}

/// Reads a client's frames.
#[derive(Debug)]
pub struct Reader {
    bytes_max: usize,
    head: Vec<u8>,
    frame: Option<Frame>,
    /// The message that is being put together, and whether one is.
    message: Vec<u8>,
    /// Bytes of it that were found to be UTF-8.
    checked: usize,
    is_open: bool,
    is_binary: bool,
    takes_binary: bool,
    control: Vec<u8>,
}

impl Reader {
    /// A reader of text messages of so many bytes at most.
    pub fn of_text(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            head: Vec::new(),
            frame: None,
            message: Vec::new(),
            checked: 0,
            is_open: false,
            is_binary: false,
            takes_binary: false,
            control: Vec::new(),
        }
    }

    /// A reader to which binary messages are welcome, too.
    pub fn of_both(bytes_max: usize) -> Self {
        Self { takes_binary: true, ..Self::of_text(bytes_max) }
    }

    /// Bytes of memory that the message holds which is being put together.
    pub fn held(&self) -> usize {
        self.message.capacity()
    }

    /// Takes bytes from the front of `bytes` until something is complete; how many it took.
    ///
    /// # Errors
    /// The code to close with.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Event>), Code> {
        let mut used = 0;
        loop {
            let Some(mut frame) = self.frame.take() else {
                let Some(&byte) = bytes.get(used) else { return Ok((used, None)) };
                self.head.push(byte);
                used += 1;
                if let Some(frame) = self.parse_head()? {
                    self.head.clear();
                    self.frame = Some(frame);
                    if matches!(frame.opcode, TEXT | BINARY) {
                        self.is_binary = frame.opcode == BINARY;
                    }
                    if frame.len == 0 {
                        self.frame = None;
                        if let Some(event) = self.end(frame)? {
                            return Ok((used, Some(event)));
                        }
                    }
                }
                continue;
            };
            let count = (frame.len - frame.at).min(bytes.len() - used);
            let into = if frame.opcode >= CLOSE { &mut self.control } else { &mut self.message };
            if into.capacity() - into.len() < count {
                // At most twice what has come, and no more than is announced.
                into.reserve_exact((frame.len - frame.at).min(count.max(into.len())));
            }
            let mut at = frame.at;
            into.extend(bytes[used..used + count].iter().map(|byte| {
                at += 1;
                byte ^ frame.mask[(at - 1) % 4]
            }));
            frame.at = at;
            used += count;
            if frame.at < frame.len {
                self.frame = Some(frame);
                self.check_so_far()?;
                return Ok((used, None));
            }
            if let Some(event) = self.end(frame)? {
                return Ok((used, Some(event)));
            }
        }
    }

    /// The frame, once its head is complete.
    //= RFC 6455 section 5.2
    fn parse_head(&self) -> Result<Option<Frame>, Code> {
        let head = self.head.as_slice();
        let (opcode, is_last) = (head[0] & 0x0F, head[0] & FIN != 0);
        if head[0] & 0x70 != 0 {
            return Err(Code::Protocol);
        }
        match opcode {
            CONTINUATION if !self.is_open => return Err(Code::Protocol),
            TEXT | BINARY if self.is_open => return Err(Code::Protocol),
            BINARY if !self.takes_binary => return Err(Code::Unsupported),
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING_CODE | PONG if is_last => {}
            _ => return Err(Code::Protocol),
        }
        let Some(&second) = head.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Code::Protocol);
        }
        let short = usize::from(second & 0x7F);
        if opcode >= CLOSE && short > CONTROL_BYTES_MAX {
            return Err(Code::Protocol);
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if head.len() < 2 + extended + 4 {
            return Ok(None);
        }
        let long = head[2..2 + extended].iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        let is_minimal = match extended {
            2 => long > 125,
            8 => long > 0xFFFF && long >> 63 == 0,
            _ => true,
        };
        if !is_minimal {
            return Err(Code::Protocol);
        }
        let len = if extended == 0 { short } else { usize::try_from(long).unwrap_or(usize::MAX) };
        if opcode < CLOSE && len > self.bytes_max - self.message.len() {
            return Err(Code::TooBig);
        }
        let mask = head[2 + extended..].try_into().expect("four bytes");
        Ok(Some(Frame { opcode, is_last, mask, at: 0, len }))
    }

    /// A frame is complete.
    fn end(&mut self, frame: Frame) -> Result<Option<Event>, Code> {
        match frame.opcode {
            CLOSE => close(&std::mem::take(&mut self.control)).map(Some),
            PING_CODE => Ok(Some(Event::Ping(std::mem::take(&mut self.control)))),
            PONG => {
                self.control = Vec::new();
                Ok(Some(Event::Pong))
            }
            _ if frame.is_last => {
                self.is_open = false;
                self.checked = 0;
                let message = std::mem::take(&mut self.message);
                if self.is_binary {
                    return Ok(Some(Event::Binary(message)));
                }
                let text = String::from_utf8(message);
                text.map(|text| Some(Event::Text(text))).map_err(|_| Code::NotUtf8)
            }
            _ => {
                self.is_open = true;
                self.check_so_far()?;
                Ok(None)
            }
        }
    }

    /// Looks at what was added since the last look; a sequence may be incomplete at its end.
    fn check_so_far(&mut self) -> Result<(), Code> {
        if self.is_binary {
            return Ok(());
        }
        match std::str::from_utf8(&self.message[self.checked..]) {
            Ok(_) => self.checked = self.message.len(),
            Err(fault) if fault.error_len().is_none() => self.checked += fault.valid_up_to(),
            Err(_) => return Err(Code::NotUtf8),
        }
        Ok(())
    }
}

//= RFC 6455 section 7.4
fn close(payload: &[u8]) -> Result<Event, Code> {
    let Some((code, reason)) = payload.split_at_checked(2) else {
        return if payload.is_empty() { Ok(Event::Close(None)) } else { Err(Code::Protocol) };
    };
    let code = u16::from_be_bytes([code[0], code[1]]);
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => {}
        _ => return Err(Code::Protocol),
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Event::Close(Some(code))),
        Err(_) => Err(Code::NotUtf8),
    }
}

/// Appends a text message made of parts.
pub fn text(out: &mut Vec<u8>, parts: &[&[u8]]) {
    frame(out, TEXT, parts);
}

/// Appends a binary message.
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    frame(out, BINARY, &[bytes]);
}

/// Appends the answer to a ping.
pub fn pong(out: &mut Vec<u8>, data: &[u8]) {
    frame(out, PONG, &[data]);
}

/// Appends a close; a reason of more than 123 bytes is cut.
pub fn closing(out: &mut Vec<u8>, code: u16, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    frame(out, CLOSE, &[&code.to_be_bytes(), reason.as_bytes()]);
}

fn frame(out: &mut Vec<u8>, opcode: u8, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.push(FIN | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..=125), _) => out.push(short),
        (_, Ok(middle)) => {
            out.push(126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
