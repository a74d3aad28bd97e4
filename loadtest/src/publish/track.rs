//! One track as an encoder sends it: segments by an absolute schedule, playlists behind them.
//!
//! Segment `k` is complete at `start + (k + 1) * length`; of a growing segment each chunk is. The
//! schedule never moves: a server that is slow makes the track wait, which is counted, and a track
//! that is too far behind leaves segments out and lists a gap. One connection a track, kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use monoio::time::sleep;

use super::boxes::{self, TIMESCALE};
use super::connection::Connection;
use super::ladder::{self, Place, Track};
use super::playlist::{self, Listed};
use super::record::{Done, Kind, Recorder};
use super::stamp::Stamp;
use crate::http::upload;
use crate::sys::thread::stopped;

/// How long before it is due a segment is made: short, for it takes memory from then on.
const MADE_AHEAD: Duration = Duration::from_millis(100);
/// Longest sleep without a look at whether to stop.
const NAP: Duration = Duration::from_millis(200);
/// Segments that a track may be behind before it leaves one out.
const BEHIND_MAX: u32 = 3;

/// What all tracks have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the server.
    pub address: SocketAddr,
    /// Value of the Host header.
    pub authority: String,
    /// Path below which channels lie; no slash at its end.
    pub base: String,
    /// Header lines of every request, each with its line end.
    pub headers: String,
    /// Seed of content and sizes.
    pub seed: u64,
    /// Length of a segment.
    pub segment: Duration,
    /// Chunks of a segment: more than one makes it grow.
    pub chunks: u32,
    /// Segments in all.
    pub segments: u64,
    /// Segments that a playlist lists; all when 0.
    pub window: usize,
    /// Segments kept after they have left the window.
    pub kept: usize,
    /// Variation of sizes, as a share.
    pub vary: f64,
    /// Time for one request.
    pub timeout: Duration,
    /// No schedule: everything as fast as the server takes it.
    pub vod: bool,
}

/// The start of segment 0, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// By the clock that never jumps.
    pub at: Instant,
    /// By the wall clock, nanoseconds since 1970.
    pub unix_ns: u64,
}

impl Epoch {
    /// The moment `ahead` from now.
    pub fn ahead(ahead: Duration) -> Self {
        let unix_ns = unix_ns().saturating_add(nanos(ahead));
        Self { at: Instant::now() + ahead, unix_ns }
    }

    /// The same shifted by `by`.
    pub fn later(self, by: Duration) -> Self {
        Self { at: self.at + by, unix_ns: self.unix_ns + nanos(by) }
    }

    fn unix_ns_of(self, at: Instant) -> u64 {
        self.unix_ns.saturating_add(nanos(at.saturating_duration_since(self.at)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos)
}

/// One track of one channel, ready to go.
pub struct Publisher {
    settings: Rc<Settings>,
    recorder: Rc<RefCell<Recorder>>,
    spare: Rc<RefCell<Vec<Vec<u8>>>>,
    track: Track,
    number: u32,
    channel: u32,
    epoch: Epoch,
    connection: Connection,
    listed: VecDeque<Listed>,
    free_at: Instant,
}

impl Publisher {
    /// Track `number` of `channel`; `spare` keeps buffers of the thread.
    pub fn new(
        settings: Rc<Settings>,
        recorder: Rc<RefCell<Recorder>>,
        spare: Rc<RefCell<Vec<Vec<u8>>>>,
        (channel, number, track): (u32, u32, Track),
        epoch: Epoch,
        connection: Connection,
    ) -> Self {
        let free_at = Instant::now();
        let listed = VecDeque::new();
        Self {
            settings,
            recorder,
            spare,
            track,
            number,
            channel,
            epoch,
            connection,
            listed,
            free_at,
        }
    }

    /// Publishes all segments, and a last playlist that says so.
    pub async fn run(mut self) {
        for sequence in 0..self.settings.segments {
            let Some(there) = self.segment(sequence).await else { break };
            self.listed.push_back(Listed { sequence, there });
            if self.settings.vod {
                continue;
            }
            let kept = match self.settings.window {
                0 => usize::MAX,
                window => window + self.settings.kept,
            };
            self.playlist(false, self.due(sequence, self.settings.chunks)).await;
            while self.listed.len() > kept {
                let Some(old) = self.listed.pop_front() else { break };
                if old.there {
                    self.delete(old.sequence, self.due(sequence, self.settings.chunks)).await;
                }
            }
        }
        self.playlist(true, None).await;
    }

    /// When chunk `chunks` of a segment is complete; `None` without a schedule.
    fn due(&self, sequence: u64, chunks: u32) -> Option<Instant> {
        let settings = &self.settings;
        let length = settings.segment.as_secs_f64();
        let at = length * (sequence as f64 + f64::from(chunks) / f64::from(settings.chunks));
        (!settings.vod).then(|| self.epoch.at + Duration::from_secs_f64(at))
    }

    /// Sends one segment; false when it could not be, `None` when the run is to stop.
    async fn segment(&mut self, sequence: u64) -> Option<bool> {
        let first = self.due(sequence, 1);
        if let Some(due) = first {
            if Instant::now() > due + self.settings.segment * BEHIND_MAX {
                self.recorder.borrow_mut().shed();
                return Some(false);
            }
            if !sleep_until(due.checked_sub(MADE_AHEAD).unwrap_or(due)).await {
                return None;
            }
        } else if stopped() {
            return None;
        }
        let name = playlist::segment(sequence);
        let path = self.path(&name);
        if self.settings.chunks == 1 {
            self.whole(sequence, &path).await
        } else {
            self.growing(sequence, &path).await
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/c{}/{}/{name}", self.settings.base, self.channel, self.track.name)
    }

    /// A segment in one piece, of known length.
    async fn whole(&mut self, sequence: u64, path: &str) -> Option<bool> {
        let due = self.due(sequence, 1);
        let mut bytes = self.buffer();
        let (at, mut stamp) = self.make(&mut bytes, sequence, 0);
        if let Some(due) = due
            && !sleep_until(due).await
        {
            return None;
        }
        let ready = self.free_at;
        let settings = Rc::clone(&self.settings);
        let length = bytes.len() as u64;
        let mut sent = Instant::now();
        let mut result = Ok(());
        // A connection that the server closed while idle is no error: once more on a new one.
        for _ in 0..2 {
            sent = Instant::now();
            stamp.sent_ns = unix_ns();
            stamp.due_ns = due.map_or(stamp.sent_ns, |due| self.epoch.unix_ns_of(due));
            boxes::restamp(&mut bytes[at..], &stamp);
            let fresh = self.connection.is_fresh();
            result = self.connection.put(&settings, path, &mut bytes).await;
            if fresh || !self.connection.was_closed_idle(&result) {
                break;
            }
        }
        self.spare.borrow_mut().push(bytes);
        self.done(Kind::Segment, due, Some(ready), sent, length, result.as_ref().err());
        Some(result.is_ok())
    }

    /// A segment that grows chunk by chunk.
    async fn growing(&mut self, sequence: u64, path: &str) -> Option<bool> {
        let settings = Rc::clone(&self.settings);
        let mut bytes = self.buffer();
        let opened = self.connection.open(&settings, path).await;
        let mut upload = match opened {
            Ok(upload) => upload,
            Err(class) => {
                let (due, now) = (self.due(sequence, 1), Instant::now());
                self.done(Kind::Segment, due, None, now, 0, Some(&class));
                return Some(false);
            }
        };
        let (mut length, mut last_sent) = (0, Instant::now());
        let mut free_at = self.free_at;
        let mut failed = false;
        let part = Part {
            settings: &settings,
            track: &self.track,
            channel: self.channel,
            number: self.number,
        };
        for chunk in 0..settings.chunks {
            bytes.clear();
            let mut made = (0, Stamp::default());
            upload::chunk(&mut bytes, |out| made = part.make(out, sequence, chunk));
            let (at, mut stamp) = made;
            let at_s = settings.segment.as_secs_f64()
                * (sequence as f64 + f64::from(chunk + 1) / f64::from(settings.chunks));
            let due = (!settings.vod).then(|| self.epoch.at + Duration::from_secs_f64(at_s));
            if let Some(due) = due
                && !sleep_until(due).await
            {
                return None;
            }
            last_sent = Instant::now();
            stamp.sent_ns = unix_ns();
            stamp.due_ns = due.map_or(stamp.sent_ns, |due| self.epoch.unix_ns_of(due));
            boxes::restamp(&mut bytes[at..], &stamp);
            length += bytes.len() as u64;
            let (result, buffer) = upload.write(bytes, last_sent + settings.timeout).await;
            bytes = buffer;
            let ended = Instant::now();
            self.recorder.borrow_mut().record(Done {
                kind: Kind::Chunk,
                due,
                ready: Some(free_at),
                sent: last_sent,
                ended,
                bytes: stamp.length,
                error: result.as_ref().err().map(|error| error.class()),
            });
            free_at = ended;
            if result.is_err() {
                failed = true;
                break;
            }
        }
        let result = Connection::close_upload(upload, settings.timeout).await;
        self.connection.note(result.is_ok() && !failed);
        self.spare.borrow_mut().push(bytes);
        let due = self.due(sequence, settings.chunks);
        self.done(Kind::Segment, due, None, last_sent, length, result.as_ref().err());
        Some(result.is_ok())
    }

    async fn playlist(&mut self, ended: bool, due: Option<Instant>) {
        let settings = Rc::clone(&self.settings);
        let media = playlist::Media {
            segment_s: settings.segment.as_secs_f64(),
            epoch_ms: self.epoch.unix_ns / 1_000_000,
            ended,
            vod: settings.vod,
        };
        let skip = match settings.window {
            0 => 0,
            window => self.listed.len().saturating_sub(window),
        };
        let text = playlist::media(media, self.listed.iter().skip(skip).copied());
        let path = self.path("index.m3u8");
        let sent = Instant::now();
        let result = self.connection.send(&settings, "PUT", &path, text.as_bytes()).await;
        self.done(Kind::Playlist, due, None, sent, text.len() as u64, result.as_ref().err());
    }

    async fn delete(&mut self, sequence: u64, due: Option<Instant>) {
        let settings = Rc::clone(&self.settings);
        let path = self.path(&playlist::segment(sequence));
        let sent = Instant::now();
        let result = self.connection.send(&settings, "DELETE", &path, b"").await;
        self.done(Kind::Delete, due, None, sent, 0, result.as_ref().err());
    }

    fn buffer(&self) -> Vec<u8> {
        let mut bytes = self.spare.borrow_mut().pop().unwrap_or_default();
        bytes.clear();
        bytes
    }

    fn make(&self, out: &mut Vec<u8>, sequence: u64, chunk: u32) -> (usize, Stamp) {
        let part = Part {
            settings: &self.settings,
            track: &self.track,
            channel: self.channel,
            number: self.number,
        };
        part.make(out, sequence, chunk)
    }

    fn done(
        &mut self,
        kind: Kind,
        due: Option<Instant>,
        ready: Option<Instant>,
        sent: Instant,
        bytes: u64,
        error: Option<&String>,
    ) {
        let ended = Instant::now();
        self.free_at = ended;
        self.recorder.borrow_mut().record(Done {
            kind,
            due,
            ready,
            sent,
            ended,
            bytes,
            error: error.map(String::as_str),
        });
    }
}

/// What the bytes of a chunk depend on.
struct Part<'a> {
    settings: &'a Settings,
    track: &'a Track,
    channel: u32,
    number: u32,
}

impl Part<'_> {
    /// Appends a chunk (with the segment's head before the first); where its stamp is, and that.
    fn make(&self, out: &mut Vec<u8>, sequence: u64, chunk: u32) -> (usize, Stamp) {
        let settings = self.settings;
        if chunk == 0 {
            out.extend_from_slice(&boxes::styp());
        }
        let length_s = settings.segment.as_secs_f64() / f64::from(settings.chunks);
        let place = Place { channel: self.channel, sequence, chunk };
        let stamp = Stamp {
            seed: settings.seed,
            sequence,
            payload: ladder::payload(self.track, length_s, settings.vary, settings.seed, place),
            channel: self.channel,
            track: self.number,
            chunk,
            chunks: settings.chunks,
            ..Stamp::default()
        };
        let ticks = settings.segment.as_secs_f64() * f64::from(TIMESCALE);
        let start = ticks * (sequence as f64 + f64::from(chunk) / f64::from(settings.chunks));
        let at = out.len();
        #[expect(clippy::cast_possible_truncation, reason = "a segment is minutes at most")]
        let (duration, decode_time) = ((length_s * f64::from(TIMESCALE)) as u32, start as u64);
        (at, boxes::chunk(out, stamp, duration, decode_time))
    }
}

/// Sleeps; false when the run is to stop.
async fn sleep_until(at: Instant) -> bool {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if stopped() {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        sleep(left.min(NAP)).await;
    }
}
