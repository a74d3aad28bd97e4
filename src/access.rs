//! The access log: what was asked and answered, written off the hot path.
//!
//! Each shard owns an [`AccessSink`] and pushes records of a fixed size into a bounded queue; the
//! log thread looks into the queues, formats and writes. A shard never wakes the thread: it
//! looks by itself every few milliseconds. When a queue is full or the disk is, lines are dropped
//! and counted.
//!
//! **Invariants**: a push neither blocks nor allocates nor calls the kernel; a line in the file
//! is whole or absent, also after a disk was full; nothing that a peer sent can start a line.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::AccessLogConfig;
use crate::limits;
use crate::meters::ShardMeters;

mod format;
mod record;
mod writer;

pub use record::{Method, Record, Text};
use writer::Writer;

crate::meters! {
    /// What the log thread counts.
    pub struct AccessMeters;
    "headwater_access_log_lines_total", "Access log lines written.", per 1.0 {
        lines: Counter,
    }
    "headwater_access_log_lost_total",
    "Access log lines that could not be written, for example on a full disk.", per 1.0 {
        lost: Counter,
    }
}

/// The log thread, seen by the main thread.
#[derive(Debug)]
pub struct AccessLog {
    meters: Arc<AccessMeters>,
    orders: Arc<Orders>,
    finished: Receiver<()>,
}

/// One shard's way into the log. Without a log it swallows everything.
#[derive(Debug)]
pub struct AccessSink {
    queue: Option<SyncSender<Record>>,
    meters: Arc<ShardMeters>,
    sample: u32,
    skipped: u32,
}

#[derive(Debug, Default)]
struct Orders {
    reopen: AtomicBool,
    finish: AtomicBool,
}

impl AccessLog {
    /// Opens the log and starts its thread; one sink per set of meters, in their order.
    ///
    /// The error names the file.
    pub fn spawn(
        config: &AccessLogConfig,
        shards: &[Arc<ShardMeters>],
    ) -> io::Result<(Self, Vec<AccessSink>)> {
        let mut sinks = Vec::new();
        let mut queues = Vec::new();
        for meters in shards {
            let (sender, receiver) = sync_channel(limits::ACCESS_QUEUE_MAX);
            queues.push(receiver);
            let meters = Arc::clone(meters);
            sinks.push(AccessSink {
                queue: Some(sender),
                meters,
                sample: config.sample,
                skipped: 0,
            });
        }
        let meters = Arc::new(AccessMeters::new());
        let orders = Arc::new(Orders::default());
        let writer = Writer::open(config, Arc::clone(&meters))?;
        let (done, finished) = channel();
        thread::Builder::new().name("access".to_owned()).spawn({
            let orders = Arc::clone(&orders);
            move || {
                write_all(&queues, writer, &orders);
                let _ = done.send(());
            }
        })?;
        Ok((Self { meters, orders, finished }, sinks))
    }

    /// What the thread counts.
    pub fn meters(&self) -> Arc<AccessMeters> {
        Arc::clone(&self.meters)
    }

    /// A handle that asks the thread to open its file anew, after a rotation.
    pub fn reopener(&self) -> impl Fn() + Send + 'static {
        let orders = Arc::clone(&self.orders);
        move || orders.reopen.store(true, Ordering::Relaxed)
    }

    /// Writes what waits and ends the thread. Gives up after [`limits::ACCESS_FINISH_MS`], for
    /// example when nobody reads standard output; `false` then.
    pub fn finish(self) -> bool {
        self.orders.finish.store(true, Ordering::Relaxed);
        let patience = Duration::from_millis(limits::ACCESS_FINISH_MS);
        self.finished.recv_timeout(patience).is_ok()
    }
}

impl AccessSink {
    /// A sink without a log.
    pub fn off(meters: Arc<ShardMeters>) -> Self {
        Self { queue: None, meters, sample: 1, skipped: 0 }
    }

    /// Whether the next record will be kept; ask before making one.
    #[inline]
    pub fn wants(&mut self) -> bool {
        if self.queue.is_none() {
            return false;
        }
        self.skipped += 1;
        if self.skipped < self.sample {
            return false;
        }
        self.skipped = 0;
        true
    }

    /// Hands a record to the log thread, or drops and counts it.
    #[inline]
    pub fn push(&mut self, record: &Record) {
        let Some(queue) = &self.queue else {
            return;
        };
        if queue.try_send(*record).is_err() {
            self.meters.access_log_dropped.bump();
        }
    }
}

/// The thread: empties the queues in turn until it is told to finish and nothing is left.
fn write_all(queues: &[Receiver<Record>], mut writer: Writer, orders: &Orders) {
    loop {
        // Read before the queues: what was pushed before the order is still written.
        let finish = orders.finish.load(Ordering::Relaxed);
        if orders.reopen.swap(false, Ordering::Relaxed) {
            writer.reopen();
        }
        let began = Instant::now();
        let mut any = false;
        for queue in queues {
            for record in queue.try_iter().take(limits::ACCESS_QUEUE_MAX) {
                writer.line(&record);
                any = true;
            }
        }
        if !any {
            writer.flush();
            if finish {
                return;
            }
        }
        let pause = Duration::from_millis(limits::ACCESS_PAUSE_MS);
        if !finish && began.elapsed() < pause {
            thread::sleep(pause);
        }
    }
}

#[cfg(test)]
mod tests;
