//! One publisher on a thread of its own: waits for the schedule's instants, one request at a time.
//!
//! Nothing else runs on its thread, so that it sleeps exactly. A publication that is due while the
//! one before it has no answer waits: that is counted apart from lateness. What still waits a
//! moment after the run's end is shed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use anyhow::bail;

use super::Job;
use super::record::{Published, Recorder};
use super::stamp::Stamp;
use crate::cli::Failure;
use crate::engine::clock::{Clock, nanos};
use crate::engine::worker::Times;
use crate::environment::ThreadTime;
use crate::http::{Client, Error, Request};
use crate::limits::{CONNECT_TIMEOUT, PUBLISH_GRACE, WAIT_MAX};
use crate::rate::schedule::bits;
use crate::sys::thread::{self, stopped};

/// Entries of a publisher's ring.
const RING_ENTRIES: u32 = 32;
/// Another stream of random bits than that of the schedule.
const TOPICS_SEED: u64 = 0x746f_7069_6373;

/// Where a message stands, as its publisher was told.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// Which topic.
    pub topic: usize,
    /// Page and number.
    pub place: (u64, u64),
    /// Which message.
    pub identity: u64,
}

/// What one publisher brings home.
pub struct Sent {
    /// Its requests.
    pub recorder: Recorder,
    /// Where its messages stand.
    pub placed: Vec<Placed>,
    /// CPU time of the run.
    pub spent: ThreadTime,
    /// Length of the run in nanoseconds.
    pub wall: u64,
}

struct Publisher<'a> {
    job: &'a Job,
    clock: Clock,
    client: Option<Client>,
}

/// The life of publisher `index`; `dues` are all instants of the schedule.
pub fn run(
    job: &Arc<Job>,
    index: usize,
    (clock, run): (Clock, u64),
    dues: &[u64],
    ready: &Sender<anyhow::Result<()>>,
    times: &Receiver<Times>,
) -> anyhow::Result<Sent> {
    thread::exact_timers();
    let mut runtime = thread::runtime(RING_ENTRIES)?;
    let mut publisher = Publisher { job, clock, client: None };
    let connected = runtime.block_on(publisher.connect());
    let is_connected = connected.is_ok();
    let what = || format!("POST http://{}{}", job.authority, job.paths[0]);
    let connected = connected.map_err(|error| Failure::of_request(&what(), &error).into());
    // The receiver is gone only when another thread has failed.
    let _ = ready.send(connected);
    if !is_connected {
        bail!("the set-up failed");
    }
    let Ok(times) = times.recv() else { bail!("another thread failed") };
    let before = ThreadTime::of_this_thread().unwrap_or_default();
    let (mut recorder, mut placed) = (Recorder::new(times.measure), Vec::new());
    let publisher_number = u32::try_from(index).unwrap_or(u32::MAX);
    let mut free = times.start;
    let mut own = dues.iter().enumerate().skip(index).step_by(job.publishers);
    while let Some((index, due)) = own.next() {
        let due = times.start + due;
        if !publisher.wait(due) {
            break;
        }
        if clock.now() > times.end + nanos(PUBLISH_GRACE) {
            recorder.shed(1 + own.len() as u64);
            break;
        }
        let sequence = index as u64;
        let stamp = Stamp { run, publisher: publisher_number, sequence, due };
        let topic = bits(job.seed ^ TOPICS_SEED, sequence) % job.paths.len() as u64;
        let topic = usize::try_from(topic).unwrap_or(0);
        let text = stamp.text(job.size);
        let sent = clock.now();
        let result = runtime.block_on(publisher.publish(topic, &text));
        let ended = clock.now();
        if due >= times.measure {
            let error = result.as_ref().err().map(String::as_str);
            let bytes = text.len() as u64;
            recorder.published(Published { due, ready: free, sent, ended, bytes, error });
        }
        free = ended;
        placed.extend(result.ok().flatten().map(|place| Placed {
            topic,
            place,
            identity: stamp.identity(),
        }));
    }
    let spent = ThreadTime::of_this_thread().unwrap_or_default().since(before);
    Ok(Sent { recorder, placed, spent, wall: clock.now().saturating_sub(times.start) })
}

impl Publisher<'_> {
    /// Sleeps until `due`; false when the run was stopped before.
    fn wait(&self, due: u64) -> bool {
        loop {
            if stopped() {
                return false;
            }
            let left = due.saturating_sub(self.clock.now());
            if left == 0 {
                return true;
            }
            std::thread::sleep(Duration::from_nanos(left).min(WAIT_MAX * 10));
        }
    }

    async fn connect(&mut self) -> Result<(), Error> {
        self.client = None;
        let within = CONNECT_TIMEOUT.min(self.job.timeout);
        self.client = Some(Client::connect(self.job.address, within).await?);
        Ok(())
    }

    /// Publishes; the place that the answer tells, or the class of the error. What a kept
    /// connection was closed over is sent once more.
    async fn publish(&mut self, topic: usize, text: &str) -> Result<Option<(u64, u64)>, String> {
        let class = |error: Error| error.class().to_owned();
        loop {
            let is_fresh = !self.client.as_ref().is_some_and(Client::reusable);
            if is_fresh {
                self.connect().await.map_err(class)?;
            }
            match self.try_once(topic, text).await {
                Err(Error::Closed) if !is_fresh => self.client = None,
                Err(error) => return Err(class(error)),
                Ok((204 | 200, place)) => return Ok(place),
                Ok((status, _)) => return Err(format!("status {status}")),
            }
        }
    }

    async fn try_once(
        &mut self,
        topic: usize,
        text: &str,
    ) -> Result<(u16, Option<(u64, u64)>), Error> {
        let client = self.client.as_mut().ok_or(Error::Closed)?;
        let request = Request {
            method: "POST",
            path: &self.job.paths[topic],
            host: &self.job.authority,
            headers: &self.job.publish_headers,
            body: text.as_bytes(),
        };
        let mut response = client.request(&request, self.job.timeout).await?;
        let place = response.header("topic-position").and_then(place);
        response.discard().await?;
        Ok((response.status(), place))
    }
}

/// `PAGE:NUMBER`.
fn place(text: &[u8]) -> Option<(u64, u64)> {
    let (page, number) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some((page.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!(place(b"17:3"), Some((17, 3)));
        for bad in [&b""[..], b"17", b"17:", b"a:3", b"\xff:1"] {
            assert_eq!(place(bad), None);
        }
    }
}
