//! A publisher's run: set-up, a common start, a thread for each share of the channels, the report.
//!
//! Channels are dealt out to threads; a thread shares nothing with another. All tracks of a channel
//! have the same schedule, as an encoder's do; channels are spread over one segment.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;

use super::Job;
use super::boxes;
use super::connection::Connection;
use super::playlist::{self, Media};
use super::record::Recorder;
use super::track::{Epoch, Publisher, Settings};
use crate::cli::Failure;
use crate::environment::{self, Counters, ThreadTime};
use crate::http::{Client, Request};
use crate::limits::{CONNECT_TIMEOUT, PUBLISH_SETUPS_AT_ONCE};
use crate::report::latency::Latency;
use crate::report::model::{Load, Phase, Report};
use crate::report::verdict::{self, Evidence};
use crate::sys::thread::{self, stopped};

/// Lateness allowed at p99.9 whatever the response, in nanoseconds: timers of 1 ms, and a pause.
const LATENESS_FLOOR_NS: u64 = 5_000_000;
/// From the end of the set-up to the start of the first segment.
const LEAD: Duration = Duration::from_millis(300);
/// Entries of a thread's ring.
const RING_ENTRIES: u32 = 4096;

/// Connections of one channel, by track.
type Connections = Vec<Connection>;

/// What one thread brings home.
struct Share {
    recorder: Recorder,
    spent: ThreadTime,
}

/// Publishes all of it; the error is of the set-up.
pub(crate) fn run(job: &Job) -> anyhow::Result<Report> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let began = Instant::now();
    probe(job)?;
    let mut report = Report::new("publish", &job.target);
    report.started_unix_ms = u64::try_from(started.as_millis()).unwrap_or(0);
    let (shares, before, epoch) = std::thread::scope(|scope| {
        let (ready, readiness) = mpsc::channel();
        let mut threads = Vec::new();
        for index in 0..job.threads {
            let (start, starts) = mpsc::channel();
            let ready = ready.clone();
            let work = move || thread(job, index, &ready, &starts);
            let name = format!("publish-{index}");
            let handle = std::thread::Builder::new().name(name).spawn_scoped(scope, work)?;
            threads.push((start, handle));
        }
        drop(ready);
        for outcome in readiness.iter().take(job.threads) {
            outcome?;
        }
        let before = Counters::read(job.server);
        let epoch = Epoch::ahead(LEAD);
        for (start, _) in &threads {
            // A thread that is gone is noticed when it is joined.
            let _ = start.send(epoch);
        }
        let mut shares = Vec::new();
        for (_, handle) in threads {
            let Ok(share) = handle.join() else { bail!("a publishing thread ended in a panic") };
            shares.push(share?);
        }
        Ok::<_, anyhow::Error>((shares, before, epoch))
    })?;
    let change = Counters::read(job.server).since(&before);
    let tracks = u64::from(job.channels) * job.tracks.len() as u64;
    report.phases.push(Phase {
        name: "set-up".to_owned(),
        start_s: 0.0,
        duration_s: epoch.at.saturating_duration_since(began).as_secs_f64(),
        completed: tracks + u64::from(job.channels),
        failed: 0,
        response: None,
    });
    fill(&mut report, job, epoch, shares, &change);
    let mut facts = environment::describe(job.settings.seed);
    change.describe(&mut facts);
    if let Some(pid) = job.server {
        environment::describe_server(pid, &mut facts);
    }
    report.generators.push(facts);
    Ok(report)
}

/// Puts the measurements of all threads into the report.
fn fill(
    report: &mut Report,
    job: &Job,
    epoch: Epoch,
    shares: Vec<Share>,
    change: &environment::counters::Change,
) {
    let settings = &job.settings;
    let wall_s = Instant::now().saturating_duration_since(epoch.at).as_secs_f64();
    let cpu_ns: u64 = shares.iter().map(|share| share.spent.cpu_ns).sum();
    let busiest = shares.iter().map(|share| share.spent.cpu_ns).max().unwrap_or(0);
    let mut sum = Recorder::new(epoch.at);
    shares.into_iter().for_each(|share| sum.add(share.recorder));
    let total = |of: fn(&crate::report::model::Second) -> u64| sum.series.iter().map(of).sum();
    let (offered, achieved, failed): (u64, u64, u64) =
        (total(|s| s.offered), total(|s| s.achieved), total(|s| s.failed));
    let what = match (settings.vod, settings.chunks) {
        (true, _) => "at once",
        (false, 1) => "live, whole segments",
        (false, _) => "live, growing segments",
    };
    report.load = Load {
        model: format!("{} channels of {} tracks, {what}", job.channels, job.tracks.len()),
        closed: settings.vod,
        duration_s: wall_s,
        offered: (!settings.vod).then_some(offered),
        achieved,
        failed,
        shed: total(|s| s.shed),
        bytes: total(|s| s.bytes),
        connections: u64::from(job.channels) * job.tracks.len() as u64,
        generator_cpu_s: Some(cpu_ns as f64 / 1e9),
        server_cpu_s: change.server_cpu_s(),
    };
    let (mut lateness, mut response) = (Latency::new(), Latency::new());
    for operation in &sum.operations {
        operation.lateness.iter().for_each(|other| lateness.add(other));
        if operation.name == "segment" {
            operation.response.iter().for_each(|other| response.add(other));
        }
    }
    report.phases.push(Phase {
        name: "measure".to_owned(),
        start_s: report.phases.first().map_or(0.0, |phase| phase.duration_s),
        duration_s: wall_s,
        completed: achieved,
        failed,
        response: (!settings.vod).then(|| response.clone()),
    });
    report.verdict = verdict::judge(&Evidence {
        lateness: Some(&lateness).filter(|latency| !latency.is_empty()),
        response: Some(&response).filter(|latency| !latency.is_empty()),
        lateness_floor_ns: LATENESS_FLOOR_NS,
        offered: report.load.offered,
        achieved,
        failed,
        cpu_share: (!settings.vod).then(|| busiest as f64 / 1e9 / wall_s.max(1e-9)),
        ..Evidence::default()
    });
    report.verdict.interrupted = stopped();
    report.operations =
        sum.operations.into_iter().filter(|o| o.completed + o.failed() + o.shed > 0).collect();
    report.series = sum.series;
}

/// One PUT before anything else: it says clearly what is wrong with a target.
fn probe(job: &Job) -> anyhow::Result<()> {
    let settings = &job.settings;
    let mut runtime = thread::runtime(64)?;
    runtime.block_on(async {
        let path = format!("{}/c0/master.m3u8", settings.base);
        let what = format!("PUT http://{}{path}", settings.authority);
        let text = playlist::master(&job.tracks);
        let failure = |error| Failure::of_request(&what, &error);
        let mut client =
            Client::connect(settings.address, CONNECT_TIMEOUT).await.map_err(failure)?;
        let request = Request {
            method: "PUT",
            path: &path,
            host: &settings.authority,
            headers: &settings.headers,
            body: text.as_bytes(),
        };
        let mut response = client.request(&request, settings.timeout).await.map_err(failure)?;
        let status = response.status();
        response.discard().await.map_err(failure)?;
        match status {
            200..300 => Ok(()),
            401 | 403 => Err(Failure::Unusable(format!(
                "{what}: answered {status}; give its credential with --header"
            ))
            .into()),
            status => Err(Failure::Unusable(format!(
                "{what}: answered {status}; does the target take uploads there?"
            ))
            .into()),
        }
    })
}

/// The life of one thread: its share of the channels.
fn thread(
    job: &Job,
    index: usize,
    ready: &Sender<anyhow::Result<()>>,
    starts: &Receiver<Epoch>,
) -> anyhow::Result<Share> {
    let mut runtime = thread::runtime(RING_ENTRIES)?;
    let settings = Rc::new(job.settings.clone());
    let channels: Vec<u32> =
        (0..job.channels).filter(|channel| *channel as usize % job.threads == index).collect();
    let connections = match runtime.block_on(set_up(job, &settings, &channels)) {
        Ok(connections) => {
            let _ = ready.send(Ok(()));
            connections
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            bail!("the set-up failed")
        }
    };
    let Ok(epoch) = starts.recv() else { bail!("another thread failed") };
    let before = ThreadTime::of_this_thread().unwrap_or_default();
    let recorder = Rc::new(RefCell::new(Recorder::new(epoch.at)));
    runtime.block_on(live(job, &settings, &recorder, &channels, connections, epoch));
    let spent = ThreadTime::of_this_thread().unwrap_or_default().since(before);
    let recorder =
        Rc::try_unwrap(recorder).map_err(|_| anyhow::anyhow!("a track is still there"))?;
    Ok(Share { recorder: recorder.into_inner(), spent })
}

/// Connects every track and uploads its init segment, and each channel's multivariant playlist.
async fn set_up(
    job: &Job,
    settings: &Rc<Settings>,
    channels: &[u32],
) -> anyhow::Result<Vec<Connections>> {
    let mut all = Vec::new();
    for batch in channels.chunks(PUBLISH_SETUPS_AT_ONCE) {
        let tasks: Vec<_> = batch
            .iter()
            .map(|channel| {
                let (settings, tracks) = (Rc::clone(settings), job.tracks.clone());
                let folder = format!("{}/c{channel}", settings.base);
                monoio::spawn(async move {
                    let mut connections = Vec::new();
                    for track in &tracks {
                        let mut connection = Connection::default();
                        let path = format!("{folder}/{}/init.mp4", track.name);
                        let init = boxes::init(track.kind);
                        connection
                            .send(&settings, "PUT", &path, &init)
                            .await
                            .map_err(|class| format!("PUT {path}: {class}"))?;
                        connections.push(connection);
                    }
                    let (path, text) = (format!("{folder}/master.m3u8"), playlist::master(&tracks));
                    connections[0]
                        .send(&settings, "PUT", &path, text.as_bytes())
                        .await
                        .map_err(|class| format!("PUT {path}: {class}"))?;
                    Ok::<Connections, String>(connections)
                })
            })
            .collect();
        for task in tasks {
            all.push(task.await.map_err(Failure::Unusable)?);
        }
    }
    Ok(all)
}

/// All tracks of all channels of this thread, to their end.
async fn live(
    job: &Job,
    settings: &Rc<Settings>,
    recorder: &Rc<RefCell<Recorder>>,
    channels: &[u32],
    connections: Vec<Connections>,
    epoch: Epoch,
) {
    let spare = Rc::new(RefCell::new(Vec::new()));
    let mut tasks = Vec::new();
    for (channel, connections) in channels.iter().zip(connections) {
        let share = if job.aligned { 0.0 } else { f64::from(*channel) / f64::from(job.channels) };
        let epoch = epoch.later(settings.segment.mul_f64(share));
        let manifest = manifest(job, settings, epoch);
        let mut manifest = Some((format!("{}/c{channel}/manifest.mpd", settings.base), manifest));
        for (number, (track, mut connection)) in job.tracks.iter().zip(connections).enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let (settings, recorder) = (Rc::clone(settings), Rc::clone(recorder));
            let (track, spare) = ((*channel, number, track.clone()), Rc::clone(&spare));
            let manifest = manifest.take();
            tasks.push(monoio::spawn(async move {
                if let Some((path, text)) = manifest {
                    // A failure shows in the segments that follow.
                    let _ = connection.send(&settings, "PUT", &path, text.as_bytes()).await;
                }
                Publisher::new(settings, recorder, spare, track, epoch, connection).run().await;
            }));
        }
    }
    for task in tasks {
        task.await;
    }
}

fn manifest(job: &Job, settings: &Settings, epoch: Epoch) -> String {
    let segment_s = settings.segment.as_secs_f64();
    let media = Media {
        segment_s,
        epoch_ms: epoch.unix_ns / 1_000_000,
        ended: settings.vod,
        vod: settings.vod,
    };
    let window =
        if settings.window == 0 { settings.segments as f64 } else { settings.window as f64 };
    let whole = settings.vod.then_some(settings.segments as f64 * segment_s);
    playlist::dash(&job.tracks, media, window * segment_s, job.chunk, whole)
}
