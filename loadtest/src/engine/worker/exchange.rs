//! Requests and answers on the connections of one thread: what each completion means.
//!
//! Every request that was begun ends exactly once, in `Recorder::ended`: with its answer, with the
//! class of its error, or as a timeout.

use std::io;

use super::Worker;
use crate::engine::answer::{Comparison, Progress};
use crate::engine::pool::State;
use crate::engine::record::{End, Job};
use crate::http::Error;
use crate::limits::SKIP_BYTES_MIN;
use crate::rate::schedule::bits;
use crate::sys::ring::Event;

/// Streams of random bits, apart from that of the gaps.
const STREAM_KEY: u64 = 0x006b_6579;
const STREAM_VERIFY: u64 = 0x7665_7269;

impl Worker<'_> {
    pub(super) fn connect(&mut self, index: u32) -> io::Result<()> {
        let target = self.pool.at(index).target;
        let token = self.pool.token(index);
        self.pool.begin(index, State::Connecting, self.clock.now());
        match self.ring.connect(target, token) {
            Ok(socket) => self.pool.at(index).socket = Some(socket),
            Err(error) => self.connected(index, Err(error))?,
        }
        Ok(())
    }

    /// Sends a request on a free connection.
    pub(super) fn send(&mut self, index: u32, mut job: Job) -> io::Result<()> {
        let source = &self.plan.sources[job.source as usize];
        let key = bits(self.plan.seed ^ STREAM_KEY, job.index);
        let payload = self.renderers[job.source as usize].payload(source, key);
        let comparison = self.plan.verification.as_ref().and_then(|verification| {
            let place = bits(self.plan.seed ^ STREAM_VERIFY, job.index);
            let sampled = place.is_multiple_of(verification.every);
            sampled.then(|| Comparison::new(verification.seed, source.pattern.path(key)))
        });
        let token = self.pool.token(index);
        job.written = self.clock.now();
        self.recorder.written(&job);
        self.pool.begin(index, State::Busy, job.written);
        let connection = self.pool.at(index);
        connection.answer.begin(source.method == "HEAD", comparison);
        connection.job = Some(job);
        connection.sending = true;
        let Some(socket) = &connection.socket else { unreachable!("a free connection is up") };
        self.ring.send(socket, token, payload.first.clone())?;
        connection.payload = payload.second.is_some().then_some(payload);
        self.arm(index)
    }

    /// Takes in one completion.
    pub(super) fn take(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Connected(token, result) => match self.pool.current(token) {
                Some(index) => self.connected(index, result),
                None => Ok(()),
            },
            Event::Sent(token, result) => match self.pool.current(token) {
                Some(index) => self.sent(index, result.is_ok()),
                None => Ok(()),
            },
            Event::Disarmed(token) => match self.pool.current(token) {
                Some(index) => {
                    self.pool.at(index).armed = false;
                    self.arm(index)
                }
                None => Ok(()),
            },
            Event::Received(token, received, last) => {
                let Some(index) = self.pool.current(token) else {
                    self.ring.give_back(received);
                    return Ok(());
                };
                let now = self.clock.now();
                let connection = self.pool.at(index);
                connection.armed = !last;
                let progress = match &mut connection.job {
                    Some(job) if connection.state == State::Busy => {
                        if job.first_byte == 0 {
                            job.first_byte = now;
                        }
                        Some(connection.answer.feed(self.ring.bytes(&received)))
                    }
                    _ => None,
                };
                self.ring.give_back(received);
                match progress {
                    Some(progress) => self.progressed(index, progress, now),
                    // An answer that nobody asked for.
                    None => self.close(index),
                }
            }
            Event::Discarded(token, count) => match self.pool.current(token) {
                Some(index) => {
                    let connection = self.pool.at(index);
                    connection.armed = false;
                    let progress = connection.answer.discarded(count);
                    self.progressed(index, progress, self.clock.now())
                }
                None => Ok(()),
            },
            Event::Ended(token, result) => match self.pool.current(token) {
                Some(index) => self.lost(index, result),
                None => Ok(()),
            },
        }
    }

    pub(super) fn connected(&mut self, index: u32, result: io::Result<()>) -> io::Result<()> {
        let now = self.clock.now();
        self.pool.end(index);
        let connects = &mut self.recorder.connects;
        connects.times.record(now - self.pool.at(index).since);
        let job = self.pool.at(index).job.take();
        if let Err(error) = result {
            connects.failed += 1;
            self.pool.put_down(index);
            return match job {
                Some(job) => self.failed(&job, &Error::connecting(&error), now),
                None => Ok(()),
            };
        }
        connects.completed += 1;
        self.arm(index)?;
        match job {
            Some(job) => {
                self.send(index, job)?;
                self.ring.submit()
            }
            None => self.free(index),
        }
    }

    /// Arms the receive of a connection: for good, or for what is to come of one large body.
    fn arm(&mut self, index: u32) -> io::Result<()> {
        let token = self.pool.token(index);
        let connection = self.pool.at(index);
        let bulk = self.plan.targets[connection.target].bulk;
        let Some(socket) = connection.socket.as_ref().filter(|_| !connection.armed) else {
            return Ok(());
        };
        if bulk && connection.state != State::Busy {
            return Ok(());
        }
        connection.armed = true;
        let discardable = connection.answer.discardable();
        if !bulk {
            self.ring.receive(socket, token)
        } else if discardable >= SKIP_BYTES_MIN as u64 {
            self.ring.discard(socket, token, discardable)
        } else {
            self.ring.receive_once(socket, token)
        }
    }

    pub(super) fn sent(&mut self, index: u32, whole: bool) -> io::Result<()> {
        let token = self.pool.token(index);
        let connection = self.pool.at(index);
        connection.sending = false;
        let second = connection.payload.take().and_then(|payload| payload.second);
        // Why a send failed is told by the receive.
        if whole
            && let Some(body) = second
            && let Some(socket) = &connection.socket
        {
            connection.sending = true;
            self.ring.send(socket, token, body)?;
            return self.ring.submit();
        }
        Ok(())
    }

    /// The other side closed, or the connection broke.
    pub(super) fn lost(&mut self, index: u32, result: io::Result<()>) -> io::Result<()> {
        let connection = self.pool.at(index);
        if connection.state != State::Busy {
            return self.close(index);
        }
        let progress = match result {
            Ok(()) => connection.answer.closed(),
            Err(error) => Progress::Broken(Error::transfer(&error)),
        };
        self.progressed(index, progress, self.clock.now())
    }

    pub(super) fn progressed(
        &mut self,
        index: u32,
        progress: Progress,
        now: u64,
    ) -> io::Result<()> {
        if progress == Progress::More {
            return self.arm(index);
        }
        let connection = self.pool.at(index);
        let Some(job) = connection.job.take() else { return Ok(()) };
        let answer = &connection.answer;
        let status = answer.status();
        let error = match &progress {
            Progress::Broken(error) => Some(error.class().to_owned()),
            _ if !(200..400).contains(&status) => Some(format!("status {status}")),
            _ if answer.compared() == Some(false) => Some("content".to_owned()),
            _ => None,
        };
        let compared = progress == Progress::Done && answer.compared().is_some();
        let end = End { at: now, bytes: answer.received(), status, error, compared };
        let reusable = progress == Progress::Done && answer.keeps_alive() && !connection.sending;
        self.pool.end(index);
        self.recorder.ended(&job, end);
        if reusable {
            return self.free(index);
        }
        self.close_ended(index)?;
        self.refill(index)
    }

    /// A connection is free: the request that waits longest takes it.
    pub(super) fn free(&mut self, index: u32) -> io::Result<()> {
        let target = self.pool.at(index).target;
        if let Some(job) = self.waiting[target].pop_front() {
            self.waiting_count -= 1;
            self.send(index, job)?;
            return if self.schedule.is_some() { self.ring.submit() } else { Ok(()) };
        }
        self.pool.put_idle(index);
        if self.schedule.is_none() && self.times.start <= self.clock.now() {
            return self.next_closed();
        }
        Ok(())
    }

    /// A connection is down: the request that waits longest connects it again.
    pub(super) fn refill(&mut self, index: u32) -> io::Result<()> {
        let target = self.pool.at(index).target;
        if let Some(job) = self.waiting[target].pop_front() {
            self.waiting_count -= 1;
            if let Some(down) = self.pool.take_down(target) {
                self.pool.at(down).job = Some(job);
                return self.connect(down);
            }
        } else if self.schedule.is_none() {
            return self.next_closed();
        }
        Ok(())
    }

    /// A request failed before it had a connection.
    pub(super) fn failed(&mut self, job: &Job, error: &Error, now: u64) -> io::Result<()> {
        let error = Some(error.class().to_owned());
        self.recorder.ended(job, End { at: now, bytes: 0, status: 0, error, compared: false });
        // A closed loop must not spin on a dead target: the bookkeeping starts it again.
        Ok(())
    }

    pub(super) fn close(&mut self, index: u32) -> io::Result<()> {
        if matches!(self.pool.at(index).state, State::Busy | State::Connecting) {
            self.pool.end(index);
        }
        self.close_ended(index)
    }

    /// Gives the socket up; the kernel must have seen every entry that names it.
    pub(super) fn close_ended(&mut self, index: u32) -> io::Result<()> {
        self.ring.submit()?;
        if let Some(socket) = &self.pool.at(index).socket {
            // Ends the armed receive; a socket that is not connected has none.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        self.pool.put_down(index);
        Ok(())
    }
}
