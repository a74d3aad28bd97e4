//! A request whose body is sent bit by bit, as an encoder makes it.
//!
//! The body goes out in chunks (RFC 9112 section 7.1) or, when its length is known, plain. Each
//! piece is handed over as its own buffer and comes back for the next. When the server answers or
//! closes before the end, writing fails; [`Upload::finish`] still reads an answer that came, for
//! it says why. Dropping an upload before its end leaves a connection that is not reusable.

use std::time::{Duration, Instant};

use monoio::io::AsyncWriteRentExt;
use monoio::time::timeout_at;

use super::client::{Client, Request, Response};
use super::error::Error;

/// Bytes before the data of a chunk: its size in eight digits, and the line's end.
const CHUNK_HEAD: usize = 10;
/// Size of chunks in digits.
const DIGITS: usize = 8;
/// Time for an answer after the server refused more of the body.
const ANSWER_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// An upload under way.
pub struct Upload<'a> {
    client: &'a mut Client,
    written: Instant,
    chunked: bool,
    failure: Option<Error>,
}

/// Appends one chunk with what `fill` appends as its data; nothing when that is nothing.
pub fn chunk(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; CHUNK_HEAD]);
    fill(out);
    let length = out.len() - start - CHUNK_HEAD;
    if length == 0 {
        out.truncate(start);
        return;
    }
    let head = format!("{length:0DIGITS$x}\r\n");
    out[start..start + CHUNK_HEAD].copy_from_slice(head.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Where the data of a chunk begins that [`chunk`] appended at `start`.
pub fn data_of_chunk(start: usize) -> usize {
    start + CHUNK_HEAD
}

impl Client {
    /// Sends the head of an upload; its body is chunked when no `length` is given. The request's
    /// own body is not looked at.
    pub async fn upload(
        &mut self,
        request: &Request<'_>,
        length: Option<u64>,
        within: Duration,
    ) -> Result<Upload<'_>, Error> {
        if !self.usable {
            return Err(Error::Closed);
        }
        self.usable = false;
        let Request { method, path, host, headers, .. } = request;
        let framing = match length {
            Some(length) => format!("Content-Length: {length}"),
            None => "Transfer-Encoding: chunked".to_owned(),
        };
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{framing}\r\n\r\n");
        let written = Instant::now();
        let mut upload = Upload { client: self, written, chunked: length.is_none(), failure: None };
        upload.write(head.into_bytes(), written + within).await.0?;
        Ok(upload)
    }
}

impl<'a> Upload<'a> {
    /// Sends `bytes`: whole chunks when the body is chunked (see [`chunk`]), else plain bytes.
    /// Gives the buffer back, as it was unless the time ran out.
    pub async fn write(
        &mut self,
        bytes: Vec<u8>,
        deadline: Instant,
    ) -> (Result<(), Error>, Vec<u8>) {
        if let Some(failure) = &self.failure {
            return (Err(failure.clone()), bytes);
        }
        let (result, bytes) =
            match timeout_at(deadline.into(), self.client.stream.write_all(bytes)).await {
                Ok((Ok(_), bytes)) => (Ok(()), bytes),
                Ok((Err(error), bytes)) => (Err(Error::transfer(&error)), bytes),
                Err(_) => (Err(Error::Timeout), Vec::new()),
            };
        if let Err(failure) = &result {
            self.failure = Some(failure.clone());
        }
        (result, bytes)
    }

    /// Ends the body and reads the head of the answer; `within` bounds the whole answer.
    pub async fn finish(mut self, within: Duration) -> Result<Response<'a>, Error> {
        let deadline = Instant::now() + within;
        if self.chunked {
            let _ = self.write(b"0\r\n\r\n".to_vec(), deadline).await;
        }
        match self.failure {
            None => self.client.answer(false, self.written, deadline).await,
            Some(Error::Timeout) => Err(Error::Timeout),
            Some(failure) => {
                let deadline = deadline.min(Instant::now() + ANSWER_AFTER_FAILURE);
                self.client.answer(false, self.written, deadline).await.map_err(|_| failure)
            }
        }
    }
}
