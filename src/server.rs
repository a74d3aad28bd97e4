//! Boot (placeholder for this clone; the real room replaces it).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access::{AccessLog, AccessSink};
use crate::config::Config;
use crate::control::{self, Parts, State, Stopped, Wish};
use crate::exit::Exit;
use crate::meters::ShardMeters;

/// Runs the origin.
pub fn serve(config: Config) -> Exit {
    match run(&config) {
        Ok(exit) => exit,
        Err(error) => {
            tracing::error!("{error}");
            Exit::Failed
        }
    }
}

fn run(config: &Config) -> std::io::Result<Exit> {
    let meters: Vec<_> = (0..config.shards).map(|_| Arc::new(ShardMeters::new())).collect();
    let mut log = None;
    let _sinks: Vec<AccessSink> = match &config.access_log {
        Some(access) => {
            let (opened, sinks) = AccessLog::spawn(access, &meters)?;
            log = Some(opened);
            sinks
        }
        None => meters.iter().map(|meters| AccessSink::off(Arc::clone(meters))).collect(),
    };
    let state = State::new();
    let access = log.as_ref().map(AccessLog::meters);
    let reopen = log.as_ref().map(AccessLog::reopener);
    let hangup = move || {
        if let Some(reopen) = &reopen {
            reopen();
        }
    };
    let parts = Parts { meters, state: Arc::clone(&state), access };
    let control = control::spawn(config, parts, hangup)?;
    // Shards start here, each with state.running().
    state.ready();
    tracing::info!(listen = ?config.listen, admin = %control.address(), "serving");
    let wish = state.wait();
    tracing::info!(?wish, "draining");
    let deadline = Instant::now() + Duration::from_millis(config.timeouts.drain_ms);
    let exit = match state.wait_stopped(deadline) {
        Stopped::Signal(number) => return Ok(Exit::Signal(number)),
        Stopped::Deadline => Exit::CutOff,
        Stopped::All if wish == Wish::ShardLost => Exit::Failed,
        Stopped::All => Exit::Clean,
    };
    control.stop();
    if let Some(log) = log {
        log.finish();
    }
    Ok(exit)
}
