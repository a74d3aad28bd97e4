//! One subscriber's connection: waits for readiness without a buffer, reads into the thread's.
//!
//! Ten thousand of these share one receive buffer: nothing of what came stays in it across a wait.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use monoio::io::AsyncWriteRentExt;
use monoio::net::TcpStream;
use monoio::time::{timeout, timeout_at};

use crate::http::Error;
use crate::http::head::{self, Head};
use crate::limits::HEAD_BYTES_MAX;
use crate::sys::socket;

/// A connection.
pub struct Link {
    stream: TcpStream,
}

/// The head of an answer, and the bytes that came behind it.
pub struct Answer {
    /// Status and framing.
    pub head: Head,
    /// The head as it came.
    pub raw: Vec<u8>,
    /// The beginning of the body.
    pub rest: Vec<u8>,
}

impl Link {
    /// Connects; with `receive_bytes` the kernel keeps about so much for a reader that is slow.
    pub async fn connect(
        address: SocketAddr,
        within: Duration,
        receive_bytes: Option<usize>,
    ) -> Result<Self, Error> {
        let connected = timeout(within, TcpStream::connect_addr(address)).await;
        let stream =
            connected.map_err(|_| Error::ConnectTimeout)?.map_err(|e| Error::connecting(&e))?;
        stream.set_nodelay(true).map_err(|error| Error::connecting(&error))?;
        if let Some(bytes) = receive_bytes {
            socket::keep_little(&stream, bytes).map_err(|error| Error::connecting(&error))?;
        }
        Ok(Self { stream })
    }

    /// Sends all of `bytes`.
    pub async fn send(&mut self, bytes: Vec<u8>, within: Duration) -> Result<(), Error> {
        let sent = timeout(within, self.stream.write_all(bytes)).await;
        let (result, _) = sent.map_err(|_| Error::Timeout)?;
        result.map(drop).map_err(|error| Error::transfer(&error))
    }

    /// Waits until there is something to read, or the end.
    pub async fn readable(&self, until: Instant) -> Result<(), Error> {
        let ready = timeout_at(until.into(), self.stream.readable(false)).await;
        ready.map_err(|_| Error::Timeout)?.map_err(|error| Error::transfer(&error))
    }

    /// Reads what is there; `None` when that is nothing, an error at the connection's end.
    pub fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        match socket::receive(&self.stream, buffer) {
            Ok(0) => Err(Error::Closed),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Error::transfer(&error)),
        }
    }

    /// Reads the head of an answer.
    pub async fn head(&self, until: Instant) -> Result<Answer, Error> {
        let mut raw = Vec::new();
        loop {
            self.readable(until).await?;
            let before = raw.len();
            raw.resize(before + HEAD_BYTES_MAX / 4, 0);
            let count = self.read(&mut raw[before..])?.unwrap_or(0);
            raw.truncate(before + count);
            if let Some(head) = head::parse(&raw, false)? {
                let rest = raw.split_off(head.len);
                raw.shrink_to_fit();
                return Ok(Answer { head, raw, rest });
            }
        }
    }
}
