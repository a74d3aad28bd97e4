//! One HTTP/1.1 connection on monoio: a request at a time, the body as it arrives.
//!
//! Runs on a monoio runtime with its timer enabled. A connection that waits holds no buffer: it
//! asks for readiness first and takes a buffer of the thread's pool when bytes are there. Dropping
//! a [`Response`] before its end aborts it: the connection is then not reusable, and closing it
//! (dropping the [`Client`]) tells the server. Timeouts have monoio's resolution of 1 ms.
//!
//! ```text
//! let mut client = Client::connect(addr, CONNECT_TIMEOUT).await?;
//! let request = Request { method: "GET", path: "/a", host: "h", headers: "", body: b"" };
//! let mut response = client.request(&request, Duration::from_secs(10)).await?;
//! while let Some(bytes) = response.chunk(usize::MAX).await? { use_them(bytes) }
//! ```

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use monoio::buf::SliceMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use monoio::time::{timeout, timeout_at};

use super::body::{Body, Piece};
use super::buffers;
use super::error::Error;
use super::head::{self, Head};
use crate::limits::{HEAD_BYTES_MAX, SKIP_BYTES_MIN};
use crate::sys::socket;

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method; a HEAD has no body in its answer.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Value of the Host header.
    pub host: &'a str,
    /// Further header lines, each ending in CR LF.
    pub headers: &'a str,
    /// Body; sent with its length when it is not empty or the method is PUT or POST.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The bytes on the wire, appended to `to`.
    pub fn write(&self, to: &mut Vec<u8>) {
        self.write_head(to);
        to.extend_from_slice(self.body);
    }

    /// The bytes before the body, appended to `to`.
    pub fn write_head(&self, to: &mut Vec<u8>) {
        let Self { method, path, host, headers, body } = self;
        to.extend_from_slice(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n").as_bytes());
        to.extend_from_slice(headers.as_bytes());
        if !body.is_empty() || matches!(*method, "PUT" | "POST") {
            to.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        to.extend_from_slice(b"\r\n");
    }
}

/// When what happened to one request.
#[derive(Clone, Copy, Debug)]
pub struct Stamps {
    /// Just before the request was handed to the kernel.
    pub written: Instant,
    /// The first bytes of the answer were there.
    pub first_byte: Instant,
    /// The last bytes were there; `None` until the body is over.
    pub last_byte: Option<Instant>,
}

/// One connection.
pub struct Client {
    pub(super) stream: TcpStream,
    pub(super) usable: bool,
}

impl Client {
    /// Connects, with TCP_NODELAY.
    pub async fn connect(address: SocketAddr, within: Duration) -> Result<Self, Error> {
        let connected = timeout(within, TcpStream::connect_addr(address)).await;
        let stream =
            connected.map_err(|_| Error::ConnectTimeout)?.map_err(|e| Error::connecting(&e))?;
        stream.set_nodelay(true).map_err(|error| Error::connecting(&error))?;
        Ok(Self { stream, usable: true })
    }

    /// Whether another request may be sent: the last answer was read to its end, and the server
    /// keeps the connection.
    pub fn reusable(&self) -> bool {
        self.usable
    }

    /// The address of the other side.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// The socket, for its options.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request and reads the head of its answer. `within` bounds the time until the last
    /// byte of the body; [`Response::extend`] moves it.
    pub async fn request(
        &mut self,
        request: &Request<'_>,
        within: Duration,
    ) -> Result<Response<'_>, Error> {
        if !self.usable {
            return Err(Error::Closed);
        }
        self.usable = false;
        let mut bytes = buffers::take();
        request.write(&mut bytes);
        let written = Instant::now();
        let deadline = written + within;
        let sent = timeout_at(deadline.into(), self.stream.write_all(bytes)).await;
        let (result, bytes) = sent.map_err(|_| Error::Timeout)?;
        buffers::give_back(bytes);
        result.map_err(|error| Error::transfer(&error))?;
        self.answer(request.method == "HEAD", written, deadline).await
    }

    pub(super) async fn answer(
        &mut self,
        bodiless: bool,
        written: Instant,
        deadline: Instant,
    ) -> Result<Response<'_>, Error> {
        let mut buffer = Vec::new();
        let mut first_byte = None;
        let mut arrived = written;
        let (mut start, mut filled) = (0, 0);
        loop {
            if filled > start
                && let Some(head) = head::parse(&buffer[start..], bodiless)?
            {
                let end = start + head.len;
                if !head.is_interim() {
                    let raw = buffer[start..end].to_vec();
                    let first_byte = first_byte.unwrap_or(written);
                    let stamps = Stamps { written, first_byte, last_byte: None };
                    let mut response = Response {
                        client: self,
                        head,
                        raw,
                        buffer,
                        at: end,
                        body: Body::new(head.framing),
                        deadline,
                        arrived,
                        stamps,
                    };
                    response.settle()?;
                    return Ok(response);
                }
                start = end;
                continue;
            }
            buffer = self.fill(buffer, HEAD_BYTES_MAX, deadline).await?;
            arrived = Instant::now();
            first_byte = first_byte.or(Some(arrived));
            if buffer.len() == filled {
                return Err(if filled == 0 {
                    Error::Closed
                } else {
                    Error::Truncated { got: 0, expected: None }
                });
            }
            filled = buffer.len();
        }
    }

    /// Waits for bytes and appends at most `most` to `buffer`; none at the connection's end.
    async fn fill(
        &mut self,
        buffer: Vec<u8>,
        most: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let ready = timeout_at(deadline.into(), self.stream.readable(false)).await;
        ready.map_err(|_| Error::Timeout)?.map_err(|error| Error::transfer(&error))?;
        let mut buffer = if buffer.capacity() == 0 { buffers::take() } else { buffer };
        if buffer.len() == buffer.capacity() {
            // Only a head that fills the whole buffer gets here; its length is bounded.
            buffer.reserve(HEAD_BYTES_MAX);
        }
        let from = buffer.len();
        let to = buffer.capacity().min(from.saturating_add(most));
        let read = self.stream.read(SliceMut::new(buffer, from, to));
        let (result, slice) =
            timeout_at(deadline.into(), read).await.map_err(|_| Error::Timeout)?;
        let mut buffer = slice.into_inner();
        let count = result.map_err(|error| Error::transfer(&error))?;
        buffer.truncate(from + count);
        Ok(buffer)
    }
}

/// An answer under way.
pub struct Response<'a> {
    client: &'a mut Client,
    head: Head,
    raw: Vec<u8>,
    buffer: Vec<u8>,
    at: usize,
    body: Body,
    deadline: Instant,
    /// When bytes came last.
    arrived: Instant,
    stamps: Stamps,
}

impl Response<'_> {
    /// Status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// Status and framing.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        head::header(&self.raw, name)
    }

    /// When what happened; the last byte is known when the body is over.
    pub fn stamps(&self) -> Stamps {
        self.stamps
    }

    /// Body bytes that came so far.
    pub fn received(&self) -> u64 {
        self.body.received()
    }

    /// Moves the deadline for all that is still to come.
    pub fn extend(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// The next bytes of the body, at most `most` (not 0); `None` at its end.
    pub async fn chunk(&mut self, most: usize) -> Result<Option<&[u8]>, Error> {
        let most = most.max(1);
        let range = loop {
            let end = self.buffer.len().min(self.at.saturating_add(most));
            let (piece, next) = self.body.next(&self.buffer[..end], self.at)?;
            self.at = next;
            match piece {
                Piece::Data(range) => break range,
                Piece::End { .. } => {
                    self.settle()?;
                    return Ok(None);
                }
                Piece::More if end < self.buffer.len() => {}
                Piece::More => {
                    let mut buffer = std::mem::take(&mut self.buffer);
                    buffer.clear();
                    if buffer.capacity() > 0 {
                        buffers::give_back(buffer);
                    }
                    self.at = 0;
                    self.buffer = self.client.fill(Vec::new(), most, self.deadline).await?;
                    self.arrived = Instant::now();
                    if self.buffer.is_empty() {
                        self.body.closed()?;
                        self.stamps.last_byte = Some(self.arrived);
                        return Ok(None);
                    }
                }
            }
        };
        self.settle()?;
        Ok(Some(&self.buffer[range]))
    }

    /// As [`Response::chunk`], but throws the bytes away and only counts them: large bodies are
    /// not even copied out of the kernel.
    pub async fn skip(&mut self, most: usize) -> Result<Option<usize>, Error> {
        let known = usize::try_from(self.body.remaining()).unwrap_or(usize::MAX).min(most);
        if self.at < self.buffer.len() || known < SKIP_BYTES_MIN {
            return Ok(self.chunk(most).await?.map(<[u8]>::len));
        }
        loop {
            let ready = timeout_at(self.deadline.into(), self.client.stream.readable(false)).await;
            ready.map_err(|_| Error::Timeout)?.map_err(|error| Error::transfer(&error))?;
            match socket::discard(&self.client.stream, known) {
                Ok(0) => {
                    self.body.closed()?;
                    return Ok(None);
                }
                Ok(count) => {
                    self.arrived = Instant::now();
                    self.body.advance(count as u64);
                    self.settle()?;
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::transfer(&error)),
            }
        }
    }

    /// Throws the rest of the body away; the number of bytes of the whole body.
    pub async fn discard(&mut self) -> Result<u64, Error> {
        while self.skip(usize::MAX).await?.is_some() {}
        Ok(self.body.received())
    }

    /// Reads the rest of the body into memory, at most `most` bytes.
    pub async fn read(&mut self, most: usize) -> Result<Vec<u8>, Error> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.chunk(usize::MAX).await? {
            if whole.len() + bytes.len() > most {
                return Err(Error::TooLarge(most as u64));
            }
            whole.extend_from_slice(bytes);
        }
        Ok(whole)
    }

    /// When the body is over: stamps it and frees the connection for another request.
    fn settle(&mut self) -> Result<(), Error> {
        if !self.body.is_over() {
            return Ok(());
        }
        self.stamps.last_byte = Some(self.arrived);
        if self.at < self.buffer.len() {
            return Err(Error::BadResponse("bytes follow its end"));
        }
        self.client.usable = self.head.keep_alive;
        Ok(())
    }
}

impl Drop for Response<'_> {
    fn drop(&mut self) {
        buffers::give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
