//! One subscriber: connects, subscribes, follows, leaves and comes back, as long as the run lasts.
//!
//! It keeps its position and its parser, no buffer. What it is sent is looked at between two
//! waits; the receipt of a message is the moment at which its bytes were read.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use monoio::time::sleep;

use super::follow::Follow;
use super::frames;
use super::link::{Answer, Link};
use super::record::Way;
use super::session::{Fault, Session};
use super::sse;
use super::thread::Thread;
use crate::http::body::{Body, Piece};
use crate::http::head::header;
use crate::http::{Error, Request};
use crate::limits::{
    CONNECT_TIMEOUT, POLL_WAIT, RETRY_PAUSES, SLOW_READ_BYTES, TOPIC_MESSAGE_BYTES_MAX,
};
use crate::rate::schedule::{bits, unit};

/// Who a subscriber is.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// Its number within the run.
    pub number: u64,
    /// Its place within its thread.
    pub place: usize,
    /// Which topic.
    pub topic: usize,
    /// How.
    pub way: Way,
    /// Reads slowly.
    pub slow: bool,
}

/// The life of one subscriber; it ends with its runtime.
pub async fn live(thread: Rc<Thread>, who: Who) {
    let mut pause = RETRY_PAUSES.0;
    for number in 0u64.. {
        let stay = thread.job.churn.map(|mean| {
            let random = unit(bits(thread.job.seed ^ who.number << 20, number));
            mean.mul_f64(-(1.0 - random).ln())
        });
        let mut session = Session::new(Rc::clone(&thread), who, stay);
        let Err(fault) = session_of(&mut session).await;
        if session.is_established() {
            pause = RETRY_PAUSES.0;
        }
        if matches!(fault, Fault::Left) {
            thread.counts.borrow_mut().reconnects += 1;
            sleep(thread.job.away).await;
            continue;
        }
        session.failed(&fault);
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSES.1);
    }
}

async fn session_of(session: &mut Session) -> Result<Infallible, Fault> {
    let receive = session.who.slow.then_some(SLOW_READ_BYTES);
    let within = CONNECT_TIMEOUT.min(session.thread.job.timeout);
    let mut link = Link::connect(session.thread.job.address, within, receive).await?;
    match session.who.way {
        Way::Events => events(session, &mut link).await,
        Way::Socket => socket(session, &mut link).await,
        Way::Poll => polls(session, &mut link).await,
    }
}

/// Asks with `path` and `headers`; the head of the answer.
async fn ask(
    session: &Session,
    link: &mut Link,
    path: &str,
    headers: &str,
    until: Instant,
) -> Result<Answer, Fault> {
    let job = &session.thread.job;
    let headers = format!("{headers}{}", job.headers);
    let request =
        Request { method: "GET", path, host: &job.authority, headers: &headers, body: b"" };
    let mut bytes = Vec::new();
    request.write(&mut bytes);
    link.send(bytes, job.timeout).await?;
    session.in_time(link.head(until).await)
}

async fn events(session: &mut Session, link: &mut Link) -> Result<Infallible, Fault> {
    let position = session.position();
    let mut headers = "Accept: text/event-stream\r\n".to_owned();
    if position.page != 0 {
        let last = position.next.saturating_sub(1);
        headers.push_str(&format!("Last-Event-ID: {}:{last}\r\n", position.page));
    }
    let path = session.path();
    let answer = ask(session, link, &path, &headers, session.patience()).await?;
    if answer.head.status != 200 {
        return Err(Fault::Status(answer.head.status));
    }
    let kind = header(&answer.raw, "content-type").unwrap_or_default();
    if !kind.starts_with(b"text/event-stream") {
        return Err(Fault::Broken("the answer is no event stream"));
    }
    let mut body = Body::new(answer.head.framing);
    let mut parser = sse::Parser::default();
    event_bytes(session, &mut body, &mut parser, &answer.rest)?;
    drop(answer);
    loop {
        session.readable(link).await?;
        let thread = Rc::clone(&session.thread);
        let mut buffer = thread.buffer.borrow_mut();
        let room = session.room(buffer.len());
        if let Some(count) = link.read(&mut buffer[..room])? {
            event_bytes(session, &mut body, &mut parser, &buffer[..count])?;
        }
    }
}

fn event_bytes(
    session: &mut Session,
    body: &mut Body,
    parser: &mut sse::Parser,
    bytes: &[u8],
) -> Result<(), Fault> {
    let mut follow = Follow::now(session);
    let mut at = 0;
    loop {
        let (piece, next) = body.next(bytes, at)?;
        at = next;
        match piece {
            Piece::Data(range) => {
                let mut result = Ok(());
                let each = |event: sse::Event<'_>| {
                    if result.is_ok() {
                        result = follow.event(&event);
                    }
                };
                parser.push(&bytes[range], each).map_err(Fault::Broken)?;
                result?;
            }
            Piece::More => return Ok(()),
            Piece::End { .. } => return Err(Fault::Ended),
        }
    }
}

async fn socket(session: &mut Session, link: &mut Link) -> Result<Infallible, Fault> {
    let path = session.path_from();
    let answer = ask(session, link, &path, frames::HEADERS, session.patience()).await?;
    if answer.head.status != 101 {
        return Err(Fault::Status(answer.head.status));
    }
    if header(&answer.raw, "sec-websocket-accept") != Some(frames::ACCEPT) {
        return Err(Fault::Broken("the handshake was not accepted as it must be"));
    }
    let mut reader = frames::Reader::default();
    let mut pongs = Vec::new();
    frame_bytes(session, &mut reader, &answer.rest, &mut pongs)?;
    drop(answer);
    loop {
        if !pongs.is_empty() {
            let timeout = session.thread.job.timeout;
            link.send(std::mem::take(&mut pongs), timeout).await?;
        }
        session.readable(link).await?;
        let thread = Rc::clone(&session.thread);
        let mut buffer = thread.buffer.borrow_mut();
        let room = session.room(buffer.len());
        if let Some(count) = link.read(&mut buffer[..room])? {
            frame_bytes(session, &mut reader, &buffer[..count], &mut pongs)?;
        }
    }
}

fn frame_bytes(
    session: &mut Session,
    reader: &mut frames::Reader,
    bytes: &[u8],
    pongs: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mask = bits(session.thread.job.seed, session.who.number).to_be_bytes();
    let mut follow = Follow::now(session);
    let mut result = Ok(());
    let each = |frame: frames::Frame<'_>| {
        if result.is_err() {
            return;
        }
        result = match frame {
            frames::Frame::Text(text) => follow.told(text),
            frames::Frame::Ping(payload) => {
                pongs.extend(frames::pong(payload, [mask[0], mask[1], mask[2], mask[3]]));
                Ok(())
            }
            frames::Frame::Close(_) => Err(Fault::Ended),
        };
    };
    reader.push(bytes, each).map_err(Fault::Broken)?;
    result
}

async fn polls(session: &mut Session, link: &mut Link) -> Result<Infallible, Fault> {
    loop {
        // The first one only asks where the topic is.
        let wait = if session.position().page == 0 { Duration::ZERO } else { POLL_WAIT };
        let path = format!("{}&wait_ms={}", session.path_from(), wait.as_millis());
        if !wait.is_zero() {
            session.established();
        }
        let until = session.leaves_before(Instant::now() + wait + session.thread.job.timeout);
        let answer = ask(session, link, &path, "", until).await?;
        let keeps = answer.head.keep_alive;
        let status = answer.head.status;
        let body = poll_body(session, link, answer, until).await?;
        if status != 200 {
            return Err(Fault::Status(status));
        }
        Follow::now(session).page(&body)?;
        if !keeps {
            return Err(Fault::Ended);
        }
        if session.who.slow {
            sleep(session.thread.job.slow_pause).await;
        }
    }
}

/// The rest of an answer's body.
async fn poll_body(
    session: &Session,
    link: &Link,
    answer: Answer,
    until: Instant,
) -> Result<Vec<u8>, Fault> {
    let (mut body, mut whole) = (Body::new(answer.head.framing), Vec::new());
    let mut take = |bytes: &[u8]| -> Result<bool, Fault> {
        let mut at = 0;
        loop {
            let (piece, next) = body.next(bytes, at)?;
            at = next;
            match piece {
                Piece::Data(range) => whole.extend_from_slice(&bytes[range]),
                Piece::More => return Ok(false),
                Piece::End { .. } => return Ok(true),
            }
            if whole.len() > TOPIC_MESSAGE_BYTES_MAX {
                return Err(Error::TooLarge(TOPIC_MESSAGE_BYTES_MAX as u64).into());
            }
        }
    };
    let mut over = take(&answer.rest)?;
    while !over {
        session.in_time(link.readable(until).await)?;
        let mut buffer = session.thread.buffer.borrow_mut();
        if let Some(count) = link.read(&mut buffer)? {
            over = take(&buffer[..count])?;
        }
    }
    Ok(whole)
}
