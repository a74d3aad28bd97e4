//! Requests to one origin, one after the other, over a connection that is kept.
//!
//! **Invariants**: what may have been done is never asked for twice, except over a connection that
//! ended before a byte of an answer, and only what means the same twice; a 503 is asked again a
//! bounded number of times.

use std::io::Read;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::fault::{Fault, plain};
use super::head::Head;
use super::link::{Link, Silence, broken};
use super::url::Url;
use crate::http::framing::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, chunk_head};
use crate::limits::client::{
    ANSWER_WAIT, BUSY_TRIES_MAX, BUSY_WAIT_S_MAX, CONTINUE_WAIT, DRAIN_BYTES_MAX, ERROR_BYTES_MAX,
    PIECE_BYTES,
};

/// An origin.
pub struct Origin {
    authority: String,
    addresses: Vec<SocketAddr>,
    token: Option<String>,
    link: Option<Link>,
}

/// The body of an upload.
pub enum Body<'a> {
    /// None.
    None,
    /// Little enough to be sent again.
    Small(&'a [u8]),
    /// So many bytes of a source.
    Sized(&'a mut dyn Read, u64),
    /// All of a source, in chunks as they come.
    Chunked(&'a mut dyn Read),
}

impl Origin {
    /// The origin of a URL; nothing is sent yet.
    ///
    /// # Errors
    /// When its host has no address.
    pub fn new(url: &Url, token: Option<&str>) -> Result<Self, Fault> {
        let addresses = url.resolve().map_err(Fault::Connection)?;
        let token = token.map(str::to_owned);
        Ok(Self { authority: url.authority.clone(), addresses, token, link: None })
    }

    /// Whether it is that of another URL, too.
    pub fn is_of(&self, url: &Url) -> bool {
        self.authority == url.authority
    }

    /// Sends a request; its answer's head. The body is to be [`read`](Self::read), or is dropped
    /// by the next request. Statuses from 300 on are failures.
    ///
    /// # Errors
    /// What the origin says, or what became of the connection.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        lines: &[(&str, &str)],
        mut body: Body<'_>,
    ) -> Result<Head, Fault> {
        for tried in 1.. {
            let head = self.exchange(method, target, lines, &mut body)?;
            // The body of a source cannot be had again.
            let may_repeat = matches!(body, Body::None | Body::Small(_));
            if head.status == 503 && may_repeat && tried < BUSY_TRIES_MAX {
                let wait_s = head.retry_s.unwrap_or(1).min(BUSY_WAIT_S_MAX);
                thread::sleep(Duration::from_secs(wait_s));
                continue;
            }
            return if head.is_good() { Ok(head) } else { Err(self.refused(&head)) };
        }
        unreachable!("the last try returns")
    }

    /// Reads some of the body of the last answer; nothing at its end.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        let outcome = self.link.as_mut().map_or(Ok(0), |link| link.read(out));
        if outcome.is_err() {
            self.link = None;
        }
        outcome
    }

    /// The whole body of the last answer.
    ///
    /// # Errors
    /// When it is cut short, or longer than `bytes_max`.
    pub fn read_all(&mut self, bytes_max: u64) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            let count = self.read(&mut piece)?;
            if count == 0 {
                return Ok(out);
            }
            if out.len() as u64 + count as u64 > bytes_max {
                self.link = None;
                return Err(Fault::Answer(format!("more than {bytes_max} bytes")));
            }
            out.extend_from_slice(&piece[..count]);
        }
    }

    /// One request and its answer's head, over the connection that is kept or a new one.
    fn exchange(
        &mut self,
        method: &str,
        target: &str,
        lines: &[(&str, &str)],
        body: &mut Body<'_>,
    ) -> Result<Head, Fault> {
        let text = self.request(method, target, lines, body);
        loop {
            self.drain();
            let is_new = self.link.is_none();
            let mut link = match self.link.take() {
                Some(link) => link,
                None => Link::connect(&self.addresses).map_err(|error| self.unreached(&error))?,
            };
            let outcome = once(&mut link, method == "HEAD", text.as_bytes(), body);
            match outcome {
                Ok(head) => {
                    self.link = Some(link);
                    return Ok(head);
                }
                // An idle connection may end at any time; the request was not looked at.
                Err(Silence::Ended) if !is_new => {}
                Err(Silence::Ended) => return Err(Fault::Connection(ENDED.to_owned())),
                Err(Silence::Late) => {
                    let what = format!("no answer within {} s", ANSWER_WAIT.as_secs());
                    return Err(Fault::Connection(what));
                }
                Err(Silence::Fault(fault)) => return Err(fault),
            }
        }
    }

    fn request(
        &self,
        method: &str,
        target: &str,
        lines: &[(&str, &str)],
        body: &Body<'_>,
    ) -> String {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.authority);
        let version = env!("CARGO_PKG_VERSION");
        text.push_str(&format!("User-Agent: headwater/{version}\r\n"));
        if let Some(token) = &self.token {
            text.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in lines {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let framing = match body {
            Body::None => String::new(),
            Body::Small(bytes) => format!("Content-Length: {}\r\n", bytes.len()),
            Body::Sized(_, length) => {
                format!("Content-Length: {length}\r\nExpect: 100-continue\r\n")
            }
            Body::Chunked(_) => "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n".to_owned(),
        };
        text.push_str(&framing);
        text.push_str("\r\n");
        text
    }

    /// Reads the little that is left of the last answer, or gives its connection up.
    fn drain(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut piece = [0; 4096];
        let mut bytes = 0;
        while !link.is_free() && bytes < DRAIN_BYTES_MAX {
            match link.read(&mut piece) {
                Ok(count @ 1..) => bytes += count as u64,
                _ => break,
            }
        }
        if !link.is_free() {
            self.link = None;
        }
    }

    /// What a status from 300 on means, with the sentence in its body.
    fn refused(&mut self, head: &Head) -> Fault {
        if let (301..=308, Some(location)) = (head.status, &head.location) {
            let said = format!("it is at {} instead; name that", plain(location));
            return Fault::Refused(head.status, said);
        }
        let body = self.read_all(ERROR_BYTES_MAX).unwrap_or_default();
        let json = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        let said = json["message"].as_str().or(json["Message"].as_str()).unwrap_or_default();
        Fault::Refused(head.status, said.to_owned())
    }

    fn unreached(&self, error: &std::io::Error) -> Fault {
        Fault::Connection(format!("no connection to {}: {error}", self.authority))
    }
}

const ENDED: &str = "the connection ended before an answer came";

/// Sends a request and reads its answer's head.
fn once(
    link: &mut Link,
    bodiless: bool,
    text: &[u8],
    body: &mut Body<'_>,
) -> Result<Head, Silence> {
    let small: &[u8] = if let Body::Small(bytes) = body { bytes } else { b"" };
    let sent = link.send(&[text, small].concat());
    let is_large = matches!(body, Body::Sized(..) | Body::Chunked(_));
    if sent.is_err() {
        // It may have said why before it went away; what it did not take, it must not get.
        let outcome = answer(link, bodiless);
        link.spoil();
        return outcome;
    }
    if !is_large {
        return answer(link, bodiless);
    }
    match link.head(false, CONTINUE_WAIT) {
        Ok(head) if head.is_interim() => {}
        Ok(head) => {
            // The origin may wait for the body, which it will not get.
            link.spoil();
            return Ok(head);
        }
        Err(Silence::Late) => {}
        Err(silence) => return Err(silence),
    }
    match send_body(link, body) {
        // The source is spent: whatever happened, it cannot be sent again.
        Ok(()) => answer(link, bodiless).map_err(|silence| match silence {
            Silence::Ended => Silence::Fault(Fault::Connection(ENDED.to_owned())),
            other => other,
        }),
        Err(Unsent::Source(fault)) => Err(Silence::Fault(fault)),
        // It may have said why before it went away.
        Err(Unsent::Link(error)) => match answer(link, bodiless) {
            Ok(head) => {
                link.spoil();
                Ok(head)
            }
            Err(_) => Err(Silence::Fault(broken(&error))),
        },
    }
}

fn answer(link: &mut Link, bodiless: bool) -> Result<Head, Silence> {
    loop {
        let head = link.head(bodiless, ANSWER_WAIT)?;
        if !head.is_interim() {
            return Ok(head);
        }
    }
}

/// Why a body was not sent.
enum Unsent {
    Source(Fault),
    Link(std::io::Error),
}

fn send_body(link: &mut Link, body: &mut Body<'_>) -> Result<(), Unsent> {
    let mut piece = vec![0; PIECE_BYTES];
    let (source, mut left, chunked) = match body {
        Body::None | Body::Small(_) => return Ok(()),
        Body::Sized(source, length) => (source, *length, false),
        Body::Chunked(source) => (source, u64::MAX, true),
    };
    while left > 0 {
        let want = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        let count = match source.read(&mut piece[..want]) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Unsent::Source(Fault::File(error.to_string()))),
        };
        match (count, chunked) {
            (0, true) => return link.send(LAST_CHUNK).map_err(Unsent::Link),
            (0, false) => {
                let what = format!("it became shorter while it was sent, by {left} bytes");
                return Err(Unsent::Source(Fault::File(what)));
            }
            (_, true) => {
                let mut head = [0; CHUNK_HEAD_BYTES_MAX];
                let len = chunk_head(count as u64, &mut head);
                let chunk = [&head[..len], &piece[..count], CHUNK_END].concat();
                link.send(&chunk).map_err(Unsent::Link)?;
            }
            (_, false) => {
                link.send(&piece[..count]).map_err(Unsent::Link)?;
                left -= count as u64;
            }
        }
    }
    Ok(())
}
