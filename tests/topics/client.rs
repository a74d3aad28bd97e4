//! Subscribers of the tests' own: an event stream and a WebSocket, read by the letter.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{Origin, PATIENCE};

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    pub kind: String,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }

    /// The number of its message.
    #[track_caller]
    pub fn number(&self) -> u64 {
        self.json()["topic_sequence_number"].as_u64().unwrap()
    }
}

/// A stream of Server-Sent Events.
pub struct Stream {
    socket: TcpStream,
    raw: Vec<u8>,
    text: Vec<u8>,
    pub head: String,
    is_chunked: bool,
}

impl Stream {
    /// Subscribes, and reads the first event, which has an id and no data.
    #[track_caller]
    pub fn open(origin: &Origin, target: &str, lines: &[&str]) -> (Self, Event) {
        let mut stream = Self::begin(origin, "HTTP/1.1", target, lines);
        let first = stream.block().unwrap();
        assert!(first.data.is_empty() && first.id.contains(':'), "{first:?}");
        (stream, first)
    }

    #[track_caller]
    pub fn begin(origin: &Origin, version: &str, target: &str, lines: &[&str]) -> Self {
        Self::over(TcpStream::connect(origin.http).unwrap(), version, target, lines)
    }

    /// The same over a connection that is there.
    #[track_caller]
    pub fn over(mut socket: TcpStream, version: &str, target: &str, lines: &[&str]) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!(
            "GET {target} {version}\r\nHost: h\r\nAccept: text/event-stream\r\n{lines}\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut stream = Self {
            socket,
            raw: Vec::new(),
            text: Vec::new(),
            head: String::new(),
            is_chunked: version == "HTTP/1.1",
        };
        loop {
            if let Some(end) = find(&stream.raw, b"\r\n\r\n") {
                stream.head = String::from_utf8(stream.raw.drain(..end + 4).collect()).unwrap();
                break;
            }
            stream.more().unwrap();
        }
        assert!(stream.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", stream.head);
        assert!(stream.head.contains("\r\nContent-Type: text/event-stream\r\n"));
        stream
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The next event with data.
    pub fn next(&mut self) -> io::Result<Event> {
        loop {
            let event = self.block()?;
            if !event.data.is_empty() {
                return Ok(event);
            }
        }
    }

    /// What comes until the connection's end, as it comes.
    pub fn rest(&mut self) -> String {
        while self.more().is_ok() {}
        String::from_utf8(std::mem::take(&mut self.raw)).unwrap()
    }

    /// The next lines up to an empty one; an error of this kind is the stream's clean end.
    fn block(&mut self) -> io::Result<Event> {
        loop {
            if let Some(end) = find(&self.text, b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let mut event = Event::default();
                for line in std::str::from_utf8(&block).unwrap().lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => event.id = id.to_owned(),
                        Some(("event", kind)) => event.kind = kind.to_owned(),
                        Some(("data", data)) => event.data.push_str(data),
                        _ => {}
                    }
                }
                return Ok(event);
            }
            while !self.decode()? {
                self.more()?;
            }
        }
    }

    /// Takes a chunk, if one is complete.
    fn decode(&mut self) -> io::Result<bool> {
        if !self.is_chunked {
            let any = !self.raw.is_empty();
            self.text.append(&mut self.raw);
            return Ok(any);
        }
        let Some(line) = find(&self.raw, b"\r\n") else { return Ok(false) };
        let size = std::str::from_utf8(&self.raw[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if self.raw.len() < line + size + 4 {
            return Ok(false);
        }
        assert_eq!(&self.raw[line + 2 + size..][..2], b"\r\n");
        self.text.extend_from_slice(&self.raw[line + 2..][..size]);
        self.raw.drain(..line + size + 4);
        if size == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(true) }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.socket.read(&mut buffer)? {
            0 => Err(io::ErrorKind::ConnectionAborted.into()),
            count => {
                self.raw.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A WebSocket.
pub struct Socket {
    socket: TcpStream,
}

/// A frame of the origin.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// The lines of a handshake.
pub const UPGRADE: &[&str] = &[
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

impl Socket {
    #[track_caller]
    pub fn open(origin: &Origin, target: &str) -> Self {
        Self::over(TcpStream::connect(origin.http).unwrap(), target)
    }

    /// The same over a connection that is there.
    #[track_caller]
    pub fn over(mut socket: TcpStream, target: &str) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let lines: String = UPGRADE.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        Self { socket }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    pub fn say(&mut self, text: &str) {
        self.raw(&framed(0x81, text.as_bytes()));
    }

    /// The next frame that is no ping; pings are answered.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        loop {
            let frame = self.any_frame();
            if frame.opcode != 9 {
                return frame;
            }
            self.raw(&framed(0x8A, &frame.payload));
        }
    }

    #[track_caller]
    pub fn any_frame(&mut self) -> Frame {
        let mut head = [0; 2];
        self.socket.read_exact(&mut head).unwrap();
        assert!(head[0] & 0xF0 == 0x80 && head[1] & 0x80 == 0, "{head:?}");
        let len = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.take())),
            127 => u64::from_be_bytes(self.take()),
            short => short.into(),
        };
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.socket.read_exact(&mut payload).unwrap();
        Frame { opcode: head[0] & 0x0F, payload }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next text message.
    #[track_caller]
    pub fn next(&mut self) -> Value {
        let frame = self.frame();
        assert_eq!(frame.opcode, 1, "{frame:?}");
        serde_json::from_slice(&frame.payload).unwrap()
    }

    /// Code and reason of the close that comes next, whatever comes before. Pings
    /// are not answered: a pong in the middle of a frame would be part of its payload.
    #[track_caller]
    pub fn close(&mut self) -> (u16, String) {
        loop {
            let frame = self.any_frame();
            if frame.opcode == 8 {
                let (code, reason) = frame.payload.split_at(2);
                let code = u16::from_be_bytes(code.try_into().unwrap());
                return (code, String::from_utf8(reason.to_vec()).unwrap());
            }
        }
    }

    /// The code of the close that comes next, and whether the connection then ends.
    #[track_caller]
    pub fn closed(&mut self) -> u16 {
        let frame = self.frame();
        assert_eq!(frame.opcode, 8, "{frame:?}");
        let mut rest = Vec::new();
        let _ = self.socket.read_to_end(&mut rest);
        assert!(rest.is_empty());
        u16::from_be_bytes(frame.payload[..2].try_into().unwrap())
    }
}

/// A client's frame.
pub fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}
