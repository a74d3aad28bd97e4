//! A client of the tests' own: writes raw bytes, reads answers by the letter of RFC 9112.
//!
//! Strict on purpose: an answer that a lenient client would repair is an error here.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub struct Client {
    stream: TcpStream,
    /// Bytes received and not yet taken.
    unread: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Sizes of the chunks when the body came chunked.
    pub chunks: Option<Vec<usize>>,
}

impl Answer {
    /// The value of a header that must not be repeated.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|line| line.0.eq_ignore_ascii_case(name));
        let first = values.next();
        assert!(values.next().is_none(), "{name} is repeated in {self:?}");
        first.map(|line| line.1.as_str())
    }

    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

fn bad(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, super::PATIENCE)?)
    }

    /// Over a connection that exists.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(super::PATIENCE))?;
        stream.set_write_timeout(Some(super::PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// A second handle on the socket, to write while another thread reads.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request with Content-Length where the method has a body, and reads its answer.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        lines: &[&str],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: origin\r\n");
        for line in lines {
            head.push_str(line);
            head.push_str("\r\n");
        }
        if matches!(method, "PUT" | "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.send(&[head.as_bytes(), body].concat())?;
        self.answer(method == "HEAD")
    }

    /// Sends the head of a chunked upload.
    pub fn begin_chunked(&mut self, target: &str, lines: &[&str]) -> io::Result<()> {
        let mut head = format!("PUT {target} HTTP/1.1\r\nHost: origin\r\n");
        for line in lines {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        self.send(head.as_bytes())
    }

    /// Sends one chunk; an empty one ends the body.
    pub fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(&chunk)
    }

    /// Chunks until this many bytes are there.
    #[track_caller]
    pub fn chunks_of(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next_chunk().unwrap().expect("more is to come"));
        }
        bytes
    }

    /// Reads one answer; `bodiless` when the request was HEAD.
    pub fn answer(&mut self, bodiless: bool) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let status = answer.status;
        if bodiless || status < 200 || status == 204 || status == 304 {
            return Ok(answer);
        }
        let coding = answer.header("Transfer-Encoding").map(str::to_owned);
        let length = answer.header("Content-Length").map(str::to_owned);
        match (coding.as_deref(), length) {
            (Some("chunked"), None) => {
                let mut chunks = Vec::new();
                while let Some(chunk) = self.next_chunk()? {
                    chunks.push(chunk.len());
                    answer.body.extend_from_slice(&chunk);
                }
                answer.chunks = Some(chunks);
            }
            (None, Some(length)) => {
                let length = length.parse().map_err(|_| bad("Content-Length is no number"))?;
                answer.body = self.take(length)?;
            }
            (None, None) => answer.body = self.rest()?,
            other => return Err(bad(format!("framing {other:?}"))),
        }
        Ok(answer)
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let (version, rest) = line.split_once(' ').ok_or_else(|| bad(line.clone()))?;
        let (status, reason) = rest.split_once(' ').ok_or_else(|| bad(line.clone()))?;
        if version != "HTTP/1.1" || reason.is_empty() {
            return Err(bad(format!("status line {line}")));
        }
        let status = status.parse().map_err(|_| bad(line.clone()))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(line.clone()))?;
            if name.is_empty() || name.contains(' ') {
                return Err(bad(format!("header line {line}")));
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let version = version.to_owned();
        Ok(Answer { status, version, headers, body: Vec::new(), chunks: None })
    }

    /// Reads one chunk; `None` is the last one, with its end.
    pub fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| bad(format!("chunk {line}")))?;
        let data = self.take(size)?;
        if !self.line()?.is_empty() {
            return Err(bad("a chunk does not end in CRLF"));
        }
        Ok((size > 0).then_some(data))
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.unread);
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether the peer ended the connection, with nothing left to read.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        if !self.unread.is_empty() {
            return false;
        }
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => {
                self.unread.push(byte[0]);
                false
            }
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Whether nothing arrives for a while.
    pub fn is_silent(&mut self, during: Duration) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        self.stream.set_read_timeout(Some(during)).unwrap();
        let mut byte = [0];
        let outcome = self.stream.peek(&mut byte);
        self.stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        outcome.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).take(end).collect();
                if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
                    return Err(bad("a control byte in a line"));
                }
                return String::from_utf8(line).map_err(|_| bad("a line is not UTF-8"));
            }
            self.more()?;
        }
    }

    pub fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < len {
            self.more()?;
        }
        Ok(self.unread.drain(..len).collect())
    }

    /// What is there, or else what arrives next: at least one byte, at most as many as fit.
    pub fn read_some(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.unread.len().min(into.len());
        if count == 0 {
            return match self.stream.read(into)? {
                0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "an early end")),
                count => Ok(count),
            };
        }
        into[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Ok(count)
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 65_536];
        match self.stream.read(&mut bytes)? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended early")),
            count => {
                self.unread.extend_from_slice(&bytes[..count]);
                Ok(())
            }
        }
    }
}
